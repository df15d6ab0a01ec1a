//! What a drain leaves alone, and what it finds out before it changes anything.

use anyhow::{Context, Result, ensure};
use kube::ResourceExt;
use revoiceit_harness::wait::{GENEROUS, eventually};
use revoiceit_operator::api::names;
use revoiceit_sandbox::{Config, Sandbox};
use serde_json::{Value, json};

use crate::{
    drain::{ACCOUNT, abandoned, all_is_taken_away, deployment, drain, failed, replicas, start, writes},
    scope::speech_in,
    world::World,
};

/// Where the ledger of a resource is, as the drain says it.
async fn ledger(world: &World, name: &str) -> Result<String> {
    Ok(format!("{}/{}", world.system, names::ledger_name(&world.get(name).await?.uid().context("no UID")?)))
}

#[tokio::test]
async fn a_drain_of_one_namespace_leaves_the_others_alone() -> Result<()> {
    let world = World::of_tenants(2, |_| {}).await?;
    let (first, second) = (&world.tenants[0], &world.tenants[1]);
    let operator = world.operator(&[]).await?;
    for namespace in &world.tenants {
        speech_in(&world, namespace).await?;
        world.cluster.kubectl(["-n", namespace, "wait", "--for=condition=Ready", "--timeout=60s", "rvc/speech"]).await?;
    }
    operator.stop().await?;

    let said = drain(&world, &["--namespace", first]).await?;
    let ledgers = world.ledgers().await?;
    ensure!(ledgers.len() == 1, "{ledgers:?}");
    let lines: Vec<&str> = said.lines().collect();
    let left = format!(
        "  {second}/speech: 1 refresh token in the ledger {}/{}, the Secret token, the finalizer; left alone, since --namespace does not name \
         its namespace",
        world.system, ledgers[0]
    );
    assert_eq!(lines[..3], ["Revoked 1 refresh token, deleted 1 target Secret, released 1 resource.", "Left:", &left]);
    let kept = world.cluster.kubectl(["-n", second, "get", "rvc/speech", "-o", "jsonpath={.metadata.finalizers}"]).await?;
    ensure!(kept.contains(names::FINALIZER), "its finalizer was taken: {kept:?}");
    world.cluster.kubectl(["-n", second, "get", "secret/token"]).await?;
    assert_eq!(world.sandbox.truth().live().count(), 1);

    let said = drain(&world, &[]).await?;
    assert_eq!(said, "Revoked 1 refresh token, deleted 1 target Secret, released 1 resource.\nNothing is left.\n");
    all_is_taken_away(&world, 1).await?;
    world.no_secret_is_told(&[]).await
}

/// Every resource would be released, and no token revoked.
#[tokio::test]
async fn nothing_is_changed_with_the_wrong_api_url() -> Result<()> {
    let world = World::new().await?;
    abandoned(&world, 2).await?;
    deployment(&world).await?;
    let other = Sandbox::start(Config::default()).await?;
    let mark = world.cluster.audit_mark().await?;
    for flags in [&["--dry-run"][..], &["--deployment", names::OPERATOR]] {
        let drain = start(&world, &[&["--api-url", &other.api_url()], flags].concat()).await?;
        let (code, said) = failed(&drain).await?;
        ensure!(code == Some(1) && said.starts_with("error: the ledgers are of another Revoiceit API than http://127.0.0.1:"), "{said}");
        ensure!(said.ends_with("set --api-url as the operator has it. Nothing was changed"), "{said}");
    }
    assert_eq!((writes(&world, mark).await?, replicas(&world).await?), (vec![], Some(2)));
    world.nothing_is_forgotten().await?;
    drain(&world, &[]).await?;
    all_is_taken_away(&world, 2).await?;
    world.no_secret_is_told(&[]).await
}

#[tokio::test]
async fn a_ledger_that_cannot_be_used_is_named_and_nothing_is_called_done() -> Result<()> {
    let world = World::new().await?;
    abandoned(&world, 3).await?;
    let (damaged, later) = (ledger(&world, "speech-0").await?, ledger(&world, "speech-1").await?);
    let mut record = world.record("speech-1").await?;
    record["format"] = json!(99);
    rewrite(&world, &damaged, "cut o").await?;
    rewrite(&world, &later, &record.to_string()).await?;
    let type_ = format!("--type={}", names::LEDGER_TYPE);
    world.cluster.kubectl(["create", "secret", "generic", "rvc-x", "-n", &world.system, &type_]).await?;

    for summary in [
        "Revoked 1 refresh token, deleted 1 target Secret, released 3 resources.",
        // It says so again, with nothing to do any more.
        "Revoked 0 refresh tokens, deleted 0 target Secrets, released 0 resources.",
    ] {
        let said = drain(&world, &["--timeout", "2s"]).await?;
        let lines: Vec<&str> = said.lines().collect();
        let alone = |name: &str, ledger: &str, why: &str| {
            format!("  {}/{name}: the ledger {ledger}, which cannot be used and is left alone: {why}", world.tenant)
        };
        assert_eq!(lines[..2], [summary, "Left:"]);
        assert_eq!(lines[2], alone("speech-0", &damaged, "it is damaged"));
        assert_eq!(lines[3], alone("speech-1", &later, "a later version of the operator wrote it"));
        let nameless = format!("  the ledger {}/rvc-x, which is left alone: it is damaged, and nothing tells whose it is", world.system);
        assert_eq!(lines[4], nameless);
    }
    assert_eq!((world.sandbox.truth().live().count(), world.ledgers().await?.len()), (2, 3));
    world.no_secret_is_told(&[]).await
}

