//! A node with real pods: a kubelet and containerd, and the control plane that they belong to.
//!
//! It needs root and some Debian packages, which `make deps` installs; [`missing`] says what is not there. One node runs on a
//! machine at a time, since it takes fixed addresses; a second one waits.

mod images;
mod memory;
mod names;
mod supervisor;

use std::ffi::OsStr;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::core::v1::Node as Object;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::api::ListParams;
use tokio::process::Command;
use tokio::time::timeout;

pub use self::images::{busybox, operator, sandbox};
use self::names::NameServer;
use self::supervisor::Supervisor;
use crate::cluster::{Cluster, NODE, Options, SERVICE_ADDRESS};
use crate::process::Process;
use crate::scratch::Scratch;
use crate::wait::{GENEROUS, eventually};

/// Set to `required`, tests that need a node fail where there can be none, in place of being skipped.
pub const REQUIRED: &str = "REVOICEIT_NODE";

/// The host name by which pods find what a test serves at [`Node::address`].
pub const HOST: &str = "revoiceit.test";

/// An import of an image or a signal for a container takes less than a second.
const CTR_TIMEOUT: Duration = Duration::from_secs(60);

/// What a node needs, and the Debian package with it.
const NEEDED: &[(&str, &str)] = &[
    ("containerd", "containerd"),
    ("ctr", "containerd"),
    ("runc", "runc"),
    ("/usr/lib/cni/bridge", "containernetworking-plugins"),
    ("ip", "iproute2"),
    ("iptables", "iptables"),
    ("conntrack", "conntrack"),
    ("buildah", "buildah"),
    ("busybox", "busybox-static"),
    ("unshare", "util-linux"),
];

/// Why there can be no node here: in words, or `None` if there can.
pub fn missing() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("this is not root".to_owned());
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let is_there = |what: &str| Path::new(what).is_absolute() && Path::new(what).exists() || in_folders(&folders, what);
    let mut packages: Vec<&str> = NEEDED.iter().filter(|(what, _)| !is_there(what)).map(|(_, package)| *package).collect();
    packages.dedup();
    (!packages.is_empty()).then(|| format!("missing: {} (make deps installs them)", packages.join(" ")))
}

fn in_folders(folders: &OsStr, program: &str) -> bool {
    std::env::split_paths(folders).any(|folder| folder.join(program).is_file())
}

/// A control plane with a node on which pods run.
///
/// It ends as [`Cluster`] does: when dropped, and when this process ends in whatever way.
#[derive(Debug)]
pub struct Node {
    // Dropped in this order: the API server's address goes with the node.
    cluster: Cluster,
    supervisor: Supervisor,
    names: NameServer,
    scratch: Arc<Scratch>,
}

impl Node {
    /// Starts a node and waits until pods can run on it, with the image of [`busybox`] there. Takes about ten seconds.
    ///
    /// Errors hold the end of the log of what failed.
    pub async fn start() -> Result<Self> {
        let cluster_program = tokio::task::spawn_blocking(crate::cluster::binary).await.context("looking for the cluster program")??;
        let busybox = tokio::task::spawn_blocking(busybox).await.context("making an image")??;
        let scratch = Arc::new(Scratch::new("node")?);
        let mut supervisor = Supervisor::start(&cluster_program, &scratch).await?;
        let names = NameServer::start()?;
        names.learn(HOST, SERVICE_ADDRESS.ip())?;
        let cluster = Cluster::start(Options { with_node: true, ..Options::default() }).await?;
        supervisor.start_kubelet(&cluster.kubelet_kubeconfig()?)?;
        let node = Self { cluster, supervisor, names, scratch };
        node.import(&busybox).await?;
        node.wait_until_ready().await.with_context(|| format!("the node did not become ready{}", node.supervisor.tail()))?;
        Ok(node)
    }

    /// The control plane.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// An address of this machine that pods reach, with a free port to listen on; [`HOST`] is its name.
    pub fn address(&self) -> SocketAddr {
        (SERVICE_ADDRESS.ip(), 0).into()
    }

    /// Lets pods find a Service of one pod, on the ports of that pod: there is no proxy here that would give it an address of its own.
    pub async fn serve_name(&self, namespace: &str, service: &str) -> Result<()> {
        let slices: Api<EndpointSlice> = Api::namespaced(self.cluster.client().await?, namespace);
        let of_service = ListParams::default().labels(&format!("kubernetes.io/service-name={service}"));
        let address = eventually(&format!("the Service {namespace}/{service} to have a pod that is ready"), GENEROUS, async || {
            let listed = slices.list(&of_service).await?;
            let endpoints = listed.items.into_iter().flat_map(|slice| slice.endpoints);
            let ready = endpoints.filter(|endpoint| endpoint.conditions.as_ref().is_some_and(|conditions| conditions.ready == Some(true)));
            let addresses: Vec<String> = ready.flat_map(|endpoint| endpoint.addresses).collect();
            let [address] = &addresses[..] else { bail!("its pods are {addresses:?}") };
            address.parse::<IpAddr>().with_context(|| address.clone())
        })
        .await?;
        self.names.learn(&format!("{service}.{namespace}.svc.cluster.local"), address)
    }

    /// Puts an image from an OCI archive where the kubelet finds it.
    pub async fn import(&self, archive: &Path) -> Result<()> {
        let file = archive.to_str().context("the archive's path")?;
        self.ctr(&["images", "import", "--no-unpack=false", file]).await.map(drop)
    }

    /// Kills a container with SIGKILL: `id` as a pod's status has it, `containerd://…`.
    pub async fn kill_container(&self, id: &str) -> Result<()> {
        let id = id.strip_prefix("containerd://").with_context(|| format!("{id} is no container of containerd"))?;
        self.ctr(&["tasks", "kill", "--signal", "SIGKILL", id]).await.map(drop)
    }

    /// Fills the memory that a container may have, until the kernel kills it. The process that fills it goes too, at the latest with
    /// what is returned.
    pub fn fill_memory(&self, id: &str) -> Result<Process> {
        let id = id.strip_prefix("containerd://").with_context(|| format!("{id} is no container of containerd"))?;
        memory::fill(id, &self.scratch)
    }

    /// containerd's own tool.
    async fn ctr(&self, args: &[&str]) -> Result<String> {
        let mut command = Command::new("ctr");
        command.arg("--address").arg(self.supervisor.socket()).args(["--namespace", "k8s.io"]).args(args);
        command.stdin(Stdio::null()).kill_on_drop(true);
        let output = timeout(CTR_TIMEOUT, command.output()).await.with_context(|| format!("ctr {args:?}: not done in time"))??;
        ensure!(output.status.success(), "ctr {args:?}: {}", String::from_utf8_lossy(&output.stderr).trim_end());
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    async fn wait_until_ready(&self) -> Result<()> {
        let nodes: Api<Object> = Api::all(self.cluster.client().await?);
        eventually("the node to be ready", GENEROUS, async || {
            let node = nodes.get(NODE).await?;
            let conditions = node.status.and_then(|status| status.conditions).unwrap_or_default();
            let ready = conditions.into_iter().find(|condition| condition.type_ == "Ready").context("it says nothing yet")?;
            ensure!(ready.status == "True", "{}", ready.message.unwrap_or_default());
            anyhow::Ok(())
        })
        .await
    }

    /// The folder with the logs of containerd, the kubelet and the pods.
    pub fn scratch(&self) -> &Arc<Scratch> {
        &self.scratch
    }
}

/// The address that [`HOST`] leads to.
pub fn host_address() -> IpAddr {
    SERVICE_ADDRESS.ip()
}
