//! Ledger and finalizer: one stands for the other, and what each of them says about the other's absence.

use super::{
    builders::CredentialExt,
    fixtures::{TARGET, UID, access, at, credential, name, ours, place, record, seen},
    story::Story,
};
use crate::planner::{Act, Change, Claim, Denied, Ledger, Observed, Owner, Plan, Record, Refused, Resource, Source, Unusable, plan};

fn claim(credential: crate::api::RevoiceitCredential) -> Claim {
    seen(credential.wanted()).claim()
}

#[test]
fn finalizer_and_annotation_say_whose_ledger_there_is() {
    let it = credential;
    assert_eq!(claim(it()), Claim::None);
    assert_eq!(claim(it().claimed()), Claim::Ours);
    assert_eq!(claim(it().with_finalizer()), Claim::Ours, "somebody removed the annotation");
    assert_eq!(claim(it().with_claim(&format!("revoiceit-system/{UID}"))), Claim::None, "somebody removed the finalizer");
    assert_eq!(claim(it().with_finalizer().with_claim("revoiceit-system/another-uid")), Claim::Copied);
    assert_eq!(claim(it().with_claim("revoiceit-system/another-uid")), Claim::None);
    assert_eq!(claim(it().with_finalizer().with_claim(&format!("elsewhere/{UID}"))), Claim::Elsewhere);
    assert_eq!(claim(it().with_claim(&format!("elsewhere/{UID}"))), Claim::Elsewhere);
    assert_eq!(claim(it().edited(|it| it.metadata.finalizers = Some(vec!["example.com/other".into()]))), Claim::None);
}

/// A backup of another cluster, whose operator was in another namespace: nobody holds a ledger for this UID.
#[test]
fn a_claim_on_another_uid_is_a_copys_whichever_namespace_it_names() {
    assert_eq!(claim(credential().with_finalizer().with_claim("elsewhere/another-uid")), Claim::Copied);
    assert_eq!(claim(credential().with_claim("elsewhere/another-uid")), Claim::None);
    assert_eq!(claim(credential().with_finalizer().with_claim("nonsense")), Claim::Copied);
}

#[test]
fn a_copys_claim_is_taken_over_without_a_loss() {
    let mut story = Story::of(credential().with_finalizer().with_claim("revoiceit-system/another-uid"));
    let acts = story.pass();
    assert_eq!(acts[..5], ["Look", "TryTarget speech-token", "Save Intend First", "Claim", "Issue"]);
    assert_eq!(story.record().suspects, Default::default());
    assert_eq!(claim(story.credential.expect("it")), Claim::Ours);
}

#[test]
fn a_copy_that_is_deleted_is_let_go() {
    let mut story = Story::of(credential().with_finalizer().with_claim("revoiceit-system/another-uid").deleting("10:00"));
    assert_eq!(story.pass(), ["Look", "Release", "Rest for ever"]);
}

#[test]
fn what_another_operator_holds_is_left_alone() {
    let held = || credential().with_finalizer().with_claim(&format!("elsewhere/{UID}"));
    assert_eq!(Story::of(held()).pass(), ["Rest Stalled: LedgerElsewhere until woken"]);
    let mut story = Story::of(held().deleting("10:00"));
    assert_eq!(story.pass(), ["Look", "Rest Reconciling: LedgerElsewhere until 10:05:00"]);
    assert!(story.credential.is_some());
}

/// Two installations that both reported would write against each other for ever.
#[test]
fn the_other_operator_is_not_contradicted_while_it_speaks() {
    let mut story = Story::of(credential().claimed()).with(record().live(1, "10:00"));
    story.pass();
    story.ledger = Ledger::Absent;
    story.edit(|it| it.with_claim(&format!("elsewhere/{UID}")));
    assert_eq!(story.pass(), ["Rest until 11:00:00"]);
    assert_eq!(story.told.last().map(|told| told.news.as_str()), Some("LedgerElsewhere"));
    assert_eq!(story.at("11:00").pass(), ["Rest Stalled: LedgerElsewhere until woken"], "it says Ready of a token that has expired");
    assert_eq!(story.at("12:00").pass(), ["Rest Stalled: LedgerElsewhere until woken"]);
}

