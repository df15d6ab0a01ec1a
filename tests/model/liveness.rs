//! From every state, when nothing goes wrong any more, it comes to rest, and rests.
//!
//! One fair schedule is followed: what runs goes on to its end, what is due begins, and when all rest, it is as late as the first of them said.
//! So a time that no pass asks to be woken at is found here, and a pass that rests although there is more for it to do.
//!
//! Where passes begin only when something wakes them, those begin that are due, and no others. When none is, the watches list anew if an event was
//! lost; then nothing may be left that a pass could do now, unless one is due soon; then it is as late as the next is due. There is no
//! sweep, but for what is [`is_outlived`] and what [`came_late`].

use std::ops::Range;

use revoiceit_operator::planner::Consent;

use crate::{
    adversity::{Step, after},
    canon::canonical,
    check::is_garbage,
    clock::pass_time,
    hash::{self, Set, bytes_of},
    pass::Start,
    perform::Outcome,
    sight::{Phase, is_token},
    state::{Budget, Model, REPLICAS, State, Violation},
    story::Story,
    wake::Wakes,
    world::{BAD_PAIR, Held, Listed, NAMES, Record, Resource, Target, Time, World},
};

const INTENT: &str = "an intent stands";
const OLD_NAME: &str = "an old name is listed";

/// States that are known to come to rest.
#[derive(Default)]
pub(crate) struct Liveness {
    good: Set<u128>,
}

/// Longer than any way to rest.
const LIMIT: usize = 2000;

/// The longest wait for something that is not to be waited for: an intent of another's, a retry.
const PAUSE: Time = 2 * 60;

impl Liveness {
    /// The memory that it takes.
    pub(crate) fn bytes(&self) -> usize {
        bytes_of(&self.good)
    }

    /// Follows the state to its rest, and tells how.
    pub(crate) fn check(&mut self, model: &mut Model, state: &State, mut story: Option<&mut Story>) -> Result<(), Violation> {
        let mut state = State { budget: Budget::default(), ..*state };
        state.wakes.iter_mut().for_each(|wakes| wakes.is_deaf = false);
        let is_swapped = canonical(&mut state);
        if let Some(story) = &mut story {
            story.after(&state, is_swapped);
        }
        let mut way = Vec::new();
        let mut on_way = Set::<u128>::default();
        // The UID that a pass is for that has begun here, so that nobody else has come between.
        let mut alone = None;
        loop {
            let hash = hash::wide(&state);
            if self.good.contains(&hash) {
                break;
            }
            let is_round = !on_way.insert(hash);
            let failed = |what: &str| Violation { invariant: "liveness", what: what.to_owned() };
            if is_round || way.len() > LIMIT {
                return Err(failed("it does not come to rest"));
            }
            way.push(hash);
            match next(model, &mut state) {
                Next::Step(step) => {
                    if let Some(story) = &mut story {
                        story.tell(model, &state, step);
                    }
                    if let Step::Begin { uid, .. } = step {
                        alone = Some(uid);
                    }
                    state = if let Step::Time { seconds } = step {
                        let mut later = state;
                        pass_time(model, &mut later, seconds);
                        later
                    } else {
                        after(model, &state, step)
                    };
                    if let Some(violation) = model.violation.take() {
                        return Err(violation);
                    }
                    if state.passes.iter().all(Option::is_none)
                        && let Some(uid) = alone.take()
                        && actors(&state).len() == 1
                        && state.wakes.is_none()
                        && model.last_rest.is_none_or(|until| until > 0)
                        // After a pass that has spent its acts there is a pause.
                        && model.brain.codec.policy.max_acts == u32::MAX
                        && state.uids().any(|there| there == uid)
                    {
                        let until = model.last_rest;
                        if would_rest(model, &mut { state }, 0, uid).is_none() {
                            return Err(failed(&format!("a pass rests until {until:?}, and there is more for it to do now")));
                        }
                    }
                    let is_swapped = canonical(&mut state);
                    if let Some(story) = &mut story {
                        story.after(&state, is_swapped);
                    }
                }
                Next::Rest => break,
                Next::Stuck(what) => return Err(failed(&what)),
            }
        }
        self.good.extend(way);
        Ok(())
    }
}

enum Next {
    Step(Step),
    Rest,
    Stuck(String),
}

