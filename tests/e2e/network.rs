//! Watches and lists fail or fall silent, and the whole control plane stands still or dies: all comes to what it should be by itself, with one
//! token for one cause, and nothing is taken for lost.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, ListParams};
use revoiceit_harness::{
    cluster::{Cluster, Component, Options},
    proxy::Fault,
    wait::{GENEROUS, eventually},
};
use revoiceit_operator::{api::names, runtime::clock};
use revoiceit_sandbox::Call;
use serde_json::json;

use crate::{
    deletion::impatient,
    shared::{INSTALL, install},
    stage::Stage,
    world::{World, short_lived},
};

#[tokio::test]
async fn a_watch_that_ends_with_a_410_begins_anew_and_what_happened_meanwhile_is_seen() -> Result<()> {
    let stage = Stage::new(|_| {}).await?;
    let expired = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410, "reason": "Expired", "message": "injected",
    });
    let event = json!({ "type": "ERROR", "object": expired });
    let faults = [Fault::answer(200, format!("{event}\n")).header("content-type", "application/json"), Fault::status(410, "Expired")];
    for (number, fault) in faults.into_iter().enumerate() {
        let name = format!("r{number}");
        let gone = stage.proxy.inject(fault.path("watch=true").times(2));
        stage.proxy.cut();
        stage.world.own(&name, json!({})).await?;
        stage.world.reason(&name, "TokenReady").await?;
        eventually("both watches to have been refused", GENEROUS, async || {
            ensure!(stage.proxy.struck(gone) == 2, "{}", stage.proxy.struck(gone));
            anyhow::Ok(())
        })
        .await?;
        let token = stage.world.own_token(&name).await?;
        stage.world.secrets().delete(&format!("{name}-token"), &DeleteParams::default()).await?;
        eventually("the target to be back", GENEROUS, async || stage.world.own_token(&name).await).await?;
        ensure!(stage.world.own_token(&name).await? == token, "another token");
    }
    assert_eq!(stage.world.calls(), (2, 0, 0));
    stage.end().await
}

#[tokio::test]
async fn a_list_whose_stream_fails_comes_in_pages_and_the_next_one_is_a_stream_again() -> Result<()> {
    let stage = Stage::new(|_| {}).await?;
    let list = format!("/namespaces/{}/revoiceitcredentials?", stage.world.tenant);
    let ends_with = |code: u16| {
        let status = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": "injected" });
        let event = json!({ "type": "ERROR", "object": status });
        Fault::answer(200, format!("{event}\n")).header("content-type", "application/json").path(&list)
    };
    // The second time the pages fail too, and then the next stream.
    for (name, pages) in [("first", 0), ("second", 1)] {
        let mark = stage.world.cluster.audit_mark().await?;
        let expired = stage.proxy.inject(ends_with(410).times(1));
        let streams = stage.proxy.inject(ends_with(500).path("sendInitialEvents=true").times(1 + pages));
        let broken = (pages > 0).then(|| stage.proxy.inject(Fault::status(410, "Expired").path(&list).path("limit=").times(pages)));
        stage.proxy.cut();
        eventually("the watch to end, and the list after it to fail", GENEROUS, async || {
            let struck = [Some(expired), Some(streams), broken].map(|fault| fault.map_or(0, |fault| stage.proxy.struck(fault)));
            ensure!(struck == [1, 1 + pages, pages], "{struck:?}");
            anyhow::Ok(())
        })
        .await?;
        stage.world.own(name, json!({})).await?;
        stage.world.reason(name, "TokenReady").await?;
        let asked = stage.world.cluster.audit_since(mark).await?;
        ensure!(asked.iter().any(|event| event.uri.contains(&list) && event.uri.contains("limit=20")), "no page was asked for");
    }
    assert_eq!(stage.world.calls(), (2, 0, 0));
    stage.end().await
}

#[tokio::test]
async fn watches_that_fall_silent_hold_up_no_refresh_and_what_they_kept_back_is_seen_afterwards() -> Result<()> {
    let stage = Stage::new(short_lived).await?;
    let world = &stage.world;
    world.own("known", json!({})).await?;
    world.reason("known", "TokenReady").await?;
    let silence = stage.proxy.inject(Fault::silence().path("watch=true"));
    let mark = world.sandbox.mark();
    world.own("unseen", json!({})).await?;
    let refreshed = world.sandbox.wait_for(GENEROUS, |sandbox| (sandbox.count(Call::Refresh, mark) >= 2).then_some(())).await;
    refreshed.context("not refreshed twice")?;
    assert_eq!((world.sandbox.count(Call::Issue, 0), world.ledgers().await?.len()), (1, 1));
    world.sandbox.switch(|switches| switches.lifetime = Duration::from_secs(3600))?;
    stage.proxy.lift(silence);
    world.reason("unseen", "TokenReady").await?;
    world.nothing_is_forgotten().await?;
    assert_eq!((world.sandbox.count(Call::Issue, 0), world.suspected_lost("known").await?), (2, 0));
    stage.end().await
}

