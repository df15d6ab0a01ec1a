//! The way to the API server fails at each request of each kind of pass, in each way: all comes to what it should be by itself, with one token
//! for one cause, and nothing is taken for lost.

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::jiff::Timestamp;
use revoiceit_harness::{
    cluster::{Cluster, Component, Options},
    proxy::Fault,
    wait::{GENEROUS, eventually},
};
use revoiceit_sandbox::{Call, Rotation, Switches};
use serde_json::json;

use crate::{
    crashes::{Deletion, First, OtherCredentials, Refresh, Rename},
    shared::{INSTALL, install},
    stage::{Kind, Stage},
    world::World,
};

/// What the API server says when it has too much to do.
fn too_many() -> Fault {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 429, "reason": "TooManyRequests", "message": "injected",
        "details": { "retryAfterSeconds": 1 },
    });
    Fault::answer(429, status.to_string()).header("content-type", "application/json").header("retry-after", "1")
}

fn faults() -> [(&'static str, Fault); 7] {
    [
        ("lost", Fault::lost_reply()),
        ("reset", Fault::reset()),
        ("conflict", Fault::status(409, "Conflict")),
        ("busy", too_many()),
        ("error", Fault::status(500, "InternalError")),
        ("away", Fault::status(503, "ServiceUnavailable")),
        ("page", Fault::answer(404, "<html>").header("content-type", "text/html")),
    ]
}

/// How many resources are at work at once.
const AT_ONCE: usize = 24;

/// Each fault at each request of a pass of this kind, each with another resource.
async fn each_at_each_request<K: Kind>(kind: K, faults: &[(&str, Fault)], switch: fn(&mut Switches)) -> Result<()> {
    let stage = Stage::new(switch).await?;
    let requests = stage.requests(&kind).await?;
    ensure!(requests >= 5, "{requests} requests");
    let points = faults.iter().flat_map(|fault| (0..requests).map(move |number| (number, fault)));
    let met = points.map(async |(number, (word, fault))| {
        let name = format!("{word}-{number:02}");
        stage.fault_at(&kind, &name, number, fault.clone()).await.map(drop).with_context(|| name)
    });
    stream::iter(met).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
    stage.end().await
}

#[tokio::test]
async fn each_fault_at_each_request_for_a_first_token() -> Result<()> {
    each_at_each_request(First { is_there: true }, &faults(), |_| {}).await
}

#[tokio::test]
async fn some_faults_at_each_request_for_a_refresh() -> Result<()> {
    each_at_each_request(Refresh { rotates: false }, &faults()[..4], |_| {}).await
}

#[tokio::test]
async fn a_lost_reply_to_each_request_for_a_refresh_that_rotates() -> Result<()> {
    each_at_each_request(Refresh { rotates: true }, &faults()[..1], |switches| switches.rotation = Rotation::OldDies).await
}

#[tokio::test]
async fn a_lost_reply_to_each_request_for_other_credentials() -> Result<()> {
    each_at_each_request(OtherCredentials, &faults()[..1], |_| {}).await
}

#[tokio::test]
async fn a_lost_reply_to_each_request_for_another_name_of_the_target() -> Result<()> {
    each_at_each_request(Rename, &faults()[..1], |_| {}).await
}

#[tokio::test]
async fn a_lost_reply_to_each_request_for_a_deletion() -> Result<()> {
    each_at_each_request(Deletion, &faults()[..1], |_| {}).await
}

/// The policy of a stage has intents that run out within a second and a half.
#[tokio::test]
async fn an_intent_that_was_never_sent_is_withdrawn_however_long_the_api_server_is_away() -> Result<()> {
    let stage = Stage::new(|_| {}).await?;
    let world = &stage.world;
    // The first request that follows the saving of an intent, and the looks after that.
    let claim = stage.proxy.inject(Fault::status(503, "ServiceUnavailable").method("PATCH").path("/revoiceitcredentials/speech?"));
    let look = stage.proxy.inject(Fault::status(503, "ServiceUnavailable").method("GET").path("/secrets/rvc-").after(2));
    world.own("speech", json!({})).await?;
    eventually("the intent to have run out, unsent", GENEROUS, async || {
        ensure!(stage.proxy.struck(claim) == 1, "no intent");
        let record = world.record("speech").await?;
        let until: Timestamp = serde_json::from_value(record["intent"]["until"].clone())?;
        // The first of them was there in time.
        ensure!(stage.proxy.struck(look) > 1 && Timestamp::now() > until, "not yet");
        anyhow::Ok(())
    })
    .await?;
    stage.proxy.lift(claim);
    stage.proxy.lift(look);
    world.ready("speech").await?;
    assert_eq!((world.calls(), world.suspected_lost("speech").await?), ((1, 0, 0), 0));
    stage.end().await
}
