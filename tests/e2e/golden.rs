//! What people see, kept in files beside the tests. `UPDATE=1` accepts.

use std::{fs, path::Path};

/// `seen` is what stands in `tests/e2e/golden/<name>`.
pub(crate) fn is_golden(name: &str, seen: &str) {
    is_golden_but_for(name, seen, str::to_owned);
}

/// The same, but for what is not left of a line.
pub(crate) fn is_golden_but_for(name: &str, seen: &str, left: impl Fn(&str) -> String) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/golden").join(name);
    if std::env::var_os("UPDATE").is_some_and(|value| value == "1") {
        fs::create_dir_all(file.parent().expect("it is in a folder")).expect("the folder can be made");
        fs::write(&file, seen).expect("the file can be written");
        return;
    }
    let wanted = fs::read_to_string(&file).unwrap_or_default();
    for (number, (wanted, seen)) in wanted.lines().zip(seen.lines()).enumerate() {
        assert_eq!(left(seen), left(wanted), "golden/{name}, line {}; UPDATE=1 accepts", number + 1);
    }
    assert_eq!(seen.lines().count(), wanted.lines().count(), "lines of golden/{name}; UPDATE=1 accepts");
}
