//! What to do about the Lease, decided from what was seen of it. Pure: the time is an argument.
//!
//! Nothing here compares our clock with another machine's. Another holder's lease has run out when its spec stood
//! unchanged for as long as that holder promised, by *our* monotonic clock; the times in the Lease are for people.

use std::time::Duration;

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use tokio::time::Instant;

/// The times of an election. All of them follow from the length of the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long others wait for a holder that they do not hear of.
    pub lease: Duration,
    /// How long a holder believes in its lease, from the start of the request that renewed it. Two thirds of `lease`:
    /// the rest is the margin in which nobody leads.
    pub deadline: Duration,
    /// The most that one attempt may take. Half of `deadline`, so that after one call that hangs there is time for another.
    pub attempt: Duration,
    /// How long from the start of one attempt to the start of the next: 2 s as in client-go, less for short leases.
    pub look: Duration,
}

/// A lease duration that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the lease duration must be whole seconds from 1s to 1h, for example 15s")]
pub struct BadLeaseDuration;

impl Timing {
    /// The times for a lease of this length, which a Lease holds in whole seconds.
    pub fn for_lease(lease: Duration) -> Result<Self, BadLeaseDuration> {
        if lease.subsec_nanos() != 0 || !(1..=3600).contains(&lease.as_secs()) {
            return Err(BadLeaseDuration);
        }
        let deadline = lease * 2 / 3;
        Ok(Self { lease, deadline, attempt: deadline / 2, look: (lease * 2 / 15).min(Duration::from_secs(2)) })
    }

    fn seconds(&self) -> i32 {
        i32::try_from(self.lease.as_secs()).unwrap_or(i32::MAX)
    }
}

/// The Lease as it was read last, and since when its spec has been like that.
#[derive(Clone, Debug, PartialEq)]
pub struct Sighting {
    /// As read, or as the answer to a write showed it.
    pub lease: Lease,
    /// When its spec was first seen as it is.
    pub since: Instant,
}

impl Sighting {
    /// What is known after the Lease was read at `now`. A change outside the spec, such as a label, is no sign of life.
    pub fn next(before: Option<Self>, lease: Lease, now: Instant) -> Self {
        match before {
            Some(before) if before.lease.spec == lease.spec => Self { lease, since: before.since },
            _ => Self { lease, since: now },
        }
    }

    /// Who holds the Lease, if anybody does.
    pub fn holder(&self) -> Option<&str> {
        self.lease.spec.as_ref()?.holder_identity.as_deref().filter(|holder| !holder.is_empty())
    }

    /// When whoever holds it has to be taken for dead. A holder that states no duration gets ours.
    fn runs_out(&self, timing: &Timing) -> Instant {
        let stated = self.lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds);
        let seconds = stated.and_then(|seconds| u64::try_from(seconds).ok()).filter(|seconds| *seconds > 0);
        self.since + seconds.map_or(timing.lease, Duration::from_secs)
    }
}

/// What to do about the Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// There is none: create it.
    Create,
    /// Nobody holds it, or whoever did has not been heard of for too long: take it over.
    Take,
    /// It is ours: renew it.
    Renew,
    /// Somebody else holds it: look again later.
    Wait,
}

/// What the candidate `me` does about the Lease as it was `seen`.
pub fn decide(me: &str, seen: Option<&Sighting>, now: Instant, timing: &Timing) -> Decision {
    let Some(seen) = seen else { return Decision::Create };
    match seen.holder() {
        None => Decision::Take,
        Some(holder) if holder == me => Decision::Renew,
        Some(_) if now >= seen.runs_out(timing) => Decision::Take,
        Some(_) => Decision::Wait,
    }
}

/// The Lease with `me` as its holder. It keeps the resourceVersion of `before`, which makes the write conditional.
///
/// `leaseTransitions` counts the changes of the holder, as in client-go also that from nobody to somebody.
pub fn held(me: &str, before: Option<&Lease>, timing: &Timing, wall: Timestamp) -> Lease {
    let mut lease = before.cloned().unwrap_or_default();
    let mut spec = lease.spec.take().unwrap_or_default();
    if spec.holder_identity.as_deref() != Some(me) {
        spec.acquire_time = Some(MicroTime(wall));
        spec.lease_transitions = Some(before.map_or(0, |_| spec.lease_transitions.unwrap_or(0).saturating_add(1)));
    }
    lease.spec = Some(LeaseSpec {
        holder_identity: Some(me.to_owned()),
        lease_duration_seconds: Some(timing.seconds()),
        renew_time: Some(MicroTime(wall)),
        ..spec
    });
    lease
}

