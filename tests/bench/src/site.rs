//! What a measurement runs on: a control plane, a Revoiceit, and the operator as a process under its own service account.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use anyhow::{Context, Result, ensure};
use kube::Client;
use revoiceit_harness::{
    cluster::{Cluster, Options},
    install::install,
    operator::Operator,
    process::Process,
    scratch::Scratch,
    wait::{GENEROUS, eventually},
};
use revoiceit_sandbox::{Config, Sandbox, Switches};

/// Where the resources, their credentials and their targets are.
pub(crate) const TENANT: &str = "bench";
/// Where ledgers and lease are, as `deploy/install.yaml` has it.
pub(crate) const SYSTEM: &str = "revoiceit-system";
/// The operator's service account there.
pub(crate) const ACCOUNT: &str = "revoiceit-operator";

/// What people install.
const INSTALL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/install.yaml");

/// The gate wide open, so that nothing but the work takes time.
pub(crate) const WIDE: [&str; 8] = ["--api-qps", "10000", "--api-burst", "10000", "--api-in-flight", "256", "--concurrency", "32"];

/// What the API server writes down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Log {
    /// Who asked for what. It costs the server time.
    Audit,
    /// Nothing.
    None,
}

/// One control plane with nothing on it but what is installed.
pub(crate) struct Site {
    pub(crate) cluster: Cluster,
    pub(crate) client: Client,
    pub(crate) sandbox: Sandbox,
    pub(crate) scratch: Arc<Scratch>,
    pub(crate) kubeconfig: PathBuf,
    program: PathBuf,
    started: AtomicU32,
}

impl Site {
    /// Starts it. `program` is the operator.
    pub(crate) async fn start(program: &Path, log: Log) -> Result<Self> {
        let options = Options { without_audit: log == Log::None, ..Options::default() };
        let cluster = Cluster::start(options).await?;
        install(&cluster, INSTALL).await?;
        cluster.kubectl(["create", "namespace", TENANT]).await?;
        // Any pair is good: a client for each resource is the sandbox's memory, and nothing that is measured.
        let switches = Switches { any_client: true, ..Switches::default() };
        let sandbox = Sandbox::start(Config::default().switches(switches)).await?;
        Ok(Self {
            client: cluster.client().await?,
            kubeconfig: cluster.kubeconfig_for_service_account(SYSTEM, ACCOUNT, &cluster.server()).await?,
            cluster,
            sandbox,
            scratch: Arc::new(Scratch::new("bench")?),
            program: program.to_owned(),
            started: AtomicU32::new(0),
        })
    }

    /// An operator that is ready and leads.
    pub(crate) async fn operator(&self, flags: &[&str]) -> Result<Operator> {
        let operator = self.ready(self.spawn(flags)?).await?;
        eventually("the operator to lead", GENEROUS, async || {
            ensure!(operator.leads().await?, "it does not");
            anyhow::Ok(())
        })
        .await?;
        Ok(operator)
    }

    /// When its caches are in sync.
    pub(crate) async fn ready(&self, process: Process) -> Result<Operator> {
        let operator = Operator::listening(process).await?;
        eventually("the operator to be ready", GENEROUS, async || operator.get("/readyz").await).await?;
        Ok(operator)
    }

    /// Starts an operator and waits for nothing. But for where things are it has the defaults of an installation.
    pub(crate) fn spawn(&self, flags: &[&str]) -> Result<Process> {
        self.spawn_by(Command::new(&self.program), flags)
    }

    /// The same by a command that becomes the operator when it has got its arguments.
    pub(crate) fn spawn_by(&self, mut command: Command, flags: &[&str]) -> Result<Process> {
        command
            .args(["run", "--kubeconfig"])
            .arg(&self.kubeconfig)
            .args(flags)
            .env("REVOICEIT_API_URL", self.sandbox.api_url())
            .env("REVOICEIT_ALLOW_INSECURE_API", "true")
            .env("REVOICEIT_OPERATOR_NAMESPACE", SYSTEM)
            .env("REVOICEIT_LISTEN", "127.0.0.1:0");
        let name = format!("operator-{}", self.started.fetch_add(1, Ordering::Relaxed));
        Process::spawn(&name, &mut command, &self.scratch)
    }

    /// The program that is measured.
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// How often the API server was asked for something since it was started, by the lines of its metric for which this holds.
    pub(crate) async fn requests(&self, is_it: impl Fn(&str) -> bool) -> Result<u64> {
        let request = http::Request::get("/metrics").body(Vec::new())?;
        let metrics = self.client.request_text(request).await.context("the API server's metrics")?;
        let counts = metrics.lines().filter(|line| line.starts_with("apiserver_request_total{") && is_it(line));
        Ok(counts.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum::<f64>() as u64)
    }
}

/// The value of a counter in what the operator exposes; 0 if it has none yet.
pub(crate) async fn counter(operator: &Operator, series: &str) -> Result<u64> {
    let metrics = operator.get("/metrics").await?;
    let value = metrics.lines().find_map(|line| line.strip_prefix(series)?.trim().parse::<f64>().ok());
    Ok(value.unwrap_or(0.0) as u64)
}
