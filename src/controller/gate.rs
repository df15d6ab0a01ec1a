//! One queue for all calls to Revoiceit, ordered by deadline.
//!
//! A call leaves it when the bucket has a token and a place is free. Issues hold at most half of the places, revocations a quarter and refreshes
//! three quarters, so that an endpoint that hangs starves no other. The core is pure, with the time as an argument; the shell around it wakes who
//! is let through.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use tokio::{sync::oneshot, time::Instant};

use crate::planner::Lane;

/// However long Revoiceit asks to wait, the gate opens again after this: what it answers then is the better news.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// How much Revoiceit gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Calls a second, on average.
    pub qps: u32,
    /// Calls at once, after a pause.
    pub burst: u32,
    /// Calls that wait for their answer at a time. At least 4.
    pub in_flight: u32,
}

impl Limits {
    /// The places that one lane may hold.
    fn places(self, lane: Lane) -> u32 {
        match lane {
            Lane::Issue => (self.in_flight / 2).max(1),
            Lane::Refresh => (self.in_flight - self.in_flight / 4).max(1),
            Lane::Revoke => (self.in_flight / 4).max(1),
        }
    }
}

/// Who waits: by deadline, and among equals by who came first.
type Place = (Timestamp, u64);

/// The pure part: who is let through when. `W` is what wakes a waiter.
#[derive(Debug)]
struct Core<W> {
    limits: Limits,
    /// By lane, so that one that is full is passed over at once, however many wait in it.
    waiting: [BTreeMap<Place, W>; 3],
    held: [u32; 3],
    arrivals: u64,
    /// Tokens in the bucket at `filled_at`. A fraction is a token that is not there yet.
    tokens: f64,
    filled_at: Instant,
    closed_until: Option<Instant>,
}

impl<W> Core<W> {
    fn new(limits: Limits, now: Instant) -> Self {
        Self {
            limits,
            waiting: std::array::from_fn(|_| BTreeMap::new()),
            held: [0; 3],
            arrivals: 0,
            tokens: f64::from(limits.burst),
            filled_at: now,
            closed_until: None,
        }
    }

    fn arrive(&mut self, deadline: Timestamp, lane: Lane, waker: W) -> Place {
        self.arrivals += 1;
        let place = (deadline, self.arrivals);
        self.waiting[index(lane)].insert(place, waker);
        place
    }

    /// The first in line whose lane has a place, if the gate is open and the bucket has a token.
    fn admit(&mut self, now: Instant) -> Option<(Lane, W)> {
        self.fill(now);
        if self.tokens < 1.0 || self.closed_until.is_some_and(|until| now < until) || self.held.iter().sum::<u32>() >= self.limits.in_flight
        {
            return None;
        }
        let open = LANES.into_iter().filter(|lane| self.held[index(*lane)] < self.limits.places(*lane));
        let (_, lane) =
            open.filter_map(|lane| Some((*self.waiting[index(lane)].first_key_value()?.0, lane))).min_by_key(|(place, _)| *place)?;
        let (_, waker) = self.waiting[index(lane)].pop_first()?;
        self.tokens -= 1.0;
        self.held[index(lane)] += 1;
        Some((lane, waker))
    }

    fn fill(&mut self, now: Instant) {
        let since = now.saturating_duration_since(self.filled_at).as_secs_f64();
        self.tokens = (self.tokens + since * f64::from(self.limits.qps)).min(f64::from(self.limits.burst));
        self.filled_at = now;
    }

    /// When somebody may be let through whom only time keeps.
    fn opens_at(&self) -> Option<Instant> {
        if self.waiting.iter().all(BTreeMap::is_empty) {
            return None;
        }
        let missing = (1.0 - self.tokens).max(0.0) / f64::from(self.limits.qps);
        let filled = (missing > 0.0).then(|| self.filled_at + Duration::from_secs_f64(missing) + Duration::from_millis(1));
        filled.max(self.closed_until.filter(|until| *until > self.filled_at))
    }

    fn leave(&mut self, lane: Lane) {
        self.held[index(lane)] = self.held[index(lane)].saturating_sub(1);
    }

    fn pause(&mut self, pause: Duration, now: Instant) {
        let until = now + pause.min(MAX_PAUSE);
        self.closed_until = Some(self.closed_until.map_or(until, |closed| closed.max(until)));
    }
}

