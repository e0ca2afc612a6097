//! Blocking calls, kept off the threads that serve tasks.

use std::io;

use tokio::task::spawn_blocking;

/// Runs a call that may block on a thread for such, or here where it doesn't block: a simulation
/// stays on its one thread.
pub(crate) async fn off_task<T: Send + 'static>(
    blocks: bool,
    call: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    if !blocks {
        return call();
    }
    match spawn_blocking(call).await {
        Ok(result) => result,
        // It panicked, or the runtime is being shut down: neither is worth another try.
        Err(error) => Err(io::Error::other(error)),
    }
}
