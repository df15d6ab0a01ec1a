//! What is measured, and how it is exposed: OpenMetrics text under `revoiceit_…`.
//!
//! Series about a resource are not recorded but read at the scrape ([`Snapshot`]). Counters start at zero for every word that they can be labelled with, so that the first failure is an
//! increase.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::{Registry, Unit},
};

pub use super::{
    labels::{IssueCause, PassResult, Revocation},
    scrape::{ResourceState, Snapshot},
};
use super::{leader::Leadership, process::Process, scrape::Scraped};
use crate::revoiceit::{CallKind, CallReport, OUTCOMES};

type Labels<const N: usize> = [(&'static str, &'static str); N];
type Histograms<const N: usize> = Family<Labels<N>, Histogram, fn() -> Histogram>;

/// All metrics of the process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    scraped: Arc<Scraped>,
    refresh_margin: Histogram,
    api_requests: Family<Labels<2>, Counter>,
    api_request_duration: Histograms<1>,
    tokens_issued: Family<Labels<1>, Counter>,
    revocations: Family<Labels<1>, Counter>,
    tokens_unaccounted: Counter,
    passes: Family<Labels<1>, Counter>,
    pass_duration: Histogram,
    gate_waiting: Family<Labels<1>, Gauge>,
    gate_wait: Histograms<1>,
    clock_skew: Gauge<f64, AtomicU64>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All at zero. One for the process, early: its start time is taken from here.
    pub fn new() -> Self {
        let scraped = Arc::new(Scraped::default());
        let new = Self {
            registry: Registry::default(),
            scraped,
            // Zero and less is a token that expired before its successor was there. 900 is the default of beforeExpiry.
            refresh_margin: Histogram::new([0.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1200.0, 1800.0, 2400.0, 3600.0]),
            api_requests: Family::default(),
            api_request_duration: Family::new_with_constructor(api_buckets),
            tokens_issued: Family::default(),
            revocations: Family::default(),
            tokens_unaccounted: Counter::default(),
            passes: Family::default(),
            pass_duration: Histogram::new([0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0]),
            gate_waiting: Family::default(),
            gate_wait: Family::new_with_constructor(gate_buckets),
            clock_skew: Gauge::default(),
        };
        new.start_at_zero();
        new.registered()
    }

    fn start_at_zero(&self) {
        for call in CallKind::ALL {
            drop(self.gate_waiting.get_or_create(&[("lane", call.as_str())]));
            drop(self.gate_wait.get_or_create(&[("lane", call.as_str())]));
            drop(self.api_request_duration.get_or_create(&[("call", call.as_str())]));
            for outcome in OUTCOMES {
                drop(self.api_requests.get_or_create(&[("call", call.as_str()), ("outcome", outcome)]));
            }
        }
        for cause in IssueCause::ALL {
            drop(self.tokens_issued.get_or_create(&[("cause", cause.word())]));
        }
        for outcome in Revocation::ALL {
            drop(self.revocations.get_or_create(&[("outcome", outcome.word())]));
        }
        for result in PassResult::ALL {
            drop(self.passes.get_or_create(&[("result", result.word())]));
        }
    }

    /// A counter's name ends in `_total`, and a unit is appended, by the encoder.
    fn registered(mut self) -> Self {
        self.registry.register_collector(Box::new(Process::started_now()));
        let own = self.registry.sub_registry_with_prefix("revoiceit");
        let seconds = || Unit::Seconds;
        own.register("build", "The version that runs", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        own.register_with_unit(
            "refresh_margin",
            "How long the old access token had still to live when the new one was written; 0 for one that had expired",
            seconds(),
            self.refresh_margin.clone(),
        );
        own.register("api_requests", "Requests to the Revoiceit API by call and outcome", self.api_requests.clone());
        own.register_with_unit(
            "api_request_duration",
            "How long requests to the Revoiceit API took, by call, whatever the outcome",
            seconds(),
            self.api_request_duration.clone(),
        );
        own.register("tokens_issued", "New lines of tokens that Revoiceit issued, by cause", self.tokens_issued.clone());
        own.register("revocations", "Revocations of refresh tokens by outcome", self.revocations.clone());
        own.register(
            "tokens_unaccounted",
            "Refresh tokens that may exist, that nobody has, and whose resource is gone: nobody will revoke them",
            self.tokens_unaccounted.clone(),
        );
        own.register("passes", "Passes over a resource by result", self.passes.clone());
        own.register_with_unit(
            "pass_duration",
            "How long passes took, without the time that they waited to be let to the Revoiceit API",
            seconds(),
            self.pass_duration.clone(),
        );
        own.register("gate_waiting", "Calls that wait to be let to the Revoiceit API, by lane", self.gate_waiting.clone());
        own.register_with_unit(
            "gate_wait",
            "How long calls waited to be let to the Revoiceit API, by lane",
            seconds(),
            self.gate_wait.clone(),
        );
        own.register_with_unit(
            "clock_skew",
            "How far Revoiceit's clock is ahead of this one, by the Date header of the last answer",
            seconds(),
            self.clock_skew.clone(),
        );
        own.register_collector(Box::new(self.scraped.clone()));
        self
    }

    /// From now on `revoiceit_leader` follows this, and the series about resources are there only while it leads.
    /// The first one counts.
    pub fn follow(&self, leadership: Leadership) {
        let _ = self.scraped.leadership.set(leadership);
    }

    /// From now on the series about resources are read from here. It is called at each scrape and should take
    /// milliseconds. The first one counts.
    pub fn read_from(&self, source: impl Fn() -> Snapshot + Send + Sync + 'static) {
        let _ = self.scraped.source.set(Box::new(source));
    }

    /// A refreshed or new token was written over one that had so many seconds left, fewer than none if it had expired.
    pub fn token_replaced(&self, seconds_left: f64) {
        // The sum of a histogram with negative observations is no counter any more.
        self.refresh_margin.observe(seconds_left.max(0.0));
    }

    /// A request to the Revoiceit API was answered, or not.
    pub fn api_request(&self, report: &CallReport) {
        let CallReport { call, outcome, elapsed, server_date, answered_at, .. } = report;
        self.api_requests.get_or_create(&[("call", call.as_str()), ("outcome", outcome)]).inc();
        self.api_request_duration.get_or_create(&[("call", call.as_str())]).observe(elapsed.as_secs_f64());
        if let Some(date) = server_date {
            self.clock_skew.set(date.duration_since(*answered_at).as_secs_f64());
        }
    }

    /// A new line of tokens was issued.
    pub fn token_issued(&self, cause: IssueCause) {
        self.tokens_issued.get_or_create(&[("cause", cause.word())]).inc();
    }

    /// A revocation was tried.
    pub fn revocation(&self, outcome: Revocation) {
        self.revocations.get_or_create(&[("outcome", outcome.word())]).inc();
    }

    /// A ledger was deleted that counted so many suspects.
    pub fn tokens_unaccounted(&self, suspects: u64) {
        self.tokens_unaccounted.inc_by(suspects);
    }

    /// A pass ended. `took` is without its waiting in the gate.
    pub fn pass(&self, result: PassResult, took: Duration) {
        self.passes.get_or_create(&[("result", result.word())]).inc();
        self.pass_duration.observe(took.as_secs_f64());
    }

    /// So many calls wait in this lane of the gate now.
    pub fn gate_waiting(&self, lane: CallKind, waiting: usize) {
        self.gate_waiting.get_or_create(&[("lane", lane.as_str())]).set(i64::try_from(waiting).unwrap_or(i64::MAX));
    }

    /// A call was let through after this wait.
    pub fn gate_passed(&self, lane: CallKind, waited: Duration) {
        self.gate_wait.get_or_create(&[("lane", lane.as_str())]).observe(waited.as_secs_f64());
    }

    /// The whole exposition as OpenMetrics text.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("a String takes any text");
        text
    }
}

