//! What an answer means: the outcome table.
//!
//! | what happened | issue, refresh | revoke |
//! |---|---|---|
//! | never left | `NotSent` | `NotSent` |
//! | sent, no answer; 502, 504; a 2xx that breaks off | `Lost` | `Lost` |
//! | 400 with a JSON object | `Rejected` | done: `Unknown` |
//! | 401 | `Rejected` | `Rejected` |
//! | 2xx with what was promised | granted | a JSON object: done: `Confirmed` |
//! | 2xx with anything else, or too long | `Malformed` | `Malformed` |
//! | anything else | `Unavailable` | `Unavailable` |
//!
//! The rows ask one question: may Revoiceit have made or ended a token? Where that is not known the answer is the one
//! that counts a loss that may not be, never the one that forgets a token.

use std::time::Duration;

use super::{
    Failure, Issued, RefreshToken, Refreshed, Revoked, jwt,
    wire::{self, Field, Tokens},
};

/// What came of sending a request, as far as it decides the outcome.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reply<'a> {
    /// Nothing of the request's body left: DNS, connection refused, TLS, a proxy that does not let through.
    NotSent,
    /// Some of the request left, and no status came back: a timeout, a reset, something that is not HTTP.
    NoAnswer,
    /// A status came back.
    Answer { status: u16, retry_after: Option<Duration>, body: Body<'a> },
}

/// The body of an answer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Body<'a> {
    /// All of it.
    Whole(&'a [u8]),
    /// More than [`wire::MAX_ANSWER`]; not kept.
    TooLong,
    /// It broke off or did not come in time; or it was not read, as [`needs_body`] said.
    Unread,
}

/// Whether the outcome depends on the body. Others need not be read.
pub(super) fn needs_body(status: u16) -> bool {
    matches!(status, 200..=299 | 400)
}

/// What the answer to an issue means.
pub(super) fn issued(reply: Reply<'_>) -> Result<Issued, Failure> {
    let body = done(reply)?;
    match wire::tokens(body) {
        Some(Tokens { access: Field::Token(access), refresh: Field::Token(refresh) }) => {
            let lifetime = jwt::lifetime(&access);
            Ok(Issued { access, refresh, lifetime })
        }
        Some(Tokens { refresh, .. }) => Err(Failure::Malformed { refresh: refresh.token() }),
        None => Err(Failure::Malformed { refresh: None }),
    }
}

/// What the answer to a refresh with the token `sent` means.
pub(super) fn refreshed(reply: Reply<'_>, sent: &RefreshToken) -> Result<Refreshed, Failure> {
    let body = done(reply)?;
    let Tokens { access, refresh } = wire::tokens(body).ok_or(Failure::Malformed { refresh: None })?;
    let rotated = match refresh {
        Field::Absent => None,
        // The one that was sent goes on; it is neither new nor to be revoked.
        Field::Token(token) if token == *sent => None,
        Field::Token(token) => Some(token),
        // There is a refresh token that nobody can use, and the one that was sent may have ended with it.
        Field::Unusable => return Err(Failure::Malformed { refresh: None }),
    };
    match access {
        Field::Token(access) => {
            let lifetime = jwt::lifetime(&access);
            Ok(Refreshed { access, rotated, lifetime })
        }
        Field::Absent | Field::Unusable => Err(Failure::Malformed { refresh: rotated }),
    }
}

/// What the answer to a revocation means.
pub(super) fn revoked(reply: Reply<'_>) -> Result<Revoked, Failure> {
    if is_invalid_input(reply) {
        return Ok(Revoked::Unknown);
    }
    // It may be that the token has ended, or that something in front of Revoiceit shows a page of its own.
    if let Reply::Answer { status: 400 | 401 | 404 | 410, .. } = reply {
        return Err(Failure::Rejected);
    }
    // The message is not looked at: its words are not part of the contract. That it is JSON tells it from such a page.
    if wire::is_object(done(reply)?) { Ok(Revoked::Confirmed) } else { Err(Failure::Malformed { refresh: None }) }
}

/// The body of an answer that says that the call was carried out.
fn done(reply: Reply<'_>) -> Result<&[u8], Failure> {
    let (status, retry_after, body) = match reply {
        Reply::NotSent => return Err(Failure::NotSent),
        Reply::NoAnswer => return Err(Failure::Lost),
        _ if is_invalid_input(reply) => return Err(Failure::Rejected),
        Reply::Answer { status, retry_after, body } => (status, retry_after, body),
    };
    match (status, body) {
        // Only 200 is documented. Any other 2xx says as well that it was done, and its tokens are not to be forgotten.
        (200..=299, Body::Whole(body)) => Ok(body),
        (200..=299, Body::TooLong) => Err(Failure::Malformed { refresh: None }),
        // It was done, and what came of it is gone.
        (200..=299, Body::Unread) => Err(Failure::Lost),
        (401, _) => Err(Failure::Rejected),
        // A gateway that has no answer from the server behind it, which may be at work.
        (502 | 504, _) => Err(Failure::Lost),
        // Somebody answered that it was not done. A 400 without JSON, or one that breaks off, is one of these: its status
        // came, so no token was made, but whether Revoiceit itself has said so cannot be seen.
        _ => Err(Failure::Unavailable { retry_after }),
    }
}

/// 400 with a JSON object: the document's "invalid input", said by Revoiceit itself. Other 400s are of proxies.
fn is_invalid_input(reply: Reply<'_>) -> bool {
    matches!(reply, Reply::Answer { status: 400, body: Body::Whole(body), .. } if wire::is_object(body))
}

#[cfg(test)]
#[path = "outcome_tests.rs"]
mod tests;
