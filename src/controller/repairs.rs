//! Somebody who keeps changing a target is answered with growing pauses, so that two programs do not write against each other for ever.

use std::{collections::HashMap, sync::Mutex, time::Duration};

use jiff::Timestamp;

use crate::planner::{self, Policy};

/// Repairs that follow each other within this time belong to one quarrel.
const QUARREL: Duration = Duration::from_secs(10 * 60);
/// So many repairs are made at once: a person who edits twice is no quarrel.
const FREE: u32 = 3;

#[derive(Clone, Debug)]
struct Quarrel {
    last: Timestamp,
    repairs: u32,
    with: Option<String>,
}

impl Quarrel {
    fn begun(now: Timestamp) -> Self {
        Self { last: now, repairs: 0, with: None }
    }
}

/// The latest repairs of each resource's target.
#[derive(Debug, Default)]
pub struct Repairs(Mutex<HashMap<String, Quarrel>>);

impl Repairs {
    /// The target was last written by this field manager, which is not the operator's.
    pub(super) fn written_by(&self, uid: &str, manager: &str, now: Timestamp) {
        self.lock().entry(uid.to_owned()).or_insert_with(|| Quarrel::begun(now)).with = Some(manager.to_owned());
    }

    /// The target was written over what somebody else had made of it: by whom, as far as that is known.
    pub(super) fn repaired(&self, uid: &str, now: Timestamp) -> Option<String> {
        let mut quarrels = self.lock();
        let quarrel = quarrels.entry(uid.to_owned()).or_insert_with(|| Quarrel::begun(now));
        let is_another = planner::after(quarrel.last, QUARREL) < now;
        quarrel.repairs = if is_another { 1 } else { quarrel.repairs + 1 };
        quarrel.last = now;
        quarrel.with.take()
    }

    /// Until when the target is left alone: 5 s after the fourth repair, doubling, 5 min at most.
    pub(super) fn not_before(&self, uid: &str, policy: &Policy) -> Option<Timestamp> {
        let quarrel = self.lock().get(uid)?.clone();
        let doublings = quarrel.repairs.checked_sub(FREE + 1)?.min(16);
        Some(planner::after(quarrel.last, (policy.retry_min * 2_u32.pow(doublings)).min(policy.retry_max)))
    }

    /// Nothing is kept of a resource that is gone.
    pub(super) fn forget(&self, uid: &str) {
        self.lock().remove(uid);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Quarrel>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_from_the_fourth_repair_on_and_end_with_the_quarrel() {
        let (repairs, policy) = (Repairs::default(), Policy::default());
        let at = |seconds: i64| Timestamp::from_second(seconds).expect("in range");
        for second in 0..3 {
            repairs.repaired("u", at(second));
            assert_eq!(repairs.not_before("u", &policy), None);
        }
        for (second, until) in [(3, 8), (8, 18), (18, 38), (38, 78), (78, 158), (158, 318), (318, 618), (618, 918)] {
            repairs.repaired("u", at(second));
            assert_eq!(repairs.not_before("u", &policy), Some(at(until)));
        }
        repairs.repaired("u", at(1219));
        assert_eq!(repairs.not_before("u", &policy), None);
    }
    #[test]
    fn who_changed_the_target_is_told_once() {
        let repairs = Repairs::default();
        repairs.written_by("u", "argocd", Timestamp::UNIX_EPOCH);
        assert_eq!(repairs.repaired("u", Timestamp::UNIX_EPOCH).as_deref(), Some("argocd"));
        assert_eq!(repairs.repaired("u", Timestamp::UNIX_EPOCH), None);
    }
}
