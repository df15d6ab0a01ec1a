//! Which resources are due, which are being worked on, and which wait for their time.
//!
//! Pure: the time is an argument. Times are those of the wall clock, looked at again and again, so that a machine that slept is late by a tick and
//! not by its sleep. A clock that was set back is noticed too, and makes everything due: what a pass said of its next one was said by a clock
//! that was wrong. A key is worked on once at a time; what happens to it meanwhile makes it due again at the end.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;

use crate::planner::{self, ResourceId, Until};

/// After trouble with the API server, a key is due again after this, doubling up to [`TROUBLE_MAX`].
const TROUBLE: Duration = Duration::from_secs(1);
/// The longest pause after trouble.
const TROUBLE_MAX: Duration = Duration::from_secs(60);

/// A clock that went back by more than this was set back.
const SET_BACK: Duration = Duration::from_secs(60);

/// More than this may happen during a pass and is not told apart.
const MEANWHILE: usize = 32;

/// The UID of a resource, which is what a pass and a ledger are keyed by.
pub(super) type Uid = Arc<str>;

/// All keys that there are.
#[derive(Debug, Default)]
pub(super) struct Queue {
    keys: HashMap<Uid, Entry>,
    /// Of the keys that are not being worked on.
    due: BTreeSet<(Timestamp, Uid)>,
    /// Keys that are looked at when nothing is due: at a start all of them, in the order in which they may be due.
    looks: BTreeSet<(Timestamp, Uid)>,
    /// When it was last looked at.
    looked_at: Timestamp,
}

#[derive(Debug)]
struct Entry {
    id: Arc<ResourceId>,
    state: State,
    /// Passes in a row that ended in trouble.
    troubles: u32,
}

#[derive(Debug)]
enum State {
    Due(Timestamp),
    /// To be looked at. When it may be due is a guess, and decides the order alone.
    Look(Timestamp),
    /// Nothing is due until something happens.
    Idle,
    /// With what happened meanwhile.
    Running(Vec<Happened>),
}

/// What woke a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happened {
    /// An object of interest got this resourceVersion. If the pass itself wrote it, that is no news at its end.
    Written(Arc<str>),
    /// Anything else.
    Other,
}

impl Queue {
    /// Something happened to the resource: it is due now, or, if it is being worked on, right after that.
    pub(super) fn wake(&mut self, id: &Arc<ResourceId>, happened: Happened, now: Timestamp) {
        let uid = Uid::from(id.uid.as_str());
        let entry = self.keys.entry(uid.clone()).or_insert_with(|| Entry { id: id.clone(), state: State::Idle, troubles: 0 });
        match &mut entry.state {
            State::Running(meanwhile) if meanwhile.len() < MEANWHILE => meanwhile.push(happened),
            State::Running(meanwhile) => *meanwhile = vec![Happened::Other],
            State::Due(at) if *at <= now => {}
            State::Look(at) => {
                self.looks.remove(&(*at, uid.clone()));
                entry.state = State::Due(now);
                self.due.insert((now, uid));
            }
            State::Due(at) => {
                self.due.remove(&(*at, uid.clone()));
                entry.state = State::Due(now);
                self.due.insert((now, uid));
            }
            State::Idle => {
                entry.state = State::Due(now);
                self.due.insert((now, uid));
            }
        }
    }

    /// The resource is to be looked at when nothing is due, those first that may be due first. One that is known is not asked for again.
    pub(super) fn look(&mut self, id: &Arc<ResourceId>, maybe_due: Timestamp) {
        let uid = Uid::from(id.uid.as_str());
        if !self.keys.contains_key(&uid) {
            self.keys.insert(uid.clone(), Entry { id: id.clone(), state: State::Look(maybe_due), troubles: 0 });
            self.looks.insert((maybe_due, uid));
        }
    }

    /// Whether there is a key to be worked on.
    pub(super) fn is_due(&mut self, now: Timestamp) -> bool {
        if planner::after(now, SET_BACK) < self.looked_at {
            self.all_due(now);
        }
        self.looked_at = now;
        !self.looks.is_empty() || self.is_first_due(now)
    }

    fn is_first_due(&self, now: Timestamp) -> bool {
        self.due.first().is_some_and(|(at, _)| *at <= now)
    }

    /// The key that has been due longest, or else the first to be looked at, now being worked on.
    pub(super) fn next(&mut self, now: Timestamp) -> Option<Arc<ResourceId>> {
        if !self.is_due(now) {
            return None;
        }
        let (_, uid) = if self.is_first_due(now) { self.due.pop_first()? } else { self.looks.pop_first()? };
        let entry = self.keys.get_mut(&uid)?;
        entry.state = State::Running(Vec::new());
        Some(entry.id.clone())
    }

