//! What the last pass of each resource said, for metrics: read at the scrape, gone with the resource and with leadership.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use k8s_openapi::jiff::Timestamp;

use crate::{
    api::Reason,
    planner::{Record, ResourceId, Status},
    runtime::metrics::{ResourceState, Snapshot},
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
    /// Shared with what the watch knows: there are thousands.
    id: Arc<ResourceId>,
    is_ready: Option<bool>,
    expires_at: Option<Timestamp>,
    refresh_at: Option<Timestamp>,
    pending_revocations: u64,
    suspected_lost: u64,
    revocation_due: Option<Timestamp>,
}

impl Facts {
    /// What the status of a resource says, and what it does not say. Of one that is not served, because it is suspended or is being deleted, nobody
    /// waits for a token or a refresh.
    pub(super) fn learn(&self, id: &Arc<ResourceId>, status: &Status, record: Option<&Record>, is_served: bool) {
        let count = |number: Option<i32>| number.and_then(|number| u64::try_from(number).ok()).unwrap_or(0);
        let times = status.expires_at.as_ref().zip(status.refresh_at.as_ref());
        let fact = Fact {
            id: id.clone(),
            is_ready: is_ready(status).filter(|_| is_served),
            expires_at: times.map(|(expires_at, _)| expires_at.0),
            refresh_at: times.filter(|_| is_served).map(|(_, refresh_at)| refresh_at.0),
            pending_revocations: count(status.pending_revocations),
            suspected_lost: count(status.suspected_lost),
            revocation_due: record.and_then(revocation_due),
        };
        self.lock().of.insert(id.uid.clone(), fact);
    }

    /// There may be a ledger yet of a resource that is not there any more, or of which another operator speaks. Its series end with it: another of
    /// its name has the same labels.
    pub(super) fn outlived(&self, id: &Arc<ResourceId>, record: Option<&Record>) {
        let fact = Fact {
            pending_revocations: record.map_or(0, |record| record.retiring.len() + usize::from(record.live.is_some())) as u64,
            suspected_lost: record.map_or(0, |record| u64::from(record.suspects.lost)),
            revocation_due: record.and_then(revocation_due),
            ..Fact::nothing_of(id)
        };
        self.lock().of.insert(id.uid.clone(), fact);
    }

    /// The resource cannot be read, and nothing is done for it. What was known of its token stays true.
    pub(super) fn unreadable(&self, id: &Arc<ResourceId>) {
        self.lock().of.entry(id.uid.clone()).or_insert_with(|| Fact::nothing_of(id)).is_ready = Some(false);
    }

    pub(super) fn forget(&self, uid: &str) {
        self.lock().of.remove(uid);
    }

    /// Nothing is done for this ledger, or something is. Whether that is news.
    pub(super) fn unattended(&self, uid: &str, is_unattended: bool) -> bool {
        let unattended = &mut self.lock().unattended;
        if is_unattended { unattended.insert(uid.to_owned()) } else { unattended.remove(uid) }
    }

    /// The ledgers for which nothing is done.
    pub(super) fn all_unattended(&self) -> HashSet<String> {
        self.lock().unattended.clone()
    }

