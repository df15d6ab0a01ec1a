//! The queue and the passes that are under way: one task for each, so that a pass that panics ends itself alone.

use std::{collections::HashMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::{
    sync::mpsc::UnboundedReceiver,
    task::{Id, JoinError, JoinSet},
    time::{Instant, Interval, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::{
    context::Context,
    error::Error,
    index::Wake,
    pass::{self, pass},
    queue::{Happened, Queue},
    slot::{Slot, Slots},
};
use crate::{
    planner::{Remains, ResourceId},
    revoiceit::Auth,
    runtime::{admin::Pulse, metrics::PassResult},
};

/// How often due times are looked at. A machine that slept is late by this.
pub(super) const TICK: Duration = Duration::from_secs(1);

/// A ticker that makes up for nothing.
pub(super) fn ticks() -> Interval {
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick
}

/// What a pass came to.
pub(super) struct Ended {
    pub(super) id: Arc<ResourceId>,
    pub(super) began_at: Timestamp,
    /// `None`: it ended in trouble, or was broken off.
    pub(super) left: Option<Remains>,
}

/// All that is due, and what is being done about it.
pub(super) struct Work<A: Auth> {
    cx: Arc<Context<A>>,
    wakes: UnboundedReceiver<Wake>,
    slots: Slots,
    queue: Queue,
    tick: Interval,
    tasks: JoinSet<Outcome>,
    of: HashMap<Id, Arc<ResourceId>>,
    /// By UID: that something happened since its pass was begun.
    news: HashMap<String, CancellationToken>,
    begun: u64,
    stop: CancellationToken,
}

struct Outcome {
    id: Arc<ResourceId>,
    began_at: Timestamp,
    came: Result<pass::Ended, Error>,
    took: Duration,
}

impl<A: Auth> Work<A> {
    /// Nothing is due yet. `stop` is for the passes.
    pub(super) fn new(cx: Arc<Context<A>>, wakes: UnboundedReceiver<Wake>, concurrency: usize, stop: CancellationToken) -> Self {
        let (queue, tasks) = (Queue::default(), JoinSet::new());
        Self {
            cx,
            wakes,
            slots: Slots::new(concurrency),
            queue,
            tick: ticks(),
            tasks,
            of: HashMap::new(),
            news: HashMap::new(),
            begun: 0,
            stop,
        }
    }

    /// This resource is due now.
    pub(super) fn wake(&mut self, id: &Arc<ResourceId>) {
        self.queue.wake(id, Happened::Other, self.cx.now());
    }

    /// The next thing that happens: the end of a pass, the beginning of another, an event, a second. May be dropped at any point.
    pub(super) async fn step(&mut self) -> Option<Ended> {
        // A place is taken only for a pass that is due: those that were parked wait for one, too.
        let is_due = self.queue.is_due(self.cx.now());
        tokio::select! {
            biased;
            Some(ended) = self.tasks.join_next_with_id() => return self.end(ended),
            // An event may have overtaken the reply to the write that caused it, and be heard only after the pass that wrote has ended.
            Some((id, happened)) = self.wakes.recv() => {
                if !matches!(&happened, Happened::Written(version) if self.cx.watched.is_own(version)) {
                    self.queue.wake(&id, happened, self.cx.now());
                    self.hear(&id.uid);
                }
            }
            slot = self.slots.take(), if is_due => self.begin(slot),
            _ = self.tick.tick() => {}
        }
        None
    }

    /// Waits for the passes that are under way: what Revoiceit answered is saved before the process ends, and nothing is aborted.
    pub(super) async fn finish(&mut self, pulse: Option<&Pulse>) -> Vec<Ended> {
        let mut all = Vec::new();
        while let Some(ended) = self.tasks.join_next_with_id().await {
            pulse.inspect(|pulse| pulse.beat());
            all.extend(self.end(ended));
        }
        all
    }

    fn begin(&mut self, mut slot: Slot) {
        let began_at = self.cx.now();
        let Some(id) = self.queue.next(began_at) else { return };
        self.begun += 1;
        let span = tracing::info_span!("pass", number = self.begun, namespace = id.namespace, name = id.name, uid = id.uid);
        let (of, cx, stop, news) = (id.clone(), self.cx.clone(), self.stop.clone(), self.stop.child_token());
        self.news.insert(id.uid.clone(), news.clone());
        let work = async move {
            let began = Instant::now();
            let came = pass(&cx, id.clone(), &mut slot, &stop, &news).await;
            Outcome { id, began_at, came, took: began.elapsed().saturating_sub(slot.waited()) }
        };
        let task = self.tasks.spawn(work.instrument(span));
        self.of.insert(task.id(), of);
    }

    /// Something happened to the resource of this UID: its pass, if it waits for a call, may have something else to do first.
    fn hear(&self, uid: &str) {
        if let Some(news) = self.news.get(uid) {
            news.cancel();
        }
    }

    fn end(&mut self, ended: Result<(Id, Outcome), JoinError>) -> Option<Ended> {
        let (cx, now) = (&self.cx, self.cx.now());
        match ended {
            Ok((task, Outcome { id, began_at, came, took })) => {
                self.of.remove(&task);
                self.news.remove(&id.uid);
                let left = match came {
                    Ok(ended) => {
                        cx.metrics.pass(PassResult::Rested, took);
                        self.queue.ended(&id.uid, ended.until, |version| cx.watched.is_own(version), now);
                        ended.left
                    }
                    Err(error) => {
                        tracing::warn!(namespace = id.namespace, name = id.name, error = %error.told(), "a pass ended in trouble, and comes back");
                        cx.metrics.pass(PassResult::Error, took);
                        if cx.watched.resource(&id.uid).is_none() {
                            cx.facts.unattended(&id.uid, true);
                        }
                        self.queue.troubled(&id.uid, error.retry_after(), now);
                        None
                    }
                };
                Some(Ended { id, began_at, left })
            }
            Err(error) => {
                let id = self.of.remove(&error.id())?;
                self.news.remove(&id.uid);
                tracing::error!(namespace = id.namespace, name = id.name, "a pass panicked, and comes back");
                cx.metrics.pass(PassResult::Panicked, Duration::ZERO);
                self.queue.troubled(&id.uid, None, now);
                None
            }
        }
    }
}
