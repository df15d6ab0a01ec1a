//! The resources: what their status says, whether their credentials are there, and whether one operator holds each.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use kube::{Resource, ResourceExt};

use super::finding::Check;
use crate::{
    api::{Reason, RevoiceitCredential, names},
    cli::plugin::{
        access::{Read, SecretMeta},
        paint::{plain, span},
        trouble::Trouble,
        view,
    },
};

/// How long a new resource may be without a status.
const NEW: SignedDuration = SignedDuration::from_secs(10);
/// How late a refresh or the end of a deletion may be before it is told.
const LATE: SignedDuration = SignedDuration::from_mins(5);

fn named(read: &Read) -> String {
    format!("{}/{}", read.namespace().unwrap_or_default(), read.name_any())
}

/// What their status says, and what the clock says about it.
pub(super) fn status(resources: &[Read], now: Timestamp) -> Check {
    let mut check = Check::new("resources", format!("{} looked at", resources.len()));
    for read in resources {
        let name = named(read);
        match &read.0 {
            Err(_) => check.problem(
                format!("{name} cannot be read: it is not what the CRD describes."),
                "Apply it again, or delete it: its tokens are revoked all the same.",
            ),
            Ok(resource) => match resource.metadata.deletion_timestamp.as_ref() {
                Some(deleted_at) => going(&mut check, &name, resource, deleted_at.0, now),
                None => reported(&mut check, &name, resource, now),
            },
        }
    }
    check
}

fn going(check: &mut Check, name: &str, resource: &RevoiceitCredential, deleted_at: Timestamp, now: Timestamp) {
    let limit = SignedDuration::try_from(resource.spec.revocation.deadline()).unwrap_or(SignedDuration::MAX).saturating_add(LATE);
    if now.duration_since(deleted_at) > limit {
        check.problem(
            format!("{name} has been going for {}, longer than spec.revocation.deadline.", span(deleted_at, now)),
            "An operator that works would have ended it: see the other findings. Do not remove the finalizer by hand while tokens matter.",
        );
    }
}

fn reported(check: &mut Check, name: &str, resource: &RevoiceitCredential, now: Timestamp) {
    let Some(status) = &resource.status else { return };
    if let Some(lost) = status.suspected_lost.filter(|lost| *lost > 0) {
        check.warning(
            format!("{name}: {lost} refresh tokens may exist although nobody has them."),
            "Make a new client pair on the Revoiceit platform, put it into the credentials Secret, and delete the old one there.",
        );
    }
    let Some(ready) = status.conditions.iter().find(|condition| condition.type_ == "Ready") else { return };
    let is_ready = ready.status == "True";
    let overdue = status.refresh_at.as_ref().map(|time| time.0).filter(|due| now.duration_since(*due) > LATE);
    match (view::reason(resource), overdue) {
        (Some(reason), _) if is_told_elsewhere(reason) => {}
        (Some(reason), _) if reason.is_trouble() && is_ready && !reason.needs_person() => {
            check.warning(format!("{name}: {}, with a token that is still valid.", reason.as_str()), &ready.message);
        }
        (Some(reason), _) if reason.is_trouble() => check.problem(format!("{name}: {}.", reason.as_str()), &ready.message),
        (_, Some(due)) if !resource.spec.suspend => check.problem(
            format!("{name}: the refresh is overdue since {}.", span(due, now)),
            "No operator works on it: see the other findings, and the operator's log.",
        ),
        _ => {}
    }
}

fn is_told_elsewhere(reason: Reason) -> bool {
    is_about_credentials(reason) || reason == Reason::LedgerElsewhere
}

fn is_about_credentials(reason: Reason) -> bool {
    matches!(reason, Reason::CredentialsMissing | Reason::CredentialsIncomplete | Reason::CredentialsRejected)
}

