//! What a fault does to a call that meets it. How it is done is in `reply`.

use axum::http::HeaderValue;
use serde::{Deserialize, Serialize};

use crate::calls::Call;

/// Larger bodies than this are refused; they would only test the sandbox's memory.
const MAX_BODY_BYTES: usize = 64 << 20;

/// What happens to a call. *Processed* calls do their work, so that tokens may exist that nobody got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Kind {
    /// Nothing but the delay. Processed, always.
    Delay,
    /// An answer with this status. Not processed, unless asked for.
    #[serde(rename_all = "camelCase")]
    Status {
        /// 200 to 599.
        code: u16,
        /// The body.
        #[serde(default)]
        body: Body,
        /// The `Retry-After` header: seconds, a date, or nonsense.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after: Option<String>,
    },
    /// A redirect. Not processed, unless asked for.
    Redirect {
        /// 300 to 399.
        #[serde(default = "temporary")]
        code: u16,
        /// Where to.
        location: String,
    },
    /// The connection is closed without a byte of an answer. Not processed, always.
    Drop,
    /// The connection is closed without a byte of an answer. Processed, always.
    LostAnswer,
    /// The connection is reset (RST). Not processed, unless asked for.
    Reset,
    /// No answer until the fault is healed; then the call goes on as if nothing had been. A fault of this kind stays listed until then,
    /// also when its `times` are used up. Not processed while it hangs, and never if the caller goes meanwhile, unless asked for.
    Hang,
    /// 200 with an HTML page. Processed, unless it is asked not to be.
    NotJson,
    /// 200 with a token that cannot be used. Processed, always; never on a revocation.
    BadToken {
        /// Which one.
        which: Which,
        /// What is wrong with it.
        how: Wrong,
    },
    /// The ordinary answer, with so much padding in its JSON. Processed, always.
    #[serde(rename_all = "camelCase")]
    HugeBody {
        /// The length of the padding.
        #[serde(default = "one_mebibyte")]
        bytes: usize,
    },
    /// The head and half of the body of the ordinary answer, then the connection is closed. Processed, always.
    PartialBody,
    /// The ordinary answer, byte by byte. Processed, always.
    #[serde(rename_all = "camelCase")]
    Drip {
        /// The pause before each byte of the body.
        pause_ms: u64,
    },
    /// A refresh that rotates once, whatever the switches say. Processed, always; only on a refresh.
    #[serde(rename_all = "camelCase")]
    Rotate {
        /// Whether the refresh token that was sent stays alive.
        #[serde(default)]
        old_lives: bool,
    },
    /// The refresh token that was sent dies, and the call is rejected. Processed, always; never on an issue.
    Die,
}

/// The body of a [`Kind::Status`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Body {
    /// A JSON object with a `message`.
    #[default]
    Json,
    /// Plain text.
    Text,
    /// An HTML page, as proxies write them.
    Html,
    /// Nothing.
    Empty,
    /// This text, with this content type.
    #[serde(rename_all = "camelCase")]
    Custom {
        /// The `Content-Type` header.
        content_type: String,
        /// The body.
        text: String,
    },
}

/// A token of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Which {
    /// `accessToken`; the refresh token is readable.
    Access,
    /// `refreshToken`; the access token is readable.
    Refresh,
    /// Both.
    Both,
}

/// What is wrong with a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Wrong {
    /// The field is missing.
    Missing,
    /// It is `null`.
    Null,
    /// It is a number.
    Number,
    /// It is the empty string.
    Empty,
    /// It has 20 KiB: longer than any token may be.
    Long,
    /// It has a quotation mark in it.
    Quote,
    /// It has a line break in it.
    LineBreak,
    /// It has a letter in it that is not ASCII.
    NotAscii,
}

fn temporary() -> u16 {
    307
}

fn one_mebibyte() -> usize {
    1 << 20
}

impl Kind {
    /// Whether a call of this sort can meet it.
    pub(crate) fn can_meet(&self, call: Call) -> bool {
        match self {
            _ if call == Call::Other => false,
            Self::BadToken { .. } => call != Call::Revoke,
            Self::Rotate { .. } => call == Call::Refresh,
            Self::Die => call != Call::Issue,
            _ => true,
        }
    }

    /// Whether the call does its work, if nothing else is asked for.
    pub(crate) fn default_processed(&self) -> bool {
        match self {
            Self::Status { .. } | Self::Redirect { .. } | Self::Drop | Self::Reset | Self::Hang => false,
            Self::Delay
            | Self::LostAnswer
            | Self::NotJson
            | Self::BadToken { .. }
            | Self::HugeBody { .. }
            | Self::PartialBody
            | Self::Drip { .. }
            | Self::Rotate { .. }
            | Self::Die => true,
        }
    }

    /// Whether this can be sent at all.
    pub(crate) fn check(&self) -> Result<(), String> {
        let header =
            |name: &str, value: &str| HeaderValue::from_str(value).map(drop).map_err(|_| format!("{name} cannot be sent as a header"));
        match self {
            Self::Status { code, body, retry_after } => {
                if !(200..=599).contains(code) {
                    return Err(format!("{code} is no status of an answer; use 200 to 599"));
                }
                if let Body::Custom { content_type, .. } = body {
                    header("contentType", content_type)?;
                }
                retry_after.as_deref().map_or(Ok(()), |value| header("retryAfter", value))
            }
            Self::Redirect { code, location } => {
                if !(300..=399).contains(code) {
                    return Err(format!("{code} is no redirect; use 300 to 399"));
                }
                header("location", location)
            }
            Self::HugeBody { bytes } if *bytes > MAX_BODY_BYTES => Err(format!("at most {MAX_BODY_BYTES} bytes")),
            _ => Ok(()),
        }
    }
}
