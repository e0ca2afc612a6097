//! The seam to where records come from.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::{failure::Failure, position::Position, record::RecordBatch};

/// A partition's name, unique in its source and stable across runs: a file's path, a shard's id.
#[derive(
    Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct PartitionId(pub Arc<str>);

impl std::fmt::Display for PartitionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for PartitionId {
    fn from(name: &str) -> Self {
        PartitionId(name.into())
    }
}

/// A part of the source that is read in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its name.
    pub id: PartitionId,
    /// Partitions that must be finished before this one is read. One that the source no longer
    /// lists counts as finished.
    pub parents: Vec<PartitionId>,
    /// The keys' hashes that it owns, both ends included; none where the source has no such thing.
    pub hash_range: Option<(u128, u128)>,
}

/// What a source makes of a partition key, to find the partition that owns it.
pub type HashKey = fn(&[u8]) -> u128;

/// Where reading goes on: behind a position, in a source that still holds what it held.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Resume {
    /// Everything up to and including this is done.
    pub position: Position,
    /// What the source wants to see again, to know that the partition is the same: a file's
    /// fingerprint. Opaque to all but the source.
    pub token: String,
}

/// Whether a source can be read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replay {
    /// `(start, end]` gives the same records every time.
    Exact,
    /// What was read once is gone (stdin): at most once, and the pipeline says so at its start.
    Never,
}

/// How much to read.
#[derive(Clone, Copy, Debug)]
pub struct ReadLimit {
    /// At most this many records.
    pub records_max: usize,
    /// About this many bytes: at least one record is returned, however large.
    pub bytes_max: usize,
    /// Nothing past this position: a replay reads `(start, end]`.
    pub until: Option<Position>,
}

/// What a read found.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "one a read, and a batch has heap enough")]
pub enum ReadOutcome {
    /// Records, at least one.
    Records(RecordBatch),
    /// Nothing for now; the reader has waited as long as it finds proper.
    Idle,
    /// Nothing ever again, or `until` has been reached.
    Ended,
}

/// Something to read records from. Called by the pipeline only, from one task.
#[async_trait]
pub trait Source: Send + Sync {
    /// Its name in config, metrics and records.
    fn name(&self) -> &str;

    /// Whether it can be read again.
    fn replay(&self) -> Replay;

    /// The partitions as of now. Called at the start, and again whenever one ends and at
    /// intervals: partitions appear, and a finished one may vanish.
    async fn partitions(&self) -> Result<Vec<Partition>, SourceError>;

    /// The partition that the records of `partition` were first read from, where it is another:
    /// they come out of the dead letters, their positions are positions there, and what becomes of
    /// each is kept.
    fn origin(&self, partition: &PartitionId) -> Option<PartitionId> {
        let _ = partition;
        None
    }

    /// How partition keys are hashed, where partitions own ranges of hashes: the state of a key goes
    /// to the child that owns its hash.
    fn hash_key(&self) -> Option<HashKey> {
        None
    }

    /// Whether it is over when all partitions have ended. One that is not is asked for further
    /// partitions until the pipeline is told to stop.
    fn ends(&self) -> bool {
        true
    }

    /// For how long a finished partition is remembered, where partitions come and go without end: one
    /// that is named again within this time is found to be finished. None where all are kept.
    fn remembers_for(&self) -> Option<Duration> {
        None
    }

    /// Whether a partition can be read again from its start, once it is finished.
    fn can_be_read_again(&self, partition: &PartitionId) -> bool {
        let _ = partition;
        self.replay() == Replay::Exact
    }

    /// Returns when there may be further partitions, before the regular look. Dropped and called
    /// again at will.
    async fn changed(&self) {
        std::future::pending().await
    }

    /// Hears how the work on a partition ended here: its end is committed, or it is left for whoever
    /// comes next. Does not wait for anything.
    fn ended(&self, partition: &PartitionId, finished: bool) {
        let _ = (partition, finished);
    }

    /// Hears which of its partitions are not this host's to take for now, for another one works on
    /// them or their turn has not come: what came later need not wait for them. Does not wait for
    /// anything.
    fn are_elsewhere(&self, partitions: &BTreeSet<PartitionId>) {
        let _ = partitions;
    }

    /// Tells whoever is to know what was heard, and gives back what was taken: the last call of a run.
    async fn close(&self) {}

    /// Starts reading a partition behind a checkpoint, or from its start. Fails with
    /// [`SourceErrorKind::Replaced`] where the partition isn't what the token stands for.
    async fn open(
        &self,
        partition: &PartitionId,
        after: Option<&Resume>,
    ) -> Result<Box<dyn Reader>, SourceError>;
}

/// Reads one partition, in order.
#[async_trait]
pub trait Reader: Send {
    /// The next records. Called again after a `Retry` failure, and then goes on behind the last
    /// record that it returned.
    async fn read(&mut self, limit: ReadLimit) -> Result<ReadOutcome, SourceError>;

    /// The token that belongs to a position among those returned so far.
    fn token(&self, position: Position) -> String;
}

/// What kind of thing went wrong with a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceErrorKind {
    /// It may work later.
    Unavailable,
    /// The partition is not what the checkpoint was taken of: a replaced file.
    Replaced,
    /// What the checkpoint points to is gone.
    Trimmed,
    /// It will not work without a person.
    Broken,
}

/// A source failed.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct SourceError {
    /// The kind.
    pub kind: SourceErrorKind,
    /// What, where, and what to do.
    pub message: String,
    /// The cause.
    #[source]
    pub cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl SourceError {
    /// An error with a cause.
    pub fn new(
        kind: SourceErrorKind,
        message: impl Into<String>,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        SourceError { kind, message: message.into(), cause: Some(cause.into()) }
    }

    /// An error without a cause.
    pub fn plain(kind: SourceErrorKind, message: impl Into<String>) -> Self {
        SourceError { kind, message: message.into(), cause: None }
    }

    /// What it asks for.
    pub fn failure(&self) -> Failure {
        match self.kind {
            SourceErrorKind::Unavailable => Failure::RETRY,
            _ => Failure::Fatal,
        }
    }
}
