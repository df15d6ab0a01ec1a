//! What may be lost is counted one by one, and told; broken, so that what was counted for nothing would hide what was not counted.

use jiff::Timestamp;
use revoiceit_operator::planner::{self, Act, Came, Change, Hand, Observed, Plan, Record};

use crate::{
    adversity::Adversity,
    brain::Planner,
    edits::Edit,
    scenario::{Scenario, Start},
    state::Rotation,
};

const PRODUCTION: Planner = Planner::PRODUCTION;
const CRASH: Adversity = Adversity { crash: true, ..Adversity::NONE };

/// The first is for a ledger that was deleted, however many tokens were in it.
#[test]
fn a_second_suspect_is_not_counted() {
    fn revised(seen: &Observed, change: &Change) -> Record {
        let after = planner::revised(seen, change);
        match seen.record() {
            Some(before) if *change == Change::Suspect && before.suspects.lost > 0 => Record { suspects: before.suspects, ..after },
            _ => after,
        }
    }
    let broken = Planner { revised, ..PRODUCTION };
    let scenario = Scenario::new(Start::Live).time(1).edits(1, &[Edit::DeleteLedger]);
    scenario.faults(1, CRASH).planner(broken).breaks("counts_one_suspect", "I1");
}

/// With an intent it would be counted in the end, and nothing had happened to it.
#[test]
fn a_pass_forgets_its_hand_when_another_was_faster() {
    fn fold(seen: Observed, came: Came) -> Observed {
        let is_changed = matches!(came, Came::Changed);
        let after = planner::fold(seen, came);
        if is_changed { Observed { hand: Hand::Nothing, ..after } } else { after }
    }
    let broken = Planner { fold, ..PRODUCTION };
    Scenario::new(Start::Due).time(1).rotating(Rotation::Replaces).planner(broken).breaks("forgets_its_hand", "I1");
}

#[test]
fn a_ledger_goes_and_nobody_is_told_of_its_suspects() {
    fn plan(seen: &Observed, now: Timestamp) -> Plan {
        match planner::plan(seen, now) {
            Plan::Act(Act::Tell(_)) => Plan::Act(Act::DeleteLedger),
            plan => plan,
        }
    }
    let broken = Planner { plan, ..PRODUCTION };
    let scenario = Scenario::new(Start::Fresh).time(1).edits(1, &[Edit::Delete]);
    scenario.faults(1, Adversity { call: true, ..Adversity::NONE }).planner(broken).breaks("untold", "I1");
}
