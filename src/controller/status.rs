//! Writing the status: once a pass at most, and only when it says something new.

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::{classify::says_not_found, context::Context, error::Error};
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
        Err(error) => not_written(error, &seen.id.name),
    }
}

/// What it means that the API server, or what is before it, did not take the status.
fn not_written(error: kube::Error, name: &str) -> Result<Written, Error> {
    match &error {
        kube::Error::Api(status) if status.code == 409 => Ok(Written::Conflict),
        // Of any other 404 the next pass would know nothing, and the status would stay as it is until something else is due.
        kube::Error::Api(status) if says_not_found(status, name) => Ok(Written::Yes),
        _ => Err(Error::WriteStatus(error.into())),
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
    fn a_status_is_given_up_only_when_the_api_server_says_that_nobody_is_left_to_read_it() {
        let answer = |status: Value| kube::Error::Api(Box::new(serde_json::from_value(status).expect("a Status")));
        let of = |name: &str| answer(json!({ "code": 404, "reason": "NotFound", "details": { "name": name } }));
        assert!(matches!(not_written(of("speech"), "speech"), Ok(Written::Yes)));
        assert!(matches!(not_written(answer(json!({ "code": 409, "reason": "Conflict" })), "speech"), Ok(Written::Conflict)));
        let page = answer(json!({ "code": 404, "reason": "Failed to parse error data", "message": "<html>" }));
        for error in [page, of("other"), answer(json!({ "code": 503, "reason": "ServiceUnavailable" }))] {
            assert!(matches!(not_written(error, "speech"), Err(Error::WriteStatus(_))));
        }
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
