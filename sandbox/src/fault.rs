//! What can go wrong on demand: which calls a fault applies to, in which number, how late and how processed. What it does to them is a [`Kind`].

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    calls::Call,
    kind::{Body, Kind, Which, Wrong},
    time::millis,
};

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
    pub fn retry_after(code: u16, retry_after: impl Into<String>) -> Self {
        Self::new(Kind::Status { code, body: Body::Json, retry_after: Some(retry_after.into()) })
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

    /// Whether a call meets this fault.
    pub(crate) fn fits(&self, call: Call, client: Option<&str>) -> bool {
        self.kind.can_meet(call)
            && self.call.is_none_or(|wanted| wanted == call)
            && self.client.as_deref().is_none_or(|wanted| client == Some(wanted))
    }

    /// Whether this can be done at all.
    pub(crate) fn check(&self) -> Result<(), String> {
        let fixed = !matches!(self.kind, Kind::Status { .. } | Kind::Redirect { .. } | Kind::Reset | Kind::Hang | Kind::NotJson);
        if fixed && self.processed.is_some_and(|wanted| wanted != self.kind.default_processed()) {
            return Err("this kind of fault has no choice of processed".into());
        }
        if self.times == Some(0) {
            return Err("a fault applies to one call at least".into());
        }
        if let Some(call) = self.call.filter(|call| !self.kind.can_meet(*call)) {
            return Err(format!("no call {:?} meets this kind of fault", call.word()));
        }
        self.kind.check()
    }
}
