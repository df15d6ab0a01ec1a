//! What users see of the resource: what is refused and why, what is filled in, and how kubectl shows it.

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use revoiceit_operator::cli::crd::crd_yaml;
use serde_json::{Value, json};

use crate::{
    golden::{is_golden, is_golden_but_for},
    manifests,
    shared::{installed, namespace},
};

#[tokio::test]
async fn malformed_manifests_are_refused_with_what_to_do() -> Result<()> {
    let cluster = installed().await?;
    let namespace = namespace(cluster).await?;
    let told: Vec<String> = stream::iter(manifests::malformed())
        .map(async |(what, manifest)| {
            let refusal = cluster.kubectl_stdin(["create", "-n", &namespace, "-f", "-"], &manifest).await.err();
            let refusal = refusal.with_context(|| format!("{what}: it was accepted"))?.to_string();
            // The harness puts the command and its exit status in front of what kubectl said.
            let (_, said) = refusal.split_once(": exit status: 1: ").with_context(|| format!("{what}: {refusal}"))?;
            anyhow::Ok(format!("# {what}\n{}\n", in_order(&shortened(said))))
        })
        .buffered(4)
        .try_collect()
        .await?;
    let is_pinned = std::env::var_os("CLUSTER_VERSION").is_none_or(|version| version.is_empty());
    let left = |line: &str| if is_pinned { line.to_owned() } else { without_value(line) };
    is_golden_but_for("malformed.txt", &told.join("\n"), left);
    Ok(())
}

/// Before what is ours, older API servers have the value's type in place of the value, or of nothing.
fn without_value(line: &str) -> String {
    const BEFORE: &str = "Invalid value: ";
    let Some((start, rest)) = line.split_once(BEFORE) else { return line.to_owned() };
    let end = if rest.starts_with('"') { "\": " } else { "null: " };
    let ours = rest.split_once(end).map_or(rest, |(_, ours)| ours);
    format!("{start}{BEFORE}{ours}")
}

/// The server repeats wrong values in full.
fn shortened(said: &str) -> String {
    let x = "x".repeat(60);
    said.split(' ').map(|word| if word.contains(&x) { "xxx…" } else { word }).collect::<Vec<_>>().join(" ")
}

/// Several mistakes are told in any order, after a first line that says so.
fn in_order(said: &str) -> String {
    let mut lines: Vec<&str> = said.lines().collect();
    if let Some(mistakes) = lines.get_mut(1..) {
        mistakes.sort_unstable();
    }
    lines.join("\n")
}

#[tokio::test]
async fn a_manifest_with_every_field_at_its_limit_is_accepted() -> Result<()> {
    let cluster = installed().await?;
    let namespace = namespace(cluster).await?;
    let create = ["create", "-n", &namespace, "--warnings-as-errors", "-f", "-"];
    let manifest = manifests::with_every_field();
    cluster.kubectl_stdin(create, &manifest).await?;
    let manifest: Value = serde_saphyr::from_str(&manifest)?;
    let crd: Value = serde_saphyr::from_str(&crd_yaml())?;
    let mut left_out = Vec::new();
    unset("spec", &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"], &manifest["spec"], &mut left_out);
    assert_eq!(left_out, [""; 0], "set them in the manifest that has every field");
    Ok(())
}

/// The fields of a schema that an object does not set.
fn unset(path: &str, schema: &Value, object: &Value, left_out: &mut Vec<String>) {
    if object.is_null() {
        left_out.push(path.to_owned());
    }
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        unset(&format!("{path}.{name}"), schema, &object[name], left_out);
    }
}

#[tokio::test]
async fn what_is_left_out_is_filled_in() -> Result<()> {
    let cluster = installed().await?;
    let namespace = namespace(cluster).await?;
    cluster.kubectl_stdin(["create", "-n", &namespace, "-f", "-"], &manifests::least()).await?;
    let seen: Value = serde_json::from_str(&cluster.kubectl(["get", "rvc", "speech", "-n", &namespace, "-o", "json"]).await?)?;
    assert_eq!(
        seen["spec"],
        json!({
            "credentialsSecretRef": { "name": "revoiceit-client", "clientIdKey": "clientId", "clientSecretKey": "clientSecret" },
            "target": { "name": "speech-token", "labels": {}, "annotations": {}, "template": { "accessToken": "{{ accessToken }}" } },
            "refresh": { "beforeExpiry": "15m" },
            "revocation": { "deadline": "5m", "grace": "5m" },
            "suspend": false,
        })
    );
    Ok(())
}

