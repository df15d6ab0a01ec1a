//! Each rule of `ARCHITECTURE.md`, broken: the model has to find out, or it proves nothing of the rule.
//!
//! The shortest trace of each is a file in `golden`, to be read; `UPDATE=1` accepts what has changed. What the rules are named there:
//!
//! | rule | broken as |
//! |---|---|
//! | 1 bracket | `claim_first`, `ledger_before_release`, `no_confirm` |
//! | 2 write-ahead | `no_intent`, `no_wait_intent`, `changed_ends`; of refreshes `no_refresh_intent`, `refreshes_again`, `forgets_lost_refresh`, `forgets_refresh_intent`: in [`crate::refreshes`] |
//! | 3 fold first | `write_before_save`, `revoke_hand`, `hopes_in_hand`, `rests_with_hand` |
//! | 4 conditional | `uncond_tgt`, `uncond_led`, `uncond_claim` |
//! | 5 read back by content | `unknown_revokes`, `stamp_only` |
//! | 6 absence | `one_404`, `no_gone_check` |
//! | 7 order of reads | `order`, `no_relook` |
//! | 8 close before release | `no_closing` |
//! | 9 names linger | `no_tombstones` |
//! | what is lost is counted and told | `counts_one_suspect`, `forgets_its_hand`, `untold`: in [`crate::suspects`] |
//! | what is somebody else's | `no_consent`, `deaf_to_consent`, `writes_immutable`, `loser_writes`, `crosswise`, `takes_claims`, `believes_copies`, `ignores_home`, `ignores_issuer`: in [`crate::strangers`] |
//! | wake-ups | `no_due`, `no_due_for_intents`, `deaf_in_passes`, `deaf_to_secrets`, `no_relist`, `no_sweep`: in [`crate::woken`] |
//!
//! A rule of the planner is broken by a wrapper around the production functions, a rule of the shell by a switch of the model's world.

use std::sync::Arc;

use jiff::Timestamp;
use revoiceit_operator::planner::{
    self, Act, Came, Cause, Change, Digest, Hand, Intent, IntentCall, Ledger, Observed, Owner, Plan, Record, Resource, Source, Target,
    Which,
};

use crate::{
    adversity::Adversity,
    brain::Planner,
    edits::Edit,
    golden,
    scenario::{Scenario, Start},
    state::{Read, Rotation, Switches},
};

const PRODUCTION: Planner = Planner::PRODUCTION;
const AS_DESIGNED: Switches = Switches::AS_DESIGNED;
/// The look that follows each wait for a permit covers for some rules.
const WITHOUT_LOOK_FOR_PERMIT: Switches = Switches { keeps_sights_while_waiting: true, ..AS_DESIGNED };

impl Scenario {
    /// The model finds that this does not hold.
    pub(crate) fn breaks(&self, rule: &str, invariant: &str) {
        let liveness = u32::from(invariant == "liveness");
        let found = Self { liveness, limit: 400_000, ..*self }.search(rule);
        let counterexample = found.counterexample.unwrap_or_else(|| panic!("{rule}: broken, and the model does not find it"));
        let violation = &counterexample.violation;
        println!("    {} after {} steps: {}", violation.invariant, counterexample.story.len(), violation.what);
        assert_eq!(violation.invariant, invariant, "{}\n{}", violation.what, counterexample.story.join("\n"));
        golden::compare(rule, &counterexample);
    }
}

const CRASH: Adversity = Adversity { crash: true, ..Adversity::NONE };
const LOST: Adversity = Adversity { lost: true, ..Adversity::NONE };

/// The same, with another record in the ledger that is there.
pub(crate) fn with_record(seen: &Observed, change: impl FnOnce(&mut Record)) -> Observed {
    let mut seen = seen.clone();
    if let Ledger::Here { record, .. } = &mut seen.ledger {
        change(Arc::make_mut(record));
    }
    seen
}

