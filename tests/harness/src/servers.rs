//! A thread for the servers that programs under test talk to: a test that keeps its own thread busy does not keep them waiting.

use std::sync::LazyLock;

use tokio::runtime::{Builder, Runtime};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    Builder::new_multi_thread().worker_threads(1).thread_name("servers").enable_all().build().expect("a thread for the servers")
});

/// Runs this there, and whatever it spawns.
///
/// # Panics
/// If it does.
pub async fn beside<T: Send + 'static>(starts: impl Future<Output = T> + Send + 'static) -> T {
    match RUNTIME.spawn(starts).await {
        Ok(started) => started,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
