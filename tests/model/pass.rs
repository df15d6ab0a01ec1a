//! The pass loop of the controller (`pass.rs` and `look.rs` there), one read or one act a step.

use revoiceit_operator::planner::Refused;

use crate::{
    sight::{Act, Came, LedgerSight, Pass, Phase, Plan, Reading, ResourceSight, Rest, Seen, Sighted, SourceSight, TargetSight},
    state::{Model, Read, State, Switches, as_seen_by},
    world::{NAMES, Record, Resource, Stamp, Target, World},
};

/// Between two NotFounds that prove a resource gone.
const ABSENCE: i16 = 5 * 60;

/// What a pass begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// The resource is in no cache, or something woke the pass for nothing.
    Look,
    /// What the caches show is true.
    Glance,
    /// The cache shows a finalizer that was there once.
    StaleGlance,
}

impl Model {
    /// Begins a pass, up to what it does first. One that would rest at once is not begun.
    pub(crate) fn begin(&mut self, state: &mut State, replica: usize, uid: u8, start: Start) {
        if let Some(wakes) = &mut state.wakes {
            wakes.begins(replica, uid);
        }
        let resource = state.world.resource(uid);
        let names = resource.map_or(0, |resource| 1 << resource.target);
        let drain_until = state.world.drain_until;
        let seen = Seen { finalizer_seen: start == Start::StaleGlance, drain_until, ..Seen::NOTHING };
        let mut pass = Pass { uid, phase: Phase::Poised, permit: None, names, said: 0, seen };
        if start != Start::Glance {
            self.begin_look(&mut pass);
            state.passes[replica] = Some(pass);
            return;
        }
        read_ledger(self, state, replica, &mut pass);
        pass.names |= pass.seen.record().map_or(0, Record::names);
        read_targets(state, &mut pass);
        self.read_resource(state, replica, &mut pass, false);
        pass.seen.source = state.world.credentials.map_or(SourceSight::Missing, |there| SourceSight::Unread { version: there.version });
        pass.seen = self.brain.fold(&pass.seen, Came::Glance);
        state.passes[replica] = Some(pass);
        self.go_on(state, replica);
    }

    /// Plans, and does all that is not an act: the end of the pass, the wait for a permit, the beginning of a look.
    pub(crate) fn go_on(&mut self, state: &mut State, replica: usize) {
        let mut pass = *state.pass(replica);
        pass.phase = Phase::Poised;
        match self.brain.plan(&pass.seen) {
            // It goes on after a pause, and keeps what it has in hand.
            Plan::Rest(_) if pass.seen.hand.refresh_token().is_some() => {
                pass.names |= names_seen(&pass.seen);
                pass.seen = self.brain.fold(&pass.seen, Came::Paused);
                self.begin_look(&mut pass);
            }
            Plan::Rest(rest) => return self.rest(state, replica, &pass, rest),
            Plan::Act { lane: Some(lane), .. } if pass.permit != Some(lane) && !self.laws.switches.keeps_sights_while_waiting => {
                pass.permit = Some(lane);
                pass.names |= names_seen(&pass.seen);
                pass.seen = self.brain.fold(&pass.seen, Came::Waited);
                self.begin_look(&mut pass);
            }
            Plan::Act { act, .. } if act == Act::Look || pass.seen.sighted == Sighted::Glance => self.begin_look(&mut pass),
            Plan::Act { .. } => {}
        }
        state.passes[replica] = Some(pass);
    }

    fn begin_look(&mut self, pass: &mut Pass) {
        pass.names |= names_seen(&pass.seen);
        let (seen, reading) = self.brain.forget(&pass.seen);
        (pass.seen, pass.phase) = (seen, Phase::Read(reading));
    }

    /// The next read of a look. `bogus`: something answers 404 for the resource that is not the resource's.
    pub(crate) fn read(&mut self, state: &mut State, replica: usize, bogus: bool) {
        let mut pass = *state.pass(replica);
        let Phase::Read(mut reading) = pass.phase else { unreachable!("a look is under way") };
        match self.laws.switches.order[usize::from(reading.done)] {
            Read::Targets => read_targets(state, &mut pass),
            Read::Ledger => {
                read_ledger(self, state, replica, &mut pass);
                if pass.seen.finalizer_seen && pass.seen.ledger.is_none() {
                    // The targets of a ledger that is missed are listed by their annotation.
                    reading.found = (0..NAMES).filter(|name| is_of(&state.world, *name, pass.uid)).fold(0, with);
                }
            }
            Read::Resource => {
                self.read_resource(state, replica, &mut pass, bogus);
                pass.seen.source = self.read_credentials(state, &pass, reading.had_pair);
            }
        }
        if reading.done == 0 {
            reading.began_at = 0;
        }
        reading.done += 1;
        pass.phase = Phase::Read(reading);
        state.passes[replica] = Some(pass);
        if usize::from(reading.done) == self.laws.switches.order.len() {
            self.complete_look(state, replica, reading);
        }
    }

