//! The script that the node runs under, and its end.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::scratch::Scratch;
use crate::wait::eventually;

/// Another node may be at work on this machine, for as long as its tests take.
const TURN: Duration = Duration::from_secs(15 * 60);

/// The namespaces that everything of the node is in. When `unshare` is killed, so is all that runs in them.
const UNSHARE: &[&str] = &["--mount", "--propagation", "private", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"];

/// `node.sh`, which holds containerd and the kubelet, and takes the node away at the end of its standard input. Only this
/// process has the other end of that, so it comes also when this process is killed.
#[derive(Debug)]
pub(super) struct Supervisor {
    child: Mutex<Child>,
    /// `None` only while dropping.
    orders: Option<ChildStdin>,
    folder: PathBuf,
}

impl Supervisor {
    /// Waits for its turn, then starts containerd and waits until that answers.
    pub(super) async fn start(cluster_program: &Path, scratch: &Scratch) -> Result<Self> {
        let folder = scratch.path().to_path_buf();
        let output = |name: &str| std::fs::File::create(folder.join(name)).with_context(|| format!("making the file {name}"));
        let mut child = Command::new("unshare")
            .args(UNSHARE)
            .args(["bash", "-c", include_str!("node.sh"), "revoiceit-node"])
            .arg(cluster_program)
            .arg(&folder)
            .stdin(Stdio::piped())
            .stdout(output("node.out")?)
            .stderr(output("node.err")?)
            // A Ctrl-C on the terminal is for the test; the node ends with its input.
            .process_group(0)
            .spawn()
            .context("starting unshare")?;
        let orders = child.stdin.take();
        let supervisor = Self { child: Mutex::new(child), orders, folder };
        let ready = eventually("containerd to answer", TURN, async || {
            if let Some(status) = supervisor.ended() {
                return Ok(Err(anyhow::anyhow!("the node's script has ended: {status}")));
            }
            let said = std::fs::read_to_string(supervisor.folder.join("node.out")).unwrap_or_default();
            if said.contains("ready") { Ok(Ok(())) } else { Err("not yet") }
        })
        .await;
        ready.flatten().with_context(|| format!("the node did not start{}", supervisor.tail()))?;
        Ok(supervisor)
    }

    /// Starts the kubelet, which runs from then on.
    pub(super) fn start_kubelet(&mut self, kubeconfig: &Path) -> Result<()> {
        let Some(orders) = &mut self.orders else { bail!("the node is ending") };
        writeln!(orders, "kubelet {}", kubeconfig.display()).context("telling the node's script to start the kubelet")
    }

    /// Where containerd listens.
    pub(super) fn socket(&self) -> PathBuf {
        self.folder.join("containerd.sock")
    }

    /// The last lines of what the node's parts have written, for error messages.
    pub(super) fn tail(&self) -> String {
        const LINES: usize = 12;
        let mut text = String::new();
        for name in ["node.err", "containerd.err", "kubelet.err"] {
            let log = std::fs::read(self.folder.join(name)).unwrap_or_default();
            let log = String::from_utf8_lossy(&log);
            let lines: Vec<&str> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(LINES)..];
            if !last.is_empty() {
                text.push_str(&format!("\n{name}:\n{}", last.join("\n")));
            }
        }
        text
    }

    fn ended(&self) -> Option<std::process::ExitStatus> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner).try_wait().ok().flatten()
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.orders = None;
        let _ = self.child.get_mut().unwrap_or_else(PoisonError::into_inner).wait();
    }
}
