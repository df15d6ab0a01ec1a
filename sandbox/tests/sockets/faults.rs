//! What goes wrong on demand: what the caller sees, and what the truth says.

use std::time::{Duration, Instant};

use revoiceit_sandbox::{Body, Call, CallRecord, Delivery, Effect, Fault, Kind, RefreshState, Sandbox, Which, Wrong};
use serde_json::{Value, json};
use tokio::{io::AsyncReadExt, net::TcpStream};

use crate::caller::{PATIENCE, Tokens, pair, read, sandbox, text};

/// The record of the last call, once it is closed.
async fn last_call(sandbox: &Sandbox) -> CallRecord {
    let closed = |world: &revoiceit_sandbox::World| world.calls(0).pop().filter(|call| call.finished_at.is_some());
    sandbox.wait_for(PATIENCE, closed).await.expect("the last call ends")
}

/// How the tokens of the last line were delivered.
fn delivery(sandbox: &Sandbox) -> (Delivery, Delivery) {
    let line = sandbox.truth().lines.pop().expect("there is a line");
    (line.access[0].delivery, line.refresh[0].delivery)
}

/// Closes a connection as soon as the request that it carried is on record.
async fn hang_up(sandbox: &Sandbox, stream: TcpStream) {
    assert!(sandbox.wait_for(PATIENCE, |world| (world.mark() > 0).then_some(())).await.is_some(), "the request arrives");
    drop(stream);
}

fn inject(sandbox: &Sandbox, fault: Fault) -> u64 {
    sandbox.inject(fault).expect("it can be done")
}

