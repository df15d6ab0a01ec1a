//! Starting: what is missing is said with what to do about it, and waited for where it may come.

use anyhow::{Context, Result, ensure};
use revoiceit_harness::wait::{GENEROUS, eventually};
use revoiceit_operator::api::names;
use serde_json::{Value, json};

use crate::world::{Operator, World, conditions};

/// How an operator with these flags ends, and the last line that it says.
async fn ends(world: &World, account: (&str, &str), flags: &[&str]) -> Result<(Option<i32>, String)> {
    let kubeconfig = world.cluster.kubeconfig_for_service_account(account.0, account.1, &world.cluster.server()).await?;
    let process = world.spawn(&kubeconfig, flags)?;
    let status = process.wait(GENEROUS).await?;
    let said = process.stderr()?;
    Ok((status.code(), said.lines().rfind(|line| line.starts_with("error: ")).unwrap_or_default().to_owned()))
}

/// Waits until the operator says that it is ready, or that this is missing.
pub(crate) async fn says(operator: &Operator, expected: &str) -> Result<()> {
    eventually(&format!("/readyz to say {expected:?}"), GENEROUS, async || {
        ensure!(operator.process.is_running(), "it ended{}", operator.process.tail());
        let said = operator.get("/readyz").await.unwrap_or_else(|error| error.to_string());
        ensure!(said.contains(expected), "it says {said:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

#[tokio::test]
async fn what_a_person_has_to_mend_ends_the_start_with_what_to_do() -> Result<()> {
    let world = World::new().await?;
    let own = (world.system.as_str(), names::OPERATOR);
    // An account without any roles; the one that every namespace has comes a moment after it.
    world.kubectl(&["create", "serviceaccount", "nobody"]).await?;
    world.cluster.kubectl(["create", "clusterrole", "reads-namespaces", "--verb=get", "--resource=namespaces"]).await?;
    let subject = format!("--serviceaccount={}:{}", world.system, names::OPERATOR);
    world.cluster.kubectl(["create", "clusterrolebinding", "reads-namespaces", "--clusterrole=reads-namespaces", &subject]).await?;
    world.with_more_rights(&["get namespaces"]);
    let missing = world.policy(&json!({ "no-such-time": 1 }))?;

    let nobody = (world.tenant.as_str(), "nobody");
    let denied = format!(
        "error: the operator may not read its own namespace \"{}\" (HTTP 403): apply the roles in deploy/, and check the service account or \
         the kubeconfig",
        world.system
    );
    let unknown = format!("error: --policy-for-tests {missing}: unknown field `no-such-time`");
    let cases: [(_, &[&str], _, &str); 8] = [
        (
            own,
            &["--operator-namespace", "nowhere"],
            1,
            "error: the operator's own namespace \"nowhere\" does not exist: create it, or name another one with --operator-namespace",
        ),
        (nobody, &[], 1, &denied),
        (
            own,
            &["--api-url", "https://127.0.0.1:1", "--policy-for-tests", &missing],
            2,
            "error: --policy-for-tests shortens the times that keep tokens safe, so it is refused for an https:// API: remove it",
        ),
        (own, &["--context", "nowhere"], 1, "error: cannot use the kubeconfig"),
        (own, &["--policy-for-tests", &missing], 1, &unknown),
        (own, &["--listen", "192.0.2.1:80"], 1, "error: cannot listen on 192.0.2.1:80: choose another address with --listen"),
        (
            own,
            &["--api-ca-file", "/nowhere.pem"],
            1,
            "error: --api-ca-file cannot be used: /nowhere.pem cannot be read: is it mounted, and may the operator's user read it?",
        ),
        (own, &["--lease-duration", "1s"], 2, "error: invalid value '1s' for '--lease-duration <DURATION>': must be from 5s to 5m"),
    ];
    for (account, flags, code, message) in cases {
        let (ended, said) = ends(&world, account, flags).await?;
        ensure!(said.starts_with(message), "{flags:?}: {said}");
        assert_eq!(ended, Some(code), "{flags:?}: {said}");
    }
    world.no_secret_is_told(&[]).await
}

#[tokio::test]
async fn a_permission_that_is_missing_is_named_and_waited_for() -> Result<()> {
    let world = World::new().await?;
    world.credentials("client").await?;
    let binding = format!("clusterrolebinding/{}-{}", names::OPERATOR, world.system);
    let mut rights: Value = serde_json::from_str(&world.cluster.kubectl(["get", &binding, "-o", "json"]).await?)?;
    world.cluster.kubectl(["delete", &binding]).await?;
    world.without(&["watch revoiceitcredentials.revoiceit.com", "list revoiceitcredentials.revoiceit.com", "list secrets"]);
    world.speech(json!({})).await?;

    let kubeconfig = world.cluster.kubeconfig_for_service_account(&world.system, names::OPERATOR, &world.cluster.server()).await?;
    let operator = Operator::listening(world.spawn(&kubeconfig, &[])?).await?;
    let of = &world.tenant;
    says(
        &operator,
        &format!("missing: RevoiceitCredentials of namespace {of} (is the CRD installed, and may the operator list and watch them?"),
    )
    .await?;
    says(&operator, &format!("missing: Secrets of namespace {of} (may the operator list and watch them?)")).await?;
    assert_eq!(operator.get("/livez").await?, "ok\n");
    assert_eq!(world.calls(), (0, 0, 0));

    let metadata = rights["metadata"].as_object_mut().context("a binding without metadata")?;
    metadata.retain(|key, _| key == "name");
    world.apply(&rights).await?;
    says(&operator, "ok\n").await?;
    world.ready("speech").await?;
    assert_eq!(world.calls(), (1, 0, 0));
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn nothing_is_obtained_that_could_not_be_written() -> Result<()> {
    let world = World::new().await?;
    let policy = world.policy(&json!({ "retryMin": 500, "retryMax": 1000 }))?;
    let operator = world.operator(&["--policy-for-tests", &policy]).await?;
    let role = format!("{}-{}", names::OPERATOR, world.system);
    let mut rights: Value = serde_json::from_str(&world.cluster.kubectl(["get", "clusterrole", &role, "-o", "json"]).await?)?;
    rights["metadata"].as_object_mut().context("a role without metadata")?.retain(|key, _| key == "name");
    let (rights, mut less) = (rights.clone(), rights);
    for rule in less["rules"].as_array_mut().into_iter().flatten().filter(|rule| rule["resources"] == json!(["secrets"])) {
        rule["verbs"] = json!(["get", "list", "watch"]);
    }
    world.without(&["create secrets"]);
    let no_secrets = |namespace: &str| {
        let metadata = json!({ "name": "no-secrets", "namespace": namespace });
        json!({ "apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": { "hard": { "count/secrets": "0" } } })
    };
    let cases = [
        ("target", "PermissionDenied", &world.tenant, less),
        ("quota", "QuotaExceeded", &world.tenant, no_secrets(&world.tenant)),
        ("ledger", "LedgerDenied", &world.system, no_secrets(&world.system)),
    ];
    for (number, (name, reason, namespace, obstacle)) in cases.iter().enumerate() {
        world.credentials(name).await?;
        world.apply(obstacle).await?;
        let account = format!("--as=system:serviceaccount:{}:{}", world.system, names::OPERATOR);
        eventually(&format!("the API server to refuse, for {reason}"), GENEROUS, async || {
            let tried = ["-n", namespace, "create", "secret", "generic", "tried", "--dry-run=server", &account];
            ensure!(world.cluster.kubectl(tried).await.is_err(), "it does not");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        world.resource(name, name, &format!("{name}-token"), json!({})).await?;
        assert_eq!(conditions(&world.reason(name, reason).await?), ["Ready=False", "Stalled=True"], "{name}");
        assert_eq!(world.calls(), (number, 0, 0), "{name}");

        if obstacle["kind"] == "ResourceQuota" {
            world.cluster.kubectl(["-n", namespace, "delete", "quota", "no-secrets"]).await?;
        } else {
            world.apply(&rights).await?;
        }
        world.ready(name).await?;
        assert_eq!(world.calls(), (number + 1, 0, 0), "{name}");
    }
    world.no_secret_is_told(&[&operator]).await
}
