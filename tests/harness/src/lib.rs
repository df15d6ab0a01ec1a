//! A real Kubernetes, with a node where there may be one, and what the end-to-end tests and the demo need around it.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use revoiceit_harness::cluster::{Cluster, Component, Options};
//!
//! let cluster = Cluster::start(Options::default()).await?;
//! cluster.kubectl(["create", "namespace", "team-a"]).await?;
//!
//! let mark = cluster.audit_mark().await?;
//! cluster.kubectl(["get", "secrets", "-n", "team-a"]).await?;
//! assert_eq!(cluster.audit_since(mark).await?.iter().filter(|e| e.resource == "secrets").count(), 1);
//!
//! cluster.freeze(Component::Etcd).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Nothing outlives a test: each process and each folder belongs to a [`Scratch`](scratch::Scratch), which cleans up when
//! it is dropped, when the test panics, and when the test's own process is killed.

pub mod cluster;
pub mod install;
pub mod node;
pub mod operator;
pub mod pages;
pub mod ports;
pub mod process;
pub mod proxy;
pub mod scratch;
mod scripts;
pub mod servers;
pub mod shell;
pub mod tools;
pub mod wait;

/// Installs the TLS provider of this process. Without one, every HTTP client panics at its first use.
///
/// May be called any number of times; the first one counts. [`cluster::Cluster::start`] calls it.
pub fn install_crypto_provider() {
    // An error says that there is one already, which is what was asked for.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
