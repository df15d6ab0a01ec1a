//! Flags that more than one verb has.

use std::{path::PathBuf, time::Duration};

use clap::{ValueEnum, value_parser};
use reqwest::Url;

use super::values;
use crate::runtime::telemetry::LogFormat;

/// How Revoiceit is called.
#[derive(clap::Args, Clone, Debug, PartialEq, Eq)]
pub struct ApiFlags {
    /// Where the Revoiceit API is: scheme, host and port. No resource can name another one.
    #[arg(help_heading = "Revoiceit API", long, env = "REVOICEIT_API_URL", value_name = "URL", default_value = "https://api.revoiceit.com", value_parser = values::origin)]
    pub api_url: Url,
    /// File of PEM certificates to trust instead of the system's when calling the Revoiceit API. It is read again when it changes.
    #[arg(help_heading = "Revoiceit API", long, env = "REVOICEIT_API_CA_FILE", value_name = "FILE")]
    pub api_ca_file: Option<PathBuf>,
    /// Allow an http:// URL, which sends client secrets and tokens unencrypted. For a sandbox only.
    #[arg(help_heading = "Revoiceit API", long, env = "REVOICEIT_ALLOW_INSECURE_API")]
    pub allow_insecure_api: bool,
    /// How long an access token is valid from its issue, when the token itself does not say less. From 30s to 24h.
    #[arg(help_heading = "Revoiceit API", long, env = "REVOICEIT_TOKEN_LIFETIME", value_name = "DURATION", default_value = "1h", value_parser = |text: &str| values::duration(text, "30s", "24h"))]
    pub token_lifetime: Duration,
    /// How many calls a second the Revoiceit API gets on average. From 1 to 10000.
    #[arg(help_heading = "Revoiceit API", long, env = "REVOICEIT_API_QPS", value_name = "NUMBER", default_value = "50", value_parser = value_parser!(u32).range(1..=10_000))]
    pub api_qps: u32,
    /// How many calls the Revoiceit API may get at once after a pause. From 1 to 10000.
    #[arg(help_heading = "Revoiceit API", long, env = "REVOICEIT_API_BURST", value_name = "NUMBER", default_value = "100", value_parser = value_parser!(u32).range(1..=10_000))]
    pub api_burst: u32,
    /// How many calls to the Revoiceit API may wait for their answer at a time. Issues take at most half of them, revocations a quarter, refreshes three quarters. From 4 to 256.
    #[arg(help_heading = "Revoiceit API", long, env = "REVOICEIT_API_IN_FLIGHT", value_name = "NUMBER", default_value = "16", value_parser = value_parser!(u32).range(4..=256))]
    pub api_in_flight: u32,
    /// How long a call to the Revoiceit API may take as a whole. From 100ms to 30s.
    #[arg(help_heading = "Revoiceit API", long, env = "REVOICEIT_API_TIMEOUT", value_name = "DURATION", default_value = "10s", value_parser = |text: &str| values::duration(text, "100ms", "30s"))]
    pub api_timeout: Duration,

    /// JSON file with shorter times than the real ones, so that tests need not wait for hours.
    #[arg(long, env = "REVOICEIT_POLICY_FOR_TESTS", value_name = "FILE", hide = true)]
    pub policy_for_tests: Option<PathBuf>,
}

/// What is served, and from where.
#[derive(clap::Args, Clone, Debug, PartialEq, Eq)]
pub struct ScopeFlags {
    /// Serve this namespace only. Give it several times, or several names with commas between them, to serve several. All namespaces when left out.
    #[arg(help_heading = "Scope", long, env = "REVOICEIT_NAMESPACE", value_name = "NAMESPACE", value_delimiter = ',', value_parser = values::namespace)]
    pub namespace: Vec<String>,
    /// The operator's own namespace, where its ledgers and its lease are. When left out: $POD_NAMESPACE, else the service account's, else revoiceit-system.
    #[arg(help_heading = "Scope", long, env = "REVOICEIT_OPERATOR_NAMESPACE", value_name = "NAMESPACE", value_parser = values::namespace)]
    pub operator_namespace: Option<String>,
}

/// What is logged.
#[derive(clap::Args, Clone, Debug, PartialEq, Eq)]
pub struct LogFlags {
    /// How log lines look.
    #[arg(help_heading = "Process", long, env = "REVOICEIT_LOG_FORMAT", value_name = "FORMAT", value_enum, default_value = "json")]
    pub log_format: LogFormat,
    /// Least important log lines that are written.
    #[arg(help_heading = "Process", long, env = "REVOICEIT_LOG_LEVEL", value_name = "LEVEL", value_enum, default_value = "info")]
    pub log_level: LogLevel,
}

/// How the cluster is reached.
#[derive(clap::Args, Clone, Debug, PartialEq, Eq)]
pub struct KubernetesFlags {
    /// Kubeconfig file to reach the cluster with. When left out: the service account of the pod, else $KUBECONFIG, else ~/.kube/config.
    #[arg(help_heading = "Kubernetes API", long, env = "REVOICEIT_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig file. When left out: its current context.
    #[arg(help_heading = "Kubernetes API", long, env = "REVOICEIT_CONTEXT", value_name = "NAME")]
    pub context: Option<String>,
}

/// How important a log line is.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// The operator cannot do its work.
    Error,
    /// A person may have to act.
    Warn,
    /// Each call to the Revoiceit API and each change in the cluster.
    Info,
    /// Each decision.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// As filters spell it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

impl ApiFlags {
    /// What flags must not be given together, and what to do instead.
    pub(super) fn check(&self) -> Result<(), String> {
        let is_insecure = self.api_url.scheme() != "https";
        if is_insecure && !self.allow_insecure_api {
            return Err(format!(
                "--api-url {} would send client secrets and tokens unencrypted: use an https:// URL, or add --allow-insecure-api for a sandbox",
                self.api_url
            ));
        }
        if self.policy_for_tests.is_some() && !is_insecure {
            return Err(
                "--policy-for-tests shortens the times that keep tokens safe, so it is refused for an https:// API: remove it".into()
            );
        }
        Ok(())
    }
}
