//! A Revoiceit that takes requests and does not answer keeps nobody from the work that is with Kubernetes alone.

use std::time::Duration;

use anyhow::{Result, ensure};
use revoiceit_harness::wait::{GENEROUS, eventually};
use revoiceit_sandbox::{Call, Fault};
use serde_json::json;
use tokio::time::Instant;

use crate::world::World;

#[tokio::test]
async fn a_target_is_restored_while_every_call_hangs() -> Result<()> {
    let world = World::new().await?;
    world.credentials("client").await?;
    let operator = world.operator(&["--concurrency", "1", "--api-timeout", "30s"]).await?;
    world.speech(json!({})).await?;
    world.ready("speech").await?;
    world.at_rest().await?;

    world.sandbox.inject(Fault::hang().on(Call::Issue))?;
    let mark = world.sandbox.mark();
    world.resource("hanging", "client", "hanging-token", json!({})).await?;
    eventually("a call that hangs", GENEROUS, async || {
        ensure!(world.sandbox.count(Call::Issue, mark) > 0, "none yet");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    let began = Instant::now();
    world.kubectl(&["delete", "secret", "token"]).await?;
    world.kubectl(&["wait", "--for=create", "secret/token", "--timeout=60s"]).await?;
    ensure!(began.elapsed() < Duration::from_secs(15), "it took {:?}", began.elapsed());
    world.sandbox.heal_all();
    world.ready("hanging").await?;
    world.no_secret_is_told(&[&operator]).await
}
