//! What a plan is made of: the config of a pipeline with its plugins already loaded.

use std::{fmt, sync::Arc, time::Duration};

use tidegate_core::{
    Condition, Digest, Kind, LookupTable, Origin, Path, TransformFactory,
    parquet::{Codec, RowGroupLimit},
    sink::Naming,
};

use crate::encode::Tree;

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
    /// The field that the source partitions by, where it hands no keys over: rows with the same
    /// value lie in the same partition.
    pub partition_key: Option<Path>,
    /// Records that don't meet it are filtered before the first stage.
    pub filter: Option<Condition>,
    /// The tables that plugins may look up in. All partitions and workers share each.
    pub tables: Vec<Arc<LookupTable>>,
    /// The plugins, in order.
    pub stages: Vec<StageSpec>,
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
            filter: None,
            tables: Vec::new(),
            stages: Vec::new(),
            sinks: Vec::new(),
            dead_letters: DeadLetterSpec::new("dead-letters"),
            unrouted: Unrouted::DeadLetter,
            limits: Limits::default(),
        }
    }
}

/// A configured plugin and how the host treats it.
#[derive(Clone)]
pub struct StageSpec {
    /// The stage's name, in dead letters and metrics, and of its states: renaming a stage begins
    /// with none.
    pub name: String,
    /// Makes instances of the plugin.
    pub factory: Arc<dyn TransformFactory>,
    /// Rows that don't meet it pass the stage by.
    pub when: Option<Condition>,
    /// What the plugin's rejections are taken for.
    pub on_reject: OnReject,
    /// What happens when the breaker opens.
    pub on_poison: OnPoison,
    /// When the breaker opens.
    pub breaker: Breaker,
    /// How states are kept, where the plugin keeps any.
    pub state: StateSpec,
    /// Which batches are rerun at other sizes.
    pub purity: Purity,
    /// The plugin is called with at most this many rows.
    pub call_rows_max: u32,
    /// An instance that holds more memory than this is replaced before the next call.
    pub memory_watermark_bytes: u64,
}

impl StageSpec {
    /// A stage for every row, with the defaults.
    pub fn new(name: &str, factory: Arc<dyn TransformFactory>) -> Self {
        StageSpec {
            name: name.to_owned(),
            factory,
            when: None,
            on_reject: OnReject::Reject,
            on_poison: OnPoison::Dlq,
            breaker: Breaker::default(),
            state: StateSpec::default(),
            purity: Purity::Off,
            call_rows_max: u32::MAX,
            // Half of what an instance may have by default: room for the largest batch on top.
            memory_watermark_bytes: 32 << 20,
        }
    }
}

impl fmt::Debug for StageSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plugin = self.factory.plugin();
        let component = format!("{}@{}", plugin.about.name, plugin.component.short());
        f.debug_struct("StageSpec")
            .field("name", &self.name)
            .field("component", &component)
            .field("when", &self.when)
            .finish_non_exhaustive()
    }
}

/// What a stage's rejections are taken for: the error class of their dead letters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnReject {
    /// The record breaks a rule, and nobody need look at it.
    #[default]
    Reject,
    /// A person has to look: what could be corrected has been, and it is still wrong.
    Review,
}

impl OnReject {
    /// The error class.
    pub(crate) fn class(self) -> &'static str {
        match self {
            OnReject::Reject => "reject",
            OnReject::Review => "review",
        }
    }
}

/// What happens when more records than the breaker stands are poison to a stage. Up to there each
/// goes to the dead letters and the others go on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnPoison {
    /// The same as before: isolation goes on, however many there are.
    #[default]
    Dlq,
    /// The pipeline pauses until a person has looked.
    Halt,
    /// Records pass the stage by for the rest of the range. Only for plugins that allow it.
    Passthrough,
}

/// When a stage's breaker opens. Counted in records of the range, never in time, so that a replay
/// opens it at the same record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// How many poison records there may be in a thousand.
    pub per_thousand: u32,
    /// The share is taken of at least this many records.
    pub window: u64,
}

impl Default for Breaker {
    fn default() -> Self {
        // Fifty in the first thousand: no real feed has one bad record in twenty, and isolating
        // that many costs about as much as all the good ones.
        Breaker { per_thousand: 50, window: 1000 }
    }
}

/// How the states of a stage are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateSpec {
    /// A state that has not changed for this long, on batch time, is forgotten.
    pub time_to_live: Option<Duration>,
    /// The state of one key is no larger.
    pub key_bytes_max: usize,
    /// A partition has states of no more keys.
    pub keys_max: u64,
    /// What the operator says of the key.
    pub scope: StateScope,
}

impl Default for StateSpec {
    fn default() -> Self {
        // Some counters and moments fit a few hundred bytes; more than this is a table of records.
        StateSpec {
            time_to_live: None,
            key_bytes_max: 64 << 10,
            // As many as an ordinary disk has room for at some kilobytes each. Whoever has more
            // keys knows it.
            keys_max: 1_000_000,
            scope: StateScope::Key,
        }
    }
}

