//! Alerts and the dashboard: checked by Prometheus' own program, and compared with what a running operator exposes.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use revoiceit_harness::{scratch::Scratch, tools};
use revoiceit_operator::api::names;
use serde_json::{Value, json};

use crate::world::World;

const ALERTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/monitoring/alerts.yaml");
const UNIT_TESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/monitoring/tests.yaml");
const DASHBOARD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/monitoring/dashboard.json");
const REFERENCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/metrics.md");

/// Label, operator and value.
type Matcher<'a> = (&'a str, &'a str, &'a str);

/// Labels that a series has from Prometheus, and not from what it asked.
const OF_TARGETS: [&str; 2] = ["job", "instance"];

fn yaml(path: &str) -> Result<Value> {
    Ok(serde_saphyr::from_str(&std::fs::read_to_string(path)?)?)
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn rules() -> Result<Vec<Value>> {
    let rule = yaml(ALERTS)?;
    Ok(list(&rule["spec"]["groups"]).flat_map(|group| list(&group["rules"])).cloned().collect())
}

fn dashboard() -> Result<Value> {
    Ok(serde_json::from_str(&std::fs::read_to_string(DASHBOARD)?)?)
}

fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    list(&dashboard["panels"]).filter(|panel| panel["type"] != "row")
}

fn promtool(folder: &Scratch, args: &[&str]) -> Result<String> {
    let output = Command::new(tools::promtool()?).args(args).current_dir(folder.path()).output()?;
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    ensure!(output.status.success(), "promtool {}: {said}", args.join(" "));
    Ok(said)
}

#[tokio::test]
async fn promtool_takes_the_alerts_and_their_unit_tests_pass() -> Result<()> {
    let folder = Scratch::new("promtool")?;
    folder.write("rules.yaml", yaml(ALERTS)?["spec"].to_string())?;
    folder.write("tests.yaml", std::fs::read_to_string(UNIT_TESTS)?)?;
    tokio::task::spawn_blocking(move || {
        promtool(&folder, &["check", "rules", "--lint=all", "--lint-fatal", "rules.yaml"])?;
        promtool(&folder, &["test", "rules", "tests.yaml"]).map(drop)
    })
    .await?
}

#[tokio::test]
async fn promtool_understands_each_query_of_the_dashboard() -> Result<()> {
    let folder = Scratch::new("promtool")?;
    let dashboard = dashboard()?;
    let targets = panels(&dashboard).flat_map(|panel| list(&panel["targets"]));
    let query = |target: &Value| target["expr"].as_str().unwrap_or_default().replace("$__rate_interval", "5m");
    let rules: Vec<Value> =
        targets.enumerate().map(|(number, target)| json!({ "record": format!("q:{number}"), "expr": query(target) })).collect();
    ensure!(rules.len() > 20, "{} queries", rules.len());
    folder.write("rules.yaml", json!({ "groups": [{ "name": "dashboard", "rules": rules }] }).to_string())?;
    tokio::task::spawn_blocking(move || promtool(&folder, &["check", "rules", "rules.yaml"]).map(drop)).await?
}

#[test]
fn each_alert_has_a_unit_test_in_which_it_fires_and_one_in_which_it_does_not() -> Result<()> {
    let tests = yaml(UNIT_TESTS)?;
    let of = |alert: &str, fires: bool| {
        let asked = list(&tests["tests"]).flat_map(|test| list(&test["alert_rule_test"]));
        asked.filter(|asked| asked["alertname"] == alert && (list(&asked["exp_alerts"]).count() > 0) == fires).count()
    };
    for rule in rules()? {
        let alert = rule["alert"].as_str().context("not an alert")?;
        ensure!(of(alert, true) > 0, "nowhere does {alert} fire");
        ensure!(of(alert, false) > 0, "nowhere does {alert} not fire");
    }
    Ok(())
}

