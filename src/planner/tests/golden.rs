//! Files that a test compares with what the code makes. `UPDATE=1` accepts what it makes now.

use std::{fs, path::Path};

pub(super) fn is_golden(file: &str, made: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/planner/tests/golden").join(file);
    if std::env::var_os("UPDATE").is_some_and(|value| value == "1") {
        fs::write(&path, made).expect("the file can be written");
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    if found != made {
        let line = found.lines().zip(made.lines()).take_while(|(found, made)| found == made).count();
        let at = |text: &str| text.lines().nth(line).unwrap_or("(the end)").to_owned();
        panic!("golden/{file} differs from line {} on\nit has: {}\nmade:   {}\nUPDATE=1 accepts", line + 1, at(&found), at(made));
    }
}
