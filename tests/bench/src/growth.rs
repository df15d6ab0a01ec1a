//! The same work with ten and a hundred times as many resources: time, memory, a restart, and a restart of the API server.

use std::{collections::BTreeMap, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use kube::Client;
use revoiceit_harness::{
    cluster::Component,
    operator::Operator,
    wait::{GENEROUS, eventually},
};
use revoiceit_sandbox::{Call, TokenForm};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use crate::{
    crowd::{self, Audience, one_right_token_each},
    site::{Log, Site, TENANT, WIDE, counter},
    usage::{Usage, quiet},
};

/// Longer than any of it takes.
const LIMIT: Duration = Duration::from_secs(60 * 60);
/// How many resources are new when the operator comes back.
const NEW: usize = 20;
/// Passes that came to their end.
const RESTED: &str = "revoiceit_passes_total{result=\"rested\"}";

/// How it is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Numbers of resources.
    #[arg(long, value_delimiter = ',', default_value = "100,1000,10000")]
    sizes: Vec<usize>,
    /// Wait afterwards until each token has been refreshed once.
    #[arg(long)]
    refresh: bool,
    /// For how many seconds an access token is valid, which is a JWT then; an hour if not given. Too few, and refreshes begin before the
    /// rest is measured.
    #[arg(long)]
    lifetime: Option<u64>,
}

impl Args {
    /// Ten times the largest number that is promised.
    pub(crate) fn huge() -> Self {
        Self { sizes: vec![100_000], refresh: true, lifetime: None }
    }
}

/// One number of resources.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Size {
    pub(crate) resources: usize,
    /// From the operator's start until all are ready.
    pub(crate) seconds: f64,
    /// Processor time of the operator for that.
    pub(crate) cpu_seconds: f64,
    /// At rest afterwards, and the most that it was.
    pub(crate) rss_kib: u64,
    pub(crate) peak_kib: u64,
    pub(crate) restart: Restart,
    pub(crate) storm: Storm,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) round: Option<Round>,
}

/// Another process takes the place of the first one, which was told to end.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Restart {
    /// From its start until its caches are in sync.
    pub(crate) synced_seconds: f64,
    /// Until those that are new have their tokens.
    pub(crate) new: usize,
    pub(crate) new_seconds: f64,
    /// Until every resource was looked at.
    pub(crate) looked_seconds: f64,
    /// GETs of Secrets, for the new ones too, by the API server's own count.
    pub(crate) gets: u64,
    pub(crate) rss_kib: u64,
    pub(crate) peak_kib: u64,
}

/// The API server was killed and started anew: everything is listed again.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Storm {
    pub(crate) calls: u64,
    pub(crate) writes: u64,
    pub(crate) gets: u64,
    /// Processor time of the operator until it is at rest again.
    pub(crate) cpu_seconds: f64,
    pub(crate) peak_kib: u64,
}

/// Each token is refreshed once, each when its time has come.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Round {
    pub(crate) refreshes: usize,
    /// From the first one to the last one.
    pub(crate) seconds: f64,
    /// The most in a minute of the clock.
    pub(crate) most_in_a_minute: usize,
    /// How long an access token was still valid when its successor was issued: the least of all.
    pub(crate) least_left_seconds: f64,
    /// Processor time of the operator since the API server was there again.
    pub(crate) cpu_seconds: f64,
    pub(crate) rss_kib: u64,
    pub(crate) peak_kib: u64,
}

impl Round {
    /// Refreshes a second.
    pub(crate) fn a_second(&self) -> f64 {
        self.refreshes as f64 / self.seconds
    }
}

/// The lease has to last while the API server is away, however long a busy machine needs to start it.
fn flags() -> Vec<&'static str> {
    WIDE.into_iter().chain(["--lease-duration", "2m"]).collect()
}

