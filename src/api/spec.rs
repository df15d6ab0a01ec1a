//! The `RevoiceitCredential` resource: what a user asks for.
//!
//! The docs of types and fields here are the CRD's: users read them with `kubectl explain`.

#![expect(clippy::duplicated_attributes, reason = "each printer column and each selectable field has its own")]
#![expect(unreachable_pub, reason = "`KubeSchema` makes a copy of each type that nobody can reach")]

use std::{collections::BTreeMap, time::Duration};

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::{
    duration,
    rules::{self, Limits},
    status::RevoiceitCredentialStatus,
};

const BEFORE_EXPIRY: Limits = Limits::new("15m", "10m", "40m");
const DEADLINE: Limits = Limits::new("5m", "0s", "168h");
const GRACE: Limits = Limits::new("5m", "0s", "1h");

/// What is wanted: which client credentials to use, which Secret to write, and when to act.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "revoiceit.com",
    version = "v1",
    kind = "RevoiceitCredential",
    plural = "revoiceitcredentials",
    shortname = "rvc",
    category = "revoiceit",
    namespaced,
    status = "RevoiceitCredentialStatus",
    derive = "PartialEq",
    doc = "Keeps a Secret supplied with a valid access token for the Revoiceit API. The operator obtains the token with the client ID and client secret from another Secret, refreshes it before it expires, and revokes the refresh token when this resource is deleted.",
    selectable = ".spec.credentialsSecretRef.name",
    selectable = ".spec.target.name",
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Secret", type_ = "string", json_path = ".spec.target.name"),
    // Not of type date: kubectl shows a date in the future as <invalid>.
    printcolumn(name = "Expires", type_ = "string", json_path = ".status.expiresAt"),
    printcolumn(name = "Message", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].message"#, priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
)]
#[x_kube(
    validation = rules::has_two_secrets(),
)]
#[serde(rename_all = "camelCase")]
pub struct RevoiceitCredentialSpec {
    /// The Secret with the client ID and the client secret of a pair of Revoiceit API credentials. It is in the namespace of this resource, always.
    ///
    /// When the pair in it changes, a new token is issued from the new pair and the old refresh token is revoked. Edits of its metadata do nothing.
    pub credentials_secret_ref: CredentialsSecretRef,
    /// The Secret that the access token is written to, for pods to mount. It is in the namespace of this resource, always, and of type Opaque.
    ///
    /// The operator creates it, restores it when it is edited or deleted by hand, and deletes it together with this resource. A Secret of that
    /// name that the operator did not create is left alone, and the condition Ready says TargetConflict.
    pub target: TargetSpec,
    /// When the access token is refreshed.
    #[serde(default)]
    pub refresh: RefreshSpec,
    /// When refresh tokens that are no longer needed are revoked.
    #[serde(default)]
    pub revocation: RevocationSpec,
    /// Stops the issuing and refreshing of tokens while true. Default: false.
    ///
    /// Revocations, deletion and repair of the target Secret go on. The token in the target Secret is left to expire; the conditions say when.
    #[serde(default)]
    pub suspend: bool,
}

/// Where the client ID and the client secret are.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[x_kube(
    validation = rules::has_two_keys(),
)]
#[serde(rename_all = "camelCase")]
pub struct CredentialsSecretRef {
    /// Name of the Secret with the client ID and the client secret, for example "revoiceit-client". At most 253 characters.
    #[schemars(length(max = rules::MAX_NAME))]
    #[x_kube(validation = rules::is_secret_name())]
    pub name: String,
    /// Key of that Secret that holds the client ID. Default: "clientId". At most 253 characters.
    #[serde(default = "client_id_key")]
    #[schemars(length(max = rules::MAX_NAME))]
    #[x_kube(validation = rules::is_secret_key())]
    pub client_id_key: String,
    /// Key of that Secret that holds the client secret. Default: "clientSecret". At most 253 characters.
    #[serde(default = "client_secret_key")]
    #[schemars(length(max = rules::MAX_NAME))]
    #[x_kube(validation = rules::is_secret_key())]
    pub client_secret_key: String,
}

fn client_id_key() -> String {
    "clientId".into()
}

fn client_secret_key() -> String {
    "clientSecret".into()
}

/// The Secret that is written.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TargetSpec {
    /// Name of the Secret, for example "speech-token". At most 253 characters. It must differ from the name of the credentials Secret.
    ///
    /// It may be changed: the token is written to the new Secret, and the old Secret is then deleted.
    #[schemars(length(max = rules::MAX_NAME))]
    #[x_kube(validation = rules::is_secret_name())]
    pub name: String,
    /// Labels of the Secret. Default: none. At most 32.
    ///
    /// They are copied as they are, and removed when they are removed here; nothing is copied from this resource's own labels. The operator adds
    /// app.kubernetes.io/managed-by; labels that others put on the Secret stay. Keys under revoiceit.com/, kubernetes.io/ and k8s.io/, and below
    /// them, and under helm.sh/, argocd.argoproj.io/ and velero.io/ are reserved; those under app.kubernetes.io/ are free, except managed-by.
    #[serde(default)]
    #[schemars(schema_with = "rules::labels")]
    #[x_kube(validation = rules::has_qualified_keys(), validation = rules::has_free_label_keys())]
    pub labels: BTreeMap<String, String>,
    /// Annotations of the Secret. Default: none. At most 32, each value at most 4096 characters.
    ///
    /// They are copied as they are, and removed when they are removed here; annotations that others put on the Secret stay. Keys under
    /// revoiceit.com/, kubernetes.io/ and k8s.io/, and below them, and under helm.sh/, argocd.argoproj.io/ and velero.io/ are reserved.
    #[serde(default)]
    #[schemars(schema_with = "rules::annotations")]
    #[x_kube(validation = rules::has_qualified_keys(), validation = rules::has_free_annotation_keys())]
    pub annotations: BTreeMap<String, String>,
    /// The keys of the Secret, each with a template of its value. Default: one key, accessToken, that holds the access token.
    ///
    /// Two placeholders are filled in: "{{ accessToken }}", and "{{ expiresAt }}", the time at which the access token expires, such as
    /// 2026-11-24T10:00:00Z. The rest is copied as it is. For example
    /// authorization: "Bearer {{ accessToken }}".
    ///
    /// At least one key and at most 32; at most 4096 characters and four placeholders in a value; at most 256 KiB in all once filled in.
    /// Keys that are not listed here are removed from the Secret.
    #[serde(default = "template")]
    #[schemars(schema_with = "rules::template")]
    #[x_kube(
        validation = Rule::new("self.size() >= 1").message("must have at least one key, for example accessToken: \"{{ accessToken }}\"").reason(Reason::FieldValueRequired),
        validation = rules::has_secret_keys(),
    )]
    pub template: BTreeMap<String, String>,
}

