//! What the resource's status says. Status reports; nothing is decided from it.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::{
    notice::{self, Notice},
    observed::{Claim, Consent, Ledger, Refused, Resource, Source, Target},
    record::Unusable,
    render::whole_seconds,
    view::View,
    words::FailureClass,
};
use crate::api::{Failure, Reason, RevoiceitCredentialStatus, names};

/// The status type of the resource.
pub type Status = RevoiceitCredentialStatus;

/// The status for this reason, and what of it is news. No status where there is no resource to say it on, or where another operator speaks.
pub(super) fn report(v: &View, reason: Reason) -> (Option<Status>, Vec<Notice>) {
    let before = match &v.seen.resource {
        Resource::Wanted(resource) => resource.status.clone().unwrap_or_default(),
        Resource::Leaving(leaving) => leaving.status.clone(),
        Resource::Unreadable(_) | Resource::NotFound { .. } | Resource::Replaced | Resource::Released => return (None, Vec::new()),
    };
    let after = status(v, reason, &before);
    let told = notice::between(&before, &after, reason, v.record);
    let is_spoken_for = reason == Reason::LedgerElsewhere && another_speaks(&before, v.now);
    ((!is_spoken_for).then_some(after), told)
}

/// The operator that holds the resource reports on it: two that both did would contradict each other for ever. One that lets the status say
/// Ready of a token that has expired is there no more.
fn another_speaks(before: &Status, now: Timestamp) -> bool {
    let Some(ready) = before.conditions.iter().find(|condition| condition.type_ == "Ready") else { return false };
    let is_outdated = ready.status == "True" && before.expires_at.as_ref().is_some_and(|expiry| expiry.0 <= now);
    ready.reason != Reason::LedgerElsewhere.as_str() && !is_outdated
}

fn status(v: &View, reason: Reason, before: &Status) -> Status {
    let generation = v.seen.meta().and_then(|meta| meta.generation);
    let live = v.record.and_then(|record| record.live.as_ref());
    let seconds = |time: Timestamp| Some(Time(whole_seconds(time)));
    let failures = v.record.into_iter().flat_map(|record| [(true, &record.failed_issue), (false, &record.failed_refresh)]);
    let failed =
        failures.filter_map(|(is_issue, failed)| failed.as_ref().map(|failed| (is_issue, failed))).max_by_key(|(_, failed)| failed.at);
    let pending = v.record.map(|record| record.retiring.len() + usize::from(v.is_leaving() && record.live.is_some()));
    Status {
        observed_generation: generation,
        conditions: conditions(v, reason, generation, &before.conditions),
        revision: live.and_then(|live| i64::try_from(live.revision).ok()),
        issued_at: live.and_then(|live| seconds(live.sent_at)),
        refresh_at: v.line().and_then(|line| seconds(line.refresh_at)),
        expires_at: live.and_then(|live| seconds(live.expires_at)),
        failure: failed.map(|(is_issue, failed)| Failure {
            reason: failure_reason(failed.class, is_issue).as_str().to_owned(),
            count: i32::try_from(failed.count).unwrap_or(i32::MAX),
            last_at: seconds(failed.at),
            next_retry_at: seconds(failed.not_before),
        }),
        pending_revocations: pending.and_then(|pending| i32::try_from(pending).ok()),
        suspected_lost: v.record.map(|record| i32::try_from(record.suspects.lost).unwrap_or(i32::MAX)),
        last_handled_rotate_request: v.record.and_then(|record| record.handled_request.clone()),
    }
}

/// Ready always; Reconciling and Stalled only while true, as kstatus wants it.
fn conditions(v: &View, reason: Reason, generation: Option<i64>, before: &[Condition]) -> Vec<Condition> {
    let is_ready = v.is_ready();
    let message = message(v, reason);
    let condition = |type_: &str, status: &str, message: &str| Condition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: reason.as_str().to_owned(),
        message: message.to_owned(),
        observed_generation: generation,
        last_transition_time: before
            .iter()
            .find(|earlier| earlier.type_ == type_ && earlier.status == status)
            .map_or_else(|| Time(whole_seconds(v.now)), |earlier| earlier.last_transition_time.clone()),
    };
    let mut conditions = vec![condition("Ready", if is_ready { "True" } else { "False" }, &message)];
    if !is_ready {
        conditions.push(condition(if reason.needs_person() && !v.is_leaving() { "Stalled" } else { "Reconciling" }, "True", &message));
    }
    conditions
}

/// The reason that a failed call stands for.
pub(super) fn failure_reason(class: FailureClass, is_issue: bool) -> Reason {
    match class {
        FailureClass::NotSent => Reason::RevoiceitUnreachable,
        FailureClass::Lost => Reason::AnswerLost,
        FailureClass::Unavailable => Reason::RevoiceitUnavailable,
        FailureClass::Rejected if is_issue => Reason::CredentialsRejected,
        FailureClass::Rejected => Reason::RefreshRejected,
        FailureClass::Malformed => Reason::MalformedAnswer,
    }
}

