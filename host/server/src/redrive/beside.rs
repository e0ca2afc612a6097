//! Redrives by a pipeline that runs: beside what it reads, through what it serves.

use std::sync::Arc;

use anyhow::{Context, bail};
use tidegate_pipeline::{Shutdown, shutdown};
use tokio::{
    runtime::Handle,
    sync::{Semaphore, TryAcquireError},
};

use super::{Account, Order, Redriver};

/// Carries redrives out, one at a time, for as long as the pipeline runs. Clones are the same.
#[derive(Clone)]
pub(crate) struct Beside {
    redriver: Arc<Redriver>,
    /// The pipeline's own: where it stops, so does a redrive.
    pipeline: Shutdown,
    turn: Arc<Semaphore>,
}

impl Beside {
    pub(crate) fn new(redriver: Redriver, pipeline: Shutdown) -> Self {
        Beside { redriver: Arc::new(redriver), pipeline, turn: Arc::new(Semaphore::new(1)) }
    }

    /// Carries one out: to its end, or until the pipeline stops, or whoever ordered it has left.
    pub(crate) async fn execute(
        &self,
        order: Order,
        left: impl Future<Output = ()>,
    ) -> anyhow::Result<Account> {
        let _turn = match self.turn.try_acquire() {
            Ok(turn) => turn,
            Err(TryAcquireError::NoPermits) => {
                bail!("a redrive is under way: one at a time")
            }
            Err(TryAcquireError::Closed) => bail!("the pipeline is ending"),
        };
        let (stop, stops) = shutdown();
        let (redriver, io) = (Arc::clone(&self.redriver), Handle::current());
        let mut work = tokio::task::spawn_blocking(move || {
            io.block_on(redriver.execute(&order, stops, |_, _| {}))
        });
        tokio::select! {
            biased;
            done = &mut work => return done.context("the redrive panicked")?,
            () = self.pipeline.drain() => {}
            () = left => {}
        }
        stop.drain();
        work.await.context("the redrive panicked")?
    }

    /// Lets the one that is under way come to its end, and no other begin.
    pub(crate) async fn end(&self) {
        let _turn = self.turn.acquire().await;
        self.turn.close();
    }
}
