//! The `RevoiceitCredential` resource, and the rules that the API server holds users to.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

// CEL fragments. In a regex write [.] rather than \\. : a backslash has to survive Rust, CEL and RE2.
const NAME: &str = "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')";
const NAME_MESSAGE: &str = "must be a Secret name: lower case letters, digits, '-' and '.', beginning and ending with a letter or digit, for example \"revoiceit-client\"";
const KEY: &str = "self.matches('^[-._a-zA-Z0-9]+$')";
const KEY_MESSAGE: &str = "must be a Secret key: letters, digits, '-', '_' and '.', for example \"clientId\"";
/// At most six digits for each unit, so that `duration()` below cannot overflow.
const DURATION: &str = "self.matches('^([0-9]{1,6}(h|m|s))+$')";
const DURATION_MESSAGE: &str = "must be a duration such as \"15m\", \"90s\" or \"1h30m\" (units h, m and s)";
/// Key of a label or annotation: optional DNS prefix, '/', name of at most 63 characters.
const QUALIFIED: &str = "self.all(k, k.matches('^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?([.][a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))";
const RESERVED: &str = "(k.matches('(^|[.])(revoiceit[.]com|kubernetes[.]io|k8s[.]io)/') || k.matches('^(helm[.]sh|argocd[.]argoproj[.]io|velero[.]io)/'))";
const RESERVED_MESSAGE: &str = "keys under revoiceit.com, kubernetes.io, k8s.io, helm.sh, argocd.argoproj.io and velero.io are reserved: use a prefix of your own";

/// `rule` holds, or `duration` is not a duration at all (which its own rule says).
fn within(min: &str, max: &str) -> String {
    format!("!{DURATION} || (duration(self) >= duration('{min}') && duration(self) <= duration('{max}'))")
}

/// Keeps a Secret supplied with a valid access token for the Revoiceit API.
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
    doc = "Keeps a Secret supplied with a valid access token for the Revoiceit API.",
    selectable = ".spec.credentialsSecretRef.name",
    selectable = ".spec.target.name",
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Secret", type_ = "string", json_path = ".spec.target.name"),
    printcolumn(name = "Expires", type_ = "string", json_path = ".status.expiresAt"),
    printcolumn(name = "Message", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].message"#, priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
)]
#[x_kube(
    validation = Rule::new("self.target.name != self.credentialsSecretRef.name")
        .message(Message::Expression("'the target Secret and the credentials Secret are both \"' + self.target.name + '\": set target.name to another name'".into()))
        .field_path(".target.name")
        .reason(Reason::FieldValueForbidden),
)]
#[serde(rename_all = "camelCase")]
pub struct RevoiceitCredentialSpec {
    /// The Secret with the client ID and the client secret, in the same namespace.
    pub credentials_secret_ref: CredentialsSecretRef,
    /// The Secret that is written.
    pub target: TargetSpec,
    /// When the access token is refreshed.
    #[serde(default)]
    pub refresh: RefreshSpec,
    /// What happens to refresh tokens that are no longer needed.
    #[serde(default)]
    pub revocation: RevocationSpec,
    /// Stops issuing and refreshing. Revocations, deletion and repair of the target go on.
    #[serde(default)]
    pub suspend: bool,
}

/// Where the client ID and the client secret are.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[x_kube(
    validation = Rule::new("self.clientIdKey != self.clientSecretKey")
        .message("clientIdKey and clientSecretKey must be two different keys")
        .field_path(".clientSecretKey"), // not FieldValueDuplicate: the server then drops the message
)]
#[serde(rename_all = "camelCase")]
pub struct CredentialsSecretRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(NAME).message(NAME_MESSAGE))]
    pub name: String,
    /// Key of the client ID.
    #[serde(default = "client_id_key")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(KEY).message(KEY_MESSAGE))]
    pub client_id_key: String,
    /// Key of the client secret.
    #[serde(default = "client_secret_key")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(KEY).message(KEY_MESSAGE))]
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
    /// Name of the Secret. When it changes, the old Secret is deleted once the new one is written.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(NAME).message(NAME_MESSAGE))]
    pub name: String,
    /// Labels of the Secret.
    #[serde(default)]
    #[schemars(schema_with = "labels_schema")]
    #[x_kube(
        validation = Rule::new(QUALIFIED).message("label keys must be qualified names such as \"team\" or \"example.com/team\""),
        validation = Rule::new(format!("self.all(k, !{RESERVED} || (k.startsWith('app.kubernetes.io/') && k != 'app.kubernetes.io/managed-by'))")).message(RESERVED_MESSAGE),
    )]
    pub labels: BTreeMap<String, String>,
    /// Annotations of the Secret.
    #[serde(default)]
    #[schemars(schema_with = "annotations_schema")]
    #[x_kube(
        validation = Rule::new(QUALIFIED).message("annotation keys must be qualified names such as \"team\" or \"example.com/team\""),
        validation = Rule::new(format!("self.all(k, !{RESERVED})")).message(RESERVED_MESSAGE),
    )]
    pub annotations: BTreeMap<String, String>,
    /// Keys of the Secret, with their values as templates.
    /// `{{ accessToken }}` and `{{ expiresAt }}` are replaced.
    #[serde(default = "template")]
    #[schemars(schema_with = "template_schema")]
    #[x_kube(
        validation = Rule::new("self.size() >= 1").message("must have at least one key, for example accessToken: \"{{ accessToken }}\"").reason(Reason::FieldValueRequired),
        validation = Rule::new("self.all(k, k.matches('^[-._a-zA-Z0-9]{1,253}$') && k != '.' && k != '..')").message("keys must be Secret keys: letters, digits, '-', '_' and '.'"),
    )]
    pub template: BTreeMap<String, String>,
}

