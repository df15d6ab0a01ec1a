//! For looking around, with a scenario in words:
//!
//! ```text
//! MODEL="live time=2 edits=Rename,Delete n=2 faults=1 any" cargo test -p revoiceit-model explore -- --ignored --nocapture
//! ```
//!
//! `fresh`, `foreign`, `live`, `rivals`, `liverival`, `backup`, `due`, `rotating`, `expired`, `drain`: the start. `time`, `faults`, `n` (edits), `kills`, `losses` (of events): the budget. `edits=all` (of daily life), `edits=every`, or names of [`Edit`]. `any`, or
//! `crash`, `lost`, `deny`, `call`, `bogus`: kinds of fault. `status`, `spurious`, `noglance`, `readback`, `rotate=adds`, `rotate=replaces`, `acts=7`, `woken`, `led`: laws.
//! `liveness=4`, `limit=1000000`: how much is searched. `walks=1000`: random histories instead.

use crate::{
    adversity::Adversity,
    edits::{ALL, Edit, OF_RIVAL, RARE},
    scenario::{Scenario, Start},
    state::Rotation,
};

#[test]
#[ignore = "takes its scenario from the environment"]
fn explore() {
    let text = std::env::var("MODEL").expect("a scenario");
    let mut scenario = Scenario::new(Start::Fresh);
    let mut walks = 0;
    for word in text.split_whitespace() {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        let number = || value.parse::<u32>().expect("a number");
        match key {
            "fresh" => scenario.start = Start::Fresh,
            "walks" => walks = number(),
            "live" => scenario.start = Start::Live,
            "foreign" => scenario.start = Start::Foreign,
            "rivals" => scenario.start = Start::Rivals,
            "liverival" => scenario.start = Start::LiveRival,
            "expired" => scenario.start = Start::Expired,
            "status" => scenario.laws.statuses = true,
            "rotating" => scenario.start = Start::Rotating,
            "backup" => scenario.start = Start::Backup,
            "due" => scenario.start = Start::Due,
            "drain" => scenario.start = Start::Drain,
            "acts" => scenario.max_acts = number(),
            "time" => scenario.budget.time = number() as u8,
            "faults" => scenario.budget.faults = number() as u8,
            "kills" => scenario.budget.kills = number() as u8,
            "n" => scenario.budget.edits = number() as u8,
            "edits" => {
                let edits: Vec<Edit> = ALL
                    .into_iter()
                    .chain(RARE)
                    .chain(OF_RIVAL)
                    .filter(|edit| {
                        value == "every"
                            || (value == "all" && ALL.contains(edit))
                            || value.split(',').any(|name| name == format!("{edit:?}"))
                    })
                    .collect();
                scenario.adversity.edits = Box::leak(edits.into_boxed_slice());
            }
            "crash" => scenario.adversity.crash = true,
            "lost" => scenario.adversity.lost = true,
            "deny" => scenario.adversity.deny = true,
            "call" => scenario.adversity.call = true,
            "any" => {
                scenario.adversity =
                    Adversity { edits: scenario.adversity.edits, spurious: scenario.adversity.spurious, ..Adversity::ANY_FAULT }
            }
            "bogus" => scenario.adversity.bogus = true,
            "woken" => scenario.laws.waits_for_events = true,
            "led" => (scenario.laws.waits_for_events, scenario.laws.is_led) = (true, true),
            "losses" => scenario.budget.losses = number() as u8,
            "spurious" => scenario.adversity.spurious = true,
            "noglance" => scenario.laws.glances = false,
            "readback" => scenario.laws.reads_back = true,
            "rotate" => scenario.laws.rotation = if value == "adds" { Rotation::Adds } else { Rotation::Replaces },
            "liveness" => scenario.liveness = number(),
            "limit" => scenario.limit = number() as usize,
            _ => panic!("{key}?"),
        }
    }
    if walks > 0 {
        return scenario.walks(&text, walks.into(), 300);
    }
    if let Some(found) = scenario.search(&text).counterexample {
        panic!("{}: {}\n{}", found.violation.invariant, found.violation.what, found.story.join("\n"));
    }
}
