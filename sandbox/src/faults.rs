//! What can go wrong on demand: which calls a fault applies to, and what it does to them.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};

use crate::{calls::Call, time::millis};

/// Larger bodies than this are refused; they would only test the sandbox's memory.
const MAX_BODY_BYTES: usize = 64 << 20;

/// Something that goes wrong. The first fault that fits a call is applied, in the order in which they were injected; one call meets one.
///
/// Built with the functions below: `Fault::status(503).on(Call::Issue).client("a").times(2)`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fault {
    /// The call that it applies to; all three, if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<Call>,
    /// The `clientId` whose calls it applies to; all, if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// How many calls it applies to; until it is healed, if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// How long the call waits first. It goes on then, also when the caller has gone meanwhile.
    #[serde(rename = "delayMs", default, with = "millis")]
    pub delay: Duration,
    /// Whether the call does its work all the same. What is not given is as [`Kind`] says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processed: Option<bool>,
    /// What happens.
    pub kind: Kind,
}

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

/// A fault that is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActiveFault {
    /// What it is healed by.
    pub id: u64,
    /// To how many calls it will still be applied; `None`: until it is healed.
    pub remaining: Option<u32>,
    /// To how many calls it was applied.
    pub applied: u64,
    /// The fault.
    pub fault: Fault,
}

fn temporary() -> u16 {
    307
}

fn one_mebibyte() -> usize {
    1 << 20
}

/// Building.
impl Fault {
    /// This kind, on every call of everybody, until healed.
    pub fn new(kind: Kind) -> Self {
        Self { call: None, client: None, times: None, delay: Duration::ZERO, processed: None, kind }
    }

    /// An answer with this status and a JSON body.
    pub fn status(code: u16) -> Self {
        Self::new(Kind::Status { code, body: Body::Json, retry_after: None })
    }

    /// An answer with this status and a `Retry-After`.
    pub fn retry_after(code: u16, retry_after: impl ToString) -> Self {
        Self::new(Kind::Status { code, body: Body::Json, retry_after: Some(retry_after.to_string()) })
    }

    /// An answer with this status and body.
    pub fn answer(code: u16, body: Body) -> Self {
        Self::new(Kind::Status { code, body, retry_after: None })
    }

    /// Nothing but a delay.
    pub fn slow(delay: Duration) -> Self {
        Self::new(Kind::Delay).delay(delay)
    }

    /// Processed, and the answer is lost.
    pub fn lost_answer() -> Self {
        Self::new(Kind::LostAnswer)
    }

    /// Not processed, and no answer.
    pub fn dropped() -> Self {
        Self::new(Kind::Drop)
    }

    /// Not processed, and no answer until healed.
    pub fn hang() -> Self {
        Self::new(Kind::Hang)
    }

    /// A token that cannot be used.
    pub fn bad_token(which: Which, how: Wrong) -> Self {
        Self::new(Kind::BadToken { which, how })
    }

    /// Only on this call.
    #[must_use]
    pub fn on(self, call: Call) -> Self {
        Self { call: Some(call), ..self }
    }

    /// Only for this client.
    #[must_use]
    pub fn client(self, id: impl Into<String>) -> Self {
        Self { client: Some(id.into()), ..self }
    }

    /// Only for the next `times` calls.
    #[must_use]
    pub fn times(self, times: u32) -> Self {
        Self { times: Some(times), ..self }
    }

    /// Only for the next call.
    #[must_use]
    pub fn once(self) -> Self {
        self.times(1)
    }

    /// Wait first.
    #[must_use]
    pub fn delay(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    /// Whether the call does its work all the same.
    #[must_use]
    pub fn processed(self, processed: bool) -> Self {
        Self { processed: Some(processed), ..self }
    }
}

impl Fault {
    /// Whether a call that meets this fault does its work.
    pub(crate) fn is_processed(&self) -> bool {
        self.processed.unwrap_or(self.kind.default_processed())
    }

    fn fits(&self, call: Call, client: Option<&str>) -> bool {
        let on_this_call = match self.kind {
            Kind::BadToken { .. } => call != Call::Revoke,
            Kind::Rotate { .. } => call == Call::Refresh,
            Kind::Die => call != Call::Issue,
            _ => true,
        };
        on_this_call
            && call != Call::Other
            && self.call.is_none_or(|wanted| wanted == call)
            && self.client.as_deref().is_none_or(|wanted| client == Some(wanted))
    }

    /// Whether this can be done at all.
    fn check(&self) -> Result<(), String> {
        let header = |name: &str, value: &str| match HeaderValue::from_str(value) {
            Ok(_) => Ok(()),
            Err(_) => Err(format!("{name} cannot be sent as a header")),
        };
        let fixed = !matches!(self.kind, Kind::Status { .. } | Kind::Redirect { .. } | Kind::Reset | Kind::Hang | Kind::NotJson);
        if fixed && self.processed.is_some_and(|wanted| wanted != self.kind.default_processed()) {
            return Err("this kind of fault has no choice of processed".into());
        }
        if self.call == Some(Call::Other) {
            return Err("faults are for issue, refresh and revoke".into());
        }
        match &self.kind {
            Kind::Status { code, body, retry_after } => {
                if !(200..=599).contains(code) || StatusCode::from_u16(*code).is_err() {
                    return Err(format!("{code} is no status of an answer; use 200 to 599"));
                }
                if let Body::Custom { content_type, .. } = body {
                    header("contentType", content_type)?;
                }
                retry_after.as_deref().map_or(Ok(()), |value| header("retryAfter", value))
            }
            Kind::Redirect { code, location } => {
                if !(300..=399).contains(code) {
                    return Err(format!("{code} is no redirect; use 300 to 399"));
                }
                header("location", location)
            }
            Kind::HugeBody { bytes } if *bytes > MAX_BODY_BYTES => Err(format!("at most {MAX_BODY_BYTES} bytes")),
            _ => Ok(()),
        }
    }
}

impl Kind {
    fn default_processed(&self) -> bool {
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
}

/// The faults in force, in the order in which they were injected.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Faults {
    last: u64,
    active: Vec<ActiveFault>,
}

impl Faults {
    pub(crate) fn inject(&mut self, fault: Fault) -> Result<u64, String> {
        fault.check()?;
        self.last += 1;
        self.active.push(ActiveFault { id: self.last, remaining: fault.times, applied: 0, fault });
        Ok(self.last)
    }

    /// The first fault that fits, counted as applied.
    pub(crate) fn take(&mut self, call: Call, client: Option<&str>) -> Option<(u64, Fault)> {
        let at = self.active.iter().position(|active| active.remaining != Some(0) && active.fault.fits(call, client))?;
        let active = &mut self.active[at];
        active.applied += 1;
        active.remaining = active.remaining.map(|remaining| remaining - 1);
        let taken = (active.id, active.fault.clone());
        if active.remaining == Some(0) && active.fault.kind != Kind::Hang {
            self.active.remove(at);
        }
        Some(taken)
    }

    pub(crate) fn list(&self) -> &[ActiveFault] {
        &self.active
    }

    pub(crate) fn is_active(&self, id: u64) -> bool {
        self.active.iter().any(|active| active.id == id)
    }

    /// `false`: it was not in force.
    pub(crate) fn heal(&mut self, id: u64) -> bool {
        let before = self.active.len();
        self.active.retain(|active| active.id != id);
        self.active.len() < before
    }

    /// How many were in force.
    pub(crate) fn heal_all(&mut self) -> usize {
        std::mem::take(&mut self.active).len()
    }
}
