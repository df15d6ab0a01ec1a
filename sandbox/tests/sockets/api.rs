//! The documented behaviour.

use revoiceit_sandbox::{Call, Delivery, Effect, LineState, RefreshState, UnixMillis};
use serde_json::json;

use crate::caller::{pair, read, sandbox, text};

#[tokio::test]
async fn an_issue_begins_a_line_that_the_truth_knows() {
    let (sandbox, caller) = sandbox().await;
    let before = UnixMillis::now();
    let tokens = caller.tokens().await;

    let truth = sandbox.truth();
    let line = truth.line(1).expect("it is there");
    assert_eq!((line.client.as_str(), line.state(), line.number), ("a", LineState::Live, 1));
    assert_eq!(truth.refresh(&tokens.refresh).map(|(line, token)| (line.number, token.delivery)), Some((1, Delivery::Delivered)));
    assert_eq!(truth.owner_of(&tokens.access), Some("a"));
    let (_, access) = truth.access(&tokens.access).expect("it is there");
    assert!(before <= access.issued_at && access.issued_at <= truth.at);
    assert_eq!(access.expires_at.since(access.issued_at).as_secs(), 3600);
    assert!(truth.is_valid(&tokens.access, truth.at));
    assert!(!truth.is_valid(&tokens.access, access.expires_at));
    assert_eq!(access.delivery, Delivery::Delivered);
}

#[tokio::test]
async fn each_issue_is_a_line_of_its_own_with_tokens_of_visible_ascii() {
    let (sandbox, caller) = sandbox().await;
    let (first, second) = (caller.tokens().await, caller.tokens().await);
    assert_ne!(first.access, second.access);
    assert_ne!(first.refresh, second.refresh);
    assert_eq!(sandbox.truth().live().count(), 2);
    for token in [&first.access, &first.refresh] {
        assert!(token.bytes().all(|byte| byte.is_ascii_graphic()), "{token}");
    }
}

#[tokio::test]
async fn a_refresh_answers_with_an_access_token_alone() {
    let (sandbox, caller) = sandbox().await;
    let tokens = caller.tokens().await;
    let (status, body) = read(caller.refresh(&tokens.refresh).await).await;
    assert_eq!(status, 200);
    assert_eq!(body.as_object().map(serde_json::Map::len), Some(1), "{body}");
    let truth = sandbox.truth();
    assert_eq!(truth.access(&text(&body, "accessToken")).map(|(line, _)| line.number), Some(1));
    assert!(truth.is_valid(&tokens.access, truth.at), "the first access token goes on");
    assert_eq!(truth.line(1).map(|line| (line.access.len(), line.refresh.len(), line.refresh[0].uses)), Some((2, 1, 1)));
}

#[tokio::test]
async fn revoking_ends_the_refresh_token_and_a_second_time_is_rejected() {
    let (sandbox, caller) = sandbox().await;
    let tokens = caller.tokens().await;
    assert_eq!(read(caller.revoke(&tokens.refresh).await).await, (200, json!({ "message": "Token revoked successfully" })));
    assert_eq!(
        sandbox.truth().line(1).map(|line| (line.state(), line.refresh[0].state)),
        Some((LineState::Revoked, RefreshState::Revoked))
    );
    let rejection = (400, json!({ "message": "Invalid input" }));
    assert_eq!(read(caller.revoke(&tokens.refresh).await).await, rejection);
    assert_eq!(read(caller.refresh(&tokens.refresh).await).await, rejection);
    assert_eq!(caller.check(&tokens.access).await, 200, "the access token lives on");
}

#[tokio::test]
async fn what_is_not_valid_is_rejected_with_400_and_json() {
    let (sandbox, caller) = sandbox().await;
    let tokens = caller.tokens().await;
    for (path, body) in [
        ("/auth/token", pair("a", "wrong")),
        ("/auth/token", pair("nobody", "s")),
        ("/auth/token", pair("a", "")),
        ("/auth/token", json!({ "clientId": "a" })),
        ("/auth/token", json!({ "clientId": "a", "clientSecret": 5 })),
        ("/auth/token", json!([])),
        ("/auth/token", json!({ "clientId": "a", "clientSecret": "s", "padding": "x".repeat(70_000) })),
        ("/auth/refresh", json!({ "refreshToken": "unknown" })),
        ("/auth/refresh", json!({ "refreshToken": tokens.access })),
        ("/auth/refresh", json!({})),
        ("/auth/revoke", json!({ "refreshToken": "unknown" })),
        ("/auth/revoke", json!({ "refreshToken": null })),
    ] {
        let (status, answer) = read(caller.post(path, &body).await).await;
        assert_eq!((status, answer), (400, json!({ "message": "Invalid input" })), "{path} {body}");
    }
    assert_eq!(sandbox.truth().lines.len(), 1);
}

#[tokio::test]
async fn a_body_that_does_not_say_that_it_is_json_is_rejected() {
    let (sandbox, caller) = sandbox().await;
    let url = format!("{}/auth/token", sandbox.api_url());
    let without = caller.http().post(&url).body(pair("a", "s").to_string()).send().await;
    assert_eq!(read(without).await.0, 400);
    let with =
        caller.http().post(&url).header("content-type", "application/json; charset=utf-8").body(pair("a", "s").to_string()).send().await;
    assert_eq!(read(with).await.0, 200);
}

