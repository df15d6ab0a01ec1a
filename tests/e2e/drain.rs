//! Before an uninstall: everything that the operator holds is taken away, as far as Revoiceit can be reached, and nothing is forgotten.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{apps::v1::Deployment, coordination::v1::Lease};
use kube::{Api, ResourceExt, api::ListParams};
use revoiceit_harness::{
    cluster::{AuditMark, Cluster, Options},
    process::{Process, Signal},
    wait::{GENEROUS, eventually},
};
use revoiceit_operator::api::names;
use revoiceit_sandbox::{Call, Fault, LineState};
use serde_json::{Value, json};

use crate::world::{World, ready_reason};

pub(crate) const ACCOUNT: &str = "revoiceit-operator-drain";

/// Starts a drain, under the service account that is for it.
pub(crate) async fn start(world: &World, flags: &[&str]) -> Result<Process> {
    start_through(world, &world.cluster.server(), flags).await
}

/// The same, reaching the API server through a proxy at this URL.
pub(crate) async fn start_through(world: &World, server: &str, flags: &[&str]) -> Result<Process> {
    let kubeconfig = world.cluster.kubeconfig_for_service_account(&world.system, ACCOUNT, server).await?;
    let policy = world.policy(&impatient())?;
    let flags: Vec<&str> = flags.iter().copied().chain(["--policy-for-tests", &policy]).collect();
    world.spawn_verb("drain", &kubeconfig, &flags)
}

/// Drains, and what it said at an end that is good.
pub(crate) async fn drain(world: &World, flags: &[&str]) -> Result<String> {
    ended(&start(world, flags).await?).await
}

pub(crate) async fn ended(drain: &Process) -> Result<String> {
    let status = drain.wait(GENEROUS).await?;
    ensure!(status.success(), "it ended with {status}{}", drain.tail());
    drain.stdout()
}

/// How it ended, and the error.
pub(crate) async fn failed(drain: &Process) -> Result<(Option<i32>, String)> {
    let code = drain.wait(GENEROUS).await?.code();
    let said = drain.stderr()?;
    Ok((code, said.lines().rfind(|line| line.starts_with("error: ")).unwrap_or_default().to_owned()))
}

/// Times that a test need not wait for.
fn impatient() -> Value {
    json!({ "retryMin": 200, "retryMax": 1000, "revokeRetryMax": 500, "absence": 500, "intent": 3000 })
}

/// So many resources, all with a token, and no operator any more.
pub(crate) async fn abandoned(world: &World, resources: usize) -> Result<()> {
    let operator = world.operator(&["--policy-for-tests", &world.policy(&impatient())?]).await?;
    world.crowd(resources).await?;
    world.kubectl(&["wait", "--for=condition=Ready", "--timeout=60s", "rvc", "--all"]).await?;
    operator.stop().await
}

/// Nothing of the operator is left but the resources themselves, and all tokens are revoked.
pub(crate) async fn all_is_taken_away(world: &World, resources: usize) -> Result<()> {
    assert_eq!(world.ledgers().await?, [""; 0]);
    let left = world.resources().list(&ListParams::default()).await?.items;
    assert_eq!(left.len(), resources);
    for resource in left {
        assert!(resource.finalizers().is_empty() && !resource.annotations().contains_key(names::CLAIM_ANNOTATION));
        assert_eq!(ready_reason(&resource), Some("Revoking"), "{}", resource.name_any());
        assert!(resource.status.is_some_and(|status| status.suspected_lost.unwrap_or(0) == 0));
    }
    let secrets = world.secrets().list(&ListParams::default()).await?.items;
    let targets: Vec<_> = secrets.iter().filter(|secret| secret.annotations().contains_key(names::RESOURCE_ANNOTATION)).collect();
    assert_eq!(targets.len(), 0, "targets are left");
    let truth = world.sandbox.truth();
    ensure!(truth.lines.iter().all(|line| line.state() == LineState::Revoked), "tokens live");
    Ok(())
}

