//! What the servers hold: the API server's objects and Revoiceit's tokens, and what the invariants are counted with.
//!
//! Everything is small numbers. Objects have no versions: whoever has read one has a bit that says whether it is still the current one, because
//! a version that was replaced never comes back.

use revoiceit_operator::planner::{Cause, Consent, FailureClass};

use crate::list::List;

/// Seconds from now; past times are cut off where nobody can tell them apart any more.
pub(crate) type Time = i16;
/// Names that a target may have.
pub(crate) const NAMES: usize = 2;
/// Resources that there may be one after the other under the one name.
pub(crate) const UIDS: usize = 2;
/// The content of a target that somebody edited: no access token.
pub(crate) const EDITED: u8 = u8::MAX;
/// A pair that Revoiceit does not know.
pub(crate) const BAD_PAIR: u8 = 9;
/// Longest `retiring` of a record.
pub(crate) const RETIRING: usize = 5;

/// Both servers, and the ledger of the invariants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub(crate) struct World {
    /// The resource, and the one that is its rival: of another name, with the UID 1.
    pub(crate) resources: [Option<Resource>; 2],
    /// There is a rival, or was one.
    pub(crate) has_rival: bool,
    /// UIDs that were given so far.
    pub(crate) uids: u8,
    /// By UID.
    pub(crate) ledgers: [Option<Record>; UIDS],
    pub(crate) credentials: Option<Credentials>,
    /// Versions of the credentials so far.
    pub(crate) versions: u8,
    pub(crate) targets: [Target; NAMES],
    pub(crate) refresh_tokens: List<RefreshToken, 8>,
    pub(crate) access_tokens: List<AccessToken, 8>,
    /// A write that was sent, whose sender has no answer, and that may still come.
    pub(crate) late: Option<Late>,
    /// What can be restored.
    pub(crate) backup: Option<Backup>,
    /// Only `drain` runs, and gives everything up by this time.
    pub(crate) drain_until: Option<Time>,
    pub(crate) tally: Tally,
}

/// A backup of the ledger with UID 0 and of the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub(crate) struct Backup {
    pub(crate) record: Record,
    /// The target's access token.
    pub(crate) content: u8,
}

/// A `RevoiceitCredential`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub(crate) struct Resource {
    pub(crate) uid: u8,
    /// `spec.target.name`
    pub(crate) target: u8,
    pub(crate) is_suspended: bool,
    /// Value of the rotation annotation; 0: none.
    pub(crate) request: u8,
    pub(crate) held: Held,
    /// What its status says; 0: nothing.
    pub(crate) says: u16,
    /// Its deletionTimestamp.
    pub(crate) deleted_at: Option<Time>,
}

/// Finalizer and claim of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub(crate) enum Held {
    #[default]
    Free,
    /// Both are there, and are ours.
    Claimed,
    /// Both came with a copy of another resource.
    Copied,
    /// Both are those of an operator in another namespace.
    Elsewhere,
}

/// The credentials Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub(crate) struct Credentials {
    pub(crate) pair: u8,
    pub(crate) version: u8,
}

/// A Secret under a target's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub(crate) enum Target {
    #[default]
    Absent,
    Foreign {
        /// What its annotation comes to.
        consent: Consent,
    },
    Ours {
        /// UID in its owner reference.
        owner: Option<u8>,
        /// An access token, or [`EDITED`].
        content: u8,
        /// By its annotation: the place in [`World::resources`] of the resource that it was written for.
        of: u8,
        /// Somebody made it so: its content cannot be changed any more.
        is_immutable: bool,
    },
}

/// What Revoiceit knows of a refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub(crate) struct RefreshToken {
    pub(crate) is_alive: bool,
    pub(crate) revoked_by_us: bool,
    /// The UID of the resource that it was issued for.
    pub(crate) uid: u8,
    /// Number of the API that it is from.
    pub(crate) issuer: u8,
    /// Lost in a way that is accepted: with a ledger that somebody deleted.
    pub(crate) is_excused: bool,
    pub(crate) cover: Cover,
}

/// What speaks for a refresh token that is in no record and in no hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub(crate) enum Cover {
    #[default]
    Nothing,
    /// The intent that stands in the ledger: it is going to be a suspect.
    Intent,
    /// A suspect that was counted when its intent went. Or it came of the first rotation ever, which is accepted.
    Suspect,
}

/// What there is to know of an access token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub(crate) struct AccessToken {
    /// The refresh token that came with it or that it was obtained with.
    pub(crate) of: u8,
    /// Its place in the order in which ledgers saved; 0: not saved.
    pub(crate) rank: u8,
    pub(crate) expires_at: Time,
}

/// A ledger's content. Fields as in the production type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub(crate) struct Record {
    /// Number of the Revoiceit API that its tokens are from. In what a pass has read: 0 for its own.
    pub(crate) issuer: u8,
    pub(crate) place: Belongs,
    pub(crate) claimed: bool,
    pub(crate) closed: bool,
    pub(crate) rotates: bool,
    pub(crate) ledger_lost: bool,
    pub(crate) lost: u8,
    pub(crate) disputed: u8,
    pub(crate) handled_request: u8,
    pub(crate) next_revision: u8,
    pub(crate) next_issue: Time,
    pub(crate) live: Option<Live>,
    pub(crate) retiring: List<Retiring, RETIRING>,
    pub(crate) intent: Option<Intent>,
    pub(crate) failed_issue: Option<Failed>,
    pub(crate) failed_refresh: Option<Failed>,
    /// By name.
    pub(crate) listed: [Listed; NAMES],
}