/// Whether the credentials are there, by their metadata, and good, by the operator's word.
pub(super) fn credentials(resources: &[Read], secrets: Result<&[SecretMeta], &Trouble>) -> Check {
    let mut check = Check::new("credentials", "each resource has its credentials Secret");
    let there = secrets.map(|secrets| secrets.iter().map(|secret| (secret.namespace(), secret.name_any())).collect::<BTreeSet<_>>());
    if let Err(trouble) = secrets {
        check.skip(trouble);
    }
    for read in resources {
        let Ok(resource) = &read.0 else { continue };
        let (name, secret) = (named(read), &resource.spec.credentials_secret_ref.name);
        let is_missing = there.as_ref().is_ok_and(|there| !there.contains(&(read.namespace(), secret.clone())));
        match view::reason(resource).filter(|reason| is_about_credentials(*reason)) {
            _ if resource.metadata.deletion_timestamp.is_some() => {}
            _ if is_missing => check.problem(
                format!("{name}: the credentials Secret {secret} does not exist."),
                "Create it in the resource's namespace, with clientId and clientSecret; the operator reacts at once.",
            ),
            Some(reason) => check.problem(format!("{name}: {}.", reason.as_str()), message(resource)),
            None => {}
        }
    }
    check
}

fn message(resource: &RevoiceitCredential) -> String {
    let conditions = resource.status.iter().flat_map(|status| &status.conditions);
    conditions.into_iter().find(|condition| condition.type_ == "Ready").map(|condition| condition.message.clone()).unwrap_or_default()
}

/// Whether one operator holds each: this one, and no other.
pub(super) fn claims(resources: &[Read], operator_namespace: &str, scope: &[String], now: Timestamp) -> Check {
    let mut check = Check::new("claims", format!("the operator in {operator_namespace} holds all resources, and no other one does"));
    let mut elsewhere: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for read in resources {
        let namespace = read.namespace().unwrap_or_default();
        let holder = claim(read).map(|(holder, _)| holder).filter(|holder| *holder != operator_namespace);
        if let Some(holder) = holder {
            elsewhere.entry(plain(holder)).or_default().push(named(read));
        } else if read.0.as_ref().is_ok_and(|resource| is_unseen(resource, now)) {
            let advice = if scope.is_empty() || scope.contains(&namespace) {
                "Is an operator at work, and may it do what it needs to? See the other findings.".to_owned()
            } else {
                format!(
                    "The operator serves other namespaces only: {}. Add this one to REVOICEIT_NAMESPACE, with its Role.",
                    scope.join(", ")
                )
            };
            check.problem(format!("{} is unclaimed: no operator has looked at it.", named(read)), advice);
        }
    }
    for (holder, held) in elsewhere {
        let disputed = resources.iter().filter(|read| read.0.as_ref().ok().and_then(view::reason) == Some(Reason::LedgerElsewhere));
        let twice = if disputed.count() > 0 { " and another operator serves them as well" } else { "" };
        check.problem(
            format!("An operator in the namespace {holder} holds {} of the resources{twice}: {}.", held.len(), list(&held)),
            format!(
                "Run one operator only. If the one in {holder} is gone, delete and create these resources again; \
                 if it is the right one: --operator-namespace {holder}"
            ),
        );
    }
    check
}

fn list(names: &[String]) -> String {
    const MOST: usize = 5;
    let more = if names.len() > MOST { ", …" } else { "" };
    format!("{}{more}", names[..names.len().min(MOST)].join(", "))
}

/// Operator namespace and UID in the claim, if it is this resource's own: a copy has that of another.
pub(super) fn claim(read: &Read) -> Option<(&str, &str)> {
    let (holder, uid) = read.annotations().get(names::CLAIM_ANNOTATION)?.split_once('/')?;
    (Some(uid) == read.meta().uid.as_deref()).then_some((holder, uid))
}