/// The Lease with no holder, so that the next who looks takes it. It keeps the resourceVersion of `before`.
///
/// One second is the shortest duration that the API server admits; client-go writes the same.
pub fn released(before: &Lease, wall: Timestamp) -> Lease {
    let mut lease = before.clone();
    let spec = lease.spec.take().unwrap_or_default();
    lease.spec = Some(LeaseSpec {
        holder_identity: Some(String::new()),
        lease_duration_seconds: Some(1),
        renew_time: Some(MicroTime(wall)),
        ..spec
    });
    lease
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: &str = "me";

    fn timing() -> Timing {
        Timing::for_lease(Duration::from_secs(15)).expect("15 s is fine")
    }

    fn lease(holder: &str, seconds: Option<i32>) -> Lease {
        let spec = LeaseSpec { holder_identity: Some(holder.to_owned()), lease_duration_seconds: seconds, ..LeaseSpec::default() };
        Lease { spec: Some(spec), ..Lease::default() }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a timestamp")
    }

    #[test]
    fn the_times_follow_from_the_length_of_the_lease() {
        let seconds = Duration::from_secs;
        assert_eq!(timing(), Timing { lease: seconds(15), deadline: seconds(10), attempt: seconds(5), look: seconds(2) });
        let short = Timing::for_lease(seconds(3)).expect("3 s is fine");
        assert_eq!(short, Timing { lease: seconds(3), deadline: seconds(2), attempt: seconds(1), look: Duration::from_millis(400) });
        for bad in [Duration::ZERO, Duration::from_millis(1500), seconds(3601)] {
            assert_eq!(Timing::for_lease(bad), Err(BadLeaseDuration), "{bad:?}");
        }
    }

    #[test]
    fn decisions() {
        let table = [
            ("nobody's, and never written", Lease::default(), 0, Decision::Take),
            ("released", lease("", Some(1)), 0, Decision::Take),
            ("ours", lease(ME, Some(15)), 0, Decision::Renew),
            ("ours, and old", lease(ME, Some(15)), 1000, Decision::Renew),
            ("another's, just seen", lease("other", Some(15)), 0, Decision::Wait),
            ("another's, not yet run out", lease("other", Some(15)), 14, Decision::Wait),
            ("another's, run out", lease("other", Some(15)), 15, Decision::Take),
            ("another's, who promised more than we do", lease("other", Some(60)), 59, Decision::Wait),
            ("another's, who promised less than we do", lease("other", Some(5)), 5, Decision::Take),
            ("another's, who promised nothing: our duration", lease("other", None), 14, Decision::Wait),
            ("another's, who promised nothing: our duration", lease("other", None), 15, Decision::Take),
            ("another's, who promised nonsense: our duration", lease("other", Some(-1)), 14, Decision::Wait),
        ];
        for (what, lease, seconds, expected) in table {
            let since = Instant::now();
            let seen = Sighting { lease, since };
            assert_eq!(decide(ME, Some(&seen), since + Duration::from_secs(seconds), &timing()), expected, "{what}");
        }
        assert_eq!(decide(ME, None, Instant::now(), &timing()), Decision::Create);
    }

    #[test]
    fn only_a_change_of_the_spec_is_a_sign_of_life() {
        let start = Instant::now();
        let later = start + Duration::from_secs(9);
        let seen = Sighting::next(None, lease("other", Some(15)), start);

        let mut labelled = lease("other", Some(15));
        labelled.metadata.labels = Some([("team".to_owned(), "a".to_owned())].into());
        labelled.metadata.resource_version = Some("2".into());
        let relabelled = Sighting::next(Some(seen.clone()), labelled.clone(), later);
        assert_eq!(relabelled, Sighting { lease: labelled, since: start });

        // A clock that is an hour off, or goes backwards, is a change as good as any.
        let mut renewed = lease("other", Some(15));
        renewed.spec.as_mut().expect("has a spec").renew_time = Some(MicroTime(at("1999-01-01T00:00:00Z")));
        assert_eq!(Sighting::next(Some(seen), renewed, later).since, later);
    }

    #[test]
    fn taking_counts_a_transition_and_renewing_does_not() {
        let (morning, noon) = (at("2026-01-01T08:00:00Z"), at("2026-01-01T12:00:00Z"));
        let created = held(ME, None, &timing(), morning);
        let expected = LeaseSpec {
            holder_identity: Some(ME.into()),
            lease_duration_seconds: Some(15),
            lease_transitions: Some(0),
            acquire_time: Some(MicroTime(morning)),
            renew_time: Some(MicroTime(morning)),
            ..LeaseSpec::default()
        };
        assert_eq!(created.spec, Some(expected.clone()));

        let renewed = held(ME, Some(&created), &timing(), noon);
        assert_eq!(renewed.spec, Some(LeaseSpec { renew_time: Some(MicroTime(noon)), ..expected.clone() }));

        let taken = held("other", Some(&renewed), &timing(), noon);
        let by_other = LeaseSpec {
            holder_identity: Some("other".into()),
            lease_transitions: Some(1),
            acquire_time: Some(MicroTime(noon)),
            renew_time: Some(MicroTime(noon)),
            ..expected
        };
        assert_eq!(taken.spec, Some(by_other));
    }

    #[test]
    fn writes_keep_what_others_put_on_the_lease_and_the_version_that_was_read() {
        let mut before = lease("other", Some(15));
        before.metadata.resource_version = Some("7".into());
        before.metadata.labels = Some([("team".to_owned(), "a".to_owned())].into());
        let now = at("2026-01-01T08:00:00Z");
        assert_eq!(held(ME, Some(&before), &timing(), now).metadata, before.metadata);
        let released = released(&before, now);
        assert_eq!(released.metadata, before.metadata);
        assert_eq!(Sighting { lease: released, since: Instant::now() }.holder(), None);
    }
}
