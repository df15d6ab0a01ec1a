//! The tables of `docs/lessons.md` name tests that are there.

use std::path::Path;

use revoiceit_operator::cli::crd::crd_yaml;
use serde_json::Value;

use crate::read;

const FILE: &str = "docs/lessons.md";

/// A row of a table, and the links in its last cell: text and path.
struct Row<'a> {
    cells: Vec<&'a str>,
    tests: Vec<(&'a str, &'a str)>,
}

fn rows(text: &str) -> Vec<Row<'_>> {
    let tables = text.lines().filter_map(|line| line.strip_prefix('|')?.strip_suffix('|'));
    let cells = tables.map(|line| line.split('|').map(str::trim).collect::<Vec<_>>());
    // The heads of the tables, and the lines below them.
    let rows = cells.filter(|cells| cells.last() != Some(&"held by") && !cells.iter().all(|cell| cell.trim_matches('-').is_empty()));
    rows.map(|cells| Row { tests: links(cells.last().copied().unwrap_or_default()), cells }).collect()
}

/// Every `[text](path)`.
fn links(cell: &str) -> Vec<(&str, &str)> {
    cell.split('[').skip(1).filter_map(|link| link.split_once(')')?.0.split_once("](")).collect()
}

/// The file has a function of this name with an attribute that makes it a test.
pub(crate) fn is_test(source: &str, name: &str) -> bool {
    let heads = [format!("fn {name}("), format!("async fn {name}(")];
    let lines: Vec<&str> = source.lines().map(str::trim_start).collect();
    lines.iter().enumerate().any(|(number, line)| {
        let above = lines[..number].iter().rev().take_while(|line| line.starts_with("#[") || line.starts_with("//"));
        heads.iter().any(|head| line.starts_with(head.as_str()))
            && above.into_iter().any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
    })
}

#[test]
fn every_row_names_a_test_and_every_test_that_is_named_is_there() {
    let text = read(FILE);
    let rows = rows(&text);
    assert!(rows.len() > 40, "{} rows in {FILE}", rows.len());
    for Row { cells, tests } in rows {
        assert!(cells.len() == 3 && cells.iter().all(|cell| !cell.is_empty()), "a row of {FILE} has empty or too many cells: {cells:?}");
        assert!(!tests.is_empty(), "no test holds: {}", cells[0]);
        for (name, path) in tests {
            let path = path.strip_prefix("../").unwrap_or_else(|| panic!("{FILE}: {path} does not begin with ../"));
            let source = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap_or_default();
            assert!(is_test(&source, name), "{FILE} names {name} in {path}, where no such test is: {}", cells[0]);
        }
    }
}

#[test]
fn only_what_is_run_as_a_test_is_one() {
    let source = "#[test]\n#[ignore = \"long\"]\nfn one() {}\n\nfn two() {}\n\n/// Words.\n#[tokio::test(start_paused = true)]\nasync fn three() {}\n";
    assert_eq!(["one", "two", "three", "on", "thre"].map(|name| is_test(source, name)), [true, false, true, false, false]);
    let text = "| what | held by |\n|---|---|\n| a | [b](../c.rs)<br>[d](../e.rs) |\n| f | soon |\n";
    let found: Vec<_> = rows(text).into_iter().map(|row| (row.cells[0], row.tests)).collect();
    assert_eq!(found, [("a", vec![("b", "../c.rs"), ("d", "../e.rs")]), ("f", Vec::new())]);
}

/// Whoever may create a resource could otherwise have the pair sent to a server of his own.
#[test]
fn no_field_of_a_resource_names_a_host() {
    let crd: Value = serde_saphyr::from_str(&crd_yaml()).expect("it is YAML");
    let mut names = Vec::new();
    collect(&crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"], &mut names);
    assert!(names.len() > 10, "{names:?}");
    let suspicious = ["url", "uri", "host", "server", "endpoint", "issuer", "address", "proxy"];
    let found: Vec<&String> = names.iter().filter(|name| suspicious.iter().any(|word| name.to_lowercase().contains(word))).collect();
    assert!(found.is_empty(), "{found:?}");
}

/// The names of all properties in a schema.
fn collect(schema: &Value, names: &mut Vec<String>) {
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        names.push(name.clone());
        collect(schema, names);
    }
}
