//! The components and their command lines.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, anyhow};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::rand::{SystemRandom, generate};
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};

use super::Options;
use crate::ports;
use crate::scratch::Scratch;

/// What a control plane consists of, each a process of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Component {
    /// The database. Without it the API server answers hardly anything; what it has acknowledged survives its death.
    Etcd,
    /// The Kubernetes API.
    ApiServer,
    /// Garbage collector, namespaces, service accounts, aggregated roles, quotas; with a node all there are.
    Controllers,
    /// Gives pods a node. Only where there is one.
    Scheduler,
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Etcd => "etcd",
            Self::ApiServer => "kube-apiserver",
            Self::Controllers => "kube-controller-manager",
            Self::Scheduler => "kube-scheduler",
        })
    }
}

/// The controllers that the operator's promises depend on. Those that make pods are of no use without a node.
const CONTROLLERS: &[&str] = &[
    "garbage-collector-controller",
    "namespace-controller",
    "serviceaccount-controller",
    "serviceaccount-token-controller",
    "root-ca-certificate-publisher-controller",
    "clusterrole-aggregation-controller",
    "resourcequota-controller",
];

/// Where pods look for the API server: the first address of the range of Services. The node's script gives it to the machine.
pub(crate) const SERVICE_ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(10, 96, 0, 1)), 443);

/// The name of the only node.
pub(crate) const NODE: &str = "node";

/// Who asked what, one line when a request comes and one when it is answered. The server's own are left out, as are the
/// harness' questions whether it is ready.
const AUDIT_POLICY: &str = r#"
apiVersion: audit.k8s.io/v1
kind: Policy
rules:
- {level: None, users: ["system:apiserver"]}
- {level: None, nonResourceURLs: ["/readyz*", "/livez*", "/healthz*"]}
- {level: Metadata}
"#;

/// How a `SubjectPublicKeyInfo` (RFC 5480) begins that holds a point of the curve P-256; the point follows.
const P256_PUBLIC_KEY: &[u8] = b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00";

/// Everything that the components' command lines are made of. It does not change, so a component can be started again.
#[derive(Debug)]
pub(super) struct Setup {
    binary: PathBuf,
    options: Options,
    pub(super) etcd_port: u16,
    /// Where the API server listens.
    pub(super) address: SocketAddr,
    etcd_data: PathBuf,
    /// The API server makes its own certificate, here.
    certificates: PathBuf,
    signing_key: PathBuf,
    verifying_key: PathBuf,
    tokens: PathBuf,
    audit_policy: PathBuf,
    pub(super) audit_log: PathBuf,
    /// Written once the API server has made its certificate.
    pub(super) admin_kubeconfig: PathBuf,
    pub(super) admin_token: String,
    pub(super) node_token: String,
}

impl Setup {
    pub(super) fn new(binary: PathBuf, options: Options, scratch: &Scratch) -> Result<Self> {
        let (admin_token, node_token) = (random_token()?, random_token()?);
        let tokens = format!("{admin_token},admin,admin,\"system:masters\"\n{node_token},system:node:{NODE},node,\"system:nodes\"\n");
        let address = if options.with_node { SERVICE_ADDRESS } else { (Ipv4Addr::LOCALHOST, ports::free()?).into() };
        let (signing_key, verifying_key) = key_pair()?;
        Ok(Self {
            binary,
            options,
            etcd_port: ports::free()?,
            address,
            etcd_data: scratch.path().join("etcd"),
            certificates: scratch.path().join("certificates"),
            signing_key: scratch.write("service-account.key", signing_key)?,
            verifying_key: scratch.write("service-account.pub", verifying_key)?,
            tokens: scratch.write("tokens.csv", tokens)?,
            audit_policy: scratch.write("audit-policy.yaml", AUDIT_POLICY)?,
            audit_log: scratch.path().join("audit.log"),
            admin_kubeconfig: scratch.path().join("admin.kubeconfig"),
            admin_token,
            node_token,
        })
    }

    pub(super) fn certificate(&self) -> PathBuf {
        self.certificates.join("apiserver.crt")
    }