/// Measures.
pub(crate) async fn run(program: &Path, args: &Args) -> Result<(String, Vec<Size>)> {
    let mut sizes = Vec::new();
    let mut kubernetes = String::new();
    for count in &args.sizes {
        let site = Site::start(program, Log::None).await?;
        if let Some(lifetime) = args.lifetime {
            site.sandbox.switch(|switches| {
                switches.lifetime = Duration::from_secs(lifetime);
                switches.token_form = TokenForm::Jwt;
            })?;
        }
        kubernetes = site.client.apiserver_version().await?.git_version;
        let size = measure(&site, *count, args.refresh).await?;
        println!("{size:?}");
        sizes.push(size);
    }
    Ok((kubernetes, sizes))
}

async fn measure(site: &Site, count: usize, refresh: bool) -> Result<Size> {
    crowd::credentials(&site.client, 0..count).await?;
    crowd::resources(&site.client, 0..count).await?;
    let mut audience = Audience::of(site.client.clone());
    let began = Instant::now();
    let operator = site.ready(site.spawn(&flags())?).await?;
    let seconds = audience.sees(count, LIMIT).await?.duration_since(began).as_secs_f64();
    let cpu_seconds = Usage::of(&operator.process)?.cpu_seconds;
    drop(audience);
    let Usage { rss_kib, peak_kib, .. } = quiet(&operator.process, GENEROUS).await?;
    one_right_token_each(&site.client, &site.sandbox, count).await?;

    // From here on the API server's counts are those of the operator alone: the garbage collector reads what it may have to collect.
    site.cluster.freeze(Component::Controllers).await?;
    operator.stop().await?;
    let (operator, restart) = restart(site, count).await?;
    let storm = storm(site, &operator).await?;
    let mut size = Size { resources: count, seconds, cpu_seconds, rss_kib, peak_kib, restart, storm, round: None };
    if refresh {
        println!("{size:?}; now it waits until all are refreshed");
        size.round = Some(round(site, &operator, count + NEW).await?);
    }
    operator.stop().await?;
    Ok(size)
}

async fn restart(site: &Site, count: usize) -> Result<(Operator, Restart)> {
    crowd::credentials(&site.client, count..count + NEW).await?;
    crowd::resources(&site.client, count..count + NEW).await?;
    let (gets, calls) = (site.requests(is_get).await?, site.sandbox.mark());
    let began = Instant::now();
    let operator = Operator::listening(site.spawn(&flags())?).await?;
    let mut synced_seconds = None;
    let mut new_seconds = None;
    // To scrape has its price with many resources, and is not what is measured.
    let pause = Duration::from_micros(10 * count as u64);
    let mut scrape_at = began;
    loop {
        let at = began.elapsed();
        ensure!(at < LIMIT, "not all were looked at after {at:?}");
        let seconds = at.as_secs_f64();
        if synced_seconds.is_none() && operator.get("/readyz").await.is_ok() {
            synced_seconds = Some(seconds);
        }
        if new_seconds.is_none() && site.sandbox.count(Call::Issue, calls) >= NEW {
            new_seconds = Some(seconds);
        }
        if Instant::now() >= scrape_at {
            if counter(&operator, RESTED).await? >= (count + NEW) as u64 {
                break;
            }
            scrape_at = Instant::now() + pause;
        }
        sleep(Duration::from_millis(20)).await;
    }
    let looked_seconds = began.elapsed().as_secs_f64();
    let usage = quiet(&operator.process, GENEROUS).await?;
    ensure!(site.sandbox.mark() - calls == NEW as u64, "{} calls after a restart with {NEW} new ones", site.sandbox.mark() - calls);
    let restart = Restart {
        synced_seconds: synced_seconds.context("it was never ready")?,
        new: NEW,
        new_seconds: new_seconds.context("the new ones have no token")?,
        looked_seconds,
        gets: site.requests(is_get).await? - gets,
        rss_kib: usage.rss_kib,
        peak_kib: usage.peak_kib,
    };
    Ok((operator, restart))
}

