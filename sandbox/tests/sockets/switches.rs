//! Each point that the vendor's document leaves open, the other way round. `docs/assumptions.md` names these tests.

use std::time::{Duration, SystemTime};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use revoiceit_sandbox::{LineState, RefreshState, RejectionBody, Rotation, Sandbox, SecondIssue, Switches, TokenForm, UnixMillis};
use serde_json::{Value, json};

use crate::caller::{Caller, pair, read, sandbox, text};

async fn with(change: impl FnOnce(&mut Switches)) -> (Sandbox, Caller) {
    let (sandbox, caller) = sandbox().await;
    sandbox.switch(change).expect("it can be served");
    (sandbox, caller)
}

#[tokio::test]
async fn revoking_may_end_the_access_tokens() {
    let (sandbox, caller) = with(|switches| switches.revoke_ends_access = true).await;
    let tokens = caller.tokens().await;
    let (_, body) = read(caller.refresh(&tokens.refresh).await).await;
    let other = caller.tokens().await;
    read(caller.revoke(&tokens.refresh).await).await;
    let truth = sandbox.truth();
    for (access, is_valid) in [(&tokens.access, false), (&text(&body, "accessToken"), false), (&other.access, true)] {
        assert_eq!((truth.is_valid(access, truth.at), caller.check(access).await == 200), (is_valid, is_valid));
    }
    assert!(truth.line(1).is_some_and(|line| line.expires_at() <= truth.at));
}

#[tokio::test]
async fn a_second_issue_may_end_the_first_with_or_without_its_access_tokens() {
    for (second_issue, status) in [(SecondIssue::EndsRefresh, 200), (SecondIssue::EndsAll, 401)] {
        let (sandbox, caller) = with(|switches| switches.second_issue = second_issue).await;
        sandbox.add_client("b", "s");
        read(caller.post("/auth/token", &pair("b", "s")).await).await;
        let (first, second) = (caller.tokens().await, caller.tokens().await);
        let states: Vec<_> = sandbox.truth().lines.iter().map(revoiceit_sandbox::Line::state).collect();
        assert_eq!(states, [LineState::Live, LineState::Dead, LineState::Live], "of this client alone");
        assert_eq!(read(caller.refresh(&first.refresh).await).await.0, 400);
        assert_eq!((caller.check(&first.access).await, caller.check(&second.access).await), (status, 200));
    }
}

#[tokio::test]
async fn a_second_issue_may_give_the_first_ones_refresh_token_again() {
    let (sandbox, caller) = with(|switches| switches.second_issue = SecondIssue::SameRefresh).await;
    let (first, second) = (caller.tokens().await, caller.tokens().await);
    assert_eq!((first.refresh == second.refresh, first.access == second.access), (true, false));
    assert_eq!((caller.check(&first.access).await, caller.check(&second.access).await), (200, 200));
    read(caller.revoke(&second.refresh).await).await;
    assert!(caller.tokens().await.refresh != first.refresh, "one that was revoked is not given again");
    assert_eq!(sandbox.truth().lines.len(), 2);
}

