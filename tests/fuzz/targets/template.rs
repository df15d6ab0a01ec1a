//! A target's template: filled in as by plain replacement.
#![no_main]

use libfuzzer_sys::fuzz_target;
use revoiceit_operator::{
    api::{RevoiceitCredential, RevoiceitCredentialSpec},
    planner::{Live, ResourceId, desired},
};

fuzz_target!(|template: &str| {
    let spec = serde_json::json!({
        "credentialsSecretRef": { "name": "a" },
        "target": { "name": "b", "template": { "key": template } },
    });
    let spec: RevoiceitCredentialSpec = serde_json::from_value(spec).expect("a spec");
    let id = ResourceId { namespace: "team-a".to_owned(), name: "speech".to_owned(), uid: "uid".to_owned() };
    let live = serde_json::json!({
        "revision": 1, "refresh": "REFRESH", "access": "TOKEN", "source": "digest",
        "sentAt": "1970-01-01T00:00:00Z", "expiresAt": "1970-01-01T01:00:00Z", "sourceVersion": null,
    });
    let live: Live = serde_json::from_value(live).expect("a line");
    let desired = desired(&RevoiceitCredential::new("speech", spec), &id, &live);
    let plain = template.replace("{{ accessToken }}", "TOKEN").replace("{{ expiresAt }}", "1970-01-01T01:00:00Z");
    assert_eq!(desired.data["key"].0, plain.as_bytes());
});
