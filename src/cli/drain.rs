//! `revoiceit-operator drain`: takes the operator's tokens and traces out of the cluster.

use std::{io::Write, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use k8s_openapi::api::{apps::v1::Deployment, coordination::v1::Lease, core::v1::Secret};
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams},
    runtime::watcher::InitialListStrategy,
};
use serde_json::json;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{
    flags::{ApiFlags, KubernetesFlags, LogFlags, ScopeFlags},
    leftovers,
    parts::{self, Base, Connected, LAST_SAVES},
    values,
};
use crate::{
    api::{RevoiceitCredential, names},
    controller::{self, Held, Holdings, Watched},
    planner::{Place, Policy},
    runtime::{
        admin::Readiness,
        client::Purpose,
        clock,
        describe::describe,
        identity,
        leader::{Elector, Leadership, Leases, NamedLease},
        lease::Timing,
        metrics::Metrics,
        shutdown::{Tasks, on_signals},
        tolerant::Tolerant,
    },
};

/// How long the API server is tried to be reached, for a start.
const START: Duration = Duration::from_secs(30);
/// How long the first listing of the resources may take. In pages, 100,000 take minutes.
const FIRST_LISTING: Duration = Duration::from_secs(300);
/// How long the lease is held without being renewed.
const LEASE: Duration = Duration::from_secs(15);

/// The flags. They are checked already: [`super::Cli::try_parse_and_check`] makes no other.
#[derive(clap::Args, Clone, Debug, PartialEq, Eq)]
pub struct DrainArgs {
    /// How Revoiceit is called.
    #[command(flatten)]
    pub api: ApiFlags,
    /// What is served, and from where.
    #[command(flatten)]
    pub scope: ScopeFlags,

    /// How long revocations are tried. What cannot be revoked by then stays in the ledgers, and is named. From 1s to 24h.
    #[arg(help_heading = "Drain", long, env = "REVOICEIT_TIMEOUT", value_name = "DURATION", default_value = "5m", value_parser = |text: &str| values::duration(text, "1s", "24h"))]
    pub timeout: Duration,
    /// Deployment in the operator's own namespace that is scaled to 0 first. When left out, nothing is scaled, and whoever runs the operator has to stop it.
    #[arg(help_heading = "Drain", long, env = "REVOICEIT_DEPLOYMENT", value_name = "NAME")]
    pub deployment: Option<String>,
    /// How long to wait for a running operator to end, which gives its lease back. From 1s to 10m.
    #[arg(help_heading = "Drain", long, env = "REVOICEIT_LEASE_WAIT", value_name = "DURATION", default_value = "90s", value_parser = |text: &str| values::duration(text, "1s", "10m"))]
    pub lease_wait: Duration,
    /// Only say what would be taken away. Nothing is written, and Revoiceit is not called.
    #[arg(help_heading = "Drain", long, env = "REVOICEIT_DRY_RUN")]
    pub dry_run: bool,

    /// What is logged.
    #[command(flatten)]
    pub log: LogFlags,
    /// How the cluster is reached.
    #[command(flatten)]
    pub kubernetes: KubernetesFlags,
}

/// Drains, and says what is left. An error only if it could not work at all, or was stopped.
pub fn run(args: &DrainArgs) -> anyhow::Result<()> {
    parts::block_on(&args.log, async {
        let policy = parts::policy(&args.api)?;
        let connected = parts::connect(&args.kubernetes, &args.scope).await?;
        let mut tasks = Tasks::new(on_signals()?);
        let outcome = uninstall(args, policy, connected, &mut tasks).await;
        // The lease is released by that.
        tasks.stop().cancel();
        let ended = tasks.run(LAST_SAVES).await;
        outcome?;
        Ok(ended?)
    })
}

