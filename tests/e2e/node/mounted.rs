//! What a pod reads in the Secret that it mounts.

use std::{io::Write, time::Duration};

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use revoiceit_harness::{cluster::AuditMark, wait::eventually};
use revoiceit_operator::api::names;
use revoiceit_sandbox::UnixMillis;

use super::site::Site;

/// A token is refreshed after less than a minute, when it has two more to live; the kubelet may take 90 s to tell a pod.
const LIFETIME: Duration = Duration::from_secs(180);
const REFRESHES: usize = 5;

#[tokio::test]
async fn a_pod_reads_no_expired_and_no_torn_token_through_five_refreshes() -> Result<()> {
    let lifetime = format!("api.tokenLifetime={}s", LIFETIME.as_secs());
    let Some(site) = Site::new(|switches| switches.lifetime = LIFETIME, &[&lifetime]).await? else { return Ok(()) };
    let mark = site.world.cluster.audit_mark().await?;
    let first = site.world.token("token").await?;
    site.reader().await?;

    let seen = eventually("the pod to read the token of the fifth refresh", LIFETIME * 4, async || {
        let seen = seen(&site).await?;
        let tokens = &seen.last().context("it reads nothing")?.1;
        let refreshes = site.world.sandbox.truth().lines[0].access.iter().position(|access| access.token == *tokens);
        ensure!(refreshes >= Some(REFRESHES), "it reads the token of refresh {refreshes:?}");
        anyhow::Ok(seen)
    })
    .await?;
    let truth = site.world.sandbox.truth();
    for (at, token) in &seen {
        let at = UnixMillis(u64::try_from(at.as_millisecond())?);
        let access = truth.access(token).map(|(_, access)| access);
        let access = access.with_context(|| format!("at {at:?} it read what is no token, of {} bytes", token.len()))?;
        ensure!(access.is_valid(at), "at {at:?} it read a token that was valid until {:?}", access.expires_at);
    }
    assert_eq!(seen[0].1, first);
    // One refresh for each, and none of them twice.
    let (issues, refreshes, revocations) = site.world.calls();
    ensure!((issues, revocations) == (1, 0) && refreshes == truth.lines[0].access.len() - 1, "{:?}", site.world.calls());
    let delays = delays(&site, mark, &seen).await?;
    let (shortest, longest) = (delays.iter().min().context("no delay")?, delays.iter().max().context("no delay")?);
    writeln!(
        std::io::stderr(),
        "from the write of a Secret to the file in a pod: {shortest:.1?} to {longest:.1?}, {} times",
        delays.len()
    )?;
    for pod in site.ready_pods(2).await? {
        let containers = pod.status.and_then(|status| status.container_statuses).unwrap_or_default();
        ensure!(containers.iter().all(|container| container.restart_count == 0), "a container was restarted");
    }
    site.end().await
}

/// What it has read so far, and when. The time is that of the line in its log, a moment after it read.
async fn seen(site: &Site) -> Result<Vec<(Timestamp, String)>> {
    let log = site.world.kubectl(&["logs", "reader", "--timestamps"]).await?;
    let lines = log.lines().map(|line| {
        let (at, token) = line.split_once(' ').with_context(|| format!("no time in a line of {} bytes", line.len()))?;
        Ok((at.parse()?, token.to_owned()))
    });
    lines.collect()
}

/// For each token but the first: how long after the operator's write the pod read it, or one that came after it.
async fn delays(site: &Site, mark: AuditMark, seen: &[(Timestamp, String)]) -> Result<Vec<Duration>> {
    let writes = site.world.written_since(mark).await?;
    let writes: Vec<_> = writes.iter().filter(|event| event.resource == "secrets" && event.name == "token").collect();
    ensure!(writes.len() >= REFRESHES, "{} writes of the target by {}", writes.len(), names::OPERATOR);
    let truth = site.world.sandbox.truth();
    let number = |token: &str| truth.lines[0].access.iter().position(|access| access.token == token);
    let mut delays = Vec::new();
    for (write, wanted) in writes.iter().zip(1..) {
        let read = seen.iter().find(|(_, token)| number(token) >= Some(wanted));
        delays.extend(read.and_then(|(at, _)| Duration::try_from(at.duration_since(write.time)).ok()));
    }
    Ok(delays)
}
