//! The seam to who reads what, where several hosts share one source.
//!
//! The store fences: of two hosts that take one partition, one can write. A coordinator sees to it that
//! they need not be fenced: each host is told which partitions to take, and which to give up.

use std::{collections::BTreeSet, time::Duration};

use async_trait::async_trait;

use crate::{
    checkpoint::{OwnerId, StoreError},
    source::{Partition, PartitionId},
};

/// What a host knows of itself and of the source.
#[derive(Clone, Copy, Debug)]
pub struct HostSituation<'a> {
    /// Who it is.
    pub owner: &'a OwnerId,
    /// The source's partitions, as they were last listed.
    pub listed: &'a [Partition],
    /// Those that it has, or is about to take.
    pub running: &'a BTreeSet<PartitionId>,
    /// Those that it can't work on without a person.
    pub stopped: &'a BTreeSet<PartitionId>,
}

/// What a host is to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// Partitions to take.
    pub take: BTreeSet<PartitionId>,
    /// Partitions that another host waits for: their ranges are finished, and they are handed over.
    pub give_up: BTreeSet<PartitionId>,
    /// Partitions that are finished, whoever did it.
    pub finished: BTreeSet<PartitionId>,
    /// There are partitions that were not listed: the source is worth another look.
    pub lists_more: bool,
}

/// Says which partitions are whose. Called by the pipeline only, from one task.
#[async_trait]
pub trait Coordinator: Send + Sync {
    /// How often it is asked; none where there is no other host and everything is to be taken. Then it
    /// is never asked.
    fn look_every(&self) -> Option<Duration>;

    /// What the host is to do now. What is to be taken may be somebody else's by the time that it is
    /// acquired: then the acquisition fails as fenced, and the partition is asked for again.
    async fn look(&self, host: HostSituation<'_>) -> Result<Share, StoreError>;
}

/// There is one host, and everything is its own: the coordinator of the embedded store.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alone;

#[async_trait]
impl Coordinator for Alone {
    fn look_every(&self) -> Option<Duration> {
        None
    }

    async fn look(&self, host: HostSituation<'_>) -> Result<Share, StoreError> {
        let take = host.listed.iter().map(|it| it.id.clone()).collect();
        Ok(Share { take, ..Share::default() })
    }
}
