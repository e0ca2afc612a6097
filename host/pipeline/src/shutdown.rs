//! Stopping: once gracefully, twice by force.

use std::time::Duration;

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

/// How much of a stop was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    No,
    Drain { since: Instant },
    Force,
}

/// Asks a pipeline to stop. Dropping it asks for nothing.
#[derive(Clone, Debug)]
pub struct StopHandle(watch::Sender<Stop>);

/// How a pipeline hears that it is to stop.
#[derive(Clone, Debug)]
pub struct Shutdown {
    stop: watch::Receiver<Stop>,
    /// Keeps the channel open when the handle is gone.
    open: watch::Sender<Stop>,
}

/// A handle to stop by, and what listens to it.
pub fn shutdown() -> (StopHandle, Shutdown) {
    let (sender, stop) = watch::channel(Stop::No);
    (StopHandle(sender.clone()), Shutdown { stop, open: sender })
}

impl StopHandle {
    /// Stop reading, finish and commit what was read, give the partitions up. For the first
    /// signal.
    pub fn drain(&self) {
        self.0.send_if_modified(|stop| {
            let first = *stop == Stop::No;
            if first {
                *stop = Stop::Drain { since: Instant::now() };
            }
            first
        });
    }

    /// Drop everything where it stands: the next start recovers. For the second signal.
    pub fn force(&self) {
        self.0.send_replace(Stop::Force);
    }
}

impl Shutdown {
    /// Begins to drain, from within: the pipeline itself can't go on.
    pub(crate) fn begin(&self) {
        StopHandle(self.open.clone()).drain();
    }

    /// One that never comes.
    pub fn never() -> Self {
        shutdown().1
    }

    /// Whether the pipeline is to stop.
    pub fn is_draining(&self) -> bool {
        *self.stop.borrow() != Stop::No
    }

    /// Returns when the pipeline is to stop.
    pub async fn drain(&self) {
        self.wait_for(|stop| stop != Stop::No).await;
    }

    /// Returns when the pipeline is to drop everything.
    pub(crate) async fn forced(&self) {
        self.wait_for(|stop| stop == Stop::Force).await;
    }

    /// Returns when the pipeline was told to stop and has had time enough.
    pub(crate) async fn out_of_patience(&self, patience: Duration) {
        self.drain().await;
        let stop = *self.stop.borrow();
        if let Stop::Drain { since } = stop {
            sleep_until(since + patience).await;
        }
    }

    async fn wait_for(&self, reached: impl Fn(Stop) -> bool) {
        let mut stop = self.stop.clone();
        // The sender lives as long as `self`.
        let _ = stop.wait_for(|stop| reached(*stop)).await;
    }
}
