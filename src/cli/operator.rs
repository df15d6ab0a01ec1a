//! What `run` puts together: clients, watches, election, the serving of the queue, and their end.

use std::{collections::BTreeSet, convert::Infallible, path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use k8s_openapi::api::{coordination::v1::Lease, core::v1::Namespace};
use kube::{Api, ResourceExt, core::response::reason};
use tokio_util::sync::CancellationToken;

use super::run::RunArgs;
use crate::{
    api::names,
    controller::{self, Context, Events, Facts, Gate, Limits, Scope, Synced, Watched},
    planner::{Place, Policy},
    revoiceit::{HttpAuth, Options},
    runtime::{
        admin::{Admin, Liveness, Readiness, Told},
        client::{Cluster, Purpose, install_tls_provider},
        describe::describe,
        identity,
        leader::{Elector, Leadership, NamedLease},
        lease::Timing,
        metrics::Metrics,
        shutdown::{Tasks, on_signals},
        telemetry,
        tolerant::Tolerant,
    },
};

/// How long calls in flight and their saves may take at the end. Below the grace period of the pod, 75 s.
const LAST_SAVES: Duration = Duration::from_secs(60);
/// The loop that serves the queue turns once a second at least.
const QUEUE_PATIENCE: Duration = Duration::from_secs(30);
/// Between two attempts to read the operator's own namespace while the API server is away.
const START_AGAIN: Duration = Duration::from_secs(2);

/// Serves a cluster until a signal or a fatal error.
pub fn run(args: &RunArgs) -> anyhow::Result<()> {
    install_tls_provider();
    telemetry::init(args.log_format, args.log_level.word())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("the async runtime cannot be started")?;
    runtime.block_on(serve(args))
}

async fn serve(args: &RunArgs) -> anyhow::Result<()> {
    let policy = policy(args)?;
    let timing = Timing::for_lease(args.lease_duration)?;
    let cluster = Cluster::for_operator(args.kubeconfig.as_deref(), args.context.as_deref()).await?;
    let (calls, watches) = (cluster.client(Purpose::Calls)?, cluster.client(Purpose::Watches)?);
    let operator_namespace = identity::operator_namespace(args.operator_namespace.as_deref());
    tracing::info!(version = env!("CARGO_PKG_VERSION"), cluster = cluster.url(), operator_namespace, "starting");

    let stop = on_signals()?;
    let mut tasks = Tasks::new(stop.clone());
    let (readiness, liveness, metrics) = (Readiness::default(), Liveness::default(), Arc::new(Metrics::new()));
    let admin = Admin::bind(args.listen).await?;
    let found_namespace = readiness.register("the operator's own namespace (is the API server reachable?)");
    let told = Told { readiness: readiness.clone(), liveness: liveness.clone(), metrics: metrics.clone() };
    tasks.spawn_service("admin server", admin.serve(told, tasks.work_done().clone()));

    let auth = auth(args, &metrics)?;
    let Some(home) = home(&calls, &operator_namespace, &stop).await? else { return Ok(tasks.run(LAST_SAVES).await?) };
    found_namespace.set(true);
    let place = Arc::new(Place { operator_namespace: operator_namespace.clone(), home, issuer: auth.origin() });

    let (watched, wakes) = Watched::new();
    let watched = Arc::new(watched);
    let all_synced = watch(args, &mut tasks, &readiness, &watches, &watched);

    let pod = identity::pod_name();
    let leadership = if args.leader_elect {
        let leases: Api<Tolerant<Lease>> = Api::namespaced(cluster.client(Purpose::Lease)?, &operator_namespace);
        let (elector, leadership) = Elector::new(NamedLease::new(leases, names::OPERATOR), identity::lease_identity(&pod), timing);
        tasks.spawn("leader election", elector.run(stop.clone()));
        leadership
    } else {
        Leadership::always()
    };
    metrics.follow(leadership.clone());

    let cx = Arc::new(Context {
        client: calls.clone(),
        auth,
        place: place.clone(),
        policy: Arc::new(policy),
        gate: Gate::new(Limits { qps: args.api_qps, burst: args.api_burst, in_flight: args.api_in_flight }),
        watched,
        absences: controller::Absences::default(),
        repairs: controller::Repairs::default(),
        facts: Arc::new(Facts::default()),
        events: Events::new(calls, pod, &place),
        metrics: metrics.clone(),
    });
    let facts = cx.facts.clone();
    metrics.read_from(move || facts.snapshot());

    let pulse = liveness.register("queue", QUEUE_PATIENCE);
    let concurrency = args.concurrency as usize;
    tasks.spawn("queue", async move {
        controller::serve(cx, wakes, leadership, all_synced, concurrency, pulse, stop).await;
        Ok::<(), Infallible>(())
    });
    Ok(tasks.run(LAST_SAVES).await?)
}

/// The times of the protocol: the real ones, or shorter ones for tests.
fn policy(args: &RunArgs) -> anyhow::Result<Policy> {
    let policy = match &args.policy_for_tests {
        Some(file) => read_policy(file).with_context(|| format!("--policy-for-tests {}", file.display()))?,
        None => Policy::default(),
    };
    Ok(Policy { token_lifetime: args.token_lifetime, ..policy })
}

fn read_policy(file: &Path) -> anyhow::Result<Policy> {
    Ok(serde_json::from_slice(&std::fs::read(file)?)?)
}

fn auth(args: &RunArgs, metrics: &Arc<Metrics>) -> anyhow::Result<HttpAuth> {
    let metrics = metrics.clone();
    let options = Options {
        ca_file: args.api_ca_file.clone(),
        allow_insecure: args.allow_insecure_api,
        timeout: args.api_timeout,
        ..Options::new(args.api_url.as_str())
    };
    Ok(HttpAuth::new(options)?.on_call(move |report| metrics.api_request(report)))
}

/// UID of the operator's own namespace, which every record carries. `None`: told to stop while the API server could not be reached.
async fn home(client: &kube::Client, name: &str, stop: &CancellationToken) -> anyhow::Result<Option<String>> {
    let namespaces: Api<Tolerant<Namespace>> = Api::all(client.clone());
    loop {
        match namespaces.get(name).await {
            Ok(namespace) => return Ok(Some(namespace.uid().unwrap_or_default())),
            // `is_not_found()` is true of a proxy's page, too.
            Err(kube::Error::Api(status)) if status.reason == reason::NOT_FOUND => {
                bail!("the operator's own namespace \"{name}\" does not exist: create it, or name another one with --operator-namespace")
            }
            Err(kube::Error::Api(status)) if matches!(status.code, 401 | 403) => bail!(
                "the operator may not read its own namespace \"{name}\" (HTTP {}): apply the roles in deploy/, and check the service account \
                 or the kubeconfig",
                status.code
            ),
            Err(error) => tracing::warn!(error = %describe(&error), "the API server cannot be reached, tried again"),
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(None),
            () = tokio::time::sleep(START_AGAIN) => {}
        }
    }
}

/// Starts the watches: of Secrets only when the resources are known, since whoever is not named is dropped. The token is cancelled when all are
/// in sync.
fn watch(args: &RunArgs, tasks: &mut Tasks, readiness: &Readiness, client: &kube::Client, watched: &Arc<Watched>) -> CancellationToken {
    let namespaces: Vec<Option<String>> = match args.namespace.as_slice() {
        [] => vec![None],
        // Each once: two watches of one namespace would take each other's listings for their own.
        some => BTreeSet::from_iter(some).into_iter().cloned().map(Some).collect(),
    };
    let mut resources = Vec::new();
    let mut all = Vec::new();
    for namespace in &namespaces {
        let of = namespace.as_deref().map_or_else(|| "all namespaces".to_owned(), |name| format!("namespace {name}"));
        let name = format!("RevoiceitCredentials of {of} (is the CRD installed, and may the operator list them? kubectl apply -f crds/)");
        let synced = Synced::new(readiness.register(name));
        let scope = Scope { of_secrets: false, namespace: namespace.clone() };
        resources.push(synced.token());
        all.push(synced.token());
        spawn(tasks, "watch of resources", controller::resources(client.clone(), scope, watched.clone(), synced));
    }
    for namespace in namespaces {
        let of = namespace.as_deref().map_or_else(|| "all namespaces".to_owned(), |name| format!("namespace {name}"));
        let synced = Synced::new(readiness.register(format!("Secrets of {of} (may the operator list them?)")));
        let scope = Scope { of_secrets: true, namespace };
        all.push(synced.token());
        let (client, watched, resources) = (client.clone(), watched.clone(), resources.clone());
        spawn(tasks, "watch of Secrets", async move {
            for synced in resources {
                synced.cancelled().await;
            }
            controller::secrets(client, scope, watched, synced).await;
        });
    }
    let all_synced = CancellationToken::new();
    let done = all_synced.clone();
    spawn(tasks, "first sync", async move {
        for synced in all {
            synced.cancelled().await;
        }
        done.cancel();
        std::future::pending::<()>().await;
    });
    all_synced
}

/// Work that never ends by itself.
fn spawn(tasks: &mut Tasks, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
    let stop = tasks.stop().clone();
    tasks.spawn(name, async move {
        stop.run_until_cancelled(work).await;
        Ok::<(), Infallible>(())
    });
}
