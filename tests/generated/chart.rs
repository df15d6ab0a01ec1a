//! What is said of the Helm chart's values: its `values.yaml`, and the table in its README, both from `values.schema.json`.

use std::fmt::Write;

use clap::{Arg, CommandFactory};
use revoiceit_operator::cli::Cli;
use serde_json::{Map, Value, json};

use crate::read;

const BEGIN: &str = "<!-- Generated from values.schema.json. Do not edit: run `make generate`. -->\n";
const END: &str = "<!-- end -->\n";

/// One value that a user may set.
struct Setting {
    path: String,
    schema: Value,
}

fn schema() -> Value {
    serde_json::from_str(&read("deploy/helm/values.schema.json")).expect("it is JSON")
}

/// A schema with `properties` is a group of values; any other is a value. What has neither these nor a default is Helm's own.
fn is_setting(schema: &Value) -> bool {
    schema["properties"].is_object() || !schema["default"].is_null()
}

fn settings() -> Vec<Setting> {
    fn collect(path: &str, schema: &Value, into: &mut Vec<Setting>) {
        match schema["properties"].as_object() {
            Some(properties) => {
                for (name, schema) in properties.iter().filter(|(_, schema)| is_setting(schema)) {
                    collect(&[path, name].join(if path.is_empty() { "" } else { "." }), schema, into);
                }
            }
            None => into.push(Setting { path: path.to_owned(), schema: schema.clone() }),
        }
    }
    let mut settings = Vec::new();
    collect("", &schema(), &mut settings);
    settings
}

/// `values.yaml`: each value with its default, below what it is for.
pub(crate) fn values() -> String {
    let mut page = String::from("# Generated from values.schema.json. Do not edit: run `make generate`.\n");
    write_values(&mut page, schema()["properties"].as_object().expect("it has properties"), 0);
    page
}

fn write_values(page: &mut String, properties: &Map<String, Value>, depth: usize) {
    let indent = "  ".repeat(depth);
    for (name, schema) in properties.iter().filter(|(_, schema)| is_setting(schema)) {
        if depth == 0 {
            page.push('\n');
        }
        for line in wrapped(text(&schema["description"]), 120 - indent.len()) {
            let _ = writeln!(page, "{indent}# {line}");
        }
        if let Some(properties) = schema["properties"].as_object() {
            let _ = writeln!(page, "{indent}{name}:");
            write_values(page, properties, depth + 1);
            continue;
        }
        let yaml = serde_saphyr::to_string(&json!({ name: &schema["default"] })).expect("it is plain data");
        for line in yaml.lines() {
            let _ = writeln!(page, "{indent}{line}");
        }
    }
}

fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is one");
        if line.is_empty() {
            line.push_str(word);
        } else if line.len() + 1 + word.len() <= width {
            let _ = write!(line, " {word}");
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

/// The README with the table of values as it has to be.
pub(crate) fn readme() -> String {
    let page = read("deploy/helm/README.md");
    let (before, rest) = page.split_once(BEGIN).expect("it says where the table begins");
    let (_, after) = rest.split_once(END).expect("it says where the table ends");
    let mut table = String::from("\n| value | default | |\n|---|---|---|\n");
    for setting in settings() {
        let default = match &setting.schema["default"] {
            Value::String(text) if text.is_empty() => String::new(),
            Value::String(text) => format!("`{text}`"),
            Value::Array(items) if items.iter().any(Value::is_object) => "see `values.yaml`".to_owned(),
            Value::Object(map) if !map.is_empty() => "see `values.yaml`".to_owned(),
            other => format!("`{other}`"),
        };
        let _ = writeln!(table, "| `{}` | {default} | {}{} |", setting.path, text(&setting.schema["description"]), choice(&setting.schema));
    }
    format!("{before}{BEGIN}{table}\n{END}{after}")
}

fn choice(schema: &Value) -> String {
    let words: Vec<_> = schema["enum"].as_array().into_iter().flatten().map(text).filter(|word| !word.is_empty()).collect();
    if words.is_empty() { String::new() } else { format!(" One of `{}`.", words.join("`, `")) }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The values that are flags of `run`.
const FLAGS: [(&str, &str); 13] = [
    ("api.url", "api-url"),
    ("api.allowInsecure", "allow-insecure-api"),
    ("api.tokenLifetime", "token-lifetime"),
    ("api.qps", "api-qps"),
    ("api.burst", "api-burst"),
    ("api.inFlight", "api-in-flight"),
    ("api.timeout", "api-timeout"),
    ("leaderElection.enabled", "leader-elect"),
    ("leaderElection.leaseDuration", "lease-duration"),
    ("concurrency", "concurrency"),
    ("log.format", "log-format"),
    ("log.level", "log-level"),
    ("scope.namespaces", "namespace"),
];

fn flag(name: &str) -> Arg {
    let command = Cli::command();
    let run = command.find_subcommand("run").expect("there is run");
    run.get_arguments().find(|arg| arg.get_long() == Some(name)).unwrap_or_else(|| panic!("there is no --{name}")).clone()
}

fn setting(path: &str) -> Setting {
    settings().into_iter().find(|setting| setting.path == path).unwrap_or_else(|| panic!("there is no value {path}"))
}

#[test]
fn each_value_is_explained() {
    for setting in settings() {
        assert!(text(&setting.schema["description"]).ends_with('.'), "{} has no sentence that explains it", setting.path);
    }
}

#[test]
fn values_that_are_flags_have_their_defaults() {
    for (path, name) in FLAGS {
        let flag = flag(name);
        let of_flag = match flag.get_default_values() {
            [] if !flag.get_action().takes_values() => "false".to_owned(),
            defaults => defaults.iter().map(|value| value.to_string_lossy()).collect::<Vec<_>>().join(","),
        };
        let of_value = match &setting(path).schema["default"] {
            Value::String(text) => text.clone(),
            Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(","),
            other => other.to_string(),
        };
        assert_eq!(of_value, of_flag, "{path} and --{name}");
    }
}

#[test]
fn values_that_are_flags_have_their_limits() {
    let is_taken = |name: &str, value: &Value| {
        let value = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
        Cli::try_parse_and_check(["revoiceit-operator", "run", &format!("--{name}={value}")]).is_ok()
    };
    for (path, name) in FLAGS {
        let schema = setting(path).schema;
        for (limit, beyond) in [("minimum", -1), ("maximum", 1)] {
            if let Some(number) = schema[limit].as_i64() {
                assert!(is_taken(name, &number.into()), "{path} {number}");
                assert!(!is_taken(name, &(number + beyond).into()), "{path} {}", number + beyond);
            }
        }
        let words = schema["enum"].as_array().cloned().unwrap_or_default();
        assert!(words.iter().all(|word| is_taken(name, word)), "{path}");
        let possible = flag(name).get_possible_values();
        assert!(words.is_empty() || words.len() == possible.len(), "{path} has not all words of --{name}");
    }
}

#[test]
fn the_chart_has_the_version_of_the_operator() {
    let chart: Value = serde_saphyr::from_str(&read("deploy/helm/Chart.yaml")).expect("it is YAML");
    assert_eq!(chart["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
}
