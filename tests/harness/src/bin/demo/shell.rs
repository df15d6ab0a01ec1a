//! Runs the commands that one sees, exactly as one sees them.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use revoiceit_harness::scratch::Scratch;
use tokio::process::Command;
use tokio::time::timeout;

use crate::screen::Screen;

/// Far more than any command here takes.
const LIMIT: Duration = Duration::from_secs(120);

/// The folder that the commands are run in: the root of the repository.
pub(crate) const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// A shell with the demo's `kubectl` and its kubeconfig.
#[derive(Debug)]
pub(crate) struct Shell {
    /// Of the environment.
    variables: Vec<(&'static str, OsString)>,
    /// Those that earlier commands have set: each command has a shell of its own, and is to look as if all had the same.
    remembered: Mutex<BTreeMap<&'static str, String>>,
}

impl Shell {
    /// `kubectl` is a program whose first argument is to be "kubectl", or `None` for the one on the machine; `kubeconfig` is `None` for what
    /// the environment says.
    pub(crate) fn new(scratch: &Arc<Scratch>, kubectl: Option<&Path>, kubeconfig: Option<&Path>) -> Result<Self> {
        let mut variables = no_proxy();
        // What it learns about the cluster does not stay on the machine, and no one's settings change what is shown.
        variables.push(("KUBECACHEDIR", scratch.path().join("kubectl-cache").into()));
        variables.push(("KUBECTL_KUBERC", "false".into()));
        if let Some(kubeconfig) = kubeconfig {
            variables.push(("KUBECONFIG", kubeconfig.into()));
        }
        let folder = scratch.path().join("bin");
        std::fs::create_dir(&folder).context("making a folder for kubectl")?;
        // As a plugin of kubectl the operator's program has this name.
        symlink(beside("revoiceit-operator")?, folder.join("kubectl-revoiceit")).context("linking the plugin of kubectl")?;
        if let Some(program) = kubectl {
            let file = scratch.write("bin/kubectl", format!("#!/bin/sh\nexec '{}' kubectl \"$@\"\n", program.display()))?;
            std::fs::set_permissions(&file, PermissionsExt::from_mode(0o700)).context("making kubectl executable")?;
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = [folder].into_iter().chain(std::env::split_paths(&path));
        variables.push(("PATH", std::env::join_paths(folders).context("putting kubectl on the path")?));
        Ok(Self { variables, remembered: Mutex::default() })
    }

    /// Shows a command, runs it, and shows what it printed. It is an error if it fails.
    pub(crate) async fn show(&self, screen: &Screen, command: &str) -> Result<String> {
        screen.command(command);
        let text = self.run(command).await?;
        screen.output(&text);
        screen.read(&text).await;
        Ok(text)
    }

    /// The same for a command that is to fail.
    pub(crate) async fn show_failing(&self, screen: &Screen, command: &str) -> Result<()> {
        screen.command(command);
        let (succeeded, text) = self.output(command).await?;
        screen.output(&text);
        ensure!(!succeeded, "this was to fail: {command}");
        screen.read(&text).await;
        Ok(())
    }

    /// Runs a command and returns what it printed, both to standard output and to standard error.
    pub(crate) async fn run(&self, command: &str) -> Result<String> {
        let (succeeded, text) = self.output(command).await?;
        ensure!(succeeded, "{command}\n{}", text.trim_end());
        Ok(text)
    }

    /// From now on commands know a variable.
    pub(crate) fn remember(&self, name: &'static str, value: &str) {
        self.remembered().insert(name, value.to_owned());
    }

    fn remembered(&self) -> MutexGuard<'_, BTreeMap<&'static str, String>> {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it succeeded, and what it printed.
    pub(crate) async fn output(&self, command: &str) -> Result<(bool, String)> {
        let child = Command::new("sh")
            .args(["-c", &format!("exec 2>&1\n{command}")])
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .envs(self.remembered().iter())
            .current_dir(ROOT)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = timeout(LIMIT, child).await.with_context(|| format!("not done after {LIMIT:?}: {command}"))?.context("running sh")?;
        Ok((output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned()))
    }
}

/// A program that `make build` has put into the folder that this one is in.
pub(crate) fn beside(name: &str) -> Result<PathBuf> {
    let me = std::env::current_exe().context("finding this program")?;
    let program = me.with_file_name(name);
    ensure!(program.is_file(), "there is no {name} beside the demo: `make build` builds it");
    Ok(program)
}

/// Where a program is on the path.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// What makes programs leave a proxy out that the machine may have for the world outside: the demo's parts are all on this machine.
pub(crate) fn no_proxy() -> Vec<(&'static str, OsString)> {
    ["NO_PROXY", "no_proxy"]
        .map(|name| {
            let mut value = std::env::var_os(name).unwrap_or_default();
            if !value.is_empty() {
                value.push(OsStr::new(","));
            }
            value.push("127.0.0.1,localhost");
            (name, value)
        })
        .to_vec()
}
