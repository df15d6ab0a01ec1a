//! `revoiceit-operator crd`: prints the custom resource definition.

use std::io::Write;

use anyhow::Context;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::Value;

use crate::api::RevoiceitCredential;

/// It has no flags.
#[derive(clap::Args, Clone, Debug, PartialEq, Eq)]
pub struct CrdArgs {}

/// Prints [`crd_yaml`].
pub fn run() -> anyhow::Result<()> {
    std::io::stdout().write_all(crd_yaml().as_bytes()).context("cannot print the CRD")
}

/// The custom resource definition as `kubectl apply` takes it.
pub fn crd_yaml() -> String {
    serde_saphyr::to_string(&tidied(&RevoiceitCredential::crd())).expect("a CRD is plain data")
}

/// The same definition as people would write it: whole numbers without `.0`, and paragraphs of docs on one line, because
/// `kubectl explain` keeps line breaks.
pub(super) fn tidied(crd: &CustomResourceDefinition) -> Value {
    let mut crd = serde_json::to_value(crd).expect("a CRD is plain data");
    tidy(&mut crd);
    crd
}

fn tidy(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match value {
                    Value::String(text) if key == "description" => *text = unwrapped(text),
                    value => tidy(value),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(tidy),
        Value::Number(number) if number.is_f64() => {
            let whole = number.as_f64().filter(|n| n.fract() == 0.0 && n.abs() < 1e15);
            if let Some(whole) = whole {
                #[expect(clippy::cast_possible_truncation, reason = "it is whole and small")]
                let whole = whole as i64;
                *value = whole.into();
            }
        }
        _ => {}
    }
}

/// The text with each paragraph on one line.
fn unwrapped(text: &str) -> String {
    text.split("\n\n").map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>().join("\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_reads_back_as_the_same_definition() {
        let read: Value = serde_saphyr::from_str(&crd_yaml()).expect("it is YAML");
        assert_eq!(read, tidied(&RevoiceitCredential::crd()));
        let typed: CustomResourceDefinition = serde_json::from_value(read).expect("it is a CRD");
        assert_eq!(typed.spec.names.kind, "RevoiceitCredential");
    }

    #[test]
    fn paragraphs_are_on_one_line() {
        assert_eq!(unwrapped("one\ntwo\n\nthree  four"), "one two\n\nthree four");
    }

    /// A rule at the root of the resource would keep what an older CRD admitted from ever being deleted.
    #[test]
    fn no_rule_stands_at_the_root() {
        let crd = tidied(&RevoiceitCredential::crd());
        let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        assert!(schema["properties"]["spec"]["x-kubernetes-validations"].is_array());
        assert_eq!(schema.get("x-kubernetes-validations"), None);
        assert_eq!(schema["properties"]["status"].get("x-kubernetes-validations"), None);
    }

    #[test]
    fn every_field_of_the_spec_and_the_status_is_explained_and_bounded() {
        fn check(path: &str, schema: &Value, lacking: &mut Vec<String>) {
            if !schema["description"].is_string() {
                lacking.push(format!("{path}: no description"));
            }
            let bound = match schema["type"].as_str() {
                Some("string") if schema["format"] != "date-time" => "maxLength",
                Some("array") => "maxItems",
                Some("object") if schema["properties"].is_null() => "maxProperties",
                _ => "type",
            };
            if schema[bound].is_null() {
                lacking.push(format!("{path}: no {bound}"));
            }
            for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
                check(&format!("{path}.{name}"), schema, lacking);
            }
        }
        let crd = tidied(&RevoiceitCredential::crd());
        let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let mut lacking = Vec::new();
        for part in ["spec", "status"] {
            check(part, &schema["properties"][part], &mut lacking);
        }
        assert_eq!(lacking, Vec::<String>::new());
    }
}
