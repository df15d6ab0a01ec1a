//! Against the sandbox: the documented behaviour, and each of its faults on each call, compared with its ground truth.

use futures::future::join_all;
use revoiceit_sandbox::{
    Body, Call, CallRecord, Config, Delivery, Fault, Kind, RefreshState, RejectionBody, Rotation, Sandbox, Switches, TokenForm, Which,
    Wrong,
};

use super::*;
use crate::revoiceit::report::Success;

async fn sandbox(switches: Switches) -> Sandbox {
    Sandbox::start(Config::default().client("client-1", "hush-hush").switches(switches)).await.expect("it starts")
}

fn client_of(sandbox: &Sandbox) -> HttpAuth {
    HttpAuth::new(options(sandbox.api_url())).expect("good options")
}

fn word<T: Success>(result: &Result<T, Failure>) -> &'static str {
    result.as_ref().map_or_else(Failure::as_str, Success::as_str)
}

#[tokio::test]
async fn a_line_from_its_issue_to_its_end() {
    let sandbox = sandbox(Switches::default()).await;
    let client = client_of(&sandbox);

    let issued = client.issue(&pair()).await.expect("issued");
    let refreshed = client.refresh(&issued.refresh).await.expect("refreshed");
    let truth = sandbox.truth();
    let [line] = &truth.lines[..] else { panic!("{} lines", truth.lines.len()) };
    let tokens: Vec<_> = line.access.iter().map(|token| token.token.as_str()).collect();
    assert_eq!(tokens, [issued.access.expose(), refreshed.access.expose()]);
    assert_eq!(line.refresh[0].token, issued.refresh.expose());
    assert_eq!((refreshed.rotated, issued.lifetime), (None, None));

    assert_eq!(client.revoke(&issued.refresh).await, Ok(Revoked::Confirmed));
    assert_eq!(sandbox.truth().lines[0].refresh[0].state, RefreshState::Revoked);
    assert_eq!(client.revoke(&issued.refresh).await, Ok(Revoked::Unknown));
    assert_eq!(client.refresh(&issued.refresh).await, Err(Failure::Rejected));
}

#[tokio::test]
async fn what_is_not_valid_is_rejected() {
    let object = Failure::Rejected;
    let other = Failure::Unavailable { retry_after: None };
    for (status, body, failure) in [
        (400, RejectionBody::Json, &object),
        (400, RejectionBody::JsonString, &other),
        (400, RejectionBody::Text, &other),
        (400, RejectionBody::Empty, &other),
        (401, RejectionBody::Empty, &object),
        (403, RejectionBody::Json, &other),
    ] {
        let sandbox = sandbox(Switches { rejection_status: status, rejection_body: body, ..Switches::default() }).await;
        let client = client_of(&sandbox);
        let wrong = ClientCredentials { client_secret: ClientSecret::new("wrong"), ..pair() };
        assert_eq!(client.issue(&wrong).await.as_ref(), Err(failure), "{status} {body:?}");
        assert_eq!(client.refresh(&refresh_token()).await.as_ref(), Err(failure), "{status} {body:?}");
        assert_eq!(sandbox.truth().lines, []);
    }
}

#[tokio::test]
async fn refreshes_that_rotate_say_so() {
    for rotation in [Rotation::OldDies, Rotation::OldLives] {
        let sandbox = sandbox(Switches { rotation, ..Switches::default() }).await;
        let client = client_of(&sandbox);
        let issued = client.issue(&pair()).await.expect("issued");
        let refreshed = client.refresh(&issued.refresh).await.expect("refreshed");
        let new = sandbox.truth().lines[0].refresh[1].token.clone();
        assert_eq!(refreshed.rotated, Some(RefreshToken::new(new)), "{rotation:?}");
    }
}

#[tokio::test]
async fn a_jwt_says_how_long_it_lives_whatever_the_servers_clock() {
    let switches =
        Switches { token_form: TokenForm::Jwt, lifetime: Duration::from_secs(900), clock_offset_ms: -7_200_000, ..Switches::default() };
    let sandbox = sandbox(switches).await;
    let skew = Arc::new(Mutex::new(None));
    let sink = Arc::clone(&skew);
    let client = client_of(&sandbox).on_call(move |report| {
        *sink.lock().expect("not poisoned") = report.server_date.map(|date| report.answered_at.duration_since(date).as_secs());
    });
    let issued = client.issue(&pair()).await.expect("issued");
    assert_eq!(issued.lifetime, Some(Duration::from_secs(900)));
    let skew = skew.lock().expect("not poisoned").expect("a date");
    assert!((7_199..=7_202).contains(&skew), "{skew} s");
}

