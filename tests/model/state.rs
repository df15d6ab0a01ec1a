//! One state of the model: the servers, the passes of two replicas, and what adversity is left.

use revoiceit_operator::planner::Policy;

use crate::{
    brain::{Brain, Planner},
    sight::{Pass, ResourceSight},
    wake::Wakes,
    world::{Belongs, Listed, Record, Stamp, Time, UIDS, World, Write},
};

/// Two replicas, both always active: there is no lease.
pub(crate) const REPLICAS: usize = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub(crate) struct State {
    pub(crate) world: World,
    pub(crate) passes: [Option<Pass>; REPLICAS],
    /// What each replica remembers between its passes: since when each resource was NotFound.
    pub(crate) absent_since: [[Option<Time>; UIDS]; REPLICAS],
    /// The number of the API that each replica is set to.
    pub(crate) issuers: [u8; REPLICAS],
    /// `None`: a pass may begin at any time.
    pub(crate) wakes: Option<Wakes>,
    pub(crate) budget: Budget,
}

/// What adversity may still do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub(crate) struct Budget {
    pub(crate) time: u8,
    pub(crate) faults: u8,
    pub(crate) edits: u8,
    pub(crate) kills: u8,
    /// Events that are lost.
    pub(crate) losses: u8,
}

/// An invariant that does not hold.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) invariant: &'static str,
    pub(crate) what: String,
}

/// How the world goes: the scenario's laws, the planner, and what was found to be wrong.
pub(crate) struct Model {
    pub(crate) brain: Brain,
    pub(crate) laws: Laws,
    pub(crate) violation: Option<Violation>,
    /// When the pass that ended last is due again.
    pub(crate) last_rest: Option<Time>,
}

/// What does not change in a scenario.
#[derive(Clone, Copy)]
pub(crate) struct Laws {
    pub(crate) rotation: Rotation,
    pub(crate) switches: Switches,
    /// Passes begin with a glance, unless the resource is in no cache.
    pub(crate) glances: bool,
    /// After a save without an answer, with something in hand, the ledger alone is read, and not all that a look reads.
    pub(crate) reads_back: bool,
    /// A pass that ends writes its status, if that says something new.
    pub(crate) statuses: bool,
    /// Passes begin only when something wakes them.
    pub(crate) waits_for_events: bool,
    /// And only one replica has any.
    pub(crate) is_led: bool,
}

/// What a refresh does to the refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rotation {
    Never,
    /// The old one is dead at once.
    Replaces,
    /// The old one lives on.
    Adds,
}

/// Rules of the shell that a test breaks, to see the model find it.
#[derive(Clone, Copy)]
pub(crate) struct Switches {
    /// Rule 7.
    pub(crate) order: [Read; 3],
    /// Rule 4.
    pub(crate) writes_targets_blindly: bool,
    pub(crate) writes_ledgers_blindly: bool,
    /// Rule 5: a record that is not as it was sent is taken for another's.
    pub(crate) judges_by_writer: bool,
    /// Rule 6.
    pub(crate) believes_one_404: bool,
    /// A pass ends when another was faster.
    pub(crate) ends_when_changed: bool,
    /// Rule 5: a save without an answer is taken for one that failed.
    pub(crate) takes_silence_for_failure: bool,
    /// What a record says of where it belongs is not looked at.
    pub(crate) trusts_any_ledger: bool,
    /// Targets are written from the other resource's ledger.
    pub(crate) confuses_ledgers: bool,
    /// Finalizer and claim are set whatever the resource's version is.
    pub(crate) claims_blindly: bool,
    /// A permit comes without a new look.
    pub(crate) keeps_sights_while_waiting: bool,
    /// A pass that rests says no time.
    pub(crate) has_no_due_times: bool,
    /// What happens during a pass wakes nobody.
    pub(crate) deaf_in_passes: bool,
    /// Events of Secrets wake nobody.
    pub(crate) deaf_to_secrets: bool,
    /// Events of resources and of Secrets that were lost are never made up for.
    pub(crate) never_lists_anew: bool,
    /// Ledgers without a resource are not looked for.
    pub(crate) never_sweeps: bool,
}

/// One of the reads of a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    Targets,
    Ledger,
    /// And the credentials.
    Resource,
}

impl Switches {
    pub(crate) const AS_DESIGNED: Self = Self {
        order: [Read::Targets, Read::Ledger, Read::Resource],
        writes_targets_blindly: false,
        writes_ledgers_blindly: false,
        judges_by_writer: false,
        believes_one_404: false,
        ends_when_changed: false,
        takes_silence_for_failure: false,
        trusts_any_ledger: false,
        confuses_ledgers: false,
        claims_blindly: false,
        keeps_sights_while_waiting: false,
        has_no_due_times: false,
        deaf_in_passes: false,
        deaf_to_secrets: false,
        never_lists_anew: false,
        never_sweeps: false,
    };
}

