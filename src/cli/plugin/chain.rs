//! The chain from the credentials to the next attempt, as a person reads it.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::{
    paint::{Mark, Paint, plain, span, time},
    view::{SecretState, SecretView, View, What, known},
};
use crate::api::Reason;

/// The lines about one resource.
pub(super) fn chain(view: &View, now: Timestamp, paint: Paint) -> String {
    let (mark, word) = summary(view, now);
    let mut text = format!("{} {}", paint.mark(mark), paint.bold(&format!("{}/{}", view.namespace, view.name)));
    let _ = writeln!(text, "  {}", paint.like(mark, &word));
    for (name, (mark, what)) in
        [("credentials", credentials(view)), ("token", token(view, now)), ("target", target(view)), ("next", next(view, now))]
    {
        let _ = writeln!(text, "  {} {name:<11}  {}", paint.mark(mark), plain(&what));
    }
    for line in notes(view) {
        let _ = writeln!(text, "    {}", plain(&line));
    }
    text
}

/// The last line about several.
pub(super) fn total(views: &[View], now: Timestamp) -> String {
    let ready = views.iter().filter(|view| view.ready).count();
    let stuck = views.iter().filter(|view| summary(view, now).0 == Mark::Bad).count();
    format!("{} resources: {ready} ready, {} not, {stuck} of which wait for a person.\n", views.len(), views.len() - ready)
}

fn summary(view: &View, now: Timestamp) -> (Mark, String) {
    let reason = view.reason.as_deref().map(plain).unwrap_or_default();
    let needs_person = known(&reason).is_some_and(Reason::needs_person);
    let is_quiet = known(&reason).is_none_or(|reason| !reason.is_trouble() && reason != Reason::Suspended);
    match view {
        View { deleting: true, .. } => (Mark::Pending, format!("being deleted, {reason}")),
        View { reason: None, .. } => (Mark::Bad, "no operator has looked at it".to_owned()),
        View { ready: true, .. } => (if is_quiet { Mark::Good } else { Mark::Warning }, format!("Ready, {reason}")),
        View { token: Some(token), .. } if is_contradicted(view) && token.expires_at <= now => {
            (Mark::Bad, format!("not ready: the token expired at {} and no operator has said so", time(token.expires_at)))
        }
        _ if is_contradicted(view) => (Mark::Bad, "not ready: the target is not as the operator left it".to_owned()),
        _ => (if needs_person { Mark::Bad } else { Mark::Pending }, format!("not ready, {reason}")),
    }
}

/// The status says that all is well, and what is seen says otherwise.
fn is_contradicted(view: &View) -> bool {
    !view.ready && view.reason.as_deref() == Some(Reason::TokenReady.as_str())
}

fn credentials(view: &View) -> (Mark, String) {
    let SecretView { secret, state } = &view.credentials;
    let reason = view.reason.as_deref().and_then(known);
    match (reason, state) {
        (_, SecretState::Missing) => (Mark::Bad, format!("Secret {secret} does not exist")),
        (Some(Reason::CredentialsMissing), SecretState::Unknown) => {
            (Mark::Bad, format!("Secret {secret} does not exist, says the operator"))
        }
        (Some(Reason::CredentialsIncomplete), _) => (Mark::Bad, format!("Secret {secret} is incomplete")),
        (Some(Reason::CredentialsRejected), _) => (Mark::Bad, format!("Secret {secret}: Revoiceit rejects what is in it")),
        (_, SecretState::Unknown) => (Mark::Unknown, format!("Secret {secret} (you may not read Secrets)")),
        (_, SecretState::Present | SecretState::Foreign) => (Mark::Good, format!("Secret {secret}")),
    }
}

fn token(view: &View, now: Timestamp) -> (Mark, String) {
    let Some(token) = &view.token else {
        return (if view.next.what == What::Nothing { Mark::Bad } else { Mark::Pending }, "none yet".to_owned());
    };
    let mut text = token.revision.map_or_else(|| "a token".to_owned(), |revision| format!("revision {revision}"));
    if let Some(issued_at) = token.issued_at {
        let _ = write!(text, ", issued {} ago", span(issued_at, now));
    }
    let (mark, ends) = if token.expires_at > now {
        (Mark::Good, format!("expires in {}", span(now, token.expires_at)))
    } else {
        (Mark::Bad, format!("expired {} ago", span(token.expires_at, now)))
    };
    (mark, format!("{text}, {ends} ({})", time(token.expires_at)))
}

