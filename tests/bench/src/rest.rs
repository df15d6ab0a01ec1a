//! Many resources at rest: what the operator still does.

use std::{path::Path, time::Duration};

use anyhow::Result;
use revoiceit_harness::wait::GENEROUS;
use serde::{Deserialize, Serialize};

use crate::{
    counts::{asked, at_rest, is_rest, kind},
    crowd::{self, Audience},
    results::Counts,
    site::{Log, Site},
    usage::Usage,
};

/// How it is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Resources.
    #[arg(long, default_value_t = 1000)]
    resources: usize,
    /// For how long it is watched.
    #[arg(long, default_value_t = 300)]
    seconds: u64,
}

/// What came of it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Rest {
    pub(crate) resources: usize,
    pub(crate) seconds: u64,
    /// Lease, watches that are begun anew, the sweep's list.
    pub(crate) expected: Counts,
    /// Everything else.
    pub(crate) others: Counts,
    pub(crate) calls: u64,
    pub(crate) cpu_seconds: f64,
    pub(crate) rss_kib: u64,
}

/// Measures.
pub(crate) async fn run(program: &Path, args: &Args) -> Result<(String, Rest)> {
    let site = Site::start(program, Log::Audit).await?;
    let kubernetes = site.client.apiserver_version().await?.git_version;
    let operator = site.operator(&[]).await?;
    let mut audience = Audience::of(site.client.clone());
    crowd::credentials(&site.client, 0..args.resources).await?;
    crowd::resources(&site.client, 0..args.resources).await?;
    audience.sees(args.resources, 10 * GENEROUS).await?;
    drop(audience);
    at_rest(&site).await?;

    let (mark, calls, before) = (site.cluster.audit_mark().await?, site.sandbox.mark(), Usage::of(&operator.process)?);
    tokio::time::sleep(Duration::from_secs(args.seconds)).await;
    let after = Usage::of(&operator.process)?;
    let (mut expected, mut others) = (Counts::new(), Counts::new());
    for event in asked(&site, mark).await? {
        *if is_rest(&event) { &mut expected } else { &mut others }.entry(kind(&event)).or_default() += 1;
    }
    let rest = Rest {
        resources: args.resources,
        seconds: args.seconds,
        expected,
        others,
        calls: site.sandbox.mark() - calls,
        cpu_seconds: after.cpu_seconds - before.cpu_seconds,
        rss_kib: after.rss_kib,
    };
    println!("{rest:?}");
    Ok((kubernetes, rest))
}