    pub(super) fn command(&self, component: Component) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg(component.to_string());
        match component {
            Component::Etcd => command.args(self.etcd()),
            // A fifth less work until it is ready, for some more memory; with very many objects not five times what they take.
            Component::ApiServer => {
                command.env("GOGC", "400").env("GOMEMLIMIT", "10GiB").args(self.api_server()).args(&self.options.api_server_flags)
            }
            Component::Controllers => command.args(self.controllers()),
            Component::Scheduler => command.args(self.scheduler()),
        };
        command
    }

    pub(super) fn kubectl(&self, kubeconfig: &Path) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg("kubectl").arg("--kubeconfig").arg(kubeconfig);
        command
    }

    fn etcd(&self) -> Vec<String> {
        let url = format!("http://127.0.0.1:{}", self.etcd_port);
        // It has no peers, so nobody needs to know the port on which it would talk to them.
        let peer = "http://127.0.0.1:0";
        vec![
            "--name=only".to_owned(),
            flag("data-dir", self.etcd_data.display()),
            flag("listen-client-urls", &url),
            flag("advertise-client-urls", &url),
            flag("listen-peer-urls", peer),
            flag("initial-advertise-peer-urls", peer),
            flag("initial-cluster", format_args!("only={peer}")),
            // The data need to outlive the process, not the machine.
            "--unsafe-no-fsync".to_owned(),
            // The most that etcd suggests: between two compactions, 100,000 resources write more than its default of 2 GiB.
            "--quota-backend-bytes=8589934592".to_owned(),
        ]
    }

    fn api_server(&self) -> Vec<String> {
        let mut flags = vec![
            flag("etcd-servers", format_args!("http://127.0.0.1:{}", self.etcd_port)),
            flag("secure-port", self.address.port()),
            flag("bind-address", self.address.ip()),
            flag("advertise-address", self.address.ip()),
            flag("endpoint-reconciler-type", "none"),
            flag("cert-dir", self.certificates.display()),
            flag("service-cluster-ip-range", "10.96.0.0/16"),
            flag("service-account-issuer", "https://kubernetes.default.svc"),
            flag("service-account-key-file", self.verifying_key.display()),
            flag("service-account-signing-key-file", self.signing_key.display()),
            flag("authorization-mode", if self.options.with_node { "Node,RBAC" } else { "RBAC" }),
            flag("token-auth-file", self.tokens.display()),
        ];
        if !self.options.without_audit {
            flags.extend([
                flag("audit-policy-file", self.audit_policy.display()),
                flag("audit-log-path", self.audit_log.display()),
                // A line is in the file before the request goes on; the count of requests relies on it.
                flag("audit-log-mode", "blocking"),
                // Megabytes. Never begin a new file: the count reads one. 0 means that only for newer versions.
                flag("audit-log-maxsize", 1_000_000),
            ]);
        }
        if self.options.with_node {
            flags.push(flag("enable-admission-plugins", "NodeRestriction"));
            // For the logs of pods.
            flags.push(flag("kubelet-preferred-address-types", "InternalIP"));
        }
        if let Some(interval) = self.options.etcd_compaction_interval {
            flags.push(flag("etcd-compaction-interval", format_args!("{}ms", interval.as_millis())));
        }
        flags
    }

    fn controllers(&self) -> Vec<String> {
        vec![
            flag("kubeconfig", self.admin_kubeconfig.display()),
            flag("controllers", if self.options.with_node { "*".to_owned() } else { CONTROLLERS.join(",") }),
            flag("service-account-private-key-file", self.signing_key.display()),
            flag("root-ca-file", self.certificate().display()),
            "--use-service-account-credentials=true".to_owned(),
            "--leader-elect=false".to_owned(),
            // Nobody asks it anything.
            flag("secure-port", 0),
        ]
    }

    fn scheduler(&self) -> Vec<String> {
        vec![flag("kubeconfig", self.admin_kubeconfig.display()), "--leader-elect=false".to_owned(), flag("secure-port", 0)]
    }
}

fn flag(name: &str, value: impl fmt::Display) -> String {
    format!("--{name}={value}")
}

fn random_token() -> Result<String> {
    let random: [u8; 16] = generate(&SystemRandom::new()).map_err(|_| anyhow!("the system has no random bits"))?.expose();
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The key that signs the service accounts' tokens, and the one that verifies them, as PEM.
fn key_pair() -> Result<(String, String)> {
    let failed = |_| anyhow!("making the key for service account tokens failed");
    let random = SystemRandom::new();
    let private = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).map_err(failed)?;
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, private.as_ref(), &random)
        .map_err(|error| anyhow!("reading the key for service account tokens: {error}"))?;
    let public = [P256_PUBLIC_KEY, pair.public_key().as_ref()].concat();
    Ok((pem("PRIVATE KEY", private.as_ref()), pem("PUBLIC KEY", &public)))
}

fn pem(label: &str, content: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", BASE64_STANDARD.encode(content))
}
