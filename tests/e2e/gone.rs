//! A resource that is not there any more: its tokens are revoked when that is proven, and never before.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kube::ResourceExt;
use revoiceit_harness::{
    cluster::AuditEvent,
    proxy::{Fault as Between, FaultId, Proxy},
    wait::{GENEROUS, eventually},
};
use revoiceit_sandbox::{Call, Fault};
use serde_json::{Value, json};

use crate::{
    deletion::{impatient, revoked, with_token},
    world::{World, merge, ready_reason},
};

#[tokio::test]
async fn what_is_forced_out_while_revoking_fails_is_proven_gone_and_revoked_in_the_background() -> Result<()> {
    let world = World::new().await?;
    let operator = with_token(&world, json!({})).await?;
    let away = world.sandbox.inject(Fault::status(503).on(Call::Revoke))?;
    world.kubectl(&["delete", "rvc", "speech", "--wait=false"]).await?;
    let tried = world.sandbox.wait_for(GENEROUS, |sandbox| (sandbox.count(Call::Revoke, 0) >= 1).then_some(())).await;
    ensure!(tried.is_some(), "the revocation was not tried");
    let mark = world.cluster.audit_mark().await?;
    force_out(&world, "speech").await?;

    let proof = proof_of_absence(&world).await;
    assert_eq!((world.ledgers().await?.len(), world.sandbox.truth().live().count()), (1, 1));
    world.sandbox.heal(away);
    world.gone("speech", "token").await?;
    revoked(&world, 1).await?;
    proof?;
    let asked = world.asked_since(mark).await?;
    let first = asked.iter().find(|event| is_not_found(event)).context("it was not looked for")?;
    let list = asked.iter().find(|event| is_list(event)).context("the kind was not listed")?;
    ensure!(list.time >= first.time + Duration::from_millis(500), "listed too early: {first}, {list}");
    world.no_secret_is_told(&[&operator]).await
}

/// Takes the finalizer off by force, of what is being deleted, and waits until it is gone.
pub(crate) async fn force_out(world: &World, name: &str) -> Result<()> {
    world.patch(name, &json!({ "metadata": { "finalizers": null } })).await?;
    world.kubectl(&["delete", "rvc", name, "--ignore-not-found", "--timeout=60s"]).await.map(drop)
}

/// Waits until the operator has not found it, listed the kind, and has not found it again.
pub(crate) async fn proof_of_absence(world: &World) -> Result<()> {
    let mark = world.cluster.audit_mark().await?;
    eventually("the proof of absence", GENEROUS, async || {
        let asked = world.asked_since(mark).await?;
        let list = asked.iter().position(is_list).context("the kind was not listed")?;
        ensure!(asked[list..].iter().any(is_not_found), "not looked for after the list");
        anyhow::Ok(())
    })
    .await
}

fn is_not_found(event: &AuditEvent) -> bool {
    event.resource == "revoiceitcredentials" && event.verb == "get" && event.code == Some(404)
}

fn is_list(event: &AuditEvent) -> bool {
    event.resource == "revoiceitcredentials" && event.verb == "list" && event.uri.contains("metadata.name")
}

#[tokio::test]
async fn a_finalizer_removed_by_force_comes_back_and_one_that_went_unseen_with_its_resource_is_followed_by_revocation() -> Result<()> {
    let world = World::new().await?;
    let proxy = Proxy::start(world.cluster).await?;
    world.credentials("client").await?;
    let operator = world.operator_through(&proxy.url(), &["--policy-for-tests", &world.policy(&impatient())?]).await?;
    world.speech(json!({})).await?;
    world.ready("speech").await?;
    world.patch("speech", &json!({ "metadata": { "finalizers": null } })).await?;
    eventually("the finalizer to be back", GENEROUS, async || {
        ensure!(world.get("speech").await?.finalizers().len() == 1, "it is not");
        anyhow::Ok(())
    })
    .await?;
    world.at_rest().await?;
    assert_eq!(world.calls(), (1, 0, 0));

    let silence = proxy.inject(Between::silence().path("/revoiceitcredentials?").path("watch=true"));
    force_out(&world, "speech").await?;
    struck(&proxy, silence, 1).await?;
    assert_eq!((world.calls(), world.ledgers().await?.len()), ((1, 0, 0), 1));
    proxy.lift(silence);
    world.gone("speech", "token").await?;
    revoked(&world, 1).await?;
    world.no_secret_is_told(&[&operator]).await
}

#[tokio::test]
async fn after_the_deadline_another_operator_goes_on_without_further_proof() -> Result<()> {
    let world = World::new().await?;
    let first = with_token(&world, json!({ "revocation": { "deadline": "1s" } })).await?;
    let away = world.sandbox.inject(Fault::status(503).on(Call::Revoke))?;
    world.kubectl(&["delete", "rvc", "speech", "--timeout=60s"]).await?;
    first.stop().await?;
    world.sandbox.heal(away);
    let mut policy = impatient();
    merge(&mut policy, json!({ "absence": 3_600_000 }));
    let second = world.operator(&["--policy-for-tests", &world.policy(&policy)?]).await?;
    world.gone("speech", "token").await?;
    revoked(&world, 1).await?;
    world.no_secret_is_told(&[&second]).await
}

/// What a proxy says when it does not know where the API server is.
fn page() -> Between {
    Between::answer(404, "<html><body><h1>404 Not Found</h1></body></html>").header("content-type", "text/html")
}

