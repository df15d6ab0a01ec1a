//! The operator as a process: started, asked, stopped and killed.

use std::{path::Path, process::Command, sync::atomic::Ordering, time::Duration};

use anyhow::{Context, Result, ensure};
use revoiceit_harness::{
    process::{Process, Signal},
    wait::{GENEROUS, eventually},
};
use revoiceit_operator::api::names;
use serde_json::Value;

use crate::world::World;

/// A running operator, under its own service account.
pub(crate) struct Operator {
    pub(crate) process: Process,
    admin_url: String,
}

impl World {
    /// Starts an operator and waits until it is ready. It is named `operator-0`, `operator-1`, … in its logs.
    pub(crate) async fn operator(&self, flags: &[&str]) -> Result<Operator> {
        self.operator_through(&self.cluster.server(), flags).await
    }

    /// The same, reaching the API server through a proxy at this URL.
    pub(crate) async fn operator_through(&self, server: &str, flags: &[&str]) -> Result<Operator> {
        let kubeconfig = self.cluster.kubeconfig_for_service_account(&self.system, names::OPERATOR, server).await?;
        let operator = Operator::listening(self.spawn(&kubeconfig, flags)?).await?;
        eventually("the operator to be ready", GENEROUS, async || operator.get("/readyz").await).await?;
        Ok(operator)
    }

    /// Starts an operator and waits for nothing. What the test gives no flag for is set by the environment, which flags go before.
    pub(crate) fn spawn(&self, kubeconfig: &Path, flags: &[&str]) -> Result<Process> {
        self.spawn_verb("run", kubeconfig, flags)
    }

    /// The same with another verb.
    pub(crate) fn spawn_verb(&self, verb: &str, kubeconfig: &Path, flags: &[&str]) -> Result<Process> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_revoiceit-operator"));
        command
            .args([verb, "--kubeconfig"])
            .arg(kubeconfig)
            .args(flags)
            .env("REVOICEIT_API_URL", self.sandbox.api_url())
            .env("REVOICEIT_ALLOW_INSECURE_API", "true")
            .env("REVOICEIT_OPERATOR_NAMESPACE", &self.system)
            .env("REVOICEIT_NAMESPACE", self.tenants.join(","))
            .env("REVOICEIT_LISTEN", "127.0.0.1:0")
            // Long enough for a busy machine: who cannot renew it in two thirds of this time ends.
            .env("REVOICEIT_LEASE_DURATION", "10s")
            .env("REVOICEIT_LOG_LEVEL", "trace")
            .env("RUST_LOG", "trace");
        let name = format!("operator-{}", self.started.fetch_add(1, Ordering::Relaxed));
        Process::spawn(&name, &mut command, &self.scratch)
    }

    /// The policy file that shortens the protocol's times, as a flag's value.
    pub(crate) fn policy(&self, policy: &Value) -> Result<String> {
        let file = self.scratch.write("policy.json", policy.to_string())?;
        Ok(file.display().to_string())
    }
}

impl Operator {
    /// When its admin server listens.
    pub(crate) async fn listening(process: Process) -> Result<Self> {
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
    pub(crate) async fn get(&self, path: &str) -> Result<String> {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build()?;
        let answer = client.get(format!("{}{path}", self.admin_url)).send().await?;
        let status = answer.status();
        let body = answer.text().await?;
        ensure!(status.is_success(), "{status}: {body}");
        Ok(body)
    }

    /// SIGTERM, and how it ended.
    pub(crate) async fn stop(&self) -> Result<()> {
        let status = self.process.stop(GENEROUS).await?;
        ensure!(status.success(), "it ended with {status}{}", self.process.tail());
        Ok(())
    }

    /// SIGKILL.
    pub(crate) fn kill(&self) {
        self.process.kill();
    }

    /// Waits until its metrics have this line.
    pub(crate) async fn shows(&self, line: &str) -> Result<()> {
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
    pub(crate) async fn leads(&self) -> Result<bool> {
        Ok(self.get("/metrics").await?.lines().any(|line| line == "revoiceit_leader 1"))
    }

    /// Stops it in its tracks.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }
}

fn find_address(line: &Value) -> Option<&str> {
    line["fields"]["address"].as_str().or_else(|| line["address"].as_str())
}
