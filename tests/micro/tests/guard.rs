//! No kind of work takes more instructions or allocations than was recorded, but for a little.
//!
//! Counted by valgrind, and never timed: a busy machine changes nothing. Each kind of work is done ten times and thirty times, and what it takes is
//! the difference, so that starting and warming up are not in it. What hash maps' seeds change is far below the tolerance.
//! `UPDATE=1` records. The instructions are those of the tests' build, which is not optimised.

use std::{
    collections::BTreeMap,
    fmt::Write,
    fs,
    process::{Command, Output},
    thread,
};

/// Each kind of work, and what is taken off it: what comes before it in the same run.
const WORKS: [(&str, Option<&str>); 9] = [
    ("index", None),
    ("plan-new", None),
    ("plan-refresh", None),
    ("plan-rest", None),
    ("record-parse", None),
    ("record-render", None),
    ("resource-read", None),
    ("pass-new", None),
    ("pass-new-and-rest", Some("pass-new")),
];

/// What more is still no more, in percent.
const INSTRUCTIONS: f64 = 10.0;
const ALLOCATIONS: f64 = 3.0;
/// Of the index of the watches, for each resource. Its tables double now and then; from ten to thirty they do as often as from a thousand to three thousand.
const KEPT: f64 = 5.0;

const RECORDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/recorded.txt");
/// The environment variable that makes the absence of valgrind a failure.
const REQUIRED: &str = "REVOICEIT_COUNTS";

#[derive(Clone, Copy, Debug, PartialEq)]
struct Taken {
    instructions: f64,
    allocations: f64,
    /// Bytes that are still held in the end.
    kept: f64,
}

#[test]
fn no_work_takes_more_than_was_recorded() {
    if Command::new("valgrind").arg("--version").output().is_err() {
        assert!(std::env::var_os(REQUIRED).is_none(), "valgrind is not there, and {REQUIRED} is set");
        eprintln!("skipped: valgrind is not there; `make deps` installs it");
        return;
    }
    // Side by side: a count does not depend on what else runs.
    let mut found: BTreeMap<&str, Taken> = thread::scope(|scope| {
        let running = WORKS.map(|(work, _)| (work, scope.spawn(move || once(work))));
        running.into_iter().map(|(work, taken)| (work, taken.join().expect("it was counted"))).collect()
    });
    for (work, before) in WORKS.into_iter().filter_map(|(work, before)| Some((work, before?))) {
        let before = found[before];
        let taken = found.get_mut(work).expect("it was counted");
        taken.instructions -= before.instructions;
        taken.allocations -= before.allocations;
    }
    let compiler = compiler();
    if std::env::var_os("UPDATE").is_some_and(|value| value == "1") {
        let mut text = format!("{compiler}\n");
        for (work, Taken { instructions, allocations, kept }) in &found {
            writeln!(text, "{work} {instructions:.0} {allocations:.1} {kept:.0}").expect("a String takes everything");
        }
        fs::write(RECORDED, text).expect("the file can be written");
        return;
    }
    let text = fs::read_to_string(RECORDED).expect("tests/micro/recorded.txt");
    // Another compiler makes other instructions of the same code; the allocations are the code's.
    let is_same_compiler = text.lines().next() == Some(&compiler);
    let recorded: BTreeMap<&str, Taken> = text.lines().skip(1).filter_map(read).collect();
    let mut more = Vec::new();
    for (work, taken) in &found {
        let before = recorded.get(work).unwrap_or_else(|| panic!("{work} was never recorded: UPDATE=1"));
        println!("{work}: {taken:?}, recorded {before:?}");
        if is_same_compiler && taken.instructions > before.instructions * (1.0 + INSTRUCTIONS / 100.0) {
            more.push(format!("{work}: {:.0} instructions, recorded were {:.0}", taken.instructions, before.instructions));
        }
        if taken.allocations > before.allocations * (1.0 + ALLOCATIONS / 100.0) {
            more.push(format!("{work}: {:.1} allocations, recorded were {:.1}", taken.allocations, before.allocations));
        }
    }
    let (kept, before) = (found["index"].kept, recorded["index"].kept);
    if kept > before * (1.0 + KEPT / 100.0) {
        more.push(format!("{kept:.0} bytes are kept of each resource, recorded were {before:.0}"));
    }
    assert!(more.is_empty(), "more than was recorded. If it has to be: UPDATE=1\n{}", more.join("\n"));
}

fn read(line: &str) -> Option<(&str, Taken)> {
    let mut words = line.split(' ');
    let work = words.next()?;
    let mut number = || words.next()?.parse().ok();
    Some((work, Taken { instructions: number()?, allocations: number()?, kept: number()? }))
}

/// What doing it once takes.
fn once(work: &str) -> Taken {
    let (few, many) = (heap(work, 10), heap(work, 30));
    let instructions = (instructions(work, 30) - instructions(work, 10)) / 20.0;
    Taken { instructions, allocations: (many.0 - few.0) / 20.0, kept: (many.1 - few.1) / 20.0 }
}

fn instructions(work: &str, times: usize) -> f64 {
    // The only event that it counts by default.
    number(&valgrind(&["--tool=callgrind", "--callgrind-out-file=/dev/null"], work, times), "Collected : ")
}

/// Allocations, and the bytes that are left of them.
fn heap(work: &str, times: usize) -> (f64, f64) {
    let text = valgrind(&["--tool=dhat", "--dhat-out-file=/dev/null"], work, times);
    let line = |key: &str| text.lines().find(|line| line.contains(key)).unwrap_or_else(|| panic!("no {key} in: {text}"));
    // "Total: 1,234 bytes in 56 blocks", and the same "At t-end".
    (number(line("Total:"), " bytes in "), number(line("At t-end:"), "At t-end:"))
}

fn number(text: &str, after: &str) -> f64 {
    let rest = text.split_once(after).unwrap_or_else(|| panic!("no {after:?} in: {text}")).1;
    let rest = rest.trim_start();
    let digits: String =
        rest.chars().take_while(|character| character.is_ascii_digit() || *character == ',').filter(|it| *it != ',').collect();
    digits.parse().unwrap_or_else(|_| panic!("no number after {after:?} in: {text}"))
}

fn valgrind(flags: &[&str], work: &str, times: usize) -> String {
    let mut command = Command::new("valgrind");
    command.args(flags).arg(env!("CARGO_BIN_EXE_counted")).args([work, &times.to_string()]);
    let Output { status, stderr, .. } = command.output().expect("valgrind runs");
    let text = String::from_utf8_lossy(&stderr).into_owned();
    assert!(status.success(), "{work}: {text}");
    text
}

fn compiler() -> String {
    let output = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())).arg("--version").output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}