/// On how many partitions a key may turn up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StateScope {
    /// On one: it has the field that the source partitions by. Checked.
    #[default]
    Key,
    /// On one: the operator says that it follows the partition key.
    Follows,
    /// On any: each partition keeps a state of its own for it.
    Partition,
}

/// Which batches of a stage are rerun at other sizes on fresh instances, to find plugins whose
/// replies depend on more than the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purity {
    /// None.
    Off,
    /// About one in this many, chosen by the range's and the batch's number.
    Sample {
        /// How many batches there are for each that is rerun.
        one_in: u32,
    },
    /// Every one: in tests.
    Always,
}

/// A sink and which rows it takes, in which form.
#[derive(Clone, Debug)]
pub struct SinkSpec {
    /// Its name.
    pub name: String,
    /// Whether its objects can be named.
    pub naming: Naming,
    /// What it takes: records as they came, or what the stages made of them.
    pub zone: Zone,
    /// Rows that don't meet it don't go here.
    pub when: Option<Condition>,
    /// The directories that rows are sorted into.
    pub tree: Tree,
    /// How new fields join the record. Of lines only.
    pub layout: Layout,
    /// How objects are compressed. Of lines only.
    pub compression: Compression,
    /// What an object is.
    pub format: Format,
    /// An object is closed after this many rows.
    pub part_records_max: u64,
    /// An object is closed once it has this many bytes before compression.
    pub part_bytes_max: u64,
    /// A row that has more bytes, its line break and its partition key among them, is a dead
    /// letter. Of lines only.
    pub row_bytes_max: Option<usize>,
    /// What the sink partitions by, where it does. Of lines only.
    pub partition_key: Option<PartitionKeySpec>,
}

impl SinkSpec {
    /// A sink that takes every row, flat, uncompressed, in objects of up to 128 MiB.
    pub fn new(name: &str) -> Self {
        SinkSpec {
            name: name.to_owned(),
            naming: Naming::Named,
            zone: Zone::Processed,
            when: None,
            tree: Tree::default(),
            layout: Layout::Flat,
            compression: Compression::None,
            format: Format::Lines,
            part_records_max: u64::MAX,
            part_bytes_max: 128 << 20,
            row_bytes_max: None,
            partition_key: None,
        }
    }
}

/// What a sink takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Zone {
    /// The rows that leave the last stage.
    #[default]
    Processed,
    /// The records as they came, before the first stage and behind the filter, whatever becomes of
    /// them. What becomes of a record is not decided here.
    Raw,
}

/// What a sink partitions by. A row without a key, or with one that is too long, is a dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionKeySpec {
    /// A field: its text, a number or a boolean; or what the host knows.
    pub from: Origin,
    /// How many characters a key may have.
    pub chars_max: usize,
}

/// What an object is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// JSON Lines: the records, with what stages wrote spliced in.
    #[default]
    Lines,
    /// Parquet: columns of fields.
    Parquet(TableSpec),
}

/// A file of columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableSpec {
    /// The columns, in order.
    pub columns: Vec<ColumnSpec>,
    /// Behind them a column for each field that a stage reads or writes and that is none of them.
    pub declared: bool,
    /// What becomes of a row with a value that its column can't have.
    pub on_mismatch: OnMismatch,
    /// How pages are compressed.
    pub codec: Codec,
    /// When a row group ends.
    pub row_group: RowGroupLimit,
}

/// A column of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnSpec {
    /// Its name; made of the field's path where this is none.
    pub name: Option<String>,
    /// The field.
    pub from: Origin,
    /// What it holds.
    pub kind: Kind,
    /// A row without a value is a dead letter, and the file says that there is none.
    pub required: bool,
}

/// What becomes of a row with a value that its column can't have: a text where a number should
/// be, a timestamp that is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnMismatch {
    /// It is a dead letter: nothing is lost.
    #[default]
    DeadLetter,
    /// The value is a null, and counted.
    Null,
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
    /// An object is closed once it has this many bytes before compression.
    pub part_bytes_max: u64,
    /// The unnamed sink that gets each letter too, between INTENT and the first named object.
    pub copy_to: Option<String>,
}

impl DeadLetterSpec {
    /// Uncompressed objects of a named sink.
    pub fn new(name: &str) -> Self {
        DeadLetterSpec {
            name: name.to_owned(),
            naming: Naming::Named,
            compression: Compression::None,
            part_bytes_max: 128 << 20,
            copy_to: None,
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
    /// A record that had arrived longer before its batch time is a dead letter, and no plugin sees
    /// it; none is too old where this is left out. Records that are redriven never are.
    pub record_age_max: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        // Kinesis takes 10 MiB since 2025 and Kafka 1 MiB unless told otherwise.
        Limits { record_bytes_max: 16 << 20, record_age_max: None }
    }
}
