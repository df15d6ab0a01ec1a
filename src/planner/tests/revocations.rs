//! The rest of the outcome table: revocations, also from hand, and what Revoiceit asks to wait.

use super::{
    builders::CredentialExt,
    fixtures::{at, credential, issued, ledger, line_id, record, refresh, seconds, seen},
    outcomes::{FAILURES, answered, failure, issuing, next, refreshing},
};
use crate::{
    planner::{Answer, Came, Change, FailureClass, Hand, Observed, Retiring, Sight, Suspects, Which, fold, revised},
    revoiceit::{Failure, Revoked},
};

/// At 10:00, one superseded refresh token is due.
fn revoking(retiring: impl FnOnce(&mut Retiring)) -> Observed {
    let record = record().live(2, "10:00").retiring(1, "09:50").edited(|it| retiring(&mut it.retiring[0]));
    seen(credential().claimed().wanted()).with(record).delivered()
}

#[test]
fn a_revocation_that_is_answered() {
    type Edit = fn(&mut Retiring);
    let cases: [(Revoked, Edit, bool); 6] = [
        (Revoked::Confirmed, |it| it.worked_at = Some(at("09:30")), false),
        (Revoked::Unknown, |it| it.worked_at = Some(at("09:30")), true),
        (Revoked::Unknown, |it| it.worked_at = Some(at("09:00:01")), true),
        (Revoked::Unknown, |it| it.worked_at = Some(at("09:00")), false),
        (Revoked::Unknown, |it| (it.worked_at, it.tries) = (Some(at("09:30")), 1), false),
        (Revoked::Unknown, |it| it.worked_at = None, false),
    ];
    for (revoked, edit, disputed) in cases {
        let (hand, record, seen) = answered(revoking(edit), at("10:00"), Answer::Revoke(Which::Revision(1), Ok(revoked)));
        assert_eq!(hand, Hand::Ended { token: refresh(1), unknown: revoked == Revoked::Unknown, disputed });
        let suspects = Suspects { disputed: u32::from(disputed), ..Suspects::default() };
        assert_eq!(record, super::fixtures::record().live(2, "10:00").edited(|it| it.suspects = suspects));
        assert_eq!(next(&seen, at("10:00")), "Ready=True TokenReady");
    }
}

#[test]
fn a_revocation_that_fails_is_tried_again() {
    for class in FAILURES {
        let refused = class == FailureClass::Rejected;
        let (hand, record, seen) =
            answered(revoking(|it| it.tries = 2), at("10:00"), Answer::Revoke(Which::Revision(1), Err(failure(class))));
        assert_eq!(hand, Hand::NotEnded { token: refresh(1), tries: 3, retry_after: None, refused, sent_at: at("10:00") });
        let again = Retiring { refused, tries: 3, not_before: Some(at("10:02:30")), ..super::fixtures::retiring(1, "09:50") };
        assert_eq!(
            record,
            super::fixtures::record().live(2, "10:00").edited(|it| (it.retiring, it.next_revision) = (vec![again], 3)),
            "{class:?}"
        );
        assert_eq!(next(&seen, at("10:00")), "Ready=True TokenReady");
    }
}

#[test]
fn a_revocation_that_fails_takes_the_line_out_of_use() {
    let seen = seen(credential().claimed().deleting("10:00").leaving()).with(record().live(1, "09:50"));
    let (_, record, _) = answered(seen, at("10:00"), Answer::Revoke(Which::Revision(1), Err(Failure::Lost)));
    let taken_out = Retiring {
        due: at("10:00"),
        tries: 1,
        not_before: Some(at("10:00:05")),
        worked_at: Some(at("09:50")),
        ..super::fixtures::retiring(1, "10:00")
    };
    assert_eq!((record.live, record.retiring), (None, vec![taken_out]));
}

/// A ledger that somebody restored gives the same revisions once more.
#[test]
fn what_ended_is_the_token_that_was_sent_and_no_other_of_its_revision() {
    let restored = record().live(1, "09:55").edited(|it| it.live.as_mut().expect("it has one").refresh = refresh(9));
    for outcome in [Ok(Revoked::Confirmed), Err(Failure::Lost)] {
        let answer = Answer::Revoke(Which::Revision(1), outcome);
        let answered = fold(revoking(|_| {}), Came::Answered { sent_at: at("10:00"), answer });
        assert!(!answered.hand.is_empty());
        let seen = fold(answered, Came::Saw(Sight::Ledger(ledger(restored.clone()))));
        assert!(seen.hand.is_empty(), "what it is about is not there any more");
        assert!(seen.record().is_some_and(|record| record.holds(&refresh(9))));
    }
}

