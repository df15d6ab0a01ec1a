//! Small steps from one fixture to another, each of which reads as what it does.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

use super::fixtures::{TARGET, UID, at, failed, intent, ledger, live, name, retiring, written};
use crate::{
    api::{RevoiceitCredential, names},
    planner::{Denied, FailureClass, Hand, Leaving, Observed, Record, Refused, Resource, Sighted, Source, Target, TargetId},
};

/// Steps from one resource to another.
pub(super) trait CredentialExt: Sized {
    fn edited(self, edit: impl FnOnce(&mut RevoiceitCredential)) -> Self;
    fn wanted(self) -> Resource;
    fn leaving(self) -> Resource;

    fn with_finalizer(self) -> Self {
        self.edited(|it| it.metadata.finalizers.get_or_insert_default().push(names::FINALIZER.into()))
    }

    fn with_claim(self, claim: &str) -> Self {
        self.annotated(names::CLAIM_ANNOTATION, claim)
    }

    /// Finalizer and claim as this operator writes them.
    fn claimed(self) -> Self {
        self.with_finalizer().with_claim(&format!("revoiceit-system/{UID}"))
    }

    fn annotated(self, key: &str, value: &str) -> Self {
        self.edited(|it| drop(it.metadata.annotations.get_or_insert_default().insert(key.into(), value.into())))
    }

    fn rotate(self, value: &str) -> Self {
        self.annotated(names::ROTATE_ANNOTATION, value)
    }

    fn deleting(self, clock: &str) -> Self {
        self.edited(|it| it.metadata.deletion_timestamp = Some(Time(at(clock))))
    }

    fn suspended(self) -> Self {
        self.edited(|it| it.spec.suspend = true)
    }

    fn target(self, name: &str) -> Self {
        self.edited(|it| it.spec.target.name = name.into())
    }

    fn deadline(self, deadline: &str) -> Self {
        self.edited(|it| it.spec.revocation.deadline = deadline.into())
    }

    fn grace(self, grace: &str) -> Self {
        self.edited(|it| it.spec.revocation.grace = grace.into())
    }
}

impl CredentialExt for RevoiceitCredential {
    fn edited(mut self, edit: impl FnOnce(&mut RevoiceitCredential)) -> Self {
        edit(&mut self);
        self
    }

    fn wanted(self) -> Resource {
        Resource::Wanted(Arc::new(self))
    }

    fn leaving(self) -> Resource {
        let deadline = Some(self.spec.revocation.deadline());
        Resource::Leaving(Arc::new(Leaving { meta: self.metadata, deadline, status: self.status.unwrap_or_default() }))
    }
}

impl Target {
    /// Somebody's finalizer is on it, and it may be immutable.
    pub(super) fn held(self, immutable: bool) -> Self {
        let Self::Ours { owner, data, meta, .. } = self else { panic!("nothing else is deleted") };
        Self::Ours { owner, data, immutable, meta }.with_finalizers(&["example.com/hold"])
    }

    pub(super) fn with_finalizers(self, names: &[&str]) -> Self {
        self.edited(|meta| meta.finalizers = Some(names.iter().map(|name| (*name).to_owned()).collect()))
    }

    pub(super) fn deleted(self, clock: &str) -> Self {
        self.edited(|meta| meta.deletion_timestamp = Some(Time(at(clock))))
    }

    fn edited(mut self, edit: impl FnOnce(&mut ObjectMeta)) -> Self {
        let Self::Ours { meta, .. } = &mut self else { panic!("nothing else is deleted") };
        edit(Arc::make_mut(meta));
        self
    }
}

impl Record {
    pub(super) fn edited(mut self, edit: impl FnOnce(&mut Self)) -> Self {
        edit(&mut self);
        self
    }

    /// As [`live`], delivered under the name in the spec.
    pub(super) fn live(self, revision: u64, sent_at: &str) -> Self {
        self.listed(TARGET).edited(|it| {
            it.live = Some(live(revision, sent_at));
            it.next_revision = it.next_revision.max(revision + 1);
        })
    }

    pub(super) fn retiring(self, revision: u64, due: &str) -> Self {
        self.edited(|it| {
            it.retiring.push(retiring(revision, due));
            it.next_revision = it.next_revision.max(revision + 1);
        })
    }

    pub(super) fn listed(self, target: &str) -> Self {
        self.edited(|it| it.targets.push(TargetId { name: name(target), left_at: None }))
    }

    pub(super) fn left(self, target: &str, clock: &str) -> Self {
        self.edited(|it| it.targets.push(TargetId { name: name(target), left_at: Some(at(clock)) }))
    }

    /// An intent to issue, of the pass with this stamp.
    pub(super) fn intent(self, stamp: &str, until: &str) -> Self {
        self.edited(|it| it.intent = Some(intent(stamp, until)))
    }

    pub(super) fn closed(self) -> Self {
        self.edited(|it| it.closed = true)
    }

    pub(super) fn failed_issue(self, class: FailureClass, at_: &str, not_before: &str) -> Self {
        self.edited(|it| it.failed_issue = Some(failed(class, at_, not_before)))
    }

    pub(super) fn failed_refresh(self, class: FailureClass, at_: &str, not_before: &str) -> Self {
        self.edited(|it| {
            it.failed_refresh = Some(failed(class, at_, not_before));
            if let Some(live) = &mut it.live {
                live.rejected = class == FailureClass::Rejected;
                live.unanswered = class == FailureClass::Lost || class == FailureClass::Malformed;
            }
        })
    }
}

impl Observed {
    pub(super) fn edited(mut self, edit: impl FnOnce(&mut Self)) -> Self {
        edit(&mut self);
        self
    }

    pub(super) fn looked_at(self, clock: &str) -> Self {
        self.edited(|it| it.sighted = Sighted::Look(at(clock)))
    }

    pub(super) fn with(self, record: Record) -> Self {
        self.edited(|it| it.ledger = ledger(record))
    }

    pub(super) fn source(self, source: Source) -> Self {
        self.edited(|it| it.source = source)
    }

    pub(super) fn target(self, under: &str, target: Target) -> Self {
        self.edited(|it| drop(it.targets.insert(name(under), target)))
    }

    pub(super) fn holding(self, hand: Hand) -> Self {
        self.edited(|it| it.hand = hand)
    }

    pub(super) fn refused(self, what: Refused, denied: Denied) -> Self {
        self.edited(|it| it.refused.extend([(what, denied)]))
    }

    /// The target holds what the live line gives it.
    pub(super) fn delivered(self) -> Self {
        let Resource::Wanted(resource) = &self.resource else { panic!("nothing is delivered to what is not wanted") };
        let target = written(resource, &self.record().expect("a ledger").live.clone().expect("a token"));
        let under = resource.spec.target.name.clone();
        self.target(&under, target)
    }
}
