//! What a pass has seen, and what it has in hand.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{
    hand::Hand,
    policy::Policy,
    record::{Record, ResourceId, Unusable},
    words::{Digest, Name, Stamp, Version},
};
use crate::{
    api::{RevoiceitCredential, RevoiceitCredentialStatus, names},
    revoiceit::ClientCredentials,
};

/// Everything that `plan` decides from.
///
/// What is in `hand` stays through every further look: it is emptied only by being seen in a record.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The resource that the pass is for.
    pub id: Arc<ResourceId>,
    /// Drawn for this pass; an intent with this stamp is the pass's own.
    pub me: Stamp,
    /// How long things take.
    pub policy: Arc<Policy>,
    /// Where the operator runs and what it talks to.
    pub place: Arc<Place>,
    /// How good what follows is.
    pub sighted: Sighted,
    /// The resource.
    pub resource: Resource,
    /// Its ledger.
    pub ledger: Ledger,
    /// Its credentials.
    pub source: Source,
    /// The Secrets under the names that ledger and resource list.
    pub targets: BTreeMap<Name, Target>,
    /// Somebody who keeps undoing the writes of the target. Kept outside the pass.
    pub quarrel: Option<Quarrel>,
    /// What Revoiceit answered and no record has yet.
    pub hand: Hand,
    /// The writes that the API server refused in this pass. None of them is tried again in it.
    pub refused: BTreeMap<Refused, Denied>,
    /// An earlier look of this pass saw our finalizer: a ledger that is absent now was lost.
    pub finalizer_seen: bool,
    /// What the pass has used up.
    pub spent: Spent,
}

/// Where the operator runs and what it talks to. A record belongs to one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The operator's own namespace, where the ledgers are.
    pub operator_namespace: String,
    /// UID of that namespace.
    pub home: String,
    /// Origin of the Revoiceit API.
    pub issuer: String,
    /// The namespaces that are served. Empty: all.
    pub namespaces: BTreeSet<String>,
}

impl Place {
    /// Whether resources of this namespace are this operator's to serve.
    pub fn serves(&self, namespace: &str) -> bool {
        self.namespaces.is_empty() || self.namespaces.contains(namespace)
    }
}

/// How good the sights are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sighted {
    /// There are none, or one is known to be out of date.
    No,
    /// The resource is from the cache: enough to rest on, not to act on.
    Glance,
    /// Read in the order of rule 7, beginning at this time.
    Look(Timestamp),
}

/// The resource, or what is known of its end.
#[derive(Clone, Debug)]
pub enum Resource {
    /// It exists and is to have a token.
    Wanted(Arc<RevoiceitCredential>),
    /// It has a deletionTimestamp.
    Leaving(Arc<Leaving>),
    /// It exists and its spec cannot be understood.
    Unreadable(Arc<ObjectMeta>),
    /// The API server says that there is none of that name. Alone, no proof.
    NotFound {
        /// Said twice, far enough apart, with a LIST of the kind in between.
        proven: bool,
    },
    /// Its name has another UID.
    Replaced,
    /// This pass removed the finalizer.
    Released,
}

/// What matters of a resource that is being deleted. Its spec need not be readable.
#[derive(Clone, Debug, Default)]
pub struct Leaving {
    /// Its metadata.
    pub meta: ObjectMeta,
    /// `spec.revocation.deadline`, if the spec can be read: whoever shortens it while waiting wants it to count.
    pub deadline: Option<Duration>,
    /// Its status, if that can be read.
    pub status: RevoiceitCredentialStatus,
}

/// The ledger.
#[derive(Clone, Debug)]
pub enum Ledger {
    /// There is none.
    Absent,
    /// There is one that must not be touched.
    Unusable(Unusable),
    /// There is one.
    Here {
        /// What it holds.
        record: Arc<Record>,
        /// The version that it was read at.
        version: Version,
        /// UID of the Secret.
        uid: String,
    },
}