#[test]
fn rule_1_the_finalizer_comes_before_the_ledger() {
    fn plan(seen: &Observed, now: Timestamp) -> Plan {
        match planner::plan(seen, now) {
            Plan::Act(Act::SaveLedger(Change::Intend { .. })) if seen.claim() == planner::Claim::None => Plan::Act(Act::Claim),
            plan => plan,
        }
    }
    let broken = Planner { plan, ..PRODUCTION };
    Scenario::new(Start::Fresh).time(1).planner(broken).breaks("claim_first", "I5");
}

#[test]
fn rule_1_the_ledger_goes_before_the_finalizer() {
    fn plan(seen: &Observed, now: Timestamp) -> Plan {
        match planner::plan(seen, now) {
            Plan::Act(Act::Release) => Plan::Act(Act::DeleteLedger),
            plan => plan,
        }
    }
    let broken = Planner { plan, ..PRODUCTION };
    Scenario::new(Start::Live).edits(1, &[Edit::Delete]).planner(broken).breaks("ledger_before_release", "I5");
}

#[test]
fn rule_2_a_call_without_an_intent() {
    fn is_listed(record: &Record) -> bool {
        !record.targets.is_empty()
    }
    fn plan(seen: &Observed, now: Timestamp) -> Plan {
        match planner::plan(seen, now) {
            Plan::Act(Act::SaveLedger(Change::Intend { intent, .. })) if seen.record().is_some_and(is_listed) => {
                planner::plan(&with_record(seen, |record| record.intent = Some(intent)), now)
            }
            plan => plan,
        }
    }
    fn revised(seen: &Observed, change: &Change) -> Record {
        let Source::Found { pair, .. } = &seen.source else { return planner::revised(seen, change) };
        let (call, cause, source) = (IntentCall::Issue, Cause::First, Digest::of_pair(pair));
        let intent = Intent { call, cause, source, stamp: seen.me.clone(), until: Timestamp::UNIX_EPOCH };
        match change {
            Change::Intend { .. } => Record { intent: None, ..planner::revised(seen, change) },
            Change::Fold { .. } => planner::revised(&with_record(seen, |record| record.intent = Some(intent)), change),
            _ => planner::revised(seen, change),
        }
    }
    let broken = Planner { plan, revised, ..PRODUCTION };
    Scenario::new(Start::Fresh).faults(1, CRASH).planner(broken).breaks("no_intent, a crash", "I1");
    Scenario::new(Start::Fresh).planner(broken).breaks("no_intent", "I2");
}

#[test]
fn rule_2_a_deletion_does_not_wait_for_an_intent() {
    fn plan(seen: &Observed, now: Timestamp) -> Plan {
        let is_anothers = seen.my_intent().is_none();
        match &seen.resource {
            Resource::Leaving(_) | Resource::Released if is_anothers => {
                planner::plan(&with_record(seen, |record| record.intent = None), now)
            }
            _ => planner::plan(seen, now),
        }
    }
    let broken = Planner { plan, ..PRODUCTION };
    Scenario::new(Start::Fresh).time(1).edits(1, &[Edit::Delete]).faults(1, CRASH).planner(broken).breaks("no_wait_intent", "I1");
}

#[test]
fn rule_3_a_token_is_delivered_before_it_is_saved() {
    fn plan(seen: &Observed, now: Timestamp) -> Plan {
        match planner::plan(seen, now) {
            Plan::Act(Act::SaveLedger(change @ Change::Fold { .. })) => {
                let saved = planner::revised(seen, &change);
                let pretended = Observed { hand: Hand::Nothing, ..with_record(seen, |record| *record = saved) };
                match planner::plan(&pretended, now) {
                    Plan::Act(write @ Act::WriteTarget(_)) => Plan::Act(write),
                    _ => Plan::Act(Act::SaveLedger(change)),
                }
            }
            plan => plan,
        }
    }
    fn live(seen: &Observed) -> Option<planner::Live> {
        planner::revised(seen, &Change::Fold { now: crate::codec::now(), close: false }).live
    }
    let broken = Planner { plan, live, ..PRODUCTION };
    Scenario::new(Start::Fresh).planner(broken).breaks("write_before_save", "I9");
}

