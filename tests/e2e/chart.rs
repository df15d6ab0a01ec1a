//! The Helm chart: what it renders, and what it refuses.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use clap::CommandFactory;
use revoiceit_harness::scratch::Scratch;
use revoiceit_operator::cli::Cli;
use serde_json::{Value, json};

use crate::{
    golden::is_golden,
    helm::{CHART, Helm},
    shared::{INSTALL, installed, namespace},
};

/// Each value set to something else than its default.
const EVERYTHING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/values/everything.yaml");

const DRAIN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/drain");

const MONITORING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/monitoring");

/// What is otherwise than it is elsewhere: in objects of which kind ("" for all of them), where, and why.
type Difference = (&'static str, &'static str, &'static str);

const LABELS: [Difference; 4] = [
    ("", "/metadata/labels/app.kubernetes.io/instance", "Helm's convention"),
    ("", "/metadata/labels/app.kubernetes.io/managed-by", "Helm's convention"),
    ("", "/metadata/labels/app.kubernetes.io/version", "Helm's convention"),
    ("", "/metadata/labels/helm.sh/chart", "Helm's convention"),
];

/// From `deploy/install.yaml`.
const INSTALLED: [Difference; 4] = [
    ("Namespace", "", "a release cannot hold its own namespace: helm install --create-namespace"),
    ("CustomResourceDefinition", "/metadata/annotations/helm.sh/resource-policy", "so that no uninstall takes all resources along"),
    ("Deployment", "/spec/template/metadata/labels/app.kubernetes.io/instance", "Helm's convention"),
    ("Deployment", "/spec/template/spec/containers/operator/env", "the defaults of flags are written out"),
];

/// From `deploy/drain`.
const DRAINED: [Difference; 4] = [
    ("", "/metadata/annotations/helm.sh/hook", "Helm runs it before an uninstall"),
    ("Job", "/spec/template/metadata/labels", "the NetworkPolicy is for its pods too"),
    ("Job", "/spec/template/spec/containers/drain/args", "it has to be done before Helm gives up, after 5 min"),
    ("Job", "/spec/template/spec/containers/drain/env", "the same API as for the operator"),
];

#[tokio::test]
async fn lint_finds_nothing() -> Result<()> {
    let helm = Helm::new(installed().await?)?;
    for flags in [&[][..], &["--set", "scope.namespaces={team-a}"], &["--values", EVERYTHING]] {
        helm.run(["lint", CHART, "--strict", "--quiet"].iter().chain(flags)).await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_chart_renders_what_the_one_file_has() -> Result<()> {
    let helm = Helm::new(installed().await?)?;
    let file = serde_saphyr::from_multiple(&std::fs::read_to_string(INSTALL)?)?;
    let chart = helm.render("revoiceit-system", &[]).await?.into_iter().filter(|object| hook(object).is_none());
    differ_as_listed(file, chart.collect(), &[&LABELS[..], &INSTALLED].concat())
}

#[tokio::test]
async fn an_uninstall_runs_what_the_drain_by_hand_runs() -> Result<()> {
    let cluster = installed().await?;
    let by_hand = serde_saphyr::from_multiple(&cluster.kubectl(["kustomize", DRAIN]).await?)?;
    let chart = Helm::new(cluster)?.render("revoiceit-system", &[]).await?.into_iter().filter(|object| hook(object) == Some("pre-delete"));
    differ_as_listed(by_hand, chart.collect(), &[&LABELS[..], &DRAINED].concat())
}

#[tokio::test]
async fn the_chart_has_the_alerts_and_the_dashboard_that_the_kustomization_has() -> Result<()> {
    let cluster = installed().await?;
    let helm = Helm::new(cluster)?;
    let of_kustomize = serde_saphyr::from_multiple(&cluster.kubectl(["kustomize", MONITORING]).await?)?;
    let all = "podMonitor.enabled=true,prometheusRule.enabled=true,dashboard.enabled=true";
    let mut objects = helm.render("revoiceit-system", &["--set", all]).await?;
    let rest = by_name(helm.render("revoiceit-system", &[]).await?);
    let key = |object: &Value| by_name(vec![object.clone()]).into_keys().next();
    objects.retain(|object| key(object).is_some_and(|key| !rest.contains_key(&key)));
    assert_eq!(objects.len(), 3);
    differ_as_listed(of_kustomize, objects, &LABELS)?;

    let linked = helm.render("home", &["--values", EVERYTHING]).await?;
    let rule = linked.iter().find(|object| object["kind"] == "PrometheusRule").context("no PrometheusRule")?.to_string();
    ensure!(rule.contains("https://wiki.example.com/revoiceit#revoiceitnoleader") && !rule.contains("revoiceit.example.com"), "{rule}");
    Ok(())
}

#[tokio::test]
async fn the_chart_sets_each_flag_to_its_default() -> Result<()> {
    let helm = Helm::new(installed().await?)?;
    let command = Cli::command();
    let run = command.find_subcommand("run").context("there is no run")?;
    let flags: BTreeMap<String, String> = run
        .get_arguments()
        .filter_map(|flag| {
            let default = flag.get_default_values().first().map_or("false".into(), |value| value.to_string_lossy());
            Some((flag.get_env()?.to_string_lossy().into_owned(), default.into_owned()))
        })
        .collect();
    for (name, value) in env(&helm.render("revoiceit-system", &[]).await?)? {
        if name.starts_with("REVOICEIT_") {
            assert_eq!(Some(&value), flags.get(&name), "{name}");
        }
    }
    // A pod has neither a kubeconfig nor another namespace than its own, and tests are run elsewhere.
    let not_set = ["REVOICEIT_CONTEXT", "REVOICEIT_KUBECONFIG", "REVOICEIT_OPERATOR_NAMESPACE", "REVOICEIT_POLICY_FOR_TESTS"];
    let set = env(&helm.render("revoiceit-system", &["--values", EVERYTHING]).await?)?;
    let missing: Vec<&str> = flags.keys().map(String::as_str).filter(|name| !set.contains_key(*name)).collect();
    assert_eq!(missing, not_set);
    Ok(())
}

#[tokio::test]
async fn what_it_renders_is_accepted_and_passes_the_strictest_pod_security() -> Result<()> {
    let cluster = installed().await?;
    let helm = Helm::new(cluster)?;
    let (home, one, other) = (namespace(cluster).await?, namespace(cluster).await?, namespace(cluster).await?);
    cluster.kubectl(["label", "namespace", &home, "pod-security.kubernetes.io/warn=restricted"]).await?;
    let scope = format!("scope.namespaces={{{one},{other}}}");
    let sets: [&[&str]; 3] = [&[], &["--set", &scope], &["--values", EVERYTHING, "--set", &scope]];
    for flags in sets {
        let mut objects = helm.render(&home, flags).await?;
        // Those kinds are not in this cluster.
        objects.retain(|object| object["apiVersion"] != "monitoring.coreos.com/v1");
        ensure!(objects.len() > 10, "{flags:?} renders {} objects", objects.len());
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects });
        let apply = ["apply", "--server-side", "--dry-run=server", "--warnings-as-errors", "-f", "-"];
        cluster.kubectl_stdin(apply, &list.to_string()).await.with_context(|| format!("{flags:?}"))?;
    }
    Ok(())
}

#[tokio::test]
async fn everything_is_set_where_everything_is_said_to_be() -> Result<()> {
    fn leaves(path: &str, schema: &Value, set: &Value, missing: &mut Vec<String>) {
        match schema["properties"].as_object() {
            Some(properties) => {
                for (name, schema) in properties {
                    leaves(&format!("{path}.{name}"), schema, &set[name], missing);
                }
            }
            None if set.is_null() || *set == schema["default"] => missing.push(path.to_owned()),
            None => {}
        }
    }
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(format!("{CHART}/values.schema.json"))?)?;
    let set: Value = serde_saphyr::from_str(&std::fs::read_to_string(EVERYTHING)?)?;
    let mut missing = Vec::new();
    leaves("", &schema, &set, &mut missing);
    // Off, these would render less; and there are two places for certificates.
    let not_set =
        [".api.caBundle.secret", ".drain.enabled", ".enabled", ".global", ".podDisruptionBudget.enabled", ".serviceAccount.create"];
    assert_eq!(missing, not_set);
    Ok(())
}

