//! Lines of tokens: begun on request, refreshed with refresh tokens that change, replaced when they are rejected, and never too many at once.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use revoiceit_harness::{
    proxy::{Fault as Between, Proxy},
    wait::{GENEROUS, eventually},
};
use revoiceit_operator::api::names;
use revoiceit_sandbox::{Call, Fault, Kind, Line, LineState, RefreshState, RejectionBody, Rotation, SecondIssue, TokenForm};
use serde_json::json;

use crate::{
    seen::message,
    world::{World, conditions, short_lived},
};

async fn request(world: &World, value: &str) -> Result<()> {
    world.patch("speech", &json!({ "metadata": { "annotations": { names::ROTATE_ANNOTATION: value } } })).await.map(drop)
}

/// Waits until the status says that this request was handled.
async fn handled(world: &World, value: &str) -> Result<()> {
    eventually(&format!("the request {value} to be handled"), GENEROUS, async || {
        let handled = world.get("speech").await?.status.and_then(|status| status.last_handled_rotate_request);
        ensure!(handled.as_deref() == Some(value), "it is {handled:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

#[tokio::test]
async fn each_new_value_of_the_rotation_annotation_is_one_new_line() -> Result<()> {
    let world = World::new().await?;
    world.credentials("client").await?;
    let first = world.operator(&[]).await?;
    // One that is there from the beginning asks for nothing more than the first line.
    let resource = json!({
        "apiVersion": "revoiceit.com/v1", "kind": names::KIND,
        "metadata": { "name": "speech", "namespace": world.tenant, "annotations": { names::ROTATE_ANNOTATION: "at birth" } },
        "spec": { "credentialsSecretRef": { "name": "client" }, "target": { "name": "token" } },
    });
    world.apply(&resource).await?;
    handled(&world, "at birth").await?;
    world.at_rest().await?;
    assert_eq!(world.calls(), (1, 0, 0));

    request(&world, "one").await?;
    handled(&world, "one").await?;
    // The same again, a restart, and its removal are no requests.
    request(&world, "one").await?;
    first.stop().await?;
    let second = world.operator(&[]).await?;
    world.kubectl(&["annotate", "rvc", "speech", &format!("{}-", names::ROTATE_ANNOTATION)]).await?;
    world.at_rest().await?;
    assert_eq!(world.calls(), (2, 0, 0));
    handled(&world, "one").await?;

    // Of those that came while nobody looked, the last is handled.
    second.stop().await?;
    request(&world, "two").await?;
    request(&world, "three").await?;
    let third = world.operator(&[]).await?;
    handled(&world, "three").await?;
    world.at_rest().await?;
    assert_eq!(world.calls(), (3, 0, 0));
    world.nothing_is_forgotten().await?;
    world.no_secret_is_told(&[&third]).await
}

#[tokio::test]
async fn refresh_tokens_that_rotate_are_kept() -> Result<()> {
    rotates(Rotation::OldDies, RefreshState::RotatedOut).await
}

#[tokio::test]
async fn refresh_tokens_that_live_on_beside_their_successors_are_revoked() -> Result<()> {
    rotates(Rotation::OldLives, RefreshState::Revoked).await
}

/// Three refreshes, each of which brings a new refresh token, and what becomes of the old ones.
async fn rotates(rotation: Rotation, replaced: RefreshState) -> Result<()> {
    let world = World::with(|switches| {
        short_lived(switches);
        switches.rotation = rotation;
    })
    .await?;
    world.credentials("client").await?;
    let policy = world.policy(&json!({ "minLifetime": 1000, "minGrace": 200 }))?;
    let operator = world.operator(&["--policy-for-tests", &policy]).await?;
    let mark = world.cluster.audit_mark().await?;
    world.speech(json!({ "revocation": { "grace": "0s" } })).await?;
    let refreshed = world.sandbox.wait_for(GENEROUS, |sandbox| (sandbox.count(Call::Refresh, 0) >= 3).then_some(())).await;
    refreshed.context("not refreshed three times")?;
    world.sandbox.switch(|switches| switches.lifetime = Duration::from_secs(3600))?;
    let tokens = eventually("only the last refresh token to be left", GENEROUS, async || {
        let record = world.record("speech").await?;
        ensure!(record["retiring"] == json!([]) && record["intent"].is_null(), "some are on their way out");
        let truth = world.sandbox.truth();
        let tokens = truth.lines[0].refresh.clone();
        ensure!(record["live"]["refresh"] == json!(tokens.last().map(|token| token.token.as_str())), "it is not the last");
        ensure!(truth.live_refresh_tokens().count() == 1, "more than one lives");
        Ok::<_, anyhow::Error>(tokens)
    })
    .await?;
    world.at_rest().await?;

    let (last, earlier) = tokens.split_last().context("no tokens")?;
    assert_eq!(last.state, RefreshState::Live);
    ensure!(earlier.iter().all(|token| token.state == replaced && token.uses == 1), "{earlier:?}");
    // From the second on, a refresh is written down before it is sent.
    let written = world.writes_since(mark).await?;
    let ledger = format!("update secrets {}/{} 200", world.system, world.ledgers().await?.remove(0));
    let target = format!("update secrets {}/token 200", world.tenant);
    let refresh = [&ledger, &ledger, &target];
    ensure!(written.windows(3).filter(|writes| writes.iter().eq(refresh)).count() >= 2, "{written:?}");
    assert_eq!((world.sandbox.count(Call::Issue, 0), world.suspected_lost("speech").await?), (1, 0));
    world.nothing_is_forgotten().await?;
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn a_refresh_token_that_is_rejected_is_tried_again_until_its_token_is_close_to_its_end() -> Result<()> {
    let lifetime = Duration::from_secs(24);
    let world = World::with(|switches| (switches.token_form, switches.lifetime) = (TokenForm::Jwt, lifetime)).await?;
    world.credentials("client").await?;
    let policy = world.policy(&json!({ "minLifetime": 1000, "minGrace": 200, "retryMin": 1000 }))?;
    let operator = world.operator(&["--policy-for-tests", &policy]).await?;
    world.speech(json!({ "revocation": { "grace": "0s" } })).await?;
    world.ready("speech").await?;
    let token = world.token("token").await?;
    ensure!(world.sandbox.kill_line(1), "there is no line");

    let rejected = world.reason("speech", "RefreshRejected").await?;
    assert_eq!(conditions(&rejected), ["Ready=True"]);
    assert_eq!(world.token("token").await?, token);
    world.another_token("token", &token).await?;
    world.sandbox.switch(|switches| switches.lifetime = Duration::from_secs(3600))?;

    let calls = world.sandbox.calls(0);
    let issues: Vec<_> = calls.iter().filter(|call| call.call == Call::Issue).collect();
    let [first, second] = issues.as_slice() else { anyhow::bail!("{} issues", issues.len()) };
    let rejected = calls.iter().filter(|call| call.call == Call::Refresh && call.seq < second.seq).count();
    ensure!(rejected >= 2, "it was tried {rejected} times");
    let waited = second.started_at.since(first.started_at);
    ensure!(waited >= lifetime * 2 / 3 - Duration::from_secs(1), "another line after {waited:?}");
    world.is_told("speech", "Warning RefreshRejected").await?;
    eventually("a refresh of the new line", GENEROUS, async || {
        let status = world.get("speech").await?.status.unwrap_or_default();
        ensure!(status.failure.is_none() && world.sandbox.truth().line(2).is_some_and(|line| line.access.len() > 1), "not yet");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    world.at_rest().await?;
    // Nothing was lost: the operator knows of each token what became of it.
    assert_eq!((world.suspected_lost("speech").await?, world.sandbox.count(Call::Issue, 0)), (0, 2));
    world.nothing_is_forgotten().await?;
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn more_lines_than_the_budget_allows_are_begun_later() -> Result<()> {
    let world = World::new().await?;
    world.credentials("client").await?;
    let interval = Duration::from_secs(12);
    let policy = world.policy(&json!({ "budgetBurst": 2, "budgetInterval": interval.as_millis() as u64 }))?;
    let operator = world.operator(&["--policy-for-tests", &policy]).await?;
    world.speech(json!({})).await?;
    world.ready("speech").await?;
    request(&world, "within").await?;
    handled(&world, "within").await?;

    request(&world, "beyond").await?;
    let exhausted = world.reason("speech", "BudgetExhausted").await?;
    assert_eq!(conditions(&exhausted), ["Ready=True"]);
    ensure!(message(&exhausted).contains("Look for what keeps changing the credentials Secret"), "{}", message(&exhausted));
    world.is_told("speech", "Warning BudgetExhausted").await?;
    handled(&world, "beyond").await?;
    world.reason("speech", "TokenReady").await?;
    let issues: Vec<_> = world.sandbox.calls(0).into_iter().filter(|call| call.call == Call::Issue).collect();
    let [first, _, third] = issues.as_slice() else { anyhow::bail!("{} issues", issues.len()) };
    let waited = third.started_at.since(first.started_at);
    // The budget counts from when the intent was written, a moment before the call.
    ensure!(waited >= interval - Duration::from_secs(1), "the third line was begun after {waited:?}");
    world.nothing_is_forgotten().await?;
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn with_eight_tokens_that_cannot_be_revoked_no_line_is_begun_until_they_are() -> Result<()> {
    let world = World::new().await?;
    world.credentials("client").await?;
    let policy =
        world.policy(&json!({ "budgetInterval": 1, "minGrace": 100, "retryMin": 500, "retryMax": 1000, "revokeRetryMax": 1000 }))?;
    let operator = world.operator(&["--policy-for-tests", &policy]).await?;
    let away = world.sandbox.inject(Fault::status(503).on(Call::Revoke))?;
    world.speech(json!({ "revocation": { "grace": "0s" } })).await?;
    world.ready("speech").await?;
    for number in 1..=8 {
        request(&world, &number.to_string()).await?;
        handled(&world, &number.to_string()).await?;
    }
    let (token, pending) = (world.token("token").await?, world.get("speech").await?.status.and_then(|status| status.pending_revocations));
    assert_eq!(pending, Some(8));

    request(&world, "too many").await?;
    let backlog = world.reason("speech", "RevocationBacklog").await?;
    assert_eq!(conditions(&backlog), ["Ready=True"]);
    world.is_told("speech", "Warning RevocationBacklog").await?;
    // Whatever else happens, none is begun.
    world.patch("speech", &json!({ "spec": { "target": { "labels": { "team": "a" } } } })).await?;
    world.reason("speech", "RevocationBacklog").await?;
    assert_eq!((world.token("token").await?, world.sandbox.count(Call::Issue, 0)), (token, 9));

    world.sandbox.heal(away);
    handled(&world, "too many").await?;
    eventually("all but the last line to be revoked", GENEROUS, async || {
        let states: Vec<_> = world.sandbox.truth().lines.iter().map(Line::state).collect();
        let (last, earlier) = states.split_last().context("no lines")?;
        ensure!(*last == LineState::Live && earlier.iter().all(|state| *state == LineState::Revoked), "{states:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    world.reason("speech", "TokenReady").await?;
    world.at_rest().await?;
    assert_eq!(world.sandbox.count(Call::Issue, 0), 10);
    world.nothing_is_forgotten().await?;
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn with_too_many_tokens_that_cannot_be_revoked_no_rotating_refresh_is_begun_until_they_are() -> Result<()> {
    let world = World::with(short_lived).await?;
    let policy = world.policy(&json!({
        "retiringCap": 1, "minLifetime": 1000, "minGrace": 100, "retryMin": 500, "retryMax": 1000, "revokeRetryMax": 1000,
    }))?;
    let operator = world.operator(&["--policy-for-tests", &policy]).await?;
    world.sandbox.inject(Fault::status(503).on(Call::Revoke))?;
    world.sandbox.inject(Fault::new(Kind::Rotate { old_lives: true }).on(Call::Refresh))?;
    world.credentials("client").await?;
    world.speech(json!({ "revocation": { "grace": "0s" } })).await?;
    let backlog = world.reason("speech", "RevocationBacklog").await?;
    ensure!(message(&backlog).contains("goes on by itself"), "{}", message(&backlog));
    assert_eq!(world.calls().0 + world.calls().1, 2);

    world.sandbox.heal_all();
    world.sandbox.switch(|switches| switches.lifetime = Duration::from_secs(3600))?;
    world.reason("speech", "TokenReady").await?;
    world.at_rest().await?;
    assert_eq!((world.calls().0, world.calls().1), (1, 2));
    world.nothing_is_forgotten().await?;
    world.no_secret_is_told(&[&operator]).await
}

/// Waits until the target holds the last token of all, and it has an hour.
async fn lives_for_an_hour(world: &World) -> Result<()> {
    eventually("a token that lives for an hour", GENEROUS, async || {
        let (truth, token) = (world.sandbox.truth(), world.token("token").await?);
        let last = truth.lines.last().and_then(|line| line.access.last()).context("no token")?;
        ensure!(
            last.token == token && last.expires_at > truth.at + Duration::from_secs(1800),
            "the last one is another, or ends at {:?}",
            last.expires_at
        );
        Ok::<_, anyhow::Error>(())
    })
    .await
}

/// Rotated out, a token has ended; where rejections are no JSON objects nobody can tell that from a proxy's page. The resource goes on.
#[tokio::test]
async fn a_revoiceit_that_refuses_to_revoke_what_has_ended_keeps_no_token_from_being_refreshed() -> Result<()> {
    let world = World::with(|switches| {
        short_lived(switches);
        (switches.rotation, switches.rejection_body) = (Rotation::OldDies, RejectionBody::Text);
    })
    .await?;
    let policy = world.policy(&json!({
        "retiringCap": 1, "refusedStay": 500, "minLifetime": 1000, "minGrace": 100, "retryMin": 200, "retryMax": 500, "revokeRetryMax": 500,
    }))?;
    let operator = world.operator(&["--policy-for-tests", &policy]).await?;
    world.credentials("client").await?;
    world.speech(json!({ "revocation": { "grace": "0s" } })).await?;
    let told = eventually("three tokens to be given up", GENEROUS, async || {
        let suspected = world.suspected_lost("speech").await?;
        ensure!(suspected >= 3, "{suspected}");
        Ok::<_, anyhow::Error>(suspected)
    })
    .await?;
    world.sandbox.switch(|switches| switches.lifetime = Duration::from_secs(3600))?;
    lives_for_an_hour(&world).await?;
    let live = world.sandbox.truth().lines.iter().flat_map(|line| &line.refresh).filter(|it| it.state == RefreshState::Live).count();
    assert_eq!((world.calls().0, live), (1, 1), "one line, with one refresh token that lives; {told} were given up");
    world.no_secret_is_told(&[&operator]).await
}

/// It has begun no other line, and to revoke the old one would end both.
#[tokio::test]
async fn a_revoiceit_that_gives_the_same_refresh_token_again_is_not_asked_to_revoke_it() -> Result<()> {
    let world = World::with(|switches| switches.second_issue = SecondIssue::SameRefresh).await?;
    let policy = world.policy(&json!({ "budgetInterval": 1, "minGrace": 100, "retryMin": 200, "retryMax": 500 }))?;
    let operator = world.operator(&["--policy-for-tests", &policy]).await?;
    world.credentials("client").await?;
    world.speech(json!({ "revocation": { "grace": "0s" } })).await?;
    for number in ["one", "two", "three"] {
        world.ready("speech").await?;
        request(&world, number).await?;
        handled(&world, number).await?;
    }
    world.at_rest().await?;
    assert_eq!(world.calls(), (4, 0, 0));
    world.nothing_is_forgotten().await?;
    world.kubectl(&["delete", "rvc", "speech"]).await?;
    assert_eq!(world.calls(), (4, 0, 1));
    world.nothing_is_forgotten().await?;
    world.no_secret_is_told(&[&operator]).await
}

/// The first refresh that rotates has no intent: while no ledger takes what it brought, nothing but the pass knows of it.
#[tokio::test]
async fn what_a_first_rotation_brought_is_held_until_its_ledger_takes_it() -> Result<()> {
    let world = World::with(|switches| {
        short_lived(switches);
        switches.rotation = Rotation::OldDies;
    })
    .await?;
    let policy = world.policy(&json!({ "minLifetime": 1000, "minGrace": 100, "retryMin": 200, "retryMax": 500 }))?;
    let proxy = Proxy::start(world.cluster).await?;
    // The first of these saves is that of the first token.
    let refused = proxy.inject(Between::status(403, "Forbidden").method("PUT").path("/secrets/rvc-").after(1));
    world.sandbox.inject(Fault::status(503).on(Call::Revoke))?;
    let operator = world.operator_through(&proxy.url(), &["--policy-for-tests", &policy]).await?;
    world.credentials("client").await?;
    world.speech(json!({})).await?;
    eventually("two attempts to revoke it from hand", GENEROUS, async || {
        ensure!(world.sandbox.count(Call::Revoke, 0) >= 2 && proxy.struck(refused) >= 2, "{} saves", proxy.struck(refused));
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    world.reason("speech", "LedgerDenied").await?;

    world.sandbox.switch(|switches| switches.lifetime = Duration::from_secs(3600))?;
    proxy.lift(refused);
    world.sandbox.heal_all();
    // A revocation of it was tried, so it is not used any more: another line takes its place.
    lives_for_an_hour(&world).await?;
    world.at_rest().await?;
    assert_eq!((world.calls().0, world.suspected_lost("speech").await?), (2, 0));
    world.nothing_is_forgotten().await?;
    world.no_secret_is_told(&[&operator]).await
}
