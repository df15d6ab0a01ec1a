//! The status of the resource: what the operator reports. Nothing is decided from it.
//!
//! The docs of types and fields here are the CRD's: users read them with `kubectl explain`.

#![expect(unreachable_pub, reason = "`KubeSchema` makes a copy of each type that nobody can reach")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Kubernetes' limit for all annotations of an object together, so it never keeps a status from being written.
const MAX_ANNOTATION: usize = 256 * 1024;

/// What the operator reports. All times are in RFC 3339, in whole seconds.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RevoiceitCredentialStatus {
    /// The metadata.generation of this resource that the conditions are about. Behind it, the operator has not seen the latest edit yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// The state of this resource, at most one condition of each type.
    ///
    /// Ready: the target Secret holds a valid token and is as specified; the reason and the message say what is amiss, also while a valid token
    /// makes it True. Reconciling, present only while true: the operator is at work, or will try again by itself. Stalled, present only while
    /// true: a person has to act; the message says how.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The number of the current access token. It grows with each access token that is issued or refreshed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub revision: Option<i64>,
    /// When the current access token was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued_at: Option<Time>,
    /// When the current access token is due to be refreshed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_at: Option<Time>,
    /// When the current access token expires. Counted from before it was asked for, so it is valid at least until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
    /// The failed attempts to issue or refresh a token since the last success. Absent when the last attempt succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// How many refresh tokens of this resource are still to be revoked: superseded ones, and all of them once it is being deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub pending_revocations: Option<i32>,
    /// How many refresh tokens may have been issued that nobody holds, because an answer of Revoiceit was lost. They cannot be revoked one by one:
    /// the pair of client credentials can be, on the Revoiceit platform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub suspected_lost: Option<i32>,
    /// The last value of the annotation revoiceit.com/rotate-requested-at that was acted on. To have the tokens replaced, set the annotation to
    /// any other value, for example the current time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = MAX_ANNOTATION))]
    pub last_handled_rotate_request: Option<String>,
}

/// Failed attempts since the last success.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// What went wrong with the last attempt, in one word, the same as the reason of a condition.
    #[schemars(length(max = 128))]
    pub reason: String,
    /// How many attempts have failed since the last success.
    #[schemars(range(min = 0))]
    pub count: i32, // not u32: the server warns of an unrecognized format "uint32"
    /// When the last attempt failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_at: Option<Time>,
    /// When the next attempt is due. Absent when none is planned before something changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_retry_at: Option<Time>,
}
