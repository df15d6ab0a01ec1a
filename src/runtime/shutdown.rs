//! How the process ends: by a signal, or because a task ended that never should.
//!
//! Every long-lived task is joined. The first that fails, panics or just returns ends the process with a reason, so that
//! Kubernetes starts a whole one instead of keeping half of one.

use std::{collections::HashMap, error::Error as StdError, future::Future, io, time::Duration};

use tokio::{
    signal::unix::{SignalKind, signal},
    task::{Id, JoinError, JoinSet},
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::describe::chain;

/// How long services may take to end once the work is done.
const SERVICES: Duration = Duration::from_secs(2);

/// A signal that comes so soon after the first is taken for the same one: `timeout` and some shells send it to the process
/// and to its group.
const SAME_SIGNAL: Duration = Duration::from_millis(500);

/// Why the process has to end although nobody asked it to, or could not end as it should.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fatal {
    /// A task returned an error.
    #[error("{task} failed: {why}")]
    Failed {
        /// Its name.
        task: &'static str,
        /// The error and its causes.
        why: String,
    },
    /// A task panicked. Where, the panic hook has logged; the panic's text is not repeated, see
    /// [`telemetry`](super::telemetry).
    #[error("{task} panicked")]
    Panicked {
        /// Its name.
        task: &'static str,
    },
    /// A task returned while the process was to go on.
    #[error("{task} ended, which it must not do by itself")]
    Ended {
        /// Its name.
        task: &'static str,
    },
    /// Tasks were asked to end and did not.
    #[error("not ended after {}s: {}", after.as_secs(), tasks.join(", "))]
    Stuck {
        /// Their names.
        tasks: Vec<&'static str>,
        /// How long they had.
        after: Duration,
    },
}

type Outcome = Result<(), Box<dyn StdError + Send + Sync>>;

/// The long-lived tasks of the process, in two groups: *work*, which ends when the process is to stop, and *services*
/// such as the admin server, which go on until the work is done.
///
/// Dropping it aborts what still runs.
#[derive(Debug)]
pub struct Tasks {
    stop: CancellationToken,
    work_done: CancellationToken,
    work: Group,
    services: Group,
}

#[derive(Debug, Default)]
struct Group {
    tasks: JoinSet<Outcome>,
    names: HashMap<Id, &'static str>,
}

impl Tasks {
    /// No tasks yet. `stop` is cancelled from outside, as by [`on_signals`], or when a task ends that should not.
    pub fn new(stop: CancellationToken) -> Self {
        Self { stop, work_done: CancellationToken::new(), work: Group::default(), services: Group::default() }
    }

    /// Cancelled when work has to end.
    pub fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Cancelled when services have to end: all work has.
    pub fn work_done(&self) -> &CancellationToken {
        &self.work_done
    }

    /// Starts work. It has to return soon after [`stop`](Self::stop) is cancelled, and not before.
    pub fn spawn<E>(&mut self, name: &'static str, work: impl Future<Output = Result<(), E>> + Send + 'static)
    where
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        self.work.spawn(name, async { work.await.map_err(Into::into) });
    }

    /// Starts a service. It has to return soon after [`work_done`](Self::work_done) is cancelled, and not before.
    pub fn spawn_service<E>(&mut self, name: &'static str, service: impl Future<Output = Result<(), E>> + Send + 'static)
    where
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        self.services.spawn(name, async { service.await.map_err(Into::into) });
    }

    /// Waits for the end: until `stop` is cancelled or a task ends, then up to `patience` for the work, then for the services.
    ///
    /// # Errors
    /// What came first: a task that ended and should not have, one that failed while stopping, or some that did not stop.
    pub async fn run(mut self, patience: Duration) -> Result<(), Fatal> {
        let mut reason = self.until_stopped().await.err();
        if let Some(reason) = &reason {
            error!(reason = %reason, "stopping");
        }
        self.stop.cancel();

        for (group, patience) in [(&mut self.work, patience), (&mut self.services, SERVICES)] {
            let ended = group.join_all(patience).await;
            // The first group that ends is the work.
            self.work_done.cancel();
            if let Err(fatal) = ended {
                warn!(reason = %fatal, "while stopping");
                reason.get_or_insert(fatal);
            }
        }
        reason.map_or(Ok(()), Err)
    }

    async fn until_stopped(&mut self) -> Result<(), Fatal> {
        let (task, outcome) = tokio::select! {
            biased;
            () = self.stop.cancelled() => return Ok(()),
            Some(joined) = self.work.join_next() => joined,
            Some(joined) = self.services.join_next() => joined,
        };
        judge(task, outcome)?;
        Err(Fatal::Ended { task })
    }
}

impl Group {
    fn spawn(&mut self, name: &'static str, task: impl Future<Output = Outcome> + Send + 'static) {
        let id = self.tasks.spawn(task).id();
        self.names.insert(id, name);
    }

    /// The next that ends, by its name. `None` when there is none left.
    async fn join_next(&mut self) -> Option<(&'static str, Result<Outcome, JoinError>)> {
        let (id, outcome) = match self.tasks.join_next_with_id().await? {
            Ok((id, outcome)) => (id, Ok(outcome)),
            Err(error) => (error.id(), Err(error)),
        };
        Some((self.names.remove(&id).unwrap_or("a task"), outcome))
    }