#[tokio::test]
async fn columns_show_what_people_ask_first() -> Result<()> {
    let cluster = installed().await?;
    let namespace = namespace(cluster).await?;
    cluster.kubectl_stdin(["create", "-n", &namespace, "-f", "-"], &manifests::least()).await?;
    let status = json!({ "status": {
        "expiresAt": "2100-01-01T10:00:00Z",
        "conditions": [
            { "type": "Stalled", "status": "False", "reason": "Other", "message": "other", "lastTransitionTime": "2100-01-01T09:00:00Z" },
            { "type": "Ready", "status": "True", "reason": "Refreshed", "message": "all is well", "lastTransitionTime": "2100-01-01T09:00:00Z" },
        ],
    } });
    cluster
        .kubectl(["patch", "rvc", "speech", "-n", &namespace, "--subresource=status", "--type=merge", "-p", &status.to_string()])
        .await?;

    let short = cluster.kubectl(["get", "rvc", "-n", &namespace]).await?;
    let wide = cluster.kubectl(["get", "revoiceit", "-n", &namespace, "-o", "wide"]).await?;
    assert_eq!(
        columns(&short),
        [
            ["NAME", "READY", "REASON", "SECRET", "EXPIRES", "AGE"].join("|"),
            ["speech", "True", "Refreshed", "speech-token", "2100-01-01T10:00:00Z", "…"].join("|")
        ]
    );
    assert_eq!(
        columns(&wide),
        [
            ["NAME", "READY", "REASON", "SECRET", "EXPIRES", "MESSAGE", "AGE"].join("|"),
            ["speech", "True", "Refreshed", "speech-token", "2100-01-01T10:00:00Z", "all is well", "…"].join("|")
        ]
    );
    Ok(())
}

/// Each line with its columns between bars, and no age.
fn columns(table: &str) -> Vec<String> {
    let bars = |line: &str| line.split("   ").map(str::trim).filter(|word| !word.is_empty()).collect::<Vec<_>>().join("|");
    let mut lines: Vec<String> = table.lines().map(bars).collect();
    for line in lines.iter_mut().skip(1) {
        if let Some((rest, _age)) = line.rsplit_once('|') {
            *line = format!("{rest}|…");
        }
    }
    lines
}

#[tokio::test]
async fn resources_are_found_by_the_names_of_their_secrets() -> Result<()> {
    let cluster = installed().await?;
    let namespace = namespace(cluster).await?;
    for name in ["a", "b"] {
        let manifest =
            manifests::least().replace("name: speech\n", &format!("name: {name}\n")).replace("speech-token", &format!("{name}-token"));
        cluster.kubectl_stdin(["create", "-n", &namespace, "-f", "-"], &manifest).await?;
    }
    let found = async |selector: &str| cluster.kubectl(["get", "rvc", "-n", &namespace, "-o", "name", "--field-selector", selector]).await;
    assert_eq!(found("spec.target.name=a-token").await?, "revoiceitcredential.revoiceit.com/a\n");
    assert_eq!(found("spec.credentialsSecretRef.name=revoiceit-client").await?.lines().count(), 2);
    assert_eq!(found("spec.target.name=c-token").await?, "");
    Ok(())
}

#[tokio::test]
async fn kubectl_explains_each_field() -> Result<()> {
    let cluster = installed().await?;
    let mut told = String::new();
    for field in
        ["", ".spec", ".spec.credentialsSecretRef", ".spec.target", ".spec.refresh", ".spec.revocation", ".status", ".status.failure"]
    {
        let page = cluster.kubectl(["explain", &format!("revoiceitcredential{field}")]).await?;
        // The first lines name the group, the kind and the version.
        told.push_str(&format!("# kubectl explain revoiceitcredential{field}\n{}\n", page.lines().skip(4).collect::<Vec<_>>().join("\n")));
    }
    is_golden("explain.txt", &told);
    Ok(())
}
