//! The readers of what Revoiceit sends, for the fuzz targets of `tests/fuzz`. In no other build.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;

use super::{
    AccessToken, RefreshToken, headers, jwt,
    outcome::{Body, Reply, issued, refreshed, revoked},
};

/// Reads an answer as that to each of the calls.
pub fn answer(status: u16, body: &[u8]) {
    let reply = Reply::Answer { status, retry_after: None, body: Body::Whole(body) };
    let _ = (issued(reply), refreshed(reply, &RefreshToken::new("r0")), revoked(reply));
}

/// Reads a value as either header.
pub fn headers(value: &[u8]) {
    let _ = headers::date(value);
    let pause = headers::retry_after(value, Timestamp::UNIX_EPOCH);
    assert!(pause.is_none_or(|pause| pause <= headers::MAX_RETRY_AFTER));
}

/// Reads how long a token lives.
pub fn token(token: &str) {
    let lifetime = jwt::lifetime(&AccessToken::new(token));
    assert_ne!(lifetime, Some(Duration::ZERO));
}

/// The same of a token with these claims.
pub fn claims(claims: &[u8]) {
    token(&format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims)));
}
