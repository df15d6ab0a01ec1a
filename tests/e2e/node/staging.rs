//! Staging as docs/staging.md has it: the sandbox in the cluster, and outages that an edit of its ConfigMap begins and ends.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use revoiceit_harness::{
    cluster, node,
    process::Process,
    wait::{GENEROUS, eventually},
};
use revoiceit_operator::{api::names, runtime::clock};
use revoiceit_sandbox::{Admin, Effect, LineState};
use serde_json::json;
use tokio::sync::MutexGuard;

use super::site::{PATIENT, STAGE, Site};
use crate::world::{conditions, ready_reason};

const SANDBOX: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/sandbox");
/// The sandbox's namespace, and the name of all that is in it.
const NAME: &str = "revoiceit-sandbox";
const IN_FORCE: &str = "the faults of the file are in force";
const API: &str = "api.url=http://revoiceit-sandbox.revoiceit-sandbox.svc:8080";

/// Its pod in the cluster, and a way to its admin port.
struct Staging {
    site: Site,
    admin: Admin,
    _forwards: Process,
    _alone: MutexGuard<'static, ()>,
}

impl Staging {
    async fn new() -> Result<Option<Self>> {
        let Some(site) = Site::empty(|_| {}).await? else { return Ok(None) };
        let alone = STAGE.lock().await;
        let cluster = site.world.cluster;
        site.node.import(&tokio::task::spawn_blocking(node::sandbox).await??).await?;
        // Warnings are what a Pod Security too weak would bring.
        cluster.kubectl(["apply", "--warnings-as-errors", "-k", SANDBOX]).await?;
        cluster.kubectl(["rollout", "status", "-n", NAME, "deployment/revoiceit-sandbox", "--timeout=120s"]).await?;
        site.node.serve_name(NAME, NAME).await?;

        let mut forward = Command::new(cluster::binary()?);
        forward.arg("kubectl").arg("--kubeconfig").arg(cluster.admin_kubeconfig());
        forward.args(["port-forward", "-n", NAME, "deployment/revoiceit-sandbox", ":8081"]);
        let forwards = Process::spawn("port-forward", &mut forward, &site.world.scratch)?;
        let address = eventually("the admin port to be forwarded", GENEROUS, async || {
            ensure!(forwards.is_running(), "it ended{}", forwards.tail());
            let said = forwards.stdout()?;
            let address = said.strip_prefix("Forwarding from ").and_then(|rest| rest.split(" -> ").next()).context("not yet")?;
            Ok(address.parse()?)
        })
        .await?;
        Ok(Some(Self { site, admin: Admin::new(address), _forwards: forwards, _alone: alone }))
    }

    /// Edits the ConfigMap, and waits until the sandbox's log has this of it, once more than before.
    async fn edit(&self, faults: &str, said: &str) -> Result<()> {
        let before = self.log().await?.matches(said).count();
        let patch = json!({ "data": { "faults.yaml": faults } }).to_string();
        let cluster = self.site.world.cluster;
        cluster.kubectl(["patch", "configmap", NAME, "-n", NAME, "--type=merge", "-p", &patch]).await?;
        // Else the kubelet takes up to a minute and a half.
        let now = format!("edited={}", clock::now().as_millisecond());
        cluster.kubectl(["annotate", "pod", "-n", NAME, "--all", "--overwrite", &now]).await?;
        eventually("the sandbox to see the edit", PATIENT, async || {
            let log = self.log().await?;
            ensure!(log.matches(said).count() > before, "{log}");
            anyhow::Ok(())
        })
        .await
    }

    async fn log(&self) -> Result<String> {
        self.site.world.cluster.kubectl(["logs", "-n", NAME, "deployment/revoiceit-sandbox"]).await
    }

    /// Waits for a reason, for longer than the pause between two attempts is. Whether pods have a valid token is said with it.
    async fn says(&self, reason: &str, expected: &[&str]) -> Result<()> {
        eventually(&format!("the status to say {reason}"), PATIENT, async || {
            let resource = self.site.world.get("speech").await?;
            let said = ready_reason(&resource);
            ensure!(said == Some(reason), "it says {said:?}");
            let conditions = conditions(&resource);
            ensure!(conditions == expected, "it says {conditions:?}");
            anyhow::Ok(())
        })
        .await
    }
}

#[tokio::test]
async fn an_edit_of_the_sandboxs_configmap_begins_an_outage_and_another_one_ends_it() -> Result<()> {
    let Some(staging) = Staging::new().await? else { return Ok(()) };
    let world = &staging.site.world;
    // After a failure it is tried again when a quarter of what is left of the token has passed.
    staging.site.install(&[API, "api.tokenLifetime=3m"]).await?;
    world.pair("client", "demo-client", "demo-secret").await?;
    world.speech(json!({})).await?;
    world.ready("speech").await?;
    let first = world.token("token").await?;

    staging.edit("- kind: {status: {code: 503}}", IN_FORCE).await?;
    assert_eq!(staging.admin.faults().await?.len(), 1);
    let request = json!({ "metadata": { "annotations": { names::ROTATE_ANNOTATION: "1" } } });
    world.patch("speech", &request).await?;
    // Pods keep the token that they have.
    staging.says("RevoiceitUnavailable", &["Ready=True"]).await?;
    assert_eq!(world.token("token").await?, first);

    staging.edit("- kind: away", "the file of faults cannot be used").await?;
    assert_eq!(staging.admin.faults().await?.len(), 1, "a slip changes nothing");

    staging.edit("[]", IN_FORCE).await?;
    staging.says("TokenReady", &["Ready=True"]).await?;
    let events = world.kubectl(&["get", "events", "-o", "jsonpath={.items[*].reason}"]).await?;
    ensure!(events.contains("RevoiceitUnavailable") && events.contains("TokenReady"), "{events}");

    // One token was asked for, and one in its place; what failed has made none.
    let truth = staging.admin.truth().await?;
    assert_eq!(truth.lines.len(), 2);
    let calls = staging.admin.calls(0).await?;
    ensure!(calls.iter().any(|call| call.status == Some(503)), "{calls:?}");
    ensure!(calls.iter().all(|call| call.status != Some(503) || call.effect.is_none()), "{calls:?}");
    assert_eq!(world.suspected_lost("speech").await?, 0);

    world.kubectl(&["delete", "rvc", "speech"]).await?;
    let truth = staging.admin.truth().await?;
    ensure!(truth.lines.iter().all(|line| line.state() == LineState::Revoked), "{truth:?}");
    let revoked = staging.admin.calls(0).await?.iter().filter(|call| call.effect == Some(Effect::Revoked)).count();
    assert_eq!(revoked, 2);
    let log = staging.log().await?;
    ensure!(!log.contains("demo-secret") && !log.contains(&first), "a secret is in the sandbox's log");
    staging.site.end().await
}
