//! What a tenant can do to its own objects so that kube cannot decode them any more: nobody is to notice.

use anyhow::{Result, ensure};
use k8s_openapi::jiff::Timestamp;
use kube::api::ListParams;
use revoiceit_harness::wait::{GENEROUS, eventually};
use serde_json::json;

use crate::world::World;

/// The API server knows this time, kube does not.
const BEYOND: &str = "9999-12-31T23:59:59Z";

#[tokio::test]
async fn objects_that_kube_cannot_decode_stop_nothing() -> Result<()> {
    ensure!(BEYOND.parse::<Timestamp>().is_err(), "kube knows this time by now, and this test shows nothing");
    let world = World::new().await?;
    world.credentials("client").await?;
    world.foreign_secret("stranger").await?;
    poison(&world, "secret/stranger", "v1").await?;
    ensure!(world.secrets().list(&ListParams::default()).await.is_err(), "the list can be decoded, and this test shows nothing");

    // In the first list.
    let first = world.operator(&[]).await?;
    world.speech(json!({})).await?;
    world.ready("speech").await?;
    world.at_rest().await?;
    let token = delivered(&world).await?;

    // Under a running watch, and whatever the operator reads and writes.
    poison(&world, "secret/client", "v1").await?;
    poison(&world, "secret/token", "v1").await?;
    poison(&world, "rvc/speech", "revoiceit.com/v1").await?;
    rotate(&world, "one").await?;
    let token = another(&world, &token).await?;
    world.kubectl(&["delete", "secret/token"]).await?;
    eventually("the target to be restored", GENEROUS, async || {
        let restored = delivered(&world).await?;
        ensure!(restored == token, "another one");
        Ok::<_, anyhow::Error>(())
    })
    .await?;

    // A status that cannot be decoded is written anew.
    let status = json!({ "status": { "expiresAt": BEYOND } }).to_string();
    world.kubectl(&["patch", "rvc/speech", "--subresource=status", "--type=merge", "-p", &status]).await?;
    eventually("the status to be mended", GENEROUS, async || {
        let expires = world.kubectl(&["get", "rvc/speech", "-o", "jsonpath={.status.expiresAt}"]).await?;
        ensure!(expires.parse::<Timestamp>().is_ok(), "it says {expires:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    world.at_rest().await?;

    // After a restart everything is listed.
    first.stop().await?;
    let second = world.operator(&[]).await?;
    world.at_rest().await?;
    ensure!(delivered(&world).await? == token, "a restart brings no other token");
    rotate(&world, "two").await?;
    another(&world, &token).await?;

    world.kubectl(&["delete", "rvc/speech", "--timeout=60s"]).await?;
    world.gone("speech", "token").await?;
    let live = world.sandbox.truth().lines.iter().flat_map(|line| &line.refresh).filter(|token| token.ended_at.is_none()).count();
    ensure!(live == 0, "{live} refresh tokens are not revoked");
    world.kubectl(&["delete", "secret/stranger", "secret/client"]).await?;
    world.no_secret_is_told(&[&second]).await
}

/// The API server takes the entry as it is when the request has the same field manager.
async fn poison(world: &World, object: &str, api_version: &str) -> Result<()> {
    let entry = json!({
        "manager": "poisoner", "operation": "Update", "apiVersion": api_version, "time": BEYOND,
        "fieldsType": "FieldsV1", "fieldsV1": { "f:metadata": { "f:labels": {} } },
    });
    let patch = json!({ "metadata": { "managedFields": [entry] } }).to_string();
    world.kubectl(&["patch", object, "--type=merge", "--field-manager=poisoner", "-p", &patch]).await?;
    let times = world.kubectl(&["get", object, "-o", "jsonpath={.metadata.managedFields[*].time}"]).await?;
    ensure!(times.contains(BEYOND), "the API server did not take the poison: {times}");
    Ok(())
}

async fn rotate(world: &World, request: &str) -> Result<()> {
    world.kubectl(&["annotate", "--overwrite", "rvc/speech", &format!("revoiceit.com/rotate-requested-at={request}")]).await.map(drop)
}

/// The token in the target, still encoded.
async fn delivered(world: &World) -> Result<String> {
    world.kubectl(&["get", "secret/token", "-o", "jsonpath={.data.accessToken}"]).await
}

async fn another(world: &World, than: &str) -> Result<String> {
    eventually("another token in the target", GENEROUS, async || {
        let token = delivered(world).await?;
        ensure!(token != than, "the same one");
        Ok::<_, anyhow::Error>(token)
    })
    .await
}
