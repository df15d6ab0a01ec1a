//! From one record to the next. What is saved is computed here and nowhere else: by the operator before a write, and by the model.

use jiff::Timestamp;

use super::{
    act::{Change, retry_after},
    hand::{Called, Hand},
    observed::{Claim, Observed, Resource, Source},
    policy::Policy,
    record::{Failed, IntentCall, LineId, Live, Record, Retiring, TargetId},
    schedule,
    words::{Digest, FailureClass, Name, Stamp, Version},
};
use crate::revoiceit::{Failure, Issued, RefreshToken, Refreshed};

/// The record after this change, from what the pass has seen. Pure: planned, written and read back, it is the same.
pub fn revised(seen: &Observed, change: &Change) -> Record {
    let mut record = seen.record().cloned().unwrap_or_else(|| Record::new(&seen.place, (*seen.id).clone(), std::time::Duration::ZERO));
    record.apply(change, seen);
    record.claimed |= seen.claim() == Claim::Ours;
    let deadline = match &seen.resource {
        Resource::Wanted(resource) => Some(resource.spec.revocation.deadline()),
        Resource::Leaving(leaving) => leaving.deadline,
        Resource::Unreadable(_) | Resource::NotFound { .. } | Resource::Replaced | Resource::Released => None,
    };
    if let Some(deadline) = deadline {
        record.deadline_seconds = deadline.as_secs();
    }
    if let (Some(live), Source::Found { pair, version }) = (&mut record.live, &seen.source)
        && live.source == Digest::of_pair(pair)
    {
        live.source_version = Some(version.clone());
    }
    record
}

impl Record {
    fn apply(&mut self, change: &Change, seen: &Observed) {
        let (me, policy) = (&seen.me, &seen.policy);
        match change {
            Change::Intend { intent, target, next_issue } => {
                self.list(target);
                self.intent = Some(intent.clone());
                self.next_issue = *next_issue;
            }
            Change::Withdraw => {
                self.drop_intent(me, policy, true);
            }
            Change::Clear => {
                self.drop_intent(me, policy, false);
            }
            Change::Suspect => {
                if self.intent.take().is_some() {
                    self.suspects.lost = self.suspects.lost.saturating_add(1);
                }
            }
            Change::Fold { now, close } => {
                self.fold(seen, *now);
                self.closed |= *close && self.is_empty();
            }
            Change::Shorten { due } => {
                for retiring in &mut self.retiring {
                    retiring.due = retiring.due.min(*due);
                }
            }
            Change::Retire { now } => {
                let worked_at = self.live_worked_at();
                if let Some(live) = self.live.take() {
                    self.retire_line(live, *now, worked_at);
                }
            }
            Change::GiveUp { revision } => {
                for given_up in self.retiring.extract_if(.., |retiring| retiring.revision == *revision) {
                    // Another may have taken its place, and nobody will ever say so.
                    self.suspects.lost = self.suspects.lost.saturating_add(1 + u32::from(given_up.unanswered));
                }
            }
            Change::List(name) => self.list(name),
            Change::Unlist { name, at } => {
                for target in self.targets.iter_mut().filter(|target| target.name == *name) {
                    target.left_at = Some(*at);
                }
            }
            Change::Forget(name) => self.targets.retain(|target| target.name != *name),
            Change::Close => self.closed = true,
            Change::Lost { targets, closed } => {
                self.suspects.lost = self.suspects.lost.saturating_add(1);
                self.suspects.ledger_lost = true;
                self.closed = *closed;
                for name in targets {
                    self.list(name);
                }
            }
        }
    }

    /// A name that is written again has not been left.
    fn list(&mut self, name: &Name) {
        match self.targets.iter_mut().find(|target| target.name == *name) {
            Some(target) => target.left_at = None,
            None => self.targets.push(TargetId { name: name.clone(), left_at: None }),
        }
    }

    /// Takes the pass's own intent out. Whether it stood is what decides how an answer is folded.
    fn drop_intent(&mut self, me: &Stamp, policy: &Policy, gives_back: bool) -> bool {
        let Some(intent) = self.intent.take_if(|intent| intent.stamp == *me) else { return false };
        if gives_back && intent.call == IntentCall::Issue {
            self.next_issue = schedule::give_back(policy, self.next_issue);
        }
        true
    }

