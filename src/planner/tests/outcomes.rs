//! Each cell of the outcome table: what an answer puts in hand, what the record holds after it was folded, and what the status says then.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    builders::CredentialExt,
    fixtures::{
        TARGET, UID, access, at, credential, digest, failed, issued, line_id, live, minutes, record, refresh, refreshed, rotated, seconds,
        seen, settled, unavailable, version,
    },
    words::in_words,
};
use crate::{
    planner::{
        Act, Answer, Called, Came, Failed, FailureClass, Hand, IntentCall, Live, Observed, Plan, Record, Retiring, Suspects, after, fold,
        plan, revised, spread,
    },
    revoiceit::{Failure, Refreshed},
};

/// What an answer that came at this time leads to: what is in hand, the record after the fold, and what is seen then.
pub(super) fn answered(seen: Observed, now: Timestamp, answer: Answer) -> (Hand, Record, Observed) {
    let before = seen.record().expect("a ledger").clone();
    let seen = fold(seen, Came::Answered { sent_at: now, answer });
    let hand = seen.hand.clone();
    let Plan::Act(Act::SaveLedger(change)) = plan(&seen, now) else { panic!("what is in hand is saved first") };
    let record = revised(&seen, &change);
    let seen = fold(seen, Came::Saw(crate::planner::Sight::Ledger(super::fixtures::ledger(record.clone()))));
    assert!(seen.hand.is_empty(), "it is in the record");
    assert!(record.suspects.lost >= before.suspects.lost);
    (hand, record, seen)
}

/// The next plan, in words; a rest with what the status says.
pub(super) fn next(seen: &Observed, now: Timestamp) -> String {
    match plan(seen, now) {
        Plan::Act(act) => in_words(&act),
        Plan::Rest(rest) => {
            let status = rest.status.expect("a status");
            let kinds = status.conditions.iter().map(|it| format!("{}={}", it.type_, it.status)).collect::<Vec<_>>().join(" ");
            format!("{kinds} {}", status.conditions[0].reason)
        }
    }
}

pub(super) const FAILURES: [FailureClass; 5] =
    [FailureClass::NotSent, FailureClass::Lost, FailureClass::Unavailable, FailureClass::Rejected, FailureClass::Malformed];

pub(super) fn failure(class: FailureClass) -> Failure {
    match class {
        FailureClass::NotSent => Failure::NotSent,
        FailureClass::Lost => Failure::Lost,
        FailureClass::Unavailable => unavailable(),
        FailureClass::Rejected => Failure::Rejected,
        FailureClass::Malformed => Failure::Malformed { refresh: None },
    }
}

fn lost(lost: u32) -> Suspects {
    Suspects { lost, ..Suspects::default() }
}

/// On its own intent, for which the budget was charged: there is no token yet.
pub(super) fn issuing() -> Observed {
    let record = record().listed(TARGET).intent("me", "10:02").edited(|it| it.next_issue = at("10:15"));
    seen(credential().claimed().wanted()).with(record)
}

#[test]
fn an_issue_that_is_granted() {
    let (hand, record, seen) = answered(issuing(), at("10:00"), Answer::Issue(Ok(issued(5))));
    let granted = Hand::Granted { issued: issued(5), sent_at: at("10:00"), source: digest(1), source_version: version(1), request: None };
    assert_eq!(hand, granted);
    let line = Live { refresh: refresh(5), access: access(5), ..live(1, "10:00") };
    assert_eq!(record, super::fixtures::record().live(1, "10:00").edited(|it| (it.live, it.next_issue) = (Some(line), at("10:15"))));
    assert_eq!(next(&seen, at("10:00")), "WriteTarget speech-token");
}