fn next(model: &mut Model, state: &mut State) -> Next {
    for replica in 0..REPLICAS {
        if let Some(pass) = state.passes[replica] {
            return Next::Step(match pass.phase {
                Phase::Read(_) => Step::Read { replica, bogus: false },
                Phase::ReadBack => Step::ReadBack { replica },
                Phase::Status(_) => Step::Status { replica },
                Phase::Poised => Step::Perform { replica, outcome: Outcome::Plain },
            });
        }
    }
    if let Some(late) = state.world.late {
        // Nobody can count on its coming.
        return Next::Step(Step::Time { seconds: late.until + 1 });
    }
    if let Some(name) = (0..NAMES).find(|name| is_garbage(state, *name)) {
        return Next::Step(Step::Collect { name: name as u8 });
    }
    if let Some(wakes) = state.wakes {
        return next_woken(model, state, &wakes);
    }
    let mut wakes: Vec<Time> = Vec::new();
    let keys: Vec<_> = actors(state).flat_map(|replica| state.uids().map(move |uid| (replica, uid))).collect();
    for (replica, uid) in keys {
        match would_rest(model, state, replica, uid) {
            Some(until) => wakes.extend(until),
            None => return Next::Step(Step::Begin { replica, uid, start: start(state, uid) }),
        }
    }
    match wants(state) {
        None => Next::Rest,
        Some(what) => match wakes.into_iter().min() {
            Some(wake) => Next::Step(Step::Time { seconds: wake.max(1) }),
            None => Next::Stuck(format!("it rests for ever, and {what}")),
        },
    }
}

/// The same where passes begin only when something wakes them.
fn next_woken(model: &mut Model, state: &mut State, wakes: &Wakes) -> Next {
    let keys: Vec<_> = wakes.replicas().flat_map(|replica| state.uids().map(move |uid| (replica, uid))).collect();
    for (replica, uid) in keys.iter().copied() {
        if wakes.is_due_and_knows(replica, uid) {
            return Next::Step(Step::Begin { replica, uid, start: start(state, uid) });
        }
    }
    if wakes.is_missed() && !model.laws.switches.never_lists_anew {
        return Next::Step(Step::Relist);
    }
    for (replica, uid) in keys {
        let is_awaited = wakes.came_late[usize::from(uid)] || wakes.next(uid).is_some_and(|due| due <= PAUSE);
        if !is_awaited && would_rest(model, &mut { *state }, replica, uid).is_none() {
            if is_outlived(state, uid) && !model.laws.switches.never_sweeps {
                return Next::Step(Step::Sweep);
            }
            return Next::Stuck(format!("nobody is due soon, and there is something to do for UID {uid} now"));
        }
    }
    match wants(state) {
        None => Next::Rest,
        Some(what) => match wakes.later().min() {
            Some(wake) => Next::Step(Step::Time { seconds: wake }),
            None => came_late(model, state, wakes, what).map_or_else(|| Next::Stuck(format!("it rests for ever, and {what}")), Next::Step),
        },
    }
}

/// Its resource is gone and another has its name, or had it since. What becomes of that one, and of the target that both list, wakes nobody for what
/// is gone: that the old line may be revoked, or the ledger deleted, is seen when its token expires, or by the sweep before.
fn is_outlived(state: &State, uid: u8) -> bool {
    let world = &state.world;
    world.resource(uid).is_none() && !world.has_rival && world.uids > uid + 1
}

/// Something else that tells nobody of itself, since ledgers have no watch: a ledger's write that was processed when its sender had given up and had
/// been forgotten. If its resource is gone, the sweep finds it. Otherwise an intent or an old name waits, and nothing else, until something
/// happens to the resource, whatever that is.
fn came_late(model: &Model, state: &State, wakes: &Wakes, what: &str) -> Option<Step> {
    let uid = state.uids().find(|uid| wakes.came_late[usize::from(*uid)])?;
    if state.world.resource(uid).is_some() {
        return [INTENT, OLD_NAME].contains(&what).then(|| Step::Begin { replica: 0, uid, start: start(state, uid) });
    }
    (!model.laws.switches.never_sweeps && !state.unswept().is_empty()).then_some(Step::Sweep)
}

