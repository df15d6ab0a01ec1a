//! What people and machines are told, and for how long: series that end, and events that do not come again and again.

use anyhow::{Context, Result, ensure};
use revoiceit_harness::wait::{GENEROUS, eventually};
use revoiceit_sandbox::{Call, Fault};
use serde_json::json;

use crate::world::{Operator, World};

/// The resources that an operator's metrics have series of, of this world.
async fn series(operator: &Operator, world: &World) -> Result<Vec<String>> {
    let label = format!("namespace=\"{}\"", world.tenant);
    let text = operator.get("/metrics").await?;
    Ok(text.lines().filter(|line| line.contains(&label)).filter_map(|line| line.split(' ').next()).map(str::to_owned).collect())
}

/// A series as it is exposed.
fn one(world: &World, metric: &str, name: &str) -> String {
    format!("revoiceit_{metric}{{namespace=\"{}\",name=\"{name}\"}}", world.tenant)
}

async fn has_series(operator: &Operator, world: &World, names: &[&str]) -> Result<()> {
    let metrics = ["resource_ready", "token_expiry_timestamp_seconds", "refresh_due_timestamp_seconds"];
    let mut expected: Vec<String> = names.iter().flat_map(|name| metrics.map(|metric| one(world, metric, name))).collect();
    expected.sort();
    eventually(&format!("series of {names:?} alone"), GENEROUS, async || {
        let mut series = series(operator, world).await?;
        series.sort();
        ensure!(series == expected, "{series:?}");
        anyhow::Ok(())
    })
    .await
}

#[tokio::test]
async fn series_end_with_their_resource_and_with_leadership() -> Result<()> {
    let world = World::new().await?;
    world.credentials("client").await?;
    let first = world.operator(&[]).await?;
    for name in ["speech", "other"] {
        world.resource(name, "client", &format!("{name}-token"), json!({})).await?;
        world.ready(name).await?;
    }
    has_series(&first, &world, &["speech", "other"]).await?;
    let second = world.operator(&[]).await?;
    world.at_rest().await?;
    has_series(&second, &world, &[]).await?;

    world.kubectl(&["delete", "rvc", "speech", "--timeout=60s"]).await?;
    has_series(&first, &world, &["other"]).await?;

    // Somebody takes the lease: whoever had it ends, and who has it afterwards has the series.
    world.at_rest().await?;
    let usurper = json!({ "spec": { "holderIdentity": "usurper", "leaseDurationSeconds": 3 } }).to_string();
    world.cluster.kubectl(["-n", &world.system, "patch", "lease/revoiceit-operator", "--type=merge", "-p", &usurper]).await?;
    let ended = first.process.wait(GENEROUS).await?;
    ensure!(!ended.success(), "who loses its lease says that something is wrong");
    has_series(&second, &world, &["other"]).await?;
    world.no_secret_is_told(&[&second]).await
}

#[tokio::test]
async fn a_resource_is_not_ready_in_the_metrics_while_its_token_does_not_arrive() -> Result<()> {
    let world = World::new().await?;
    world.credentials("client").await?;
    world.foreign_secret("taken").await?;
    let operator = world.operator(&[]).await?;
    let shows = async |name: &str, ready: u8| operator.shows(&format!("{} {ready}", one(&world, "resource_ready", name))).await;
    let has_no = async |name: &str| {
        eventually(&format!("{name} to be nobody's concern"), GENEROUS, async || {
            ensure!(!series(&operator, &world).await?.contains(&one(&world, "resource_ready", name)), "it is said to be ready, or not");
            anyhow::Ok(())
        })
        .await
    };
    // It never had a token, so there are no times of it.
    world.resource("new", "missing", "new-token", json!({})).await?;
    shows("new", 0).await?;
    ensure!(series(&operator, &world).await?.len() == 1, "{:?}", series(&operator, &world).await?);

    world.speech(json!({})).await?;
    shows("speech", 1).await?;
    // Its token lives on, and its pods do not get it.
    world.patch("speech", &json!({ "spec": { "target": { "name": "taken" } } })).await?;
    shows("speech", 0).await?;
    ensure!(series(&operator, &world).await?.contains(&one(&world, "token_expiry_timestamp_seconds", "speech")), "its times have ended");

    world.patch("speech", &json!({ "spec": { "suspend": true } })).await?;
    has_no("speech").await?;
    world.patch("speech", &json!({ "spec": { "suspend": false, "target": { "name": "token" } } })).await?;
    shows("speech", 1).await?;

    world.sandbox.inject(Fault::status(503).on(Call::Revoke))?;
    world.kubectl(&["delete", "rvc", "speech", "--wait=false"]).await?;
    world.reason("speech", "Revoking").await?;
    has_no("speech").await?;
    shows("new", 0).await?;
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn a_resource_that_fails_again_and_again_is_told_of_in_one_event() -> Result<()> {
    const CALLS: usize = 12;
    let world = World::new().await?;
    world.credentials("client").await?;
    let policy = world.policy(&json!({ "retryMin": 100, "retryMax": 200 }))?;
    let operator = world.operator(&["--policy-for-tests", &policy]).await?;
    let mark = world.cluster.audit_mark().await?;
    world.sandbox.inject(Fault::status(500).on(Call::Issue).times(u32::try_from(CALLS)?))?;
    world.speech(json!({})).await?;
    let tried = world.sandbox.wait_for(GENEROUS, |sandbox| (sandbox.count(Call::Issue, 0) == CALLS).then_some(())).await;
    tried.context("it is not tried again")?;
    world.ready("speech").await?;
    world.at_rest().await?;

    world.told("speech", &["Normal TokenReady", "Warning RevoiceitUnavailable"]).await?;
    let asked = world.asked_since(mark).await?;
    let events = asked.iter().filter(|event| event.resource == "events").count();
    assert_eq!(events, 2, "requests for events");
    assert_eq!(world.sandbox.count(Call::Issue, 0), CALLS + 1);
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn the_count_of_failures_is_that_of_calls_however_often_a_resource_is_looked_at() -> Result<()> {
    let world = World::new().await?;
    world.credentials("client").await?;
    let operator = world.operator(&[]).await?;
    world.sandbox.inject(Fault::status(500).on(Call::Issue))?;
    world.speech(json!({})).await?;
    let count = async || anyhow::Ok(world.get("speech").await?.status.and_then(|status| status.failure).map(|failure| failure.count));
    world.reason("speech", "RevoiceitUnavailable").await?;
    for number in 0..10 {
        world.patch("speech", &json!({ "metadata": { "labels": { "number": number.to_string() } } })).await?;
        let before = world.sandbox.count(Call::Issue, 0);
        let told = count().await?;
        let after = world.sandbox.count(Call::Issue, 0);
        // A call may be under way, whose failure is not told yet.
        let calls = i32::try_from(before)? - 1..=i32::try_from(after)?;
        ensure!(told.is_some_and(|told| calls.contains(&told)), "{told:?} failures of {calls:?} calls");
    }
    world.sandbox.heal_all();
    world.ready("speech").await?;
    assert_eq!(count().await?, None);
    world.no_secret_is_told(&[&operator]).await
}