#[test]
fn an_issue_that_fails_without_a_token() {
    let rejected = minutes(15).mul_f64(0.9 + 0.2 * spread(UID));
    for (class, suspects, budget, pause, says) in [
        (FailureClass::NotSent, 0, "10:00", seconds(5), "Ready=False Reconciling=True RevoiceitUnreachable"),
        (FailureClass::Lost, 1, "10:15", seconds(5), "Ready=False Reconciling=True AnswerLost"),
        (FailureClass::Unavailable, 0, "10:00", seconds(5), "Ready=False Reconciling=True RevoiceitUnavailable"),
        (FailureClass::Rejected, 0, "10:00", rejected, "Ready=False Stalled=True CredentialsRejected"),
        (FailureClass::Malformed, 1, "10:15", seconds(5), "Ready=False Reconciling=True MalformedAnswer"),
    ] {
        let (hand, record, seen) = answered(issuing(), at("10:00"), Answer::Issue(Err(failure(class))));
        assert_eq!(hand, Hand::Failed { call: Called::Issue(digest(1)), failure: failure(class), sent_at: at("10:00") });
        let failed = Failed { not_before: after(at("10:00"), pause), ..failed(class, "10:00", "10:00") };
        let expected = super::fixtures::record()
            .listed(TARGET)
            .edited(|it| (it.failed_issue, it.suspects, it.next_issue) = (Some(failed), lost(suspects), at(budget)));
        assert_eq!(record, expected, "{class:?}");
        assert_eq!(next(&seen, at("10:00")), says);
    }
}

#[test]
fn an_issue_that_fails_beside_a_valid_token() {
    let at_20 = at("10:20");
    for (class, suspects, reason) in [
        (FailureClass::NotSent, 0, "RevoiceitUnreachable"),
        (FailureClass::Lost, 1, "AnswerLost"),
        (FailureClass::Unavailable, 0, "RevoiceitUnavailable"),
        (FailureClass::Rejected, 0, "CredentialsRejected"),
        (FailureClass::Malformed, 1, "MalformedAnswer"),
    ] {
        let seen = settled().looked_at("10:20").source(super::fixtures::source(2));
        let seen = seen.with(record().live(1, "10:00").intent("me", "10:22")).delivered();
        let (_, record, seen) = answered(seen, at_20, Answer::Issue(Err(failure(class))));
        assert_eq!(record.failed_issue.as_ref().map(|it| (it.class, it.not_before)), Some((class, at("10:25"))), "{class:?}");
        assert_eq!((record.live, record.suspects), (Some(live(1, "10:00")), lost(suspects)), "{class:?}");
        assert_eq!(next(&seen, at_20), format!("Ready=True {reason}"));
    }
}

#[test]
fn a_malformed_grant_with_a_readable_refresh_token_is_no_suspect_but_revoked() {
    let malformed = Failure::Malformed { refresh: Some(refresh(5)) };
    let (hand, record, _) = answered(issuing(), at("10:00"), Answer::Issue(Err(malformed.clone())));
    assert_eq!(hand, Hand::Failed { call: Called::Issue(digest(1)), failure: malformed, sent_at: at("10:00") });
    let kept = Retiring {
        revision: 1,
        refresh: refresh(5),
        due: at("10:00"),
        tries: 0,
        not_before: None,
        worked_at: None,
        unanswered: false,
        refused: false,
    };
    assert_eq!((record.retiring, record.suspects, record.intent, record.next_issue), (vec![kept], lost(0), None, at("10:15")));
}

#[test]
fn failures_add_up_until_a_success() {
    let earlier = Failed { count: 3, since: at("09:00"), ..failed(FailureClass::NotSent, "09:58", "10:00") };
    let seen = issuing();
    let before = seen.record().expect("it").clone().edited(|it| it.failed_issue = Some(earlier));
    let (_, record, _) = answered(seen.clone().with(before.clone()), at("10:00"), Answer::Issue(Err(Failure::Lost)));
    let expected =
        Failed { class: FailureClass::Lost, since: at("09:00"), at: at("10:00"), count: 4, not_before: at("10:05"), source: digest(1) };
    assert_eq!(record.failed_issue, Some(expected));
    let (_, record, _) = answered(seen.with(before), at("10:00"), Answer::Issue(Ok(issued(5))));
    assert_eq!(record.failed_issue, None);
}

