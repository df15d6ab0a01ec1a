//! A defect of our own that shows in one resource: its passes panic, and nobody else's.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, ResourceExt, runtime::watcher::InitialListStrategy};
use revoiceit_harness::wait::{GENEROUS, eventually};
use revoiceit_operator::{
    api::names,
    controller::{self, Absences, Context, Events, Facts, Gate, Limits, Repairs, Scope, Synced, Watched},
    planner::{Place, Policy},
    revoiceit::{Auth, ClientCredentials, Failure, HttpAuth, Issued, Options, RefreshToken, Refreshed, Revoked},
    runtime::{
        admin::{Liveness, Readiness},
        client::{Cluster, Purpose, install_tls_provider},
        leader::Leadership,
        metrics::Metrics,
    },
};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::world::World;

/// A client of Revoiceit that panics at the first issue of each of these clients.
struct Panics {
    auth: HttpAuth,
    at: Mutex<BTreeSet<String>>,
}

impl Auth for Panics {
    async fn issue(&self, pair: &ClientCredentials) -> Result<Issued, Failure> {
        let is_one = self.at.lock().is_ok_and(|mut clients| clients.remove(pair.client_id.expose()));
        assert!(!is_one, "a panic that a test wants");
        self.auth.issue(pair).await
    }

    async fn refresh(&self, token: &RefreshToken) -> Result<Refreshed, Failure> {
        self.auth.refresh(token).await
    }

    async fn revoke(&self, token: &RefreshToken) -> Result<Revoked, Failure> {
        self.auth.revoke(token).await
    }
}

/// More than there are places for passes and for issues: one that is not given back would be missed.
const VICTIMS: [&str; 3] = ["one", "two", "three"];

#[tokio::test]
async fn a_pass_that_panics_ends_alone_and_its_resource_gets_its_token_later() -> Result<()> {
    let world = World::new().await?;
    let at = VICTIMS.into_iter().map(|name| world.client_of(name)).collect();
    let auth =
        Panics { auth: HttpAuth::new(Options { allow_insecure: true, ..Options::new(world.sandbox.api_url()) })?, at: Mutex::new(at) };
    let metrics = Arc::new(Metrics::new());
    let stop = CancellationToken::new();
    let serving = tokio::spawn(serve(&world, auth, metrics.clone(), stop.clone()).await?);

    for name in VICTIMS {
        world.own(name, json!({})).await?;
    }
    eventually("every pass to have panicked", GENEROUS, async || {
        let text = metrics.encode();
        let line = text.lines().find(|line| line.starts_with("revoiceit_passes_total{result=\"panicked\"}")).context("no such metric")?;
        ensure!(line.ends_with(" 3"), "{line}");
        anyhow::Ok(())
    })
    .await?;
    world.own("bystander", json!({})).await?;
    world.reason("bystander", "TokenReady").await?;
    assert_eq!(world.suspected_lost("bystander").await?, 0);

    // Whether anything was sent is not known: the intent tells of it, and is waited for.
    for name in VICTIMS {
        world.reason(name, "TokenReady").await?;
        assert_eq!(world.suspected_lost(name).await?, 1, "{name}");
        let token = world.own_token(name).await?;
        assert_eq!(world.sandbox.truth().owner_of(&token), Some(world.client_of(name).as_str()));
    }
    assert_eq!(world.calls(), (4, 0, 0));
    ensure!(!serving.is_finished(), "the serving ended");
    stop.cancel();
    serving.await?;
    world.nothing_is_forgotten().await?;
    world.no_secret_is_told(&[]).await
}

/// What `run` does, with another client of Revoiceit, one pass at a time, and two issues.
async fn serve(
    world: &World,
    auth: Panics,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) -> Result<impl Future<Output = ()> + Send + 'static> {
    install_tls_provider();
    let kubeconfig = world.cluster.kubeconfig_for_service_account(&world.system, names::OPERATOR, &world.cluster.server()).await?;
    let cluster = Cluster::for_operator(Some(&kubeconfig), None).await?;
    let (client, watches) = (cluster.client(Purpose::Calls)?, cluster.client(Purpose::Watches)?);
    let home = Api::<Namespace>::all(client.clone()).get(&world.system).await?.uid().unwrap_or_default();
    let place = Arc::new(Place {
        operator_namespace: world.system.clone(),
        home,
        issuer: auth.auth.origin(),
        namespaces: [world.tenant.clone()].into(),
    });
    let (watched, wakes) = Watched::new();
    let watched = Arc::new(watched);
    let readiness = Readiness::default();
    let scope = |of_secrets| Scope { of_secrets, namespace: Some(world.tenant.clone()) };
    let (of_resources, of_secrets) = (Synced::new(readiness.register("resources")), Synced::new(readiness.register("Secrets")));
    let synced = of_resources.token();
    let watching = stop.clone();
    let follows_resources =
        controller::resources(watches.clone(), scope(false), watched.clone(), of_resources, InitialListStrategy::StreamingList);
    let follows_secrets = controller::secrets(watches, scope(true), watched.clone(), of_secrets);
    let cx = Arc::new(Context {
        clock: revoiceit_operator::runtime::clock::now,
        taken: controller::Taken::default(),
        client: client.clone(),
        auth,
        place: place.clone(),
        policy: Arc::new(Policy { intent: Duration::from_secs(3), ..Policy::default() }),
        gate: Gate::new(Limits { qps: 50, burst: 100, in_flight: 4 }),
        watched,
        absences: Absences::default(),
        repairs: Repairs::default(),
        facts: Arc::new(Facts::default()),
        events: Events::new(client, "in-the-test".to_owned(), &place),
        metrics,
    });
    let pulse = Liveness::default().register("queue", Duration::from_secs(30));
    Ok(async move {
        let serves = controller::serve(cx, wakes, Leadership::always(), synced, 1, pulse, stop);
        let follows = watching.run_until_cancelled(futures::future::join(follows_resources, follows_secrets));
        tokio::join!(serves, follows);
    })
}
