//! The outcome table, cell by cell.

use proptest::prelude::*;

use super::*;
use crate::revoiceit::AccessToken;

const PAUSE: Option<Duration> = Some(Duration::from_secs(7));

/// A row of the table: what happened, and what it means for an issue, a refresh of token `r0`, and a revocation.
struct Row {
    what: &'static str,
    reply: Reply<'static>,
    issue: Result<Issued, Failure>,
    refresh: Result<Refreshed, Failure>,
    revoke: Result<Revoked, Failure>,
}

fn answer(status: u16, body: &'static str) -> Reply<'static> {
    Reply::Answer { status, retry_after: None, body: Body::Whole(body.as_bytes()) }
}

fn unread(status: u16) -> Reply<'static> {
    Reply::Answer { status, retry_after: PAUSE, body: Body::Unread }
}

fn too_long(status: u16) -> Reply<'static> {
    Reply::Answer { status, retry_after: PAUSE, body: Body::TooLong }
}

/// The row of a failure that is the same for all three calls.
fn all(what: &'static str, reply: Reply<'static>, failure: Failure) -> Row {
    Row { what, reply, issue: Err(failure.clone()), refresh: Err(failure.clone()), revoke: Err(failure) }
}

/// The row of an answer that says that nothing was done, and to a revocation, that nothing will be.
fn refusal(what: &'static str, reply: Reply<'static>, failure: Failure) -> Row {
    Row { what, reply, issue: Err(failure.clone()), refresh: Err(failure), revoke: Err(Failure::Rejected) }
}

/// The row of a 200 with a JSON object, which is always good enough for a revocation.
fn object(what: &'static str, body: &'static str, issue: Result<Issued, Failure>, refresh: Result<Refreshed, Failure>) -> Row {
    Row { what, reply: answer(200, body), issue, refresh, revoke: Ok(Revoked::Confirmed) }
}

fn issues(refresh: &str) -> Result<Issued, Failure> {
    Ok(Issued { access: AccessToken::new("a"), refresh: RefreshToken::new(refresh), lifetime: None })
}

fn refreshes(rotated: Option<&str>) -> Result<Refreshed, Failure> {
    Ok(Refreshed { access: AccessToken::new("a"), rotated: rotated.map(RefreshToken::new), lifetime: None })
}

fn malformed<T>(refresh: Option<&str>) -> Result<T, Failure> {
    Err(Failure::Malformed { refresh: refresh.map(RefreshToken::new) })
}