/// The credentials Secret.
#[derive(Clone, Debug)]
pub enum Source {
    /// It exists in this version; its content was not read.
    Unread {
        /// From the index of the Secret watch.
        version: Version,
    },
    /// There is no such Secret.
    Missing,
    /// A key is absent or empty.
    Incomplete {
        /// Which.
        key: String,
        /// The version that was read.
        version: Version,
    },
    /// The pair.
    Found {
        /// What an issue sends.
        pair: ClientCredentials,
        /// The version that was read.
        version: Version,
    },
}

/// A Secret under a target's name.
#[derive(Clone, Debug)]
pub enum Target {
    /// There is none.
    Absent,
    /// Somebody else's.
    Foreign {
        /// Its metadata.
        meta: Arc<ObjectMeta>,
        /// Whether its owner consented to its being replaced.
        consent: Consent,
    },
    /// Written for a resource of this name.
    Ours {
        /// Whose object it is to the garbage collector.
        owner: Owner,
        /// Digest of its data.
        data: Digest,
        /// Neither data nor this flag can be changed.
        immutable: bool,
        /// Its metadata.
        meta: Arc<ObjectMeta>,
    },
}

impl Target {
    /// It is deleted, and finalizers hold it: it goes when they do, and nothing keeps it from going.
    pub(super) fn is_going(&self) -> bool {
        matches!(self, Self::Ours { meta, .. } if meta.deletion_timestamp.is_some())
    }

    /// It can neither be written nor, since it is being deleted already, be created anew.
    pub(super) fn is_held(&self) -> bool {
        self.is_going() && matches!(self, Self::Ours { immutable: true, .. })
    }
}

/// The owner reference of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    /// This resource.
    Me,
    /// A resource of the same name and another UID: an earlier one, or its successor.
    OtherUid,
    /// None: restored from a backup, or orphaned.
    None,
}

/// What the annotation [`names::ADOPT_ANNOTATION`] of a foreign Secret comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Consent {
    /// It does not name this resource.
    NotGiven,
    /// It does, and nothing stands against it.
    Given,
    /// It does, but the Secret's type is not Opaque.
    WrongType,
    /// It does, but the Secret is immutable.
    Immutable,
    /// It does, but the Secret has an owner.
    Owned,
}

/// Two programs that write one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarrel {
    /// Until when the target is left alone.
    pub until: Timestamp,
    /// The field manager that wrote it last, if it is known and not this operator. Whoever writes chooses this name.
    pub with: Option<String>,
}

/// The kind of object whose write was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Refused {
    /// The target.
    Target,
    /// The ledger.
    Ledger,
    /// The resource's metadata.
    Resource,
}

/// Why the API server refused a write, as a person would have to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Denied {
    /// The namespace is being deleted.
    Terminating,
    /// A ResourceQuota is used up.
    Quota,
    /// An admission policy or webhook said no.
    Admission,
    /// The object is not valid to the API server.
    Invalid,
    /// The object is too large.
    TooLarge,
    /// The operator lacks the permission.
    Forbidden,
}

/// What the pass has used up.
#[derive(Clone, Debug, Default)]
pub struct Spent {
    /// Acts performed.
    pub acts: u32,
    /// Calls sent to Revoiceit.
    pub calls: u32,
    /// A refresh was sent: the one call that may be followed by another, an issue.
    pub refreshed: bool,
    /// Something was answered since the last look: a further call needs a new one.
    pub answered_since_look: bool,
    /// The pass's own intent was sent.
    pub intent_sent: bool,
    /// The name under which a write was tried dry, successfully.
    pub tried: Option<Name>,
    /// What is in hand was to be revoked and was not.
    pub hand_kept: bool,
    /// The same, also before a pause: the answer may be what was lost, so that it is in use no more.
    pub hand_doomed: bool,
    /// The loss was told before the ledger goes.
    pub told: bool,
}

