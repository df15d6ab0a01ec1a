//! Runs the commands that one sees, and shows them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use revoiceit_harness::scratch::Scratch;
use revoiceit_harness::shell::{self, Program};

use crate::screen::Screen;

/// The folder that the commands are run in: the root of the repository.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// A shell with the demo's `kubectl`, its plugin, and its kubeconfig.
#[derive(Debug)]
pub(crate) struct Shell(shell::Shell);

impl Shell {
    /// `kubectl` is a program whose first argument is to be "kubectl", or `None` for the one on the machine; `kubeconfig` is `None` for what
    /// the environment says.
    pub(crate) fn new(scratch: &Arc<Scratch>, kubectl: Option<&Path>, kubeconfig: Option<&Path>) -> Result<Self> {
        // As a plugin of kubectl the operator's program has this name.
        let mut programs = vec![("kubectl-revoiceit", Program::Link(beside("revoiceit-operator")?))];
        programs.extend(kubectl.map(|program| ("kubectl", Program::Command(format!("'{}' kubectl", program.display())))));
        Ok(Self(shell::Shell::new(Path::new(ROOT), scratch, &programs, kubeconfig)?))
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
        let (succeeded, text) = self.0.output(command).await?;
        screen.output(&text);
        ensure!(!succeeded, "this was to fail: {command}");
        screen.read(&text).await;
        Ok(())
    }

    /// Runs a command without showing it, and returns what it printed. It is an error if it fails.
    pub(crate) async fn run(&self, command: &str) -> Result<String> {
        self.0.run(command).await
    }

    /// From now on commands know a variable.
    pub(crate) fn remember(&self, name: &'static str, value: &str) {
        self.0.remember(name, value);
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