async fn storm(site: &Site, operator: &Operator) -> Result<Storm> {
    let (calls, before) = (site.sandbox.mark(), Usage::of(&operator.process)?);
    let passes = counter(operator, RESTED).await?;
    site.cluster.restart(Component::ApiServer).await?;
    // That both watches are there again is seen by a change of a resource, and one of another's target. Each is looked at, with two GETs.
    touch(&site.client, "/apis/revoiceit.com/v1", &format!("revoiceitcredentials/{}", crowd::name(0))).await?;
    touch(&site.client, "/api/v1", &format!("secrets/{}", crowd::target(1))).await?;
    eventually("both changes to be seen", 2 * GENEROUS, async || {
        let seen = counter(operator, RESTED).await? - passes;
        ensure!(seen >= 2, "{seen} passes");
        anyhow::Ok(())
    })
    .await?;
    let after = quiet(&operator.process, 5 * GENEROUS).await?;
    // The API server counts from its start. Two writes are the changes themselves.
    let (writes, gets) = (site.requests(is_write).await?, site.requests(is_get).await?);
    Ok(Storm {
        calls: site.sandbox.mark() - calls,
        writes: writes.checked_sub(2).context("the changes were not counted")?,
        gets: gets.checked_sub(4).context("the two looks were not counted")?,
        cpu_seconds: after.cpu_seconds - before.cpu_seconds,
        peak_kib: after.peak_kib,
    })
}

async fn round(site: &Site, operator: &Operator, count: usize) -> Result<Round> {
    let before = Usage::of(&operator.process)?;
    // Asked for seldom: the whole truth is large.
    let deadline = Instant::now() + 2 * LIMIT;
    let truth = loop {
        let truth = site.sandbox.truth();
        let refreshed = truth.lines.iter().filter(|line| line.access.len() > 1).count();
        if refreshed == count {
            break truth;
        }
        ensure!(Instant::now() < deadline, "{refreshed} of {count} were refreshed after {:?}", 2 * LIMIT);
        sleep(Duration::from_secs(1).max(Duration::from_micros(100 * count as u64))).await;
    };
    let after = Usage::of(&operator.process)?;
    let pairs: Vec<_> = truth.lines.iter().filter_map(|line| line.access.get(..2)).collect();
    let left = pairs.iter().map(|pair| pair[0].expires_at.seconds() as f64 - pair[1].issued_at.seconds() as f64);
    let times: Vec<u64> = pairs.iter().map(|pair| pair[1].issued_at.seconds()).collect();
    let minutes = times.iter().fold(BTreeMap::<u64, usize>::new(), |mut minutes, time| {
        *minutes.entry(time / 60).or_default() += 1;
        minutes
    });
    let (first, last) = (times.iter().min().context("nothing was refreshed")?, times.iter().max().context("nothing was refreshed")?);
    Ok(Round {
        refreshes: pairs.len(),
        seconds: (last - first) as f64,
        most_in_a_minute: minutes.into_values().max().unwrap_or_default(),
        least_left_seconds: left.fold(f64::INFINITY, f64::min),
        cpu_seconds: after.cpu_seconds - before.cpu_seconds,
        rss_kib: after.rss_kib,
        peak_kib: after.peak_kib,
    })
}

/// A label that means nothing.
async fn touch(client: &Client, group: &str, object: &str) -> Result<()> {
    let request = http::Request::patch(format!("{group}/namespaces/{TENANT}/{object}"));
    let patch = r#"{"metadata":{"labels":{"touched":"yes"}}}"#;
    let request = request.header(http::header::CONTENT_TYPE, "application/merge-patch+json").body(patch.into())?;
    client.request_text(request).await.with_context(|| format!("touching {object}"))?;
    Ok(())
}

fn is_ours(line: &str) -> bool {
    line.contains(r#"resource="secrets""#) || line.contains(r#"resource="revoiceitcredentials""#)
}

fn is_get(line: &str) -> bool {
    line.contains(r#"verb="GET""#) && is_ours(line)
}

fn is_write(line: &str) -> bool {
    ["POST", "PUT", "PATCH", "APPLY", "DELETE"].iter().any(|verb| line.contains(&format!("verb=\"{verb}\""))) && is_ours(line)
}
