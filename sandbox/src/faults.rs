//! The faults in force: which of them a call meets, and what is left of it.

use serde::{Deserialize, Serialize};

use crate::{calls::Call, fault::Fault, kind::Kind};

/// A fault that is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActiveFault {
    /// What it is healed by.
    pub id: u64,
    /// To how many calls it will still be applied; `None`: until it is healed.
    pub remaining: Option<u32>,
    /// To how many calls it was applied.
    pub applied: u64,
    /// The fault.
    pub fault: Fault,
}

/// The faults in force, in the order in which they were injected.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Faults {
    last: u64,
    active: Vec<ActiveFault>,
    /// The ids of those that came from the file of faults.
    #[serde(default)]
    of_file: Vec<u64>,
}

impl Faults {
    pub(crate) fn inject(&mut self, fault: Fault) -> Result<u64, String> {
        fault.check()?;
        self.last += 1;
        self.active.push(ActiveFault { id: self.last, remaining: fault.times, applied: 0, fault });
        Ok(self.last)
    }

    /// Puts these in place of all that came from the file of faults before; those that were injected stay. If one of them cannot be done,
    /// nothing is changed.
    pub(crate) fn replace_those_of_file(&mut self, faults: Vec<Fault>) -> Result<(), String> {
        for (fault, number) in faults.iter().zip(1..) {
            fault.check().map_err(|error| format!("fault {number}: {error}"))?;
        }
        self.active.retain(|active| !self.of_file.contains(&active.id));
        self.of_file = faults.into_iter().map(|fault| self.inject(fault)).collect::<Result<_, _>>()?;
        Ok(())
    }

    /// The first fault that fits, counted as applied.
    pub(crate) fn take(&mut self, call: Call, client: Option<&str>) -> Option<(u64, Fault)> {
        let at = self.active.iter().position(|active| active.remaining != Some(0) && active.fault.fits(call, client))?;
        let active = &mut self.active[at];
        active.applied += 1;
        active.remaining = active.remaining.map(|remaining| remaining - 1);
        let taken = (active.id, active.fault.clone());
        if active.remaining == Some(0) && active.fault.kind != Kind::Hang {
            self.active.remove(at);
        }
        Some(taken)
    }

    pub(crate) fn list(&self) -> &[ActiveFault] {
        &self.active
    }

    pub(crate) fn is_active(&self, id: u64) -> bool {
        self.active.iter().any(|active| active.id == id)
    }

    /// `false`: it was not in force.
    pub(crate) fn heal(&mut self, id: u64) -> bool {
        let before = self.active.len();
        self.active.retain(|active| active.id != id);
        self.active.len() < before
    }

    /// How many were in force.
    pub(crate) fn heal_all(&mut self) -> usize {
        std::mem::take(&mut self.active).len()
    }
}
