//! The credentials Secret: changed, missing, incomplete, wrong, and mended.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use revoiceit_harness::wait::{GENEROUS, eventually};
use revoiceit_sandbox::{Call, LineState, TokenForm, UnixMillis};
use serde_json::json;

use crate::{
    seen::message,
    world::{CANARY, World, conditions},
};

/// Retries so far off that whatever happens in these tests was not one.
const NO_RETRY_MS: u64 = 24 * 60 * 60 * 1000;

#[tokio::test]
async fn another_pair_gets_another_line_and_the_old_one_lives_until_the_grace_is_over() -> Result<()> {
    // So that the truth tells how long the old access token was of use.
    let world = World::with(|switches| switches.revoke_ends_access = true).await?;
    world.credentials("client").await?;
    let policy = world.policy(&json!({ "minGrace": 1000 }))?;
    let operator = world.operator(&["--policy-for-tests", &policy]).await?;
    world.speech(json!({ "revocation": { "grace": "0s" } })).await?;
    world.ready("speech").await?;
    world.at_rest().await?;
    let old = world.token("token").await?;
    let mark = world.cluster.audit_mark().await?;

    world.sandbox.add_client("successor", &format!("{CANARY}-of-the-successor"));
    world.pair("client", "successor", &format!("{CANARY}-of-the-successor")).await?;
    let new = world.another_token("token", &old).await?;
    assert_eq!(world.sandbox.truth().owner_of(&new), Some("successor"));
    eventually("the old line to be revoked", GENEROUS, async || {
        let state = world.sandbox.truth().lines[0].state();
        ensure!(state == LineState::Revoked, "it is {state:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    world.at_rest().await?;

    let written = world.written_since(mark).await?;
    let delivered = written.iter().find(|event| event.name == "token").context("the target was not written")?;
    let truth = world.sandbox.truth();
    let (_, old) = truth.access(&old).context("the old token")?;
    let ended_at = old.ended_at.context("the old token was not ended")?;
    ensure!(ended_at.0 >= u64::try_from(delivered.time.as_millisecond())? + 1000, "the old token ended before the grace was over");
    let words: Vec<String> = written.iter().map(ToString::to_string).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let ledger = format!("update secrets {}/{} 200", world.system, world.ledgers().await?[0]);
    let (target, status) =
        (format!("update secrets {}/token 200", world.tenant), format!("patch revoiceitcredentials/status {}/speech 200", world.tenant));
    // Intent, answer, target, shorter due; then the end of the old line.
    assert_eq!(words, [&ledger, &ledger, &target, &ledger, &status, &ledger, &status].map(String::as_str));
    assert_eq!(world.calls(), (2, 0, 1));
    world.nothing_is_forgotten().await?;
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn only_the_pair_counts_and_not_what_stands_beside_it() -> Result<()> {
    let world = World::new().await?;
    world.credentials("client").await?;
    let operator = world.operator(&[]).await?;
    world.speech(json!({})).await?;
    world.ready("speech").await?;
    world.at_rest().await?;
    let mark = world.cluster.audit_mark().await?;

    let pair = world.value("client", "clientSecret").await?;
    world.kubectl(&["annotate", "secret", "client", "team=a"]).await?;
    world.patch_secret("client", &json!({ "metadata": { "labels": { "team": "a" } }, "stringData": { "another": "key" } })).await?;
    world.patch_secret("client", &json!({ "stringData": { "clientSecret": format!("{pair}\n") } })).await?;
    world.at_rest().await?;

    assert_eq!(world.calls(), (1, 0, 0));
    assert_eq!(world.written_since(mark).await?, []);
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn missing_credentials_are_asked_for_and_taken_as_soon_as_they_are_complete() -> Result<()> {
    let world = World::new().await?;
    let policy = world.policy(&json!({ "retryMin": NO_RETRY_MS, "retryMax": NO_RETRY_MS }))?;
    let operator = world.operator(&["--policy-for-tests", &policy]).await?;
    world.speech(json!({})).await?;

    let missing = world.reason("speech", "CredentialsMissing").await?;
    assert_eq!(conditions(&missing), ["Ready=False", "Stalled=True"]);
    assert_eq!(
        message(&missing),
        "The credentials Secret \"client\" does not exist. Create it in the resource's namespace, or correct spec.credentialsSecretRef.name. \
         There is no token yet."
    );

    world.sandbox.add_client("mine", CANARY);
    world.apply(&json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "client", "namespace": world.tenant } })).await?;
    let incomplete = world.reason("speech", "CredentialsIncomplete").await?;
    assert_eq!(conditions(&incomplete), ["Ready=False", "Stalled=True"]);
    ensure!(message(&incomplete).contains("has no value under the key \"clientId\""), "{}", message(&incomplete));
    world.patch_secret("client", &json!({ "stringData": { "clientId": "mine", "clientSecret": "" } })).await?;
    eventually("the other key to be asked for", GENEROUS, async || {
        let said = message(&world.get("speech").await?).to_owned();
        ensure!(said.contains("has no value under the key \"clientSecret\""), "{said}");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    assert_eq!(world.calls(), (0, 0, 0));

    world.patch_secret("client", &json!({ "stringData": { "clientSecret": CANARY } })).await?;
    world.ready("speech").await?;
    world.at_rest().await?;
    assert_eq!(world.calls(), (1, 0, 0));
    world.told("speech", &["Normal TokenReady", "Warning CredentialsIncomplete", "Warning CredentialsMissing"]).await?;
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn a_rejected_pair_is_tried_once_and_its_correction_at_once() -> Result<()> {
    let world = World::new().await?;
    let policy = world.policy(&json!({ "retryMin": NO_RETRY_MS, "retryMax": NO_RETRY_MS, "rejectedRetry": NO_RETRY_MS }))?;
    let operator = world.operator(&["--policy-for-tests", &policy]).await?;
    world.sandbox.add_client("mine", &format!("{CANARY}-right"));
    world.pair("client", "mine", &format!("{CANARY}-wrong")).await?;
    world.speech(json!({})).await?;

    let rejected = world.reason("speech", "CredentialsRejected").await?;
    assert_eq!(conditions(&rejected), ["Ready=False", "Stalled=True"]);
    let failure = rejected.status.and_then(|status| status.failure).context("no failure in the status")?;
    assert_eq!((failure.reason.as_str(), failure.count), ("CredentialsRejected", 1));
    // A label is no correction.
    world.patch_secret("client", &json!({ "metadata": { "labels": { "team": "a" } } })).await?;
    world.at_rest().await?;
    assert_eq!(world.calls(), (1, 0, 0));

    world.pair("client", "mine", &format!("{CANARY}-right")).await?;
    world.ready("speech").await?;
    world.at_rest().await?;
    assert_eq!(world.calls(), (2, 0, 0));
    let status = world.get("speech").await?.status.unwrap_or_default();
    assert_eq!((status.failure, status.suspected_lost), (None, Some(0)));
    world.told("speech", &["Normal TokenReady", "Warning CredentialsRejected"]).await?;
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn a_wrong_pair_beside_a_valid_token_is_told_and_costs_nothing() -> Result<()> {
    let world = World::new().await?;
    let policy = world.policy(&json!({ "retryMin": NO_RETRY_MS, "retryMax": NO_RETRY_MS, "rejectedRetry": NO_RETRY_MS }))?;
    let operator = world.operator(&["--policy-for-tests", &policy]).await?;
    world.sandbox.add_client("mine", &format!("{CANARY}-right"));
    world.pair("client", "mine", &format!("{CANARY}-right")).await?;
    world.speech(json!({})).await?;
    world.ready("speech").await?;
    let token = world.token("token").await?;

    world.pair("client", "mine", &format!("{CANARY}-wrong")).await?;
    let rejected = world.reason("speech", "CredentialsRejected").await?;
    assert_eq!(conditions(&rejected), ["Ready=True"]);
    world.pair("client", "mine", &format!("{CANARY}-right")).await?;
    world.reason("speech", "TokenReady").await?;
    world.at_rest().await?;

    assert_eq!(world.token("token").await?, token);
    assert_eq!(world.calls(), (2, 0, 0));
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn a_token_is_refreshed_without_its_credentials() -> Result<()> {
    // Refreshed after ten seconds, or a little earlier.
    let world = World::with(|switches| {
        switches.lifetime = Duration::from_secs(30);
        switches.token_form = TokenForm::Jwt;
    })
    .await?;
    world.credentials("client").await?;
    let operator = world.operator(&[]).await?;
    world.speech(json!({})).await?;
    world.ready("speech").await?;
    let token = world.token("token").await?;

    world.kubectl(&["delete", "secret", "client"]).await?;
    let missing = world.reason("speech", "CredentialsMissing").await?;
    assert_eq!(conditions(&missing), ["Ready=True"]);
    let new = world.another_token("token", &token).await?;
    ensure!(world.sandbox.truth().is_valid(&new, UnixMillis::now()), "the new token is not valid");
    assert_eq!(conditions(&world.reason("speech", "CredentialsMissing").await?), ["Ready=True"]);
    assert_eq!(world.sandbox.count(Call::Issue, 0), 1);
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn one_secret_for_two_resources_wakes_both() -> Result<()> {
    let world = World::new().await?;
    let operator = world.operator(&[]).await?;
    world.resource("one", "client", "one-token", json!({})).await?;
    world.resource("two", "client", "two-token", json!({})).await?;
    world.reason("one", "CredentialsMissing").await?;
    world.reason("two", "CredentialsMissing").await?;
    world.credentials("client").await?;
    world.ready("one").await?;
    world.ready("two").await?;
    world.at_rest().await?;
    assert_eq!(world.calls(), (2, 0, 0));
    world.no_secret_is_told(&[&operator]).await
}
