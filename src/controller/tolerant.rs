//! Reading objects of which any part may be unreadable.
//!
//! The API server takes what kube cannot decode: a date beyond the year 9999 in `managedFields`, which whoever may write an object chooses, or in
//! the status of a custom resource. One such object makes every LIST and every watch of its kind fail, for everybody. So nothing is read but
//! through [`Tolerant`], which reads what it can and never fails.

use std::borrow::Cow;

use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::Resource;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};
use serde_json::Value;

/// An object, or what of its metadata can be read. Never an error.
///
/// `managedFields` is dropped: nothing is decided from it, and it is a third of what a list weighs.
#[derive(Clone, Debug)]
pub struct Tolerant<K>(pub Result<K, Invalid>);

/// An object that cannot be understood. Why is not kept: the words of such an error quote the values.
#[derive(Clone, Debug, Default)]
pub struct Invalid {
    /// What can be read of it, each field for itself.
    pub metadata: ObjectMeta,
}

impl From<Secret> for Tolerant<Secret> {
    fn from(secret: Secret) -> Self {
        Self(Ok(secret))
    }
}

impl<'de, K: DeserializeOwned> Deserialize<'de> for Tolerant<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut object = Value::deserialize(deserializer)?;
        if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
            metadata.remove("managedFields");
        }
        if let Ok(read) = K::deserialize(&object) {
            return Ok(Self(Ok(read)));
        }
        // A status is ours to write: a broken one is as good as none.
        if object.as_object_mut().is_some_and(|fields| fields.remove("status").is_some())
            && let Ok(read) = K::deserialize(&object)
        {
            return Ok(Self(Ok(read)));
        }
        Ok(Self(Err(Invalid { metadata: metadata(object.get("metadata")) })))
    }
}

/// As much of the metadata as can be read.
fn metadata(value: Option<&Value>) -> ObjectMeta {
    let Some(Value::Object(fields)) = value else { return ObjectMeta::default() };
    if let Ok(whole) = ObjectMeta::deserialize(&Value::Object(fields.clone())) {
        return whole;
    }
    let readable = fields.iter().filter(|(name, value)| {
        let alone = Value::Object([((*name).clone(), (*value).clone())].into_iter().collect());
        ObjectMeta::deserialize(&alone).is_ok()
    });
    let readable = Value::Object(readable.map(|(name, value)| (name.clone(), value.clone())).collect());
    ObjectMeta::deserialize(&readable).unwrap_or_default()
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
    use kube::{ResourceExt, api::PartialObjectMeta};
    use serde_json::json;

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
    fn a_broken_status_is_as_good_as_none() {
        let mut object = credential();
        object["status"] = json!({ "expiresAt": BEYOND });
        let read = read::<RevoiceitCredential>(object).0.expect("readable");
        assert_eq!((read.name_any(), read.status), ("speech".into(), None));
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
        assert_eq!((invalid.metadata.labels, invalid.metadata.creation_timestamp), (None, None));
    }

    #[test]
    fn a_metadata_only_api_stays_one() {
        assert!(Tolerant::<PartialObjectMeta<Secret>>::metadata_api());
        assert!(!Tolerant::<Secret>::metadata_api());
    }

    #[test]
    fn what_was_not_understood_is_not_written() {
        assert!(serde_json::to_value(Tolerant::<Secret>(Err(Invalid::default()))).is_err());
    }
}
