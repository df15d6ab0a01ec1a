//! The reference of the resource.

use std::fmt::Write;

use revoiceit_operator::cli::crd::crd_yaml;
use serde_json::Value;

/// `docs/reference/resource.md`: every field of the resource with its type, its default and its text.
pub(crate) fn reference() -> String {
    let crd: Value = serde_saphyr::from_str(&crd_yaml()).expect("it is YAML");
    let version = &crd["spec"]["versions"][0];
    let schema = &version["schema"]["openAPIV3Schema"];
    let mut page = format!(
        "# RevoiceitCredential\n\n<!-- Generated from the types in src/api. Do not edit: run `make generate`. -->\n\n\
         `apiVersion: {}/{}`, `kind: RevoiceitCredential`, in a namespace. `kubectl explain revoiceitcredential.spec` says the same as this page.\n\n{}\n",
        word(&crd["spec"]["group"]),
        word(&version["name"]),
        word(&schema["description"]),
    );
    for part in ["spec", "status"] {
        write_field(&mut page, part, &schema["properties"][part], part == "spec");
    }
    page
}

fn write_field(page: &mut String, path: &str, schema: &Value, is_required: bool) {
    let mut facts = vec![type_of(schema)];
    if is_required {
        facts.push("required".into());
    }
    match &schema["default"] {
        Value::Null => {}
        default => facts.push(format!("default `{}`", default.as_str().map_or_else(|| default.to_string(), ToOwned::to_owned))),
    }
    let depth = if path.contains('.') { "###" } else { "##" };
    let _ = write!(page, "\n{depth} `{path}`\n\n*{}*\n\n{}\n", facts.join(", "), word(&schema["description"]));
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        write_field(page, &format!("{path}.{name}"), field, required.contains(&name.as_str().into()));
    }
}

fn type_of(schema: &Value) -> String {
    match (word(&schema["type"]), word(&schema["format"])) {
        ("string", "date-time") => "time".into(),
        ("object", _) if schema["additionalProperties"].is_object() => format!("map of {}s", type_of(&schema["additionalProperties"])),
        ("array", _) if word(&schema["x-kubernetes-list-map-keys"][0]) == "type" => "list of conditions".into(),
        (name, _) => name.into(),
    }
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