impl Model {
    pub(crate) fn new(policy: Policy, planner: Planner, laws: Laws) -> Self {
        Self { brain: Brain::new(policy, planner), laws, violation: None, last_rest: None }
    }

    /// The first thing that is wrong is what is told.
    pub(crate) fn violated(&mut self, invariant: &'static str, what: impl Into<String>) {
        self.violation.get_or_insert_with(|| Violation { invariant, what: what.into() });
    }
}

impl State {
    pub(crate) fn pass(&mut self, replica: usize) -> &mut Pass {
        self.passes[replica].as_mut().expect("a running pass")
    }

    /// The pass is over: an intent of it is nobody's from now on.
    pub(crate) fn end_pass(&mut self, replica: usize) {
        self.passes[replica] = None;
        let late = self.world.late.as_mut().and_then(|late| match &mut late.write {
            Write::Ledger { record, .. } => Some(record),
            _ => None,
        });
        for record in self.world.ledgers.iter_mut().flatten().chain(late) {
            if let Some(intent) = &mut record.intent
                && intent.stamp == Stamp::Of(replica as u8)
            {
                intent.stamp = Stamp::Nobody;
            }
        }
    }

    /// The target has a new version, or is gone.
    pub(crate) fn touch_target(&mut self, name: u8) {
        for pass in self.passes.iter_mut().flatten() {
            pass.seen.targets[usize::from(name)].outdate();
        }
        self.outdate_late(|write| matches!(write, Write::Target { name: of, .. } | Write::DeleteTarget { name: of, .. } if *of == name));
    }

    /// The ledger has a new version, or is gone.
    pub(crate) fn touch_ledger(&mut self, uid: u8) {
        for pass in self.passes.iter_mut().flatten().filter(|pass| pass.uid == uid) {
            if let Some(ledger) = pass.seen.ledger.as_mut().filter(|ledger| !ledger.record.is_unusable()) {
                ledger.is_current = false;
            }
        }
        self.outdate_late(|write| matches!(write, Write::Ledger { uid: of, .. } | Write::DeleteLedger { uid: of, .. } if *of == uid));
    }

    /// The resource has a new version, or is gone.
    pub(crate) fn touch_resource(&mut self, place: usize) {
        let world = self.world;
        for pass in self.passes.iter_mut().flatten().filter(|pass| world.place_of(pass.uid) == place) {
            if let ResourceSight::Here { is_current, .. } = &mut pass.seen.resource {
                *is_current = false;
            }
        }
        self.outdate_late(|write| matches!(write, Write::Claim { uid } | Write::Release { uid, .. } if world.place_of(*uid) == place));
    }

    fn outdate_late(&mut self, is_meant: impl Fn(&Write) -> bool) {
        let late = self.world.late.as_mut().filter(|late| is_meant(&late.write));
        if let Some(late) = late {
            late.is_current = matches!(late.write, Write::Target { creates: true, .. } | Write::Ledger { creates: true, .. });
        }
        self.world.late = self.world.late.filter(|late| late.is_current);
    }

    /// UIDs that a pass may be for: of the resource, and of each ledger.
    pub(crate) fn uids(&self) -> impl Iterator<Item = u8> + use<> {
        let is_there: [bool; UIDS] =
            std::array::from_fn(|uid| self.world.resource(uid as u8).is_some() || self.world.ledgers[uid].is_some());
        (0..UIDS as u8).filter(move |uid| is_there[usize::from(*uid)])
    }
}

/// A record as a pass of this replica sees it: its own intents, and those of others. Of one that is not to be used only that.
pub(crate) fn as_seen_by(model: &Model, state: &State, replica: usize, record: Record) -> Record {
    let mut record = record;
    record.issuer ^= state.issuers[replica];
    if model.laws.switches.trusts_any_ledger {
        (record.issuer, record.place) = (0, Belongs::Here);
    }
    if record.is_unusable() {
        let issuer = if record.place == Belongs::Here { record.issuer } else { 0 };
        return Record { issuer, place: record.place, ..Record::default() };
    }
    if let Some(intent) = &mut record.intent {
        intent.stamp = if intent.stamp == Stamp::Of(replica as u8) { Stamp::Mine } else { Stamp::Other };
    }
    record
}

/// The same as the server keeps it. An intent of another's is the one that is there already: nobody writes anybody else's.
pub(crate) fn as_kept(state: &State, replica: usize, record: Record, there: Option<Record>) -> Record {
    let mut record = record;
    record.issuer ^= state.issuers[replica];
    if let Some(intent) = &mut record.intent {
        intent.stamp = match intent.stamp {
            Stamp::Mine => Stamp::Of(replica as u8),
            _ => there.and_then(|there| there.intent).map_or(Stamp::Nobody, |intent| intent.stamp),
        };
    }
    record
}

/// Whether some ledger lists the name.
pub(crate) fn is_listed(world: &World, name: usize) -> bool {
    world.ledgers.iter().flatten().any(|record| record.listed[name] != Listed::No)
}
