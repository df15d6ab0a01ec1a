//! The state file: the whole truth as JSON, written beside its place and moved there, so that a kill leaves the old one or the new one.

use std::{
    fs,
    io::{ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::Context;

use crate::world::{Inner, World};

/// Reads a state file. `None`: there is none yet.
pub(crate) fn load(path: &Path) -> anyhow::Result<Option<Inner>> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("reading the state file {}", path.display())),
    };
    let inner = serde_json::from_slice(&bytes).with_context(|| format!("{} is not a state file of this sandbox", path.display()))?;
    Ok(Some(inner))
}

/// Replaces a state file once. Outlives this process being killed, not the machine: nothing is flushed to the disk.
pub(crate) async fn save(world: &World, path: &Path) -> anyhow::Result<()> {
    let (version, bytes) = world.snapshot();
    let (path, bytes) = (path.to_owned(), bytes?);
    tokio::task::spawn_blocking(move || replace(&path, &bytes)).await??;
    world.is_saved(version);
    Ok(())
}

/// Replaces a state file after every change; changes that come meanwhile share the next write. Returns only when that fails.
///
/// Each write is of everything: this is for tests of kills and for staging, not for benchmarks.
pub(crate) async fn keep_saved(world: World, path: PathBuf) -> anyhow::Error {
    let mut changes = world.changes();
    while changes.changed().await.is_ok() {
        if let Err(error) = save(&world, &path).await {
            return error;
        }
    }
    anyhow::anyhow!("nobody can change anything any more")
}

fn replace(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let write = || {
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?.write_all(bytes)?;
        fs::rename(&beside, path)
    };
    write().with_context(|| format!("writing the state file {}", path.display()))
}
