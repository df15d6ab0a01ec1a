//! The shortest trace of each breakage, as a file to be read.

use std::{fs, path::PathBuf};

use crate::search::Counterexample;

/// The story is the one in `golden`. `UPDATE=1` writes it there.
pub(crate) fn compare(rule: &str, found: &Counterexample) {
    let name: String = rule.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '_' }).collect();
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden").join(format!("{}.txt", name.replace("__", "_")));
    let Counterexample { violation, story } = found;
    let lines = story.iter().map(|line| line.trim_end()).collect::<Vec<_>>().join("\n");
    let told = format!("{}: {}\n\n{lines}\n", violation.invariant, violation.what);
    if std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder for the stories");
        fs::write(&path, &told).expect("a story is written");
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(kept, told, "{}: another story is the shortest now; UPDATE=1 accepts it", path.display());
}