#[test]
fn panels_of_the_dashboard_have_what_grafana_wants_and_do_not_overlap() -> Result<()> {
    let dashboard = dashboard()?;
    ensure!(dashboard["schemaVersion"].as_u64() >= Some(38), "older than Grafana 10");
    let (mut ids, mut places) = (BTreeSet::new(), BTreeMap::new());
    for panel in list(&dashboard["panels"]) {
        let title = panel["title"].as_str().context("no title")?;
        ensure!(ids.insert(panel["id"].as_u64().context("no id")?), "{title}: its id is taken");
        let side = |name: &str| panel["gridPos"][name].as_u64().with_context(|| format!("{title}: no {name}"));
        let (x, y, w, h) = (side("x")?, side("y")?, side("w")?, side("h")?);
        ensure!(x + w <= 24, "{title} is too wide");
        for place in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            let other = places.insert(place, title);
            ensure!(other.is_none(), "{title} is on top of {other:?}");
        }
    }
    for panel in panels(&dashboard) {
        let title = &panel["title"];
        ensure!(panel["description"].as_str().is_some_and(|text| text.ends_with('.')), "{title} is not explained");
        ensure!(list(&panel["targets"]).count() > 0, "{title} asks nothing");
        for target in list(&panel["targets"]) {
            ensure!(target["refId"].is_string() && target["datasource"]["uid"] == "${datasource}", "{title}: {target}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn what_alerts_and_dashboard_name_and_no_more_than_is_documented_is_exposed_by_a_running_operator() -> Result<()> {
    let world = World::new().await?;
    world.credentials("client").await?;
    let operator = world.operator(&[]).await?;
    world.speech(json!({})).await?;
    world.ready("speech").await?;
    // The line that it replaces is to be revoked in five minutes.
    world.patch("speech", &json!({ "metadata": { "annotations": { names::ROTATE_ANNOTATION: "now" } } })).await?;
    operator.shows("revoiceit_pending_revocations 1").await?;

    let exposed = Exposed::read(&operator.get("/metrics").await?)?;
    for (place, query) in queries()? {
        exposed.has_all_of(&query).with_context(|| format!("{place}: {query}"))?;
    }
    exposed.is_documented(&std::fs::read_to_string(REFERENCE)?)?;
    world.no_secret_is_told(&[&operator]).await
}

/// Everything that is asked of Prometheus, and where.
fn queries() -> Result<Vec<(String, String)>> {
    let mut queries = Vec::new();
    let mut add = |place: &Value, query: &Value| -> Result<()> {
        let text = |value: &Value| value.as_str().map(str::to_owned).with_context(|| format!("{value} is no text"));
        queries.push((text(place)?, text(query)?));
        Ok(())
    };
    for rule in rules()? {
        add(&rule["alert"], &rule["expr"])?;
    }
    let dashboard = dashboard()?;
    for panel in panels(&dashboard) {
        for target in list(&panel["targets"]) {
            add(&panel["title"], &target["expr"])?;
        }
    }
    for variable in list(&dashboard["templating"]["list"]).filter(|variable| variable["type"] == "query") {
        add(&variable["name"], &variable["query"]["query"])?;
    }
    ensure!(queries.len() > 30, "{} queries", queries.len());
    Ok(queries)
}

/// The names of what an operator exposes, each with its labels and their values.
struct Exposed(BTreeMap<String, BTreeMap<String, BTreeSet<String>>>);

impl Exposed {
    fn read(text: &str) -> Result<Self> {
        let mut exposed = BTreeMap::<String, BTreeMap<String, BTreeSet<String>>>::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (series, _) = line.rsplit_once(' ').with_context(|| format!("{line:?} has no value"))?;
            let (name, pairs) = series.split_once('{').unwrap_or((series, ""));
            let labels = exposed.entry(name.to_owned()).or_default();
            for (label, _, value) in matchers(pairs) {
                labels.entry(label.to_owned()).or_default().insert(value.to_owned());
            }
        }
        Ok(Self(exposed))
    }

    /// Each metric that a query names, with the labels that it selects by; and each label that it groups or joins by, of one of them.
    fn has_all_of(&self, query: &str) -> Result<()> {
        let mut labels: BTreeSet<&str> = OF_TARGETS.into();
        let selectors = selectors(query);
        ensure!(!selectors.is_empty(), "it names no metric of ours");
        for (name, matchers) in selectors {
            let of_metric = self.0.get(name).with_context(|| format!("{name} is not exposed"))?;
            for (label, operator, value) in matchers.into_iter().filter(|(label, ..)| !OF_TARGETS.contains(label)) {
                let values = of_metric.get(label).with_context(|| format!("{name} has no label {label}"))?;
                ensure!(operator != "=" || values.contains(value), "{name} never has {label}={value:?}, but {values:?}");
            }
            labels.extend(of_metric.keys().map(String::as_str));
        }
        for label in grouped(query) {
            ensure!(labels.contains(label), "no metric in it has the label {label}");
        }
        Ok(())
    }

    /// Each metric and each of its labels has a place in the reference, and what stands there is exposed.
    fn is_documented(&self, reference: &str) -> Result<()> {
        let rows: BTreeMap<&str, &str> = reference.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`')).collect();
        let base = |name: &str| {
            ["_bucket", "_sum", "_count"].iter().find_map(|end| rows.get_key_value(name.strip_suffix(end)?)).map(|(name, _)| *name)
        };
        let mut found = BTreeSet::new();
        for (name, labels) in &self.0 {
            let name = rows
                .get_key_value(name.as_str())
                .map(|(name, _)| *name)
                .or_else(|| base(name))
                .with_context(|| format!("{name} is not documented"))?;
            let missing: Vec<_> = labels.keys().filter(|label| !rows[name].contains(&format!("`{label}`"))).collect();
            ensure!(missing.is_empty(), "labels of {name} that are not documented: {missing:?}");
            found.insert(name);
        }
        let gone: Vec<_> = rows.keys().filter(|name| !found.contains(*name)).collect();
        ensure!(gone.is_empty(), "documented, and not exposed: {gone:?}");
        Ok(())
    }
}

/// Every name in a query that looks like one of ours, and the matchers in braces right after it.
fn selectors(query: &str) -> Vec<(&str, Vec<Matcher<'_>>)> {
    let is_of_name = |letter: char| letter.is_ascii_alphanumeric() || "_:".contains(letter);
    let mut found = Vec::new();
    let mut rest = query;
    while let Some(start) = ["revoiceit_", "process_"].iter().filter_map(|prefix| rest.find(prefix)).min() {
        let name = &rest[start..];
        let end = name.find(|letter| !is_of_name(letter)).unwrap_or(name.len());
        rest = &name[end..];
        found.push((&name[..end], rest.strip_prefix('{').map(matchers).unwrap_or_default()));
    }
    found
}

/// `label="value"`, `label=~"value"`, … up to the brace. Values hold no quotes here.
fn matchers(pairs: &str) -> Vec<Matcher<'_>> {
    let mut found = Vec::new();
    let mut rest = pairs;
    while !rest.starts_with('}') {
        let Some((left, right)) = rest.split_once('"') else { break };
        let Some((value, after)) = right.split_once('"') else { break };
        let label = left.trim_end_matches(['=', '~', '!']);
        found.push((label.trim_matches([',', ' ']), &left[label.len()..], value));
        rest = after;
    }
    found
}

/// The labels in the parentheses after `by`, `on` and `group_left`.
fn grouped(query: &str) -> Vec<&str> {
    let lists = ["by (", "on (", "group_left ("].into_iter().flat_map(|word| query.split(word).skip(1));
    let labels = lists.filter_map(|after| after.split(')').next()).flat_map(|list| list.split(',')).map(str::trim);
    labels.filter(|label| !label.is_empty()).collect()
}

#[test]
fn what_a_query_names_is_found() {
    let query = r#"sum by (job, le) (rate(revoiceit_a_bucket{job=~"$job",le="300.0"}[1h])) * on (instance) process_b == revoiceit_c and on () revoiceit_c or label_values(revoiceit_d, job)"#;
    let le = vec![("job", "=~", "$job"), ("le", "=", "300.0")];
    let plain = ["process_b", "revoiceit_c", "revoiceit_c", "revoiceit_d"].map(|name| (name, vec![]));
    assert_eq!(selectors(query), [vec![("revoiceit_a_bucket", le)], plain.to_vec()].concat());
    assert_eq!(grouped(query), ["job", "le", "instance"]);
}
