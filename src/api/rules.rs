//! The rules that the API server holds users to, in CEL, and their messages.
//!
//! A message says what to do, because it is all that the user sees. Every rule stands at `spec` or below: one at the root
//! of the resource is checked on each write of status and finalizer too, and a resource that an older CRD admitted could
//! then never be deleted.
//!
//! Nor may a rule meet an error, such as a field that is not there: unlike one that does not hold, it is an error for what was
//! admitted before, too. `has()` stands before what the schema requires, because an older one may not have required it.
//!
//! In a regex write `[.]` rather than `\\.`: a backslash has to survive Rust, CEL and RE2. Maps and strings are bounded,
//! or the server refuses the CRD because a rule might cost too much.

use std::time::Duration;

use kube::core::{Message, Reason, Rule};
use schemars::{Schema, SchemaGenerator, json_schema};

use super::duration;

/// Most keys in each map of the spec.
const MAX_KEYS: usize = 32;
/// Longest value of an annotation or a template, in characters.
const MAX_VALUE: usize = 4096;
/// Longest name of an object and longest key of a Secret.
pub(super) const MAX_NAME: usize = 253;

/// In the spec: credentials and target are not the same Secret.
pub(super) fn has_two_secrets() -> Rule {
    Rule::new(
        "!has(self.target) || !has(self.target.name) || !has(self.credentialsSecretRef) || !has(self.credentialsSecretRef.name) \
         || self.target.name != self.credentialsSecretRef.name",
    )
    .message(Message::Expression(
        "'the target Secret and the credentials Secret are both \"' + self.target.name + '\": set spec.target.name to another name'".into(),
    ))
    .field_path(".target.name")
    .reason(Reason::FieldValueForbidden)
}

/// In the reference to the credentials: the two keys differ.
pub(super) fn has_two_keys() -> Rule {
    // Not with the reason FieldValueDuplicate: the server then drops the message.
    Rule::new("!has(self.clientIdKey) || !has(self.clientSecretKey) || self.clientIdKey != self.clientSecretKey")
        .message("clientIdKey and clientSecretKey must be two different keys")
        .field_path(".clientSecretKey")
}

/// The field is the name of a Secret.
pub(super) fn is_secret_name() -> Rule {
    Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')").message(
        "must be a Secret name: lower case letters, digits, '-' and '.', beginning and ending with a letter or digit, \
         for example \"revoiceit-client\"",
    )
}

/// The field is a key of a Secret's data.
pub(super) fn is_secret_key() -> Rule {
    Rule::new("self.matches('^[-._a-zA-Z0-9]+$') && self != '.' && !self.startsWith('..')")
        .message("must be a Secret key: letters, digits, '-', '_' and '.', not beginning with \"..\", for example \"clientId\"")
}

/// All keys of the map can be keys of a Secret's data.
pub(super) fn has_secret_keys() -> Rule {
    Rule::new("self.all(k, k.matches('^[-._a-zA-Z0-9]{1,253}$') && k != '.' && !k.startsWith('..'))")
        .message("keys must be Secret keys: letters, digits, '-', '_' and '.', not beginning with \"..\", at most 253 characters")
}

/// All keys of the map can be keys of labels and annotations: an optional DNS prefix, and a name of at most 63 characters.
///
/// How long the prefix is as a whole cannot be said within a rule's cost. The dry run before the first write finds it out.
pub(super) fn has_qualified_keys() -> Rule {
    Rule::new(
        "self.all(k, k.matches('^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?([.][a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))",
    )
    .message("keys must be qualified names such as \"team\" or \"example.com/team\", the part after '/' at most 63 characters")
}

/// Prefixes that mean something to Kubernetes or to tools: with them a user could have the operator act on other tools' behalf.
const RESERVED: &str =
    "(k.matches('(^|[.])(revoiceit[.]com|kubernetes[.]io|k8s[.]io)/') || k.matches('^(helm[.]sh|argocd[.]argoproj[.]io|velero[.]io)/'))";

/// No annotation key of the map is reserved.
pub(super) fn has_free_annotation_keys() -> Rule {
    Rule::new(format!("self.all(k, !{RESERVED})")).message(
        "keys under revoiceit.com, kubernetes.io, k8s.io, helm.sh, argocd.argoproj.io and velero.io are reserved: \
         use a prefix of your own, such as \"example.com/team\"",
    )
}

