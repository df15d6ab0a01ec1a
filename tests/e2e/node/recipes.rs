//! The manifests of `docs/consume.md`, in pods.

use std::path::Path;

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::{Api, api::ListParams};
use revoiceit_harness::{
    pages::{self, Block},
    wait::eventually,
};
use revoiceit_operator::{api::names, runtime::clock};
use serde_json::{Value, json};

use super::site::{PATIENT, Site};
use crate::pages::ROOT;

/// The image of the page, and the one that the node has.
const IMAGE: (&str, &str) = ("busybox:1.37", "localhost/busybox:test");

impl Site {
    /// The log of a container, of this run of it.
    async fn log(&self, pod: &str, container: &str) -> Result<String> {
        self.world.kubectl(&["logs", pod, "-c", container]).await
    }

    /// Waits until the log of a container holds this.
    async fn logs(&self, pod: &str, container: &str, wanted: &str) -> Result<()> {
        eventually(&format!("{pod}/{container} to say {wanted}"), PATIENT, async || {
            let log = self.log(pod, container).await?;
            ensure!(log.contains(wanted), "it says {log}");
            anyhow::Ok(())
        })
        .await
    }

    /// Has the kubelet look at the pods now, in place of within a minute and a half. How long that takes is another test's.
    async fn nudge(&self) -> Result<()> {
        let now = format!("nudged={}", clock::now().as_millisecond());
        self.world.kubectl(&["annotate", "pods", "--all", "--overwrite", &now]).await.map(drop)
    }

    async fn restarts(&self, pod: &str) -> Result<i32> {
        let pods: Api<Pod> = Api::namespaced(self.world.client.clone(), &self.world.tenant);
        let statuses = pods.get(pod).await?.status.and_then(|status| status.container_statuses).unwrap_or_default();
        Ok(statuses.iter().map(|container| container.restart_count).sum())
    }

    /// How often the kubelet has told that it could not mount something in a pod.
    async fn missed(&self, pod: &str) -> Result<i32> {
        let events: Api<Event> = Api::namespaced(self.world.client.clone(), &self.world.tenant);
        let told = events.list(&ListParams::default().fields(&format!("reason=FailedMount,involvedObject.name={pod}"))).await?;
        Ok(told.items.iter().filter_map(|event| event.count).sum())
    }
}

#[tokio::test]
async fn the_recipes_do_what_the_page_says() -> Result<()> {
    // With no resource of another name: were the page's an edit of one that has a token, its target would have that one first, and programs
    // that started with it would be started anew once more.
    let Some(site) = Site::empty(|_| {}).await? else { return Ok(()) };
    site.install(&[]).await?;
    let world = &site.world;
    let page = pages::read(Path::new(ROOT), Path::new("docs/consume.md"))?;
    let manifests: Vec<String> = page.blocks.iter().flat_map(Block::manifests).collect();
    let (resources, pods): (Vec<&String>, Vec<&String>) =
        manifests.iter().partition(|manifest| manifest.contains("kind: RevoiceitCredential"));
    ensure!((resources.len(), pods.len()) == (1, 4), "{} resources, {} pods", resources.len(), pods.len());
    world.kubectl(&["wait", "--for=create", "serviceaccount/default", "--timeout=60s"]).await?;
    let apply = ["-n", &world.tenant, "apply", "--warnings-as-errors", "-f", "-"];
    for pod in pods {
        ensure!(pod.contains(IMAGE.0), "a pod of another image");
        world.cluster.kubectl_stdin(apply, &pod.replace(IMAGE.0, IMAGE.1)).await?;
    }

    // Only the one that says that it can start without its Secret has begun.
    site.logs("waits", "wait-for-token", "no token yet").await?;
    let phases = world.kubectl(&["get", "pods", "-o", "jsonpath={.items[*].status.phase}"]).await?;
    assert_eq!(phases, "Pending Pending Pending Pending");
    world.credentials("revoiceit-client").await?;
    world.cluster.kubectl_stdin(apply, resources[0]).await?;
    let ready = ["wait", "--for=condition=Ready", "--timeout=120s"];
    world.kubectl(&[&ready[..], &["pod/reader", "pod/told", "pod/anew"]].concat()).await?;
    world.resource("late", "revoiceit-client", "late-token", json!({})).await?;
    world.ready("late").await?;
    site.nudge().await?;
    world.kubectl(&[&ready[..], &["pod/waits"]].concat()).await?;

    let token = world.token("speech-token").await?;
    assert_eq!(world.value("speech-token", "header").await?, format!("Authorization: Bearer {token}"));
    assert_eq!(world.value("speech-token", "token.env").await?, format!("REVOICEIT_TOKEN={token}\n"));
    let expires_at = world.value("speech-token", "expiresAt").await?;
    let all: Value = serde_json::from_str(&world.value("speech-token", "token.json").await?)?;
    assert_eq!(all, json!({ "accessToken": token, "expiresAt": expires_at }));
    // By a user that is not root, through its group.
    site.logs("reader", "speech", &token.len().to_string()).await?;
    site.logs("reader", "second", &expires_at).await?;
    assert_eq!(site.restarts("told").await?, 0);

    let request = json!({ "metadata": { "annotations": { names::ROTATE_ANNOTATION: "now" } } });
    world.patch("speech", &request).await?;
    world.another_token("speech-token", &token).await?;
    eventually("the sidecar to have the program started anew", PATIENT, async || {
        site.nudge().await?;
        ensure!(site.restarts("told").await? > 0, "it was not");
        anyhow::Ok(())
    })
    .await?;
    eventually("the shell to have started the program anew", PATIENT, async || {
        let log = site.log("anew", "speech").await?;
        ensure!(log.matches("started with a token").count() == 2, "{log}; calls: {:?}", world.sandbox.calls(0));
        anyhow::Ok(())
    })
    .await?;
    let issues = world.sandbox.calls(0).iter().filter(|call| call.client == Some(world.client_of("revoiceit-client"))).count();
    assert_eq!(issues, 3, "one of each resource, and one that was asked for");
    assert_eq!(site.restarts("anew").await?, 0);

    // A program that ends by itself takes its container along.
    let ended =
        "for process in /proc/[0-9]*; do [ \"$(tr '\\0' ' ' <$process/cmdline)\" != 'sleep 1000000 ' ] || kill \"${process#/proc/}\"; done";
    world.kubectl(&["exec", "anew", "--", "sh", "-c", ended]).await?;
    eventually("the container to be started anew", PATIENT, async || {
        ensure!(site.restarts("anew").await? == 1, "it was not");
        anyhow::Ok(())
    })
    .await?;

    // A pod that runs keeps what it has when the Secret is gone.
    let held = world.token("speech-token").await?;
    let read = ["exec", "reader", "-c", "speech", "--", "cat", "/etc/revoiceit/accessToken"];
    eventually("the pod to have the new token", PATIENT, async || {
        ensure!(world.kubectl(&read).await? == held, "it has the old one");
        anyhow::Ok(())
    })
    .await?;
    let missed = site.missed("reader").await?;
    world.kubectl(&["delete", "rvc/speech", "--timeout=60s"]).await?;
    eventually("the kubelet to miss the Secret", PATIENT, async || {
        site.nudge().await?;
        ensure!(site.missed("reader").await? > missed, "it has not looked yet");
        anyhow::Ok(())
    })
    .await?;
    assert_eq!(world.kubectl(&read).await?, held);
    site.end().await
}