#[tokio::test]
async fn metrics_are_asked_of_the_port_that_the_pods_have() -> Result<()> {
    let helm = Helm::new(installed().await?)?;
    let objects = by_name(helm.render("home", &["--values", EVERYTHING]).await?);
    let of = |kind: &str, name: &str| objects.get(&(kind.into(), name.into())).with_context(|| format!("no {kind} {name}"));
    let pod = &of("Deployment", "tokens")?["spec"]["template"];
    assert_eq!(pod["spec"]["containers"]["operator"]["ports"]["http"]["containerPort"], 9000);
    assert_eq!(of("NetworkPolicy", "tokens")?["spec"]["ingress"][0]["ports"][0]["port"], 9000);
    assert_eq!(of("NetworkPolicy", "tokens")?["spec"]["egress"][2]["ports"][0]["port"], 8080, "of api.url");
    assert_eq!(of("Service", "tokens-metrics")?["spec"]["ports"]["http-metrics"]["targetPort"], "http");
    let monitor = of("PodMonitor", "tokens")?;
    assert_eq!(
        monitor["spec"]["podMetricsEndpoints"],
        json!([{ "port": "http", "path": "/metrics", "interval": "1m", "honorLabels": true }])
    );
    for (name, value) in monitor["spec"]["selector"]["matchLabels"].as_object().context("no selector")? {
        assert_eq!(&pod["metadata"]["labels"][name], value);
    }
    Ok(())
}

