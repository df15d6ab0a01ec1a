//! Where the cluster program is.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};

use crate::scripts::built;

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
    let mut found = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(path) = &*found {
        return Ok(path.clone());
    }
    let path = built("tests/cluster/build.sh", &[]).with_context(|| format!("{CLUSTER} can name a built program"))?;
    *found = Some(path.clone());
    Ok(path)
}
