//! An installation in pods, as the API server shows it: there is no node in these tests, so the Deployment and its pods are objects alone, and
//! a proxy gives the answers of the operator's own process in their place.

use std::path::PathBuf;

use anyhow::Result;
use revoiceit_harness::proxy::{Fault, Proxy};
use serde_json::{Value, json};

use super::Said;
use crate::world::{Operator, World};

/// An administrator, and what is between him and the API server.
pub(super) struct Installation<'a> {
    pub(super) world: &'a World,
    pub(super) proxy: Proxy,
    admin: PathBuf,
}

impl<'a> Installation<'a> {
    /// Two pods that are ready; one has the operator's answers, the other those of a standby.
    pub(super) async fn new(world: &'a World, operator: &Operator) -> Result<Self> {
        let it = Self::without_answers(world).await?;
        let metrics = operator.get("/metrics").await?;
        it.answers("pod-0", "readyz", 200, &operator.get("/readyz").await?);
        it.answers("pod-0", "metrics", 200, &metrics);
        it.answers("pod-1", "readyz", 200, "ok");
        it.answers("pod-1", "metrics", 200, "revoiceit_leader 0\n");
        Ok(it)
    }

    pub(super) async fn without_answers(world: &'a World) -> Result<Self> {
        let labels = json!({ "app.kubernetes.io/name": "revoiceit-operator" });
        let spec = json!({
            "serviceAccountName": "revoiceit-operator",
            "containers": [{ "name": "operator", "image": "none", "ports": [{ "name": "http", "containerPort": 8080 }] }],
        });
        let meta = |name: &str| json!({ "name": name, "namespace": world.system, "labels": labels });
        world
            .apply(&json!({ "apiVersion": "v1", "kind": "List", "items": [
                {
                    "apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta("revoiceit-operator"),
                    "spec": {
                        "replicas": 2, "selector": { "matchLabels": labels },
                        "template": { "metadata": { "labels": labels }, "spec": spec },
                    },
                },
                { "apiVersion": "v1", "kind": "Pod", "metadata": meta("pod-0"), "spec": spec },
                { "apiVersion": "v1", "kind": "Pod", "metadata": meta("pod-1"), "spec": spec },
            ]}))
            .await?;
        let proxy = Proxy::start(world.cluster).await?;
        let it = Self { admin: world.cluster.admin_kubeconfig_through(&proxy.url())?, proxy, world };
        it.set_status("deployment/revoiceit-operator", &json!({ "replicas": 2, "readyReplicas": 2, "availableReplicas": 2 })).await?;
        for pod in ["pod/pod-0", "pod/pod-1"] {
            it.set_status(pod, &json!({ "phase": "Running" })).await?;
        }
        Ok(it)
    }

    /// What a kubelet or a controller would write.
    pub(super) async fn set_status(&self, object: &str, status: &Value) -> Result<()> {
        let patch = json!({ "status": status }).to_string();
        let args = ["-n", &self.world.system, "patch", object, "--subresource=status", "--type=merge", "-p", &patch];
        self.world.cluster.kubectl(args).await.map(drop)
    }

    /// What a pod answers, as the API server passes it on.
    pub(super) fn answers(&self, pod: &str, path: &str, code: u16, body: &str) {
        self.proxy.inject(Fault::answer(code, body).path(format!("/pods/{pod}:8080/proxy/{path}")));
    }

    /// The doctor of an administrator, who looks at the resources of this test alone.
    pub(super) async fn doctor(&self) -> Result<Said> {
        let (world, admin) = (self.world, &self.admin);
        world.plugin(admin, &["doctor", "-n", &world.tenant, "--operator-namespace", &world.system]).await
    }

    /// What he finds, as `check: what`.
    pub(super) async fn findings(&self) -> Result<Vec<String>> {
        let (world, admin) = (self.world, &self.admin);
        let said = world.plugin(admin, &["doctor", "-n", &world.tenant, "--operator-namespace", &world.system, "-o", "json"]).await?;
        let mut found = Vec::new();
        for check in said.json()?["checks"].as_array().into_iter().flatten() {
            for finding in check["findings"].as_array().into_iter().flatten() {
                anyhow::ensure!(finding["advice"].as_str().is_some_and(|advice| !advice.is_empty()), "no advice: {finding}");
                let what = finding["what"].as_str().unwrap_or_default().replace(&world.system, "SYSTEM").replace(&world.tenant, "TENANT");
                found.push(format!("{}: {what}", check["name"].as_str().unwrap_or_default()));
            }
        }
        anyhow::ensure!(said.code == Some(if found.is_empty() { 0 } else { 3 }), "{said:?}");
        Ok(found)
    }
}
