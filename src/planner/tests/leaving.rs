//! The end of a resource: its targets go, its refresh tokens are revoked, its finalizer goes, its ledger goes.

use std::sync::Arc;

use super::{
    builders::CredentialExt,
    fixtures::{credential, foreign, name, ours, record, unavailable},
    story::Story,
};
use crate::{
    planner::{About, Consent, Denied, FailureClass, Leaving, Ledger, Owner, Refused, Resource},
    revoiceit::Failure,
};

pub(super) fn deleted(at: &str) -> Story {
    let mut story = Story::of(credential().claimed().deleting(at)).with(record().live(1, "10:00"));
    story.at(at);
    story
}

#[test]
fn deletion_is_target_revocation_finalizer_and_ledger() {
    let mut story = deleted("10:10");
    assert_eq!(
        story.pass(),
        ["Look", "DeleteTarget speech-token", "Look", "Revoke 1", "Save Fold", "Release", "DeleteLedger", "Rest for ever"]
    );
    assert!(story.secrets.is_empty() && story.credential.is_none() && matches!(story.ledger, Ledger::Absent));
}

#[test]
fn the_save_that_empties_the_record_closes_it() {
    let mut story = deleted("10:10");
    story.before("Release", |it| assert_eq!(*it.record(), record().listed("speech-token").closed().edited(|it| it.next_revision = 2)));
    assert!(story.pass().contains(&"Release".to_owned()));
}

#[test]
fn without_a_token_the_record_is_closed_before_the_finalizer_goes() {
    let mut story = Story::of(credential().claimed().deleting("10:10")).with(record());
    assert_eq!(story.pass(), ["Look", "Save Close", "Release", "DeleteLedger", "Rest for ever"]);
}

/// One look covers one call, so each revocation is a pass of its own.
#[test]
fn every_token_is_revoked_the_superseded_ones_first_and_whatever_their_time() {
    let mut story =
        Story::of(credential().claimed().deleting("10:10")).with(record().retiring(1, "11:00").retiring(2, "10:00").live(3, "10:00"));
    assert_eq!(
        story.at("10:10").pass(),
        ["Look", "DeleteTarget speech-token", "Look", "Revoke 1", "Save Fold", "Rest Reconciling: Revoking until now"]
    );
    assert_eq!(story.pass(), ["Look", "Look", "Revoke 2", "Save Fold", "Rest Reconciling: Revoking until now"]);
    assert_eq!(story.pass(), ["Look", "Look", "Revoke 3", "Save Fold", "Release", "DeleteLedger", "Rest for ever"]);
}

#[test]
fn revocation_is_tried_again_until_the_deadline_and_then_in_the_background() {
    let mut story = deleted("10:10");
    story.fails(std::iter::repeat_n(unavailable(), 9));
    let acts = story.pass();
    assert_eq!(acts[3..], ["Revoke 1", "Save Fold", "Rest Reconciling: Revoking until 10:10:05"]);
    assert_eq!(story.record().live, None);
    for due in ["10:10:10", "10:10:15", "10:10:20", "10:10:25", "10:10:31", "10:10:39", "10:10:48"] {
        assert_eq!(story.pass_on().last(), Some(&format!("Rest Reconciling: Revoking until {due}")));
    }
    assert_eq!(story.record().retiring[0].tries, 8);
    let acts = story.at("10:15").pass();
    assert_eq!(acts, ["Look", "Save Close", "Release", "Look", "Revoke 1", "Save Fold", "Rest until 10:16:15"]);
    assert_eq!(story.pass_on(), ["Look", "Look", "Revoke 1", "Save Fold", "DeleteLedger", "Rest for ever"]);
}

#[test]
fn a_deadline_of_nothing_does_not_wait_for_a_try() {
    let mut story = Story::of(credential().claimed().deadline("0s").deleting("10:10")).with(record().live(1, "10:00"));
    assert_eq!(
        story.at("10:10").pass(),
        ["Look", "DeleteTarget speech-token", "Save Close", "Release", "Look", "Revoke 1", "Save Fold", "DeleteLedger", "Rest for ever"]
    );
}

#[test]
fn a_deadline_that_is_shortened_while_it_is_waited_for_counts() {
    let mut story = deleted("10:10");
    story.fails([unavailable(), unavailable()]);
    story.pass();
    story.edit(|it| it.deadline("10s"));
    assert_eq!(story.at("10:10:10").pass()[..3], ["Look", "Save Close", "Release"]);
}

/// A spec that cannot be read: the ledger knows the deadline from the last save.
#[test]
fn the_deadline_is_in_the_ledger_too() {
    let mut story = deleted("10:10");
    story.fails([Failure::Lost]);
    story.credential = None;
    let meta = credential().claimed().deleting("10:10").metadata;
    story.absent = Resource::Leaving(Arc::new(Leaving { meta, ..Leaving::default() }));
    story.save(|record| record.edited(|it| it.deadline_seconds = 3));
    assert_eq!(story.pass().last().map(String::as_str), Some("Rest Reconciling: Revoking until 10:10:03"));
}

