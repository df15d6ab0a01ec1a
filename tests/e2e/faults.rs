//! Revoiceit away, slow, or out of its mind: what the status says, what is counted, and what is never told.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use revoiceit_harness::wait::{GENEROUS, eventually};
use revoiceit_sandbox::{Body, Call, Fault, Kind, TokenForm};
use serde_json::json;

use crate::{
    seen::message,
    world::{CANARY, World, conditions, ready_reason},
};

#[tokio::test]
async fn a_lost_answer_is_told_once_and_tried_again() -> Result<()> {
    let world = World::new().await?;
    world.credentials("client").await?;
    let operator = world.operator(&[]).await?;
    world.sandbox.inject(Fault::lost_answer().on(Call::Issue).once())?;
    world.speech(json!({})).await?;
    world.ready("speech").await?;
    world.at_rest().await?;

    assert_eq!((world.suspected_lost("speech").await?, world.calls()), (1, (2, 0, 0)));
    assert_eq!(world.sandbox.truth().live().count(), 2);
    world.told("speech", &["Normal TokenReady", "Warning AnswerLost", "Warning SuspectedLost"]).await?;
    let metrics = operator.get("/metrics").await?;
    ensure!(metrics.lines().any(|line| line == "revoiceit_suspected_lost 1"), "the metrics do not say so");
    world.nothing_is_forgotten().await?;

    // It is counted for good when there is no status any more that could say it.
    operator.shows("revoiceit_tokens_unaccounted_total 0").await?;
    world.kubectl(&["delete", "rvc", "speech", "--timeout=60s"]).await?;
    operator.shows("revoiceit_suspected_lost 0").await?;
    operator.shows("revoiceit_tokens_unaccounted_total 1").await?;
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn retry_after_is_kept() -> Result<()> {
    let world = World::new().await?;
    world.credentials("client").await?;
    let policy = world.policy(&json!({ "retryMin": 100 }))?;
    let operator = world.operator(&["--policy-for-tests", &policy]).await?;
    world.sandbox.inject(Fault::retry_after(503, "4").on(Call::Issue).once())?;
    world.speech(json!({})).await?;
    world.ready("speech").await?;

    let calls = world.sandbox.calls(0);
    let [first, second] = calls.as_slice() else { anyhow::bail!("{} calls", calls.len()) };
    let answered = first.finished_at.context("the first call has no end")?;
    // A millisecond each for the rounding of both times.
    ensure!(second.started_at.since(answered) >= Duration::from_millis(3998), "it came after {:?}", second.started_at.since(answered));
    assert_eq!(world.suspected_lost("speech").await?, 0);
    world.no_secret_is_told(&[&operator]).await
}

/// Tokens that live for half a minute, and are due for their refresh after ten seconds at most.
async fn short_lived() -> Result<World> {
    World::with(|switches| {
        switches.lifetime = Duration::from_secs(30);
        switches.token_form = TokenForm::Jwt;
    })
    .await
}

#[tokio::test]
async fn while_revoiceit_is_away_the_token_stays_until_its_end_and_the_status_says_what_is_wrong() -> Result<()> {
    let mut world = short_lived().await?;
    world.credentials("client").await?;
    let policy = world.policy(&json!({ "retryMin": 500, "retryMax": 2000 }))?;
    let operator = world.operator(&["--policy-for-tests", &policy]).await?;
    world.speech(json!({})).await?;
    world.ready("speech").await?;
    let token = world.token("token").await?;

    world.sandbox.stop().await;
    let away = world.reason("speech", "RevoiceitUnreachable").await?;
    assert_eq!(conditions(&away), ["Ready=True"]);
    ensure!(message(&away).contains("Pods read a token that is valid until 2"), "{}", message(&away));
    let expired = eventually("the token to expire", GENEROUS, async || {
        let resource = world.get("speech").await?;
        ensure!(conditions(&resource) == ["Ready=False", "Reconciling=True"], "{:?}", conditions(&resource));
        Ok::<_, anyhow::Error>(resource)
    })
    .await?;
    assert_eq!(ready_reason(&expired), Some("RevoiceitUnreachable"));
    ensure!(message(&expired).contains("The last token expired at 2"), "{}", message(&expired));
    assert_eq!(world.token("token").await?, token);

    world.sandbox.restart().await?;
    world.ready("speech").await?;
    // Nothing was sent, so nothing can be lost; and the line goes on.
    assert_eq!((world.suspected_lost("speech").await?, world.sandbox.count(Call::Issue, 0)), (0, 1));
    ensure!(world.token("token").await? != token, "the expired token is still there");
    world.nothing_is_forgotten().await?;
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn a_refresh_that_fails_leaves_the_token_and_is_tried_again() -> Result<()> {
    let world = short_lived().await?;
    let policy = world.policy(&json!({ "retryMin": 500, "retryMax": 2000 }))?;
    let operator = world.operator(&["--policy-for-tests", &policy]).await?;
    let cases = [
        ("error", Fault::status(500), "RevoiceitUnavailable"),
        ("page", Fault::new(Kind::NotJson), "MalformedAnswer"),
        ("gateway", Fault::status(502), "AnswerLost"),
        ("rejected", Fault::status(401), "RefreshRejected"),
    ];
    for (name, fault, _) in &cases {
        world.sandbox.inject(fault.clone().on(Call::Refresh).client(world.client_of(name)))?;
        world.own(name, json!({})).await?;
        world.reason(name, "TokenReady").await?;
    }
    for (name, _, reason) in &cases {
        assert_eq!(conditions(&world.reason(name, reason).await?), ["Ready=True"], "{name}");
    }
    world.sandbox.heal_all();
    for (name, ..) in &cases {
        assert_eq!(conditions(&world.reason(name, "TokenReady").await?), ["Ready=True"], "{name}");
        assert_eq!(world.suspected_lost(name).await?, 0, "{name}");
    }
    world.nothing_is_forgotten().await?;
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn close_to_its_end_a_line_that_cannot_be_refreshed_is_followed_by_another() -> Result<()> {
    let world = short_lived().await?;
    let policy = world.policy(&json!({ "retryMin": 500, "minGrace": 1000 }))?;
    let operator = world.operator(&["--policy-for-tests", &policy]).await?;
    let cases = [("error", Fault::status(500)), ("dead", Fault::new(Kind::Die))];
    for (name, fault) in &cases {
        world.sandbox.inject(fault.clone().on(Call::Refresh).client(world.client_of(name)))?;
        world.own(name, json!({ "revocation": { "grace": "0s" } })).await?;
        world.reason(name, "TokenReady").await?;
    }
    for (number, (name, _)) in cases.iter().enumerate() {
        let new = world.another_token(&format!("{name}-token"), &world.sandbox.truth().lines[number].access[0].token).await?;
        let truth = world.sandbox.truth();
        let (line, _) = truth.access(&new).context("the new token")?;
        assert_eq!((line.access.len(), line.number > 2), (1, true), "{name}: it is not of another line");
    }
    world.sandbox.heal_all();
    world.at_rest().await?;
    world.nothing_is_forgotten().await?;
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn what_revoiceit_says_in_an_error_is_repeated_nowhere() -> Result<()> {
    let world = short_lived().await?;
    let policy =
        world.policy(&json!({ "retryMin": 500, "retryMax": 1000, "rejectedRetry": 500, "budgetInterval": 1, "minGrace": 1000 }))?;
    let operator = world.operator(&["--policy-for-tests", &policy]).await?;
    let json = |text: &str| Body::Custom { content_type: format!("application/json; x={CANARY}"), text: text.to_owned() };
    let text = format!("{CANARY} <{CANARY}>");
    let object = format!(r#"{{"message":"{CANARY}","{CANARY}":1,"accessToken":"{CANARY}\u0007"}}"#);
    let faults = [
        ("rejected", Fault::answer(400, json(&object))),
        ("invalid", Fault::answer(400, json(&text))),
        ("error", Fault::answer(500, json(&object))),
        ("busy", Fault::retry_after(503, CANARY)),
        ("page", Fault::answer(200, json(&text))),
        ("garbage", Fault::answer(200, json(&object))),
        ("redirect", Fault::new(Kind::Redirect { code: 302, location: format!("http://{CANARY}:{CANARY}@{CANARY}.invalid/{CANARY}") })),
        ("broken-redirect", Fault::new(Kind::Redirect { code: 308, location: format!("http://[{CANARY}") })),
    ];
    for (name, fault) in &faults {
        let client = world.client_of(name);
        // Once on an issue, once on a refresh, and once on the revocation at the end.
        for call in [Call::Issue, Call::Refresh, Call::Revoke] {
            world.sandbox.inject(fault.clone().on(call).client(&client).once())?;
        }
        world.own(name, json!({ "revocation": { "grace": "0s" } })).await?;
    }
    eventually("every call to have failed and every token to be there", GENEROUS, async || {
        let left = world.sandbox.faults().iter().filter(|fault| fault.fault.call != Some(Call::Revoke)).count();
        ensure!(left == 0, "{left} calls are still to fail");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    for (name, _) in &faults {
        world.reason(name, "TokenReady").await?;
    }
    world.no_secret_is_told(&[&operator]).await?;

    world.kubectl(&["delete", "rvc", "--all", "--wait=false"]).await?;
    eventually("all to be gone", GENEROUS, async || {
        ensure!(world.ledgers().await?.is_empty(), "a ledger is there");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    assert_eq!(world.sandbox.faults(), []);
    world.no_secret_is_told(&[&operator]).await
}
