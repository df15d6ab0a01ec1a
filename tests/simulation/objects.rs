//! What the API server keeps, and its rules: versions, preconditions, finalizers, garbage collection. JSON in, JSON out.

use std::{
    collections::{BTreeMap, HashSet},
    ops::Deref,
    sync::Arc,
};

use bytes::Bytes;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// The plural of a kind, a namespace, a name.
pub(crate) type Key = (String, String, String);

/// A request that is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    NotFound,
    AlreadyExists,
    Conflict,
    Invalid(&'static str),
    Unavailable,
}

/// An object, with its text: it is read ten times as often as it is written.
#[derive(Debug)]
pub(crate) struct Stored {
    object: Value,
    pub(crate) text: Bytes,
}

/// What a watch tells.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) version: u64,
    pub(crate) word: &'static str,
    pub(crate) key: Key,
    pub(crate) object: Arc<Stored>,
}

/// All objects, and every change to them.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    pub(crate) of: BTreeMap<Key, Arc<Stored>>,
    pub(crate) version: u64,
    pub(crate) changes: Vec<Change>,
    uids: u64,
}

/// Resources, and no other kind here, have a generation and a status.
const RESOURCES: &str = "revoiceitcredentials";

impl Stored {
    pub(crate) fn new(object: Value) -> Arc<Self> {
        let text = Bytes::from(object.to_string());
        Arc::new(Self { object, text })
    }
}

impl Deref for Stored {
    type Target = Value;

    fn deref(&self) -> &Value {
        &self.object
    }
}

impl Objects {
    pub(crate) fn get(&self, key: &Key) -> Result<&Arc<Stored>, Refused> {
        self.of.get(key).ok_or(Refused::NotFound)
    }

