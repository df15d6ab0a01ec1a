//! Starting operators, each under its own service account.

use std::{path::Path, process::Command, sync::atomic::Ordering};

use anyhow::Result;
pub(crate) use revoiceit_harness::operator::Operator;
use revoiceit_harness::{
    process::Process,
    wait::{GENEROUS, eventually},
};
use revoiceit_operator::api::names;
use serde_json::Value;

use crate::world::World;

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
