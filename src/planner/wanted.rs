//! A resource that is to have a token.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{
    act::{Act, Change, Plan},
    ending::{delete_targets, has_left_a_target, tell_of_suspects},
    observed::{Claim, Consent, Ledger, Owner, Refused, Sighted, Source, Target},
    obstacle::{Obstacle, issue_obstacle, refresh_obstacle, target_trouble},
    plan::{Step, call, rest, rest_until, revoke, suspect, unusable_reason},
    record::{Intent, IntentCall},
    schedule,
    view::View,
    words::{Cause, Digest, FailureClass, Name},
};
use crate::api::{Reason, RevoiceitCredential, names};

/// In this order; the first that wants something has its way.
const STEPS: [Step; 16] = [
    leave_alone,
    count_lost_ledger,
    begin_anew_after_closing,
    suspect,
    claim,
    deliver,
    leave_old_names,
    shorten,
    look_at_credentials,
    withdraw_what_has_run_out,
    make_room,
    issue,
    refresh,
    withdraw,
    revoke_what_is_due,
    rest_when_spent,
];

pub(super) fn plan(v: &View) -> Plan {
    STEPS.iter().find_map(|step| step(v)).unwrap_or_else(|| rest(v, reason(v)))
}

/// What another operator, another cluster or another API holds is not ours to act on.
fn leave_alone(v: &View) -> Option<Plan> {
    if v.seen.claim() == Claim::Elsewhere {
        // Whether anybody else is at work is seen when the token that the status speaks of has expired.
        let speaks_until = v.wanted()?.status.as_ref().and_then(|status| status.expires_at.as_ref()).map(|expiry| expiry.0);
        Some(rest_until(v, Reason::LedgerElsewhere, speaks_until.filter(|expiry| *expiry > v.now)))
    } else if v.seen.id.namespace == v.seen.place.operator_namespace {
        Some(rest(v, Reason::OperatorNamespace))
    } else if let Ledger::Unusable(why) = v.seen.ledger {
        Some(rest(v, unusable_reason(why)))
    } else {
        None
    }
}

/// A finalizer stands for a ledger. One look is not enough to miss it: the finalizer may have come between its two reads.
fn count_lost_ledger(v: &View) -> Option<Plan> {
    if !v.is_claimed() || v.record.is_some() {
        return None;
    }
    Some(if v.seen.finalizer_seen { Plan::save(lost(v, false)) } else { Plan::Act(Act::Look) })
}

/// The targets of a lost ledger are known by their annotation, but for one that another pass was about to write: it is listed as being wanted.
pub(super) fn lost(v: &View, closed: bool) -> Change {
    let ours = v.seen.targets.iter().filter(|(_, target)| matches!(target, Target::Ours { .. }));
    let targets: BTreeSet<Name> = ours.map(|(name, _)| name.clone()).chain(v.target_name()).collect();
    Change::Lost { targets: targets.into_iter().collect(), closed }
}

/// Only a drain that was broken off leaves a closed record to a resource that is wanted: it is carried out, and then begun anew.
fn begin_anew_after_closing(v: &View) -> Option<Plan> {
    let record = v.record.filter(|record| record.closed)?;
    if let Some(plan) = suspect(v) {
        return Some(plan);
    }
    let due = v.revocable().next().map(|retiring| retiring.revision);
    if let Some(revision) = due.or(record.live.as_ref().map(|live| live.revision)) {
        return Some(revoke(v, revision, Reason::RevocationBacklog));
    }
    if !record.is_empty() {
        return Some(rest(v, if record.intent.is_some() { Reason::WaitingForAnswer } else { Reason::RevocationBacklog }));
    }
    // Without the finalizer the resource may be deleted at any time, and leave its target to nobody: then no record would know of it.
    if let Some(plan) = delete_targets(v) {
        return Some(plan);
    }
    if has_left_a_target(v) {
        return Some(rest(v, Reason::PermissionDenied));
    }
    if v.is_claimed() {
        return Some(if v.is_refused(Refused::Resource) { rest(v, Reason::PermissionDenied) } else { Plan::Act(Act::Release) });
    }
    Some(tell_of_suspects(v).unwrap_or(Plan::Act(Act::DeleteLedger)))
}

