//! What is installed: the manifests under `deploy/`.

use anyhow::Result;
use revoiceit_harness::{cluster::Cluster, scratch::Scratch};

use crate::{
    golden::is_golden,
    shared::{DRAIN_RIGHTS, INSTALL, installed, namespace},
};

const KUSTOMIZATION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/kustomize");
const NAMESPACED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/kustomize-namespaced");
const DRAIN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/drain");
const FIRST_EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/examples/first.yaml");

#[tokio::test]
async fn the_one_file_is_what_the_kustomization_renders() -> Result<()> {
    let rendered = installed().await?.kubectl(["kustomize", KUSTOMIZATION]).await?;
    let file = std::fs::read_to_string(INSTALL)?;
    assert!(file == rendered, "deploy/install.yaml is not what deploy/kustomize renders: run `make generate` and commit it");
    Ok(())
}

/// Its comment says to copy it, and to say where `deploy/kustomize` is.
#[tokio::test]
async fn a_copy_of_the_kustomization_for_a_list_of_namespaces_renders_the_same() -> Result<()> {
    let (cluster, scratch) = (installed().await?, Scratch::new("copy")?);
    std::fs::create_dir(scratch.path().join("served"))?;
    let to_the_root = "../".repeat(std::fs::canonicalize(scratch.path())?.components().count() - 1);
    for name in ["kustomization.yaml", "served/kustomization.yaml", "served/role.yaml"] {
        let text = std::fs::read_to_string(format!("{NAMESPACED}/{name}"))?;
        scratch.write(name, text.replace("- ../kustomize\n", &format!("- {to_the_root}{}\n", KUSTOMIZATION.trim_start_matches('/'))))?;
    }
    let copy = cluster.kubectl(["kustomize", &scratch.path().display().to_string()]).await?;
    assert_eq!(copy, cluster.kubectl(["kustomize", NAMESPACED]).await?);
    Ok(())
}

#[tokio::test]
async fn what_is_installed_is_stored_as_it_is_written() -> Result<()> {
    // Fails when there is a difference, as there is for a delivery tool that then applies again and again.
    installed().await?.kubectl(["diff", "--server-side", "-f", INSTALL]).await?;
    Ok(())
}

#[tokio::test]
async fn the_first_example_passes_the_strictest_pod_security() -> Result<()> {
    let cluster = installed().await?;
    let namespace = namespace(cluster).await?;
    cluster.kubectl(["label", "namespace", &namespace, "pod-security.kubernetes.io/warn=restricted"]).await?;
    cluster.kubectl(["apply", "--server-side", "--warnings-as-errors", "-n", &namespace, "-f", FIRST_EXAMPLE]).await?;
    Ok(())
}

#[tokio::test]
async fn the_operator_may_do_what_it_does_and_no_more() -> Result<()> {
    const OPERATOR: &str = "system:serviceaccount:revoiceit-system:revoiceit-operator";
    let cluster = installed().await?;
    let mut told = String::new();
    for namespace in ["default", "revoiceit-system"] {
        told.push_str(&rights_of(cluster, namespace, OPERATOR).await?);
    }
    is_golden("operator-rights.txt", &told);
    Ok(())
}

/// The rules that somebody has in a namespace, one line for each resource.
async fn rights_of(cluster: &Cluster, namespace: &str, account: &str) -> Result<String> {
    // What every service account may do.
    const EVERYBODY: [&str; 3] = ["selfsubject", "clustertrustbundles", "[/"];
    let list = cluster.kubectl(["auth", "can-i", "--list", "--no-headers", "-n", namespace, "--as", account]).await?;
    let mut lines: Vec<String> = list
        .lines()
        .filter(|line| !EVERYBODY.iter().any(|word| line.contains(word)))
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    lines.sort();
    Ok(format!("# in {namespace}\n{}\n\n", lines.join("\n")))
}

#[tokio::test]
async fn a_drain_may_do_what_it_does_and_no_more() -> Result<()> {
    let cluster = installed().await?;
    cluster.kubectl(["apply", "--server-side", "--warnings-as-errors", "-f", DRAIN_RIGHTS, "-n", "revoiceit-system"]).await?;
    let mut told = String::new();
    for namespace in ["default", "revoiceit-system"] {
        told.push_str(&rights_of(cluster, namespace, "system:serviceaccount:revoiceit-system:revoiceit-operator-drain").await?);
    }
    is_golden("drain-rights.txt", &told);
    Ok(())
}

/// The namespace warns of, and refuses, what is not restricted.
#[tokio::test]
async fn the_drain_that_is_applied_passes_the_strictest_pod_security() -> Result<()> {
    let cluster = installed().await?;
    cluster.kubectl(["apply", "--server-side", "--dry-run=server", "--warnings-as-errors", "-k", DRAIN]).await?;
    Ok(())
}

#[tokio::test]
async fn a_disruption_budget_is_about_the_pods_of_the_deployment() -> Result<()> {
    let cluster = installed().await?;
    let get = async |what: &str, path: &str| {
        let path = format!("jsonpath={path}");
        cluster.kubectl(["get", "-n", "revoiceit-system", what, "-o", &path]).await
    };
    let selects = get("poddisruptionbudget.v1.policy/revoiceit-operator", "{.spec.selector.matchLabels}").await?;
    assert_eq!(selects, get("deployment/revoiceit-operator", "{.spec.template.metadata.labels}").await?);
    assert_eq!(selects, get("deployment/revoiceit-operator", "{.spec.selector.matchLabels}").await?);
    // The budget is less than there is.
    let replicas = get("deployment/revoiceit-operator", "{.spec.replicas}").await?;
    let may_go = get("poddisruptionbudget/revoiceit-operator", "{.spec.maxUnavailable}").await?;
    assert_eq!((replicas.as_str(), may_go.as_str()), ("2", "1"));
    Ok(())
}

#[tokio::test]
async fn people_may_do_with_resources_what_they_may_do_in_the_namespace() -> Result<()> {
    let cluster = installed().await?;
    let namespace = namespace(cluster).await?;
    let mut told = String::new();
    for role in ["view", "edit", "admin"] {
        let user = format!("{role}-of-{namespace}");
        cluster.kubectl(["create", "rolebinding", role, "-n", &namespace, "--clusterrole", role, "--user", &user]).await?;
        let here = rights_of(cluster, &namespace, &user).await?;
        let resources: Vec<&str> = here.lines().filter(|line| line.starts_with("revoiceitcredentials")).collect();
        told.push_str(&format!("# {role}\n{}\n\n", resources.join("\n")));
        // Neither other people's resources nor the ledgers.
        for elsewhere in ["default", "revoiceit-system"] {
            let rights = rights_of(cluster, elsewhere, &user).await?;
            let more: Vec<&str> = rights.lines().filter(|line| line.starts_with("revoiceit") || line.starts_with("secrets")).collect();
            assert_eq!(more, [""; 0], "{role} in {elsewhere}");
        }
    }
    is_golden("people-rights.txt", &told);
    Ok(())
}
