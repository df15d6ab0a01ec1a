//! What goes wrong between a client and the API server, and with which requests.

use std::{fmt, sync::Arc};

use http::{Method, StatusCode, Uri};

/// What goes wrong, with which requests. The first that fits a request strikes it, in the order in which they were injected; those that none
/// fits pass.
#[derive(Clone)]
pub struct Fault {
    pub(super) kind: Kind,
    method: Option<Method>,
    paths: Vec<String>,
    which: Option<Arc<Which>>,
    after: usize,
    times: Option<usize>,
}

/// Whether a request is meant, of this method, with this path and query, and this body.
type Which = dyn Fn(&str, &str, &[u8]) -> bool + Send + Sync;

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Answer { code: StatusCode, headers: Vec<(&'static str, String)>, body: String },
    Reset,
    LostReply,
    Hold,
    Detain,
    HoldReply,
    Silence,
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fault").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// Building.
impl Fault {
    /// The proxy answers with this body; the server hears nothing.
    pub fn answer(code: u16, body: impl Into<String>) -> Self {
        let code = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self::new(Kind::Answer { code, headers: Vec::new(), body: body.into() })
    }

    /// The proxy answers as the API server would, with a `Status` of this reason.
    pub fn status(code: u16, reason: &str) -> Self {
        let status = serde_json::json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": "injected",
        });
        Self::answer(code, status.to_string()).header("content-type", "application/json")
    }

    /// The connection ends without an answer; the server hears nothing.
    pub fn reset() -> Self {
        Self::new(Kind::Reset)
    }

    /// The server does what was asked, and the connection ends without its answer.
    pub fn lost_reply() -> Self {
        Self::new(Kind::LostReply)
    }

    /// The request waits in the proxy until the fault is lifted, and then goes on, unless its sender has given up.
    pub fn hold() -> Self {
        Self::new(Kind::Hold)
    }

    /// The same, and the request goes on although its sender has gone meanwhile: a write that comes late.
    pub fn detain() -> Self {
        Self::new(Kind::Detain)
    }

    /// The server does what was asked, and its answer waits in the proxy until the fault is lifted.
    pub fn hold_reply() -> Self {
        Self::new(Kind::HoldReply)
    }

    /// What the server sends waits in the proxy until the fault is lifted, also on connections that are open already: watches fall silent.
    pub fn silence() -> Self {
        Self::new(Kind::Silence)
    }

    fn new(kind: Kind) -> Self {
        Self { kind, method: None, paths: Vec::new(), which: None, after: 0, times: None }
    }

    /// With this header in the answer.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        if let Kind::Answer { headers, .. } = &mut self.kind {
            headers.push((name, value.into()));
        }
        self
    }

    /// Only requests with this method.
    #[must_use]
    pub fn method(self, method: &str) -> Self {
        Self { method: method.parse().ok(), ..self }
    }

    /// Only requests with this in path and query. Given again, all of them have to be.
    #[must_use]
    pub fn path(mut self, part: impl Into<String>) -> Self {
        self.paths.push(part.into());
        self
    }

    /// Only requests that this says yes to, from method, path with query, and body.
    #[must_use]
    pub fn which(self, which: impl Fn(&str, &str, &[u8]) -> bool + Send + Sync + 'static) -> Self {
        Self { which: Some(Arc::new(which)), ..self }
    }

    /// Not the first so many of those requests.
    #[must_use]
    pub fn after(self, after: usize) -> Self {
        Self { after, ..self }
    }

    /// Only the first so many of those requests.
    #[must_use]
    pub fn times(self, times: usize) -> Self {
        Self { times: Some(times), ..self }
    }

    fn fits(&self, method: &Method, uri: &Uri, body: &[u8]) -> bool {
        let path = uri.path_and_query().map_or("", |path| path.as_str());
        self.method.as_ref().is_none_or(|own| own == method)
            && self.paths.iter().all(|part| path.contains(part))
            && self.which.as_ref().is_none_or(|which| which(method.as_str(), path, body))
    }
}

/// A fault, and what it has met.
#[derive(Debug)]
pub(super) struct Injected {
    pub(super) fault: Fault,
    /// The requests that fitted it, in order; those before the first that it struck as well.
    pub(super) fitted: Vec<String>,
    pub(super) struck: usize,
    /// How many it holds now.
    pub(super) held: usize,
    pub(super) is_lifted: bool,
}

impl Injected {
    pub(super) fn new(fault: Fault) -> Self {
        Self { fault, fitted: Vec::new(), struck: 0, held: 0, is_lifted: false }
    }

    /// Takes note of a request, and says whether it is struck.
    pub(super) fn strikes(&mut self, method: &Method, uri: &Uri, body: &[u8]) -> bool {
        if self.is_lifted || !self.fault.fits(method, uri, body) {
            return false;
        }
        self.fitted.push(format!("{method} {uri}"));
        let strikes = self.fitted.len() > self.fault.after && self.fault.times.is_none_or(|times| self.struck < times);
        self.struck += usize::from(strikes);
        strikes
    }
}
