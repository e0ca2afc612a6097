//! The seam to where progress is kept: leases, intents, checkpoints, states.
//!
//! A range goes through OPEN, PROCESS, CUT, INTENT, PUBLISH and COMMIT. Two of these steps write
//! here, each in one atomic, fenced write: INTENT stores what the range will look like before
//! anything of it is visible, COMMIT moves the checkpoint past it. Whoever acquires the partition
//! finishes a pending intent first. The same over the embedded store and over DynamoDB.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    digest::{Digest, ObjectDigest},
    failure::Failure,
    position::Position,
    source::{PartitionId, Resume},
    time::Timestamp,
};

/// Who holds a lease: unique for each run of a host.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OwnerId(pub String);

/// The name of one write. A write whose answer was lost is sent again under the same name, and
/// the store says whether it had been done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WriteId(pub u128);

/// The right to write for a partition: every write carries it, and none succeeds once somebody
/// else has acquired the partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Of which partition.
    pub partition: PartitionId,
    /// Whose it is.
    pub owner: OwnerId,
    /// The fence: grows with each acquisition.
    pub counter: u64,
}

/// How far a partition is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Where reading goes on; none where nothing has been read.
    pub resume: Option<Resume>,
    /// The number of the next range, from 0.
    pub next_range: u64,
    /// The partition is finished: its children may be read.
    pub finished: bool,
}

/// What one range will be, or is: everything that a replay needs to make the same bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The range's number in its partition.
    pub range: u64,
    /// Grows when a replay could not make the same bytes; part of the objects' names.
    pub revision: u32,
    /// The range is `(start, end]`.
    pub start: Option<Resume>,
    /// The last record's position.
    pub end: Resume,
    /// The partition ends with this range.
    pub finishes: bool,
    /// The batch time of all its records.
    pub opened_at: Timestamp,
    /// The generation: one digest over all components, configs and tables.
    pub generation: Digest,
    /// Records that were excluded for a reason that a replay could not find again.
    pub exclusions: Vec<Exclusion>,
    /// The objects that hold it, dead letters included.
    pub objects: Vec<ManifestObject>,
    /// Objects of earlier revisions: their keys are occupied by empty ones before COMMIT.
    pub superseded: Vec<ManifestObject>,
    /// What became of its records.
    pub counts: Counts,
    /// What became of its shares, a destination each.
    pub destinations: Vec<DestinationCounts>,
    /// Digest of the state changes, over stages and keys in order.
    pub states: Digest,
    /// How many keys the stages had states of at its start: a replay refuses the same new ones.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub state_keys: StateKeys,
    /// What became of each record, where they were redriven; else nothing, for the counts say it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outcomes: Vec<RecordOutcome>,
}

/// What became of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordOutcome {
    /// The record.
    pub position: crate::position::Position,
    /// What became of it.
    pub outcome: Outcome,
}

/// The places of the conservation law, of which each record is in exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the terms of the conservation law")]
pub enum Outcome {
    Filtered,
    Dropped,
    Delivered,
    DeadLettered,
}

impl Outcome {
    /// Its name in the store, in results and in tests of pipelines.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Filtered => "filtered",
            Outcome::Dropped => "dropped",
            Outcome::Delivered => "delivered",
            Outcome::DeadLettered => "dead_lettered",
        }
    }
}

/// A record that goes to the dead letters whatever a replay says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exclusion {
    /// The record.
    pub position: crate::position::Position,
    /// The stage that could not have it.
    pub stage: String,
    /// The reason code.
    pub code: String,
    /// The message of its dead letter.
    pub message: String,
}

/// One object of a range.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestObject {
    /// The sink.
    pub sink: String,
    /// The object's key.
    pub key: String,
    /// Its size.
    pub bytes: u64,
    /// Its digest.
    pub digest: ObjectDigest,
    /// How many records it holds.
    pub records: u64,
}

/// What became of records, each in exactly one place, with the sums of their positions' hashes: a
/// loss and a duplicate cancel in a count, not in a sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the terms of the conservation law")]
pub struct Counts {
    pub read: Tally,
    pub filtered: Tally,
    pub dropped: Tally,
    pub delivered: Tally,
    pub dead_lettered: Tally,
}

/// A count of records and the wrapping sum of their positions' hashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// How many.
    pub records: u64,
    /// The wrapping 128-bit sum of [`crate::Position::hash128`], in hex.
    #[serde(with = "hex128")]
    pub positions: u128,
}

impl Tally {
    /// Counts a record in.
    pub fn add(&mut self, position_hash: u128) {
        self.records += 1;
        self.positions = self.positions.wrapping_add(position_hash);
    }

    /// Both together.
    pub fn plus(self, other: Tally) -> Tally {
        Tally {
            records: self.records + other.records,
            positions: self.positions.wrapping_add(other.positions),
        }
    }
}

impl Counts {
    /// Invariant: read = filtered + dropped + delivered + dead-lettered, in records and positions.
    pub fn conserved(&self) -> bool {
        self.read == self.filtered.plus(self.dropped).plus(self.delivered).plus(self.dead_lettered)
    }

    /// Both together.
    pub fn plus(&self, other: &Counts) -> Counts {
        Counts {
            read: self.read.plus(other.read),
            filtered: self.filtered.plus(other.filtered),
            dropped: self.dropped.plus(other.dropped),
            delivered: self.delivered.plus(other.delivered),
            dead_lettered: self.dead_lettered.plus(other.dead_lettered),
        }
    }
}

/// What became of the shares of one destination: an output row routed to two sinks is two shares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DestinationCounts {
    /// The sink.
    pub sink: String,
    /// Rows routed to it.
    pub shares: u64,
    /// Rows that lie in its objects.
    pub delivered: u64,
    /// Rows that it can't take.
    pub dead_lettered: u64,
}