fn target(view: &View) -> (Mark, String) {
    let SecretView { secret, state } = &view.target;
    let refused = match view.reason.as_deref().and_then(known) {
        Some(
            reason @ (Reason::TargetConflict
            | Reason::TargetHeld
            | Reason::QuotaExceeded
            | Reason::AdmissionDenied
            | Reason::TargetInvalid
            | Reason::TargetTooLarge
            | Reason::PermissionDenied),
        ) => Some(reason),
        _ => None,
    };
    match (refused, state) {
        (Some(Reason::TargetConflict), _) | (None, SecretState::Foreign) => (Mark::Bad, format!("Secret {secret} is not this resource's")),
        (Some(reason), _) => (Mark::Bad, format!("Secret {secret} cannot be written: {}", reason.as_str())),
        (None, SecretState::Present) => (Mark::Good, format!("Secret {secret}")),
        (None, SecretState::Missing) => {
            (if is_contradicted(view) { Mark::Bad } else { Mark::Pending }, format!("Secret {secret} does not exist"))
        }
        (None, SecretState::Unknown) => (Mark::Unknown, format!("Secret {secret} (you may not read Secrets)")),
    }
}

fn next(view: &View, now: Timestamp) -> (Mark, String) {
    let when = |at: Timestamp| {
        if at > now { format!("in {} ({})", span(now, at), time(at)) } else { format!("due since {} ({})", span(at, now), time(at)) }
    };
    let failures = view.failure.as_ref().map_or(0, |failure| failure.count);
    match (view.next.what, view.next.at) {
        (What::Refresh, Some(at)) => (Mark::Good, format!("refresh {}", when(at))),
        (What::Retry, Some(at)) => (Mark::Pending, format!("attempt {} {}", failures + 1, when(at))),
        (What::Revoke, _) => (Mark::Pending, format!("revocation of {} refresh tokens", view.pending_revocations)),
        (What::Nothing, _) if view.suspended => (Mark::Warning, "nothing while suspended".to_owned()),
        (What::Nothing, _) => (Mark::Bad, "nothing before somebody acts".to_owned()),
        (What::Refresh | What::Retry, None) | (What::Issue, _) => (Mark::Pending, "a new token, as soon as it can be had".to_owned()),
    }
}

