//! The invariants. Each is held against every state, or against the step that may break it:
//!
//! * I1: each refresh token that lives is in a record, or in the hand of a running pass; or its answer was lost or its pass died, and the intent
//!   that was written for it stands, or a suspect was counted when that went
//! * I2: one cause has one issue, and the end of an access token one refresh that is known to rotate, unless something was lost in between
//! * I3: a target never gets a token older than one that it had, nor one whose line we have revoked, and no line is revoked that pods read
//! * I4: what is somebody else's is not touched, and what is another resource's is not delivered
//! * I5: a finalizer implies a ledger
//! * I6: what the status calls Ready is: the target holds a valid token
//! * I7: no ledger is counted as lost that nobody deleted
//! * I8: each target of ours is listed in a ledger, or collected with its owner
//! * I9: only a token that was saved is delivered
//! * I10: no pass ends and leaves an intent that it has not sent
//! * I11: before the deadline the finalizer goes only from a record that takes no tokens any more
//! * I12: what another operator, cluster or API holds is left alone: its ledger, its claim, its tokens
//!
//! What is accepted of each is said where it is checked.

use revoiceit_operator::planner::Consent;

use crate::{
    sight::{Hand, ResourceSight, Seen, is_token},
    state::{Model, State, is_listed},
    world::{Cover, Held, Listed, NAMES, Record, RefreshToken, Target},
};

pub(crate) const FORGOTTEN: &str = "a refresh token is alive, and nobody has it or counts it";

impl Model {
    /// I3, I4 and I9, when a target is written.
    pub(crate) fn check_delivery(&mut self, state: &mut State, name: u8, owner: u8, content: u8, creates: bool) {
        let place = usize::from(name);
        let writer = state.world.place_of(owner);
        let is_anothers = match state.world.targets[place] {
            Target::Absent => false,
            Target::Foreign { consent } => consent != Consent::Given,
            Target::Ours { of, .. } => usize::from(of) != writer,
        };
        if is_anothers {
            self.violated("I4", format!("target-{name} is overwritten and was somebody else's"));
        }
        let token = state.world.access_tokens[usize::from(content)];
        if token.rank == 0 {
            self.violated("I9", "a token is delivered that no ledger has had");
        }
        // A POST has no precondition: it may bring an older token back for a moment, after somebody deleted the target.
        if !creates && token.rank < state.world.tally.delivered[place][writer] && !state.world.tally.was_restored {
            self.violated("I3", format!("target-{name} had a newer token before"));
        }
        let line = state.world.refresh_tokens[usize::from(token.of)];
        if state.world.place_of(line.uid) != writer {
            self.violated("I4", format!("target-{name} gets a token of the other resource"));
        }
        let is_read = reads(state, name, writer as u8) && state.world.resource(owner).is_some();
        if !creates && line.revoked_by_us && !line.is_excused && token.expires_at > 0 && is_read {
            self.violated("I3", format!("target-{name} gets a token whose line we have revoked"));
        }
        let is_listed = state.world.ledgers[usize::from(owner)].is_some_and(|record| record.listed[place] != Listed::No);
        state.world.tally.is_stray[place] = !is_listed && state.world.tally.was_missed[usize::from(owner)];
        let delivered = &mut state.world.tally.delivered[place][writer];
        *delivered = token.rank.max(*delivered);
    }

    /// I3, before a refresh token is revoked.
    pub(crate) fn check_revocation(&mut self, state: &State, refresh: u8) {
        for name in 0..NAMES as u8 {
            let Target::Ours { content, of, .. } = state.world.targets[usize::from(name)] else { continue };
            // What is garbage goes from under the pods anyway.
            let is_stray = state.world.tally.is_stray[usize::from(name)];
            if !is_token(content) || !reads(state, name, of) || is_stray || is_garbage(state, usize::from(name)) {
                continue;
            }
            let token = state.world.access_tokens[usize::from(content)];
            // A token whose ledger was deleted by hand is in nobody's hand but that of the pass that revokes it.
            let is_excused = state.world.refresh_tokens[usize::from(refresh)].is_excused;
            // A record that a drain has closed is not opened again.
            let is_closed = state.world.tally.was_drained;
            if token.of == refresh && token.expires_at > 0 && !is_excused && !is_closed {
                self.violated("I3", format!("a line is revoked while target-{name} holds its token"));
            }
        }
    }

    /// I2, when an intent to refresh is written.
    pub(crate) fn check_intended_refresh(&mut self, record: &Record) {
        if record.live.is_none_or(|live| self.brain.codec.line(&live)[0] > 0) {
            self.violated("I2", "a refresh is intended of a line that is not to be refreshed yet");
        }
    }

    /// I2, when a refresh that is known to rotate brings a token. One that a suspect was counted for, or that is excused, is lost, whoever has it.
    pub(crate) fn check_refresh(&mut self, state: &State, replica: usize, uid: u8, token: u8) {
        let in_hand = state.passes[1 - replica].and_then(|pass| match pass.seen.hand {
            Hand::Refreshed { of, rotated, .. } if pass.uid == uid && of.token == token => rotated,
            _ => None,
        });
        let tokens = state.world.refresh_tokens;
        let is_not_lost = |token: u8| {
            let token = tokens[usize::from(token)];
            token.is_alive && !token.is_excused && token.cover != Cover::Suspect
        };
        let is_of_intent = |token: &RefreshToken| token.uid == uid && token.cover == Cover::Intent;
        let intent_was_used = tokens.iter().any(is_of_intent) || state.world.tally.intended[usize::from(uid)] > 0;
        if intent_was_used || in_hand.is_some_and(is_not_lost) {
            self.violated("I2", "an access token has had two refreshes that brought refresh tokens, and nothing was lost in between");
        }
    }

