//! What a pass has seen, has in hand and wants to do: the production types, small.

use revoiceit_operator::planner::{Consent, Lane, Refused};

use crate::world::{Credentials, EDITED, NAMES, Record, Resource, Target, Time, World};

/// A running pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Pass {
    pub(crate) uid: u8,
    pub(crate) phase: Phase,
    pub(crate) permit: Option<Lane>,
    /// Names of targets that a look of this pass is to read, as bits.
    pub(crate) names: u8,
    /// What the status said when the resource was read.
    pub(crate) said: u16,
    pub(crate) seen: Seen,
}

/// What a pass does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    /// The next read of a look. What the reads before it have brought is in [`Pass::seen`] already.
    Read(Reading),
    /// What it planned.
    Poised,
    /// It has something in hand and no answer to a write of the ledger: it reads the ledger.
    ReadBack,
    /// It rests, and its status says something new.
    Status(u16),
}

/// A look that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Reading {
    /// Reads done.
    pub(crate) done: u8,
    /// When the first was begun.
    pub(crate) began_at: Time,
    /// What `fold` and `look` still ask of the sights that this look replaces.
    pub(crate) had_intent: bool,
    pub(crate) had_pair: bool,
    /// Names that a LIST has found, as bits.
    pub(crate) found: u8,
}

