//! Swapping: which plan serves, and where the plans of earlier generations are to be had.
//!
//! A plan is immutable, and every range carries the one that it was opened with. Whoever offers
//! another changes nothing of that: each partition cuts its open range behind the batch that is
//! under way, and opens its next range with the new plan. The cut range is published and
//! committed while the new plan is already at work.

use std::sync::Arc;

use async_trait::async_trait;
use tidegate_core::Digest;
use tokio::sync::watch;

use crate::{plan::Plan, process::ProcessError};

/// Offers a running pipeline another plan. Cheap to clone; dropping it changes nothing.
#[derive(Clone, Debug)]
pub struct SwapHandle {
    serving: watch::Sender<Arc<Plan>>,
    wakes: watch::Sender<()>,
}

/// A plan can't take over while the pipeline runs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{what} differs from what runs: only plugins, their configs and tables change in place; stop and start for the rest"
)]
pub struct SwapError {
    /// What differs.
    pub what: &'static str,
}

impl SwapHandle {
    /// A plan that serves, and no pipeline yet: see [`crate::Pipeline::beside`].
    pub fn new(plan: Arc<Plan>) -> Self {
        SwapHandle { serving: watch::Sender::new(plan), wakes: watch::Sender::new(()) }
    }

    /// The plan that ranges are opened with.
    pub fn serving(&self) -> Arc<Plan> {
        self.serving.borrow().clone()
    }

    /// From here on ranges are opened with this plan. Returns at once: events say when each
    /// partition has taken it.
    pub fn offer(&self, plan: Arc<Plan>) -> Result<(), SwapError> {
        self.fits(&plan)?;
        // The generation that serves already makes the same bytes: no range is cut for it.
        if self.serving().generation() != plan.generation() {
            self.serving.send_replace(plan);
        }
        self.wake();
        Ok(())
    }

    /// Partitions that wait for a plugin to be unblocked try again at once.
    pub fn wake(&self) {
        self.wakes.send_replace(());
    }

    /// Whether a plan may take over.
    pub fn fits(&self, plan: &Plan) -> Result<(), SwapError> {
        let serving = self.serving();
        let differs = |what| Err(SwapError { what });
        match plan {
            it if it.spec.pipeline != serving.spec.pipeline => differs("the pipeline's name"),
            it if it.spec.source != serving.spec.source => differs("the source"),
            it if it.destinations != serving.destinations => differs("a sink"),
            _ => Ok(()),
        }
    }

    /// Hears of every plan that is offered from here on.
    pub(crate) fn listen(&self) -> watch::Receiver<Arc<Plan>> {
        self.serving.subscribe()
    }

    /// Hears of every plan that is offered, and of every call of [`SwapHandle::wake`].
    pub(crate) fn wakes(&self) -> watch::Receiver<()> {
        self.wakes.subscribe()
    }
}

/// Finds the plans of earlier generations: a pending range is finished with what its intent pins.
#[async_trait]
pub trait Generations: Send + Sync {
    /// The plan of a generation; none where it is not to be had any more. An error where it is not
    /// to be had for now: the partition waits. Called once for each partition that has a pending
    /// range of another generation, again after each error, and may take as long as a compiler
    /// does.
    async fn find(&self, generation: Digest) -> Result<Option<Arc<Plan>>, ProcessError>;
}
