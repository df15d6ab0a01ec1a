//! What came of an act, folded into what is seen.

use jiff::Timestamp;

use super::{
    act::{Answer, Came, Look, Sight, Which, retry_after},
    hand::{Called, Hand},
    observed::{Claim, Observed, Resource, Sighted, Source},
    schedule,
    wanted::rotation_request,
    words::Digest,
};
use crate::revoiceit::{Failure, RefreshToken, Revoked};

/// What is seen after an act. Pure.
pub fn fold(seen: Observed, came: Came) -> Observed {
    let mut seen = seen;
    seen.spent.acts += 1;
    match came {
        Came::Saw(sight) => see(&mut seen, sight),
        Came::Tried(name) => seen.spent.tried = Some(name),
        Came::Told => seen.spent.told = true,
        Came::Changed => seen.sighted = Sighted::No,
        Came::Denied(what, denied) => seen.refused.extend([(what, denied)]),
        Came::Paused => {
            seen.sighted = Sighted::No;
            seen.refused.clear();
            (seen.spent.acts, seen.spent.hand_kept) = (0, false);
        }
        Came::Answered { sent_at, answer } => take(&mut seen, sent_at, answer),
    }
    if seen.record().is_some_and(|record| seen.hand.is_settled_in(record, &seen.me)) {
        seen.hand = Hand::Nothing;
    }
    if seen.hand.is_empty() {
        // What comes into it next has nothing to do with what was.
        (seen.spent.hand_kept, seen.spent.hand_doomed) = (false, false);
    }
    seen
}

fn see(seen: &mut Observed, sight: Sight) {
    let had_intent = seen.my_intent().is_some();
    match sight {
        Sight::Look(look) => {
            let Look { began_at, resource, ledger, source, targets, quarrel } = *look;
            // The ledger was read after this finalizer was seen: if it is absent now, it was not there when it had to be.
            seen.finalizer_seen |= seen.claim() == Claim::Ours;
            seen.sighted = began_at.map_or(Sighted::Glance, Sighted::Look);
            (seen.resource, seen.ledger, seen.source, seen.targets, seen.quarrel) = (resource, ledger, source, targets, quarrel);
            seen.spent.answered_since_look = false;
        }
        Sight::Ledger(ledger) => seen.ledger = ledger,
        Sight::Resource(resource) => seen.resource = resource,
        Sight::Target(name, target) => {
            seen.targets.insert(name, target);
        }
    }
    if !had_intent && seen.my_intent().is_some() {
        seen.spent.intent_sent = false;
    }
}

fn take(seen: &mut Observed, sent_at: Timestamp, answer: Answer) {
    seen.spent.calls += 1;
    seen.spent.answered_since_look = true;
    match answer {
        Answer::Issue(outcome) => {
            seen.spent.intent_sent = true;
            // Nothing is issued without a pair that was read: without one there is nothing to fold.
            let Source::Found { pair, version } = &seen.source else { return };
            let source = Digest::of_pair(pair);
            seen.hand = match outcome {
                Ok(issued) => Hand::Granted { issued, sent_at, source, source_version: version.clone(), request: request(seen) },
                Err(failure) => Hand::Failed { call: Called::Issue(source), failure, sent_at },
            };
        }
        Answer::Refresh(of, outcome) => {
            seen.spent.refreshed = true;
            seen.spent.intent_sent |= seen.my_intent().is_some();
            seen.hand = match outcome {
                Ok(refreshed) => Hand::Refreshed { of, refreshed, sent_at },
                Err(failure) => Hand::Failed { call: Called::Refresh(of), failure, sent_at },
            };
        }
        Answer::Revoke(Which::Revision(revision), Ok(revoked)) => {
            let Some(token) = token(seen, revision) else { return };
            let unknown = revoked == Revoked::Unknown;
            seen.hand = Hand::Ended { token, unknown, disputed: unknown && worked_lately(seen, revision, sent_at) };
        }
        Answer::Revoke(Which::Revision(revision), Err(failure)) => {
            let Some(token) = token(seen, revision) else { return };
            let tries = tries(seen, revision).saturating_add(1);
            seen.hand = Hand::NotEnded { token, tries, retry_after: retry_after(&failure), refused: failure == Failure::Rejected, sent_at };
        }
        Answer::Revoke(Which::InHand, Ok(_)) => seen.hand = Hand::Nothing,
        Answer::Revoke(Which::InHand, Err(_)) => (seen.spent.hand_kept, seen.spent.hand_doomed) = (true, true),
    }
}

fn request(seen: &Observed) -> Option<String> {
    match &seen.resource {
        Resource::Wanted(resource) => rotation_request(resource).cloned(),
        _ => None,
    }
}

/// Which was revoked. Nothing was looked at since it was sent, so that the record still has it.
fn token(seen: &Observed, revision: u64) -> Option<RefreshToken> {
    let record = seen.record()?;
    let live = record.live.iter().map(|live| (live.revision, &live.refresh));
    let mut all = live.chain(record.retiring.iter().map(|retiring| (retiring.revision, &retiring.refresh)));
    all.find_map(|(of, token)| (of == revision).then(|| token.clone()))
}

fn tries(seen: &Observed, revision: u64) -> u32 {
    let retiring = seen.record().and_then(|record| record.retiring.iter().find(|retiring| retiring.revision == revision));
    retiring.map_or(0, |retiring| retiring.tries)
}

/// Revoiceit knew the token within its hour, and no earlier attempt may have revoked it: that it is unknown now is worth a word.
fn worked_lately(seen: &Observed, revision: u64, sent_at: Timestamp) -> bool {
    let Some(record) = seen.record() else { return false };
    let is_live = record.live.as_ref().is_some_and(|live| live.revision == revision);
    let live = record.live_worked_at().filter(|_| is_live);
    let retiring = record.retiring.iter().find(|retiring| retiring.revision == revision && retiring.tries == 0);
    let worked_at = live.or(retiring.and_then(|retiring| retiring.worked_at));
    worked_at.is_some_and(|time| schedule::after(time, seen.policy.token_lifetime) > sent_at)
}
