//! The operator is taken away, in the ways in which people do it.

use anyhow::{Context, Result, ensure};
use kube::ResourceExt;
use revoiceit_harness::wait::{GENEROUS, eventually};
use revoiceit_operator::api::names;
use revoiceit_sandbox::{Fault, LineState};
use serde_json::json;

use super::site::{PATIENT, Site};
use crate::drain::all_is_taken_away;

#[tokio::test]
async fn an_uninstall_revokes_all_and_says_so_and_a_reinstall_begins_anew() -> Result<()> {
    let Some(site) = Site::new(|_| {}, &[]).await? else { return Ok(()) };
    site.world.own("second", json!({})).await?;
    site.world.ready("second").await?;
    site.reader().await?;

    let said = site.uninstall().await?;
    ensure!(said.contains("Scaled the Deployment") && said.contains("down from 2 to 0."), "{said}");
    ensure!(said.contains("Revoked 2 refresh tokens, deleted 2 target Secrets, released 2 resources.\n"), "{said}");
    ensure!(said.contains("Nothing is left."), "{said}");
    // With the resources that says that the CRD is there.
    all_is_taken_away(&site.world, 2).await?;
    let left = ["get", "deployment,job,pod,service,serviceaccount,role,rolebinding", "-n", &site.world.system, "-l", LABEL, "-o", "name"];
    eventually("nothing of the release to be left", PATIENT, async || {
        let left = site.world.cluster.kubectl(left).await?;
        ensure!(left.is_empty(), "{left}");
        anyhow::Ok(())
    })
    .await?;

    site.install(&[]).await?;
    for name in ["speech", "second"] {
        is_served_anew(&site, name).await?;
    }
    assert_eq!(site.world.calls(), (4, 0, 2));
    site.world.nothing_is_forgotten().await?;
    site.end().await
}

const LABEL: &str = "app.kubernetes.io/instance=revoiceit-operator";

/// The Ready condition is that of the operator that runs now.
async fn is_served_anew(site: &Site, name: &str) -> Result<()> {
    eventually(&format!("{name} to have a ledger"), GENEROUS, async || site.world.record(name).await).await?;
    site.world.reason(name, "TokenReady").await.map(drop)
}

#[tokio::test]
async fn an_uninstall_while_revoiceit_is_down_names_what_is_left_and_a_reinstall_revokes_it() -> Result<()> {
    let Some(site) = Site::new(|_| {}, &["drain.timeout=5s"]).await? else { return Ok(()) };
    let uid = site.world.get("speech").await?.uid().context("no UID")?;
    let down = site.world.sandbox.inject(Fault::status(503))?;

    let said = site.uninstall().await?;
    let left = format!(
        "Left:\n  {}/speech: 1 refresh token in the ledger {}/{}\n",
        site.world.tenant,
        site.world.system,
        names::ledger_name(&uid)
    );
    ensure!(said.contains(&left), "{said}");
    ensure!(site.world.get("speech").await?.finalizers().is_empty(), "the resource is held");
    ensure!(site.world.secrets().get_opt("token").await?.is_none(), "pods go on reading a token");
    site.world.nothing_is_forgotten().await?;

    site.world.sandbox.heal(down);
    site.install(&[]).await?;
    is_served_anew(&site, "speech").await?;
    eventually("the old line to be revoked", GENEROUS, async || {
        let states: Vec<_> = site.world.sandbox.truth().lines.iter().map(revoiceit_sandbox::Line::state).collect();
        ensure!(states == [LineState::Revoked, LineState::Live], "{states:?}");
        anyhow::Ok(())
    })
    .await?;
    site.world.nothing_is_forgotten().await?;
    site.end().await
}

#[tokio::test]
async fn when_the_operators_namespace_is_deleted_the_loss_is_counted_by_the_next_operator() -> Result<()> {
    let Some(site) = Site::new(|_| {}, &[]).await? else { return Ok(()) };
    site.world.without_any_rights();
    site.world.cluster.kubectl(["delete", "namespace", &site.world.system, "--timeout=120s"]).await?;
    // The pods of the tenant still read a token, and the resource still waits for its operator.
    site.world.token("token").await?;
    site.world.kubectl(&["delete", "rvc", "speech", "--wait=false"]).await?;
    assert_eq!(site.world.get("speech").await?.finalizers(), [names::FINALIZER]);

    site.world.cluster.kubectl(["create", "namespace", &site.world.system]).await?;
    site.install(&[]).await?;
    site.world.gone("speech", "token").await?;
    assert_eq!(site.world.calls(), (1, 0, 0));
    let events = site.world.cluster.kubectl(["get", "events", "-A", "-o", "jsonpath={.items[*].reason}"]).await?;
    ensure!(events.contains("LedgerLost") || events.contains("SuspectedLost"), "nobody was told: {events}");
    Ok(())
}
