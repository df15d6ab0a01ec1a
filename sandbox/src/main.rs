//! `revoiceit-sandbox`: a local Revoiceit auth API.
fn main() {}
