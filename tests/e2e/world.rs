//! What one test has for itself: a tenant's namespace, an operator's namespace with the roles from `deploy/`, a Revoiceit, and operators.

use std::{
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{core::v1::Secret, events::v1::Event};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use revoiceit_harness::{
    cluster::{AuditEvent, AuditMark, Cluster},
    process::{Process, Signal},
    scratch::Scratch,
    wait::{GENEROUS, eventually},
};
use revoiceit_operator::api::{RevoiceitCredential, names};
use revoiceit_sandbox::{Config, Sandbox, Switches, TokenForm};
use serde_json::{Value, json};

use crate::shared::{DRAIN_RIGHTS, INSTALL, installed};

/// How a client secret looks that must never be seen anywhere.
pub(crate) const CANARY: &str = "canary-of-a-client-secret";

/// One test's part of the shared cluster, and a Revoiceit of its own.
pub(crate) struct World {
    pub(crate) cluster: &'static Cluster,
    pub(crate) client: Client,
    /// Where the resource, its credentials and its target are.
    pub(crate) tenant: String,
    /// Where the operator's ledgers and its lease are.
    pub(crate) system: String,
    pub(crate) sandbox: Sandbox,
    scratch: Arc<Scratch>,
    started: AtomicU32,
}

/// A running operator, under its own service account.
pub(crate) struct Operator {
    pub(crate) process: Process,
    admin_url: String,
}

impl World {
    /// With access tokens that live for an hour.
    pub(crate) async fn new() -> Result<Self> {
        Self::with(|_| {}).await
    }

    /// With a Revoiceit that behaves as its switches say.
    pub(crate) async fn with(switch: impl FnOnce(&mut Switches)) -> Result<Self> {
        Self::on(installed().await?, switch).await
    }

    /// On a cluster of the test's own.
    pub(crate) async fn on(cluster: &'static Cluster, switch: impl FnOnce(&mut Switches)) -> Result<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let (tenant, system) = (format!("tenant-{number}"), format!("system-{number}"));
        let mut switches = Switches::default();
        switch(&mut switches);
        let sandbox = Sandbox::start(Config::default().switches(switches)).await?;
        let scratch = Arc::new(Scratch::new("world")?);
        let world = Self { cluster, client: cluster.client().await?, tenant, system, sandbox, scratch, started: AtomicU32::new(0) };
        world.cluster.kubectl(["create", "namespace", &world.tenant]).await?;
        world.install().await?;
        Ok(world)
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

    /// Starts an operator and waits until it is ready. It is named `operator-0`, `operator-1`, … in its logs.
    pub(crate) async fn operator(&self, flags: &[&str]) -> Result<Operator> {
        self.operator_through(&self.cluster.server(), flags).await
    }

    /// The same, reaching the API server through a proxy at this URL.
    pub(crate) async fn operator_through(&self, server: &str, flags: &[&str]) -> Result<Operator> {
        let kubeconfig = self.cluster.kubeconfig_for_service_account(&self.system, names::OPERATOR, server).await?;
        let operator = Operator::listening(self.spawn(&kubeconfig, flags)?).await?;
        eventually("the operator to be ready", GENEROUS, async || operator.get("/readyz").await).await?;
        Ok(operator)
    }

    /// Starts an operator and waits for nothing. What the test gives no flag for is set by the environment, which flags go before.
    pub(crate) fn spawn(&self, kubeconfig: &Path, flags: &[&str]) -> Result<Process> {
        self.spawn_verb("run", kubeconfig, flags)
    }

    /// The same with another verb.
    pub(crate) fn spawn_verb(&self, verb: &str, kubeconfig: &Path, flags: &[&str]) -> Result<Process> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_revoiceit-operator"));
        command
            .args([verb, "--kubeconfig"])
            .arg(kubeconfig)
            .args(flags)
            .env("REVOICEIT_API_URL", self.sandbox.api_url())
            .env("REVOICEIT_ALLOW_INSECURE_API", "true")
            .env("REVOICEIT_OPERATOR_NAMESPACE", &self.system)
            .env("REVOICEIT_NAMESPACE", &self.tenant)
            .env("REVOICEIT_LISTEN", "127.0.0.1:0")
            .env("REVOICEIT_LEASE_DURATION", "5s")
            .env("REVOICEIT_LOG_LEVEL", "trace")
            .env("RUST_LOG", "trace");
        let name = format!("operator-{}", self.started.fetch_add(1, Ordering::Relaxed));
        Process::spawn(&name, &mut command, &self.scratch)
    }

    /// The policy file that shortens the protocol's times, as a flag's value.
    pub(crate) fn policy(&self, policy: &Value) -> Result<String> {
        let file = self.scratch.write("policy.json", policy.to_string())?;
        Ok(file.display().to_string())
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

    /// No secret was ever told: not in logs at the level of `trace`, events, status, metrics; no refresh token where pods mount; and what pods
    /// mount is theirs. To be called at the end of each test, with the operators that still run.
    pub(crate) async fn no_secret_is_told(&self, operators: &[&Operator]) -> Result<()> {
        let truth = self.sandbox.truth();
        let mut secrets = vec![CANARY.to_owned()];
        let mut refresh = Vec::new();
        for line in &truth.lines {
            refresh.extend(line.refresh.iter().map(|token| token.token.clone()));
            secrets.extend(line.access.iter().map(|token| token.token.clone()));
        }
        secrets.extend(refresh.iter().cloned());
        let mut places = Vec::new();
        for number in 0..self.started.load(Ordering::Relaxed) {
            for stream in ["out", "err"] {
                let file = self.scratch.path().join(format!("operator-{number}.{stream}"));
                places.push((file.display().to_string(), std::fs::read_to_string(&file)?));
            }
        }
        for operator in operators {
            places.push(("/metrics".to_owned(), operator.get("/metrics").await?));
        }
        for namespace in [&self.tenant, &self.system] {
            let events: Api<Event> = Api::namespaced(self.client.clone(), namespace);
            places.push((format!("events in {namespace}"), serde_json::to_string(&events.list(&ListParams::default()).await?.items)?));
        }
        let resources = self.resources().list(&ListParams::default()).await?.items;
        places.push(("resources".to_owned(), serde_json::to_string(&resources)?));
        for (place, text) in &places {
            let told = secrets.iter().find(|secret| is_told(text, secret));
            ensure!(told.is_none(), "{place} tells a secret");
        }
        for secret in self.secrets().list(&ListParams::default()).await?.items {
            let is_ours = secret.annotations().contains_key(names::RESOURCE_ANNOTATION);
            for (key, value) in secret.data.unwrap_or_default() {
                let text = String::from_utf8_lossy(&value.0).into_owned();
                let told = refresh.iter().any(|token| text.contains(token.as_str()));
                ensure!(!told, "key {key} of a Secret that pods mount holds a refresh token");
                ensure!(!is_ours || !text.contains(CANARY), "key {key} of a target holds what only Revoiceit should be sent");
            }
        }
        Ok(())
    }
}

/// The text itself, or as it stands in the data of a Secret.
fn is_told(text: &str, secret: &str) -> bool {
    use base64::{Engine, prelude::BASE64_STANDARD};
    // Base64 of a part depends on where it begins: three ways, each without its ends.
    let encoded = (0..3).map(|shift| {
        let padded = [vec![b' '; shift], secret.as_bytes().to_vec()].concat();
        let text = BASE64_STANDARD.encode(padded);
        text[4..text.len() - 4].to_owned()
    });
    text.contains(secret) || encoded.into_iter().any(|encoded| encoded.len() > 8 && text.contains(&encoded))
}

fn find_address(line: &Value) -> Option<&str> {
    line["fields"]["address"].as_str().or_else(|| line["address"].as_str())
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

impl Operator {
    /// When its admin server listens.
    pub(crate) async fn listening(process: Process) -> Result<Self> {
        let admin_url = eventually("the operator to listen", GENEROUS, async || {
            ensure!(process.is_running(), "it ended{}", process.tail());
            let log = process.stderr()?;
            let line = log.lines().find(|line| line.contains("admin server listens")).context("not yet")?;
            let line: Value = serde_json::from_str(line)?;
            Ok::<_, anyhow::Error>(format!("http://{}", find_address(&line).context("no address in the line")?))
        })
        .await?;
        Ok(Self { process, admin_url })
    }

    /// The body of an answer of the admin server; an error unless it is a 200.
    pub(crate) async fn get(&self, path: &str) -> Result<String> {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build()?;
        let answer = client.get(format!("{}{path}", self.admin_url)).send().await?;
        let status = answer.status();
        let body = answer.text().await?;
        ensure!(status.is_success(), "{status}: {body}");
        Ok(body)
    }

    /// SIGTERM, and how it ended.
    pub(crate) async fn stop(&self) -> Result<()> {
        let status = self.process.stop(GENEROUS).await?;
        ensure!(status.success(), "it ended with {status}{}", self.process.tail());
        Ok(())
    }

    /// SIGKILL.
    pub(crate) fn kill(&self) {
        self.process.kill();
    }

    /// Waits until its metrics have this line.
    pub(crate) async fn shows(&self, line: &str) -> Result<()> {
        eventually(&format!("/metrics to have {line}"), GENEROUS, async || {
            let (name, _) = line.split_once(' ').context("a line is a name and a value")?;
            let metrics = self.get("/metrics").await?;
            let shown: Vec<&str> = metrics.lines().filter(|shown| shown.starts_with(name)).collect();
            ensure!(shown.contains(&line), "it has {shown:?}");
            Ok::<_, anyhow::Error>(())
        })
        .await
    }

    /// Whether its metrics say that it leads.
    pub(crate) async fn leads(&self) -> Result<bool> {
        Ok(self.get("/metrics").await?.lines().any(|line| line == "revoiceit_leader 1"))
    }

    /// Stops it in its tracks.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }
}