    fn fold(&mut self, seen: &Observed, now: Timestamp) {
        let (me, policy) = (&seen.me, &seen.policy);
        match &seen.hand {
            Hand::Nothing => {}
            Hand::Granted { issued, sent_at, source, source_version, request } => {
                let may_be_live = self.drop_intent(me, policy, false) && !self.closed && !seen.spent.hand_doomed;
                if may_be_live {
                    self.begin_line(policy, issued, *sent_at, source, source_version);
                    self.handled_request.clone_from(request);
                    self.failed_issue = None;
                    self.failed_refresh = None;
                } else {
                    // Another has taken the intent for lost, or the resource goes, or it may be revoked already: nobody waits for this token.
                    let revision = self.take_revision();
                    self.retire(revision, issued.refresh.clone(), now, worked_at(seen, *sent_at));
                }
            }
            Hand::Refreshed { of, refreshed, sent_at } => {
                self.drop_intent(me, policy, false);
                self.fold_refreshed(of, refreshed, *sent_at, seen, now);
            }
            Hand::Failed { call, failure, sent_at } => self.fold_failed(call, failure, *sent_at, me, policy, now),
            Hand::Ended { token, unknown, disputed } => {
                let was_there = self.holds(token);
                let was_in_doubt = self.retiring.iter().any(|retiring| retiring.refresh == *token && retiring.unanswered)
                    || self.live.as_ref().is_some_and(|live| live.refresh == *token && live.is_in_doubt());
                self.retiring.retain(|retiring| retiring.refresh != *token);
                self.live.take_if(|live| live.refresh == *token);
                if *unknown && was_in_doubt {
                    self.suspects.lost = self.suspects.lost.saturating_add(1);
                } else if *disputed && was_there {
                    self.suspects.disputed = self.suspects.disputed.saturating_add(1);
                }
            }
            Hand::NotEnded { token, tries, retry_after, refused, .. } => {
                // Whatever that request did, the line is not to be delivered from again.
                if let Some(live) = self.live.take_if(|live| live.refresh == *token) {
                    let worked_at = Some(live.sent_at);
                    self.retire_line(live, now, worked_at);
                }
                let somebody_waits = !self.closed;
                for retiring in self.retiring.iter_mut().filter(|retiring| retiring.refresh == *token) {
                    (retiring.tries, retiring.refused) = (*tries, *refused);
                    // What was tried once was wanted from then on: the pause grows from here.
                    retiring.due = retiring.due.min(now);
                    retiring.not_before = Some(schedule::revoke_again_at(policy, now, retiring.due, somebody_waits, *retry_after));
                }
            }
        }
    }

    /// The successor takes the place of the line in use, which is kept until nobody can be using its last access token.
    fn begin_line(&mut self, policy: &Policy, issued: &Issued, sent_at: Timestamp, source: &Digest, source_version: &Version) {
        let worked_at = self.live_worked_at();
        // A Revoiceit that gives out the refresh token that it gave before has begun no other line, and this one must not be revoked.
        self.retiring.retain(|retiring| retiring.refresh != issued.refresh);
        if let Some(old) = self.live.take_if(|live| live.refresh != issued.refresh) {
            let due = old.expires_at;
            self.retire_line(old, due, worked_at);
        }
        let unanswered = self.live.as_ref().is_some_and(Live::is_in_doubt);
        self.live = Some(Live {
            revision: self.take_revision(),
            refresh: issued.refresh.clone(),
            access: issued.access.clone(),
            sent_at,
            expires_at: schedule::after(sent_at, schedule::lifetime(policy, issued.lifetime)),
            source: source.clone(),
            source_version: Some(source_version.clone()),
            rejected: false,
            unanswered,
        });
    }

    fn fold_refreshed(&mut self, of: &LineId, refreshed: &Refreshed, sent_at: Timestamp, seen: &Observed, now: Timestamp) {
        self.rotates |= refreshed.rotated.is_some();
        // An access token of any other revision was saved after the one that was refreshed, so it is the newer one. One of another line with
        // this revision came back with a backup, and has a refresh of its own.
        let may_be_revoked = seen.spent.hand_doomed && refreshed.rotated.is_some();
        let Some(mut live) = self.live.take_if(|live| live.is(of) && !may_be_revoked) else {
            if let Some(token) = &refreshed.rotated {
                let revision = self.take_revision();
                self.retire(revision, token.clone(), now, worked_at(seen, sent_at));
            }
            return;
        };
        if let Some(token) = &refreshed.rotated {
            if live.is_in_doubt() {
                self.suspects.lost = self.suspects.lost.saturating_add(1);
            }
            let replaced = std::mem::replace(&mut live.refresh, token.clone());
            self.retire(live.revision, replaced, live.expires_at, None);
        }
        (live.rejected, live.unanswered) = (false, false);
        live.revision = self.take_revision();
        live.access = refreshed.access.clone();
        live.sent_at = sent_at;
        live.expires_at = schedule::after(sent_at, schedule::lifetime(&seen.policy, refreshed.lifetime));
        // A pair that failed to begin another line fails it still; a line that was to be replaced because it failed need not be any more.
        self.failed_issue.take_if(|failed| failed.source == live.source);
        self.failed_refresh = None;
        self.live = Some(live);
    }

