//! The way to the API server fails at each request of each kind of pass, in each way: all comes to what it should be by itself, with one token
//! for one cause, and nothing is taken for lost.

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, future::try_join_all, stream};
use revoiceit_harness::proxy::Fault;
use revoiceit_sandbox::{Rotation, Switches};
use serde_json::json;

use crate::{
    crashes::{Deletion, First, Gone, OtherCredentials, Refresh, Rename, Repair, supplied, vanishes},
    stage::{Kind, Stage},
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
    let requests = stage.requests(&kind, "undisturbed").await?;
    ensure!(requests >= 5, "{requests} requests");
    let points = faults.iter().flat_map(|fault| (0..requests).map(move |number| (number, fault)));
    let met = points.map(async |(number, (word, fault))| {
        let name = format!("{word}-{number:02}");
        stage.fault_at(&kind, &name, number, fault.clone()).await.with_context(|| name)
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

/// What else than a lost reply a request may meet. What hangs comes first: it takes half a minute.
fn in_turn() -> Vec<(&'static str, Fault)> {
    std::iter::once(("hang", Fault::detain())).chain(faults().into_iter().skip(1)).collect()
}

/// Another fault at each request of a pass of this kind, in turn: the first meets the fault of this number, and one further on in each round.
async fn a_fault_at_each_request<K: Kind>(stage: &Stage, kind: K, word: &str, first: usize, rounds: usize) -> Result<()> {
    let (faults, requests) = (in_turn(), stage.requests(&kind, &format!("{word}-undisturbed")).await?);
    ensure!(requests >= 4, "{requests} requests");
    let points = (first..first + rounds).flat_map(|offset| (0..requests).map(move |number| (number, offset)));
    let mut points: Vec<_> = points.map(|(number, offset)| (number, offset, &faults[(number + offset) % faults.len()])).collect();
    points.sort_by_key(|(.., (fault, _))| *fault != "hang");
    let met = points.into_iter().map(async |(number, offset, (fault, injected))| {
        let name = format!("{word}-{fault}-{offset:02}-{number:02}");
        stage.fault_at(&kind, &name, number, injected.clone()).await.with_context(|| name)
    });
    stream::iter(met).buffer_unordered(AT_ONCE / 2).try_collect().await
}

/// A deletion writes what no other pass does, so it has several rounds. There are two operators: enough of their passes are to be left to those that
/// do not hang.
#[tokio::test]
async fn other_faults_in_turn_at_each_request_of_the_other_kinds() -> Result<()> {
    let stage = Stage::new(|switches| switches.rotation = Rotation::OldDies).await?;
    let other = Stage::new(|_| {}).await?;
    tokio::try_join!(
        a_fault_at_each_request(&stage, Refresh { rotates: true }, "refresh", 0, 1),
        a_fault_at_each_request(&stage, OtherCredentials, "credentials", 1, 1),
        a_fault_at_each_request(&stage, Rename, "rename", 2, 1),
        a_fault_at_each_request(&other, Repair { deleted: false }, "edited", 3, 1),
        a_fault_at_each_request(&other, Repair { deleted: true }, "deleted", 4, 1),
        a_fault_at_each_request(&other, Deletion, "deletion", 5, 4),
    )?;
    stage.end().await?;
    other.end().await
}

/// Each fault at each act, and faults in turn at the reads that there are before absence is proven, however long that takes. All resources go at
/// once, and one start of the operator is the cause of all passes.
#[tokio::test]
async fn faults_at_each_act_and_at_reads_for_resources_that_are_gone() -> Result<()> {
    const ACTS: usize = 2;
    const READS: usize = 8;
    let stage = Stage::new(|_| {}).await?;
    let others = in_turn();
    let at_acts = faults().into_iter().chain(others[..1].iter().cloned());
    let at_acts =
        at_acts.flat_map(|(word, fault)| (0..ACTS).map(move |number| (format!("act-{word}-{number}"), number, fault.clone(), false)));
    let at_reads = others.iter().cycle().zip(0..READS);
    let at_reads = at_reads.map(|((word, fault), number)| (format!("read-{word}-{number}"), number, fault.clone(), true));
    let points: Vec<_> = at_acts.chain(at_reads).collect();

    try_join_all(points.iter().map(|(name, ..)| supplied(&stage, name))).await?;
    stage.kill();
    try_join_all(points.iter().map(|(name, ..)| vanishes(&stage, name))).await?;
    let armed = points.iter().map(async |(name, number, fault, is_read)| {
        let fault = fault.clone();
        let armed = if *is_read {
            stage.arm::<Gone<true>>(name, *number, fault).await?
        } else {
            stage.arm::<Gone<false>>(name, *number, fault).await?
        };
        anyhow::Ok((name, armed))
    });
    let armed = try_join_all(armed).await?;
    stage.start().await?;
    let met =
        armed.iter().map(async |(name, fault)| stage.weathers(&Gone::<false>, name, *fault, 1).await.with_context(|| (*name).clone()));
    try_join_all(met).await?;
    stage.end().await
}

/// It comes late all the same. Calls to the API server are given half a minute.
#[tokio::test]
async fn a_request_that_hangs_is_given_up_and_judged_by_what_is_there() -> Result<()> {
    each_at_each_request(First { is_there: true }, &[("hang", Fault::detain())], |_| {}).await
}