impl Observed {
    /// What a pass begins with.
    pub fn begin(id: Arc<ResourceId>, me: Stamp, policy: Arc<Policy>, place: Arc<Place>) -> Self {
        Self {
            id,
            me,
            policy,
            place,
            sighted: Sighted::No,
            resource: Resource::NotFound { proven: false },
            ledger: Ledger::Absent,
            source: Source::Missing,
            targets: BTreeMap::new(),
            quarrel: None,
            hand: Hand::Nothing,
            refused: BTreeMap::new(),
            finalizer_seen: false,
            spent: Spent::default(),
        }
    }

    /// Forgets every value that was read, for as long as the pass waits for a permit. What is in hand stays, and so do the targets' names.
    pub fn without_sights(self) -> Self {
        Self {
            sighted: Sighted::No,
            finalizer_seen: self.finalizer_seen || self.claim() == Claim::Ours,
            ledger: Ledger::Absent,
            source: Source::Missing,
            targets: self.targets.into_keys().map(|name| (name, Target::Absent)).collect(),
            resource: Resource::NotFound { proven: false },
            ..self
        }
    }

    /// The record, if the ledger is here.
    pub fn record(&self) -> Option<&Record> {
        match &self.ledger {
            Ledger::Here { record, .. } => Some(record),
            Ledger::Absent | Ledger::Unusable(_) => None,
        }
    }

    /// The resource's metadata, if it was read.
    pub fn meta(&self) -> Option<&ObjectMeta> {
        match &self.resource {
            Resource::Wanted(resource) => Some(&resource.metadata),
            Resource::Leaving(leaving) => Some(&leaving.meta),
            Resource::Unreadable(meta) => Some(meta),
            Resource::NotFound { .. } | Resource::Replaced | Resource::Released => None,
        }
    }

    /// Whether this target is deleted with the resource: it is its own, or nobody's while no successor of the same name may read it. One that is going
    /// has been.
    pub(super) fn goes_with_resource(&self, target: &Target) -> bool {
        match target {
            target if target.is_going() => false,
            Target::Ours { owner: Owner::Me, .. } => true,
            Target::Ours { owner: Owner::None, .. } => !matches!(self.resource, Resource::Replaced),
            Target::Ours { owner: Owner::OtherUid, .. } | Target::Absent | Target::Foreign { .. } => false,
        }
    }

    /// The resource is there, is not being deleted, and its namespace is not served.
    pub fn is_out_of_scope(&self) -> bool {
        matches!(self.resource, Resource::Wanted(_) | Resource::Unreadable(_)) && !self.place.serves(&self.id.namespace)
    }

    /// Whose ledger the resource's finalizer and annotation speak of.
    pub fn claim(&self) -> Claim {
        let Some(meta) = self.meta() else { return Claim::None };
        let has_finalizer = meta.finalizers.iter().flatten().any(|finalizer| finalizer == names::FINALIZER);
        let annotation = meta.annotations.as_ref().and_then(|annotations| annotations.get(names::CLAIM_ANNOTATION));
        match annotation.map(|value| value.split_once('/').unwrap_or((value, ""))) {
            // Whichever namespace it names: no ledger anywhere is this resource's.
            Some((_, uid)) if uid != self.id.uid => {
                if has_finalizer {
                    Claim::Copied
                } else {
                    Claim::None
                }
            }
            Some((namespace, _)) if namespace != self.place.operator_namespace => Claim::Elsewhere,
            // Somebody removed the annotation, or had put the finalizer there: it stands for a ledger all the same.
            Some(_) | None if has_finalizer => Claim::Ours,
            Some(_) | None => Claim::None,
        }
    }

    /// The intent in the record, if this pass wrote it.
    pub fn my_intent(&self) -> Option<&super::record::Intent> {
        self.record()?.intent.as_ref().filter(|intent| intent.stamp == self.me)
    }
}

/// What finalizer and annotation of the resource say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// No operator has begun here.
    None,
    /// There is, or was, a ledger of this resource in the operator's namespace.
    Ours,
    /// Both came with a copy of another resource: restored, or exported and applied. They tell of no ledger of this one.
    Copied,
    /// An operator in another namespace holds the ledger.
    Elsewhere,
}
