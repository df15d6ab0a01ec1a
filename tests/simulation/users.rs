//! What users do.

use base64::{Engine, prelude::BASE64_STANDARD};
use jiff::SignedDuration;
use revoiceit_operator::api::names;
use serde_json::{Value, json};

use crate::{
    clock,
    history::{History, key},
    witness::client_of,
};

impl History {
    pub(crate) fn edit(&mut self) {
        let now = clock::truth();
        for number in 0..self.wanted.len() {
            // One after the other, so that how often a new line is to be expected can be told.
            let is_settled = now.duration_since(self.wanted[number].edited_at) >= SignedDuration::from_mins(30);
            let wanted = &mut self.wanted[number];
            if !self.kind.edits || !is_settled || wanted.comes_back || fastrand::u32(..24 * 60) >= 6 {
                continue;
            }
            wanted.edited_at = now;
            match fastrand::u8(..10) {
                _ if !wanted.exists => wanted.comes_back = true,
                _ if wanted.suspended => self.suspend(number, false),
                0 => {
                    wanted.secret += 1;
                    wanted.causes += 1;
                    self.write_credentials(number);
                }
                1 => {
                    wanted.renames += 1;
                    wanted.target = format!("token-{number}-{}", wanted.renames);
                    let patch = json!({ "spec": { "target": { "name": wanted.target } } });
                    self.patch(number, &patch);
                }
                2 => self.suspend(number, true),
                3 => {
                    wanted.causes += 1;
                    let patch = json!({ "metadata": { "annotations": { names::ROTATE_ANNOTATION: now.to_string() } } });
                    self.patch(number, &patch);
                }
                4 => self.delete(number),
                5 => {
                    self.delete(number);
                    self.wanted[number].comes_back = true;
                }
                // By force, and at once there again.
                9 => {
                    self.patch(number, &json!({ "metadata": { "finalizers": null } }));
                    self.delete(number);
                    self.create(number);
                }
                6 => {
                    let key = key("secrets", &wanted.target);
                    let patch =
                        json!({ "data": { "accessToken": BASE64_STANDARD.encode("a-0") }, "metadata": { "labels": { "by": "hand" } } });
                    let _ = self.server.by_user(|objects| objects.patch(&key, &patch, false));
                }
                7 => {
                    let key = key("secrets", &wanted.target);
                    let _ = self.server.by_user(|objects| objects.delete(&key, &Value::Null, now));
                }
                _ => {
                    let patch = json!({ "metadata": { "labels": { "edited": now.as_second().to_string() } } });
                    self.patch(number, &patch);
                }
            }
        }
    }

    pub(crate) fn write_credentials(&mut self, number: usize) {
        let wanted = &self.wanted[number];
        let (client, secret) = (client_of(&wanted.name), format!("secret-{}", wanted.secret));
        self.revoiceit.lock().secrets.insert(client.clone(), secret.clone());
        let data = json!({ "clientId": BASE64_STANDARD.encode(client), "clientSecret": BASE64_STANDARD.encode(secret) });
        let key = key("secrets", &format!("credentials-{number}"));
        let secret = json!({ "metadata": {}, "type": "Opaque", "data": data });
        self.server.by_user(|objects| {
            if objects.patch(&key, &json!({ "data": data }), false).is_err() {
                let _ = objects.create(&key, secret, false, clock::truth());
            }
        });
    }

    /// A deletion that is not yet complete keeps the name: the user tries again.
    pub(crate) fn bring_back(&mut self) {
        for number in 0..self.wanted.len() {
            if self.wanted[number].comes_back {
                self.create(number);
            }
        }
    }

    pub(crate) fn create(&mut self, number: usize) {
        let wanted = &mut self.wanted[number];
        let object = json!({
            "apiVersion": "revoiceit.com/v1", "kind": names::KIND, "metadata": {},
            "spec": {
                "credentialsSecretRef": { "name": format!("credentials-{number}"), "clientIdKey": "clientId", "clientSecretKey": "clientSecret" },
                "target": { "name": wanted.target, "template": { "accessToken": "{{ accessToken }}" } },
                "refresh": { "beforeExpiry": "15m" },
                "revocation": { "deadline": "5m", "grace": "5m" },
                "suspend": false,
            },
        });
        let key = key("revoiceitcredentials", &wanted.name);
        if self.server.by_user(|objects| objects.create(&key, object, false, clock::truth())).is_ok() {
            (wanted.exists, wanted.comes_back, wanted.suspended) = (true, false, false);
            wanted.edited_at = clock::truth();
            wanted.causes += 1;
        }
    }

    pub(crate) fn delete(&mut self, number: usize) {
        let wanted = &mut self.wanted[number];
        let key = key("revoiceitcredentials", &wanted.name);
        let _ = self.server.by_user(|objects| objects.delete(&key, &Value::Null, clock::truth()));
        (wanted.exists, wanted.suspended) = (false, false);
    }

    pub(crate) fn suspend(&mut self, number: usize, suspend: bool) {
        let wanted = &mut self.wanted[number];
        wanted.suspended = suspend;
        wanted.edited_at = clock::truth();
        self.patch(number, &json!({ "spec": { "suspend": suspend } }));
    }

    pub(crate) fn patch(&self, number: usize, patch: &Value) {
        let key = key("revoiceitcredentials", &self.wanted[number].name);
        let _ = self.server.by_user(|objects| objects.patch(&key, patch, false));
    }
}
