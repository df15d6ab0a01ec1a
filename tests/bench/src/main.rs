//! Benchmarks of the shipped program on a real control plane, with the local Revoiceit. `docs/benchmarks.md` tells what they show.

mod counts;
mod crowd;
mod failover;
mod foreign;
mod fresh;
mod growth;
mod idle;
mod page;
mod rest;
mod results;
mod site;
mod usage;
mod writer;

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Parser;
use serde::Serialize;

use crate::results::{Results, Setting};

/// Measures the operator on a real control plane of its own, and keeps what it finds in docs/benchmarks.
#[derive(Debug, Parser)]
struct Args {
    /// The program that is measured.
    #[arg(long, global = true, default_value = "revoiceit-operator", value_name = "FILE")]
    operator: PathBuf,
    /// Print what is found and keep nothing.
    #[arg(long, global = true)]
    dry: bool,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// New resources at once, beside the bare writer.
    Fresh(fresh::Args),
    /// Requests for a new resource, a refresh and a restart.
    Counts,
    /// Many resources with nothing to do.
    Rest(rest::Args),
    /// Time and memory as the number of resources grows; a restart; a restart of the API server.
    Growth(growth::Args),
    /// The same with 100,000 resources: an hour.
    Huge,
    /// Other people's Secrets.
    Foreign(foreign::Args),
    /// A process with nothing to do.
    Idle(idle::Args),
    /// The leader ends.
    Failover(failover::Args),
    /// Makes the page from what was found.
    Page,
    /// The bare writer, which the benchmarks start.
    #[command(hide = true)]
    Write(writer::Args),
}

#[tokio::main]
async fn main() -> Result<()> {
    let Args { operator, dry, what } = Args::parse();
    let keep = Keep { program: &operator, dry };
    match what {
        What::Fresh(args) => keep.as_("fresh", fresh::run(&operator, &args).await?),
        What::Counts => keep.as_("counts", counts::run(&operator).await?),
        What::Rest(args) => keep.as_("rest", rest::run(&operator, &args).await?),
        What::Growth(args) => keep.as_("growth", growth::run(&operator, &args).await?),
        What::Huge => keep.as_("huge", growth::run(&operator, &growth::Args::huge()).await?),
        What::Foreign(args) => keep.as_("foreign", foreign::run(&operator, &args).await?),
        What::Idle(args) => keep.as_("idle", idle::run(&operator, &args).await?),
        What::Failover(args) => keep.as_("failover", failover::run(&operator, &args).await?),
        What::Page => page::write(),
        What::Write(args) => writer::run(&args).await,
    }
}

struct Keep<'a> {
    program: &'a Path,
    dry: bool,
}

impl Keep<'_> {
    fn as_<F: Serialize>(&self, name: &str, (kubernetes, figures): (String, F)) -> Result<()> {
        if self.dry {
            println!("{}", serde_json::to_string_pretty(&figures)?);
            return Ok(());
        }
        results::write(name, &Results { setting: Setting::now(self.program, &kubernetes)?, figures })?;
        page::write()
    }
}
