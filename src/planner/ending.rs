//! A resource that is being deleted, or is gone: its targets go, its refresh tokens are revoked, and then its ledger goes.

use jiff::Timestamp;

use super::{
    act::{Act, Change, Plan},
    notice,
    observed::{Claim, Ledger, Owner, Refused, Resource, Target},
    plan::{Step, forget, rest, revoke, suspect, unusable_reason},
    record::Suspects,
    schedule,
    view::View,
    wanted::lost,
};
use crate::api::Reason;

/// In this order; the first that wants something has its way.
const STEPS: [Step; 12] = [
    leave_alone,
    without_ledger,
    suspect,
    delete_targets,
    close_at_deadline,
    release,
    retire_what_may_be_wanted_again,
    revoke_all,
    close_when_empty,
    keep_names,
    tell_of_suspects,
    delete_ledger,
];

pub(super) fn plan(v: &View) -> Plan {
    STEPS.iter().find_map(|step| step(v)).unwrap_or_else(|| rest(v, Reason::Revoking))
}

/// What another operator holds is its to end.
fn leave_alone(v: &View) -> Option<Plan> {
    (v.seen.claim() == Claim::Elsewhere).then(|| rest(v, Reason::LedgerElsewhere))
}

fn without_ledger(v: &View) -> Option<Plan> {
    match v.seen.ledger {
        Ledger::Here { .. } => None,
        // Its tokens cannot be revoked by this operator: the resource waits for somebody to mend it, and no longer than its deadline.
        Ledger::Unusable(why) => Some(match deadline(v) {
            Some(deadline) if deadline <= v.now && v.is_claimed() && !v.is_refused(Refused::Resource) => Plan::Act(Act::Release),
            _ => rest(v, unusable_reason(why)),
        }),
        Ledger::Absent => Some(match v.seen.claim() {
            // The finalizer may have come, or the ledger gone, between the two reads of one look.
            Claim::Ours if !v.seen.finalizer_seen => Plan::Act(Act::Look),
            Claim::Ours => Plan::save(lost(v, true)),
            Claim::Copied if !v.is_refused(Refused::Resource) => Plan::Act(Act::Release),
            Claim::Copied | Claim::None | Claim::Elsewhere if v.is_leaving() => rest(v, Reason::Revoking),
            Claim::Copied | Claim::None | Claim::Elsewhere => forget(v),
        }),
    }
}

/// Only what is this resource's own: a successor of the same name may have taken the Secret over already.
pub(super) fn delete_targets(v: &View) -> Option<Plan> {
    v.record?.targets.iter().find_map(|listed| match v.seen.targets.get(&listed.name) {
        None => Some(Plan::Act(Act::Look)),
        Some(target) if v.seen.goes_with_resource(target) => {
            (!v.is_refused(Refused::Target)).then(|| Plan::Act(Act::DeleteTarget(listed.name.clone())))
        }
        Some(_) => None,
    })
}

/// Until when the finalizer waits for the revocation. `None` where there is no resource that waits.
pub(super) fn deadline(v: &View) -> Option<Timestamp> {
    let policy = &v.seen.policy;
    let recorded = v.record.map(super::record::Record::deadline);
    match &v.seen.resource {
        Resource::Leaving(leaving) => {
            let since = leaving.meta.deletion_timestamp.as_ref().map_or(v.now, |time| time.0);
            let wait = leaving.deadline.or(recorded).unwrap_or(policy.retry_max);
            let own = schedule::after(since, wait);
            Some(policy.draining.map_or(own, |drain| own.min(drain)))
        }
        Resource::Wanted(_) | Resource::Unreadable(_) => policy.draining,
        Resource::NotFound { .. } | Resource::Replaced | Resource::Released => None,
    }
}

fn close_at_deadline(v: &View) -> Option<Plan> {
    let is_over = v.is_claimed() && deadline(v).is_some_and(|deadline| deadline <= v.now);
    (is_over && !v.record?.closed).then(|| Plan::save(Change::Close))
}

/// A closed record takes no intent, so that no token can come behind the finalizer's back.
fn release(v: &View) -> Option<Plan> {
    (v.is_claimed() && v.record?.closed && !v.is_refused(Refused::Resource)).then_some(Plan::Act(Act::Release))
}

/// A drain may be broken off, and an operator take its place: it must not deliver from a line whose revocation was sent and whose answer was lost.
fn retire_what_may_be_wanted_again(v: &View) -> Option<Plan> {
    let record = v.record.filter(|record| !record.closed)?;
    let stays = matches!(v.seen.resource, Resource::Wanted(_) | Resource::Unreadable(_));
    (stays && record.live.is_some()).then(|| Plan::save(Change::Retire { now: v.now }))
}

fn revoke_all(v: &View) -> Option<Plan> {
    let record = v.record?;
    let is_free = is_nobody_reading(v);
    // A target may hold the token of a line whose successor could not be delivered any more.
    let retiring = v.revocable().find(|retiring| is_free || retiring.due <= v.now).map(|retiring| retiring.revision);
    let live = record.live.as_ref().filter(|_| is_free).map(|live| live.revision);
    retiring.or(live).map(|revision| revoke(v, revision, Reason::Revoking))
}

/// Another UID of the name proves that the resource is gone, and its pods may still be reading what it delivered last.
fn is_nobody_reading(v: &View) -> bool {
    let has_successor = matches!(v.seen.resource, Resource::Replaced);
    let is_left = |target: Option<&Target>| {
        matches!(target, Some(Target::Absent | Target::Foreign { .. } | Target::Ours { owner: Owner::OtherUid, .. }))
    };
    let listed = v.record.map(|record| record.targets.as_slice()).unwrap_or_default();
    !has_successor || !v.has_valid_token() || listed.iter().all(|listed| is_left(v.seen.targets.get(&listed.name)))
}

fn close_when_empty(v: &View) -> Option<Plan> {
    let record = v.record?;
    (record.is_empty() && !record.closed).then(|| Plan::save(Change::Close))
}

/// A target that could not be deleted is looked at again later: it may have no owner by now, and then no collector knows of it. Its name is kept
/// until it is gone, or going, or a successor has taken it over.
fn keep_names(v: &View) -> Option<Plan> {
    has_left_a_target(v).then(|| rest(v, Reason::Revoking))
}

/// That there still is a target of this resource's own, and it is not going.
pub(super) fn has_left_a_target(v: &View) -> bool {
    let is_left = |target: &Target| matches!(target, Target::Ours { owner: Owner::Me | Owner::None, .. }) && !target.is_going();
    v.record.is_some_and(|record| record.targets.iter().any(|listed| v.seen.targets.get(&listed.name).is_some_and(is_left)))
}

/// Once, when the ledger is next to go: what is claimed still may come back to this.
pub(super) fn tell_of_suspects(v: &View) -> Option<Plan> {
    let record = v.record.filter(|record| record.is_empty() && record.suspects != Suspects::default())?;
    (!v.is_claimed() && !v.seen.spent.told).then(|| Plan::Act(Act::Tell(notice::last_words(v.seen, record))))
}

fn delete_ledger(v: &View) -> Option<Plan> {
    let is_done = v.record?.is_empty() && !v.is_claimed();
    is_done.then_some(Plan::Act(Act::DeleteLedger))
}
