//! Where the cluster program is.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, ensure};

/// The path of a cluster program to use instead of building one.
pub const CLUSTER: &str = "REVOICEIT_CLUSTER";

/// The path of the cluster program: what [`CLUSTER`] says, else what `tests/cluster/build.sh` has built.
///
/// The first build on a machine takes about eight minutes, and tells on standard error how far it is; later calls return at
/// once. Blocks the thread.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(CLUSTER).filter(|path| !path.is_empty()) {
        return Ok(PathBuf::from(path));
    }
    // The lock makes tests that start at the same time wait for one build, with one progress report.
    static BUILT: Mutex<Option<PathBuf>> = Mutex::new(None);
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(path) = &*built {
        return Ok(path.clone());
    }
    let path = build()?;
    *built = Some(path.clone());
    Ok(path)
}

fn build() -> Result<PathBuf> {
    let script = script()?;
    let output = Command::new(&script)
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

/// The build script of the source tree that is being tested: cargo says where the package is that runs, which is the root
/// for the end-to-end tests and `tests/harness` for the harness' own.
fn script() -> Result<PathBuf> {
    let package = match std::env::var_os("CARGO_MANIFEST_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => std::env::current_dir().context("finding the current folder")?,
    };
    package
        .ancestors()
        .map(|folder| folder.join("tests/cluster/build.sh"))
        .find(|script| Path::is_file(script))
        .with_context(|| format!("no tests/cluster/build.sh in or above {}; {CLUSTER} can name a built program", package.display()))
}