/// What happened, what it means for the pods, what to do.
fn message(v: &View, reason: Reason) -> String {
    let what = what_happened(v, reason);
    if v.is_leaving() {
        return what;
    }
    let pods = match v.record.and_then(|record| record.live.as_ref()) {
        Some(live) if v.is_ready() => format!("Pods read a token that is valid until {}.", whole_seconds(live.expires_at)),
        Some(live) if live.expires_at <= v.now => format!("The last token expired at {}.", whole_seconds(live.expires_at)),
        Some(_) => "Pods do not get the current token.".to_owned(),
        None if is_unknown(v) => "What pods read is not refreshed by this operator.".to_owned(),
        None => "There is no token yet.".to_owned(),
    };
    format!("{what} {pods}")
}

/// Whether there is a token stands in a ledger that is not read.
fn is_unknown(v: &View) -> bool {
    v.seen.claim() == Claim::Elsewhere || matches!(v.seen.ledger, Ledger::Unusable(_))
}

fn what_happened(v: &View, reason: Reason) -> String {
    let target = v.spec().map_or("", |spec| spec.target.name.as_str());
    let credentials = v.spec().map_or("", |spec| spec.credentials_secret_ref.name.as_str());
    match reason {
        Reason::TokenReady => format!("The Secret \"{target}\" is up to date."),
        Reason::Issuing if v.has_valid_token() => delivering(v, target),
        Reason::Issuing => "A token is being obtained.".to_owned(),
        Reason::RevoiceitUnreachable => {
            "Revoiceit cannot be reached; tried again by itself. If it stays so, check --api-url, DNS, network policies, proxy and CA of the operator.".to_owned()
        }
        Reason::RevoiceitUnavailable => "Revoiceit answers that it cannot serve now; tried again by itself. If it stays so, check --api-url and what is between it and the operator, and ask Revoiceit's support.".to_owned(),
        Reason::AnswerLost => "Revoiceit was sent a request and did not answer in time; tried again by itself. If it stays so, check the network between it and the operator, and --api-timeout.".to_owned(),
        Reason::MalformedAnswer => {
            "Revoiceit answered with something that is not a token; tried again by itself. If it stays so, check --api-url and what is between it and the operator.".to_owned()
        }
        Reason::RefreshRejected => "Revoiceit does not accept the refresh token any more; a new line of tokens is obtained by itself before the token expires. If it happens again, check who revokes tokens or changes the client on the Revoiceit platform.".to_owned(),
        Reason::WaitingForAnswer => "An earlier request may still be answered and is waited for, two minutes at most; goes on by itself.".to_owned(),
        Reason::BudgetExhausted => "Too many new lines of tokens in a short time; the next one is obtained by itself when the budget allows it. Look for what keeps changing the credentials Secret or the rotation annotation.".to_owned(),
        Reason::RevocationBacklog => "Too many refresh tokens wait for their revocation, so no new line is begun; goes on by itself when some are revoked. If it stays so, look for failed revocations in the operator's log.".to_owned(),
        Reason::CredentialsMissing => format!("The credentials Secret \"{credentials}\" does not exist. Create it in the resource's namespace, or correct spec.credentialsSecretRef.name."),
        Reason::CredentialsIncomplete => match &v.seen.source {
            Source::Incomplete { key, .. } => format!("The credentials Secret \"{credentials}\" has no value under the key \"{key}\". Add it, or correct spec.credentialsSecretRef."),
            _ => format!("The credentials Secret \"{credentials}\" is incomplete. Add what is missing."),
        },
        Reason::CredentialsRejected => format!("Revoiceit rejects the client ID and client secret in the Secret \"{credentials}\". Put valid ones there; the change is noticed at once."),
        Reason::TargetConflict => conflict(v, target),
        Reason::TargetHeld => format!("The Secret \"{target}\" is immutable and is being deleted, and finalizers hold it: {}. No token is obtained that could not be delivered. Find out what they wait for, or remove them; when it is gone, it is created anew by itself.", holders(v)),
        Reason::QuotaExceeded => format!("A ResourceQuota leaves no room for the Secret \"{target}\"; no token is obtained that could not be delivered. Raise the quota or free some of it."),
        Reason::AdmissionDenied => format!("An admission policy or webhook refuses the Secret \"{target}\"; no token is obtained that could not be delivered. Ask whoever runs the policy, or change spec.target."),
        Reason::TargetInvalid => format!("The API server finds the Secret \"{target}\" invalid; no token is obtained that could not be delivered. Check names, labels and annotations in spec.target."),
        Reason::TargetTooLarge => format!("The Secret \"{target}\" would be too large (256 KiB for all data, and the same for all annotations); no token is obtained that could not be delivered. Use fewer keys or placeholders in spec.target.template, or fewer annotations."),
        Reason::PermissionDenied if !v.is_refused(Refused::Target) => "The API server refuses to patch this resource; no token is obtained without the finalizer that sees to its revocation. Check the operator's roles and the cluster's admission policies.".to_owned(),
        Reason::PermissionDenied => format!("The operator may not write the Secret \"{target}\" in this namespace; no token is obtained that could not be delivered. Check the operator's roles and its --namespace."),
        Reason::NamespaceTerminating => "The namespace is being deleted: nothing can be written into it, and no token is obtained. Nothing has to be done.".to_owned(),
        Reason::Suspended => "spec.suspend is true: tokens are neither obtained nor refreshed. Set it to false to go on.".to_owned(),
        Reason::Revoking if v.wanted().is_some() => drained(v),
        Reason::Revoking => {
            let pending = v.record.map_or(0, |record| record.retiring.len() + usize::from(record.live.is_some()));
            format!("Being deleted. Pods lose the target Secret at once. Refresh tokens still to be revoked: {pending}. After spec.revocation.deadline the resource goes and revocation continues in the background; shorten it if that cannot wait.")
        }
        Reason::LedgerElsewhere => format!("An operator in another namespace holds this resource (annotation {}). Run one operator only, or delete and create the resource again.", names::CLAIM_ANNOTATION),
        Reason::LedgerUnusable => format!("The ledger of this resource, the Secret {}/{}, {}.", v.seen.place.operator_namespace, names::ledger_name(&v.seen.id.uid), unusable(v)),
        Reason::LedgerDenied => "The API server refuses to write the ledger of this resource; nothing is obtained that could not be kept. Check the operator's Role, and quotas and policies in its own namespace.".to_owned(),
        Reason::IssuerChanged => "The tokens of this resource are from another Revoiceit API than the operator's --api-url. Set it back, or delete and create the resource again.".to_owned(),
        Reason::OperatorNamespace => "Resources in the operator's own namespace are refused. Create it in the namespace whose pods use the token.".to_owned(),
    }
}

