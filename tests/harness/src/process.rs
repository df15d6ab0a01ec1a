//! Child processes under supervision: their output lands in files, they can be frozen, and they end with the test.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process_group};

use crate::scratch::Scratch;
use crate::wait::{GENEROUS, eventually};

/// How many lines of a log an error message repeats.
const TAIL: usize = 25;

/// A running child process, leader of a process group of its own, so that a signal reaches its children too.
///
/// Its standard input is empty; what it prints is appended to `<name>.out` and `<name>.err` in its [`Scratch`] folder. When
/// it is dropped, and when this process ends in whatever way, its whole group is killed with SIGKILL.
///
/// All methods take `&self`, and no method needs the tokio runtime that the process was started under.
#[derive(Debug)]
pub struct Process {
    name: String,
    group: Pid,
    child: Mutex<Child>,
    stdout: Log,
    stderr: Log,
    /// Keeps the folder for as long as the process writes into it.
    scratch: Arc<Scratch>,
}

/// A file, and where in it the output of this process begins: one of the same name may have run before.
#[derive(Debug)]
struct Log {
    path: PathBuf,
    begin: u64,
}

impl Process {
    /// Starts `command`. `name` is what error messages call it, and the stem of its log files' names.
    pub fn spawn(name: &str, command: &mut Command, scratch: &Arc<Scratch>) -> Result<Self> {
        let (stdout, out) = Log::open(scratch.path().join(format!("{name}.out")))?;
        let (stderr, err) = Log::open(scratch.path().join(format!("{name}.err")))?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .process_group(0)
            .spawn()
            .with_context(|| format!("starting {name}: {}", command.get_program().display()))?;
        scratch.add(child.id());
        let Ok(Some(group)) = i32::try_from(child.id()).map(Pid::from_raw) else {
            // A process id that is none does not happen; were it ignored, `kill` would hit this process' own group.
            let _ = child.kill();
            bail!("the process id of {name} is {}", child.id());
        };
        Ok(Self { name: name.to_owned(), group, child: Mutex::new(child), stdout, stderr, scratch: Arc::clone(scratch) })
    }

    /// The name given at the start.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process id, for a look into `/proc`. Meaningless once the process has ended.
    pub fn id(&self) -> i32 {
        self.group.as_raw_pid()
    }

    /// Sends a signal to the process and its children. An error if the process has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let mut child = self.child();
        if let Some(status) = self.reap(&mut child) {
            bail!("{} has ended ({status}), no signal reaches it any more", self.name);
        }
        kill_process_group(self.group, signal).with_context(|| format!("sending a signal to {}", self.name))
    }

    /// Stops the process in its tracks with SIGSTOP. Its sockets stay open and are silent. Returns when it stands still.
    pub async fn freeze(&self) -> Result<()> {
        self.signal(Signal::STOP)?;
        // The signal stops one thread after the other, and what runs meanwhile may still answer a request.
        eventually(&format!("{} to stand still", self.name), GENEROUS, async || match running_threads(self.id()) {
            Ok(0) => Ok(()),
            Ok(number) => Err(format!("{number} threads run")),
            Err(error) => Err(format!("{error:#}")),
        })
        .await
    }

    /// Lets a frozen process go on.
    pub fn thaw(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// How the process ended, or `None` while it runs. A frozen process runs.
    pub fn ended(&self) -> Option<ExitStatus> {
        self.reap(&mut self.child())
    }

    /// Whether the process runs. A frozen process does.
    pub fn is_running(&self) -> bool {
        self.ended().is_none()
    }

    /// Waits until the process has ended by itself.
    pub async fn wait(&self, limit: Duration) -> Result<ExitStatus> {
        eventually(&format!("{} to end", self.name), limit, async || self.ended().ok_or("it runs")).await
    }

    /// Asks the process to end with SIGTERM, and waits until it has.
    pub async fn stop(&self, limit: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.wait(limit).await
    }

    /// Kills the process and its children with SIGKILL, frozen or not. Returns when the process is gone; does nothing if it
    /// has ended before.
    pub fn kill(&self) {
        let mut child = self.child();
        if self.reap(&mut child).is_some() {
            return;
        }
        // Can only fail for a group that does not exist, and this one does: its leader is not reaped yet.
        let _ = kill_process_group(self.group, Signal::KILL);
        self.scratch.forget(child.id());
        let _ = child.wait();
    }

    /// What it has printed to standard output so far.
    pub fn stdout(&self) -> Result<String> {
        self.stdout.read()
    }

    /// What it has printed to standard error so far.
    pub fn stderr(&self) -> Result<String> {
        self.stderr.read()
    }

    /// The last lines of both outputs, each under the name of its file: for error messages.
    pub fn tail(&self) -> String {
        [&self.stdout, &self.stderr].map(Log::tail).concat()
    }

    /// Asks the kernel for the exit status. From then on the process id may become somebody else's, so the guard is told.
    fn reap(&self, child: &mut Child) -> Option<ExitStatus> {
        match child.try_wait() {
            Ok(Some(status)) => {
                self.scratch.forget(child.id());
                Some(status)
            }
            // An error means that it is not our child, which cannot be.
            Ok(None) | Err(_) => None,
        }
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Log {
    fn open(path: PathBuf) -> Result<(Self, File)> {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("opening the log file {}", path.display()))?;
        let begin = file.metadata().with_context(|| format!("looking at {}", path.display()))?.len();
        Ok((Self { path, begin }, file))
    }

    fn read(&self) -> Result<String> {
        let context = || format!("reading {}", self.path.display());
        let mut file = File::open(&self.path).with_context(context)?;
        file.seek(SeekFrom::Start(self.begin)).with_context(context)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).with_context(context)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn tail(&self) -> String {
        let text = self.read().unwrap_or_else(|error| format!("{error:#}"));
        let lines: Vec<&str> = text.lines().collect();
        if lines.is_empty() {
            return String::new();
        }
        format!("\n--- end of {}:\n{}", self.path.display(), lines[lines.len().saturating_sub(TAIL)..].join("\n"))
    }
}

/// How many threads of a process are neither stopped nor gone.
fn running_threads(process: i32) -> Result<usize> {
    let folder = PathBuf::from(format!("/proc/{process}/task"));
    let mut running = 0;
    for thread in std::fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))? {
        // A thread that ends between the listing and the look does not run.
        if let Ok(thread) = thread
            && let Ok(state) = thread_state(&thread.path())
        {
            running += usize::from(!matches!(state, 'T' | 't' | 'Z' | 'X'));
        }
    }
    Ok(running)
}

