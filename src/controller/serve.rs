//! Serving the queue for as long as this process leads.

use std::{sync::Arc, time::Duration};

use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{
    context::Context,
    index::Wake,
    sweep::sweep,
    work::{Work, ticks},
};
use crate::{
    revoiceit::Auth,
    runtime::{admin::Pulse, leader::Leadership},
};

/// How soon ledgers without a resource are looked for again when that fails.
const SWEEP_AGAIN: Duration = Duration::from_secs(15);

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
    // What was told before is known by now, and all of it is looked at: nothing is looked at twice.
    while wakes.try_recv().is_ok() {}
    let stop = stop.child_token();
    let mut sweeps = AbortOnDropHandle::new(tokio::spawn(sweep_on_and_on(cx.clone(), stop.clone())));
    let mut work = Work::new(cx.clone(), wakes, concurrency, stop.clone());
    for (id, maybe_due) in cx.watched.ids_by_status() {
        work.look(&id, maybe_due);
    }
    while !stop.is_cancelled() {
        pulse.beat();
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = leadership.ended() => stop.cancel(),
            // It ends by a panic only, which was logged: that the serving ends is what ends the process.
            _ = &mut sweeps => stop.cancel(),
            _ = work.step() => {}
        }
    }
    work.finish(Some(&pulse)).await;
}

/// Until this process leads, what the watches say has been taken in by them, and there is nothing more to do. `false`: it is told to stop.
async fn stand_by(
    wakes: &mut UnboundedReceiver<Wake>,
    leadership: &mut Leadership,
    synced: &CancellationToken,
    pulse: &Pulse,
    stop: &CancellationToken,
) -> bool {
    let mut tick = ticks();
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
            Ok(()) => cx.policy.sweep,
            Err(error) => {
                tracing::warn!(error = %error.told(), "ledgers were not swept");
                SWEEP_AGAIN.min(cx.policy.sweep)
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}
