//! The text of tokens: unguessable, never the same twice, visible ASCII.

use std::fmt::Write;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::rand::{SecureRandom, SystemRandom};

use crate::{
    switches::{Switches, TokenForm},
    time::UnixMillis,
};

/// A refresh token, always opaque.
pub(crate) fn refresh() -> String {
    format!("rvr-{}", hex(&random::<24>()))
}

/// An access token of the form that is asked for.
pub(crate) fn access(switches: &Switches, client: &str, now: UnixMillis) -> String {
    match switches.token_form {
        TokenForm::Opaque => format!("rva-{}", hex(&random::<24>())),
        TokenForm::Jwt => jwt(client, now.offset(switches.clock_offset_ms), switches),
    }
}

/// A JWT whose `exp − iat` is the lifetime, rounded down: a token is never valid for a shorter time than it says.
fn jwt(client: &str, issued_at: UnixMillis, switches: &Switches) -> String {
    let iat = issued_at.seconds();
    let claims = serde_json::json!({
        "iss": "revoiceit-sandbox", "sub": client, "iat": iat, "exp": iat + switches.lifetime.as_secs(), "jti": hex(&random::<16>()),
    });
    let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    format!("{}.{}.{}", part(br#"{"alg":"HS256","typ":"JWT"}"#), part(claims.to_string().as_bytes()), part(&random::<32>()))
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
