//! What a plugin is ([`About`]) and what a configuration of it does ([`Description`]).

use std::fmt;

use crate::path::Path;

/// What is known of a plugin without a config. It never changes for a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// The plugin's name, as operators see it.
    pub name: &'static str,
    /// A semantic version.
    pub version: &'static str,
    /// One sentence for people.
    pub summary: &'static str,
    /// What the plugin may ask of the host; the operator grants each by name.
    pub capabilities: Vec<Capability>,
    /// The version of the states it keeps: 0 for a plugin without state.
    pub state_version: u32,
    /// Whether an operator may let records pass the plugin by while it is broken. A plugin that
    /// validates or redacts says false.
    pub may_be_passed_by: bool,
}

/// Something that a plugin may ask of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
    /// The name in the contract and in an operator's grants.
    pub fn name(self) -> &'static str {
        match self {
            Capability::State => "state",
            Capability::FanOut => "fan-out",
            Capability::Document => "document",
            Capability::Lookups => "lookups",
        }
    }
}

/// What a configuration of a plugin reads, writes, keeps and rules on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// The columns of each batch, in this order.
    pub reads: Vec<Read>,
    /// The columns of each reply, in this order.
    pub writes: Vec<Write>,
    /// The rules that findings name by index.
    pub rules: Vec<Rule>,
    /// The indices of the reads that make up the key of the state, for a plugin that keeps one.
    pub state_key: Option<Vec<u32>>,
}

impl Description {
    /// Adds a read, or finds the same one, and gives its index.
    pub fn read(&mut self, read: Read) -> usize {
        index_or_push(&mut self.reads, read)
    }

    /// Adds a rule and gives its index.
    pub fn rule(&mut self, rule: Rule) -> u32 {
        self.rules.push(rule);
        u32::try_from(self.rules.len() - 1).expect("a config is far below 4 Gi rules")
    }
}

fn index_or_push<T: PartialEq>(items: &mut Vec<T>, item: T) -> usize {
    items.iter().position(|known| *known == item).unwrap_or_else(|| {
        items.push(item);
        items.len() - 1
    })
}

/// A column that a plugin reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// Where it comes from.
    pub from: Origin,
    /// Its type.
    pub kind: Kind,
    /// Whether the host rejects a row without a value before the plugin sees it.
    pub required: bool,
}

impl Read {
    /// An optional field of the record.
    pub fn field(path: Path, kind: Kind) -> Self {
        Read { from: Origin::Field(path), kind, required: false }
    }

    /// Something that the host knows of every record, in its own kind.
    pub fn host(value: HostValue) -> Self {
        Read { from: Origin::Host(value), kind: value.kind(), required: false }
    }

    /// The same read, but rows without a value are rejected by the host.
    pub fn required(self) -> Self {
        Read { required: true, ..self }
    }
}

/// Where a read comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A field of the record.
    Field(Path),
    /// Something that the host knows.
    Host(HostValue),
    /// A cell of a look-up table that the host joins before the call.
    Lookup(Lookup),
}

/// A cell of a look-up table. A key that is not in the table is missing, a null cell is null.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// The table's name in the pipeline's config.
    pub table: String,
    /// The fields whose values are the key, in the order of the table's key columns.
    pub keys: Vec<Path>,
    /// The column.
    pub column: String,
}

/// What the host knows of a record besides its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostValue {
    /// SHA-256 of the original bytes, 64 hex digits.
    RecordId,
    /// The partition's name.
    Partition,
    /// The position, as its source writes it.
    Position,
    /// The key that the source partitions by; missing where it has none.
    PartitionKey,
    /// When the source received the record; missing where it does not say.
    ArrivalTime,
    /// When the range was opened: the same for all its records, and for a replay.
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

    /// The host value of a name.
    pub fn named(name: &str) -> Option<Self> {
        HostValue::ALL.into_iter().find(|value| value.name() == name)
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

/// A column that a plugin writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Where it goes; the root replaces the whole record (kind `json` only).
    pub path: Path,
    /// Its type.
    pub kind: Kind,
}

/// The type of a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Boolean,
    /// A number without a fraction, of 64 bits.
    Int64,
    /// A number.
    Float64,
    /// A point in time, to the microsecond.
    Timestamp(TimestampFormat),
    /// A string `YYYY-MM-DD`.
    Date,
    /// A string.
    Utf8,
    /// A string out of this dictionary; another one is out of range.
    Enumeration(Vec<String>),
    /// The raw text of a subtree.
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

/// How a timestamp stands in JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TimestampFormat {
    /// A string by RFC 3339, with an offset.
    #[default]
    Rfc3339,
    /// A number of seconds since the epoch; fractions are read down to a microsecond.
    UnixSeconds,
    /// A number of milliseconds since the epoch.
    UnixMilliseconds,
    /// A number of microseconds since the epoch.
    UnixMicroseconds,
}

/// A rule that findings name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Unique in the description and stable across versions: `amount-range`.
    pub id: String,
    /// The dimension of data quality that it belongs to.
    pub dimension: Dimension,
    /// What a finding means for its row; the verdict itself is in the reply.
    pub severity: Severity,
    /// The field that the rule is about, where it is about one.
    pub field: Option<Path>,
    /// One sentence for people.
    pub text: String,
}

/// The dimension of data quality that a rule belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Dimension {
    /// What should be there is there.
    Completeness,
    /// It has the right form: type, range, pattern, one of the allowed values.
    Validity,
    /// It is there once.
    Uniqueness,
    /// It agrees with other values.
    Consistency,
    /// It is as recent as it should be.
    Timeliness,
    /// It is what the world says.
    Accuracy,
}

/// What a finding means for its row.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth counting.
    Info,
    /// Worth looking at; the record goes on.
    Warn,
    /// The record is rejected.
    Reject,
}
