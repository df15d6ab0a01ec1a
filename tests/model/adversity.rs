//! What may happen next: the steps of the passes, of time, and of everything that adversity may do.

use crate::{
    check::is_garbage,
    clock::{next_time, pass_time},
    edits::{Edit, edit, is_possible},
    pass::{Start, refusable},
    perform::{Fault, Outcome},
    sight::{Act, Phase},
    state::{Model, REPLICAS, State},
    world::{NAMES, Target, Time},
};

/// One step. Replicas are numbered as in the state that it is a step of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Begin {
        replica: usize,
        uid: u8,
        start: Start,
    },
    Read {
        replica: usize,
        bogus: bool,
    },
    Perform {
        replica: usize,
        outcome: Outcome,
    },
    ReadBack {
        replica: usize,
    },
    Status {
        replica: usize,
    },
    Crash {
        replica: usize,
    },
    Time {
        seconds: Time,
    },
    LateWrite,
    /// `drain` is over, or broken off, and the operator runs again.
    EndDrain,
    Collect {
        name: u8,
    },
    Kill {
        token: u8,
    },
    Edit(Edit),
    /// The next event that would wake anybody is lost.
    LoseEvent,
    /// The watches list anew. Only where nothing else is left to wait for.
    Relist,
    /// Ledgers without a resource are looked for. Only where nothing else is left to wait for.
    Sweep,
}

/// What a scenario allows.
#[derive(Clone, Copy)]
pub(crate) struct Adversity {
    pub(crate) edits: &'static [Edit],
    pub(crate) crash: bool,
    pub(crate) lost: bool,
    pub(crate) deny: bool,
    pub(crate) call: bool,
    pub(crate) bogus: bool,
    /// Passes that something woke for nothing, also from a stale cache.
    pub(crate) spurious: bool,
}

impl Adversity {
    pub(crate) const NONE: Self = Self { edits: &[], crash: false, lost: false, deny: false, call: false, bogus: false, spurious: false };
    pub(crate) const ANY_FAULT: Self = Self { crash: true, lost: true, deny: true, call: true, ..Self::NONE };
}

/// All steps that are possible in this state.
pub(crate) fn steps(model: &mut Model, adversity: &Adversity, state: &State) -> Vec<Step> {
    let mut steps = Vec::new();
    for replica in 0..REPLICAS {
        steps_of_pass(model, adversity, state, replica, &mut steps);
    }
    if state.budget.time > 0
        && let Some(seconds) = next_time(model, state)
    {
        steps.push(Step::Time { seconds });
    }
    if state.world.late.is_some() {
        steps.push(Step::LateWrite);
    }
    if state.world.drain_until.is_some() {
        steps.push(Step::EndDrain);
    }
    steps.extend((0..NAMES as u8).filter(|name| is_garbage(state, usize::from(*name))).map(|name| Step::Collect { name }));
    if state.budget.kills > 0 {
        let alive = (0_u8..).zip(state.world.refresh_tokens.iter()).filter(|(_, token)| token.is_alive);
        steps.extend(alive.map(|(token, _)| Step::Kill { token }));
    }
    if state.budget.losses > 0 {
        steps.push(Step::LoseEvent);
    }
    if state.budget.edits > 0 {
        steps.extend(adversity.edits.iter().filter(|edit| is_possible(state, **edit)).map(|edit| Step::Edit(*edit)));
    }
    steps
}

fn steps_of_pass(model: &mut Model, adversity: &Adversity, state: &State, replica: usize, steps: &mut Vec<Step>) {
    let Some(pass) = state.passes[replica] else {
        for uid in state.uids().filter(|uid| state.wakes.is_none_or(|wakes| wakes.is_due(replica, *uid))) {
            // Of what is in no cache, or is being deleted, there is no glance.
            let wanted = state.world.resource(uid).filter(|resource| resource.deleted_at.is_none());
            let is_cached = model.laws.glances && wanted.is_some();
            let start = if is_cached { Start::Glance } else { Start::Look };
            steps.push(Step::Begin { replica, uid, start });
            if adversity.spurious && is_cached {
                steps.push(Step::Begin { replica, uid, start: Start::Look });
                if state.world.tally.was_claimed[usize::from(uid)] {
                    steps.push(Step::Begin { replica, uid, start: Start::StaleGlance });
                }
            }
        }
        return;
    };
    let may_fail = state.budget.faults > 0;
    match pass.phase {
        Phase::Read(_) => {
            steps.push(Step::Read { replica, bogus: false });
            if may_fail && adversity.bogus {
                steps.push(Step::Read { replica, bogus: true });
            }
        }
        Phase::ReadBack => steps.push(Step::ReadBack { replica }),
        Phase::Status(_) => steps.push(Step::Status { replica }),
        Phase::Poised => {
            let act = model.act(&pass).expect("an act");
            steps.push(Step::Perform { replica, outcome: Outcome::Plain });
            if may_fail {
                let outcomes = faults(adversity, &act, state.world.late.is_none());
                steps.extend(outcomes.map(|outcome| Step::Perform { replica, outcome }));
            }
        }
    }
    if may_fail && adversity.crash {
        steps.push(Step::Crash { replica });
    }
}