    /// All is read, unless a name turned up that was not.
    fn complete_look(&mut self, state: &mut State, replica: usize, reading: Reading) {
        let pass = state.pass(replica);
        let names = pass.names | reading.found | names_wanted(&pass.seen);
        // A target that a LIST has found and that was not there when it was read was written in between.
        let is_missing = (0..NAMES).any(|name| reading.found & 1 << name != 0 && pass.seen.targets[name] == TargetSight::Absent);
        if names != pass.names || is_missing {
            let Seen { hand, refused, finalizer_seen, spent, drain_until, .. } = pass.seen;
            pass.names = names;
            pass.seen = Seen { hand, refused, finalizer_seen, spent, drain_until, ..Seen::NOTHING };
            pass.phase = Phase::Read(Reading { done: 0, began_at: 0, found: 0, ..reading });
            return;
        }
        pass.seen = self.brain.fold(&pass.seen, Came::Look(reading));
        self.go_on(state, replica);
    }

    fn read_resource(&mut self, state: &mut State, replica: usize, pass: &mut Pass, bogus: bool) {
        pass.said = state.world.resource(pass.uid).filter(|_| self.laws.statuses).map_or(0, |resource| resource.says);
        let since = &mut state.absent_since[replica][usize::from(pass.uid)];
        // An absence that is old news is looked into: a LIST, and another GET.
        let is_old_news = since.is_some_and(|since| since + ABSENCE <= 0);
        pass.seen.resource = match state.world.namesake(pass.uid).filter(|_| !bogus || is_old_news) {
            Some(resource) if resource.uid == pass.uid => {
                *since = None;
                // Of a resource that is being deleted, the spec is not looked at.
                let Resource { target, is_suspended, request, held, deleted_at, .. } = resource;
                let resource = match deleted_at {
                    None => Resource { uid: 0, target, is_suspended, request, held, says: 0, deleted_at },
                    Some(_) => Resource { uid: 0, target: 0, is_suspended: false, request, held, says: 0, deleted_at },
                };
                ResourceSight::Here { resource, is_current: true }
            }
            Some(_) => ResourceSight::Replaced,
            None => {
                since.get_or_insert(0);
                ResourceSight::NotFound { proven: is_old_news || self.laws.switches.believes_one_404 }
            }
        };
    }

    fn read_credentials(&mut self, state: &State, pass: &Pass, had_pair: bool) -> SourceSight {
        let there = state.world.credentials;
        if self.brain.reads_credentials(&pass.seen, had_pair, there.map(|there| there.version)) {
            there.map_or(SourceSight::Missing, SourceSight::Found)
        } else {
            there.map_or(SourceSight::Missing, |there| SourceSight::Unread { version: there.version })
        }
    }

    /// The pass ends, and what its status says is checked.
    fn rest(&mut self, state: &mut State, replica: usize, pass: &Pass, rest: Rest) {
        self.check_intent(state, replica, pass);
        if rest.is_ready {
            self.check_ready(state, pass.uid, &pass.seen);
        }
        self.last_rest = rest.until;
        if let Some(wakes) = &mut state.wakes {
            let Switches { has_no_due_times, deaf_in_passes, .. } = self.laws.switches;
            if deaf_in_passes {
                wakes.begins(replica, pass.uid);
            }
            wakes.rests(replica, pass.uid, rest.until.filter(|_| !has_no_due_times));
        }
        state.end_pass(replica);
        let ResourceSight::Here { is_current, .. } = pass.seen.resource else { return };
        if self.laws.statuses && rest.says != 0 && rest.says != pass.said {
            let resource = ResourceSight::Here { resource: Resource::default(), is_current };
            let seen = Seen { resource, ..Seen::NOTHING };
            let phase = Phase::Status(rest.says);
            state.passes[replica] = Some(Pass { phase, permit: None, names: 0, said: 0, seen, ..*pass });
        }
    }