/// `Observed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Seen {
    pub(crate) sighted: Sighted,
    pub(crate) resource: ResourceSight,
    pub(crate) ledger: Option<LedgerSight>,
    pub(crate) source: SourceSight,
    pub(crate) targets: [TargetSight; NAMES],
    pub(crate) hand: Hand,
    /// By kind of write.
    pub(crate) refused: [bool; 3],
    pub(crate) finalizer_seen: bool,
    pub(crate) spent: Spent,
    /// `Policy::draining`
    pub(crate) drain_until: Option<Time>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Sighted {
    No,
    Glance,
    Look(Time),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ResourceSight {
    /// Wanted or Leaving. The UID is left out: the pass knows it.
    Here {
        resource: Resource,
        is_current: bool,
    },
    NotFound {
        proven: bool,
    },
    Replaced,
    Released,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LedgerSight {
    pub(crate) record: Record,
    pub(crate) is_current: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum SourceSight {
    Unread { version: u8 },
    Missing,
    Found(Credentials),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub(crate) enum TargetSight {
    #[default]
    Unread,
    Absent,
    Foreign {
        consent: Consent,
        is_current: bool,
    },
    Ours {
        owner: Owner,
        content: u8,
        is_immutable: bool,
        is_current: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Owner {
    Me,
    OtherUid,
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Hand {
    Nothing,
    Granted { access: u8, refresh: u8, sent_at: Time, pair: Credentials, request: u8 },
    Refreshed { of: Line, access: u8, rotated: Option<u8>, sent_at: Time },
    Failed { call: Called, failure: Failure, sent_at: Time },
    Ended { token: u8, unknown: bool, disputed: bool },
    NotEnded { token: u8, tries: u8 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Called {
    /// With this pair.
    Issue(u8),
    /// Of this line.
    Refresh(Line),
}

/// The line in use at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Line {
    pub(crate) revision: u8,
    pub(crate) token: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Failure {
    NotSent,
    Lost,
    Unavailable,
    Rejected,
    Malformed { refresh: Option<u8> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub(crate) struct Spent {
    /// Only where the scenario has passes end after a few.
    pub(crate) acts: u8,
    /// Beyond two nothing depends on it.
    pub(crate) calls: u8,
    pub(crate) refreshed: bool,
    pub(crate) answered_since_look: bool,
    pub(crate) intent_sent: bool,
    pub(crate) tried: Option<u8>,
    pub(crate) hand_kept: bool,
    pub(crate) hand_doomed: bool,
    pub(crate) told: bool,
}

/// `Plan`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Plan {
    Rest(Rest),
    Act { act: Act, lane: Option<Lane> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Rest {
    /// The reason that the status gives; 0: there is no status.
    pub(crate) says: u16,
    /// The status says Ready.
    pub(crate) is_ready: bool,
    /// The pass is due again, if at any time.
    pub(crate) until: Option<Time>,
}

/// `Act`, with what the shell takes out of `Observed` for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Act {
    Look,
    TryTarget(u8),
    WriteTarget { name: u8, content: u8 },
    DeleteTarget(u8),
    SaveLedger { change: Change, record: Record },
    DeleteLedger,
    Claim,
    Release,
    Issue { until: Time },
    Refresh { revision: u8, token: u8, until: Option<Time> },
    Revoke { which: Which, token: u8 },
    Tell,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Which {
    Revision(u8),
    InHand,
}

/// The kind of a change, for stories and for the one invariant that asks for it. What it does is in the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Change {
    IntendIssue,
    IntendRefresh,
    Withdraw,
    Clear,
    Suspect,
    Fold,
    Shorten,
    Retire,
    List(u8),
    Unlist(u8),
    Forget(u8),
    Close,
    Lost,
}

/// `Came`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Came {
    /// A look that is complete: what was seen is in [`Pass::seen`]; this is what was there before it.
    Look(Reading),
    /// A glance; as above.
    Glance,
    /// Not a came of the planner's: the pass waits for a permit and forgets its sights.
    Waited,
    Ledger(Option<Record>),
    Resource(ResourceSight),
    Target(u8, TargetSight),
    Tried(u8),
    Told,
    Changed,
    /// The pass had nothing more to do, and a token in hand.
    Paused,
    Denied(Refused),
    Issued(Result<(u8, u8), Failure>),
    Refreshed {
        of: Line,
        answer: Result<(u8, Option<u8>), Failure>,
    },
    /// Whether Revoiceit knew the token.
    Revoked {
        which: Which,
        answer: Result<bool, Failure>,
    },
}

/// The kinds of write, in the order of [`Seen::refused`].
pub(crate) const REFUSED: [Refused; 3] = [Refused::Target, Refused::Ledger, Refused::Resource];

impl Seen {
    /// What a pass begins with.
    pub(crate) const NOTHING: Self = Self {
        sighted: Sighted::No,
        resource: ResourceSight::NotFound { proven: false },
        ledger: None,
        source: SourceSight::Missing,
        targets: [TargetSight::Unread; NAMES],
        hand: Hand::Nothing,
        refused: [false; 3],
        finalizer_seen: false,
        spent: Spent {
            acts: 0,
            calls: 0,
            refreshed: false,
            answered_since_look: false,
            intent_sent: false,
            tried: None,
            hand_kept: false,
            hand_doomed: false,
            told: false,
        },
        drain_until: None,
    };

    pub(crate) fn is_refused(&self, what: Refused) -> bool {
        REFUSED.into_iter().zip(self.refused).any(|(kind, is_refused)| kind == what && is_refused)
    }

    pub(crate) fn record(&self) -> Option<&Record> {
        self.ledger.as_ref().map(|ledger| &ledger.record).filter(|record| !record.is_unusable())
    }
}

impl TargetSight {
    /// As the pass for this UID reads it.
    pub(crate) fn of(world: &World, name: usize, uid: u8) -> Self {
        match world.targets[name] {
            Target::Absent => Self::Absent,
            Target::Foreign { consent } => Self::Foreign { consent, is_current: true },
            Target::Ours { of, .. } if usize::from(of) != world.place_of(uid) => {
                Self::Foreign { consent: Consent::NotGiven, is_current: true }
            }
            Target::Ours { owner, content, is_immutable, .. } => {
                let owner = match owner {
                    Some(owner) if owner == uid => Owner::Me,
                    Some(_) => Owner::OtherUid,
                    None => Owner::None,
                };
                Self::Ours { owner, content, is_immutable, is_current: true }
            }
        }
    }

    /// Somebody has written or deleted the object since.
    pub(crate) fn outdate(&mut self) {
        match self {
            Self::Foreign { is_current, .. } | Self::Ours { is_current, .. } => *is_current = false,
            Self::Unread | Self::Absent => {}
        }
    }

    pub(crate) fn is_current(&self) -> bool {
        matches!(self, Self::Foreign { is_current: true, .. } | Self::Ours { is_current: true, .. })
    }
}

impl Hand {
    /// The refresh tokens that a live pass remembers by this.
    pub(crate) fn refresh_token(&self) -> Option<u8> {
        match self {
            Self::Granted { refresh, .. } => Some(*refresh),
            Self::Refreshed { rotated, .. } => *rotated,
            Self::Failed { failure: Failure::Malformed { refresh }, .. } => *refresh,
            _ => None,
        }
    }
}

/// Whether a content is an access token.
pub(crate) fn is_token(content: u8) -> bool {
    content != EDITED
}
