//! Taking the operator away: everything that it holds goes, until nothing is left or the time is over.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt, stream};
use jiff::Timestamp;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::sync::CancellationToken;

use super::{
    context::Context,
    error::Error,
    index::Wake,
    look,
    pass::{stamp, with},
    sweep::unattended,
    work::{Ended, Work},
};
use crate::{
    planner::{self, Observed, Remains, ResourceId},
    revoiceit::Auth,
    runtime::{clock, leader::Leadership},
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
/// revoked by then stays in its ledger, and its resource is released all the same. Returns what is left.
///
/// The watch of the resources must be in sync. `tell` gets the number of resources that are left, now and then.
pub async fn drain<A: Auth>(
    cx: Arc<Context<A>>,
    wakes: UnboundedReceiver<Wake>,
    mut leadership: Leadership,
    stop: &CancellationToken,
    mut tell: impl FnMut(usize),
) -> Result<Vec<Held>, Broken> {
    let deadline = cx.policy.draining.unwrap_or_else(clock::now);
    let passes = stop.child_token();
    let mut work = Work::new(cx.clone(), wakes, CONCURRENCY, passes.clone());
    let mut open = Open::of(all(&cx, deadline, stop).await?);
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
            tell(open.0.len());
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => break Err(Broken::Stopped),
            () = leadership.ended() => break Err(Broken::Unled),
            ended = work.step() => open.heard(ended),
        }
    };
    passes.cancel();
    for ended in work.finish(None).await {
        open.heard(Some(ended));
    }
    outcome?;
    Ok(survey(&cx, open.0.into_values().map(|open| open.id)).await)
}

/// What the operator holds, of every resource in its scope and of those that are gone. Reads only.
pub async fn held<A: Auth>(cx: &Context<A>, stop: &CancellationToken) -> Result<Vec<Held>, Broken> {
    let ids = all(cx, cx.now(), stop).await?;
    let is_free = |held: &Held| held.remains.as_ref().is_ok_and(|remains| !remains.has_finalizer && !remains.has_ledger);
    Ok(survey(cx, ids).await.into_iter().filter(|held| !is_free(held)).collect())
}

/// Every resource in scope, and every other that there is a ledger of.
async fn all<A: Auth>(cx: &Context<A>, deadline: Timestamp, stop: &CancellationToken) -> Result<Vec<Arc<ResourceId>>, Broken> {
    loop {
        match unattended(cx).await {
            Ok(gone) => return Ok(cx.watched.ids().into_iter().chain(gone).collect()),
            Err(error) if cx.now() >= deadline => return Err(Broken::Unlisted(error)),
            Err(error) => tracing::warn!(error = %error.told(), "the ledgers were not listed, tried again"),
        }
        tokio::select! {
            () = stop.cancelled() => return Err(Broken::Stopped),
            () = tokio::time::sleep(LIST_AGAIN) => {}
        }
    }
}

/// Looks at each of them, in the order of their names.
async fn survey<A: Auth>(cx: &Context<A>, ids: impl IntoIterator<Item = Arc<ResourceId>>) -> Vec<Held> {
    let sorted: BTreeMap<(String, String, String), Arc<ResourceId>> =
        ids.into_iter().map(|id| ((id.namespace.clone(), id.name.clone(), id.uid.clone()), id)).collect();
    let looks = sorted.into_values().map(|id| async move {
        let nothing = Observed::begin(id.clone(), stamp(), cx.policy.clone(), cx.place.clone());
        let remains = look::look(cx, &nothing).await.map(|look| planner::remains(&with(nothing, look)));
        Held { id, remains }
    });
    stream::iter(looks).buffered(CONCURRENCY).collect().await
}

/// The resources of which something is left, or may be, by their UID.
struct Open(HashMap<String, Last>);

/// What the last pass said.
struct Last {
    id: Arc<ResourceId>,
    /// When it began, and what it left; `None` before it has come to an end.
    left: Option<(Timestamp, Remains)>,
}

impl Open {
    fn of(ids: Vec<Arc<ResourceId>>) -> Self {
        Self(ids.into_iter().map(|id| (id.uid.clone(), Last { id, left: None })).collect())
    }

    fn heard(&mut self, ended: Option<Ended>) {
        let Some(Ended { id, began_at, left: Some(left) }) = ended else { return };
        if left.is_nothing() {
            self.0.remove(&id.uid);
        } else {
            self.0.insert(id.uid.clone(), Last { id, left: Some((began_at, left)) });
        }
    }

    /// Those are due now of which this is true. What no pass has seen yet is due anyhow.
    fn wake<A: Auth>(&self, work: &mut Work<A>, which: impl Fn(&Remains) -> bool) {
        for Last { id, left } in self.0.values() {
            if left.as_ref().is_none_or(|(_, left)| which(left)) {
                work.wake(id);
            }
        }
    }

    /// Nothing is left, or the time is over and each has had a pass that knew it.
    fn is_done(&self, deadline: Timestamp, is_over: bool) -> bool {
        let knew = |last: &Last| last.left.as_ref().is_some_and(|(began_at, _)| *began_at >= deadline);
        self.0.is_empty() || (is_over && self.0.values().all(knew))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn after_the_deadline_it_is_done_when_each_has_had_a_pass_that_knew_of_it() {
        let mut open = Open::of(vec![id("a")]);
        let left = || Some(Remains { has_ledger: true, tokens: 1, ..Remains::default() });
        open.heard(ended("a", 99, left()));
        assert!(!open.is_done(at(100), true));
        open.heard(ended("a", 100, left()));
        assert!(open.is_done(at(100), true) && !open.is_done(at(100), false));
    }
}
