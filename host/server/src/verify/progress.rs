//! What a pipeline has noted of its partitions, wherever that is kept: in its data directory, or by a
//! fleet beside its leases.

#[cfg(feature = "dynamodb")]
use std::collections::BTreeSet;

#[cfg(feature = "dynamodb")]
use tidegate_connectors::leases::LeaseStore;
use tidegate_connectors::store::{PartitionRecord, StoreInspector};
use tidegate_core::checkpoint::{Manifest, StoreError};

use crate::redrive::History;

/// Where progress is kept.
pub(crate) struct Progress {
    /// The data directory; of a fleet's host, it holds what was redriven from there, if anything was.
    pub(crate) store: Option<StoreInspector>,
    /// The leases of a fleet.
    #[cfg(feature = "dynamodb")]
    pub(crate) leases: Option<LeaseStore>,
}

/// A partition, and all that was committed of it.
pub(super) struct Committed {
    pub(super) record: PartitionRecord,
    pub(super) manifests: Vec<Manifest>,
}

impl Progress {
    /// What was redriven.
    pub(super) fn redriven(&self) -> Result<History, StoreError> {
        self.store.as_ref().map_or_else(|| Ok(History::default()), History::read)
    }

    /// All partitions, by name: a shard has a larger number than its parents.
    pub(super) async fn partitions(&self) -> Result<Vec<PartitionRecord>, StoreError> {
        let mut partitions = match &self.store {
            Some(store) => store.partitions()?,
            None => Vec::new(),
        };
        #[cfg(feature = "dynamodb")]
        if let Some(leases) = &self.leases {
            let rows = leases.leases().await?.into_iter();
            partitions.extend(rows.map(|row| PartitionRecord {
                id: row.partition,
                owner: row.owner,
                checkpoint: row.checkpoint,
                pending: None,
            }));
            partitions.sort_by(|a, b| a.id.cmp(&b.id));
        }
        Ok(partitions)
    }

    /// How many partitions were finished so long ago that nothing is known of them any more: of a
    /// fleet, those that others come after, and that have no rows.
    pub(super) async fn forgotten(&self) -> Result<u64, StoreError> {
        let store = self.store.as_ref().map_or(Ok(0), StoreInspector::forgotten)?;
        #[cfg(feature = "dynamodb")]
        if let Some(leases) = &self.leases {
            let rows = leases.leases().await?;
            let named: BTreeSet<_> = rows.iter().flat_map(|row| &row.parents).collect();
            let gone = named.iter().filter(|id| rows.iter().all(|row| row.partition != ***id));
            return Ok(store + gone.count() as u64);
        }
        Ok(store)
    }

    /// The ranges of a partition that are committed, as of now.
    pub(super) async fn committed(&self, record: PartitionRecord) -> Result<Committed, StoreError> {
        #[cfg(feature = "dynamodb")]
        if let Some(leases) = &self.leases
            && let Some((lease, history)) = leases.history(&record.id).await?
        {
            let record = PartitionRecord {
                checkpoint: lease.checkpoint,
                pending: history.pending,
                ..record
            };
            return Ok(Committed { record, manifests: history.committed });
        }
        let mut manifests = Vec::new();
        if let Some(store) = &self.store {
            store.manifests(&record.id, |manifest| {
                manifests.push(manifest);
                Ok::<_, StoreError>(())
            })?;
        }
        Ok(Committed { record, manifests })
    }
}