    /// Joins all of them, and tells of the first that did not end well.
    async fn join_all(&mut self, patience: Duration) -> Result<(), Fatal> {
        let until = Instant::now() + patience;
        let mut result = Ok(());
        while let Ok(joined) = timeout_at(until, self.join_next()).await {
            let Some((task, outcome)) = joined else { return result };
            result = result.and(judge(task, outcome));
        }
        let mut tasks: Vec<&str> = self.names.values().copied().collect();
        tasks.sort_unstable();
        result.and(Err(Fatal::Stuck { tasks, after: patience }))
    }
}

/// A `JoinError` is never printed: it repeats the text of the panic.
fn judge(task: &'static str, outcome: Result<Outcome, JoinError>) -> Result<(), Fatal> {
    match outcome {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Fatal::Failed { task, why: chain(error.as_ref()) }),
        Err(error) if error.is_panic() => Err(Fatal::Panicked { task }),
        Err(_) => Err(Fatal::Ended { task }),
    }
}

/// A token that the first SIGTERM or SIGINT cancels. The second ends the process at once, with 128 + its number.
///
/// # Errors
/// The handlers cannot be installed.
pub fn on_signals() -> io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = CancellationToken::new();
    let next = async move || {
        tokio::select! {
            _ = terminate.recv() => ("SIGTERM", 128 + SignalKind::terminate().as_raw_value()),
            _ = interrupt.recv() => ("SIGINT", 128 + SignalKind::interrupt().as_raw_value()),
        }
    };
    tokio::spawn(obey(next, stop.clone(), |code| std::process::exit(code)));
    Ok(stop)
}

async fn obey(mut next: impl AsyncFnMut() -> (&'static str, i32), stop: CancellationToken, exit: impl FnOnce(i32)) {
    let (signal, _) = next().await;
    let first = Instant::now();
    info!(signal, "stopping; a second signal ends the process at once");
    stop.cancel();
    loop {
        let (signal, code) = next().await;
        if first.elapsed() >= SAME_SIGNAL {
            warn!(signal, "ending at once");
            return exit(code);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cell::{Cell, RefCell},
        convert::Infallible,
    };

    use tokio::time::sleep;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    fn tasks() -> Tasks {
        Tasks::new(CancellationToken::new())
    }

    /// A task that ends when it is asked to, after some time.
    async fn obedient(stop: CancellationToken, seconds: u64) -> Result<(), Infallible> {
        stop.cancelled().await;
        sleep(Duration::from_secs(seconds)).await;
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn services_outlive_the_work() {
        let mut tasks = tasks();
        let (stop, work_done) = (tasks.stop().clone(), tasks.work_done().clone());
        tasks.spawn("work", obedient(stop.clone(), 50));
        tasks.spawn_service("service", obedient(work_done, 1));
        let start = Instant::now();
        stop.cancel();
        assert_eq!(tasks.run(PATIENCE).await, Ok(()));
        assert_eq!(start.elapsed().as_secs(), 51);
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_task_that_ends_ends_the_process_with_its_reason() {
        async fn fails() -> Result<(), io::Error> {
            sleep(Duration::from_secs(1)).await;
            Err(io::Error::other("no more"))
        }
        async fn panics() -> Result<(), Infallible> {
            sleep(Duration::from_secs(1)).await;
            panic!("with a secret")
        }
        async fn returns() -> Result<(), Infallible> {
            Ok(())
        }
        let failed = |task| Fatal::Failed { task, why: "no more".into() };
        for as_service in [false, true] {
            for (name, expected) in
                [("fails", failed("fails")), ("panics", Fatal::Panicked { task: "panics" }), ("returns", Fatal::Ended { task: "returns" })]
            {
                let mut tasks = tasks();
                let stop = tasks.stop().clone();
                tasks.spawn("other work", obedient(stop.clone(), 1));
                match (name, as_service) {
                    ("fails", false) => tasks.spawn(name, fails()),
                    ("fails", true) => tasks.spawn_service(name, fails()),
                    ("panics", false) => tasks.spawn(name, panics()),
                    ("panics", true) => tasks.spawn_service(name, panics()),
                    (_, false) => tasks.spawn(name, returns()),
                    (_, true) => tasks.spawn_service(name, returns()),
                }
                assert_eq!(tasks.run(PATIENCE).await, Err(expected));
                assert!(stop.is_cancelled());
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_end_is_named_and_not_waited_for_longer() {
        let mut tasks = tasks();
        let stop = tasks.stop().clone();
        tasks.spawn("quick", obedient(stop.clone(), 1));
        tasks.spawn("slow", obedient(stop.clone(), 3600));
        let work_done = tasks.work_done().clone();
        tasks.spawn_service("service", obedient(work_done, 1));
        let start = Instant::now();
        stop.cancel();
        let fatal = tasks.run(PATIENCE).await.expect_err("one is stuck");
        assert_eq!(fatal.to_string(), "not ended after 60s: slow");
        assert_eq!(start.elapsed(), PATIENCE + Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn the_second_signal_ends_the_process_at_once() {
        let stop = CancellationToken::new();
        // When, in milliseconds, and which. The second comes too soon to be meant.
        let signals = RefCell::new(vec![(2_000, "SIGINT", 130), (20, "SIGTERM", 143), (0, "SIGTERM", 143)]);
        let next = async || {
            assert_eq!(stop.is_cancelled(), signals.borrow().len() < 3);
            let (after, signal, code) = signals.borrow_mut().pop().expect("three are enough");
            sleep(Duration::from_millis(after)).await;
            (signal, code)
        };
        let exited = Cell::new(None);
        obey(next, stop.clone(), |code| exited.set(Some(code))).await;
        assert_eq!(exited.get(), Some(130));
    }
}
