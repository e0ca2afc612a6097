//! Amazon Kinesis Data Streams as a source.
//!
//! A shard is a partition. A record's position is its sequence number, and within an aggregate of
//! the Kinesis Producer Library its sub-sequence number; all records of an aggregate are in one
//! range. A shard ends when it was closed by a reshard and read to its end; its children are read
//! after it, from their beginning.
//!
//! ```text
//! shards ─► notes ─► reader: feed ─► pace, budget ─► answer ─► decode ─► records
//! ```
//!
//! What can be lost without a word elsewhere is said here: what the stream no longer holds behind a
//! checkpoint, and a closed shard that expired before it was read to its end. See [`OnTrimmed`].

mod budget;
mod client;
mod consumer;
mod decode;
#[cfg(feature = "kms")]
pub mod encryption;
mod feed;
mod handed;
mod loss;
mod meters;
mod notes;
mod pace;
mod payload;
mod position;
mod probe;
mod raw;
mod reader;
mod shards;
mod source;

use std::{path::PathBuf, sync::Arc, time::Duration};

use tidegate_core::Timestamp;

pub use decode::{Fault, OnExplicitHash, OutOfRange, fill};
pub use handed::{HandedRecord, HandedRecords};
pub use notes::{NotedShard, ShardNotes, begin_anew, note_anew};
pub use payload::PayloadCompression;
pub use source::{KinesisSource, OtherConsumer};

use super::KnownPartition;
use crate::aws::AwsConfig;

/// Where the shards begin that there are when a stream is first seen. Those that appear later begin
/// at their beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KinesisStart {
    /// With the oldest record that the stream holds.
    #[default]
    TrimHorizon,
    /// With what arrives from then on: the time, by the server's clock, is kept from the first
    /// start on.
    Latest,
    /// With what arrived at a time or later.
    At(Timestamp),
}

/// What becomes of a shard of which something is gone before it was read: it is older than what the
/// stream retains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnTrimmed {
    /// It stops with an error that says what is lost. The others go on.
    #[default]
    Fail,
    /// It goes on with the oldest record that there is, and the log says what is lost as an error.
    Continue,
}

/// Where it is written down what is to be known of shards after a crash.
#[derive(Clone, Debug)]
pub enum KinesisNotes {
    /// In a directory of this host's own: it reads all shards.
    Directory(PathBuf),
    /// Where all hosts see it.
    Shared(Arc<dyn ShardNotes>),
}

/// When the record arrived that a checkpoint's token is of; none where the token does not say.
pub fn arrival_of(token: &str) -> Option<Timestamp> {
    reader::Token::parse(token).map(|it| it.arrival)
}

/// A stream and how it is read.
#[derive(Clone, Debug)]
pub struct KinesisConfig {
    /// The source's name.
    pub name: String,
    /// The pipeline's name, for metrics.
    pub pipeline: String,
    /// The stream's name or its ARN.
    pub stream: String,
    /// Which account and region.
    pub aws: AwsConfig,
    /// The consumer, by name or ARN, to which shards push their records at first; without one they are
    /// asked.
    pub consumer: Option<String>,
    /// Where reading begins.
    pub start: KinesisStart,
    /// What becomes of what is gone.
    pub on_trimmed: OnTrimmed,
    /// What becomes of records of aggregates that are in the wrong shard.
    pub out_of_range: OutOfRange,
    /// What becomes of records whose producer has chosen the shard.
    pub on_explicit_hash: OnExplicitHash,
    /// How payloads are compressed.
    pub compression: PayloadCompression,
    /// What decrypts payloads before, where producers encrypt them.
    #[cfg(feature = "kms")]
    pub decryption: Option<encryption::Decryption>,
    /// What a payload may expand to.
    pub record_bytes_max: usize,
    /// A shard of which nothing is left to read is asked again after this.
    pub poll_every: Duration,
    /// What all shards together have fetched and not handed over.
    pub fetched_bytes_max: usize,
    /// Where it is written down where shards begin.
    pub notes: KinesisNotes,
    /// What earlier runs have read, from where progress is kept.
    pub known: Vec<KnownPartition>,
}

impl KinesisConfig {
    /// A stream that is read from its oldest record on.
    pub fn new(
        name: impl Into<String>,
        stream: impl Into<String>,
        notes: impl Into<PathBuf>,
    ) -> Self {
        KinesisConfig {
            name: name.into(),
            pipeline: String::new(),
            stream: stream.into(),
            aws: AwsConfig::default(),
            consumer: None,
            start: KinesisStart::default(),
            on_trimmed: OnTrimmed::default(),
            out_of_range: OutOfRange::default(),
            on_explicit_hash: OnExplicitHash::default(),
            compression: PayloadCompression::default(),
            #[cfg(feature = "kms")]
            decryption: None,
            // The largest record that Kinesis takes.
            record_bytes_max: 10 << 20,
            // As Lambda does: five consumers may poll a shard so often that none is throttled.
            poll_every: Duration::from_secs(1),
            // Three answers of the largest size under way, or thirty of the usual one.
            fetched_bytes_max: 32 << 20,
            notes: KinesisNotes::Directory(notes.into()),
            known: Vec::new(),
        }
    }

    /// The stream's ARN, where it is named by that.
    fn stream_arn(&self) -> Option<String> {
        self.stream.starts_with("arn:").then(|| self.stream.clone())
    }

    /// The stream's name, where it is named by that.
    fn stream_name(&self) -> Option<String> {
        self.stream_arn().is_none().then(|| self.stream.clone())
    }
}