    /// A patch with the version that was read. If it meets another, the pass is due again at once.
    pub(crate) fn write_status(&mut self, state: &mut State, replica: usize) {
        let Pass { uid, phase, seen, .. } = *state.pass(replica);
        state.passes[replica] = None;
        let place = state.world.place_of(uid);
        let resource = state.world.resources[place].as_mut();
        match (phase, seen.resource, resource) {
            (Phase::Status(says), ResourceSight::Here { is_current: true, .. }, Some(resource)) => {
                resource.says = says;
                state.touch_resource(place);
            }
            _ => self.come_back(state, replica, uid),
        }
    }

    /// There was trouble with the API server, and nothing is lost by coming back later.
    pub(crate) fn give_up(&mut self, state: &mut State, replica: usize) {
        let pass = *state.pass(replica);
        self.check_intent(state, replica, &pass);
        state.end_pass(replica);
        self.come_back(state, replica, pass.uid);
    }

    /// The pass is due again at once. (After trouble there is a pause, which makes no difference but in time.)
    fn come_back(&mut self, state: &mut State, replica: usize, uid: u8) {
        self.last_rest = Some(0);
        if let Some(wakes) = &mut state.wakes {
            wakes.rests(replica, uid, Some(0));
        }
    }

    /// I10.
    fn check_intent(&mut self, state: &State, replica: usize, pass: &Pass) {
        let kept = state.world.ledgers[usize::from(pass.uid)].and_then(|record| record.intent);
        let is_mine = kept.is_some_and(|intent| intent.stamp == Stamp::Of(replica as u8));
        // It cannot know of one that came late, after its own look.
        let is_known = pass.seen.ledger.is_some_and(|ledger| ledger.is_current && !ledger.record.is_unusable());
        if is_mine && is_known && !pass.seen.spent.intent_sent && !pass.seen.is_refused(Refused::Ledger) {
            self.violated("I10", "a pass ends and leaves an intent that it has not sent: it will be counted as a suspect");
        }
    }

    /// Folds what came of an act, and goes on.
    pub(crate) fn came(&mut self, state: &mut State, replica: usize, came: Came) {
        let pass = state.pass(replica);
        if came == Came::Changed && self.laws.switches.ends_when_changed {
            return self.give_up(state, replica);
        }
        pass.seen = self.brain.fold(&pass.seen, came);
        self.go_on(state, replica);
    }
}

fn read_targets(state: &State, pass: &mut Pass) {
    for name in (0..NAMES).filter(|name| pass.names & 1 << name != 0) {
        pass.seen.targets[name] = TargetSight::of(&state.world, name, pass.uid);
    }
}

fn read_ledger(model: &Model, state: &State, replica: usize, pass: &mut Pass) {
    let record = state.world.ledgers[usize::from(pass.uid)];
    pass.seen.ledger = record.map(|record| LedgerSight { record: as_seen_by(model, state, replica, record), is_current: true });
}

/// Names of targets that earlier sights of this pass have brought.
fn names_seen(seen: &Seen) -> u8 {
    (0..NAMES).filter(|name| seen.targets[*name] != TargetSight::Unread).fold(0, with)
}

/// Names that ledger and resource list.
fn names_wanted(seen: &Seen) -> u8 {
    let of_spec = match seen.resource {
        ResourceSight::Here { resource, .. } if resource.deleted_at.is_none() => 1 << resource.target,
        _ => 0,
    };
    of_spec | seen.record().map_or(0, Record::names)
}

/// By its annotation.
fn is_of(world: &World, name: usize, uid: u8) -> bool {
    matches!(world.targets[name], Target::Ours { of, .. } if usize::from(of) == world.place_of(uid))
}

fn with(names: u8, name: usize) -> u8 {
    names | 1 << name
}

/// The kind of write that an act is, if it is one that the API server may refuse.
pub(crate) fn refusable(act: &Act) -> Option<Refused> {
    match act {
        Act::TryTarget(_) | Act::WriteTarget { .. } | Act::DeleteTarget(_) => Some(Refused::Target),
        Act::SaveLedger { .. } | Act::DeleteLedger => Some(Refused::Ledger),
        Act::Claim | Act::Release => Some(Refused::Resource),
        Act::Look | Act::Issue { .. } | Act::Refresh { .. } | Act::Revoke { .. } | Act::Tell => None,
    }
}
