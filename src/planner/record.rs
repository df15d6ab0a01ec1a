//! The ledger's content: everything that must survive, in one JSON record for each resource.
//!
//! What is not in here is forgotten at the next crash, so a refresh token counts as saved only once it is in a record that the API server took.
//! The format is 1. Fields that this version does not know are written back as they were, at the top level of the record; a change that an
//! older version must not touch raises the format.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    observed::Place,
    words::{Cause, Digest, FailureClass, Name, Stamp, Version},
};
use crate::revoiceit::{AccessToken, RefreshToken};

/// The format that this version writes, and the highest that it touches.
pub const FORMAT: u32 = 1;

/// One resource's ledger.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// [`FORMAT`].
    pub format: u32,
    /// UID of the operator's namespace: a ledger that was copied or restored into another cluster does not fit.
    pub home: String,
    /// Origin of the Revoiceit API that the tokens are from.
    pub issuer: String,
    /// The resource that the ledger is for.
    pub resource: ResourceId,
    /// The resource was seen with finalizer and claim. Before that, an empty ledger may go without proof that its resource is gone.
    pub claimed: bool,
    /// No intent is taken any more: the record was emptied for a deletion, or its deadline has passed.
    pub closed: bool,
    /// The line that the target is supplied from.
    pub live: Option<Live>,
    /// Refresh tokens that are to be revoked. None ever goes back to `live`.
    pub retiring: Vec<Retiring>,
    /// A call that is about to be sent, or was sent and whose answer is not known.
    pub intent: Option<Intent>,
    /// What may exist that nobody has.
    pub suspects: Suspects,
    /// The failed issues since the last success.
    pub failed_issue: Option<Failed>,
    /// The failed refreshes of the live line since the last success.
    pub failed_refresh: Option<Failed>,
    /// Names under which a target was, is or may yet be written.
    pub targets: Vec<TargetId>,
    /// The revision that the next saved access token gets.
    pub next_revision: u64,
    /// The issue budget: the theoretical arrival time of a GCRA.
    pub next_issue: Timestamp,
    /// A refresh was seen to replace its refresh token.
    pub rotates: bool,
    /// The value of the rotation annotation that the last issue answered.
    pub handled_request: Option<String>,
    /// `spec.revocation.deadline`, in whole seconds, for when the spec can no longer be read.
    pub deadline_seconds: u64,
    /// Fields of later versions.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// Which resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceId {
    /// Its namespace.
    pub namespace: String,
    /// Its name, which is also what a target of it is known by.
    pub name: String,
    /// Its UID, which is what the ledger is known by.
    pub uid: String,
}

/// The line in use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Live {
    /// Given at the save, a new one for each access token: "newer" means the order in which the ledger saved.
    pub revision: u64,
    /// The line's refresh token.
    pub refresh: RefreshToken,
    /// The line's latest access token.
    pub access: AccessToken,
    /// The time before the request for `access` was sent.
    pub sent_at: Timestamp,
    /// `sent_at` and the token's lifetime.
    pub expires_at: Timestamp,
    /// Digest of the pair that the line was issued for.
    pub source: Digest,
    /// Version of the credentials Secret in which that pair was last seen.
    pub source_version: Option<Version>,
    /// Revoiceit has rejected `refresh` since. Only a refresh that succeeds disproves it, and that begins anew.
    #[serde(default, skip_serializing_if = "is_false")]
    pub rejected: bool,
    /// A refresh since had no answer that could be read, and nobody knew whether refreshes rotate: another refresh token may have come of it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unanswered: bool,
}

/// The line in use at a moment. After a ledger was restored another line may have its revision, so that the token is part of it.
#[derive(Clone, Debug, PartialEq)]
pub struct LineId {
    /// The revision of its access token.
    pub revision: u64,
    /// Its refresh token.
    pub refresh: RefreshToken,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_false(flag: &bool) -> bool {
    !flag
}

impl Live {
    /// What tells it from every other line, and from itself before and after a refresh.
    pub fn id(&self) -> LineId {
        LineId { revision: self.revision, refresh: self.refresh.clone() }
    }

    /// Another refresh token may have taken the place of this one, and it has not been told or counted.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.unanswered && !self.rejected
    }

    /// Whether it is still what it was then.
    pub fn is(&self, line: &LineId) -> bool {
        self.revision == line.revision && self.refresh == line.refresh
    }
}

/// A refresh token on its way out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Retiring {
    /// The revision of the line's last access token.
    pub revision: u64,
    /// What is revoked.
    pub refresh: RefreshToken,
    /// Not revoked before this, unless the resource goes.
    pub due: Timestamp,
    /// Attempts that failed.
    pub tries: u32,
    /// The next attempt after a failed one.
    pub not_before: Option<Timestamp>,
    /// When a call with this token last succeeded, as far as is known. `None` also where it may be that the token has ended since: it was
    /// rejected, or a refresh brought another in its place.
    pub worked_at: Option<Timestamp>,
    /// [`Live::unanswered`], of a line that no refresh will tell of any more. If Revoiceit does not know `refresh`, another took its place.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unanswered: bool,
    /// The answer to the last attempt was that it will not be revoked, in other words than those for a token that has ended.
    #[serde(default, skip_serializing_if = "is_false")]
    pub refused: bool,
}

/// Written before a call that may create a token, so that a crash cannot hide it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Intent {
    /// Which call.
    pub call: IntentCall,
    /// Why.
    pub cause: Cause,
    /// Digest of the pair that is sent; of a refresh, that of its line.
    pub source: Digest,
    /// The pass that wrote it, and that alone may use it.
    pub stamp: Stamp,
    /// Not sent from this time on. An intent that is still there then was sent by a pass that died, or might have been.
    pub until: Timestamp,
}

