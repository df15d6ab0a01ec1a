//! What the last pass of each resource said, for metrics: read at the scrape, gone with the resource and with leadership.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use k8s_openapi::jiff::Timestamp;

use crate::{
    planner::{Record, ResourceId, Status},
    runtime::metrics::{ResourceTimes, Snapshot},
};

/// The facts of all resources.
#[derive(Debug, Default)]
pub struct Facts(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    of: HashMap<String, Fact>,
    /// UIDs of resources with a ledger for which nothing is done.
    unattended: HashSet<String>,
}

#[derive(Debug)]
struct Fact {
    times: Option<ResourceTimes>,
    pending_revocations: u64,
    suspected_lost: u64,
    revocation_due: Option<Timestamp>,
}

impl Facts {
    /// What the status of a resource says, and what it does not say. One that is being deleted has no times: its target is gone.
    pub(super) fn learn(&self, id: &ResourceId, status: &Status, record: Option<&Record>, is_suspended: bool) {
        let count = |number: Option<i32>| number.and_then(|number| u64::try_from(number).ok()).unwrap_or(0);
        let times = status.expires_at.as_ref().zip(status.refresh_at.as_ref()).map(|(expires_at, refresh_at)| ResourceTimes {
            namespace: id.namespace.clone(),
            name: id.name.clone(),
            expires_at: expires_at.0,
            refresh_at: (!is_suspended).then_some(refresh_at.0),
        });
        let fact = Fact {
            times,
            pending_revocations: count(status.pending_revocations),
            suspected_lost: count(status.suspected_lost),
            revocation_due: record.and_then(revocation_due),
        };
        self.lock().of.insert(id.uid.clone(), fact);
    }

    /// There is a ledger yet of a resource that is not there any more. Its times end with it: another of its name has the same labels.
    pub(super) fn outlived(&self, id: &ResourceId, record: Option<&Record>) {
        let pending = record.map_or(0, |record| record.retiring.len() + usize::from(record.live.is_some()));
        let suspected_lost = record.map_or(0, |record| u64::from(record.suspects.lost));
        let revocation_due = record.and_then(revocation_due);
        self.lock().of.insert(id.uid.clone(), Fact { times: None, pending_revocations: pending as u64, suspected_lost, revocation_due });
    }

    pub(super) fn forget(&self, uid: &str) {
        self.lock().of.remove(uid);
    }

    /// Nothing is done for this ledger, or something is. Whether that is news.
    pub(super) fn unattended(&self, uid: &str, is_unattended: bool) -> bool {
        let unattended = &mut self.lock().unattended;
        if is_unattended { unattended.insert(uid.to_owned()) } else { unattended.remove(uid) }
    }

    /// These are all the ledgers that there are.
    pub(super) fn ledgers(&self, uids: &HashSet<&str>) {
        self.lock().unattended.retain(|uid| uids.contains(uid.as_str()));
    }

    /// All of it, as it is now.
    pub fn snapshot(&self) -> Snapshot {
        let inner = self.lock();
        Snapshot {
            resources: inner.of.values().filter_map(|fact| fact.times.clone()).collect(),
            pending_revocations: inner.of.values().map(|fact| fact.pending_revocations).sum(),
            suspected_lost: inner.of.values().map(|fact| fact.suspected_lost).sum(),
            revocation_due: inner.of.values().filter_map(|fact| fact.revocation_due).min(),
            ledgers_unattended: inner.unattended.len() as u64,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When the first of its refresh tokens was or is to be revoked.
fn revocation_due(record: &Record) -> Option<Timestamp> {
    record.retiring.iter().map(|retiring| retiring.due).min()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    fn id(uid: &str) -> ResourceId {
        ResourceId { namespace: "team-a".into(), name: "speech".into(), uid: uid.into() }
    }

    fn status() -> Status {
        let time = || Some(Time(Timestamp::UNIX_EPOCH));
        Status { expires_at: time(), refresh_at: time(), pending_revocations: Some(1), ..Status::default() }
    }

    #[test]
    fn nothing_is_due_of_what_is_suspended_and_what_is_being_deleted_has_no_times() {
        let facts = Facts::default();
        facts.learn(&id("served"), &status(), None, false);
        facts.learn(&id("suspended"), &status(), None, true);
        facts.learn(&id("leaving"), &Status { refresh_at: None, ..status() }, None, false);
        let mut due: Vec<_> = facts.snapshot().resources.into_iter().map(|times| times.refresh_at.is_some()).collect();
        due.sort_unstable();
        assert_eq!(due, [false, true]);
    }

    #[test]
    fn the_times_of_a_resource_end_with_it_and_not_with_its_ledger() {
        let facts = Facts::default();
        facts.learn(&id("first"), &status(), None, false);
        facts.learn(&id("second"), &status(), None, false);
        facts.outlived(&id("first"), None);
        assert_eq!((facts.snapshot().resources.len(), facts.snapshot().pending_revocations), (1, 1));
    }

    #[test]
    fn a_ledger_is_unattended_until_somebody_sees_to_it_or_it_is_gone() {
        let facts = Facts::default();
        let told = ["a", "b", "c", "c"].map(|uid| facts.unattended(uid, true));
        assert_eq!((told, facts.snapshot().ledgers_unattended), ([true, true, true, false], 3));
        facts.unattended("a", false);
        facts.ledgers(&HashSet::from(["a", "b"]));
        assert_eq!(facts.snapshot().ledgers_unattended, 1);
    }
}
