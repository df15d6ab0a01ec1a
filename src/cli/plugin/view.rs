//! What is known of a resource, as far as its reader may see it: what `status` prints, and what programs get as JSON.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use serde::Serialize;

use super::{
    access::{Read, SecretMeta},
    trouble::Trouble,
};
use crate::api::{Failure, Reason, RevoiceitCredential, names};

/// A resource. The names of the fields are a promise to programs.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct View {
    pub(super) namespace: String,
    pub(super) name: String,
    /// The condition Ready is True, the token has not expired since, and the target is not seen to be missing or somebody else's.
    pub(super) ready: bool,
    pub(super) reason: Option<String>,
    pub(super) message: Option<String>,
    pub(super) suspended: bool,
    pub(super) deleting: bool,
    /// The operator has seen the latest edit.
    pub(super) up_to_date: bool,
    pub(super) credentials: SecretView,
    pub(super) token: Option<Token>,
    pub(super) target: SecretView,
    pub(super) next: Next,
    pub(super) failure: Option<Failure>,
    pub(super) pending_revocations: i32,
    pub(super) suspected_lost: i32,
    /// A rotation was asked for and not done yet.
    pub(super) rotation_pending: bool,
}

/// A Secret that the resource names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SecretView {
    pub(super) secret: String,
    pub(super) state: SecretState,
}

/// What its metadata tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum SecretState {
    Present,
    Missing,
    /// A target that is not written for this resource.
    Foreign,
    /// The reader may not read Secrets.
    Unknown,
}

/// The current access token. Times and numbers, no value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Token {
    pub(super) revision: Option<i64>,
    pub(super) issued_at: Option<Timestamp>,
    pub(super) expires_at: Timestamp,
}

/// What the operator does next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Next {
    pub(super) what: What,
    pub(super) at: Option<Timestamp>,
}

/// What is done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum What {
    Refresh,
    Retry,
    Revoke,
    /// The first token, or a new one, as soon as possible.
    Issue,
    Nothing,
}

/// What was found of the Secrets' metadata.
pub(super) trait Secrets {
    /// `Err` only if it is not allowed to look.
    fn find(&self, namespace: &str, name: &str) -> Result<Option<&SecretMeta>, ()>;
}

/// What one read of a Secret brought.
pub(super) fn sight(read: Result<SecretMeta, Trouble>) -> Result<Result<Option<SecretMeta>, ()>, Trouble> {
    match read {
        Ok(secret) => Ok(Ok(Some(secret))),
        Err(trouble) if trouble.is_not_found() => Ok(Ok(None)),
        Err(trouble) if trouble.is_forbidden() => Ok(Err(())),
        Err(trouble) => Err(trouble),
    }
}

/// `None` if the resource cannot be read: the operator cannot do anything with it either.
pub(super) fn view(read: &Read, secrets: &impl Secrets, now: Timestamp) -> Option<View> {
    let resource = read.0.as_ref().ok()?;
    let (namespace, name) = (resource.namespace().unwrap_or_default(), resource.name_any());
    let status = resource.status.clone().unwrap_or_default();
    let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready");
    let expires_at = status.expires_at.as_ref().map(|time| time.0);
    let is_ready = ready.is_some_and(|ready| ready.status == "True") && expires_at.is_none_or(|expiry| expiry > now);
    let state = |secret: &str, is_ours: &dyn Fn(&SecretMeta) -> bool| match secrets.find(&namespace, secret) {
        Ok(Some(found)) if is_ours(found) => SecretState::Present,
        Ok(Some(_)) => SecretState::Foreign,
        Ok(None) => SecretState::Missing,
        Err(()) => SecretState::Unknown,
    };
    let credentials = &resource.spec.credentials_secret_ref.name;
    let target = &resource.spec.target.name;
    let is_ours = |secret: &SecretMeta| secret.annotations().get(names::RESOURCE_ANNOTATION) == Some(&name);
    let target_state = state(target, &is_ours);
    Some(View {
        ready: is_ready && !matches!(target_state, SecretState::Missing | SecretState::Foreign),
        reason: ready.map(|ready| ready.reason.clone()),
        message: ready.map(|ready| ready.message.clone()),
        suspended: resource.spec.suspend,
        deleting: resource.metadata.deletion_timestamp.is_some(),
        up_to_date: status.observed_generation == resource.metadata.generation,
        credentials: SecretView { secret: credentials.clone(), state: state(credentials, &|_| true) },
        token: expires_at.map(|expires_at| Token {
            revision: status.revision,
            issued_at: status.issued_at.as_ref().map(|time| time.0),
            expires_at,
        }),
        target: SecretView { secret: target.clone(), state: target_state },
        next: next(resource),
        rotation_pending: rotation_pending(resource),
        pending_revocations: status.pending_revocations.unwrap_or(0),
        suspected_lost: status.suspected_lost.unwrap_or(0),
        failure: status.failure,
        namespace,
        name,
    })
}