/// At 10:44:01, when 15:59 are left; at a Revoiceit that does not rotate, or is not known to.
pub(super) fn refreshing() -> Observed {
    settled().looked_at("10:44:01")
}

#[test]
fn a_refresh_that_is_granted() {
    let now = at("10:44:01");
    let (hand, record, seen) = answered(refreshing(), now, Answer::Refresh(line_id(1), Ok(refreshed(5))));
    assert_eq!(hand, Hand::Refreshed { of: line_id(1), refreshed: refreshed(5), sent_at: now });
    let line = Live { refresh: refresh(1), access: access(5), ..live(2, "10:44:01") };
    assert_eq!(record, super::fixtures::record().live(2, "10:44").edited(|it| it.live = Some(line)));
    assert_eq!(next(&seen, now), "WriteTarget speech-token");
}

#[test]
fn a_refresh_that_rotates() {
    let now = at("10:44:01");
    let (hand, record, seen) = answered(refreshing(), now, Answer::Refresh(line_id(1), Ok(rotated(5))));
    assert_eq!(hand, Hand::Refreshed { of: line_id(1), refreshed: rotated(5), sent_at: now });
    let line = Live { refresh: refresh(5), access: access(5), ..live(2, "10:44:01") };
    let expected = super::fixtures::record().live(2, "10:44").retiring(1, "11:00").edited(|it| (it.live, it.rotates) = (Some(line), true));
    assert_eq!(record, expected);
    assert_eq!(next(&seen, now), "WriteTarget speech-token");
}

/// While the call was out a backup of the ledger came back, and a line of that time has the revision of the one that was refreshed.
#[test]
fn what_a_refresh_brought_is_not_taken_for_another_line_of_its_revision() {
    let now = at("10:44:01");
    for (answer, retired) in [(Ok(refreshed(5)), None), (Ok(rotated(5)), Some(refresh(5))), (Err(Failure::Rejected), None)] {
        let restored = Live { refresh: refresh(9), ..live(1, "10:00") };
        let seen = fold(refreshing(), Came::Answered { sent_at: now, answer: Answer::Refresh(line_id(1), answer) });
        let seen = seen.with(record().live(1, "10:00").edited(|it| it.live = Some(restored.clone())));
        assert_eq!(seen.hand.is_settled_in(seen.record().expect("a ledger"), &super::fixtures::me()), retired.is_none());
        let record = revised(&seen, &crate::planner::Change::Fold { now, close: false });
        assert_eq!((record.live, record.failed_refresh), (Some(restored), None));
        assert_eq!(record.retiring.into_iter().map(|it| it.refresh).next(), retired);
    }
}

#[test]
fn a_refresh_that_fails_beside_a_valid_token() {
    let now = at("10:44:01");
    for (class, reason) in [
        (FailureClass::NotSent, "RevoiceitUnreachable"),
        (FailureClass::Lost, "AnswerLost"),
        (FailureClass::Unavailable, "RevoiceitUnavailable"),
        (FailureClass::Rejected, "RefreshRejected"),
        (FailureClass::Malformed, "MalformedAnswer"),
    ] {
        let (hand, record, seen) = answered(refreshing(), now, Answer::Refresh(line_id(1), Err(failure(class))));
        assert_eq!(hand, Hand::Failed { call: Called::Refresh(line_id(1)), failure: failure(class), sent_at: now });
        let failed = Failed { not_before: after(now, Duration::from_millis(239_750)), ..failed(class, "10:44:01", "10:00") };
        let expected = super::fixtures::record()
            .live(1, "10:00")
            .failed_refresh(class, "10:44:01", "10:00")
            .edited(|it| it.failed_refresh = Some(failed));
        assert_eq!(record, expected, "{class:?}: no suspect, for no token can have come of it");
        assert_eq!(next(&seen, now), format!("Ready=True {reason}"));
    }
}

