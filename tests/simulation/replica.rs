//! One process of the operator: what `run` puts together, with a simulated API server, Revoiceit and clock.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, runtime::watcher::InitialListStrategy};
use revoiceit_operator::{
    api::names,
    controller::{self, Absences, Context, Events, Facts, Gate, Repairs, Scope, Synced, Taken, Watched},
    planner::{Place, Policy},
    runtime::{
        admin::{Liveness, Readiness},
        leader::{Elector, Leadership, NamedLease},
        lease::Timing,
        metrics::Metrics,
        tolerant::Tolerant,
    },
};
use tokio::task::JoinSet;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{clock, history::Kind, link, revoiceit::Revoiceit, server::Server};

/// Where the ledgers are.
pub(crate) const SYSTEM: &str = "revoiceit-system";

/// A process that runs. Dropping it kills it.
pub(crate) struct Replica {
    _tasks: JoinSet<()>,
    serving: AbortOnDropHandle<()>,
    stop: CancellationToken,
}

impl Replica {
    /// Starts. With no election it takes itself for the leader.
    pub(crate) fn start(server: &Server, revoiceit: &Revoiceit, number: usize, kind: &Kind) -> Self {
        let client = link::client(server, number);
        let (readiness, liveness) = (Readiness::default(), Liveness::default());
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();

        let (watched, wakes) = Watched::new();
        let watched = Arc::new(watched);
        let resources = Synced::new(readiness.register("resources"));
        let secrets = Synced::new(readiness.register("Secrets"));
        let both = CancellationToken::new();
        let (first, second, all) = (resources.token(), secrets.token(), both.clone());
        tasks.spawn(async move {
            first.cancelled().await;
            second.cancelled().await;
            all.cancel();
        });
        let scope = |of_secrets| Scope { of_secrets, namespace: None };
        let first = resources.token();
        tasks.spawn(controller::resources(client.clone(), scope(false), watched.clone(), resources, InitialListStrategy::StreamingList));
        let (of_client, of_watched) = (client.clone(), watched.clone());
        tasks.spawn(async move {
            first.cancelled().await;
            controller::secrets(of_client, scope(true), of_watched, secrets).await;
        });

        let leadership = if !kind.both_lead {
            let leases: Api<Tolerant<Lease>> = Api::namespaced(client.clone(), SYSTEM);
            let timing = Timing::for_lease(Duration::from_secs(15)).expect("valid");
            let identity = format!("replica-{number}-{}", fastrand::u32(..));
            let (elector, leadership) = Elector::new(NamedLease::new(leases, names::OPERATOR), identity, timing);
            let (run, lost) = (elector.run(stop.clone()), stop.clone());
            tasks.spawn(async move {
                // Who has lost the lease ends, and is started again.
                let _ = run.await;
                lost.cancel();
            });
            leadership
        } else {
            Leadership::always()
        };

        let place = Arc::new(Place {
            operator_namespace: SYSTEM.to_owned(),
            home: "home".to_owned(),
            issuer: "https://api.revoiceit.com".to_owned(),
            namespaces: BTreeSet::new(),
        });
        let cx = Arc::new(Context {
            client: client.clone(),
            auth: revoiceit.clone(),
            place: place.clone(),
            clock: clock::wall,
            policy: Arc::new(Policy::default()),
            gate: Gate::new(kind.limits),
            watched,
            absences: Absences::default(),
            repairs: Repairs::default(),
            facts: Arc::new(Facts::default()),
            taken: Taken::default(),
            events: Events::new(client, format!("pod-{number}"), &place),
            metrics: Arc::new(Metrics::new()),
        });
        let pulse = liveness.register("queue", Duration::from_secs(30));
        let until = stop.clone();
        let serving = AbortOnDropHandle::new(tokio::spawn(async move {
            controller::serve(cx, wakes, leadership, both, 16, pulse, until.clone()).await;
            until.cancel();
        }));
        Self { _tasks: tasks, serving, stop }
    }

    /// SIGTERM: no new pass, and the process ends when those that are under way have.
    pub(crate) fn terminate(&self) {
        self.stop.cancel();
    }

    /// Whether it has come to its end, or is about to.
    pub(crate) fn is_over(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Ends when the passes that are under way have ended.
    pub(crate) async fn ended(self) {
        let _ = tokio::time::timeout(Duration::from_secs(60), self.serving).await;
    }
}
