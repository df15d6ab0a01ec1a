//! `make demo`: the operator at work in a real Kubernetes, narrated.
//!
//! It starts a Kubernetes of its own, or uses the one that `KUBECONFIG` names, and leaves nothing behind: not when it ends, not when
//! it fails, and not when it is interrupted.

mod cast;
mod ground;
mod screen;
mod shell;
mod story;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use revoiceit_harness::scratch::{KEEP, Scratch};
use tokio::signal::unix::{SignalKind, signal};

use crate::cast::{Operator, Revoiceit};
use crate::ground::Ground;
use crate::screen::Screen;

/// All that has to be taken down in the end.
#[derive(Debug)]
struct Stage {
    operator: Option<Operator>,
    revoiceit: Option<Revoiceit>,
    ground: Option<Ground>,
    /// The last to go: the others write into it.
    scratch: Arc<Scratch>,
}

/// How it ended, if not by itself.
const INTERRUPTED: u8 = 130;

#[tokio::main]
async fn main() -> ExitCode {
    let screen = Screen::new();
    match demo(&screen).await {
        Ok(code) => code,
        Err(error) => {
            screen.bad(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn demo(screen: &Screen) -> Result<ExitCode> {
    revoiceit_harness::install_crypto_provider();
    ensure!(
        shell::find("curl").is_some(),
        "The demo shows calls with curl, and there is none on this machine. Install it: apt-get install curl"
    );
    has_room(&std::env::temp_dir())?;
    let mut stage = Stage { operator: None, revoiceit: None, ground: None, scratch: Arc::new(Scratch::new("demo")?) };
    screen.title("The Revoiceit operator at work", "About a minute. Ctrl-C ends it at any time; nothing is left behind.");
    let ended = tokio::select! {
        ended = story::play(screen, &mut stage) => Some(ended),
        stopped = asked_to_stop() => { stopped?; None }
    };
    screen.interrupted();
    match &ended {
        Some(Err(error)) => {
            screen.bad(&format!("{error:#}"));
            let tails = [stage.operator.as_ref().map(|it| it.process.tail()), stage.revoiceit.as_ref().map(|it| it.process.tail())];
            screen.output(&tails.into_iter().flatten().collect::<String>());
            screen.say(&format!("With {KEEP}=1 the demo leaves its logs for you to read."));
        }
        Some(Ok(())) => {}
        None => screen.bad("Interrupted."),
    }
    let is_own_ground = stage.ground.as_ref().is_some_and(Ground::is_own);
    let cleared = take_down(screen, stage).await;
    if let Err(error) = &cleared {
        screen.bad(&format!("{error:#}"));
    }
    if ended.is_none() && cleared.is_ok() {
        screen.good("what was started is stopped, and nothing is left behind");
    }
    if matches!(ended, Some(Ok(()))) && cleared.is_ok() {
        screen.step("That is all");
        screen.say("Everything that was started is stopped, and everything that was written is deleted.");
        screen.say("README.md says how to use it in your cluster, docs/sandbox.md how to play with the local Revoiceit.");
        if is_own_ground {
            screen.say("The same in a cluster of yours: make demo KUBECONFIG=$HOME/.kube/config");
        }
    }
    Ok(match ended {
        None => INTERRUPTED.into(),
        Some(ended) if ended.is_ok() && cleared.is_ok() => ExitCode::SUCCESS,
        Some(_) => ExitCode::FAILURE,
    })
}

/// Without enough of it etcd fails, and what one would see is an API server that waits for it.
fn has_room(folder: &Path) -> Result<()> {
    const NEEDED_MB: u64 = 250;
    let found = rustix::fs::statvfs(folder).with_context(|| format!("looking for room in {}", folder.display()))?;
    let free_mb = found.f_bavail * found.f_frsize / 1_000_000;
    ensure!(
        free_mb >= NEEDED_MB,
        "The demo needs {NEEDED_MB} MB for a while, and {free_mb} MB are free in {}. TMPDIR=FOLDER names another folder.",
        folder.display()
    );
    Ok(())
}

/// The reverse of how it was built.
async fn take_down(screen: &Screen, stage: Stage) -> Result<()> {
    let Stage { operator, revoiceit, ground, scratch } = stage;
    drop(operator);
    drop(revoiceit);
    if let Some(ground) = &ground {
        ground.clear(screen).await?;
    }
    drop(ground);
    drop(scratch);
    Ok(())
}

/// Ctrl-C, SIGTERM, or the terminal has gone.
async fn asked_to_stop() -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for Ctrl-C")?;
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut hangup = signal(SignalKind::hangup()).context("listening for SIGHUP")?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
    Ok(())
}
