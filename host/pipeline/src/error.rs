//! Why a partition, or the whole pipeline, could not go on.

use tidegate_core::{
    Digest, Failure, ObjectDigest, Position,
    checkpoint::{StoreError, StoreErrorKind},
    sink::SinkError,
    source::{PartitionId, SourceError},
};

use crate::process::ProcessError;

/// The data path failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The source can't be read.
    #[error("failed to read")]
    Source(#[source] SourceError),
    /// A sink can't be written to.
    #[error("failed to write to sink `{sink}`")]
    Sink {
        /// Which.
        sink: String,
        /// Why.
        #[source]
        source: Box<SinkError>,
    },
    /// Progress can't be stored.
    #[error("failed to store progress")]
    Store(#[source] StoreError),
    /// The ledger can't be written to.
    #[error("failed to enter a range into the ledger")]
    Ledger(#[source] StoreError),
    /// Records can't be processed.
    #[error("failed to process records")]
    Process(#[source] ProcessError),
    /// A call did not return in time. It may have done its work.
    #[error("no answer from {seam} within {seconds} s")]
    NoAnswer {
        /// Who was called.
        seam: String,
        /// For how long.
        seconds: u64,
    },
    /// Somebody else's bytes lie where an object of a range belongs.
    #[error(transparent)]
    Foreign(Box<ForeignObject>),
    /// The plugins, config or tables changed while a range was half published.
    #[error(
        "range {range} of partition `{partition}` is half published by generation {pinned}, and \
         generation {serving} can't finish it: start once with the plugins, config and tables of \
         {pinned}, then change them"
    )]
    HalfPublished {
        /// The partition.
        partition: PartitionId,
        /// The range.
        range: u64,
        /// The generation that the intent pins.
        pinned: Digest,
        /// The generation of this pipeline.
        serving: Digest,
    },
    /// A pending range names a sink that the pipeline does not have.
    #[error(
        "range {range} of partition `{partition}` is pending and names sink `{sink}`, which this \
         pipeline does not have: start once with that sink, then remove it"
    )]
    UnknownSink {
        /// The partition.
        partition: PartitionId,
        /// The range.
        range: u64,
        /// The sink.
        sink: String,
    },
    /// Records of a pending range are gone from the source, and from nowhere else to be had.
    #[error(
        "range {range} of partition `{partition}` is intended, not complete, and can't be read \
         again: records are lost"
    )]
    Unreplayable {
        /// The partition.
        partition: PartitionId,
        /// The range.
        range: u64,
        /// Why.
        #[source]
        source: SourceError,
    },
    /// A replay did not end where the range ends.
    #[error(
        "a replay of range {range} of partition `{partition}` ended at {found} where the range \
         ends at {expected}: the source no longer holds what it held"
    )]
    ReplayEnd {
        /// The partition.
        partition: PartitionId,
        /// The range.
        range: u64,
        /// The end by the intent.
        expected: Position,
        /// The last position that was read.
        found: Position,
    },
    /// The conservation law is broken: a defect of the host.
    #[error(
        "records don't add up in range {range} of partition `{partition}`: {read} were read, and \
         {accounted} are accounted for (or another record in the place of one)"
    )]
    Unaccounted {
        /// The partition.
        partition: PartitionId,
        /// The range.
        range: u64,
        /// How many were handed over.
        read: u64,
        /// How many the ledger knows of.
        accounted: u64,
    },
    /// A range was about to be committed with records that no destination has taken: a defect of
    /// the host.
    #[error("range {range} of partition `{partition}` is not settled up to its end at {end}")]
    Unsettled {
        /// The partition.
        partition: PartitionId,
        /// The range.
        range: u64,
        /// Its end.
        end: Position,
    },
    /// The pipeline was told to stop while it waited for something. Nothing is lost: the next
    /// start goes on from the checkpoint.
    #[error("stopped while waiting for {waiting_for}")]
    Interrupted {
        /// What for.
        waiting_for: String,
    },
    /// The task of a partition panicked: a defect of the host.
    #[error("the task of partition `{partition}` panicked")]
    Panicked {
        /// The partition.
        partition: PartitionId,
    },
    /// A plan names a sink that was not given, or differs from it.
    #[error("the plan and the sinks don't fit: {0}")]
    Sinks(String),
    /// A worker thread can't be started.
    #[error("failed to start a worker thread")]
    Worker(#[source] std::io::Error),
}

/// Somebody else's bytes lie where an object of a range belongs.
#[derive(Debug, thiserror::Error)]
#[error(
    "object `{key}` in sink `{sink}` has {found}, where range {range} of partition `{partition}` \
     puts {expected} (revision {revision}): somebody else writes there; move the object away and \
     start again"
)]
pub struct ForeignObject {
    /// The partition.
    pub partition: PartitionId,
    /// The range.
    pub range: u64,
    /// Its revision.
    pub revision: u32,
    /// The sink.
    pub sink: String,
    /// The key.
    pub key: String,
    /// What belongs there.
    pub expected: ObjectDigest,
    /// What lies there.
    pub found: ObjectDigest,
}

impl Error {
    /// What it asks for.
    pub fn failure(&self) -> Failure {
        match self {
            Error::Source(error) => error.failure(),
            Error::Sink { source, .. } => source.failure(),
            Error::Store(error) | Error::Ledger(error) => error.failure(),
            Error::Process(error) => error.failure(),
            Error::NoAnswer { .. } => Failure::RETRY,
            _ => Failure::Fatal,
        }
    }

    /// Whether somebody else owns the partition now: not a failure, but nothing to go on with.
    pub fn is_fenced(&self) -> bool {
        let store = match self {
            Error::Store(error) => error,
            Error::Process(ProcessError::States { source, .. }) => source,
            _ => return false,
        };
        store.kind == StoreErrorKind::Fenced
    }
}

/// An error and its causes, in one line.
pub fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
