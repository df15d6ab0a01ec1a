//! Tests that need what is one for the whole process, the environment or the subscriber, run in a process of their own.

use tokio::process::Command;

const IS_OWN: &str = "REVOICEIT_TEST_OWN_PROCESS";

/// Runs an ignored test of `client_tests` in a process of its own, with these variables added to its environment.
pub(super) async fn run_in_own(test: &str, environment: &[(&str, String)]) {
    let tests = module_path!().trim_end_matches("::process").split_once("::").expect("a crate and a module").1;
    let output = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", &format!("{tests}::{test}"), "--ignored", "--nocapture", "--test-threads=1"])
        .env(IS_OWN, "1")
        .envs(environment.iter().cloned())
        .output()
        .await
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}\n{complained}");
}

/// Whether this is such a process. If not, somebody runs all ignored tests, and the test has nothing to say.
pub(super) fn is_own() -> bool {
    std::env::var_os(IS_OWN).is_some()
}
