//! What every pass of one process shares.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};

use super::{
    absence::Absences, events::Events, facts::Facts, gate::Gate, index::Watched, repairs::Repairs, taken::Taken, tolerant::Tolerant,
};
use crate::{
    api::RevoiceitCredential,
    planner::{Place, Policy},
    revoiceit::Auth,
    runtime::metrics::Metrics,
};

/// What every pass shares. Nothing in it holds a token, a pair, or the content of any Secret.
pub struct Context<A: Auth> {
    /// For calls, not for watches: 30 s for each.
    pub client: Client,
    /// Revoiceit.
    pub auth: A,
    /// Where the operator runs.
    pub place: Arc<Place>,
    /// The wall clock; a simulation has its own.
    pub clock: fn() -> Timestamp,
    /// How long things take.
    pub policy: Arc<Policy>,
    /// All calls to Revoiceit go through it.
    pub gate: Gate,
    /// What the watches know: the resources, and the versions of the Secrets that they name.
    pub watched: Arc<Watched>,
    /// Resources that were not found.
    pub absences: Absences,
    /// Targets that somebody keeps changing.
    pub repairs: Repairs,
    /// What the metrics say of each resource.
    pub facts: Arc<Facts>,
    /// What was taken away, which a drain tells in the end.
    pub taken: Taken,
    /// What people are told.
    pub events: Events,
    /// What machines are told.
    pub metrics: Arc<Metrics>,
}

impl<A: Auth> Context<A> {
    /// The time by the wall clock.
    pub(super) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// Secrets of a tenant's namespace, or the ledgers.
    pub(super) fn secrets(&self, namespace: &str) -> Api<Tolerant<Secret>> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Resources of one namespace.
    pub(super) fn resources(&self, namespace: &str) -> Api<Tolerant<RevoiceitCredential>> {
        Api::namespaced(self.client.clone(), namespace)
    }
}
