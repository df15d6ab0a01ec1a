//! What one test with pods has for itself: a release of the chart, and the namespace that it serves.

use std::{io::Write, time::Duration};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{coordination::v1::Lease, core::v1::Pod};
use kube::{Api, ResourceExt, api::ListParams};
use revoiceit_harness::{
    node::{self, HOST, Node},
    wait::{GENEROUS, eventually},
};
use revoiceit_operator::api::names;
use revoiceit_sandbox::Switches;
use serde_json::json;
use tokio::sync::{Mutex, OnceCell};

use crate::{
    helm::{CHART, Helm},
    shared::{self, CRD},
    world::World,
};

/// Pods start in a second or two; an operator that ends may take its whole grace period.
pub(crate) const PATIENT: Duration = Duration::from_secs(120);

/// Whoever applies `deploy/sandbox`, where all names are fixed, is alone with it as long as this is locked.
pub(crate) static STAGE: Mutex<()> = Mutex::const_new(());

/// The node of all these tests, with the operator's image and the CRD. `None` where there can be none, which is said once.
async fn shared() -> Result<Option<&'static Node>> {
    static NODE: OnceCell<Option<Node>> = OnceCell::const_new();
    let node = NODE.get_or_try_init(async || {
        if let Some(missing) = node::missing() {
            let is_required = std::env::var_os(node::REQUIRED).is_some_and(|value| value == "required");
            ensure!(!is_required, "the tests with real pods cannot run, and {} says that they must: {missing}", node::REQUIRED);
            // Not by a macro, whose words cargo keeps from whoever runs the tests.
            writeln!(std::io::stderr(), "skipped: the tests with real pods (node::…), since {missing}")?;
            return Ok(None);
        }
        let image = tokio::task::spawn_blocking(node::operator).await??;
        let node = Node::start().await?;
        node.import(&image).await?;
        shared::install(node.cluster(), CRD).await?;
        Ok(Some(node))
    });
    Ok(node.await?.as_ref())
}

/// A world with pods, and a release called `revoiceit-operator` in a namespace that enforces the strictest Pod Security.
pub(crate) struct Site {
    pub(crate) node: &'static Node,
    pub(crate) world: World,
    helm: Helm,
}

impl Site {
    /// With the resource `speech` and its token in the target `token`. `None` where there can be no node.
    pub(crate) async fn new(switch: impl FnOnce(&mut Switches), values: &[&str]) -> Result<Option<Self>> {
        let Some(site) = Self::empty(switch).await? else { return Ok(None) };
        site.world.credentials("client").await?;
        site.install(values).await?;
        site.world.speech(json!({})).await?;
        site.world.ready("speech").await?;
        Ok(Some(site))
    }

    /// With nothing yet but the namespaces.
    pub(crate) async fn empty(switch: impl FnOnce(&mut Switches)) -> Result<Option<Self>> {
        let Some(node) = shared().await? else { return Ok(None) };
        let world = World::of_pods(node, switch).await?;
        let restricted = ["label", "namespace", &world.system, &world.tenant, "pod-security.kubernetes.io/enforce=restricted"];
        world.cluster.kubectl(restricted).await?;
        Ok(Some(Self { node, helm: Helm::new(world.cluster)?, world }))
    }

    /// Returns when all replicas are ready.
    pub(crate) async fn install(&self, values: &[&str]) -> Result<()> {
        self.release("install", values).await.map(drop)
    }

    pub(crate) async fn upgrade(&self, values: &[&str]) -> Result<()> {
        self.release("upgrade", values).await.map(drop)
    }

    async fn release(&self, verb: &str, values: &[&str]) -> Result<String> {
        let port = self.world.sandbox.addresses().api.port();
        // A pod looks the name up, as it does the vendor's.
        let api = format!("api.url=http://{HOST}:{port},api.allowInsecure=true");
        let scope = format!("scope.namespaces={{{}}},crds.install=false,rbac.userRoles=false", self.world.tenant);
        let args =
            [verb, names::OPERATOR, CHART, "--namespace", &self.world.system, "--wait", "--timeout", "3m", "--set", &api, "--set", &scope];
        let values = values.iter().flat_map(|value| ["--set", value]);
        self.helm.run(args.into_iter().chain(values)).await
    }

