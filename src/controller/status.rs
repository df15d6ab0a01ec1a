//! Writing the status: once a pass at most, and only when it says something new.

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::{context::Context, error::Error};
use crate::{
    api::names,
    planner::{Observed, Resource, Status},
    revoiceit::Auth,
};

/// What became of a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// It is as it should be, or nobody is left to read it.
    Yes,
    /// The resource is another one than was seen: there may be more to do, and to say.
    Conflict,
}

/// Writes the status if it is another one.
pub(super) async fn write_status<A: Auth>(cx: &Context<A>, seen: &Observed, status: &Status) -> Result<Written, Error> {
    let before = match &seen.resource {
        Resource::Wanted(resource) => resource.status.as_ref(),
        Resource::Leaving(leaving) => Some(&leaving.status),
        Resource::Unreadable(_) | Resource::NotFound { .. } | Resource::Replaced | Resource::Released => None,
    };
    if before == Some(status) {
        return Ok(Written::Yes);
    }
    let Some(meta) = seen.meta() else { return Ok(Written::Yes) };
    let patch = patch(status, meta.resource_version.as_deref());
    let params = PatchParams { field_manager: Some(names::OPERATOR.to_owned()), ..PatchParams::default() };
    match cx.resources(&seen.id.namespace).patch_status(&seen.id.name, &params, &Patch::Merge(&patch)).await {
        Ok(patched) => {
            cx.watched.wrote_resource(meta.resource_version.as_deref(), &patched);
            Ok(Written::Yes)
        }
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(Written::Conflict),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(Written::Yes),
        Err(error) => Err(Error::WriteStatus(error.into())),
    }
}

/// A merge patch that replaces the status as a whole: what it leaves out is set to null, or it would stay.
fn patch(status: &Status, version: Option<&str>) -> Value {
    let mut fields = json!({});
    for name in FIELDS {
        fields[name] = Value::Null;
    }
    if let (Value::Object(fields), Ok(Value::Object(new))) = (&mut fields, serde_json::to_value(status)) {
        fields.extend(new);
    }
    json!({
        "apiVersion": format!("{}/v1", names::GROUP),
        "kind": names::KIND,
        "metadata": { "resourceVersion": version },
        "status": fields,
    })
}

/// Every field of the status.
const FIELDS: [&str; 10] = [
    "observedGeneration",
    "conditions",
    "revision",
    "issuedAt",
    "refreshAt",
    "expiresAt",
    "failure",
    "pendingRevocations",
    "suspectedLost",
    "lastHandledRotateRequest",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::RevoiceitCredentialStatus;

    #[test]
    fn what_a_status_leaves_out_is_removed() {
        let patch = patch(&RevoiceitCredentialStatus { revision: Some(7), ..Default::default() }, Some("1"));
        assert_eq!(patch["status"]["revision"], 7);
        assert_eq!(patch["status"]["failure"], Value::Null);
        assert!(patch["status"].as_object().expect("an object").contains_key("failure"));
    }

    #[test]
    fn every_field_of_the_status_is_known() {
        let schema = schemars::schema_for!(RevoiceitCredentialStatus);
        let mut names: Vec<&str> =
            schema.get("properties").and_then(Value::as_object).expect("an object").keys().map(String::as_str).collect();
        let mut fields = FIELDS.to_vec();
        names.sort_unstable();
        fields.sort_unstable();
        assert_eq!(names, fields);
    }
}
