//! What holds whatever was seen, whatever comes of an act, and at any time.

use proptest::prelude::*;

use super::{
    arbitrary::{a_hand, a_look, a_moment, a_token_in_hand, a_version},
    fixtures::{ledger, name},
};
use crate::{
    planner::{
        Act, Came, Change, Claim, Denied, Hand, Ledger, Observed, Owner, Plan, Refused, Resource, Sight, Target, Until, Which, deadline,
        fold, plan, reads_credentials, revised,
    },
    revoiceit::RefreshToken,
};

fn can_save(seen: &Observed) -> bool {
    matches!(seen.ledger, Ledger::Here { .. }) && !seen.refused.contains_key(&Refused::Ledger)
}

fn in_hand(seen: &Observed) -> Option<RefreshToken> {
    seen.hand.refresh_token().cloned()
}

proptest! {
    #[test]
    fn nothing_seen_makes_it_panic((seen, now) in a_moment(), indexed in a_version()) {
        if let Plan::Act(act) = plan(&seen, now) {
            let _ = deadline(&seen, &act, now);
            if let Act::SaveLedger(change) = act {
                let _ = revised(&seen, &change);
            }
        }
        let _ = reads_credentials(&seen, indexed.as_ref());
        let _ = seen.without_sights();
    }

    #[test]
    fn a_pass_never_rests_on_an_intent_that_it_has_not_sent((seen, now) in a_moment()) {
        let stands = seen.my_intent().is_some() && !seen.spent.intent_sent;
        if let Plan::Rest(rest) = plan(&seen, now) {
            prop_assert!(!(stands && can_save(&seen)), "{rest:?}");
        }
    }

    /// The answer would take the place of what is in hand.
    #[test]
    fn with_a_token_in_hand_no_call_is_made_but_its_own_revocation((seen, now) in a_moment(), hand in a_token_in_hand()) {
        let mut seen = Observed { hand, ..seen };
        // What is in hand came of a call, and what could not be revoked from hand of another.
        seen.spent.calls += 1 + u32::from(seen.spent.hand_kept);
        let Plan::Act(act) = plan(&seen, now) else { return Ok(()) };
        prop_assert!(!act.is_call() || act == Act::Revoke(Which::InHand), "{act:?}");
    }

    #[test]
    fn what_is_in_hand_is_saved_before_anything_else_is_done((seen, now) in a_moment(), hand in a_token_in_hand()) {
        let seen = Observed { hand, ..seen };
        let planned = plan(&seen, now);
        if !can_save(&seen) {
            return Ok(());
        }
        let saves = matches!(planned, Plan::Act(Act::SaveLedger(Change::Fold { .. })));
        prop_assert!(saves || planned == Plan::Act(Act::Look), "{planned:?}");
    }

    /// Conflicts, refusals, further looks, replies of any kind.
    #[test]
    fn a_token_in_hand_stays_until_a_record_has_it((seen, _) in a_moment(), hand in a_token_in_hand(), look in a_look(), denied in 0..3_usize) {
        let seen = Observed { hand, ..seen };
        let target = Sight::Target(name("any"), Target::Absent);
        let refused = [Refused::Target, Refused::Ledger, Refused::Resource][denied];
        let comes = [
            Came::Saw(Sight::Resource(look.resource.clone())),
            Came::Saw(Sight::Ledger(look.ledger.clone())),
            Came::Saw(target),
            Came::Saw(Sight::Look(Box::new(look))),
            Came::Changed,
            Came::Tried(name("any")),
            Came::Told,
            Came::Paused,
            Came::Denied(refused, Denied::Quota),
        ];
        for came in comes {
            let words = format!("{came:?}");
            let after = fold(seen.clone(), came);
            let token = in_hand(&seen).expect("it is assumed");
            let is_kept = in_hand(&after).as_ref() == Some(&token);
            prop_assert!(is_kept || after.record().is_some_and(|record| record.holds(&token)), "{words}");
        }
        prop_assert_eq!(in_hand(&seen.clone().without_sights()), in_hand(&seen));
    }

    /// One save settles it, so that no pass saves for ever.
    #[test]
    fn what_was_folded_is_in_hand_no_more_and_every_token_is_in_the_record((seen, now) in a_moment(), hand in a_hand()) {
        let seen = Observed { hand, ..seen };
        if !matches!(seen.ledger, Ledger::Here { .. }) {
            return Ok(());
        }
        let saved = revised(&seen, &Change::Fold { now, close: false });
        let token = in_hand(&seen);
        prop_assert!(token.is_none_or(|token| saved.holds(&token)));
        let before = seen.record().expect("it is here");
        for token in before.live.iter().map(|live| &live.refresh).chain(before.retiring.iter().map(|retiring| &retiring.refresh)) {
            let is_over = matches!(&seen.hand, Hand::Ended { token: ended, .. } if ended == token);
            prop_assert!(saved.holds(token) || is_over);
        }
        prop_assert!(saved.suspects.lost >= before.suspects.lost);
        let json = saved.to_json();
        prop_assert_eq!(crate::planner::Record::parse(&json, &seen.place, &seen.id), Ok(saved.clone()));
        let after = fold(seen, Came::Saw(Sight::Ledger(ledger(saved))));
        prop_assert!(after.hand.is_empty());
    }

    #[test]
    fn no_other_change_takes_a_token_out((seen, now) in a_moment()) {
        let Plan::Act(Act::SaveLedger(change)) = plan(&seen, now) else { return Ok(()) };
        let is_fold = matches!(change, Change::Fold { .. });
        let saved = revised(&seen, &change);
        if let (Some(before), false) = (seen.record(), is_fold) {
            // A drain retires the line in use, and nothing else does so without a successor.
            let stays = before.live.as_ref().map(|live| &live.refresh) == saved.live.as_ref().map(|live| &live.refresh);
            let is_drained = matches!(change, Change::Retire { .. }) && seen.policy.draining.is_some();
            prop_assert!(stays || is_drained);
            prop_assert!(before.live.iter().all(|live| saved.holds(&live.refresh)));
            prop_assert!(before.retiring.iter().all(|retiring| saved.holds(&retiring.refresh)));
            prop_assert!(before.targets.len() <= saved.targets.len() + usize::from(matches!(change, Change::Forget(_))));
        }
        prop_assert!(!(saved.closed && saved.intent.is_some() && matches!(change, Change::Intend { .. })), "a closed record takes no intent");
        prop_assert!(seen.record().is_none_or(|before| saved.closed || !before.closed), "nothing is opened again");
    }

    #[test]
    fn acts_keep_to_the_rules((seen, now) in a_moment()) {
        let Plan::Act(act) = plan(&seen, now) else { return Ok(()) };
        let record = seen.record();
        let here = |under| seen.targets.get(under);
        match &act {
            Act::WriteTarget(under) => {
                prop_assert!(record.is_some_and(|record| record.live.as_ref().is_some_and(|live| live.expires_at > now)), "expired");
                prop_assert!(record.is_some_and(|record| record.targets.iter().any(|it| it.name == *under && it.left_at.is_none())), "not listed");
                let is_free = match here(under) {
                    Some(Target::Foreign { consent, .. }) => *consent == crate::planner::Consent::Given,
                    Some(Target::Absent | Target::Ours { immutable: false, .. }) => true,
                    Some(Target::Ours { .. }) | None => false,
                };
                prop_assert!(is_free);
            }
            Act::DeleteTarget(under) => {
                let is_mine = matches!(here(under), Some(Target::Ours { owner: Owner::Me | Owner::None, .. }));
                let is_anew = matches!(here(under), Some(Target::Ours { immutable: true, .. }));
                prop_assert!(is_mine || is_anew);
            }
            Act::Issue { .. } => {
                prop_assert!(seen.my_intent().is_some() && !seen.spent.intent_sent && seen.claim() == Claim::Ours && !record.is_some_and(|it| it.closed));
                prop_assert!(matches!(seen.resource, Resource::Wanted(_)));
            }
            Act::Refresh { revision, until } => {
                let line = record.and_then(|record| record.live.as_ref());
                prop_assert_eq!(line.map(|live| live.revision), Some(*revision));
                let intent = seen.my_intent().filter(|_| record.is_some_and(|record| record.rotates));
                prop_assert_eq!(*until, intent.map(|intent| intent.until));
                prop_assert!(until.is_some() || !record.is_some_and(|record| record.rotates));
            }
            Act::Release => {
                let is_unwritable = seen.refused.contains_key(&Refused::Ledger) || matches!(seen.ledger, Ledger::Unusable(_));
                let is_copy = seen.claim() == Claim::Copied;
                prop_assert!(record.is_some_and(|record| record.closed) || is_unwritable || is_copy);
            }
            Act::DeleteLedger => {
                let record = record.expect("there is one");
                prop_assert!(record.is_empty() && (record.closed || !record.claimed) && seen.claim() != Claim::Ours);
            }
            Act::Revoke(Which::Revision(revision)) => {
                let is_live = record.is_some_and(|record| record.live.as_ref().is_some_and(|live| live.revision == *revision));
                let is_over = record.is_some_and(|record| record.closed) || !matches!(seen.resource, Resource::Wanted(_)) || seen.policy.draining.is_some();
                prop_assert!(!is_live || is_over, "a live line");
            }
            _ => {}
        }
        if act.is_call() && act != Act::Revoke(Which::InHand) {
            prop_assert!(!seen.spent.answered_since_look, "one look covers one call");
        }
        if !matches!(act, Act::Look) {
            let is_own_intent = matches!(act, Act::SaveLedger(Change::Withdraw | Change::Clear));
            prop_assert!(seen.claim() != Claim::Elsewhere || !seen.hand.is_empty() || is_own_intent, "{act:?}");
        }
    }

    #[test]
    fn whoever_rests_comes_back_in_the_future_or_at_once((seen, now) in a_moment()) {
        if let Plan::Rest(rest) = plan(&seen, now) && let Until::At(time) = rest.until {
            prop_assert!(time >= now);
        }
    }
}
