//! What the API server's answers mean to the planner. Pure.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::core::Status;

use super::tolerant::Tolerant;
use crate::{
    api::{RevoiceitCredential, names},
    planner::{Consent, Denied, Digest, Leaving, Ledger, Owner, Place, Record, Resource, ResourceId, Source, Target, Unusable, Version},
    revoiceit::{ClientCredentials, ClientId, ClientSecret},
};

/// The reason that kube gives to an answer that is no Status.
const NO_STATUS: &str = "Failed to parse error data";

/// What a write that was not taken came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Another was faster, or it is not known whether the write was taken: a look will tell.
    Changed,
    /// A value that the planner decides from.
    Denied(Denied),
    /// Trouble with reaching the API server: the write was not taken, and may be next time.
    Trouble,
}

/// What the error of a write means. `creates`: it was a `POST`.
pub(super) fn refusal(error: &kube::Error, creates: bool) -> Refusal {
    match error {
        // A page of whatever is between, not the API server's word.
        kube::Error::Api(status) if status.reason == NO_STATUS => Refusal::Trouble,
        // There is no such namespace any more.
        kube::Error::Api(status) if creates && status.code == 404 => Refusal::Denied(Denied::Terminating),
        kube::Error::Api(status) => refused(status),
        // The request may have arrived.
        _ => Refusal::Changed,
    }
}

fn refused(status: &Status) -> Refusal {
    let is_about = |words: &str| status.message.contains(words);
    let has_cause = |reason: &str| status.details.iter().any(|details| details.causes.iter().any(|cause| cause.reason == reason));
    let is_admission = || is_about("admission webhook") || is_about("ValidatingAdmissionPolicy") || is_about("failed calling webhook");
    match status.code {
        409 => Refusal::Changed,
        // There is no such object any more.
        404 => Refusal::Changed,
        403 if has_cause("NamespaceTerminating") => Refusal::Denied(Denied::Terminating),
        403 if is_about("exceeded quota") => Refusal::Denied(Denied::Quota),
        413 => Refusal::Denied(Denied::TooLarge),
        422 if is_about("Too long") || is_about("too large") => Refusal::Denied(Denied::TooLarge),
        500 if is_about("request is too large") => Refusal::Denied(Denied::TooLarge),
        400..=599 if is_admission() => Refusal::Denied(Denied::Admission),
        403 => Refusal::Denied(Denied::Forbidden),
        400 | 405 | 415 | 422 => Refusal::Denied(Denied::Invalid),
        _ => Refusal::Trouble,
    }
}

/// Whether a patch was refused because it came too late: no new finalizer on what is being deleted, no other UID.
pub(super) fn came_too_late(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else { return false };
    let is_about = |field: &str| status.details.iter().any(|details| details.causes.iter().any(|cause| cause.field == field));
    status.code == 422 && (is_about("metadata.finalizers") || is_about("metadata.uid"))
}

/// Whether a 404 is the API server's word that there is no such object, and not that of a proxy or of a server that does not serve the kind.
pub(super) fn says_not_found(status: &Status, name: &str) -> bool {
    status.code == 404 && status.is_not_found() && status.details.as_ref().is_some_and(|details| details.name == name)
}

/// The resource, from what the API server has under its name.
pub(super) fn resource(found: Tolerant<RevoiceitCredential>, uid: &str) -> Resource {
    match found.0 {
        Ok(resource) if resource.metadata.uid.as_deref() != Some(uid) => Resource::Replaced,
        Ok(resource) if resource.metadata.deletion_timestamp.is_some() => {
            let deadline = Some(resource.spec.revocation.deadline());
            Resource::Leaving(Arc::new(Leaving { meta: resource.metadata, deadline, status: resource.status.unwrap_or_default() }))
        }
        Ok(resource) => Resource::Wanted(Arc::new(resource)),
        Err(invalid) if invalid.metadata.uid.as_deref() != Some(uid) => Resource::Replaced,
        Err(invalid) if invalid.metadata.deletion_timestamp.is_some() => {
            Resource::Leaving(Arc::new(Leaving { meta: invalid.metadata, deadline: None, status: Default::default() }))
        }
        Err(invalid) => Resource::Unreadable(Arc::new(invalid.metadata)),
    }
}

/// The ledger, from its Secret.
pub(super) fn ledger(found: Tolerant<Secret>, place: &Place, id: &ResourceId) -> Ledger {
    let Ok(secret) = found.0 else { return Ledger::Unusable(Unusable::Corrupt) };
    let (Some(version), Some(secret_uid)) = (secret.metadata.resource_version, secret.metadata.uid) else {
        return Ledger::Unusable(Unusable::Corrupt);
    };
    let Some(json) = secret.data.as_ref().and_then(|data| data.get(names::LEDGER_KEY)) else {
        return Ledger::Unusable(Unusable::Corrupt);
    };
    match Record::parse(&json.0, place, id) {
        Ok(record) => Ledger::Here { record: Arc::new(record), version: Version::new(version), uid: secret_uid },
        Err(why) => Ledger::Unusable(why),
    }
}

