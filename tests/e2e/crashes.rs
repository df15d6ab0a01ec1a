//! Killed before and after each request of each kind of pass: another operator goes on, nothing is done twice, and a token is lost only where
//! the ledger had said that it was about to be asked for.

use anyhow::{Result, ensure};
use kube::api::DeleteParams;
use revoiceit_harness::wait::{GENEROUS, eventually};
use revoiceit_operator::api::names;
use revoiceit_sandbox::{LineState, Rotation};
use serde_json::json;

use crate::{
    stage::{Kind, Stage, kill_at_each_request},
    world::CANARY,
};

/// A resource with a client of its own, which has its first token. No token outlives its line by more than a moment.
pub(crate) async fn supplied(stage: &Stage, name: &str) -> Result<()> {
    stage.world.own(name, json!({ "revocation": { "grace": "0s" } })).await?;
    until(stage, name, 1).await
}

/// Waits until a token of this revision, or a later one, was delivered and all is at rest.
async fn until(stage: &Stage, name: &str, revision: i64) -> Result<()> {
    eventually("the resource to be supplied", GENEROUS, async || has_revision(stage, name, revision).await).await
}

async fn has_revision(stage: &Stage, name: &str, revision: i64) -> Result<()> {
    let record = stage.is_supplied(name).await?;
    ensure!(record["live"]["revision"].as_i64() >= Some(revision), "it is of revision {}", record["live"]["revision"]);
    Ok(())
}

/// Of a new resource, or of one that was suspended from its first day.
pub(crate) struct First {
    pub(crate) is_there: bool,
}

impl Kind for First {
    const CALLS: (usize, usize) = (1, 0);

    async fn prepare(&self, stage: &Stage, name: &str) -> Result<()> {
        if self.is_there {
            stage.world.own(name, json!({ "suspend": true, "revocation": { "grace": "0s" } })).await?;
            stage.world.reason(name, "Suspended").await?;
        }
        Ok(())
    }

    async fn cause(&self, stage: &Stage, name: &str) -> Result<()> {
        if self.is_there {
            return stage.world.patch(name, &json!({ "spec": { "suspend": false } })).await.map(drop);
        }
        stage.world.own(name, json!({ "revocation": { "grace": "0s" } })).await
    }

    async fn is_done(&self, stage: &Stage, name: &str) -> Result<()> {
        has_revision(stage, name, 1).await
    }
}

#[tokio::test]
async fn at_each_request_for_a_first_token() -> Result<()> {
    let acts = kill_at_each_request(First { is_there: false }, |_| {}).await?;
    assert_eq!(acts, ["try", "ledger", "resource", "issue", "ledger", "target", "status"]);
    Ok(())
}

/// Of a Revoiceit whose refresh tokens stay, or of one that is known to answer with another one, upon which the old one ends.
pub(crate) struct Refresh {
    pub(crate) rotates: bool,
}

impl Kind for Refresh {
    const CALLS: (usize, usize) = (1, 1);

    async fn prepare(&self, stage: &Stage, name: &str) -> Result<()> {
        supplied(stage, name).await?;
        stage.age(name, self.rotates).await
    }

    async fn cause(&self, stage: &Stage, name: &str) -> Result<()> {
        stage.touch(name).await
    }

    async fn is_done(&self, stage: &Stage, name: &str) -> Result<()> {
        has_revision(stage, name, 2).await
    }
}

#[tokio::test]
async fn at_each_request_for_a_refresh() -> Result<()> {
    let acts = kill_at_each_request(Refresh { rotates: false }, |_| {}).await?;
    assert_eq!(acts, ["refresh", "ledger", "target", "status"]);
    Ok(())
}

#[tokio::test]
async fn at_each_request_for_a_refresh_that_rotates() -> Result<()> {
    let acts = kill_at_each_request(Refresh { rotates: true }, |switches| switches.rotation = Rotation::OldDies).await?;
    assert_eq!(acts, ["ledger", "refresh", "ledger", "target", "ledger", "status", "revoke", "ledger", "status"]);
    Ok(())
}

/// Another pair in the credentials: another line, after which the old one is revoked.
pub(crate) struct OtherCredentials;

impl Kind for OtherCredentials {
    const CALLS: (usize, usize) = (2, 0);

    async fn prepare(&self, stage: &Stage, name: &str) -> Result<()> {
        supplied(stage, name).await
    }

    async fn cause(&self, stage: &Stage, name: &str) -> Result<()> {
        let (id, secret) = (stage.successor_of(name), format!("{CANARY}-{name}-successor"));
        stage.world.sandbox.add_client(&id, &secret);
        let pair = json!({ "stringData": { "clientId": id, "clientSecret": secret } });
        stage.world.patch_secret(name, &pair).await.map(drop)
    }

