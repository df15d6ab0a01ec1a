//! The end of a resource: its target goes, its refresh tokens are revoked, and nothing waits for Revoiceit longer than the spec says.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::{api::core::v1::Namespace, jiff::Timestamp};
use kube::{Api, ResourceExt, api::ListParams};
use revoiceit_harness::{
    cluster::AuditEvent,
    wait::{GENEROUS, eventually},
};
use revoiceit_operator::api::names;
use revoiceit_sandbox::{Call, Fault, Line, LineState};
use serde_json::{Value, json};

use crate::world::{Operator, World, conditions};

/// Retries that a test need not wait for.
pub(crate) fn impatient() -> Value {
    json!({ "retryMin": 200, "retryMax": 1000, "revokeRetryMax": 500, "absence": 500, "sweep": 500 })
}

/// A ready resource and its operator.
pub(crate) async fn with_token(world: &World, spec: Value) -> Result<Operator> {
    world.credentials("client").await?;
    let operator = world.operator(&["--policy-for-tests", &world.policy(&impatient())?]).await?;
    world.speech(spec).await?;
    world.ready("speech").await?;
    world.at_rest().await?;
    Ok(operator)
}

#[tokio::test]
async fn a_deleted_resource_leaves_nothing_behind_with_four_writes() -> Result<()> {
    let world = World::new().await?;
    let operator = with_token(&world, json!({})).await?;
    let ledger = world.ledgers().await?.remove(0);
    let mark = world.cluster.audit_mark().await?;

    world.kubectl(&["delete", "rvc", "speech", "--timeout=60s"]).await?;
    world.gone("speech", "token").await?;
    revoked(&world, 1).await?;
    world.at_rest().await?;

    let written = world.writes_since(mark).await?;
    assert_eq!(
        written,
        [
            format!("delete secrets {}/token 200", world.tenant),
            format!("update secrets {}/{ledger} 200", world.system),
            format!("patch revoiceitcredentials {}/speech 200", world.tenant),
            format!("delete secrets {}/{ledger} 200", world.system),
        ]
    );
    assert_eq!((world.sandbox.count(Call::Issue, 0), world.sandbox.count(Call::Revoke, 0)), (1, 1));
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn every_token_of_a_deleted_resource_is_revoked_also_those_on_their_way_out() -> Result<()> {
    let world = World::new().await?;
    let operator = with_token(&world, json!({})).await?;
    for request in ["one", "two"] {
        let token = world.token("token").await?;
        world.patch("speech", &json!({ "metadata": { "annotations": { names::ROTATE_ANNOTATION: request } } })).await?;
        world.another_token("token", &token).await?;
    }
    assert_eq!(world.sandbox.truth().live().count(), 3);

    world.kubectl(&["delete", "rvc", "speech", "--timeout=60s"]).await?;
    world.gone("speech", "token").await?;
    revoked(&world, 3).await?;
    assert_eq!(world.sandbox.count(Call::Revoke, 0), 3);
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn the_finalizer_stays_while_revoking_fails_and_goes_when_it_works() -> Result<()> {
    let world = World::new().await?;
    let operator = with_token(&world, json!({})).await?;
    let away = world.sandbox.inject(Fault::status(503).on(Call::Revoke))?;

    world.kubectl(&["delete", "rvc", "speech", "--wait=false"]).await?;
    let tried = world.sandbox.wait_for(GENEROUS, |sandbox| (sandbox.count(Call::Revoke, 0) >= 3).then_some(())).await;
    ensure!(tried.is_some(), "the revocation was not tried again");
    let resource = world.reason("speech", "Revoking").await?;
    assert_eq!(resource.finalizers(), [names::FINALIZER]);
    assert_eq!(conditions(&resource), ["Ready=False", "Reconciling=True"]);
    assert_eq!(resource.status.and_then(|status| status.pending_revocations), Some(1));
    assert!(world.secrets().get_opt("token").await?.is_none(), "the target is still there");

    world.sandbox.heal(away);
    world.gone("speech", "token").await?;
    revoked(&world, 1).await?;
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn after_the_deadline_the_resource_goes_and_its_token_is_revoked_in_the_background() -> Result<()> {
    let world = World::new().await?;
    let operator = with_token(&world, json!({ "revocation": { "deadline": "3s" } })).await?;
    let away = world.sandbox.inject(Fault::status(503).on(Call::Revoke))?;
    let mark = world.cluster.audit_mark().await?;

    world.kubectl(&["delete", "rvc", "speech", "--wait=false"]).await?;
    let deleted_at = world.get("speech").await?.metadata.deletion_timestamp.context("it is not being deleted")?.0;
    world.kubectl(&["wait", "--for=delete", "rvc/speech", "--timeout=60s"]).await?;
    let released_at = released(&world.written_since(mark).await?)?;
    ensure!(released_at >= deleted_at + Duration::from_secs(3), "released before the deadline: {deleted_at}, {released_at}");
    ensure!(world.sandbox.count(Call::Revoke, 0) > 0, "the revocation was not tried before the deadline");
    assert_eq!((world.ledgers().await?.len(), world.sandbox.truth().live().count()), (1, 1));

    world.sandbox.heal(away);
    world.gone("speech", "token").await?;
    revoked(&world, 1).await?;
    world.no_secret_is_told(&[&operator]).await
}

/// Revocations get a quarter of the calls that may be in flight: one, here, and that one is not answered.
#[tokio::test]
async fn a_deletion_does_not_wait_in_the_queue_for_calls_when_its_deadline_has_come() -> Result<()> {
    let world = World::new().await?;
    let policy = world.policy(&impatient())?;
    let operator = world.operator(&["--api-in-flight=4", "--api-timeout=30s", "--policy-for-tests", &policy]).await?;
    for name in ["a", "b", "c"] {
        world.own(name, json!({ "revocation": { "deadline": "3s" } })).await?;
        world.ready(name).await?;
    }
    world.at_rest().await?;
    world.sandbox.inject(Fault::hang().on(Call::Revoke))?;

    world.kubectl(&["delete", "rvc", "--all", "--wait=false"]).await?;
    eventually("those that wait in the queue to be released", GENEROUS, async || {
        let left = world.resources().list(&ListParams::default()).await?.items.len();
        ensure!(left <= 1, "{left} are left");
        anyhow::Ok(())
    })
    .await?;
    assert_eq!((world.sandbox.count(Call::Revoke, 0), world.ledgers().await?.len()), (1, 3));
    world.sandbox.heal_all();
    eventually("all to be revoked", GENEROUS, async || {
        ensure!(world.ledgers().await?.is_empty(), "there are ledgers");
        anyhow::Ok(())
    })
    .await?;
    revoked(&world, 3).await?;
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn a_deadline_of_nothing_waits_for_no_try() -> Result<()> {
    let world = World::new().await?;
    let operator = with_token(&world, json!({ "revocation": { "deadline": "0s" } })).await?;
    let mark = world.cluster.audit_mark().await?;

    world.kubectl(&["delete", "rvc", "speech", "--timeout=60s"]).await?;
    world.gone("speech", "token").await?;
    revoked(&world, 1).await?;

    let released_at = u64::try_from(released(&world.written_since(mark).await?)?.as_millisecond())?;
    let revoked_at = world.sandbox.calls(0).into_iter().find(|call| call.call == Call::Revoke).context("no revocation")?.started_at.0;
    ensure!(released_at <= revoked_at, "revoked first: at {revoked_at}, released at {released_at}");
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn a_namespace_is_deleted_with_all_that_is_in_it_and_its_tokens_are_revoked() -> Result<()> {
    let world = World::new().await?;
    let operator = with_token(&world, json!({})).await?;
    let calls = world.sandbox.mark();

    world.cluster.kubectl(["delete", "namespace", &world.tenant, "--timeout=60s"]).await?;
    world.gone("speech", "token").await?;
    revoked(&world, 1).await?;
    let made: Vec<Call> = world.sandbox.calls(calls).iter().map(|call| call.call).collect();
    assert_eq!(made, [Call::Revoke]);
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn a_namespace_goes_while_revoiceit_answers_with_errors() -> Result<()> {
    let world = World::new().await?;
    let operator = with_token(&world, json!({ "revocation": { "deadline": "3s" } })).await?;
    let away = world.sandbox.inject(Fault::status(503))?;
    delete_namespace(&world).await?;
    world.sandbox.heal(away);
    world.gone("speech", "token").await?;
    revoked(&world, 1).await?;
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn a_namespace_goes_while_revoiceit_drops_every_request() -> Result<()> {
    let world = World::new().await?;
    let operator = with_token(&world, json!({ "revocation": { "deadline": "3s" } })).await?;
    let away = world.sandbox.inject(Fault::dropped())?;
    delete_namespace(&world).await?;
    world.sandbox.heal(away);
    world.gone("speech", "token").await?;
    revoked(&world, 1).await?;
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn a_namespace_goes_while_revoiceit_is_away_and_its_operator_too() -> Result<()> {
    let mut world = World::new().await?;
    let first = with_token(&world, json!({ "revocation": { "deadline": "3s" } })).await?;
    first.kill();
    world.sandbox.stop().await;
    world.cluster.kubectl(["delete", "namespace", &world.tenant, "--wait=false"]).await?;
    let policy = world.policy(&impatient())?;
    let second = world.operator(&["--policy-for-tests", &policy]).await?;
    delete_namespace(&world).await?;
    world.sandbox.restart().await?;
    world.gone("speech", "token").await?;
    revoked(&world, 1).await?;
    world.no_secret_is_told(&[&second]).await
}

#[tokio::test]
async fn what_lost_its_finalizer_by_force_while_no_operator_ran_is_revoked_by_the_next() -> Result<()> {
    let world = World::new().await?;
    let first = with_token(&world, json!({})).await?;
    first.stop().await?;
    world.patch("speech", &json!({ "metadata": { "finalizers": null } })).await?;
    world.kubectl(&["delete", "rvc", "speech", "--timeout=60s"]).await?;
    let policy = world.policy(&impatient())?;
    let second = world.operator(&["--policy-for-tests", &policy]).await?;
    world.gone("speech", "token").await?;
    revoked(&world, 1).await?;
    world.no_secret_is_told(&[&second]).await
}

/// Deletes the tenant's namespace, and waits until it is gone, with Revoiceit away: the ledger and the token outlive it.
async fn delete_namespace(world: &World) -> Result<()> {
    world.cluster.kubectl(["delete", "namespace", &world.tenant, "--wait=false", "--ignore-not-found"]).await?;
    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    eventually("the namespace to be gone", GENEROUS, async || {
        let left = namespaces.get_opt(&world.tenant).await?.and_then(|namespace| namespace.status).and_then(|status| status.conditions);
        let what: Vec<String> = left.iter().flatten().filter(|is| is.status == "True").filter_map(|is| is.message.clone()).collect();
        ensure!(namespaces.get_opt(&world.tenant).await?.is_none(), "it is there: {what:?}");
        anyhow::Ok(())
    })
    .await?;
    assert_eq!((world.ledgers().await?.len(), world.sandbox.truth().live().count()), (1, 1));
    Ok(())
}

/// So many lines were ever issued, and each of them was revoked.
pub(crate) async fn revoked(world: &World, lines: usize) -> Result<()> {
    let states: Vec<LineState> = world.sandbox.truth().lines.iter().map(Line::state).collect();
    ensure!(states == vec![LineState::Revoked; lines], "{states:?}");
    Ok(())
}

/// When the finalizer was taken off.
fn released(written: &[AuditEvent]) -> Result<Timestamp> {
    let is_release =
        |event: &&AuditEvent| event.verb == "patch" && event.resource == "revoiceitcredentials" && event.subresource.is_empty();
    Ok(written.iter().rfind(is_release).context("it was not released")?.time)
}
