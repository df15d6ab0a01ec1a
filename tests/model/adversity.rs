//! What may happen next: the steps of the passes, of time, and of everything that adversity may do.

use crate::{
    commit::{due_times, is_garbage},
    pass::Start,
    perform::{Fault, Outcome},
    sight::{Act, Phase},
    state::{Model, REPLICAS, State},
    walk,
    world::{BAD_PAIR, Credentials, EDITED, Held, NAMES, Record, Resource, Target, Time, UIDS},
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
}

/// What a user may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Edit {
    Credentials,
    BadCredentials,
    /// The Secret gets another version and keeps its pair.
    TouchCredentials,
    DeleteCredentials,
    Rename,
    Rotate,
    Suspend,
    Delete,
    /// `--cascade=orphan`
    Orphan,
    Recreate,
    /// From an export, with finalizer and claim.
    Restore,
    /// Finalizer and claim are removed by hand.
    Force,
    DeleteTarget,
    SpoilTarget,
    /// Somebody else creates a Secret under a target's name.
    Foreign,
    DeleteLedger,
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
    if state.budget.edits > 0 {
        steps.extend(adversity.edits.iter().filter(|edit| is_possible(state, **edit)).map(|edit| Step::Edit(*edit)));
    }
    steps
}

fn steps_of_pass(model: &mut Model, adversity: &Adversity, state: &State, replica: usize, steps: &mut Vec<Step>) {
    let Some(pass) = state.passes[replica] else {
        for uid in state.uids() {
            // Of what is in no cache, or is being deleted, there is no glance.
            let wanted = state.world.resource.filter(|resource| resource.uid == uid && resource.deleted_at.is_none());
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
    let is_write = !matches!(act, Act::TryTarget(_)) && crate::pass::refusable(act).is_some();
    let is_call = adversity.call && matches!(act, Act::Issue { .. } | Act::Refresh { .. } | Act::Revoke { .. });
    let is_revocation = matches!(act, Act::Revoke { .. });
    let lost = adversity.lost && is_write;
    let deny = adversity.deny && crate::pass::refusable(act).is_some();
    // However a revocation fails, it is tried again.
    let calls = CALL.into_iter().filter(move |fault| !is_revocation || matches!(fault, Fault::Lost | Fault::LostAnswer));
    let lost = [Outcome::Committed, Outcome::Dropped, Outcome::Late]
        .into_iter()
        .filter(move |late| lost && (may_be_late || *late != Outcome::Late));
    let deny = deny.then_some(Outcome::Denied);
    lost.chain(deny).chain(calls.filter(move |_| is_call).map(Outcome::Fails))
}

/// The next time at which something is due, or at which a look or a late write has its last moment.
fn next_time(model: &Model, state: &State) -> Option<Time> {
    let look_age = crate::codec::seconds(model.brain.codec.policy.look_age);
    let mut times = due_times(model, state);
    for pass in state.passes.iter().flatten() {
        match (pass.phase, pass.seen.sighted) {
            (Phase::Read(reading), _) if reading.done > 0 => times.push(reading.began_at + look_age),
            (Phase::Poised | Phase::ReadBack, crate::sight::Sighted::Look(began_at)) => times.push(began_at + look_age),
            _ => {}
        }
    }
    times.extend(state.world.late.map(|late| late.until));
    times.into_iter().filter(|time| *time > 0).min()
}

/// The state after a step. What is wrong with it is in the model.
pub(crate) fn after(model: &mut Model, state: &State, step: Step) -> State {
    let mut state = *state;
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
            // Nor does it know what was revoked just before.
            state.world.refresh_tokens.iter_mut().for_each(|token| token.revoked_by_us = false);
            state.world.tally.issues_left += 1;
        }
        Step::Collect { name } => {
            state.world.targets[usize::from(name)] = Target::Absent;
            state.touch_target(name);
        }
        Step::Kill { token } => {
            state.budget.kills -= 1;
            state.world.refresh_tokens[usize::from(token)].is_alive = false;
            state.world.tally.issues_left += 1;
        }
        Step::Edit(edit) => {
            state.budget.edits -= 1;
            do_edit(&mut state, edit);
        }
    }
    model.check(&state);
    state
}

/// Time passes for everybody. What a pass has planned and not yet sent it plans anew: between the check of the look's age and the sending there is
/// no time in the model (DESIGN section 4, *accepted*).
pub(crate) fn pass_time(model: &mut Model, state: &mut State, seconds: Time) {
    walk::pass_time(state, seconds);
    for replica in 0..REPLICAS {
        if state.passes[replica].is_some_and(|pass| pass.phase == Phase::Poised) {
            model.go_on(state, replica);
        }
    }
}

