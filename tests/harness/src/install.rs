//! What people apply to a cluster, applied to this one.

use anyhow::Result;

use crate::cluster::Cluster;

/// Applies a file as an administrator would, takes warnings for errors, and waits until the CRD is served.
pub async fn install(cluster: &Cluster, file: &str) -> Result<()> {
    cluster.kubectl(["apply", "--server-side", "--warnings-as-errors", "-f", file]).await?;
    cluster.kubectl(["wait", "--for=condition=Established", "crd/revoiceitcredentials.revoiceit.com"]).await?;
    Ok(())
}