    /// All of it, as it is now.
    pub fn snapshot(&self) -> Snapshot {
        let inner = self.lock();
        Snapshot {
            resources: inner.of.values().filter_map(Fact::state).collect(),
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

impl Fact {
    fn nothing_of(id: &Arc<ResourceId>) -> Self {
        Self {
            id: id.clone(),
            is_ready: None,
            expires_at: None,
            refresh_at: None,
            pending_revocations: 0,
            suspected_lost: 0,
            revocation_due: None,
        }
    }

    /// What there is to say of the resource, if anything is.
    fn state(&self) -> Option<ResourceState> {
        let Self { id, is_ready, expires_at, refresh_at, .. } = self;
        (is_ready.is_some() || expires_at.is_some()).then(|| ResourceState {
            namespace: id.namespace.clone(),
            name: id.name.clone(),
            is_ready: *is_ready,
            expires_at: *expires_at,
            refresh_at: *refresh_at,
        })
    }
}

/// What the Ready condition says. `None` in a namespace that goes.
fn is_ready(status: &Status) -> Option<bool> {
    let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready")?;
    (ready.reason != Reason::NamespaceTerminating.as_str()).then(|| ready.status == "True")
}

/// When the first of its refresh tokens was or is to be revoked.
fn revocation_due(record: &Record) -> Option<Timestamp> {
    record.retiring.iter().map(|retiring| retiring.due).min()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

    use super::*;

    fn id(uid: &str) -> Arc<ResourceId> {
        Arc::new(ResourceId { namespace: "team-a".into(), name: "speech".into(), uid: uid.into() })
    }

    fn status() -> Status {
        let time = || Some(Time(Timestamp::UNIX_EPOCH));
        Status { expires_at: time(), refresh_at: time(), pending_revocations: Some(1), ..Status::default() }
    }

    /// With these conditions, all for the same reason.
    fn says(conditions: &[(&str, &str)], reason: &str) -> Status {
        let condition = |&(type_, status): &(&str, &str)| Condition {
            type_: type_.into(),
            status: status.into(),
            reason: reason.into(),
            message: String::new(),
            observed_generation: None,
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
        };
        Status { conditions: conditions.iter().map(condition).collect(), ..Status::default() }
    }

    #[test]
    fn nothing_is_due_of_what_is_suspended_and_what_is_being_deleted_has_no_times() {
        let facts = Facts::default();
        facts.learn(&id("served"), &status(), None, true);
        facts.learn(&id("suspended"), &status(), None, false);
        facts.learn(&id("leaving"), &Status { refresh_at: None, ..status() }, None, false);
        let mut due: Vec<_> = facts.snapshot().resources.into_iter().map(|state| state.refresh_at.is_some()).collect();
        due.sort_unstable();
        assert_eq!(due, [false, true]);
    }

    #[test]
    fn a_resource_is_ready_or_not_whatever_the_reason_is() {
        const READY: &[(&str, &str)] = &[("Ready", "True")];
        const STALLED: &[(&str, &str)] = &[("Ready", "False"), ("Stalled", "True")];
        const RECONCILING: &[(&str, &str)] = &[("Ready", "False"), ("Reconciling", "True")];
        let table = [
            (READY, "TokenReady", Some(true)),
            (READY, "CredentialsMissing", Some(true)),
            (RECONCILING, "Issuing", Some(false)),
            (RECONCILING, "RevoiceitUnavailable", Some(false)),
            (STALLED, "AdmissionDenied", Some(false)),
            (STALLED, "IssuerChanged", Some(false)),
            (STALLED, "LedgerElsewhere", Some(false)),
            // Nobody waits for it.
            (RECONCILING, "NamespaceTerminating", None),
            (&[], "", None),
        ];
        for (conditions, reason, expected) in table {
            assert_eq!(is_ready(&says(conditions, reason)), expected, "{conditions:?} {reason}");
        }
        let facts = Facts::default();
        facts.learn(&id("stalled"), &says(STALLED, "TargetConflict"), None, true);
        facts.learn(&id("suspended"), &says(STALLED, "Suspended"), None, false);
        facts.learn(&id("leaving"), &says(RECONCILING, "Revoking"), None, false);
        assert_eq!(facts.snapshot().resources.iter().map(|state| state.is_ready).collect::<Vec<_>>(), [Some(false)]);
    }

    #[test]
    fn the_series_of_a_resource_end_with_it_and_not_with_its_ledger() {
        let facts = Facts::default();
        facts.learn(&id("first"), &says(&[("Ready", "True")], "TokenReady"), None, true);
        facts.learn(&id("second"), &status(), None, true);
        facts.outlived(&id("first"), None);
        assert_eq!((facts.snapshot().resources.len(), facts.snapshot().pending_revocations), (1, 1));
    }

    #[test]
    fn one_that_cannot_be_read_is_not_ready_and_its_token_ends_when_it_ends() {
        let facts = Facts::default();
        facts.learn(&id("known"), &Status { conditions: says(&[("Ready", "True")], "TokenReady").conditions, ..status() }, None, true);
        facts.unreadable(&id("known"));
        facts.unreadable(&id("unknown"));
        let mut said: Vec<_> = facts.snapshot().resources.iter().map(|state| (state.is_ready, state.expires_at.is_some())).collect();
        said.sort_unstable();
        assert_eq!(said, [(Some(false), false), (Some(false), true)]);
    }

    #[test]
    fn a_ledger_is_unattended_until_somebody_sees_to_it_or_it_is_gone() {
        let facts = Facts::default();
        let told = ["a", "b", "c", "c"].map(|uid| facts.unattended(uid, true));
        assert_eq!((told, facts.snapshot().ledgers_unattended), ([true, true, true, false], 3));
        facts.unattended("a", false);
        assert_eq!(facts.all_unattended(), HashSet::from(["b".to_owned(), "c".to_owned()]));
    }
}