/// The lease, which a process that was killed did not give back: nobody waits until it has run out.
pub(crate) async fn forget_the_lease(world: &World) -> Result<()> {
    world.cluster.kubectl(["delete", "lease", names::OPERATOR, "-n", &world.system]).await.map(drop)
}

#[tokio::test]
async fn a_drain_takes_everything_away_and_leaves_the_resources() -> Result<()> {
    let world = World::new().await?;
    let operator = world.operator(&["--policy-for-tests", &world.policy(&impatient())?]).await?;
    for name in ["first", "second", "suspended", "leaving", "vanished"] {
        world.own(name, json!({})).await?;
    }
    world.resource("stalled", "no-such-credentials", "no-token", json!({})).await?;
    world.foreign_secret("theirs").await?;
    world.resource("conflicted", "first", "theirs", json!({})).await?;
    for name in ["first", "second", "suspended", "leaving", "vanished"] {
        world.ready(name).await?;
    }
    world.reason("stalled", "CredentialsMissing").await?;
    world.reason("conflicted", "TargetConflict").await?;
    world.patch("suspended", &json!({ "spec": { "suspend": true } })).await?;
    world.reason("suspended", "Suspended").await?;
    // Two lines of one resource.
    let token = world.own_token("second").await?;
    world.kubectl(&["annotate", "rvc/second", "revoiceit.com/rotate-requested-at=now"]).await?;
    world.another_token("second-token", &token).await?;
    // One is being deleted and cannot be revoked; one vanishes while no operator is there to see it.
    let away = world.sandbox.inject(Fault::status(503).on(Call::Revoke))?;
    world.kubectl(&["delete", "rvc/leaving", "--wait=false"]).await?;
    world.reason("leaving", "Revoking").await?;
    operator.stop().await?;
    world.patch("vanished", &json!({ "metadata": { "finalizers": null } })).await?;
    world.kubectl(&["delete", "rvc/vanished"]).await?;
    world.kubectl(&["wait", "--for=delete", "--timeout=60s", "secret/vanished-token"]).await?;
    world.sandbox.heal(away);
    let theirs = world.value("theirs", "theirs").await?;
    let mark = world.cluster.audit_mark().await?;

    let said = drain(&world, &[]).await?;
    assert_eq!(said, "Revoked 6 refresh tokens, deleted 3 target Secrets, released 4 resources.\nNothing is left.\n");
    all_is_taken_away(&world, 5).await?;
    assert_eq!(world.value("theirs", "theirs").await?, theirs);
    assert_eq!(world.sandbox.count(Call::Issue, 0), 6);
    let asked = world.asked_by(ACCOUNT, mark).await?;
    let denied: Vec<String> = asked.iter().filter(|event| event.code == Some(403)).map(ToString::to_string).collect();
    assert_eq!(denied, [""; 0]);
    ensure!(asked.iter().all(|event| event.resource != "secrets" || event.name != "first"), "a pair was read");

    // There is nothing to do for another.
    let (calls, mark) = (world.sandbox.mark(), world.cluster.audit_mark().await?);
    let said = drain(&world, &[]).await?;
    assert_eq!(said, "Revoked 0 refresh tokens, deleted 0 target Secrets, released 0 resources.\nNothing is left.\n");
    assert_eq!((writes(&world, mark).await?, world.sandbox.mark()), (vec![], calls));
    world.no_secret_is_told(&[]).await
}

/// What a drain wrote since the mark, but for the lease.
pub(crate) async fn writes(world: &World, mark: AuditMark) -> Result<Vec<String>> {
    let asked = world.asked_by(ACCOUNT, mark).await?;
    Ok(asked.iter().filter(|event| event.is_write() && event.resource != "leases").map(ToString::to_string).collect())
}

/// The operator's, with two replicas; nobody starts them here.
pub(crate) async fn deployment(world: &World) -> Result<()> {
    let labels = json!({ "app": "operator" });
    world
        .apply(&json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": names::OPERATOR, "namespace": world.system },
            "spec": { "replicas": 2, "selector": { "matchLabels": labels }, "template": {
                "metadata": { "labels": labels }, "spec": { "containers": [{ "name": "operator", "image": "none" }] },
            } },
        }))
        .await
}

