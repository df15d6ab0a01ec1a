//! What is searched. Each search goes through every state that there is within its budget, and from each the world comes to rest.

use crate::{
    adversity::Adversity,
    edits::{ALL, Edit},
    scenario::{Scenario, Start},
    state::Rotation,
};

const ANY: Adversity = Adversity::ANY_FAULT;
const LOST: Adversity = Adversity { lost: true, ..Adversity::NONE };
const CRASH: Adversity = Adversity { crash: true, ..Adversity::NONE };
const CRASH_OR_LOST: Adversity = Adversity { crash: true, lost: true, ..Adversity::NONE };

#[test]
fn a_first_token() {
    Scenario::new(Start::Fresh).time(2).faults(1, ANY).holds("fresh", 359_000);
}

#[test]
fn a_first_token_of_what_is_in_no_cache() {
    Scenario::new(Start::Fresh).time(1).faults(1, ANY).without_glances().holds("fresh, no glance", 59_000);
}

#[test]
fn a_first_token_and_an_edit() {
    Scenario::new(Start::Fresh).time(1).edits(1, &ALL).holds("fresh, an edit", 260_123);
}

#[test]
fn a_first_token_that_is_read_back() {
    Scenario::new(Start::Fresh).time(2).faults(1, CRASH_OR_LOST).reading_back().holds("fresh, read back", 151_000);
}

#[test]
fn other_credentials() {
    Scenario::new(Start::Live).time(1).edits(1, &[Edit::Credentials]).faults(1, ANY).holds("credentials", 72_000);
}

#[test]
fn another_name() {
    Scenario::new(Start::Live).time(2).edits(1, &[Edit::Rename]).faults(1, ANY).holds("rename", 404_000);
}

#[test]
fn another_name_and_back() {
    Scenario::new(Start::Live).time(2).edits(2, &[Edit::Rename]).spurious().holds("rename twice, woken for nothing", 840_000);
}

#[test]
fn rotation_and_suspension() {
    Scenario::new(Start::Due).time(2).edits(1, &[Edit::Rotate, Edit::Suspend]).holds("rotate, suspend", 162_000);
}

#[test]
fn a_foreign_target_and_consent() {
    const EDITS: [Edit; 4] = [Edit::Consent, Edit::Immutable, Edit::DeleteForeign, Edit::Delete];
    Scenario::new(Start::Foreign).time(1).edits(2, &EDITS).holds("foreign, two edits", 62_000);
}

#[test]
fn a_target_that_is_made_immutable_or_taken_away() {
    const EDITS: [Edit; 4] = [Edit::Immutable, Edit::Disown, Edit::Consent, Edit::Delete];
    Scenario::new(Start::Due).edits(2, &EDITS).faults(1, LOST).holds("due, immutable or disowned", 122_000);
}

#[test]
fn what_a_backup_brings() {
    const EDITS: [Edit; 6] = [Edit::RestoreLedger, Edit::RestoreTarget, Edit::Credentials, Edit::Rename, Edit::Delete, Edit::Recreate];
    Scenario::new(Start::Backup).edits(2, &EDITS).faults(1, CRASH).holds("backup, two edits", 159_000);
}

#[test]
fn a_copy_under_another_uid() {
    const EDITS: [Edit; 5] = [Edit::RestoreLedger, Edit::RestoreTarget, Edit::Force, Edit::Delete, Edit::Restore];
    Scenario::new(Start::Backup).edits(3, &EDITS).holds("backup, another UID", 132_000);
}

#[test]
fn another_api() {
    const EDITS: [Edit; 5] = [Edit::OtherApi(0), Edit::OtherApi(1), Edit::Delete, Edit::Recreate, Edit::DeleteLedger];
    Scenario::new(Start::Due).edits(2, &EDITS).holds("due, another API", 85_000);
    Scenario::new(Start::Fresh).edits(2, &EDITS).holds("fresh, another API", 166_000);
}

#[test]
fn another_home_and_ledgers_that_cannot_be_read() {
    const EDITS: [Edit; 5] = [Edit::MoveHome, Edit::SpoilLedger, Edit::DeleteLedger, Edit::Delete, Edit::Recreate];
    Scenario::new(Start::Due).edits(2, &EDITS).holds("due, another home", 96_000);
    Scenario::new(Start::Fresh).edits(2, &EDITS).holds("fresh, another home", 175_000);
}

#[test]
fn another_operator() {
    const EDITS: [Edit; 3] = [Edit::ClaimElsewhere, Edit::Force, Edit::Delete];
    Scenario::new(Start::Fresh).time(1).edits(2, &EDITS).holds("another operator", 172_000);
}

#[test]
fn two_resources_with_one_target() {
    const EDITS: [Edit; 7] =
        [Edit::Rename, Edit::Delete, Edit::Orphan, Edit::RenameRival, Edit::DeleteRival, Edit::OrphanRival, Edit::DeleteTarget];
    Scenario::new(Start::Rivals).edits(1, &EDITS).holds("rivals, an edit", 79_000);
    Scenario::new(Start::LiveRival).edits(2, &EDITS).holds("live and a rival, two edits", 107_000);
}

