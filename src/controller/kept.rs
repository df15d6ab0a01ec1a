//! A resource as the index keeps it: as JSON, which takes less memory than the object. It is read again in a pass, of which there are few.
//!
//! Who may write resources may write hundreds of them, each of half a megabyte: template, annotations, and a status that repeats them. The memory
//! is all tenants' alike, so a large one is not kept.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;

use super::tolerant::{Invalid, Tolerant};
use crate::api::{RevoiceitCredential, names};

/// The most bytes of JSON that are kept of a resource. One without a template has some one and a half thousand.
const MOST: usize = 8192;

/// Cheap to clone.
#[derive(Clone, Debug)]
pub(super) enum Kept {
    Readable(Arc<[u8]>),
    Unreadable(Arc<Invalid>),
    /// Each pass reads it from the API server.
    Large,
}

impl Kept {
    /// Without the labels, owners and annotations that nothing is decided from: whoever writes resources may make them large.
    pub(super) fn new(object: &Tolerant<RevoiceitCredential>) -> Self {
        match &object.0 {
            Ok(resource) if is_slim(&resource.metadata) => Self::readable(resource),
            Ok(resource) => Self::readable(&RevoiceitCredential { metadata: slim(&resource.metadata), ..resource.clone() }),
            Err(invalid) => {
                let metadata = slim(&invalid.metadata);
                if json(&metadata).len() > MOST { Self::Large } else { Self::Unreadable(Arc::new(Invalid { metadata })) }
            }
        }
    }

    fn readable(resource: &RevoiceitCredential) -> Self {
        let json = json(resource);
        if json.len() > MOST { Self::Large } else { Self::Readable(json.into()) }
    }

    /// As it was, but for what is not kept. `None` if it is large.
    pub(super) fn read(&self) -> Option<Tolerant<RevoiceitCredential>> {
        match self {
            Self::Readable(json) => {
                let resource: RevoiceitCredential =
                    serde_json::from_slice(json).unwrap_or_else(|error| unreachable!("it was written from one: {error}"));
                Some(resource.into())
            }
            Self::Unreadable(invalid) => Some(Tolerant::invalid(Invalid::clone(invalid))),
            Self::Large => None,
        }
    }
}

fn json(kept: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(kept).unwrap_or_else(|error| unreachable!("it has string keys only and no fallible field: {error}"))
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
        let after = Kept::new(&before.clone().into()).read().expect("kept").0.expect("readable");
        before.annotations_mut().retain(|key, _| key.starts_with("revoiceit.com/"));
        (before.metadata.labels, before.metadata.owner_references) = (None, None);
        assert_eq!(before.annotations().len(), 2);
        assert!(before.status.is_some() && before.metadata.deletion_timestamp.is_some());
        assert_eq!(after, before);
    }

    #[test]
    fn what_cannot_be_read_keeps_its_metadata() {
        let unreadable =
            object(json!({ "metadata": { "name": "speech", "uid": "1", "deletionTimestamp": "2026-11-24T11:00:00Z" }, "spec": 7 }));
        assert!(unreadable.0.is_err());
        let after = Kept::new(&unreadable).read().expect("kept");
        assert!(after.0.is_err() && kube::Resource::meta(&after).deletion_timestamp.is_some());
        assert_eq!(after.name_any(), "speech");
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
            Kept::new(&object(json))
        };
        let text = "x".repeat(MOST);
        for (path, value) in [
            ("/metadata/annotations", json!({ "revoiceit.com/rotate-requested-at": text })),
            ("/spec/target/template", json!({ "a": &text[..MOST / 2], "b": &text[..MOST / 2] })),
            ("/status", json!({ "lastHandledRotateRequest": text })),
        ] {
            assert!(matches!(with(path, value), Kept::Large), "{path}");
        }
        assert!(matches!(with("/metadata/annotations", json!({ "others": text })), Kept::Readable(_)));
        assert!(matches!(with("/spec", json!(7)), Kept::Unreadable(_)));
        let finalizers = json!({ "metadata": { "name": "speech", "uid": "1", "finalizers": [text] }, "spec": 7 });
        assert!(matches!(Kept::new(&object(finalizers)), Kept::Large));
    }
}
