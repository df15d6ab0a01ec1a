//! The life of a resource that nothing goes wrong with, as the list of everything that is done for it.

use super::{
    builders::CredentialExt,
    fixtures::{access, at, credential, digest, live, pair, record, refresh, seen, source, version},
    story::Story,
};
use crate::planner::{FailureClass, Hand, Live, Observed, Record, Retiring, Source, Version, reads_credentials};

fn settled() -> Story {
    Story::of(credential().claimed()).with(record().live(1, "10:00"))
}

/// A Revoiceit that gives out the refresh token that it gave before: to revoke it would end the line that is in use.
#[test]
fn a_refresh_token_that_is_given_again_is_not_revoked() {
    let known_as = |edit: fn(&mut Record)| record().live(1, "10:00").retiring(9, "10:15").edited(edit);
    for known in
        [known_as(|it| it.live.as_mut().expect("it has one").refresh = refresh(11)), known_as(|it| it.retiring[0].refresh = refresh(11))]
    {
        let mut story = Story::of(credential().claimed()).with(known);
        story.source = source(2);
        assert!(story.pass().contains(&"Issue".to_owned()));
        for _ in 0..4 {
            story.pass_on_or_now();
        }
        assert_eq!(story.alive, [refresh(11)], "what was given is not revoked");
        assert!(story.record().live.as_ref().is_some_and(|live| live.refresh == refresh(11)));
    }
}

#[test]
fn a_new_resource_gets_its_token_in_five_writes() {
    let mut story = Story::of(credential());
    assert_eq!(
        story.pass(),
        [
            "Look",
            "TryTarget speech-token",
            "Save Intend First",
            "Claim",
            "Issue",
            "Save Fold",
            "WriteTarget speech-token",
            "Rest Ready: TokenReady until 10:44:00",
        ]
    );
    let first = Live { refresh: refresh(11), access: access(11), ..live(1, "10:00") };
    let expected = record().live(1, "10:00").edited(|it| {
        it.live = Some(first);
        it.next_issue = at("10:15");
    });
    assert_eq!(*story.record(), expected);
    assert_eq!(story.pass(), ["Rest Ready: TokenReady until 10:44:00"]);
}

#[test]
fn a_refresh_takes_two_writes_before_the_status() {
    let mut story = settled();
    assert_eq!(
        story.at("10:44:01").pass(),
        ["Look", "Refresh 1", "Save Fold", "WriteTarget speech-token", "Rest Ready: TokenReady until 11:28:01"]
    );
    let refreshed = Live { refresh: refresh(1), access: access(11), ..live(2, "10:44:01") };
    assert_eq!(*story.record(), record().live(2, "10:44:01").edited(|it| it.live = Some(refreshed)));
}

#[test]
fn nothing_is_done_at_rest() {
    let mut story = settled();
    for clock in ["10:00", "10:20", "10:43:59"] {
        assert_eq!(story.at(clock).pass(), ["Rest Ready: TokenReady until 10:44:00"]);
    }
}

/// Hour after hour: what is due at one time is done by then, and nothing wakes the pass in between.
#[test]
fn a_day_is_one_pass_for_each_refresh() {
    let mut story = settled();
    story.pass();
    for _ in 0..32 {
        let acts = story.pass_on();
        assert_eq!(acts.len(), 5, "{acts:?}");
        assert_eq!(acts[2..4], ["Save Fold", "WriteTarget speech-token"]);
    }
    assert_eq!(story.record().live.as_ref().map(|live| live.revision), Some(33));
    assert_eq!(story.record().retiring, []);
}

#[test]
fn an_edit_of_the_credentials_metadata_does_nothing() {
    let mut story = settled();
    story.source = source_of(1, "another version");
    assert_eq!(story.pass(), ["Look", "Rest Ready: TokenReady until 10:44:00"]);
}

#[test]
fn a_refresh_notes_the_version_in_which_the_pair_was_last_seen() {
    let mut story = settled();
    story.source = source_of(1, "another version");
    story.at("10:44:01").pass();
    assert_eq!(story.record().live.as_ref().and_then(|live| live.source_version.clone()), Some(Version::new("another version")));
    assert_eq!(story.pass(), ["Rest Ready: TokenReady until 11:28:01"]);
}

