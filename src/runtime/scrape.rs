//! Metrics that are read at the scrape: what each resource holds, and who leads.
//!
//! Nothing is kept here, so no series can outlive its resource or the leadership.

use std::{
    fmt::{self, Debug},
    sync::OnceLock,
};

use k8s_openapi::jiff::Timestamp;
use prometheus_client::{collector::Collector, encoding::DescriptorEncoder, metrics::MetricType, registry::Unit};

use super::leader::Leadership;

/// What the leader knows about the resources and their tokens at the time of a scrape.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// One for each resource that has a token.
    pub resources: Vec<ResourceTimes>,
    /// Refresh tokens that have to be revoked and are not yet.
    pub pending_revocations: u64,
    /// Refresh tokens that may exist although nobody has them.
    pub suspected_lost: u64,
    /// When the first of the superseded refresh tokens was or is to be revoked. `None` while there is none.
    pub revocation_due: Option<Timestamp>,
    /// Ledgers that this install holds and does not work on, such as those of other clusters.
    pub ledgers_unattended: u64,
}

/// The times of one resource.
#[derive(Clone, Debug, PartialEq)]
pub struct ResourceTimes {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// When the access token in the target expires.
    pub expires_at: Timestamp,
    /// When it is refreshed. `None` for one that is suspended.
    pub refresh_at: Option<Timestamp>,
}

type Source = Box<dyn Fn() -> Snapshot + Send + Sync>;

/// What is read at the scrape.
#[derive(Default)]
pub(super) struct Scraped {
    pub(super) leadership: OnceLock<Leadership>,
    pub(super) source: OnceLock<Source>,
}

impl Debug for Scraped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scraped").finish_non_exhaustive()
    }
}

impl Collector for Scraped {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let leads = self.leadership.get().is_some_and(Leadership::is_leading);
        let help = "1 while this replica leads, else 0.";
        encoder.encode_descriptor("leader", help, None, MetricType::Gauge)?.encode_gauge(&i64::from(leads))?;
        let Some(source) = self.source.get().filter(|_| leads) else { return Ok(()) };
        let Snapshot { resources, pending_revocations, suspected_lost, revocation_due, ledgers_unattended } = source();

        for (name, help, value) in [
            ("pending_revocations", "Refresh tokens that have to be revoked and are not yet. Leader only.", pending_revocations),
            ("suspected_lost", "Refresh tokens that may exist although nobody has them. Leader only.", suspected_lost),
            ("ledgers_unattended", "Ledgers that are here and are not worked on. Leader only.", ledgers_unattended),
        ] {
            encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)?;
        }
        let help = "When the first of the superseded refresh tokens was or is to be revoked, since the Unix epoch; absent while there is none. Leader only.";
        let mut metric = encoder.encode_descriptor("revocation_due_timestamp", help, Some(&Unit::Seconds), MetricType::Gauge)?;
        if let Some(due) = revocation_due {
            metric.encode_gauge(&due.as_second())?;
        }
        let expires = |times: &ResourceTimes| Some(times.expires_at);
        let help = "When the access token in the target expires, since the Unix epoch. Leader only.";
        timestamps(&mut encoder, "token_expiry_timestamp", help, &resources, expires)?;
        let help = "When the access token is refreshed, since the Unix epoch; absent while it is suspended. Leader only.";
        timestamps(&mut encoder, "refresh_due_timestamp", help, &resources, |times| times.refresh_at)
    }
}

fn timestamps(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    resources: &[ResourceTimes],
    time: impl Fn(&ResourceTimes) -> Option<Timestamp>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Gauge)?;
    for times in resources {
        if let Some(time) = time(times) {
            let labels = [("namespace", times.namespace.as_str()), ("name", times.name.as_str())];
            metric.encode_family(&labels)?.encode_gauge(&time.as_second())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::runtime::metrics::Metrics;

    fn lines(metrics: &Metrics) -> Vec<String> {
        let text = metrics.encode();
        text.lines()
            .filter(|line| {
                line.contains("timestamp_seconds{") || line.starts_with("revoiceit_pending") || line.starts_with("revoiceit_leader")
            })
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn series_end_with_their_resource_and_are_the_leaders_alone() {
        let times = |name: &str, refresh_at: Option<i64>| ResourceTimes {
            namespace: "team-a".into(),
            name: name.into(),
            expires_at: Timestamp::from_second(1_800_000_000).expect("a time"),
            refresh_at: refresh_at.map(|second| Timestamp::from_second(second).expect("a time")),
        };
        let resources = Arc::new(Mutex::new(vec![times("speech", Some(1_799_999_100)), times("suspended", None)]));
        let source = {
            let resources = resources.clone();
            move || Snapshot { resources: resources.lock().expect("not poisoned").clone(), pending_revocations: 3, ..Snapshot::default() }
        };
        let (leader, standby) = (Metrics::new(), Metrics::new());
        leader.follow(Leadership::always());
        leader.read_from(source.clone());
        standby.read_from(source);

        assert_eq!(
            lines(&leader),
            [
                "revoiceit_leader 1",
                "revoiceit_pending_revocations 3",
                "revoiceit_token_expiry_timestamp_seconds{namespace=\"team-a\",name=\"speech\"} 1800000000",
                "revoiceit_token_expiry_timestamp_seconds{namespace=\"team-a\",name=\"suspended\"} 1800000000",
                "revoiceit_refresh_due_timestamp_seconds{namespace=\"team-a\",name=\"speech\"} 1799999100",
            ]
        );
        assert_eq!(lines(&standby), ["revoiceit_leader 0"]);
        resources.lock().expect("not poisoned").clear();
        assert_eq!(lines(&leader), ["revoiceit_leader 1", "revoiceit_pending_revocations 3"]);
    }
}
