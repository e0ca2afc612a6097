//! Where records go, as an operator writes it.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_core::Condition;

use super::{
    firehose::Firehose, format::Format, kinesis_sink::KinesisSink, lambda::Reply, s3::S3,
    sqs::CopyTo, units::ByteSize,
};

/// Where records go: exactly one of `directory`, `s3`, `kinesis`, `firehose`, `reply`, `stdout` and
/// `blackhole`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sink {
    /// The sink's name in metrics, dead letters and the catalogue. Don't change it between runs
    /// over one data directory.
    pub name: String,
    /// Whether it takes what the stages make, or the records as they came.
    #[serde(default)]
    pub zone: Zone,
    /// Which records it takes; all, where this is left out. A record goes to every sink that
    /// takes it.
    #[serde(default)]
    pub when: Option<Condition>,
    /// A tree of files.
    #[serde(default)]
    pub directory: Option<Directory>,
    /// Objects in a bucket.
    #[serde(default)]
    pub s3: Option<S3>,
    /// Records of a Kinesis stream. They can't be looked up afterwards: a record may come twice when
    /// a run is killed, or when an answer is lost.
    #[serde(default)]
    pub kinesis: Option<KinesisSink>,
    /// Records of a Firehose stream. They can't be looked up afterwards: a record may come twice when
    /// a run is killed, or when an answer is lost.
    #[serde(default)]
    pub firehose: Option<Firehose>,
    /// The answer of an AWS Lambda function that transforms records for Firehose: for `tidegate
    /// lambda` alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<Reply>,
    /// Standard output, record by record. It can't be looked up afterwards: a record may come
    /// twice when a run is killed.
    #[serde(default)]
    pub stdout: Option<Nothing>,
    /// Nowhere: for measuring.
    #[serde(default)]
    pub blackhole: Option<Nothing>,
    /// What its objects are.
    #[serde(default)]
    pub format: Format,
    /// How new fields join the record, in JSON Lines.
    #[serde(default)]
    pub layout: Layout,
    /// How objects are compressed; of Parquet, the pages in them.
    #[serde(default)]
    pub compression: Compression,
    /// How hard it tries: 1, fast, to 9 for gzip and 19 for zstd, small. 6 and 3 where this is
    /// left out.
    #[serde(default)]
    pub compression_level: Option<u32>,
    /// When the next object is begun. It is also begun at the end of each range.
    #[serde(default)]
    pub rotation: Rotation,
}

/// What a sink takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Zone {
    /// What leaves the last stage.
    #[default]
    Processed,
    /// The records as they came, before the first stage and behind the filter, whatever becomes of
    /// them later. What is no record of the source's format is a dead letter alone.
    Raw,
}

/// Something without settings: write `{}`.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// A tree of files, each written once under a name derived from its range.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Directory {
    /// The directory, relative to this file. Nothing else may write there.
    pub path: PathBuf,
    /// The directories below it that records are sorted into, from the outermost, such as
    /// `event_type=transaction/year=2026/`. A record without the value lies in `__missing__`.
    #[serde(default)]
    pub tree: Vec<Level>,
}

/// Levels of a tree: exactly one of `field` and `time`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Level {
    /// One level, by a field's value; also `@source` and `@partition`.
    pub field: Option<String>,
    /// The level's name; the field's own, where this is left out.
    pub name: Option<String>,
    /// One level a part, by the time in a field, which is an RFC 3339 text, in UTC; also
    /// `@batch-time` and `@arrival-time`.
    pub time: Option<String>,
    /// The parts of the time.
    pub parts: Vec<TimePart>,
}

/// A part of a time: a level of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TimePart {
    /// `year=2026`
    Year,
    /// `month=03`
    Month,
    /// `day=01`
    Day,
    /// `hour=12`
    Hour,
}

impl Level {
    /// The pipeline's template of the level: `event_type={event_type}`.
    pub(crate) fn template(&self) -> String {
        if let Some(time) = &self.time {
            let part = |part: &TimePart| {
                let name = match part {
                    TimePart::Year => "year",
                    TimePart::Month => "month",
                    TimePart::Day => "day",
                    TimePart::Hour => "hour",
                };
                format!("{name}={{{name}:{time}}}")
            };
            return self.parts.iter().map(part).collect::<Vec<_>>().join("/");
        }
        let field = self.field.as_deref().unwrap_or_default();
        let name = self.name.as_deref().unwrap_or_else(|| field.trim_start_matches('@'));
        format!("{name}={{{field}}}")
    }
}

