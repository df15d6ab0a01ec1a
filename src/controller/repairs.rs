//! Somebody who keeps changing a target is answered with growing pauses, so that two programs do not write against each other for ever.

use std::{collections::HashMap, sync::Mutex, time::Duration};

use jiff::Timestamp;

use crate::planner::{self, Policy, Quarrel};

/// Repairs that follow each other within this time belong to one quarrel.
const QUARREL: Duration = Duration::from_secs(10 * 60);
/// So many repairs are made at once: a person who edits twice is no quarrel.
const FREE: u32 = 3;

#[derive(Clone, Debug)]
struct Repaired {
    last: Timestamp,
    repairs: u32,
    with: Option<String>,
}

impl Repaired {
    fn begun(now: Timestamp) -> Self {
        Self { last: now, repairs: 0, with: None }
    }
}

/// The latest repairs of each resource's target.
#[derive(Debug, Default)]
pub struct Repairs(Mutex<HashMap<String, Repaired>>);

impl Repairs {
    /// The target was last written by this field manager, which is not the operator's.
    pub(super) fn written_by(&self, uid: &str, manager: &str, now: Timestamp) {
        self.lock().entry(uid.to_owned()).or_insert_with(|| Repaired::begun(now)).with = Some(manager.to_owned());
    }

    /// The target was written over what somebody else had made of it: by whom, as far as that is known.
    pub(super) fn repaired(&self, uid: &str, now: Timestamp) -> Option<String> {
        let mut quarrels = self.lock();
        let quarrel = quarrels.entry(uid.to_owned()).or_insert_with(|| Repaired::begun(now));
        let is_another = planner::after(quarrel.last, QUARREL) < now;
        quarrel.repairs = if is_another { 1 } else { quarrel.repairs + 1 };
        quarrel.last = now;
        quarrel.with.take()
    }

    /// With whom there is a quarrel, and until when the target is left alone: 5 s after the fourth repair, doubling, 5 min at most.
    pub(super) fn quarrel(&self, uid: &str, policy: &Policy) -> Option<Quarrel> {
        let Repaired { last, repairs, with } = self.lock().get(uid)?.clone();
        let doublings = repairs.checked_sub(FREE + 1)?.min(16);
        Some(Quarrel { until: planner::after(last, (policy.retry_min * 2_u32.pow(doublings)).min(policy.retry_max)), with })
    }

    /// Nothing is kept of a resource that is gone.
    pub(super) fn forget(&self, uid: &str) {
        self.lock().remove(uid);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Repaired>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_from_the_fourth_repair_on_and_end_with_the_quarrel() {
        let repairs = Repairs::default();
        let until = |repairs: &Repairs| repairs.quarrel("u", &Policy::default()).map(|quarrel| quarrel.until);
        let at = |seconds: i64| Timestamp::from_second(seconds).expect("in range");
        for second in 0..3 {
            repairs.repaired("u", at(second));
            assert_eq!(until(&repairs), None);
        }
        for (second, pause_ends) in [(3, 8), (8, 18), (18, 38), (38, 78), (78, 158), (158, 318), (318, 618), (618, 918)] {
            repairs.repaired("u", at(second));
            assert_eq!(until(&repairs), Some(at(pause_ends)));
        }
        repairs.repaired("u", at(1219));
        assert_eq!(until(&repairs), None);
    }

    #[test]
    fn who_changed_the_target_is_told_once() {
        let repairs = Repairs::default();
        repairs.written_by("u", "argocd", Timestamp::UNIX_EPOCH);
        assert_eq!(repairs.repaired("u", Timestamp::UNIX_EPOCH).as_deref(), Some("argocd"));
        assert_eq!(repairs.repaired("u", Timestamp::UNIX_EPOCH), None);
    }

    #[test]
    fn a_quarrel_is_with_who_wrote_last_and_with_nobody_known_after_a_deletion() {
        let repairs = Repairs::default();
        for _ in 0..4 {
            repairs.written_by("u", "argocd", Timestamp::UNIX_EPOCH);
            repairs.repaired("u", Timestamp::UNIX_EPOCH);
        }
        let with = |repairs: &Repairs| repairs.quarrel("u", &Policy::default()).expect("four repairs").with;
        assert_eq!(with(&repairs), None);
        repairs.written_by("u", "argocd", Timestamp::UNIX_EPOCH);
        assert_eq!(with(&repairs).as_deref(), Some("argocd"));
    }
}
