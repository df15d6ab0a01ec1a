//! What wakes a pass, in scenarios where nothing else begins one: events, due times, the list at the start, the sweep.
//!
//! As in the controller (`index.rs`, `queue.rs` and `sweep.rs` there):
//!
//! * a resource is woken by each change of its own and by one of a Secret that its spec names; one that is gone, by that. Ledgers have no watch, and
//!   old names no longer wake anybody
//! * the echo of a replica's own write wakes nobody there, but that something is gone always does; a write whose reply was lost is not known as own
//! * what happens during a pass makes it due again at its end; one that ends in trouble comes back
//! * a replica that begins anew lists all resources, and all ledgers of which there is no resource
//!
//! A lost event is heard by no replica until the next list. As long as the cache is wrong, passes may rest on it for ever: nothing is expected of
//! them. (That a pass begins nevertheless, and looks, is searched too.)

use std::ops::Range;

use crate::{
    adversity::Step,
    edits::Edit,
    perform::Outcome,
    state::{REPLICAS, State, Switches},
    world::{Target, Time, UIDS},
};

/// Nothing is due until something happens.
pub(crate) const NEVER: Time = Time::MAX;

/// The queues of both replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Wakes {
    /// The first replica leads, and the other does nothing. With two, what one misses the other mostly hears.
    pub(crate) is_led: bool,
    /// When a pass is due. Of one that runs: at once, if something happened meanwhile.
    pub(crate) due: [[Time; UIDS]; REPLICAS],
    /// An event that would have woken it was lost.
    pub(crate) misses: [[bool; UIDS]; REPLICAS],
    /// The next event that would wake anybody is lost.
    pub(crate) is_deaf: bool,
    /// A write of the ledger came late, and no pass has begun since.
    pub(crate) came_late: [bool; UIDS],
}

impl Wakes {
    /// Both replicas have begun, and nothing has happened yet.
    pub(crate) const NONE: Self =
        Self { is_led: false, due: [[NEVER; UIDS]; REPLICAS], misses: [[false; UIDS]; REPLICAS], is_deaf: false, came_late: [false; UIDS] };

    /// Those that do something.
    pub(crate) fn replicas(&self) -> Range<usize> {
        if self.is_led { 0..1 } else { 0..REPLICAS }
    }

    /// Whether something has made a pass due.
    pub(crate) fn is_due(&self, replica: usize, uid: u8) -> bool {
        self.due[replica][usize::from(uid)] <= 0
    }

    /// It is due, and what the caches show is true.
    pub(crate) fn is_due_and_knows(&self, replica: usize, uid: u8) -> bool {
        self.is_due(replica, uid) && !self.misses[replica][usize::from(uid)]
    }

    pub(crate) fn is_missed(&self) -> bool {
        self.misses.iter().flatten().any(|missed| *missed)
    }

    /// All that is due later.
    pub(crate) fn later(&self) -> impl Iterator<Item = Time> + use<> {
        self.due.into_iter().flatten().filter(|due| *due > 0 && *due != NEVER)
    }

    /// When the next pass for this UID is due.
    pub(crate) fn next(&self, uid: u8) -> Option<Time> {
        self.due.iter().map(|due| due[usize::from(uid)]).min().filter(|due| *due != NEVER)
    }

    /// A pass begins.
    pub(crate) fn begins(&mut self, replica: usize, uid: u8) {
        self.due[replica][usize::from(uid)] = NEVER;
        self.came_late[usize::from(uid)] = false;
    }

    /// The pass ends until this time, or until something happens.
    pub(crate) fn rests(&mut self, replica: usize, uid: u8, until: Option<Time>) {
        let due = &mut self.due[replica][usize::from(uid)];
        *due = (*due).min(until.unwrap_or(NEVER));
    }

    fn hear(&mut self, uid: usize, is_heard_by: [bool; REPLICAS]) {
        for replica in self.replicas().filter(|replica| is_heard_by[*replica]) {
            if self.is_deaf {
                self.misses[replica][uid] = true;
            } else {
                self.due[replica][uid] = 0;
            }
        }
    }
}

