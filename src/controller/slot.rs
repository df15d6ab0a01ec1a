//! How many passes talk to Kubernetes at a time.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

/// `--concurrency` places.
#[derive(Clone, Debug)]
pub(super) struct Slots(Arc<Semaphore>);

/// One of them, held by a pass, and given up while the pass waits for Revoiceit to take a call.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Slots,
    held: Option<OwnedSemaphorePermit>,
    waited: Duration,
}

impl Slots {
    pub(super) fn new(concurrency: usize) -> Self {
        Self(Arc::new(Semaphore::new(concurrency)))
    }

    /// A place, when there is one.
    pub(super) async fn take(&self) -> Slot {
        Slot { slots: self.clone(), held: self.permit().await, waited: Duration::ZERO }
    }

    async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        // It is never closed.
        self.0.clone().acquire_owned().await.ok()
    }
}

impl Slot {
    /// Waits for something without keeping others from their work.
    pub(super) async fn parked<T>(&mut self, wait: impl Future<Output = T>) -> T {
        self.held = None;
        let waited = wait.await;
        self.held = self.slots.permit().await;
        waited
    }

    /// The same for the gate, whose time is not the pass's own.
    pub(super) async fn waits<T>(&mut self, wait: impl Future<Output = T>) -> T {
        let began = Instant::now();
        let waited = self.parked(wait).await;
        self.waited += began.elapsed();
        waited
    }

    /// For how long this pass [waited](Self::waits) in all.
    pub(super) fn waited(&self) -> Duration {
        self.waited
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn who_is_parked_leaves_the_place_to_others_and_waits_for_one_afterwards() {
        let slots = Slots::new(1);
        let mut slot = slots.take().await;
        assert!(slots.take().now_or_never().is_none());
        let taken = slot.parked(async { slots.take().await });
        let mut taken = Box::pin(taken);
        assert!((&mut taken).now_or_never().is_none(), "the other has the place that this one would come back to");
        drop(taken);
        drop(slot);
        assert!(slots.take().now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_is_waited_for_the_gate_is_no_time_of_the_pass() {
        let mut slot = Slots::new(1).take().await;
        for seconds in [3, 4] {
            slot.waits(tokio::time::sleep(Duration::from_secs(seconds))).await;
            slot.parked(tokio::time::sleep(Duration::from_secs(60))).await;
        }
        assert_eq!(slot.waited(), Duration::from_secs(7));
    }
}