async fn uninstall(args: &DrainArgs, policy: Policy, connected: Connected, tasks: &mut Tasks) -> anyhow::Result<()> {
    let stop = tasks.stop().clone();
    let metrics = Arc::new(Metrics::new());
    let auth = parts::auth(&args.api, &metrics)?;
    let namespace = connected.operator_namespace.clone();
    let home = timeout(START, parts::home(&connected.calls, &namespace, &stop)).await;
    let Some(home) = home.context("the API server cannot be reached: check the kubeconfig, or the network")?? else { return stopped() };
    let place = Place {
        operator_namespace: namespace.clone(),
        home,
        issuer: auth.origin(),
        namespaces: args.scope.namespace.iter().cloned().collect(),
    };
    let namespaces = parts::namespaces(&args.scope);
    if !is_served(&connected, &namespaces).await? {
        return without_crd(&connected).await;
    }

    let (watched, wakes) = Watched::new();
    let watched = Arc::new(watched);
    // What it finds here is all that it releases: no list that may lag behind.
    let list = InitialListStrategy::ListWatch;
    let synced = parts::watch_resources(&namespaces, tasks, &Readiness::default(), &connected.watches, &watched, &list);
    let all_synced = async {
        for synced in synced {
            synced.token().cancelled().await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => return stopped(),
        listed = timeout(FIRST_LISTING, all_synced) => listed.context("the RevoiceitCredentials could not be listed: see the warnings above")?,
    }

    let pod = identity::pod_name();
    let draining = || policy.clone().draining(clock::now(), args.timeout);
    let base = Base { client: connected.calls.clone(), auth, place, policy: draining(), watched, metrics, pod: pod.clone() };
    let mut cx = parts::context(base, &args.api);
    // All that can be found out is found out before anything is changed.
    let holdings = controller::held(&cx, START, &stop).await?;
    let stops = would_stop(&connected, args.deployment.as_deref()).await?;
    if args.dry_run {
        say(&stops);
        say(&leftovers::preview(&holdings, &namespace));
    }
    may_drain(&holdings, &cx.place)?;
    if args.dry_run {
        return Ok(());
    }
    let scaled = match &args.deployment {
        Some(deployment) => scale_down(&connected, deployment).await?,
        None => None,
    };
    let drained = async {
        let Some(leadership) = take_lease(args, &connected, &pod, tasks).await? else { return stopped() };
        // The time counts from now.
        cx.policy = Arc::new(draining());
        let cx = Arc::new(cx);
        let progress = |left| say(&format!("Of {left} resources something is left, so far.\n"));
        let left = controller::drain(cx.clone(), wakes, leadership, &stop, LAST_SAVES, progress).await?;
        say(&leftovers::summary(cx.taken.counts(), &left, &namespace));
        Ok(())
    };
    drained.await.map_err(|error| match (scaled, &args.deployment) {
        (Some(replicas), Some(deployment)) => anyhow::anyhow!(
            "{error:#}. The Deployment is scaled down; to bring its operator back: kubectl scale -n {namespace} --replicas={replicas} \
             deployment/{deployment}"
        ),
        _ => error,
    })
}

/// Whether a drain makes sense, from what it would begin with.
fn may_drain(holdings: &Holdings, place: &Place) -> anyhow::Result<()> {
    if let Some(complaint) = leftovers::complaint(holdings, &place.issuer) {
        bail!(complaint);
    }
    for Held { id, remains } in &holdings.of {
        match remains {
            Err(error) if error.is_forbidden() && place.serves(&id.namespace) => bail!(
                "what is held of {}/{} cannot be read: {}: apply the roles in deploy/drain, or use a kubeconfig of somebody who may",
                id.namespace,
                id.name,
                error.told()
            ),
            // Trouble may be over by the time that it matters.
            Ok(_) | Err(_) => {}
        }
    }
    Ok(())
}

fn stopped() -> anyhow::Result<()> {
    Err(controller::Broken::Stopped.into())
}

/// Nobody may be left to read it.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}

/// Whether there can be resources at all. A missing permission is found here, before anything is changed.
async fn is_served(connected: &Connected, namespaces: &[Option<String>]) -> anyhow::Result<bool> {
    for namespace in namespaces {
        let resources: Api<RevoiceitCredential> = match namespace {
            Some(namespace) => Api::namespaced(connected.calls.clone(), namespace),
            None => Api::all(connected.calls.clone()),
        };
        match resources.list_metadata(&ListParams::default().limit(1)).await {
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(false),
            Err(kube::Error::Api(status)) if matches!(status.code, 401 | 403) => bail!(
                "the RevoiceitCredentials of {} may not be listed (HTTP {}): apply the roles in deploy/drain, name the namespaces that may be \
                 with --namespace, or use a kubeconfig of somebody who may",
                parts::named(namespace.as_deref()),
                status.code
            ),
            // The watch, which is about to ask the same, copes with more than this.
            Ok(_) | Err(_) => {}
        }
    }
    Ok(true)
}

/// Without the CRD there are no resources, and it cannot be told of one whether it is gone.
async fn without_crd(connected: &Connected) -> anyhow::Result<()> {
    let namespace = &connected.operator_namespace;
    let secrets: Api<Secret> = Api::namespaced(connected.calls.clone(), namespace);
    let only = ListParams::default().fields(&format!("type={}", names::LEDGER_TYPE));
    let ledgers =
        secrets.list_metadata(&only).await.map_err(|error| anyhow::anyhow!("the ledgers cannot be listed: {}", describe(&error)))?;
    match ledgers.items.len() {
        0 => say("The CRD is not installed, and there are no ledgers: nothing is left to drain.\n"),
        number => bail!(
            "the CRD is not installed, but there are {number} ledgers in the namespace {namespace}, whose tokens may live: install the CRD \
             again (kubectl apply --server-side -k crds) and drain once more, or delete these Secrets of type {} if the tokens do not matter",
            names::LEDGER_TYPE
        ),
    }
    Ok(())
}

/// The Deployment as it is, if there is one.
async fn replicas(connected: &Connected, name: &str) -> anyhow::Result<Option<i32>> {
    let deployments: Api<Deployment> = Api::namespaced(connected.calls.clone(), &connected.operator_namespace);
    match deployments.get_scale(name).await {
        Ok(scale) => Ok(Some(scale.spec.and_then(|spec| spec.replicas).unwrap_or(0))),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => bail!("the Deployment {}/{name} cannot be read: {}", connected.operator_namespace, describe(&error)),
    }
}

/// From how many, if it was scaled.
async fn scale_down(connected: &Connected, name: &str) -> anyhow::Result<Option<i32>> {
    let of = format!("{}/{name}", connected.operator_namespace);
    match replicas(connected, name).await? {
        // Whether an operator is at work all the same, the lease tells.
        None => say(&format!("There is no Deployment {of}: nothing is scaled down.\n")),
        Some(0) => {}
        Some(replicas) => {
            let deployments: Api<Deployment> = Api::namespaced(connected.calls.clone(), &connected.operator_namespace);
            let params = PatchParams { field_manager: Some(names::OPERATOR.to_owned()), ..PatchParams::default() };
            let patched = deployments.patch_scale(name, &params, &Patch::Merge(json!({ "spec": { "replicas": 0 } }))).await;
            patched.map_err(|error| anyhow::anyhow!("the Deployment {of} cannot be scaled down: {}", describe(&error)))?;
            say(&format!("Scaled the Deployment {of} down from {replicas} to 0.\n"));
            return Ok(Some(replicas));
        }
    }
    Ok(None)
}

/// What would happen to operators that run. That it can be read matters to every drain, what it says to a dry run.
async fn would_stop(connected: &Connected, deployment: Option<&str>) -> anyhow::Result<String> {
    let namespace = &connected.operator_namespace;
    let mut text = String::new();
    if let Some(name) = deployment
        && let Some(replicas) = replicas(connected, name).await?
    {
        text.push_str(&format!("The Deployment {namespace}/{name} would be scaled down from {replicas} to 0.\n"));
    }
    if let Some(holder) = holder(&lease(connected)?).await? {
        text.push_str(&format!("The lease {namespace}/{} is held by {holder}, which would have to end.\n", names::OPERATOR));
    }
    Ok(text)
}

fn lease(connected: &Connected) -> anyhow::Result<NamedLease> {
    let leases: Api<Tolerant<Lease>> = Api::namespaced(connected.cluster.client(Purpose::Lease)?, &connected.operator_namespace);
    Ok(NamedLease::new(leases, names::OPERATOR))
}

async fn holder(lease: &NamedLease) -> anyhow::Result<Option<String>> {
    let read = lease.get().await.map_err(|error| anyhow::anyhow!("the operator's lease cannot be read: {}", describe(&error)))?;
    Ok(read.and_then(|lease| lease.spec?.holder_identity).filter(|holder| !holder.is_empty()))
}

/// Holds the lease, so that no operator works meanwhile. `None`: told to stop.
async fn take_lease(args: &DrainArgs, connected: &Connected, pod: &str, tasks: &mut Tasks) -> anyhow::Result<Option<Leadership>> {
    let (own, stop) = (lease(connected)?, tasks.stop().clone());
    let (elector, mut leadership) =
        Elector::new(lease(connected)?, identity::lease_identity(&format!("drain-{pod}")), Timing::for_lease(LEASE)?);
    if let Some(holder) = holder(&own).await? {
        say(&format!("Waiting for {holder} to end, which holds the lease.\n"));
    }
    tasks.spawn("leader election", elector.run(stop.clone()));
    if took(&mut leadership, args.lease_wait, &stop).await {
        return Ok((!stop.is_cancelled()).then_some(leadership));
    }
    let (namespace, name) = (&connected.operator_namespace, names::OPERATOR);
    let how = match &args.deployment {
        Some(_) => String::new(),
        None => format!(
            ". If it is that of the Deployment: kubectl scale -n {namespace} --replicas=0 deployment/{name}, or add --deployment {name}"
        ),
    };
    match holder(&own).await? {
        Some(holder) => bail!(
            "the lease {namespace}/{name} is held by {holder}, an operator at work, which would undo all this: stop it, and run this again{how}"
        ),
        None => bail!("the lease {namespace}/{name} could not be taken: see the warnings above"),
    }
}

/// Whether it was taken in time, or there is no need any more.
async fn took(leadership: &mut Leadership, wait: Duration, stop: &CancellationToken) -> bool {
    tokio::select! {
        () = stop.cancelled() => true,
        taken = timeout(wait, leadership.began()) => taken.is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cli::{Cli, Verb, flags::LogLevel},
        runtime::telemetry::LogFormat,
    };

    fn parsed(flags: &[&str]) -> Result<DrainArgs, String> {
        match Cli::try_parse_and_check(["revoiceit-operator", "drain"].iter().chain(flags)) {
            Ok(Cli { verb: Verb::Drain(args) }) => Ok(*args),
            Ok(other) => Err(format!("{other:?}")),
            Err(error) => Err(error.to_string().lines().next().unwrap_or_default().to_owned()),
        }
    }

    #[test]
    fn the_defaults_are_for_a_person() {
        let args = parsed(&[]).expect("defaults are valid");
        assert_eq!((args.timeout, args.lease_wait), (Duration::from_secs(300), Duration::from_secs(90)));
        assert_eq!((args.deployment, args.dry_run), (None, false));
        assert_eq!((args.log.log_format, args.log.log_level), (LogFormat::Text, LogLevel::Warn));
    }

    #[test]
    fn what_is_wrong_is_told_with_what_to_do() {
        for (flags, message) in [
            (["--timeout", "0s"], "error: invalid value '0s' for '--timeout <DURATION>': must be from 1s to 24h"),
            (["--lease-wait", "11m"], "error: invalid value '11m' for '--lease-wait <DURATION>': must be from 1s to 10m"),
            (
                ["--api-url", "http://127.0.0.1:9"],
                "error: --api-url http://127.0.0.1:9/ would send client secrets and tokens unencrypted: use an https:// URL, or add \
                 --allow-insecure-api for a sandbox",
            ),
        ] {
            assert_eq!(parsed(&flags), Err(message.to_owned()));
        }
    }
}
