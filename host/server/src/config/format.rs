//! What a sink's objects are, as an operator writes it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_core::{
    Kind, Origin,
    description::{HostValue, TimestampFormat},
    parquet::RowGroupLimit,
};

use super::units::ByteSize;

/// What an object is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Format {
    /// JSON Lines: the records, with what plugins wrote in its place.
    #[default]
    Jsonl,
    /// Parquet: columns of fields. What no column names is not in the file.
    Parquet(ParquetFormat),
}

/// A Parquet file. The same range gives the same bytes. Files end with their range at the latest:
/// for large ones, `range` has to be large.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ParquetFormat {
    /// The columns, in order.
    pub columns: Vec<Column>,
    /// Behind these, a column for each field that a plugin of the pipeline reads or writes and that
    /// is none of them, in the kind that it was last written in, or first read in.
    pub declared: bool,
    /// What becomes of a record with a value that its column can't have.
    pub on_mismatch: OnMismatch,
    /// When the next row group is begun, within a file.
    pub row_group: RowGroup,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// The field, as plugins left it; `$` with kind `json` is the whole record; also what the host
    /// knows of a record, such as `@batch-time`.
    pub field: String,
    /// What the column holds. What the host knows has a kind of its own.
    #[serde(default)]
    pub kind: Option<ColumnKind>,
    /// The column's name; the names of the field's path joined by `_`, where this is left out.
    #[serde(default)]
    pub name: Option<String>,
    /// Whether each record must have a value; one without is a dead letter.
    #[serde(default)]
    pub required: bool,
    /// The texts that there may be, of kind `enumeration`.
    #[serde(default)]
    pub values: Vec<String>,
    /// How the time stands in the record, of kind `timestamp`.
    #[serde(default)]
    pub time_format: Option<TimeFormat>,
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ColumnKind {
    /// `true` or `false`.
    Boolean,
    /// A whole number of 64 bits.
    Int64,
    /// A float of 64 bits.
    Float64,
    /// A time in microseconds, in UTC.
    Timestamp,
    /// A date.
    Date,
    /// A text.
    Utf8,
    /// A text out of `values`.
    Enumeration,
    /// Anything, as its JSON text.
    Json,
}

/// How a time stands in a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TimeFormat {
    /// A text by RFC 3339.
    #[default]
    Rfc3339,
    /// A number of seconds since 1970.
    UnixSeconds,
    /// A number of milliseconds since 1970.
    UnixMilliseconds,
    /// A whole number of microseconds since 1970.
    UnixMicroseconds,
}

/// What becomes of a record with a value that its column can't have: a text where a number should
/// be, a time that is none. A field that is not there, or null, is a null in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnMismatch {
    /// It is a dead letter, `column-mismatch`, so that nothing is lost.
    #[default]
    DeadLetter,
    /// The value is a null, and counted in `tidegate_column_nulled_total`.
    AsNull,
}

/// When the next row group is begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RowGroup {
    /// After this many records.
    #[schemars(range(min = 1))]
    pub records: u64,
    /// After this many bytes of values before they are encoded, at most 1 GiB.
    pub bytes: ByteSize,
}

impl Default for RowGroup {
    fn default() -> Self {
        let RowGroupLimit { rows, bytes } = RowGroupLimit::default();
        RowGroup { records: rows, bytes: ByteSize::bytes(bytes) }
    }
}

impl RowGroup {
    /// Texts of a row group lie in one piece of memory, whose offsets are 32 bits wide.
    pub(super) const BYTES_MAX: u64 = 1 << 30;
}

impl Column {
    /// The field, if it is one.
    pub(crate) fn from(&self) -> Option<Origin> {
        match HostValue::ALL.into_iter().find(|value| value.name() == self.field) {
            Some(value) => Some(Origin::Host(value)),
            None => self.field.parse().ok().map(Origin::Field),
        }
    }

    /// What the column holds, where that is said.
    pub(crate) fn kind(&self) -> Option<Kind> {
        let time_format = match self.time_format.unwrap_or_default() {
            TimeFormat::Rfc3339 => TimestampFormat::Rfc3339,
            TimeFormat::UnixSeconds => TimestampFormat::UnixSeconds,
            TimeFormat::UnixMilliseconds => TimestampFormat::UnixMilliseconds,
            TimeFormat::UnixMicroseconds => TimestampFormat::UnixMicroseconds,
        };
        let kind = match (self.kind, self.from()?) {
            (None, Origin::Host(value)) => return Some(value.kind()),
            (kind, _) => kind?,
        };
        Some(match kind {
            ColumnKind::Boolean => Kind::Boolean,
            ColumnKind::Int64 => Kind::Int64,
            ColumnKind::Float64 => Kind::Float64,
            ColumnKind::Timestamp => Kind::Timestamp(time_format),
            ColumnKind::Date => Kind::Date,
            ColumnKind::Utf8 => Kind::Utf8,
            ColumnKind::Enumeration => Kind::Enumeration(self.values.clone()),
            ColumnKind::Json => Kind::Json,
        })
    }
}
