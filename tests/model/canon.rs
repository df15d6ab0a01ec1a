//! One form for all states that differ in names only.
//!
//! Tokens are numbered in the order in which they are met; what nobody can name any more is a count. Revisions and ranks keep their order only. The
//! two replicas are alike, so the smaller comes first. Objects have no versions and past times no distance, see [`crate::world`] and
//! [`crate::walk`].

use crate::{
    hash,
    list::List,
    sight::Pass,
    state::{REPLICAS, State},
    wake::NEVER,
    walk::{self, Visitor},
    world::{AccessToken, Cover, NAMES, RefreshToken, Stamp, Target, Time, UIDS, Write},
};

/// Brings a state into its form, and says whether the replicas changed places.
pub(crate) fn canonical(state: &mut State) -> bool {
    let is_swapped = order_replicas(state);
    renumber(state);
    is_swapped
}

/// The same, with the replicas left in their places.
pub(crate) fn renumber(state: &mut State) {
    walk::state(state, &mut Floors);
    number_tokens(state);
    number_revisions(state);
    number_ranks(state);
    for uid in 0..UIDS {
        let is_there = state.world.ledgers[uid].is_some() || state.world.resource(uid as u8).is_some();
        if !is_there && !state.passes.iter().flatten().any(|pass| usize::from(pass.uid) == uid) {
            // No pass will be for it any more.
            (0..REPLICAS).for_each(|replica| state.absent_since[replica][uid] = None);
            if let Some(wakes) = &mut state.wakes {
                wakes.due.iter_mut().for_each(|due| due[uid] = NEVER);
                wakes.misses.iter_mut().for_each(|misses| misses[uid] = false);
                wakes.came_late[uid] = false;
            }
        }
    }
    for name in 0..NAMES {
        state.world.tally.is_stray[name] &= matches!(state.world.targets[name], Target::Ours { .. });
    }
}

/// The times of a step are cut off as those that passed are.
struct Floors;

impl Visitor for Floors {
    fn time(&mut self, time: &mut Time, floor: Time) {
        *time = (*time).max(floor);
    }
}

/// Takes out what depends on the numbering.
struct Blank;

impl Visitor for Blank {
    fn refresh_token(&mut self, token: &mut u8) {
        *token = 0;
    }
    fn access_token(&mut self, token: &mut u8) {
        *token = 0;
    }
    fn revision(&mut self, _: usize, revision: &mut u8) {
        *revision = 0;
    }
}

fn order_replicas(state: &mut State) -> bool {
    let key = |replica: usize| {
        let blank = |mut pass: Pass| {
            walk::pass(&mut pass, &mut Blank);
            pass
        };
        let queue = state.wakes.map(|wakes| (wakes.due[replica], wakes.misses[replica]));
        (hash::wide(&(state.passes[replica].map(blank), state.absent_since[replica], state.issuers[replica])), queue)
    };
    let is_led = state.wakes.is_some_and(|wakes| wakes.is_led);
    let swaps = !is_led && key(0) > key(1);
    if swaps {
        state.passes.swap(0, 1);
        state.absent_since.swap(0, 1);
        state.issuers.swap(0, 1);
        if let Some(wakes) = &mut state.wakes {
            wakes.due.swap(0, 1);
            wakes.misses.swap(0, 1);
        }
        let late = state.world.late.as_mut().and_then(|late| match &mut late.write {
            Write::Ledger { record, .. } => Some(record),
            _ => None,
        });
        for intent in state.world.ledgers.iter_mut().flatten().chain(late).flat_map(|record| &mut record.intent) {
            if let Stamp::Of(replica) = &mut intent.stamp {
                *replica = 1 - *replica;
            }
        }
    }
    swaps
}

/// New numbers, in the order of first use.
struct Numbers {
    new: [Option<u8>; 8],
    used: u8,
}

impl Numbers {
    const fn new() -> Self {
        Self { new: [None; 8], used: 0 }
    }

    fn give(&mut self, number: &mut u8) {
        let used = &mut self.used;
        *number = *self.new[usize::from(*number)].get_or_insert_with(|| {
            *used += 1;
            *used - 1
        });
    }

    /// The items in their new order. What has no new number is left out.
    fn reorder<T: Copy + Default>(&self, items: &[T]) -> List<T, 8> {
        let mut ordered = [T::default(); 8];
        for (item, new) in items.iter().zip(self.new) {
            if let Some(new) = new {
                ordered[usize::from(new)] = *item;
            }
        }
        ordered[..usize::from(self.used)].iter().copied().collect()
    }
}

struct AccessTokens(Numbers);

impl Visitor for AccessTokens {
    fn access_token(&mut self, token: &mut u8) {
        self.0.give(token);
    }
}

struct RefreshTokens(Numbers);

impl Visitor for RefreshTokens {
    fn refresh_token(&mut self, token: &mut u8) {
        self.0.give(token);
    }
}

fn number_tokens(state: &mut State) {
    let mut access = AccessTokens(Numbers::new());
    walk::state(state, &mut access);
    state.world.access_tokens = access.0.reorder::<AccessToken>(&state.world.access_tokens);
    let mut refresh = RefreshTokens(Numbers::new());
    walk::state(state, &mut refresh);
    for (token, new) in state.world.refresh_tokens.iter_mut().zip(refresh.0.new) {
        if !token.is_alive || token.is_excused {
            token.cover = Cover::Nothing;
        }
        if new.is_none() && token.cover == Cover::Intent {
            state.world.tally.intended[usize::from(token.uid)] += 1;
        }
    }
    state.world.refresh_tokens = refresh.0.reorder::<RefreshToken>(&state.world.refresh_tokens);
}

/// The numbers in use, as bits.
struct Revisions([u64; UIDS]);

impl Visitor for Revisions {
    fn revision(&mut self, uid: usize, revision: &mut u8) {
        self.0[uid] |= 1 << *revision;
    }
}

/// Each number becomes its place among those in use.
struct Places([u64; UIDS]);

impl Visitor for Places {
    fn revision(&mut self, uid: usize, revision: &mut u8) {
        *revision = place(self.0[uid], *revision);
    }
}

fn place(used: u64, number: u8) -> u8 {
    (used & ((1 << number) - 1)).count_ones() as u8
}

fn number_revisions(state: &mut State) {
    let mut used = Revisions([0; UIDS]);
    walk::state(state, &mut used);
    walk::state(state, &mut Places(used.0));
}

fn number_ranks(state: &mut State) {
    let world = &mut state.world;
    // Zero is no rank, and keeps its place.
    let ranks = world.access_tokens.iter().map(|token| token.rank).chain(world.tally.delivered.into_iter().flatten());
    let used = ranks.fold(1, |used, rank| used | 1 << rank);
    for rank in world.access_tokens.iter_mut().map(|token| &mut token.rank).chain(world.tally.delivered.iter_mut().flatten()) {
        *rank = place(used, *rank);
    }
}
