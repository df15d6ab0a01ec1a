//! The first thing that is not as it should be.
//!
//! Each step returns what it wants done, or `None`: all well, as far as it is concerned. The first step that wants something has its way; the
//! order of the steps is part of the protocol.

use jiff::Timestamp;

use super::{
    act::{Act, Change, Lane, Plan, Rest, Until, Which},
    ending,
    notice::{About, News, Notice},
    observed::{Ledger, Observed, Owner, Refused, Resource, Sighted, Source, Target},
    record::Unusable,
    schedule,
    status::{self},
    view::View,
    wanted,
};
use crate::api::Reason;

/// A step of a plan.
pub(super) type Step = fn(&View) -> Option<Plan>;

/// What to do next, from what was seen, at this time. Pure.
pub fn plan(seen: &Observed, now: Timestamp) -> Plan {
    let v = View::new(seen, now);
    const STEPS: [Step; 8] =
        [look_again, save_what_is_in_hand, stop_when_spent, ledger_refused, clear_answered_intent, absent, out_of_scope, unreadable];
    let plan = STEPS.iter().find_map(|step| step(&v));
    plan.unwrap_or_else(|| if v.is_ending() { ending::plan(&v) } else { wanted::plan(&v) })
}

/// A look serves for a minute: afterwards a write that it led to could come later than everybody counts on.
fn look_again(v: &View) -> Option<Plan> {
    let is_stale = match v.seen.sighted {
        Sighted::No => true,
        Sighted::Glance => false,
        Sighted::Look(at) => v.now < at || schedule::left(at, v.now) > v.seen.policy.look_age,
    };
    is_stale.then_some(Plan::Act(Act::Look))
}

/// What Revoiceit answered cannot be got again: it is saved before anything else.
fn save_what_is_in_hand(v: &View) -> Option<Plan> {
    if v.seen.hand.is_empty() {
        return None;
    }
    if v.can_save() {
        return Some(Plan::save(Change::Fold { now: v.now, close: v.is_ending() }));
    }
    // There is no ledger to save it in: revoked from hand. If that fails too, a ledger that takes the place of a lost one takes it, and otherwise
    // both are tried again after a pause. The steps that follow see to the ledger; with a token in hand there is no further call.
    let is_live = v.seen.hand.refresh_token().is_some() && !v.seen.spent.hand_kept;
    is_live.then_some(Plan::Act(Act::Revoke(Which::InHand)))
}

/// A pass that goes on and on has met somebody who writes against it, or is wrong. What is in hand was saved by the step before; an intent is
/// withdrawn by resting; the next pass comes after a pause, so that neither case is a hot loop.
fn stop_when_spent(v: &View) -> Option<Plan> {
    (v.seen.spent.acts >= v.seen.policy.max_acts).then(|| {
        let reason = if v.is_ending() { Reason::Revoking } else { wanted::reason(v) };
        rest_until(v, reason, Some(schedule::after(v.now, v.seen.policy.retry_min)))
    })
}

fn ledger_refused(v: &View) -> Option<Plan> {
    v.is_refused(Refused::Ledger).then(|| {
        // What cannot be saved must not keep the resource, or its namespace, for ever.
        if v.is_leaving() && v.is_claimed() && !v.is_refused(Refused::Resource) {
            Plan::Act(Act::Release)
        } else {
            rest(v, Reason::LedgerDenied)
        }
    })
}

/// Its answer is dealt with, in another way than by a fold: the token was revoked from hand.
fn clear_answered_intent(v: &View) -> Option<Plan> {
    (v.seen.my_intent().is_some() && v.seen.spent.intent_sent && v.can_save()).then(|| Plan::save(Change::Clear))
}

/// A 404 alone proves nothing. What cannot be proven gone is kept.
fn absent(v: &View) -> Option<Plan> {
    if !matches!(v.seen.resource, Resource::NotFound { .. }) || v.is_ending() {
        return None;
    }
    let Some(record) = v.record else { return Some(forget(v)) };
    // Whose it is was read before the resource was: it may be nobody's by now.
    let is_ours = |name| matches!(v.seen.targets.get(name), Some(Target::Ours { owner: Owner::Me | Owner::None, .. }));
    let is_nothing_lost = record.is_empty()
        && !record.claimed
        && record.suspects == super::record::Suspects::default()
        && !record.targets.iter().any(|listed| is_ours(&listed.name));
    Some(if is_nothing_lost && v.can_save() { Plan::Act(Act::DeleteLedger) } else { rest(v, Reason::Issuing) })
}

/// Its namespace is not served any more: its deletion is carried out, when a sweep finds it, and nothing else is done for it. A drain of other
/// namespaces is none of its either.
fn out_of_scope(v: &View) -> Option<Plan> {
    v.seen.is_out_of_scope().then(|| forget(v))
}

