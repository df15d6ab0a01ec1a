//! Many at a time, through the queue, the places of `--concurrency` and the gate, as `serve` and `pass` use them: a glance, a permit, a look, a call.

use std::collections::HashMap;

use tokio::task::JoinSet;

use super::*;
use crate::{
    controller::{
        queue::{Happened, Queue},
        slot::Slots,
    },
    planner::ResourceId,
};

/// The defaults of the flags.
const DEFAULTS: Limits = Limits { qps: 50, burst: 100, in_flight: 16 };
const CONCURRENCY: usize = 16;

/// What a call to the Kubernetes API takes.
const REQUEST: Duration = Duration::from_millis(3);

/// How long each endpoint takes to answer.
#[derive(Clone, Copy)]
struct Takes {
    issue: Duration,
    refresh: Duration,
}

/// A resource that wants one call.
struct Wants {
    uid: String,
    lane: Lane,
    deadline: Timestamp,
    /// When it is noticed.
    due: Timestamp,
}

fn begin() -> Timestamp {
    at(1_800_000_000)
}

fn after(time: Timestamp, by: Duration) -> Timestamp {
    crate::planner::after(time, by)
}

/// Serves them all. When each of their calls was answered, since the beginning.
async fn served(all: Vec<Wants>, limits: Limits, takes: Takes) -> HashMap<String, Duration> {
    let (gate, slots, mut queue) = (Gate::new(limits), Slots::new(CONCURRENCY), Queue::default());
    let began = Instant::now();
    let now = || after(begin(), began.elapsed());
    let id = |uid: &str| Arc::new(ResourceId { namespace: "ns".into(), name: uid.into(), uid: uid.into() });
    let mut coming: Vec<&Wants> = all.iter().collect();
    coming.sort_by_key(|wants| std::cmp::Reverse(wants.due));
    let of: HashMap<&str, &Wants> = all.iter().map(|wants| (wants.uid.as_str(), wants)).collect();
    let (mut passes, mut ends) = (JoinSet::new(), HashMap::new());
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    while ends.len() < all.len() {
        while let Some(wants) = coming.pop_if(|wants| wants.due <= now()) {
            queue.wake(&id(&wants.uid), Happened::Other, now());
        }
        let is_due = queue.is_due(now());
        tokio::select! {
            biased;
            Some(ended) = passes.join_next() => {
                let (uid, at) = ended.expect("no panic");
                ends.insert(uid, at);
            }
            mut slot = slots.take(), if is_due => if let Some(id) = queue.next(now()) {
                let Wants { lane, deadline, .. } = of[id.uid.as_str()];
                let (lane, deadline, gate) = (*lane, *deadline, gate.clone());
                let call = if lane == Lane::Issue { takes.issue } else { takes.refresh };
                passes.spawn(async move {
                    tokio::time::sleep(2 * REQUEST).await;
                    let permit = slot.parked(gate.wait(deadline, lane)).await;
                    tokio::time::sleep(4 * REQUEST).await;
                    slot.parked(tokio::time::sleep(call)).await;
                    drop(permit);
                    (id.uid.clone(), began.elapsed())
                });
            },
            _ = tick.tick() => {}
        }
    }
    ends
}

/// A thousand that are new, and a hundred whose tokens end between half a minute and a minute later; these come when the others wait already.
fn a_crowd() -> Vec<Wants> {
    let new = (0..1000).map(|number| Wants {
        uid: format!("new-{number}"),
        lane: Lane::Issue,
        deadline: after(begin(), Duration::from_secs(5 * 60)),
        due: begin(),
    });
    let old = (0..100).map(|number| Wants {
        uid: format!("old-{number}"),
        lane: Lane::Refresh,
        deadline: after(begin(), Duration::from_millis(30_000 + 300 * number)),
        due: after(begin(), Duration::from_secs(5)),
    });
    new.chain(old).collect()
}

/// When the last whose name begins like this was served, and how many of the others were by then.
fn last(ends: &HashMap<String, Duration>, prefix: &str) -> (Duration, usize) {
    let last = *ends.iter().filter(|(uid, _)| uid.starts_with(prefix)).map(|(_, at)| at).max().expect("there are some");
    (last, ends.iter().filter(|(uid, at)| !uid.starts_with(prefix) && **at < last).count())
}

#[tokio::test(start_paused = true)]
async fn no_token_expires_because_a_thousand_resources_are_new() {
    let takes = Takes { issue: Duration::from_millis(100), refresh: Duration::from_millis(100) };
    let ends = served(a_crowd(), DEFAULTS, takes).await;
    let (refreshed, new_by_then) = last(&ends, "old");
    assert!(refreshed < Duration::from_secs(8), "{refreshed:?}");
    assert!(new_by_then < 400, "{new_by_then} new ones came first");
    let (all, _) = last(&ends, "new");
    assert!(all < Duration::from_secs(23), "1,100 calls, 50 a second, took {all:?}");
}

#[tokio::test(start_paused = true)]
async fn no_token_expires_because_every_issue_hangs() {
    let takes = Takes { issue: Duration::from_secs(10), refresh: Duration::from_millis(100) };
    let ends = served(a_crowd(), DEFAULTS, takes).await;
    let (refreshed, _) = last(&ends, "old");
    assert!(refreshed < Duration::from_secs(8), "{refreshed:?}");
}

#[tokio::test(start_paused = true)]
async fn new_resources_get_their_tokens_although_every_refresh_hangs() {
    let takes = Takes { issue: Duration::from_millis(100), refresh: Duration::from_secs(10) };
    let ends = served(a_crowd(), DEFAULTS, takes).await;
    let (all, _) = last(&ends, "new");
    // Four places are left to them from the sixth second on: forty a second.
    assert!(all < Duration::from_secs(30), "{all:?}");
}
