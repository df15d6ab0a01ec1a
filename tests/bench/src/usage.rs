//! What a process takes, as the kernel counts it.

use std::{fs, time::Duration};

use anyhow::{Context, Result};
use revoiceit_harness::process::Process;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

/// What a process has taken so far.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Usage {
    /// Processor time of all its threads, in seconds.
    pub(crate) cpu_seconds: f64,
    /// Resident memory, the program's own pages included.
    pub(crate) rss_kib: u64,
    /// The most that it ever was.
    pub(crate) peak_kib: u64,
}

impl Usage {
    /// Of this process.
    pub(crate) fn of(process: &Process) -> Result<Self> {
        let id = process.id();
        let read = |file: &str| fs::read_to_string(format!("/proc/{id}/{file}")).with_context(|| format!("{file} of {}", process.name()));
        let (stat, status) = (read("stat")?, read("status")?);
        // The name, which comes before, may hold anything.
        let fields: Vec<&str> = stat.rsplit_once(") ").context("no name in stat")?.1.split(' ').collect();
        let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).context("no times in stat");
        let kib = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key)).with_context(|| format!("no {key} in status"))?;
            anyhow::Ok(line.trim().trim_end_matches(" kB").parse::<u64>()?)
        };
        let cpu_seconds = (ticks(11)? + ticks(12)?) as f64 / rustix::param::clock_ticks_per_second() as f64;
        Ok(Self { cpu_seconds, rss_kib: kib("VmRSS:")?, peak_kib: kib("VmHWM:")? })
    }
}

/// A second with less than this share of a core is rest.
const QUIET: f64 = 0.03;

/// Waits until the process does hardly anything for three seconds in a row.
pub(crate) async fn quiet(process: &Process, limit: Duration) -> Result<Usage> {
    let deadline = Instant::now() + limit;
    let mut quiet = 0;
    let mut before = Usage::of(process)?;
    while quiet < 3 {
        anyhow::ensure!(Instant::now() < deadline, "{} is not quiet after {limit:?}", process.name());
        sleep(Duration::from_secs(1)).await;
        let now = Usage::of(process)?;
        quiet = if now.cpu_seconds - before.cpu_seconds <= QUIET { quiet + 1 } else { 0 };
        before = now;
    }
    Ok(before)
}

/// KiB as MiB, to one digit.
pub(crate) fn mib(kib: u64) -> f64 {
    (kib as f64 / 1024.0 * 10.0).round() / 10.0
}
