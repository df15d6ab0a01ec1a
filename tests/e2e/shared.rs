//! One control plane for all tests that change nothing that another one sees: each has a namespace of its own.

use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Result;
use revoiceit_harness::cluster::{Cluster, Options};
pub(crate) use revoiceit_harness::install::install;
use tokio::sync::OnceCell;

/// What people install, from the folder that the tests are built in.
pub(crate) const INSTALL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/install.yaml");
/// The service account that a drain runs as, and its roles.
pub(crate) const DRAIN_RIGHTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/drain/rbac.yaml");
/// The CRD alone.
pub(crate) const CRD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/crds/revoiceitcredentials.revoiceit.com.yaml");

/// The shared control plane, with everything installed that `deploy/install.yaml` has.
pub(crate) async fn installed() -> Result<&'static Cluster> {
    static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
    CLUSTER
        .get_or_try_init(async || {
            let cluster = Cluster::start(Options::default()).await?;
            install(&cluster, INSTALL).await?;
            Ok(cluster)
        })
        .await
}

/// A new namespace.
pub(crate) async fn namespace(cluster: &Cluster) -> Result<String> {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let name = format!("team-{}", MADE.fetch_add(1, Ordering::Relaxed));
    cluster.kubectl(["create", "namespace", &name]).await?;
    Ok(name)
}