/// How many replicas that Deployment is to have.
pub(crate) async fn replicas(world: &World) -> Result<Option<i32>> {
    let deployments: Api<Deployment> = Api::namespaced(world.client.clone(), &world.system);
    Ok(deployments.get(names::OPERATOR).await?.spec.and_then(|spec| spec.replicas))
}

#[tokio::test]
async fn the_deployment_is_scaled_down_and_its_operator_waited_for() -> Result<()> {
    let world = World::new().await?;
    let operator = world.operator(&[]).await?;
    world.own("speech", json!({})).await?;
    world.ready("speech").await?;
    deployment(&world).await?;

    let draining = start(&world, &["--deployment", names::OPERATOR]).await?;
    eventually("the Deployment to be scaled down", GENEROUS, async || {
        let replicas = replicas(&world).await?;
        ensure!(replicas == Some(0), "{replicas:?}");
        anyhow::Ok(())
    })
    .await?;
    ensure!(draining.is_running() && world.sandbox.count(Call::Revoke, 0) == 0, "it does not wait for the operator");
    world.ready("speech").await?;
    operator.stop().await?;

    let said = ended(&draining).await?;
    ensure!(
        said.starts_with(&format!("Scaled the Deployment {}/{} down from 2 to 0.\nWaiting for ", world.system, names::OPERATOR)),
        "{said}"
    );
    ensure!(said.ends_with("Revoked 1 refresh token, deleted 1 target Secret, released 1 resource.\nNothing is left.\n"), "{said}");
    all_is_taken_away(&world, 1).await?;
    world.no_secret_is_told(&[]).await
}

