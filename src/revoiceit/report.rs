//! What is told of a call: to a log, and to whoever counts.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use super::{Failure, Issued, Refreshed, Revoked};

/// The three calls of the auth API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CallKind {
    /// `POST /auth/token`
    Issue,
    /// `POST /auth/refresh`
    Refresh,
    /// `POST /auth/revoke`
    Revoke,
}

impl CallKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Issue, Self::Refresh, Self::Revoke];

    /// The fixed word for logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Issue => "issue",
            Self::Refresh => "refresh",
            Self::Revoke => "revoke",
        }
    }

    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Issue => "/auth/token",
            Self::Refresh => "/auth/refresh",
            Self::Revoke => "/auth/revoke",
        }
    }
}

/// What is told of a call once it is over. Holds nothing secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallReport {
    /// Which call it was.
    pub call: CallKind,
    /// The fixed word for what came of it: `granted`, `revoked`, `unknown`, or the one of [`Failure::as_str`].
    pub outcome: &'static str,
    /// The status of the answer, if one came, also when the rest of it did not.
    pub status: Option<u16>,
    /// From before connecting to the last byte of the answer.
    pub elapsed: Duration,
    /// The answer's `Date`, which has whole seconds; `None` if it had none that could be read.
    pub server_date: Option<Timestamp>,
    /// Our own time when the head of the answer came, or when it was given up. Less `server_date` it is how far our clock
    /// is ahead of Revoiceit's.
    pub answered_at: Timestamp,
}

/// Every word that [`CallReport::outcome`] may be.
pub const OUTCOMES: [&str; 8] = ["granted", "revoked", "unknown", "not_sent", "lost", "unavailable", "rejected", "malformed"];

impl Failure {
    /// The fixed word for logs and metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::NotSent => "not_sent",
            Self::Lost => "lost",
            Self::Unavailable { .. } => "unavailable",
            Self::Rejected => "rejected",
            Self::Malformed { .. } => "malformed",
        }
    }
}

/// The word for a call that brought what it was for.
pub(super) trait Success {
    fn as_str(&self) -> &'static str;
}

impl Success for Issued {
    fn as_str(&self) -> &'static str {
        "granted"
    }
}

impl Success for Refreshed {
    fn as_str(&self) -> &'static str {
        "granted"
    }
}

impl Success for Revoked {
    fn as_str(&self) -> &'static str {
        match self {
            Self::Confirmed => "revoked",
            Self::Unknown => "unknown",
        }
    }
}
