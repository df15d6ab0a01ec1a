//! `revoiceit-operator run`: serves a cluster until it is told to stop.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{ArgAction, ValueEnum, builder::BoolishValueParser, value_parser};
use reqwest::Url;

use super::values;
use crate::runtime::telemetry::LogFormat;

/// The flags. They are checked already: [`super::Cli::try_parse_and_check`] makes no other.
#[derive(clap::Args, Clone, Debug, PartialEq, Eq)]
pub struct RunArgs {
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

    /// Serve this namespace only. Give it several times, or several names with commas between them, to serve several. All namespaces when left out.
    #[arg(help_heading = "Scope", long, env = "REVOICEIT_NAMESPACE", value_name = "NAMESPACE", value_delimiter = ',', value_parser = values::namespace)]
    pub namespace: Vec<String>,
    /// The operator's own namespace, where its ledgers and its lease are. When left out: $POD_NAMESPACE, else the service account's, else revoiceit-system.
    #[arg(help_heading = "Scope", long, env = "REVOICEIT_OPERATOR_NAMESPACE", value_name = "NAMESPACE", value_parser = values::namespace)]
    pub operator_namespace: Option<String>,

    /// Address and port for /metrics, /livez and /readyz.
    #[arg(help_heading = "Process", long, env = "REVOICEIT_LISTEN", value_name = "ADDRESS", default_value = "0.0.0.0:8080", value_parser = values::address)]
    pub listen: SocketAddr,
    /// Work only while holding the lease, so that replicas do not do the same work. Without it nothing breaks, but work is done twice.
    #[arg(help_heading = "Process", long, env = "REVOICEIT_LEADER_ELECT", value_name = "BOOL", default_value = "true", action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub leader_elect: bool,
    /// After how long without a sign of life another replica takes over. Whole seconds, from 5s to 5m.
    #[arg(help_heading = "Process", long, env = "REVOICEIT_LEASE_DURATION", value_name = "DURATION", default_value = "15s", value_parser = |text: &str| values::seconds(text, "5s", "5m"))]
    pub lease_duration: Duration,
    /// How many resources are worked on at a time; those that wait for a call do not count. From 1 to 256.
    #[arg(help_heading = "Process", long, env = "REVOICEIT_CONCURRENCY", value_name = "NUMBER", default_value = "16", value_parser = value_parser!(u32).range(1..=256))]
    pub concurrency: u32,
    /// How log lines look.
    #[arg(help_heading = "Process", long, env = "REVOICEIT_LOG_FORMAT", value_name = "FORMAT", value_enum, default_value = "json")]
    pub log_format: LogFormat,
    /// Least important log lines that are written.
    #[arg(help_heading = "Process", long, env = "REVOICEIT_LOG_LEVEL", value_name = "LEVEL", value_enum, default_value = "info")]
    pub log_level: LogLevel,

    /// Kubeconfig file to reach the cluster with. When left out: the service account of the pod, else $KUBECONFIG, else ~/.kube/config.
    #[arg(help_heading = "Kubernetes API", long, env = "REVOICEIT_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig file. When left out: its current context.
    #[arg(help_heading = "Kubernetes API", long, env = "REVOICEIT_CONTEXT", value_name = "NAME")]
    pub context: Option<String>,

    /// JSON file with shorter times than the real ones, so that tests need not wait for hours.
    #[arg(long, env = "REVOICEIT_POLICY_FOR_TESTS", value_name = "FILE", hide = true)]
    pub policy_for_tests: Option<PathBuf>,
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

impl RunArgs {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Verb};

    fn parsed(flags: &[&str]) -> Result<RunArgs, String> {
        let args = ["revoiceit-operator", "run"].iter().chain(flags);
        match Cli::try_parse_and_check(args) {
            Ok(Cli { verb: Verb::Run(args) }) => Ok(*args),
            Ok(other) => Err(format!("{other:?}")),
            Err(error) => Err(error.to_string()),
        }
    }

    fn complaint(flags: &[&str]) -> String {
        parsed(flags).expect_err("it is refused").lines().next().unwrap_or_default().to_owned()
    }

