//! What `run` and `drain` put together in the same way.

use std::{collections::BTreeSet, convert::Infallible, path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, ResourceExt, core::response::reason, runtime::watcher::InitialListStrategy};
use tokio_util::sync::CancellationToken;

use super::flags::{ApiFlags, KubernetesFlags, LogFlags, ScopeFlags};
use crate::{
    controller::{self, Context, Events, Facts, Gate, Limits, Scope, Synced, Watched},
    planner::{Place, Policy},
    revoiceit::{HttpAuth, Options},
    runtime::{
        admin::Readiness,
        client::{Cluster, Purpose, install_tls_provider},
        clock,
        describe::describe,
        identity,
        metrics::Metrics,
        shutdown::Tasks,
        telemetry,
        tolerant::Tolerant,
    },
};

/// How long calls in flight and their saves may take at the end. Below the grace period of the pod, 75 s.
pub(super) const LAST_SAVES: Duration = Duration::from_secs(60);
/// Between two attempts to read the operator's own namespace while the API server is away.
const START_AGAIN: Duration = Duration::from_secs(2);

/// Sets the process up, and does this.
pub(super) fn block_on(log: &LogFlags, work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    install_tls_provider();
    telemetry::init(log.log_format, log.log_level.word())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("the async runtime cannot be started")?;
    runtime.block_on(work)
}

/// The cluster, and what of it is the operator's.
pub(super) struct Connected {
    pub(super) cluster: Cluster,
    pub(super) calls: Client,
    pub(super) watches: Client,
    pub(super) operator_namespace: String,
}

/// Finds the cluster; nothing is asked of it yet.
pub(super) async fn connect(kubernetes: &KubernetesFlags, scope: &ScopeFlags) -> anyhow::Result<Connected> {
    let cluster = Cluster::for_operator(kubernetes.kubeconfig.as_deref(), kubernetes.context.as_deref()).await?;
    let (calls, watches) = (cluster.client(Purpose::Calls)?, cluster.client(Purpose::Watches)?);
    let operator_namespace = identity::operator_namespace(scope.operator_namespace.as_deref());
    tracing::info!(version = env!("CARGO_PKG_VERSION"), cluster = cluster.url(), operator_namespace, "starting");
    Ok(Connected { cluster, calls, watches, operator_namespace })
}

/// The times of the protocol: the real ones, or shorter ones for tests.
pub(super) fn policy(args: &ApiFlags) -> anyhow::Result<Policy> {
    let policy = match &args.policy_for_tests {
        Some(file) => read_policy(file).with_context(|| format!("--policy-for-tests {}", file.display()))?,
        None => Policy::default(),
    };
    Ok(Policy { token_lifetime: args.token_lifetime, ..policy })
}

fn read_policy(file: &Path) -> anyhow::Result<Policy> {
    Ok(serde_json::from_slice(&std::fs::read(file)?)?)
}

pub(super) fn auth(args: &ApiFlags, metrics: &Arc<Metrics>) -> anyhow::Result<HttpAuth> {
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
pub(super) async fn home(client: &Client, name: &str, stop: &CancellationToken) -> anyhow::Result<Option<String>> {
    let namespaces: Api<Tolerant<Namespace>> = Api::all(client.clone());
    loop {
        match namespaces.get(name).await {
            Ok(namespace) => match namespace.uid().filter(|uid| !uid.is_empty()) {
                Some(uid) => return Ok(Some(uid)),
                // Every ledger would seem to be another cluster's.
                None => tracing::warn!("what should be the operator's own namespace has no UID: is it a proxy that answers? Tried again"),
            },
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

/// The namespaces that are served, each once: two watches of one would take each other's listings for their own. `None` is all of them.
pub(super) fn namespaces(scope: &ScopeFlags) -> Vec<Option<String>> {
    match scope.namespace.as_slice() {
        [] => vec![None],
        some => BTreeSet::from_iter(some).into_iter().cloned().map(Some).collect(),
    }
}

/// As people say it.
pub(super) fn named(namespace: Option<&str>) -> String {
    namespace.map_or_else(|| "all namespaces".to_owned(), |name| format!("namespace {name}"))
}

/// Starts the watches of the resources, one for each of these namespaces.
pub(super) fn watch_resources(
    namespaces: &[Option<String>],
    tasks: &mut Tasks,
    readiness: &Readiness,
    client: &Client,
    watched: &Arc<Watched>,
    list: &InitialListStrategy,
) -> Vec<Synced> {
    let mut all = Vec::new();
    for namespace in namespaces {
        let of = named(namespace.as_deref());
        let name = format!(
            "RevoiceitCredentials of {of} (is the CRD installed, and may the operator list and watch them? kubectl apply --server-side -k crds)"
        );
        let synced = Synced::new(readiness.register(name));
        let scope = Scope { of_secrets: false, namespace: namespace.clone() };
        all.push(synced.clone());
        spawn(tasks, "watch of resources", controller::resources(client.clone(), scope, watched.clone(), synced, list.clone()));
    }
    all
}

/// What all passes share.
pub(super) struct Base {
    pub(super) client: Client,
    pub(super) auth: HttpAuth,
    pub(super) place: Place,
    pub(super) policy: Policy,
    pub(super) watched: Arc<Watched>,
    pub(super) metrics: Arc<Metrics>,
    /// The name of the pod, for Events.
    pub(super) pod: String,
}

/// The same with all that begins empty.
pub(super) fn context(base: Base, api: &ApiFlags) -> Context<HttpAuth> {
    let Base { client, auth, place, policy, watched, metrics, pod } = base;
    Context {
        events: Events::new(client.clone(), pod, &place),
        client,
        auth,
        place: Arc::new(place),
        clock: clock::now,
        policy: Arc::new(policy),
        gate: Gate::new(Limits { qps: api.api_qps, burst: api.api_burst, in_flight: api.api_in_flight }),
        watched,
        absences: controller::Absences::default(),
        repairs: controller::Repairs::default(),
        facts: Arc::new(Facts::default()),
        taken: controller::Taken::default(),
        metrics,
    }
}

/// Work that never ends by itself.
pub(super) fn spawn(tasks: &mut Tasks, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
    let stop = tasks.stop().clone();
    tasks.spawn(name, async move {
        stop.run_until_cancelled(work).await;
        Ok::<(), Infallible>(())
    });
}
