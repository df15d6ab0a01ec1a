//! A resource that is not there any more, and one whose operator is being taken away.

use std::sync::Arc;

use jiff::SignedDuration;

use super::{
    builders::CredentialExt,
    fixtures::{at, credential, minutes, name, ours, record, seconds, unavailable},
    leaving::deleted,
    story::Story,
};
use crate::{
    api::RevoiceitCredential,
    planner::{Denied, Ledger, Owner, Record, Refused, Resource, Unusable},
};

/// Gone for any reason; what is left is the ledger.
fn gone(absent: Resource) -> Story {
    let mut story = Story::of(credential()).with(record().live(1, "10:00"));
    story.credential = None;
    story.absent = absent;
    story.at("10:10");
    story
}

#[test]
fn a_404_alone_proves_nothing() {
    let mut story = gone(Resource::NotFound { proven: false });
    assert_eq!(story.pass(), ["Look", "Rest until 10:15:00"]);
}

#[test]
fn a_404_about_a_ledger_that_nothing_hangs_on_is_enough() {
    let not_found = |claimed| {
        let mut story = gone(Resource::NotFound { proven: false });
        story.save(|it| it.edited(|it| (it.live, it.claimed) = (None, claimed)));
        story
    };
    let mut story = not_found(false);
    story.secrets.clear();
    assert_eq!(story.pass(), ["Look", "DeleteLedger", "Rest for ever"]);
    assert_eq!(not_found(true).pass(), ["Look", "Rest until 10:15:00"], "it was claimed");
    assert_eq!(not_found(false).pass(), ["Look", "Rest until 10:15:00"], "there is a target, restored perhaps");
}

#[test]
fn a_404_about_a_closed_record_is_enough() {
    let mut story = gone(Resource::NotFound { proven: false });
    story.save(Record::closed);
    assert_eq!(story.pass(), ["Look", "DeleteTarget speech-token", "Look", "Revoke 1", "Save Fold", "DeleteLedger", "Rest for ever"]);
}

#[test]
fn proven_gone_its_tokens_are_revoked() {
    let mut story = gone(Resource::NotFound { proven: true });
    assert_eq!(story.pass(), ["Look", "DeleteTarget speech-token", "Look", "Revoke 1", "Save Fold", "DeleteLedger", "Rest for ever"]);
}

#[test]
fn nothing_at_all_is_forgotten() {
    let mut story = Story::of(credential());
    story.credential = None;
    assert_eq!(story.pass(), ["Look", "Rest for ever"]);
    story.absent = Resource::Replaced;
    assert_eq!(story.pass(), ["Look", "Rest for ever"]);
}

/// The pods of the successor read the old target until it has a token of its own.
#[test]
fn replaced_its_line_lives_until_nobody_reads_its_token() {
    let mut story = gone(Resource::Replaced);
    story.secrets.insert(name("speech-token"), ours(Owner::None));
    assert_eq!(story.pass(), ["Look", "Rest until 11:00:00"]);
    story.secrets.insert(name("speech-token"), ours(Owner::OtherUid));
    assert_eq!(story.pass(), ["Look", "Look", "Revoke 1", "Save Fold", "DeleteLedger", "Rest for ever"]);
}

#[test]
fn replaced_its_line_lives_no_longer_than_its_token() {
    let mut story = gone(Resource::Replaced);
    story.secrets.insert(name("speech-token"), ours(Owner::None));
    assert_eq!(story.at("11:00").pass(), ["Look", "Look", "Revoke 1", "Save Fold", "Rest until woken"]);
    assert!(story.secrets.contains_key(&name("speech-token")), "it is the successor's");
    // Until that has it, no other ledger lists the name.
    story.secrets.insert(name("speech-token"), ours(Owner::OtherUid));
    assert_eq!(story.at("11:10").pass(), ["Look", "DeleteLedger", "Rest for ever"]);
}

/// Nobody collects what has no owner: it is tried again, and the ledger knows of it until then.
#[test]
fn a_target_without_an_owner_that_cannot_be_deleted_keeps_the_ledger() {
    let mut story = gone(Resource::NotFound { proven: true });
    story.secrets.insert(name("speech-token"), ours(Owner::None));
    story.deny(Refused::Target, Denied::Forbidden);
    assert_eq!(story.pass(), ["Look", "DeleteTarget speech-token", "Look", "Revoke 1", "Save Fold", "Rest until 10:15:00"]);
    story.denied.clear();
    assert_eq!(story.at("10:15").pass(), ["Look", "DeleteTarget speech-token", "DeleteLedger", "Rest for ever"]);
}

