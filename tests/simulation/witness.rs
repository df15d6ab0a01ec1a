//! Sees every change to every object, and says which must not have happened.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use revoiceit_operator::api::names;
use serde_json::Value;

use crate::{
    clock,
    objects::{Change, Key, Stored},
    replica::SYSTEM,
    revoiceit::{Revoiceit, number},
};

/// What was seen so far.
#[derive(Default)]
pub(crate) struct Witness {
    pub(crate) revoiceit: Revoiceit,
    /// What must not have happened.
    pub(crate) violations: Vec<String>,
    /// Suspects that were counted, by client.
    pub(crate) suspects: HashMap<String, u64>,
    /// The refresh tokens of the lines that were in use, by client.
    pub(crate) lines: HashMap<String, HashSet<usize>>,
    /// Those in whose place another line was wanted because their refreshes failed.
    pub(crate) closed: HashMap<String, HashSet<usize>>,
    /// Objects that operators wrote, but for leases.
    pub(crate) writes: u64,
    /// Of all that happened, in order: two histories with the same one are the same.
    pub(crate) digest: u64,
    last: HashMap<Key, Arc<Stored>>,
    /// The number of the access token that was delivered last under a name.
    delivered: HashMap<Key, usize>,
}

impl Witness {
    pub(crate) fn saw(&mut self, change: &Change, by: Option<usize>) {
        self.mix(change.version, change.word);
        if by.is_some() && change.key.0 != "leases" {
            self.writes += 1;
        }
        if change.key.0 == "secrets" {
            if change.key.1 == SYSTEM {
                self.saw_ledger(change);
            } else if by.is_some() {
                self.saw_target(change);
            }
        }
        if change.word == "DELETED" {
            self.last.remove(&change.key);
        } else {
            self.last.insert(change.key.clone(), change.object.clone());
        }
    }

    fn saw_target(&mut self, change: &Change) {
        let before = self.last.get(&change.key);
        let of = |object: &Value| object["metadata"]["annotations"][names::RESOURCE_ANNOTATION].as_str().map(str::to_owned);
        if let Some(before) = before
            && of(before).is_none()
        {
            self.violate(&format!("{} of somebody else was changed", change.key.2));
        }
        if change.word == "DELETED" {
            self.delivered.remove(&change.key);
            return;
        }
        let (Some(name), Some(token)) = (of(&change.object), value(&change.object, "accessToken")) else {
            self.violate(&format!("{} holds no token", change.key.2));
            return;
        };
        let token = number(&token).expect("a token");
        let client = client_of(&name);
        let (whose, is_revoked) = {
            let revoiceit = self.revoiceit.lock();
            let access = &revoiceit.access[token];
            (access.client.clone(), revoiceit.refresh[access.refresh].is_revoked)
        };
        if whose != client {
            self.violate(&format!("{name} got a token of {whose}"));
        }
        if is_revoked {
            self.violate(&format!("{name} got a token whose line is revoked"));
        }
        if self.delivered.get(&change.key).is_some_and(|last| *last > token) {
            self.violate(&format!("{name} got an older token than it had"));
        }
        self.delivered.insert(change.key.clone(), token);
    }

    fn saw_ledger(&mut self, change: &Change) {
        let Some(now) = record(&change.object) else { return };
        let before = self.last.get(&change.key).and_then(|before| record(before)).map_or(0, |record| lost(&record));
        let client = client_of(now["resource"]["name"].as_str().expect("a name"));
        if let Some(line) = now["live"]["refresh"].as_str().and_then(number) {
            self.lines.entry(client.clone()).or_default().insert(line);
            if now["rotates"] == true {
                self.revoiceit.lock().refresh[line].rotates_since.get_or_insert_with(clock::truth);
            }
            if ["refreshRejected", "refreshFailing"].contains(&now["intent"]["cause"].as_str().unwrap_or_default()) {
                self.closed.entry(client.clone()).or_default().insert(line);
            }
        }
        *self.suspects.entry(client).or_default() += lost(&now).saturating_sub(before);
    }

    pub(crate) fn violate(&mut self, what: &str) {
        self.violations.push(format!("{}: {what}", clock::truth()));
    }

    /// FNV-1a.
    fn mix(&mut self, version: u64, word: &str) {
        let time = clock::truth().as_millisecond().to_le_bytes();
        for byte in time.into_iter().chain(version.to_le_bytes()).chain(word.bytes()) {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
}

/// The client of the resource with this name.
pub(crate) fn client_of(resource: &str) -> String {
    format!("client-of-{resource}")
}

/// A value in a Secret.
pub(crate) fn value(secret: &Value, key: &str) -> Option<String> {
    let bytes = BASE64_STANDARD.decode(secret["data"][key].as_str()?).ok()?;
    String::from_utf8(bytes).ok()
}

/// The record in a ledger.
pub(crate) fn record(ledger: &Value) -> Option<Value> {
    serde_json::from_str(&value(ledger, names::LEDGER_KEY)?).ok()
}

fn lost(record: &Value) -> u64 {
    record["suspects"]["lost"].as_u64().unwrap_or(0)
}