/// What may go wrong with an act.
fn faults(adversity: &Adversity, act: &Act, may_be_late: bool) -> impl Iterator<Item = Outcome> {
    const CALL: [Fault; 7] =
        [Fault::NotSent, Fault::Lost, Fault::LostAnswer, Fault::Unavailable, Fault::Rejected, Fault::Malformed, Fault::Unreadable];
    let is_write = !matches!(act, Act::TryTarget(_)) && refusable(act).is_some();
    let is_call = adversity.call && matches!(act, Act::Issue { .. } | Act::Refresh { .. } | Act::Revoke { .. });
    let is_revocation = matches!(act, Act::Revoke { .. });
    let lost = adversity.lost && is_write;
    let deny = adversity.deny && refusable(act).is_some();
    // However a revocation fails, it is tried again.
    let calls = CALL.into_iter().filter(move |fault| !is_revocation || matches!(fault, Fault::Lost | Fault::LostAnswer));
    let lost = [Outcome::Committed, Outcome::Dropped, Outcome::Late]
        .into_iter()
        .filter(move |late| lost && (may_be_late || *late != Outcome::Late));
    let deny = deny.then_some(Outcome::Denied);
    lost.chain(deny).chain(calls.filter(move |_| is_call).map(Outcome::Fails))
}

/// The state after a step. What is wrong with it is in the model.
pub(crate) fn after(model: &mut Model, before: &State, step: Step) -> State {
    let mut state = *before;
    match step {
        Step::Begin { replica, uid, start } => model.begin(&mut state, replica, uid, start),
        Step::Read { replica, bogus } => {
            state.fault(bogus);
            model.read(&mut state, replica, bogus);
        }
        Step::Perform { replica, outcome } => {
            state.fault(outcome != Outcome::Plain);
            model.perform(&mut state, replica, outcome);
        }
        Step::ReadBack { replica } => model.read_back(&mut state, replica),
        Step::Status { replica } => model.write_status(&mut state, replica),
        Step::Crash { replica } => {
            state.fault(true);
            state.end_pass(replica);
        }
        Step::Time { seconds } => {
            state.budget.time = state.budget.time.saturating_sub(1);
            pass_time(model, &mut state, seconds);
        }
        Step::LateWrite => {
            if let Some(late) = state.world.late.take() {
                model.commit(&mut state, late.write, late.is_current);
            }
        }
        Step::EndDrain => {
            (0..REPLICAS).for_each(|replica| state.end_pass(replica));
            state.world.drain_until = None;
            state.world.tally.was_drained = true;
            state.world.allow_issues(0, 1);
        }
        Step::Collect { name } => {
            state.world.targets[usize::from(name)] = Target::Absent;
            state.touch_target(name);
        }
        Step::Kill { token } => {
            state.budget.kills -= 1;
            state.world.refresh_tokens[usize::from(token)].is_alive = false;
            let uid = state.world.refresh_tokens[usize::from(token)].uid;
            state.world.allow_issues(uid, 1);
        }
        Step::Edit(what) => {
            state.budget.edits -= 1;
            edit(&mut state, what);
        }
        Step::LoseEvent => {
            state.budget.losses -= 1;
            state.wakes.iter_mut().for_each(|wakes| wakes.is_deaf = true);
        }
        Step::Relist => state.relist(),
        Step::Sweep => state.sweep(),
    }
    state.hear(before, step, &model.laws.switches);
    model.check(&state);
    if !matches!(step, Step::Crash { .. } | Step::EndDrain | Step::Edit(_)) {
        model.check_hands(before, &state);
    }
    state
}

impl State {
    fn fault(&mut self, is_one: bool) {
        if is_one {
            self.budget.faults -= 1;
        }
    }
}
