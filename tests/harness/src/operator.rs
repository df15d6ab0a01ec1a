//! The operator as a process: asked, stopped and killed.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::process::{Process, Signal};
use crate::wait::{GENEROUS, eventually};

/// A running operator.
#[derive(Debug)]
pub struct Operator {
    /// Its process.
    pub process: Process,
    admin_url: String,
}

impl Operator {
    /// When its admin server listens: its log, as JSON, has to tell so, at level `info`.
    pub async fn listening(process: Process) -> Result<Self> {
        let admin_url = eventually("the operator to listen", GENEROUS, async || {
            ensure!(process.is_running(), "it ended{}", process.tail());
            let log = process.stderr()?;
            let line = log.lines().find(|line| line.contains("admin server listens")).context("not yet")?;
            let line: Value = serde_json::from_str(line)?;
            Ok::<_, anyhow::Error>(format!("http://{}", find_address(&line).context("no address in the line")?))
        })
        .await?;
        Ok(Self { process, admin_url })
    }

    /// The body of an answer of the admin server; an error unless it is a 200.
    pub async fn get(&self, path: &str) -> Result<String> {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build()?;
        let answer = client.get(format!("{}{path}", self.admin_url)).send().await?;
        let status = answer.status();
        let body = answer.text().await?;
        ensure!(status.is_success(), "{status}: {body}");
        Ok(body)
    }

    /// SIGTERM, and how it ended.
    pub async fn stop(&self) -> Result<()> {
        let status = self.process.stop(GENEROUS).await?;
        ensure!(status.success(), "it ended with {status}{}", self.process.tail());
        Ok(())
    }

    /// SIGKILL.
    pub fn kill(&self) {
        self.process.kill();
    }

    /// Waits until its metrics have this line.
    pub async fn shows(&self, line: &str) -> Result<()> {
        eventually(&format!("/metrics to have {line}"), GENEROUS, async || {
            let (name, _) = line.split_once(' ').context("a line is a name and a value")?;
            let metrics = self.get("/metrics").await?;
            let shown: Vec<&str> = metrics.lines().filter(|shown| shown.starts_with(name)).collect();
            ensure!(shown.contains(&line), "it has {shown:?}");
            Ok::<_, anyhow::Error>(())
        })
        .await
    }

    /// Whether its metrics say that it leads.
    pub async fn leads(&self) -> Result<bool> {
        Ok(self.get("/metrics").await?.lines().any(|line| line == "revoiceit_leader 1"))
    }

    /// Stops it in its tracks.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }
}

fn find_address(line: &Value) -> Option<&str> {
    line["fields"]["address"].as_str().or_else(|| line["address"].as_str())
}
