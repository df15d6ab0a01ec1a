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
    /// One for each resource of which there is something to say.
    pub resources: Vec<ResourceState>,
    /// Refresh tokens that have to be revoked and are not yet.
    pub pending_revocations: u64,
    /// Refresh tokens that may exist although nobody has them.
    pub suspected_lost: u64,
    /// When the first of the superseded refresh tokens was or is to be revoked. `None` while there is none.
    pub revocation_due: Option<Timestamp>,
    /// Ledgers that this install holds and does not work on, such as those of other clusters.
    pub ledgers_unattended: u64,
}

/// How one resource stands.
#[derive(Clone, Debug, PartialEq)]
pub struct ResourceState {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Whether its pods read a valid token, as its spec asks for. `None` for one that nobody waits for: it is suspended, or goes, or another
    /// operator speaks of it.
    pub is_ready: Option<bool>,
    /// When its last access token expires, delivered or not. `None` if it has none.
    pub expires_at: Option<Timestamp>,
    /// When that is refreshed. `None` for one that is suspended.
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
        let help = "1 if the pods of a resource read a valid token, as its spec asks for, else 0; absent while nobody waits for it: suspended, \
                    being deleted, or another operator's. Leader only.";
        of_each(&mut encoder, ("resource_ready", None), help, &resources, |state| state.is_ready.map(i64::from))?;
        let help =
            "When the last access token of a resource expires, since the Unix epoch, also if it could not be delivered. Leader only.";
        let seconds = |time: Timestamp| time.as_second();
        let expiry = ("token_expiry_timestamp", Some(Unit::Seconds));
        of_each(&mut encoder, expiry, help, &resources, |state| state.expires_at.map(seconds))?;
        let help = "When the access token is refreshed, since the Unix epoch; absent while it is suspended. Leader only.";
        let due = ("refresh_due_timestamp", Some(Unit::Seconds));
        of_each(&mut encoder, due, help, &resources, |state| state.refresh_at.map(seconds))
    }
}

/// A series for each resource that has such a value.
fn of_each(
    encoder: &mut DescriptorEncoder,
    (name, unit): (&str, Option<Unit>),
    help: &str,
    resources: &[ResourceState],
    value: impl Fn(&ResourceState) -> Option<i64>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?;
    for state in resources {
        if let Some(value) = value(state) {
            let labels = [("namespace", state.namespace.as_str()), ("name", state.name.as_str())];
            metric.encode_family(&labels)?.encode_gauge(&value)?;
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
            .filter(|line| line.contains("{namespace=") || line.starts_with("revoiceit_pending") || line.starts_with("revoiceit_leader"))
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn series_end_with_their_resource_and_are_the_leaders_alone() {
        let state = |name: &str, is_ready, expires_at: Option<i64>, refresh_at: Option<i64>| {
            let time = |second| Timestamp::from_second(second).expect("a time");
            let (expires_at, refresh_at) = (expires_at.map(time), refresh_at.map(time));
            ResourceState { namespace: "team-a".into(), name: name.into(), is_ready, expires_at, refresh_at }
        };
        let resources = Arc::new(Mutex::new(vec![
            state("speech", Some(true), Some(1_800_000_000), Some(1_799_999_100)),
            state("suspended", None, Some(1_800_000_000), None),
            state("new", Some(false), None, None),
        ]));
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
                "revoiceit_resource_ready{namespace=\"team-a\",name=\"speech\"} 1",
                "revoiceit_resource_ready{namespace=\"team-a\",name=\"new\"} 0",
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
