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

/// How a pipeline hears that it is to stop, or a part of it.
#[derive(Clone, Debug)]
pub struct Shutdown {
    whole: Heard,
    /// A part also stops alone.
    part: Option<Heard>,
}

/// One end of a channel, and the other, which keeps it open when the handle is gone.
#[derive(Clone, Debug)]
struct Heard {
    stop: watch::Receiver<Stop>,
    open: watch::Sender<Stop>,
}

/// A handle to stop by, and what listens to it.
pub fn shutdown() -> (StopHandle, Shutdown) {
    let (handle, whole) = heard();
    (handle, Shutdown { whole, part: None })
}

fn heard() -> (StopHandle, Heard) {
    let (sender, stop) = watch::channel(Stop::No);
    (StopHandle(sender.clone()), Heard { stop, open: sender })
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
        StopHandle(self.whole.open.clone()).drain();
    }

    /// What a part of the pipeline listens to: it stops when the whole does, or alone.
    pub(crate) fn part(&self) -> (StopHandle, Shutdown) {
        let (handle, part) = heard();
        (handle, Shutdown { whole: self.whole.clone(), part: Some(part) })
    }

    /// One that never comes.
    pub fn never() -> Self {
        shutdown().1
    }

    /// Whether the pipeline is to stop.
    pub fn is_draining(&self) -> bool {
        self.stop() != Stop::No
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
        if let Stop::Drain { since } = self.stop() {
            sleep_until(since + patience).await;
        }
    }

    /// How much is asked for: the most, and since it was first.
    fn stop(&self) -> Stop {
        let whole = *self.whole.stop.borrow();
        let part = self.part.as_ref().map_or(Stop::No, |it| *it.stop.borrow());
        match (whole, part) {
            (Stop::Force, _) | (_, Stop::Force) => Stop::Force,
            (Stop::Drain { since }, Stop::Drain { since: other }) => {
                Stop::Drain { since: since.min(other) }
            }
            (Stop::No, stop) | (stop, Stop::No) => stop,
        }
    }

    async fn wait_for(&self, reached: impl Fn(Stop) -> bool) {
        let mut whole = self.whole.stop.clone();
        // The senders live as long as `self`.
        let Some(part) = &self.part else {
            let _ = whole.wait_for(|stop| reached(*stop)).await;
            return;
        };
        let mut part = part.stop.clone();
        tokio::select! {
            _ = whole.wait_for(|stop| reached(*stop)) => {}
            _ = part.wait_for(|stop| reached(*stop)) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_part_stops_alone_and_with_the_whole() {
        let (whole, shutdown) = shutdown();
        let (one, alone) = shutdown.part();
        let (_, with) = shutdown.part();
        one.drain();
        alone.drain().await;
        assert!(alone.is_draining() && !with.is_draining() && !shutdown.is_draining());
        let since = Instant::now();
        tokio::time::advance(Duration::from_secs(3)).await;
        whole.drain();
        with.drain().await;
        alone.out_of_patience(Duration::from_secs(5)).await;
        assert_eq!(since.elapsed().as_secs(), 5, "since it was first asked for");
        whole.force();
        tokio::join!(alone.forced(), with.forced(), shutdown.forced());
    }
}
