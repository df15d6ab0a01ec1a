//! The API server: what a write does, on its conditions.

use revoiceit_operator::planner::Consent;

use crate::{
    check::FORGOTTEN,
    state::{Model, State},
    world::{Cover, Held, Intent, IntentCall, NAMES, Record, Target, Write},
};

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Committed {
    Yes,
    /// Its precondition does not hold.
    No,
    /// The object may not be changed so.
    Invalid,
}

impl From<bool> for Committed {
    fn from(may: bool) -> Self {
        if may { Self::Yes } else { Self::No }
    }
}

impl Model {
    /// Does the write if its conditions hold.
    pub(crate) fn commit(&mut self, state: &mut State, write: Write, is_current: bool) -> Committed {
        match write {
            Write::Target { name, owner, content, creates } => {
                let there = state.world.targets[usize::from(name)];
                let may = if creates { there == Target::Absent } else { is_current && there != Target::Absent };
                if !may {
                    return Committed::No;
                }
                self.check_delivery(state, name, owner, content, creates);
                let is_immutable =
                    matches!(there, Target::Ours { is_immutable: true, .. } | Target::Foreign { consent: Consent::Immutable });
                if is_immutable && !matches!(there, Target::Ours { content: kept, .. } if kept == content) {
                    return Committed::Invalid;
                }
                state.world.targets[usize::from(name)] =
                    Target::Ours { owner: Some(owner), content, of: state.world.place_of(owner) as u8, is_immutable };
                state.touch_target(name);
                Committed::Yes
            }
            Write::DeleteTarget { name, uid } => {
                let there = state.world.targets[usize::from(name)];
                let may = is_current && there != Target::Absent;
                if may {
                    if !matches!(there, Target::Ours { of, .. } if usize::from(of) == state.world.place_of(uid)) {
                        self.violated("I4", format!("target-{name} is deleted and was somebody else's"));
                    }
                    state.world.targets[usize::from(name)] = Target::Absent;
                    state.touch_target(name);
                }
                may.into()
            }
            Write::Ledger { uid, record, creates, counts_loss } => {
                let there = state.world.ledgers[usize::from(uid)];
                let may = if creates { there.is_none() } else { is_current && there.is_some() };
                if may {
                    self.check_belonging(state, uid, record.issuer);
                    self.save(state, uid, record, counts_loss);
                }
                may.into()
            }
            Write::DeleteLedger { uid, issuer, told } => {
                let Some(record) = state.world.ledgers[usize::from(uid)].filter(|_| is_current) else { return Committed::No };
                self.check_belonging(state, uid, issuer);
                if record.lost > 0 && !told {
                    self.violated("I1", "suspects go with their ledger, and nobody was told");
                }
                self.settle(state, uid, Record::default());
                state.world.ledgers[usize::from(uid)] = None;
                state.touch_ledger(uid);
                Committed::Yes
            }
            Write::Claim { uid } => {
                let place = state.world.place_of(uid);
                let resource = state.world.resources[place].as_mut().filter(|resource| is_current && resource.deleted_at.is_none());
                let Some(resource) = resource else { return Committed::No };
                if resource.held == Held::Elsewhere {
                    self.violated("I12", "a resource is claimed that another operator holds");
                }
                resource.held = Held::Claimed;
                state.world.tally.was_claimed[usize::from(uid)] = true;
                state.touch_resource(place);
                Committed::Yes
            }
            Write::Release { uid, is_denied } => {
                let place = state.world.place_of(uid);
                let Some(mut resource) = state.world.resources[place].filter(|_| is_current) else { return Committed::No };
                if resource.held == Held::Elsewhere {
                    self.violated("I12", "a resource is released that another operator holds");
                }
                if !is_denied {
                    self.check_release(state, uid);
                }
                resource.held = Held::Free;
                state.world.resources[place] = resource.deleted_at.is_none().then_some(resource);
                state.touch_resource(place);
                Committed::Yes
            }
        }
    }

    fn save(&mut self, state: &mut State, uid: u8, record: Record, counts_loss: bool) {
        self.settle(state, uid, record);
        let world = &mut state.world;
        let there = world.ledgers[usize::from(uid)];
        if record.lost < there.map_or(0, |there| there.lost) {
            self.violated("I1", "suspects are forgotten");
        }
        let is_new = |intent: &Intent| there.and_then(|there| there.intent) != Some(*intent);
        if record.intent.filter(is_new).is_some_and(|intent| intent.call != IntentCall::Issue) {
            self.check_intended_refresh(&record);
        }
        // Each suspect may be the token that a cause was to have.
        world.allow_issues(uid, record.lost.saturating_sub(there.map_or(0, |there| there.lost)));
        let tally = &mut world.tally;
        let is_missed = std::mem::take(&mut tally.is_missed[usize::from(uid)]);
        if is_missed && !counts_loss {
            // The finalizer was removed too: there is no witness.
            tally.is_stray = [true; NAMES];
        }
        // A POST has no precondition: two may count one loss, if the ledger of the first has gone when the second comes.
        let was_missed = tally.was_missed[usize::from(uid)];
        if let Some(live) = record.live {
            let newest =
                world.access_tokens.iter().map(|token| token.rank).chain(world.tally.delivered.into_iter().flatten()).max().unwrap_or(0);
            let access = &mut world.access_tokens[usize::from(live.access)];
            if access.rank == 0 {
                access.rank = newest + 1;
            }
        }
        state.world.ledgers[usize::from(uid)] = Some(record);
        state.touch_ledger(uid);
        if counts_loss && !was_missed && !state.world.tally.was_drained {
            self.violated("I7", "a ledger is counted as lost that nobody deleted");
        }
    }

    /// I1: what is in the record is spoken for by it alone. What the intent spoke for that goes is spoken for by a suspect that comes, one by one.
    fn settle(&mut self, state: &mut State, uid: u8, record: Record) {
        let world = &mut state.world;
        for token in record.tokens() {
            world.refresh_tokens[usize::from(token)].cover = Cover::Nothing;
        }
        let Some(there) = world.ledgers[usize::from(uid)].filter(|there| there.intent.is_some() && there.intent != record.intent) else {
            return;
        };
        let mut counted = record.lost.saturating_sub(there.lost);
        for token in world.refresh_tokens.iter_mut().filter(|token| token.uid == uid && token.cover == Cover::Intent) {
            token.cover = if counted > 0 { Cover::Suspect } else { Cover::Nothing };
            counted = counted.saturating_sub(1);
        }
        if std::mem::take(&mut world.tally.intended[usize::from(uid)]) > counted {
            self.violated("I1", FORGOTTEN);
        }
    }
}