#[test]
fn rule_4_targets_are_written_blindly() {
    let switches = Switches { writes_targets_blindly: true, ..AS_DESIGNED };
    let live = Scenario::new(Start::Live).switches(switches);
    live.time(2).edits(1, &[Edit::Credentials]).breaks("uncond_tgt, credentials", "I3");
    live.edits(2, &[Edit::DeleteTarget, Edit::Foreign]).breaks("uncond_tgt, foreign", "I4");
}

#[test]
fn rule_4_ledgers_are_written_blindly() {
    let switches = Switches { writes_ledgers_blindly: true, ..AS_DESIGNED };
    Scenario::new(Start::Fresh).switches(switches).time(1).breaks("uncond_led", "I1");
}

#[test]
fn rule_5_silence_is_taken_for_failure() {
    let switches = Switches { takes_silence_for_failure: true, ..AS_DESIGNED };
    Scenario::new(Start::Fresh).switches(switches).faults(1, LOST).breaks("unknown_revokes", "I6");
}

#[test]
fn rule_5_a_record_that_another_wrote_last_is_taken_for_a_failure() {
    let switches = Switches { judges_by_writer: true, ..WITHOUT_LOOK_FOR_PERMIT };
    let scenario = Scenario::new(Start::Fresh).switches(switches).reading_back();
    scenario.edits(1, &[Edit::Rename]).faults(1, LOST).breaks("stamp_only", "I3");
}

#[test]
fn rule_6_one_404_is_believed() {
    let switches = Switches { believes_one_404: true, ..AS_DESIGNED };
    let bogus = Adversity { bogus: true, ..Adversity::NONE };
    Scenario::new(Start::Live).switches(switches).faults(2, bogus).spurious().breaks("one_404", "I5");
}

#[test]
fn rule_7_the_ledger_is_read_before_the_targets() {
    let switches = Switches { order: [Read::Ledger, Read::Targets, Read::Resource], ..AS_DESIGNED };
    Scenario::new(Start::Due).switches(switches).time(1).spurious().breaks("order: ledger, targets", "I3");
}

#[test]
fn rule_7_the_resource_is_read_before_the_ledger() {
    let switches = Switches { order: [Read::Targets, Read::Resource, Read::Ledger], ..WITHOUT_LOOK_FOR_PERMIT };
    let scenario = Scenario::new(Start::Live).switches(switches).time(1);
    scenario.edits(1, &[Edit::Credentials]).spurious().breaks("order: credentials, ledger", "I2");
}

#[test]
fn rule_8_the_finalizer_goes_from_a_record_that_is_open() {
    fn plan(seen: &Observed, now: Timestamp) -> Plan {
        match planner::plan(seen, now) {
            Plan::Act(Act::SaveLedger(Change::Close)) => planner::plan(&with_record(seen, |record| record.closed = true), now),
            plan => plan,
        }
    }
    fn revised(seen: &Observed, change: &Change) -> Record {
        match change {
            Change::Fold { now, .. } => planner::revised(seen, &Change::Fold { now: *now, close: false }),
            _ => planner::revised(seen, change),
        }
    }
    let broken = Planner { plan, revised, ..PRODUCTION };
    Scenario::new(Start::Live).edits(1, &[Edit::Delete]).planner(broken).breaks("no_closing", "I11");
}

#[test]
fn rule_1_a_ledger_is_missed_by_one_look() {
    fn fold(seen: Observed, came: Came) -> Observed {
        Observed { finalizer_seen: true, ..planner::fold(seen, came) }
    }
    let broken = Planner { fold, ..PRODUCTION };
    let scenario = Scenario::new(Start::Fresh).edits(1, &[Edit::Delete]);
    scenario.planner(broken).breaks("no_confirm", "I7");
}

#[test]
fn rule_2_a_pass_ends_when_another_was_faster() {
    let switches = Switches { ends_when_changed: true, ..AS_DESIGNED };
    Scenario::new(Start::Fresh).switches(switches).edits(1, &[Edit::Suspend]).breaks("changed_ends", "I10");
}

