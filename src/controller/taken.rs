//! What was taken away since the process began.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts that a person is told at the end of a drain.
#[derive(Debug, Default)]
pub struct Taken {
    revoked: AtomicUsize,
    failed: AtomicUsize,
    deleted: AtomicUsize,
    released: AtomicUsize,
}

/// The same at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Refresh tokens that Revoiceit revoked, or did not know any more.
    pub revoked: usize,
    /// Revocations that failed.
    pub failed: usize,
    /// Targets that were deleted.
    pub deleted: usize,
    /// Resources whose finalizer was removed.
    pub released: usize,
}

impl Taken {
    pub(super) fn revoked(&self, has_succeeded: bool) {
        let count = if has_succeeded { &self.revoked } else { &self.failed };
        count.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn deleted(&self) {
        self.deleted.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn released(&self) {
        self.released.fetch_add(1, Ordering::Relaxed);
    }

    /// All of it.
    pub fn counts(&self) -> Counts {
        let of = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        Counts { revoked: of(&self.revoked), failed: of(&self.failed), deleted: of(&self.deleted), released: of(&self.released) }
    }
}