#[test]
fn an_answer_that_is_under_way_is_waited_for_before_the_finalizer_goes() {
    let mut story = Story::of(credential().claimed().deleting("10:10")).with(record().intent("another", "10:11"));
    assert_eq!(story.at("10:10").pass(), ["Look", "Rest Reconciling: Revoking until 10:11:00"]);
    assert_eq!(story.pass_on(), ["Look", "Save Suspect", "Save Close", "Release", "Tell SuspectedLost", "DeleteLedger", "Rest for ever"]);
}

#[test]
fn what_may_be_lost_is_told_before_the_ledger_goes() {
    let mut story = Story::of(credential().claimed().deleting("10:10")).with(record().edited(|it| it.suspects.lost = 2));
    assert!(story.pass().contains(&"Tell SuspectedLost".to_owned()));
    let told = story.told.last().expect("a notice");
    assert_eq!((told.about, told.is_warning), (About::Ledger, true));
    assert_eq!(
        told.note,
        "RevoiceitCredential team-a/speech is gone. Refresh tokens that may have been lost while it lived: 2. Replace its client credentials \
         on the Revoiceit platform if that matters."
    );
}

#[test]
fn a_finalizer_that_cannot_be_removed_is_no_reason_to_tell_again_and_again() {
    let mut story = Story::of(credential().claimed().deleting("10:10")).with(record().edited(|it| it.suspects.lost = 2).closed());
    story.deny(Refused::Resource, Denied::Admission);
    assert_eq!(story.at("10:10").pass(), ["Look", "Release", "Rest Reconciling: Revoking until 10:15:00"]);
}

#[test]
fn a_token_that_revoiceit_does_not_know_any_more_is_done_with() {
    let mut story = deleted("10:10");
    story.fails([Failure::Rejected]);
    let acts = story.pass();
    assert_eq!(acts[3..], ["Revoke 1", "Save Fold", "Release", "Tell SuspectedLost", "DeleteLedger", "Rest for ever"]);
    assert_eq!(
        story.told.last().map(|told| &*told.note),
        Some(
            "RevoiceitCredential team-a/speech is gone. Refresh tokens that had worked within the hour and that Revoiceit, asked to revoke \
             them, did not know: 1. Replace its client credentials on the Revoiceit platform if that matters."
        )
    );
}

/// It had been told already that the token is no more, or had taken its place itself.
#[test]
fn a_token_that_is_known_to_have_ended_is_not_disputed() {
    let mut story = deleted("10:10");
    story.save(|it| it.failed_refresh(FailureClass::Rejected, "10:09", "10:14"));
    story.fails([Failure::Rejected]);
    assert_eq!(story.pass()[3..], ["Revoke 1", "Save Fold", "Release", "DeleteLedger", "Rest for ever"]);
}

#[test]
fn targets_that_are_not_this_resources_stay() {
    for (target, is_deleted) in [
        (ours(Owner::Me), true),
        (ours(Owner::None), true),
        (ours(Owner::OtherUid), false),
        (foreign(Consent::NotGiven), false),
        (foreign(Consent::Given), false),
    ] {
        let mut story = deleted("10:10");
        story.secrets.insert(name("speech-token"), target);
        assert_eq!(story.pass().contains(&"DeleteTarget speech-token".to_owned()), is_deleted);
        assert_eq!(story.secrets.is_empty(), is_deleted);
    }
}

/// The collector takes it, with its owner; the ledger knows of it until then.
#[test]
fn a_target_that_may_not_be_deleted_does_not_keep_the_resource() {
    let mut story = deleted("10:10");
    story.deny(Refused::Target, Denied::Forbidden);
    assert_eq!(story.pass(), ["Look", "DeleteTarget speech-token", "Look", "Revoke 1", "Save Fold", "Release", "Rest until 10:15:00"]);
    story.secrets.clear();
    assert_eq!(story.at("10:15").pass(), ["Look", "DeleteLedger", "Rest for ever"]);
}

/// Nothing more can be done about it, and nothing keeps it from going.
#[test]
fn a_target_that_finalizers_hold_keeps_neither_the_resource_nor_the_ledger() {
    for immutable in [true, false] {
        let mut story = deleted("10:10");
        let held = story.secrets.remove(&name("speech-token")).expect("a target").held(immutable);
        story.secrets.insert(name("speech-token"), held);
        let acts = story.pass();
        assert_eq!(
            acts,
            ["Look", "DeleteTarget speech-token", "Look", "Revoke 1", "Save Fold", "Release", "DeleteLedger", "Rest for ever"]
        );
    }
}

#[test]
fn a_resource_that_others_keep_waits_in_silence_once_it_was_released() {
    let mut story = Story::of(credential().edited(|it| it.metadata.finalizers = Some(vec!["example.com/other".into()])).deleting("10:10"));
    assert_eq!(story.at("10:10").pass(), ["Look", "Rest Reconciling: Revoking until 10:15:00"]);
    assert_eq!(story.at("10:16").pass(), ["Look", "Rest Reconciling: Revoking until woken"]);
}
