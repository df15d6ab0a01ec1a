//! `docs/runbook.md` has an entry for each alert and for each reason, and each alert leads to its own.

use revoiceit_operator::api::Reason;
use serde_json::Value;

use crate::read;

/// The headings of the third level below one of the second, and what stands below each.
fn entries(part: &str) -> Vec<(String, String)> {
    let page = read("docs/runbook.md");
    let (_, rest) = page.split_once(&format!("\n## {part}\n")).unwrap_or_else(|| panic!("there is no part {part}"));
    let part = rest.split("\n## ").next().unwrap_or_default();
    part.split("\n### ")
        .skip(1)
        .filter_map(|entry| entry.split_once('\n'))
        .map(|(name, text)| (name.to_owned(), text.trim().to_owned()))
        .collect()
}

fn headings(part: &str) -> Vec<String> {
    entries(part).into_iter().map(|(heading, _)| heading).collect()
}

fn alerts() -> Vec<Value> {
    let rule: Value = serde_saphyr::from_str(&read("deploy/monitoring/alerts.yaml")).expect("it is YAML");
    let groups = rule["spec"]["groups"].as_array().expect("it has groups").iter();
    groups.flat_map(|group| group["rules"].as_array().expect("it has rules").clone()).collect()
}

fn name(alert: &Value) -> &str {
    alert["alert"].as_str().expect("it is an alert")
}

#[test]
fn the_runbook_has_an_entry_for_each_reason() {
    let reasons: Vec<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(headings("Reasons"), reasons);
}

#[test]
fn the_runbook_has_an_entry_for_each_alert() {
    assert_eq!(headings("Alerts"), alerts().iter().map(name).collect::<Vec<_>>());
}

#[test]
fn each_alert_is_in_the_table_of_docs_monitoring() {
    let page = read("docs/monitoring.md");
    for alert in alerts() {
        let (name, severity) = (name(&alert), alert["labels"]["severity"].as_str().expect("it has one"));
        let row = format!("| [{name}](runbook.md#{}) | {severity} | ", name.to_lowercase());
        assert!(page.contains(&row), "there is no row {row}");
    }
}

#[test]
fn each_entry_says_what_it_means_and_what_to_do() {
    for (heading, text) in entries("Alerts").into_iter().chain(entries("Reasons")) {
        assert!(text.contains("**Do:**"), "{heading} does not say what to do");
        assert!(text.split("**Do:**").next().is_some_and(|meaning| meaning.len() > 40), "{heading} does not say what it means");
    }
}

#[test]
fn each_alert_has_a_severity_a_summary_and_a_link_to_its_entry() {
    for alert in alerts() {
        let (name, annotations) = (name(&alert), &alert["annotations"]);
        assert!(matches!(alert["labels"]["severity"].as_str(), Some("critical" | "warning")), "{name}");
        for text in ["summary", "description"] {
            assert!(annotations[text].as_str().is_some_and(|text| text.ends_with('.')), "{name} has no {text}");
        }
        let link = format!("https://revoiceit.example.com/runbook.md#{}", name.to_lowercase());
        assert_eq!(annotations["runbook_url"], link, "{name}");
    }
}
