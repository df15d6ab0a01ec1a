//! A resource that another takes the place of: deleted and created again, or restored from a backup. The new one has a line of its own, and the
//! old one's is revoked.

use anyhow::{Context, Result, ensure};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use revoiceit_harness::wait::{GENEROUS, eventually};
use revoiceit_operator::api::names;
use revoiceit_sandbox::{Call, Fault, Line, LineState};
use serde_json::{Value, json};

use crate::{
    deletion::{impatient, with_token},
    world::World,
};

#[tokio::test]
async fn deleted_and_created_again_at_once_while_revoking_fails() -> Result<()> {
    let world = World::new().await?;
    let operator = with_token(&world, json!({ "revocation": { "deadline": "0s" } })).await?;
    let away = world.sandbox.inject(Fault::status(503).on(Call::Revoke))?;
    let old = world.token("token").await?;
    world.kubectl(&["delete", "rvc", "speech", "--timeout=60s"]).await?;
    world.speech(json!({})).await?;
    world.ready("speech").await?;
    let new = world.token("token").await?;
    ensure!(new != old && world.ledgers().await?.len() == 2, "the old token, or the old ledger is gone");

    world.sandbox.heal(away);
    old_line_ended(&world).await?;
    ensure!(world.token("token").await? == new, "the target was touched for the old one's sake");
    assert_eq!(world.sandbox.count(Call::Issue, 0), 2);
    world.no_secret_is_told(&[&operator]).await
}

/// Waits until the old line is revoked and its ledger gone: the new one's are all there is, and nothing is thought lost.
async fn old_line_ended(world: &World) -> Result<()> {
    let own = names::ledger_name(&world.get("speech").await?.uid().context("no UID")?);
    eventually("the new ledger to be the only one", GENEROUS, async || {
        let ledgers = world.ledgers().await?;
        ensure!(ledgers == [own.as_str()], "there are {ledgers:?}");
        anyhow::Ok(())
    })
    .await?;
    world.ready("speech").await?;
    let truth = world.sandbox.truth();
    let states: Vec<LineState> = truth.lines.iter().map(Line::state).collect();
    assert_eq!(states, [LineState::Revoked, LineState::Live]);
    let token = world.token("token").await?;
    assert_eq!(truth.access(&token).map(|(line, _)| line.number), Some(2), "whose token it is");
    assert_eq!(world.suspected_lost("speech").await?, 0);
    world.nothing_is_forgotten().await
}

#[tokio::test]
async fn forced_out_and_created_again_while_no_operator_runs() -> Result<()> {
    let world = World::new().await?;
    let first = with_token(&world, json!({})).await?;
    first.stop().await?;
    force_out(&world).await?;
    world.speech(json!({})).await?;
    let second = world.operator(&["--policy-for-tests", &world.policy(&impatient())?]).await?;
    old_line_ended(&world).await?;
    assert_eq!(world.sandbox.count(Call::Issue, 0), 2);
    world.no_secret_is_told(&[&second]).await
}

/// Takes the finalizer off by force and deletes the resource.
async fn force_out(world: &World) -> Result<()> {
    world.patch("speech", &json!({ "metadata": { "finalizers": null } })).await?;
    world.kubectl(&["delete", "rvc", "speech", "--timeout=60s"]).await.map(drop)
}

/// What a backup tool keeps of a resource and its target: no status, no UID, no owner; but finalizers and annotations, as they were.
struct Backup {
    resource: Value,
    target: Value,
}

impl Backup {
    async fn of(world: &World, name: &str, target: &str) -> Result<Self> {
        let kept = async |what: &str, name: &str| -> Result<Value> {
            let mut object: Value = serde_json::from_str(&world.kubectl(&["get", what, name, "-o", "json"]).await?)?;
            let metadata = object["metadata"].as_object_mut().context("no metadata")?;
            metadata.retain(|key, _| matches!(key.as_str(), "name" | "namespace" | "labels" | "annotations" | "finalizers"));
            if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
                annotations.retain(|key, _| !key.starts_with("kubectl"));
            }
            if let Some(object) = object.as_object_mut() {
                object.remove("status");
            }
            Ok(object)
        };
        Ok(Self { resource: kept("rvc", name).await?, target: kept("secret", target).await? })
    }

    /// Secrets come first.
    async fn restore(&self, world: &World) -> Result<()> {
        world.apply(&self.target).await?;
        world.apply(&self.resource).await
    }

    /// A tool that leaves out what operators put on the resource.
    fn without_claim(mut self) -> Self {
        if let Some(metadata) = self.resource["metadata"].as_object_mut() {
            metadata.remove("finalizers");
            metadata.remove("annotations");
        }
        self
    }
}

