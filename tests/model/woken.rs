//! What is searched where passes begin only when something wakes them (see [`crate::wake`]): that no event and no time is missed. And that a
//! wake-up which is missed is found: each kind of them, taken away.
//!
//! Edits of ledgers are not among these: they have no watch, and the next pass sees what was done to them.

use jiff::Timestamp;
use revoiceit_operator::planner::{self, Observed, Plan, Rest, Until};

use crate::{
    adversity::Adversity,
    brain::Planner,
    edits::{ALL, Edit},
    scenario::{Scenario, Start},
    state::Switches,
};

const ANY: Adversity = Adversity::ANY_FAULT;
const LOST: Adversity = Adversity { lost: true, ..Adversity::NONE };
const CRASH: Adversity = Adversity { crash: true, ..Adversity::NONE };

/// All edits that there are events of. A ledger is watched by nobody.
const HEARD: &[Edit] = match ALL.split_last() {
    Some((Edit::DeleteLedger, heard)) => heard,
    _ => panic!("the edit of the ledger is the last"),
};
/// All that may be done to two resources with one target.
const OF_RIVALS: [Edit; 11] = [
    Edit::Rename,
    Edit::Delete,
    Edit::Orphan,
    Edit::RenameRival,
    Edit::DeleteRival,
    Edit::OrphanRival,
    Edit::DeleteTarget,
    Edit::Foreign,
    Edit::DeleteForeign,
    Edit::Consent,
    Edit::Credentials,
];

/// All that ends a resource, or begins one under its name.
const OF_LIFE: [Edit; 5] = [Edit::Delete, Edit::Orphan, Edit::Force, Edit::Recreate, Edit::Restore];

const fn woken(start: Start) -> Scenario {
    Scenario::new(start).woken()
}

const fn led(start: Start) -> Scenario {
    Scenario::new(start).led()
}

#[test]
fn a_first_token() {
    woken(Start::Fresh).time(1).faults(1, ANY).holds("woken: fresh", 47_000);
    woken(Start::Fresh).edits(1, HEARD).holds("woken: fresh, an edit", 19_000);
    led(Start::Fresh).time(1).edits(2, HEARD).holds("led: fresh, two edits", 37_000);
}

#[test]
fn a_first_token_of_which_a_write_comes_late() {
    const EDITS: [Edit; 3] = [Edit::Delete, Edit::Rename, Edit::DeleteCredentials];
    woken(Start::Fresh).edits(1, &EDITS).faults(1, LOST).holds("woken: fresh, late", 140_000);
}

#[test]
fn a_refresh() {
    woken(Start::Due).time(1).faults(1, ANY).holds("woken: due", 13_000);
    led(Start::Due).time(1).edits(1, HEARD).faults(1, ANY).holds("led: due", 32_000);
}

#[test]
fn an_edit() {
    woken(Start::Live).edits(1, HEARD).faults(1, ANY).holds("woken: an edit", 19_000);
    led(Start::Live).time(2).edits(1, HEARD).faults(1, ANY).holds("led: an edit", 46_000);
}

#[test]
fn two_edits() {
    woken(Start::Live).edits(2, HEARD).holds("woken: two edits", 114_000);
    led(Start::Live).edits(2, HEARD).faults(1, ANY).holds("led: two edits", 24_000);
}

#[test]
fn deletion_and_creation_anew() {
    woken(Start::Live).edits(2, &[Edit::Delete, Edit::Recreate]).faults(1, CRASH).holds("woken: delete, recreate", 23_000);
    woken(Start::Live).edits(3, &[Edit::Delete, Edit::Orphan, Edit::Recreate]).holds("woken: orphan, recreate, delete", 17_000);
    led(Start::Live).edits(4, &OF_LIFE).faults(1, CRASH).holds("led: four edits of life", 12_000);
}

#[test]
fn two_resources_with_one_target() {
    woken(Start::Rivals).edits(1, &[Edit::Rename, Edit::Delete, Edit::Orphan]).holds("woken: rivals", 63_000);
    led(Start::LiveRival).edits(3, &OF_RIVALS).holds("led: live and a rival, three edits", 22_000);
}

#[test]
fn statuses_that_come_between() {
    const EDITS: [Edit; 4] = [Edit::Suspend, Edit::Force, Edit::Delete, Edit::Rename];
    woken(Start::Live).statuses().edits(2, &EDITS).holds("woken: statuses", 20_000);
    led(Start::Fresh).statuses().time(1).edits(1, HEARD).holds("led: statuses", 2_000);
}

#[test]
fn a_lost_event() {
    woken(Start::Fresh).edits(1, HEARD).losses(1).holds("woken: fresh, a lost event", 72_000);
    woken(Start::Live).edits(1, HEARD).losses(1).faults(1, ANY).holds("woken: a lost event", 74_000);
    led(Start::Live).time(1).edits(2, HEARD).losses(1).holds("led: a lost event", 59_000);
}

/// For a night: the same with more of everything.
mod at_night {
    use super::*;