    fn all_due(&mut self, now: Timestamp) {
        for (_, uid) in std::mem::take(&mut self.due) {
            if let Some(entry) = self.keys.get_mut(&uid) {
                entry.state = State::Due(now);
                self.due.insert((now, uid));
            }
        }
    }

    /// The pass of the key ended, and says when the next one is due. What happened meanwhile counts unless the pass did it.
    pub(super) fn ended(&mut self, uid: &str, until: Until, is_own: impl Fn(&str) -> bool, now: Timestamp) {
        // One for all places: each is a piece of memory of its own.
        let Some(uid) = self.keys.get_key_value(uid).map(|(uid, _)| uid.clone()) else { return };
        let Some(entry) = self.keys.get_mut(&uid) else { return };
        let is_news = |happened: &Happened| !matches!(happened, Happened::Written(version) if is_own(version));
        let woken = matches!(&entry.state, State::Running(meanwhile) if meanwhile.iter().any(is_news));
        entry.troubles = 0;
        let next = match until {
            _ if woken => Some(now),
            Until::At(at) => Some(at),
            Until::Woken => None,
            Until::Forgotten => {
                self.keys.remove(&uid);
                return;
            }
        };
        entry.state = next.map_or(State::Idle, State::Due);
        self.due.extend(next.map(|at| (at, uid)));
    }

    /// The pass of the key ended in trouble with the API server, which may have said how long to wait.
    pub(super) fn troubled(&mut self, uid: &str, retry_after: Option<Duration>, now: Timestamp) {
        let Some(entry) = self.keys.get_mut(uid) else { return };
        let pause = (TROUBLE * 2_u32.pow(entry.troubles.min(16))).min(TROUBLE_MAX).max(retry_after.unwrap_or_default().min(TROUBLE_MAX));
        entry.troubles = entry.troubles.saturating_add(1);
        let at = planner::after(now, pause);
        entry.state = State::Due(at);
        self.due.insert((at, Uid::from(uid)));
    }

    #[cfg(test)]
    /// When each key that waits for its time is due.
    pub(super) fn waiting(&self) -> impl Iterator<Item = Timestamp> {
        self.due.iter().map(|(at, _)| *at)
    }

    #[cfg(test)]
    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(uid: &str) -> Arc<ResourceId> {
        Arc::new(ResourceId { namespace: "ns".into(), name: uid.into(), uid: uid.into() })
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    fn next(queue: &mut Queue, second: i64) -> Option<String> {
        queue.next(at(second)).map(|id| id.uid.clone())
    }

    #[test]
    fn the_longest_due_comes_first_and_none_before_its_time() {
        let mut queue = Queue::default();
        for (uid, due) in [("a", 30), ("b", 10), ("c", 20)] {
            queue.wake(&id(uid), Happened::Other, at(0));
            assert_eq!(next(&mut queue, 0).as_deref(), Some(uid));
            queue.ended(uid, Until::At(at(due)), |_| false, at(0));
        }
        assert_eq!(next(&mut queue, 9), None);
        assert_eq!(next(&mut queue, 25).as_deref(), Some("b"));
        assert_eq!(next(&mut queue, 25).as_deref(), Some("c"));
        assert_eq!(next(&mut queue, 25), None);
    }

    #[test]
    fn a_key_that_is_worked_on_is_not_begun_again_and_is_due_at_its_end() {
        let mut queue = Queue::default();
        queue.wake(&id("a"), Happened::Other, at(0));
        assert_eq!(next(&mut queue, 0).as_deref(), Some("a"));
        queue.wake(&id("a"), Happened::Other, at(1));
        queue.wake(&id("a"), Happened::Other, at(2));
        assert_eq!(next(&mut queue, 3), None);
        queue.ended("a", Until::At(at(100)), |_| false, at(3));
        assert_eq!(next(&mut queue, 3).as_deref(), Some("a"));
        queue.ended("a", Until::Woken, |_| false, at(4));
        assert_eq!(next(&mut queue, 1_000_000), None);
    }

    #[test]
    fn a_wake_brings_a_key_forward_and_never_back() {
        let mut queue = Queue::default();
        queue.wake(&id("a"), Happened::Other, at(5));
        queue.wake(&id("a"), Happened::Other, at(9));
        assert_eq!(queue.waiting().collect::<Vec<_>>(), [at(5)]);
        assert_eq!(next(&mut queue, 5).as_deref(), Some("a"));
        queue.ended("a", Until::At(at(500)), |_| false, at(5));
        queue.wake(&id("a"), Happened::Other, at(6));
        assert_eq!(next(&mut queue, 6).as_deref(), Some("a"));
        assert_eq!(queue.waiting().count(), 0);
    }

    #[test]
    fn a_wake_during_the_last_pass_is_not_forgotten() {
        let mut queue = Queue::default();
        queue.wake(&id("a"), Happened::Other, at(0));
        assert_eq!(next(&mut queue, 0).as_deref(), Some("a"));
        queue.wake(&id("a"), Happened::Other, at(0));
        queue.ended("a", Until::Forgotten, |_| false, at(0));
        assert_eq!(next(&mut queue, 0).as_deref(), Some("a"));
        queue.ended("a", Until::Forgotten, |_| false, at(0));
        assert!(queue.is_empty());
    }

    #[test]
    fn what_the_pass_itself_wrote_is_no_news_at_its_end() {
        let mut queue = Queue::default();
        queue.wake(&id("a"), Happened::Other, at(0));
        assert_eq!(next(&mut queue, 0).as_deref(), Some("a"));
        queue.wake(&id("a"), Happened::Written("7".into()), at(1));
        queue.ended("a", Until::Woken, |version| version == "7", at(2));
        assert_eq!(next(&mut queue, 3), None);
        queue.wake(&id("a"), Happened::Other, at(4));
        assert_eq!(next(&mut queue, 4).as_deref(), Some("a"));
        queue.wake(&id("a"), Happened::Written("8".into()), at(5));
        queue.ended("a", Until::Woken, |version| version == "7", at(6));
        assert_eq!(next(&mut queue, 6).as_deref(), Some("a"));
    }

    #[test]
    fn trouble_doubles_the_pause_up_to_a_minute_and_success_ends_it() {
        let mut queue = Queue::default();
        queue.wake(&id("a"), Happened::Other, at(0));
        let mut now = 0;
        for pause in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(next(&mut queue, now).as_deref(), Some("a"));
            queue.troubled("a", None, at(now));
            assert_eq!(queue.waiting().collect::<Vec<_>>(), [at(now + pause)]);
            now += pause;
        }
        assert_eq!(next(&mut queue, now).as_deref(), Some("a"));
        queue.ended("a", Until::At(at(now)), |_| false, at(now));
        assert_eq!(next(&mut queue, now).as_deref(), Some("a"));
        queue.troubled("a", Some(Duration::from_secs(7)), at(now));
        assert_eq!(queue.waiting().collect::<Vec<_>>(), [at(now + 7)]);
    }

