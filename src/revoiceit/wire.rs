//! The bodies of requests and answers.
//!
//! What is written or read here is secret: buffers are wiped when they are dropped, and made large enough at once,
//! as growing would leave copies behind. What the HTTP and TLS layers copy into their own buffers is out of reach.

use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::{AccessToken, ClientCredentials, RefreshToken};

/// The longest access token that is accepted, in bytes. It has to fit into a Secret many times, and into a request header.
pub(super) const MAX_ACCESS_TOKEN: usize = 16 << 10;
/// The longest refresh token that is accepted, in bytes. Up to a dozen of them share one ledger with other things.
pub(super) const MAX_REFRESH_TOKEN: usize = 4 << 10;
/// The longest answer that is read, in bytes. One with the longest tokens is a third of it.
pub(super) const MAX_ANSWER: usize = 64 << 10;

/// The body of an issue.
pub(super) fn issue_body(pair: &ClientCredentials) -> Zeroizing<Vec<u8>> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Body<'a> {
        client_id: &'a str,
        client_secret: &'a str,
    }

    let (client_id, client_secret) = (pair.client_id.expose(), pair.client_secret.expose());
    json(&Body { client_id, client_secret }, client_id.len() + client_secret.len())
}

/// The body of a refresh, and of a revocation.
pub(super) fn refresh_token_body(token: &RefreshToken) -> Zeroizing<Vec<u8>> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Body<'a> {
        refresh_token: &'a str,
    }

    let refresh_token = token.expose();
    json(&Body { refresh_token }, refresh_token.len())
}

fn json(body: &impl Serialize, secret_bytes: usize) -> Zeroizing<Vec<u8>> {
    // A byte becomes six at most, as in \u0000; the names and braces of either body are shorter than 64 bytes.
    let mut buffer = Zeroizing::new(Vec::with_capacity(64 + 6 * secret_bytes));
    serde_json::to_writer(&mut *buffer, body).expect("strings can be written to memory");
    buffer
}

/// The part of an answer in which a token is expected.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Field<T> {
    /// Not there, or null.
    Absent,
    /// There, and nothing that a token can be.
    Unusable,
    /// A token.
    Token(T),
}

impl<T> Field<T> {
    /// The token, if there is a usable one.
    pub(super) fn token(self) -> Option<T> {
        match self {
            Self::Token(token) => Some(token),
            Self::Absent | Self::Unusable => None,
        }
    }
}

/// The tokens in an answer to an issue or a refresh. Each is read for itself, so that one is not lost because the other
/// is unusable.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tokens {
    pub(super) access: Field<AccessToken>,
    pub(super) refresh: Field<RefreshToken>,
}

/// Reads the tokens of an answer. `None`: it is not a JSON object, or one that says a thing twice.
pub(super) fn tokens(body: &[u8]) -> Option<Tokens> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Answer<'a> {
        #[serde(borrow)]
        access_token: Option<&'a RawValue>,
        #[serde(borrow)]
        refresh_token: Option<&'a RawValue>,
    }

    // serde would also take the array `["…", "…"]` for this struct.
    if !begins_object(body) {
        return None;
    }
    let answer: Answer<'_> = serde_json::from_slice(body).ok()?;
    Some(Tokens {
        access: field(answer.access_token, MAX_ACCESS_TOKEN, AccessToken::new),
        refresh: field(answer.refresh_token, MAX_REFRESH_TOKEN, RefreshToken::new),
    })
}

/// Whether the body is a JSON object, of whatever content.
pub(super) fn is_object(body: &[u8]) -> bool {
    begins_object(body) && serde_json::from_slice::<IgnoredAny>(body).is_ok()
}

fn begins_object(body: &[u8]) -> bool {
    body.trim_ascii_start().starts_with(b"{")
}

fn field<T>(value: Option<&RawValue>, max_bytes: usize, token: impl FnOnce(String) -> T) -> Field<T> {
    let Some(value) = value else { return Field::Absent };
    let Ok(text) = serde_json::from_str::<String>(value.get()) else { return Field::Unusable };
    let mut text = Zeroizing::new(text);
    if is_token(&text, max_bytes) { Field::Token(token(std::mem::take(&mut *text))) } else { Field::Unusable }
}

