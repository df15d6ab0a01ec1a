//! What people do to ledgers: only the operator writes them, and all else is an accident that must end well.

use crate::{
    state::{REPLICAS, State},
    world::{Belongs, NAMES, Record, UIDS, World},
};

/// What was in it is lost with it, and not counted one by one.
pub(crate) fn delete_ledger(state: &mut State) {
    let Some(uid) = (0..UIDS).find(|uid| state.world.ledgers[*uid].is_some()) else { return };
    state.world.ledgers[uid] = None;
    excuse(&mut state.world, uid);
    let tally = &mut state.world.tally;
    (tally.is_missed[uid], tally.was_missed[uid]) = (true, true);
    state.world.allow_issues(uid as u8, 1);
    state.touch_ledger(uid as u8);
}

/// Nobody can know what came of this ledger's tokens and intents.
fn excuse(world: &mut World, uid: usize) {
    world.refresh_tokens.iter_mut().filter(|token| usize::from(token.uid) == uid).for_each(|token| token.is_excused = true);
    world.tally.intended[uid] = 0;
}

/// Whoever ran was stopped by it.
pub(crate) fn move_home(state: &mut State) {
    (0..REPLICAS).for_each(|replica| state.end_pass(replica));
    state.world.late = None;
    for record in state.world.ledgers.iter_mut().flatten() {
        record.place = Belongs::OtherHome;
    }
}

pub(crate) fn spoil_ledger(state: &mut State) {
    let is_whole = |record: &Option<Record>| record.is_some_and(|record| record.place == Belongs::Here);
    let Some(uid) = state.world.ledgers.iter().position(is_whole) else { return };
    if let Some(record) = &mut state.world.ledgers[uid] {
        record.place = Belongs::Corrupt;
        // Whoever has one of these in hand cannot see that it was saved, and revokes it.
        record.tokens().for_each(|token| state.world.refresh_tokens[usize::from(token)].is_excused = true);
    }
    state.touch_ledger(uid as u8);
}

/// What the ledger has learned since is lost, and nobody can know of it. What is restored may have been revoked long since.
pub(crate) fn restore_ledger(state: &mut State) {
    let Some(backup) = state.world.backup else { return };
    let replaced = state.world.ledgers[0].replace(backup.record);
    excuse(&mut state.world, 0);
    let tally = &mut state.world.tally;
    let had_intent = replaced.is_some_and(|record| record.intent.is_some());
    tally.was_restored = true;
    // It may lack the names that were written since.
    tally.is_stray = [true; NAMES];
    (tally.is_missed[0], tally.was_missed[0]) = (false, true);
    // Whoever has issued with an intent that is gone has done so for nothing.
    state.world.allow_issues(0, 1 + u8::from(had_intent));
    state.touch_ledger(0);
}
