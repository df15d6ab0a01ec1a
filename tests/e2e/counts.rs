//! How many requests a life takes, to the last one: who writes more than is needed does so ten thousand times in a large cluster.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, ensure};
use revoiceit_harness::wait::{GENEROUS, eventually};
use revoiceit_operator::api::names;
use revoiceit_sandbox::{Call, LineState};
use serde_json::json;

use crate::world::{World, short_lived};

#[tokio::test]
async fn a_refresh_costs_three_writes_time_after_time() -> Result<()> {
    let world = World::with(short_lived).await?;
    world.credentials("client").await?;
    let policy = world.policy(&json!({ "minLifetime": 1000 }))?;
    let operator = world.operator(&["--policy-for-tests", &policy]).await?;
    let mark = world.cluster.audit_mark().await?;
    world.speech(json!({})).await?;
    let refreshed = world.sandbox.wait_for(GENEROUS, |sandbox| (sandbox.count(Call::Refresh, 0) >= 3).then_some(())).await;
    ensure!(refreshed.is_some(), "not refreshed three times");

    let ledger = format!("secrets {}/{}", world.system, world.ledgers().await?.remove(0));
    let target = format!("secrets {}/token", world.tenant);
    let resource = format!("{}/speech", world.tenant);
    let status = format!("patch revoiceitcredentials/status {resource} 200");
    let new = [
        format!("create {ledger} 201"),
        format!("patch revoiceitcredentials {resource} 200"),
        format!("update {ledger} 200"),
        format!("create {target} 201"),
        status.clone(),
    ];
    let refresh = [format!("update {ledger} 200"), format!("update {target} 200"), status];
    let wanted: Vec<String> = new.into_iter().chain(refresh.into_iter().cycle().take(9)).collect();
    let written = eventually("the writes of a new resource and of three refreshes", GENEROUS, async || {
        let written = world.writes_since(mark).await?;
        ensure!(written.len() >= wanted.len(), "{written:?}");
        anyhow::Ok(written)
    })
    .await?;
    // The next refresh may have begun.
    assert_eq!(written[..wanted.len()], wanted);
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn a_rotation_costs_one_more_write_and_its_old_line_is_revoked_after_the_grace() -> Result<()> {
    let world = World::new().await?;
    world.credentials("client").await?;
    let policy = world.policy(&json!({ "minGrace": 2000 }))?;
    let operator = world.operator(&["--policy-for-tests", &policy]).await?;
    world.speech(json!({ "revocation": { "grace": "0s" } })).await?;
    world.ready("speech").await?;
    world.at_rest().await?;
    let token = world.token("token").await?;
    let mark = world.cluster.audit_mark().await?;

    world.patch("speech", &json!({ "metadata": { "annotations": { names::ROTATE_ANNOTATION: "now" } } })).await?;
    world.another_token("token", &token).await?;
    let revoked = world.sandbox.wait_for(GENEROUS, |sandbox| (sandbox.truth().lines[0].state() == LineState::Revoked).then_some(())).await;
    ensure!(revoked.is_some(), "the old line was not revoked");
    world.at_rest().await?;

    let ledger = format!("update secrets {}/{} 200", world.system, world.ledgers().await?.remove(0));
    let status = format!("patch revoiceitcredentials/status {}/speech 200", world.tenant);
    let target = format!("update secrets {}/token 200", world.tenant);
    let written = world.writes_since(mark).await?;
    // Intent, answer, delivery, the old line's due time, status; and then the end of the old line and the status that says so.
    assert_eq!(written.iter().collect::<Vec<_>>(), [&ledger, &ledger, &target, &ledger, &status, &ledger, &status]);
    let status = world.get("speech").await?.status.context("no status")?;
    assert_eq!((status.last_handled_rotate_request.as_deref(), status.pending_revocations), (Some("now"), Some(0)));
    assert_eq!((world.sandbox.count(Call::Issue, 0), world.sandbox.count(Call::Revoke, 0)), (2, 1));
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn a_hundred_resources_get_their_own_tokens_with_five_writes_each_and_then_rest() -> Result<()> {
    const RESOURCES: usize = 100;
    let world = World::new().await?;
    let operator = world.operator(&[]).await?;
    world.at_rest().await?;
    let mark = world.cluster.audit_mark().await?;
    world.crowd(RESOURCES).await?;
    world.kubectl(&["wait", "--for=condition=Ready", "--timeout=120s", "rvc", "--all"]).await?;
    world.at_rest().await?;

    let mut writes: BTreeMap<String, usize> = BTreeMap::new();
    for event in world.written_since(mark).await? {
        *writes.entry(format!("{} {} {}", event.verb, event.resource, event.subresource)).or_default() += 1;
    }
    let wanted = ["create secrets ", "patch revoiceitcredentials ", "patch revoiceitcredentials status", "update secrets "];
    assert_eq!(writes, wanted.into_iter().zip([2, 1, 1, 1]).map(|(what, each)| (what.to_owned(), each * RESOURCES)).collect());
    // What is read is a few objects by name, however many there are: a list in each pass would make it the square of them.
    let asked = world.asked_since(mark).await?;
    assert_eq!(asked.iter().filter(|event| event.verb == "list").map(ToString::to_string).collect::<Vec<_>>(), [""; 0]);
    // Target, ledger, resource, credentials: of what is new there is one look. Whose credentials are heard of only during its pass gets a glance
    // afterwards; few do.
    let reads = asked.iter().filter(|event| event.verb == "get" && event.resource != "leases").count();
    ensure!((4 * RESOURCES..5 * RESOURCES).contains(&reads), "{reads} reads");
    assert_eq!(asked.iter().filter(|event| event.dry_run).count(), RESOURCES);
    let truth = world.sandbox.truth();
    for number in 0..RESOURCES {
        let token = world.token(&format!("token-{number}")).await?;
        assert_eq!(truth.owner_of(&token), Some(format!("client-{number}-of-{}", world.tenant).as_str()));
    }
    assert_eq!((world.sandbox.mark(), world.sandbox.count(Call::Issue, 0)), (RESOURCES as u64, RESOURCES));

    let mark = world.cluster.audit_mark().await?;
    tokio::time::sleep(rest()).await;
    let asked = world.asked_since(mark).await?;
    let busy: Vec<String> =
        asked.iter().filter(|event| event.resource != "leases" && event.verb != "watch").map(ToString::to_string).collect();
    assert_eq!(busy, [""; 0]);
    assert_eq!(world.sandbox.mark(), RESOURCES as u64);
    world.no_secret_is_told(&[&operator]).await
}

/// How long the operator is watched at rest: it is this time that is measured, and nothing is waited for. `REVOICEIT_REST_SECONDS` makes it
/// longer; two minutes are more than any interval at which something that should rest would do something.
fn rest() -> Duration {
    let asked = std::env::var("REVOICEIT_REST_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(asked.unwrap_or(30))
}