/// Whether the text can be a token: not empty, not longer than allowed, visible ASCII, and nothing that JSON, YAML or a
/// quoted header value would have to escape.
fn is_token(text: &str, max_bytes: usize) -> bool {
    (1..=max_bytes).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::revoiceit::{ClientId, ClientSecret};

    fn access(text: &str) -> Field<AccessToken> {
        Field::Token(AccessToken::new(text))
    }

    fn refresh(text: &str) -> Field<RefreshToken> {
        Field::Token(RefreshToken::new(text))
    }

    fn read(body: &str) -> Option<Tokens> {
        tokens(body.as_bytes())
    }

    #[test]
    fn requests_are_what_the_document_says() {
        let pair = ClientCredentials { client_id: ClientId::new("id"), client_secret: ClientSecret::new("s\"é\n") };
        assert_eq!(issue_body(&pair).as_slice(), r#"{"clientId":"id","clientSecret":"s\"é\n"}"#.as_bytes());
        assert_eq!(refresh_token_body(&RefreshToken::new("r1")).as_slice(), br#"{"refreshToken":"r1"}"#);
    }

    #[test]
    fn a_request_never_grows_out_of_its_buffer() {
        let worst = "\u{0}".repeat(1000);
        let pair = ClientCredentials { client_id: ClientId::new(worst.as_str()), client_secret: ClientSecret::new(worst.as_str()) };
        let body = issue_body(&pair);
        assert!(body.len() > 12_000 && body.capacity() == 64 + 6 * 2000, "{} of {}", body.len(), body.capacity());
    }

    #[test]
    fn each_token_is_read_for_itself() {
        for (body, want) in [
            (r#"{"accessToken":"a","refreshToken":"r"}"#, (access("a"), refresh("r"))),
            (r#" { "more": [{}], "refreshToken": "r", "accessToken": "\u0061\/" } "#, (access("a/"), refresh("r"))),
            (r#"{"accessToken":"a"}"#, (access("a"), Field::Absent)),
            (r#"{"accessToken":"a","refreshToken":null}"#, (access("a"), Field::Absent)),
            (r#"{"accessToken":null,"refreshToken":"r"}"#, (Field::Absent, refresh("r"))),
            (r#"{"accessToken":7,"refreshToken":"r"}"#, (Field::Unusable, refresh("r"))),
            (r#"{"accessToken":["a"],"refreshToken":{"r":"r"}}"#, (Field::Unusable, Field::Unusable)),
            (r#"{"accessToken":"\ud800","refreshToken":"r"}"#, (Field::Unusable, refresh("r"))),
            (r#"{"AccessToken":"a","refresh_token":"r"}"#, (Field::Absent, Field::Absent)),
            ("{}", (Field::Absent, Field::Absent)),
        ] {
            assert_eq!(read(body), Some(Tokens { access: want.0, refresh: want.1 }), "{body}");
        }
    }

    #[test]
    fn what_is_no_json_object_has_no_tokens() {
        for body in [
            "",
            "null",
            r#""accessToken""#,
            r#"["a","r"]"#,
            r#"[{"accessToken":"a"}]"#,
            r#"{"accessToken":"a""#,
            r#"{"accessToken":"a"} trailing"#,
            r#"{"accessToken":"a","accessToken":"b"}"#,
            "<html>{}</html>",
            "\u{feff}{}",
        ] {
            assert_eq!(read(body), None, "{body}");
        }
        assert_eq!(tokens(b"{\"accessToken\":\"\xff\"}"), None);
    }

    #[test]
    fn a_token_is_short_visible_ascii_without_quote_and_backslash() {
        for text in ["a", "!", "~", "eyJhbGciOiJub25lIn0.e30.", "a+b/c==", "#{}'`<>&%$,;:"] {
            assert!(is_token(text, 64), "{text}");
        }
        for text in ["", " ", "a b", "a\n", "a\u{7f}", "a\u{0}", "é", "a\"", "a\\"] {
            assert!(!is_token(text, 64), "{text}");
        }
    }

    #[test]
    fn the_limits_are_sixteen_and_four_kib() {
        let body = |access: usize, refresh: usize| {
            let body = format!(r#"{{"accessToken":"{}","refreshToken":"{}"}}"#, "a".repeat(access), "r".repeat(refresh));
            read(&body).expect("an object")
        };
        let at_the_limit = body(16_384, 4_096);
        assert!(at_the_limit.access.token().is_some() && at_the_limit.refresh.token().is_some());
        assert_eq!(body(16_385, 4_097), Tokens { access: Field::Unusable, refresh: Field::Unusable });
    }

    #[test]
    fn an_object_is_told_from_other_json() {
        for body in ["{}", " {\"message\": [1, {\"a\": null}]}\n"] {
            assert!(is_object(body.as_bytes()), "{body}");
        }
        for body in ["", "[]", "null", "1", "\"{}\"", "{", "{}}", "{]", "{a:1}", "<html>"] {
            assert!(!is_object(body.as_bytes()), "{body}");
        }
    }

    #[test]
    fn deep_nesting_is_no_trouble() {
        let deep = format!(r#"{{"accessToken":{}1{}}}"#, "[".repeat(30_000), "]".repeat(30_000));
        is_object(deep.as_bytes());
        read(&deep);
    }

    proptest! {
        #[test]
        fn no_answer_is_a_panic(body: Vec<u8>) {
            is_object(&body);
            tokens(&body);
        }

        #[test]
        fn nearly_right_answers_are_no_panic(body in r#"[ {\[]{0,2}"(accessToken|refreshToken|x)"[:,]("\PC{0,9}"|null|[0-9eE.+-]{0,6}|\{\})[,}\]]{0,3}.{0,20}"#) {
            is_object(body.as_bytes());
            tokens(body.as_bytes());
        }

        #[test]
        fn every_token_that_can_be_is_read(token in "[!#-\\[\\]-~]{1,200}") {
            let body = format!(r#"{{"accessToken":"{token}","refreshToken":"{token}"}}"#);
            prop_assert_eq!(read(&body), Some(Tokens { access: access(&token), refresh: refresh(&token) }));
        }
    }
}