    fn fold_failed(&mut self, call: &Called, failure: &Failure, sent_at: Timestamp, me: &Stamp, policy: &Policy, now: Timestamp) {
        let class = FailureClass::from(failure);
        let brought_nothing = match class {
            FailureClass::NotSent | FailureClass::Unavailable | FailureClass::Rejected => true,
            FailureClass::Lost | FailureClass::Malformed => false,
        };
        let stood = self.drop_intent(me, policy, brought_nothing);
        let readable = match failure {
            Failure::Malformed { refresh } => refresh.as_ref(),
            Failure::NotSent | Failure::Lost | Failure::Unavailable { .. } | Failure::Rejected => None,
        };
        if let Some(token) = readable.filter(|token| !self.holds(token)) {
            self.rotates |= matches!(call, Called::Refresh(_));
            let revision = self.take_revision();
            self.retire(revision, token.clone(), now, None);
        }
        let is_line_lost = self.doubts(call, failure);
        // An intent that another took for lost was counted by it.
        if is_line_lost || (stood && failure.may_hide_a_token()) {
            self.suspects.lost = self.suspects.lost.saturating_add(1);
        }
        let earlier = match call {
            Called::Issue(_) => self.failed_issue.as_ref(),
            Called::Refresh(_) => self.failed_refresh.as_ref(),
        };
        let (since, count) = earlier.map_or((sent_at, 0), |failed| (failed.since, failed.count));
        let is_issue = matches!(call, Called::Issue(_));
        let not_before = schedule::retry_at(policy, now, self, since, (class == FailureClass::Rejected) && is_issue, retry_after(failure));
        let failed = |source| Some(Failed { class, since, at: sent_at, count: count.saturating_add(1), not_before, source });
        match call {
            Called::Issue(source) => self.failed_issue = failed(source.clone()),
            Called::Refresh(of) => {
                if let Some(live) = self.live.as_ref().filter(|live| live.is(of)) {
                    self.failed_refresh = failed(live.source.clone());
                }
            }
        }
    }

    /// Notes what a refresh that failed says about its line. True: that one of them has brought a token which nobody has, and this was not known.
    fn doubts(&mut self, call: &Called, failure: &Failure) -> bool {
        let Called::Refresh(of) = call else { return false };
        let Some(live) = self.live.as_mut().filter(|live| live.is(of)) else { return false };
        let is_dead_by_a_rotation = |live: &Live| live.rejected && live.unanswered;
        let was_known = is_dead_by_a_rotation(live);
        live.rejected |= *failure == Failure::Rejected;
        live.unanswered |= failure.may_hide_a_token() && !self.rotates;
        is_dead_by_a_rotation(live) && !was_known
    }

    /// No refresh will say any more whether another token has taken its place. Its revocation will.
    fn retire_line(&mut self, line: Live, due: Timestamp, worked_at: Option<Timestamp>) {
        let unanswered = line.is_in_doubt();
        let Live { revision, refresh, .. } = line;
        self.retiring.push(Retiring { revision, refresh, due, tries: 0, not_before: None, worked_at, unanswered, refused: false });
    }

    fn retire(&mut self, revision: u64, refresh: RefreshToken, due: Timestamp, worked_at: Option<Timestamp>) {
        if self.holds(&refresh) {
            return;
        }
        self.retiring.push(Retiring { revision, refresh, due, tries: 0, not_before: None, worked_at, unanswered: false, refused: false });
    }

    fn take_revision(&mut self) -> u64 {
        let revision = self.next_revision;
        self.next_revision = self.next_revision.saturating_add(1);
        revision
    }
}

/// When the refresh token in hand has worked, unless its revocation was tried since: that it is unknown then is no dispute.
fn worked_at(seen: &Observed, sent_at: Timestamp) -> Option<Timestamp> {
    (!seen.spent.hand_doomed).then_some(sent_at)
}
