//! What is installed: the manifests under `deploy/`.

use anyhow::Result;

use crate::{
    golden::is_golden,
    shared::{INSTALL, installed, namespace},
};

const KUSTOMIZATION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/kustomize");
const FIRST_EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/examples/first.yaml");

#[tokio::test]
async fn the_one_file_is_what_the_kustomization_renders() -> Result<()> {
    let rendered = installed().await?.kubectl(["kustomize", KUSTOMIZATION]).await?;
    let file = std::fs::read_to_string(INSTALL)?;
    assert!(file == rendered, "deploy/install.yaml is not what deploy/kustomize renders: run `make generate` and commit it");
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
    // What every service account may do.
    const EVERYBODY: [&str; 3] = ["selfsubject", "clustertrustbundles", "[/"];
    let cluster = installed().await?;
    let mut told = String::new();
    for namespace in ["default", "revoiceit-system"] {
        let list = cluster.kubectl(["auth", "can-i", "--list", "--no-headers", "-n", namespace, "--as", OPERATOR]).await?;
        let mut lines: Vec<String> = list
            .lines()
            .filter(|line| !EVERYBODY.iter().any(|word| line.contains(word)))
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        lines.sort();
        told.push_str(&format!("# in {namespace}\n{}\n\n", lines.join("\n")));
    }
    is_golden("operator-rights.txt", &told);
    Ok(())
}

#[tokio::test]
async fn whoever_may_edit_a_namespace_may_edit_its_resources() -> Result<()> {
    let cluster = installed().await?;
    let namespace = namespace(cluster).await?;
    for (role, verb, may) in [
        ("view", "list", true),
        ("view", "create", false),
        ("edit", "create", true),
        ("edit", "deletecollection", true),
        ("admin", "delete", true),
    ] {
        let user = format!("{role}-{verb}");
        cluster.kubectl(["create", "rolebinding", &user, "-n", &namespace, "--clusterrole", role, "--user", &user]).await?;
        let asked = cluster
            .kubectl(["auth", "can-i", verb, "revoiceitcredentials.revoiceit.com", "-n", &namespace, "--as", &user, "--quiet"])
            .await;
        assert_eq!(asked.is_ok(), may, "{role}: {verb}");
    }
    Ok(())
}
