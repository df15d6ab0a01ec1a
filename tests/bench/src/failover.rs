//! The leader ends: how soon the other one acts.

use std::path::Path;

use anyhow::{Context, Result, bail};
use revoiceit_harness::{process::Signal, wait::GENEROUS};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::{
    crowd,
    site::{Log, Site},
};

/// How it is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Ends of a leader, of each kind.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
}

/// From the signal until Revoiceit is asked for the token of a resource that is new.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Failover {
    pub(crate) sigterm_seconds: Vec<f64>,
    pub(crate) sigkill_seconds: Vec<f64>,
}

/// Measures.
pub(crate) async fn run(program: &Path, args: &Args) -> Result<(String, Failover)> {
    let site = Site::start(program, Log::None).await?;
    let kubernetes = site.client.apiserver_version().await?.git_version;
    crowd::credentials(&site.client, 0..2 * args.rounds).await?;
    let mut failover = Failover { sigterm_seconds: Vec::new(), sigkill_seconds: Vec::new() };
    let mut pair = vec![site.operator(&[]).await?, site.ready(site.spawn(&[])?).await?];
    for number in 0..2 * args.rounds {
        let is_kill = number % 2 == 1;
        let mut leader = None;
        for (at, operator) in pair.iter().enumerate() {
            if operator.leads().await? {
                leader = Some(at);
            }
        }
        let Some(leader) = leader else { bail!("nobody leads") };
        let leader = pair.remove(leader);
        let calls = site.sandbox.mark();
        let began = Instant::now();
        if is_kill {
            leader.kill();
        } else {
            leader.signal(Signal::TERM)?;
        }
        crowd::resources(&site.client, number..number + 1).await?;
        let acted = site.sandbox.wait_for(GENEROUS, |sandbox| (sandbox.mark() > calls).then_some(())).await;
        acted.context("nobody has acted")?;
        let seconds = began.elapsed().as_secs_f64();
        println!("{} {seconds:.2} s", if is_kill { "SIGKILL" } else { "SIGTERM" });
        if is_kill { &mut failover.sigkill_seconds } else { &mut failover.sigterm_seconds }.push(seconds);
        drop(leader);
        pair.push(site.ready(site.spawn(&[])?).await?);
    }
    Ok((kubernetes, failover))
}
