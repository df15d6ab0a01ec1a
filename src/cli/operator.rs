//! What `run` puts together: clients, watches, election, the serving of the queue, and their end.

use std::{convert::Infallible, sync::Arc, time::Duration};

use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, runtime::watcher::InitialListStrategy};
use tokio_util::sync::CancellationToken;

use super::{
    parts::{self, Base, Connected, LAST_SAVES, spawn},
    run::RunArgs,
};
use crate::{
    api::names,
    controller::{self, InSync, Scope, Synced, Watched},
    planner::Place,
    runtime::{
        admin::{Admin, Liveness, Readiness, Told},
        client::Purpose,
        identity,
        leader::{Elector, Leadership, NamedLease},
        lease::Timing,
        metrics::Metrics,
        shutdown::{Tasks, on_signals},
        tolerant::Tolerant,
    },
};

/// The loop that serves the queue turns once a second at least.
const QUEUE_PATIENCE: Duration = Duration::from_secs(30);

/// Serves a cluster until a signal or a fatal error.
pub fn run(args: &RunArgs) -> anyhow::Result<()> {
    parts::block_on(&args.log, serve(args))
}

async fn serve(args: &RunArgs) -> anyhow::Result<()> {
    let policy = parts::policy(&args.api)?;
    let timing = Timing::for_lease(args.lease_duration)?;
    let Connected { cluster, calls, watches, operator_namespace } = parts::connect(&args.kubernetes, &args.scope).await?;

    let stop = on_signals()?;
    let mut tasks = Tasks::new(stop.clone());
    let (readiness, liveness, metrics) = (Readiness::default(), Liveness::default(), Arc::new(Metrics::new()));
    let admin = Admin::bind(args.listen).await?;
    let found_namespace = readiness.register("the operator's own namespace (is the API server reachable?)");
    let told = Told { readiness: readiness.clone(), liveness: liveness.clone(), metrics: metrics.clone() };
    tasks.spawn_service("admin server", admin.serve(told, tasks.work_done().clone()));

    let auth = parts::auth(&args.api, &metrics)?;
    let Some(home) = parts::home(&calls, &operator_namespace, &stop).await? else { return Ok(tasks.run(LAST_SAVES).await?) };
    found_namespace.set(true);
    let namespaces = args.scope.namespace.iter().cloned().collect();
    let place = Place { operator_namespace: operator_namespace.clone(), home, issuer: auth.origin(), namespaces };

    let (watched, wakes) = Watched::new();
    let watched = Arc::new(watched);
    let synced = watch(args, &mut tasks, &readiness, &watches, &watched);

    let pod = identity::pod_name();
    let leadership = if args.leader_elect {
        let leases: Api<Tolerant<Lease>> = Api::namespaced(cluster.client(Purpose::Lease)?, &operator_namespace);
        let (elector, leadership) = Elector::new(NamedLease::new(leases, names::OPERATOR), identity::lease_identity(&pod), timing);
        let (candidate, stop) = (synced.clone(), stop.clone());
        tasks.spawn("leader election", async move {
            // Who is not in sync could do nothing with the lease, and another perhaps could.
            stop.run_until_cancelled(candidate.cancelled()).await;
            elector.run(stop).await
        });
        leadership
    } else {
        Leadership::always()
    };
    metrics.follow(leadership.clone());

    let cx = Arc::new(parts::context(Base { client: calls, auth, place, policy, watched, metrics: metrics.clone(), pod }, &args.api));
    let facts = cx.facts.clone();
    metrics.read_from(move || facts.snapshot());

    let pulse = liveness.register("queue", QUEUE_PATIENCE);
    let concurrency = args.concurrency as usize;
    tasks.spawn("queue", async move {
        controller::serve(cx, wakes, leadership, synced, concurrency, pulse, stop).await;
        Ok::<(), Infallible>(())
    });
    Ok(tasks.run(LAST_SAVES).await?)
}

/// Starts the watches: of a namespace's Secrets only when its resources are known, since whoever is not named is dropped. The token is cancelled
/// at the [first sync](controller::first_sync).
fn watch(args: &RunArgs, tasks: &mut Tasks, readiness: &Readiness, client: &kube::Client, watched: &Arc<Watched>) -> CancellationToken {
    let namespaces = parts::namespaces(&args.scope);
    let mut all = Vec::new();
    for (resources, namespace) in
        parts::watch_resources(&namespaces, tasks, readiness, client, watched, &InitialListStrategy::StreamingList)
            .into_iter()
            .zip(namespaces)
    {
        let of = parts::named(namespace.as_deref());
        let secrets = Synced::new(readiness.register(format!("Secrets of {of} (may the operator list and watch them?)")));
        all.push(InSync { resources: resources.clone(), secrets: secrets.clone() });
        let scope = Scope { of_secrets: true, namespace };
        let (client, watched) = (client.clone(), watched.clone());
        spawn(tasks, "watch of Secrets", async move {
            resources.token().cancelled().await;
            controller::secrets(client, scope, watched, secrets).await;
        });
    }
    let synced = CancellationToken::new();
    let done = synced.clone();
    spawn(tasks, "first sync", async move {
        controller::first_sync(&all).await;
        done.cancel();
        std::future::pending::<()>().await;
    });
    synced
}