#[test]
fn every_cell_of_the_table() {
    let unavailable = Failure::Unavailable { retry_after: None };
    let unavailable_for = Failure::Unavailable { retry_after: PAUSE };
    let nothing = Failure::Malformed { refresh: None };

    let mut rows = vec![
        all("a request that never left did nothing", Reply::NotSent, Failure::NotSent),
        all("a request without an answer may have done something", Reply::NoAnswer, Failure::Lost),
        all("a 502 may have done something", answer(502, "{}"), Failure::Lost),
        all("a 504 may have done something, whatever its body", unread(504), Failure::Lost),
        all("a 200 that breaks off did something", unread(200), Failure::Lost),
        all("a 200 that is too long cannot be read", too_long(200), nothing.clone()),
        all("a 200 with a page is of no use", answer(200, "<html>"), nothing.clone()),
        all("a 200 with nothing is of no use", answer(200, ""), nothing.clone()),
        all("a 204 is a 200 with nothing", answer(204, ""), nothing.clone()),
        all("a 200 with a JSON array is of no use", answer(200, r#"["a","r"]"#), nothing),
        Row {
            what: "a 400 with a JSON object rejects what was sent; a token to be revoked is unknown",
            reply: answer(400, r#"{"message":"Invalid input"}"#),
            issue: Err(Failure::Rejected),
            refresh: Err(Failure::Rejected),
            revoke: Ok(Revoked::Unknown),
        },
        refusal("a 400 with a page is not of Revoiceit", answer(400, "<html>"), unavailable.clone()),
        refusal("a 400 with a JSON string is not of Revoiceit", answer(400, r#""{}""#), unavailable.clone()),
        refusal("a 400 with nothing is not of Revoiceit", answer(400, ""), unavailable.clone()),
        refusal("a 400 that breaks off made no token", unread(400), unavailable_for.clone()),
        refusal("a 400 that is too long is not of Revoiceit", too_long(400), unavailable_for.clone()),
        all("a 401 rejects what was sent, also on a revocation", unread(401), Failure::Rejected),
        all("a 401 needs no JSON", answer(401, "<html>"), Failure::Rejected),
        Row {
            what: "a 201 is as good as a 200",
            reply: answer(201, r#"{"accessToken":"a","refreshToken":"r"}"#),
            issue: issues("r"),
            refresh: refreshes(Some("r")),
            revoke: Ok(Revoked::Confirmed),
        },
        object("both tokens grant", r#"{"accessToken":"a","refreshToken":"r"}"#, issues("r"), refreshes(Some("r"))),
        object("the token that was sent is not a rotation", r#"{"accessToken":"a","refreshToken":"r0"}"#, issues("r0"), refreshes(None)),
        object("a refresh needs no refresh token", r#"{"accessToken":"a"}"#, malformed(None), refreshes(None)),
        object("null is as good as absent", r#"{"accessToken":"a","refreshToken":null}"#, malformed(None), refreshes(None)),
        object("an empty refresh token is unusable", r#"{"accessToken":"a","refreshToken":""}"#, malformed(None), malformed(None)),
        object("a refresh token of another type is unusable", r#"{"accessToken":"a","refreshToken":1}"#, malformed(None), malformed(None)),
        object("a refresh token alone is kept", r#"{"refreshToken":"r"}"#, malformed(Some("r")), malformed(Some("r"))),
        object(
            "one beside an unusable token is kept",
            r#"{"accessToken":" ","refreshToken":"r"}"#,
            malformed(Some("r")),
            malformed(Some("r")),
        ),
        object("the token that was sent is live and not to be revoked", r#"{"refreshToken":"r0"}"#, malformed(Some("r0")), malformed(None)),
        object("an object without tokens is of no use", r#"{"message":"ok"}"#, malformed(None), malformed(None)),
    ];
    for status in [404, 410] {
        rows.push(refusal("what is not there is not revoked", unread(status), unavailable_for.clone()));
    }
    for status in [301, 302, 307, 403, 405, 408, 413, 425, 429, 500, 501, 503, 505, 520, 599, 101, 304, 418, 999] {
        rows.push(all("any other status says that it was not done", unread(status), unavailable_for.clone()));
        rows.push(all("its body does not matter", answer(status, r#"{"accessToken":"a","refreshToken":"r"}"#), unavailable.clone()));
    }

    let sent = RefreshToken::new("r0");
    for Row { what, reply, issue, refresh, revoke } in rows {
        assert_eq!(issued(reply), issue, "{what}: issue: {reply:?}");
        assert_eq!(refreshed(reply, &sent), refresh, "{what}: refresh: {reply:?}");
        assert_eq!(revoked(reply), revoke, "{what}: revoke: {reply:?}");
    }
}

#[test]
fn a_granted_jwt_says_how_long_it_lives() {
    // {"iat":0,"exp":3600}
    let reply = answer(200, r#"{"accessToken":"e30.eyJpYXQiOjAsImV4cCI6MzYwMH0.","refreshToken":"r"}"#);
    let hour = Some(Duration::from_secs(3600));
    assert_eq!(issued(reply).map(|issued| issued.lifetime), Ok(hour));
    assert_eq!(refreshed(reply, &RefreshToken::new("r")).map(|refreshed| refreshed.lifetime), Ok(hour));
}

#[test]
fn only_bodies_that_matter_are_needed() {
    for status in 100..=999 {
        let same = |body| {
            let reply = |body| Reply::Answer { status, retry_after: None, body };
            issued(reply(body)) == issued(reply(Body::Unread)) && revoked(reply(body)) == revoked(reply(Body::Unread))
        };
        let bodies = [Body::Whole(b"{}"), Body::Whole(br#"{"accessToken":"a","refreshToken":"r"}"#), Body::TooLong];
        assert_eq!(needs_body(status), !bodies.into_iter().all(same), "{status}");
    }
}

proptest! {
    #[test]
    fn no_answer_is_a_panic(status: u16, body: Vec<u8>) {
        let reply = Reply::Answer { status, retry_after: None, body: Body::Whole(&body) };
        let _ = (issued(reply), refreshed(reply, &RefreshToken::new("r0")), revoked(reply));
    }

    /// The one thing that must never happen: a refresh token that can be read and is in nobody's hands.
    #[test]
    fn a_new_refresh_token_in_a_2xx_is_never_forgotten(
        status in 200_u16..300,
        access in prop_oneof![Just("null".to_owned()), Just("{}".to_owned()), Just("\"\"".to_owned()), "\"[a-z]{1,5}\""],
    ) {
        let body = format!(r#"{{"accessToken":{access},"refreshToken":"new"}}"#);
        let reply = Reply::Answer { status, retry_after: None, body: Body::Whole(body.as_bytes()) };
        let new = Some(RefreshToken::new("new"));
        let of_issue = match issued(reply) {
            Ok(issued) => Some(issued.refresh),
            Err(Failure::Malformed { refresh }) => refresh,
            Err(_) => None,
        };
        let of_refresh = match refreshed(reply, &RefreshToken::new("r0")) {
            Ok(refreshed) => refreshed.rotated,
            Err(Failure::Malformed { refresh }) => refresh,
            Err(_) => None,
        };
        prop_assert_eq!((&of_issue, &of_refresh), (&new, &new));
    }
}
