//! What was measured, and on what: a JSON file for each benchmark, from which the page is made.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Where the files are.
pub(crate) const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/benchmarks");

/// One benchmark.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Results<F> {
    pub(crate) setting: Setting,
    pub(crate) figures: F,
}

/// When, where and by what it was measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Setting {
    /// When it ended.
    pub(crate) at: Timestamp,
    /// What was typed.
    pub(crate) command: String,
    pub(crate) machine: String,
    pub(crate) versions: String,
    /// How the operator was built.
    pub(crate) program: String,
    /// Processes that wanted a core, on average over the last minute, at the end. What is above the number of cores was waited for.
    pub(crate) load: String,
}

impl Setting {
    /// Of this moment.
    pub(crate) fn now(program: &Path, kubernetes: &str) -> Result<Self> {
        let program_size = fs::metadata(program).with_context(|| format!("looking at {}", program.display()))?.len();
        let words: Vec<String> = std::env::args().skip(1).collect();
        let is_path = |word: &String| word.contains('/');
        let words: Vec<&str> = words.iter().filter(|word| !is_path(word) && *word != "--operator").map(String::as_str).collect();
        Ok(Self {
            at: Timestamp::now().round(jiff::Unit::Second)?,
            command: format!("make bench BENCH=\"{}\"", words.join(" ")),
            machine: machine()?,
            versions: format!("Kubernetes {kubernetes}, etcd without fsync, {}", line_of("rustc", "--version")),
            program: format!("{} {}, {:.1} MB", line_of(program, "--version"), built(), program_size as f64 / 1e6),
            load: load()?,
        })
    }
}

/// The first line that a program prints.
fn line_of(program: impl AsRef<std::ffi::OsStr>, flag: &str) -> String {
    let output = Command::new(program).arg(flag).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or("of unknown version").to_owned()
}

fn built() -> String {
    std::env::var("REVOICEIT_BENCH_BUILT").unwrap_or_else(|_| "as it was given".to_owned())
}

fn machine() -> Result<String> {
    let cpus = fs::read_to_string("/proc/cpuinfo")?;
    let cpu = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map_or("a processor", |(_, name)| name);
    let cores = cpus.lines().filter(|line| line.starts_with("processor")).count();
    let memory = fs::read_to_string("/proc/meminfo")?;
    let kib: u64 = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok())
        .context("no MemTotal in /proc/meminfo")?;
    let system = rustix::system::uname();
    Ok(format!("{cpu}, {cores} cores, {:.0} GiB, Linux {}", kib as f64 / f64::from(1 << 20), system.release().to_string_lossy()))
}

/// Processes that want a core, over the last minute.
pub(crate) fn load() -> Result<String> {
    let load = fs::read_to_string("/proc/loadavg")?;
    Ok(load.split(' ').next().context("an empty /proc/loadavg")?.to_owned())
}

fn path(name: &str) -> PathBuf {
    Path::new(FOLDER).join(format!("{name}.json"))
}

/// Keeps what a benchmark found, in place of what it found before.
pub(crate) fn write<F: Serialize>(name: &str, results: &Results<F>) -> Result<()> {
    fs::create_dir_all(FOLDER)?;
    let path = path(name);
    fs::write(&path, serde_json::to_string_pretty(results)? + "\n").with_context(|| format!("writing {}", path.display()))?;
    println!("written: docs/benchmarks/{name}.json");
    Ok(())
}

/// What was kept; `None` if it was never measured.
pub(crate) fn read<F: DeserializeOwned>(name: &str) -> Result<Option<Results<F>>> {
    let path = path(name);
    if !path.exists() {
        return Ok(None);
    }
    let text = fs::read_to_string(&path)?;
    serde_json::from_str(&text).map(Some).with_context(|| format!("reading {}", path.display()))
}

/// The middle one, or of an even number the lower of both.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
}

/// So many of each kind.
pub(crate) type Counts = BTreeMap<String, usize>;