#[test]
fn a_refresh_that_fails_where_refreshes_rotate() {
    let now = at("10:44:01");
    for (class, suspects) in FAILURES.into_iter().zip([0, 1, 0, 0, 1]) {
        let seen = refreshing();
        let before = record().live(1, "10:00").intent("me", "10:46").edited(|it| {
            it.rotates = true;
            it.next_issue = at("10:15");
            it.intent.iter_mut().for_each(|intent| intent.call = IntentCall::Refresh { revision: 1 });
        });
        let (_, record, _) = answered(seen.with(before).delivered(), now, Answer::Refresh(line_id(1), Err(failure(class))));
        assert_eq!((record.intent, record.suspects, record.next_issue), (None, lost(suspects), at("10:15")), "{class:?}");
    }
}

/// What is seen at 10:50 after these refreshes, one a minute.
fn refreshed_in_vain(classes: &[FailureClass]) -> Observed {
    let clocks = ["10:45", "10:46", "10:47", "10:48", "10:49"];
    let seen = clocks.into_iter().zip(classes).fold(settled(), |seen, (clock, class)| {
        let answer = Answer::Refresh(line_id(1), Err(failure(*class)));
        let (_, record, _) = answered(seen.looked_at(clock), at(clock), answer);
        settled().with(record).delivered()
    });
    seen.looked_at("10:50")
}

/// Nobody knew that it rotates, and the first answer that could have told was lost.
#[test]
fn a_refresh_that_is_rejected_some_time_after_a_lost_one_counts_one_suspect() {
    for (class, suspects) in FAILURES.into_iter().zip([0, 1, 0, 0, 1]) {
        for between in [&[][..], &[FailureClass::NotSent], &[FailureClass::Unavailable, FailureClass::NotSent]] {
            let seen = refreshed_in_vain(&[&[class], between, &[FailureClass::Rejected, FailureClass::Rejected]].concat());
            assert_eq!(seen.record().map(|it| it.suspects), Some(lost(suspects)), "after {class:?} and {between:?}");
        }
    }
}

/// Two take themselves for the leader: the one's refresh is rejected because the other's has replaced the token, and has no answer. That comes to the
/// record later, and is told nevertheless.
#[test]
fn a_lost_refresh_of_a_line_that_another_found_rejected_counts_one_suspect() {
    for (class, suspects) in FAILURES.into_iter().zip([0, 1, 0, 0, 1]) {
        let answer = |class| Answer::Refresh(line_id(1), Err(failure(class)));
        let seen = fold(refreshing(), Came::Answered { sent_at: at("10:44:01"), answer: answer(class) });
        let (_, by_another, _) = answered(refreshing().looked_at("10:44:02"), at("10:44:02"), answer(FailureClass::Rejected));
        let seen = seen.with(by_another);
        let change = crate::planner::Change::Fold { now: at("10:44:03"), close: false };
        let is_news = !seen.hand.is_settled_in(seen.record().expect("a ledger"), &super::fixtures::me());
        assert_eq!((is_news, revised(&seen, &change).suspects), (suspects > 0, lost(suspects)), "{class:?}");
    }
    let seen = refreshed_in_vain(&[FailureClass::Rejected, FailureClass::Lost, FailureClass::Rejected]);
    assert_eq!(seen.record().map(|it| it.suspects), Some(lost(1)), "once");
}

/// The same, and the rejection comes to the record after a later failure.
#[test]
fn a_rejection_is_told_also_when_a_later_failure_is_on_record() {
    let seen = fold(refreshing(), Came::Answered { sent_at: at("10:44:01"), answer: Answer::Refresh(line_id(1), Err(Failure::Rejected)) });
    let (_, by_another, _) =
        answered(refreshing().looked_at("10:44:02"), at("10:44:02"), Answer::Refresh(line_id(1), Err(Failure::NotSent)));
    let seen = seen.with(by_another);
    assert!(!seen.hand.is_settled_in(seen.record().expect("a ledger"), &super::fixtures::me()));
    let record = revised(&seen, &crate::planner::Change::Fold { now: at("10:44:03"), close: false });
    assert!(record.live.is_some_and(|live| live.rejected));
}

