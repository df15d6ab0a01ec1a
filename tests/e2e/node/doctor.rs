//! `kubectl revoiceit doctor` of an installation in pods.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use revoiceit_harness::cluster::{Access, AuditEvent};
use serde_json::{Value, json};

use super::site::Site;

const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/kubectl-revoiceit.md");

/// `verb what`, in the operator's namespace and elsewhere.
#[derive(Debug, Default, PartialEq, Eq)]
struct Rights {
    at_home: BTreeSet<String>,
    elsewhere: BTreeSet<String>,
}

/// The column "needs" of the table of checks: a verb, resources, and perhaps where.
fn documented() -> Result<Rights> {
    let text = std::fs::read_to_string(DOCS)?;
    let (_, table) = text.split_once("| check | looks at | finds | needs |").context("no table of checks")?;
    let mut rights = Rights::default();
    for row in table.lines().skip(2).take_while(|line| line.starts_with('|')) {
        let needs = row.split('|').nth(4).context("a row without the column")?.trim();
        let Some((verb, _)) = needs.split_once(' ') else { continue };
        let is_at_home = needs.ends_with("in the operator's namespace") || needs.ends_with(" there");
        let place = if is_at_home { &mut rights.at_home } else { &mut rights.elsewhere };
        place.extend(needs.split('`').skip(1).step_by(2).map(|what| format!("{verb} {what}")));
    }
    Ok(rights)
}

/// Rules that grant these.
fn rules(rights: &BTreeSet<String>) -> Vec<Value> {
    let rule = |right: &String| {
        let (verb, what) = right.split_once(' ').unwrap_or_default();
        json!({ "apiGroups": [group(what)], "resources": [what], "verbs": [verb] })
    };
    rights.iter().map(rule).collect()
}

/// The docs say no groups, as nobody does.
fn group(what: &str) -> &'static str {
    match what {
        "customresourcedefinitions" => "apiextensions.k8s.io",
        "deployments" => "apps",
        "leases" => "coordination.k8s.io",
        "revoiceitcredentials" => "revoiceit.com",
        "subjectaccessreviews" => "authorization.k8s.io",
        _ => "",
    }
}

#[tokio::test]
async fn the_rights_that_the_docs_name_let_it_see_all_and_each_of_them_is_needed() -> Result<()> {
    const NAME: &str = "doctor";
    let Some(site) = Site::new(|_| {}, &[]).await? else { return Ok(()) };
    let (world, documented) = (&site.world, documented()?);
    world.kubectl(&["create", "serviceaccount", NAME]).await?;
    let of_all = format!("{NAME}-of-{}", world.tenant);
    let subjects = json!([{ "kind": "ServiceAccount", "name": NAME, "namespace": world.tenant }]);
    let role = |kind: &str, name: &str, rights: &BTreeSet<String>| {
        let object = |kind: String| json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": { "name": name, "namespace": world.system } });
        let (mut role, mut binding) = (object(kind.to_owned()), object(format!("{kind}Binding")));
        role["rules"] = rules(rights).into();
        binding["subjects"] = subjects.clone();
        binding["roleRef"] = json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name });
        [role, binding]
    };
    let items = [role("ClusterRole", &of_all, &documented.elsewhere), role("Role", NAME, &documented.at_home)].concat();
    world.apply(&json!({ "apiVersion": "v1", "kind": "List", "items": items })).await?;
    let kubeconfig = world.cluster.kubeconfig_for_service_account(&world.tenant, NAME, &world.cluster.server()).await?;
    let mark = world.cluster.audit_mark().await?;

    let said = world.plugin(&kubeconfig, &["doctor", "-n", &world.tenant, "--operator-namespace", &world.system]).await?;
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{said:?}");
    let lines: Vec<&str> = said.out.lines().collect();
    assert!(lines.len() == 12 && lines[..11].iter().all(|line| line.starts_with("✓ ")), "{said:?}");
    assert!(said.has("✓ readiness    2 pods say that they are ready"), "{said:?}");

    let user = format!("system:serviceaccount:{}:{NAME}", world.tenant);
    let asked = world.cluster.audit_since(mark).await?;
    let mut used = Rights::default();
    for event in asked.iter().filter(|event| event.user == user && !event.resource.is_empty()) {
        assert_ne!(event.access, Access::Denied, "{event}");
        let place = if event.namespace == world.system { &mut used.at_home } else { &mut used.elsewhere };
        place.insert(format!("{} {}", event.verb, AuditEvent::name_of("", &event.resource, &event.subresource)));
    }
    assert_eq!(used, documented);
    site.end().await
}
