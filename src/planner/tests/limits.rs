//! How much is done at most: the issue budget, and the refresh tokens on their way out.

use super::{
    builders::CredentialExt,
    fixtures::{TARGET, at, credential, digest, minutes, name, ours, quarrel, record, source, unavailable},
    story::Story,
};
use crate::{
    planner::{FailureClass, Owner, Record, Source},
    revoiceit::Failure,
};

fn settled() -> Story {
    Story::of(credential().claimed()).with(record().live(1, "10:00"))
}

/// Somebody asks for a rotation again and again; the times are those at which it is granted.
#[test]
fn five_lines_at_once_and_then_one_every_quarter_of_an_hour() {
    let mut story = settled();
    let mut granted = Vec::new();
    for minute in 0..50 {
        story.now = at("10:00") + minutes(minute);
        story.edit(|it| it.rotate(&minute.to_string()));
        if story.pass().contains(&"Issue".to_owned()) {
            granted.push(minute);
        }
    }
    assert_eq!(granted, [0, 1, 2, 3, 4, 15, 30, 45]);
}

#[test]
fn an_exhausted_budget_heals_by_itself_and_refreshing_goes_on() {
    let mut story = settled();
    story.save(|it| it.edited(|it| it.next_issue = at("12:00")));
    story.edit(|it| it.rotate("please"));
    assert_eq!(story.at("10:50").pass()[..4], ["Look", "Refresh 1", "Save Fold", "WriteTarget speech-token"]);
    assert_eq!(story.pass(), ["Rest Ready: BudgetExhausted until 11:00:00"]);
    assert!(story.pass_on().contains(&"Save Intend RotationRequested".to_owned()));
    assert_eq!(story.record().next_issue, at("12:15"));
}

#[test]
fn what_did_not_come_about_is_given_back() {
    for (failure, is_given_back) in [
        (Failure::NotSent, true),
        (unavailable(), true),
        (Failure::Rejected, true),
        (Failure::Lost, false),
        (Failure::Malformed { refresh: None }, false),
    ] {
        let mut story = Story::of(credential().claimed()).with(record());
        story.fails([failure.clone()]);
        story.pass();
        assert_eq!(story.record().next_issue, at(if is_given_back { "10:00" } else { "10:15" }), "{failure:?}");
    }
}

/// An outage of two hours must not have used up what the recovery needs.
#[test]
fn an_outage_costs_no_budget() {
    let mut story = Story::of(credential());
    story.fails(std::iter::repeat_n(Failure::NotSent, 40));
    story.pass();
    while !story.failures.is_empty() {
        story.pass_on();
    }
    assert!(story.now > at("11:30"), "{}", story.now);
    assert!(story.pass_on().contains(&"WriteTarget speech-token".to_owned()));
}

/// The clock of an earlier time was a year ahead, and what it wrote is no reason to wait for a year.
#[test]
fn a_budget_from_the_future_is_none() {
    let mut story = Story::of(credential().claimed()).with(record().edited(|it| it.next_issue = at("10:00") + minutes(60 * 24 * 365)));
    assert!(story.pass().contains(&"Issue".to_owned()));
    assert_eq!(story.record().next_issue, at("10:15"));
}

fn eight(record: Record) -> Record {
    (21..29).fold(record, |record, revision| record.retiring(revision, "10:55"))
}

#[test]
fn with_eight_on_their_way_out_no_line_is_begun_and_no_rotating_refresh() {
    let mut story = Story::of(credential().claimed().grace("1h")).with(eight(record().live(1, "10:00")));
    story.source = source(2);
    assert_eq!(story.pass(), ["Look", "Rest Ready: RevocationBacklog until 10:44:00"]);
    story.source = source(1);
    story.save(|it| it.edited(|it| it.rotates = true));
    assert_eq!(story.at("10:50").pass(), ["Rest Ready: RevocationBacklog until 10:52:30"]);
    story.save(|it| it.edited(|it| it.rotates = false));
    assert_eq!(story.pass()[..2], ["Look", "Refresh 1"], "one that does not rotate adds none");
}

#[test]
fn with_seven_there_is_room_for_one() {
    let mut story =
        Story::of(credential().claimed().grace("1h")).with(eight(record().live(1, "10:00")).edited(|it| drop(it.retiring.pop())));
    story.source = source(2);
    story.pass();
    assert_eq!(story.record().retiring.len(), 8);
}

