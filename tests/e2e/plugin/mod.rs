//! The plugin of kubectl, as people with the roles that people have.

mod doctor;
mod faked;
mod findings;
mod rotate;
mod status;

use std::{
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::Ordering,
};

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use revoiceit_harness::{process::Process, wait::GENEROUS};
use serde_json::{Value, json};

use crate::world::World;

/// What a call printed, and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    pub(crate) fn has(&self, line: &str) -> bool {
        self.out.lines().any(|said| said == line)
    }

    fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.out).with_context(|| format!("not JSON: {self:?}"))
    }
}

impl World {
    /// Somebody with one of the roles that every cluster has, in the tenant's namespace, and a kubeconfig.
    async fn person(&self, role: &str) -> Result<PathBuf> {
        self.person_through(role, &self.cluster.server()).await
    }

    async fn person_through(&self, role: &str, server: &str) -> Result<PathBuf> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), &self.tenant);
        if accounts.get_opt(role).await?.is_none() {
            self.kubectl(&["create", "serviceaccount", role]).await?;
            let account = format!("{}:{role}", self.tenant);
            self.kubectl(&["create", "rolebinding", role, "--clusterrole", role, "--serviceaccount", &account]).await?;
        }
        let kubeconfig = self.cluster.kubeconfig_for_service_account(&self.tenant, role, server).await?;
        // As people have it: with their namespace in the context.
        let mut config: Value = serde_json::from_slice(&std::fs::read(&kubeconfig)?)?;
        config["contexts"][0]["context"]["namespace"] = json!(self.tenant);
        std::fs::write(&kubeconfig, config.to_string())?;
        Ok(kubeconfig)
    }

    /// Calls the plugin, and waits until it has ended.
    pub(crate) async fn plugin(&self, kubeconfig: &Path, args: &[&str]) -> Result<Said> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_revoiceit-operator"));
        command.arg0("/usr/local/bin/kubectl-revoiceit").args(args).env("KUBECONFIG", kubeconfig);
        self.ended(command).await
    }

    async fn ended(&self, mut command: Command) -> Result<Said> {
        let name = format!("plugin-{}", self.started.fetch_add(1, Ordering::Relaxed));
        let process = Process::spawn(&name, &mut command, &self.scratch)?;
        let code = process.wait(GENEROUS).await?.code();
        Ok(Said { code, out: process.stdout()?, err: process.stderr()? })
    }
}
