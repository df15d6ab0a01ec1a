//! What is served, and by which rights: a list of namespaces with roles in these alone.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use revoiceit_harness::{
    operator::Operator,
    wait::{GENEROUS, eventually},
};
use revoiceit_operator::api::names;
use revoiceit_sandbox::LineState;
use serde_json::{Value, json};

use crate::{
    rights::SERVED,
    world::{CANARY, World},
};

/// A namespace beside the tenant's.
pub(crate) async fn another(world: &World, suffix: &str) -> Result<String> {
    let name = format!("{}-{suffix}", world.tenant);
    world.cluster.kubectl(["create", "namespace", &name]).await?;
    Ok(name)
}

/// The rights of `deploy/kustomize-namespaced` for these, in place of those for the whole cluster.
pub(crate) async fn rights_in(world: &World, namespaces: &[&str]) -> Result<()> {
    let of_all = format!("{}-{}", names::OPERATOR, world.system);
    world.cluster.kubectl(["delete", "clusterrolebinding", &of_all]).await?;
    world.cluster.kubectl(["delete", "clusterrole", &of_all]).await?;
    roles_in(world, namespaces).await
}

/// The roles of `deploy/kustomize-namespaced` in these namespaces.
pub(crate) async fn roles_in(world: &World, namespaces: &[&str]) -> Result<()> {
    let text = std::fs::read_to_string(SERVED)?.replace("revoiceit-system", &world.system);
    for namespace in namespaces {
        for document in text.split("\n---\n") {
            let mut object: Value = serde_saphyr::from_str(document).context("a document in role.yaml")?;
            object["metadata"]["namespace"] = json!(namespace);
            world.apply(&object).await?;
        }
        // The API server takes a moment to go by new roles.
        let account = format!("--as=system:serviceaccount:{}:{}", world.system, names::OPERATOR);
        let can = ["auth", "can-i", "list", "secrets", "-n", namespace, &account];
        eventually("the role to count", GENEROUS, async || world.cluster.kubectl(can).await).await?;
    }
    Ok(())
}

/// A resource with a client of its own, and the name of that client.
pub(crate) async fn speech_in(world: &World, namespace: &str) -> Result<String> {
    let (id, secret) = (format!("client-of-{namespace}"), format!("{CANARY}-{namespace}"));
    world.sandbox.add_client(&id, &secret);
    let meta = |name: &str| json!({ "name": name, "namespace": namespace });
    let items = [
        json!({ "apiVersion": "v1", "kind": "Secret", "metadata": meta("client"), "stringData": { "clientId": id, "clientSecret": secret } }),
        json!({
            "apiVersion": "revoiceit.com/v1", "kind": names::KIND, "metadata": meta("speech"),
            "spec": { "credentialsSecretRef": { "name": "client" }, "target": { "name": "token" } },
        }),
    ];
    world.apply(&json!({ "apiVersion": "v1", "kind": "List", "items": items })).await?;
    Ok(id)
}

#[tokio::test]
async fn an_operator_for_two_namespaces_needs_no_more_than_roles_in_them() -> Result<()> {
    let world = World::new().await?;
    let (second, third) = (another(&world, "second").await?, another(&world, "third").await?);
    let first = world.tenant.clone();
    rights_in(&world, &[&first, &second]).await?;
    let clients = [speech_in(&world, &first).await?, speech_in(&world, &second).await?];
    speech_in(&world, &third).await?;
    let mark = world.cluster.audit_mark().await?;

    let operator = world.operator(&["--namespace", &format!("{first},{second}")]).await?;
    let kubectl = async |namespace: &str, args: &[&str]| world.cluster.kubectl(["-n", namespace].iter().chain(args)).await;
    for namespace in [&first, &second] {
        kubectl(namespace, &["wait", "--for=condition=Ready", "--timeout=60s", "rvc/speech"]).await?;
    }
    world.at_rest().await?;
    assert_eq!(world.calls(), (2, 0, 0));
    let truth = world.sandbox.truth();
    let owners: Vec<&str> = truth.lines.iter().map(|line| line.client.as_str()).collect();
    ensure!(clients.iter().all(|client| owners.contains(&client.as_str())), "{owners:?}");

    // A change in each is heard, and so is the end.
    for namespace in [&first, &second] {
        kubectl(namespace, &["delete", "secret/token"]).await?;
        kubectl(namespace, &["wait", "--for=create", "--timeout=60s", "secret/token"]).await?;
        kubectl(namespace, &["delete", "rvc/speech", "--timeout=60s"]).await?;
    }
    world.at_rest().await?;
    ensure!(world.sandbox.truth().lines.iter().all(|line| line.state() == LineState::Revoked), "a token lives");
    assert_eq!(world.ledgers().await?, [""; 0]);

    let untouched = kubectl(&third, &["get", "rvc/speech", "-o", "jsonpath={.status}{.metadata.finalizers}"]).await?;
    assert_eq!(untouched, "");
    let asked = world.asked_since(mark).await?;
    let denied: Vec<String> = asked.iter().filter(|event| event.code == Some(403)).map(ToString::to_string).collect();
    assert_eq!(denied, [""; 0]);
    let strangers: Vec<String> = asked
        .iter()
        .filter(|event| event.namespace == third || (event.namespace.is_empty() && event.resource != "namespaces"))
        .map(ToString::to_string)
        .collect();
    assert_eq!(strangers, [""; 0]);
    world.no_secret_is_told(&[&operator]).await
}