    async fn is_done(&self, stage: &Stage, name: &str) -> Result<()> {
        has_revision(stage, name, 2).await?;
        let token = stage.world.own_token(name).await?;
        let truth = stage.world.sandbox.truth();
        ensure!(truth.owner_of(&token) == Some(&stage.successor_of(name)), "it is for the old pair");
        let of_old = truth.lines_of(&stage.world.client_of(name)).filter(|line| line.state() == LineState::Live).count();
        ensure!(of_old == 0, "the old line lives");
        Ok(())
    }
}

#[tokio::test]
async fn at_each_request_for_other_credentials() -> Result<()> {
    let acts = kill_at_each_request(OtherCredentials, |_| {}).await?;
    assert_eq!(acts, ["try", "ledger", "issue", "ledger", "target", "ledger", "status", "revoke", "ledger", "status"]);
    Ok(())
}

pub(crate) struct Rename;

impl Kind for Rename {
    const CALLS: (usize, usize) = (1, 0);

    async fn prepare(&self, stage: &Stage, name: &str) -> Result<()> {
        supplied(stage, name).await
    }

    async fn cause(&self, stage: &Stage, name: &str) -> Result<()> {
        stage.world.patch(name, &json!({ "spec": { "target": { "name": format!("{name}-renamed") } } })).await.map(drop)
    }

    async fn is_done(&self, stage: &Stage, name: &str) -> Result<()> {
        has_revision(stage, name, 1).await?;
        ensure!(stage.world.secrets().get_opt(&format!("{name}-token")).await?.is_none(), "the old target is there");
        stage.world.secrets().get(&format!("{name}-renamed")).await?;
        Ok(())
    }
}

#[tokio::test]
async fn at_each_request_for_another_name_of_the_target() -> Result<()> {
    let acts = kill_at_each_request(Rename, |_| {}).await?;
    assert_eq!(acts, ["ledger", "target", "delete target", "ledger", "status", "ledger"]);
    Ok(())
}

/// Somebody edits the target, or deletes it.
pub(crate) struct Repair {
    pub(crate) deleted: bool,
}

impl Kind for Repair {
    const CALLS: (usize, usize) = (1, 0);

    async fn prepare(&self, stage: &Stage, name: &str) -> Result<()> {
        supplied(stage, name).await
    }

    async fn cause(&self, stage: &Stage, name: &str) -> Result<()> {
        let target = format!("{name}-token");
        if self.deleted {
            stage.world.secrets().delete(&target, &DeleteParams::default()).await?;
        } else {
            stage.world.patch_secret(&target, &json!({ "stringData": { "accessToken": "theirs" } })).await?;
        }
        Ok(())
    }

    async fn is_done(&self, stage: &Stage, name: &str) -> Result<()> {
        has_revision(stage, name, 1).await
    }
}

#[tokio::test]
async fn at_each_request_for_the_repair_of_an_edited_target() -> Result<()> {
    let acts = kill_at_each_request(Repair { deleted: false }, |_| {}).await?;
    assert_eq!(acts, ["target"]);
    Ok(())
}

#[tokio::test]
async fn at_each_request_for_the_repair_of_a_deleted_target() -> Result<()> {
    let acts = kill_at_each_request(Repair { deleted: true }, |_| {}).await?;
    assert_eq!(acts, ["target"]);
    Ok(())
}

/// Somebody writes another token into the target and makes it immutable, so that another Secret has to take its place.
struct Immutable;

impl Kind for Immutable {
    const CALLS: (usize, usize) = (1, 0);

    async fn prepare(&self, stage: &Stage, name: &str) -> Result<()> {
        supplied(stage, name).await
    }

    async fn cause(&self, stage: &Stage, name: &str) -> Result<()> {
        let fixed = json!({ "immutable": true, "stringData": { "accessToken": "theirs" } });
        stage.world.patch_secret(&format!("{name}-token"), &fixed).await.map(drop)
    }

    async fn is_done(&self, stage: &Stage, name: &str) -> Result<()> {
        let target = stage.world.secrets().get(&format!("{name}-token")).await?;
        ensure!(target.immutable.is_none(), "it is immutable");
        has_revision(stage, name, 1).await
    }
}

#[tokio::test]
async fn at_each_request_for_an_immutable_target() -> Result<()> {
    let acts = kill_at_each_request(Immutable, |_| {}).await?;
    assert_eq!(acts, ["delete target", "target"]);
    Ok(())
}

/// A Secret of somebody else's is in the place of the target, and its owner consents to its being replaced.
struct Adoption;

impl Kind for Adoption {
    const CALLS: (usize, usize) = (1, 0);

