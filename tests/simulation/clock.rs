//! What time it is. All of it is simulated: tokio's clock is paused, and jumps from one timer to the next.
//!
//! A machine's monotonic clock stands still while it sleeps, its wall clock does not, and may be wrong.

use std::{cell::Cell, time::Duration};

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// 2026-01-01, a Thursday.
const BEGIN: i64 = 1_767_225_600;

thread_local! {
    static EPOCH: Cell<Option<Instant>> = const { Cell::new(None) };
    /// How long the machine slept.
    static SLEPT: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    /// By how much the wall clock of the operator's machine is wrong.
    static WRONG: Cell<SignedDuration> = const { Cell::new(SignedDuration::ZERO) };
}

/// A history begins now.
pub(crate) fn begin() {
    EPOCH.set(Some(Instant::now()));
}

/// What time it really is, for Revoiceit and for pods.
pub(crate) fn truth() -> Timestamp {
    let epoch = EPOCH.get().expect("the history has begun");
    let begin = Timestamp::from_second(BEGIN).expect("in range");
    begin + SignedDuration::try_from(epoch.elapsed() + SLEPT.get()).expect("in range")
}

/// What the operator's machine takes for it.
pub(crate) fn wall() -> Timestamp {
    truth() + WRONG.get()
}

/// The machine sleeps, with all that runs on it.
pub(crate) fn sleep_machine(time: Duration) {
    SLEPT.set(SLEPT.get() + time);
}

/// By how much the wall clock of the operator's machine is wrong.
pub(crate) fn wrong() -> SignedDuration {
    WRONG.get()
}

/// Sets the wall clock of the operator's machine.
pub(crate) fn set_wrong(by: SignedDuration) {
    WRONG.set(by);
}