#[tokio::test]
async fn a_revoiceit_that_is_away_is_not_sent_to_and_may_come_back() {
    let mut sandbox = sandbox(Switches::default()).await;
    let client = client_of(&sandbox);
    let issued = client.issue(&pair()).await.expect("issued");
    sandbox.stop().await;
    assert_eq!(client.refresh(&issued.refresh).await, Err(Failure::NotSent));
    sandbox.restart().await.expect("it restarts");
    client.refresh(&issued.refresh).await.expect("refreshed");
}

/// A fault, and the words for what it makes of an issue, a refresh and a revocation. `-`: no such call meets it.
type Row = (Kind, [&'static str; 3]);

fn rows() -> Vec<Row> {
    const FINE: [&str; 3] = ["granted", "granted", "revoked"];
    const LOST: [&str; 3] = ["lost"; 3];
    const UNAVAILABLE: [&str; 3] = ["unavailable"; 3];
    const REFUSED: [&str; 3] = ["unavailable", "unavailable", "rejected"];
    let status = |code, body| Kind::Status { code, body, retry_after: Some("7".into()) };
    let text = |text: &str| Body::Custom { content_type: "application/json".into(), text: text.into() };
    vec![
        (Kind::Delay, FINE),
        (status(200, Body::Json), ["malformed", "malformed", "revoked"]),
        (status(200, Body::Html), ["malformed"; 3]),
        (status(200, text("{\"message\":")), ["malformed"; 3]),
        (status(204, Body::Empty), ["malformed"; 3]),
        (status(400, Body::Json), ["rejected", "rejected", "unknown"]),
        (status(400, Body::Html), REFUSED),
        (status(400, Body::Text), REFUSED),
        (status(400, Body::Empty), REFUSED),
        (status(401, Body::Html), ["rejected"; 3]),
        (status(403, Body::Json), UNAVAILABLE),
        (status(404, Body::Html), REFUSED),
        (status(405, Body::Json), UNAVAILABLE),
        (status(408, Body::Empty), UNAVAILABLE),
        (status(425, Body::Empty), UNAVAILABLE),
        (status(429, Body::Json), UNAVAILABLE),
        (status(500, Body::Json), UNAVAILABLE),
        (status(502, Body::Html), LOST),
        (status(503, Body::Html), UNAVAILABLE),
        (status(504, Body::Empty), LOST),
        (Kind::Redirect { code: 307, location: "/auth/revoke".into() }, UNAVAILABLE),
        (Kind::Drop, LOST),
        (Kind::LostAnswer, LOST),
        (Kind::Reset, LOST),
        (Kind::Hang, LOST),
        (Kind::NotJson, ["malformed"; 3]),
        (Kind::BadToken { which: Which::Access, how: Wrong::Missing }, ["malformed", "malformed", "-"]),
        (Kind::BadToken { which: Which::Access, how: Wrong::Long }, ["malformed", "malformed", "-"]),
        (Kind::BadToken { which: Which::Refresh, how: Wrong::Null }, ["malformed", "granted", "-"]),
        (Kind::BadToken { which: Which::Refresh, how: Wrong::Quote }, ["malformed", "malformed", "-"]),
        (Kind::BadToken { which: Which::Both, how: Wrong::LineBreak }, ["malformed", "malformed", "-"]),
        (Kind::HugeBody { bytes: 32 << 10 }, FINE),
        (Kind::HugeBody { bytes: 1 << 20 }, ["malformed"; 3]),
        (Kind::PartialBody, LOST),
        (Kind::Drip { pause_ms: 1 }, FINE),
        (Kind::Drip { pause_ms: 200 }, LOST),
        (Kind::Rotate { old_lives: false }, ["-", "granted", "-"]),
        (Kind::Die, ["-", "rejected", "unknown"]),
    ]
}

/// A kind of fault that is new in the sandbox does not compile here; one without a row fails the test below.
fn number(kind: &Kind) -> usize {
    match kind {
        Kind::Delay => 0,
        Kind::Status { .. } => 1,
        Kind::Redirect { .. } => 2,
        Kind::Drop => 3,
        Kind::LostAnswer => 4,
        Kind::Reset => 5,
        Kind::Hang => 6,
        Kind::NotJson => 7,
        Kind::BadToken { .. } => 8,
        Kind::HugeBody { .. } => 9,
        Kind::PartialBody => 10,
        Kind::Drip { .. } => 11,
        Kind::Rotate { .. } => 12,
        Kind::Die => 13,
    }
}

#[test]
fn each_kind_of_fault_has_a_row() {
    let mut numbers: Vec<_> = rows().iter().map(|(kind, _)| number(kind)).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers, (0..=13).collect::<Vec<_>>());
}

#[tokio::test]
async fn each_fault_on_each_call_means_what_the_table_says() {
    join_all(rows().into_iter().map(async |(kind, words)| {
        for (call, want) in [Call::Issue, Call::Refresh, Call::Revoke].into_iter().zip(words) {
            if want != "-" {
                meet(Fault::new(kind.clone()).on(call).once(), call, want).await;
            }
        }
    }))
    .await;
}

/// Has one call meet the fault, and compares what is said of it with what is true.
async fn meet(fault: Fault, call: Call, want: &str) {
    let what = format!("{call:?} with {:?}", fault.kind);
    let sandbox = sandbox(Switches::default()).await;
    let line = client_of(&sandbox).issue(&pair()).await.expect("issued");
    let client = match fault.kind {
        Kind::Hang | Kind::Drip { pause_ms: 200 } => impatient_client(sandbox.api_url()),
        _ => client_of(&sandbox),
    };
    let mark = sandbox.mark();
    sandbox.inject(fault).expect("a possible fault");

    match call {
        Call::Issue => {
            let result = client.issue(&pair()).await;
            assert_eq!(word(&result), want, "{what}");
            settled(&sandbox, mark).await;
            let truth = sandbox.truth();
            let new = truth.lines.get(1).map(|line| &line.refresh[0]);
            match &result {
                Ok(issued) => assert_eq!(new.map(|token| token.token.as_str()), Some(issued.refresh.expose()), "{what}"),
                Err(Failure::Lost) => assert!(new.is_none_or(|token| token.delivery != Delivery::Delivered), "{what}"),
                Err(Failure::Malformed { refresh: Some(kept) }) => {
                    assert_eq!(new.map(|token| token.token.as_str()), Some(kept.expose()), "{what}");
                }
                Err(Failure::Malformed { refresh: None }) => {
                    assert!(new.is_none_or(|token| token.delivery == Delivery::Garbled), "{what}: the token could be read");
                }
                Err(Failure::NotSent | Failure::Rejected | Failure::Unavailable { .. }) => assert!(new.is_none(), "{what}"),
            }
            check_retry_after(&result, &what);
        }
        Call::Refresh => {
            let result = client.refresh(&line.refresh).await;
            assert_eq!(word(&result), want, "{what}");
            let truth = sandbox.truth();
            let new = truth.lines[0].refresh.get(1).map(|token| RefreshToken::new(token.token.as_str()));
            match &result {
                Ok(refreshed) => assert_eq!(refreshed.rotated, new, "{what}"),
                Err(Failure::Malformed { refresh }) => assert_eq!(*refresh, new, "{what}"),
                Err(_) => assert_eq!(new, None, "{what}"),
            }
            check_retry_after(&result, &what);
        }
        Call::Revoke => {
            let result = client.revoke(&line.refresh).await;
            assert_eq!(word(&result), want, "{what}");
            check_retry_after(&result, &what);
        }
        Call::Other => unreachable!("not one of ours"),
    }
    let calls = sandbox.calls(mark);
    assert!(calls.len() == 1 && calls[0].call == call, "{what}: {calls:?}");
}

/// Whether an answer went out as it was is known to the server only after the client may have read it.
async fn settled(sandbox: &Sandbox, mark: u64) {
    let is_settled = |calls: Vec<CallRecord>| calls.iter().all(|call| call.finished_at.is_some());
    let known = sandbox.wait_for(Duration::from_secs(60), |sandbox| is_settled(sandbox.calls(mark)).then_some(())).await;
    assert!(known.is_some(), "the server does not know what became of its answer");
}

fn check_retry_after<T>(result: &Result<T, Failure>, what: &str) {
    if let Err(Failure::Unavailable { retry_after }) = result {
        let want = (!what.contains("Redirect")).then_some(Duration::from_secs(7));
        assert_eq!(*retry_after, want, "{what}");
    }
}

#[tokio::test]
async fn each_unusable_token_is_noticed_and_its_refresh_token_kept() {
    let sandbox = sandbox(Switches::default()).await;
    let client = client_of(&sandbox);
    for how in [Wrong::Missing, Wrong::Null, Wrong::Number, Wrong::Empty, Wrong::Long, Wrong::Quote, Wrong::LineBreak, Wrong::NotAscii] {
        for which in [Which::Access, Which::Refresh, Which::Both] {
            sandbox.inject(Fault::bad_token(which, how).on(Call::Issue).once()).expect("a possible fault");
            let result = client.issue(&pair()).await;
            let truth = sandbox.truth();
            let made = truth.lines.last().map(|line| RefreshToken::new(line.refresh[0].token.as_str()));
            let refresh = made.filter(|_| which == Which::Access);
            assert_eq!(result, Err(Failure::Malformed { refresh }), "{which:?} {how:?}");
        }
    }
}
