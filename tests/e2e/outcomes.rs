//! Each cell of the outcome table, for issue and refresh: what the status and the events say, when it is tried again, and what the ledger holds.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::jiff::{RoundMode, Timestamp, TimestampRound, Unit};
use revoiceit_harness::wait::{GENEROUS, eventually};
use revoiceit_sandbox::{Body, Call, Config, Fault, Kind, LineState, Rotation, Sandbox, TokenForm, Which, Wrong};
use serde_json::{Value, json};

use crate::world::{World, conditions};

/// Longer than any answer takes on a machine that is busy with other tests, shorter than that of a slow one here.
pub(crate) const TIMEOUT: &str = "3s";

/// A way for an issue or a refresh to fail: its name, the fault, the reason that it is given, and whether a token may exist that nobody has.
type Case = (&'static str, Fault, &'static str, bool);

/// What fails alike on an issue and on a refresh.
fn on_both(elsewhere: &str) -> Vec<Case> {
    let json = |text: &str| Body::Custom { content_type: "application/json".to_owned(), text: text.to_owned() };
    vec![
        ("error", Fault::status(500), "RevoiceitUnavailable", false),
        ("away", Fault::status(503), "RevoiceitUnavailable", false),
        ("busy", Fault::status(429), "RevoiceitUnavailable", false),
        ("early", Fault::status(425), "RevoiceitUnavailable", false),
        ("idle", Fault::status(408), "RevoiceitUnavailable", false),
        ("absent", Fault::answer(404, Body::Html), "RevoiceitUnavailable", false),
        ("method", Fault::status(405), "RevoiceitUnavailable", false),
        ("forbidden", Fault::answer(403, Body::Html), "RevoiceitUnavailable", false),
        ("invalid", Fault::answer(400, Body::Text), "RevoiceitUnavailable", false),
        ("redirect", Fault::new(Kind::Redirect { code: 307, location: elsewhere.to_owned() }), "RevoiceitUnavailable", false),
        ("gateway", Fault::status(502), "AnswerLost", true),
        ("late", Fault::status(504), "AnswerLost", true),
        ("lost", Fault::lost_answer(), "AnswerLost", true),
        ("dropped", Fault::dropped(), "AnswerLost", true),
        ("reset", Fault::new(Kind::Reset), "AnswerLost", true),
        ("partial", Fault::new(Kind::PartialBody), "AnswerLost", true),
        ("slow", Fault::slow(Duration::from_secs(6)), "AnswerLost", true),
        ("page", Fault::new(Kind::NotJson), "MalformedAnswer", true),
        ("huge", Fault::new(Kind::HugeBody { bytes: 1 << 20 }), "MalformedAnswer", true),
        ("garbage", Fault::answer(200, json("{")), "MalformedAnswer", true),
        ("list", Fault::answer(200, json("[]")), "MalformedAnswer", true),
    ]
}

fn on_issue(elsewhere: &str) -> Vec<Case> {
    let own = [
        ("unauthorized", Fault::status(401), "CredentialsRejected", false),
        ("rejected", Fault::status(400), "CredentialsRejected", false),
        ("no-refresh", Fault::bad_token(Which::Refresh, Wrong::Missing), "MalformedAnswer", true),
        ("no-access", Fault::bad_token(Which::Access, Wrong::Missing), "MalformedAnswer", false),
        ("quoted", Fault::bad_token(Which::Access, Wrong::Quote), "MalformedAnswer", false),
    ];
    on_both(elsewhere).into_iter().chain(own).collect()
}

fn on_refresh(elsewhere: &str) -> Vec<Case> {
    let own = [
        ("unauthorized", Fault::status(401), "RefreshRejected", false),
        ("rejected", Fault::status(400), "RefreshRejected", false),
        ("no-access", Fault::bad_token(Which::Access, Wrong::Missing), "MalformedAnswer", false),
        ("quoted", Fault::bad_token(Which::Access, Wrong::Quote), "MalformedAnswer", false),
    ];
    on_both(elsewhere).into_iter().chain(own).collect()
}

/// Puts each fault into force, for the client of its own resource.
fn inject(world: &World, cases: &[Case], call: Call) -> Result<()> {
    for (name, fault, ..) in cases {
        world.sandbox.inject(fault.clone().on(call).client(world.client_of(name)))?;
    }
    Ok(())
}