#[test]
fn rule_9_names_do_not_linger() {
    fn plan(seen: &Observed, now: Timestamp) -> Plan {
        match planner::plan(seen, now) {
            Plan::Act(Act::SaveLedger(Change::Unlist { name, .. })) => Plan::Act(Act::SaveLedger(Change::Forget(name))),
            plan => plan,
        }
    }
    let broken = Planner { plan, ..PRODUCTION };
    Scenario::new(Start::Live).edits(2, &[Edit::Rename]).planner(broken).breaks("no_tombstones", "I8");
}

#[test]
fn a_successor_is_taken_for_permission_to_revoke() {
    fn plan(seen: &Observed, now: Timestamp) -> Plan {
        let mut blind = seen.clone();
        for target in blind.targets.values_mut().filter(|_| matches!(seen.resource, Resource::Replaced)) {
            if let Target::Ours { owner: owner @ Owner::None, .. } = target {
                *owner = Owner::OtherUid;
            }
        }
        planner::plan(&blind, now)
    }
    let broken = Planner { plan, ..PRODUCTION };
    Scenario::new(Start::Live).edits(3, &[Edit::Orphan, Edit::Force, Edit::Recreate]).planner(broken).breaks("no_gone_check", "I3");
}

#[test]
fn rule_7_an_issue_follows_a_refresh_without_a_look() {
    fn fold(seen: Observed, came: Came) -> Observed {
        let mut seen = planner::fold(seen, came);
        seen.spent.answered_since_look = false;
        seen
    }
    let broken = Planner { fold, ..PRODUCTION };
    let scenario = Scenario::new(Start::Expired).switches(WITHOUT_LOOK_FOR_PERMIT).planner(broken);
    scenario.edits(2, &[Edit::TouchCredentials, Edit::Delete]).breaks("no_relook", "I2");
}

#[test]
fn a_token_is_folded_after_it_was_revoked_from_hand() {
    fn plan(seen: &Observed, now: Timestamp) -> Plan {
        match planner::plan(seen, now) {
            Plan::Act(Act::SaveLedger(Change::Fold { .. }))
                if seen.my_intent().is_none() && seen.hand.refresh_token().is_some() && !seen.spent.hand_kept =>
            {
                Plan::Act(Act::Revoke(Which::InHand))
            }
            plan => plan,
        }
    }
    let broken = Planner { plan, fold: fold_and_hope, ..PRODUCTION };
    let call = Adversity { call: true, ..Adversity::NONE };
    Scenario::new(Start::Rotating).time(2).faults(1, call).rotating(Rotation::Adds).planner(broken).breaks("revoke_hand", "I3");
}

/// The revocation whose answer was lost is taken for one that was not carried out.
fn fold_and_hope(seen: Observed, came: Came) -> Observed {
    let mut seen = planner::fold(seen, came);
    seen.spent.hand_doomed = false;
    seen
}

#[test]
fn a_pause_makes_a_pass_forget_that_it_revoked_what_it_has_in_hand() {
    let broken = Planner { fold: fold_and_hope, ..PRODUCTION };
    let faults = Adversity { deny: true, call: true, ..Adversity::NONE };
    Scenario::new(Start::Fresh).faults(2, faults).planner(broken).breaks("hopes_in_hand", "I6");
}

#[test]
fn a_pass_that_can_neither_save_nor_revoke_ends() {
    fn fold(seen: Observed, came: Came) -> Observed {
        let is_paused = matches!(came, Came::Paused);
        let after = planner::fold(seen, came);
        if is_paused { Observed { hand: Hand::Nothing, ..after } } else { after }
    }
    let broken = Planner { fold, ..PRODUCTION };
    let faults = Adversity { deny: true, call: true, ..Adversity::NONE };
    Scenario::new(Start::Due).time(1).faults(2, faults).rotating(Rotation::Adds).planner(broken).breaks("rests_with_hand", "I1");
}

#[test]
fn rule_4_finalizer_and_claim_are_set_blindly() {
    let switches = Switches { claims_blindly: true, ..AS_DESIGNED };
    Scenario::new(Start::Fresh).switches(switches).edits(2, &[Edit::Delete, Edit::Recreate]).breaks("uncond_claim", "I5");
}
