//! Ways into a cluster: kubeconfigs, clients, and kubectl.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::header::{HeaderValue, USER_AGENT};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::Cluster;

/// The user agent of the clients made here, for telling them apart in the audit log.
pub const HARNESS: &str = "revoiceit-harness";

/// How long a token for a service account is good: longer than any test.
const TOKEN_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// kubectl has limits of its own, `--timeout` and `--request-timeout`; this one ends a test that forgot them.
const KUBECTL_TIMEOUT: Duration = Duration::from_secs(5 * 60);

impl Cluster {
    /// The API server's URL. A proxy in front of it has another, which the functions here take in its place.
    pub fn server(&self) -> String {
        format!("https://{}", self.server_address())
    }

    /// Where the API server listens.
    pub fn server_address(&self) -> SocketAddr {
        self.setup.address
    }

    /// The certificates, as PEM, with which the API server's own can be verified. It is made out
    /// for 127.0.0.1, so a proxy that passes TLS through listens there too.
    pub fn certificate(&self) -> Result<Vec<u8>> {
        let path = self.setup.certificate();
        std::fs::read(&path).with_context(|| format!("reading the API server's certificate {}", path.display()))
    }

    /// A kubeconfig file of one who may do everything.
    pub fn admin_kubeconfig(&self) -> &Path {
        &self.setup.admin_kubeconfig
    }

    /// The same, with another way to the API server: `server` is the URL of a proxy in front of it, `https://` if it passes
    /// TLS through, `http://` if it ends TLS.
    pub fn admin_kubeconfig_through(&self, server: &str) -> Result<PathBuf> {
        self.write_kubeconfig("admin", server, &self.setup.admin_token)
    }

    /// A kubeconfig file of a service account, with a token for 24 hours: a process that uses it has the account's rights and
    /// no others. `server` is [`server()`](Self::server) or the URL of a proxy in front of it.
    ///
    /// The account must exist. The `default` account of a new namespace comes a moment after it.
    pub async fn kubeconfig_for_service_account(&self, namespace: &str, name: &str, server: &str) -> Result<PathBuf> {
        let seconds = i64::try_from(TOKEN_LIFETIME.as_secs()).context("the token's lifetime")?;
        let wanted = TokenRequest {
            spec: TokenRequestSpec { expiration_seconds: Some(seconds), ..TokenRequestSpec::default() },
            ..TokenRequest::default()
        };
        let answer = Api::<ServiceAccount>::namespaced(self.client().await?, namespace)
            .create_token_request(name, &PostParams::default(), &wanted)
            .await
            .with_context(|| format!("asking for a token of service account {namespace}/{name}"))?;
        let token = answer.status.with_context(|| format!("no token of service account {namespace}/{name} in the answer"))?.token;
        self.write_kubeconfig(&format!("{namespace}-{name}"), server, &token)
    }

    /// A client with all rights, of user agent [`HARNESS`].
    ///
    /// A new one each time, with connections of its own, since a client ends with the tokio runtime it was made in, and each
    /// test has one of its own. A test makes one and clones it.
    pub async fn client(&self) -> Result<Client> {
        let kubeconfig = kubeconfig(&self.server(), &self.certificate()?, &self.setup.admin_token);
        client(serde_json::from_value(kubeconfig).context("the admin's kubeconfig")?).await
    }

    /// Runs the cluster's own kubectl with all rights, and returns what it printed to standard output.
    ///
    /// An exit status other than 0 is an error that holds what it printed to standard error.
    pub async fn kubectl<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Result<String> {
        self.kubectl_as(self.admin_kubeconfig(), args, "").await
    }