/// The policy of a stage has intents that run out within a second and a half.
#[tokio::test]
async fn an_intent_that_was_never_sent_is_withdrawn_however_long_the_api_server_is_away() -> Result<()> {
    let stage = Stage::new(|_| {}).await?;
    let world = &stage.world;
    // The first request that follows the saving of an intent, and the looks after that.
    let claim = stage.proxy.inject(Fault::status(503, "ServiceUnavailable").method("PATCH").path("/revoiceitcredentials/speech?"));
    let look = stage.proxy.inject(Fault::status(503, "ServiceUnavailable").method("GET").path("/secrets/rvc-").after(1));
    world.own("speech", json!({})).await?;
    eventually("the intent to have run out, unsent", GENEROUS, async || {
        ensure!(stage.proxy.struck(claim) == 1, "no intent");
        let record = world.record("speech").await?;
        let until: Timestamp = serde_json::from_value(record["intent"]["until"].clone())?;
        // The first of them was there in time.
        ensure!(stage.proxy.struck(look) > 1 && clock::now() > until, "not yet");
        anyhow::Ok(())
    })
    .await?;
    stage.proxy.lift(claim);
    stage.proxy.lift(look);
    world.ready("speech").await?;
    assert_eq!((world.calls(), world.suspected_lost("speech").await?), ((1, 0, 0), 0));
    stage.end().await
}

/// On a cluster of its own. In each round new resources come, and those that are there are given another line.
#[tokio::test]
async fn a_control_plane_that_stands_still_or_is_killed_costs_no_token() -> Result<()> {
    // What is leaked is killed below, or by its guard when the program ends.
    let cluster: &'static Cluster = Box::leak(Box::new(Cluster::start(Options::default()).await?));
    install(cluster, INSTALL).await?;
    let world = World::on(cluster, |_| {}).await?;
    // An API server that has just started does not know its roles yet.
    world.without_any_rights();
    // Who loses its lease ends, and nobody would start it again.
    let operator = world.operator(&["--leader-elect=false", "--policy-for-tests", &world.policy(&impatient())?]).await?;
    let mut all: Vec<String> = Vec::new();
    for (round, component, dies) in
        [(0, Component::Etcd, false), (1, Component::ApiServer, false), (2, Component::ApiServer, true), (3, Component::Etcd, true)]
    {
        let mark = world.sandbox.mark();
        let request = json!({ "metadata": { "annotations": { names::ROTATE_ANNOTATION: round.to_string() } } });
        for name in &all {
            world.patch(name, &request).await?;
        }
        for number in 0..3 {
            all.push(format!("r{round}-{number}"));
            world.own(&all[all.len() - 1], json!({ "revocation": { "grace": "1h" } })).await?;
        }
        // Some of them are under way by then.
        if dies {
            cluster.kill(component)?;
            cluster.restart(component).await?;
        } else {
            cluster.freeze(component).await?;
            tokio::time::sleep(Duration::from_secs(3)).await;
            cluster.thaw(component)?;
        }
        cluster.ready().await?;
        eventually("every one to have another line", GENEROUS, async || {
            let issues = world.sandbox.count(Call::Issue, mark);
            ensure!(issues >= all.len(), "{issues} issues");
            anyhow::Ok(())
        })
        .await?;
        for name in &all {
            world.reason(name, "TokenReady").await?;
        }
        // The status may still be that of the line before.
        world.at_rest().await?;
        world.nothing_is_forgotten().await?;
        let suspected = world.resources().list(&ListParams::default()).await?.items.into_iter();
        let suspected: i32 = suspected.filter_map(|resource| resource.status?.suspected_lost).sum();
        assert_eq!((world.sandbox.count(Call::Issue, mark), suspected), (all.len(), 0), "round {round}");
    }
    world.no_secret_is_told(&[&operator]).await?;
    for component in [Component::Controllers, Component::ApiServer, Component::Etcd] {
        cluster.kill(component)?;
    }
    Ok(())
}