impl Sink {
    /// What its records are sorted by: a directory's tree, a bucket's, or a reply's. None where there
    /// can be none.
    pub(crate) fn tree(&self) -> Option<&[Level]> {
        let directory = self.directory.as_ref().map(|it| it.tree.as_slice());
        let reply = self.reply.as_ref().map(|it| it.tree.as_slice());
        directory.or(self.s3.as_ref().map(|it| it.tree.as_slice())).or(reply)
    }

    /// Whether its objects have names, under which they can be found again.
    pub(crate) fn is_named(&self) -> bool {
        self.directory.is_some() || self.s3.is_some()
    }

    /// The pipeline's template of the whole tree.
    pub(crate) fn template(&self) -> Option<String> {
        let levels = self.tree()?.iter().map(Level::template);
        Some(levels.collect::<Vec<_>>().join("/"))
    }

    /// Below which key the levels of its tree stand.
    pub(crate) fn tree_pointer(&self) -> &'static str {
        match (&self.s3, &self.reply) {
            (Some(_), _) => "/s3/tree",
            (None, Some(_)) => "/reply/tree",
            (None, None) => "/directory/tree",
        }
    }
}

/// How new fields join the record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Layout {
    /// Each at its own path of the record; what no plugin wrote stays byte for byte.
    #[default]
    Flat,
    /// All under one key of the record, which is an object.
    Nested(NestedLayout),
    /// Beside the original record: `{"original_data": …, "enriched_data": …, …}`.
    Envelope,
}

/// New fields under one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NestedLayout {
    /// The key.
    pub key: String,
}

/// How objects are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all: `.jsonl`.
    #[default]
    None,
    /// `.jsonl.gz`
    Gzip,
    /// `.jsonl.zst`
    Zstd,
    /// Only within Parquet: fast, and read by everything.
    Snappy,
}

impl Compression {
    /// The levels that there are, and the one where nothing is said: the library's own.
    pub(crate) fn levels(self) -> Option<(std::ops::RangeInclusive<u32>, u32)> {
        match self {
            Compression::None | Compression::Snappy => None,
            Compression::Gzip => Some((1..=9, 6)),
            Compression::Zstd => Some((1..=19, 3)),
        }
    }
}

/// When the next object is begun, within a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Rotation {
    /// After this many records.
    #[schemars(range(min = 1))]
    pub records: Option<u64>,
    /// After this many bytes before compression. An object ends with its range at the latest: for
    /// large ones, `range.spool` and `memory` must have room.
    pub bytes: ByteSize,
}

impl Default for Rotation {
    fn default() -> Self {
        // What engines that query such files like best. A range's spool is full sooner, unless it
        // is made larger.
        Rotation { records: None, bytes: ByteSize::mib(128) }
    }
}

/// Where dead letters go: exactly one of `directory` and `s3`. Where the source is `lambda`, neither is
/// needed: nothing is written there.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeadLetters {
    /// The directory, relative to this file. Nothing else may write there.
    #[serde(default)]
    pub directory: Option<PathBuf>,
    /// A place in a bucket. It has no `tree`.
    #[serde(default)]
    pub s3: Option<S3>,
    /// Who gets a copy of each, for alarms and for people. What lies in the directory or the bucket
    /// stays what is looked at, redriven and verified.
    #[serde(default)]
    pub copy_to: Option<CopyTo>,
    /// How its files are compressed.
    #[serde(default)]
    pub compression: Compression,
    /// How hard it tries: 1, fast, to 9 for gzip and 19 for zstd, small. 6 and 3 where this is
    /// left out.
    #[serde(default)]
    pub compression_level: Option<u32>,
}

/// What becomes of a record that no sink takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unrouted {
    /// It is a dead letter: a record without a place is a mistake until somebody says otherwise.
    #[default]
    DeadLetter,
    /// It counts as filtered.
    Drop,
}