fn next(resource: &RevoiceitCredential) -> Next {
    let status = resource.status.as_ref();
    let time = |time: Option<&Time>| time.map(|time| time.0);
    let retry = time(status.and_then(|status| status.failure.as_ref()).and_then(|failure| failure.next_retry_at.as_ref()));
    let refresh = time(status.and_then(|status| status.refresh_at.as_ref()));
    let waits = reason(resource).is_some_and(Reason::needs_person) && refresh.is_none();
    match (resource.metadata.deletion_timestamp.is_some(), resource.spec.suspend) {
        (true, _) => Next { what: What::Revoke, at: None },
        (false, true) => Next { what: What::Nothing, at: None },
        (false, false) if retry.is_some() => Next { what: What::Retry, at: retry },
        (false, false) if rotation_pending(resource) => Next { what: What::Issue, at: None },
        (false, false) if refresh.is_some() => Next { what: What::Refresh, at: refresh },
        (false, false) => Next { what: if waits { What::Nothing } else { What::Issue }, at: None },
    }
}

/// The value of the annotation is not the one that was acted on last.
pub(super) fn rotation_pending(resource: &RevoiceitCredential) -> bool {
    let handled = resource.status.as_ref().and_then(|status| status.last_handled_rotate_request.as_ref());
    resource.annotations().get(names::ROTATE_ANNOTATION).is_some_and(|asked| Some(asked) != handled)
}

/// The reason of the Ready condition, if this program knows it.
pub(super) fn reason(resource: &RevoiceitCredential) -> Option<Reason> {
    let conditions = &resource.status.as_ref()?.conditions;
    known(&conditions.iter().find(|condition| condition.type_ == "Ready")?.reason)
}

/// A later operator may have more of them.
pub(super) fn known(word: &str) -> Option<Reason> {
    Reason::ALL.iter().copied().find(|reason| reason.as_str() == word)
}

#[cfg(test)]
pub(super) mod tests {
    use kube::api::PartialObjectMeta;
    use serde_json::{Value, json};

    use super::*;