#[tokio::test]
async fn a_proxys_404_page_is_no_proof_and_all_goes_on_without_a_call() -> Result<()> {
    let world = World::new().await?;
    let proxy = Proxy::start(world.cluster).await?;
    let policy = world.policy(&impatient())?;
    let first = world.operator_through(&proxy.url(), &["--policy-for-tests", &policy]).await?;
    world.own("stays", json!({})).await?;
    world.own("goes", json!({})).await?;
    world.ready("stays").await?;
    world.ready("goes").await?;
    world.at_rest().await?;
    let (token, calls) = (world.own_token("stays").await?, world.sandbox.mark());

    // Whatever is asked about the kind: the watch breaks, and what it knew is what the operator goes by.
    let gone = proxy.inject(page().path("/revoiceitcredentials/goes"));
    let one = proxy.inject(page().path("/revoiceitcredentials/"));
    let any = proxy.inject(page().path("/revoiceitcredentials"));
    proxy.cut();
    force_out(&world, "goes").await?;
    world.kubectl(&["delete", "secret", "stays-token"]).await?;
    struck(&proxy, one, 2).await?;
    struck(&proxy, any, 2).await?;

    // Another operator, whose watch does not have what is gone. Each sweep looks for it, and any two could pass for proof.
    first.stop().await?;
    proxy.lift(any);
    let second = world.operator_through(&proxy.url(), &["--policy-for-tests", &policy]).await?;
    struck(&proxy, gone, proxy.struck(gone) + 5).await?;
    struck(&proxy, one, proxy.struck(one) + 1).await?;
    assert_eq!((world.sandbox.mark(), world.ledgers().await?.len()), (calls, 2));
    ensure!(ready_reason(&world.get("stays").await?) == Some("TokenReady"), "a page was taken for an answer");

    proxy.lift(gone);
    proxy.lift(one);
    eventually("the target to be restored", GENEROUS, async || {
        ensure!(world.own_token("stays").await? == token, "it is another one");
        anyhow::Ok(())
    })
    .await?;
    eventually("the other's ledger to be gone", GENEROUS, async || {
        ensure!(world.ledgers().await?.len() == 1, "it is there");
        anyhow::Ok(())
    })
    .await?;
    let made: Vec<Call> = world.sandbox.calls(calls).iter().map(|call| call.call).collect();
    assert_eq!(made, [Call::Revoke]);
    assert_eq!(world.sandbox.truth().owner_of(&token), Some(world.client_of("stays").as_str()));
    ensure!(world.sandbox.truth().live().all(|line| line.client == world.client_of("stays")), "the wrong one was revoked");
    world.no_secret_is_told(&[&second]).await
}

/// Waits until a fault has struck so many requests.
pub(crate) async fn struck(proxy: &Proxy, fault: FaultId, times: usize) -> Result<()> {
    eventually(&format!("{times} requests to be struck"), GENEROUS, async || {
        let struck = proxy.struck(fault);
        ensure!(struck >= times, "{struck} were");
        anyhow::Ok(())
    })
    .await
}

/// What the API server says of what is not there.
fn not_found(name: &str) -> Between {
    let status: Value = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 404, "reason": "NotFound",
        "message": format!("revoiceitcredentials.revoiceit.com \"{name}\" not found"),
        "details": { "name": name, "group": "revoiceit.com", "kind": "revoiceitcredentials" },
    });
    Between::answer(404, status.to_string()).header("content-type", "application/json")
}

#[tokio::test]
async fn what_a_watch_or_a_list_has_is_not_gone_whatever_a_get_says() -> Result<()> {
    let world = World::new().await?;
    let first = with_token(&world, json!({})).await?;
    first.stop().await?;
    let elsewhere = format!("{}-other", world.tenant);
    world.cluster.kubectl(["create", "namespace", &elsewhere]).await?;
    let (policy, calls) = (world.policy(&impatient())?, world.sandbox.mark());
    let proxy = Proxy::start(world.cluster).await?;
    let wrong = proxy.inject(not_found("speech").method("GET").path("/revoiceitcredentials/speech"));

    // Its watch has it: the target is not restored as long as the resource cannot be read, and nothing is revoked.
    let second = world.operator_through(&proxy.url(), &["--policy-for-tests", &policy]).await?;
    world.kubectl(&["delete", "secret", "token"]).await?;
    struck(&proxy, wrong, 3).await?;
    second.stop().await?;
    // No watch has it, and the list does.
    let mark = world.cluster.audit_mark().await?;
    let third = world.operator_through(&proxy.url(), &["--policy-for-tests", &policy, "--namespace", &elsewhere]).await?;
    eventually("two lists", GENEROUS, async || {
        let lists = world.asked_since(mark).await?.iter().filter(|event| is_list(event)).count();
        ensure!(lists >= 2, "{lists}");
        anyhow::Ok(())
    })
    .await?;
    assert_eq!((world.sandbox.mark(), world.ledgers().await?.len()), (calls, 1));
    assert_eq!(world.writes_since(mark).await?, [""; 0]);
    third.stop().await?;
    proxy.lift(wrong);
    let fourth = world.operator(&["--policy-for-tests", &policy]).await?;
    world.kubectl(&["wait", "--for=create", "secret/token", "--timeout=60s"]).await?;
    assert_eq!((world.sandbox.mark(), world.get("speech").await?.finalizers().len()), (calls, 1));
    world.no_secret_is_told(&[&fourth]).await
}