/// It may have been written by a later version, or poisoned by a tenant. Its deletion is seen all the same, and to take the operator away from it
/// its spec need not be read.
fn unreadable(v: &View) -> Option<Plan> {
    if !matches!(v.seen.resource, Resource::Unreadable(_)) || v.is_ending() {
        return None;
    }
    if v.my_unsent_intent().is_some() && v.can_save() {
        return Some(Plan::save(Change::Withdraw));
    }
    let tell = Notice {
        is_warning: true,
        news: News::Unreadable,
        note: "This resource cannot be read by the operator, so what pods read is not refreshed; deleting it works. Look for a field that \
               this version does not know or a date beyond the year 9999, also in metadata.managedFields, or create it anew."
            .to_owned(),
        about: About::Resource,
    };
    Some(Plan::Rest(Rest { until: Until::Woken, status: None, tell: vec![tell] }))
}

/// Ends the pass, until the next thing is due.
pub(super) fn rest(v: &View, reason: Reason) -> Plan {
    rest_until(v, reason, None)
}

/// Ends the pass, until the next thing is due or this time, if that is earlier.
///
/// A pass never rests while an unsent intent of its own stands: to everybody else it would look like a crash.
pub(super) fn rest_until(v: &View, reason: Reason, until: Option<Timestamp>) -> Plan {
    if v.my_unsent_intent().is_some() && v.can_save() {
        return Plan::save(Change::Withdraw);
    }
    let (status, tell) = status::report(v, reason);
    let next = wakes(v).filter(|wake| *wake > v.now).chain(until).min();
    Plan::Rest(Rest { until: next.map_or(Until::Woken, Until::At), status, tell })
}

/// Ends the pass: nothing is left of the resource, or nothing of it is this operator's to see to.
pub(super) fn forget(v: &View) -> Plan {
    debug_assert!(v.my_unsent_intent().is_none(), "an intent stands in a record");
    Plan::Rest(Rest { until: Until::Forgotten, status: None, tell: Vec::new() })
}

/// Every time at which something may become due. What is due already and waits for something else is woken by that.
fn wakes(v: &View) -> impl Iterator<Item = Timestamp> {
    let policy = &v.seen.policy;
    let mut wakes = Vec::new();
    if let Some(line) = v.line() {
        wakes.extend([line.refresh_at, line.close_at, line.expires_at]);
    }
    if let Some(record) = v.record {
        wakes.extend(record.live.as_ref().map(|live| live.expires_at));
        wakes.extend(record.retiring.iter().map(|retiring| retiring.not_before.unwrap_or(retiring.due).max(retiring.due)));
        wakes.extend(record.retiring.iter().filter_map(|retiring| retiring.not_before));
        wakes.extend(record.intent.as_ref().map(|intent| intent.until));
        wakes.extend([&record.failed_issue, &record.failed_refresh].into_iter().flatten().map(|failed| failed.not_before));
        wakes.extend(record.targets.iter().filter_map(|target| Some(schedule::after(target.left_at?, policy.linger))));
        wakes.extend(schedule::budget_at(policy, record.next_issue, v.now));
    }
    wakes.extend(ending::deadline(v));
    wakes.extend(v.seen.quarrel.as_ref().map(|quarrel| quarrel.until));
    // Nothing wakes a pass when a quota is raised, a policy is changed, or a ledger is restored.
    let is_unusable = matches!(v.seen.ledger, Ledger::Unusable(_));
    if !v.seen.refused.is_empty() || is_unusable || matches!(v.seen.resource, Resource::NotFound { proven: false }) {
        wakes.push(schedule::after(v.now, policy.retry_max));
    }
    wakes.into_iter()
}

/// The reason that a ledger is not used.
pub(super) fn unusable_reason(why: Unusable) -> Reason {
    match why {
        Unusable::OtherIssuer => Reason::IssuerChanged,
        Unusable::Corrupt | Unusable::LaterFormat | Unusable::ForeignHome | Unusable::ForeignResource => Reason::LedgerUnusable,
    }
}

/// Whether the pass may send another call, or has to end and come back for it.
pub(super) fn may_call(v: &View, lane: Lane) -> bool {
    let spent = &v.seen.spent;
    spent.calls == 0 || (spent.calls == 1 && spent.refreshed && lane == Lane::Issue)
}

/// One look covers one call: after an answer, what was seen may be a consequence of the call.
pub(super) fn call(v: &View, act: Act) -> Plan {
    Plan::Act(if v.seen.spent.answered_since_look { Act::Look } else { act })
}

/// A revocation, or the end of the pass if it has sent its call.
pub(super) fn revoke(v: &View, revision: u64, reason: Reason) -> Plan {
    if may_call(v, Lane::Revoke) { call(v, Act::Revoke(Which::Revision(revision))) } else { rest_until(v, reason, Some(v.now)) }
}

