//! A real Kubernetes control plane: etcd, API server and controllers as processes of their own.
//!
//! They are parts of one program, built from Kubernetes' own sources in `tests/cluster`; see [`binary()`].

mod access;
mod audit;
mod audit_log;
mod binary;
mod components;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;

pub use self::access::{HARNESS, client_for};
use self::audit::Audit;
pub use self::audit::{Access, AuditEvent, AuditMark};
pub use self::binary::{CLUSTER, binary};
pub use self::components::Component;
use self::components::Setup;
pub(crate) use self::components::{NODE, SERVICE_ADDRESS};
use crate::process::Process;
use crate::scratch::Scratch;
use crate::wait::{GENEROUS, eventually};

/// What can be different from one cluster to the next.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// How often old revisions are dropped; Kubernetes' default is five minutes. A watch that is resumed from a revision
    /// that is gone gets a 410.
    pub etcd_compaction_interval: Option<Duration>,
    /// With a scheduler, all controllers, and the API server at the address at which pods look for it. [`Node`](crate::node::Node)
    /// sets it; by itself it lacks that address.
    pub with_node: bool,
    /// Without the audit log, which costs the API server time: where time is measured and requests are not.
    pub without_audit: bool,
    /// Further flags of the API server, after those of the harness.
    pub api_server_flags: Vec<String>,
}

/// A running control plane. Any number of them run side by side.
///
/// Dropping it kills its processes and removes its folder; [`Scratch`] says what else does. All methods take `&self`, and
/// nothing in it belongs to a tokio runtime, so that all tests of a program can share one in a `static`.
#[derive(Debug)]
pub struct Cluster {
    setup: Setup,
    processes: Mutex<BTreeMap<Component, Arc<Process>>>,
    audit: Audit,
    scratch: Arc<Scratch>,
}

impl Cluster {
    /// Starts a control plane and waits until it serves: the API server says that it is ready, and the namespace `default`
    /// has its service account. Takes about three seconds, and some minutes more when the program has to be built.
    ///
    /// Errors hold the end of the log of the component that failed.
    pub async fn start(options: Options) -> Result<Self> {
        crate::install_crypto_provider();
        let with_node = options.with_node;
        let binary = tokio::task::spawn_blocking(binary).await.context("looking for the cluster program")??;
        let scratch = Arc::new(Scratch::new("cluster")?);
        let setup = Setup::new(binary, options, &scratch)?;
        let audit = Audit::new(&setup.audit_log);
        let cluster = Self { setup, processes: Mutex::default(), audit, scratch };

        // The API server waits for etcd, but has enough to do until then.
        cluster.spawn(Component::Etcd)?;
        cluster.spawn(Component::ApiServer)?;
        cluster.wait_until_ready(Component::ApiServer).await?;
        cluster.write_admin_kubeconfig()?;
        cluster.spawn(Component::Controllers)?;
        cluster.wait_until_ready(Component::Controllers).await?;
        if with_node {
            cluster.spawn(Component::Scheduler)?;
        }
        Ok(cluster)
    }

    /// The folder with the logs, kubeconfigs and data of this cluster; [`Scratch::keep`] keeps it.
    pub fn scratch(&self) -> &Arc<Scratch> {
        &self.scratch
    }

    /// Where the audit log is. [`audit_since`](Self::audit_since) reads it.
    pub fn audit_log(&self) -> &Path {
        &self.setup.audit_log
    }

    /// The process of a component, the last one if it was started again.
    pub fn process(&self, component: Component) -> Result<Arc<Process>> {
        self.processes().get(&component).cloned().with_context(|| format!("{component} was never started"))
    }

    /// Stops a component in its tracks; requests to it hang. Returns when it stands still.
    pub async fn freeze(&self, component: Component) -> Result<()> {
        self.process(component)?.freeze().await
    }

    /// Lets a frozen component go on.
    pub fn thaw(&self, component: Component) -> Result<()> {
        self.process(component)?.thaw()
    }

    /// Kills a component with SIGKILL; requests to it are refused. Returns when it is gone.
    pub fn kill(&self, component: Component) -> Result<()> {
        self.process(component)?.kill();
        if component == Component::ApiServer {
            self.audit.server_died()?;
        }
        Ok(())
    }

    /// Starts a component on the same port and data, after killing it if it still runs, and waits until it is ready.
    ///
    /// The API server may take a second or two to notice that etcd is there again: [`ready`](Self::ready) waits for that.
    pub async fn restart(&self, component: Component) -> Result<()> {
        self.kill(component)?;
        self.spawn(component)?;
        self.wait_until_ready(component).await
    }

    /// Waits until the API server says that it is ready, etcd included.
    pub async fn ready(&self) -> Result<()> {
        self.wait_until_ready(Component::ApiServer).await
    }

    fn spawn(&self, component: Component) -> Result<()> {
        let process = Process::spawn(&component.to_string(), &mut self.setup.command(component), &self.scratch)?;
        self.processes().insert(component, Arc::new(process));
        Ok(())
    }

    async fn wait_until_ready(&self, component: Component) -> Result<()> {
        let process = self.process(component)?;
        let what = format!("{component} to be ready");
        // An API server that starts reads all that there is: with a hundred thousand resources that takes a minute.
        let waited = eventually(&what, 4 * GENEROUS, async || {
            let seen = self.look(component).await;
            match process.ended() {
                Some(status) => Ok(Err(anyhow!("{component} has ended: {status}"))),
                None => seen.map(Ok),
            }
        })
        .await;
        waited.flatten().with_context(|| format!("{component} did not become ready{}", process.tail()))
    }

    /// Whether a component is ready; the error says what is amiss.
    async fn look(&self, component: Component) -> Result<()> {
        match component {
            Component::Etcd => {
                let url = format!("http://127.0.0.1:{}/health", self.setup.etcd_port);
                let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build()?;
                let answer = client.get(url).send().await?.text().await?;
                ensure!(answer.contains(r#""health":"true""#), "{answer}");
            }
            Component::ApiServer => {
                let request = http::Request::get("/readyz").body(Vec::new())?;
                let answer = self.client().await?.request_text(request).await?;
                ensure!(answer == "ok", "{answer}");
            }
            Component::Controllers => {
                Api::<ServiceAccount>::namespaced(self.client().await?, "default").get("default").await?;
            }
            // Nobody asks it anything; what it does not do, the pods tell.
            Component::Scheduler => {}
        }
        Ok(())
    }

    fn processes(&self) -> MutexGuard<'_, BTreeMap<Component, Arc<Process>>> {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Not left to the processes' own drop: somebody may hold on to one of them.
        for process in self.processes().values() {
            process.kill();
        }
    }
}