    async fn prepare(&self, stage: &Stage, name: &str) -> Result<()> {
        stage.world.foreign_secret(&format!("{name}-token")).await?;
        stage.world.own(name, json!({ "revocation": { "grace": "0s" } })).await?;
        stage.world.reason(name, "TargetConflict").await.map(drop)
    }

    async fn cause(&self, stage: &Stage, name: &str) -> Result<()> {
        let consent = json!({ "metadata": { "annotations": { names::ADOPT_ANNOTATION: name } } });
        stage.world.patch_secret(&format!("{name}-token"), &consent).await.map(drop)
    }

    async fn is_done(&self, stage: &Stage, name: &str) -> Result<()> {
        let keys: Vec<String> = stage.world.secrets().get(&format!("{name}-token")).await?.data.unwrap_or_default().into_keys().collect();
        ensure!(keys == ["accessToken"], "it holds {keys:?}");
        has_revision(stage, name, 1).await
    }
}

#[tokio::test]
async fn at_each_request_for_the_adoption_of_a_foreign_secret() -> Result<()> {
    let acts = kill_at_each_request(Adoption, |_| {}).await?;
    assert_eq!(acts, ["try", "ledger", "resource", "issue", "ledger", "target", "status"]);
    Ok(())
}

/// A resource with a line in use and one on its way out.
async fn with_two_lines(stage: &Stage, name: &str) -> Result<()> {
    stage.world.own(name, json!({ "revocation": { "grace": "1h" } })).await?;
    until(stage, name, 1).await?;
    let request = json!({ "metadata": { "annotations": { names::ROTATE_ANNOTATION: "now" } } });
    stage.world.patch(name, &request).await?;
    eventually("two lines, the first on its way out", GENEROUS, async || {
        let status = stage.world.get(name).await?.status.unwrap_or_default();
        ensure!((status.revision, status.pending_revocations) == (Some(2), Some(1)), "{:?}", status.revision);
        anyhow::Ok(())
    })
    .await
}

pub(crate) struct Deletion;

impl Kind for Deletion {
    const CALLS: (usize, usize) = (2, 0);

    async fn prepare(&self, stage: &Stage, name: &str) -> Result<()> {
        with_two_lines(stage, name).await
    }

    async fn cause(&self, stage: &Stage, name: &str) -> Result<()> {
        stage.world.resources().delete(name, &DeleteParams::default()).await?;
        Ok(())
    }

    async fn is_done(&self, stage: &Stage, name: &str) -> Result<()> {
        stage.is_gone(name).await
    }
}

#[tokio::test]
async fn at_each_request_for_a_deletion() -> Result<()> {
    let acts = kill_at_each_request(Deletion, |_| {}).await?;
    assert_eq!(acts, ["delete target", "revoke", "ledger", "status", "revoke", "ledger", "resource", "delete ledger"]);
    Ok(())
}

/// While no operator runs: a resource goes, its finalizer taken off by force, and its target with it.
pub(crate) async fn vanishes(stage: &Stage, name: &str) -> Result<()> {
    stage.world.patch(name, &json!({ "metadata": { "finalizers": null } })).await?;
    stage.world.resources().delete(name, &DeleteParams::default()).await?;
    let target = format!("{name}-token");
    eventually("the collector to have taken the target", GENEROUS, async || {
        ensure!(stage.world.secrets().get_opt(&target).await?.is_none(), "it is there");
        anyhow::Ok(())
    })
    .await
}

/// A resource that went while no operator ran. How many looks prove its absence is a matter of time: reads and all else are counted apart, so that
/// each has one number in every run.
pub(crate) struct Gone<const READS: bool>;

impl<const READS: bool> Kind for Gone<READS> {
    const CALLS: (usize, usize) = (1, 0);
    const COUNTED: fn(&str) -> bool = if READS { |method| method == "GET" } else { |method| method != "GET" };

    async fn prepare(&self, stage: &Stage, name: &str) -> Result<()> {
        supplied(stage, name).await?;
        stage.kill();
        vanishes(stage, name).await
    }

    async fn cause(&self, stage: &Stage, _: &str) -> Result<()> {
        stage.start().await
    }

    async fn is_done(&self, stage: &Stage, name: &str) -> Result<()> {
        stage.is_gone(name).await
    }
}

#[tokio::test]
async fn at_each_act_for_a_resource_that_is_gone() -> Result<()> {
    let acts = kill_at_each_request(Gone::<false>, |_| {}).await?;
    assert_eq!(acts, ["revoke", "ledger", "delete ledger"]);
    Ok(())
}

#[tokio::test]
async fn at_each_read_for_a_resource_that_is_gone() -> Result<()> {
    let acts = kill_at_each_request(Gone::<true>, |_| {}).await?;
    ensure!(acts.is_empty(), "{acts:?}");
    Ok(())
}
