//! Taking the operator away: everything that it holds goes, until nothing is left or the time is over.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt, stream};
use jiff::Timestamp;
use tokio::{sync::mpsc::UnboundedReceiver, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{
    context::Context,
    error::Error,
    index::Wake,
    look,
    pass::{stamp, with},
    sweep::{Unattended, unattended},
    work::{Ended, Work},
};
use crate::{
    planner::{self, Observed, Remains, ResourceId},
    revoiceit::Auth,
    runtime::leader::Leadership,
};

/// How many resources are worked on at a time.
const CONCURRENCY: usize = 16;
/// How long passes may take after the deadline: a call that hangs, and what has to be saved. Then they are broken off where nothing is lost by it.
const LETTING_GO: Duration = Duration::from_secs(20);
/// How often a ledger without a resource is looked at again. What it waits for may be the end of another.
const AGAIN: Duration = Duration::from_secs(10);
/// How often progress is told.
const TELL: Duration = Duration::from_secs(10);
/// Between two attempts to list the ledgers.
const LIST_AGAIN: Duration = Duration::from_secs(2);

/// What is held of one resource.
#[derive(Debug)]
pub struct Held {
    /// Which resource.
    pub id: Arc<ResourceId>,
    /// What it is, or why that could not be found out.
    pub remains: Result<Remains, Error>,
}

/// What is held of all resources.
#[derive(Debug)]
pub struct Holdings {
    /// Of each resource of which something is held, or may be.
    pub of: Vec<Held>,
    /// The names of ledgers of which nothing tells which resource they are for. They are left alone.
    pub nameless: Vec<String>,
}

/// Why a drain ended before it was done.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// The process was told to stop.
    #[error("stopped before all was done: run it again")]
    Stopped,
    /// Another process took the lease, or it could not be renewed.
    #[error("the lease was lost, so an operator may be at work again: stop it, and run this again")]
    Unled,
    /// What there is to do was not found out.
    #[error("the ledgers cannot be listed")]
    Unlisted(#[source] Error),
}

/// Revokes every token, deletes every target and ledger, and removes every finalizer and claim, until the policy's deadline. What could not be
/// revoked by then stays in its ledger, and its resource is released all the same. Returns what is left, and what was left alone.
///
/// The watch of the resources must be in sync. `tell` gets the number of resources that are left, now and then. `last_saves` is how long the passes
/// may take in the end to save what was answered.
pub async fn drain<A: Auth>(
    cx: Arc<Context<A>>,
    wakes: UnboundedReceiver<Wake>,
    mut leadership: Leadership,
    stop: &CancellationToken,
    last_saves: Duration,
    mut tell: impl FnMut(usize),
) -> Result<Holdings, Broken> {
    let deadline = cx.policy.draining.unwrap_or_else(|| cx.now());
    let passes = stop.child_token();
    let mut work = Work::new(cx.clone(), wakes, CONCURRENCY, passes.clone());
    let (ids, nameless) = all(&cx, deadline, stop).await?;
    let mut open = Open::of(ids);
    open.wake(&mut work, |_| true);
    let (mut again_at, mut tell_at) = (planner::after(cx.now(), AGAIN), planner::after(cx.now(), TELL));
    let mut is_over = false;
    let outcome = loop {
        let now = cx.now();
        if now >= deadline && !is_over {
            is_over = true;
            open.wake(&mut work, |_| true);
        }
        if open.is_done(deadline, is_over) || now >= planner::after(deadline, LETTING_GO) {
            break Ok(());
        }
        if now >= again_at {
            again_at = planner::after(now, AGAIN);
            open.wake(&mut work, |remains| remains.is_gone);
        }
        if now >= tell_at {
            tell_at = planner::after(now, TELL);
            tell(open.left.len());
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => break Err(Broken::Stopped),
            () = leadership.ended() => break Err(Broken::Unled),
            ended = work.step() => open.heard(ended),
        }
    };
    passes.cancel();
    match timeout(last_saves, work.finish(None)).await {
        Ok(ended) => ended.into_iter().for_each(|ended| open.heard(Some(ended))),
        Err(_) => tracing::warn!("passes are broken off: what Revoiceit answered them could not be saved in time"),
    }
    outcome?;
    Ok(Holdings { of: survey(&cx, open.all()).await, nameless })
}

/// What the operator holds, of every resource in its scope and of every other that there is a ledger of. Reads only. `patience` is how long it
/// tries to list the ledgers.
pub async fn held<A: Auth>(cx: &Context<A>, patience: Duration, stop: &CancellationToken) -> Result<Holdings, Broken> {
    let (ids, nameless) = all(cx, planner::after(cx.now(), patience), stop).await?;
    Ok(Holdings { of: survey(cx, ids).await, nameless })
}

/// Every resource in scope, and every other that there is a ledger of; and the ledgers of nobody knows what.
async fn all<A: Auth>(
    cx: &Context<A>,
    deadline: Timestamp,
    stop: &CancellationToken,
) -> Result<(Vec<Arc<ResourceId>>, Vec<String>), Broken> {
    loop {
        match unattended(cx).await {
            Ok(Unattended { gone, nameless }) => return Ok((cx.watched.ids().into_iter().chain(gone).collect(), nameless)),
            Err(error) if error.is_forbidden() || cx.now() >= deadline => return Err(Broken::Unlisted(error)),
            Err(error) => tracing::warn!(error = %error.told(), "the ledgers were not listed, tried again"),
        }
        tokio::select! {
            () = stop.cancelled() => return Err(Broken::Stopped),
            () = tokio::time::sleep(LIST_AGAIN) => {}
        }
    }
}

/// Looks at each of them, in the order of their names. Those of which nothing is held are left out.
async fn survey<A: Auth>(cx: &Context<A>, ids: impl IntoIterator<Item = Arc<ResourceId>>) -> Vec<Held> {
    let sorted: BTreeMap<(String, String, String), Arc<ResourceId>> =
        ids.into_iter().map(|id| ((id.namespace.clone(), id.name.clone(), id.uid.clone()), id)).collect();
    let looks = sorted.into_values().map(|id| async move {
        let nothing = Observed::begin(id.clone(), stamp(), cx.policy.clone(), cx.place.clone());
        let remains = look::look(cx, &nothing).await.map(|look| planner::remains(&with(nothing, look)));
        Held { id, remains }
    });
    let is_held = |held: &Held| !held.remains.as_ref().is_ok_and(Remains::is_nothing);
    stream::iter(looks).buffered(CONCURRENCY).filter(|held| std::future::ready(is_held(held))).collect().await
}

/// The resources that are not done with, by their UID, and those that are left alone.
struct Open {
    left: HashMap<String, Last>,
    left_alone: HashMap<String, Arc<ResourceId>>,
}

/// What the last pass said.
struct Last {
    id: Arc<ResourceId>,
    /// When it began, and what it left; `None` before it has come to an end.
    left: Option<(Timestamp, Remains)>,
}

impl Open {
    fn of(ids: Vec<Arc<ResourceId>>) -> Self {
        let left = ids.into_iter().map(|id| (id.uid.clone(), Last { id, left: None })).collect();
        Self { left, left_alone: HashMap::new() }
    }

    fn heard(&mut self, ended: Option<Ended>) {
        let Some(Ended { id, began_at, left: Some(left) }) = ended else { return };
        self.left.remove(&id.uid);
        self.left_alone.remove(&id.uid);
        if !left.is_done() {
            self.left.insert(id.uid.clone(), Last { id, left: Some((began_at, left)) });
        } else if !left.is_nothing() {
            self.left_alone.insert(id.uid.clone(), id);
        }
    }

    /// All of which something may be left.
    fn all(self) -> impl Iterator<Item = Arc<ResourceId>> {
        self.left.into_values().map(|last| last.id).chain(self.left_alone.into_values())
    }

    /// Those are due now of which this is true. What no pass has seen yet is due anyhow.
    fn wake<A: Auth>(&self, work: &mut Work<A>, which: impl Fn(&Remains) -> bool) {
        for Last { id, left } in self.left.values() {
            if left.as_ref().is_none_or(|(_, left)| which(left)) {
                work.wake(id);
            }
        }
    }

    /// There is nothing to do any more, or the time is over and each has had a pass that knew it.
    fn is_done(&self, deadline: Timestamp, is_over: bool) -> bool {
        let knew = |last: &Last| last.left.as_ref().is_some_and(|(began_at, _)| *began_at >= deadline);
        self.left.is_empty() || (is_over && self.left.values().all(knew))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planner::Unusable;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    fn id(uid: &str) -> Arc<ResourceId> {
        Arc::new(ResourceId { namespace: "ns".into(), name: uid.into(), uid: uid.into() })
    }

    fn ended(uid: &str, began_at: i64, left: Option<Remains>) -> Option<Ended> {
        Some(Ended { id: id(uid), began_at: at(began_at), left })
    }

    #[test]
    fn it_is_done_when_nothing_is_left_of_any() {
        let mut open = Open::of(vec![id("a"), id("b")]);
        assert!(Open::of(Vec::new()).is_done(at(100), false) && !open.is_done(at(100), false));
        open.heard(ended("a", 1, Some(Remains::default())));
        open.heard(ended("b", 1, None));
        open.heard(None);
        assert!(!open.is_done(at(100), false), "the pass of b ended in trouble");
        open.heard(ended("b", 2, Some(Remains::default())));
        assert!(open.is_done(at(100), false));
    }

    #[test]
    fn what_is_left_alone_is_waited_for_no_longer_and_not_forgotten() {
        let mut open = Open::of(vec![id("a"), id("b")]);
        let ledger = || Remains { has_ledger: true, ..Remains::default() };
        open.heard(ended("a", 1, Some(Remains { unusable: Some(Unusable::LaterFormat), ..ledger() })));
        open.heard(ended("b", 1, Some(Remains { is_out_of_scope: true, has_finalizer: true, ..ledger() })));
        assert!(open.is_done(at(100), false));
        open.heard(ended("b", 2, Some(Remains::default())));
        assert_eq!(open.all().map(|id| id.uid.clone()).collect::<Vec<_>>(), ["a"]);
    }

    #[test]
    fn after_the_deadline_it_is_done_when_each_has_had_a_pass_that_knew_of_it() {
        let mut open = Open::of(vec![id("a")]);
        let left = || Some(Remains { has_ledger: true, tokens: 1, ..Remains::default() });
        open.heard(ended("a", 99, left()));
        assert!(!open.is_done(at(100), true));
        open.heard(ended("a", 100, left()));
        assert!(open.is_done(at(100), true) && !open.is_done(at(100), false));
    }
}
