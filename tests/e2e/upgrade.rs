//! A resource that an older CRD admitted, and this one would refuse, can still be served and released.

use anyhow::{Context, Result};
use revoiceit_harness::{
    cluster::{Cluster, Options},
    wait::{GENEROUS, eventually},
};
use serde_json::Value;

use crate::{
    release,
    shared::{CRD, install, namespace},
};

/// Breaks every rule that this CRD has.
const WRONG: &str = r#"
apiVersion: revoiceit.com/v1
kind: RevoiceitCredential
metadata: {name: wrong, finalizers: [revoiceit.com/revoke]}
spec:
  credentialsSecretRef: {name: Same_Name, clientIdKey: a b, clientSecretKey: a b}
  target:
    name: Same_Name
    labels: {kubernetes.io/x: a b, a/b/c: d}
    annotations: {kubernetes.io/x: z, a/b/c: d}
    template: {a b: "{{ refreshToken }}", "": "{{{{{{{{{{{{"}
  refresh: {beforeExpiry: 99h}
  revocation: {deadline: 1d, grace: 999999h999999h999999h999999h}
"#;

/// Lacks what this CRD requires.
const BARE: &str = r#"
apiVersion: revoiceit.com/v1
kind: RevoiceitCredential
metadata: {name: bare, finalizers: [revoiceit.com/revoke]}
spec: {}
"#;

#[tokio::test]
async fn what_an_older_crd_admitted_can_be_served_and_released() -> Result<()> {
    let cluster = Cluster::start(Options::default()).await?;
    install(&cluster, CRD).await?;
    let namespace = namespace(&cluster).await?;
    replace(&cluster, &without_rules()?).await?;
    // The API server takes a moment to go by a changed CRD.
    for manifest in [WRONG, BARE] {
        eventually("the looser CRD to be in force", GENEROUS, async || {
            cluster.kubectl_stdin(["create", "-n", &namespace, "-f", "-"], manifest).await
        })
        .await?;
    }
    replace(&cluster, &std::fs::read_to_string(CRD)?).await?;
    eventually("the CRD to be in force again", GENEROUS, async || {
        let manifest = BARE.replace("name: bare", "name: late");
        match cluster.kubectl_stdin(["create", "--dry-run=server", "-n", &namespace, "-f", "-"], &manifest).await {
            Ok(_) => Err("it was accepted"),
            Err(_) => Ok(()),
        }
    })
    .await?;

    for name in ["wrong", "bare"] {
        let patch =
            async |args: &[&str]| cluster.kubectl(["patch", "rvc", name, "-n", &namespace, "--type=merge"].iter().chain(args)).await;
        patch(&["--subresource=status", "-p", r#"{"status":{"revision":1}}"#]).await.context("the status")?;
        patch(&["-p", r#"{"metadata":{"annotations":{"revoiceit.com/ledger":"x/y"}}}"#]).await.context("the claim")?;
        let edit = patch(&["-p", r#"{"spec":{"refresh":{"beforeExpiry":"98h"}}}"#]).await;
        assert!(edit.is_err(), "{name}: a wrong value was replaced by another wrong one");
        cluster.kubectl(["delete", "rvc", name, "-n", &namespace, "--wait=false"]).await?;
        patch(&["-p", r#"{"metadata":{"finalizers":null}}"#]).await.context("the finalizer's removal")?;
    }
    assert_eq!(cluster.kubectl(["get", "rvc", "-n", &namespace, "-o", "name"]).await?, "");
    // Here because no other test shares this cluster, and it takes a while to start one.
    release::takes_over_and_keeps_the_crd(&cluster).await
}

async fn replace(cluster: &Cluster, crd: &str) -> Result<()> {
    cluster.kubectl_stdin(["replace", "-f", "-"], crd).await.map(drop)
}

/// This CRD with nothing in its spec that refuses anything but a wrong type.
fn without_rules() -> Result<String> {
    fn strip(value: &mut Value) {
        if let Value::Object(map) = value {
            map.retain(|key, _| !matches!(key.as_str(), "x-kubernetes-validations" | "maxLength" | "maxProperties" | "required"));
            map.values_mut().for_each(strip);
        }
    }
    let mut crd: Value = serde_saphyr::from_str(&std::fs::read_to_string(CRD)?)?;
    strip(&mut crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]);
    Ok(crd.to_string())
}
