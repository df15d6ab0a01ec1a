//! Who plays: a local Revoiceit and the operator, each a process that can be killed.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use revoiceit_harness::ports;
use revoiceit_harness::process::Process;
use revoiceit_harness::scratch::Scratch;
use revoiceit_harness::shell::no_proxy;
use revoiceit_harness::wait::{GENEROUS, eventually};
use serde_json::Value;

use crate::ground::{NAMESPACE, SYSTEM};
use crate::screen::Screen;
use crate::shell::beside;

/// How long access tokens live in this play.
pub(crate) const LIFETIME: &str = "90s";

/// Between the lines of a command.
const CONTINUED: &str = " \\\n  ";

/// A running local Revoiceit.
#[derive(Debug)]
pub(crate) struct Revoiceit {
    pub(crate) process: Arc<Process>,
    /// URL of its API.
    pub(crate) api: String,
    /// URL where it tells the truth, and is told what shall go wrong.
    pub(crate) admin: String,
    http: reqwest::Client,
}

/// A line of tokens: what one issue began.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) refresh_token: String,
    /// "live", "revoked", …
    pub(crate) state: String,
    /// How many access tokens were handed out on it.
    pub(crate) access_tokens: usize,
}

impl Revoiceit {
    /// Starts it, on free ports, with one client.
    pub(crate) async fn start(screen: &Screen, scratch: &Arc<Scratch>) -> Result<Self> {
        let lines =
            [format!("--client demo=not-a-secret --lifetime {LIFETIME}"), "--listen 127.0.0.1:0 --admin-listen 127.0.0.1:0".to_owned()];
        screen.command(&format!("revoiceit-sandbox {}", lines.join(CONTINUED)));
        let mut command = Command::new(beside("revoiceit-sandbox")?);
        let process = Arc::new(Process::spawn("revoiceit-sandbox", command.args(words(&lines)), scratch)?);
        let line = eventually("the sandbox to listen", GENEROUS, async || {
            ensure!(process.is_running(), "it ended{}", process.tail());
            process.stdout()?.lines().next().map(str::to_owned).context("it has not said where")
        })
        .await?;
        screen.output(&line);
        let addresses: Value = serde_json::from_str(&line).context("what the sandbox said first is no JSON")?;
        let url = |name: &str| {
            addresses[name].as_str().map(|address| format!("http://{address}")).context("the sandbox does not say where it listens")
        };
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()?;
        Ok(Self { process, api: url("api")?, admin: url("admin")?, http })
    }

    /// How many calls it had so far: a mark for [`calls`](Self::calls).
    pub(crate) async fn mark(&self) -> Result<u64> {
        self.get("calls").await?["last"].as_u64().context("no number of the last call")
    }

    /// The calls after the mark: "issue", "refresh" or "revoke".
    pub(crate) async fn calls(&self, mark: u64) -> Result<Vec<String>> {
        let answer = self.get(&format!("calls?since={mark}")).await?;
        let calls = answer["calls"].as_array().context("no list of calls")?;
        Ok(calls.iter().map(|call| call["call"].as_str().unwrap_or("?").to_owned()).collect())
    }

    /// All that it ever issued.
    pub(crate) async fn lines(&self) -> Result<Vec<Line>> {
        let truth = self.get("truth").await?;
        let lines = truth["lines"].as_array().context("no list of lines")?.iter();
        lines
            .map(|line| {
                let token = &line["refresh"][0];
                let text = |value: &Value| value.as_str().map(str::to_owned).context("the truth is not as expected");
                let access_tokens = line["access"].as_array().map_or(0, Vec::len);
                Ok(Line { refresh_token: text(&token["token"])?, state: text(&token["state"])?, access_tokens })
            })
            .collect()
    }

    async fn get(&self, path: &str) -> Result<Value> {
        let text = self.http.get(format!("{}/{path}", self.admin)).send().await?.error_for_status()?.text().await?;
        serde_json::from_str(&text).with_context(|| format!("the sandbox's answer to /{path} is no JSON"))
    }
}

/// A running operator.
#[derive(Debug)]
pub(crate) struct Operator {
    pub(crate) process: Arc<Process>,
    url: String,
    http: reqwest::Client,
    /// How many lines of its log were shown or passed over.
    told: AtomicUsize,
}

impl Operator {
    /// Starts it with this kubeconfig, which is in the scratch folder.
    pub(crate) fn start(screen: &Screen, scratch: &Arc<Scratch>, kubeconfig: &str, revoiceit: &Revoiceit) -> Result<Self> {
        let listen = format!("127.0.0.1:{}", ports::free()?);
        let lines = [
            format!("run --kubeconfig {kubeconfig}"),
            format!("--namespace {NAMESPACE} --operator-namespace {SYSTEM}"),
            format!("--api-url {} --allow-insecure-api", revoiceit.api),
            format!("--token-lifetime {LIFETIME} --lease-duration 5s"),
            format!("--listen {listen} --log-format text"),
        ];
        screen.command(&format!("revoiceit-operator {}", lines.join(CONTINUED)));
        let mut command = Command::new(beside("revoiceit-operator")?);
        command.args(words(&lines)).envs(no_proxy()).current_dir(scratch.path());
        let process = Arc::new(Process::spawn("revoiceit-operator", &mut command, scratch)?);
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()?;
        Ok(Self { process, url: format!("http://{listen}"), http, told: AtomicUsize::new(0) })
    }

    /// What it has logged about its work on resources since this was last asked, shortened: the time and what was done.
    pub(crate) fn log(&self) -> Result<String> {
        let log = self.process.stderr()?;
        let lines: Vec<&str> = log.lines().collect();
        let told = self.told.swap(lines.len(), Ordering::Relaxed);
        let done = lines.iter().skip(told).filter_map(|line| shortened(line)).collect::<Vec<_>>();
        Ok(done.join("\n"))
    }

    /// Waits until it works, and not only waits for the lease.
    pub(crate) async fn leads(&self) -> Result<()> {
        eventually("the operator to lead", GENEROUS, async || {
            if let Some(status) = self.process.ended() {
                return Ok(Err(anyhow::anyhow!("the operator has ended: {status}")));
            }
            let metrics = self.http.get(format!("{}/metrics", self.url)).send().await?.text().await?;
            ensure!(metrics.lines().any(|line| line == "revoiceit_leader 1"), "it stands by");
            Ok::<_, anyhow::Error>(Ok(()))
        })
        .await?
    }
}

/// Of a line "2026-11-24T10:28:01.381867Z  INFO pass{number=1 …}: module::path: what was done", the time of day and what was done.
fn shortened(line: &str) -> Option<String> {
    let (_, done) = line.split_once("}: ")?.1.split_once(": ")?;
    Some(format!("{}  {done}", line.get("2026-11-24T".len()..)?.get(.."10:28:01.381".len())?))
}

fn words(lines: &[String]) -> impl Iterator<Item = &str> {
    lines.iter().flat_map(|line| line.split(' '))
}