    /// What the drain's Job said, as Helm prints it.
    pub(crate) async fn uninstall(&self) -> Result<String> {
        let (_, said) = self.helm.both(["uninstall", names::OPERATOR, "--namespace", &self.world.system]).await?;
        // A line of Helm's log, with the Job's lines in it.
        Ok(said.replace("\\n", "\n"))
    }

    /// The operator's pods that are not about to end.
    pub(crate) async fn pods(&self) -> Result<Vec<Pod>> {
        let pods: Api<Pod> = Api::namespaced(self.world.client.clone(), &self.world.system);
        let listed = pods.list(&ListParams::default().labels("app.kubernetes.io/name=revoiceit-operator")).await?;
        Ok(listed.items.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).collect())
    }

    /// The name of the pod that holds the lease.
    pub(crate) async fn leader(&self) -> Result<String> {
        let leases: Api<Lease> = Api::namespaced(self.world.client.clone(), &self.world.system);
        let holder = leases.get(names::OPERATOR).await?.spec.and_then(|spec| spec.holder_identity).unwrap_or_default();
        let (pod, _) = holder.rsplit_once('_').with_context(|| format!("the lease's holder is {holder:?}"))?;
        Ok(pod.to_owned())
    }

    /// Waits until another pod than this one leads, and returns its name.
    pub(crate) async fn another_leader(&self, than: &str) -> Result<String> {
        eventually("another pod to lead", GENEROUS, async || {
            let leader = self.leader().await?;
            ensure!(leader != than, "{leader} does");
            anyhow::Ok(leader)
        })
        .await
    }

    /// Waits until so many pods of the operator are ready, and no others are there.
    pub(crate) async fn ready_pods(&self, number: usize) -> Result<Vec<Pod>> {
        eventually(&format!("{number} pods of the operator to be ready"), PATIENT, async || {
            let pods = self.pods().await?;
            let unready: Vec<String> = pods.iter().filter(|pod| !is_ready(pod)).map(ResourceExt::name_any).collect();
            ensure!(unready.is_empty() && pods.len() == number, "{} pods, not ready: {unready:?}", pods.len());
            anyhow::Ok(pods)
        })
        .await
    }

    /// A pod that writes down what it reads in the mounted target, five times a second.
    pub(crate) async fn reader(&self) -> Result<()> {
        self.world
            .apply(&json!({
                "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "reader", "namespace": self.world.tenant },
                "spec": {
                    "automountServiceAccountToken": false, "terminationGracePeriodSeconds": 1,
                    "securityContext": { "runAsNonRoot": true, "seccompProfile": { "type": "RuntimeDefault" } },
                    "containers": [{
                        "name": "reader", "image": "localhost/busybox:test", "imagePullPolicy": "Never",
                        "command": ["sh", "-c", "while :; do echo \"$(cat /etc/revoiceit/accessToken)\"; sleep 0.2; done"],
                        "volumeMounts": [{ "name": "token", "mountPath": "/etc/revoiceit", "readOnly": true }],
                        "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } },
                    }],
                    "volumes": [{ "name": "token", "secret": { "secretName": "token" } }],
                },
            }))
            .await?;
        self.world.kubectl(&["wait", "--for=condition=Ready", "--timeout=60s", "pod/reader"]).await.map(drop)
    }

    /// No secret was told, in the logs of pods neither.
    pub(crate) async fn end(&self) -> Result<()> {
        let mut logs = Vec::new();
        for pod in self.pods().await? {
            let log = self.world.cluster.kubectl(["logs", "-n", &self.world.system, &pod.name_any()]).await?;
            logs.push((pod.name_any(), log));
        }
        self.world.no_secret_is_in(&logs)?;
        self.world.no_secret_is_told(&[]).await
    }
}

/// The id of the operator's container in a pod, how often it was started again, and why it ended.
pub(crate) async fn container(site: &Site, pod: &str) -> Result<(String, i32, String)> {
    let pods: Api<Pod> = Api::namespaced(site.world.client.clone(), &site.world.system);
    let statuses = pods.get(pod).await?.status.and_then(|status| status.container_statuses).unwrap_or_default();
    let status = statuses.into_iter().next().with_context(|| format!("{pod} has no container"))?;
    let ended = status.last_state.and_then(|state| state.terminated).and_then(|ended| ended.reason);
    Ok((status.container_id.unwrap_or_default(), status.restart_count, ended.unwrap_or_default()))
}

/// Whether the kubelet calls it ready.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
