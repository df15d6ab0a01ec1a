//! Leader election on a Lease: one of the replicas works, the others stand by.
//!
//! # Guarantees
//! - Two candidates with clocks that run at the same speed never both lead: a leader believes in its lease for two thirds
//!   of its length, counted from before the request that renewed it was sent; others wait for the whole length, counted
//!   from after they saw the renewal.
//! - [`Leadership::is_leading`] turns false by itself when the lease was not renewed in time, also when the elector's task
//!   is stuck or gone.
//! - Every write is conditional on the resourceVersion that was read. An answer that got lost loses nothing: the next
//!   attempt reads what became of the write.
//!
//! # Caveats
//! A process that freezes between asking and acting is fenced by nothing, and somebody may delete the Lease. Leadership
//! saves double work; that nothing is done twice is up to the ledger. `CLOCK_MONOTONIC` stands still while a VM sleeps,
//! with the same effect as a freeze.

use std::{future::Future, time::Duration};

use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api,
    api::{ObjectMeta, PostParams},
};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    clock,
    describe::describe,
    lease::{self, Decision, Sighting, Timing},
    tolerant::Tolerant,
};
use crate::api::names::OPERATOR;

/// How long a release may take. It is a courtesy to the next leader: without it, that one waits until the lease runs out.
const RELEASE: Duration = Duration::from_secs(2);
/// Pause between two tries to release.
const RELEASE_AGAIN: Duration = Duration::from_millis(250);

/// The one Lease that an election is about.
pub trait Leases: Send + Sync + 'static {
    /// Reads it; `None` when there is none.
    fn get(&self) -> impl Future<Output = Result<Option<Lease>, kube::Error>> + Send;
    /// Creates it when `lease` has no resourceVersion, else replaces the one of that version.
    /// `None` when somebody else wrote first; what was written otherwise.
    fn put(&self, lease: &Lease) -> impl Future<Output = Result<Option<Lease>, kube::Error>> + Send;
}

/// A Lease by its name in the cluster. Needs get, create and update; its client should have a short read timeout
/// ([`Purpose::Lease`](super::client::Purpose::Lease)).
pub struct NamedLease {
    api: Api<Tolerant<Lease>>,
    name: String,
}

impl NamedLease {
    /// The Lease `name` in the namespace that `api` is for.
    pub fn new(api: Api<Tolerant<Lease>>, name: impl Into<String>) -> Self {
        Self { api, name: name.into() }
    }
}

impl Leases for NamedLease {
    async fn get(&self) -> Result<Option<Lease>, kube::Error> {
        Ok(self.api.get_opt(&self.name).await?.map(understood))
    }

    async fn put(&self, lease: &Lease) -> Result<Option<Lease>, kube::Error> {
        let params = PostParams { field_manager: Some(OPERATOR.into()), ..PostParams::default() };
        let written = if lease.metadata.resource_version.is_some() {
            // Of a Lease that was deleted meanwhile, a PUT creates a new one: as good as the old one.
            self.api.replace(&self.name, &params, &lease.clone().into()).await
        } else {
            let metadata = ObjectMeta { name: Some(self.name.clone()), ..lease.metadata.clone() };
            self.api.create(&params, &Lease { metadata, ..lease.clone() }.into()).await
        };
        match written {
            Ok(lease) => Ok(Some(understood(lease))),
            Err(kube::Error::Api(status)) if status.is_conflict() || status.is_already_exists() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// One whose spec cannot be read, since somebody wrote a time into it that there is not, is nobody's: as if it had been deleted.
fn understood(lease: Tolerant<Lease>) -> Lease {
    lease.0.unwrap_or_else(|invalid| Lease { metadata: invalid.metadata, spec: None })
}

/// Why a leader leads no more although nobody asked it to stop. The process should end: what it has under way was begun
/// as a leader.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// Somebody else is written in the Lease.
    #[error("leadership lost: the lease is held by {holder}")]
    Taken {
        /// Who that is.
        holder: String,
    },
    /// The API server could not be reached for too long, or refused.
    #[error("leadership lost: the lease was not renewed for {}s ({trouble})", after.as_secs_f32())]
    Unrenewed {
        /// How long the lease was believed in.
        after: Duration,
        /// What the last attempt met with.
        trouble: String,
    },
}

/// Whether this process leads, for those who have to know. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Leadership {
    state: watch::Receiver<State>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Standby,
    Leading { until: Instant },
    Always,
    Over,
}

impl Leadership {
    /// For `--leader-elect=false`: leads from the start and without end.
    pub fn always() -> Self {
        Self { state: watch::channel(State::Always).1 }
    }

    /// Whether this process leads now. Ask at the start of each piece of work.
    pub fn is_leading(&self) -> bool {
        match *self.state.borrow() {
            State::Leading { until } => Instant::now() < until,
            State::Always => true,
            State::Standby | State::Over => false,
        }
    }