/// Somebody removed the finalizer while there are tokens.
fn claim(v: &View) -> Option<Plan> {
    let has_token = v.record.is_some_and(|record| !record.has_no_token());
    (has_token && !v.is_claimed() && !v.is_refused(Refused::Resource)).then_some(Plan::Act(Act::Claim))
}

/// The target gets what the record holds: after a refresh, and after somebody changed or deleted it.
fn deliver(v: &View) -> Option<Plan> {
    if !v.has_valid_token() || v.is_delivered() || v.is_refused(Refused::Target) {
        return None;
    }
    let name = v.target_name()?;
    let Some(target) = v.target() else { return Some(Plan::Act(Act::Look)) };
    if target.is_held() || matches!(target, Target::Foreign { consent, .. } if *consent != Consent::Given) {
        return None;
    }
    if v.quarrel().is_some() {
        return None;
    }
    // A name is in the record before anything is written under it, so that no Secret of ours is forgotten.
    if !v.record?.targets.iter().any(|target| target.name == name && target.left_at.is_none()) {
        return Some(Plan::save(Change::List(name)));
    }
    Some(Plan::Act(if matches!(target, Target::Ours { immutable: true, .. }) { Act::DeleteTarget(name) } else { Act::WriteTarget(name) }))
}

/// Names that the spec no longer has. What is under them goes once the new name is supplied, and they are kept until no late write can come. For the
/// finalizers of what is going nobody waits.
fn leave_old_names(v: &View) -> Option<Plan> {
    if v.has_valid_token() && !v.is_delivered() {
        return None;
    }
    let current = v.target_name()?;
    v.record?.targets.iter().filter(|target| target.name != current).find_map(|old| match v.seen.targets.get(&old.name) {
        None => Some(Plan::Act(Act::Look)),
        Some(target @ Target::Ours { owner: Owner::Me | Owner::None, .. }) if !target.is_going() => {
            (!v.is_refused(Refused::Target)).then(|| Plan::Act(Act::DeleteTarget(old.name.clone())))
        }
        Some(Target::Absent | Target::Foreign { .. } | Target::Ours { .. }) => match old.left_at {
            None => Some(Plan::save(Change::Unlist { name: old.name.clone(), at: v.now })),
            Some(at) => {
                let over_at = schedule::after(at, v.seen.policy.linger);
                let was_read_then = matches!(v.seen.sighted, Sighted::Look(began_at) if began_at >= over_at);
                (over_at <= v.now).then(|| if was_read_then { Plan::save(Change::Forget(old.name.clone())) } else { Plan::Act(Act::Look) })
            }
        },
    })
}

/// The successor was delivered: who read the old token has the grace to read the new one.
fn shorten(v: &View) -> Option<Plan> {
    if !v.is_ready() {
        return None;
    }
    let due = schedule::after(v.now, v.spec()?.revocation.grace().max(v.seen.policy.min_grace));
    v.record?.retiring.iter().any(|retiring| retiring.due > due).then(|| Plan::save(Change::Shorten { due }))
}

/// The credentials Secret has another version than the one that the line's pair was seen in: only its content tells whether the pair changed.
fn look_at_credentials(v: &View) -> Option<Plan> {
    let Source::Unread { version } = &v.seen.source else { return None };
    let is_known = v.live().is_some_and(|live| live.source_version.as_ref() == Some(version));
    (!is_known && !v.spec()?.suspend && !issues_whatever_the_pair_is(v)).then_some(Plan::Act(Act::Look))
}

