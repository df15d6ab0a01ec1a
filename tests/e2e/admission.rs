//! The optional policy of `deploy/admission`: ledgers are the operator's alone.

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, api::PostParams};
use revoiceit_harness::wait::{GENEROUS, eventually};
use revoiceit_operator::api::names;
use serde_json::{Value, json};

use crate::{
    deletion::{impatient, with_token},
    drain::{all_is_taken_away, ended},
    world::{World, merge},
};

const POLICY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/admission/ledgers.yaml");

/// The binding of this test's policy.
fn binding(world: &World) -> String {
    format!("revoiceit-ledgers-of-{}", world.system)
}

/// What an administrator gets who puts an object in the place of one that is there.
async fn replaced(world: &World, object: &Value) -> Result<String> {
    world.cluster.kubectl_stdin(["replace", "-f", "-"], &object.to_string()).await
}

/// Applies the policy for this test's operator, and waits until it is heeded.
async fn under_the_policy() -> Result<World> {
    let world = World::new().await?;
    let policy = std::fs::read_to_string(POLICY)?.replace("revoiceit-system", &world.system).replace("revoiceit-ledgers", &binding(&world));
    world.cluster.kubectl_stdin(["apply", "--server-side", "--warnings-as-errors", "-f", "-"], &policy).await?;
    let ledgers: Api<Secret> = Api::namespaced(world.client.clone(), &world.system);
    let forged = serde_json::from_value(json!({ "metadata": { "name": "forged" }, "type": names::LEDGER_TYPE }))?;
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    eventually("the policy to be in force", GENEROUS, async || {
        ensure!(ledgers.create(&dry, &forged).await.is_err(), "an administrator may make a ledger");
        anyhow::Ok(())
    })
    .await?;
    Ok(world)
}

#[tokio::test]
async fn nobody_but_the_operator_changes_a_ledger() -> Result<()> {
    let world = under_the_policy().await?;
    let operator = with_token(&world, json!({})).await?;
    let ledger = world.ledgers().await?.remove(0);
    let by_hand = async |args: &[&str]| world.cluster.kubectl(["-n", world.system.as_str()].iter().chain(args)).await;
    for change in [["delete", "secret", &ledger, "--wait=false"], ["annotate", "secret", &ledger, "by=hand"]] {
        let message = by_hand(&change).await.expect_err("it is the operator's").to_string();
        ensure!(message.contains("Delete the RevoiceitCredential instead"), "{message}");
    }
    // Nor by somebody who changes one thing in it and leaves the rest.
    let whole: Value = serde_json::from_str(&by_hand(&["get", "secret", &ledger, "-o", "json"]).await?)?;
    let changes = [
        json!({ "data": { "more": "bW9yZQ==" } }),
        json!({ "data": null }),
        json!({ "stringData": { names::LEDGER_KEY: "{}" } }),
        json!({ "immutable": true }),
        json!({ "metadata": { "labels": { "by": "hand" } } }),
        json!({ "metadata": { "labels": null } }),
        json!({ "metadata": { "annotations": null } }),
        json!({ "metadata": { "finalizers": ["example.com/hold"] } }),
        json!({ "metadata": { "ownerReferences": [{ "apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": "none" }] } }),
    ];
    for change in changes {
        let mut changed = whole.clone();
        merge(&mut changed, change.clone());
        let message = replaced(&world, &changed).await.expect_err(&change.to_string()).to_string();
        ensure!(message.contains("Delete the RevoiceitCredential instead"), "{change}: {message}");
    }
    // Other Secrets there are not meant.
    by_hand(&["create", "secret", "generic", "other"]).await?;
    by_hand(&["delete", "secret", "other"]).await?;

    world.kubectl(&["annotate", "rvc", "speech", &format!("{}=now", names::ROTATE_ANNOTATION)]).await?;
    eventually("another line", GENEROUS, async || {
        ensure!(world.calls() == (2, 0, 0), "{:?} calls", world.calls());
        anyhow::Ok(())
    })
    .await?;
    world.kubectl(&["delete", "rvc", "speech", "--timeout=60s"]).await?;
    world.gone("speech", "token").await?;
    assert_eq!(world.sandbox.truth().live().count(), 0);
    world.no_secret_is_told(&[&operator]).await
}

/// Who deletes what is in a namespace is its controller.
#[tokio::test]
async fn the_operators_namespace_can_be_deleted_all_the_same() -> Result<()> {
    let world = under_the_policy().await?;
    let operator = with_token(&world, json!({})).await?;
    world.without_any_rights();
    world.cluster.kubectl(["delete", "namespace", &world.system, "--timeout=60s"]).await?;
    operator.kill();
    world.no_secret_is_told(&[]).await
}

/// After a change of the key that Secrets are encrypted with, each of them is written again as it is.
#[tokio::test]
async fn a_ledger_may_be_written_as_it_is_so_that_it_is_encrypted_anew() -> Result<()> {
    let world = under_the_policy().await?;
    let operator = with_token(&world, json!({})).await?;
    let record = world.record("speech").await?;
    let all: Value = serde_json::from_str(&world.cluster.kubectl(["get", "secrets", "-n", &world.system, "-o", "json"]).await?)?;
    let said = replaced(&world, &all).await?;
    assert_eq!(said, format!("secret/{} replaced\n", world.ledgers().await?.remove(0)));
    assert_eq!(world.record("speech").await?, record);
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn a_drain_by_an_administrator_revokes_nothing_until_the_binding_is_taken_away() -> Result<()> {
    let world = under_the_policy().await?;
    with_token(&world, json!({})).await?.stop().await?;
    let flags = ["--timeout=3s", "--policy-for-tests", &world.policy(&impatient())?];
    let drain = async || ended(&world.spawn_verb("drain", world.cluster.admin_kubeconfig(), &flags)?).await;
    let said = drain().await?;
    ensure!(said.contains(&format!("/speech: 1 refresh token in the ledger {}", world.system)), "{said}");
    assert_eq!(world.sandbox.truth().live().count(), 1);
    world.cluster.kubectl(["delete", "validatingadmissionpolicybinding", &binding(&world)]).await?;
    let said = drain().await?;
    ensure!(said.ends_with("Nothing is left.\n"), "{said}");
    all_is_taken_away(&world, 1).await?;
    world.no_secret_is_told(&[]).await
}
