//! The two servers of a [`Story`]: each act as the shell would carry it out, against what is in the story at that moment.

use std::{collections::BTreeSet, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

use super::{
    builders::CredentialExt,
    fixtures::{id, issued, name, refresh, refreshed, rotated},
    story::Story,
};
use crate::{
    api::names,
    planner::{
        Act, Answer, Came, Change, Claim, Digest, Ledger, Look, Name, Observed, Owner, Refused, Resource, Sight, Source, Target, Version,
        Which, desired, reads_credentials, revised,
    },
    revoiceit::{Failure, RefreshToken, Revoked},
};

impl Story {
    /// Everything under the names that are known by now; after a finalizer without a ledger, everything.
    pub(super) fn look(&self, began_at: Option<Timestamp>, seen: &Observed) -> Look {
        let finalizer_seen = seen.finalizer_seen || seen.claim() == Claim::Ours;
        let (resource, ledger) = (self.resource(), self.ledger.clone());
        let sighted = Observed { resource, ledger, ..seen.clone() };
        let source = match version_of(&self.source) {
            Some(version) if began_at.is_none() || !reads_credentials(&sighted, Some(&version)) => Source::Unread { version },
            _ => self.source.clone(),
        };
        let mut names: BTreeSet<Name> = seen.targets.keys().cloned().collect();
        names.extend(sighted.record().iter().flat_map(|record| record.targets.iter().map(|target| target.name.clone())));
        names.extend(self.credential.iter().map(|credential| name(&credential.spec.target.name)));
        if finalizer_seen && matches!(self.ledger, Ledger::Absent) {
            names.extend(self.secrets.keys().cloned());
        }
        let targets = names.into_iter().map(|name| (name.clone(), self.secret(&name))).collect();
        Look { began_at, resource: sighted.resource, ledger: sighted.ledger, source, targets, quarrel: self.quarrel.clone() }
    }

    fn resource(&self) -> Resource {
        match &self.credential {
            Some(credential) if credential.metadata.deletion_timestamp.is_some() => credential.clone().leaving(),
            Some(credential) => credential.clone().wanted(),
            None => self.absent.clone(),
        }
    }

    fn secret(&self, name: &Name) -> Target {
        self.secrets.get(name).cloned().unwrap_or(Target::Absent)
    }

    pub(super) fn perform(&mut self, act: &Act, seen: &Observed) -> Came {
        match act {
            Act::Look => Came::Saw(Sight::Look(Box::new(self.look(Some(self.now), seen)))),
            Act::TryTarget(name) => self.refusal(Refused::Target).unwrap_or_else(|| Came::Tried(name.clone())),
            Act::WriteTarget(name) => self.write_target(name, seen),
            Act::DeleteTarget(name) => self.delete_target(name, seen),
            Act::SaveLedger(change) => self.save_ledger(change, seen),
            Act::DeleteLedger => self.delete_ledger(seen),
            Act::Claim | Act::Release => self.patch(act, seen),
            Act::Issue { .. } | Act::Refresh { .. } | Act::Revoke(_) => {
                Came::Answered { sent_at: self.now, answer: self.answer(act, seen) }
            }
            Act::Tell(notice) => {
                self.told.push(notice.clone());
                Came::Told
            }
        }
    }

    fn refusal(&self, what: Refused) -> Option<Came> {
        self.denied.iter().find(|(denied, _)| *denied == what).map(|(what, why)| Came::Denied(*what, *why))
    }

    fn answer(&mut self, act: &Act, seen: &Observed) -> Answer {
        let failure = self.failures.pop_front();
        let number = self.token();
        let brings_a_token = matches!(act, Act::Issue { .. }) || (matches!(act, Act::Refresh { .. }) && self.rotates);
        match &failure {
            None | Some(Failure::Lost) if brings_a_token => self.alive.push(refresh(number)),
            Some(Failure::Malformed { refresh: Some(token) }) if brings_a_token => self.alive.push(token.clone()),
            _ => {}
        }
        match act {
            Act::Issue { .. } => Answer::Issue(failure.map_or_else(|| Ok(issued(number)), Err)),
            Act::Refresh { .. } => {
                let line = seen.record().and_then(|record| record.live.as_ref()).expect("a live line").id();
                let answer = if self.rotates { rotated(number) } else { refreshed(number) };
                Answer::Refresh(line, failure.map_or(Ok(answer), Err))
            }
            Act::Revoke(which) => {
                let outcome = match failure {
                    None if self.refuses_to_revoke => Err(Failure::Rejected),
                    Some(Failure::Rejected) => Ok(Revoked::Unknown),
                    Some(failure) => Err(failure),
                    None => Ok(Revoked::Confirmed),
                };
                if outcome.is_ok() {
                    let revoked = token_of(*which, seen).expect("there is such a token");
                    self.alive.retain(|token| *token != revoked);
                }
                Answer::Revoke(*which, outcome)
            }
            _ => unreachable!("not a call"),
        }
    }

    fn write_target(&mut self, name: &Name, seen: &Observed) -> Came {
        if meta_of(&self.secret(name)) != meta_of(&seen.targets[name]) {
            return Came::Changed;
        }
        let (Resource::Wanted(resource), Some(live)) = (&seen.resource, seen.record().and_then(|record| record.live.as_ref())) else {
            panic!("nothing to write");
        };
        assert!(live.expires_at > self.now, "an expired token is never written");
        if let Some(refusal) = self.refusal(Refused::Target) {
            return refusal;
        }
        let desired = desired(resource, &id(), live);
        let meta = desired.metadata(&meta_of(&seen.targets[name]).unwrap_or_default());
        let meta = ObjectMeta { resource_version: Some(self.version()), ..meta };
        let target = Target::Ours { owner: Owner::Me, data: Digest::of_data(&desired.data), immutable: false, meta: Arc::new(meta) };
        self.secrets.insert(name.clone(), target.clone());
        Came::Saw(Sight::Target(name.clone(), target))
    }

    fn delete_target(&mut self, name: &Name, seen: &Observed) -> Came {
        if meta_of(&self.secret(name)) != meta_of(&seen.targets[name]) {
            return Came::Changed;
        }
        assert!(matches!(seen.targets[name], Target::Ours { .. }), "what is not ours is never deleted");
        if let Some(refusal) = self.refusal(Refused::Target) {
            return refusal;
        }
        let deleted = self.secrets.remove(name).filter(has_finalizers).map(|held| {
            let held = going(held, self.now, self.version());
            self.secrets.insert(name.clone(), held.clone());
            held
        });
        Came::Saw(Sight::Target(name.clone(), deleted.unwrap_or(Target::Absent)))
    }

    /// Whoever holds targets lets them go.
    pub(super) fn let_go(&mut self) {
        self.secrets.retain(|_, target| !target.is_going());
        self.secrets.values_mut().filter(|target| has_finalizers(target)).for_each(|target| *target = target.clone().with_finalizers(&[]));
    }

    fn is_current(&self, seen: &Observed) -> bool {
        match (&self.ledger, &seen.ledger) {
            (Ledger::Here { version, .. }, Ledger::Here { version: seen, .. }) => version == seen,
            (Ledger::Absent, Ledger::Absent) => true,
            _ => false,
        }
    }

    fn save_ledger(&mut self, change: &Change, seen: &Observed) -> Came {
        if !self.is_current(seen) {
            return Came::Changed;
        }
        self.refusal(Refused::Ledger).unwrap_or_else(|| {
            self.put(&revised(seen, change));
            Came::Saw(Sight::Ledger(self.ledger.clone()))
        })
    }

    fn delete_ledger(&mut self, seen: &Observed) -> Came {
        if !self.is_current(seen) {
            return Came::Changed;
        }
        assert!(self.record().is_empty(), "tokens would be forgotten");
        self.refusal(Refused::Ledger).unwrap_or_else(|| {
            self.ledger = Ledger::Absent;
            Came::Saw(Sight::Ledger(Ledger::Absent))
        })
    }

    fn patch(&mut self, act: &Act, seen: &Observed) -> Came {
        let Some(current) = &self.credential else { return Came::Changed };
        if seen.meta().and_then(|meta| meta.resource_version.as_ref()) != current.metadata.resource_version.as_ref() {
            return Came::Changed;
        }
        if let Some(refusal) = self.refusal(Refused::Resource) {
            return refusal;
        }
        if *act == Act::Claim {
            self.edit(|it| it.edited(|it| it.metadata.finalizers = None).claimed());
            return Came::Saw(Sight::Resource(self.resource()));
        }
        self.edit(|it| {
            it.edited(|it| {
                it.metadata.finalizers.get_or_insert_default().retain(|finalizer| finalizer != names::FINALIZER);
                it.metadata.annotations.get_or_insert_default().remove(names::CLAIM_ANNOTATION);
            })
        });
        match self.credential.take_if(|it| it.metadata.deletion_timestamp.is_some()) {
            Some(_) => Came::Saw(Sight::Resource(Resource::Released)),
            None => Came::Saw(Sight::Resource(self.resource())),
        }
    }
}

fn token_of(which: Which, seen: &Observed) -> Option<RefreshToken> {
    let Which::Revision(revision) = which else { return seen.hand.refresh_token().cloned() };
    let record = seen.record()?;
    let live = record.live.iter().map(|live| (live.revision, &live.refresh));
    let mut all = live.chain(record.retiring.iter().map(|retiring| (retiring.revision, &retiring.refresh)));
    all.find(|(known, _)| *known == revision).map(|(_, token)| token.clone())
}

fn version_of(source: &Source) -> Option<Version> {
    match source {
        Source::Unread { version } | Source::Incomplete { version, .. } | Source::Found { version, .. } => Some(version.clone()),
        Source::Missing => None,
    }
}

fn has_finalizers(target: &Target) -> bool {
    meta_of(target).is_some_and(|meta| meta.finalizers.is_some_and(|finalizers| !finalizers.is_empty()))
}

/// Its deletion is what changes it, once.
fn going(target: Target, now: Timestamp, version: String) -> Target {
    let Target::Ours { owner, data, immutable, meta } = target else { return target };
    let deleted = || ObjectMeta { deletion_timestamp: Some(Time(now)), resource_version: Some(version), ..(*meta).clone() };
    let meta = if meta.deletion_timestamp.is_some() { meta.clone() } else { Arc::new(deleted()) };
    Target::Ours { owner, data, immutable, meta }
}

fn meta_of(target: &Target) -> Option<ObjectMeta> {
    match target {
        Target::Absent => None,
        Target::Foreign { meta, .. } | Target::Ours { meta, .. } => Some((**meta).clone()),
    }
}
