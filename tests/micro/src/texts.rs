//! What is read and written.

use revoiceit_operator::{
    api::{RevoiceitCredential, names},
    planner::Record,
    runtime::tolerant::Tolerant,
};
use serde_json::json;

use crate::life::Life;

/// What a ledger holds.
pub fn record() -> Vec<u8> {
    Life::served().record().to_json()
}

/// A record as it is stored.
pub fn render(record: &Record) -> Vec<u8> {
    record.to_json()
}

/// A resource as the API server sends it.
pub fn resource() -> Vec<u8> {
    let condition = json!({
        "type": "Ready", "status": "True", "reason": "TokenReady", "message": "The token is valid and is refreshed before it expires.",
        "observedGeneration": 1, "lastTransitionTime": "2026-11-24T10:00:01Z",
    });
    let managed = json!({
        "manager": "revoiceit-operator", "operation": "Update", "apiVersion": "revoiceit.com/v1", "time": "2026-11-24T10:00:01Z",
        "fieldsType": "FieldsV1", "subresource": "status",
        "fieldsV1": { "f:status": { ".": {}, "f:conditions": {}, "f:expiresAt": {}, "f:issuedAt": {}, "f:refreshAt": {}, "f:revision": {} } },
    });
    let resource = json!({
        "apiVersion": "revoiceit.com/v1", "kind": names::KIND,
        "metadata": { "name": "speech", "namespace": "team-a", "uid": "5f3a1189-80aa-4c3e-9d53-0b8a0e6b1d2f", "resourceVersion": "123456",
            "generation": 1, "creationTimestamp": "2026-11-24T10:00:00Z", "finalizers": [names::FINALIZER],
            "annotations": { names::CLAIM_ANNOTATION: "revoiceit-system/5f3a1189-80aa-4c3e-9d53-0b8a0e6b1d2f" }, "managedFields": [managed] },
        "spec": {
            "credentialsSecretRef": { "name": "client", "clientIdKey": "clientId", "clientSecretKey": "clientSecret" },
            "target": { "name": "token", "template": { "accessToken": "{{ accessToken }}" } },
            "refresh": { "beforeExpiry": "15m" }, "revocation": { "deadline": "5m", "grace": "5m" }, "suspend": false,
        },
        "status": { "observedGeneration": 1, "revision": 1, "issuedAt": "2026-11-24T10:00:00Z", "refreshAt": "2026-11-24T10:44:00Z",
            "expiresAt": "2026-11-24T11:00:00Z", "pendingRevocations": 0, "suspectedLost": 0, "conditions": [condition] },
    });
    resource.to_string().into_bytes()
}

/// The same under another name, with Secrets of its own.
pub fn numbered(json: &[u8], number: usize) -> Tolerant<RevoiceitCredential> {
    let mut object: Tolerant<RevoiceitCredential> = serde_json::from_slice(json).expect("never an error");
    let resource = object.0.as_mut().expect("a resource");
    resource.metadata.name = Some(format!("speech-{number:05}"));
    resource.metadata.uid = Some(format!("5f3a1189-80aa-4c3e-9d53-0b8a0e6{number:05}"));
    resource.spec.credentials_secret_ref.name = format!("client-{number:05}");
    resource.spec.target.name = format!("token-{number:05}");
    object
}

/// A Secret as the API server sends it.
pub fn secret() -> Vec<u8> {
    let managed = json!({
        "manager": "revoiceit-operator", "operation": "Update", "apiVersion": "v1", "time": "2026-11-24T10:00:01Z", "fieldsType": "FieldsV1",
        "fieldsV1": { "f:data": { ".": {}, "f:accessToken": {} }, "f:metadata": { "f:annotations": {}, "f:labels": {} }, "f:type": {} },
    });
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "data": { "accessToken": "MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1ub3BxcnN0dXZ3eHl6" },
        "metadata": { "name": "token", "namespace": "team-a", "uid": "b2a1189-80aa-4c3e-9d53-0b8a0e6b1d2f", "resourceVersion": "123457",
            "creationTimestamp": "2026-11-24T10:00:01Z", "labels": { "app.kubernetes.io/managed-by": "revoiceit-operator" },
            "annotations": { "revoiceit.com/resource": "speech" }, "managedFields": [managed] },
    });
    secret.to_string().into_bytes()
}
