//! Other people's Secrets, very many and very large ones: the operator's memory does not grow with them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use revoiceit_harness::{operator::Operator, wait::GENEROUS};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    crowd,
    site::{Log, Site, TENANT},
    usage::{Usage, quiet},
};

/// Where the kernel has its groups of processes: the controller of memory of version 1, or version 2.
const TREES: [(&str, &str); 2] = [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")];

/// Joins the group, and becomes the operator.
const JOIN: &str = r#"echo $$ >"$0/cgroup.procs" && exec "$@""#;

/// How it is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Secrets of 1 KiB.
    #[arg(long, default_value_t = 100_000)]
    small: usize,
    /// Secrets of 1 MiB.
    #[arg(long, default_value_t = 128)]
    large: usize,
    /// The operator's limit, in MiB. To set it one has to be root.
    #[arg(long, default_value_t = 64)]
    limit: u64,
}

/// What came of it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Foreign {
    pub(crate) small: usize,
    pub(crate) large: usize,
    /// `None`: it could not be set.
    pub(crate) limit_mib: Option<u64>,
    /// Before there are any.
    pub(crate) before: Usage,
    /// It ran while they were made.
    pub(crate) made: Usage,
    /// It was started when they were there.
    pub(crate) listed: Usage,
}

/// Measures.
pub(crate) async fn run(program: &Path, args: &Args) -> Result<(String, Foreign)> {
    let site = Site::start(program, Log::None).await?;
    let kubernetes = site.client.apiserver_version().await?.git_version;
    let group = Group::new(args.limit);
    if let Err(error) = &group {
        println!("without a limit: {error:#}");
    }
    let group = group.ok();
    let operator = limited(&site, group.as_ref()).await?;
    let before = quiet(&operator.process, GENEROUS).await?;

    secrets(&site, "small", args.small, 1 << 10).await?;
    secrets(&site, "large", args.large, 1 << 20).await?;
    ensure!(operator.process.is_running(), "it has ended{}", operator.process.tail());
    let made = quiet(&operator.process, GENEROUS).await?;
    operator.stop().await?;

    let operator = limited(&site, group.as_ref()).await?;
    let listed = quiet(&operator.process, GENEROUS).await?;
    operator.stop().await?;
    let limit_mib = group.as_ref().map(|_| args.limit);
    let foreign = Foreign { small: args.small, large: args.large, limit_mib, before, made, listed };
    println!("{foreign:?}");
    Ok((kubernetes, foreign))
}

async fn limited(site: &Site, group: Option<&Group>) -> Result<Operator> {
    let process = match group {
        Some(group) => {
            let mut command = Command::new("sh");
            command.args(["-c", JOIN]).arg(&group.folder).arg(site.program());
            site.spawn_by(command, &[])?
        }
        None => site.spawn(&[])?,
    };
    // It may have a hundred thousand to list.
    let limit = Duration::from_secs(10 * 60);
    let operator = Operator::listening(process).await?;
    revoiceit_harness::wait::eventually("the operator to be ready", limit, async || {
        if !operator.process.is_running() {
            return Ok(Err(anyhow::anyhow!("it has ended{}", operator.process.tail())));
        }
        operator.get("/readyz").await.map(Ok)
    })
    .await??;
    Ok(operator)
}

async fn secrets(site: &Site, stem: &str, count: usize, bytes: usize) -> Result<()> {
    let value = "x".repeat(bytes - 200);
    crowd::create(&site.client, &format!("/api/v1/namespaces/{TENANT}/secrets"), 0..count, |number| {
        json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": format!("{stem}-{number}") }, "stringData": { "value": value } })
    })
    .await
}

/// A group of processes that may take so much memory.
struct Group {
    folder: PathBuf,
}

impl Group {
    fn new(mib: u64) -> Result<Self> {
        let (tree, limit) = TREES.into_iter().find(|(tree, _)| Path::new(tree).join("cgroup.procs").exists()).context("no cgroups")?;
        let folder = Path::new(tree).join(format!("revoiceit-bench-{}", std::process::id()));
        fs::create_dir(&folder).with_context(|| format!("making {}", folder.display()))?;
        let group = Self { folder };
        fs::write(group.folder.join(limit), (mib << 20).to_string()).with_context(|| format!("writing {limit}"))?;
        Ok(group)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.folder);
    }
}