impl State {
    /// The replica begins anew.
    pub(crate) fn list(&mut self, replica: usize, switches: &Switches) {
        let world = self.world;
        let Some(wakes) = self.wakes.as_mut().filter(|wakes| wakes.replicas().contains(&replica)) else { return };
        for uid in 0..UIDS {
            let is_swept = world.ledgers[uid].is_some() && !switches.never_sweeps;
            let is_found = world.resource(uid as u8).is_some() || is_swept;
            wakes.due[replica][uid] = if is_found { 0 } else { NEVER };
            wakes.misses[replica][uid] = false;
        }
    }

    /// Both replicas list all ledgers, for those of which they know no resource.
    pub(crate) fn sweep(&mut self) {
        for (replica, uid) in self.unswept() {
            if let Some(wakes) = &mut self.wakes {
                wakes.due[replica][uid] = 0;
            }
        }
    }

    /// What a sweep would wake now.
    pub(crate) fn unswept(&self) -> Vec<(usize, usize)> {
        let Some(wakes) = &self.wakes else { return Vec::new() };
        let is_gone = |uid: usize| self.world.ledgers[uid].is_some() && self.world.resource(uid as u8).is_none();
        let gone = (0..UIDS).filter(|uid| is_gone(*uid)).flat_map(|uid| (0..REPLICAS).map(move |replica| (replica, uid)));
        let gone = gone.filter(|(replica, _)| wakes.replicas().contains(replica));
        gone.filter(|(replica, uid)| wakes.due[*replica][*uid] > 0 && !wakes.misses[*replica][*uid]).collect()
    }

    /// Both replicas list all resources and Secrets, and hear of what they have missed.
    pub(crate) fn relist(&mut self) {
        let Some(wakes) = &mut self.wakes else { return };
        for (due, misses) in wakes.due.iter_mut().flatten().zip(wakes.misses.iter_mut().flatten()) {
            if std::mem::take(misses) {
                *due = 0;
            }
        }
    }

    /// The events of a step.
    pub(crate) fn hear(&mut self, before: &Self, step: Step, switches: &Switches) {
        let Some(mut wakes) = self.wakes else { return };
        match step {
            Step::Time { .. } | Step::Begin { .. } | Step::Read { .. } | Step::ReadBack { .. } | Step::LoseEvent => return,
            Step::Relist | Step::Sweep => return,
            Step::Crash { replica } => return self.list(replica, switches),
            Step::Edit(Edit::OtherApi(replica)) => return self.list(usize::from(replica), switches),
            Step::EndDrain => return (0..REPLICAS).for_each(|replica| self.list(replica, switches)),
            Step::Perform { .. } | Step::Status { .. } | Step::LateWrite | Step::Collect { .. } | Step::Kill { .. } | Step::Edit(_) => {}
        }
        let writer = match step {
            Step::Perform { replica, outcome: Outcome::Plain } | Step::Status { replica } => Some(replica),
            _ => None,
        };
        let others: [bool; REPLICAS] = std::array::from_fn(|replica| writer != Some(replica));
        let all = [true; REPLICAS];
        for uid in 0..UIDS {
            let (was, is) = (before.world.resource(uid as u8), self.world.resource(uid as u8));
            if was != is {
                wakes.hear(uid, if is.is_none() { all } else { others });
            }
            let Some(resource) = is.filter(|_| !switches.deaf_to_secrets) else { continue };
            let name = usize::from(resource.target);
            if before.world.targets[name] != self.world.targets[name] {
                wakes.hear(uid, if self.world.targets[name] == Target::Absent { all } else { others });
            }
            if before.world.credentials != self.world.credentials {
                wakes.hear(uid, all);
            }
        }
        let came_late = |uid: usize| step == Step::LateWrite && before.world.ledgers[uid] != self.world.ledgers[uid];
        wakes.came_late.iter_mut().enumerate().for_each(|(uid, late)| *late |= came_late(uid));
        // It was lost if there was one.
        wakes.is_deaf &= before.wakes.is_some_and(|before| before.misses == wakes.misses);
        self.wakes = Some(wakes);
    }
}
