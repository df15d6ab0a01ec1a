//! Time goes on to the next moment at which something changes by it.

use crate::{
    codec,
    sight::{Phase, Sighted},
    state::{Model, REPLICAS, State},
    wake::Wakes,
    walk,
    world::{Listed, Time},
};

/// The next time at which something is due, or at which a look or a late write has its last moment.
pub(crate) fn next_time(model: &Model, state: &State) -> Option<Time> {
    let look_age = codec::seconds(model.brain.codec.policy.look_age);
    let mut times = due_times(model, state);
    for pass in state.passes.iter().flatten() {
        match (pass.phase, pass.seen.sighted) {
            (Phase::Read(reading), _) if reading.done > 0 => times.push(reading.began_at + look_age),
            (Phase::Poised | Phase::ReadBack, Sighted::Look(began_at)) => times.push(began_at + look_age),
            _ => {}
        }
    }
    times.extend(state.world.late.map(|late| late.until));
    times.extend(state.wakes.iter().flat_map(Wakes::later));
    times.into_iter().filter(|time| *time > 0).min()
}

/// When something becomes due at the server that nothing else brings about: each is a time to go to.
fn due_times(model: &Model, state: &State) -> Vec<Time> {
    let mut times = Vec::new();
    for record in state.world.ledgers.iter().flatten() {
        if let Some(live) = &record.live {
            times.push(live.expires_at);
            times.extend(model.brain.codec.line(live));
        }
        times.extend(record.retiring.iter().flat_map(|retiring| [Some(retiring.due), retiring.not_before]).flatten());
        times.extend(record.intent.map(|intent| intent.until));
        times.extend([record.failed_issue, record.failed_refresh].into_iter().flatten().map(|failed| failed.not_before));
        let linger = codec::seconds(model.brain.codec.policy.linger);
        times.extend(record.listed.iter().filter_map(|listed| match listed {
            Listed::Left(time) => Some(time + linger),
            Listed::No | Listed::Yes => None,
        }));
    }
    times.extend(state.world.drain_until);
    let deleted = state.world.existing().filter_map(|resource| resource.deleted_at);
    times.extend(deleted.map(|time| time + model.brain.codec.deadline()));
    times.extend(state.absent_since.iter().flatten().flatten().map(|time| time + 5 * 60));
    times
}

/// Time passes for everybody. What a pass has planned and not yet sent it plans anew: between the check of the look's age and the sending there is
/// no time in the model. (A replica that freezes for a minute just there costs one more token at most, and that is accepted.)
pub(crate) fn pass_time(model: &mut Model, state: &mut State, seconds: Time) {
    walk::pass_time(state, seconds);
    for replica in 0..REPLICAS {
        if state.passes[replica].is_some_and(|pass| pass.phase == Phase::Poised) {
            model.go_on(state, replica);
        }
    }
}