#[test]
fn replaced_what_is_its_own_goes_and_what_is_superseded_is_revoked_at_once() {
    let mut story = gone(Resource::Replaced);
    story.save(|it| it.retiring(2, "10:50"));
    let acts = story.pass();
    assert_eq!(acts, ["Look", "DeleteTarget speech-token", "Look", "Revoke 2", "Save Fold", "Rest until now"]);
    assert_eq!(story.pass(), ["Look", "Look", "Revoke 1", "Save Fold", "DeleteLedger", "Rest for ever"]);
}

/// What finalizers hold can still be read.
#[test]
fn replaced_the_line_of_a_target_that_finalizers_hold_lives_no_longer_than_its_token() {
    let mut story = gone(Resource::Replaced);
    story.secrets.insert(name("speech-token"), ours(Owner::Me).held(true));
    let acts = story.pass();
    assert_eq!(acts, ["Look", "DeleteTarget speech-token", "Rest until 11:00:00"]);
    assert_eq!(story.pass_on(), ["Look", "Look", "Revoke 1", "Save Fold", "DeleteLedger", "Rest for ever"]);
}

/// Nobody waits any more: the pauses grow to an hour.
#[test]
fn in_the_background_revocation_goes_on_for_ever() {
    let mut story = gone(Resource::NotFound { proven: true });
    story.save(|it| it.edited(|it| it.live = None).closed().retiring(1, "10:00"));
    story.fails(std::iter::repeat_n(unavailable(), 100));
    let mut pauses = Vec::new();
    for _ in 0..60 {
        let before = story.now;
        story.pass_on_or_now();
        pauses.push(story.now.duration_since(before));
    }
    assert!(pauses.windows(2).all(|pair| pair[0] <= pair[1]), "{pauses:?}");
    assert_eq!(pauses.last().map(SignedDuration::as_secs), Some(3600));
}

/// A ledger of another cluster that a backup tool brought here, say: its tokens live there.
#[test]
fn gone_with_a_ledger_that_cannot_be_used_nothing_is_done() {
    for why in [Unusable::Corrupt, Unusable::LaterFormat, Unusable::ForeignHome, Unusable::ForeignResource, Unusable::OtherIssuer] {
        for absent in [Resource::NotFound { proven: false }, Resource::NotFound { proven: true }, Resource::Replaced] {
            let mut story = gone(absent);
            story.ledger = Ledger::Unusable(why);
            let is_unproven = matches!(story.absent, Resource::NotFound { proven: false });
            assert_eq!(story.pass(), ["Look", if is_unproven { "Rest for ever" } else { "Rest until 10:15:00" }], "{why:?}");
            assert!(story.secrets.contains_key(&name("speech-token")) && matches!(story.ledger, Ledger::Unusable(_)));
        }
    }
}

/// `--namespace` was changed: what is left is for whoever serves the namespace, and its deletion is this operator's to end.
fn out_of_scope(credential: RevoiceitCredential, record: Record) -> Story {
    let mut story = Story::of(credential.claimed()).with(record);
    story.place.namespaces = ["team-b".to_owned()].into();
    story
}

#[test]
fn out_of_scope_nothing_is_done_for_what_is_there_whatever_is_due() {
    let due = record().live(3, "10:00").retiring(1, "10:05").listed("old").edited(|it| it.suspects.lost = 1);
    for record in [due, record().intent("another", "10:02"), record().closed().retiring(1, "10:05"), record()] {
        let mut story = out_of_scope(credential().rotate("now"), record.clone());
        let before = story.secrets.len();
        assert_eq!(story.at("12:00").pass(), ["Look", "Rest for ever"]);
        assert_eq!((story.record(), story.secrets.len(), story.told.len()), (&record, before, 0));
    }
}

#[test]
fn out_of_scope_what_cannot_be_read_is_not_told_of() {
    let mut story = out_of_scope(credential(), record().live(1, "10:00"));
    story.credential = None;
    story.absent = Resource::Unreadable(Arc::new(credential().claimed().metadata));
    assert_eq!(story.at("10:50").pass(), ["Look", "Rest for ever"]);
    assert!(story.told.is_empty());
}

#[test]
fn out_of_scope_a_deletion_is_carried_out() {
    let mut story = out_of_scope(credential().deleting("10:10"), record().live(1, "10:00"));
    let ended = ["Look", "DeleteTarget speech-token", "Look", "Revoke 1", "Save Fold", "Release", "DeleteLedger", "Rest for ever"];
    assert_eq!(story.at("10:10").pass(), ended);
    let mut story = gone(Resource::NotFound { proven: true });
    story.place.namespaces = ["team-b".to_owned()].into();
    assert_eq!(story.pass(), ["Look", "DeleteTarget speech-token", "Look", "Revoke 1", "Save Fold", "DeleteLedger", "Rest for ever"]);
}

