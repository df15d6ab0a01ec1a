//! What becomes of tokens when pods of the operator come and go.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kube::ResourceExt;
use revoiceit_harness::wait::{GENEROUS, eventually};
use revoiceit_operator::{api::names, runtime::clock};
use revoiceit_sandbox::{Call, Fault};
use serde_json::json;

use super::site::{PATIENT, Site, container, is_ready};
use crate::{
    scope::{another, roles_in},
    world::World,
};

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

/// They are not ready, so those that are at work stay.
#[tokio::test]
async fn a_rolling_update_to_pods_that_lack_a_right_waits_until_they_have_it() -> Result<()> {
    let Some(site) = Site::new(|_| {}, &[]).await? else { return Ok(()) };
    let world = &site.world;
    let (before, old) = (tokens(world).await?, site.ready_pods(2).await?);
    let old: Vec<String> = old.iter().map(ResourceExt::name_any).collect();
    let other = another(world, "other").await?;
    world.without(&["watch revoiceitcredentials.revoiceit.com", "list revoiceitcredentials.revoiceit.com", "list secrets"]);
    let deployment = format!("deployment/{}", names::OPERATOR);
    let scope = format!("REVOICEIT_NAMESPACE={},{other}", world.tenant);
    world.cluster.kubectl(["set", "env", "-n", &world.system, &deployment, &scope]).await?;

    let new = eventually("a new pod to say that it is not ready", PATIENT, async || {
        let new = site.pods().await?.into_iter().map(|pod| pod.name_any()).find(|name| !old.contains(name)).context("no new pod")?;
        let of = format!("involvedObject.name={new},reason=Unhealthy");
        let events = ["get", "events", "-n", &world.system, "--field-selector", &of, "-o", "jsonpath={.items[*].message}"];
        let told = world.cluster.kubectl(events).await?;
        ensure!(told.contains("Readiness probe failed: HTTP probe failed with statuscode: 503"), "{told:?}");
        anyhow::Ok(new)
    })
    .await?;
    let pods = site.pods().await?;
    let ready: Vec<String> = pods.iter().filter(|pod| is_ready(pod)).map(ResourceExt::name_any).collect();
    ensure!(pods.len() == 3 && ready.len() == 2 && ready.iter().all(|name| old.contains(name)), "ready are {ready:?}, new is {new}");
    ensure!(old.contains(&site.leader().await?), "a pod leads that is not ready");
    assert_eq!(tokens(world).await?, before);

    roles_in(world, &[&other]).await?;
    world.cluster.kubectl(["rollout", "status", "-n", &world.system, &deployment, "--timeout=120s"]).await?;
    assert_eq!(tokens(world).await?, before);
    site.end().await
}

#[tokio::test]
async fn a_container_that_is_killed_is_started_again_while_another_pod_leads() -> Result<()> {
    let Some(site) = Site::new(|_| {}, &["leaderElection.leaseDuration=5s"]).await? else { return Ok(()) };
    let (before, leader) = (tokens(&site.world).await?, site.leader().await?);
    site.node.kill_container(&container(&site, &leader).await?.0).await?;
    site.another_leader(&leader).await?;
    is_restarted(&site, &leader, "Error", PATIENT).await?;
    assert_eq!(tokens(&site.world).await?, before);
    site.end().await
}

/// It answers no probe, and hears no SIGTERM.
#[tokio::test]
async fn an_operator_that_stands_still_is_ended_by_its_liveness_probe_while_another_pod_leads() -> Result<()> {
    // Six probes, ten seconds apart, and the grace period until the kubelet sends SIGKILL.
    const ENDED: Duration = Duration::from_secs(60 + 75);
    let Some(site) = Site::new(|_| {}, &["leaderElection.leaseDuration=5s"]).await? else { return Ok(()) };
    let (before, frozen) = (tokens(&site.world).await?, site.leader().await?);
    site.node.freeze_container(&container(&site, &frozen).await?.0).await?;
    let leader = site.another_leader(&frozen).await?;
    assert_eq!(tokens(&site.world).await?, before);
    // The other one works meanwhile.
    site.world.kubectl(&["delete", "secret", "token"]).await?;
    site.world.kubectl(&["wait", "--for=create", "--timeout=60s", "secret/token"]).await?;
    ensure!(container(&site, &frozen).await?.1 == 0, "it was started again by then");
    let restored = tokens(&site.world).await?;
    assert_eq!((&restored.0, restored.2), (&before.0, before.2));

    is_restarted(&site, &frozen, "Error", ENDED + PATIENT).await?;
    let of = format!("involvedObject.name={frozen},reason=Killing");
    let events = ["get", "events", "-n", &site.world.system, "--field-selector", &of, "-o", "jsonpath={.items[*].message}"];
    let told = site.world.cluster.kubectl(events).await?;
    ensure!(told.contains("failed liveness probe"), "it was ended for another reason: {told:?}");
    assert_eq!((site.leader().await?, tokens(&site.world).await?), (leader, restored));
    site.end().await
}

/// Waits until the pod's container was started again, for this reason, and all pods are ready.
async fn is_restarted(site: &Site, pod: &str, reason: &str, limit: Duration) -> Result<()> {
    eventually(&format!("the container of {pod} to be started again"), limit, async || {
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
    is_restarted(&site, &leader, "OOMKilled", PATIENT).await?;
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