#[test]
fn a_refresh_that_rotates_some_time_after_a_lost_one_counts_one_suspect() {
    for (class, suspects) in FAILURES.into_iter().zip([0, 1, 0, 0, 1]) {
        let seen = refreshed_in_vain(&[class, FailureClass::NotSent]);
        let (_, record, _) = answered(seen, at("10:50"), Answer::Refresh(line_id(1), Ok(rotated(5))));
        assert_eq!((record.suspects, record.rotates), (lost(suspects), true), "after {class:?}");
        let doubts = record.live.map(|live| (live.rejected, live.unanswered));
        assert_eq!(doubts, Some((false, false)), "the token that it brought is another one");
    }
}

#[test]
fn a_malformed_refresh_with_another_refresh_token_has_rotated() {
    let now = at("10:44:01");
    let malformed = Failure::Malformed { refresh: Some(refresh(5)) };
    let (_, record, _) = answered(refreshing(), now, Answer::Refresh(line_id(1), Err(malformed)));
    let kept = Retiring {
        revision: 2,
        refresh: refresh(5),
        due: now,
        tries: 0,
        not_before: None,
        worked_at: None,
        unanswered: false,
        refused: false,
    };
    assert_eq!((record.retiring, record.suspects, record.rotates), (vec![kept], lost(0), true));
    let echoed = Failure::Malformed { refresh: Some(refresh(1)) };
    let (_, record, _) = answered(refreshing(), now, Answer::Refresh(line_id(1), Err(echoed)));
    assert_eq!((record.retiring, record.rotates), (vec![], false), "the line's own is not taken from it");
}

/// From half the margin on; what was not answered is not a reason to mint.
#[test]
fn a_refresh_that_fails_close_to_expiry() {
    for (class, is_replaced) in FAILURES.into_iter().zip([false, false, true, true, true]) {
        for (clock, is_close) in [("10:52:29", false), ("10:52:30", true)] {
            let (_, _, seen) = answered(refreshing().looked_at(clock), at(clock), Answer::Refresh(line_id(1), Err(failure(class))));
            let expected = if is_replaced && is_close { "Look" } else { "Ready=True" };
            assert!(next(&seen, at(clock)).starts_with(expected), "{class:?} at {clock}: {}", next(&seen, at(clock)));
        }
    }
}

#[test]
fn a_refresh_that_is_rejected_while_the_target_holds_nothing_valid_is_followed_by_an_issue_at_once() {
    let (_, _, seen) = answered(refreshing().looked_at("11:10"), at("11:10"), Answer::Refresh(line_id(1), Err(Failure::Rejected)));
    assert_eq!(next(&seen, at("11:10")), "Look");
    let (_, _, seen) = answered(refreshing().looked_at("11:10"), at("11:10"), Answer::Refresh(line_id(1), Err(unavailable())));
    assert_eq!(next(&seen, at("11:10")), "Look", "it has expired: that is closer than close");
    let (_, _, seen) = answered(refreshing().looked_at("11:10"), at("11:10"), Answer::Refresh(line_id(1), Err(Failure::Lost)));
    assert_eq!(next(&seen, at("11:10")), "Ready=False Reconciling=True AnswerLost");
}

#[test]
fn an_answer_with_a_lifetime_of_its_own() {
    let hour = Refreshed { lifetime: Some(minutes(90)), ..refreshed(5) };
    let short = Refreshed { lifetime: Some(minutes(20)), ..refreshed(5) };
    let none = Refreshed { lifetime: Some(Duration::ZERO), ..refreshed(5) };
    for (refreshed, lifetime) in [(hour, minutes(60)), (short, minutes(20)), (none, seconds(30))] {
        let (_, record, _) = answered(refreshing(), at("10:44:01"), Answer::Refresh(line_id(1), Ok(refreshed)));
        assert_eq!(record.live.map(|live| live.expires_at), Some(at("10:44:01") + lifetime));
    }
}
