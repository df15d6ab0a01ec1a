//! What `plan` returns, and what comes of it.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;

use super::{
    notice::Notice,
    observed::{Denied, Ledger, Quarrel, Refused, Resource, Source, Target},
    record::{Intent, IntentCall, LineId},
    status::Status,
    words::Name,
};
/// The lanes of the gate: one for each endpoint.
pub use crate::revoiceit::CallKind as Lane;
use crate::revoiceit::{Failure, Issued, Refreshed, Revoked};

/// The first thing that is not as it should be, or that all is well until some time.
#[derive(Clone, Debug, PartialEq)]
pub enum Plan {
    /// Do this, fold what comes of it, and plan again.
    Act(Act),
    /// Nothing more now.
    Rest(Rest),
}

/// How a pass ends. Status and telling are best effort: nothing is decided from them.
#[derive(Clone, Debug, PartialEq)]
pub struct Rest {
    /// When the next pass is due, if nothing happens before.
    pub until: Until,
    /// What the resource's status should say; `None` where there is no resource to say it on.
    pub status: Option<Status>,
    /// What a person should hear of.
    pub tell: Vec<Notice>,
}

/// When a pass is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// At this time.
    At(Timestamp),
    /// When something happens.
    Woken,
    /// Never: nothing is left of the resource.
    Forgotten,
}

/// One request to one of the two APIs, or one look. Acts name revisions and targets, not tokens: no secret is in a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Read everything, in the order of rule 7.
    Look,
    /// Send the write of this target dry: would it pass?
    TryTarget(Name),
    /// Write what the record holds into this target.
    WriteTarget(Name),
    /// Delete this target.
    DeleteTarget(Name),
    /// Save the record with this change.
    SaveLedger(Change),
    /// Delete the ledger.
    DeleteLedger,
    /// Add finalizer and claim.
    Claim,
    /// Remove finalizer and claim.
    Release,
    /// Obtain a new line; not sent from `until` on.
    Issue {
        /// The intent's.
        until: Timestamp,
    },
    /// Refresh the live line; not sent from `until` on.
    Refresh {
        /// The revision to refresh.
        revision: u64,
        /// The intent's, where refreshes have one.
        until: Option<Timestamp>,
    },
    /// Revoke a refresh token.
    Revoke(Which),
    /// Tell before what is told of is gone.
    Tell(Notice),
}

/// A refresh token to be revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The one in the record with this revision.
    Revision(u64),
    /// The one in hand, for which there is no ledger.
    InHand,
}

/// How a save changes the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A call is about to be made. On an absent ledger this creates it.
    Intend {
        /// The intent.
        intent: Intent,
        /// The name that its token will be delivered under.
        target: Name,
        /// The issue budget after it.
        next_issue: Timestamp,
    },
    /// The pass's own intent was never sent, and the budget gets it back.
    Withdraw,
    /// The pass's own intent was answered, and nothing of the answer is left to be saved.
    Clear,
    /// An intent ran out: its answer, if there was one, is lost.
    Suspect,
    /// What is in hand.
    Fold {
        /// The time that retries count from.
        now: Timestamp,
        /// Close the record if that empties it.
        close: bool,
    },
    /// A successor was delivered: older lines are due at this time at the latest.
    Shorten {
        /// Now and the grace.
        due: Timestamp,
    },
    /// The live line is about to be revoked although its resource stays: nothing is delivered from it again.
    Retire {
        /// Due at once.
        now: Timestamp,
    },
    /// Revoiceit refuses to revoke this token, and there is no room for more like it: it may live on.
    GiveUp {
        /// Its revision.
        revision: u64,
    },
    /// A target is going to be written under this name.
    List(Name),
    /// The spec names another target now.
    Unlist {
        /// The old name.
        name: Name,
        /// Since when.
        at: Timestamp,
    },
    /// The name has lingered long enough, and there is nothing of ours under it.
    Forget(Name),
    /// No intent is taken any more.
    Close,
    /// The finalizer tells of a ledger that is no more: a new one, with one suspect.
    Lost {
        /// The targets that were found by their annotation.
        targets: Vec<Name>,
        /// It is for a deletion only.
        closed: bool,
    },
}

