//! Taking the operator away: what it still holds, and what is different from a deletion.

use std::sync::Arc;

use super::{
    builders::CredentialExt,
    fixtures::{TARGET, at, credential, minutes, name, ours, place, record, seconds, seen, settled},
    story::Story,
};
use crate::planner::{
    Act, Change, Consent, Ledger, Observed, Owner, Place, Plan, Policy, Remains, Resource, Rest, Sighted, Until, Unusable, Which,
    next_wake, plan, remains,
};

fn draining(seen: Observed) -> Observed {
    seen.edited(|it| it.policy = Arc::new(Policy::default().draining(at("10:00"), minutes(5))))
}

fn unreadable() -> Observed {
    draining(seen(Resource::Unreadable(Arc::new(credential().claimed().metadata))))
}

/// Its deletion would wait for an operator for ever.
#[test]
fn a_resource_that_cannot_be_read_is_drained_by_its_metadata() {
    let seen = unreadable().with(record().live(1, "09:30"));
    assert_eq!(plan(&seen.clone().target(TARGET, ours(Owner::Me)), at("10:00")), Plan::Act(Act::DeleteTarget(name(TARGET))));
    assert_eq!(plan(&seen, at("10:00")), Plan::Act(Act::SaveLedger(Change::Retire { now: at("10:00") })));
    let seen = unreadable().with(record().retiring(1, "10:00"));
    assert_eq!(plan(&seen, at("10:00")), Plan::Act(Act::Revoke(Which::Revision(1))));
    assert_eq!(plan(&unreadable().with(record().closed()), at("10:00")), Plan::Act(Act::Release));
}

/// Whoever is served after a drain that was broken off gets a new line: the old one may be revoked already.
#[test]
fn a_drain_that_died_in_the_middle_of_a_revocation_leaves_nothing_to_deliver_from() {
    let mut story = Story::of(credential().claimed()).with(record().live(1, "09:30"));
    story.policy = Policy::default().draining(at("10:00"), minutes(5));
    story.lose_reply_of("Revoke 1");
    story.dies_after = Some(5);
    assert_eq!(story.pass(), ["Look", "DeleteTarget speech-token", "Save Retire", "Look", "Revoke 1"]);
    story.policy = Policy::default();
    let acts = story.pass();
    assert_eq!(acts[1..5], ["TryTarget speech-token", "Save Intend First", "Issue", "Save Fold"], "{acts:?}");
    assert_eq!(story.pass()[..3], ["Look", "Revoke 1", "Save Fold"]);
}

#[test]
fn what_failed_long_ago_is_tried_again_now() {
    let policy = Policy::default().draining(at("10:00"), minutes(5));
    assert_eq!((policy.draining, policy.absence), (Some(at("10:05")), seconds(150)));
    let failed = record().retiring(1, "09:00").edited(|it| it.retiring[0].not_before = Some(at("10:50")));
    let seen = seen(credential().claimed().wanted()).with(failed);
    assert_eq!(plan(&draining(seen), at("10:00")), Plan::Act(Act::Revoke(Which::Revision(1))));
}

#[test]
fn shorter_times_stay_shorter() {
    let short = || Policy { absence: seconds(1), retry_max: seconds(2), revoke_retry_max: seconds(3), ..Policy::default() };
    let policy = short().draining(at("10:00"), minutes(5));
    assert_eq!(policy, Policy { draining: Some(at("10:05")), ..short() });
}

/// However many calls come before it in the gate.
#[test]
fn a_deletion_waits_for_a_permit_no_longer_than_for_its_deadline() {
    let leaving = seen(credential().claimed().deleting("10:00").leaving()).with(record().live(1, "09:30"));
    assert_eq!(next_wake(&leaving, at("10:01")), Some(at("10:05")));
    assert_eq!(next_wake(&draining(settled()), at("10:00")), Some(at("10:05")));
}