    #[test]
    #[ignore = "minutes"]
    fn a_first_token() {
        woken(Start::Fresh).time(2).faults(1, ANY).holds("woken: fresh, more time", 445_000);
        woken(Start::Fresh).edits(1, HEARD).faults(1, ANY).holds("woken: fresh, an edit, a fault", 385_000);
        led(Start::Fresh).time(2).edits(1, HEARD).faults(1, ANY).losses(1).holds("led: fresh, an edit, a fault, a loss", 390_000);
    }

    #[test]
    #[ignore = "minutes"]
    fn an_edit() {
        woken(Start::Due).edits(1, HEARD).faults(1, ANY).holds("woken: due, an edit, a fault", 359_000);
        woken(Start::Live).time(1).edits(1, HEARD).faults(1, ANY).holds("woken: an edit, time", 555_000);
        woken(Start::Live)
            .time(2)
            .edits(1, &[Edit::Rename, Edit::Credentials])
            .faults(1, ANY)
            .holds("woken: rename, credentials", 2_196_000);
        let scenario = woken(Start::Live).time(2).edits(1, &[Edit::Delete, Edit::Rotate, Edit::Suspend]);
        scenario.faults(1, ANY).holds("woken: delete, rotate, suspend", 2_461_000);
        led(Start::Due).time(3).edits(1, HEARD).faults(1, ANY).holds("led: due, more time", 477_000);
    }

    #[test]
    #[ignore = "minutes"]
    fn two_edits() {
        woken(Start::Live).edits(2, HEARD).faults(1, Adversity { crash: true, ..LOST }).holds("woken: two edits, a fault", 1_379_000);
        led(Start::Live).time(1).edits(2, HEARD).faults(1, ANY).holds("led: two edits, time", 236_000);
    }

    #[test]
    #[ignore = "minutes"]
    fn deletion_and_creation_anew() {
        woken(Start::Live)
            .time(1)
            .edits(2, &[Edit::Delete, Edit::Recreate])
            .faults(1, ANY)
            .holds("woken: delete, recreate, any fault", 1_621_000);
    }

    #[test]
    #[ignore = "minutes"]
    fn two_resources_with_one_target() {
        woken(Start::LiveRival).edits(2, &OF_RIVALS).holds("woken: live and a rival, two edits", 423_000);
    }

    #[test]
    #[ignore = "minutes"]
    fn statuses_that_come_between() {
        led(Start::Live).statuses().time(1).edits(2, HEARD).faults(1, ANY).holds("led: statuses, two edits, a fault", 494_000);
    }

    #[test]
    #[ignore = "minutes"]
    fn a_lost_event() {
        woken(Start::Live).edits(2, HEARD).losses(1).holds("woken: two edits, a lost event", 503_000);
    }
}

const AS_DESIGNED: Switches = Switches::AS_DESIGNED;

#[test]
fn a_pass_that_rests_says_no_time() {
    let switches = Switches { has_no_due_times: true, ..AS_DESIGNED };
    woken(Start::Live).switches(switches).time(1).breaks("no_due", "liveness");
}

#[test]
fn the_end_of_anothers_intent_is_not_waited_for() {
    fn plan(seen: &Observed, now: Timestamp) -> Plan {
        match planner::plan(seen, now) {
            Plan::Rest(rest) if seen.record().is_some_and(|record| record.intent.is_some()) => {
                Plan::Rest(Rest { until: Until::Woken, ..rest })
            }
            plan => plan,
        }
    }
    let broken = Planner { plan, ..Planner::PRODUCTION };
    woken(Start::Fresh).faults(1, CRASH).planner(broken).breaks("no_due_for_intents", "liveness");
}

#[test]
fn what_happens_during_a_pass_wakes_nobody() {
    let switches = Switches { deaf_in_passes: true, ..AS_DESIGNED };
    led(Start::Fresh).switches(switches).edits(1, &[Edit::Rename]).breaks("deaf_in_passes", "liveness");
}

#[test]
fn events_of_secrets_wake_nobody() {
    let switches = Switches { deaf_to_secrets: true, ..AS_DESIGNED };
    woken(Start::Live).switches(switches).edits(1, &[Edit::Credentials]).breaks("deaf_to_secrets, credentials", "liveness");
    woken(Start::Live).switches(switches).edits(1, &[Edit::DeleteTarget]).breaks("deaf_to_secrets, target", "liveness");
}

#[test]
fn a_lost_event_is_never_made_up_for() {
    let switches = Switches { never_lists_anew: true, ..AS_DESIGNED };
    woken(Start::Live).switches(switches).edits(1, &[Edit::Delete]).losses(1).breaks("no_relist", "liveness");
}

#[test]
fn ledgers_without_a_resource_are_not_looked_for() {
    let switches = Switches { never_sweeps: true, ..AS_DESIGNED };
    // What was written late, and what happened while no replica ran or heard of it.
    woken(Start::Fresh).switches(switches).edits(1, &[Edit::Delete]).faults(1, LOST).breaks("no_sweep, late", "liveness");
    woken(Start::Live).switches(switches).edits(2, &[Edit::Force, Edit::Delete]).faults(2, CRASH).breaks("no_sweep, crashes", "liveness");
}
