//! What stands in the way of the two calls that bring tokens. One function for each decides whether its intent is written and whether it is kept.

use jiff::Timestamp;

use super::{
    act::Lane,
    observed::{Consent, Denied, Refused, Source, Target},
    plan::may_call,
    record::{Failed, Record},
    render, schedule,
    status::failure_reason,
    view::View,
    words::Digest,
};
use crate::api::Reason;

/// What stands in the way of a call, and until when, if it ends by itself.
pub(super) struct Obstacle {
    pub(super) reason: Reason,
    pub(super) until: Option<Timestamp>,
}

/// What stands in the way of issuing.
pub(super) fn issue_obstacle(v: &View) -> Option<Obstacle> {
    let stop = |reason| Some(Obstacle { reason, until: None });
    if v.spec()?.suspend {
        return stop(Reason::Suspended);
    }
    match &v.seen.source {
        Source::Missing => return stop(Reason::CredentialsMissing),
        Source::Incomplete { .. } => return stop(Reason::CredentialsIncomplete),
        Source::Unread { .. } | Source::Found { .. } => {}
    }
    if let Some(reason) = target_trouble(v) {
        return stop(reason);
    }
    if v.is_refused(Refused::Resource) {
        return stop(Reason::PermissionDenied);
    }
    if render::dry(v.wanted()?, &v.seen.id).size() > render::MAX_RENDERED {
        return stop(Reason::TargetTooLarge);
    }
    // Last: what stands in the way for longer is the better reason, and the pass need not come back at once for it.
    let failed = || Some(failure_reason(failed_issue(v, v.record?)?.class, true));
    let has_sent_its_call =
        || (!may_call(v, Lane::Issue)).then(|| Obstacle { reason: failed().unwrap_or(Reason::Issuing), until: Some(v.now) });
    v.record.and_then(|record| obstacle_in_record(v, record)).or_else(has_sent_its_call)
}

/// The issues that failed since the last success, with the pair that would be sent now. What they met with is what is wrong, also when the pause
/// after them is over and the next one is about to be sent.
fn failed_issue<'a>(v: &View, record: &'a Record) -> Option<&'a Failed> {
    let is_another_pair = |failed: &Failed| matches!(&v.seen.source, Source::Found { pair, .. } if Digest::of_pair(pair) != failed.source);
    record.failed_issue.as_ref().filter(|failed| !is_another_pair(failed))
}

fn obstacle_in_record(v: &View, record: &Record) -> Option<Obstacle> {
    let policy = &v.seen.policy;
    let stop = |reason| Some(Obstacle { reason, until: None });
    let wait = |reason, until| Some(Obstacle { reason, until: Some(until) });
    if let Some(intent) = v.foreign_intent() {
        return wait(Reason::WaitingForAnswer, intent.until);
    }
    if record.retiring.len() >= policy.retiring_cap {
        return stop(Reason::RevocationBacklog);
    }
    if let Some(failed) = failed_issue(v, record).filter(|failed| schedule::is_paused(policy, failed, v.now)) {
        return wait(failure_reason(failed.class, true), failed.not_before);
    }
    let budget_at = schedule::budget_at(policy, record.next_issue, v.now).filter(|_| v.my_unsent_intent().is_none());
    budget_at.and_then(|budget_at| wait(Reason::BudgetExhausted, budget_at))
}

/// Why nothing could be delivered.
pub(super) fn target_trouble(v: &View) -> Option<Reason> {
    if matches!(v.target(), Some(Target::Foreign { consent, .. }) if *consent != Consent::Given) {
        return Some(Reason::TargetConflict);
    }
    if v.target().is_some_and(Target::is_held) {
        return Some(Reason::TargetHeld);
    }
    Some(match v.seen.refused.get(&Refused::Target)? {
        Denied::Terminating => Reason::NamespaceTerminating,
        Denied::Quota => Reason::QuotaExceeded,
        Denied::Admission => Reason::AdmissionDenied,
        Denied::Invalid => Reason::TargetInvalid,
        Denied::TooLarge => Reason::TargetTooLarge,
        Denied::Forbidden => Reason::PermissionDenied,
    })
}

/// What stands in the way of refreshing.
pub(super) fn refresh_obstacle(v: &View) -> Option<Obstacle> {
    let stop = |reason| Some(Obstacle { reason, until: None });
    let wait = |reason, until| Some(Obstacle { reason, until: Some(until) });
    let record = v.record?;
    if v.spec()?.suspend {
        return stop(Reason::Suspended);
    }
    if matches!(v.target(), Some(Target::Foreign { consent, .. }) if *consent != Consent::Given) {
        return stop(Reason::TargetConflict);
    }
    if let Some(intent) = v.foreign_intent() {
        return wait(Reason::WaitingForAnswer, intent.until);
    }
    if record.rotates && record.retiring.len() >= v.seen.policy.retiring_cap {
        return stop(Reason::RevocationBacklog);
    }
    if let Some(failed) = record.failed_refresh.as_ref().filter(|failed| schedule::is_paused(&v.seen.policy, failed, v.now)) {
        return wait(failure_reason(failed.class, false), failed.not_before);
    }
    if !may_call(v, Lane::Refresh) {
        let failed = record.failed_refresh.as_ref();
        return wait(failed.map_or(Reason::TokenReady, |failed| failure_reason(failed.class, false)), v.now);
    }
    None
}