/// It came too late to be sent. What is still wanted is written down anew.
fn withdraw_what_has_run_out(v: &View) -> Option<Plan> {
    v.my_unsent_intent().filter(|intent| intent.until <= v.now)?;
    withdraw(v)
}

/// A glance is enough to queue for a permit: the look that follows it reads the pair.
fn issues_whatever_the_pair_is(v: &View) -> bool {
    v.seen.sighted == Sighted::Glance && issue_cause(v).is_some() && issue_obstacle(v).is_none()
}

/// What Revoiceit refuses to revoke may have ended long ago, and a resource does not go without a token for it. The one that was due first goes,
/// and is counted: it may live on.
fn make_room(v: &View) -> Option<Plan> {
    let has_stayed = |due| schedule::after(due, v.seen.policy.refused_stay) <= v.now;
    let refused = v.record?.retiring.iter().filter(|retiring| retiring.refused && has_stayed(retiring.due));
    let oldest = refused.min_by_key(|retiring| retiring.due)?;
    let is_backlog = |obstacle: Option<Obstacle>| obstacle.is_some_and(|obstacle| obstacle.reason == Reason::RevocationBacklog);
    let is_in_the_way =
        (issue_cause(v).is_some() && is_backlog(issue_obstacle(v))) || (is_refresh_due(v) && is_backlog(refresh_obstacle(v)));
    is_in_the_way.then(|| Plan::save(Change::GiveUp { revision: oldest.revision }))
}

fn issue(v: &View) -> Option<Plan> {
    let cause = issue_cause(v)?;
    if issue_obstacle(v).is_some() || v.my_unsent_intent().is_some_and(|intent| intent.call != IntentCall::Issue) {
        return None;
    }
    // Its endpoint may answer when that of issues hangs, and then the token would expire that could have been refreshed.
    let is_somebodys_wish = matches!(cause, Cause::CredentialsChanged | Cause::RotationRequested);
    if is_somebodys_wish && v.my_unsent_intent().is_none() && is_refresh_due(v) && refresh_obstacle(v).is_none() {
        return None;
    }
    let name = v.target_name()?;
    let pair = match &v.seen.source {
        Source::Found { pair, .. } => pair,
        _ if issues_whatever_the_pair_is(v) => return Some(Plan::Act(Act::TryTarget(name))),
        _ => return Some(Plan::Act(Act::Look)),
    };
    if v.seen.spent.answered_since_look {
        return Some(Plan::Act(Act::Look));
    }
    if v.seen.spent.tried.as_ref() != Some(&name) {
        return Some(Plan::Act(Act::TryTarget(name)));
    }
    let Some(intent) = v.my_unsent_intent() else {
        let next_issue = schedule::charge(&v.seen.policy, v.record.map_or(Timestamp::UNIX_EPOCH, |record| record.next_issue), v.now);
        let intent = intend(v, IntentCall::Issue, cause, Digest::of_pair(pair));
        return Some(Plan::save(Change::Intend { intent, target: name, next_issue }));
    };
    if !v.is_claimed() {
        return Some(Plan::Act(Act::Claim));
    }
    Some(call(v, Act::Issue { until: intent.until }))
}

/// Why a new line is wanted now, if one is.
pub(super) fn issue_cause(v: &View) -> Option<Cause> {
    let resource = v.wanted()?;
    let Some(live) = v.live() else { return Some(Cause::First) };
    let record = v.record?;
    if rotation_request(resource).is_some_and(|request| record.handled_request.as_ref() != Some(request)) {
        return Some(Cause::RotationRequested);
    }
    if matches!(&v.seen.source, Source::Found { pair, .. } if Digest::of_pair(pair) != live.source) {
        return Some(Cause::CredentialsChanged);
    }
    v.line().filter(|line| line.close_at <= v.now)?;
    if live.rejected {
        return Some(Cause::RefreshRejected);
    }
    match record.failed_refresh.as_ref()?.class {
        FailureClass::Unavailable | FailureClass::Malformed if v.seen.spent.refreshed => Some(Cause::RefreshFailing),
        FailureClass::Rejected | FailureClass::Unavailable | FailureClass::Malformed | FailureClass::NotSent | FailureClass::Lost => None,
    }
}

