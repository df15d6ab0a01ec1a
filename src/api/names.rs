//! Names that others rely on: of the API group, of annotations and labels, of objects in the cluster.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

/// The API group of the resource.
pub const GROUP: &str = "revoiceit.com";
/// The one finalizer. It stands on a resource from before its first token until its last one is dealt with.
pub const FINALIZER: &str = "revoiceit.com/revoke";
/// On a resource: `<operator namespace>/<UID>` of the operator and the resource that its ledger belongs to.
pub const CLAIM_ANNOTATION: &str = "revoiceit.com/ledger";
/// On a resource: any new value asks for a new line of tokens.
pub const ROTATE_ANNOTATION: &str = "revoiceit.com/rotate-requested-at";
/// On a target: the name of the resource that it is written for.
pub const RESOURCE_ANNOTATION: &str = "revoiceit.com/resource";
/// On a target: the label and annotation keys that were taken from the spec, so that they can be removed when they leave it.
pub const APPLIED_ANNOTATION: &str = "revoiceit.com/applied-keys";
/// On a Secret of somebody else's: its owner's consent to being replaced, with the name of the resource that may do so.
pub const ADOPT_ANNOTATION: &str = "revoiceit.com/adopt-by";
/// The standard label that says who writes an object.
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// Value of [`MANAGED_BY_LABEL`], field manager of every write, and name of the Lease.
pub const OPERATOR: &str = "revoiceit-operator";
/// Type of the Secrets that are ledgers. Watches leave it out.
pub const LEDGER_TYPE: &str = "revoiceit.com/ledger";
/// The one key in a ledger.
pub const LEDGER_KEY: &str = "record";

/// What the name of every ledger begins with.
pub const LEDGER_PREFIX: &str = "rvc-";

/// Name of the ledger of the resource with this UID, in the operator's namespace.
pub fn ledger_name(uid: &str) -> String {
    format!("{LEDGER_PREFIX}{uid}")
}

/// The kind of the resource.
pub const KIND: &str = "RevoiceitCredential";

/// Whether this owner reference is to a resource of this name, whatever its UID.
pub fn is_resource_owner(owner: &OwnerReference, name: &str) -> bool {
    owner.kind == KIND && owner.name == name && owner.api_version.split('/').next() == Some(GROUP)
}