fn api_buckets() -> Histogram {
    Histogram::new([0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0])
}

fn gate_buckets() -> Histogram {
    Histogram::new([0.001, 0.01, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0])
}

/// A metric as users meet it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Its name in queries: with `_total` for counters and `_info` for the build; histograms add `_bucket`, `_sum`, `_count`.
    pub name: String,
    /// `counter`, `gauge`, `histogram` or `info`.
    pub kind: String,
    /// Its labels, each with the words that it can have: none where these depend on what is in the cluster, and for the bounds of buckets.
    pub labels: BTreeMap<String, Vec<String>>,
    /// What it says.
    pub help: String,
}

/// Every metric that the program can expose, for comparison with docs, dashboards and alerts.
pub fn catalogue() -> Vec<Described> {
    let metrics = Metrics::new();
    metrics.follow(Leadership::always());
    let state = ResourceState {
        namespace: String::new(),
        name: String::new(),
        is_ready: Some(true),
        expires_at: Some(jiff::Timestamp::UNIX_EPOCH),
        refresh_at: Some(jiff::Timestamp::UNIX_EPOCH),
    };
    metrics.read_from(move || Snapshot { resources: vec![state.clone()], ..Snapshot::default() });
    let text = metrics.encode();
    let after = |prefix: &str, name: &str| {
        let found = text.lines().find_map(|line| line.strip_prefix(prefix)?.strip_prefix(name)?.strip_prefix(' '));
        found.unwrap_or_default().to_owned()
    };
    let names = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    names
        .map(|(name, kind)| {
            let suffix = match kind {
                "counter" => "_total",
                "info" => "_info",
                _ => "",
            };
            let labels = labels(&text, name);
            Described { name: format!("{name}{suffix}"), kind: kind.to_owned(), labels, help: after("# HELP ", name) }
        })
        .collect()
}

