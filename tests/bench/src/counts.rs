//! How many requests each step of a resource's life takes, by the API server's audit log.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use revoiceit_harness::{
    cluster::{AuditEvent, AuditMark},
    wait::{GENEROUS, eventually},
};
use revoiceit_sandbox::{Call, TokenForm};
use serde::{Deserialize, Serialize};

use crate::{
    crowd::{self, Audience},
    results::Counts,
    site::{ACCOUNT, Log, SYSTEM, Site},
};

/// How many resources: enough that one that differs is seen.
const RESOURCES: usize = 100;

/// Requests for all of them together.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Requests {
    pub(crate) resources: usize,
    pub(crate) new: Counts,
    pub(crate) refresh: Counts,
    pub(crate) restart: Counts,
    /// Calls to Revoiceit in the same three.
    pub(crate) calls: [usize; 3],
}

/// Counts.
pub(crate) async fn run(program: &Path) -> Result<(String, Requests)> {
    let site = Site::start(program, Log::Audit).await?;
    let kubernetes = site.client.apiserver_version().await?.git_version;
    // They are refreshed within seconds, and then for an hour no more.
    site.sandbox.switch(|switches| (switches.token_form, switches.lifetime) = (TokenForm::Jwt, Duration::from_secs(60)))?;
    crowd::credentials(&site.client, 0..RESOURCES).await?;
    let mut operator = site.operator(&[]).await?;
    at_rest(&site).await?;

    let (mark, calls) = (site.cluster.audit_mark().await?, site.sandbox.mark());
    let mut audience = Audience::of(site.client.clone());
    crowd::resources(&site.client, 0..RESOURCES).await?;
    audience.sees(RESOURCES, GENEROUS).await?;
    at_rest(&site).await?;
    ensure!(site.sandbox.count(Call::Refresh, 0) == 0, "some were refreshed before all were at rest");
    let new = since(&site, mark).await?;
    let issued = site.sandbox.calls(calls).len();

    site.sandbox.switch(|switches| switches.lifetime = Duration::from_secs(3600))?;
    let (mark, calls) = (site.cluster.audit_mark().await?, site.sandbox.mark());
    let refreshed = site.sandbox.wait_for(2 * GENEROUS, |sandbox| (sandbox.count(Call::Refresh, 0) >= RESOURCES).then_some(())).await;
    refreshed.context("not all were refreshed")?;
    at_rest(&site).await?;
    let refresh = since(&site, mark).await?;
    let refreshed = site.sandbox.calls(calls).len();

    let (mark, calls) = (site.cluster.audit_mark().await?, site.sandbox.mark());
    operator.stop().await?;
    operator = site.operator(&[]).await?;
    at_rest(&site).await?;
    let restart = since(&site, mark).await?;
    let recalled = site.sandbox.calls(calls).len();
    operator.stop().await?;
    Ok((kubernetes, Requests { resources: RESOURCES, new, refresh, restart, calls: [issued, refreshed, recalled] }))
}

/// What the operator asked for since the mark.
pub(crate) async fn asked(site: &Site, mark: AuditMark) -> Result<Vec<AuditEvent>> {
    let user = format!("system:serviceaccount:{SYSTEM}:{ACCOUNT}");
    Ok(site.cluster.audit_since(mark).await?.into_iter().filter(|event| event.user == user).collect())
}

/// Whether it goes on when nothing is to be done: lease, watches that are begun anew, the sweep's list.
pub(crate) fn is_rest(event: &AuditEvent) -> bool {
    event.resource == "leases" || event.verb == "watch" || (event.verb == "list" && event.namespace == SYSTEM)
}

/// In words: `get secrets`, `create secrets (dry run)`.
pub(crate) fn kind(event: &AuditEvent) -> String {
    let whole = if event.subresource.is_empty() { event.resource.clone() } else { format!("{}/{}", event.resource, event.subresource) };
    format!("{} {whole}{}", event.verb, if event.dry_run { " (dry run)" } else { "" })
}

async fn since(site: &Site, mark: AuditMark) -> Result<Counts> {
    let mut counts = Counts::new();
    for event in asked(site, mark).await?.iter().filter(|event| !is_rest(event)) {
        *counts.entry(kind(event)).or_default() += 1;
    }
    Ok(counts)
}

/// Waits until nothing was asked for a second.
pub(crate) async fn at_rest(site: &Site) -> Result<()> {
    eventually("the operator to be at rest", 5 * GENEROUS, async || {
        let mark = site.cluster.audit_mark().await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let busy = asked(site, mark).await?.into_iter().find(|event| !is_rest(event));
        ensure!(busy.is_none(), "it asked for {}", busy.map(|event| event.to_string()).unwrap_or_default());
        anyhow::Ok(())
    })
    .await
}
