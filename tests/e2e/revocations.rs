//! Each cell of the outcome table, for revocations: what is done with, what is tried again, and what a person hears of.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::events::v1::Event;
use kube::{Api, ResourceExt, api::ListParams};
use revoiceit_harness::wait::{GENEROUS, eventually};
use revoiceit_operator::api::names;
use revoiceit_sandbox::{Body, Call, Config, Fault, Kind, Sandbox};
use serde_json::json;

use crate::{
    outcomes::TIMEOUT,
    world::{World, conditions},
};

/// What a revocation that always ends like this comes to.
fn on_revoke(elsewhere: &str) -> Vec<(&'static str, Fault)> {
    let json = |text: &str| Body::Custom { content_type: "application/json".to_owned(), text: text.to_owned() };
    vec![
        ("unauthorized", Fault::status(401)),
        ("invalid", Fault::answer(400, Body::Text)),
        ("string", Fault::answer(400, json("\"unknown token\""))),
        ("forbidden", Fault::status(403)),
        ("absent", Fault::status(404)),
        ("method", Fault::status(405)),
        ("idle", Fault::status(408)),
        ("early", Fault::status(425)),
        ("busy", Fault::status(429)),
        ("error", Fault::status(500)),
        ("gateway", Fault::status(502)),
        ("away", Fault::status(503)),
        ("late", Fault::status(504)),
        ("redirect", Fault::new(Kind::Redirect { code: 308, location: elsewhere.to_owned() })),
        ("page", Fault::new(Kind::NotJson)),
        ("empty", Fault::answer(200, Body::Empty)),
        ("list", Fault::answer(200, json("[]"))),
        ("huge", Fault::new(Kind::HugeBody { bytes: 1 << 20 })),
        ("partial", Fault::new(Kind::PartialBody)),
        ("dropped", Fault::dropped()),
        ("lost", Fault::lost_answer()),
        ("reset", Fault::new(Kind::Reset)),
        ("slow", Fault::slow(Duration::from_secs(6))),
    ]
}

/// The revocations that were tried and failed, as the ledger of the resource has it.
async fn tries(world: &World, name: &str) -> Result<u64> {
    let record = world.record(name).await?;
    let retiring = record["retiring"].as_array().context("no list")?;
    let [retiring] = retiring.as_slice() else { anyhow::bail!("{} tokens are on their way out", retiring.len()) };
    ensure!(record["live"].is_null(), "a line that was tried to be revoked is live");
    retiring["notBefore"].as_str().context("it is not said when it is tried again")?;
    retiring["tries"].as_u64().context("no number of tries")
}

#[tokio::test]
async fn a_revocation_is_done_when_revoiceit_says_so_in_json_and_is_tried_again_after_everything_else() -> Result<()> {
    let mut world = World::new().await?;
    let elsewhere = Sandbox::start(Config::default()).await?;
    let policy = world.policy(&json!({ "retryMin": 1000, "retryMax": 1000 }))?;
    let operator = world.operator(&["--policy-for-tests", &policy, "--api-timeout", TIMEOUT, "--api-in-flight", "128"]).await?;
    let again = on_revoke(&elsewhere.api_url());
    let done = ["revoked", "unknown", "revoked-unheard"];
    for name in again.iter().map(|(name, _)| *name).chain(done) {
        world.own(name, json!({})).await?;
    }
    for name in again.iter().map(|(name, _)| *name).chain(done) {
        world.reason(name, "TokenReady").await?;
    }
    let unknown = world.get("unknown").await?.uid().context("no UID")?;
    for (name, fault) in &again {
        world.sandbox.inject(fault.clone().on(Call::Revoke).client(world.client_of(name)))?;
    }
    // It had worked, and nobody asked for its end.
    world.sandbox.inject(Fault::new(Kind::Die).on(Call::Revoke).client(world.client_of("unknown")))?;
    // This one was asked for its end, and may have heard it.
    world.sandbox.inject(Fault::lost_answer().on(Call::Revoke).client(world.client_of("revoked-unheard")).once())?;
    world.kubectl(&["delete", "rvc", "--all", "--wait=false"]).await?;

    for name in done {
        world.kubectl(&["wait", "--for=delete", &format!("rvc/{name}"), "--timeout=60s"]).await?;
    }
    for (name, _) in &again {
        eventually(&format!("the revocation of {name} to have failed"), GENEROUS, async || {
            ensure!(tries(&world, name).await? > 0, "not yet");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        let leaving = world.reason(name, "Revoking").await?;
        assert_eq!(conditions(&leaving), ["Ready=False", "Reconciling=True"], "{name}");
        assert_eq!(leaving.finalizers(), [names::FINALIZER], "{name}");
        assert_eq!(leaving.status.and_then(|status| status.pending_revocations), Some(1), "{name}");
        ensure!(world.secrets().get_opt(&format!("{name}-token")).await?.is_none(), "the target of {name} is still there");
    }
    assert_eq!(elsewhere.mark(), 0, "a redirect was followed");

    // Refused connections are one more.
    world.sandbox.stop().await;
    let before = tries(&world, "error").await?;
    eventually("a revocation that could not be sent", GENEROUS, async || {
        ensure!(tries(&world, "error").await? > before + 1, "not yet");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    world.sandbox.heal_all();
    world.sandbox.restart().await?;
    eventually("all to be gone", GENEROUS, async || {
        let left = world.ledgers().await?.len();
        ensure!(left == 0, "{left} ledgers are there");
        Ok::<_, anyhow::Error>(())
    })
    .await?;

    let live: Vec<String> = world.sandbox.truth().live().map(|line| line.client.clone()).collect();
    assert_eq!(live, [""; 0]);
    assert_eq!(last_words(&world).await?, [names::ledger_name(&unknown)], "only what worked and is unknown all of a sudden is disputed");
    world.no_secret_is_told(&[&operator]).await
}

/// The ledgers about which something was said before they went.
async fn last_words(world: &World) -> Result<Vec<String>> {
    let events: Api<Event> = Api::namespaced(world.client.clone(), &world.system);
    let said = events.list(&ListParams::default()).await?.items;
    let said = said.into_iter().filter(|event| event.reason.as_deref() == Some("SuspectedLost"));
    Ok(said.filter_map(|event| event.regarding?.name).collect())
}