/// The letter that stands for a thread's state, the field after the name in `stat`; the name may hold anything.
fn thread_state(thread: &Path) -> Result<char> {
    let stat = std::fs::read_to_string(thread.join("stat"))?;
    stat.rsplit_once(") ").and_then(|(_, fields)| fields.chars().next()).context("no state in it")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, scratch: &Arc<Scratch>) -> Result<Process> {
        Process::spawn("sh", Command::new("sh").args(["-c", script]), scratch)
    }

    #[tokio::test]
    async fn output_and_status_can_be_read() -> Result<()> {
        let scratch = Arc::new(Scratch::new("test")?);
        let process = shell("echo out; echo err >&2; exit 3", &scratch)?;
        assert_eq!(process.wait(GENEROUS).await?.code(), Some(3));
        assert_eq!((process.stdout()?.as_str(), process.stderr()?.as_str()), ("out\n", "err\n"));
        assert!(process.tail().ends_with("sh.err:\nerr"), "{}", process.tail());
        assert!(process.signal(Signal::TERM).is_err(), "a signal was sent to nobody, or to somebody else");
        Ok(())
    }

    #[tokio::test]
    async fn the_second_of_a_name_has_its_own_output() -> Result<()> {
        let scratch = Arc::new(Scratch::new("test")?);
        shell("echo one", &scratch)?.wait(GENEROUS).await?;
        let second = shell("echo two", &scratch)?;
        second.wait(GENEROUS).await?;
        assert_eq!(second.stdout()?, "two\n");
        assert_eq!(std::fs::read_to_string(scratch.path().join("sh.out"))?, "one\ntwo\n");
        Ok(())
    }

    #[tokio::test]
    async fn a_frozen_process_stands_still_until_it_is_thawed() -> Result<()> {
        let scratch = Arc::new(Scratch::new("test")?);
        let process = shell("while :; do echo tick; done", &scratch)?;
        process.freeze().await?;
        let before = process.stdout()?;
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(process.stdout()?, before);
        assert!(process.is_running());
        process.thaw()?;
        eventually("another tick", GENEROUS, async || {
            let now = process.stdout().unwrap_or_default().len();
            if now > before.len() { Ok(()) } else { Err("none") }
        })
        .await
    }

    #[tokio::test]
    async fn its_children_are_killed_with_it() -> Result<()> {
        let scratch = Arc::new(Scratch::new("test")?);
        let process = shell("sleep 1000 & echo $!; wait", &scratch)?;
        let grandchild = eventually("the child to say its number", GENEROUS, async || {
            process.stdout().unwrap_or_default().trim().parse::<i32>().map_err(|error| error.to_string())
        })
        .await?;
        process.freeze().await?;
        drop(process);
        // Nobody reaps it where the first process of the machine does not; dead it is all the same.
        eventually("the grandchild to be dead", GENEROUS, async || match running_threads(grandchild) {
            Ok(0) | Err(_) => Ok(()),
            Ok(_) => Err("it runs"),
        })
        .await
    }
}
