//! A resource as the index keeps it: as JSON, which takes less memory than the object. It is read again in a pass, of which there are few.
//!
//! Who may write resources may write hundreds of them, each of half a megabyte: template, annotations, and a status that repeats them. The memory
//! is all tenants' alike, so a large one is not kept.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::tolerant::Tolerant;
use crate::api::{RevoiceitCredential, names};

/// The most bytes of JSON that are kept of a resource. One without a template has one or two thousand.
const MOST: usize = 8192;

/// Cheap to clone. `None` of one that is larger, which each pass reads from the API server, and of one that cannot be read.
#[derive(Clone, Debug)]
pub(super) struct Kept(Option<Arc<[u8]>>);

impl Kept {
    /// Without the labels, owners and annotations that nothing is decided from: whoever writes resources may make them large.
    pub(super) fn new(object: &Tolerant<RevoiceitCredential>) -> Self {
        Self(match &object.0 {
            Ok(resource) if is_slim(&resource.metadata) => json(resource),
            Ok(resource) => json(&RevoiceitCredential { metadata: slim(&resource.metadata), ..resource.clone() }),
            Err(_) => None,
        })
    }

    /// As it was, but for what is not kept.
    pub(super) fn read(&self) -> Option<RevoiceitCredential> {
        let json = self.0.as_ref()?;
        Some(serde_json::from_slice(json).unwrap_or_else(|error| unreachable!("it was written from one: {error}")))
    }
}

fn json(resource: &RevoiceitCredential) -> Option<Arc<[u8]>> {
    let json = serde_json::to_vec(resource);
    let json = json.unwrap_or_else(|error| unreachable!("a resource has string keys only and no fallible field: {error}"));
    (json.len() <= MOST).then(|| json.into())
}

fn is_kept(annotation: &str) -> bool {
    annotation == names::ROTATE_ANNOTATION || annotation == names::CLAIM_ANNOTATION
}

fn is_slim(metadata: &ObjectMeta) -> bool {
    let mut annotations = metadata.annotations.iter().flatten();
    metadata.labels.is_none() && metadata.owner_references.is_none() && annotations.all(|(key, _)| is_kept(key))
}

fn slim(metadata: &ObjectMeta) -> ObjectMeta {
    let mut slim = ObjectMeta { labels: None, owner_references: None, ..metadata.clone() };
    slim.annotations.iter_mut().for_each(|annotations| annotations.retain(|key, _| is_kept(key)));
    slim
}

#[cfg(test)]
mod tests {
    use kube::ResourceExt;
    use serde_json::{Value, json};

    use super::*;

    fn object(json: Value) -> Tolerant<RevoiceitCredential> {
        serde_json::from_value(json).expect("never an error")
    }

    #[test]
    fn what_was_kept_is_read_as_it_was_without_what_nothing_is_decided_from() {
        let json = json!({
            "apiVersion": "revoiceit.com/v1", "kind": "RevoiceitCredential",
            "metadata": {
                "name": "speech", "namespace": "team-a", "uid": "1", "resourceVersion": "7", "generation": 3, "finalizers": ["a", "b"],
                "creationTimestamp": "2026-11-24T10:00:00Z", "deletionTimestamp": "2026-11-24T11:00:00Z", "labels": { "l": "1" },
                "annotations": { "kubectl.kubernetes.io/last-applied-configuration": "{}", "mine": "yes", "revoiceit.com/rotate-requested-at": "1",
                    "revoiceit.com/ledger": "system/1" },
                "ownerReferences": [{ "apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "2", "controller": true }],
            },
            "spec": {
                "credentialsSecretRef": { "name": "client" }, "suspend": true, "refresh": { "beforeExpiry": "20m" },
                "target": { "name": "token", "labels": { "a": "b" }, "template": { "k": "{{ accessToken }}" } },
            },
            "status": {
                "revision": 2, "issuedAt": "2026-11-24T10:00:00Z", "failure": { "reason": "Lost", "count": 2, "lastAt": "2026-11-24T10:00:00Z" },
                "conditions": [{ "type": "Ready", "status": "True", "reason": "TokenReady", "message": "m", "lastTransitionTime": "2026-11-24T10:00:00Z" }],
            },
        });
        let mut before = object(json).0.expect("readable");
        let after = Kept::new(&before.clone().into()).read().expect("kept");
        before.annotations_mut().retain(|key, _| key.starts_with("revoiceit.com/"));
        (before.metadata.labels, before.metadata.owner_references) = (None, None);
        assert_eq!(before.annotations().len(), 2);
        assert!(before.status.is_some() && before.metadata.deletion_timestamp.is_some());
        assert_eq!(after, before);
    }

    #[test]
    fn whatever_is_large_in_it_a_large_one_is_not_kept() {
        let with = |path: &str, value: Value| {
            let mut json = json!({
                "metadata": { "name": "speech", "uid": "1", "annotations": {} },
                "spec": { "credentialsSecretRef": { "name": "client" }, "target": { "name": "token", "template": {} } },
                "status": {},
            });
            *json.pointer_mut(path).expect("a place in it") = value;
            Kept::new(&object(json)).read()
        };
        let text = "x".repeat(MOST);
        for (path, value) in [
            ("/metadata/annotations", json!({ "revoiceit.com/rotate-requested-at": text })),
            ("/spec/target/template", json!({ "a": &text[..MOST / 2], "b": &text[..MOST / 2] })),
            ("/status", json!({ "lastHandledRotateRequest": text })),
        ] {
            assert!(with(path, value).is_none(), "{path}");
        }
        assert!(with("/metadata/annotations", json!({ "others": text })).is_some());
        assert!(with("/spec", json!(7)).is_none());
    }
}