fn template() -> BTreeMap<String, String> {
    [("accessToken".to_owned(), "{{ accessToken }}".to_owned())].into()
}

/// When the access token is refreshed.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RefreshSpec {
    /// How long before its expiry the access token is refreshed, for example "20m". Default: 15m. From 10m to 40m, in units h, m and s.
    ///
    /// A longer time survives longer outages of Revoiceit, and makes more calls. It is never more than two thirds of the token's lifetime.
    /// Resources are spread: each refreshes earlier by its own part of up to a tenth of the lifetime.
    #[serde(default = "before_expiry")]
    #[schemars(length(max = duration::MAX_LENGTH))]
    #[x_kube(validation = Limits::is_duration(), validation = BEFORE_EXPIRY.is_within())]
    pub before_expiry: String,
}

impl RefreshSpec {
    /// How long before its expiry an access token is refreshed: 10m to 40m, 15m when the text is no duration.
    pub fn before_expiry(&self) -> Duration {
        BEFORE_EXPIRY.read(&self.before_expiry)
    }
}

impl Default for RefreshSpec {
    fn default() -> Self {
        Self { before_expiry: before_expiry() }
    }
}

fn before_expiry() -> String {
    BEFORE_EXPIRY.default.into()
}

/// When refresh tokens that are no longer needed are revoked.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RevocationSpec {
    /// How long the deletion of this resource waits for its refresh tokens to be revoked, for example "1h". Default: 5m. From 0s to 168h, in units h, m and s.
    ///
    /// When it has passed, or at once with 0s, the deletion goes on, and the operator continues to revoke in the background until it is done.
    #[serde(default = "deadline")]
    #[schemars(length(max = duration::MAX_LENGTH))]
    #[x_kube(validation = Limits::is_duration(), validation = DEADLINE.is_within())]
    pub deadline: String,
    /// How long a superseded refresh token is kept after the token that takes its place was written, for example "10m". Default: 5m. From 0s to 1h, in units h, m and s.
    ///
    /// Afterwards it is revoked. Less than 2m counts as 2m. It is revoked sooner if its last access token expires sooner.
    #[serde(default = "grace")]
    #[schemars(length(max = duration::MAX_LENGTH))]
    #[x_kube(validation = Limits::is_duration(), validation = GRACE.is_within())]
    pub grace: String,
}

impl RevocationSpec {
    /// How long deletion waits for revocation: 0s to 168h, 5m when the text is no duration.
    pub fn deadline(&self) -> Duration {
        DEADLINE.read(&self.deadline)
    }

    /// How long a superseded refresh token is kept: 0s to 1h, 5m when the text is no duration.
    ///
    /// As the user wrote it: that less than 2m counts as 2m is the planner's policy, which tests shorten.
    pub fn grace(&self) -> Duration {
        GRACE.read(&self.grace)
    }
}

impl Default for RevocationSpec {
    fn default() -> Self {
        Self { deadline: deadline(), grace: grace() }
    }
}

fn deadline() -> String {
    DEADLINE.default.into()
}

fn grace() -> String {
    GRACE.default.into()
}

#[cfg(test)]
mod tests {
    use kube::CustomResourceExt;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_is_left_out_has_its_default() {
        let spec: RevoiceitCredentialSpec =
            serde_json::from_value(json!({ "credentialsSecretRef": { "name": "a" }, "target": { "name": "b" } })).expect("that is enough");
        assert_eq!(
            (&*spec.credentials_secret_ref.client_id_key, &*spec.credentials_secret_ref.client_secret_key),
            ("clientId", "clientSecret")
        );
        assert_eq!(spec.target.template, template());
        assert_eq!(spec.refresh.before_expiry(), Duration::from_secs(15 * 60));
        assert_eq!((spec.revocation.deadline(), spec.revocation.grace()), (Duration::from_secs(5 * 60), Duration::from_secs(5 * 60)));
        assert!(!spec.suspend);
    }

    #[test]
    fn the_docs_of_a_duration_tell_its_limits() {
        let crd = serde_json::to_value(RevoiceitCredential::crd()).expect("plain data");
        let spec: &Value = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
        for (part, field, Limits { default, min, max }) in
            [("refresh", "beforeExpiry", &BEFORE_EXPIRY), ("revocation", "deadline", &DEADLINE), ("revocation", "grace", &GRACE)]
        {
            let text = spec[part]["properties"][field]["description"].as_str().unwrap_or_default();
            assert!(text.contains(&format!("Default: {default}. From {min} to {max}, in units h, m and s.")), "{field}: {text}");
        }
    }
}