/// A target, from the Secret under its name.
pub(super) fn target(found: Tolerant<Secret>, id: &ResourceId) -> Target {
    let secret = match found.0 {
        Ok(secret) => secret,
        // Whatever it is, nothing of ours is unreadable.
        Err(invalid) => return Target::Foreign { meta: Arc::new(invalid.metadata), consent: Consent::NotGiven },
    };
    let annotation = |key: &str| secret.metadata.annotations.as_ref().and_then(|annotations| annotations.get(key)).map(String::as_str);
    let owners = secret.metadata.owner_references.as_deref().unwrap_or_default();
    let is_opaque = secret.type_.as_deref() == Some("Opaque");
    let immutable = secret.immutable == Some(true);
    let is_ours = annotation(names::RESOURCE_ANNOTATION) == Some(&id.name)
        && is_opaque
        && owners.iter().all(|owner| names::is_resource_owner(owner, &id.name));
    if is_ours {
        let owner = match owners {
            [] => Owner::None,
            _ if owners.iter().any(|owner| owner.uid == id.uid) => Owner::Me,
            _ => Owner::OtherUid,
        };
        let data = Digest::of_data(secret.data.as_ref().unwrap_or(&BTreeMap::new()));
        return Target::Ours { owner, data, immutable, meta: Arc::new(secret.metadata) };
    }
    let consent = match annotation(names::ADOPT_ANNOTATION) {
        Some(name) if name == id.name => match (is_opaque, immutable, owners) {
            (false, _, _) => Consent::WrongType,
            (_, true, _) => Consent::Immutable,
            (_, _, [_, ..]) => Consent::Owned,
            _ => Consent::Given,
        },
        _ => Consent::NotGiven,
    };
    Target::Foreign { meta: Arc::new(secret.metadata), consent }
}

/// The credentials, from their Secret.
pub(super) fn source(found: Tolerant<Secret>, id_key: &str, secret_key: &str) -> Source {
    let version = |meta: &ObjectMeta| Version::new(meta.resource_version.as_deref().unwrap_or_default());
    let secret = match found.0 {
        Ok(secret) => secret,
        Err(invalid) => return Source::Incomplete { key: id_key.to_owned(), version: version(&invalid.metadata) },
    };
    let version = version(&secret.metadata);
    let text = |key: &str| {
        let value = secret.data.as_ref().and_then(|data| data.get(key)).and_then(|value| std::str::from_utf8(&value.0).ok());
        value.map(|value| value.trim_end_matches(['\n', '\r']).to_owned()).filter(|value| !value.is_empty())
    };
    match (text(id_key), text(secret_key)) {
        (None, _) => Source::Incomplete { key: id_key.to_owned(), version },
        (_, None) => Source::Incomplete { key: secret_key.to_owned(), version },
        (Some(client_id), Some(client_secret)) => {
            let pair = ClientCredentials { client_id: ClientId::new(client_id), client_secret: ClientSecret::new(client_secret) };
            Source::Found { pair, version }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn answer(status: Value) -> kube::Error {
        kube::Error::Api(Box::new(serde_json::from_value(status).expect("a Status")))
    }

    #[test]
    fn only_the_api_servers_own_word_is_a_refusal() {
        let page = |code: u16| kube::Error::Api(Status::failure("<html>", NO_STATUS).with_code(code).boxed());
        for code in [400, 403, 404, 405, 413, 422, 502, 503] {
            assert_eq!(refusal(&page(code), true), Refusal::Trouble, "{code}");
        }
        let own = |code: u16, reason: &str| kube::Error::Api(Status::failure("", reason).with_code(code).boxed());
        assert_eq!(refusal(&own(404, "NotFound"), true), Refusal::Denied(Denied::Terminating));
        assert_eq!(refusal(&own(404, "NotFound"), false), Refusal::Changed);
        assert_eq!(refusal(&own(403, "Forbidden"), false), Refusal::Denied(Denied::Forbidden));
        assert_eq!(refusal(&own(401, "Unauthorized"), false), Refusal::Trouble);
        assert_eq!(refusal(&own(503, "ServiceUnavailable"), false), Refusal::Trouble);
    }

    #[test]
    fn a_patch_that_came_too_late_is_told_from_one_that_never_passes() {
        let invalid = |field: &str| answer(json!({ "code": 422, "reason": "Invalid", "details": { "causes": [{ "field": field }] } }));
        assert!(came_too_late(&invalid("metadata.finalizers")) && came_too_late(&invalid("metadata.uid")));
        assert!(!came_too_late(&invalid("spec.target.name")));
        assert_eq!(refusal(&invalid("spec.target.name"), false), Refusal::Denied(Denied::Invalid));
    }
}
