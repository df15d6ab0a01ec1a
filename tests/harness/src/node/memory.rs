//! A container's memory, filled up by somebody else.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::{fs, io};

use anyhow::{Context, Result};

use crate::process::Process;
use crate::scratch::Scratch;

/// The node's cgroup, where the controller of memory has it: of version 1 or 2.
const TREES: [&str; 2] = ["/sys/fs/cgroup/memory/revoiceit-node", "/sys/fs/cgroup/revoiceit-node"];

/// `tail` keeps the last line, and this one does not end.
const FILL: &str = r#"echo $$ >"$1/cgroup.procs" && exec busybox tail /dev/zero"#;

/// Starts a process that counts as one of the container, and takes memory until it is killed for it. The kernel kills those of the
/// container first, as the kubelet has told it to.
pub(super) fn fill(id: &str, scratch: &Arc<Scratch>) -> Result<Process> {
    Process::spawn("fill", Command::new("sh").args(["-c", FILL, "fill"]).arg(group(id)?), scratch)
}

/// A container's cgroup.
pub(super) fn group(id: &str) -> Result<PathBuf> {
    let group = TREES.iter().find_map(|tree| find(Path::new(tree), id).ok().flatten());
    group.with_context(|| format!("no cgroup of the container {id} with the controller of memory"))
}

/// The folder of this name, in however many others.
fn find(folder: &Path, name: &str) -> io::Result<Option<PathBuf>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.ends_with(name) {
            return Ok(Some(path));
        }
        if path.is_dir() {
            // One that has gone meanwhile holds nothing.
            if let Ok(Some(found)) = find(&path, name) {
                return Ok(Some(found));
            }
        }
    }
    Ok(None)
}