#[tokio::test]
async fn the_drains_pod_has_the_labels_and_annotations_of_the_operators() -> Result<()> {
    let helm = Helm::new(installed().await?)?;
    let objects = by_name(helm.render("home", &["--values", EVERYTHING]).await?);
    for key in [("Deployment", "tokens"), ("Job", "tokens-drain")] {
        let pod = &objects.get(&(key.0.into(), key.1.into())).with_context(|| format!("no {key:?}"))?["spec"]["template"]["metadata"];
        assert_eq!((&pod["labels"]["example.com/team"], &pod["annotations"]["example.com/note"]), (&json!("platform"), &json!("a note")));
    }
    Ok(())
}

#[tokio::test]
async fn another_chart_may_have_it_as_a_dependency_on_a_condition() -> Result<()> {
    let (helm, scratch) = (Helm::new(installed().await?)?, Scratch::new("parent")?);
    let name = "revoiceit-operator";
    let dependency = json!({ "name": name, "version": env!("CARGO_PKG_VERSION"), "condition": format!("{name}.enabled") });
    let parent = json!({ "apiVersion": "v2", "name": "parent", "version": "1.0.0", "dependencies": [dependency] });
    scratch.write("Chart.yaml", parent.to_string())?;
    std::fs::create_dir(scratch.path().join("charts"))?;
    std::os::unix::fs::symlink(CHART, scratch.path().join("charts").join(name))?;
    for is_enabled in [true, false] {
        let set = format!("{name}.enabled={is_enabled},global.of=all");
        let rendered = helm.run(["template", "tokens", &scratch.path().display().to_string(), "--set", &set]).await?;
        assert_eq!(rendered.contains("kind: Deployment"), is_enabled);
    }
    Ok(())
}

#[tokio::test]
async fn for_a_list_of_namespaces_nothing_need_be_for_the_whole_cluster() -> Result<()> {
    let helm = Helm::new(installed().await?)?;
    let flags = ["--set", "scope.namespaces={team-a,team-b},crds.install=false,rbac.userRoles=false"];
    let objects = helm.render("home", &flags).await?;
    let places: BTreeSet<&str> = objects.iter().filter_map(|object| object["metadata"]["namespace"].as_str()).collect();
    assert_eq!(places, BTreeSet::from(["home", "team-a", "team-b"]));
    let cluster_wide: Vec<&Value> = objects.iter().filter(|object| object["metadata"]["namespace"].is_null()).collect();
    ensure!(cluster_wide.is_empty(), "{cluster_wide:?}");

    // With the same rights in each of them as the cluster role would grant.
    let roles = |objects: &[Value], kind: &str, place: Option<&str>| {
        let there = objects.iter().filter(|object| object["kind"] == kind && object["metadata"]["namespace"].as_str() == place);
        there.map(|role| (role["metadata"]["name"].to_string(), role["rules"].to_string())).collect::<BTreeMap<_, _>>()
    };
    let wide = roles(&helm.render("home", &["--set", "rbac.userRoles=false"]).await?, "ClusterRole", None);
    assert_eq!(wide.len(), 2);
    for place in ["team-a", "team-b"] {
        assert_eq!(roles(&objects, "Role", Some(place)), wide, "{place}");
    }
    Ok(())
}

#[tokio::test]
async fn wrong_values_are_refused_with_what_to_do() -> Result<()> {
    let helm = Helm::new(installed().await?)?;
    let mut told = String::new();
    for values in [
        "replicas=two",
        "replicas=-1",
        "replica=2",
        "api.uri=https://x",
        "api.url=api.revoiceit.com",
        "api.url=https://api.revoiceit.com/v1",
        "api.url=http://revoiceit.example.com",
        "api.qps=0",
        "api.timeout=10",
        "api.caBundle.configMap=a,api.caBundle.secret=b",
        "api=null",
        "api.qps=null",
        "leaderElection.leaseDuration=1d",
        "log.level=verbose",
        "listen.port=80",
        "image.tag=a:b",
        "image.digest=sha256:abc",
        "image.repository=revoiceit-operator:0.1.0",
        "scope.namespaces=team-a",
        "scope.namespaces={team-a,team-a}",
        "scope.namespaces={Team_A}",
        "scope.namespaces={home}",
        "serviceAccount.create=false",
        "podDisruptionBudget.maxUnavailable=half",
        "extraEnv[0].value=x",
    ] {
        let refusal = helm.render("home", &["--set", values]).await.err().with_context(|| format!("{values}: it was accepted"))?;
        let refusal = refusal.to_string();
        let (_, said) = refusal.split_once(": exit status: 1: ").with_context(|| format!("{values}: {refusal}"))?;
        told.push_str(&format!("# --set {values}\n{said}\n\n"));
    }
    is_golden("chart-refusals.txt", &told.replace(CHART, "deploy/helm"));
    Ok(())
}