#[test]
fn changed_credentials_begin_a_line_and_the_old_one_is_revoked_after_the_grace() {
    let mut story = settled();
    story.source = source(2);
    assert_eq!(
        story.at("10:10").pass(),
        [
            "Look",
            "Look",
            "TryTarget speech-token",
            "Save Intend CredentialsChanged",
            "Issue",
            "Save Fold",
            "WriteTarget speech-token",
            "Save Shorten to 10:15:00",
            "Rest Ready: TokenReady until 10:15:00",
        ]
    );
    let record = story.record();
    assert_eq!(record.live.as_ref().map(|live| (live.revision, live.source.clone())), Some((2, digest(2))));
    let old = Retiring {
        revision: 1,
        refresh: refresh(1),
        due: at("10:15"),
        tries: 0,
        not_before: None,
        worked_at: Some(at("10:00")),
        unanswered: false,
        refused: false,
    };
    assert_eq!(record.retiring, [old]);
    assert_eq!(story.at("10:15").pass(), ["Look", "Revoke 1", "Save Fold", "Rest Ready: TokenReady until 10:54:00"]);
    assert_eq!(story.record().retiring, []);
    assert_eq!(story.pass(), ["Rest Ready: TokenReady until 10:54:00"]);
}

/// Pods may have read the old token a moment before; under two minutes a write could still be under way.
#[test]
fn a_grace_under_two_minutes_counts_as_two() {
    let mut story = Story::of(credential().claimed().grace("0s")).with(record().live(1, "10:00"));
    story.source = source(2);
    assert!(story.pass().contains(&"Save Shorten to 10:02:00".to_owned()));
}

#[test]
fn a_grace_beyond_the_old_tokens_end_is_of_no_use() {
    let mut story = Story::of(credential().claimed().grace("1h")).with(record().live(1, "10:00"));
    story.source = source(2);
    let acts = story.at("10:30").pass();
    assert_eq!(acts[acts.len() - 2..], ["WriteTarget speech-token", "Rest Ready: TokenReady until 11:00:00"]);
    assert_eq!(story.record().retiring[0].due, at("11:00"));
}

#[test]
fn a_rotation_request_begins_a_line_once() {
    let mut story = settled();
    story.edit(|it| it.rotate("please"));
    let acts = story.pass();
    assert_eq!(acts[1..4], ["TryTarget speech-token", "Save Intend RotationRequested", "Issue"]);
    assert_eq!(story.record().handled_request.as_deref(), Some("please"));
    let status = story.credential.as_ref().and_then(|it| it.status.clone()).expect("a status");
    assert_eq!(status.last_handled_rotate_request.as_deref(), Some("please"));
    assert_eq!(story.pass(), ["Rest Ready: TokenReady until 10:05:00"]);
}

#[test]
fn a_request_that_is_there_from_the_beginning_is_answered_by_the_first_token() {
    let mut story = Story::of(credential().rotate("please"));
    story.pass();
    assert_eq!(story.pass(), ["Rest Ready: TokenReady until 10:44:00"]);
}

#[test]
fn taking_the_request_away_does_nothing() {
    let mut story = Story::of(credential().claimed()).with(record().live(1, "10:00").edited(|it| it.handled_request = Some("done".into())));
    assert_eq!(story.pass(), ["Rest Ready: TokenReady until 10:44:00"]);
}

/// What was asked for while the answer was under way is another request.
#[test]
fn a_request_that_changes_under_way_is_answered_by_another_line() {
    let mut story = settled();
    story.edit(|it| it.rotate("first"));
    story.before("WriteTarget", |it| it.edit(|it| it.rotate("second")));
    story.pass();
    assert_eq!(story.record().handled_request.as_deref(), Some("first"));
    let acts = story.pass();
    assert!(acts.contains(&"Save Intend RotationRequested".to_owned()), "{acts:?}");
    assert_eq!(story.record().handled_request.as_deref(), Some("second"));
}

#[test]
fn other_edits_of_the_metadata_do_nothing() {
    let mut story = settled();
    story.edit(|it| {
        it.annotated("argocd.argoproj.io/tracking-id", "x").edited(|it| it.metadata.labels = Some([("a".into(), "b".into())].into()))
    });
    assert_eq!(story.pass(), ["Rest Ready: TokenReady until 10:44:00"]);
}

#[test]
fn suspended_nothing_is_issued_or_refreshed_and_a_person_hears_of_it() {
    let mut story = settled();
    story.edit(CredentialExt::suspended);
    assert_eq!(story.pass(), ["Rest Ready: Suspended until 10:44:00"]);
    assert_eq!(story.told.iter().map(|told| told.news.as_str()).collect::<Vec<_>>(), ["Suspended"]);
    assert_eq!(story.at("10:50").pass(), ["Rest Ready: Suspended until 10:52:30"]);
    assert_eq!(story.at("11:00").pass(), ["Rest Stalled: Suspended until woken"]);
    assert_eq!(Story::of(credential().suspended()).pass(), ["Rest Stalled: Suspended until woken"]);
}