    pub(crate) fn list<'a>(&'a self, kind: &'a str, namespace: Option<&'a str>) -> impl Iterator<Item = &'a Arc<Stored>> {
        let is_listed = move |key: &Key| key.0 == kind && namespace.is_none_or(|namespace| key.1 == namespace);
        self.of.iter().filter(move |(key, _)| is_listed(key)).map(|(_, object)| object)
    }

    pub(crate) fn create(&mut self, key: &Key, mut object: Value, dry: bool, now: Timestamp) -> Result<Arc<Stored>, Refused> {
        if self.of.contains_key(key) {
            return Err(Refused::AlreadyExists);
        }
        if dry {
            return Ok(Stored::new(object));
        }
        self.uids += 1;
        let meta = object["metadata"].as_object_mut().ok_or(Refused::Invalid("metadata"))?;
        meta.insert("name".to_owned(), json!(key.2));
        meta.insert("namespace".to_owned(), json!(key.1));
        meta.insert("uid".to_owned(), json!(format!("uid-{}", self.uids)));
        meta.insert("creationTimestamp".to_owned(), json!(seconds(now)));
        if key.0 == RESOURCES {
            meta.insert("generation".to_owned(), json!(1));
            object.as_object_mut().map(|object| object.remove("status"));
        }
        Ok(self.put(key, object, "ADDED"))
    }

    pub(crate) fn replace(&mut self, key: &Key, object: Value, dry: bool) -> Result<Arc<Stored>, Refused> {
        let before = self.get(key)?;
        check(before, &object["metadata"])?;
        let mut object = object;
        for kept in ["uid", "creationTimestamp", "namespace", "name"] {
            object["metadata"][kept] = before["metadata"][kept].clone();
        }
        if before["immutable"] == true && (before["data"] != object["data"] || object["immutable"] != true) {
            return Err(Refused::Invalid("data"));
        }
        Ok(if dry { Stored::new(object) } else { self.write(key, object) })
    }

    /// A merge patch, of the status alone or of all but the status.
    pub(crate) fn patch(&mut self, key: &Key, patch: &Value, is_status: bool) -> Result<Arc<Stored>, Refused> {
        let before = self.get(key)?;
        check(before, &patch["metadata"])?;
        let mut object = before.object.clone();
        if is_status {
            merge(&mut object["status"], &patch["status"]);
        } else {
            let mut patch = patch.clone();
            patch.as_object_mut().map(|patch| patch.remove("status"));
            if let Some(meta) = patch.get_mut("metadata").and_then(Value::as_object_mut) {
                meta.retain(|field, _| field != "uid" && field != "resourceVersion");
            }
            merge(&mut object, &patch);
            let adds = |object: &Value, before: &Value| finalizers(object).iter().any(|one| !finalizers(before).contains(one));
            if !before["metadata"]["deletionTimestamp"].is_null() && adds(&object, before) {
                return Err(Refused::Invalid("metadata.finalizers"));
            }
            if object["spec"] != before["spec"] {
                object["metadata"]["generation"] = json!(before["metadata"]["generation"].as_u64().unwrap_or(0) + 1);
            }
        }
        Ok(self.write(key, object))
    }

    pub(crate) fn delete(&mut self, key: &Key, preconditions: &Value, now: Timestamp) -> Result<Arc<Stored>, Refused> {
        let before = self.get(key)?.clone();
        check(&before, preconditions)?;
        if finalizers(&before).is_empty() {
            return Ok(self.remove(key));
        }
        if before["metadata"]["deletionTimestamp"].is_null() {
            let mut object = before.object.clone();
            object["metadata"]["deletionTimestamp"] = json!(seconds(now));
            object["metadata"]["generation"] = json!(object["metadata"]["generation"].as_u64().unwrap_or(0) + 1);
            return Ok(self.put(key, object, "MODIFIED"));
        }
        Ok(before)
    }

    /// Deletes the Secrets whose owners are all gone.
    pub(crate) fn collect(&mut self) {
        let there: HashSet<Option<&str>> = self.list(RESOURCES, None).map(|resource| resource["metadata"]["uid"].as_str()).collect();
        let is_there = |owner: &Value| there.contains(&owner["uid"].as_str());
        let is_garbage = |object: &Stored| {
            let owners = object["metadata"]["ownerReferences"].as_array().map(Vec::as_slice).unwrap_or_default();
            !owners.is_empty() && !owners.iter().any(is_there)
        };
        let garbage: Vec<Key> = self.of.iter().filter(|(_, object)| is_garbage(object)).map(|(key, _)| key.clone()).collect();
        for key in garbage {
            self.remove(&key);
        }
    }

    /// A write that changes nothing is none, and one that takes the last finalizer of what is being deleted deletes it.
    fn write(&mut self, key: &Key, object: Value) -> Arc<Stored> {
        if let Some(before) = self.of.get(key)
            && before.object == object
        {
            return before.clone();
        }
        if !object["metadata"]["deletionTimestamp"].is_null() && finalizers(&object).is_empty() {
            self.put(key, object, "MODIFIED");
            return self.remove(key);
        }
        self.put(key, object, "MODIFIED")
    }

    fn put(&mut self, key: &Key, object: Value, word: &'static str) -> Arc<Stored> {
        let object = self.changed(key, object, word);
        self.of.insert(key.clone(), object.clone());
        object
    }

    fn remove(&mut self, key: &Key) -> Arc<Stored> {
        let object = self.of.remove(key).map(|before| before.object.clone()).unwrap_or_default();
        self.changed(key, object, "DELETED")
    }

    fn changed(&mut self, key: &Key, mut object: Value, word: &'static str) -> Arc<Stored> {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let object = Stored::new(object);
        self.changes.push(Change { version: self.version, word, key: key.clone(), object: object.clone() });
        object
    }
}

/// Version and UID, where they are given.
fn check(before: &Value, wanted: &Value) -> Result<(), Refused> {
    let differs = |field: &str| !wanted[field].is_null() && wanted[field] != before["metadata"][field];
    if differs("uid") || differs("resourceVersion") { Err(Refused::Conflict) } else { Ok(()) }
}

fn finalizers(object: &Value) -> &[Value] {
    object["metadata"]["finalizers"].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn merge(into: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = Value::Object(Map::new());
    }
    let Value::Object(into) = into else { return };
    for (field, value) in patch {
        if value.is_null() {
            into.remove(field);
        } else {
            merge(into.entry(field.clone()).or_insert(Value::Null), value);
        }
    }
}

fn seconds(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second()).expect("in range").to_string()
}