    #[test]
    fn the_defaults_are_those_of_the_documentation() {
        let args = parsed(&[]).expect("defaults are valid");
        assert_eq!(args.api_url.as_str(), "https://api.revoiceit.com/");
        assert_eq!(args.token_lifetime, Duration::from_secs(3600));
        assert_eq!(args.lease_duration, Duration::from_secs(15));
        assert_eq!(args.namespace, Vec::<String>::new());
        assert!(args.leader_elect);
        assert_eq!((args.api_qps, args.api_burst, args.api_in_flight, args.concurrency), (50, 100, 16, 16));
    }

    #[test]
    fn lists_and_booleans_are_read_as_people_write_them() {
        let args = parsed(&["--namespace", "team-a", "--namespace=team-b,team-c", "--leader-elect=false"]).expect("valid");
        assert_eq!(args.namespace, ["team-a", "team-b", "team-c"]);
        assert!(!args.leader_elect);
        assert!(parsed(&["--leader-elect", "--api-timeout", "1s500ms"]).expect("valid").leader_elect);
    }

    #[test]
    fn what_is_wrong_is_told_with_what_to_do() {
        let cases: [(&[&str], &str); 12] = [
            (
                &["--api-url", "api.revoiceit.com"],
                "error: invalid value 'api.revoiceit.com' for '--api-url <URL>': must be a URL such as https://api.revoiceit.com: relative URL without a base",
            ),
            (
                &["--api-url", "https://api.revoiceit.com/v2"],
                "error: invalid value 'https://api.revoiceit.com/v2' for '--api-url <URL>': must be a URL such as https://api.revoiceit.com, without path, query and fragment: /auth/token and the like are added to it",
            ),
            (
                &["--api-url", "http://127.0.0.1:9999"],
                "error: --api-url http://127.0.0.1:9999/ would send client secrets and tokens unencrypted: use an https:// URL, or add --allow-insecure-api for a sandbox",
            ),
            (&["--token-lifetime", "29s"], "error: invalid value '29s' for '--token-lifetime <DURATION>': must be from 30s to 24h"),
            (
                &["--token-lifetime", "3600"],
                "error: invalid value '3600' for '--token-lifetime <DURATION>': must be a duration such as \"15m\", \"90s\" or \"1h30m\" (units h, m, s and ms, whole numbers of at most 6 digits)",
            ),
            (&["--lease-duration", "4s"], "error: invalid value '4s' for '--lease-duration <DURATION>': must be from 5s to 5m"),
            (
                &["--lease-duration", "5s500ms"],
                "error: invalid value '5s500ms' for '--lease-duration <DURATION>': must be in whole seconds",
            ),
            (&["--api-qps", "0"], "error: invalid value '0' for '--api-qps <NUMBER>': 0 is not in 1..=10000"),
            (&["--concurrency=-1"], "error: invalid value '-1' for '--concurrency <NUMBER>': -1 is not in 1..=256"),
            (
                &["--namespace", "Team A"],
                "error: invalid value 'Team A' for '--namespace <NAMESPACE>': must be the name of a namespace: at most 63 lower case letters, digits and '-', beginning and ending with a letter or digit",
            ),
            (
                &["--listen", "8080"],
                "error: invalid value '8080' for '--listen <ADDRESS>': must be an IP address and a port, such as 0.0.0.0:8080 or [::]:8080",
            ),
            (
                &["--policy-for-tests", "p.json"],
                "error: --policy-for-tests shortens the times that keep tokens safe, so it is refused for an https:// API: remove it",
            ),
        ];
        for (flags, message) in cases {
            assert_eq!(complaint(flags), message);
        }
    }

    #[test]
    fn times_are_shortened_for_an_insecure_api_alone() {
        let args = ["--api-url", "http://127.0.0.1:9999", "--allow-insecure-api", "--policy-for-tests", "p.json"];
        assert_eq!(parsed(&args).expect("valid").policy_for_tests, Some("p.json".into()));
    }
}
