//! Every call that was made, with its time, what it did and how it was answered.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::time::UnixMillis;

/// How many calls are kept; the oldest go first. Some 20 MB, and a day of a busy test.
const KEPT: usize = 100_000;

/// One of the three calls, or something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Call {
    /// `POST /auth/token`.
    Issue,
    /// `POST /auth/refresh`.
    Refresh,
    /// `POST /auth/revoke`.
    Revoke,
    /// Another path, or another method.
    Other,
}

impl Call {
    /// A fixed word for logs.
    pub fn word(self) -> &'static str {
        match self {
            Self::Issue => "issue",
            Self::Refresh => "refresh",
            Self::Revoke => "revoke",
            Self::Other => "other",
        }
    }
}

/// A call, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CallRecord {
    /// From 1, in the order in which the requests were read.
    pub seq: u64,
    /// Which call.
    pub call: Call,
    /// The `clientId`: as it was sent on an issue, the line's on the others.
    pub client: Option<String>,
    /// The line: of the refresh token that was sent, or the new one of an issue.
    pub line: Option<u64>,
    /// Which of the line's refresh tokens was sent, from 1.
    pub refresh: Option<usize>,
    /// When the request was read.
    pub started_at: UnixMillis,
    /// When the answer went out, or it was certain that none would. `None`: in flight, or the sandbox was killed.
    pub finished_at: Option<UnixMillis>,
    /// The fault that was applied.
    pub fault: Option<u64>,
    /// What the call did. `None`: it was not processed.
    pub effect: Option<Effect>,
    /// The tokens that it made.
    pub made: Option<Made>,
    /// The status that was answered, or would have been. `None`: no answer, or only a part of one.
    pub status: Option<u16>,
    /// Whether the answer went out whole, on a connection that was open.
    pub delivered: bool,
}

impl CallRecord {
    /// Whether it did its work, whatever was answered.
    pub fn is_processed(&self) -> bool {
        self.effect.is_some()
    }

    /// One line. Tokens are named by their numbers, a client only if it got as far as a line: others may be anything.
    pub(crate) fn log(&self) {
        tracing::info!(
            seq = self.seq,
            call = self.call.word(),
            client = self.line.and(self.client.as_deref()),
            line = self.line,
            refresh = self.refresh,
            access = self.made.map(|made| made.access),
            effect = self.effect.map(Effect::word),
            fault = self.fault,
            status = self.status,
            delivered = self.delivered,
            ms = self.finished_at.map(|at| at.since(self.started_at).as_millis() as u64),
            "call"
        );
    }
}

/// What a call that was processed did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Effect {
    /// Began a line.
    Issued,
    /// Made an access token.
    Refreshed,
    /// Made an access token and a refresh token.
    Rotated,
    /// Ended a refresh token.
    Revoked,
    /// Nothing: what was sent is not valid.
    Rejected,
    /// Nothing, and said to have gone well: the revocation of an unknown token, with `revokeAcceptsUnknown`.
    Ignored,
}

impl Effect {
    /// A fixed word for logs.
    pub fn word(self) -> &'static str {
        match self {
            Self::Issued => "issued",
            Self::Refreshed => "refreshed",
            Self::Rotated => "rotated",
            Self::Revoked => "revoked",
            Self::Rejected => "rejected",
            Self::Ignored => "ignored",
        }
    }
}

/// The tokens that a call made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Made {
    /// Their line.
    pub line: u64,
    /// The number of the access token in the line, from 1.
    pub access: usize,
    /// The number of the refresh token in the line, from 1, if one was made.
    pub refresh: Option<usize>,
}

/// The log of calls.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Calls {
    last: u64,
    kept: VecDeque<CallRecord>,
}

impl Calls {
    /// Opens a record and gives it the next number.
    pub(crate) fn begin(&mut self, call: Call, now: UnixMillis) -> &mut CallRecord {
        if self.kept.len() >= KEPT {
            self.kept.pop_front();
        }
        self.last += 1;
        self.kept.push_back(CallRecord {
            seq: self.last,
            call,
            client: None,
            line: None,
            refresh: None,
            started_at: now,
            finished_at: None,
            fault: None,
            effect: None,
            made: None,
            status: None,
            delivered: false,
        });
        self.kept.back_mut().expect("it was pushed just now")
    }

    /// The record with this number; `None` if it was dropped since.
    pub(crate) fn get_mut(&mut self, seq: u64) -> Option<&mut CallRecord> {
        let first = self.kept.front()?.seq;
        self.kept.get_mut(usize::try_from(seq.checked_sub(first)?).ok()?)
    }

    /// The number of the last call; 0 before the first.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// The calls after number `since`.
    pub(crate) fn after(&self, since: u64) -> impl Iterator<Item = &CallRecord> {
        let start = self.kept.partition_point(|call| call.seq <= since);
        self.kept.iter().skip(start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_calls_go_first_and_the_numbers_go_on() {
        let mut calls = Calls::default();
        for _ in 0..KEPT + 2 {
            calls.begin(Call::Issue, UnixMillis(0));
        }
        assert_eq!(calls.last(), KEPT as u64 + 2);
        assert_eq!(calls.after(0).next().map(|call| call.seq), Some(3));
        assert_eq!(calls.after(KEPT as u64).map(|call| call.seq).collect::<Vec<_>>(), [KEPT as u64 + 1, KEPT as u64 + 2]);
        assert!(calls.get_mut(2).is_none());
        assert_eq!(calls.get_mut(3).map(|call| call.seq), Some(3));
        assert!(calls.get_mut(KEPT as u64 + 3).is_none());
    }
}
