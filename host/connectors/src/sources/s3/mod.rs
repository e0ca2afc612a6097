//! Objects of Amazon S3 as a source, as they are created.
//!
//! S3 tells a queue of Amazon SQS of each object, by itself, by EventBridge or by a topic of SNS. A
//! version of an object is a partition: it is read to its end, by the formats that files are read by,
//! and remembered as finished. A message is hidden from other hosts while what it names is worked on,
//! and deleted when all of that is committed. One that is never deleted comes again, and finds where
//! the work was left.
//!
//! ```text
//! queue ─► receive ─► notification ─► held ─► partitions ─► open: head ─► ranged reads ─► reader
//!   ▲                                  │ keeper: hidden while held
//!   └──────────── delete ◄─────────────┴── ended: the last range is committed
//! ```
//!
//! A message that tells of no object is a partition of one record, which can't be read as one: it is a
//! dead letter, and is deleted when that is durable.

mod held;
mod keeper;
mod message;
mod meters;
mod name;
mod notification;
mod object;
mod pages;
mod probe;
mod queue;
mod source;
mod stream;

use std::time::Duration;

pub use source::S3Source;

use super::{Compression, Framing, KnownPartition, LineLimits};
use crate::aws::AwsConfig;

/// A queue, and how the objects that it tells of are read.
#[derive(Clone, Debug)]
pub struct S3SourceConfig {
    /// The source's name.
    pub name: String,
    /// The pipeline's name, for metrics.
    pub pipeline: String,
    /// The queue's URL.
    pub queue: String,
    /// Which account and region the queue is of.
    pub queue_aws: AwsConfig,
    /// The bucket. Whoever may write to the queue can't make the source read another one.
    pub bucket: String,
    /// Which account and region the bucket is of.
    pub aws: AwsConfig,
    /// The bucket stands in the path of a request, and not in the server's name.
    pub path_style: bool,
    /// Only objects whose keys begin so are read.
    pub prefix: String,
    /// Only objects whose keys end so are read.
    pub suffix: String,
    /// What a record is.
    pub framing: Framing,
    /// How the objects are compressed.
    pub compression: Compression,
    /// How large a record may be.
    pub limits: LineLimits,
    /// What becomes of an object that is gone.
    pub on_gone: OnGone,
    /// Objects that are held at a time: messages are asked for while there are fewer.
    pub objects_max: usize,
    /// A message is hidden for so long, and again and again while it is worked on.
    pub visibility: Duration,
    /// For so long a finished object is remembered: longer than a message may come again.
    pub remembers_for: Duration,
    /// An object is read in chunks of this size.
    pub chunk_bytes: usize,
    /// Chunks of one object that are fetched at a time.
    pub chunks_max: usize,
    /// What all objects together have fetched ahead of what their readers wait for.
    pub fetched_bytes_max: usize,
    /// What earlier runs have read, from where progress is kept: what they have begun is finished,
    /// whether or not its message comes again.
    pub known: Vec<KnownPartition>,
    /// Whether messages are asked for. Who only reads again what was read asks for none.
    pub receives: bool,
}

impl S3SourceConfig {
    /// Lines of a bucket's objects, as they are created from now on.
    pub fn new(
        name: impl Into<String>,
        queue: impl Into<String>,
        bucket: impl Into<String>,
    ) -> Self {
        S3SourceConfig {
            name: name.into(),
            pipeline: String::new(),
            queue: queue.into(),
            queue_aws: AwsConfig::default(),
            bucket: bucket.into(),
            aws: AwsConfig::default(),
            path_style: false,
            prefix: String::new(),
            suffix: String::new(),
            framing: Framing::default(),
            compression: Compression::default(),
            limits: LineLimits::default(),
            on_gone: OnGone::default(),
            // Enough that workers don't wait for the queue, few enough that other hosts get some.
            objects_max: 16,
            // A host that dies is waited for no longer; one that lives extends it thrice.
            visibility: Duration::from_secs(60),
            // No queue keeps a message for longer than fourteen days.
            remembers_for: Duration::from_secs(15 * 24 * 3600),
            // Requests of this size reach what a connection gives.
            chunk_bytes: 8 << 20,
            // What S3's own guide says makes use of a fast line.
            chunks_max: 4,
            // Eight chunks ahead.
            fetched_bytes_max: 64 << 20,
            known: Vec::new(),
            receives: true,
        }
    }

    /// Whether a key is of those that are read.
    fn wants(&self, key: &str) -> bool {
        key.starts_with(&self.prefix) && key.ends_with(&self.suffix)
    }
}

/// What becomes of an object that is gone, or whose place another one has taken, before it was read to
/// its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnGone {
    /// It stops with an error, and its message is left to the queue: it comes again until the queue's
    /// own rules end that.
    #[default]
    Fail,
    /// It is finished where it stands, and the log says so as an error.
    Continue,
}