/// What Revoiceit refuses to revoke, in words that are not those for a token that has ended, would be in the way for ever.
#[test]
fn what_is_refused_makes_room_an_hour_after_it_was_due_and_is_counted() {
    let tried = |it: &mut Record| it.retiring.iter_mut().for_each(|it| (it.tries, it.not_before) = (9, Some(at("11:58"))));
    let refused = |it: &mut Record| it.retiring[3..5].iter_mut().for_each(|it| it.refused = true);
    let backlog = eight(record().live(1, "11:30")).edited(|it| {
        tried(it);
        refused(it);
    });
    let mut story = Story::of(credential().claimed().grace("1h")).with(backlog);
    story.source = source(2);
    assert_eq!(story.at("11:54").pass(), ["Look", "Rest Ready: RevocationBacklog until 11:58:00"]);
    let acts = story.at("11:55").pass();
    assert_eq!(acts[..4], ["Look", "Save GiveUp 24", "Look", "TryTarget speech-token"]);
    let record = story.record();
    assert_eq!((record.suspects.lost, record.retiring.len()), (1, 8), "one has gone, and the line before has come");
    assert!(!record.retiring.iter().any(|retiring| retiring.revision == 24));
}

/// As it would be with a Revoiceit that rotates and rejects without JSON: each refresh leaves a token that has ended and cannot be revoked.
#[test]
fn tokens_that_have_ended_and_cannot_be_revoked_keep_no_refresh_from_going_on() {
    let mut story = Story::of(credential().claimed()).with(record().live(1, "10:00"));
    (story.rotates, story.refuses_to_revoke) = (true, true);
    let ends_at = story.now + minutes(60 * 24);
    while story.now < ends_at {
        let acts = story.pass_on_or_now();
        assert!(acts.last().is_some_and(|rest| rest.starts_with("Rest Ready: ")), "{acts:?}");
        let record = story.record();
        assert!(record.retiring.len() <= 9 && record.live.as_ref().is_some_and(|live| live.expires_at > story.now));
    }
    assert!(story.record().suspects.lost > 10);
}

/// All of them have a time, so the backlog ends by itself whatever happened to their successors.
#[test]
fn a_backlog_ends_by_itself() {
    let mut story = Story::of(credential().claimed()).with(eight(record().live(1, "10:00")));
    story.source = source(2);
    for _ in 0..12 {
        story.pass();
        story.now = story.now.max(at("10:55"));
    }
    assert_eq!(story.record().live.as_ref().map(|live| live.source.clone()), Some(digest(2)));
}

#[test]
fn what_is_in_hand_is_saved_whatever_the_number() {
    let mut story = Story::of(credential().claimed()).with(record().listed(TARGET));
    story.before("Save Fold", |it| it.save(eight));
    let acts = story.pass();
    assert_eq!(acts[3..6], ["Issue", "Save Fold", "Look"]);
    assert!(story.record().live.is_some());
}

#[test]
fn a_rejected_pair_is_tried_again_after_a_quarter_of_an_hour_and_at_once_when_it_changes() {
    let mut story = Story::of(credential());
    story.fails([Failure::Rejected]);
    assert_eq!(story.pass().last().map(String::as_str), Some("Rest Stalled: CredentialsRejected until 10:13:59"));
    assert_eq!(story.at("10:05").pass(), ["Look", "Rest Stalled: CredentialsRejected until 10:13:59"]);
    story.source = source(2);
    let acts = story.pass();
    assert!(acts.contains(&"WriteTarget speech-token".to_owned()), "{acts:?}");
}

#[test]
fn an_edit_of_the_spec_has_a_rejected_pair_looked_at_anew() {
    let mut story = Story::of(credential());
    story.fails([Failure::Rejected]);
    story.pass();
    story.edit(|it| it.edited(|it| it.spec.credentials_secret_ref.name = "other".into()));
    story.source = source(2);
    assert!(story.at("10:05").pass().contains(&"Issue".to_owned()));
}

/// The line from the old pair lives on; the new one is tried at the pace of any retry.
#[test]
fn a_changed_pair_that_is_rejected_does_not_end_the_line() {
    let mut story = settled();
    story.source = source(2);
    story.fails([Failure::Rejected]);
    assert_eq!(story.pass().last().map(String::as_str), Some("Rest Ready: CredentialsRejected until 10:05:00"));
    let acts = story.at("10:44:01").pass();
    assert!(acts.contains(&"Issue".to_owned()), "{acts:?}");
}

#[test]
fn a_changed_pair_that_is_put_back_is_no_news() {
    let mut story = settled();
    story.source = source(2);
    story.fails([Failure::Rejected]);
    story.pass();
    story.source = source(1);
    assert_eq!(story.at("10:06").pass(), ["Rest Ready: TokenReady until 10:44:00"]);
}