/// Whoever may delete a role in one namespace, or the namespace, is not to keep the others from being served.
#[tokio::test]
async fn a_namespace_without_its_role_keeps_no_other_waiting() -> Result<()> {
    let world = World::new().await?;
    let second = another(&world, "second").await?;
    let first = world.tenant.clone();
    rights_in(&world, &[&first]).await?;
    world.without(&["watch revoiceitcredentials.revoiceit.com", "list revoiceitcredentials.revoiceit.com"]);
    speech_in(&world, &first).await?;
    speech_in(&world, &second).await?;

    let kubeconfig = world.cluster.kubeconfig_for_service_account(&world.system, names::OPERATOR, &world.cluster.server()).await?;
    let operator = Operator::listening(world.spawn(&kubeconfig, &["--namespace", &format!("{first},{second}")])?).await?;
    let is_ready = async |namespace: &str| {
        world.cluster.kubectl(["-n", namespace, "wait", "--for=condition=Ready", "--timeout=60s", "rvc/speech"]).await
    };
    is_ready(&first).await?;
    assert_eq!(world.calls(), (1, 0, 0));
    let missing = operator.get("/readyz").await.expect_err("not all are served").to_string();
    ensure!(
        missing.contains(&format!("RevoiceitCredentials of namespace {second}")) && !missing.contains(&format!("namespace {first} ")),
        "{missing}"
    );

    roles_in(&world, &[&second]).await?;
    is_ready(&second).await?;
    eventually("all to be served", GENEROUS, async || operator.get("/readyz").await).await?;
    assert_eq!(world.calls(), (2, 0, 0));
    world.no_secret_is_told(&[&operator]).await
}

/// A line of a resource in a namespace that the operator is not to serve any more.
#[tokio::test]
async fn what_is_out_of_scope_now_is_reported_and_its_deletion_carried_out() -> Result<()> {
    let world = World::new().await?;
    let second = another(&world, "second").await?;
    let both = format!("{},{second}", world.tenant);
    let operator = world.operator(&["--namespace", &both]).await?;
    speech_in(&world, &second).await?;
    world.cluster.kubectl(["-n", &second, "wait", "--for=condition=Ready", "--timeout=60s", "rvc/speech"]).await?;
    operator.stop().await?;

    let operator = world.operator(&[]).await?;
    world.at_rest().await?;
    ensure!(operator.get("/metrics").await?.lines().any(|line| line == "revoiceit_ledgers_unattended 1"), "not reported");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!((world.calls(), world.ledgers().await?.len()), ((1, 0, 0), 1));
    world.cluster.kubectl(["-n", &second, "delete", "rvc/speech", "--wait=false"]).await?;
    operator.stop().await?;

    // Found by the sweep at its start.
    let operator = world.operator(&[]).await?;
    world.cluster.kubectl(["-n", &second, "wait", "--for=delete", "rvc/speech", "--timeout=60s"]).await?;
    world.at_rest().await?;
    assert_eq!((world.calls(), world.ledgers().await?), ((1, 0, 1), vec![]));
    world.no_secret_is_told(&[&operator]).await
}
