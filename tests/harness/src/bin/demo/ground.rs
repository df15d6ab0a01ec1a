//! The Kubernetes that the demo plays in: one of its own, or the user's. What it puts there it takes away again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, anyhow, bail, ensure};
use revoiceit_harness::cluster::{self, Cluster, Options};
use revoiceit_harness::scratch::Scratch;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::asked_to_stop;
use crate::screen::{Screen, seconds};
use crate::shell::{Shell, find};

/// Where the resource is.
pub(crate) const NAMESPACE: &str = "revoiceit-demo";
/// Where the operator's lease and its ledger are; `tests/harness/demo/kustomization.yaml` says so too.
pub(crate) const SYSTEM: &str = "revoiceit-demo-system";
/// What is installed.
const INSTALL: &str = "tests/harness/demo";

/// A Kubernetes, and a shell whose `kubectl` talks to it.
#[derive(Debug)]
pub(crate) struct Ground {
    pub(crate) shell: Shell,
    /// `None`: the user's.
    cluster: Option<Cluster>,
    /// Something of ours may be in it.
    is_touched: AtomicBool,
}

impl Ground {
    /// The user's where `KUBECONFIG` is set, else one of its own.
    pub(crate) async fn find(screen: &Screen, scratch: &Arc<Scratch>) -> Result<Self> {
        if std::env::var_os("KUBECONFIG").is_some_and(|value| !value.is_empty()) {
            Self::of_user(screen, scratch).await
        } else {
            Self::own(screen, scratch).await
        }
    }

    async fn own(screen: &Screen, scratch: &Arc<Scratch>) -> Result<Self> {
        screen.say("Kubernetes: a real one. etcd, API server and controllers, as processes on this machine.");
        let began = Instant::now();
        let cluster = screen.wait(|| "Kubernetes is starting".to_owned(), Cluster::start(Options::default())).await?;
        let shell = Shell::new(scratch, Some(&cluster::binary()?), Some(cluster.admin_kubeconfig()))?;
        let ground = Self { shell, cluster: Some(cluster), is_touched: AtomicBool::new(false) };
        screen.good(format_args!("Kubernetes {} is ready ({})", ground.version().await?, seconds(began.elapsed())));
        Ok(ground)
    }

    async fn of_user(screen: &Screen, scratch: &Arc<Scratch>) -> Result<Self> {
        let built = match find("kubectl") {
            Some(_) => None,
            None => {
                screen.say("There is no kubectl on this machine, so the one of the test cluster is taken.");
                Some(tokio::task::spawn_blocking(cluster::binary).await??)
            }
        };
        let shell = Shell::new(scratch, built.as_deref(), None)?;
        let ground = Self { shell, cluster: None, is_touched: AtomicBool::new(false) };
        let view = ground.kubeconfig().await?;
        let (context, server) = (&view["current-context"], &view["clusters"][0]["cluster"]["server"]);
        let (context, server) = (context.as_str().unwrap_or("-"), server.as_str().context("KUBECONFIG names no cluster")?);
        screen.say(&format!("Kubernetes: yours, as KUBECONFIG says: context {context}, {server}"));
        let version = screen.wait(|| "asking for its version".to_owned(), ground.version()).await?;
        screen.good(format_args!("Kubernetes {version} answers"));
        screen.wait(|| "looking whether anything is in the way".to_owned(), ground.refuse_if_occupied()).await?;
        screen.good("nothing in it is in the way");
        let question =
            "The demo installs the CRD, roles and two namespaces there, and takes all of it out again. Enter goes on, Ctrl-C stops.";
        screen.confirm(question).await;
        Ok(ground)
    }

    /// Whether it is the demo's own.
    pub(crate) fn is_own(&self) -> bool {
        self.cluster.is_some()
    }

    async fn version(&self) -> Result<String> {
        let text = self.shell.run("kubectl version -o json").await.context("the cluster does not answer")?;
        // What kubectl thinks of the difference between the versions comes after it.
        let version = serde_json::Deserializer::from_str(&text).into_iter::<Value>().next().context("kubectl said nothing")??;
        Ok(version["serverVersion"]["gitVersion"].as_str().context("the server does not say its version")?.to_owned())
    }