/// No label key of the map is reserved. The recommended labels are free, but the operator says who manages the Secret.
pub(super) fn has_free_label_keys() -> Rule {
    Rule::new(format!("self.all(k, !{RESERVED} || (k.startsWith('app.kubernetes.io/') && k != 'app.kubernetes.io/managed-by'))")).message(
        "keys under revoiceit.com, kubernetes.io, k8s.io, helm.sh, argocd.argoproj.io and velero.io are reserved: \
         use a prefix of your own, such as \"example.com/team\", or app.kubernetes.io/ with any name but managed-by",
    )
}

/// Labels, with a rule on the values, so that the message names the key: `spec.target.labels[team]: …`.
pub(super) fn labels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": MAX_KEYS,
        "additionalProperties": {
            "type": "string",
            "maxLength": 63,
            "x-kubernetes-validations": [{
                "rule": "self.matches('^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$')",
                "message": "must be a label value: letters, digits, '-', '_' and '.', beginning and ending with a letter or digit",
            }],
        },
    })
}

/// Annotations.
pub(super) fn annotations(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": MAX_KEYS,
        "additionalProperties": { "type": "string", "maxLength": MAX_VALUE },
    })
}

/// Templates, with rules on the values, so that the message names the key: `spec.target.template[authorization]: …`.
pub(super) fn template(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": MAX_KEYS,
        "additionalProperties": {
            "type": "string",
            "maxLength": MAX_VALUE,
            "x-kubernetes-validations": [{
                "rule": "self.matches('^([^{]|[{][^{]|[{][{] (accessToken|expiresAt) [}][}])*[{]?$')",
                "message": "\"{{\" may only begin {{ accessToken }} or {{ expiresAt }}, written just so, with one space on each side",
            }, {
                "rule": "self.split('{{').size() <= 5",
                "message": "at most four placeholders in one value: spread them over several keys",
            }],
        },
    })
}

/// A duration of the spec: what it may be, and what it is when it was left out.
pub(super) struct Limits {
    pub(super) default: &'static str,
    pub(super) min: &'static str,
    pub(super) max: &'static str,
}

impl Limits {
    pub(super) const fn new(default: &'static str, min: &'static str, max: &'static str) -> Self {
        Self { default, min, max }
    }

    /// The text is a duration.
    pub(super) fn is_duration() -> Rule {
        Rule::new(IS_DURATION).message("must be a duration such as \"15m\", \"90s\" or \"1h30m\" (units h, m and s)")
    }

    /// The text is a duration within the limits, or none at all, which [`Self::is_duration`] says.
    ///
    /// Six digits a unit and twenty characters keep CEL's `duration()` from an overflow, which would be an error.
    pub(super) fn is_within(&self) -> Rule {
        let Self { min, max, .. } = self;
        let longest = duration::MAX_LENGTH;
        Rule::new(format!(
            "self.size() > {longest} || !{IS_DURATION} || (duration(self) >= duration('{min}') && duration(self) <= duration('{max}'))"
        ))
        .message(Message::Message(format!("must be from {min} to {max}")))
    }

    /// What the text means. One that the rules would refuse, stored while a CRD had others, never stops anything:
    /// beyond a limit it counts as the limit, and what is no duration counts as left out.
    pub(super) fn read(&self, text: &str) -> Duration {
        let limit = |text| duration::parse(text).unwrap_or_default();
        let value = duration::parse(text).unwrap_or_else(|_| limit(self.default));
        value.max(limit(self.min)).min(limit(self.max))
    }
}

const IS_DURATION: &str = "self.matches('^([0-9]{1,6}(h|m|s))+$')";

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits::new("15m", "10m", "1h");

    #[test]
    fn a_duration_within_the_limits_means_what_it_says() {
        assert_eq!(LIMITS.read("20m30s"), Duration::from_secs(1230));
    }

    #[test]
    fn a_duration_beyond_a_limit_counts_as_the_limit() {
        assert_eq!(LIMITS.read("1s"), Duration::from_secs(600));
        assert_eq!(LIMITS.read("999999h"), Duration::from_secs(3600));
    }

    #[test]
    fn what_is_no_duration_counts_as_the_default() {
        for text in ["", "15", "1 day", "9999999999999999999h"] {
            assert_eq!(LIMITS.read(text), Duration::from_secs(900), "{text:?}");
        }
    }
}