#[test]
fn statuses_that_come_between() {
    Scenario::new(Start::Fresh).statuses().time(1).edits(1, &[Edit::Suspend, Edit::Delete]).holds("fresh, statuses", 107_000);
    Scenario::new(Start::Live).statuses().edits(2, &[Edit::Force, Edit::Delete, Edit::Rename]).holds("live, statuses", 14_000);
}

#[test]
fn deletion() {
    Scenario::new(Start::Live).time(2).edits(1, &[Edit::Delete]).faults(1, ANY).holds("delete", 807_000);
}

#[test]
fn deletion_and_creation_anew() {
    Scenario::new(Start::Live).time(1).edits(2, &[Edit::Delete, Edit::Recreate]).faults(1, CRASH).holds("delete, recreate", 221_000);
}

#[test]
fn deletion_that_orphans_and_creation_anew() {
    let scenario = Scenario::new(Start::Live).time(1).edits(2, &[Edit::Orphan, Edit::Recreate]);
    scenario.faults(1, CRASH_OR_LOST).holds("orphan, recreate", 604_000);
}

#[test]
fn any_edit() {
    Scenario::new(Start::Live).time(1).edits(1, &ALL).faults(1, ANY).holds("any edit", 440_000);
}

#[test]
fn any_two_edits() {
    Scenario::new(Start::Live).edits(2, &ALL).holds("any two edits", 128_000);
}

#[test]
fn a_refresh_that_adds_tokens() {
    Scenario::new(Start::Due).time(1).faults(1, ANY).rotating(Rotation::Adds).holds("due, adds", 68_000);
}

#[test]
fn a_refresh_that_replaces_tokens_and_a_line_that_ends() {
    Scenario::new(Start::Due).time(1).faults(1, ANY).kills(1).rotating(Rotation::Replaces).holds("due, replaces, a kill", 98_000);
}

#[test]
fn a_refresh_that_is_known_to_rotate() {
    let scenario = Scenario::new(Start::Rotating).time(1).faults(1, ANY);
    scenario.rotating(Rotation::Adds).holds("rotating, adds", 17_000);
    scenario.rotating(Rotation::Replaces).holds("rotating, replaces", 16_000);
}

#[test]
fn a_404_that_is_none() {
    let bogus = Adversity { bogus: true, ..Adversity::NONE };
    Scenario::new(Start::Live).time(2).faults(1, bogus).spurious().holds("a 404", 13_000);
}

#[test]
fn a_drain_that_may_be_broken_off() {
    Scenario::new(Start::Drain).time(1).faults(1, ANY).holds("drain", 834_000);
}

#[test]
fn short_passes() {
    Scenario::new(Start::Fresh).time(1).faults(1, ANY).short_passes(7).holds("fresh, 7 acts a pass", 103_000);
}

#[test]
fn long_histories() {
    let live = Scenario::new(Start::Live).time(40).edits(5, &ALL).faults(3, ANY).kills(1).spurious();
    live.walks("live, walks", 1500, 300);
    live.rotating(Rotation::Replaces).short_passes(9).walks("live, replaces, 9 acts a pass, walks", 1000, 300);
    Scenario { start: Start::Fresh, ..live }.rotating(Rotation::Adds).walks("fresh, adds, walks", 1500, 300);
    Scenario::new(Start::Drain).time(40).edits(2, &ALL).faults(2, ANY).walks("drain, walks", 1000, 300);
}

/// For a night: the same with more of everything.
mod at_night {
    use super::*;

    #[test]
    #[ignore = "minutes"]
    fn a_first_token_and_two_faults() {
        Scenario::new(Start::Fresh).time(1).faults(2, ANY).holds("fresh, two faults", 415_000);
    }

    #[test]
    #[ignore = "minutes"]
    fn a_first_token_an_edit_and_a_fault() {
        Scenario { liveness: 4, limit: 30_000_000, ..Scenario::new(Start::Fresh) }
            .time(1)
            .edits(1, &ALL)
            .faults(1, ANY)
            .holds("fresh, any edit", 6_189_000);
    }

    #[test]
    #[ignore = "minutes"]
    fn any_two_edits_and_time() {
        Scenario::new(Start::Live).time(1).edits(2, &ALL).holds("any two edits", 2_315_000);
    }

    #[test]
    #[ignore = "minutes"]
    fn a_refresh_that_replaces_tokens_and_a_line_that_ends() {
        Scenario::new(Start::Due).time(2).faults(1, ANY).kills(1).rotating(Rotation::Replaces).holds("due, replaces, a kill", 1_283_000);
    }

