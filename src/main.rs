//! The `revoiceit-operator` program.
fn main() {}
