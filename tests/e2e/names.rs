//! Names of targets that change hands, and what becomes of a target when its resource is deleted in one way or another.

use anyhow::{Context, Result, ensure};
use kube::ResourceExt;
use revoiceit_harness::wait::{GENEROUS, eventually};
use revoiceit_sandbox::{Call, Fault, LineState};
use serde_json::json;

use crate::{
    seen::message,
    world::{Operator, World},
};

/// A resource with a token, at rest, and names that are forgotten soon.
async fn ready() -> Result<(World, Operator, String)> {
    let world = World::new().await?;
    world.credentials("client").await?;
    let operator = world.operator(&["--policy-for-tests", &world.policy(&soon())?]).await?;
    world.speech(json!({})).await?;
    world.ready("speech").await?;
    world.at_rest().await?;
    let token = world.token("token").await?;
    Ok((world, operator, token))
}

fn soon() -> serde_json::Value {
    json!({ "linger": 1000, "retryMin": 500, "retryMax": 1000 })
}

async fn rename(world: &World, name: &str, to: &str) -> Result<()> {
    world.patch(name, &json!({ "spec": { "target": { "name": to } } })).await.map(drop)
}

/// Waits until this is the only target of the resource, in the ledger and in the namespace, and it holds this token.
async fn has_only(world: &World, target: &str, token: &str) -> Result<()> {
    eventually(&format!("only {target} to be left"), GENEROUS, async || {
        let targets = world.record("speech").await?["targets"].clone();
        ensure!(targets == json!([{ "name": target, "leftAt": null }]), "the ledger lists {targets}");
        ensure!(world.token(target).await? == token, "it holds another token");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    let left: Vec<String> = written_for(world, "speech").await?;
    assert_eq!(left, [target]);
    Ok(())
}

/// The Secrets that were written for this resource.
async fn written_for(world: &World, name: &str) -> Result<Vec<String>> {
    let secrets = world.secrets().list(&Default::default()).await?.items;
    let ours = secrets.into_iter().filter(|secret| secret.annotations().get("revoiceit.com/resource").is_some_and(|of| of == name));
    Ok(ours.map(|secret| secret.name_any()).collect())
}

#[tokio::test]
async fn of_two_renames_while_the_operator_is_away_only_the_last_is_seen() -> Result<()> {
    let (world, first, token) = ready().await?;
    first.stop().await?;
    rename(&world, "speech", "between").await?;
    rename(&world, "speech", "last").await?;
    let mark = world.cluster.audit_mark().await?;
    let second = world.operator(&["--policy-for-tests", &world.policy(&soon())?]).await?;

    has_only(&world, "last", &token).await?;
    let written = world.writes_since(mark).await?;
    ensure!(!written.iter().any(|write| write.contains("/between")), "{written:?}");
    assert_eq!(world.calls(), (1, 0, 0));
    world.no_secret_is_told(&[&second]).await
}

#[tokio::test]
async fn two_renames_while_revoiceit_is_away_need_no_call() -> Result<()> {
    let (mut world, operator, token) = ready().await?;
    world.sandbox.stop().await;
    rename(&world, "speech", "between").await?;
    eventually("the first new name to be supplied", GENEROUS, async || {
        ensure!(world.token("between").await? == token, "another one");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    rename(&world, "speech", "last").await?;
    has_only(&world, "last", &token).await?;
    world.reason("speech", "TokenReady").await?;

    world.sandbox.restart().await?;
    world.at_rest().await?;
    assert_eq!(world.calls(), (1, 0, 0));
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn a_name_that_was_left_and_taken_up_again_is_kept() -> Result<()> {
    let (world, operator, token) = ready().await?;
    rename(&world, "speech", "other").await?;
    rename(&world, "speech", "token").await?;
    has_only(&world, "token", &token).await?;
    assert_eq!(world.calls(), (1, 0, 0));
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn a_name_that_one_resource_leaves_is_taken_by_the_other_that_waits_for_it() -> Result<()> {
    let (world, operator, token) = ready().await?;
    world.credentials("other").await?;
    world.resource("second", "other", "token", json!({})).await?;
    world.reason("second", "TargetConflict").await?;

    rename(&world, "speech", "elsewhere").await?;
    world.ready("second").await?;
    has_only(&world, "elsewhere", &token).await?;
    assert_eq!(written_for(&world, "second").await?, ["token"]);
    let truth = world.sandbox.truth();
    assert_eq!(truth.owner_of(&world.token("token").await?), Some(world.client_of("other").as_str()));
    world.at_rest().await?;
    assert_eq!(world.calls(), (2, 0, 0));
    world.nothing_is_forgotten().await?;
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn consent_is_to_one_resource_and_what_was_adopted_goes_with_it() -> Result<()> {
    let world = World::new().await?;
    let operator = world.operator(&[]).await?;
    world.credentials("client").await?;
    world.foreign_secret("token").await?;
    world.kubectl(&["annotate", "secret", "token", "revoiceit.com/adopt-by=another"]).await?;
    world.speech(json!({})).await?;
    let conflict = world.reason("speech", "TargetConflict").await?;
    ensure!(message(&conflict).contains("consent to its being replaced"), "{}", message(&conflict));
    world.at_rest().await?;
    assert_eq!((world.value("token", "theirs").await?.as_str(), world.calls()), ("theirs", (0, 0, 0)));

    world.kubectl(&["annotate", "--overwrite", "secret", "token", "revoiceit.com/adopt-by=speech"]).await?;
    world.ready("speech").await?;
    world.kubectl(&["delete", "rvc", "speech", "--timeout=60s"]).await?;
    world.gone("speech", "token").await?;
    assert_eq!(world.calls(), (1, 0, 1));
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn a_resource_that_is_deleted_with_orphans_leaves_none() -> Result<()> {
    let (world, first, _) = ready().await?;
    // So that the collector comes first: it takes the owner reference off the target, which is ours by its annotation still.
    first.stop().await?;
    world.kubectl(&["delete", "rvc", "speech", "--cascade=orphan", "--wait=false"]).await?;
    eventually("the target to be an orphan", GENEROUS, async || {
        let owners = world.secrets().get("token").await?.owner_references().to_vec();
        ensure!(owners.is_empty(), "it has {owners:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    let operator = world.operator(&["--policy-for-tests", &world.policy(&soon())?]).await?;
    world.gone("speech", "token").await?;
    assert_eq!((world.calls(), world.sandbox.truth().live().count()), ((1, 0, 1), 0));
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn the_target_of_a_resource_that_is_deleted_in_the_foreground_goes_first_and_stays_away() -> Result<()> {
    let (world, operator, _) = ready().await?;
    let away = world.sandbox.inject(Fault::status(503).on(Call::Revoke))?;
    let mark = world.cluster.audit_mark().await?;
    world.kubectl(&["delete", "rvc", "speech", "--cascade=foreground", "--wait=false"]).await?;
    let tried = world.sandbox.wait_for(GENEROUS, |sandbox| (sandbox.count(Call::Revoke, 0) >= 3).then_some(())).await;
    tried.context("the revocation was not tried again")?;
    let leaving = world.get("speech").await?;
    ensure!(leaving.finalizers().iter().any(|finalizer| finalizer == "revoiceit.com/revoke"), "{:?}", leaving.finalizers());
    ensure!(world.secrets().get_opt("token").await?.is_none(), "the target is there");

    world.sandbox.heal(away);
    world.gone("speech", "token").await?;
    let made = world.writes_since(mark).await?.into_iter().filter(|write| write.starts_with("create")).collect::<Vec<_>>();
    assert_eq!(made, [""; 0]);
    assert_eq!(world.sandbox.truth().lines[0].state(), LineState::Revoked);
    world.no_secret_is_told(&[&operator]).await
}