const LANES: [Lane; 3] = [Lane::Issue, Lane::Refresh, Lane::Revoke];

fn index(lane: Lane) -> usize {
    match lane {
        Lane::Issue => 0,
        Lane::Refresh => 1,
        Lane::Revoke => 2,
    }
}

/// Cheap to clone; all clones are one gate.
#[derive(Clone, Debug)]
pub struct Gate(Arc<Mutex<Shell>>);

#[derive(Debug)]
struct Shell {
    core: Core<oneshot::Sender<Permit>>,
    /// Somebody sleeps until [`Core::opens_at`].
    alarm: Option<Instant>,
}

/// The right to send one call. Its place is free again when it is dropped.
#[derive(Debug)]
pub struct Permit {
    lane: Lane,
    gate: Gate,
    is_used: bool,
}

impl Gate {
    /// An open gate with a full bucket.
    pub fn new(limits: Limits) -> Self {
        Self(Arc::new(Mutex::new(Shell { core: Core::new(limits, Instant::now()), alarm: None })))
    }

    /// Waits for a permit. Whoever gives up waiting leaves the queue.
    pub async fn wait(&self, deadline: Timestamp, lane: Lane) -> Permit {
        let (sender, receiver) = oneshot::channel();
        let place = self.lock().core.arrive(deadline, lane, sender);
        let _leaves = Leaves { gate: self, lane, place };
        self.admit();
        receiver.await.unwrap_or_else(|_| unreachable!("a waiter is dropped only by itself"))
    }

    /// Revoiceit asks to be left alone for a while, 60 s at most.
    pub fn pause(&self, pause: Duration) {
        self.lock().core.pause(pause, Instant::now());
    }

    /// How many calls wait in this lane.
    pub fn depth(&self, lane: Lane) -> usize {
        self.lock().core.waiting[index(lane)].len()
    }

    fn admit(&self) {
        let mut shell = self.lock();
        let now = Instant::now();
        while let Some((lane, waker)) = shell.core.admit(now) {
            let permit = Permit { lane, gate: self.clone(), is_used: true };
            if let Err(mut permit) = waker.send(permit) {
                // Who waited is gone. Its place is given back here, as the lock is held.
                permit.is_used = false;
                shell.core.leave(lane);
            }
        }
        let Some(opens_at) = shell.core.opens_at() else { return };
        if shell.alarm.is_some_and(|alarm| alarm <= opens_at && alarm > now) {
            return;
        }
        shell.alarm = Some(opens_at);
        drop(shell);
        let gate = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep_until(opens_at).await;
            gate.admit();
        });
    }

    fn lock(&self) -> MutexGuard<'_, Shell> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.is_used {
            self.gate.lock().core.leave(self.lane);
            self.gate.admit();
        }
    }
}

