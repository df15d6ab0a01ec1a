//! 404 is no proof. A resource counts as gone when it was not found twice, long enough apart, and a LIST of its kind worked in between.

use std::{collections::HashMap, sync::Mutex};

use jiff::Timestamp;

use crate::planner::{self, Policy};

/// Since when each resource has not been found.
#[derive(Debug, Default)]
pub struct Absences(Mutex<HashMap<String, Timestamp>>);

impl Absences {
    /// The resource was found.
    pub(super) fn found(&self, uid: &str) {
        self.lock().remove(uid);
    }

    /// It was not found. Whether that was so long enough ago for the first time that a LIST and another GET would prove it.
    pub(super) fn not_found(&self, uid: &str, now: Timestamp, policy: &Policy) -> bool {
        let since = *self.lock().entry(uid.to_owned()).or_insert(now);
        planner::after(since, policy.absence) <= now
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Timestamp>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_not_found_counts_when_the_first_is_five_minutes_old() {
        let (absences, policy) = (Absences::default(), Policy::default());
        let at = |seconds: i64| Timestamp::from_second(seconds).expect("in range");
        assert!(!absences.not_found("u", at(0), &policy));
        assert!(!absences.not_found("u", at(299), &policy));
        assert!(absences.not_found("u", at(300), &policy));
        absences.found("u");
        assert!(!absences.not_found("u", at(301), &policy));
    }
}
