//! Reading objects of which any part may be unreadable.
//!
//! The API server takes what kube cannot decode: a date beyond the year 9999 in `managedFields`, which whoever may write an object chooses, or in
//! the status of a custom resource; or fields in `managedFields` that are nested deeper than serde_json follows. One such object makes every LIST
//! and every watch of its kind fail, for everybody. So nothing is read but through [`Tolerant`], which reads what it can and never fails.

use std::{borrow::Cow, fmt};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, ResourceExt};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeOwned, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value, json};
use zeroize::Zeroize;

/// How deep objects are read. Nothing that is used lies deeper than six levels; serde_json gives up at 128, and the API server at 10,000.
const LEVELS: usize = 16;

/// An object, or what of its metadata can be read. Never an error.
///
/// `managedFields` is dropped: nothing is decided from it, and it is a third of what a list weighs. Only who wrote last is kept.
#[derive(Clone)]
pub struct Tolerant<K>(pub Result<K, Box<Invalid>>, Option<String>);

/// An object that cannot be understood. Why is not kept: the words of such an error quote the values.
#[derive(Clone, Debug, Default)]
pub struct Invalid {
    /// What can be read of it, each field for itself.
    pub metadata: ObjectMeta,
}

impl<K> Tolerant<K> {
    /// The field manager that wrote the object last, as far as its `managedFields` can be read. Who writes chooses this name.
    pub fn last_writer(&self) -> Option<&str> {
        self.1.as_deref()
    }
}

impl<K> From<K> for Tolerant<K> {
    fn from(object: K) -> Self {
        Self(Ok(object), None)
    }
}

/// By name alone: the object may be a Secret, whose own `Debug` shows what is in it.
impl<K: Resource> fmt::Debug for Tolerant<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let meta = self.meta();
        write!(f, "{}/{}", meta.namespace.as_deref().unwrap_or_default(), self.name_any())
    }
}

impl<'de, K: DeserializeOwned> Deserialize<'de> for Tolerant<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut object = Shallow { levels: LEVELS }.deserialize(deserializer)?;
        let managers = object.get_mut("metadata").and_then(Value::as_object_mut).and_then(|metadata| metadata.remove("managedFields"));
        let read = read(&mut object);
        // The object that was read has copies of its own.
        wipe(&mut object);
        Ok(Self(read, managers.as_ref().and_then(last_writer)))
    }
}

/// Reads any JSON, and passes over what lies deeper than so many levels, however deep that goes: it is null.
struct Shallow {
    levels: usize,
}

impl<'de> DeserializeSeed<'de> for Shallow {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        match self.levels {
            0 => IgnoredAny::deserialize(deserializer).map(|IgnoredAny| Value::Null),
            _ => deserializer.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for Shallow {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut read = Vec::new();
        while let Some(item) = items.next_element_seed(Self { levels: self.levels - 1 })? {
            read.push(item);
        }
        Ok(Value::Array(read))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut read = Map::new();
        while let Some(name) = fields.next_key()? {
            read.insert(name, fields.next_value_seed(Self { levels: self.levels - 1 })?);
        }
        Ok(Value::Object(read))
    }
}

fn read<K: DeserializeOwned>(object: &mut Value) -> Result<K, Box<Invalid>> {
    if let Ok(read) = K::deserialize(&*object) {
        return Ok(read);
    }
    if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
        mend(metadata);
        if let Ok(read) = K::deserialize(&*object) {
            return Ok(read);
        }
    }
    // A status is ours to write: a broken one is as good as none.
    if object.as_object_mut().is_some_and(|fields| fields.remove("status").is_some())
        && let Ok(read) = K::deserialize(&*object)
    {
        return Ok(read);
    }
    let metadata = object.get("metadata").and_then(|metadata| ObjectMeta::deserialize(metadata).ok());
    Err(Box::new(Invalid { metadata: metadata.unwrap_or_default() }))
}

/// Leaves what can be read of the metadata: each field for itself, and each entry of a list or a map.
fn mend(metadata: &mut Map<String, Value>) {
    let is_readable = |name: &str, value: &Value| ObjectMeta::deserialize(&json!({ name: value })).is_ok();
    // Some time is better than none: what is being deleted must not look as if it were not. One long ago ends all waiting.
    if metadata.get("deletionTimestamp").is_some_and(|time| !is_readable("deletionTimestamp", time)) {
        metadata.insert("deletionTimestamp".to_owned(), json!(Timestamp::UNIX_EPOCH.to_string()));
    }
    for (name, value) in metadata.iter_mut() {
        match value {
            Value::Object(entries) => entries.retain(|key, value| is_readable(name, &json!({ key: value }))),
            Value::Array(entries) => entries.retain(|entry| is_readable(name, &json!([entry]))),
            Value::String(_) | Value::Number(_) | Value::Bool(_) | Value::Null => {}
        }
    }
    metadata.retain(|name, value| is_readable(name, value));
}