/// What came of an act.
#[derive(Clone, Debug)]
pub enum Came {
    /// A look, or the reply to a write that succeeded.
    Saw(Sight),
    /// The dry run passed.
    Tried(Name),
    /// It has been told.
    Told,
    /// Another was faster: 409, AlreadyExists, or not there any more. Look again, in the same pass.
    Changed,
    /// The API server refuses this write.
    Denied(Refused, Denied),
    /// A pause is over, which a pass makes that has nothing more to do and a token in hand. What was refused before may be taken now.
    Paused,
    /// Revoiceit answered, or did not.
    Answered {
        /// The time before the request was sent.
        sent_at: Timestamp,
        /// What it was.
        answer: Answer,
    },
}

/// What is seen.
#[derive(Clone, Debug)]
pub enum Sight {
    /// Everything, read in the order of rule 7.
    Look(Box<Look>),
    /// The ledger after a write.
    Ledger(Ledger),
    /// The resource after a write.
    Resource(Resource),
    /// A target after a write.
    Target(Name, Target),
}

/// One look, or one glance.
#[derive(Clone, Debug)]
pub struct Look {
    /// When the first read was begun; `None` for a glance.
    pub began_at: Option<Timestamp>,
    /// Read last.
    pub resource: Resource,
    /// Read after the targets.
    pub ledger: Ledger,
    /// Read last.
    pub source: Source,
    /// Read first.
    pub targets: BTreeMap<Name, Target>,
    /// From outside the pass.
    pub quarrel: Option<Quarrel>,
}

/// What came of a call.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Of an issue.
    Issue(Result<Issued, Failure>),
    /// Of a refresh of this line.
    Refresh(LineId, Result<Refreshed, Failure>),
    /// Of a revocation.
    Revoke(Which, Result<Revoked, Failure>),
}

impl Act {
    /// The lane of the call that this act leads to: it, and the act before it, need a permit, so that no intent ages in the queue.
    pub fn leads_to(&self) -> Option<Lane> {
        match self {
            Self::TryTarget(_) | Self::Issue { .. } => Some(Lane::Issue),
            Self::SaveLedger(Change::Intend { intent, .. }) => Some(match intent.call {
                IntentCall::Issue => Lane::Issue,
                IntentCall::Refresh { .. } => Lane::Refresh,
            }),
            Self::Refresh { .. } => Some(Lane::Refresh),
            Self::Revoke(_) => Some(Lane::Revoke),
            Self::Look
            | Self::WriteTarget(_)
            | Self::DeleteTarget(_)
            | Self::SaveLedger(_)
            | Self::DeleteLedger
            | Self::Claim
            | Self::Release
            | Self::Tell(_) => None,
        }
    }

    /// Whether the act is a call to Revoiceit.
    pub fn is_call(&self) -> bool {
        matches!(self, Self::Issue { .. } | Self::Refresh { .. } | Self::Revoke(_))
    }
}

impl Plan {
    /// Shorthand for the steps of a plan.
    pub(super) fn save(change: Change) -> Self {
        Self::Act(Act::SaveLedger(change))
    }
}

/// What Revoiceit asks to wait.
pub(super) fn retry_after(failure: &Failure) -> Option<Duration> {
    match failure {
        Failure::Unavailable { retry_after } => *retry_after,
        Failure::NotSent | Failure::Lost | Failure::Rejected | Failure::Malformed { .. } => None,
    }
}

impl Change {
    /// A fixed word for the log.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Intend { .. } => "intend",
            Self::Withdraw => "withdraw",
            Self::Clear => "clear",
            Self::Suspect => "suspect",
            Self::Fold { .. } => "fold",
            Self::Shorten { .. } => "shorten",
            Self::Retire { .. } => "retire",
            Self::GiveUp { .. } => "give up",
            Self::List(_) => "list",
            Self::Unlist { .. } => "unlist",
            Self::Forget(_) => "forget",
            Self::Close => "close",
            Self::Lost { .. } => "lost",
        }
    }
}