struct Leaves<'a> {
    gate: &'a Gate,
    lane: Lane,
    place: Place,
}

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        // Dropping the waker may drop a permit, which takes the lock.
        let left = self.gate.lock().core.waiting[index(self.lane)].remove(&self.place);
        drop(left);
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, future::join_all};

    use super::*;

    const LIMITS: Limits = Limits { qps: 10, burst: 4, in_flight: 8 };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    fn order(core: &mut Core<&'static str>, now: Instant) -> Vec<&'static str> {
        std::iter::from_fn(|| core.admit(now)).map(|(_, name)| name).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn calls_are_served_by_deadline_and_among_equals_by_arrival() {
        let now = Instant::now();
        let mut core = Core::new(LIMITS, now);
        for (deadline, name) in [(30, "late"), (10, "first"), (20, "second"), (20, "third")] {
            core.arrive(at(deadline), Lane::Refresh, name);
        }
        assert_eq!(order(&mut core, now), ["first", "second", "third", "late"]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_burst_is_served_at_once_and_the_rest_at_the_rate() {
        let now = Instant::now();
        let mut core = Core::new(Limits { in_flight: 100, ..LIMITS }, now);
        for _ in 0..10 {
            core.arrive(at(0), Lane::Refresh, "call");
        }
        assert_eq!(order(&mut core, now).len(), 4);
        assert_eq!(core.opens_at(), Some(now + Duration::from_millis(101)));
        assert_eq!(order(&mut core, now + Duration::from_millis(101)).len(), 1);
        assert_eq!(order(&mut core, now + Duration::from_millis(401)).len(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn no_endpoint_that_hangs_starves_another() {
        let now = Instant::now();
        let mut core = Core::new(Limits { qps: 1000, burst: 1000, in_flight: 8 }, now);
        for _ in 0..20 {
            core.arrive(at(0), Lane::Issue, "issue");
            core.arrive(at(0), Lane::Revoke, "revoke");
        }
        core.arrive(at(99), Lane::Refresh, "refresh");
        assert_eq!(core.waiting.each_ref().map(BTreeMap::len), [20, 1, 20]);
        let mut served = order(&mut core, now);
        served.sort_unstable();
        assert_eq!(served, ["issue", "issue", "issue", "issue", "refresh", "revoke", "revoke"]);
        core.leave(Lane::Revoke);
        assert_eq!(order(&mut core, now), ["revoke"]);
    }

    #[tokio::test(start_paused = true)]
    async fn refreshes_that_hang_leave_places_to_the_others() {
        let now = Instant::now();
        let mut core = Core::new(Limits { qps: 1000, burst: 1000, in_flight: 8 }, now);
        for _ in 0..20 {
            core.arrive(at(0), Lane::Refresh, "refresh");
        }
        assert_eq!(order(&mut core, now), ["refresh"; 6]);
        core.arrive(at(99), Lane::Revoke, "revoke");
        core.arrive(at(98), Lane::Issue, "issue");
        assert_eq!(order(&mut core, now), ["issue", "revoke"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_is_for_all_and_for_a_minute_at_most() {
        let now = Instant::now();
        let mut core = Core::new(LIMITS, now);
        core.pause(Duration::from_secs(3600), now);
        core.pause(Duration::from_secs(1), now);
        core.arrive(at(0), Lane::Refresh, "call");
        assert_eq!(order(&mut core, now + Duration::from_millis(59_999)), [""; 0]);
        assert_eq!(core.opens_at(), Some(now + MAX_PAUSE));
        assert_eq!(order(&mut core, now + MAX_PAUSE), ["call"]);
    }

    #[tokio::test(start_paused = true)]
    async fn all_who_wait_come_through_in_time() {
        let gate = Gate::new(LIMITS);
        let began = Instant::now();
        let calls = (0..40).map(|_| async { drop(gate.wait(at(0), Lane::Refresh).await) });
        join_all(calls).await;
        let took = began.elapsed();
        assert!((Duration::from_millis(3600)..Duration::from_millis(3800)).contains(&took), "{took:?}");
        assert_eq!((gate.depth(Lane::Refresh), gate.lock().core.held), (0, [0; 3]));
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_waiting_leaves_no_trace() {
        let gate = Gate::new(Limits { qps: 1, burst: 1, in_flight: 4 });
        let permit = gate.wait(at(0), Lane::Issue).await;
        let mut gone = Box::pin(gate.wait(at(0), Lane::Issue));
        assert!((&mut gone).now_or_never().is_none());
        assert_eq!(gate.depth(Lane::Issue), 1);
        drop(gone);
        assert_eq!(gate.depth(Lane::Issue), 0);
        drop(permit);
        let began = Instant::now();
        drop(gate.wait(at(0), Lane::Issue).await);
        assert!(began.elapsed() <= Duration::from_millis(1001), "{:?}", began.elapsed());
        assert_eq!(gate.lock().core.held, [0; 3]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_permit_that_nobody_takes_any_more_is_passed_on() {
        let gate = Gate::new(Limits { qps: 1000, burst: 1000, in_flight: 4 });
        let held = gate.wait(at(0), Lane::Revoke).await;
        let mut first = Box::pin(gate.wait(at(1), Lane::Revoke));
        assert!((&mut first).now_or_never().is_none());
        let clone = gate.clone();
        let second = tokio::spawn(async move { drop(clone.wait(at(2), Lane::Revoke).await) });
        tokio::task::yield_now().await;
        // The permit is on its way to the first when it gives up.
        drop(held);
        drop(first);
        second.await.expect("it is served");
        assert_eq!(gate.lock().core.held, [0; 3]);
    }
}
