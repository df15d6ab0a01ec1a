//! Roles in a list of namespaces in place of those for the whole cluster: in a life with all that can happen in it, an operator and a drain use
//! each of their rights, and miss none.

use anyhow::{Context, Result, ensure};
use kube::ResourceExt;
use revoiceit_harness::{
    proxy::{Fault as Between, Proxy},
    wait::{GENEROUS, eventually},
};
use revoiceit_operator::api::names;
use revoiceit_sandbox::{Call, Fault};
use serde_json::{Value, json};

use crate::{
    deletion::impatient,
    drain::{self, deployment, ended, forget_the_lease, start_through},
    gone::{force_out, proof_of_absence, struck},
    rights::{Role, each_right_is_used},
    scope::rights_in,
    undrained::rewrite,
    world::{World, merge},
};

/// A ledger's deletion fails once, so that what is told before it is told again: the same event, which is patched.
fn deletion_fails_once(world: &World, ledger: &str) -> Between {
    let path = format!("/namespaces/{}/secrets/{ledger}", world.system);
    Between::status(503, "ServiceUnavailable").method("DELETE").path(path).times(1)
}

async fn ledger_of(world: &World, name: &str) -> Result<String> {
    Ok(names::ledger_name(&world.get(name).await?.uid().context("no UID")?))
}

async fn delete_ledger(world: &World, name: &str) -> Result<()> {
    world.cluster.kubectl(["delete", "secret", "-n", &world.system, &ledger_of(world, name).await?]).await.map(drop)
}

/// An edit of the resource that asks for nothing, so that it is looked at.
async fn touch(world: &World, name: &str, value: &str) -> Result<()> {
    world.patch(name, &json!({ "metadata": { "labels": { "touched": value } } })).await.map(drop)
}

#[tokio::test]
async fn an_operator_uses_each_right_of_its_roles_and_misses_none() -> Result<()> {
    let world = World::new().await?;
    rights_in(&world, &[&world.tenant]).await?;
    let proxy = Proxy::start(world.cluster).await?;
    let mut policy = impatient();
    merge(&mut policy, json!({ "linger": 500 }));
    let mark = world.cluster.audit_mark().await?;
    let operator = world.operator_through(&proxy.url(), &["--policy-for-tests", &world.policy(&policy)?]).await?;
    world.own("speech", json!({})).await?;
    world.ready("speech").await?;

    // The same trouble twice is one event, too.
    for time in ["first", "second"] {
        let away = world.sandbox.inject(Fault::status(500).on(Call::Issue))?;
        world.patch("speech", &json!({ "metadata": { "annotations": { names::ROTATE_ANNOTATION: time } } })).await?;
        world.reason("speech", "RevoiceitUnavailable").await?;
        world.sandbox.heal(away);
        world.reason("speech", "TokenReady").await?;
    }
    world.patch("speech", &json!({ "spec": { "target": { "name": "renamed" } } })).await?;
    world.kubectl(&["wait", "--for=delete", "--timeout=60s", "secret/speech-token"]).await?;
    world.reason("speech", "TokenReady").await?;

    delete_ledger(&world, "speech").await?;
    touch(&world, "speech", "yes").await?;
    world.is_told("speech", "Warning LedgerLost").await?;
    world.reason("speech", "TokenReady").await?;
    // What is forced out has to be proven gone, by a list. An API server that streams its lists is asked for no other.
    let fails = proxy.inject(deletion_fails_once(&world, &ledger_of(&world, "speech").await?));
    let away = world.sandbox.inject(Fault::status(503).on(Call::Revoke))?;
    world.kubectl(&["delete", "rvc", "speech", "--wait=false"]).await?;
    force_out(&world, "speech").await?;
    proof_of_absence(&world).await?;
    world.sandbox.heal(away);
    struck(&proxy, fails, 1).await?;
    world.gone("speech", "renamed").await?;

    let asked = world.asked_since(mark).await?;
    each_right_is_used(&[Role::OperatorWhereItServes, Role::OperatorAtHome], &world.system, &asked)?;
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn a_drain_uses_each_right_of_its_cluster_role_and_misses_none() -> Result<()> {
    let world = World::new().await?;
    drains(&world, &[Role::DrainEverywhere]).await
}

#[tokio::test]
async fn a_drain_uses_each_right_of_its_roles_and_misses_none() -> Result<()> {
    let world = World::new().await?;
    let (account, of_all) = (drain::ACCOUNT, format!("{}-{}", drain::ACCOUNT, world.system));
    let binding = ["create", "rolebinding", account, "--clusterrole", &of_all, "--serviceaccount"];
    world.kubectl(&[&binding[..], &[&format!("{}:{account}", world.system)]].concat()).await?;
    world.cluster.kubectl(["delete", "clusterrolebinding", &of_all]).await?;
    let account = format!("--as=system:serviceaccount:{}:{account}", world.system);
    let can = ["auth", "can-i", "list", "secrets", &account];
    eventually("the role to count", GENEROUS, async || world.kubectl(&can).await).await?;
    drains(&world, &[Role::DrainWhereItServes, Role::DrainAtHome]).await
}

/// Of three resources one has lost its ledger, and the ledger of another is damaged, mended, damaged again and mended while the drain runs.
async fn drains(world: &World, roles: &[Role]) -> Result<()> {
    let operator = world.operator(&["--policy-for-tests", &world.policy(&impatient())?]).await?;
    for name in ["speech", "lost", "damaged"] {
        world.own(name, json!({})).await?;
    }
    for name in ["speech", "lost", "damaged"] {
        world.ready(name).await?;
    }
    operator.stop().await?;
    forget_the_lease(world).await?;
    deployment(world).await?;
    let record = world.record("damaged").await?;
    let damaged = format!("{}/{}", world.system, ledger_of(world, "damaged").await?);
    rewrite(world, &damaged, "cut o").await?;
    let proxy = Proxy::start(world.cluster).await?;
    let fails = proxy.inject(deletion_fails_once(world, &ledger_of(world, "lost").await?));
    delete_ledger(world, "lost").await?;
    let away = world.sandbox.inject(Fault::status(503).on(Call::Revoke))?;
    let mark = world.cluster.audit_mark().await?;

    let drain = start_through(world, &proxy.url(), &["--deployment", names::OPERATOR]).await?;
    world.reason("damaged", "LedgerUnusable").await?;
    mend(world, &damaged, &record, "first").await?;
    rewrite(world, &damaged, "cut o").await?;
    touch(world, "damaged", "again").await?;
    world.reason("damaged", "LedgerUnusable").await?;
    mend(world, &damaged, &record, "second").await?;
    world.sandbox.heal(away);
    let said = ended(&drain).await?;
    ensure!(said.ends_with("Nothing is left.\n"), "{said}");
    struck(&proxy, fails, 1).await?;

    let asked = world.asked_by(drain::ACCOUNT, mark).await?;
    each_right_is_used(roles, &world.system, &asked)?;
    world.no_secret_is_told(&[]).await
}

/// Puts the record back, and waits until that was seen.
async fn mend(world: &World, ledger: &str, record: &Value, time: &str) -> Result<()> {
    rewrite(world, ledger, &record.to_string()).await?;
    touch(world, "damaged", time).await?;
    world.reason("damaged", "Revoking").await.map(drop)
}
