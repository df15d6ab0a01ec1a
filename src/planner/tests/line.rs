//! What waits in the gate: in which order, and what is done and told meanwhile.

use std::sync::Arc;

use super::{
    builders::CredentialExt,
    fixtures::{at, credential, record, seen, settled},
};
use crate::planner::{Act, Lane, Observed, Plan, Policy, Resource, Status, Which, deadline, overdue, plan};

fn draining(seen: Observed) -> Observed {
    seen.edited(|it| it.policy = Arc::new(Policy { draining: Some(at("11:00")), ..Policy::default() }))
}

fn status(seen: &Observed, clock: &str) -> Status {
    match plan(seen, at(clock)) {
        Plan::Rest(rest) => rest.status.expect("a status"),
        Plan::Act(act) => panic!("{act:?}"),
    }
}

#[test]
fn whoever_comes_back_to_the_line_has_the_place_that_it_had() {
    let revoke = Act::Revoke(Which::Revision(2));
    let leaving = credential().claimed().deleting("10:00").leaving();
    let waiting = [
        settled().with(record().live(1, "10:00").retiring(2, "10:05")),
        seen(leaving).with(record().retiring(2, "10:05")),
        seen(Resource::NotFound { proven: true }).with(record().retiring(2, "10:05")),
        draining(settled()).with(record().retiring(2, "10:05")),
        draining(settled()).with(record().live(2, "10:00")),
    ];
    for (number, it) in waiting.iter().enumerate() {
        assert_eq!(deadline(it, &revoke, at("10:10")), deadline(it, &revoke, at("10:40")), "{number}");
    }
}

#[test]
fn a_refresh_that_is_due_goes_before_a_new_line_that_is_wanted() {
    let rotated = seen(credential().claimed().rotate("now").wanted()).with(record().live(1, "10:00")).delivered();
    let lane = |clock| match plan(&rotated.clone().looked_at(clock), at(clock)) {
        Plan::Act(act) => act.leads_to(),
        Plan::Rest(_) => panic!("nothing to do"),
    };
    assert_eq!(lane("10:30"), Some(Lane::Issue));
    assert_eq!(lane("10:45"), Some(Lane::Refresh));
}

#[test]
fn a_deletion_that_waits_for_its_call_is_said_to_be_one() {
    let ready = status(&settled().looked_at("10:10"), "10:10");
    let leaving = credential().claimed().deleting("10:10").edited(|it| it.status = Some(ready)).leaving();
    let rest = overdue(&seen(leaving).with(record().live(1, "10:00")), at("10:11")).expect("it says Ready");
    let said = rest.status.expect("a status");
    assert_eq!((said.conditions[0].status.as_str(), said.conditions[0].reason.as_str()), ("False", "Revoking"));
    let told = credential().claimed().deleting("10:10").edited(|it| it.status = Some(said)).leaving();
    assert!(overdue(&seen(told).with(record().live(1, "10:00")), at("10:12")).is_none(), "it is told once");
}
