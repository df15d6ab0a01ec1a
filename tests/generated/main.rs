//! Files that are made from the code are what the code makes. `UPDATE=1` accepts, as does `make generate`.

mod chart;
mod cli;
mod links;
mod metrics;
mod resource;
mod runbook;
mod table;

use std::{fs, path::Path};

use revoiceit_operator::cli::crd::crd_yaml;
use serde_json::Value;

fn is_current(path: &str, made: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("UPDATE").is_some_and(|value| value == "1") {
        fs::create_dir_all(file.parent().expect("it is in a folder")).expect("the folder can be made");
        fs::write(&file, made).expect("the file can be written");
        return;
    }
    let found = fs::read_to_string(&file).unwrap_or_default();
    if found != made {
        let line = found.lines().zip(made.lines()).take_while(|(found, made)| found == made).count();
        panic!("{path} differs from the code from line {} on: run `make generate` and commit it", line + 1);
    }
}

#[test]
fn the_crd_is_that_of_the_types() {
    is_current("crds/revoiceitcredentials.revoiceit.com.yaml", &crd_yaml());
}

#[test]
fn the_chart_has_the_crd_of_the_types() {
    is_current("deploy/helm/files/crd.yaml", &crd_yaml());
}

#[test]
fn the_values_of_the_chart_are_those_of_its_schema() {
    is_current("deploy/helm/values.yaml", &chart::values());
}

#[test]
fn the_readme_of_the_chart_names_each_value() {
    is_current("deploy/helm/README.md", &chart::readme());
}

#[test]
fn the_reference_of_the_command_line_is_that_of_the_flags() {
    is_current("docs/reference/cli.md", &cli::reference());
}

#[test]
fn the_reference_of_the_resource_is_that_of_the_types() {
    is_current("docs/reference/resource.md", &resource::reference());
}

#[test]
fn the_reference_of_the_metrics_is_that_of_what_is_exposed() {
    is_current("docs/reference/metrics.md", &metrics::reference());
}

#[test]
fn the_chart_has_the_alerts_and_the_dashboard_of_deploy_monitoring() {
    for file in ["alerts.yaml", "dashboard.json"] {
        is_current(&format!("deploy/helm/files/{file}"), &read(&format!("deploy/monitoring/{file}")));
    }
}

#[test]
fn the_picture_of_the_dashboard_has_all_its_panels() {
    let dashboard: Value = serde_json::from_str(&read("deploy/monitoring/dashboard.json")).expect("it is JSON");
    let picture = read("docs/dashboard.svg");
    for panel in dashboard["panels"].as_array().expect("it has panels") {
        let title = panel["title"].as_str().expect("it has a title");
        assert!(picture.contains(&format!(">{title}</text>")), "{title} is not in docs/dashboard.svg: make picture draws it anew");
    }
}

#[test]
fn the_manifests_name_the_image_of_this_version() {
    let tag = format!("  newTag: {}\n", env!("CARGO_PKG_VERSION"));
    for file in ["deploy/kustomize/kustomization.yaml", "deploy/drain/kustomization.yaml", "deploy/sandbox/kustomization.yaml"] {
        assert!(read(file).contains(&tag), "{file} has no line {tag:?}");
    }
}

#[test]
fn a_role_for_one_namespace_grants_what_the_cluster_role_grants() {
    let rules = |path: &str, kind: &str| {
        let objects: Vec<Value> = serde_saphyr::from_multiple(&read(path)).expect("it is YAML");
        objects.into_iter().find(|object| object["kind"] == kind).expect("it has one")["rules"].clone()
    };
    assert_eq!(rules("deploy/kustomize-namespaced/served/role.yaml", "Role"), rules("deploy/kustomize/rbac.yaml", "ClusterRole"));
}

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("it is there")
}