    /// Returns when this process begins to lead, at once if it does already. May never return: select with the shutdown.
    pub async fn began(&mut self) {
        let leads = |state: &State| matches!(state, State::Leading { .. } | State::Always);
        if self.state.wait_for(leads).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Returns when this process does not lead, or no longer: lost, released, or the lease was not renewed in time.
    pub async fn ended(&mut self) {
        loop {
            let state = *self.state.borrow_and_update();
            match state {
                State::Standby | State::Over => return,
                State::Always => std::future::pending().await,
                State::Leading { until } if Instant::now() >= until => return,
                // Renewals are not announced: at `until` there may be a later one. Nor is the end of a task that was dropped.
                State::Leading { until } => tokio::select! {
                    () = sleep_until(until) => {}
                    Ok(()) = self.state.changed() => {}
                },
            }
        }
    }
}

/// One candidate. Runs until it is told to stop, or until it lost what it had.
pub struct Elector<L> {
    lease: L,
    me: String,
    timing: Timing,
    seen: Option<Sighting>,
    valid_until: Option<Instant>,
    state: watch::Sender<State>,
    /// Whether anything was ever written: an answer may have been lost.
    may_hold: bool,
    /// Whom it was said that we stand by for.
    stood_by: Option<String>,
    /// The trouble that was told of and is not over.
    told: Option<String>,
}

impl<L: Leases> Elector<L> {
    /// A candidate called `me`, which no other process may ever have been called: [`identity::lease_identity`].
    ///
    /// [`identity::lease_identity`]: super::identity::lease_identity
    pub fn new(lease: L, me: impl Into<String>, timing: Timing) -> (Self, Leadership) {
        let (state, receiver) = watch::channel(State::Standby);
        let elector =
            Self { lease, me: me.into(), timing, seen: None, valid_until: None, state, may_hold: false, stood_by: None, told: None };
        (elector, Leadership { state: receiver })
    }

    /// Takes part in the election. Leadership is over before the lease is released, and the release takes 2 s at most.
    ///
    /// # Errors
    /// Leadership was lost. Trouble with reaching the API server as a standby is logged, and is no error.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), Lost> {
        let outcome = self.campaign(&stop).await;
        self.state.send_replace(State::Over);
        if self.may_hold && !matches!(outcome, Err(Lost::Taken { .. })) {
            match timeout(RELEASE, self.release()).await {
                Ok(true) => info!("lease released"),
                Ok(false) => {}
                Err(_) => warn!("lease not released in time: the next leader has to wait until it runs out"),
            }
        }
        outcome
    }

    async fn campaign(&mut self, stop: &CancellationToken) -> Result<(), Lost> {
        let Timing { deadline, attempt, look, .. } = self.timing;
        loop {
            let next = Instant::now() + look;
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                () = at(self.valid_until) => return Err(self.unrenewed(deadline)),
                tried = timeout(attempt, self.lease_attempt()) => match tried {
                    Ok(Ok(())) => self.tell(None),
                    Ok(Err(Trouble::Lost(lost))) => return Err(lost),
                    Ok(Err(Trouble::Api(error))) => self.tell(Some(describe(&error))),
                    Err(_) => self.tell(Some(format!("no answer within {}s", attempt.as_secs_f32()))),
                },
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                () = at(self.valid_until) => return Err(self.unrenewed(deadline)),
                () = sleep_until(next) => {}
            }
        }
    }

    /// Looks at the Lease and does what is to be done about it. May be dropped at any point.
    async fn lease_attempt(&mut self) -> Result<(), Trouble> {
        let read = self.lease.get().await?;
        let now = Instant::now();
        self.seen = read.map(|lease| Sighting::next(self.seen.take(), lease, now));
        let seen = self.seen.as_ref();
        let decision = lease::decide(&self.me, seen, now, &self.timing);
        if decision == Decision::Wait {
            let holder = seen.and_then(Sighting::holder).map(str::to_owned);
            if self.valid_until.is_some() {
                return Err(Trouble::Lost(Lost::Taken { holder: holder.unwrap_or_default() }));
            }
            if holder != self.stood_by {
                info!(leader = holder, "standing by");
                self.stood_by = holder;
            }
            return Ok(());
        }

        let wanted = lease::held(&self.me, seen.map(|seen| &seen.lease), &self.timing, clock::now());
        self.may_hold = true;
        let sent = Instant::now();
        // `None`: somebody was faster. Who it was, and whether it matters, the next look tells.
        if let Some(lease) = self.lease.put(&wanted).await? {
            self.seen = Some(Sighting { lease, since: Instant::now() });
            self.lead_until(sent + self.timing.deadline);
        }
        Ok(())
    }

    fn lead_until(&mut self, until: Instant) {
        if self.valid_until.replace(until).is_none() {
            info!(identity = self.me, "leading");
        }
        self.state.send_if_modified(|state| {
            let began = !matches!(state, State::Leading { .. });
            *state = State::Leading { until };
            began
        });
    }

    /// Gives the Lease back if it is ours. An attempt that was dropped may have been a write, so the Lease is read first.
    async fn release(&mut self) -> bool {
        loop {
            match self.try_release().await {
                Ok(Some(was_ours)) => return was_ours,
                Ok(None) => {}
                Err(error) => self.tell(Some(describe(&error))),
            }
            sleep(RELEASE_AGAIN).await;
        }
    }

    /// `None` when somebody wrote in between.
    async fn try_release(&self) -> Result<Option<bool>, kube::Error> {
        let Some(lease) = self.lease.get().await? else { return Ok(Some(false)) };
        if lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()) != Some(&self.me) {
            return Ok(Some(false));
        }
        let written = self.lease.put(&lease::released(&lease, clock::now())).await?;
        Ok(written.map(|_| true))
    }

    /// Logs trouble once, until it is another or over.
    fn tell(&mut self, trouble: Option<String>) {
        if self.told == trouble {
            return;
        }
        match &trouble {
            Some(trouble) => warn!(trouble, leading = self.valid_until.is_some(), "lease not reached"),
            None => info!("lease reached again"),
        }
        self.told = trouble;
    }

    fn unrenewed(&self, after: Duration) -> Lost {
        Lost::Unrenewed { after, trouble: self.told.clone().unwrap_or_else(|| "no answer".into()) }
    }
}

enum Trouble {
    Api(kube::Error),
    Lost(Lost),
}

impl From<kube::Error> for Trouble {
    fn from(error: kube::Error) -> Self {
        Self::Api(error)
    }
}

/// Sleeps until then; for ever when there is no such time.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