#[test]
fn a_finalizer_that_somebody_removed_comes_back_before_the_next_call() {
    let mut story = Story::of(credential()).with(record().live(1, "10:00"));
    assert_eq!(story.at("10:44:01").pass()[..3], ["Look", "Claim", "Look"]);
    assert_eq!(claim(story.credential.expect("it")), Claim::Ours);
}

#[test]
fn a_ledger_is_lost_only_when_two_looks_miss_it() {
    let mut story = Story::of(credential().claimed());
    story.secrets.insert(name(TARGET), ours(Owner::Me));
    story.secrets.insert(name("old"), ours(Owner::Me));
    let acts = story.pass();
    assert_eq!(
        acts,
        [
            "Look",
            "Save Lost",
            "DeleteTarget old",
            "Save Unlist old",
            "Look",
            "TryTarget speech-token",
            "Save Intend First",
            "Issue",
            "Save Fold",
            "WriteTarget speech-token",
            "Rest Ready: TokenReady until 10:02:00",
        ]
    );
    let record = story.record();
    assert_eq!((record.suspects.lost, record.suspects.ledger_lost), (1, true));
    assert_eq!(story.told.iter().map(|told| told.news.as_str()).collect::<Vec<_>>(), ["TokenReady", "LedgerLost"]);
}

#[test]
fn a_ledger_is_missed_by_a_look_that_was_begun_after_the_finalizer_was_seen() {
    for resource in [credential().claimed().wanted(), credential().claimed().deleting("10:00").leaving()] {
        let seen = seen(resource);
        assert_eq!(plan(&seen, at("10:00")), Plan::Act(Act::Look));
        let again = Observed { finalizer_seen: true, ..seen };
        assert!(matches!(plan(&again, at("10:00")), Plan::Act(Act::SaveLedger(Change::Lost { .. }))));
    }
}

/// The glance that missed it is older than the finalizer.
#[test]
fn one_look_may_miss_a_ledger_that_is_there() {
    let mut story = Story::of(credential().claimed());
    story.before("Look", |it| it.ledger = super::fixtures::ledger(record()));
    let acts = story.pass();
    assert!(!acts.contains(&"Save Lost".to_owned()), "{acts:?}");
    let mut story = Story::of(credential().claimed().deleting("10:00"));
    assert_eq!(story.pass()[..3], ["Look", "Look", "Save Lost"]);
}

#[test]
fn lost_in_a_deletion_it_is_closed_at_once() {
    let mut story = Story::of(credential().claimed().deleting("10:00"));
    story.secrets.insert(name("somewhere"), ours(Owner::Me));
    assert_eq!(
        story.pass(),
        ["Look", "Look", "Save Lost", "DeleteTarget somewhere", "Release", "Tell SuspectedLost", "DeleteLedger", "Rest for ever"]
    );
    assert!(story.told[0].note.contains("may have been lost while it lived: 1, a ledger with an unknown number among them."));
}

#[test]
fn a_wait_for_a_permit_does_not_forget_the_finalizer() {
    let seen = seen(credential().claimed().wanted()).with(record().live(1, "10:00")).without_sights();
    assert!(seen.finalizer_seen);
    assert_eq!(seen.targets.keys().collect::<Vec<_>>(), [&name(TARGET)]);
    assert!(seen.record().is_none() && seen.meta().is_none());
    assert!(matches!(seen.source, Source::Missing));
    assert_eq!(plan(&seen, at("10:00")), Plan::Act(Act::Look));
}

const UNUSABLE: [(Unusable, &str); 5] = [
    (Unusable::Corrupt, "LedgerUnusable"),
    (Unusable::LaterFormat, "LedgerUnusable"),
    (Unusable::ForeignHome, "LedgerUnusable"),
    (Unusable::ForeignResource, "LedgerUnusable"),
    (Unusable::OtherIssuer, "IssuerChanged"),
];

#[test]
fn a_ledger_that_cannot_be_used_is_not_touched_and_its_resource_waits() {
    for (why, reason) in UNUSABLE {
        for credential in [credential(), credential().claimed()] {
            let mut story = Story::of(credential);
            story.ledger = Ledger::Unusable(why);
            assert_eq!(story.pass(), [format!("Rest Stalled: {reason} until 10:05:00")], "{why:?}");
        }
    }
}