#[tokio::test]
async fn notes_tell_what_to_do_next() -> Result<()> {
    let helm = Helm::new(installed().await?)?;
    let mut told = String::new();
    for flags in [
        &["--set", "image.repository=registry.example.com/revoiceit-operator"][..],
        &["--set", "scope.namespaces={team-a,team-b},crds.install=false,drain.enabled=false,api.url=http://x,api.allowInsecure=true"],
    ] {
        let args = ["install", "revoiceit-operator", CHART, "--namespace", "revoiceit-system", "--dry-run=client"];
        let said = helm.run(args.iter().chain(flags)).await?;
        let (_, notes) = said.split_once("\nNOTES:\n").context("no notes")?;
        told.push_str(&format!("# {}\n{notes}\n", flags.join(" ")));
    }
    is_golden("chart-notes.txt", &told);
    Ok(())
}

fn differ_as_listed(elsewhere: Vec<Value>, chart: Vec<Value>, list: &[Difference]) -> Result<()> {
    let (elsewhere, chart) = (by_name(elsewhere), by_name(chart));
    let mut used = BTreeSet::new();
    for key in elsewhere.keys().chain(chart.keys()).collect::<BTreeSet<_>>() {
        let mut paths = Vec::new();
        compare("", elsewhere.get(key).unwrap_or(&Value::Null), chart.get(key).unwrap_or(&Value::Null), &mut paths);
        for path in paths {
            let listed = list.iter().find(|(kind, at, _)| (kind.is_empty() || *kind == key.0) && path.starts_with(at));
            used.insert(listed.with_context(|| format!("{} {} differs at {path:?}", key.0, key.1))?);
        }
    }
    let unused: Vec<_> = list.iter().filter(|listed| !used.contains(listed)).collect();
    ensure!(unused.is_empty(), "what is listed is the same: {unused:?}");
    Ok(())
}

fn hook(object: &Value) -> Option<&str> {
    object["metadata"]["annotations"]["helm.sh/hook"].as_str()
}

/// The variables of the operator's container that have a value.
fn env(objects: &[Value]) -> Result<BTreeMap<String, String>> {
    let deployment = objects.iter().find(|object| object["kind"] == "Deployment").context("no Deployment")?;
    let env = deployment["spec"]["template"]["spec"]["containers"][0]["env"].as_array().context("no variables")?;
    let pairs = env.iter().filter_map(|variable| Some((variable["name"].as_str()?.to_owned(), variable["value"].as_str()?.to_owned())));
    Ok(pairs.collect())
}

/// Objects by kind and name; lists of what has a name become maps, since their order says nothing.
fn by_name(objects: Vec<Value>) -> BTreeMap<(String, String), Value> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    objects.into_iter().map(|object| ((text(&object["kind"]), text(&object["metadata"]["name"])), named(object))).collect()
}

fn named(value: Value) -> Value {
    match value {
        Value::Array(items) if !items.is_empty() && items.iter().all(|item| item["name"].is_string()) => {
            items.into_iter().map(|item| (item["name"].as_str().unwrap_or_default().to_owned(), named(item))).collect()
        }
        Value::Array(items) => items.into_iter().map(named).collect(),
        Value::Object(map) => Value::Object(map.into_iter().map(|(key, value)| (key, named(value))).collect()),
        other => other,
    }
}

/// Where two values differ.
fn compare(path: &str, one: &Value, other: &Value, differ: &mut Vec<String>) {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            for key in one.keys().chain(other.keys()).collect::<BTreeSet<_>>() {
                let (one, other) = (one.get(key).unwrap_or(&Value::Null), other.get(key).unwrap_or(&Value::Null));
                compare(&format!("{path}/{key}"), one, other, differ);
            }
        }
        // A map that only one of them has.
        (Value::Null, Value::Object(map)) | (Value::Object(map), Value::Null) if !path.is_empty() => {
            map.keys().for_each(|key| differ.push(format!("{path}/{key}")));
        }
        (one, other) if one != other => differ.push(path.to_owned()),
        _ => {}
    }
}