/// Another's intent that ran out: whoever wrote it is not going to fold an answer.
pub(super) fn suspect(v: &View) -> Option<Plan> {
    v.foreign_intent().is_some_and(|intent| intent.until <= v.now).then(|| Plan::save(Change::Suspect))
}

/// When a call that this act leads to should be made at the latest. The gate serves in this order.
pub fn deadline(seen: &Observed, act: &Act, now: Timestamp) -> Timestamp {
    const FIRST_TOKEN: std::time::Duration = std::time::Duration::from_secs(5 * 60);
    const RETIRING: std::time::Duration = std::time::Duration::from_secs(60 * 60);
    let v = View::new(seen, now);
    match act.leads_to() {
        // Whoever comes back to the gate does not go to the end of the line: these times do not move.
        Some(Lane::Revoke) if v.is_ending() => {
            let deleted_at = seen.meta().and_then(|meta| meta.deletion_timestamp.as_ref()).map(|deleted| deleted.0);
            deleted_at.or_else(|| wanted_since(&v, act)).filter(|since| *since < now).unwrap_or(now)
        }
        Some(Lane::Revoke) => schedule::after(wanted_since(&v, act).unwrap_or(now), RETIRING),
        Some(Lane::Issue | Lane::Refresh) => {
            let failed = v.record.and_then(|record| record.failed_issue.as_ref());
            match v.live() {
                Some(live) if live.expires_at > now || failed.is_none() => live.expires_at,
                _ => {
                    let created = seen.meta().and_then(|meta| meta.creation_timestamp.as_ref()).map(|created| created.0);
                    schedule::after(failed.map(|failed| failed.not_before).or(created).unwrap_or(now), FIRST_TOKEN)
                }
            }
        }
        None => now,
    }
}

/// Since when the refresh token that this act revokes is wanted no more. Of one that has just been given up, when it was used last.
fn wanted_since(v: &View, act: &Act) -> Option<Timestamp> {
    let (record, Act::Revoke(Which::Revision(revision))) = (v.record?, act) else { return None };
    let retiring = record.retiring.iter().find(|retiring| retiring.revision == *revision);
    let used_at = retiring.map(|retiring| retiring.worked_at.unwrap_or(retiring.due));
    let due = retiring.map(|retiring| retiring.due).filter(|_| !v.is_ending());
    due.or(used_at).or_else(|| record.live.as_ref().filter(|live| live.revision == *revision).map(|live| live.sent_at))
}

/// When there may be something else to do than the call that a pass waits for.
pub fn next_wake(seen: &Observed, now: Timestamp) -> Option<Timestamp> {
    wakes(&View::new(seen, now)).filter(|wake| *wake > now).min()
}

/// What is to be said before a pass waits for a call: that the token which the status calls valid has expired, or is taken away.
pub fn overdue(seen: &Observed, now: Timestamp) -> Option<Rest> {
    let v = View::new(seen, now);
    let status = match &seen.resource {
        Resource::Wanted(resource) => resource.status.as_ref()?,
        Resource::Leaving(leaving) => &leaving.status,
        Resource::Unreadable(_) | Resource::NotFound { .. } | Resource::Replaced | Resource::Released => return None,
    };
    let says_ready = status.conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
    let is_over = v.is_ending() || v.live().is_some_and(|live| live.expires_at <= now);
    if !says_ready || !is_over {
        return None;
    }
    // A retry is about to be made: what the last one met with is still what is wrong.
    let failed = || v.record.and_then(|record| record.failed_refresh.as_ref().map(|failed| status::failure_reason(failed.class, false)));
    let reason = match if v.is_ending() { Reason::Revoking } else { wanted::reason(&v) } {
        Reason::Issuing => failed().unwrap_or(Reason::Issuing),
        other => other,
    };
    match rest(&v, reason) {
        Plan::Rest(rest) => Some(rest),
        Plan::Act(_) => None,
    }
}

/// Whether a look has to read the credentials' content: only when a new line may be wanted.
pub fn reads_credentials(seen: &Observed, indexed: Option<&super::words::Version>) -> bool {
    let Some(record) = seen.record() else { return true };
    let Some(live) = &record.live else { return true };
    let Resource::Wanted(resource) = &seen.resource else { return false };
    live.source_version.as_ref() != indexed
        || wanted::rotation_request(resource).is_some_and(|request| record.handled_request.as_ref() != Some(request))
        || record.failed_refresh.is_some()
        // A new line may be wanted for it alone.
        || live.rejected
        || record.intent.is_some()
        || !seen.hand.is_empty()
        || matches!(seen.source, Source::Found { .. })
}