    /// The same with something on standard input: `kubectl_stdin(["apply", "-f", "-"], manifest)`.
    pub async fn kubectl_stdin<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>, stdin: &str) -> Result<String> {
        self.kubectl_as(self.admin_kubeconfig(), args, stdin).await
    }

    /// The same with somebody else's kubeconfig.
    pub async fn kubectl_as<A: AsRef<OsStr>>(&self, kubeconfig: &Path, args: impl IntoIterator<Item = A>, stdin: &str) -> Result<String> {
        let mut command = self.setup.kubectl(kubeconfig);
        command
            .args(args)
            // Its cache of what the server offers, and no settings of the person who runs the tests.
            .env("HOME", self.scratch.path())
            .env("KUBECTL_KUBERC", "false")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let said = command.get_args().skip(3).map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ");
        let mut child = tokio::process::Command::from(command).kill_on_drop(true).spawn().context("starting kubectl")?;
        let mut input = child.stdin.take().context("kubectl's standard input")?;
        let feed = async {
            // It need not read what it is given: it may find its arguments wrong. Its exit status tells.
            let _ = input.write_all(stdin.as_bytes()).await;
            drop(input);
        };
        let (output, ()) = timeout(KUBECTL_TIMEOUT, async { tokio::join!(child.wait_with_output(), feed) })
            .await
            .with_context(|| format!("kubectl {said}: not done after {KUBECTL_TIMEOUT:?}"))?;
        let output = output.with_context(|| format!("running kubectl {said}"))?;
        ensure!(output.status.success(), "kubectl {said}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim_end());
        String::from_utf8(output.stdout).with_context(|| format!("the output of kubectl {said}"))
    }

    /// A kubeconfig file of the only node's kubelet.
    pub(crate) fn kubelet_kubeconfig(&self) -> Result<PathBuf> {
        self.write_kubeconfig("kubelet", &self.server(), &self.setup.node_token)
    }

    pub(super) fn write_admin_kubeconfig(&self) -> Result<()> {
        let kubeconfig = kubeconfig(&self.server(), &self.certificate()?, &self.setup.admin_token);
        std::fs::write(&self.setup.admin_kubeconfig, kubeconfig.to_string()).context("writing the admin's kubeconfig")
    }

    fn write_kubeconfig(&self, stem: &str, server: &str, token: &str) -> Result<PathBuf> {
        static WRITTEN: AtomicU32 = AtomicU32::new(0);
        let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
        let kubeconfig = kubeconfig(server, &self.certificate()?, token);
        self.scratch.write(&format!("{stem}-{number}.kubeconfig"), kubeconfig.to_string())
    }
}

/// A client for a kubeconfig file, of user agent [`HARNESS`]. It belongs to the tokio runtime it was made in.
pub async fn client_for(kubeconfig: &Path) -> Result<Client> {
    client(Kubeconfig::read_from(kubeconfig).with_context(|| format!("reading {}", kubeconfig.display()))?).await
}

async fn client(kubeconfig: Kubeconfig) -> Result<Client> {
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.context("reading a kubeconfig")?;
    // A POST that is silently repeated would be counted twice, and a frozen server would hang the test.
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.read_timeout = Some(CALL_TIMEOUT);
    config.write_timeout = Some(CALL_TIMEOUT);
    // Otherwise the time that a connection lay idle in the pool counts, and of the calls on one that lay there for nearly that long some fail.
    config.reset_reader_on_write = true;
    // Whatever proxy the machine uses for the world outside, the cluster is on this machine.
    config.proxy_url = None;
    config.headers.push((USER_AGENT, HeaderValue::from_static(HARNESS)));
    Client::try_from(config).context("making a Kubernetes client")
}

/// A kubeconfig; JSON is YAML too.
fn kubeconfig(server: &str, certificate: &[u8], token: &str) -> Value {
    let mut cluster = json!({ "server": server });
    if server.starts_with("https:") {
        cluster["certificate-authority-data"] = BASE64_STANDARD.encode(certificate).into();
    }
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "test", "cluster": cluster }],
        "users": [{ "name": "test", "user": { "token": token } }],
        "contexts": [{ "name": "test", "context": { "cluster": "test", "user": "test" } }],
        "current-context": "test",
    })
}
