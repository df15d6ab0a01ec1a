//! What one test has for itself: a tenant's namespace, an operator's namespace with the roles from `deploy/`, and a Revoiceit.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use revoiceit_harness::{
    cluster::{AuditEvent, AuditMark, Cluster},
    node::Node,
    scratch::Scratch,
    servers,
    wait::{GENEROUS, eventually},
};
use revoiceit_operator::api::{RevoiceitCredential, names};
use revoiceit_sandbox::{Config, Sandbox, Switches, TokenForm};
use serde_json::{Value, json};

pub(crate) use crate::operator::Operator;
use crate::{
    rights::Reporter,
    shared::{DRAIN_RIGHTS, INSTALL, installed},
};

/// How a client secret looks that must never be seen anywhere.
pub(crate) const CANARY: &str = "canary-of-a-client-secret";

/// One test's part of the shared cluster, and a Revoiceit of its own.
pub(crate) struct World {
    pub(crate) cluster: &'static Cluster,
    pub(crate) client: Client,
    /// Where the resource, its credentials and its target are.
    pub(crate) tenant: String,
    /// All namespaces that the operator serves; the first is `tenant`.
    pub(crate) tenants: Vec<String>,
    /// Where the operator's ledgers and its lease are.
    pub(crate) system: String,
    pub(crate) sandbox: Sandbox,
    pub(crate) scratch: Arc<Scratch>,
    /// How many operators were started.
    pub(crate) started: AtomicU32,
    /// Of the rights that they used.
    pub(crate) reporter: Option<Reporter>,
}

impl World {
    /// With access tokens that live for an hour.
    pub(crate) async fn new() -> Result<Self> {
        Self::with(|_| {}).await
    }

    /// With a Revoiceit that behaves as its switches say.
    pub(crate) async fn with(switch: impl FnOnce(&mut Switches)) -> Result<Self> {
        Self::of_tenants(1, switch).await
    }

    /// With so many namespaces that one operator serves.
    pub(crate) async fn of_tenants(tenants: usize, switch: impl FnOnce(&mut Switches)) -> Result<Self> {
        Self::installed(installed().await?, tenants, switch).await
    }

    /// On a cluster of the test's own.
    pub(crate) async fn on(cluster: &'static Cluster, switch: impl FnOnce(&mut Switches)) -> Result<Self> {
        Self::installed(cluster, 1, switch).await
    }

    /// On a node, with nothing installed yet, and a Revoiceit that pods reach.
    pub(crate) async fn of_pods(node: &'static Node, switch: impl FnOnce(&mut Switches)) -> Result<Self> {
        let config = Config { api: node.address(), ..Config::default() };
        let world = Self::made(node.cluster(), 1, config, switch).await?;
        world.create_namespaces(std::slice::from_ref(&world.system)).await?;
        Ok(world)
    }

    async fn installed(cluster: &'static Cluster, tenants: usize, switch: impl FnOnce(&mut Switches)) -> Result<Self> {
        let world = Self::made(cluster, tenants, Config::default(), switch).await?;
        world.install().await?;
        Ok(world)
    }

    async fn made(cluster: &'static Cluster, tenants: usize, config: Config, switch: impl FnOnce(&mut Switches)) -> Result<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let (tenant, system) = (format!("tenant-{number}"), format!("system-{number}"));
        let others = (1..tenants).map(|other| format!("{tenant}-{other}"));
        let tenants: Vec<String> = std::iter::once(tenant.clone()).chain(others).collect();
        let mut switches = Switches::default();
        switch(&mut switches);
        let sandbox = servers::beside(Sandbox::start(config.switches(switches))).await?;
        let scratch = Arc::new(Scratch::new("world")?);
        let (client, reporter) = (cluster.client().await?, Reporter::of(cluster, &system).await?);
        let world = Self { cluster, client, tenant, tenants, system, sandbox, scratch, started: AtomicU32::new(0), reporter };
        world.create_namespaces(&world.tenants).await?;
        Ok(world)
    }