    /// A Secret that is there, with its annotations; none; or no right to look.
    pub(in super::super) struct Seen(pub(in super::super) Vec<(&'static str, Result<Option<SecretMeta>, ()>)>);

    impl Secrets for Seen {
        fn find(&self, _namespace: &str, name: &str) -> Result<Option<&SecretMeta>, ()> {
            let found = self.0.iter().find(|(known, _)| *known == name);
            found.map_or(Ok(None), |(_, seen)| seen.as_ref().map(Option::as_ref).map_err(|&nothing| nothing))
        }
    }

    pub(in super::super) fn secret(name: &str, of: Option<&str>) -> SecretMeta {
        let annotations = of.map(|of| json!({ names::RESOURCE_ANNOTATION: of }));
        let meta = json!({ "metadata": { "name": name, "namespace": "team-a", "annotations": annotations } });
        let meta: PartialObjectMeta<k8s_openapi::api::core::v1::Secret> = serde_json::from_value(meta).expect("metadata");
        meta.into()
    }

    /// Both Secrets are there.
    pub(in super::super) fn both() -> Seen {
        Seen(vec![("client", Ok(Some(secret("client", None)))), ("token", Ok(Some(secret("token", Some("speech")))))])
    }

    pub(in super::super) fn at(text: &str) -> Timestamp {
        format!("2026-11-24T{text}Z").parse().expect("a time")
    }

    /// A resource that is ready since ten, with what is merged into it.
    pub(in super::super) fn resource(merged: Value) -> Read {
        let mut whole = json!({
            "apiVersion": "revoiceit.com/v1", "kind": "RevoiceitCredential",
            "metadata": { "name": "speech", "namespace": "team-a", "generation": 1, "uid": "u" },
            "spec": { "credentialsSecretRef": { "name": "client" }, "target": { "name": "token" } },
            "status": {
                "observedGeneration": 1, "revision": 4, "pendingRevocations": 0, "suspectedLost": 0,
                "issuedAt": "2026-11-24T10:00:00Z", "refreshAt": "2026-11-24T10:42:00Z", "expiresAt": "2026-11-24T11:00:00Z",
                "conditions": [{
                    "type": "Ready", "status": "True", "reason": "TokenReady", "lastTransitionTime": "2026-11-24T10:00:00Z",
                    "message": "The Secret \"token\" is up to date. Pods read a token that is valid until 2026-11-24T11:00:00Z.",
                }],
            },
        });
        merge(&mut whole, merged);
        serde_json::from_value(whole).expect("it is read tolerantly")
    }

    pub(in super::super) fn merge(into: &mut Value, from: Value) {
        match (into, from) {
            (Value::Object(into), Value::Object(from)) => {
                for (key, value) in from {
                    merge(into.entry(key).or_insert(Value::Null), value);
                }
            }
            (into, from) => *into = from,
        }
    }

    /// A condition Ready.
    pub(in super::super) fn condition(status: &str, reason: &str, message: &str) -> Value {
        json!([{ "type": "Ready", "status": status, "reason": reason, "message": message, "lastTransitionTime": "2026-11-24T10:00:00Z" }])
    }

    fn seen(merged: Value) -> View {
        view(&resource(merged), &both(), at("10:12:00")).expect("readable")
    }

    #[test]
    fn what_comes_next_follows_from_the_status() {
        let table = [
            (json!({}), What::Refresh, Some("10:42:00")),
            (json!({ "spec": { "suspend": true } }), What::Nothing, None),
            (json!({ "metadata": { "deletionTimestamp": "2026-11-24T10:11:00Z" } }), What::Revoke, None),
            (
                json!({ "status": { "failure": { "reason": "AnswerLost", "count": 1, "nextRetryAt": "2026-11-24T10:13:00Z" } } }),
                What::Retry,
                Some("10:13:00"),
            ),
            (json!({ "metadata": { "annotations": { names::ROTATE_ANNOTATION: "now" } } }), What::Issue, None),
            (json!({ "status": null }), What::Issue, None),
            (json!({ "status": { "refreshAt": null, "conditions": condition("False", "TargetConflict", "") } }), What::Nothing, None),
        ];
        for (merged, what, time) in table {
            assert_eq!(seen(merged.clone()).next, Next { what, at: time.map(at) }, "{merged}");
        }
    }

    #[test]
    fn ready_is_not_believed_of_a_token_that_has_expired() {
        assert!(seen(json!({})).ready);
        assert!(!view(&resource(json!({})), &both(), at("11:00:00")).expect("readable").ready);
        assert!(!seen(json!({ "status": { "conditions": condition("False", "Issuing", "") } })).ready);
        assert!(!seen(json!({ "status": null })).ready);
    }

    #[test]
    fn a_target_is_known_by_its_annotation() {
        let of = |seen| {
            let view = view(&resource(json!({})), &Seen(vec![("token", seen)]), at("10:12:00")).expect("readable");
            (view.target.state, view.ready)
        };
        assert_eq!(of(Ok(Some(secret("token", Some("speech"))))), (SecretState::Present, true));
        assert_eq!(of(Ok(Some(secret("token", Some("other"))))), (SecretState::Foreign, false));
        assert_eq!(of(Ok(Some(secret("token", None)))), (SecretState::Foreign, false));
        assert_eq!(of(Ok(None)), (SecretState::Missing, false));
        assert_eq!(of(Err(())), (SecretState::Unknown, true));
    }

    #[test]
    fn what_cannot_be_read_has_no_view() {
        assert_eq!(view(&resource(json!({ "spec": 1 })), &both(), at("10:12:00")), None);
    }
}
