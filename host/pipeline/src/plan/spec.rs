//! What a plan is made of: the config of a pipeline with its plugins already loaded.

use tidegate_core::{Digest, Path, sink::Naming};

/// A pipeline to be checked. Start from [`PlanSpec::new`] and set what differs.
#[derive(Clone, Debug)]
pub struct PlanSpec {
    /// The pipeline's name, in dead letters and metrics.
    pub pipeline: String,
    /// The pipeline's version, in envelopes.
    pub version: String,
    /// The digest of the pipeline's config.
    pub config: Digest,
    /// The source's name.
    pub source: String,
    /// The field that the source's partition key is.
    pub partition_key: Option<Path>,
    /// Where rows go, in order; a row goes to each sink whose condition it meets.
    pub sinks: Vec<SinkSpec>,
    /// Where dead letters go.
    pub dead_letters: DeadLetterSpec,
    /// What becomes of a row that no sink takes.
    pub unrouted: Unrouted,
    /// Bounds on what is processed.
    pub limits: Limits,
}

impl PlanSpec {
    /// A pipeline without stages and sinks.
    pub fn new(pipeline: &str, source: &str) -> Self {
        PlanSpec {
            pipeline: pipeline.to_owned(),
            version: "0".to_owned(),
            config: Digest::of(pipeline.as_bytes()),
            source: source.to_owned(),
            partition_key: None,
            sinks: Vec::new(),
            dead_letters: DeadLetterSpec::new("dead-letters"),
            unrouted: Unrouted::DeadLetter,
            limits: Limits::default(),
        }
    }
}

/// A sink and which rows it takes, in which form.
#[derive(Clone, Debug)]
pub struct SinkSpec {
    /// Its name.
    pub name: String,
    /// Whether its objects can be named.
    pub naming: Naming,
    /// How new fields join the record.
    pub layout: Layout,
    /// How objects are compressed.
    pub compression: Compression,
    /// An object is closed after this many rows.
    pub part_records_max: u64,
    /// An object is closed once it has this many bytes before compression.
    pub part_bytes_max: u64,
}

impl SinkSpec {
    /// A sink that takes every row, flat, uncompressed, in objects of up to 128 MiB.
    pub fn new(name: &str) -> Self {
        SinkSpec {
            name: name.to_owned(),
            naming: Naming::Named,
            layout: Layout::Flat,
            compression: Compression::None,
            part_records_max: u64::MAX,
            part_bytes_max: 128 << 20,
        }
    }
}

/// How new fields join the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Each at its own path of the record.
    Flat,
    /// All under one key of the record.
    Nested(String),
    /// Beside the original record, in an object of the host's.
    Envelope,
}

/// How objects are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all: `.jsonl`.
    None,
    /// `.jsonl.gz`.
    Gzip {
        /// 1, fast, to 9, small.
        level: u32,
    },
    /// `.jsonl.zst`.
    Zstd {
        /// 1, fast, to 19, small.
        level: i32,
    },
}

impl Compression {
    /// The extension of an object's name.
    pub fn extension(self) -> &'static str {
        match self {
            Compression::None => "jsonl",
            Compression::Gzip { .. } => "jsonl.gz",
            Compression::Zstd { .. } => "jsonl.zst",
        }
    }
}

/// Where dead letters go.
#[derive(Clone, Debug)]
pub struct DeadLetterSpec {
    /// The sink's name.
    pub name: String,
    /// Whether its objects can be named.
    pub naming: Naming,
    /// How objects are compressed.
    pub compression: Compression,
}

impl DeadLetterSpec {
    /// Uncompressed objects of a named sink.
    pub fn new(name: &str) -> Self {
        DeadLetterSpec {
            name: name.to_owned(),
            naming: Naming::Named,
            compression: Compression::None,
        }
    }
}

/// What becomes of a row that no sink takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unrouted {
    /// It is a dead letter: a row without a place is a mistake until somebody says otherwise.
    #[default]
    DeadLetter,
    /// It counts as filtered.
    Drop,
}

/// Bounds on what is processed.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A larger record is a dead letter.
    pub record_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        // Kinesis takes 10 MiB since 2025 and Kafka 1 MiB unless told otherwise.
        Limits { record_bytes_max: 16 << 20 }
    }
}