/// Of how many keys each stage has a state on a partition, by the stage's name. One that is not
/// there has none.
pub type StateKeys = BTreeMap<String, u64>;

/// The state of one key of one stage after a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateChange {
    /// The stage's name.
    pub stage: std::sync::Arc<str>,
    /// The key's 128-bit hash.
    pub key: u128,
    /// The new state; none where it was removed.
    pub state: Option<StateRow>,
}

/// A state as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateRow {
    /// The plugin's state version.
    pub version: u32,
    /// When it expires, on batch time; none where it never does.
    pub expires_at: Option<Timestamp>,
    /// The hash of its records' partition key, by which it goes to a child of its partition; none
    /// where it stays.
    pub hash_key: Option<u128>,
    /// The plugin's bytes.
    pub bytes: Vec<u8>,
}

/// A partition as it was found by its new owner.
#[derive(Clone, Debug)]
pub struct Acquired {
    /// The right to write for it.
    pub lease: Lease,
    /// How far it is done.
    pub checkpoint: Checkpoint,
    /// A range whose intent is stored and that must be finished first.
    pub pending: Option<Manifest>,
    /// How many states are current.
    pub state_keys: StateKeys,
    /// Somebody else has moved the checkpoint since it was left.
    pub moved: Option<MovedCheckpoint>,
}

/// A checkpoint that somebody who keeps no intents has moved. What was delivered in between, and
/// whether it was so once, only they know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MovedCheckpoint {
    /// Where it was left; none where nothing was done.
    pub from: Option<Position>,
    /// Where it is now; none where the partition begins anew.
    pub to: Option<Position>,
}

/// Keeps progress. Every write is atomic, durable on return, and fenced by its lease.
#[async_trait]
pub trait CheckpointStore: Send + Sync {
    /// Takes a partition, from whoever had it: their lease is worth nothing from here on.
    async fn acquire(
        &self,
        partition: &PartitionId,
        owner: &OwnerId,
        write: WriteId,
    ) -> Result<Acquired, StoreError>;

    /// Shows that the owner lives.
    async fn renew(&self, lease: &Lease, write: WriteId) -> Result<(), StoreError>;

    /// Gives the partition up, so that another owner may take it at once.
    async fn hand_over(&self, lease: &Lease, write: WriteId) -> Result<(), StoreError>;

    /// Takes those of some partitions' committed states whose hash keys lie in a range, both ends
    /// included: they are the partition's from then on. Called before its first range, when its
    /// parents are finished, and again after a crash: it need not be one write. States without a
    /// hash key stay, and so does one whose key the partition has a state of. Says how many
    /// states it has.
    async fn inherit(
        &self,
        lease: &Lease,
        write: WriteId,
        parents: &[PartitionId],
        hash_range: (u128, u128),
    ) -> Result<StateKeys, StoreError>;

    /// INTENT: stores the manifest and the states that COMMIT will make current. Replaces a
    /// pending intent of the same range, with a larger revision.
    async fn intend(
        &self,
        lease: &Lease,
        write: WriteId,
        manifest: &Manifest,
        states: &[StateChange],
    ) -> Result<(), StoreError>;

    /// COMMIT: the pending range's end becomes the checkpoint and its states become current, in
    /// one write. Fails with [`StoreErrorKind::Conflict`] where no intent of that range pends.
    /// Says how many states are current from here on.
    async fn commit(
        &self,
        lease: &Lease,
        write: WriteId,
        range: u64,
    ) -> Result<StateKeys, StoreError>;

    /// The committed states of some keys of a stage, in the keys' order.
    async fn states(
        &self,
        lease: &Lease,
        stage: &str,
        keys: &[u128],
    ) -> Result<Vec<Option<StateRow>>, StoreError>;

    /// Marks a partition without anything left to commit as finished.
    async fn finish(&self, lease: &Lease, write: WriteId) -> Result<(), StoreError>;

    /// Forgets partitions that have been finished for longer than this, and those that nobody holds and
    /// of which nothing was begun: some at a time, and says how many. A store that forgets by itself, or keeps everything, does nothing.
    async fn forget(&self, finished_for: Duration) -> Result<u64, StoreError> {
        let _ = finished_for;
        Ok(0)
    }
}

/// What kind of thing went wrong with a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreErrorKind {
    /// It may work later; the write may or may not have been done.
    Unavailable,
    /// Somebody else has acquired the partition.
    Fenced,
    /// The store holds something that the caller can't have left there.
    Conflict,
    /// It will not work without a person: no room, no permission, a file of another version.
    Broken,
}

/// A store failed.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct StoreError {
    /// The kind.
    pub kind: StoreErrorKind,
    /// What, where, and what to do.
    pub message: String,
    /// The cause.
    #[source]
    pub cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl StoreError {
    /// An error without a cause.
    pub fn plain(kind: StoreErrorKind, message: impl Into<String>) -> Self {
        StoreError { kind, message: message.into(), cause: None }
    }

    /// An error with a cause.
    pub fn new(
        kind: StoreErrorKind,
        message: impl Into<String>,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        StoreError { kind, message: message.into(), cause: Some(cause.into()) }
    }

    /// What it asks for.
    pub fn failure(&self) -> Failure {
        match self.kind {
            StoreErrorKind::Unavailable => Failure::RETRY,
            _ => Failure::Fatal,
        }
    }
}

/// 128-bit numbers as hex text: JSON numbers don't hold them.
mod hex128 {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &u128, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{value:032x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<u128, D::Error> {
        let text = String::deserialize(deserializer)?;
        u128::from_str_radix(&text, 16).map_err(serde::de::Error::custom)
    }
}
