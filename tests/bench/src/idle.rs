//! A process with nothing to do: how soon it leads, what it takes, how large it is.

use std::{
    fs,
    path::Path,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result};
use jiff::Timestamp;
use revoiceit_harness::{operator::Operator, wait::GENEROUS};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    site::{Log, Site},
    usage::{Usage, quiet},
};

/// How it is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Starts.
    #[arg(long, default_value_t = 10)]
    rounds: usize,
    /// For how long its processor time is measured.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

/// What came of it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Idle {
    /// From the start of the process until it leads with its caches in sync.
    pub(crate) leads_seconds: Vec<f64>,
    pub(crate) rss_kib: u64,
    /// Of one that does not lead.
    pub(crate) standby_rss_kib: u64,
    /// Over this time.
    pub(crate) seconds: u64,
    pub(crate) cpu_seconds: f64,
    pub(crate) program_bytes: u64,
}

/// Measures.
pub(crate) async fn run(program: &Path, args: &Args) -> Result<(String, Idle)> {
    let site = Site::start(program, Log::None).await?;
    let kubernetes = site.client.apiserver_version().await?.git_version;
    let mut leads_seconds = Vec::new();
    // The first one finds no lease.
    for _ in 0..args.rounds {
        let began = Timestamp::try_from(SystemTime::now())?;
        let operator = site.operator(&[]).await?;
        leads_seconds.push(said(&operator, "leading")?.duration_since(began).as_secs_f64());
        operator.stop().await?;
    }
    println!("leads after {leads_seconds:?} s");
    let leader = site.operator(&[]).await?;
    let standby = site.ready(site.spawn(&[])?).await?;
    quiet(&leader.process, GENEROUS).await?;
    let standby_rss_kib = quiet(&standby.process, GENEROUS).await?.rss_kib;
    let before = Usage::of(&leader.process)?;
    tokio::time::sleep(Duration::from_secs(args.seconds)).await;
    let after = Usage::of(&leader.process)?;
    let idle = Idle {
        leads_seconds,
        rss_kib: after.rss_kib,
        standby_rss_kib,
        seconds: args.seconds,
        cpu_seconds: after.cpu_seconds - before.cpu_seconds,
        program_bytes: fs::metadata(site.program())?.len(),
    };
    println!("{idle:?}");
    Ok((kubernetes, idle))
}

/// When its log had this message first.
pub(crate) fn said(operator: &Operator, message: &str) -> Result<Timestamp> {
    let log = operator.process.stderr()?;
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let line = lines.into_iter().find(|line| line["fields"]["message"] == message || line["message"] == message);
    let line = line.with_context(|| format!("its log has no {message:?}"))?;
    Ok(line["timestamp"].as_str().context("a line of log without a time")?.parse()?)
}
