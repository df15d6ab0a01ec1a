//! How the Kubernetes API is reached: which cluster, as whom, and how long to wait.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use hyper_timeout::TimeoutConnector;
use hyper_util::{client::legacy, client::legacy::connect::HttpConnector, rt::TokioExecutor};
use kube::{
    Client, Config,
    client::{Body, ClientBuilder, ConfigExt},
    config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError},
};
use tower::{BoxError, ServiceBuilder};

use super::{
    describe::{describe, describe_kubeconfig},
    proxy::proxy_from_env,
};

/// What a client is for. It decides the timeouts; each purpose has a client, and a connection pool, of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The Lease: a call that hangs has to leave time for another.
    Lease,
    /// Reads and writes of single objects.
    Calls,
    /// Watches, which are silent for up to a minute and ended by the server before 300 s.
    Watches,
}

impl Purpose {
    fn read_timeout(self) -> Duration {
        Duration::from_secs(match self {
            Self::Lease => 5,
            Self::Calls => 30,
            Self::Watches => 300,
        })
    }

    fn connect_timeout(self) -> Duration {
        Duration::from_secs(match self {
            Self::Lease => 5,
            Self::Calls | Self::Watches => 10,
        })
    }

    fn write_timeout(self) -> Duration {
        Duration::from_secs(match self {
            Self::Lease => 5,
            Self::Calls | Self::Watches => 30,
        })
    }
}

/// Why there is no connection to a cluster, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The file of `--kubeconfig`, or the context of it.
    #[error("cannot use the kubeconfig {} ({why}): check --kubeconfig and --context", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong, without what is in the file.
        why: String,
    },
    /// The kubeconfig of the environment, or the context of it.
    #[error("cannot use the kubeconfig of KUBECONFIG or ~/.kube/config ({why}): check it and --context, or pass --kubeconfig FILE")]
    Environment {
        /// What is wrong, without what is in the file.
        why: String,
    },
    /// In a pod, without a usable service account.
    #[error(
        "this is a pod (KUBERNETES_SERVICE_HOST is set) but its service account cannot be used: \
         the pod needs automountServiceAccountToken: true; to reach another cluster pass --kubeconfig FILE"
    )]
    ServiceAccount(#[source] InClusterError),
    /// A proxy that is not supported. Its address may hold a password and is not shown.
    #[error("the proxy for the Kubernetes API, from HTTPS_PROXY or proxy-url in the kubeconfig, must be an http:// or https:// URL")]
    Proxy,
    /// kube reads all of `NO_PROXY` when there is a proxy, and refuses what Go's programs skip.
    #[error("cannot read NO_PROXY ({why}): take out empty entries and those that are no address, range or host name")]
    NoProxy {
        /// What is wrong with it.
        why: String,
    },
    /// Certificates or credentials that cannot be used.
    #[error("cannot set up the connection to the Kubernetes API: {0}")]
    Setup(String),
}

/// A cluster that was found, and as whom to talk to it.
#[derive(Clone)]
pub struct Cluster {
    config: Config,
}

impl Cluster {
    /// For the operator: `--kubeconfig` and `--context` if given, else the pod's service account, else the kubeconfig of
    /// the environment.
    ///
    /// `Config::infer` would prefer a kubeconfig over the service account, and obey `KUBE_RS_DEBUG_*`, with which whoever
    /// sets a variable redirects all calls.
    pub async fn for_operator(kubeconfig: Option<&Path>, context: Option<&str>) -> Result<Self, ClusterError> {
        if kubeconfig.is_some() || context.is_some() {
            return Self::from_kubeconfig(kubeconfig, context).await;
        }
        match Config::incluster() {
            // Never through a proxy, whatever the environment says.
            Ok(config) => Ok(Self { config }),
            Err(InClusterError::ReadEnvironmentVariable(_)) => Self::from_kubeconfig(None, None).await,
            Err(error) => Err(ClusterError::ServiceAccount(error)),
        }
    }

    /// For a person's command line: the kubeconfig, as kubectl does, and in a pod without one the service account.
    pub async fn for_person(kubeconfig: Option<&Path>, context: Option<&str>) -> Result<Self, ClusterError> {
        let found = Self::from_kubeconfig(kubeconfig, context).await;
        if found.is_ok() || kubeconfig.is_some() || context.is_some() {
            return found;
        }
        Config::incluster().map(|config| Self { config }).or(found)
    }

    async fn from_kubeconfig(path: Option<&Path>, context: Option<&str>) -> Result<Self, ClusterError> {
        let unusable = |error: KubeconfigError| {
            let why = describe_kubeconfig(&error);
            match (error, path) {
                (KubeconfigError::ParseNoProxy(error), _) => ClusterError::NoProxy { why: error.to_string() },
                (_, Some(path)) => ClusterError::File { path: path.to_owned(), why },
                (_, None) => ClusterError::Environment { why },
            }
        };
        let kubeconfig = path.map_or_else(Kubeconfig::read, Kubeconfig::read_from).map_err(unusable)?;
        let stated_proxy = stated_proxy(&kubeconfig, context);
        let options = KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(unusable)?;

        let proxy = stated_proxy.or_else(|| {
            let url = &config.cluster_url;
            let host = url.host().filter(|_| url.scheme_str() == Some("https"))?;
            proxy_from_env(host, url.port_u16().unwrap_or(443), |name| std::env::var(name).ok())
        });
        config.proxy_url = proxy.map(|proxy| proxy.parse().map_err(|_| ClusterError::Proxy)).transpose()?;
        Ok(Self { config })
    }