#[tokio::test]
async fn restored_beside_the_old_ledger_pods_keep_a_token_until_there_is_a_new_one() -> Result<()> {
    let world = World::new().await?;
    let first = with_token(&world, json!({})).await?;
    let backup = Backup::of(&world, "speech", "token").await?;
    first.stop().await?;
    force_out(&world).await?;
    world.kubectl(&["wait", "--for=delete", "secret/token", "--timeout=60s"]).await?;
    backup.restore(&world).await?;
    let mark = world.cluster.audit_mark().await?;
    let second = world.operator(&["--policy-for-tests", &world.policy(&impatient())?]).await?;
    old_line_ended(&world).await?;

    assert_eq!(world.sandbox.count(Call::Issue, 0), 2);
    let written = world.written_since(mark).await?;
    let of_target: Vec<_> = written.iter().filter(|event| event.namespace == world.tenant && event.name == "token").collect();
    assert_eq!(of_target.iter().map(|event| event.verb.as_str()).collect::<Vec<_>>(), ["update"]);
    let revoked_at = world.sandbox.calls(0).into_iter().find(|call| call.call == Call::Revoke).context("no revocation")?.started_at.0;
    let revoked_at = Timestamp::from_millisecond(i64::try_from(revoked_at)?)?;
    ensure!(of_target[0].time <= revoked_at, "revoked at {revoked_at}, before the new token was written");
    assert_eq!(world.secrets().get("token").await?.owner_references().len(), 1);
    world.no_secret_is_told(&[&second]).await
}

#[tokio::test]
async fn restored_by_a_backup_tool_with_and_without_the_old_claim_it_converges_by_itself() -> Result<()> {
    let world = World::new().await?;
    let operator = world.operator(&["--policy-for-tests", &world.policy(&impatient())?]).await?;
    for name in ["claimed", "plain"] {
        world.own(name, json!({})).await?;
    }
    let mut backups = Vec::new();
    for name in ["claimed", "plain"] {
        world.ready(name).await?;
        let target = format!("{name}-token");
        backups.push((Backup::of(&world, name, &target).await?, world.token(&target).await?));
    }
    world.kubectl(&["delete", "rvc", "--all", "--timeout=60s"]).await?;
    world.gone("claimed", "claimed-token").await?;
    ensure!(backups[0].0.resource["metadata"]["finalizers"] == json!([names::FINALIZER]), "the backup has no finalizer");

    let (plain, claimed) = (backups.pop().context("two")?, backups.pop().context("two")?);
    claimed.0.restore(&world).await?;
    plain.0.without_claim().restore(&world).await?;
    for (name, old) in [("claimed", &claimed.1), ("plain", &plain.1)] {
        let new = world.another_token(&format!("{name}-token"), old).await?;
        world.ready(name).await?;
        assert_eq!(world.sandbox.truth().owner_of(&new), Some(world.client_of(name).as_str()));
        assert_eq!(world.suspected_lost(name).await?, 0);
        let resource = world.get(name).await?;
        let claim = format!("{}/{}", world.system, resource.uid().context("a UID")?);
        assert_eq!((resource.finalizers(), &resource.annotations()[names::CLAIM_ANNOTATION]), (&[names::FINALIZER.to_owned()][..], &claim));
        let target = world.secrets().get(&format!("{name}-token")).await?;
        assert_eq!(target.owner_references().iter().map(|owner| Some(owner.uid.clone())).collect::<Vec<_>>(), [resource.uid()]);
    }
    world.at_rest().await?;
    assert_eq!(world.calls(), (4, 0, 2));
    world.nothing_is_forgotten().await?;
    world.no_secret_is_told(&[&operator]).await
}
