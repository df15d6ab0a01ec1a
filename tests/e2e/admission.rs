//! The optional policy of `deploy/admission`: ledgers are the operator's alone.

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, api::PostParams};
use revoiceit_harness::wait::{GENEROUS, eventually};
use revoiceit_operator::api::names;
use serde_json::json;

use crate::{deletion::with_token, world::World};

const POLICY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/admission/ledgers.yaml");

/// Applies the policy for this test's operator, and waits until it is heeded.
async fn under_the_policy() -> Result<World> {
    let world = World::new().await?;
    let policy = std::fs::read_to_string(POLICY)?
        .replace("revoiceit-system", &world.system)
        .replace("revoiceit-ledgers", &format!("revoiceit-ledgers-of-{}", world.system));
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
