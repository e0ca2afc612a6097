//! The closer of a partition: takes ranges that are cut from INTENT to COMMIT, one after the
//! other, while the next one is filled on the same task.
//!
//! So a partition does not stand still while its objects are synced, and a swap costs it no more
//! than a cut. What a range holds in memory stays set aside until it is published, so no more
//! ranges wait here than there is memory for.

use tidegate_core::{batcher::Cut, checkpoint::Checkpoint};
use tokio::sync::mpsc;

use crate::{
    error::Error,
    owner::Owner,
    partition::{PartitionReport, checkpoint_after},
    range::SealedRange,
};

/// How many ranges may be cut and not yet closed: a few swaps in a row. Whoever cuts one more
/// waits.
pub(crate) const RANGES_CLOSING_MAX: usize = 4;

/// A range on its way to the closer.
pub(crate) struct CutRange {
    pub(crate) range: SealedRange,
    pub(crate) cut: Cut,
}

/// Closes the ranges of one partition. Holds its owner's pen.
pub(crate) struct Closer<'a> {
    pub(crate) owner: Owner,
    /// How far the partition is done.
    pub(crate) checkpoint: &'a mut Checkpoint,
    pub(crate) report: &'a mut PartitionReport,
}

impl Closer<'_> {
    /// Runs until there are no more ranges, or one can't be closed. Renews the lease meanwhile.
    pub(crate) async fn run(
        mut self,
        mut ranges: mpsc::Receiver<CutRange>,
    ) -> (Owner, Result<(), Error>) {
        let closed = loop {
            match self.owner.alive(ranges.recv()).await {
                Ok(Some(range)) => {
                    if let Err(error) = self.close(range).await {
                        break Err(error);
                    }
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        (self.owner, closed)
    }

    /// INTENT to COMMIT.
    async fn close(&mut self, CutRange { range, cut }: CutRange) -> Result<(), Error> {
        self.owner.intend(&range).await?;
        let published = self.owner.publish(range).await?;
        let committed = self.owner.commit(published, Some(cut)).await?;
        *self.checkpoint = checkpoint_after(&committed.manifest);
        self.report.count(committed);
        Ok(())
    }
}
