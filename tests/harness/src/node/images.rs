//! Images that pods run, as archives.

use std::path::PathBuf;

use anyhow::Result;

use crate::scripts::built;

/// The archive of the operator's image, as the Dockerfile's last stage makes it, named `revoiceit-operator:<version>`.
///
/// The first build of changed sources takes some minutes, and tells on standard error how far it is. Blocks the thread.
pub fn operator() -> Result<PathBuf> {
    built("deploy/image/build.sh", &[])
}

/// The same of the sandbox, named `revoiceit-sandbox:<version>`.
pub fn sandbox() -> Result<PathBuf> {
    built("deploy/image/build.sh", &["revoiceit-sandbox"])
}

/// The archive of an image with a shell, `localhost/busybox:test`. It sleeps unless it is told otherwise. Blocks the thread.
pub fn busybox() -> Result<PathBuf> {
    built("tests/harness/busybox/build.sh", &[])
}
