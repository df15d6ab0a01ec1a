//! Serving the queue: one task for each pass, so that a pass that panics ends itself alone.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::{
    sync::mpsc::UnboundedReceiver,
    task::{Id, JoinError, JoinSet},
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::{
    context::Context,
    error::Error,
    index::Wake,
    pass::pass,
    queue::{Happened, Queue},
    slot::Slots,
    sweep::sweep,
};
use crate::{
    planner::{ResourceId, Until},
    revoiceit::Auth,
    runtime::{admin::Pulse, clock, leader::Leadership, metrics::PassResult},
};

/// How often due times are looked at. A machine that slept is late by this.
const TICK: Duration = Duration::from_secs(1);
/// How often ledgers without a resource are looked for.
const SWEEP: Duration = Duration::from_secs(10 * 60);
/// How soon that is tried again when it fails.
const SWEEP_AGAIN: Duration = Duration::from_secs(15);

type Ended = (Arc<ResourceId>, Result<Until, Error>, Duration);

/// Works on what is due for as long as this process leads. Returns when it is told to stop, or has led; passes that have something in hand end
/// first.
pub async fn serve<A: Auth>(
    cx: Arc<Context<A>>,
    mut wakes: UnboundedReceiver<Wake>,
    mut leadership: Leadership,
    synced: CancellationToken,
    concurrency: usize,
    pulse: Pulse,
    stop: CancellationToken,
) {
    if !stand_by(&mut wakes, &mut leadership, &synced, &pulse, &stop).await {
        return;
    }
    tracing::info!("leading");
    let stop = stop.child_token();
    let slots = Slots::new(concurrency);
    let mut queue = Queue::default();
    let mut passes = Passes::default();
    let mut sweeps = tokio::spawn(sweep_on_and_on(cx.clone(), stop.clone()));
    for id in cx.watched.ids() {
        queue.wake(&id, Happened::Other, clock::now());
    }
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !stop.is_cancelled() {
        pulse.beat();
        // A place is taken only for a pass that is due: those that were parked wait for one, too.
        let is_due = queue.is_due(clock::now());
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = leadership.ended() => stop.cancel(),
            // It ends by a panic only, which was logged: that the serving ends is what ends the process.
            _ = &mut sweeps => stop.cancel(),
            Some(ended) = passes.tasks.join_next_with_id() => passes.end(&cx, &mut queue, ended),
            // An event may have overtaken the reply to the write that caused it, and be heard only after the pass that wrote has ended.
            Some((id, happened)) = wakes.recv() => {
                if !matches!(&happened, Happened::Written(version) if cx.watched.is_own(version)) {
                    queue.wake(&id, happened, clock::now());
                    passes.hear(&id.uid);
                }
            }
            slot = slots.take(), if is_due => if let Some(id) = queue.next(clock::now()) {
                passes.begin(cx.clone(), id, slot, stop.clone());
            },
            _ = tick.tick() => {}
        }
    }
    // What Revoiceit answered is saved before the process ends; nothing is aborted.
    while let Some(ended) = passes.tasks.join_next_with_id().await {
        pulse.beat();
        passes.end(&cx, &mut queue, ended);
    }
    sweeps.abort();
}

/// Until this process leads, what the watches say has been taken in by them, and there is nothing more to do. `false`: it is told to stop.
async fn stand_by(
    wakes: &mut UnboundedReceiver<Wake>,
    leadership: &mut Leadership,
    synced: &CancellationToken,
    pulse: &Pulse,
    stop: &CancellationToken,
) -> bool {
    let mut tick = interval(TICK);
    let mut ready = Box::pin(async {
        synced.cancelled().await;
        leadership.began().await;
    });
    loop {
        pulse.beat();
        tokio::select! {
            biased;
            () = stop.cancelled() => return false,
            () = &mut ready => return true,
            Some(_) = wakes.recv() => {}
            _ = tick.tick() => {}
        }
    }
}

async fn sweep_on_and_on<A: Auth>(cx: Arc<Context<A>>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let pause = match sweep(&cx).await {
            Ok(()) => SWEEP,
            Err(error) => {
                tracing::warn!(error = %error.told(), "ledgers were not swept");
                SWEEP_AGAIN
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// The passes that are under way.
#[derive(Default)]
struct Passes {
    tasks: JoinSet<Ended>,
    of: HashMap<Id, Arc<ResourceId>>,
    /// By UID: that something happened since its pass was begun.
    news: HashMap<String, CancellationToken>,
    begun: u64,
}

impl Passes {
    fn begin<A: Auth>(&mut self, cx: Arc<Context<A>>, id: Arc<ResourceId>, mut slot: super::slot::Slot, stop: CancellationToken) {
        self.begun += 1;
        let span = tracing::info_span!("pass", number = self.begun, namespace = id.namespace, name = id.name, uid = id.uid);
        let of = id.clone();
        let news = stop.child_token();
        self.news.insert(id.uid.clone(), news.clone());
        let work = async move {
            let began = Instant::now();
            let outcome = pass(&cx, id.clone(), &mut slot, &stop, &news).await;
            (id, outcome, began.elapsed())
        };
        let task = self.tasks.spawn(work.instrument(span));
        self.of.insert(task.id(), of);
    }

    /// Something happened to the resource of this UID.
    fn hear(&self, uid: &str) {
        if let Some(news) = self.news.get(uid) {
            news.cancel();
        }
    }

    fn end<A: Auth>(&mut self, cx: &Context<A>, queue: &mut Queue, ended: Result<(Id, Ended), JoinError>) {
        let now = clock::now();
        match ended {
            Ok((task, (id, outcome, took))) => {
                self.of.remove(&task);
                self.news.remove(&id.uid);
                match outcome {
                    Ok(until) => {
                        cx.metrics.pass(PassResult::Rested, took);
                        queue.ended(&id.uid, until, |version| cx.watched.is_own(version), now);
                    }
                    Err(error) => {
                        tracing::warn!(namespace = id.namespace, name = id.name, error = %error.told(), "a pass ended in trouble, and comes back");
                        cx.metrics.pass(PassResult::Error, took);
                        queue.troubled(&id.uid, error.retry_after(), now);
                    }
                }
            }
            Err(error) => {
                if let Some(id) = self.of.remove(&error.id()) {
                    self.news.remove(&id.uid);
                    tracing::error!(namespace = id.namespace, name = id.name, "a pass panicked, and comes back");
                    cx.metrics.pass(PassResult::Panicked, Duration::ZERO);
                    queue.troubled(&id.uid, None, now);
                }
            }
        }
    }
}
