//! What is somebody else's, taken for ours: the model has to find out.

use std::sync::Arc;

use jiff::Timestamp;
use revoiceit_operator::{
    api::{RevoiceitCredential, names},
    planner::{self, Consent, Observed, Plan, Resource, Target},
};

use crate::{
    brain::Planner,
    edits::Edit,
    scenario::{Scenario, Start},
    state::Switches,
};

const PRODUCTION: Planner = Planner::PRODUCTION;

/// The same, with other targets.
fn with_targets(seen: &Observed, change: impl Fn(&mut Target)) -> Observed {
    let mut seen = seen.clone();
    seen.targets.values_mut().for_each(change);
    seen
}

#[test]
fn a_foreign_target_is_taken_without_consent() {
    fn plan(seen: &Observed, now: Timestamp) -> Plan {
        let consents = |target: &mut Target| {
            if let Target::Foreign { consent, .. } = target {
                *consent = Consent::Given;
            }
        };
        planner::plan(&with_targets(seen, consents), now)
    }
    let broken = Planner { plan, ..PRODUCTION };
    Scenario::new(Start::Foreign).planner(broken).breaks("no_consent", "I4");
    Scenario::new(Start::LiveRival).planner(broken).breaks("loser_writes", "I4");
}

#[test]
fn a_target_gets_the_other_resources_token() {
    let switches = Switches { confuses_ledgers: true, ..Switches::AS_DESIGNED };
    Scenario::new(Start::LiveRival).switches(switches).edits(1, &[Edit::RenameRival]).breaks("crosswise", "I4");
}

#[test]
fn consent_is_given_and_not_seen() {
    fn plan(seen: &Observed, now: Timestamp) -> Plan {
        let refuses = |target: &mut Target| {
            if let Target::Foreign { consent, .. } = target {
                *consent = Consent::NotGiven;
            }
        };
        planner::plan(&with_targets(seen, refuses), now)
    }
    let broken = Planner { plan, ..PRODUCTION };
    Scenario::new(Start::Foreign).edits(1, &[Edit::Consent]).planner(broken).breaks("deaf_to_consent", "liveness");
}

#[test]
fn an_immutable_target_is_written_and_not_replaced() {
    fn plan(seen: &Observed, now: Timestamp) -> Plan {
        let thaws = |target: &mut Target| {
            if let Target::Ours { immutable, .. } = target {
                *immutable = false;
            }
        };
        planner::plan(&with_targets(seen, thaws), now)
    }
    let broken = Planner { plan, ..PRODUCTION };
    Scenario::new(Start::Due).edits(1, &[Edit::Immutable]).planner(broken).breaks("writes_immutable", "liveness");
}

/// The same, with another value of the annotation that claims the resource, believed for long.
fn with_claim(seen: &Observed, change: impl Fn(&str) -> Option<String>) -> Observed {
    let mut seen = Observed { finalizer_seen: true, ..seen.clone() };
    let edited = |meta: &mut k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta| {
        let claim = meta.annotations.as_mut().and_then(|annotations| annotations.get_mut(names::CLAIM_ANNOTATION));
        if let Some(claim) = claim
            && let Some(changed) = change(claim)
        {
            *claim = changed;
        }
    };
    match &mut seen.resource {
        Resource::Wanted(resource) => edited(&mut Arc::<RevoiceitCredential>::make_mut(resource).metadata),
        Resource::Leaving(leaving) => {
            let mut changed = planner::Leaving::clone(leaving);
            edited(&mut changed.meta);
            *leaving = Arc::new(changed);
        }
        Resource::Unreadable(_) | Resource::NotFound { .. } | Resource::Replaced | Resource::Released => {}
    }
    seen
}

#[test]
fn another_operators_claim_is_taken_for_ours() {
    fn ours(claim: &str) -> Option<String> {
        claim.split_once('/').map(|(_, uid)| format!("operator/{uid}"))
    }
    fn plan(seen: &Observed, now: Timestamp) -> Plan {
        planner::plan(&with_claim(seen, ours), now)
    }
    let broken = Planner { plan, ..PRODUCTION };
    Scenario::new(Start::Fresh).edits(1, &[Edit::ClaimElsewhere]).planner(broken).breaks("takes_claims", "I7");
}

#[test]
fn a_copied_claim_is_believed() {
    fn mine(claim: &str) -> Option<String> {
        claim.split_once('/').map(|(namespace, _)| format!("{namespace}/this"))
    }
    fn plan(seen: &Observed, now: Timestamp) -> Plan {
        planner::plan(&with_claim(seen, mine), now)
    }
    let broken = Planner { plan, ..PRODUCTION };
    Scenario::new(Start::Live).edits(3, &[Edit::Delete, Edit::Force, Edit::Restore]).planner(broken).breaks("believes_copies", "I7");
}

#[test]
fn home_and_issuer_of_a_record_are_not_looked_at() {
    let switches = Switches { trusts_any_ledger: true, ..Switches::AS_DESIGNED };
    let due = Scenario::new(Start::Due).switches(switches);
    due.edits(1, &[Edit::MoveHome]).breaks("ignores_home", "I12");
    due.edits(1, &[Edit::OtherApi(0), Edit::OtherApi(1)]).breaks("ignores_issuer", "I12");
}
