//! Rule 2 of `ARCHITECTURE.md` for a refresh that is known to rotate, broken: its answer may carry a token, so it is written ahead as an issue is.

use jiff::{SignedDuration, Timestamp};
use revoiceit_operator::planner::{self, Act, Called, Change, Hand, IntentCall, Observed, Plan, Record, Suspects};

use crate::{
    adversity::Adversity,
    brain::Planner,
    breakages::with_record,
    scenario::{Scenario, Start},
    state::Rotation,
};

const PRODUCTION: Planner = Planner::PRODUCTION;
const CALL: Adversity = Adversity { call: true, ..Adversity::NONE };
const CRASH: Adversity = Adversity { crash: true, ..Adversity::NONE };

fn rotating() -> Scenario {
    Scenario::new(Start::Rotating).time(1).rotating(Rotation::Replaces)
}

fn is_refresh(record: &Record) -> bool {
    record.intent.as_ref().is_some_and(|intent| matches!(intent.call, IntentCall::Refresh { .. }))
}

/// The same with as many tokens counted as lost as there were.
fn without_counting(seen: &Observed, after: Record) -> Record {
    let suspects = seen.record().map_or(Suspects::default(), |before| before.suspects);
    Record { suspects, ..after }
}

#[test]
fn a_refresh_without_an_intent() {
    fn plan(seen: &Observed, now: Timestamp) -> Plan {
        match planner::plan(seen, now) {
            Plan::Act(Act::SaveLedger(Change::Intend { intent, .. })) if intent.call != IntentCall::Issue => {
                planner::plan(&with_record(seen, |record| record.rotates = false), now)
            }
            plan => plan,
        }
    }
    let broken = Planner { plan, ..PRODUCTION };
    rotating().faults(1, CRASH).planner(broken).breaks("no_refresh_intent, a crash", "I1");
    rotating().rotating(Rotation::Adds).planner(broken).breaks("no_refresh_intent", "I2");
}

#[test]
fn a_refresh_that_is_not_due() {
    fn plan(seen: &Observed, now: Timestamp) -> Plan {
        let age = SignedDuration::from_secs(2800);
        let shorten = |record: &mut Record| {
            if let Some(live) = record.live.as_mut().filter(|live| live.sent_at + age > now) {
                (live.sent_at, live.expires_at) = (live.sent_at - age, live.expires_at - age);
            }
        };
        planner::plan(&with_record(seen, shorten), now)
    }
    let broken = Planner { plan, ..PRODUCTION };
    rotating().planner(broken).breaks("refreshes_again", "I2");
}

#[test]
fn a_refresh_whose_answer_is_lost_is_not_counted() {
    fn revised(seen: &Observed, change: &Change) -> Record {
        let after = planner::revised(seen, change);
        match (change, &seen.hand) {
            (Change::Fold { .. }, Hand::Failed { call: Called::Refresh(_), .. }) => without_counting(seen, after),
            _ => after,
        }
    }
    let broken = Planner { revised, ..PRODUCTION };
    rotating().faults(1, CALL).planner(broken).breaks("forgets_lost_refresh", "I1");
}

#[test]
fn a_refresh_of_which_nobody_heard_again_is_not_counted() {
    fn revised(seen: &Observed, change: &Change) -> Record {
        let after = planner::revised(seen, change);
        let is_of_refresh = *change == Change::Suspect && seen.record().is_some_and(is_refresh);
        if is_of_refresh { without_counting(seen, after) } else { after }
    }
    let broken = Planner { revised, ..PRODUCTION };
    rotating().faults(1, CRASH).planner(broken).breaks("forgets_refresh_intent", "I1");
}
