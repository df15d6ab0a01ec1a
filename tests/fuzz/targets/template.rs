//! A target's template: filled in as by plain replacement.
#![no_main]

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use libfuzzer_sys::fuzz_target;
use revoiceit_operator::{
    api::{RevoiceitCredential, RevoiceitCredentialSpec},
    planner::{Digest, Live, ResourceId, desired},
    revoiceit::{AccessToken, RefreshToken},
};

fuzz_target!(|template: &str| {
    let spec = serde_json::json!({
        "credentialsSecretRef": { "name": "a" },
        "target": { "name": "b", "template": { "key": template } },
    });
    let spec: RevoiceitCredentialSpec = serde_json::from_value(spec).expect("a spec");
    let id = ResourceId { namespace: "team-a".to_owned(), name: "speech".to_owned(), uid: "uid".to_owned() };
    let live = Live {
        revision: 1,
        refresh: RefreshToken::new("REFRESH"),
        access: AccessToken::new("TOKEN"),
        sent_at: Timestamp::UNIX_EPOCH,
        expires_at: Timestamp::UNIX_EPOCH + SignedDuration::from_hours(1),
        source: Digest::of_data(&BTreeMap::new()),
        source_version: None,
    };
    let desired = desired(&RevoiceitCredential::new("speech", spec), &id, &live);
    let plain = template.replace("{{ accessToken }}", "TOKEN").replace("{{ expiresAt }}", "1970-01-01T01:00:00Z");
    assert_eq!(desired.data["key"].0, plain.as_bytes());
});