/// The manager of the newest entry. A time that cannot be read counts as the oldest.
fn last_writer(managers: &Value) -> Option<String> {
    let time = |entry: &Value| entry.get("time").and_then(Value::as_str).and_then(|time| time.parse::<Timestamp>().ok());
    let named = managers.as_array()?.iter().filter_map(|entry| Some((time(entry), entry.get("manager")?.as_str()?)));
    named.max().map(|(_, manager)| manager.to_owned())
}

/// Overwrites every string. kube's own buffer, from which it was read, is out of reach.
fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(items) => items.iter_mut().for_each(wipe),
        Value::Object(fields) => fields.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// For writes, which are of objects that were made here.
impl<K: Serialize> Serialize for Tolerant<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Ok(object) => object.serialize(serializer),
            Err(_) => Err(serde::ser::Error::custom("an object that was not understood is not written")),
        }
    }
}

impl<K: Resource> Resource for Tolerant<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::kind(dt)
    }

    fn group(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::group(dt)
    }

    fn version(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::version(dt)
    }

    fn plural(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::plural(dt)
    }

    // Without this a metadata-only watch would be one of whole Secrets.
    fn metadata_api() -> bool {
        K::metadata_api()
    }

    fn meta(&self) -> &ObjectMeta {
        match &self.0 {
            Ok(object) => object.meta(),
            Err(invalid) => &invalid.metadata,
        }
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match &mut self.0 {
            Ok(object) => object.meta_mut(),
            Err(invalid) => &mut invalid.metadata,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use k8s_openapi::api::core::v1::Secret;
    use kube::api::PartialObjectMeta;

    use super::*;
    use crate::api::RevoiceitCredential;

    const BEYOND: &str = "9999-12-31T23:59:59Z";

    fn read<K: DeserializeOwned>(object: Value) -> Tolerant<K> {
        serde_json::from_value(object).expect("it never fails on an object")
    }

    fn credential() -> Value {
        json!({
            "apiVersion": "revoiceit.com/v1", "kind": "RevoiceitCredential",
            "metadata": { "name": "speech", "namespace": "team-a", "uid": "u", "resourceVersion": "7" },
            "spec": { "credentialsSecretRef": { "name": "client" }, "target": { "name": "token" } },
        })
    }

    #[test]
    fn managed_fields_are_dropped_whatever_they_hold() {
        let mut object =
            json!({ "metadata": { "name": "s", "managedFields": [{ "manager": "x", "time": BEYOND }] }, "data": { "k": "dg==" } });
        let secret = read::<Secret>(object.clone());
        assert_eq!(secret.0.expect("readable").metadata.managed_fields, None);
        object["metadata"]["managedFields"] = json!("not even a list");
        assert!(read::<Secret>(object).0.is_ok());
    }

    #[test]
    fn what_is_nested_without_end_is_passed_over() {
        let deep = format!("{}{{}}{}", "{\"f:a\":".repeat(1000), "}".repeat(1000));
        let entry = format!(r#"{{ "manager": "argocd", "time": "2026-11-01T00:00:00Z", "fieldsV1": {deep} }}"#);
        let list = format!(r#"[{{ "metadata": {{ "name": "s", "managedFields": [{entry}] }}, "data": {{ "k": "dg==" }} }}]"#);
        let read: Vec<Tolerant<Secret>> = serde_json::from_str(&list).expect("it never fails on an object");
        assert_eq!(read[0].last_writer(), Some("argocd"));
        assert_eq!(read[0].0.as_ref().expect("readable").data.as_ref().map(BTreeMap::len), Some(1));
    }

    #[test]
    fn a_broken_status_is_as_good_as_none() {
        let mut object = credential();
        object["status"] = json!({ "expiresAt": BEYOND });
        let read = read::<RevoiceitCredential>(object).0.expect("readable");
        assert_eq!((read.name_any(), read.status), ("speech".into(), None));
    }

    #[test]
    fn metadata_of_which_a_part_cannot_be_read_does_not_make_the_rest_unreadable() {
        let mut object = credential();
        object["metadata"]["creationTimestamp"] = json!(BEYOND);
        object["metadata"]["annotations"] = json!({ "a": 1, "b": "2" });
        object["metadata"]["finalizers"] = json!(["one", 2, { "three": 3 }]);
        object["metadata"]["labels"] = json!("none");
        let metadata = read::<RevoiceitCredential>(object).0.expect("readable").metadata;
        assert_eq!((metadata.creation_timestamp, metadata.labels), (None, None));
        assert_eq!(metadata.annotations, Some([("b".into(), "2".into())].into()));
        assert_eq!(metadata.finalizers, Some(vec!["one".into()]));
    }

    #[test]
    fn what_is_being_deleted_never_looks_as_if_it_were_not() {
        let mut object = credential();
        object["metadata"]["deletionTimestamp"] = json!(BEYOND);
        let metadata = read::<RevoiceitCredential>(object).0.expect("readable").metadata;
        assert_eq!(metadata.deletion_timestamp.map(|time| time.0), Some(Timestamp::UNIX_EPOCH));
    }

    #[test]
    fn the_last_writer_is_known_by_name_whatever_else_the_managed_fields_hold() {
        let writer = |managers: Value| {
            let object = json!({ "metadata": { "name": "s", "managedFields": managers } });
            read::<Secret>(object).last_writer().map(str::to_owned)
        };
        let entry = |manager: &str, time: &str| json!({ "manager": manager, "time": time });
        let (old, new) = (entry("helm", "2026-11-01T00:00:00Z"), entry("argocd", "2026-11-02T00:00:00Z"));
        assert_eq!(writer(json!([new, old])).as_deref(), Some("argocd"));
        assert_eq!(writer(json!([old, entry("x", BEYOND), new, { "time": 7 }, 7])).as_deref(), Some("argocd"));
        assert_eq!(writer(json!([{ "manager": "x" }])).as_deref(), Some("x"));
        assert_eq!((writer(json!([])), writer(json!("x"))), (None, None));
    }

    #[test]
    fn nothing_of_a_secret_is_in_its_debug_text() {
        let object = json!({ "metadata": { "name": "s", "namespace": "ns" }, "data": { "k": "aHVudGVyMg==" } });
        assert_eq!(format!("{:?}", read::<Secret>(object)), "ns/s");
        let broken = json!({ "metadata": { "name": "s", "namespace": "ns" }, "data": { "k": "not base64: hunter2" } });
        let broken = read::<Secret>(broken);
        assert_eq!(format!("{broken:?}, {:?}", broken.0.as_ref().err().map(|invalid| &invalid.metadata.name)), "ns/s, Some(Some(\"s\"))");
    }

    #[test]
    fn the_copy_that_was_read_from_is_overwritten() {
        let mut object = json!({ "data": { "k": "aHVudGVyMg==" }, "list": ["hunter2"], "number": 7 });
        wipe(&mut object);
        assert_eq!(object, json!({ "data": { "k": "" }, "list": [""], "number": 7 }));
    }

    #[test]
    fn of_an_object_that_is_not_understood_each_readable_field_of_the_metadata_is_kept() {
        let mut object = credential();
        object["spec"] = json!({ "of": "a later version" });
        object["metadata"]["creationTimestamp"] = json!(BEYOND);
        object["metadata"]["finalizers"] = json!(["revoiceit.com/revoke"]);
        object["metadata"]["labels"] = json!({ "a": 1 });
        let Err(invalid) = read::<RevoiceitCredential>(object).0 else { panic!("it cannot be understood") };
        assert_eq!(invalid.metadata.uid.as_deref(), Some("u"));
        assert_eq!(invalid.metadata.resource_version.as_deref(), Some("7"));
        assert_eq!(invalid.metadata.finalizers, Some(vec!["revoiceit.com/revoke".into()]));
        assert_eq!((invalid.metadata.labels, invalid.metadata.creation_timestamp), (Some([].into()), None));
    }

    #[test]
    fn a_metadata_only_api_stays_one() {
        assert!(Tolerant::<PartialObjectMeta<Secret>>::metadata_api());
        assert!(!Tolerant::<Secret>::metadata_api());
    }

    #[test]
    fn what_was_not_understood_is_not_written() {
        assert!(serde_json::to_value(Tolerant::<Secret>(Err(Box::default()), None)).is_err());
    }
}
