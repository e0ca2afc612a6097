//! What a plugin is (`About`) and what a configuration of it does (`Description`).
//!
//! The same shapes as the contract's `description` interface, in terms of this crate, so that no
//! other crate needs to know WIT.

use std::fmt;

use crate::path::Path;

/// How a timestamp stands in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimestampFormat {
    /// A string by RFC 3339 with an offset.
    Rfc3339,
    /// A number of seconds since the epoch, fractions allowed.
    UnixSeconds,
    /// A number of milliseconds since the epoch, fractions allowed.
    UnixMilliseconds,
    /// A whole number of microseconds since the epoch.
    UnixMicroseconds,
}

/// The type of a column.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is the JSON type of its name")]
pub enum Kind {
    Boolean,
    Int64,
    Float64,
    Timestamp(TimestampFormat),
    Date,
    Utf8,
    /// A string out of this dictionary.
    Enumeration(Vec<String>),
    Json,
}

impl Kind {
    /// The kind's name in configs, messages and docs.
    pub fn name(&self) -> &'static str {
        match self {
            Kind::Boolean => "boolean",
            Kind::Int64 => "int64",
            Kind::Float64 => "float64",
            Kind::Timestamp(_) => "timestamp",
            Kind::Date => "date",
            Kind::Utf8 => "utf8",
            Kind::Enumeration(_) => "enumeration",
            Kind::Json => "json",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What the host knows of a record besides its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HostValue {
    /// SHA-256 of the original bytes, 64 hex digits.
    RecordId,
    /// The partition's name.
    Partition,
    /// The position's text form.
    Position,
    /// The key that the source partitions by.
    PartitionKey,
    /// When the source received the record.
    ArrivalTime,
    /// When the range was opened.
    BatchTime,
    /// The source's name.
    Source,
}

impl HostValue {
    /// All of them, in the contract's order.
    pub const ALL: [HostValue; 7] = [
        HostValue::RecordId,
        HostValue::Partition,
        HostValue::Position,
        HostValue::PartitionKey,
        HostValue::ArrivalTime,
        HostValue::BatchTime,
        HostValue::Source,
    ];

    /// The name that people write: `@record-id`.
    pub fn name(self) -> &'static str {
        match self {
            HostValue::RecordId => "@record-id",
            HostValue::Partition => "@partition",
            HostValue::Position => "@position",
            HostValue::PartitionKey => "@partition-key",
            HostValue::ArrivalTime => "@arrival-time",
            HostValue::BatchTime => "@batch-time",
            HostValue::Source => "@source",
        }
    }

    /// The kind of its column.
    pub fn kind(self) -> Kind {
        match self {
            HostValue::ArrivalTime | HostValue::BatchTime => {
                Kind::Timestamp(TimestampFormat::Rfc3339)
            }
            _ => Kind::Utf8,
        }
    }
}

/// A cell of a look-up table.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lookup {
    /// The table's name in the pipeline's config.
    pub table: String,
    /// The fields whose values are the key, in the order of the table's key columns.
    pub keys: Vec<Path>,
    /// The column.
    pub column: String,
}

/// Where a read comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// A field of the record.
    Field(Path),
    /// Something that the host knows.
    Host(HostValue),
    /// A cell of a look-up table.
    Lookup(Lookup),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Field(path) => write!(f, "{path}"),
            Origin::Host(value) => f.write_str(value.name()),
            Origin::Lookup(lookup) => write!(f, "{}.{}", lookup.table, lookup.column),
        }
    }
}

/// A column that a plugin reads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Read {
    /// Where it comes from.
    pub from: Origin,
    /// Its type.
    pub kind: Kind,
    /// Whether the host rejects rows without a value.
    pub required: bool,
}

/// A column that a plugin writes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Written {
    /// Where it goes; the root replaces the whole record.
    pub path: Path,
    /// Its type.
    pub kind: Kind,
}

/// The dimension of data quality that a rule belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the field's standard terms")]
pub enum Dimension {
    Completeness,
    Validity,
    Uniqueness,
    Consistency,
    Timeliness,
    Accuracy,
}

/// What a finding means for its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the field's standard terms")]
pub enum Severity {
    Info,
    Warn,
    Reject,
}

/// A rule that findings name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Unique in the description and stable across versions.
    pub id: String,
    /// The dimension of data quality.
    pub dimension: Dimension,
    /// What a finding means.
    pub severity: Severity,
    /// The field that it is about.
    pub field: Option<Path>,
    /// One sentence for people.
    pub text: String,
}

/// State kept for each distinct key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyedState {
    /// Indices of the reads that make up the key.
    pub key: Vec<u32>,
}

/// What a configuration of a plugin reads, writes, keeps and rules on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "said in the summary")]
pub struct Description {
    pub reads: Vec<Read>,
    pub writes: Vec<Written>,
    pub rules: Vec<Rule>,
    pub state: Option<KeyedState>,
}

/// Something that a plugin may ask of the host and an operator grants by name.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Capability {
    /// Keep state per key.
    State,
    /// Answer with more than one row for a row.
    FanOut,
    /// Read or replace the whole record.
    Document,
    /// Read from look-up tables.
    Lookups,
}

impl Capability {
    /// All of them.
    pub const ALL: [Capability; 4] =
        [Capability::State, Capability::FanOut, Capability::Document, Capability::Lookups];

    /// The name in the contract and in configs.
    pub fn name(self) -> &'static str {
        match self {
            Capability::State => "state",
            Capability::FanOut => "fan-out",
            Capability::Document => "document",
            Capability::Lookups => "lookups",
        }
    }
}

/// What is known of a plugin without a config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// The plugin's name.
    pub name: String,
    /// A semantic version.
    pub version: String,
    /// One sentence for people.
    pub summary: String,
    /// JSON Schema of the config.
    pub config_schema: String,
    /// What it asks of the host.
    pub capabilities: Vec<Capability>,
    /// The version of its states; 0 without state.
    pub state_version: u32,
    /// Whether an operator may let records pass it by while it is broken.
    pub may_be_passed_by: bool,
}
