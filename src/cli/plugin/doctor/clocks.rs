//! Who leads, by the lease; and whose clock is wrong.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;

use super::finding::Check;
use crate::{
    cli::plugin::{
        paint::{differ, plain, span},
        trouble::Trouble,
    },
    runtime::tolerant::Tolerant,
};

/// Requests take time, and the API server tells its time in whole seconds.
const SKEW: SignedDuration = SignedDuration::from_secs(30);
/// What the lease lasts when it does not say so.
const LEASE: i64 = 15;

/// Whether somebody holds the lease and renews it, by the API server's clock.
pub(super) fn leader(namespace: &str, lease: Result<&Tolerant<Lease>, &Trouble>, now: Timestamp) -> Check {
    let mut check = Check::new("leader", "");
    let advice = format!(
        "Is an operator running in the namespace {namespace}? kubectl get pods -n {namespace}; one without --leader-elect has no lease."
    );
    let spec = match lease {
        Ok(lease) => lease.0.as_ref().ok().and_then(|lease| lease.spec.as_ref()),
        Err(trouble) if trouble.is_not_found() => {
            check.problem(format!("In the namespace {namespace} no operator has ever led: there is no Lease revoiceit-operator."), advice);
            return check;
        }
        Err(trouble) => {
            check.skip(trouble);
            return check;
        }
    };
    let holder = spec.and_then(|spec| spec.holder_identity.as_deref()).filter(|holder| !holder.is_empty());
    let renewed = spec.and_then(|spec| spec.renew_time.as_ref()).map(|time| time.0);
    let lasts = i64::from(spec.and_then(|spec| spec.lease_duration_seconds).unwrap_or(0)).max(LEASE);
    match (holder, renewed) {
        (Some(holder), Some(renewed)) if now.duration_since(renewed) <= SignedDuration::from_secs(lasts) => {
            check.seen = format!("{} leads", plain(holder));
            if renewed.duration_since(now) > SKEW {
                check.problem(
                    format!("The clock of {} is {} ahead of the API server's.", plain(holder), span(now, renewed)),
                    "Set the clocks of the nodes by NTP: tokens are refreshed by them.",
                );
            }
        }
        (Some(holder), Some(renewed)) => {
            check.problem(format!("No operator leads: {} renewed the lease last {} ago.", plain(holder), span(renewed, now)), advice);
        }
        _ => check.problem("No operator leads: nobody holds the lease.", advice),
    }
    check
}

/// Whether this machine's clock, by which times are shown, is that of the API server.
pub(super) fn clock(server: Option<Timestamp>, own: Timestamp) -> Check {
    let mut check = Check::new("clock", "this machine and the API server agree on the time");
    match server {
        None => check.skip_as("the API server does not say what time it is"),
        Some(server) if differ(server, own, SKEW) => check.warning(
            format!("The clocks of this machine and of the API server are {} apart.", span(server, own)),
            "Set both by NTP. What is said here about times left is off by this much.",
        ),
        Some(_) => {}
    }
    check
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::cli::plugin::view::tests::at;

    fn told(spec: &Value) -> (String, Vec<String>) {
        let lease: Tolerant<Lease> = serde_json::from_value(json!({ "metadata": { "name": "l" }, "spec": spec })).expect("tolerant");
        let check = leader("system", Ok(&lease), at("10:00:00"));
        (check.seen, check.findings.into_iter().map(|finding| finding.what).collect())
    }

    fn held(renewed: &str) -> Value {
        json!({ "holderIdentity": "pod_1", "leaseDurationSeconds": 15, "renewTime": format!("2026-11-24T{renewed}.000000Z") })
    }

    #[test]
    fn a_lease_that_is_renewed_has_a_leader() {
        assert_eq!(told(&held("09:59:50")), ("pod_1 leads".into(), vec![]));
        assert_eq!(told(&held("09:59:00")).1, ["No operator leads: pod_1 renewed the lease last 1m ago."]);
        assert_eq!(told(&json!({ "holderIdentity": "" })).1, ["No operator leads: nobody holds the lease."]);
        let missing = leader("system", Err(&Trouble::NotFound(String::new())), at("10:00:00"));
        assert_eq!(missing.findings.len(), 1);
        assert_eq!(
            leader("system", Err(&Trouble::Forbidden { what: "get leases".into(), role: None }), at("10:00:00")).not_checked.len(),
            1
        );
    }

    #[test]
    fn clocks_that_are_wrong_are_told() {
        assert_eq!(told(&held("10:01:00")).1, ["The clock of pod_1 is 1m ahead of the API server's."]);
        assert_eq!(clock(Some(at("10:00:00")), at("10:00:29")).findings.len(), 0);
        assert_eq!(
            clock(Some(at("10:00:00")), at("09:59:00")).findings[0].what,
            "The clocks of this machine and of the API server are 1m apart."
        );
        assert_eq!(clock(None, at("10:00:00")).not_checked.len(), 1);
    }
}
