//! What becomes of tokens when pods of the operator come and go.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt};
use revoiceit_harness::wait::{GENEROUS, eventually};
use revoiceit_operator::runtime::clock;
use revoiceit_sandbox::{Call, Fault};
use serde_json::json;

use super::site::{PATIENT, Site};
use crate::world::World;

/// What must not have changed.
async fn tokens(world: &World) -> Result<(String, Option<String>, (usize, usize, usize))> {
    let target = world.secrets().get("token").await?;
    Ok((world.token("token").await?, target.resource_version(), world.calls()))
}

#[tokio::test]
async fn a_rolling_update_replaces_all_pods_and_leaves_tokens_as_they_are() -> Result<()> {
    let Some(site) = Site::new(|_| {}, &[]).await? else { return Ok(()) };
    let (before, leader) = (tokens(&site.world).await?, site.leader().await?);
    let old: Vec<String> = site.ready_pods(2).await?.iter().map(ResourceExt::name_any).collect();
    let began = clock::now();

    site.upgrade(&["podAnnotations.changed=yes"]).await?;
    let new: Vec<String> = site.ready_pods(2).await?.iter().map(ResourceExt::name_any).collect();
    ensure!(new.iter().all(|name| !old.contains(name)), "{old:?} became {new:?}");
    let leader = site.another_leader(&leader).await?;
    ensure!(new.contains(&leader) || !old.contains(&leader), "{leader} leads, of {new:?}");
    // A lease that is not given back is held for 15 s, from a pod's end on.
    println!("a rolling update took {:?}", clock::now().duration_since(began));
    assert_eq!(tokens(&site.world).await?, before);

    // The new ones work.
    site.world.kubectl(&["delete", "secret", "token"]).await?;
    eventually("the target to be restored", GENEROUS, async || site.world.token("token").await).await?;
    assert_eq!((site.world.token("token").await?, site.world.calls()), (before.0, before.2));
    site.end().await
}

#[tokio::test]
async fn a_container_that_is_killed_is_started_again_while_another_pod_leads() -> Result<()> {
    let Some(site) = Site::new(|_| {}, &["leaderElection.leaseDuration=5s"]).await? else { return Ok(()) };
    let (before, leader) = (tokens(&site.world).await?, site.leader().await?);
    site.node.kill_container(&container(&site, &leader).await?.0).await?;
    site.another_leader(&leader).await?;
    is_restarted(&site, &leader, "Error").await?;
    assert_eq!(tokens(&site.world).await?, before);
    site.end().await
}

/// The id of the operator's container in a pod, how often it was started again, and why it ended.
async fn container(site: &Site, pod: &str) -> Result<(String, i32, String)> {
    let pods: Api<Pod> = Api::namespaced(site.world.client.clone(), &site.world.system);
    let statuses = pods.get(pod).await?.status.and_then(|status| status.container_statuses).unwrap_or_default();
    let status = statuses.into_iter().next().with_context(|| format!("{pod} has no container"))?;
    let ended = status.last_state.and_then(|state| state.terminated).and_then(|ended| ended.reason);
    Ok((status.container_id.unwrap_or_default(), status.restart_count, ended.unwrap_or_default()))
}

/// Waits until the pod's container was started again, for this reason, and all pods are ready.
async fn is_restarted(site: &Site, pod: &str, reason: &str) -> Result<()> {
    eventually(&format!("the container of {pod} to be started again"), PATIENT, async || {
        let (_, restarts, ended) = container(site, pod).await?;
        ensure!(restarts == 1 && ended == reason, "{restarts} times, for {ended:?}");
        anyhow::Ok(())
    })
    .await?;
    site.ready_pods(2).await.map(drop)
}

#[tokio::test]
async fn an_operator_that_is_killed_for_its_memory_is_started_again_while_another_pod_leads() -> Result<()> {
    let Some(site) = Site::new(|_| {}, &["leaderElection.leaseDuration=5s"]).await? else { return Ok(()) };
    let (before, leader) = (tokens(&site.world).await?, site.leader().await?);
    let _fills = site.node.fill_memory(&container(&site, &leader).await?.0)?;
    site.another_leader(&leader).await?;
    is_restarted(&site, &leader, "OOMKilled").await?;
    assert_eq!(tokens(&site.world).await?, before);
    site.end().await
}

#[tokio::test]
async fn a_pod_that_is_deleted_gives_its_lease_back_and_saves_what_a_call_in_flight_brings() -> Result<()> {
    const SLOW: Duration = Duration::from_secs(6);
    let Some(site) = Site::new(|_| {}, &["api.timeout=20s"]).await? else { return Ok(()) };
    let leader = site.leader().await?;
    site.world.own("late", json!({})).await?;
    site.world.ready("late").await?;
    site.world.sandbox.inject(Fault::slow(SLOW).on(Call::Issue).once())?;
    let mark = site.world.sandbox.mark();
    site.world.own("slow", json!({})).await?;
    let called = site.world.sandbox.wait_for(GENEROUS, |sandbox| (sandbox.count(Call::Issue, mark) == 1).then_some(())).await;
    called.context("no issue came")?;
    let began = clock::now();
    site.world.cluster.kubectl(["delete", "pod", "-n", &site.world.system, &leader, "--wait=false"]).await?;

    site.another_leader(&leader).await?;
    let handed_over = Duration::try_from(clock::now().duration_since(began))?;
    // Well before the call ends, and before the lease would have run out by itself.
    ensure!(handed_over < SLOW, "it took {handed_over:?}");
    site.world.ready("slow").await?;
    // One call: what it brought was saved by the pod that was about to end.
    assert_eq!(site.world.calls(), (3, 0, 0));
    assert_eq!(site.world.suspected_lost("slow").await?, 0);
    let gone = ["wait", "--for=delete", "pod", "-n", &site.world.system, &leader, "--timeout=75s"];
    site.world.cluster.kubectl(gone).await?;
    site.ready_pods(2).await?;
    site.world.nothing_is_forgotten().await?;
    site.end().await
}