fn is_unseen(resource: &RevoiceitCredential, now: Timestamp) -> bool {
    let is_new = resource.metadata.creation_timestamp.as_ref().is_some_and(|time| now.duration_since(time.0) < NEW);
    let is_silent = resource.status.as_ref().is_none_or(|status| status.conditions.is_empty());
    is_silent && !is_new && resource.metadata.deletion_timestamp.is_none()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::cli::plugin::view::tests::{at, condition, resource, secret};

    fn told(check: Check) -> Vec<String> {
        check.findings.into_iter().map(|finding| finding.what).collect()
    }

    fn of_status(merged: Value) -> Vec<String> {
        told(status(&[resource(merged)], at("10:12:00")))
    }

    fn says(status: &str, reason: &str) -> Value {
        json!({ "status": { "conditions": condition(status, reason, "Do this.") } })
    }

    #[test]
    fn a_status_in_trouble_is_told_with_its_own_advice() {
        assert_eq!(of_status(json!({})), [""; 0]);
        assert_eq!(of_status(says("False", "TargetConflict")), ["team-a/speech: TargetConflict."]);
        let check = status(&[resource(says("True", "RevoiceitUnavailable"))], at("10:12:00"));
        assert_eq!(check.findings[0].advice, "Do this.");
        assert_eq!(told(check), ["team-a/speech: RevoiceitUnavailable, with a token that is still valid."]);
        // These are told by other checks, or are nobody's trouble.
        for quiet in ["CredentialsMissing", "LedgerElsewhere", "Suspended", "Issuing"] {
            assert_eq!(of_status(says("False", quiet)), [""; 0], "{quiet}");
        }
    }

    #[test]
    fn what_should_have_happened_by_now_is_told() {
        let late = json!({ "status": { "refreshAt": "2026-11-24T10:02:00Z" } });
        assert_eq!(of_status(late.clone()), ["team-a/speech: the refresh is overdue since 10m."]);
        let suspended = json!({ "spec": { "suspend": true }, "status": { "refreshAt": "2026-11-24T10:02:00Z" } });
        assert_eq!(of_status(suspended), [""; 0]);
        let goes = json!({ "metadata": { "deletionTimestamp": "2026-11-24T10:01:00Z" } });
        assert_eq!(of_status(goes), ["team-a/speech has been going for 11m, longer than spec.revocation.deadline."]);
        assert_eq!(of_status(json!({ "metadata": { "deletionTimestamp": "2026-11-24T10:03:00Z" } })), [""; 0]);
        assert_eq!(
            of_status(json!({ "status": { "suspectedLost": 2 } })),
            ["team-a/speech: 2 refresh tokens may exist although nobody has them."]
        );
        assert_eq!(of_status(json!({ "spec": 1 })), ["team-a/speech cannot be read: it is not what the CRD describes."]);
    }

    #[test]
    fn credentials_are_missing_by_their_metadata_or_by_the_operators_word() {
        let there = [secret("client", None)];
        let of = |merged: Value, secrets: &[SecretMeta]| told(credentials(&[resource(merged)], Ok(secrets)));
        assert_eq!(of(json!({}), &there), [""; 0]);
        assert_eq!(of(json!({}), &[]), ["team-a/speech: the credentials Secret client does not exist."]);
        assert_eq!(of(says("False", "CredentialsRejected"), &there), ["team-a/speech: CredentialsRejected."]);
        let forbidden = Trouble::Forbidden { what: "list secrets".into(), role: None };
        let check = credentials(&[resource(says("False", "CredentialsMissing"))], Err(&forbidden));
        assert_eq!((check.findings.len(), check.not_checked.len()), (1, 1));
    }

    #[test]
    fn what_nobody_or_another_holds_is_told() {
        let of = |merged: Value, scope: &[String]| {
            let check = claims(&[resource(merged)], "system", scope, at("10:12:00"));
            check.findings.first().map(|finding| (finding.what.clone(), finding.advice.clone()))
        };
        let claimed = |by: &str| json!({ "metadata": { "annotations": { names::CLAIM_ANNOTATION: by } } });
        assert_eq!(of(claimed("system/u"), &[]), None);
        let (what, advice) = of(claimed("other/u"), &[]).expect("told");
        assert_eq!(what, "An operator in the namespace other holds 1 of the resources: team-a/speech.");
        assert!(advice.ends_with("--operator-namespace other"), "{advice}");
        // A copy's.
        assert_eq!(of(claimed("other/another-uid"), &[]), None);

        let silent = json!({ "metadata": { "creationTimestamp": "2026-11-24T10:11:49Z" }, "status": null });
        assert_eq!(of(silent.clone(), &[]).expect("told").0, "team-a/speech is unclaimed: no operator has looked at it.");
        assert!(of(silent, &["team-b".to_owned()]).expect("told").1.contains("other namespaces only: team-b."));
        assert_eq!(of(json!({ "metadata": { "creationTimestamp": "2026-11-24T10:11:51Z" }, "status": null }), &[]), None);
    }

    #[test]
    fn that_two_operators_want_one_resource_is_told() {
        let disputed = json!({
            "metadata": { "annotations": { names::CLAIM_ANNOTATION: "other/u" } },
            "status": { "conditions": condition("True", "LedgerElsewhere", "") },
        });
        let told = told(claims(&[resource(disputed)], "system", &[], at("10:12:00")));
        assert!(told[0].contains(" and another operator serves them as well: "), "{told:?}");
    }
}