#[test]
fn what_revoiceit_asks_to_wait_counts_within_limits() {
    let asked = |seconds_: u64| Failure::Unavailable { retry_after: Some(seconds(seconds_)) };
    for (asks, waits) in [(1, 5), (60, 60), (3600, 300)] {
        let (_, record, _) = answered(issuing(), at("10:00"), Answer::Issue(Err(asked(asks))));
        assert_eq!(record.failed_issue.map(|it| it.not_before), Some(at("10:00") + seconds(waits)), "without a token, {asks} s");
    }
    // 6 minutes are left: a quarter of them by itself, half of them at most.
    for (asks, waits) in [(1, 90), (120, 120), (3600, 180)] {
        let (_, record, _) = answered(refreshing().looked_at("10:54"), at("10:54"), Answer::Refresh(line_id(1), Err(asked(asks))));
        assert_eq!(record.failed_refresh.map(|it| it.not_before), Some(at("10:54") + seconds(waits)), "with a token, {asks} s");
    }
    for (asks, waits) in [(1, 150), (200, 200), (3600, 300)] {
        let (_, record, _) = answered(revoking(|_| {}), at("10:00"), Answer::Revoke(Which::Revision(1), Err(asked(asks))));
        assert_eq!(record.retiring[0].not_before, Some(at("10:00") + seconds(waits)), "a revocation, {asks} s");
    }
}

#[test]
fn revoked_from_hand_nothing_is_left_to_be_saved() {
    let granted = fold(issuing(), Came::Answered { sent_at: at("10:00"), answer: Answer::Issue(Ok(issued(5))) });
    let answer = |outcome| Came::Answered { sent_at: at("10:00"), answer: Answer::Revoke(Which::InHand, outcome) };
    for revoked in [Revoked::Confirmed, Revoked::Unknown] {
        assert_eq!(fold(granted.clone(), answer(Ok(revoked))).hand, Hand::Nothing);
    }
    for class in FAILURES {
        let kept = fold(granted.clone(), answer(Err(failure(class))));
        assert_eq!((&kept.hand, kept.spent.hand_kept), (&granted.hand, true), "{class:?}");
        // Saved after all: what comes into the hand next was never to be revoked.
        let saved = ledger(revised(&kept, &Change::Fold { now: at("10:00"), close: false }));
        let saved = fold(kept, Came::Saw(Sight::Ledger(saved)));
        assert_eq!((saved.hand, saved.spent.hand_kept, saved.spent.hand_doomed), (Hand::Nothing, false, false), "{class:?}");
    }
}

/// A refresh had no answer, and then the line was given up: that its token is unknown now means that another took its place.
#[test]
fn what_is_unknown_after_a_refresh_without_an_answer_counts_a_suspect() {
    let in_doubt = || record().live(1, "10:00").failed_refresh(FailureClass::Lost, "10:45", "10:48");
    for (revoked, suspects) in [(Revoked::Unknown, 1), (Revoked::Confirmed, 0)] {
        let expected = Suspects { lost: suspects, ..Suspects::default() };
        // Revoked as the line in use, of a resource that goes.
        let going = || seen(credential().claimed().deleting("10:50").leaving()).with(in_doubt()).looked_at("10:50");
        let (_, record, _) = answered(going(), at("10:50"), Answer::Revoke(Which::Revision(1), Ok(revoked)));
        assert_eq!(record.suspects, expected);
        // The same after a revocation that failed, and after the hour.
        let (_, failed, _) = answered(going(), at("10:50"), Answer::Revoke(Which::Revision(1), Err(Failure::Lost)));
        let later = seen(credential().claimed().deleting("10:50").leaving()).with(failed).looked_at("12:00");
        let (_, record, _) = answered(later, at("12:00"), Answer::Revoke(Which::Revision(1), Ok(revoked)));
        assert_eq!(record.suspects, expected);
        // Replaced by a new line.
        let replaced = issuing().with(in_doubt().intent("me", "10:52")).looked_at("10:50");
        let (_, replaced, _) = answered(replaced, at("10:50"), Answer::Issue(Ok(issued(5))));
        let later = seen(credential().claimed().wanted()).with(replaced).delivered().looked_at("11:00");
        let (_, record, _) = answered(later, at("11:00"), Answer::Revoke(Which::Revision(1), Ok(revoked)));
        assert_eq!(record.suspects, expected);
    }
}
