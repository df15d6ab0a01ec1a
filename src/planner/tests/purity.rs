//! The planner is pure: it takes what was seen and the time, and that is all it knows of the world.

use std::{fs, path::Path};

/// What only code that does something needs, and why it is not for code that decides.
const IMPURE: &[(&str, &str)] = &[
    ("async ", "it waits for nothing"),
    (".await", "it waits for nothing"),
    ("tokio", "it waits for nothing"),
    ("futures::", "it waits for nothing"),
    ("Timestamp::now", "the time is an argument"),
    ("Zoned::now", "the time is an argument"),
    ("SystemTime", "the time is an argument"),
    ("Instant", "the time is an argument"),
    ("runtime::", "the time is an argument, and telling is the shell's"),
    ("rand::", "spread comes from the UID"),
    ("SecureRandom", "a stamp is drawn by the shell"),
    ("thread", "nothing else runs"),
    ("Mutex", "nothing is shared"),
    ("RwLock", "nothing is shared"),
    ("Atomic", "nothing is shared"),
    ("static ", "nothing is remembered"),
    ("LazyLock", "nothing is remembered"),
    ("OnceLock", "nothing is remembered"),
    ("std::env", "what is configured is in Policy and Place"),
    ("std::fs", "it reads nothing"),
    ("std::net", "it talks to nobody"),
    ("std::io", "it writes nothing"),
    ("std::process", "it ends nothing"),
    ("tracing", "it tells by its results"),
    ("println!", "it tells by its results"),
    ("dbg!", "it tells by its results"),
    ("kube::Client", "it talks to nobody"),
    ("kube::Api", "it talks to nobody"),
    ("reqwest", "it talks to nobody"),
    ("dyn Auth", "it talks to nobody"),
    ("impl Auth", "it talks to nobody"),
    ("controller::", "it does not know who asks"),
    ("unsafe", "it has no need to"),
    ("HashMap", "its order is random"),
    ("HashSet", "its order is random"),
];

/// The code of a line; a comment may speak of anything.
fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

fn impurities(text: &str) -> Vec<(usize, &'static str, &'static str)> {
    let lines = text.lines().enumerate();
    let found = lines.flat_map(|(number, line)| {
        let all = IMPURE.iter().filter(move |(word, _)| has_word(code(line), word));
        all.map(move |(word, why)| (number + 1, *word, *why))
    });
    found.collect()
}

/// As a word of its own: `Instant` is not in `Constant`, nor `static ` in `'static str`.
fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|before| before.is_alphanumeric() || before == '_' || before == '\'')
    })
}

#[test]
fn no_file_of_the_planner_does_anything() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/planner");
    let mut files = 0;
    for entry in fs::read_dir(folder).expect("the planner") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            files += 1;
            let text = fs::read_to_string(&path).expect("a source file");
            let found = impurities(&text);
            assert!(found.is_empty(), "{}: {found:?}", path.file_name().unwrap_or_default().display());
        }
    }
    assert!(files >= 16, "only {files} files were read");
}

#[test]
fn what_does_something_is_found() {
    let found = |text| impurities(text).into_iter().map(|(line, word, _)| (line, word)).collect::<Vec<_>>();
    assert_eq!(found("fn a() {}\nasync fn b() { c().await }"), [(2, "async "), (2, ".await")]);
    assert_eq!(found("let now = jiff::Timestamp::now();"), [(1, "Timestamp::now")]);
    assert_eq!(found("    tracing::info!(\"x\");"), [(1, "tracing")]);
    assert_eq!(found("// async, in a comment\nlet constant: &'static str = \"\";"), []);
}