#[tokio::test]
async fn any_status_comes_with_any_body_and_nothing_is_done() {
    let (sandbox, caller) = sandbox().await;
    let custom = Body::Custom { content_type: "application/problem+json".into(), text: "[1]".into() };
    for (code, body, content_type, expected) in [
        (500, Body::Json, Some("application/json"), r#"{"message":"Internal Server Error"}"#),
        (400, Body::Text, Some("text/plain"), "Bad Request\n"),
        (429, custom, Some("application/problem+json"), "[1]"),
        (204, Body::Json, None, ""),
        (599, Body::Empty, None, ""),
    ] {
        inject(&sandbox, Fault::answer(code, body).once());
        let answer = caller.issue().await.expect("there is an answer");
        assert_eq!(answer.status(), code);
        assert_eq!(answer.headers().get("content-type").and_then(|value| value.to_str().ok()), content_type);
        assert_eq!(answer.text().await.expect("it is whole"), expected);
        let call = last_call(&sandbox).await;
        assert_eq!((call.effect, call.status, call.delivered), (None, Some(code), true));
    }
    inject(&sandbox, Fault::answer(502, Body::Html).once());
    assert!(caller.issue().await.expect("there is an answer").text().await.expect("it is whole").starts_with("<!doctype html>"));
    assert!(sandbox.truth().lines.is_empty());
    assert_eq!(read(caller.issue().await).await.0, 200, "all of them are used up");
}

#[tokio::test]
async fn a_status_may_ask_to_come_back_later() {
    let (sandbox, caller) = sandbox().await;
    inject(&sandbox, Fault::retry_after(429, "7"));
    assert_eq!(caller.issue().await.expect("there is an answer").headers()["retry-after"], "7");
}

#[tokio::test]
async fn a_status_may_hide_that_the_work_was_done() {
    let (sandbox, caller) = sandbox().await;
    inject(&sandbox, Fault::status(504).processed(true));
    assert_eq!(read(caller.issue().await).await.0, 504);
    assert_eq!(last_call(&sandbox).await.effect, Some(Effect::Issued));
    assert_eq!(delivery(&sandbox), (Delivery::Garbled, Delivery::Garbled));
}

#[tokio::test]
async fn a_lost_answer_is_not_one_byte_after_the_work_was_done() {
    let (sandbox, caller) = sandbox().await;
    inject(&sandbox, Fault::lost_answer());
    let (bytes, ended) = caller.raw_issue().await;
    assert_eq!((bytes.len(), ended.is_ok()), (0, true), "closed, not reset");
    let call = last_call(&sandbox).await;
    assert_eq!((call.effect, call.status, call.delivered), (Some(Effect::Issued), None, false));
    assert_eq!(delivery(&sandbox), (Delivery::Lost, Delivery::Lost));
    assert_eq!(sandbox.truth().live().count(), 1);
    assert!(caller.issue().await.is_err(), "an HTTP client has an error, not an empty answer");
}

#[tokio::test]
async fn a_dropped_connection_is_not_one_byte_and_nothing_is_done() {
    let (sandbox, caller) = sandbox().await;
    inject(&sandbox, Fault::dropped());
    let (bytes, ended) = caller.raw_issue().await;
    assert_eq!((bytes.len(), ended.is_ok()), (0, true));
    assert_eq!(last_call(&sandbox).await.effect, None);
    assert!(sandbox.truth().lines.is_empty());
}

#[tokio::test]
async fn a_reset_is_seen_as_one() {
    let (sandbox, caller) = sandbox().await;
    for (processed, lines) in [(false, 0), (true, 1)] {
        inject(&sandbox, Fault::new(Kind::Reset).processed(processed).once());
        let (bytes, ended) = caller.raw_issue().await;
        assert!(bytes.is_empty());
        assert_eq!(ended.map_err(|error| error.kind()), Err(std::io::ErrorKind::ConnectionReset));
        assert_eq!(sandbox.truth().lines.len(), lines);
    }
}

#[tokio::test]
async fn a_delay_comes_before_everything() {
    let (sandbox, caller) = sandbox().await;
    let delay = Duration::from_millis(150);
    inject(&sandbox, Fault::slow(delay).once());
    inject(&sandbox, Fault::status(503).delay(delay).once());
    for status in [200, 503] {
        let begun = Instant::now();
        assert_eq!(read(caller.issue().await).await.0, status);
        assert!(begun.elapsed() >= delay);
    }
}

#[tokio::test]
async fn a_caller_that_gives_up_early_does_not_stop_a_slow_call() {
    let (sandbox, caller) = sandbox().await;
    let delay = Duration::from_secs(2);
    inject(&sandbox, Fault::slow(delay));
    hang_up(&sandbox, caller.send_issue().await).await;
    let call = last_call(&sandbox).await;
    assert_eq!((call.effect, call.delivered), (Some(Effect::Issued), false));
    assert!(call.finished_at.is_some_and(|at| at.since(call.started_at) >= delay), "not sooner because nobody waits");
    assert_eq!(delivery(&sandbox), (Delivery::Lost, Delivery::Lost));
}

#[tokio::test]
async fn a_call_hangs_until_the_fault_is_healed_and_goes_on() {
    for (processed, lines) in [(false, 0), (true, 1)] {
        let (sandbox, caller) = sandbox().await;
        let id = inject(&sandbox, Fault::hang().processed(processed).once());
        let hanging = tokio::spawn(async move { read(caller.issue().await).await.0 });
        let hangs = |world: &revoiceit_sandbox::World| (world.mark() == 1).then(|| world.truth().lines.len());
        let seen = sandbox.wait_for(PATIENCE, |world| hangs(world).filter(|seen| *seen == lines)).await;
        assert_eq!(seen, Some(lines));
        assert_eq!(
            sandbox.faults().first().map(|fault| (fault.id, fault.remaining)),
            Some((id, Some(0))),
            "listed as long as calls hang on it"
        );
        assert!(!hanging.is_finished());
        assert!(sandbox.heal(id));
        assert_eq!(hanging.await.expect("it ends"), 200);
        assert_eq!(sandbox.truth().live().count(), 1);
    }
}

#[tokio::test]
async fn a_hanging_call_whose_caller_goes_is_not_processed_later() {
    let (sandbox, caller) = sandbox().await;
    inject(&sandbox, Fault::hang());
    hang_up(&sandbox, caller.send_issue().await).await;
    let call = last_call(&sandbox).await;
    assert_eq!((call.effect, call.delivered), (None, false));
    assert_eq!(sandbox.heal_all(), 1);
    assert_eq!(read(caller.issue().await).await.0, 200);
    assert_eq!(sandbox.truth().lines.len(), 1);
}

#[tokio::test]
async fn an_answer_may_not_be_json_whether_the_work_was_done_or_not() {
    let (sandbox, caller) = sandbox().await;
    for (fault, lines) in [(Fault::new(Kind::NotJson), 1), (Fault::new(Kind::NotJson).processed(false), 1)] {
        inject(&sandbox, fault.once());
        assert_eq!(read(caller.issue().await).await, (200, Value::Null));
        assert_eq!(sandbox.truth().lines.len(), lines);
    }
    assert_eq!(delivery(&sandbox), (Delivery::Garbled, Delivery::Garbled));
}

#[tokio::test]
async fn tokens_are_spoiled_one_by_one_and_the_other_stays_readable() {
    let (sandbox, caller) = sandbox().await;
    let is_spoiled = |how, token: &Value| match how {
        Wrong::Missing | Wrong::Null => token.is_null(),
        Wrong::Number => token.is_number(),
        Wrong::Empty => token == "",
        Wrong::Long => token.as_str().is_some_and(|token| token.len() > 16 << 10),
        Wrong::Quote => token.as_str().is_some_and(|token| token.contains('"')),
        Wrong::LineBreak => token.as_str().is_some_and(|token| token.contains('\n')),
        Wrong::NotAscii => token.as_str().is_some_and(|token| !token.is_ascii()),
    };
    for how in [Wrong::Missing, Wrong::Null, Wrong::Number, Wrong::Empty, Wrong::Long, Wrong::Quote, Wrong::LineBreak, Wrong::NotAscii] {
        for (which, access, refresh) in [
            (Which::Access, Delivery::Garbled, Delivery::Delivered),
            (Which::Refresh, Delivery::Delivered, Delivery::Garbled),
            (Which::Both, Delivery::Garbled, Delivery::Garbled),
        ] {
            inject(&sandbox, Fault::bad_token(which, how).once());
            let (status, body) = read(caller.issue().await).await;
            assert_eq!(status, 200);
            assert_eq!(is_spoiled(how, &body["accessToken"]), access == Delivery::Garbled, "{how:?} {which:?} {body}");
            assert_eq!(is_spoiled(how, &body["refreshToken"]), refresh == Delivery::Garbled, "{how:?} {which:?} {body}");
            assert_eq!(delivery(&sandbox), (access, refresh));
            if refresh == Delivery::Delivered {
                assert_eq!(read(caller.revoke(&text(&body, "refreshToken")).await).await.0, 200, "it is a live one");
            }
        }
    }
}

#[tokio::test]
async fn a_refresh_may_bring_a_spoiled_refresh_token_where_none_was_due() {
    let (sandbox, caller) = sandbox().await;
    let tokens = caller.tokens().await;
    inject(&sandbox, Fault::bad_token(Which::Refresh, Wrong::Empty));
    let (status, body) = read(caller.refresh(&tokens.refresh).await).await;
    assert_eq!((status, &body["refreshToken"]), (200, &json!("")));
    assert!(sandbox.truth().owner_of(&text(&body, "accessToken")).is_some());
    assert_eq!(read(caller.revoke(&tokens.refresh).await).await.0, 200, "a revocation never meets this fault");
}

#[tokio::test]
async fn a_huge_body_holds_the_tokens_all_the_same() {
    let (sandbox, caller) = sandbox().await;
    inject(&sandbox, Fault::new(Kind::HugeBody { bytes: 100_000 }));
    let body = caller.issue().await.expect("there is an answer").text().await.expect("it is whole");
    assert!(body.len() > 100_000);
    let body: Value = serde_json::from_str(&body).expect("it is JSON");
    assert_eq!(sandbox.truth().owner_of(&text(&body, "accessToken")), Some("a"));
    assert_eq!(delivery(&sandbox), (Delivery::Garbled, Delivery::Garbled));
}

#[tokio::test]
async fn a_redirect_names_its_target_and_nothing_is_done() {
    let (sandbox, caller) = sandbox().await;
    inject(&sandbox, Fault::new(Kind::Redirect { code: 308, location: "http://elsewhere.example/auth/token".into() }));
    let answer = caller.issue().await.expect("there is an answer");
    assert_eq!((answer.status().as_u16(), answer.headers()["location"].as_bytes()), (308, &b"http://elsewhere.example/auth/token"[..]));
    assert!(sandbox.truth().lines.is_empty());
}

#[tokio::test]
async fn a_partial_body_is_shorter_than_its_head_says() {
    let (sandbox, caller) = sandbox().await;
    inject(&sandbox, Fault::new(Kind::PartialBody));
    let (bytes, ended) = caller.raw_issue().await;
    assert!(ended.is_ok());
    let answer = String::from_utf8(bytes).expect("it is text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("the head is whole");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()).and_then(|length| length.parse().ok());
    assert!(length.is_some_and(|length: usize| body.len() < length && body.len() > 10), "{answer}");
    assert_eq!(delivery(&sandbox), (Delivery::Lost, Delivery::Lost));
    let answer = caller.issue().await.expect("the head is there");
    assert!(answer.bytes().await.is_err(), "an HTTP client sees that something is missing");
}

#[tokio::test]
async fn a_body_may_drip() {
    let (sandbox, caller) = sandbox().await;
    inject(&sandbox, Fault::new(Kind::Drip { pause_ms: 1 }).once());
    let begun = Instant::now();
    let (status, body) = read(caller.issue().await).await;
    assert_eq!((status, sandbox.truth().owner_of(&text(&body, "accessToken"))), (200, Some("a")));
    assert!(begun.elapsed() >= Duration::from_millis(100), "more than 100 bytes, one millisecond each");
    assert_eq!(delivery(&sandbox), (Delivery::Delivered, Delivery::Delivered));

    inject(&sandbox, Fault::new(Kind::Drip { pause_ms: 60_000 }));
    let mut stream = caller.send_issue().await;
    assert!(stream.read_u8().await.is_ok(), "the head is there");
    drop(stream);
    assert!(!last_call(&sandbox).await.delivered);
    assert_eq!(delivery(&sandbox), (Delivery::Lost, Delivery::Lost));
}

#[tokio::test]
async fn refresh_tokens_rotate_or_die_on_demand() {
    let (sandbox, caller) = sandbox().await;
    let Tokens { refresh: first, .. } = caller.tokens().await;
    inject(&sandbox, Fault::new(Kind::Rotate { old_lives: true }).once());
    let (_, body) = read(caller.refresh(&first).await).await;
    let second = text(&body, "refreshToken");
    assert_eq!(sandbox.truth().live_refresh_tokens().count(), 2);
    assert_eq!(last_call(&sandbox).await.effect, Some(Effect::Rotated));

    inject(&sandbox, Fault::new(Kind::Rotate { old_lives: false }).once());
    let (_, body) = read(caller.refresh(&second).await).await;
    let third = text(&body, "refreshToken");
    assert_eq!(sandbox.truth().refresh(&second).map(|(_, token)| token.state), Some(RefreshState::RotatedOut));
    assert_eq!(read(caller.refresh(&second).await).await.0, 400);

    inject(&sandbox, Fault::new(Kind::Die).once());
    assert_eq!(read(caller.refresh(&third).await).await.0, 400);
    assert_eq!(sandbox.truth().refresh(&third).map(|(_, token)| token.state), Some(RefreshState::Dead));
    inject(&sandbox, Fault::new(Kind::Die).once());
    assert_eq!(read(caller.revoke(&first).await).await.0, 400);
    assert_eq!(sandbox.truth().live_refresh_tokens().count(), 0);
}

#[tokio::test]
async fn faults_apply_by_call_by_client_in_their_order_and_for_as_often_as_they_say() {
    let (sandbox, caller) = sandbox().await;
    sandbox.add_client("b", "s");
    let tokens = caller.tokens().await;
    inject(&sandbox, Fault::status(501).on(Call::Refresh));
    let second = inject(&sandbox, Fault::status(502).on(Call::Issue).client("b").times(2));
    let third = inject(&sandbox, Fault::status(503).client("a"));

    assert_eq!(read(caller.refresh(&tokens.refresh).await).await.0, 501, "the first that fits, by call");
    assert_eq!(read(caller.revoke(&tokens.refresh).await).await.0, 503, "the client of a refresh token is that of its line");
    let issue = async || read(caller.post("/auth/token", &pair("b", "s")).await).await.0;
    assert_eq!(issue().await, 502);
    assert_eq!(sandbox.faults().get(1).map(|fault| (fault.id, fault.remaining, fault.applied)), Some((second, Some(1), 1)));
    assert_eq!((issue().await, issue().await), (502, 200), "two times, then as usual");
    assert!(sandbox.faults().iter().all(|fault| fault.id != second));
    assert_eq!(
        sandbox.calls(0).iter().map(|call| call.fault).collect::<Vec<_>>(),
        [None, Some(1), Some(third), Some(second), Some(second), None]
    );

    assert!(sandbox.heal(third));
    assert!(!sandbox.heal(third));
    assert_eq!(read(caller.revoke(&tokens.refresh).await).await.0, 200);
    assert_eq!(sandbox.heal_all(), 1);
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_with_the_reason() {
    let (sandbox, _) = sandbox().await;
    for (fault, reason) in [
        (Fault::status(100), "100 is no status of an answer; use 200 to 599"),
        (Fault::status(600), "600 is no status of an answer; use 200 to 599"),
        (Fault::retry_after(503, "a\nb"), "retryAfter cannot be sent as a header"),
        (Fault::new(Kind::Redirect { code: 200, location: "/".into() }), "200 is no redirect; use 300 to 399"),
        (Fault::status(500).times(0), "a fault applies to one call at least"),
        (Fault::lost_answer().processed(false), "this kind of fault has no choice of processed"),
        (Fault::new(Kind::Die).on(Call::Issue), "no call \"issue\" meets this kind of fault"),
        (Fault::dropped().on(Call::Other), "no call \"other\" meets this kind of fault"),
        (Fault::new(Kind::HugeBody { bytes: 1 << 30 }), "at most 67108864 bytes"),
    ] {
        assert_eq!(sandbox.inject(fault).map_err(|error| error.to_string()), Err(reason.into()));
    }
    assert!(sandbox.faults().is_empty());
}