/// A call that may create a refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum IntentCall {
    /// A new line.
    Issue,
    /// A refresh of the line with this revision, at a Revoiceit whose refreshes rotate.
    Refresh {
        /// Revision of the live line.
        revision: u64,
    },
}

/// Tokens that may exist and that nobody can revoke. Counts only ever grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Suspects {
    /// Answers that were lost, and refresh tokens that Revoiceit refused to revoke for so long that they were given up.
    pub lost: u32,
    /// A whole ledger was lost, with a number of tokens that is not known. Counted once in `lost`.
    pub ledger_lost: bool,
    /// Tokens that had worked within their hour and that Revoiceit, asked to revoke them, did not know.
    pub disputed: u32,
}

/// Why one kind of call does not succeed at the moment. The two kinds fail for themselves: credentials that were rejected keep no line from
/// being refreshed, and a line that cannot be refreshed keeps no new one from being begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failed {
    /// How the last attempt failed.
    pub class: FailureClass,
    /// When the first attempt since the last success was sent.
    pub since: Timestamp,
    /// When the last attempt was sent.
    pub at: Timestamp,
    /// Attempts since the last success.
    pub count: u32,
    /// The next attempt.
    pub not_before: Timestamp,
    /// Digest of the pair that was sent, or of the line's.
    pub source: Digest,
}

/// A name in the resource's namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetId {
    /// The Secret's name.
    pub name: Name,
    /// When the spec was first seen to name another. A write under the old name may come late.
    pub left_at: Option<Timestamp>,
}

/// Why a ledger that exists is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Unusable {
    /// It cannot be read: cut off, edited, or never a record.
    Corrupt,
    /// It was written by a later version.
    LaterFormat,
    /// It belongs to another cluster, or to an operator's namespace that is no more.
    ForeignHome,
    /// It belongs to another resource.
    ForeignResource,
    /// Its tokens are from another Revoiceit API.
    OtherIssuer,
}

impl Record {
    /// An empty record.
    pub fn new(place: &Place, resource: ResourceId, deadline: Duration) -> Self {
        Self {
            format: FORMAT,
            home: place.home.clone(),
            issuer: place.issuer.clone(),
            resource,
            claimed: false,
            closed: false,
            live: None,
            retiring: Vec::new(),
            intent: None,
            suspects: Suspects::default(),
            failed_issue: None,
            failed_refresh: None,
            targets: Vec::new(),
            next_revision: 1,
            next_issue: Timestamp::UNIX_EPOCH,
            rotates: false,
            handled_request: None,
            deadline_seconds: deadline.as_secs(),
            extra: Map::new(),
        }
    }

    /// Reads what a ledger holds. A record that does not belong here is as unusable as one that cannot be read: its tokens are not ours to revoke.
    pub fn parse(json: &[u8], place: &Place, id: &ResourceId) -> Result<Self, Unusable> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let Format { format } = serde_json::from_slice(json).map_err(|_| Unusable::Corrupt)?;
        if format > FORMAT {
            return Err(Unusable::LaterFormat);
        }
        let record: Self = serde_json::from_slice(json).map_err(|_| Unusable::Corrupt)?;
        if !record.has_unique_revisions() {
            Err(Unusable::Corrupt)
        } else if record.home != place.home {
            Err(Unusable::ForeignHome)
        } else if record.resource != *id {
            Err(Unusable::ForeignResource)
        } else if record.issuer != place.issuer {
            Err(Unusable::OtherIssuer)
        } else {
            Ok(record)
        }
    }

    /// Which resource a record is for, whosever it is.
    pub fn resource(json: &[u8]) -> Option<ResourceId> {
        #[derive(Deserialize)]
        struct Resource {
            resource: ResourceId,
        }
        serde_json::from_slice(json).ok().map(|Resource { resource }| resource)
    }

    /// A refresh token is known by its revision: with two of one number, the end of one would be taken for the end of both.
    fn has_unique_revisions(&self) -> bool {
        let mut revisions: Vec<u64> = self.retiring.iter().map(|retiring| retiring.revision).collect();
        revisions.extend(self.live.iter().map(|live| live.revision));
        revisions.sort_unstable();
        revisions.windows(2).all(|pair| pair[0] < pair[1]) && revisions.last().is_none_or(|last| *last < self.next_revision)
    }

    /// The JSON that is stored.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_else(|error| unreachable!("a record has string keys only and no fallible field: {error}"))
    }

    /// No refresh token in it.
    pub fn has_no_token(&self) -> bool {
        self.live.is_none() && self.retiring.is_empty()
    }

    /// Nothing in it that could still be, or become, a token.
    pub fn is_empty(&self) -> bool {
        self.has_no_token() && self.intent.is_none()
    }

    /// This refresh token is accounted for.
    pub fn holds(&self, token: &RefreshToken) -> bool {
        self.live.as_ref().is_some_and(|live| live.refresh == *token) || self.retiring.iter().any(|retiring| retiring.refresh == *token)
    }

    /// When the live line's refresh token last worked, as far as is known; never once Revoiceit has said that it does not any more.
    pub(super) fn live_worked_at(&self) -> Option<Timestamp> {
        self.live.as_ref().filter(|live| !live.rejected).map(|live| live.sent_at)
    }

    /// `spec.revocation.deadline` as it was at the last save.
    pub fn deadline(&self) -> Duration {
        Duration::from_secs(self.deadline_seconds)
    }
}