#[test]
fn a_ledger_that_cannot_be_used_keeps_a_deletion_no_longer_than_its_deadline() {
    for (why, reason) in UNUSABLE {
        let mut story = Story::of(credential().claimed().deadline("3m").deleting("10:00"));
        story.ledger = Ledger::Unusable(why);
        assert_eq!(story.pass(), ["Look".to_owned(), format!("Rest Reconciling: {reason} until 10:03:00")], "{why:?}");
        assert_eq!(story.at("10:03").pass(), ["Look", "Release", "Rest until 10:08:00"], "{why:?}");
        assert!(matches!(story.ledger, Ledger::Unusable(_)), "{why:?}");
    }
}

#[test]
fn without_permission_for_its_ledger_nothing_is_issued() {
    let mut story = Story::of(credential());
    story.deny(Refused::Ledger, Denied::Forbidden);
    assert_eq!(story.pass(), ["Look", "TryTarget speech-token", "Save Intend First", "Rest Stalled: LedgerDenied until 10:05:00"]);
}

#[test]
fn an_answer_that_no_ledger_takes_is_revoked_from_hand() {
    let mut story = Story::of(credential());
    story.before("Save Fold", |it| it.deny(Refused::Ledger, Denied::Quota));
    let acts = story.pass();
    assert_eq!(acts[4..], ["Issue", "Save Fold", "Look", "Revoke from hand", "Rest Stalled: LedgerDenied until 10:02:00"]);
    assert!(story.record().intent.is_some(), "it will count as a suspect when it runs out");
}

#[test]
fn what_no_ledger_takes_and_was_not_revoked_stays_in_hand_and_both_are_tried_again() {
    let mut story = Story::of(credential());
    story.before("Save Fold", |it| {
        it.deny(Refused::Ledger, Denied::Quota);
        it.fails([crate::revoiceit::Failure::NotSent, crate::revoiceit::Failure::Lost]);
    });
    let acts = story.pass();
    assert_eq!(acts[4..], ["Issue", "Save Fold", "Look", "Revoke from hand", "Rest Stalled: LedgerDenied until 10:02:00"]);
    let acts = story.at("10:00:01").pass();
    assert_eq!(acts, ["Look", "Save Fold", "Look", "Revoke from hand", "Rest Stalled: LedgerDenied until 10:02:00"]);
    story.calm_down();
    // One of the two may have been carried out: the token is to end, and another takes its place.
    assert_eq!(story.at("10:00:03").pass(), ["Look", "Save Fold", "Rest Reconciling: Issuing until now"]);
    assert_eq!((story.record().suspects.lost, story.record().live.is_some(), story.record().retiring.len()), (0, false, 1));
    story.before("Revoke", |it| it.fails([crate::revoiceit::Failure::Rejected]));
    let acts = story.pass_on_or_now();
    assert!(acts.contains(&"Issue".to_owned()), "{acts:?}");
    story.pass_on_or_now();
    let record = story.record();
    assert_eq!(
        (record.suspects, record.retiring.len()),
        (crate::planner::record::Suspects::default(), 0),
        "that it is unknown is no dispute"
    );
}

/// The first refresh that rotates has no intent: nothing but the pass itself knows what it brought.
#[test]
fn what_a_first_rotation_brought_is_not_forgotten_while_its_ledger_is_refused() {
    let mut story = Story::of(credential().claimed()).with(record().live(1, "10:00"));
    story.rotates = true;
    story.before("Save Fold", |it| {
        it.deny(Refused::Ledger, Denied::Admission);
        it.fails([crate::revoiceit::Failure::NotSent]);
    });
    let acts = story.at("10:46").pass();
    assert_eq!(acts.last().map(String::as_str), Some("Rest Ready: LedgerDenied until 10:51:00"));
    story.calm_down();
    story.at("10:46:01").pass();
    assert!(story.record().holds(&super::fixtures::refresh(11)) && story.record().suspects.lost == 0);
}