    #[test]
    #[ignore = "minutes"]
    fn a_refresh_that_is_known_to_rotate() {
        const EDITS: [Edit; 4] = [Edit::Credentials, Edit::Rotate, Edit::Suspend, Edit::Delete];
        let scenario = Scenario { limit: 30_000_000, ..Scenario::new(Start::Rotating) };
        let replaces = scenario.rotating(Rotation::Replaces);
        replaces.time(1).edits(1, &ALL).faults(1, ANY).holds("rotating, replaces, any edit", 5_869_000);
        replaces.time(2).faults(1, ANY).kills(1).holds("rotating, replaces, a kill", 532_000);
        replaces.time(1).faults(2, ANY).holds("rotating, replaces, two faults", 123_000);
        scenario.rotating(Rotation::Adds).time(1).edits(1, &EDITS).faults(1, ANY).holds("rotating, adds, an edit", 2_046_000);
    }

    #[test]
    #[ignore = "minutes"]
    fn a_foreign_target_and_consent() {
        const EDITS: [Edit; 4] = [Edit::Consent, Edit::Immutable, Edit::DeleteForeign, Edit::Delete];
        Scenario::new(Start::Foreign).time(1).edits(2, &EDITS).faults(1, CRASH_OR_LOST).holds("foreign, two edits, a fault", 1_212_000);
    }

    #[test]
    #[ignore = "minutes"]
    fn a_target_that_is_made_immutable_or_taken_away() {
        const EDITS: [Edit; 4] = [Edit::Immutable, Edit::Disown, Edit::Consent, Edit::Delete];
        let scenario = Scenario::new(Start::Due).time(1).edits(2, &EDITS).faults(1, LOST);
        scenario.holds("due, immutable or disowned, time", 1_283_000);
    }

    #[test]
    #[ignore = "minutes"]
    fn what_a_backup_brings() {
        const EDITS: [Edit; 4] = [Edit::RestoreLedger, Edit::RestoreTarget, Edit::Credentials, Edit::Delete];
        let scenario = Scenario { limit: 30_000_000, ..Scenario::new(Start::Backup) };
        scenario.time(1).edits(3, &EDITS).holds("backup, three edits", 7_666_000);
    }

    #[test]
    #[ignore = "minutes"]
    fn a_copy_under_another_uid() {
        const EDITS: [Edit; 5] = [Edit::RestoreLedger, Edit::RestoreTarget, Edit::Force, Edit::Delete, Edit::Restore];
        Scenario::new(Start::Backup).edits(4, &EDITS).holds("backup, another UID, four edits", 1_272_000);
    }

    #[test]
    #[ignore = "minutes"]
    fn another_api() {
        const EDITS: [Edit; 5] = [Edit::OtherApi(0), Edit::OtherApi(1), Edit::Delete, Edit::Recreate, Edit::DeleteLedger];
        Scenario::new(Start::Live).time(1).edits(2, &EDITS).faults(1, LOST).holds("live, another API", 2_827_000);
    }

    #[test]
    #[ignore = "minutes"]
    fn another_home_and_ledgers_that_cannot_be_read() {
        const EDITS: [Edit; 5] = [Edit::MoveHome, Edit::SpoilLedger, Edit::DeleteLedger, Edit::Delete, Edit::Recreate];
        Scenario::new(Start::Live).time(1).edits(2, &EDITS).faults(1, LOST).holds("live, another home", 2_982_000);
    }

    #[test]
    #[ignore = "minutes"]
    fn other_credentials() {
        Scenario::new(Start::Live).time(2).edits(1, &[Edit::Credentials]).faults(1, ANY).holds("credentials, more time", 957_000);
    }

    #[test]
    #[ignore = "minutes"]
    fn deletion_and_creation_anew() {
        let scenario = Scenario::new(Start::Live).time(1).edits(2, &[Edit::Delete, Edit::Recreate]);
        scenario.faults(1, ANY).holds("delete, recreate, any fault", 1_070_000);
    }

    #[test]
    #[ignore = "minutes"]
    fn two_resources_with_one_target() {
        const EDITS: [Edit; 4] = [Edit::Rename, Edit::Delete, Edit::RenameRival, Edit::DeleteRival];
        Scenario::new(Start::Rivals).edits(1, &EDITS).faults(1, CRASH_OR_LOST).holds("rivals, an edit, a fault", 1_629_000);
        Scenario::new(Start::LiveRival).edits(2, &EDITS).faults(1, LOST).holds("live and a rival, two edits, a fault", 1_190_000);
    }

    #[test]
    #[ignore = "minutes"]
    fn statuses_that_come_between() {
        let scenario = Scenario::new(Start::Fresh).statuses().time(1).edits(1, &[Edit::Suspend, Edit::Delete]);
        scenario.faults(1, LOST).holds("fresh, statuses, a fault", 1_831_000);
    }

    #[test]
    #[ignore = "minutes"]
    fn long_histories() {
        let live = Scenario::new(Start::Live).time(40).edits(5, &ALL).faults(3, ANY).kills(1).spurious();
        live.walks("live, walks", 100_000, 300);
        live.rotating(Rotation::Replaces).short_passes(9).walks("live, replaces, 9 acts a pass, walks", 100_000, 300);
        Scenario { start: Start::Fresh, ..live }.rotating(Rotation::Adds).walks("fresh, adds, walks", 100_000, 300);
        Scenario::new(Start::Drain).time(40).edits(2, &ALL).faults(2, ANY).walks("drain, walks", 100_000, 300);
    }
}