fn template() -> BTreeMap<String, String> {
    [("accessToken".to_owned(), "{{ accessToken }}".to_owned())].into()
}

fn labels_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object", "maxProperties": 32,
        "additionalProperties": {
            "type": "string", "maxLength": 63,
            "x-kubernetes-validations": [{
                "rule": "self.matches('^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$')",
                "message": "must be a label value: letters, digits, '-', '_' and '.', beginning and ending with a letter or digit",
            }],
        },
    })
}

fn annotations_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": "object", "maxProperties": 32, "additionalProperties": { "type": "string", "maxLength": 4096 } })
}

fn template_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    // A rule on the values, so that the message names the key: `spec.target.template.authorization: ..`.
    schemars::json_schema!({ "type": "object", "maxProperties": 32, "additionalProperties": {
        "type": "string", "maxLength": 4096,
        "x-kubernetes-validations": [{
            "rule": "self.matches('^([^{]|[{][^{]|[{][{] (accessToken|expiresAt) [}][}])*[{]?$')",
            "message": "\"{{\" must begin {{ accessToken }} or {{ expiresAt }}, the two things that are filled in",
        }, {
            "rule": "self.split('{{').size() <= 5",
            "message": "at most four placeholders in one value",
        }],
    } })
}

/// When the access token is refreshed.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RefreshSpec {
    /// How long before its expiry. From 10m to 40m.
    #[serde(default = "before_expiry")]
    #[schemars(length(min = 1, max = 20))]
    #[x_kube(
        validation = Rule::new(DURATION).message(DURATION_MESSAGE),
        validation = Rule::new(within("10m", "40m")).message("must be from 10m to 40m"),
    )]
    pub before_expiry: String,
}

impl Default for RefreshSpec {
    fn default() -> Self {
        Self { before_expiry: before_expiry() }
    }
}

fn before_expiry() -> String {
    "15m".into()
}

/// What happens to refresh tokens that are no longer needed.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RevocationSpec {
    /// How long deletion waits for revocation; after it the finalizer goes and revocation continues in the background. From 0s to 168h.
    #[serde(default = "deadline")]
    #[schemars(length(min = 1, max = 20))]
    #[x_kube(
        validation = Rule::new(DURATION).message(DURATION_MESSAGE),
        validation = Rule::new(within("0s", "168h")).message("must be from 0s to 168h"),
    )]
    pub deadline: String,
    /// How long a superseded refresh token lives after its successor was delivered. Up to 1h; under 2m counts as 2m.
    #[serde(default = "grace")]
    #[schemars(length(min = 1, max = 20))]
    #[x_kube(
        validation = Rule::new(DURATION).message(DURATION_MESSAGE),
        validation = Rule::new(within("0s", "1h")).message("must be from 0s to 1h"),
    )]
    pub grace: String,
}

impl Default for RevocationSpec {
    fn default() -> Self {
        Self { deadline: deadline(), grace: grace() }
    }
}

fn deadline() -> String {
    "5m".into()
}

fn grace() -> String {
    "5m".into()
}

/// What the operator reports.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RevoiceitCredentialStatus {
    /// The generation that the conditions are about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready; Reconciling and Stalled only while true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// How many refresh tokens have been issued so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued_at: Option<Time>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_at: Option<Time>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub pending_revocations: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub suspected_lost: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_rotate_request: Option<String>,
}

/// Failures since the last success.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    #[schemars(range(min = 0))]
    pub count: i32, // not u32: the server warns of an unrecognized format "uint32"
    pub reason: String,
    pub last_at: Option<Time>,
    pub next_retry_at: Option<Time>,
}