/// The ledger was deleted by hand during the call: it is created anew, and what is in hand goes where it will be revoked.
#[test]
fn an_answer_whose_ledger_is_gone_is_revoked_and_the_loss_is_counted() {
    let mut story = Story::of(credential());
    story.before("Save Fold", |it| it.ledger = Ledger::Absent);
    let acts = story.pass();
    assert_eq!(acts[4..8], ["Issue", "Save Fold", "Look", "Look"]);
    assert!(acts[8..].starts_with(&["Revoke from hand".into(), "Save Lost".into()]), "{acts:?}");
}

#[test]
fn what_cannot_be_revoked_from_hand_is_saved_as_soon_as_there_is_a_ledger() {
    let mut story = Story::of(credential());
    story.before("Save Fold", |it| {
        it.ledger = Ledger::Absent;
        it.fails([crate::revoiceit::Failure::NotSent]);
    });
    story.pass();
    assert!(story.record().holds(&super::fixtures::refresh(11)));
    assert_eq!(story.record().suspects.lost, 1);
}

/// What cannot be saved must not keep the resource, or its namespace, for ever.
#[test]
fn a_ledger_that_cannot_be_written_does_not_keep_a_deletion() {
    let mut story = Story::of(credential().claimed().deleting("10:00")).with(record().live(1, "09:50"));
    story.deny(Refused::Ledger, Denied::Forbidden);
    let acts = story.pass();
    assert_eq!(acts, ["Look", "DeleteTarget speech-token", "Look", "Revoke 1", "Save Fold", "Release", "Rest until 10:05:00"]);
    assert!(story.credential.is_none());
}

#[test]
fn without_permission_for_the_resource_nothing_is_issued_and_the_intent_is_withdrawn() {
    let mut story = Story::of(credential());
    story.deny(Refused::Resource, Denied::Forbidden);
    let acts = story.pass();
    assert_eq!(acts[2..], ["Save Intend First", "Claim", "Save Withdraw", "Rest Stalled: PermissionDenied until 10:05:00"]);
    assert_eq!(story.record().intent, None);
    assert_eq!(story.record().next_issue, at("10:00"), "the budget has it back");
}

#[test]
fn resources_in_the_operators_own_namespace_are_refused() {
    let seen = seen(credential().wanted()).edited(|it| std::sync::Arc::make_mut(&mut it.id).namespace = place().operator_namespace);
    let Plan::Rest(rest) = plan(&seen, at("10:00")) else { panic!("rest") };
    assert_eq!(rest.status.expect("a status").conditions[0].reason, "OperatorNamespace");
}

#[test]
fn a_resource_that_cannot_be_read_is_left_alone_until_it_is_deleted() {
    let unreadable = |meta| Resource::Unreadable(std::sync::Arc::new(meta));
    let mut story = Story::of(credential()).with(record().live(1, "10:00").retiring(2, "09:00"));
    story.credential = None;
    story.absent = unreadable(credential().claimed().metadata);
    assert_eq!(story.pass(), ["Look", "Rest until woken"]);
    assert_eq!(story.told.iter().map(|told| told.news.as_str()).collect::<Vec<_>>(), ["Unreadable"]);
}

/// Another replica has done everything since this pass looked.
#[test]
fn who_comes_second_finds_all_done() {
    let mut story = Story::of(credential());
    story.before("Save Intend", |it| {
        it.edit(CredentialExt::claimed);
        *it = std::mem::replace(it, Story::of(credential())).with(record().live(1, "10:00"));
        it.edit(CredentialExt::claimed);
    });
    let acts = story.pass();
    assert_eq!(acts[2..], ["Save Intend First", "Look", "Rest Ready: TokenReady until 10:44:00"]);
    assert_eq!(story.record().live.as_ref().map(|live| live.access.clone()), Some(access(1)));
}

#[test]
fn every_sight_but_what_is_in_hand_can_be_forgotten() {
    let begun = Observed::begin(
        std::sync::Arc::new(super::fixtures::id()),
        super::fixtures::me(),
        Default::default(),
        std::sync::Arc::new(place()),
    );
    assert_eq!(plan(&begun, at("10:00")), Plan::Act(Act::Look));
    assert_eq!(begun.record().map(Record::is_empty), None);
}
