//! Scripts of the source tree that build a program and print its path.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// Runs a script and returns the path that it printed last. Blocks the thread, for minutes when there is something to build.
pub(crate) fn built(script: &str, args: &[&str]) -> Result<PathBuf> {
    let script = find(script)?;
    let output = Command::new(&script)
        .args(args)
        .stdin(Stdio::null())
        // Progress is for the person who waits; the test runner does not capture it, since it comes from another process.
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("running {}", script.display()))?;
    ensure!(output.status.success(), "{} failed ({}), its output above says why", script.display(), output.status);
    let stdout = String::from_utf8(output.stdout).with_context(|| format!("the output of {}", script.display()))?;
    let path = stdout.lines().last().with_context(|| format!("{} has printed no path", script.display()))?;
    Ok(PathBuf::from(path))
}

/// A script of the source tree that is being tested: cargo says where the package is that runs, which is the root for the
/// end-to-end tests and `tests/harness` for the harness' own.
fn find(script: &str) -> Result<PathBuf> {
    let package = match std::env::var_os("CARGO_MANIFEST_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => std::env::current_dir().context("finding the current folder")?,
    };
    package
        .ancestors()
        .map(|folder| folder.join(script))
        .find(|script| Path::is_file(script))
        .with_context(|| format!("no {script} in or above {}", package.display()))
}
