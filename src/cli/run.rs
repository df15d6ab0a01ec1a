//! `revoiceit-operator run`: serves a cluster until it is told to stop.

use std::{net::SocketAddr, time::Duration};

use clap::{ArgAction, builder::BoolishValueParser, value_parser};

use super::{
    flags::{ApiFlags, KubernetesFlags, LogFlags, ScopeFlags},
    values,
};

/// The flags. They are checked already: [`super::Cli::try_parse_and_check`] makes no other.
#[derive(clap::Args, Clone, Debug, PartialEq, Eq)]
pub struct RunArgs {
    /// How Revoiceit is called.
    #[command(flatten)]
    pub api: ApiFlags,
    /// What is served, and from where.
    #[command(flatten)]
    pub scope: ScopeFlags,

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
    /// What is logged.
    #[command(flatten)]
    pub log: LogFlags,
    /// How the cluster is reached.
    #[command(flatten)]
    pub kubernetes: KubernetesFlags,
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
        assert_eq!(args.api.api_url.as_str(), "https://api.revoiceit.com/");
        assert_eq!(args.api.token_lifetime, Duration::from_secs(3600));
        assert_eq!(args.lease_duration, Duration::from_secs(15));
        assert_eq!(args.scope.namespace, Vec::<String>::new());
        assert!(args.leader_elect);
        assert_eq!((args.api.api_qps, args.api.api_burst, args.api.api_in_flight, args.concurrency), (50, 100, 16, 16));
    }

    #[test]
    fn lists_and_booleans_are_read_as_people_write_them() {
        let args = parsed(&["--namespace", "team-a", "--namespace=team-b,team-c", "--leader-elect=false"]).expect("valid");
        assert_eq!(args.scope.namespace, ["team-a", "team-b", "team-c"]);
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
        assert_eq!(parsed(&args).expect("valid").api.policy_for_tests, Some("p.json".into()));
    }
}