    /// Nothing that the demo makes may be there before, since it deletes all that it makes.
    async fn refuse_if_occupied(&self) -> Result<()> {
        let get = async |what: &str| self.shell.run(&format!("kubectl get {what} --ignore-not-found -o name")).await;
        // Only where the demo's own namespace is there: to delete the CRD of somebody who uses it would be a disaster.
        let hint = if get(&format!("namespace {SYSTEM}")).await?.is_empty() { String::new() } else { leftovers() };
        ensure!(
            get("crd revoiceitcredentials.revoiceit.com").await?.is_empty(),
            "The CRD revoiceitcredentials.revoiceit.com is in this cluster already, so somebody uses the operator here, \
             and the demo would get in the way. Nothing was changed. \
             Take another cluster, or none: without KUBECONFIG the demo starts one of its own.{hint}",
        );
        let found = [get(&format!("-k {INSTALL}")).await?, get(&format!("namespace {NAMESPACE}")).await?].concat();
        ensure!(
            found.is_empty(),
            "The demo deletes all that it makes, and these are in this cluster already. Nothing was changed.\n{found}{hint}",
        );
        Ok(())
    }

    /// CRD, roles and namespaces.
    pub(crate) async fn install(&self, screen: &Screen) -> Result<()> {
        self.is_touched.store(true, Ordering::Relaxed);
        self.shell.show(screen, &format!("kubectl apply -k {INSTALL}")).await?;
        self.shell.run("kubectl wait --for=condition=Established --timeout=60s crd/revoiceitcredentials.revoiceit.com").await?;
        self.shell.show(screen, &format!("kubectl create namespace {NAMESPACE}")).await?;
        Ok(())
    }

    /// A kubeconfig for the operator's service account: it has the rights of `deploy/` and no others.
    pub(crate) async fn operators_kubeconfig(&self) -> Result<String> {
        let token = self.shell.run(&format!("kubectl create token revoiceit-operator -n {SYSTEM} --duration=1h")).await?;
        let view = self.kubeconfig().await?;
        let mut cluster = view["clusters"][0].clone();
        cluster["name"] = "demo".into();
        Ok(json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [cluster],
            "users": [{ "name": "demo", "user": { "token": token.trim() } }],
            "contexts": [{ "name": "demo", "context": { "cluster": "demo", "user": "demo" } }],
            "current-context": "demo",
        })
        .to_string())
    }

    /// The part of the kubeconfig that is in use. It holds credentials.
    async fn kubeconfig(&self) -> Result<Value> {
        let view = self.shell.run("kubectl config view --minify --flatten --raw -o json").await;
        let text = view.context("KUBECONFIG names no cluster that can be used")?;
        serde_json::from_str(&text).context("what kubectl says of its configuration is no JSON")
    }

    /// Takes everything away. The operator must not run any more: it would put its finalizer back.
    pub(crate) async fn clear(&self, screen: &Screen) -> Result<()> {
        if !self.is_touched.load(Ordering::Relaxed) || self.cluster.is_some() {
            return Ok(());
        }
        let began = Instant::now();
        let removing = async {
            tokio::select! {
                removed = self.remove() => removed,
                stopped = asked_to_stop() => stopped.and(Err(anyhow!("interrupted once more"))),
            }
        };
        let removed = screen.wait(|| format!("taking everything out of your cluster ({})", seconds(began.elapsed())), removing).await;
        if let Err(error) = removed {
            bail!("Not all could be taken out of your cluster: {error:#}{}", leftovers());
        }
        screen.good(format_args!("your cluster is as it was ({})", seconds(began.elapsed())));
        Ok(())
    }

    async fn remove(&self) -> Result<()> {
        // Left only where the demo was interrupted. The token it stands for ends with the demo's Revoiceit.
        let patch = format!("kubectl patch rvc/speech -n {NAMESPACE} --type merge -p '{{\"metadata\":{{\"finalizers\":null}}}}' || true");
        self.shell.run(&patch).await?;
        self.shell.run(&format!("kubectl delete namespace {NAMESPACE} --ignore-not-found --timeout=60s")).await?;
        self.shell.run(&format!("kubectl delete -k {INSTALL} --ignore-not-found --timeout=60s")).await?;
        Ok(())
    }
}

/// What to type where the demo could not tidy up.
fn leftovers() -> String {
    format!(
        "\n\nIf all of it was left by a demo that was killed, this removes it, in this order:\n\
         kubectl patch rvc/speech -n {NAMESPACE} --type merge -p '{{\"metadata\":{{\"finalizers\":null}}}}'\n\
         kubectl delete namespace {NAMESPACE}\n\
         kubectl delete -k {INSTALL}"
    )
}
