//! The main job: a token appears, is refreshed, survives a restart, and is revoked.

use anyhow::{Result, ensure};
use revoiceit_sandbox::Call;
use serde_json::json;

use crate::world::{World, conditions, ready_reason};

#[tokio::test]
async fn a_resource_gets_a_token_with_five_writes() -> Result<()> {
    let world = World::new().await?;
    world.credentials("client").await?;
    let operator = world.operator(&[]).await?;
    world.at_rest().await?;
    let mark = world.cluster.audit_mark().await?;

    world
        .speech(json!({ "target": {
            "labels": { "team": "a" },
            "template": { "accessToken": "{{ accessToken }}", "authorization": "Bearer {{ accessToken }}", "expiresAt": "{{ expiresAt }}" },
        } }))
        .await?;
    world.ready("speech").await?;
    world.at_rest().await?;

    let token = world.token("token").await?;
    ensure!(world.sandbox.truth().owner_of(&token) == Some(&format!("client-of-{}", world.tenant)), "the token is somebody else's");
    assert_eq!(world.value("token", "authorization").await?, format!("Bearer {token}"));
    let resource = world.get("speech").await?;
    let status = resource.status.clone().unwrap_or_default();
    assert_eq!(world.value("token", "expiresAt").await?, status.expires_at.expect("it is set").0.to_string());
    assert_eq!((ready_reason(&resource), conditions(&resource)), (Some("TokenReady"), vec!["Ready=True".to_owned()]));

    let written: Vec<String> = world.written_since(mark).await?.iter().map(ToString::to_string).collect();
    let ledger = format!("secrets {}/{}", world.system, world.ledgers().await?[0]);
    let resource = format!("{}/speech", world.tenant);
    assert_eq!(
        written,
        [
            format!("create {ledger} 201"),
            format!("patch revoiceitcredentials {resource} 200"),
            format!("update {ledger} 200"),
            format!("create secrets {}/token 201", world.tenant),
            format!("patch revoiceitcredentials/status {resource} 200"),
        ]
    );
    assert_eq!(world.sandbox.count(Call::Issue, 0), 1);
    world.no_secret_is_told(&[&operator]).await
}
