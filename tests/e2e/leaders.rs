//! Killed in the middle, and more than one operator: one works, another follows, and nothing is done twice.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use revoiceit_harness::wait::{GENEROUS, eventually};
use revoiceit_operator::api::names;
use revoiceit_sandbox::{Call, Delivery, Fault, LineState};
use serde_json::json;

use crate::world::{Operator, World, conditions};

/// Waits until it leads.
pub(crate) async fn leads(operator: &Operator) -> Result<()> {
    eventually("the operator to lead", GENEROUS, async || {
        ensure!(operator.leads().await?, "it stands by");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

#[tokio::test]
async fn an_operator_killed_while_an_issue_is_out_loses_one_token_and_says_so() -> Result<()> {
    let world = World::new().await?;
    world.credentials("client").await?;
    world.credentials("bystander").await?;
    let policy = world.policy(&json!({ "intent": 3000 }))?;
    let operator = world.operator(&["--policy-for-tests", &policy]).await?;
    world.resource("bystander", "bystander", "bystander-token", json!({})).await?;
    world.ready("bystander").await?;
    let bystander = world.token("bystander-token").await?;

    world.sandbox.inject(Fault::hang().processed(true).on(Call::Issue).once())?;
    world.speech(json!({})).await?;
    world.sandbox.wait_for(GENEROUS, |sandbox| (sandbox.count(Call::Issue, 0) == 2).then_some(())).await.context("no issue came")?;
    operator.kill();

    let operator = world.operator(&["--policy-for-tests", &policy]).await?;
    world.ready("speech").await?;
    world.at_rest().await?;
    assert_eq!((world.suspected_lost("speech").await?, world.suspected_lost("bystander").await?), (1, 0));
    assert_eq!(world.calls(), (3, 0, 0));
    assert_eq!(world.token("bystander-token").await?, bystander);
    world.is_told("speech", "Warning SuspectedLost").await?;
    let truth = world.sandbox.truth();
    let lost: Vec<u64> = truth.live().filter(|line| line.refresh[0].delivery != Delivery::Delivered).map(|line| line.number).collect();
    assert_eq!(lost, [2]);
    world.nothing_is_forgotten().await?;
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn an_answer_that_may_still_come_is_waited_for() -> Result<()> {
    let world = World::new().await?;
    world.credentials("client").await?;
    let operator = world.operator(&[]).await?;
    world.sandbox.inject(Fault::hang().on(Call::Issue).once())?;
    world.speech(json!({})).await?;
    world.sandbox.wait_for(GENEROUS, |sandbox| (sandbox.count(Call::Issue, 0) == 1).then_some(())).await.context("no issue came")?;
    operator.kill();

    let operator = world.operator(&[]).await?;
    let waits = world.reason("speech", "WaitingForAnswer").await?;
    assert_eq!(conditions(&waits), ["Ready=False", "Reconciling=True"]);
    world.at_rest().await?;
    assert_eq!((world.calls(), world.suspected_lost("speech").await?), ((1, 0, 0), 0));
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn an_operator_killed_while_a_revocation_is_out_revokes_again() -> Result<()> {
    let world = World::new().await?;
    world.credentials("client").await?;
    let operator = world.operator(&[]).await?;
    world.speech(json!({})).await?;
    world.ready("speech").await?;

    world.sandbox.inject(Fault::hang().processed(true).on(Call::Revoke).once())?;
    world.kubectl(&["delete", "rvc", "speech", "--wait=false"]).await?;
    world.sandbox.wait_for(GENEROUS, |sandbox| (sandbox.count(Call::Revoke, 0) == 1).then_some(())).await.context("no revocation came")?;
    operator.kill();
    world.sandbox.heal_all();

    let operator = world.operator(&[]).await?;
    world.gone("speech", "token").await?;
    assert_eq!(world.calls(), (1, 0, 2));
    assert_eq!(world.sandbox.truth().lines[0].state(), LineState::Revoked);
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn when_the_leader_is_killed_the_other_serves_and_nothing_is_called_twice() -> Result<()> {
    let world = World::new().await?;
    world.credentials("client").await?;
    let first = world.operator(&[]).await?;
    leads(&first).await?;
    // It is ready as well: a rolling update waits for that.
    let second = world.operator(&[]).await?;
    world.speech(json!({})).await?;
    world.ready("speech").await?;
    ensure!(!second.leads().await?, "both lead");
    assert_eq!(world.calls(), (1, 0, 0));

    first.kill();
    leads(&second).await?;
    world.at_rest().await?;
    assert_eq!(world.calls(), (1, 0, 0));
    world.resource("next", "client", "next-token", json!({})).await?;
    world.ready("next").await?;
    world.kubectl(&["delete", "rvc", "speech"]).await?;
    world.at_rest().await?;
    assert_eq!(world.calls(), (2, 0, 1));
    world.nothing_is_forgotten().await?;
    world.no_secret_is_told(&[&second]).await
}

#[tokio::test]
async fn a_leader_that_is_told_to_stop_hands_over_at_once() -> Result<()> {
    let world = World::new().await?;
    world.credentials("client").await?;
    // So long that only a lease that was given back can be taken within the time of a test.
    let first = world.operator(&["--lease-duration", "5m"]).await?;
    leads(&first).await?;
    let second = world.operator(&["--lease-duration", "5m"]).await?;
    world.speech(json!({})).await?;
    world.ready("speech").await?;

    first.stop().await?;
    leads(&second).await?;
    let leases: Api<Lease> = Api::namespaced(world.client.clone(), &world.system);
    let lease = leases.get(names::OPERATOR).await?.spec.context("the Lease has no spec")?;
    assert_eq!(lease.lease_duration_seconds, Some(300));
    world.at_rest().await?;
    world.kubectl(&["annotate", "rvc", "speech", "revoiceit.com/rotate-requested-at=now"]).await?;
    world.sandbox.wait_for(GENEROUS, |sandbox| (sandbox.count(Call::Issue, 0) == 2).then_some(())).await.context("nothing was rotated")?;
    world.at_rest().await?;
    assert_eq!(world.calls(), (2, 0, 0));
    world.no_secret_is_told(&[&second]).await
}

#[tokio::test]
async fn a_leader_that_is_told_to_stop_saves_what_is_in_hand() -> Result<()> {
    let world = World::new().await?;
    world.credentials("client").await?;
    let first = world.operator(&[]).await?;
    let fault = world.sandbox.inject(Fault::hang().processed(true).on(Call::Issue).once())?;
    world.speech(json!({})).await?;
    world.sandbox.wait_for(GENEROUS, |sandbox| (sandbox.count(Call::Issue, 0) == 1).then_some(())).await.context("no issue came")?;
    first.signal(revoiceit_harness::process::Signal::TERM)?;
    let second = world.operator(&[]).await?;
    leads(&second).await?;
    ensure!(world.sandbox.heal(fault), "nothing hangs any more");
    first.process.wait(GENEROUS).await?;

    world.ready("speech").await?;
    world.at_rest().await?;
    assert_eq!((world.calls(), world.suspected_lost("speech").await?), ((1, 0, 0), 0));
    world.nothing_is_forgotten().await?;
    world.no_secret_is_told(&[&second]).await
}
