//! What a tenant can nest into its own objects, deeper than serde_json follows: nobody is to notice.

use anyhow::{Result, ensure};
use kube::api::ListParams;
use serde_json::json;

use crate::world::World;

#[tokio::test]
async fn objects_nested_deeper_than_they_can_be_read_stop_nothing() -> Result<()> {
    let world = World::new().await?;
    world.credentials("client").await?;
    world.foreign_secret("stranger").await?;
    nest(&world, "secret/stranger", "v1").await?;
    ensure!(world.secrets().list(&ListParams::default()).await.is_err(), "the list can be read, and this test shows nothing");

    // In the first list, under a running watch, and after a restart.
    let first = world.operator(&[]).await?;
    world.speech(json!({})).await?;
    world.ready("speech").await?;
    for (object, version) in [("secret/client", "v1"), ("secret/token", "v1"), ("rvc/speech", "revoiceit.com/v1")] {
        nest(&world, object, version).await?;
    }
    let token = world.kubectl(&["get", "secret/token", "-o", "jsonpath={.data.accessToken}"]).await?;
    world.kubectl(&["delete", "secret/token"]).await?;
    world.kubectl(&["wait", "--for=create", "secret/token", "--timeout=60s"]).await?;
    first.stop().await?;
    let _second = world.operator(&[]).await?;
    world.at_rest().await?;
    let restored = world.kubectl(&["get", "secret/token", "-o", "jsonpath={.data.accessToken}"]).await?;
    ensure!(restored == token, "a restart brings no other token");
    world.kubectl(&["delete", "rvc/speech", "--timeout=60s"]).await?;
    world.gone("speech", "token").await
}

/// The API server takes the entry as it is when the request has the same field manager.
async fn nest(world: &World, object: &str, api_version: &str) -> Result<()> {
    let fields = format!("{}{{}}{}", "{\"f:a\":".repeat(300), "}".repeat(300));
    let patch = format!(
        r#"{{ "metadata": {{ "managedFields": [{{ "manager": "nester", "operation": "Update", "apiVersion": "{api_version}",
        "time": "2026-11-01T00:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": {fields} }}] }} }}"#
    );
    world.kubectl(&["patch", object, "--type=merge", "--field-manager=nester", "-p", &patch]).await?;
    let stored = world.kubectl(&["get", object, "-o", "json", "--show-managed-fields"]).await?;
    ensure!(stored.matches("\"f:a\"").count() >= 300, "the API server did not take it");
    Ok(())
}
