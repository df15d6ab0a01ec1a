//! The CRD: not there yet, not served for a moment, deleted. On a cluster of its own, since all other tests need theirs.

use anyhow::{Context, Result, ensure};
use revoiceit_harness::{
    cluster::{Cluster, Component, Options},
    wait::{GENEROUS, eventually},
};
use revoiceit_operator::api::names;
use revoiceit_sandbox::{Call, Fault, Line, LineState};
use serde_json::json;

use crate::{
    deletion::impatient,
    shared::{CRD, install},
    startup::says,
    world::{Operator, World},
};

/// What an administrator calls it.
const NAME: &str = "revoiceitcredentials.revoiceit.com";

#[tokio::test]
async fn a_crd_is_waited_for_may_not_be_served_for_a_moment_and_takes_its_resources_along() -> Result<()> {
    // What is leaked is killed below, or by its guard when the program ends.
    let cluster: &'static Cluster = Box::leak(Box::new(Cluster::start(Options::default()).await?));
    let world = World::on(cluster, |_| {}).await?;
    let kubeconfig = cluster.kubeconfig_for_service_account(&world.system, names::OPERATOR, &cluster.server()).await?;
    let operator = Operator::listening(world.spawn(&kubeconfig, &["--policy-for-tests", &world.policy(&impatient())?])?).await?;
    is_waited_for(&world, &operator).await?;
    is_not_served_for_a_moment(&world, &operator).await?;
    takes_its_resources_along(&world).await?;
    is_outlived_by_revocations(&world).await?;
    // Whoever looks for secrets that were told looks at the resources, too.
    install(world.cluster, CRD).await?;
    serve(&world, true).await?;
    world.no_secret_is_told(&[&operator]).await?;
    for component in [Component::Controllers, Component::ApiServer, Component::Etcd] {
        cluster.kill(component)?;
    }
    Ok(())
}

async fn is_waited_for(world: &World, operator: &Operator) -> Result<()> {
    let of = &world.tenant;
    let missing = "is the CRD installed, and may the operator list and watch them? kubectl apply --server-side -k crds";
    says(operator, &format!("missing: RevoiceitCredentials of namespace {of} ({missing})")).await?;
    assert_eq!(operator.get("/livez").await?, "ok\n");
    install(world.cluster, CRD).await?;
    says(operator, "ok\n").await
}

/// An administrator, or a broken upgrade, switches the version off and on.
async fn is_not_served_for_a_moment(world: &World, operator: &Operator) -> Result<()> {
    world.credentials("client").await?;
    world.speech(json!({})).await?;
    world.ready("speech").await?;
    world.at_rest().await?;
    let (token, calls) = (world.token("token").await?, world.sandbox.mark());
    serve(world, false).await?;
    world.kubectl(&["delete", "secret", "token"]).await?;
    eventually("two passes to end in trouble", GENEROUS, async || {
        let log = operator.process.stderr()?;
        let troubles = log.matches("does not serve RevoiceitCredentials at the moment").count();
        ensure!(troubles >= 2, "{troubles}");
        anyhow::Ok(())
    })
    .await?;
    assert_eq!((world.sandbox.mark(), world.ledgers().await?.len()), (calls, 1));
    serve(world, true).await?;
    world.kubectl(&["wait", "--for=create", "secret/token", "--timeout=60s"]).await?;
    world.ready("speech").await?;
    assert_eq!((world.sandbox.mark(), world.token("token").await?), (calls, token));
    Ok(())
}

async fn serve(world: &World, is_served: bool) -> Result<()> {
    let patch = json!([{ "op": "replace", "path": "/spec/versions/0/served", "value": is_served }]).to_string();
    world.cluster.kubectl(["patch", "crd", NAME, "--type=json", "-p", &patch]).await?;
    eventually("the API server to go by it", GENEROUS, async || {
        let path = format!("/apis/revoiceit.com/v1/namespaces/{}/revoiceitcredentials", world.tenant);
        let answer = world.cluster.kubectl(["get", "--raw", &path]).await;
        ensure!(answer.is_ok() == is_served, "it says {answer:?}");
        anyhow::Ok(())
    })
    .await
}

async fn takes_its_resources_along(world: &World) -> Result<()> {
    let away = world.sandbox.inject(Fault::status(503).on(Call::Revoke))?;
    world.cluster.kubectl(["delete", "crd", NAME, "--wait=false"]).await?;
    world.reason("speech", "Revoking").await?;
    assert_eq!(world.sandbox.truth().live().count(), 1);
    world.sandbox.heal(away);
    world.cluster.kubectl(["wait", "--for=delete", "crd", NAME, "--timeout=60s"]).await?;
    no_ledger_is_left(world, LineState::Revoked, 1).await?;
    ensure!(world.secrets().get_opt("token").await?.is_none(), "the target is there");
    Ok(())
}

/// With Revoiceit away for longer than the deadline, also when nothing can be asked about the resource any more.
async fn is_outlived_by_revocations(world: &World) -> Result<()> {
    install(world.cluster, CRD).await?;
    world.speech(json!({ "revocation": { "deadline": "1s" } })).await?;
    world.ready("speech").await?;
    let away = world.sandbox.inject(Fault::status(503).on(Call::Revoke))?;
    world.cluster.kubectl(["delete", "crd", NAME, "--timeout=60s"]).await?;
    let tries = world.sandbox.count(Call::Revoke, 0);
    let again = world.sandbox.wait_for(GENEROUS, |sandbox| (sandbox.count(Call::Revoke, 0) >= tries + 2).then_some(())).await;
    again.context("revoking was given up")?;
    assert_eq!((world.ledgers().await?.len(), world.sandbox.truth().live().count()), (1, 1));
    world.sandbox.heal(away);
    no_ledger_is_left(world, LineState::Revoked, 2).await
}

async fn no_ledger_is_left(world: &World, state: LineState, lines: usize) -> Result<()> {
    eventually("the ledger to be gone", GENEROUS, async || {
        ensure!(world.ledgers().await?.is_empty(), "it is there");
        anyhow::Ok(())
    })
    .await?;
    let states: Vec<LineState> = world.sandbox.truth().lines.iter().map(Line::state).collect();
    assert_eq!(states, vec![state; lines]);
    Ok(())
}
