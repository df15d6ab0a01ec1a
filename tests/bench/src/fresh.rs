//! Many new resources at once, beside the bare writer.

use std::{path::Path, process::Command, time::Duration};

use anyhow::{Result, ensure};
use revoiceit_harness::{
    cluster::Component,
    process::{Process, Signal},
    wait::{GENEROUS, eventually},
};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::{
    crowd::{self, Audience, one_right_token_each},
    results::median,
    site::{Log, Site, WIDE},
    usage::Usage,
    writer::PREPARED,
};

/// Longer than any of it takes.
const LIMIT: Duration = Duration::from_secs(15 * 60);

/// How it is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Resources.
    #[arg(long, default_value_t = 1000)]
    resources: usize,
    /// Pairs of runs; the middle one counts.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Further flags of the operator, after those that open the gate.
    #[arg(long, allow_hyphen_values = true, value_delimiter = ' ')]
    flags: Vec<String>,
    /// Leave out the run with default flags.
    #[arg(long)]
    no_default: bool,
}

/// What came of it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Fresh {
    pub(crate) resources: usize,
    /// Of the operator, in the rounds.
    pub(crate) flags: Vec<String>,
    pub(crate) rounds: Vec<Round>,
    /// From the first to the last resource that is ready, with the operator as it is installed.
    pub(crate) default_seconds: Option<f64>,
}

/// One run of each, one right after the other.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Round {
    pub(crate) bare: Run,
    pub(crate) operator: Run,
}

impl Round {
    /// Of the times.
    pub(crate) fn ratio(&self) -> f64 {
        self.operator.seconds / self.bare.seconds
    }

    /// Of the processor times of all that took part, which a busy machine changes less.
    pub(crate) fn cpu_ratio(&self) -> f64 {
        self.operator.all_cpu() / self.bare.all_cpu()
    }
}

/// One run.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Run {
    /// Until the last resource was seen to be ready.
    pub(crate) seconds: f64,
    /// Processor time of the one that is measured.
    pub(crate) own_cpu: f64,
    /// Of the API server meanwhile.
    pub(crate) server_cpu: f64,
    /// Of etcd meanwhile.
    pub(crate) etcd_cpu: f64,
    /// Its peak of memory.
    pub(crate) peak_kib: u64,
}

impl Run {
    pub(crate) fn all_cpu(&self) -> f64 {
        self.own_cpu + self.server_cpu + self.etcd_cpu
    }
}

/// Measures.
pub(crate) async fn run(program: &Path, args: &Args) -> Result<(String, Fresh)> {
    let flags: Vec<&str> = WIDE.into_iter().chain(args.flags.iter().map(String::as_str)).collect();
    let mut rounds = Vec::new();
    let mut kubernetes = String::new();
    for number in 0..args.rounds {
        // Whoever comes second may find a machine that is warmer, or busier.
        let round = if number % 2 == 0 {
            let bare = bare(program, args.resources).await?;
            Round { bare, operator: operator(program, args.resources, &flags, &mut kubernetes).await? }
        } else {
            let operator = operator(program, args.resources, &flags, &mut kubernetes).await?;
            Round { bare: bare(program, args.resources).await?, operator }
        };
        let (bare, operator) = (round.bare.seconds, round.operator.seconds);
        println!("{bare:.2} s bare, {operator:.2} s the operator: {:.2} times, {:.2} of processor time", round.ratio(), round.cpu_ratio());
        println!("{round:?}");
        rounds.push(round);
    }
    let middle = |of: fn(&Round) -> f64| median(rounds.iter().map(of));
    println!("the middle one: {:.2} times, {:.2} of processor time", middle(Round::ratio), middle(Round::cpu_ratio));
    let default_seconds = if args.no_default { None } else { Some(operator(program, args.resources, &[], &mut kubernetes).await?.seconds) };
    println!("with default flags: {default_seconds:?} s");
    let flags = flags.into_iter().map(str::to_owned).collect();
    Ok((kubernetes, Fresh { resources: args.resources, flags, rounds, default_seconds }))
}

async fn bare(program: &Path, count: usize) -> Result<Run> {
    let site = Site::start(program, Log::None).await?;
    crowd::credentials(&site.client, 0..count).await?;
    crowd::resources(&site.client, 0..count).await?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("write").arg("--kubeconfig").arg(&site.kubeconfig).args(["--api-url", &site.sandbox.api_url()]);
    let writer = Process::spawn("writer", &mut command, &site.scratch)?;
    eventually("the writer to be prepared", GENEROUS, async || {
        ensure!(writer.is_running(), "it ended{}", writer.tail());
        ensure!(writer.stdout()?.contains(PREPARED), "it is not");
        anyhow::Ok(())
    })
    .await?;
    let run = timed(&site, &writer, count, Signal::USR1).await?;
    one_right_token_each(&site.client, &site.sandbox, count).await?;
    Ok(run)
}

async fn operator(program: &Path, count: usize, flags: &[&str], kubernetes: &mut String) -> Result<Run> {
    let site = Site::start(program, Log::None).await?;
    *kubernetes = site.client.apiserver_version().await?.git_version;
    crowd::credentials(&site.client, 0..count).await?;
    // It stands still while they are made: they are there all at once. The lease has to last for that long.
    let flags: Vec<&str> = flags.iter().copied().chain(["--lease-duration", "1m"]).collect();
    let operator = site.operator(&flags).await?;
    operator.process.freeze().await?;
    crowd::resources(&site.client, 0..count).await?;
    let run = timed(&site, &operator.process, count, Signal::CONT).await?;
    one_right_token_each(&site.client, &site.sandbox, count).await?;
    Ok(run)
}

/// From the signal until all are ready.
async fn timed(site: &Site, process: &Process, count: usize, begin: Signal) -> Result<Run> {
    let mut audience = Audience::of(site.client.clone());
    audience.sees(0, LIMIT).await?;
    let (server, etcd) = (site.cluster.process(Component::ApiServer)?, site.cluster.process(Component::Etcd)?);
    let all = || anyhow::Ok([Usage::of(process)?, Usage::of(&server)?, Usage::of(&etcd)?]);
    let before = all()?;
    let began = Instant::now();
    process.signal(begin)?;
    // The writer may be gone with its last write, and what it took with it.
    let mut latest = before;
    let ended = loop {
        match audience.sees(count, Duration::from_millis(50)).await {
            Ok(at) => break at,
            Err(error) if began.elapsed() > LIMIT => return Err(error),
            Err(_) => latest = all().unwrap_or(latest),
        }
    };
    let after = all().unwrap_or(latest);
    let cpu = |at: usize| after[at].cpu_seconds - before[at].cpu_seconds;
    let seconds = ended.duration_since(began).as_secs_f64();
    Ok(Run { seconds, own_cpu: cpu(0), server_cpu: cpu(1), etcd_cpu: cpu(2), peak_kib: after[0].peak_kib })
}