fn notes(view: &View) -> Vec<String> {
    let mut notes: Vec<String> = view.message.iter().cloned().collect();
    if view.reason.is_none() {
        notes.push(
            "There is no status. Is an operator at work? Whoever runs the cluster finds out with: kubectl revoiceit doctor".to_owned(),
        );
    } else if !view.up_to_date {
        notes.push("The latest edit has not been looked at yet.".to_owned());
    }
    if let Some(failure) = view.failure.as_ref().filter(|failure| Some(&failure.reason) != view.reason.as_ref()) {
        notes.push(format!("Failed attempts since the last success: {}, the last one with {}.", failure.count, failure.reason));
    }
    if view.rotation_pending {
        notes.push("A rotation was asked for and is not done yet.".to_owned());
    }
    if view.pending_revocations > 0 && !view.deleting {
        notes.push(format!("Refresh tokens still to be revoked: {}.", view.pending_revocations));
    }
    if view.suspected_lost > 0 {
        notes.push(format!(
            "Refresh tokens that may exist although nobody has them: {}. Only a new client pair on the Revoiceit platform ends them.",
            view.suspected_lost
        ));
    }
    notes
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::cli::plugin::view::{
        tests::{Seen, at, both, condition, resource, secret},
        view,
    };

    fn lines(merged: Value, secrets: &Seen) -> Vec<String> {
        let now = at("10:12:30");
        chain(&view(&resource(merged), secrets, now).expect("readable"), now, Paint::OFF).lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_healthy_one() {
        assert_eq!(
            lines(json!({}), &both()),
            [
                "✓ team-a/speech  Ready, TokenReady",
                "  ✓ credentials  Secret client",
                "  ✓ token        revision 4, issued 12m ago, expires in 47m (2026-11-24T11:00:00Z)",
                "  ✓ target       Secret token",
                "  ✓ next         refresh in 29m (2026-11-24T10:42:00Z)",
                "    The Secret \"token\" is up to date. Pods read a token that is valid until 2026-11-24T11:00:00Z.",
            ]
        );
    }

    #[test]
    fn one_whose_credentials_are_rejected() {
        let status = json!({ "status": {
            "revision": null, "issuedAt": null, "refreshAt": null, "expiresAt": null, "suspectedLost": 1,
            "conditions": condition("False", "CredentialsRejected", "Put valid ones there.\u{1b}[2J"),
            "failure": { "reason": "CredentialsRejected", "count": 3, "nextRetryAt": "2026-11-24T10:27:30Z" },
        } });
        assert_eq!(
            lines(status, &Seen(vec![("client", Ok(Some(secret("client", None))))])),
            [
                "✗ team-a/speech  not ready, CredentialsRejected",
                "  ✗ credentials  Secret client: Revoiceit rejects what is in it",
                "  … token        none yet",
                "  … target       Secret token does not exist",
                "  … next         attempt 4 in 15m (2026-11-24T10:27:30Z)",
                "    Put valid ones there. [2J",
                "    Refresh tokens that may exist although nobody has them: 1. Only a new client pair on the Revoiceit platform ends them.",
            ]
        );
    }

    #[test]
    fn one_of_which_the_reader_may_not_see_the_secrets_that_is_suspended_and_has_failed_before() {
        let merged = json!({
            "spec": { "suspend": true },
            "metadata": { "generation": 2, "annotations": { "revoiceit.com/rotate-requested-at": "now" } },
            "status": {
                "pendingRevocations": 2, "conditions": condition("True", "Suspended", "spec.suspend is true."),
                "failure": { "reason": "AnswerLost", "count": 1 },
            },
        });
        assert_eq!(
            lines(merged, &Seen(vec![("client", Err(())), ("token", Err(()))])),
            [
                "! team-a/speech  Ready, Suspended",
                "  ? credentials  Secret client (you may not read Secrets)",
                "  ✓ token        revision 4, issued 12m ago, expires in 47m (2026-11-24T11:00:00Z)",
                "  ? target       Secret token (you may not read Secrets)",
                "  ! next         nothing while suspended",
                "    spec.suspend is true.",
                "    The latest edit has not been looked at yet.",
                "    Failed attempts since the last success: 1, the last one with AnswerLost.",
                "    A rotation was asked for and is not done yet.",
                "    Refresh tokens still to be revoked: 2.",
            ]
        );
    }

    #[test]
    fn ones_that_no_operator_serves() {
        let new = lines(json!({ "status": null }), &Seen(Vec::new()));
        assert_eq!(new[0], "✗ team-a/speech  no operator has looked at it");
        assert_eq!(new[1], "  ✗ credentials  Secret client does not exist");
        assert!(new[5].contains("kubectl revoiceit doctor"), "{new:?}");
        let old = lines(json!({ "status": { "expiresAt": "2026-11-24T10:10:00Z", "refreshAt": "2026-11-24T09:50:00Z" } }), &both());
        assert_eq!(
            old[..5],
            [
                "✗ team-a/speech  not ready: the token expired at 2026-11-24T10:10:00Z and no operator has said so",
                "  ✓ credentials  Secret client",
                "  ✗ token        revision 4, issued 12m ago, expired 2m30s ago (2026-11-24T10:10:00Z)",
                "  ✓ target       Secret token",
                "  ✓ next         refresh due since 22m (2026-11-24T09:50:00Z)",
            ]
        );
    }

    #[test]
    fn one_with_a_foreign_target_and_one_that_goes() {
        let foreign = Seen(vec![("client", Ok(Some(secret("client", None)))), ("token", Ok(Some(secret("token", None))))]);
        let conflict = json!({ "status": {
            "expiresAt": null, "refreshAt": null, "conditions": condition("False", "TargetConflict", "Delete it.") } });
        assert_eq!(
            lines(conflict, &foreign)[2..5],
            [
                "  ✗ token        none yet",
                "  ✗ target       Secret token is not this resource's",
                "  ✗ next         nothing before somebody acts",
            ]
        );
        let goes = json!({
            "metadata": { "deletionTimestamp": "2026-11-24T10:11:00Z" },
            "status": { "pendingRevocations": 2, "conditions": condition("False", "Revoking", "Being deleted.") },
        });
        let lines = lines(goes, &both());
        assert_eq!(
            (lines[0].as_str(), lines[4].as_str()),
            ("… team-a/speech  being deleted, Revoking", "  … next         revocation of 2 refresh tokens")
        );
    }

    #[test]
    fn one_whose_target_was_taken_away() {
        let text = lines(json!({}), &Seen(vec![("client", Ok(Some(secret("client", None))))]));
        assert_eq!(text[0], "✗ team-a/speech  not ready: the target is not as the operator left it");
        assert_eq!(text[3], "  ✗ target       Secret token does not exist");
    }

    #[test]
    fn a_terminal_sees_colours() {
        let now = at("10:12:30");
        let text = chain(&view(&resource(json!({})), &both(), now).expect("readable"), now, Paint::ON);
        assert!(
            text.starts_with("\u{1b}[32m✓\u{1b}[0m \u{1b}[1mteam-a/speech\u{1b}[0m  \u{1b}[32mReady, TokenReady\u{1b}[0m\n"),
            "{text:?}"
        );
    }
}
