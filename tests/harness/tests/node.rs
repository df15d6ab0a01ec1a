//! The node against itself: pods run on it, find what a test serves, and nothing of it is left.

/// As in the end-to-end tests: `node::` is all that needs a node.
mod node {
    use std::io::Write;
    use std::process::Command;

    use anyhow::{Context, Result, ensure};
    use revoiceit_harness::node::{HOST, Node, REQUIRED, missing};
    use revoiceit_harness::wait::{GENEROUS, eventually};
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn a_pod_runs_finds_a_test_by_its_name_and_leaves_nothing() -> Result<()> {
        if let Some(missing) = missing() {
            ensure!(std::env::var_os(REQUIRED).is_none_or(|value| value != "required"), "{missing}");
            writeln!(std::io::stderr(), "skipped: a node for real pods, since {missing}")?;
            return Ok(());
        }
        let node = Node::start().await?;
        let listener = TcpListener::bind(node.address()).await?;
        let port = listener.local_addr()?.port();
        let script = format!("nc -w 5 {HOST} {port}; echo said $(cat /proc/1/cmdline | tr '\\0' ' ')");
        let cluster = node.cluster();
        eventually("the default service account", GENEROUS, async || cluster.kubectl(["get", "serviceaccount", "default"]).await).await?;
        let image = ["run", "pod", "--image=localhost/busybox:test", "--restart=Never", "--command", "--", "sh", "-c", &script];
        cluster.kubectl(image).await?;
        let (mut connection, _) = listener.accept().await.context("nobody came")?;
        tokio::io::AsyncWriteExt::write_all(&mut connection, b"hello\n").await?;
        drop(connection);
        cluster.kubectl(["wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/pod", "--timeout=60s"]).await?;
        let log = cluster.kubectl(["logs", "pod"]).await?;
        ensure!(log.starts_with("hello\nsaid sh "), "{log}");

        drop(node);
        let left = Command::new("sh").args(["-c", "ip -br address; find /sys/fs/cgroup -maxdepth 2 -name 'revoiceit*'"]).output()?;
        let left = String::from_utf8_lossy(&left.stdout).into_owned();
        ensure!(!left.contains("rvcnode0") && !left.contains("10.96.0.1") && !left.contains("revoiceit"), "{left}");
        Ok(())
    }
}