    #[test]
    fn a_machine_that_slept_finds_everything_due() {
        let mut queue = Queue::default();
        for uid in ["a", "b"] {
            queue.wake(&id(uid), Happened::Other, at(0));
            next(&mut queue, 0);
            queue.ended(uid, Until::At(at(60)), |_| false, at(0));
        }
        assert_eq!(next(&mut queue, 1_000_000).as_deref(), Some("a"));
        assert_eq!(next(&mut queue, 1_000_000).as_deref(), Some("b"));
    }

    #[test]
    fn what_is_due_comes_before_what_is_looked_at_and_that_in_the_order_of_its_guess() {
        let mut queue = Queue::default();
        for (uid, maybe_due) in [("c", 30), ("a", 10), ("b", 20)] {
            queue.look(&id(uid), at(maybe_due));
        }
        assert_eq!(next(&mut queue, 0).as_deref(), Some("a"));
        queue.wake(&id("event"), Happened::Other, at(1));
        queue.wake(&id("c"), Happened::Other, at(1));
        queue.look(&id("c"), at(0));
        assert_eq!(
            [1, 1, 1, 1].map(|second| next(&mut queue, second)),
            [Some("c"), Some("event"), Some("b"), None].map(|it| it.map(str::to_owned))
        );
        queue.ended("b", Until::Woken, |_| false, at(1));
        assert!(!queue.is_due(at(1)));
    }

    #[test]
    fn a_clock_that_was_set_back_makes_everything_due() {
        let mut queue = Queue::default();
        for uid in ["a", "b"] {
            queue.wake(&id(uid), Happened::Other, at(10_000));
            next(&mut queue, 10_000);
            queue.ended(uid, Until::At(at(12_000)), |_| false, at(10_000));
        }
        assert_eq!(next(&mut queue, 9_940), None, "a minute is a correction");
        assert_eq!(next(&mut queue, 9_000).as_deref(), Some("a"));
        queue.ended("a", Until::At(at(11_000)), |_| false, at(9_000));
        assert_eq!(next(&mut queue, 9_001).as_deref(), Some("b"));
        queue.ended("b", Until::At(at(11_000)), |_| false, at(9_001));
        assert_eq!(next(&mut queue, 10_999), None);
    }

    #[test]
    fn trouble_during_which_something_happened_still_waits_for_its_pause() {
        let mut queue = Queue::default();
        queue.wake(&id("a"), Happened::Other, at(0));
        next(&mut queue, 0);
        queue.wake(&id("a"), Happened::Other, at(0));
        queue.troubled("a", Some(Duration::from_secs(3600)), at(0));
        assert_eq!(queue.waiting().collect::<Vec<_>>(), [at(60)], "and whatever is asked for, a minute at most");
    }
}