impl State {
    fn fault(&mut self, is_one: bool) {
        if is_one {
            self.budget.faults -= 1;
        }
    }
}

fn is_possible(state: &State, edit: Edit) -> bool {
    let resource = state.world.resource.filter(|resource| resource.deleted_at.is_none());
    let target = resource.map(|resource| state.world.targets[usize::from(resource.target)]);
    match edit {
        Edit::Credentials | Edit::BadCredentials => true,
        Edit::TouchCredentials | Edit::DeleteCredentials => state.world.credentials.is_some(),
        Edit::Rename | Edit::Rotate | Edit::Suspend | Edit::Delete | Edit::Orphan => resource.is_some(),
        Edit::Recreate | Edit::Restore => state.world.resource.is_none() && usize::from(state.world.uids) < UIDS,
        Edit::Force => state.world.resource.is_some_and(|resource| resource.held != Held::Free),
        Edit::DeleteTarget | Edit::SpoilTarget => matches!(target, Some(Target::Ours { .. })),
        Edit::Foreign => target == Some(Target::Absent),
        Edit::DeleteLedger => state.world.ledgers.iter().any(Option::is_some),
    }
}

fn do_edit(state: &mut State, edit: Edit) {
    let world = &mut state.world;
    let tally = &mut world.tally;
    match edit {
        Edit::Credentials | Edit::BadCredentials | Edit::TouchCredentials => {
            world.versions += 1;
            let pair = match edit {
                Edit::Credentials => world.versions,
                Edit::BadCredentials => BAD_PAIR,
                _ => world.credentials.map_or(0, |there| there.pair),
            };
            tally.issues_left += i8::from(edit != Edit::TouchCredentials);
            world.credentials = Some(Credentials { pair, version: world.versions });
        }
        Edit::DeleteCredentials => world.credentials = None,
        Edit::Rename | Edit::Rotate | Edit::Suspend | Edit::Force => {
            let resource = world.resource.as_mut().expect("a resource to edit");
            match edit {
                Edit::Rename => resource.target = (resource.target + 1) % NAMES as u8,
                Edit::Rotate => {
                    resource.request += 1;
                    tally.issues_left += 1;
                }
                Edit::Suspend => resource.is_suspended = !resource.is_suspended,
                _ => resource.held = Held::Free,
            }
            world.resource = world.resource.filter(|resource| resource.deleted_at.is_none() || resource.held != Held::Free);
            state.touch_resource();
        }
        Edit::Delete | Edit::Orphan => {
            let uid = world.resource.map(|resource| resource.uid);
            for name in 0..NAMES as u8 {
                if let Target::Ours { owner, .. } = &mut state.world.targets[usize::from(name)]
                    && edit == Edit::Orphan
                    && *owner == uid
                {
                    *owner = None;
                    state.touch_target(name);
                }
            }
            let held = state.world.resource.filter(|resource| resource.held != Held::Free);
            state.world.resource = held.map(|resource| Resource { deleted_at: Some(0), ..resource });
            state.touch_resource();
        }
        Edit::Recreate | Edit::Restore => {
            let held = if edit == Edit::Restore { Held::Copied } else { Held::Free };
            world.resource = Some(Resource { uid: world.uids, held, ..Resource::default() });
            world.uids += 1;
            tally.issues_left += 1;
        }
        Edit::DeleteTarget | Edit::SpoilTarget => {
            let name = world.resource.map_or(0, |resource| resource.target);
            match &mut world.targets[usize::from(name)] {
                Target::Ours { content, .. } if edit == Edit::SpoilTarget => *content = EDITED,
                target => *target = Target::Absent,
            }
            state.touch_target(name);
        }
        Edit::Foreign => {
            let name = world.resource.map_or(0, |resource| resource.target);
            world.targets[usize::from(name)] = Target::Foreign;
        }
        Edit::DeleteLedger => delete_ledger(state),
    }
}

/// What was in it is lost with it, and not counted one by one.
fn delete_ledger(state: &mut State) {
    let Some(uid) = (0..UIDS).find(|uid| state.world.ledgers[*uid].is_some()) else { return };
    let Some(record) = state.world.ledgers[uid].take() else { return };
    let kept: Vec<u8> = state.world.ledgers.iter().flatten().flat_map(Record::tokens).collect();
    for (number, token) in (0_u8..).zip(state.world.refresh_tokens.iter_mut()) {
        token.is_excused |= !kept.contains(&number);
    }
    let tally = &mut state.world.tally;
    tally.told += record.lost + u8::from(record.intent.is_some());
    tally.issues_left += 1;
    (tally.is_missed[uid], tally.was_missed[uid]) = (true, true);
    state.touch_ledger(uid as u8);
}