/// The value of the rotation annotation.
pub(super) fn rotation_request(resource: &RevoiceitCredential) -> Option<&String> {
    resource.metadata.annotations.as_ref()?.get(names::ROTATE_ANNOTATION)
}

fn refresh(v: &View) -> Option<Plan> {
    let (record, live) = (v.record?, v.live()?);
    if !is_refresh_due(v) || refresh_obstacle(v).is_some() {
        return None;
    }
    let act = |until| Act::Refresh { revision: live.revision, until };
    if !record.rotates {
        return Some(call(v, act(None)));
    }
    // The answer may carry a refresh token that takes the old one's place: as much to lose as in an issue.
    let is_mine = |intent: &Intent| intent.call == IntentCall::Refresh { revision: live.revision };
    match v.my_unsent_intent() {
        Some(intent) if is_mine(intent) => Some(call(v, act(Some(intent.until)))),
        Some(_) => None,
        None if v.seen.spent.answered_since_look => Some(Plan::Act(Act::Look)),
        None => Some(Plan::save(Change::Intend {
            intent: intend(v, IntentCall::Refresh { revision: live.revision }, Cause::Refresh, live.source.clone()),
            target: v.target_name()?,
            next_issue: record.next_issue,
        })),
    }
}

fn is_refresh_due(v: &View) -> bool {
    let is_due = v.line().is_some_and(|line| line.refresh_at <= v.now);
    is_due || v.live().is_some_and(|live| schedule::clock_went_back(live, v.now))
}

fn intend(v: &View, call: IntentCall, cause: Cause, source: Digest) -> Intent {
    Intent { call, cause, source, stamp: v.seen.me.clone(), until: schedule::after(v.now, v.seen.policy.intent) }
}

/// An intent that none of the steps before had a use for.
fn withdraw(v: &View) -> Option<Plan> {
    (v.my_unsent_intent().is_some() && v.can_save()).then(|| Plan::save(Change::Withdraw))
}

fn revoke_what_is_due(v: &View) -> Option<Plan> {
    let due = v.revocable().find(|retiring| retiring.due <= v.now)?;
    Some(revoke(v, due.revision, reason(v)))
}

/// The pass has sent its call and would send another: it comes back for it at once.
fn rest_when_spent(v: &View) -> Option<Plan> {
    let is_at_once = |obstacle: Option<Obstacle>| obstacle.is_some_and(|obstacle| obstacle.until == Some(v.now));
    let issues = issue_cause(v).is_some() && is_at_once(issue_obstacle(v));
    let refreshes = is_refresh_due(v) && is_at_once(refresh_obstacle(v));
    (issues || refreshes).then(|| rest_until(v, reason(v), Some(v.now)))
}

/// What the status gives as the reason: what keeps the target from being as specified, or else what will keep it from staying so.
pub(super) fn reason(v: &View) -> Reason {
    if let Some(reason) = target_trouble(v) {
        return reason;
    }
    if issue_cause(v).is_some()
        && let Some(obstacle) = issue_obstacle(v)
    {
        return obstacle.reason;
    }
    if v.spec().is_some_and(|spec| spec.suspend) {
        return Reason::Suspended;
    }
    if is_refresh_due(v)
        && let Some(obstacle) = refresh_obstacle(v)
    {
        return obstacle.reason;
    }
    match &v.seen.source {
        Source::Missing => Reason::CredentialsMissing,
        Source::Incomplete { .. } => Reason::CredentialsIncomplete,
        Source::Unread { .. } | Source::Found { .. } if v.is_ready() => Reason::TokenReady,
        Source::Unread { .. } | Source::Found { .. } => Reason::Issuing,
    }
}
