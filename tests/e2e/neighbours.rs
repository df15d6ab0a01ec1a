//! What other controllers and other people put on the objects that the operator works on stays theirs.

use anyhow::{Result, ensure};
use kube::ResourceExt;
use revoiceit_harness::wait::{GENEROUS, eventually};
use revoiceit_operator::api::names;
use serde_json::json;

use crate::world::World;

const THEIRS: &str = "example.com/keep";

#[tokio::test]
async fn finalizers_of_others_stay_and_are_waited_for() -> Result<()> {
    let world = World::new().await?;
    world.credentials("client").await?;
    let operator = world.operator(&[]).await?;
    world.speech(json!({})).await?;
    world.ready("speech").await?;
    world.patch("speech", &json!({ "metadata": { "finalizers": [THEIRS, names::FINALIZER] } })).await?;

    world.kubectl(&["delete", "rvc", "speech", "--wait=false"]).await?;
    eventually("the operator to be done with it", GENEROUS, async || {
        let resource = world.get("speech").await?;
        ensure!(resource.finalizers() == [THEIRS], "its finalizers are {:?}", resource.finalizers());
        ensure!(world.ledgers().await?.is_empty() && world.secrets().get_opt("token").await?.is_none(), "ledger or target is there");
        anyhow::Ok(())
    })
    .await?;
    world.at_rest().await?;
    assert_eq!(world.get("speech").await?.finalizers(), [THEIRS]);
    assert_eq!(world.calls(), (1, 0, 1));
    world.patch("speech", &json!({ "metadata": { "finalizers": null } })).await?;
    world.gone("speech", "token").await?;
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn nothing_is_copied_from_the_resource_to_its_target() -> Result<()> {
    let world = World::new().await?;
    world.credentials("client").await?;
    let operator = world.operator(&[]).await?;
    let theirs = json!({
        "name": "speech", "namespace": world.tenant,
        "labels": { "app.kubernetes.io/instance": "their-app", "team": "theirs" },
        "annotations": { "argocd.argoproj.io/tracking-id": "their-app", "note": "theirs" },
    });
    let spec = json!({ "credentialsSecretRef": { "name": "client" }, "target": { "name": "token" } });
    world.apply(&json!({ "apiVersion": "revoiceit.com/v1", "kind": names::KIND, "metadata": theirs, "spec": spec })).await?;
    world.ready("speech").await?;
    world.kubectl(&["annotate", "rvc", "speech", "another=theirs"]).await?;
    world.at_rest().await?;

    let target = world.secrets().get("token").await?;
    let all: Vec<&str> = target.labels().keys().chain(target.annotations().keys()).map(String::as_str).collect();
    let others: Vec<&&str> =
        all.iter().filter(|key| !key.starts_with("revoiceit.com/") && **key != "app.kubernetes.io/managed-by").collect();
    assert_eq!(others, [&""; 0], "of {all:?}");
    world.no_secret_is_told(&[&operator]).await
}
