//! Runs commands exactly as one sees them, on a page or on a screen.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;
use tokio::time::timeout;

use crate::scratch::Scratch;

/// Far more than any command here takes.
const LIMIT: Duration = Duration::from_secs(5 * 60);

/// What is meant by a name.
#[derive(Debug)]
pub enum Program {
    /// A command, to which what is typed behind the name is added.
    Command(String),
    /// A program that goes by the name that it is called by.
    Link(PathBuf),
}

/// A shell with programs and a kubeconfig of its own.
#[derive(Debug)]
pub struct Shell {
    folder: PathBuf,
    /// Of the environment.
    variables: Vec<(&'static str, OsString)>,
    /// Those that earlier commands have set: each command has a shell of its own, and is to look as if all had the same.
    remembered: Mutex<BTreeMap<&'static str, String>>,
}

impl Shell {
    /// Commands are run in `folder`. `programs` take the place of what the machine has under these names; `kubeconfig` is `None` for what the
    /// environment says.
    pub fn new(folder: &Path, scratch: &Arc<Scratch>, programs: &[(&str, Program)], kubeconfig: Option<&Path>) -> Result<Self> {
        let mut variables = no_proxy();
        // What it learns about the cluster does not stay on the machine, and no one's settings change what is shown.
        variables.push(("KUBECACHEDIR", scratch.path().join("kubectl-cache").into()));
        variables.push(("KUBECTL_KUBERC", "false".into()));
        variables.extend(["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"].map(|name| (name, scratch.path().join("helm").into())));
        if let Some(kubeconfig) = kubeconfig {
            variables.push(("KUBECONFIG", kubeconfig.into()));
        }
        let bin = scratch.path().join("bin");
        std::fs::create_dir(&bin).context("making a folder for programs")?;
        for (name, program) in programs {
            match program {
                Program::Command(command) => {
                    let file = scratch.write(&format!("bin/{name}"), format!("#!/bin/sh\nexec {command} \"$@\"\n"))?;
                    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o700))
                        .with_context(|| format!("making {name} executable"))?;
                }
                Program::Link(file) => symlink(file, bin.join(name)).with_context(|| format!("making a link for {name}"))?,
            }
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = [bin].into_iter().chain(std::env::split_paths(&path));
        variables.push(("PATH", std::env::join_paths(folders).context("putting programs on the path")?));
        Ok(Self { folder: folder.to_owned(), variables, remembered: Mutex::default() })
    }

    /// Runs a command and returns what it printed, both to standard output and to standard error. It is an error if it fails.
    pub async fn run(&self, command: &str) -> Result<String> {
        let (succeeded, text) = self.output(command).await?;
        ensure!(succeeded, "{command}\n{}", text.trim_end());
        Ok(text)
    }

    /// From now on commands know a variable.
    pub fn remember(&self, name: &'static str, value: &str) {
        self.remembered().insert(name, value.to_owned());
    }

    fn remembered(&self) -> MutexGuard<'_, BTreeMap<&'static str, String>> {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it succeeded, and what it printed.
    pub async fn output(&self, command: &str) -> Result<(bool, String)> {
        let child = Command::new("sh")
            .args(["-c", &format!("exec 2>&1\n{command}")])
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .envs(self.remembered().iter())
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = timeout(LIMIT, child).await.with_context(|| format!("not done after {LIMIT:?}: {command}"))?.context("running sh")?;
        Ok((output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned()))
    }
}

/// What makes programs leave a proxy out that the machine may have for the world outside: all that is talked to is on this machine.
pub fn no_proxy() -> Vec<(&'static str, OsString)> {
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
