//! What a target should look like, and whether it does.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{RoundMode, Timestamp, TimestampRound, Unit};
use k8s_openapi::{
    ByteString,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};

use super::{
    observed::{Owner, Target},
    record::{Live, ResourceId},
    words::Digest,
};
use crate::api::{RevoiceitCredential, TargetSpec, names};

/// Size in bytes above which a rendered target is refused, keys included. A Secret may have 1 MiB; etcd's default for a request is 1.5 MiB.
pub const MAX_RENDERED: usize = 256 * 1024;

/// A target as the spec and the live line want it.
#[derive(Clone, Debug, PartialEq)]
pub struct Desired {
    /// Exactly the template's keys.
    pub data: BTreeMap<String, ByteString>,
    /// Labels of ours; others stay.
    pub labels: BTreeMap<String, String>,
    /// Annotations of ours; others stay.
    pub annotations: BTreeMap<String, String>,
    /// The resource, so that the target goes with it.
    pub owner: OwnerReference,
}

/// Fills in the template.
pub fn desired(resource: &RevoiceitCredential, id: &ResourceId, live: &Live) -> Desired {
    let expires_at = whole_seconds(live.expires_at).to_string();
    let values = [("accessToken", live.access.expose()), ("expiresAt", expires_at.as_str())];
    filled(&resource.spec.target, id, &values)
}

/// The same with a token of 2 KiB that is none, for finding out whether a write would pass before there is a token to write.
pub fn dry(resource: &RevoiceitCredential, id: &ResourceId) -> Desired {
    let token = "x".repeat(2048);
    filled(&resource.spec.target, id, &[("accessToken", &token), ("expiresAt", "2000-01-01T00:00:00Z")])
}

fn filled(target: &TargetSpec, id: &ResourceId, values: &[(&str, &str)]) -> Desired {
    let data = target.template.iter().map(|(key, template)| (key.clone(), ByteString(fill(template, values).into_bytes()))).collect();
    let mut labels = target.labels.clone();
    labels.insert(names::MANAGED_BY_LABEL.to_owned(), names::OPERATOR.to_owned());
    let mut annotations = target.annotations.clone();
    annotations.insert(names::RESOURCE_ANNOTATION.to_owned(), id.name.clone());
    annotations.insert(names::APPLIED_ANNOTATION.to_owned(), applied_keys(target));
    let owner = OwnerReference {
        api_version: format!("{}/v1", names::GROUP),
        kind: names::KIND.to_owned(),
        name: id.name.clone(),
        uid: id.uid.clone(),
        // Neither is needed for collection, and both cost users something: a controller excludes others, and blocking needs a permission more.
        controller: None,
        block_owner_deletion: None,
    };
    Desired { data, labels, annotations, owner }
}

/// Replaces `{{ name }}` for each value, in one pass: what is filled in is never looked at again.
fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, behind)) = rest.split_once("{{ ") {
        filled.push_str(before);
        let value = values.iter().find_map(|(name, value)| Some((value, behind.strip_prefix(name)?.strip_prefix(" }}")?)));
        match value {
            Some((value, behind)) => {
                filled.push_str(value);
                rest = behind;
            }
            None => {
                filled.push_str("{{ ");
                rest = behind;
            }
        }
    }
    filled.push_str(rest);
    filled
}

/// The label and annotation keys of the spec, in an order of their own: `l:team a:example.com/x`.
fn applied_keys(target: &TargetSpec) -> String {
    let labels = target.labels.keys().map(|key| format!("l:{key}"));
    let annotations = target.annotations.keys().map(|key| format!("a:{key}"));
    labels.chain(annotations).collect::<Vec<_>>().join(" ")
}

/// Time as it is shown to people and written into targets.
pub(super) fn whole_seconds(time: Timestamp) -> Timestamp {
    time.round(TimestampRound::new().smallest(Unit::Second).mode(RoundMode::Trunc)).unwrap_or(time)
}

impl Desired {
    /// Nothing would change if the target were written.
    pub fn is_in(&self, target: &Target) -> bool {
        let Target::Ours { owner: Owner::Me, data, meta, .. } = target else { return false };
        *data == Digest::of_data(&self.data) && self.metadata(meta) == **meta
    }

    /// The metadata that a write sends: what is there, with ours set and what has left the spec taken out.
    pub fn metadata(&self, there: &ObjectMeta) -> ObjectMeta {
        let mut meta = there.clone();
        let left: BTreeSet<&str> = there
            .annotations
            .as_ref()
            .and_then(|annotations| annotations.get(names::APPLIED_ANNOTATION))
            .map(|keys| keys.split(' ').collect())
            .unwrap_or_default();
        let mut labels = meta.labels.take().unwrap_or_default();
        labels.retain(|key, _| !left.contains(format!("l:{key}").as_str()));
        labels.extend(self.labels.clone());
        let mut annotations = meta.annotations.take().unwrap_or_default();
        annotations.retain(|key, _| !left.contains(format!("a:{key}").as_str()) && key != names::ADOPT_ANNOTATION);
        annotations.extend(self.annotations.clone());
        // An owner of the same name and another UID is an earlier resource, and the collector would act on it.
        let others =
            meta.owner_references.take().unwrap_or_default().into_iter().filter(|owner| !names::is_resource_owner(owner, &self.owner.name));
        let mut owners: Vec<_> = others.collect();
        owners.push(self.owner.clone());
        ObjectMeta { labels: Some(labels), annotations: Some(annotations), owner_references: Some(owners), ..meta }
    }

    /// Bytes of keys and values together.
    pub fn size(&self) -> usize {
        self.data.iter().map(|(key, value)| key.len() + value.0.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filled(template: &str) -> String {
        fill(template, &[("accessToken", "TOKEN {{ expiresAt }}"), ("expiresAt", "THEN")])
    }

    #[test]
    fn placeholders_are_filled_in_once_and_nothing_else_is() {
        assert_eq!(filled("Bearer {{ accessToken }}"), "Bearer TOKEN {{ expiresAt }}");
        assert_eq!(filled("{{ expiresAt }}{{ expiresAt }}"), "THENTHEN");
        assert_eq!(filled("{{ refreshToken }} {{{ expiresAt }}} {{"), "{{ refreshToken }} {THEN} {{");
        assert_eq!(filled("{{ {{ expiresAt }}"), "{{ THEN");
    }

    proptest! {
        /// As long as no value looks like a placeholder, filling in is plain replacement.
        #[test]
        fn any_template_is_filled_in(template in r"(\{\{ | \}\}|accessToken|expiresAt|\{\{ accessToken \}\}|\PC){0,12}") {
            let plain = template.replace("{{ accessToken }}", "TOKEN").replace("{{ expiresAt }}", "THEN");
            prop_assert_eq!(fill(&template, &[("accessToken", "TOKEN"), ("expiresAt", "THEN")]), plain);
        }
    }
}
