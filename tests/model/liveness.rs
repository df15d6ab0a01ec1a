//! From every state, when nothing goes wrong any more, it comes to rest, and rests.
//!
//! One fair schedule is followed: what runs goes on to its end, what is due begins, and when all rest, it is as late as the first of them said.
//! So a time that no pass asks to be woken at is found here. (Whatever happens at the servers wakes everybody: the model has no watches.)

use crate::{
    adversity::{Step, after, pass_time},
    canon::canonical,
    commit::is_garbage,
    hash::{self, Set},
    pass::Start,
    perform::Outcome,
    sight::{Phase, is_token},
    state::{Budget, Model, REPLICAS, State, Violation},
    story::Story,
    world::{BAD_PAIR, Held, Listed, NAMES, Target, Time, World},
};

/// States that are known to come to rest.
#[derive(Default)]
pub(crate) struct Liveness {
    good: Set<u128>,
}

/// Longer than any way to rest.
const LIMIT: usize = 2000;

impl Liveness {
    /// Follows the state to its rest.
    pub(crate) fn check(&mut self, model: &mut Model, state: &State) -> Result<(), (Violation, Vec<String>)> {
        let mut state = State { budget: Budget::default(), ..*state };
        canonical(&mut state);
        let mut way = Vec::new();
        let mut on_way = Set::<u128>::default();
        let mut told = Story::new();
        loop {
            let hash = hash::wide(&state);
            if self.good.contains(&hash) {
                break;
            }
            let is_round = !on_way.insert(hash);
            let failed = |what: &str| Violation { invariant: "liveness", what: what.to_owned() };
            if is_round || way.len() > LIMIT {
                return Err((failed("it does not come to rest"), told.lines));
            }
            way.push(hash);
            match next(model, &state) {
                Next::Step(step) => {
                    told.tell(model, &state, step);
                    state = if let Step::Time { seconds } = step {
                        let mut later = state;
                        pass_time(model, &mut later, seconds);
                        later
                    } else {
                        after(model, &state, step)
                    };
                    if let Some(violation) = model.violation.take() {
                        return Err((violation, told.lines));
                    }
                    let is_swapped = canonical(&mut state);
                    told.after(&state, is_swapped);
                }
                Next::Rest => break,
                Next::Stuck(what) => return Err((failed(&what), told.lines)),
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

fn next(model: &mut Model, state: &State) -> Next {
    for replica in 0..REPLICAS {
        if let Some(pass) = state.passes[replica] {
            return Next::Step(match pass.phase {
                Phase::Read(_) => Step::Read { replica, bogus: false },
                Phase::ReadBack => Step::ReadBack { replica },
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
    let mut wakes: Vec<Time> = Vec::new();
    for uid in state.uids() {
        let is_cached = state.world.resource.is_some_and(|resource| resource.uid == uid);
        let start = if is_cached { Start::Glance } else { Start::Look };
        match would_rest(model, state, uid, start) {
            Some(until) => wakes.extend(until),
            None => return Next::Step(Step::Begin { replica: 0, uid, start }),
        }
    }
    match wants(&state.world) {
        None => Next::Rest,
        Some(what) => match wakes.into_iter().min() {
            Some(wake) => Next::Step(Step::Time { seconds: wake.max(1) }),
            None => Next::Stuck(format!("it rests for ever, and {what}")),
        },
    }
}

/// The time at which it is due again, if a pass that begins now changes nothing.
fn would_rest(model: &mut Model, state: &State, uid: u8, start: Start) -> Option<Option<Time>> {
    let mut trial = *state;
    model.begin(&mut trial, 0, uid, start);
    for _ in 0..12 {
        let Some(pass) = trial.passes[0] else {
            return Some(model.last_rest);
        };
        match pass.phase {
            Phase::Read(_) => model.read(&mut trial, 0, false),
            Phase::ReadBack | Phase::Poised => return None,
        }
    }
    None
}

/// What is not as it should be for good.
fn wants(world: &World) -> Option<&'static str> {
    for (uid, record) in world.ledgers.iter().enumerate() {
        let Some(record) = record else { continue };
        if !world.resource.is_some_and(|resource| usize::from(resource.uid) == uid) {
            return Some("a ledger is left of a resource that is gone");
        }
        if record.intent.is_some() {
            return Some("an intent stands");
        }
        if !record.retiring.is_empty() {
            return Some("a refresh token waits for its revocation");
        }
    }
    let resource = world.resource?;
    if resource.deleted_at.is_some() {
        return Some("the resource is being deleted");
    }
    let record = world.ledgers[usize::from(resource.uid)];
    let target = world.targets[usize::from(resource.target)];
    let has_token = record.is_some_and(|record| record.live.is_some_and(|live| live.expires_at > 0));
    let is_delivered = matches!(target, Target::Ours { content, .. } if is_token(content)
        && record.is_some_and(|record| record.live.is_some_and(|live| live.access == content)));
    let has_pair = world.credentials.is_some_and(|there| there.pair != BAD_PAIR);
    if target == Target::Foreign || resource.is_suspended || !has_pair {
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
    is_left.then_some("an old name is listed")
}