    /// I12, when a refresh token is sent.
    pub(crate) fn check_issuer(&mut self, state: &State, replica: usize, refresh: u8) {
        if state.world.refresh_tokens[usize::from(refresh)].issuer != state.issuers[replica] {
            self.violated("I12", "a refresh token is sent to another API than the one that it is from");
        }
    }

    /// I12, when a ledger is written or deleted by an operator that is set to this API.
    pub(crate) fn check_belonging(&mut self, state: &State, uid: u8, issuer: u8) {
        if state.world.ledgers[usize::from(uid)].is_some_and(|there| !there.is_for(issuer)) {
            self.violated("I12", "a ledger is written that belongs elsewhere");
        }
    }

    /// I11.
    pub(crate) fn check_release(&mut self, state: &State, uid: u8) {
        let Some(resource) = state.world.resource(uid) else { return };
        let deadline = resource.deleted_at.map(|time| time + self.brain.codec.deadline());
        let is_over = deadline.into_iter().chain(state.world.drain_until).any(|time| time <= 0);
        let record = state.world.ledgers[usize::from(uid)];
        // After a drain two may begin anew, and the second takes the finalizer of the first off. And a ledger that was deleted by hand is created
        // anew by a POST, which has no precondition.
        let is_anew = state.world.tally.was_drained || state.world.tally.was_missed[usize::from(uid)];
        if resource.held == Held::Claimed && !is_over && !is_anew && record.is_some_and(|record| !record.closed) {
            self.violated("I11", "the finalizer goes before the deadline, and the ledger may take tokens still");
        }
    }

    /// I6: what is said to be ready, and was not touched since it was read, is.
    pub(crate) fn check_ready(&mut self, state: &State, uid: u8, seen: &Seen) {
        let ResourceSight::Here { resource, is_current: true } = seen.resource else { return };
        let sight = seen.targets[usize::from(resource.target)];
        if !sight.is_current() {
            return;
        }
        let holds = match state.world.targets[usize::from(resource.target)] {
            Target::Ours { content, of, .. } if is_token(content) && usize::from(of) == state.world.place_of(uid) => {
                let token = state.world.access_tokens[usize::from(content)];
                let line = state.world.refresh_tokens[usize::from(token.of)];
                token.expires_at > 0 && (!line.revoked_by_us || line.is_excused)
            }
            _ => false,
        };
        // What a drain revokes is not seen by its last status.
        if !holds && state.world.drain_until.is_none() {
            self.violated("I6", "the status says Ready, and the target holds no valid token");
        }
    }

    /// I1: a pass that runs on, or ends by itself, has the token in its hand until a record has it.
    pub(crate) fn check_hands(&mut self, before: &State, state: &State) {
        let saved = bits(state.world.ledgers.iter().flatten().flat_map(Record::tokens));
        for (before, pass) in before.passes.iter().zip(&state.passes) {
            let Some(before) = before else { continue };
            let Some(token) = before.seen.hand.refresh_token() else { continue };
            let RefreshToken { is_alive, is_excused, .. } = state.world.refresh_tokens[usize::from(token)];
            let is_kept = pass.is_some_and(|pass| pass.seen.hand.refresh_token() == Some(token)) || saved & 1 << token != 0;
            if is_alive && !is_excused && !is_kept {
                self.violated("I1", "a pass lets go of a refresh token that no record has");
            }
        }
    }

    /// I1, I5 and I8: of every state.
    pub(crate) fn check(&mut self, state: &State) {
        let world = &state.world;
        for resource in world.existing().filter(|resource| resource.held == Held::Claimed) {
            let uid = usize::from(resource.uid);
            if world.ledgers[uid].is_none() && !world.tally.is_missed[uid] && !world.tally.was_drained {
                self.violated("I5", "a finalizer, and no ledger");
            }
        }
        let hands = state.passes.iter().flatten().filter_map(|pass| pass.seen.hand.refresh_token());
        let named = bits(world.ledgers.iter().flatten().flat_map(Record::tokens).chain(hands));
        for (number, token) in world.refresh_tokens.iter().enumerate() {
            if named & 1 << number == 0 && token.is_alive && !token.is_excused && token.cover == Cover::Nothing {
                self.violated("I1", FORGOTTEN);
            }
        }
        for name in 0..NAMES {
            if let Target::Ours { owner, .. } = world.targets[name]
                && !is_listed(world, name)
                && !is_collectable(state, owner)
                && !world.tally.is_missed.contains(&true)
                && !world.tally.is_stray[name]
                && !(world.tally.was_drained && owner.is_some())
            {
                self.violated("I8", format!("target-{name} is ours, and no ledger lists it"));
            }
        }
    }
}

/// A resource that is wanted names this target: pods may read it.
fn reads(state: &State, name: u8, of: u8) -> bool {
    state.world.drain_until.is_none()
        && state.world.resources[usize::from(of)].is_some_and(|resource| resource.deleted_at.is_none() && resource.target == name)
}

/// These numbers, as bits.
fn bits(numbers: impl Iterator<Item = u8>) -> u8 {
    numbers.fold(0, |bits, number| bits | 1 << number)
}

/// The garbage collector deletes the target, now or when its owner is gone.
fn is_collectable(state: &State, owner: Option<u8>) -> bool {
    owner.is_some_and(|owner| state.world.resource(owner).is_none_or(|resource| resource.deleted_at.is_some()))
}

/// The owner of the target is gone.
pub(crate) fn is_garbage(state: &State, name: usize) -> bool {
    let Target::Ours { owner: Some(owner), .. } = state.world.targets[name] else { return false };
    state.world.resource(owner).is_none()
}