pub(crate) async fn rewrite(world: &World, ledger: &str, record: &str) -> Result<()> {
    let (_, name) = ledger.split_once('/').context("no namespace")?;
    let patch = json!({ "stringData": { names::LEDGER_KEY: record } }).to_string();
    world.cluster.kubectl(["patch", "secret", name, "-n", &world.system, "-p", &patch]).await.map(drop)
}

#[tokio::test]
async fn a_drain_that_fails_after_scaling_says_how_to_undo_that() -> Result<()> {
    let world = World::new().await?;
    deployment(&world).await?;
    let operator = world.operator(&[]).await?;
    let flags = ["--deployment", names::OPERATOR, "--lease-wait", "1s"];
    let (code, said) = failed(&start(&world, &flags).await?).await?;
    let undo = format!(
        "undo all this: stop it, and run this again. The Deployment is scaled down; to bring its operator back: kubectl scale -n {} \
         --replicas=2 deployment/{}",
        world.system,
        names::OPERATOR
    );
    ensure!(code == Some(1) && said.ends_with(&undo), "{code:?} {said}");
    assert_eq!(replicas(&world).await?, Some(0));
    world.no_secret_is_told(&[&operator]).await
}

/// The operator goes on as if nobody had asked.
#[tokio::test]
async fn nothing_is_scaled_down_without_the_rights_to_drain() -> Result<()> {
    let world = World::new().await?;
    abandoned(&world, 1).await?;
    deployment(&world).await?;
    let role: Value = serde_json::from_str(&world.cluster.kubectl(["get", "role", ACCOUNT, "-n", &world.system, "-o", "json"]).await?)?;
    let all = role["rules"].as_array().context("no rules")?;
    let mark = world.cluster.audit_mark().await?;
    // The cluster role allows to list the Secrets of every namespace, this one among them: here it counts for the tenant alone.
    let (role, of) = (format!("--clusterrole={ACCOUNT}-{}", world.system), format!("--serviceaccount={}:{ACCOUNT}", world.system));
    world.kubectl(&["create", "rolebinding", ACCOUNT, &role, &of]).await?;
    world.cluster.kubectl(["delete", "clusterrolebinding", &format!("{ACCOUNT}-{}", world.system)]).await?;
    world.without(&["get leases.coordination.k8s.io", "list secrets"]);
    let account = format!("--as=system:serviceaccount:{}:{ACCOUNT}", world.system);
    for (without, error) in
        [("leases", "error: the operator's lease cannot be read: "), ("secrets", "error: the ledgers cannot be listed: ")]
    {
        let rules: Vec<&Value> = all.iter().filter(|rule| rule["resources"] != json!([without])).collect();
        let patch = json!({ "rules": rules }).to_string();
        world.cluster.kubectl(["patch", "role", ACCOUNT, "-n", &world.system, "--type=merge", "-p", &patch]).await?;
        eventually("the right to be gone", GENEROUS, async || {
            let can = world.cluster.kubectl(["auth", "can-i", "get", without, "-n", &world.system, &account]).await;
            ensure!(can.is_err(), "it is there");
            anyhow::Ok(())
        })
        .await?;
        let (code, said) = failed(&start(&world, &["--deployment", names::OPERATOR]).await?).await?;
        ensure!(code == Some(1) && said.starts_with(error) && said.contains("403"), "{code:?} {said}");
    }
    assert_eq!((writes(&world, mark).await?, replicas(&world).await?), (vec![], Some(2)));
    world.no_secret_is_told(&[]).await
}

/// `kubectl wait --for=condition=Complete` does not.
#[tokio::test]
async fn the_wait_for_the_job_ends_also_when_it_failed() -> Result<()> {
    let world = World::new().await?;
    world
        .apply(&json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": ACCOUNT, "namespace": world.system },
            "spec": { "template": { "spec": { "restartPolicy": "Never", "containers": [{ "name": "drain", "image": "none" }] } } },
        }))
        .await?;
    let documented = |file: &str| {
        let text = std::fs::read_to_string(format!("{}/{file}", env!("CARGO_MANIFEST_DIR")))?;
        text.lines().find(|line| line.starts_with("kubectl wait ") && line.ends_with(ACCOUNT)).map(str::to_owned).context("no such command")
    };
    let command = documented("docs/uninstall.md")?;
    assert_eq!(documented("README.md")?, command);
    let here = command.replace("revoiceit-system", &world.system).replace('\'', "").replace("=10m", "=1s");
    let wait = || world.cluster.kubectl(here.split_whitespace().skip(1));
    ensure!(wait().await.is_err(), "it does not wait");
    let is = |condition: &str| json!({ "type": condition, "status": "True", "reason": "BackoffLimitExceeded" });
    let status =
        json!({ "status": { "startTime": "2026-01-01T00:00:00Z", "conditions": [is("FailureTarget"), is("Failed")] } }).to_string();
    let patch = ["patch", "job", ACCOUNT, "-n", &world.system, "--subresource=status", "--type=merge", "-p", &status];
    world.cluster.kubectl(patch).await?;
    wait().await.map(drop)
}