#[tokio::test]
async fn a_rejection_may_have_another_status_and_body() {
    for (body, content_type, expected) in [
        (RejectionBody::Json, Some("application/json"), r#"{"message":"Invalid input"}"#),
        (RejectionBody::JsonString, Some("application/json"), r#""Invalid input""#),
        (RejectionBody::Text, Some("text/plain"), "Invalid input\n"),
        (RejectionBody::Empty, None, ""),
    ] {
        let (_sandbox, caller) = with(|switches| (switches.rejection_body, switches.rejection_status) = (body, 401)).await;
        for answer in [caller.refresh("unknown").await, caller.revoke("unknown").await, caller.post("/auth/token", &json!({})).await] {
            let answer = answer.expect("there is an answer");
            assert_eq!(answer.status(), 401);
            assert_eq!(answer.headers().get("content-type").and_then(|value| value.to_str().ok()), content_type);
            assert_eq!(answer.text().await.expect("it is whole"), expected);
        }
    }
    let (sandbox, _) = sandbox().await;
    assert!(sandbox.switch(|switches| switches.rejection_status = 200).is_err());
    assert_eq!(sandbox.switches(), Switches::default());
}

#[tokio::test]
async fn revoking_what_is_unknown_or_ended_may_be_answered_with_200() {
    let (_sandbox, caller) = with(|switches| switches.revoke_accepts_unknown = true).await;
    let tokens = caller.tokens().await;
    let confirmed = (200, json!({ "message": "Token revoked successfully" }));
    for token in [tokens.refresh.as_str(), &tokens.refresh, "unknown"] {
        assert_eq!(read(caller.revoke(token).await).await, confirmed);
    }
}

#[tokio::test]
async fn refreshes_may_rotate_and_the_old_token_dies_or_lives() {
    for (rotation, old_state, old_status) in
        [(Rotation::OldDies, RefreshState::RotatedOut, 400), (Rotation::OldLives, RefreshState::Live, 200)]
    {
        let (sandbox, caller) = with(|switches| switches.rotation = rotation).await;
        let old = caller.tokens().await.refresh;
        let (_, body) = read(caller.refresh(&old).await).await;
        let new = text(&body, "refreshToken");
        let truth = sandbox.truth();
        assert_eq!(truth.refresh(&old).map(|(line, token)| (line.number, token.state)), Some((1, old_state)));
        assert_eq!(truth.refresh(&new).map(|(line, token)| (line.number, token.state)), Some((1, RefreshState::Live)));
        assert_eq!(read(caller.revoke(&old).await).await.0, old_status);
        assert_eq!(read(caller.refresh(&new).await).await.0, 200, "revoking the old one does not end the new one");
    }
}

#[tokio::test]
async fn revoking_a_rotated_token_may_end_its_whole_line() {
    let (sandbox, caller) = with(|switches| (switches.rotation, switches.revoke_ends_line) = (Rotation::OldDies, true)).await;
    let old = caller.tokens().await.refresh;
    let (_, body) = read(caller.refresh(&old).await).await;
    assert_eq!(read(caller.revoke(&old).await).await.0, 200);
    assert_eq!(sandbox.truth().lines[0].state(), LineState::Revoked);
    assert_eq!(read(caller.refresh(&text(&body, "refreshToken")).await).await.0, 400);
    assert_eq!(read(caller.revoke(&old).await).await.0, 400, "nothing is left");
}

#[tokio::test]
async fn a_refresh_token_may_die_after_some_refreshes() {
    let (sandbox, caller) = with(|switches| switches.refresh_uses = Some(2)).await;
    let refresh = caller.tokens().await.refresh;
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(read(caller.refresh(&refresh).await).await.0);
    }
    assert_eq!(statuses, [200, 200, 400]);
    assert_eq!(sandbox.truth().lines[0].state(), LineState::Dead);
}

#[tokio::test]
async fn access_tokens_live_as_long_as_the_switch_says() {
    let (sandbox, caller) = with(|switches| switches.lifetime = Duration::from_millis(200)).await;
    let tokens = caller.tokens().await;
    let expires_at = sandbox.truth().access(&tokens.access).map(|(_, token)| token.expires_at).expect("it is there");
    while UnixMillis::now() < expires_at {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(caller.check(&tokens.access).await, 401);
    assert_eq!(read(caller.refresh(&tokens.refresh).await).await.0, 200, "the refresh token goes on");
}

#[tokio::test]
async fn access_tokens_may_be_jwts_that_tell_their_times() {
    let (sandbox, caller) = with(|switches| (switches.token_form, switches.lifetime) = (TokenForm::Jwt, Duration::from_secs(1800))).await;
    let access = caller.tokens().await.access;
    let parts: Vec<_> = access.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).expect("it is base64url")).collect();
    let claims: Value = serde_json::from_slice(&parts[1]).expect("it is JSON");
    let issued_at = sandbox.truth().access(&access).map(|(_, token)| token.issued_at).expect("it is there");
    assert_eq!((claims["iat"].as_u64(), claims["exp"].as_u64()), (Some(issued_at.seconds()), Some(issued_at.seconds() + 1800)));
    assert_eq!((parts.len(), caller.check(&access).await), (3, 200));
}

#[tokio::test]
async fn the_clock_that_the_server_shows_may_be_off() {
    for offset_ms in [-3_600_000, 3_600_000] {
        let (sandbox, caller) = with(|switches| (switches.clock_offset_ms, switches.token_form) = (offset_ms, TokenForm::Jwt)).await;
        let before = UnixMillis::now().offset(offset_ms - 1000);
        let answer = caller.issue().await.expect("there is an answer");
        let date = answer.headers()["date"].to_str().ok().and_then(|date| httpdate::parse_http_date(date).ok()).map(UnixMillis::from);
        let after = UnixMillis::from(SystemTime::now()).offset(offset_ms);
        assert!(date.is_some_and(|date| before <= date && date <= after), "{date:?}");
        let issued_at = sandbox.truth().lines[0].issued_at;
        assert!(
            issued_at.since(UnixMillis::now()) < Duration::from_secs(60) && UnixMillis::now().since(issued_at) < Duration::from_secs(60)
        );
    }
}

#[tokio::test]
async fn any_client_may_be_accepted_unless_it_is_disabled_or_known_with_another_secret() {
    let (sandbox, caller) = with(|switches| switches.any_client = true).await;
    let issue = async |id: &str, secret: &str| read(caller.post("/auth/token", &pair(id, secret)).await).await.0;
    assert_eq!((issue("x", "one").await, issue("x", "two").await, issue("a", "wrong").await), (200, 200, 400));
    sandbox.enable_client("x", false);
    assert_eq!(issue("x", "one").await, 400);
    sandbox.enable_client("x", true);
    assert_eq!(issue("x", "one").await, 200);
}