/// The labels of a metric in an exposition whose values hold neither commas nor quotes, with the values that are no bounds of buckets.
fn labels(text: &str, name: &str) -> BTreeMap<String, Vec<String>> {
    let mut labels = BTreeMap::<String, Vec<String>>::new();
    let series = text.lines().filter_map(|line| line.strip_prefix(name)?.split_once('{')?.1.split_once('}'));
    for (key, value) in series.flat_map(|(pairs, _)| pairs.split(',')).filter_map(|pair| pair.split_once('=')) {
        let (words, word) = (labels.entry(key.to_owned()).or_default(), value.trim_matches('"'));
        let is_open = word.is_empty() || ["le", "version"].contains(&key);
        if !is_open && !words.iter().any(|known| known == word) {
            words.push(word.to_owned());
        }
    }
    for words in labels.values_mut() {
        words.sort();
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_has(metrics: &Metrics, line: &str) {
        let text = metrics.encode();
        assert!(text.lines().any(|found| found == line), "{line:?} is not in\n{text}");
    }

    fn series(metrics: &Metrics, prefix: &str) -> usize {
        metrics.encode().lines().filter(|line| line.starts_with(prefix)).count()
    }

    #[test]
    fn the_names_that_dashboards_and_alerts_rely_on() {
        let names: Vec<String> = catalogue().into_iter().map(|metric| format!("{} {}", metric.kind, metric.name)).collect();
        let process = ["gauge process_start_time_seconds"].into_iter().chain(
            if cfg!(target_os = "linux") {
                &[
                    "gauge process_resident_memory_bytes",
                    "gauge process_open_fds",
                    "gauge process_max_fds",
                    "counter process_cpu_seconds_total",
                ][..]
            } else {
                &[]
            }
            .iter()
            .copied(),
        );
        let own = [
            "info revoiceit_build_info",
            "histogram revoiceit_refresh_margin_seconds",
            "counter revoiceit_api_requests_total",
            "histogram revoiceit_api_request_duration_seconds",
            "counter revoiceit_tokens_issued_total",
            "counter revoiceit_revocations_total",
            "counter revoiceit_tokens_unaccounted_total",
            "counter revoiceit_passes_total",
            "histogram revoiceit_pass_duration_seconds",
            "gauge revoiceit_gate_waiting",
            "histogram revoiceit_gate_wait_seconds",
            "gauge revoiceit_clock_skew_seconds",
            "gauge revoiceit_leader",
            "gauge revoiceit_pending_revocations",
            "gauge revoiceit_suspected_lost",
            "gauge revoiceit_ledgers_unattended",
            "gauge revoiceit_revocation_due_timestamp_seconds",
            "gauge revoiceit_resource_ready",
            "gauge revoiceit_token_expiry_timestamp_seconds",
            "gauge revoiceit_refresh_due_timestamp_seconds",
        ];
        assert_eq!(names, process.chain(own).collect::<Vec<_>>());
        assert!(catalogue().iter().all(|metric| metric.help.ends_with('.') && !metric.help.ends_with("..")), "{:?}", catalogue());
    }

    #[test]
    fn counters_start_at_zero_for_every_word() {
        let metrics = Metrics::new();
        assert_eq!(series(&metrics, "revoiceit_api_requests_total{"), CallKind::ALL.len() * OUTCOMES.len());
        assert_eq!(series(&metrics, "revoiceit_tokens_issued_total{"), IssueCause::ALL.len());
        assert_has(&metrics, "revoiceit_api_requests_total{call=\"revoke\",outcome=\"lost\"} 0");
        assert_has(&metrics, "revoiceit_passes_total{result=\"panicked\"} 0");
    }

    #[test]
    fn what_is_recorded_is_exposed() {
        let metrics = Metrics::new();
        let answered_at = jiff::Timestamp::from_millisecond(1_500).expect("in range");
        metrics.api_request(&CallReport {
            call: CallKind::Issue,
            outcome: "rejected",
            status: Some(400),
            elapsed: Duration::from_millis(30),
            server_date: Some(jiff::Timestamp::UNIX_EPOCH),
            answered_at,
        });
        metrics.token_issued(IssueCause::RotationRequested);
        metrics.revocation(Revocation::Disputed);
        metrics.tokens_unaccounted(2);
        metrics.pass(PassResult::Rested, Duration::from_millis(30));
        metrics.gate_waiting(CallKind::Refresh, 7);
        metrics.gate_passed(CallKind::Refresh, Duration::from_secs(2));
        for line in [
            "revoiceit_api_requests_total{call=\"issue\",outcome=\"rejected\"} 1",
            "revoiceit_api_request_duration_seconds_bucket{le=\"0.025\",call=\"issue\"} 0",
            "revoiceit_api_request_duration_seconds_bucket{le=\"0.05\",call=\"issue\"} 1",
            "revoiceit_tokens_issued_total{cause=\"rotation_requested\"} 1",
            "revoiceit_revocations_total{outcome=\"disputed\"} 1",
            "revoiceit_tokens_unaccounted_total 2",
            "revoiceit_passes_total{result=\"rested\"} 1",
            "revoiceit_pass_duration_seconds_sum 0.03",
            "revoiceit_gate_waiting{lane=\"refresh\"} 7",
            "revoiceit_gate_wait_seconds_count{lane=\"refresh\"} 1",
            "revoiceit_clock_skew_seconds -1.5",
        ] {
            assert_has(&metrics, line);
        }
    }

    #[test]
    fn a_token_that_was_late_is_in_the_lowest_bucket() {
        let metrics = Metrics::new();
        metrics.token_replaced(-20.0);
        metrics.token_replaced(890.0);
        assert_has(&metrics, "revoiceit_refresh_margin_seconds_bucket{le=\"0.0\"} 1");
        assert_has(&metrics, "revoiceit_refresh_margin_seconds_bucket{le=\"900.0\"} 2");
        assert_has(&metrics, "revoiceit_refresh_margin_seconds_sum 890.0");
    }
}