#[test]
fn out_of_scope_a_finalizer_without_a_ledger_is_not_counted_before_the_deletion() {
    let mut story = Story::of(credential().claimed());
    story.place.namespaces = ["team-b".to_owned()].into();
    assert_eq!(story.pass(), ["Look", "Rest for ever"]);
    story.delete("10:20");
    assert_eq!(story.at("10:20").pass()[1..], ["Look", "Save Lost", "Release", "Tell SuspectedLost", "DeleteLedger", "Rest for ever"]);
}

#[test]
fn draining_every_resource_is_treated_as_deleted() {
    let mut story = Story::of(credential().claimed()).with(record().live(1, "10:00"));
    story.policy.draining = Some(at("10:05"));
    assert_eq!(
        story.pass(),
        [
            "Look",
            "DeleteTarget speech-token",
            "Save Retire",
            "Look",
            "Revoke 1",
            "Save Fold",
            "Release",
            "DeleteLedger",
            "Rest Reconciling: Revoking until 10:05:00",
        ]
    );
    assert!(story.credential.is_some(), "the resource stays");
}

#[test]
fn draining_ends_at_its_deadline_with_what_is_left_in_the_ledger() {
    let mut story = Story::of(credential().claimed()).with(record().live(1, "10:00"));
    story.policy.draining = Some(at("10:05"));
    story.fails([unavailable(), unavailable()]);
    story.pass();
    let acts = story.at("10:05").pass();
    assert_eq!(acts, ["Look", "Save Close", "Release", "Look", "Revoke 1", "Save Fold", "Rest Reconciling: Revoking until 10:06:15"]);
    assert_eq!(story.record().retiring.len(), 1);
}

#[test]
fn draining_does_not_lengthen_a_deadline() {
    let mut story = deleted("10:10");
    story.policy.draining = Some(at("10:10") + minutes(60));
    story.fails([unavailable()]);
    story.pass();
    assert_eq!(story.at("10:15").pass()[1..3], ["Save Close", "Release"]);
    let mut story = deleted("10:10");
    story.policy.draining = Some(at("10:10") + seconds(7));
    story.fails([unavailable()]);
    story.pass();
    assert_eq!(story.at("10:10:07").pass()[1..3], ["Save Close", "Release"]);
}

/// `helm uninstall` that failed halfway, and an operator that starts again.
#[test]
fn a_drain_that_was_broken_off_is_carried_out_and_then_begun_anew() {
    let mut story = Story::of(credential().claimed()).with(record().closed().edited(|it| it.suspects.lost = 1).retiring(1, "10:00"));
    assert_eq!(
        story.at("10:10").pass(),
        ["Look", "Revoke 1", "Save Fold", "Release", "Tell SuspectedLost", "DeleteLedger", "Rest Reconciling: Issuing until now"]
    );
    let acts = story.pass();
    assert_eq!(acts[1..5], ["TryTarget speech-token", "Save Intend First", "Claim", "Issue"]);
}

/// When the finalizer is gone the resource may be deleted with orphans, and a Secret that no record lists would stay for ever.
#[test]
fn a_drain_that_was_broken_off_takes_the_target_before_the_finalizer() {
    let begun = || {
        let mut story = Story::of(credential().claimed()).with(record().closed().listed("speech-token"));
        story.secrets.insert(name("speech-token"), ours(Owner::Me));
        story
    };
    let mut story = begun();
    assert_eq!(story.at("10:10").pass()[..4], ["Look", "DeleteTarget speech-token", "Release", "DeleteLedger"]);
    let mut story = begun();
    story.secrets.insert(name("speech-token"), ours(Owner::Me).held(true));
    assert_eq!(story.at("10:10").pass()[..4], ["Look", "DeleteTarget speech-token", "Release", "DeleteLedger"]);
    let mut story = begun();
    story.deny(Refused::Target, Denied::Forbidden);
    assert_eq!(story.at("10:10").pass(), ["Look", "DeleteTarget speech-token", "Rest Stalled: PermissionDenied until 10:15:00"]);
}

#[test]
fn a_drain_that_was_broken_off_is_not_tried_again_and_again_when_the_finalizer_cannot_go() {
    let mut story = Story::of(credential().claimed()).with(record().closed());
    story.deny(Refused::Resource, Denied::Forbidden);
    assert_eq!(story.at("10:10").pass(), ["Look", "Release", "Rest Stalled: PermissionDenied until 10:15:00"]);
}

#[test]
fn a_drain_that_was_broken_off_waits_for_revocations_that_fail() {
    let mut story = Story::of(credential().claimed()).with(record().closed().retiring(1, "10:00"));
    story.fails([unavailable()]);
    assert_eq!(story.at("10:10").pass(), ["Look", "Revoke 1", "Save Fold", "Rest Reconciling: RevocationBacklog until 10:12:30"]);
}
