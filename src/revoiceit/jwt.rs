//! How long an access token lives, by its own account.

use std::time::Duration;

use base64::{
    Engine,
    alphabet::URL_SAFE,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::AccessToken;

/// JWTs have no padding; some libraries write it all the same, and some leave stray bits in the last character.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent).with_decode_allow_trailing_bits(true),
);

/// `exp − iat` of a token that is a JWT with both as numbers, whole or fractional. `None` for any other token, and when
/// the difference is not positive.
///
/// Nothing is verified: the token came from Revoiceit over TLS, and a wrong answer only makes the operator refresh earlier
/// or, as callers take the smaller of this and their own bound, as early as it would without. The work is bounded by the
/// length that an access token may have.
pub(super) fn lifetime(token: &AccessToken) -> Option<Duration> {
    #[derive(Deserialize)]
    struct Claims {
        exp: f64,
        iat: f64,
    }

    let mut parts = token.expose().split('.');
    let (Some(_header), Some(payload), Some(_signature), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return None;
    };
    let json = Zeroizing::new(BASE64.decode(payload).ok()?);
    // A JSON array of two numbers would be taken for this struct, and is no set of claims.
    if !json.trim_ascii_start().starts_with(b"{") {
        return None;
    }
    let claims: Claims = serde_json::from_slice(&json).ok()?;
    // Seconds since 1970 keep a precision below a microsecond in an f64. A difference that is negative or too large for a
    // Duration is an error here.
    let lifetime = Duration::try_from_secs_f64(claims.exp - claims.iat).ok()?;
    (!lifetime.is_zero()).then_some(lifetime)
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
    use proptest::prelude::*;

    use super::*;

    fn jwt(claims: &str) -> String {
        format!("{}.{}.c2ln", URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#), URL_SAFE_NO_PAD.encode(claims))
    }

    fn read(token: &str) -> Option<Duration> {
        lifetime(&AccessToken::new(token))
    }

    #[test]
    fn a_jwt_with_both_times_says_how_long_it_lives() {
        for (claims, seconds) in [
            (r#"{"iat":1700000000,"exp":1700003600}"#, 3600.0),
            (r#"{"sub":"x","exp":1700003600,"nested":{"iat":1},"iat":1700000000}"#, 3600.0),
            (r#"{"iat":1700000000.25,"exp":1700000060.75}"#, 60.5),
            (r#"{"iat":1.7e9,"exp":1.7000036e9}"#, 3600.0),
            (r#"{"iat":-10,"exp":20}"#, 30.0),
        ] {
            assert_eq!(read(&jwt(claims)), Some(Duration::from_secs_f64(seconds)), "{claims}");
        }
    }

    #[test]
    fn padding_and_stray_bits_are_tolerated() {
        let payload = URL_SAFE.encode(r#"{"iat":0,"exp":3600}"#);
        assert!(payload.ends_with('='));
        assert_eq!(read(&format!("e30.{payload}.")), Some(Duration::from_secs(3600)));
        let rest = payload.strip_suffix("0=").expect("} is 0x7d, whose last bits are 01 and two of padding");
        let stray = format!("e30.{rest}1.");
        assert_eq!(read(&stray), Some(Duration::from_secs(3600)));
    }

    #[test]
    fn any_other_token_says_nothing() {
        for claims in [
            r#"{"exp":1700003600}"#,
            r#"{"iat":1700000000}"#,
            r#"{"iat":"1700000000","exp":"1700003600"}"#,
            r#"{"iat":null,"exp":1}"#,
            r#"{"iat":0,"exp":1e400}"#,
            r#"{"iat":0,"exp":1e300}"#,
            r#"{"iat":0,"exp":1e-12}"#,
            r#"{"iat":0,"exp":1,"exp":2}"#,
            r#"{"iat":5,"exp":5}"#,
            r#"{"iat":6,"exp":5}"#,
            r#"[3600,0]"#,
            "not json",
            "",
        ] {
            assert_eq!(read(&jwt(claims)), None, "{claims}");
        }
        let valid = jwt(r#"{"iat":0,"exp":1}"#);
        for token in
            ["", ".", "..", "...", "opaque", "a.!!.b", &format!("{valid}.x"), &format!("x.{valid}"), valid.trim_end_matches(".c2ln")]
        {
            assert_eq!(read(token), None, "{token}");
        }
    }

    proptest! {
        #[test]
        fn no_token_is_a_panic(token: String) {
            read(&token);
        }

        #[test]
        fn no_claims_are_a_panic(claims: String) {
            read(&jwt(&claims));
        }

        #[test]
        fn no_times_are_a_panic(iat: f64, exp: f64) {
            if let Some(lifetime) = read(&jwt(&format!(r#"{{"iat":{iat:e},"exp":{exp:e}}}"#))) {
                prop_assert!(exp > iat && !lifetime.is_zero());
            }
        }
    }
}
