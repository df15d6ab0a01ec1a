//! The operator's own writes: their events are no news.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
};

/// So many of the operator's own writes are known again when their events come. Events come within milliseconds of a write.
const MOST: usize = 8192;

/// The versions that the operator wrote last.
#[derive(Debug, Default)]
pub(super) struct Own {
    versions: HashSet<Arc<str>>,
    order: VecDeque<Arc<str>>,
}

impl Own {
    /// The one that was added longest ago goes, if there are too many.
    pub(super) fn add(&mut self, version: Arc<str>) {
        if self.versions.insert(version.clone()) {
            self.order.push_back(version);
        }
        if self.order.len() > MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.versions.remove(&oldest);
        }
    }

    /// Whether it is one of them.
    pub(super) fn has(&self, version: &str) -> bool {
        self.versions.contains(version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten_when_there_are_too_many() {
        let mut own = Own::default();
        for version in 0..=MOST {
            own.add(version.to_string().into());
        }
        assert!(!own.has("0") && own.has("1") && own.has(&MOST.to_string()));
    }
}