    async fn create_namespaces(&self, names: &[String]) -> Result<()> {
        let items: Vec<Value> =
            names.iter().map(|name| json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } })).collect();
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": items });
        self.cluster.kubectl_stdin(["create", "-f", "-"], &list.to_string()).await.map(drop)
    }

    /// The operator's namespace, account and roles.
    pub(crate) async fn install(&self) -> Result<()> {
        self.cluster.kubectl(["create", "namespace", &self.system]).await?;
        self.apply(&self.rights()?).await
    }

    /// The service accounts and their roles as `deploy/` has them, for the operator's namespace of this test.
    fn rights(&self) -> Result<Value> {
        let mut items = Vec::new();
        for file in [INSTALL, DRAIN_RIGHTS] {
            let text = std::fs::read_to_string(file)?.replace("revoiceit-system", &self.system);
            for document in text.split("\n---\n") {
                let mut object: Value = serde_saphyr::from_str(document).with_context(|| format!("a document in {file}"))?;
                let kind = object["kind"].as_str().unwrap_or_default().to_owned();
                let name = object["metadata"]["name"].as_str().unwrap_or_default();
                let is_operators = name.starts_with(names::OPERATOR);
                // What belongs to the whole cluster is there once for each test.
                let own = json!(format!("{name}-{}", self.system));
                match kind.as_str() {
                    "ServiceAccount" => {}
                    "Role" | "RoleBinding" => object["metadata"]["namespace"] = json!(self.system),
                    "ClusterRole" if is_operators => object["metadata"]["name"] = own,
                    "ClusterRoleBinding" if is_operators => {
                        object["metadata"]["name"] = own.clone();
                        object["roleRef"]["name"] = own;
                    }
                    _ => continue,
                }
                items.push(object);
            }
        }
        Ok(json!({ "apiVersion": "v1", "kind": "List", "items": items }))
    }

    /// A client at Revoiceit, and a Secret with its pair.
    pub(crate) async fn credentials(&self, name: &str) -> Result<()> {
        let (id, secret) = (format!("{name}-of-{}", self.tenant), format!("{CANARY}-{name}-{}", self.tenant));
        self.sandbox.add_client(&id, &secret);
        self.pair(name, &id, &secret).await
    }

    /// A Secret with this pair, known to Revoiceit or not.
    pub(crate) async fn pair(&self, name: &str, id: &str, secret: &str) -> Result<()> {
        self.apply(&json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": { "name": name, "namespace": self.tenant },
            "stringData": { "clientId": id, "clientSecret": secret },
        }))
        .await
    }

    /// A resource called `speech`, with credentials `client` and target `token`, and what else the spec is to say.
    pub(crate) async fn speech(&self, spec: Value) -> Result<()> {
        self.resource("speech", "client", "token", spec).await
    }

    /// A resource, and what else its spec is to say.
    pub(crate) async fn resource(&self, name: &str, credentials: &str, target: &str, spec: Value) -> Result<()> {
        let mut whole = json!({ "credentialsSecretRef": { "name": credentials }, "target": { "name": target } });
        merge(&mut whole, spec);
        self.apply(&json!({
            "apiVersion": "revoiceit.com/v1", "kind": names::KIND,
            "metadata": { "name": name, "namespace": self.tenant },
            "spec": whole,
        }))
        .await
    }

    /// So many resources at once, `speech-0`, …, each with a client `client-0` and a target `token-0` of its own.
    pub(crate) async fn crowd(&self, resources: usize) -> Result<()> {
        let mut items = Vec::new();
        for number in 0..resources {
            let (id, secret) = (format!("client-{number}-of-{}", self.tenant), format!("{CANARY}-{number}-{}", self.tenant));
            self.sandbox.add_client(&id, &secret);
            let meta = |name: &str| json!({ "name": format!("{name}-{number}"), "namespace": self.tenant });
            items.push(json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": meta("client"),
                "stringData": { "clientId": id, "clientSecret": secret },
            }));
            items.push(json!({
                "apiVersion": "revoiceit.com/v1", "kind": names::KIND, "metadata": meta("speech"),
                "spec": { "credentialsSecretRef": { "name": format!("client-{number}") }, "target": { "name": format!("token-{number}") } },
            }));
        }
        self.apply(&json!({ "apiVersion": "v1", "kind": "List", "items": items })).await
    }

    /// As users do it.
    pub(crate) async fn apply(&self, object: &Value) -> Result<()> {
        self.cluster.kubectl_stdin(["apply", "-f", "-"], &object.to_string()).await.map(drop)
    }

    /// `kubectl` in the tenant's namespace.
    pub(crate) async fn kubectl(&self, args: &[&str]) -> Result<String> {
        self.cluster.kubectl(["-n", self.tenant.as_str()].iter().chain(args)).await
    }

    /// `kubectl wait` until the resource is ready.
    pub(crate) async fn ready(&self, name: &str) -> Result<()> {
        self.kubectl(&["wait", "--for=condition=Ready", "--timeout=60s", &format!("rvc/{name}")]).await.map(drop)
    }

    /// Waits until the Ready condition gives this reason.
    pub(crate) async fn reason(&self, name: &str, reason: &str) -> Result<RevoiceitCredential> {
        eventually(&format!("{name} to say {reason}"), GENEROUS, async || {
            let resource = self.get(name).await?;
            let said = ready_reason(&resource).map(str::to_owned);
            let generation = resource.status.as_ref().and_then(|status| status.observed_generation);
            ensure!(said.as_deref() == Some(reason) && generation == resource.metadata.generation, "it says {said:?}");
            Ok::<_, anyhow::Error>(resource)
        })
        .await
    }

    /// The resource as it is.
    pub(crate) async fn get(&self, name: &str) -> Result<RevoiceitCredential> {
        Ok(self.resources().get(name).await?)
    }

    pub(crate) fn resources(&self) -> Api<RevoiceitCredential> {
        Api::namespaced(self.client.clone(), &self.tenant)
    }

    /// The Secrets of the tenant.
    pub(crate) fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &self.tenant)
    }

    /// The value of `accessToken` in a target.
    pub(crate) async fn token(&self, target: &str) -> Result<String> {
        self.value(target, "accessToken").await
    }

    /// One value in a Secret of the tenant.
    pub(crate) async fn value(&self, name: &str, key: &str) -> Result<String> {
        let secret = self.secrets().get(name).await?;
        let value = secret.data.unwrap_or_default().remove(key).with_context(|| format!("no key {key} in {name}"))?;
        Ok(String::from_utf8(value.0)?)
    }

    /// Waits until the target holds another token than this one.
    pub(crate) async fn another_token(&self, target: &str, than: &str) -> Result<String> {
        eventually("another token in the target", GENEROUS, async || {
            let token = self.token(target).await?;
            ensure!(token != than, "the same one");
            Ok::<_, anyhow::Error>(token)
        })
        .await
    }

    /// Merges into a Secret of the tenant or the resource's object, as another client than the operator.
    pub(crate) async fn patch_secret(&self, name: &str, patch: &Value) -> Result<Secret> {
        Ok(self.secrets().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?)
    }

    /// Merges into the resource.
    pub(crate) async fn patch(&self, name: &str, patch: &Value) -> Result<RevoiceitCredential> {
        Ok(self.resources().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?)
    }

    /// A Secret that is none of the operator's business.
    pub(crate) async fn foreign_secret(&self, name: &str) -> Result<()> {
        let secret = serde_json::from_value(json!({ "metadata": { "name": name }, "data": { "theirs": "dGhlaXJz" } }))?;
        self.secrets().create(&PostParams::default(), &secret).await?;
        Ok(())
    }

    /// The names of the ledgers.
    pub(crate) async fn ledgers(&self) -> Result<Vec<String>> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.system);
        let listed = secrets.list(&ListParams::default().fields(&format!("type={}", names::LEDGER_TYPE))).await?;
        Ok(listed.items.iter().map(ResourceExt::name_any).collect())
    }

    /// Waits until nothing is left of the resource: object, ledger, target.
    pub(crate) async fn gone(&self, name: &str, target: &str) -> Result<()> {
        eventually(&format!("{name} to be gone"), GENEROUS, async || {
            ensure!(self.resources().get_opt(name).await?.is_none(), "it is there");
            ensure!(self.ledgers().await?.is_empty(), "its ledger is there");
            ensure!(self.secrets().get_opt(target).await?.is_none(), "its target is there");
            Ok::<_, anyhow::Error>(())
        })
        .await
    }

    /// What the operators of this test asked the API server since the mark.
    pub(crate) async fn asked_since(&self, mark: AuditMark) -> Result<Vec<AuditEvent>> {
        self.asked_by(names::OPERATOR, mark).await
    }

    /// What a service account in the operator's namespace asked since the mark.
    pub(crate) async fn asked_by(&self, account: &str, mark: AuditMark) -> Result<Vec<AuditEvent>> {
        let user = format!("system:serviceaccount:{}:{account}", self.system);
        Ok(self.cluster.audit_since(mark).await?.into_iter().filter(|event| event.user == user).collect())
    }

    /// What they wrote since the mark, in the order in which they did: no dry runs, no Events, no Lease.
    pub(crate) async fn written_since(&self, mark: AuditMark) -> Result<Vec<AuditEvent>> {
        let asked = self.asked_since(mark).await?;
        Ok(asked.into_iter().filter(|event| event.is_write() && event.resource != "events" && event.resource != "leases").collect())
    }

    /// The same in words.
    pub(crate) async fn writes_since(&self, mark: AuditMark) -> Result<Vec<String>> {
        Ok(self.written_since(mark).await?.iter().map(ToString::to_string).collect())
    }

    /// Waits until the queue of the leader has nothing to do: no request but those for the lease, and the sweeps' lists, for a second.
    pub(crate) async fn at_rest(&self) -> Result<()> {
        eventually("the operators to be at rest", GENEROUS, async || {
            let mark = self.cluster.audit_mark().await?;
            tokio::time::sleep(Duration::from_secs(1)).await;
            let asked = self.asked_since(mark).await?;
            let is_sweep = |event: &AuditEvent| event.verb == "list" && event.namespace == self.system;
            let busy = asked.iter().find(|event| event.resource != "leases" && event.verb != "watch" && !is_sweep(event));
            ensure!(busy.is_none(), "one asked for {}", busy.map(ToString::to_string).unwrap_or_default());
            Ok::<_, anyhow::Error>(())
        })
        .await
    }
}

/// The reason of the Ready condition.
pub(crate) fn ready_reason(resource: &RevoiceitCredential) -> Option<&str> {
    let conditions = &resource.status.as_ref()?.conditions;
    conditions.iter().find(|condition| condition.type_ == "Ready").map(|condition| condition.reason.as_str())
}

/// `type=status` of each condition, sorted.
pub(crate) fn conditions(resource: &RevoiceitCredential) -> Vec<String> {
    let conditions = resource.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let mut words: Vec<String> = conditions.iter().map(|condition| format!("{}={}", condition.type_, condition.status)).collect();
    words.sort();
    words
}

/// Access tokens that say of themselves that they live for 12 seconds: less than the flag of the operator allows to be told.
pub(crate) fn short_lived(switches: &mut Switches) {
    (switches.token_form, switches.lifetime) = (TokenForm::Jwt, Duration::from_secs(12));
}

/// Puts one JSON into another; objects become one.
pub(crate) fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}