/// Where a record belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub(crate) enum Belongs {
    #[default]
    Here,
    /// To the operator's namespace that is no more, or to another cluster.
    OtherHome,
    /// Nobody can tell: it cannot be read.
    Corrupt,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub(crate) struct Live {
    pub(crate) revision: u8,
    pub(crate) refresh: u8,
    pub(crate) access: u8,
    /// The lifetime is always the policy's, so this tells `sent_at` too.
    pub(crate) expires_at: Time,
    pub(crate) pair: u8,
    pub(crate) version: Option<u8>,
    pub(crate) rejected: bool,
    pub(crate) unanswered: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub(crate) struct Retiring {
    pub(crate) revision: u8,
    pub(crate) refresh: u8,
    pub(crate) due: Time,
    pub(crate) tries: u8,
    pub(crate) not_before: Option<Time>,
    pub(crate) worked_at: Option<Time>,
    pub(crate) unanswered: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Intent {
    pub(crate) call: IntentCall,
    pub(crate) cause: Cause,
    pub(crate) pair: u8,
    pub(crate) stamp: Stamp,
    pub(crate) until: Time,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum IntentCall {
    Issue,
    Refresh(u8),
}

/// Whose an intent is. A pass that is over is nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Stamp {
    /// In a record at the server: of the running pass of this replica.
    Of(u8),
    /// In a record at the server: of a pass that is over.
    Nobody,
    /// In what a pass has read: its own.
    Mine,
    /// In what a pass has read: another's.
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Failed {
    pub(crate) class: FailureClass,
    pub(crate) at: Time,
    pub(crate) not_before: Time,
    pub(crate) pair: u8,
}

/// Whether a record lists a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub(crate) enum Listed {
    #[default]
    No,
    Yes,
    /// The spec was seen to name another, at this time.
    Left(Time),
}

/// A write that may come late, until this time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Late {
    pub(crate) write: Write,
    /// What its precondition names is still current. Always true of a `POST`, whose condition is that there is nothing.
    pub(crate) is_current: bool,
    pub(crate) until: Time,
}

/// A write as the API server gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Write {
    Target {
        name: u8,
        owner: u8,
        content: u8,
        creates: bool,
    },
    DeleteTarget {
        name: u8,
        uid: u8,
    },
    Ledger {
        uid: u8,
        record: Record,
        creates: bool,
        counts_loss: bool,
    },
    DeleteLedger {
        uid: u8,
        issuer: u8,
        told: bool,
    },
    Claim {
        uid: u8,
    },
    /// The pass may not write the ledger, so it cannot close it.
    Release {
        uid: u8,
        is_denied: bool,
    },
}

/// What the invariants are counted with. Balances only, so that histories with the same balance are the same state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub(crate) struct Tally {
    /// By UID, live refresh tokens that nobody can name any more, and that only the intent in the ledger speaks for.
    pub(crate) intended: [u8; UIDS],
    /// Of each resource, issues that may still be processed before one cause has had two.
    pub(crate) issues_left: [i8; 2],
    /// Under each name and of each resource, the rank of the newest access token that was delivered.
    pub(crate) delivered: [[u8; 2]; NAMES],
    /// A ledger was deleted by hand, and nobody has counted it as lost yet.
    pub(crate) is_missed: [bool; UIDS],
    /// A ledger was deleted by hand at some time.
    pub(crate) was_missed: [bool; UIDS],
    /// The target was written by a pass whose ledger somebody had deleted, or lost its owner or was restored while a pass had it for absent: nobody can know of it.
    pub(crate) is_stray: [bool; NAMES],
    /// A drain was broken off: what it had emptied begins anew, with a ledger that lists what is written from then on.
    pub(crate) was_drained: bool,
    /// A ledger was restored from a backup: older tokens than have been delivered are delivered again.
    pub(crate) was_restored: bool,
    /// The resource has had our finalizer at some time: a stale cache may still show it.
    pub(crate) was_claimed: [bool; UIDS],
}

impl World {
    /// The place of the resource with this UID, or of the one that has taken its name.
    pub(crate) fn place_of(&self, uid: u8) -> usize {
        usize::from(self.has_rival && uid == 1)
    }

    /// The resource that has the name of the one with this UID.
    pub(crate) fn namesake(&self, uid: u8) -> Option<Resource> {
        self.resources[self.place_of(uid)]
    }

    /// The resource with this UID.
    pub(crate) fn resource(&self, uid: u8) -> Option<Resource> {
        self.namesake(uid).filter(|resource| resource.uid == uid)
    }

    /// All that there are.
    pub(crate) fn existing(&self) -> impl Iterator<Item = &Resource> {
        self.resources.iter().flatten()
    }

    /// Somebody's doing, or a loss, for which this resource may have one issue more.
    pub(crate) fn allow_issues(&mut self, uid: u8, number: u8) {
        self.tally.issues_left[self.place_of(uid)] += number as i8;
    }
}

impl Record {
    /// A pass that reads this must not use it.
    pub(crate) fn is_unusable(&self) -> bool {
        self.issuer != 0 || self.place != Belongs::Here
    }

    /// An operator that is set to this API may use it.
    pub(crate) fn is_for(&self, issuer: u8) -> bool {
        self.issuer == issuer && self.place == Belongs::Here
    }

    /// The refresh tokens in it.
    pub(crate) fn tokens(&self) -> impl Iterator<Item = u8> {
        self.live.iter().map(|live| live.refresh).chain(self.retiring.iter().map(|retiring| retiring.refresh))
    }

    pub(crate) fn names(&self) -> u8 {
        (0..NAMES).filter(|name| self.listed[*name] != Listed::No).fold(0, |names, name| names | 1 << name)
    }
}