#[test]
fn a_key_that_is_missing_from_changed_credentials_is_told_and_refreshing_goes_on() {
    let mut story = settled();
    story.source = Source::Incomplete { key: "clientId".into(), version: super::fixtures::version(2) };
    assert_eq!(story.pass(), ["Look", "Rest Ready: CredentialsIncomplete until 10:44:00"]);
    assert_eq!(story.at("10:44:01").pass()[..3], ["Look", "Look", "Refresh 1"]);
}

/// Both kinds of failures are kept apart: one does not hold up the other.
#[test]
fn a_pair_that_is_rejected_does_not_keep_the_line_from_being_refreshed() {
    let before = record().live(1, "10:00").failed_issue(FailureClass::Rejected, "10:40", "10:55");
    let mut story =
        Story::of(credential().claimed()).with(before.edited(|it| it.failed_issue.iter_mut().for_each(|it| it.source = digest(2))));
    story.source = source(2);
    assert_eq!(story.at("10:44:01").pass()[..3], ["Look", "Look", "Refresh 1"]);
    assert!(story.record().failed_issue.is_some(), "the pair is rejected still");
}

#[test]
fn a_line_that_cannot_be_refreshed_is_replaced_close_to_its_end() {
    let mut story = settled();
    story.fails([Failure::Rejected]);
    assert_eq!(story.at("10:50").pass().last().map(String::as_str), Some("Rest Ready: RefreshRejected until 10:52:30"));
    let acts = story.pass_on();
    assert_eq!(acts[1..4], ["TryTarget speech-token", "Save Intend RefreshRejected", "Issue"]);
    assert_eq!(acts.last().map(String::as_str), Some("Rest Ready: TokenReady until 10:57:30"));
    assert_eq!(story.record().failed_refresh, None);
}

/// What could not be sent says nothing about the line, and what was heard of it stays true.
#[test]
fn a_line_that_cannot_be_refreshed_is_replaced_also_when_later_refreshes_are_not_answered() {
    for failure in [Failure::NotSent, Failure::Lost, unavailable()] {
        let mut story = settled();
        story.fails([Failure::Rejected, failure]);
        assert!(story.at("10:45").pass().contains(&"Refresh 1".to_owned()));
        assert!(story.pass_on().contains(&"Refresh 1".to_owned()));
        let acts = story.at("10:52:30").pass();
        assert_eq!(acts[1..4], ["TryTarget speech-token", "Save Intend RefreshRejected", "Issue"]);
    }
}

/// There is a valid token, and it is somebody's doing that pods do not read it: another one would not help them.
#[test]
fn nothing_is_minted_because_the_target_is_fought_over() {
    let mut story =
        Story::of(credential().claimed()).with(record().live(1, "10:00").failed_refresh(FailureClass::Rejected, "10:44", "10:48"));
    story.secrets.insert(name(TARGET), ours(Owner::Me));
    story.quarrel = quarrel("10:46");
    assert_eq!(story.at("10:45").pass(), ["Rest Reconciling: RefreshRejected until 10:46:00"]);
}

#[test]
fn a_refresh_that_is_answered_with_failure_close_to_its_end_is_followed_by_one_issue() {
    let mut story = settled();
    story.fails([unavailable()]);
    let acts = story.at("10:53").pass();
    assert_eq!(
        acts,
        [
            "Look",
            "Refresh 1",
            "Save Fold",
            "Look",
            "Look",
            "TryTarget speech-token",
            "Save Intend RefreshFailing",
            "Issue",
            "Save Fold",
            "WriteTarget speech-token",
            "Save Shorten to 10:58:00",
            "Rest Ready: TokenReady until 10:58:00",
        ]
    );
}

#[test]
fn when_that_issue_fails_too_both_are_tried_again_later() {
    let mut story = settled();
    story.fails([unavailable(), unavailable()]);
    let acts = story.at("10:53").pass();
    assert_eq!(acts.last().map(String::as_str), Some("Rest Ready: RevoiceitUnavailable until 10:54:45"));
    story.fails([unavailable(), unavailable()]);
    let acts = story.pass_on();
    assert_eq!(acts.iter().filter(|act| act.starts_with("Refresh") || *act == "Issue").count(), 2, "{acts:?}");
}

#[test]
fn a_request_that_may_have_been_acted_on_is_no_reason_to_mint() {
    for failure in [Failure::NotSent, Failure::Lost] {
        let mut story = settled();
        story.fails([failure]);
        let acts = story.at("10:53").pass();
        assert_eq!(acts.len(), 4, "{acts:?}");
    }
}
