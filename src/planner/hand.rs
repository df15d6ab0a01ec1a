//! What Revoiceit answered and no record has yet.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    record::{LineId, Record},
    schedule,
    words::{Digest, Stamp, Version},
};
use crate::revoiceit::{Failure, Issued, RefreshToken, Refreshed};

/// What Revoiceit answered, until a record has it.
#[derive(Clone, Debug, PartialEq)]
pub enum Hand {
    /// Nothing.
    Nothing,
    /// A new line.
    Granted {
        /// The tokens.
        issued: Issued,
        /// The time before the request was sent.
        sent_at: Timestamp,
        /// Digest of the pair that was sent.
        source: Digest,
        /// The version of the credentials Secret that the pair was in.
        source_version: Version,
        /// Value of the rotation annotation when the request was sent.
        request: Option<String>,
    },
    /// A new access token of a line.
    Refreshed {
        /// The line that was refreshed.
        of: LineId,
        /// The tokens.
        refreshed: Refreshed,
        /// The time before the request was sent.
        sent_at: Timestamp,
    },
    /// An issue or a refresh that brought nothing.
    Failed {
        /// Which, and the digest of the pair of an issue.
        call: Called,
        /// How.
        failure: Failure,
        /// The time before the request was sent.
        sent_at: Timestamp,
    },
    /// A refresh token that is no more. It is known by itself: after a ledger was restored, another one may have its revision.
    Ended {
        /// The token.
        token: RefreshToken,
        /// Revoiceit did not know it, or not any more.
        unknown: bool,
        /// And that although it had worked within the hour.
        disputed: bool,
    },
    /// A refresh token that could not be revoked.
    NotEnded {
        /// The token.
        token: RefreshToken,
        /// The attempts, this one included.
        tries: u32,
        /// What Revoiceit asks to wait.
        retry_after: Option<Duration>,
        /// It was answered that the token will not be revoked.
        refused: bool,
        /// The time before the request was sent.
        sent_at: Timestamp,
    },
}

/// The call that [`Hand::Failed`] is about.
#[derive(Clone, Debug, PartialEq)]
pub enum Called {
    /// `POST /auth/token` with the pair of this digest.
    Issue(Digest),
    /// `POST /auth/refresh` of this line.
    Refresh(LineId),
}

impl Hand {
    /// Whether there is anything in it.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Nothing)
    }

    /// The refresh token in hand that is live and in no record.
    pub fn refresh_token(&self) -> Option<&RefreshToken> {
        match self {
            Self::Granted { issued, .. } => Some(&issued.refresh),
            Self::Refreshed { refreshed, .. } => refreshed.rotated.as_ref(),
            Self::Failed { failure: Failure::Malformed { refresh }, .. } => refresh.as_ref(),
            Self::Nothing | Self::Failed { .. } | Self::Ended { .. } | Self::NotEnded { .. } => None,
        }
    }

    /// The record tells everything that is in hand: it was saved, or what it was about is over.
    pub fn is_settled_in(&self, record: &Record, me: &Stamp) -> bool {
        // While my intent stands, nothing of what it was written for was saved.
        let may_stand = matches!(self, Self::Granted { .. } | Self::Refreshed { .. } | Self::Failed { .. });
        if may_stand && record.intent.as_ref().is_some_and(|intent| intent.stamp == *me) {
            return false;
        }
        if self.refresh_token().is_some_and(|token| !record.holds(token)) {
            return false;
        }
        let is_live = |line: &LineId| record.live.as_ref().is_some_and(|live| live.is(line));
        match self {
            Self::Refreshed { of, refreshed, .. } => refreshed.rotated.is_some() || !is_live(of),
            // An intent of mine that is gone and was not folded was taken for lost by another: what it was about is over.
            Self::Failed { call: Called::Issue(_), sent_at, .. } => {
                record.failed_issue.as_ref().is_none_or(|failed| schedule::is_told_by(*sent_at, failed))
            }
            Self::Failed { call: Called::Refresh(of), failure, sent_at } => {
                let Some(live) = record.live.as_ref().filter(|live| live.is(of)) else { return true };
                let is_told = record.failed_refresh.as_ref().is_some_and(|failed| schedule::is_told_by(*sent_at, failed));
                // A later failure does not tell what this one says about the line.
                let is_rejection_known = *failure != Failure::Rejected || live.rejected;
                let is_doubt_known = !failure.may_hide_a_token() || record.rotates || live.unanswered;
                is_told && is_rejection_known && is_doubt_known
            }
            Self::Ended { token, .. } => !record.holds(token),
            Self::NotEnded { token, tries, .. } => {
                let is_retiring = record.retiring.iter().any(|retiring| retiring.refresh == *token && retiring.tries >= *tries);
                is_retiring || !record.holds(token)
            }
            Self::Nothing | Self::Granted { .. } => true,
        }
    }
}