#[test]
fn what_remains_is_what_the_operator_holds() {
    let is = |seen: Observed, wanted: Remains| {
        assert_eq!(remains(&seen), wanted);
        (wanted.is_nothing(), wanted.is_done())
    };
    let nothing = Remains::default;
    let ledger = |tokens| Remains { has_ledger: true, tokens, ..nothing() };
    const GONE: (bool, bool) = (true, true);
    const LEFT: (bool, bool) = (false, false);
    const LEFT_ALONE: (bool, bool) = (false, true);
    assert_eq!(is(seen(credential().wanted()), nothing()), GONE);
    let held = Remains { has_finalizer: true, targets: vec![name(TARGET)], ..ledger(1) };
    assert_eq!(is(settled(), held.clone()), LEFT);
    assert_eq!(is(seen(credential().claimed().wanted()), Remains { has_finalizer: true, ..nothing() }), LEFT, "a ledger was lost");
    assert_eq!(is(seen(credential().wanted()).with(record().closed().retiring(1, "09:00").live(2, "09:30")), ledger(2)), LEFT);
    let intent = seen(credential().wanted()).with(record().intent("another", "10:01"));
    assert_eq!(is(intent, Remains { is_waiting: true, ..ledger(0) }), LEFT);
    let gone = |ledger| seen(Resource::NotFound { proven: false }).edited(|it| it.ledger = ledger);
    assert_eq!(is(gone(Ledger::Absent), Remains { is_gone: true, ..nothing() }), GONE);
    let elsewhere = Remains { is_gone: true, has_ledger: true, unusable: Some(Unusable::ForeignHome), ..nothing() };
    assert_eq!(is(gone(Ledger::Unusable(Unusable::ForeignHome)), elsewhere), LEFT_ALONE, "it is another cluster's to revoke");
    let other_issuer = settled().edited(|it| it.ledger = Ledger::Unusable(Unusable::OtherIssuer));
    let waits = Remains { has_finalizer: true, has_ledger: true, unusable: Some(Unusable::OtherIssuer), ..nothing() };
    assert_eq!(is(other_issuer, waits), LEFT, "its finalizer goes at the deadline");
    assert_eq!(is(settled().edited(elsewhere_only), Remains { is_out_of_scope: true, ..held }), LEFT_ALONE);
}

/// Another namespace than the resource's is served.
fn elsewhere_only(seen: &mut Observed) {
    seen.place = Arc::new(Place { namespaces: ["another".to_owned()].into(), ..place() });
}

#[test]
fn a_drain_of_some_namespaces_leaves_the_others_alone() {
    let forgotten = |seen: Observed| matches!(plan(&seen, at("10:10")), Plan::Rest(Rest { until: Until::Forgotten, .. }));
    for seen in [settled(), unreadable().with(record().live(1, "10:00"))] {
        let look = |seen: Observed| draining(seen).edited(|it| it.sighted = Sighted::Look(at("10:10")));
        assert!(!forgotten(look(seen.clone())), "it is drained where it is served");
        assert!(forgotten(look(seen).edited(elsewhere_only)));
    }
    // What is being deleted is ended by an operator too.
    let leaving = draining(seen(credential().claimed().deleting("10:00").leaving()).with(record().retiring(1, "10:00")));
    assert_eq!(plan(&leaving.edited(elsewhere_only), at("10:00")), Plan::Act(Act::Revoke(Which::Revision(1))));
}

#[test]
fn a_target_that_is_anothers_does_not_go() {
    let listed = |target| settled().with(record().live(1, "10:00")).target(TARGET, target);
    assert_eq!(remains(&listed(super::fixtures::foreign(Consent::Given))).targets, []);
    assert_eq!(remains(&listed(ours(Owner::OtherUid))).targets, []);
    assert_eq!(remains(&listed(ours(Owner::None))).targets, [name(TARGET)]);
    let replaced = listed(ours(Owner::None)).edited(|it| it.resource = Resource::Replaced);
    assert_eq!(remains(&replaced).targets, [], "its successor takes it over");
}
