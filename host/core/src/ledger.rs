//! The seam to a ledger: a row for each range, for reports and for whoever asks what became of a
//! shard's records.

use std::collections::BTreeSet;

use async_trait::async_trait;

use crate::{
    checkpoint::{Manifest, StoreError},
    source::PartitionId,
};

/// What became of one range. The same whoever writes it: everything in it is the manifest's.
#[derive(Clone, Copy, Debug)]
pub struct LedgerEntry<'a> {
    /// The pipeline's name.
    pub pipeline: &'a str,
    /// The partition.
    pub partition: &'a PartitionId,
    /// The range.
    pub manifest: &'a Manifest,
    /// The sink of its dead letters.
    pub dead_letters: &'a str,
}

impl LedgerEntry<'_> {
    /// The range's name: no other range of any pipeline has it.
    pub fn batch_id(&self) -> String {
        format!("{}/{}/{:010}", self.pipeline, self.partition, self.manifest.range)
    }

    /// In how many directories of its sinks its objects lie, dead letters not counted.
    pub fn directories(&self) -> usize {
        let delivered = self.manifest.objects.iter().filter(|it| it.sink != self.dead_letters);
        let directory = |key: &str| key.rfind('/').unwrap_or(0);
        let directories: BTreeSet<(&str, &str)> =
            delivered.map(|it| (it.sink.as_str(), &it.key[..directory(&it.key)])).collect();
        directories.len()
    }
}

/// Keeps a row for each range.
#[async_trait]
pub trait BatchLedger: Send + Sync {
    /// Enters a range whose objects are all there, and that is about to be committed. Durable on
    /// return. Entered again it is the same row; one of a later revision stays.
    async fn enter(&self, entry: LedgerEntry<'_>) -> Result<(), StoreError>;
}