#[test]
fn suspended_repair_and_revocation_go_on() {
    let mut story = Story::of(credential().claimed().suspended()).with(record().live(2, "10:00").retiring(1, "10:00"));
    story.secrets.clear();
    assert_eq!(story.pass(), ["Look", "WriteTarget speech-token", "Look", "Revoke 1", "Save Fold", "Rest Ready: Suspended until 10:44:00"]);
}

#[test]
fn credentials_that_change_while_suspended_are_used_afterwards() {
    let mut story = settled();
    story.edit(CredentialExt::suspended);
    story.source = source(2);
    assert_eq!(story.pass(), ["Rest Ready: Suspended until 10:44:00"]);
    story.edit(|it| it.edited(|it| it.spec.suspend = false));
    assert!(story.pass().contains(&"Save Intend CredentialsChanged".to_owned()));
}

#[test]
fn credentials_that_go_missing_do_not_keep_a_line_from_being_refreshed() {
    let mut story = settled();
    story.source = Source::Missing;
    assert_eq!(story.pass(), ["Rest Ready: CredentialsMissing until 10:44:00"]);
    let acts = story.at("10:44:01").pass();
    assert_eq!(acts, ["Look", "Refresh 1", "Save Fold", "WriteTarget speech-token", "Rest Ready: CredentialsMissing until 11:28:01"]);
}

#[test]
fn without_credentials_there_is_no_call_and_they_are_noticed_when_they_come() {
    let mut story = Story::of(credential());
    story.source = Source::Missing;
    assert_eq!(story.pass(), ["Rest Stalled: CredentialsMissing until woken"]);
    story.source = Source::Incomplete { key: "clientSecret".into(), version: Version::new("half") };
    assert_eq!(story.pass(), ["Look", "Rest Stalled: CredentialsIncomplete until woken"]);
    story.source = source(1);
    assert!(story.pass().contains(&"Issue".to_owned()));
}

/// Values are read when they may be needed, and not otherwise.
#[test]
fn credentials_are_read_only_when_a_new_line_may_be_wanted() {
    let wanted = |record: Record| seen(credential().claimed().wanted()).source(Source::Missing).with(record);
    let line = || record().live(1, "10:00");
    let reads = |seen: &Observed, indexed: u64| reads_credentials(seen, Some(&version(indexed)));
    assert!(!reads(&wanted(line()), 1));
    assert!(reads(&wanted(line()), 2), "another version");
    assert!(reads_credentials(&wanted(line()), None), "not in the index");
    assert!(reads(&wanted(record()), 1), "no line");
    assert!(reads(&seen(credential().wanted()), 1), "no ledger");
    assert!(reads(&wanted(line().failed_refresh(FailureClass::Rejected, "10:00", "10:05")), 1), "a line that may have to be replaced");
    assert!(reads(&wanted(line().intent("me", "10:02")), 1), "an intent that may be used");
    assert!(
        reads(&wanted(line()).holding(Hand::Ended { token: refresh(1), unknown: false, disputed: false }), 1),
        "what is in hand may be of a pair"
    );
    assert!(reads(&wanted(line()).source(source(1)), 1), "it was read before in this pass");
    let rotating = wanted(line()).edited(|it| it.resource = credential().claimed().rotate("please").wanted());
    assert!(reads(&rotating, 1), "a line was asked for");
    let leaving = wanted(line()).edited(|it| it.resource = credential().claimed().deleting("10:00").leaving());
    assert!(!reads(&leaving, 2), "nothing is issued any more");
}

#[test]
fn what_was_answered_is_in_hand_until_it_is_seen_in_the_ledger() {
    let mut story = settled();
    story.source = source(2);
    story.lose_reply_of("Save Fold");
    let acts = story.pass();
    assert_eq!(acts[4..8], ["Issue", "Save Fold", "Look", "WriteTarget speech-token"]);
    assert_eq!(story.record().live.as_ref().map(|live| live.refresh.clone()), Some(refresh(11)));
    assert!(story.last.is_some_and(|seen| matches!(seen.hand, Hand::Nothing)));
}

fn source_of(number: u64, version: &str) -> Source {
    Source::Found { pair: pair(number), version: Version::new(version) }
}