/// The replicas that are needed for it to come to rest: one, unless they differ.
fn actors(state: &State) -> Range<usize> {
    if state.issuers[0] == state.issuers[1] { 0..1 } else { 0..REPLICAS }
}

/// What is wanted is in the cache.
fn start(state: &State, uid: u8) -> Start {
    let is_cached = state.world.resource(uid).is_some_and(|resource| resource.deleted_at.is_none());
    if is_cached { Start::Glance } else { Start::Look }
}

/// The time at which it is due again, if a pass that begins now changes nothing but what the replica remembers.
fn would_rest(model: &mut Model, state: &mut State, replica: usize, uid: u8) -> Option<Option<Time>> {
    let mut trial = *state;
    model.begin(&mut trial, replica, uid, start(state, uid));
    for _ in 0..12 {
        let Some(pass) = trial.passes[replica] else {
            state.absent_since = trial.absent_since;
            return Some(model.last_rest);
        };
        match pass.phase {
            Phase::Read(_) => model.read(&mut trial, replica, false),
            Phase::ReadBack | Phase::Poised | Phase::Status(_) => return None,
        }
    }
    None
}

fn is_usable(state: &State, record: &Record) -> bool {
    state.issuers.iter().any(|issuer| record.is_for(*issuer))
}

fn is_nobodys(world: &World, name: usize) -> bool {
    matches!(world.targets[name], Target::Ours { owner: None, .. })
}

/// What is not as it should be for good.
fn wants(state: &State) -> Option<&'static str> {
    let world = &state.world;
    let is_held_elsewhere = |uid: usize| world.resource(uid as u8).is_some_and(|resource| resource.held == Held::Elsewhere);
    for (uid, record) in world.ledgers.iter().enumerate() {
        let Some(record) = record.as_ref().filter(|record| is_usable(state, record) && !is_held_elsewhere(uid)) else { continue };
        let is_gone = world.resource(uid as u8).is_none();
        // A target that nobody owns and that the successor does not take over is deleted when that goes too.
        let is_kept =
            world.namesake(uid as u8).is_some() && (0..NAMES).any(|name| record.listed[name] != Listed::No && is_nobodys(world, name));
        if is_gone && !is_kept {
            return Some("a ledger is left of a resource that is gone");
        }
        if record.intent.is_some() {
            return Some(INTENT);
        }
        if !record.retiring.is_empty() {
            return Some("a refresh token waits for its revocation");
        }
    }
    world.existing().find_map(|resource| wants_for(state, resource))
}

/// What is not as it should be for good with a resource.
fn wants_for(state: &State, resource: &Resource) -> Option<&'static str> {
    let world = &state.world;
    if resource.held == Held::Elsewhere {
        return None;
    }
    if world.drain_until.is_some() {
        let is_drained = world.ledgers.iter().all(Option::is_none) && resource.held == Held::Free;
        return (!is_drained).then_some("not all is drained");
    }
    if resource.deleted_at.is_some() {
        return Some("the resource is being deleted");
    }
    let record = world.ledgers[usize::from(resource.uid)];
    if record.is_some_and(|record| !is_usable(state, &record)) {
        return None;
    }
    let target = world.targets[usize::from(resource.target)];
    let has_token = record.is_some_and(|record| record.live.is_some_and(|live| live.expires_at > 0));
    let is_delivered = matches!(target, Target::Ours { content, .. } if is_token(content)
        && record.is_some_and(|record| record.live.is_some_and(|live| live.access == content)));
    let has_pair = world.credentials.is_some_and(|there| there.pair != BAD_PAIR);
    let is_foreign = match target {
        Target::Absent => false,
        Target::Foreign { consent } => consent != Consent::Given,
        Target::Ours { of, .. } => usize::from(of) != world.place_of(resource.uid),
    };
    if is_foreign || resource.is_suspended || !has_pair {
        // A person has to act.
        return None;
    }
    if !has_token {
        return Some("there is no valid token");
    }
    if !is_delivered {
        return Some("the token is not delivered");
    }
    if resource.held != Held::Claimed {
        return Some("there is a token and no finalizer");
    }
    let listed = record.map_or([Listed::No; NAMES], |record| record.listed);
    let is_left = (0..NAMES).any(|name| name != usize::from(resource.target) && listed[name] != Listed::No);
    is_left.then_some(OLD_NAME)
}