/// Waits until condition, event, status and ledger tell of the failure, and agree on when it is tried again.
async fn fails(world: &World, name: &str, reason: &str, ledger_has: &str) -> Result<()> {
    let failed = world.reason(name, reason).await?;
    let expected: &[&str] = match (ledger_has, reason) {
        ("failedRefresh", _) => &["Ready=True"],
        (_, "CredentialsRejected") => &["Ready=False", "Stalled=True"],
        _ => &["Ready=False", "Reconciling=True"],
    };
    assert_eq!(conditions(&failed), expected, "{name}");
    world.is_told(name, &format!("Warning {reason}")).await?;
    eventually(&format!("status and ledger of {name} to agree on {reason}"), GENEROUS, async || {
        let failure = world.get(name).await?.status.and_then(|status| status.failure).context("no failure in the status")?;
        let record = world.record(name).await?;
        let on_record = &record[ledger_has];
        let time = |field: &str| on_record[field].as_str().unwrap_or_default().parse::<Timestamp>();
        let (again_at, tried_at) = (time("notBefore")?, time("at")?);
        let seconds = |time: Timestamp| time.round(TimestampRound::new().smallest(Unit::Second).mode(RoundMode::Trunc));
        let said = (failure.reason.as_str(), failure.next_retry_at.map(|at| at.0), failure.last_at.map(|at| at.0));
        let kept = (reason, Some(seconds(again_at)?), Some(seconds(tried_at)?));
        ensure!(said == kept, "said: {said:?}, kept: {kept:?}");
        ensure!(i64::from(failure.count) == on_record["count"].as_i64().unwrap_or_default(), "another count");
        ensure!(again_at > tried_at, "it is tried again before it failed");
        ensure!(record["intent"].is_null(), "the intent of a call that was answered, or lost, stands");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

/// The same for all cases.
async fn fail(world: &World, cases: &[Case], ledger_has: &str) -> Result<()> {
    let checks = cases.iter().map(|(name, _, reason, _)| fails(world, name, reason, ledger_has));
    stream::iter(checks).buffer_unordered(8).try_collect().await
}

/// How many calls of this resource's met a fault.
fn failed(world: &World, name: &str) -> usize {
    let client = world.client_of(name);
    world.sandbox.calls(0).iter().filter(|call| call.client.as_ref() == Some(&client) && call.fault.is_some()).count()
}

/// Nothing fails any more, and tokens live for an hour: whatever is under way comes to its end.
async fn heal(world: &World, cases: &[Case]) -> Result<()> {
    world.sandbox.heal_all();
    world.sandbox.switch(|switches| switches.lifetime = Duration::from_secs(3600))?;
    for (name, ..) in cases {
        let healed = eventually(&format!("{name} to have healed"), GENEROUS, async || {
            let resource = world.get(name).await?;
            let status = resource.status.clone().unwrap_or_default();
            let issued_at = status.issued_at.as_ref().map(|at| at.0);
            let lives_long = status.expires_at.map(|at| at.0) > issued_at.map(|at| at + Duration::from_secs(1800));
            ensure!(lives_long && status.failure.is_none(), "{:?}", status.failure);
            Ok::<_, anyhow::Error>(resource)
        })
        .await?;
        assert_eq!(conditions(&healed), ["Ready=True"], "{name}");
    }
    world.at_rest().await
}

/// The suspects of each resource are as many as its calls that may have brought a token to nobody.
async fn counted(world: &World, cases: &[Case]) -> Result<()> {
    for (name, _, _, is_suspect) in cases {
        let failed = failed(world, name);
        ensure!(failed > 0, "{name} never failed");
        let suspects = if *is_suspect { failed } else { 0 };
        assert_eq!(world.suspected_lost(name).await?, i32::try_from(suspects)?, "{name}, which failed {failed} times");
    }
    world.nothing_is_forgotten().await
}

#[tokio::test]
async fn each_way_for_an_issue_to_fail_has_its_reason_and_each_token_that_may_exist_is_counted() -> Result<()> {
    let world = World::with(|switches| switches.token_form = TokenForm::Jwt).await?;
    let elsewhere = Sandbox::start(Config::default()).await?;
    // No budget, so that all of them can be tried for as long as it takes to see their reasons.
    let policy = world.policy(&json!({ "budgetInterval": 1, "retryMin": 3000, "rejectedRetry": 3000, "retiringCap": 1000 }))?;
    let operator = world.operator(&["--policy-for-tests", &policy, "--api-timeout", TIMEOUT, "--api-in-flight", "64"]).await?;
    let cases = on_issue(&elsewhere.api_url());
    inject(&world, &cases, Call::Issue)?;
    for (name, ..) in &cases {
        world.own(name, json!({})).await?;
    }
    fail(&world, &cases, "failedIssue").await?;
    heal(&world, &cases).await?;

    counted(&world, &cases).await?;
    // What could be read was revoked: one line of each client whose access token alone was unusable is left.
    let truth = world.sandbox.truth();
    for name in ["no-access", "quoted"] {
        let live = truth.lines_of(&world.client_of(name)).filter(|line| line.state() == LineState::Live).count();
        assert_eq!(live, 1, "{name}");
    }
    assert_eq!(elsewhere.mark(), 0, "a redirect was followed");
    world.no_secret_is_told(&[&operator]).await
}

/// Tokens that are refreshed after some seven seconds and close to their end after sixteen.
async fn refreshing(rotation: Rotation) -> Result<World> {
    World::with(|switches| {
        (switches.token_form, switches.lifetime, switches.rotation) = (TokenForm::Jwt, Duration::from_secs(24), rotation);
    })
    .await
}

fn patient() -> Value {
    json!({ "budgetInterval": 1, "retryMin": 1000, "rejectedRetry": 1000, "retiringCap": 1000, "minLifetime": 1000, "minGrace": 1000 })
}

#[tokio::test]
async fn each_way_for_a_refresh_to_fail_has_its_reason_beside_a_valid_token_and_loses_none() -> Result<()> {
    let world = refreshing(Rotation::None).await?;
    let elsewhere = Sandbox::start(Config::default()).await?;
    let policy = world.policy(&patient())?;
    let operator = world.operator(&["--policy-for-tests", &policy, "--api-timeout", TIMEOUT, "--api-in-flight", "64"]).await?;
    let cases: Vec<Case> =
        on_refresh(&elsewhere.api_url()).into_iter().map(|(name, fault, reason, _)| (name, fault, reason, false)).collect();
    inject(&world, &cases, Call::Refresh)?;
    // Where nobody knows whether refreshes rotate, the first that does may be lost: the next is rejected then.
    for fault in [Fault::lost_answer().once(), Fault::status(401)] {
        world.sandbox.inject(fault.on(Call::Refresh).client(world.client_of("doubted")))?;
    }
    world.own("doubted", json!({ "revocation": { "grace": "0s" } })).await?;
    for (name, ..) in &cases {
        world.own(name, json!({ "revocation": { "grace": "0s" } })).await?;
    }
    fails(&world, "doubted", "RefreshRejected", "failedRefresh").await?;
    assert_eq!(world.suspected_lost("doubted").await?, 1);
    world.is_told("doubted", "Warning SuspectedLost").await?;
    fail(&world, &cases, "failedRefresh").await?;
    heal(&world, &cases).await?;

    counted(&world, &cases).await?;
    assert_eq!(elsewhere.mark(), 0, "a redirect was followed");
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn where_refreshes_rotate_a_refresh_without_an_answer_counts_as_a_token_that_may_be_lost() -> Result<()> {
    let world = refreshing(Rotation::OldLives).await?;
    let elsewhere = Sandbox::start(Config::default()).await?;
    let policy = world.policy(&patient())?;
    let operator = world.operator(&["--policy-for-tests", &policy, "--api-timeout", TIMEOUT, "--api-in-flight", "64"]).await?;
    let cases = on_refresh(&elsewhere.api_url());
    for (name, ..) in &cases {
        world.own(name, json!({ "revocation": { "grace": "0s" } })).await?;
    }
    for (name, ..) in &cases {
        eventually(&format!("{name} to have rotated"), GENEROUS, async || {
            ensure!(world.record(name).await?["rotates"] == true, "not yet");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
    }
    inject(&world, &cases, Call::Refresh)?;
    fail(&world, &cases, "failedRefresh").await?;
    heal(&world, &cases).await?;

    counted(&world, &cases).await?;
    // Nobody reads an access token that came with a refresh token that could be read: that one was kept, and revoked.
    for name in ["no-access", "quoted"] {
        let client = world.client_of(name);
        // They go on to be refreshed, and each time the old one lives on for its grace.
        eventually(&format!("{name} to have one refresh token"), GENEROUS, async || {
            let truth = world.sandbox.truth();
            let live = truth.lines_of(&client).flat_map(|line| &line.refresh).filter(|token| token.ended_at.is_none()).count();
            ensure!(live == 1, "{live} live");
            anyhow::Ok(())
        })
        .await?;
    }
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn what_never_left_is_tried_again_and_counts_nothing() -> Result<()> {
    let mut world = World::new().await?;
    let policy = world.policy(&json!({ "retryMin": 1000, "retryMax": 1000 }))?;
    let operator = world.operator(&["--policy-for-tests", &policy]).await?;
    world.sandbox.stop().await;
    world.own("issue", json!({})).await?;
    fails(&world, "issue", "RevoiceitUnreachable", "failedIssue").await?;
    world.sandbox.restart().await?;
    world.ready("issue").await?;
    world.at_rest().await?;
    assert_eq!((world.suspected_lost("issue").await?, world.calls()), (0, (1, 0, 0)));
    world.nothing_is_forgotten().await?;
    world.no_secret_is_told(&[&operator]).await
}