/// Nobody deletes the resource: the operator is being taken away from it.
fn drained(v: &View) -> String {
    const AGAIN: &str = "An operator that is installed again obtains a new one";
    match v.record.map_or(0, |record| record.retiring.len() + usize::from(record.live.is_some())) {
        0 => format!("The operator was uninstalled. Pods have no token any more. {AGAIN}."),
        pending => format!(
            "The operator is being uninstalled: {pending} refresh tokens are to be revoked. Pods lose their token. {AGAIN}, and revokes what is left."
        ),
    }
}

fn delivering(v: &View, target: &str) -> String {
    let Some(quarrel) = v.quarrel() else { return format!("The Secret \"{target}\" is about to be written.") };
    let until = whole_seconds(quarrel.until);
    match quarrel.with.as_deref().map(in_plain_letters).filter(|name| !name.is_empty()) {
        Some(name) => format!(
            "The Secret \"{target}\" is changed again and again by the field manager \"{name}\"; it is written anew at {until}. Keep that program from writing it, or choose another spec.target.name."
        ),
        None => format!(
            "The Secret \"{target}\" is changed or deleted by somebody again and again; it is written anew at {until}. Find out who does it, or choose another spec.target.name."
        ),
    }
}

/// A name that a tenant chose: so much of it, and only such letters, that it cannot look like a sentence of ours.
fn in_plain_letters(name: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || ".-_/:".contains(letter);
    name.chars().take(64).map(|letter| if is_plain(letter) { letter } else { '?' }).collect()
}

/// The finalizers of the target, and no more of them than a message has room for.
fn holders(v: &View) -> String {
    const MOST: usize = 3;
    let Some(Target::Ours { meta, .. }) = v.target() else { return String::new() };
    let finalizers = meta.finalizers.as_deref().unwrap_or_default();
    let more = if finalizers.len() > MOST { " and more" } else { "" };
    finalizers.iter().take(MOST).map(|name| in_plain_letters(name)).collect::<Vec<_>>().join(", ") + more
}

fn conflict(v: &View, target: &str) -> String {
    let obstacle = match v.target() {
        Some(Target::Foreign { consent: Consent::WrongType, .. }) => "its type is not Opaque",
        Some(Target::Foreign { consent: Consent::Immutable, .. }) => "it is immutable",
        Some(Target::Foreign { consent: Consent::Owned, .. }) => "another object owns it",
        _ => {
            return format!(
                "The Secret \"{target}\" exists and is not this resource's: it is left alone and no token is obtained. Delete it, choose another spec.target.name, or consent to its being replaced: \"kubectl annotate secret {target} -n {} {}={}\".",
                v.seen.id.namespace,
                names::ADOPT_ANNOTATION,
                v.seen.id.name
            );
        }
    };
    format!(
        "The Secret \"{target}\" exists and is not this resource's. There is consent to its being replaced, but {obstacle}: it is left alone and no token is obtained. Delete it, or choose another spec.target.name."
    )
}

/// Why, and what to do about it.
fn unusable(v: &View) -> &'static str {
    match &v.seen.ledger {
        Ledger::Unusable(Unusable::LaterFormat) => "was written by a later version of the operator. Run that version, or one after it",
        Ledger::Unusable(Unusable::ForeignHome) => {
            "belongs to another cluster or to an earlier installation, so its tokens are left alone. Delete it for this resource to begin anew"
        }
        Ledger::Unusable(Unusable::ForeignResource) => {
            "belongs to another resource, so its tokens are left alone. Delete it for this resource to begin anew"
        }
        _ => "cannot be read. Restore it, or delete it: its tokens are then counted as lost, and this resource begins anew",
    }
}
