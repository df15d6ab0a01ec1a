//! Helm as people run it.

use std::{path::PathBuf, process::Stdio, time::Duration};

use anyhow::{Context, Result, ensure};
use revoiceit_harness::{cluster::Cluster, scratch::Scratch, tools};
use serde_json::Value;
use tokio::{process::Command, time::timeout};

pub(crate) const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/helm");

/// Helm has limits of its own; this one ends a test that forgot them.
const TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// Helm with all rights in a cluster, and with none of the settings of the person who runs the tests.
pub(crate) struct Helm {
    kubeconfig: PathBuf,
    scratch: std::sync::Arc<Scratch>,
}

impl Helm {
    pub(crate) fn new(cluster: &Cluster) -> Result<Self> {
        Ok(Self { kubeconfig: cluster.admin_kubeconfig().to_owned(), scratch: std::sync::Arc::new(Scratch::new("helm")?) })
    }

    /// What it printed to standard output; an error that holds what it printed to standard error unless it ends well.
    pub(crate) async fn run<A: AsRef<str>>(&self, args: impl IntoIterator<Item = A>) -> Result<String> {
        self.both(args).await.map(|(stdout, _)| stdout)
    }

    /// The same with standard error, where the output of hooks goes.
    pub(crate) async fn both<A: AsRef<str>>(&self, args: impl IntoIterator<Item = A>) -> Result<(String, String)> {
        let args: Vec<String> = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
        let said = args.join(" ");
        let helm = tokio::task::spawn_blocking(tools::helm).await??;
        let mut command = Command::new(helm);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("HELM_")) {
            command.env_remove(name);
        }
        let home = self.scratch.path();
        let places = ["HOME", "HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"];
        command.args(args).envs(places.map(|place| (place, home))).env("KUBECONFIG", &self.kubeconfig);
        command.stdin(Stdio::null()).kill_on_drop(true);
        let output = timeout(TIMEOUT, command.output()).await.with_context(|| format!("helm {said}: not done after {TIMEOUT:?}"))?;
        let output = output.with_context(|| format!("running helm {said}"))?;
        ensure!(output.status.success(), "helm {said}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim_end());
        let text = |bytes| String::from_utf8(bytes).with_context(|| format!("the output of helm {said}"));
        Ok((text(output.stdout)?, text(output.stderr)?))
    }

    /// What the chart renders for a release called `revoiceit-operator` in this namespace.
    pub(crate) async fn render(&self, namespace: &str, flags: &[&str]) -> Result<Vec<Value>> {
        let args = ["template", "revoiceit-operator", CHART, "--namespace", namespace];
        let text = self.run(args.iter().chain(flags)).await?;
        let objects: Vec<Value> = serde_saphyr::from_multiple(&text)?;
        Ok(objects.into_iter().filter(Value::is_object).collect())
    }
}