#[tokio::test]
async fn an_operator_that_goes_on_is_named_and_nothing_is_drained() -> Result<()> {
    let world = World::new().await?;
    let operator = world.operator(&[]).await?;
    world.own("speech", json!({})).await?;
    world.ready("speech").await?;
    world.at_rest().await?;
    let leases: Api<Lease> = Api::namespaced(world.client.clone(), &world.system);
    let holder = leases.get(names::OPERATOR).await?.spec.and_then(|spec| spec.holder_identity).context("nobody leads")?;
    let (calls, mark) = (world.sandbox.mark(), world.cluster.audit_mark().await?);

    let (code, said) = failed(&start(&world, &["--lease-wait", "1s"]).await?).await?;
    let expected =
        format!("error: the lease {}/{} is held by {holder}, an operator at work, which would undo", world.system, names::OPERATOR);
    ensure!(code == Some(1) && said.starts_with(&expected), "{code:?} {said}");
    assert_eq!((writes(&world, mark).await?, world.sandbox.mark()), (vec![], calls));
    world.ready("speech").await?;
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn what_cannot_be_revoked_is_named_and_kept_and_revoked_after_a_reinstall() -> Result<()> {
    let world = World::new().await?;
    abandoned(&world, 3).await?;
    let away = world.sandbox.inject(Fault::status(503).on(Call::Revoke))?;

    let said = drain(&world, &["--timeout", "2s"]).await?;
    let lines: Vec<&str> = said.lines().collect();
    ensure!(
        lines[0].starts_with("Revoked 0 refresh tokens, deleted 3 target Secrets, released 3 resources. Revocations that failed: "),
        "{said}"
    );
    assert_eq!(lines[1], "Left:");
    for number in 0..3 {
        let name = format!("speech-{number}");
        let ledger = names::ledger_name(&world.get(&name).await?.uid().context("no UID")?);
        assert_eq!(lines[2 + number], format!("  {}/{name}: 1 refresh token in the ledger {}/{ledger}", world.tenant, world.system));
        let resource = world.get(&name).await?;
        assert_eq!((resource.finalizers().len(), ready_reason(&resource)), (0, Some("Revoking")));
        assert_eq!(world.record(&name).await?["closed"], true);
    }
    assert_eq!((world.ledgers().await?.len(), world.sandbox.truth().live().count()), (3, 3));
    world.nothing_is_forgotten().await?;

    world.sandbox.heal(away);
    let operator = world.operator(&["--policy-for-tests", &world.policy(&impatient())?]).await?;
    begun_anew(&world, 3).await?;
    world.no_secret_is_told(&[&operator]).await
}

/// Each resource has exactly one token, and what was before it is revoked.
async fn begun_anew(world: &World, resources: usize) -> Result<()> {
    // What the status said before the drain, it may say still.
    eventually("one line of each to live, in a ledger", GENEROUS, async || {
        let (live, ledgers) = (world.sandbox.truth().live().count(), world.ledgers().await?.len());
        ensure!((live, ledgers) == (resources, resources), "{live} lines live, {ledgers} ledgers");
        anyhow::Ok(())
    })
    .await?;
    for number in 0..resources {
        world.reason(&format!("speech-{number}"), "TokenReady").await?;
    }
    world.at_rest().await?;
    let truth = world.sandbox.truth();
    assert_eq!((truth.live().count(), world.ledgers().await?.len()), (resources, resources));
    for number in 0..resources {
        let token = world.token(&format!("token-{number}")).await?;
        ensure!(
            truth.access(&token).is_some_and(|(line, _)| line.state() == LineState::Live),
            "speech-{number} holds a token of a dead line"
        );
        assert_eq!(world.suspected_lost(&format!("speech-{number}")).await?, 0);
    }
    world.nothing_is_forgotten().await
}

#[tokio::test]
async fn a_dry_run_says_what_would_go_and_does_nothing() -> Result<()> {
    let world = World::new().await?;
    let operator = world.operator(&[]).await?;
    world.own("speech", json!({})).await?;
    world.ready("speech").await?;
    world.resource("stalled", "no-such-credentials", "no-token", json!({})).await?;
    world.reason("stalled", "CredentialsMissing").await?;
    world.at_rest().await?;
    let (calls, mark) = (world.sandbox.mark(), world.cluster.audit_mark().await?);

    let said = drain(&world, &["--dry-run", "--deployment", names::OPERATOR]).await?;
    let ledger = world.ledgers().await?.remove(0);
    let lines: Vec<&str> = said.lines().collect();
    ensure!(lines[0].starts_with(&format!("The lease {}/{} is held by ", world.system, names::OPERATOR)), "{said}");
    let wanted = [
        format!(
            "  {}/speech: 1 refresh token in the ledger {}/{ledger}, the Secret speech-token, the finalizer",
            world.tenant, world.system
        ),
        "A drain would revoke 1 refresh token, delete 1 target Secret and release 1 resource. Nothing was changed.".to_owned(),
    ];
    assert_eq!(lines[1..], wanted);
    let asked = world.asked_by(ACCOUNT, mark).await?;
    let writes: Vec<String> = asked.iter().filter(|event| event.is_write()).map(ToString::to_string).collect();
    assert_eq!((writes, world.sandbox.mark()), (vec![], calls));
    ensure!(asked.iter().all(|event| event.name != "speech" || event.resource != "secrets"), "a pair was read");
    world.no_secret_is_told(&[&operator]).await
}

/// Some are drained by then, some have begun.
async fn killed_in_the_middle(world: &World) -> Result<()> {
    abandoned(world, 12).await?;
    let slow = world.sandbox.inject(Fault::slow(std::time::Duration::from_millis(300)).on(Call::Revoke))?;
    let draining = start(world, &[]).await?;
    let begun = world.sandbox.wait_for(GENEROUS, |sandbox| (sandbox.count(Call::Revoke, 0) >= 5).then_some(())).await;
    ensure!(begun.is_some(), "nothing is drained{}", draining.tail());
    ensure!(draining.is_running(), "it is done already");
    draining.kill();
    world.sandbox.heal(slow);
    forget_the_lease(world).await
}

#[tokio::test]
async fn a_drain_that_was_killed_is_finished_by_another() -> Result<()> {
    let world = World::new().await?;
    killed_in_the_middle(&world).await?;
    let said = drain(&world, &[]).await?;
    ensure!(said.ends_with("Nothing is left.\n"), "{said}");
    all_is_taken_away(&world, 12).await?;
    world.no_secret_is_told(&[]).await
}

#[tokio::test]
async fn a_drain_that_was_killed_is_undone_by_an_operator_that_starts() -> Result<()> {
    let world = World::new().await?;
    killed_in_the_middle(&world).await?;
    let operator = world.operator(&["--policy-for-tests", &world.policy(&impatient())?]).await?;
    begun_anew(&world, 12).await?;
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn a_drain_that_is_told_to_stop_gives_the_lease_back_and_forgets_nothing() -> Result<()> {
    let world = World::new().await?;
    abandoned(&world, 2).await?;
    let away = world.sandbox.inject(Fault::status(503).on(Call::Revoke))?;
    let draining = start(&world, &[]).await?;
    let begun = world.sandbox.wait_for(GENEROUS, |sandbox| (sandbox.count(Call::Revoke, 0) >= 2).then_some(())).await;
    ensure!(begun.is_some(), "nothing is drained{}", draining.tail());

    draining.signal(Signal::TERM)?;
    assert_eq!(failed(&draining).await?, (Some(1), "error: stopped before all was done: run it again".to_owned()));
    let leases: Api<Lease> = Api::namespaced(world.client.clone(), &world.system);
    let holder = leases.get(names::OPERATOR).await?.spec.and_then(|spec| spec.holder_identity);
    assert_eq!(holder.as_deref(), Some(""));
    world.nothing_is_forgotten().await?;
    world.sandbox.heal(away);
    drain(&world, &[]).await?;
    all_is_taken_away(&world, 2).await?;
    world.no_secret_is_told(&[]).await
}

/// As after an uninstall that went wrong: it must not be stuck for ever.
#[tokio::test]
async fn without_the_crd_there_is_nothing_to_drain_unless_there_are_ledgers() -> Result<()> {
    let world = World::new().await?;
    let cluster = Cluster::start(Options::default()).await?;
    cluster.kubectl(["create", "namespace", &world.system]).await?;
    let flags = ["--policy-for-tests", &world.policy(&impatient())?];
    let said = ended(&world.spawn_verb("drain", cluster.admin_kubeconfig(), &flags)?).await?;
    assert_eq!(said, "The CRD is not installed, and there are no ledgers: nothing is left to drain.\n");

    let type_ = format!("--type={}", names::LEDGER_TYPE);
    cluster.kubectl(["create", "secret", "generic", "rvc-x", "-n", &world.system, &type_]).await?;
    let (code, said) = failed(&world.spawn_verb("drain", cluster.admin_kubeconfig(), &flags)?).await?;
    let expected =
        format!("error: the CRD is not installed, but there are 1 ledgers in the namespace {}, whose tokens may live", world.system);
    ensure!(code == Some(1) && said.starts_with(&expected), "{code:?} {said}");
    world.no_secret_is_told(&[]).await
}

#[tokio::test]
async fn who_may_not_drain_is_told_before_anything_is_changed() -> Result<()> {
    let world = World::new().await?;
    abandoned(&world, 1).await?;
    world.cluster.kubectl(["delete", "clusterrolebinding", &format!("{ACCOUNT}-{}", world.system)]).await?;
    world.without(&["list revoiceitcredentials.revoiceit.com"]);
    let mark = world.cluster.audit_mark().await?;
    let (code, said) = failed(&start(&world, &[]).await?).await?;
    let expected = format!("error: the RevoiceitCredentials of namespace {} may not be listed (HTTP 403): apply the roles", world.tenant);
    ensure!(code == Some(1) && said.starts_with(&expected), "{code:?} {said}");
    assert_eq!(writes(&world, mark).await?, [""; 0]);
    world.no_secret_is_told(&[]).await
}
