//! A temporary folder, and the promise that it and the processes started in it do not outlive the test.

use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};

/// Set to anything but the empty string, it keeps every folder.
pub const KEEP: &str = "REVOICEIT_KEEP";

/// A temporary folder that is removed, with all that runs in it, when it is dropped.
///
/// The work is done by a small shell process, the guard, that waits for the end of its standard input, whose other end only
/// this process holds. So it happens as well when this process exits without dropping (a `static`), crashes, or is killed
/// with SIGKILL; and a process that is frozen at that time is killed all the same.
///
/// The folder is kept, and its path printed, when it is dropped by a panic, when [`KEEP`] is set, and after
/// [`keep`](Self::keep). What runs in it is killed in any case.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    keep: AtomicBool,
    guard: Mutex<Guard>,
}

#[derive(Debug)]
struct Guard {
    shell: Child,
    /// `None` only while dropping.
    orders: Option<ChildStdin>,
}

impl Scratch {
    /// Makes a folder that only this user can read, `revoiceit-<label>-…`, in the system's folder for such things.
    pub fn new(label: &str) -> Result<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("revoiceit-{label}-{}-{number}", std::process::id()));
        std::fs::DirBuilder::new().mode(0o700).create(&path).with_context(|| format!("making the folder {}", path.display()))?;

        let mut shell = Command::new("sh")
            .args(["-c", include_str!("guard.sh"), "revoiceit-guard"])
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A Ctrl-C on the terminal is for the test, not for the one that cleans up after it.
            .process_group(0)
            .spawn()
            .context("starting sh, which cleans up after the test")?;
        let orders = shell.stdin.take();
        let keep = AtomicBool::new(std::env::var_os(KEEP).is_some_and(|value| !value.is_empty()));
        Ok(Self { path, keep, guard: Mutex::new(Guard { shell, orders }) })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file into the folder, and returns its path.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Result<PathBuf> {
        let path = self.path.join(name);
        std::fs::write(&path, content).with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }

    /// Keeps the folder when everything else goes.
    pub fn keep(&self) {
        self.keep.store(true, Ordering::Relaxed);
        // Said at once, for the case that nothing is ever dropped.
        self.guard().order("keep");
    }

    /// From now on the process group goes with the folder.
    pub(crate) fn add(&self, group: u32) {
        self.guard().order(&format!("add {group}"));
    }

    /// The process group has ended, and its number may be given to somebody else.
    pub(crate) fn forget(&self, group: u32) {
        self.guard().order(&format!("drop {group}"));
    }

    fn guard(&self) -> MutexGuard<'_, Guard> {
        self.guard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guard {
    fn order(&mut self, order: &str) {
        if let Some(orders) = &mut self.orders {
            // Fails only when somebody has killed the guard, and then there is nobody left to tell.
            let _ = orders.write_all(format!("{order}\n").as_bytes());
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if std::thread::panicking() || self.keep.load(Ordering::Relaxed) {
            self.keep();
            eprintln!("kept for you to look at: {}", self.path.display());
        }
        let mut guard = self.guard();
        guard.orders = None;
        let _ = guard.shell.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_goes_when_dropped() -> Result<()> {
        let scratch = Scratch::new("test")?;
        let path = scratch.path().to_path_buf();
        scratch.write("file", "content")?;
        drop(scratch);
        assert!(!path.exists());
        Ok(())
    }

    #[test]
    fn the_folder_stays_after_a_panic() -> Result<()> {
        let path = std::thread::spawn(|| {
            let scratch = Scratch::new("test").expect("a folder");
            std::panic::panic_any(scratch.path().to_path_buf());
        })
        .join()
        .expect_err("the panic");
        let path = path.downcast::<PathBuf>().expect("a path");
        assert!(path.exists());
        std::fs::remove_dir(*path)?;
        Ok(())
    }

    #[test]
    fn the_folder_stays_when_told_so() -> Result<()> {
        let scratch = Scratch::new("test")?;
        let path = scratch.path().to_path_buf();
        scratch.keep();
        drop(scratch);
        assert!(path.exists());
        std::fs::remove_dir(path)?;
        Ok(())
    }
}