#[tokio::test]
async fn other_paths_and_methods_are_refused_and_on_record() {
    let (sandbox, caller) = sandbox().await;
    assert_eq!(read(caller.post("/auth/tokens", &json!({})).await).await.0, 404);
    let get = caller.http().get(format!("{}/auth/revoke", sandbox.api_url())).send().await.expect("it answers");
    assert_eq!((get.status().as_u16(), get.headers()["allow"].to_str().ok()), (405, Some("POST")));
    let seen: Vec<_> = sandbox.calls(0).iter().map(|call| (call.call, call.status, call.effect)).collect();
    assert_eq!(seen, [(Call::Other, Some(404), None), (Call::Revoke, Some(405), None)]);
}

#[tokio::test]
async fn every_call_is_on_record_as_soon_as_it_is_answered() {
    let (sandbox, caller) = sandbox().await;
    let tokens = caller.tokens().await;
    let mark = sandbox.mark();
    assert_eq!(mark, 1);
    read(caller.refresh(&tokens.refresh).await).await;
    read(caller.revoke("unknown").await).await;

    let calls = sandbox.calls(mark);
    assert_eq!(calls.iter().map(|call| call.seq).collect::<Vec<_>>(), [2, 3]);
    let refresh = &calls[0];
    assert_eq!(
        (refresh.call, refresh.effect, refresh.status, refresh.delivered),
        (Call::Refresh, Some(Effect::Refreshed), Some(200), true)
    );
    assert_eq!((refresh.client.as_deref(), refresh.line, refresh.refresh), (Some("a"), Some(1), Some(1)));
    assert!(refresh.finished_at >= Some(refresh.started_at));
    let revoke = &calls[1];
    assert_eq!((revoke.effect, revoke.status, revoke.client.clone(), revoke.line), (Some(Effect::Rejected), Some(400), None, None));
    assert_eq!((sandbox.count(Call::Refresh, mark), sandbox.count(Call::Issue, mark), sandbox.count(Call::Issue, 0)), (1, 0, 1));
}

#[tokio::test]
async fn an_access_token_can_be_checked_with_and_without_bearer() {
    let (sandbox, caller) = sandbox().await;
    let tokens = caller.tokens().await;
    assert_eq!(caller.check(&tokens.access).await, 200);
    assert_eq!(caller.check(&tokens.refresh).await, 401);
    assert_eq!(caller.check("unknown").await, 401);
    let url = format!("{}/check", sandbox.api_url());
    let (status, body) = read(caller.http().get(&url).header("authorization", &tokens.access).send().await).await;
    assert_eq!((status, &body["client"], &body["line"]), (200, &json!("a"), &json!(1)));
    assert_eq!(caller.http().get(&url).send().await.expect("it answers").status(), 401);
    let checks = sandbox.truth().checks;
    assert_eq!((checks.accepted, checks.refused), (2, 3));
    assert_eq!(sandbox.mark(), 1, "checks are no calls of the auth API");
}

#[tokio::test]
async fn clients_are_added_given_another_secret_disabled_and_removed() {
    let (sandbox, caller) = sandbox().await;
    let issue = async |id: &str, secret: &str| read(caller.post("/auth/token", &pair(id, secret)).await).await;
    assert_eq!(issue("b", "one").await.0, 400);
    sandbox.add_client("b", "one");
    let (status, body) = issue("b", "one").await;
    assert_eq!(status, 200);
    let refresh = text(&body, "refreshToken");

    sandbox.add_client("b", "two");
    assert_eq!((issue("b", "one").await.0, issue("b", "two").await.0), (400, 200));

    sandbox.enable_client("b", false);
    assert_eq!((issue("b", "two").await.0, read(caller.refresh(&refresh).await).await.0), (400, 400));
    sandbox.enable_client("b", true);
    assert_eq!((issue("b", "two").await.0, read(caller.refresh(&refresh).await).await.0), (200, 200));
    sandbox.enable_client("b", false);
    assert_eq!(read(caller.revoke(&refresh).await).await.0, 200, "a disabled client's tokens can be revoked");

    assert!(sandbox.remove_client("b"));
    assert!(!sandbox.remove_client("b"));
    assert_eq!(issue("b", "two").await.0, 400);
    assert_eq!(sandbox.truth().lines_of("b").filter(|line| line.state() == LineState::Live).count(), 0);
}

#[tokio::test]
async fn lines_and_tokens_die_on_command() {
    let (sandbox, caller) = sandbox().await;
    let (first, second, third) = (caller.tokens().await, caller.tokens().await, caller.tokens().await);
    assert!(sandbox.kill_line(1));
    assert!(!sandbox.kill_line(1));
    assert!(!sandbox.kill_line(0));
    assert!(!sandbox.kill_line(4));
    assert!(sandbox.kill_token(&second.refresh));
    assert!(!sandbox.kill_token(&second.access));
    assert_eq!(read(caller.refresh(&first.refresh).await).await.0, 400);
    assert_eq!(read(caller.revoke(&second.refresh).await).await.0, 400);
    assert_eq!(sandbox.truth().lines[1].state(), LineState::Dead);
    assert_eq!(sandbox.kill_client("a"), 1);
    assert_eq!(read(caller.refresh(&third.refresh).await).await.0, 400);
}