    /// A client for this purpose. Call it within a tokio runtime, after [`install_tls_provider`].
    pub fn client(&self, purpose: Purpose) -> Result<Client, ClusterError> {
        let config = self.config_for(purpose)?;
        let client = if config.proxy_url.is_some() { Client::try_from(config) } else { direct(&config) };
        client.map_err(|error| ClusterError::Setup(describe(&error)))
    }

    fn config_for(&self, purpose: Purpose) -> Result<Config, ClusterError> {
        let mut config = self.config.clone();
        if config.proxy_url.as_ref().is_some_and(|proxy| !matches!(proxy.scheme_str(), Some("http" | "https"))) {
            return Err(ClusterError::Proxy);
        }
        // kube would repeat a POST that was answered 503 or 504, up to 15 times and for minutes.
        config.default_retry = false;
        config.connect_timeout = Some(purpose.connect_timeout());
        config.read_timeout = Some(purpose.read_timeout());
        config.write_timeout = Some(purpose.write_timeout());
        // Otherwise the time that a pooled connection lay idle counts, and a request on it may have a second to live.
        config.reset_reader_on_write = true;
        Ok(config)
    }

    /// The namespace of the context, or of the pod.
    pub fn default_namespace(&self) -> &str {
        &self.config.default_namespace
    }

    /// Where the API server is, for a log line.
    pub fn url(&self) -> String {
        self.config.cluster_url.to_string()
    }
}

/// What kube itself builds, but with TCP_NODELAY. Without it the first request on each connection waits for 40 ms, until the server has
/// acknowledged the end of the handshake: whoever starts, or takes over, does little else than first requests.
fn direct(config: &Config) -> kube::Result<Client> {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    let mut connector = TimeoutConnector::new(config.rustls_https_connector_with_connector(connector)?);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    connector.set_write_timeout(config.write_timeout);
    connector.set_reset_reader_on_write(config.reset_reader_on_write);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(legacy::Client::builder(TokioExecutor::new()).build::<_, Body>(connector));
    Ok(ClientBuilder::new(service, config.default_namespace.clone()).build())
}

/// `proxy-url` of the cluster that the context names. It holds whatever `NO_PROXY` says, as for kubectl.
fn stated_proxy(kubeconfig: &Kubeconfig, context: Option<&str>) -> Option<String> {
    let name = context.or(kubeconfig.current_context.as_deref())?;
    let context = kubeconfig.contexts.iter().find(|named| named.name == name)?.context.as_ref()?;
    let cluster = kubeconfig.clusters.iter().find(|named| named.name == context.cluster)?.cluster.as_ref()?;
    cluster.proxy_url.clone().filter(|proxy| !proxy.is_empty())
}

/// Makes ring the TLS provider of the process. First thing in `main`, and in each test that makes an HTTPS client: reqwest
/// panics without one. Doing it again does nothing.
pub fn install_tls_provider() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"
apiVersion: v1
kind: Config
current-context: plain
contexts:
- {name: plain, context: {cluster: plain, user: u, namespace: team-a}}
- {name: proxied, context: {cluster: proxied, user: u}}
clusters:
- {name: plain, cluster: {server: "http://127.0.0.1:1"}}
- {name: proxied, cluster: {server: "http://127.0.0.1:1", proxy-url: "socks5://user:hunter2@proxy"}}
users:
- {name: u, user: {token: hunter2}}
"#;

    struct TempFile(PathBuf);

    impl TempFile {
        fn with(name: &str, text: &str) -> Self {
            let path = std::env::temp_dir().join(format!("revoiceit-client-{}-{name}", std::process::id()));
            std::fs::write(&path, text).expect("a file in the temporary directory");
            Self(path)
        }
    }

    impl Drop for TempFile {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    #[tokio::test]
    async fn timeouts_follow_from_the_purpose_and_nothing_is_retried() {
        install_tls_provider();
        let file = TempFile::with("timeouts", CONFIG);
        let cluster = Cluster::for_operator(Some(&file.0), None).await.expect("a good kubeconfig");
        assert_eq!((cluster.default_namespace(), cluster.url().as_str()), ("team-a", "http://127.0.0.1:1/"));
        for (purpose, seconds) in [(Purpose::Lease, 5), (Purpose::Calls, 30), (Purpose::Watches, 300)] {
            let config = cluster.config_for(purpose).expect("no proxy");
            assert_eq!(config.read_timeout, Some(Duration::from_secs(seconds)));
            assert!(config.connect_timeout.is_some() && config.write_timeout.is_some());
            assert!(!config.default_retry && config.reset_reader_on_write);
        }
        assert!(cluster.client(Purpose::Calls).is_ok());
    }

    #[tokio::test]
    async fn what_is_wrong_is_told_with_what_to_do_and_without_secrets() {
        let good = TempFile::with("good", CONFIG);
        let bad = TempFile::with("bad", "users: hunter2\n");
        let missing = Path::new("/nowhere/kubeconfig");
        let error = |path, context| async move {
            let cluster = Cluster::for_operator(Some(path), context).await;
            cluster.and_then(|cluster| cluster.client(Purpose::Calls)).map(|_| ()).expect_err("cannot work").to_string()
        };
        assert_eq!(
            error(missing, None).await,
            "cannot use the kubeconfig /nowhere/kubeconfig (failed to read kubeconfig from '\"/nowhere/kubeconfig\"': \
             No such file or directory (os error 2)): check --kubeconfig and --context"
        );
        let text = error(&bad.0, None).await;
        assert!(text.contains("not a kubeconfig: mistake at line 1, column 8") && !text.contains("hunter2"), "{text}");
        assert!(error(&good.0, Some("no-such")).await.contains("failed to load current context: no-such"));
        assert_eq!(
            error(&good.0, Some("proxied")).await,
            "the proxy for the Kubernetes API, from HTTPS_PROXY or proxy-url in the kubeconfig, must be an http:// or https:// URL"
        );
    }
}
