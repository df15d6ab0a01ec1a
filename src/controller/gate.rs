//! One queue for all calls to Revoiceit, ordered by deadline.
//!
//! A call leaves it when the bucket has a token and a place is free. Issues hold at most half of the places, revocations a quarter and refreshes
//! three quarters, and a lane that holds none always finds one, so that an endpoint that hangs starves no other, nor do two the third. The core is
//! pure, with the time as an argument; the shell around it wakes who is let through.

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

    /// Whether the gate is open and the bucket has a token.
    fn is_open(&mut self, now: Instant) -> bool {
        self.fill(now);
        self.tokens >= 1.0 && self.closed_until.is_none_or(|until| now >= until)
    }

    /// The first in line whose lane has a place, if the gate is open.
    fn admit(&mut self, now: Instant) -> Option<(Lane, W)> {
        if !self.is_open(now) {
            return None;
        }
        let open = LANES.into_iter().filter(|lane| self.has_place(*lane));
        let (_, lane) =
            open.filter_map(|lane| Some((*self.waiting[index(lane)].first_key_value()?.0, lane))).min_by_key(|(place, _)| *place)?;
        let (_, waker) = self.waiting[index(lane)].pop_first()?;
        self.tokens -= 1.0;
        self.held[index(lane)] += 1;
        Some((lane, waker))
    }

    /// Whether one more call of this lane leaves a place for each other lane that holds none.
    fn has_place(&self, lane: Lane) -> bool {
        let free = self.limits.in_flight.saturating_sub(self.held.iter().sum());
        let kept = LANES.into_iter().filter(|other| *other != lane && self.held[index(*other)] == 0).count();
        self.held[index(lane)] < self.limits.places(lane) && free as usize > kept
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

    /// Whether a call of this lane would be let through at once.
    pub fn is_free(&self, lane: Lane) -> bool {
        let mut shell = self.lock();
        shell.core.is_open(Instant::now()) && shell.core.has_place(lane) && shell.core.waiting[index(lane)].is_empty()
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
mod tests;
