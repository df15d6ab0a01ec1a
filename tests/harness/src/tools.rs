//! Tools that the tests use as people do, each a Go program of a pinned version.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use anyhow::Result;

use crate::scripts::built;

/// The path of Helm, as `tests/tools/build.sh` has built it.
///
/// The first build on a machine takes some minutes, and tells on standard error how far it is; later calls return at once.
/// Blocks the thread.
pub fn helm() -> Result<PathBuf> {
    static BUILT: Mutex<Option<PathBuf>> = Mutex::new(None);
    once(&BUILT, "helm")
}

/// The same of promtool, the program of Prometheus that checks rules and runs their unit tests.
pub fn promtool() -> Result<PathBuf> {
    static BUILT: Mutex<Option<PathBuf>> = Mutex::new(None);
    once(&BUILT, "promtool")
}

/// The lock makes tests that start at the same time wait for one build, with one progress report.
fn once(found: &Mutex<Option<PathBuf>>, name: &str) -> Result<PathBuf> {
    let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(path) = &*found {
        return Ok(path.clone());
    }
    let path = built("tests/tools/build.sh", &[name])?;
    *found = Some(path.clone());
    Ok(path)
}
