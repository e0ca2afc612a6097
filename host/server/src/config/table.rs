//! Look-up tables, as an operator writes them.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_core::{
    Kind,
    description::TimestampFormat,
    lookup::{self, InvalidSchema, TableColumn, TableSchema},
};

use super::{
    field::FieldPath,
    source::{CsvHeader, InputCompression, LocalTimes, NotFinite},
};

/// A table that plugins look up in. It is loaded whole before the first record, and all workers
/// share it; its memory comes on top of `memory`. `tidegate check` shows how much that is. The
/// digest of its content is part of the pipeline's generation. A row that can't be taken refuses
/// the table, by its line: a look-up in a part of a table would be wrong without anybody noticing.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// The table's name, by which plugins ask for it.
    pub name: String,
    /// The file, relative to this one.
    pub path: PathBuf,
    /// How its rows are written.
    #[serde(default)]
    pub format: TableFormat,
    /// How it is compressed. Parquet is compressed within the file, and not here.
    #[serde(default)]
    pub compression: InputCompression,
    /// The columns of the key, in the order in which plugins give its parts. A key is of kind
    /// `boolean`, `int64`, `date`, `utf8` or a timestamp, has a value in each row, and finds a value of
    /// its own kind only: a number does not find the same digits as text.
    pub key: Vec<String>,
    /// What columns hold, by name; those of the key are among them. Other columns of the file are
    /// passed over, and take no memory.
    pub columns: BTreeMap<String, TableKind>,
    /// Of JSON and Parquet, where in a row columns lie, by name; a column that is not here is the
    /// member of its name. A member that is missing is null.
    #[serde(default)]
    pub paths: BTreeMap<String, FieldPath>,
    /// Of CSV, what its text looks like.
    #[serde(default)]
    pub csv: TableCsv,
    /// Of Parquet, what values become where there is a choice.
    #[serde(default)]
    pub parquet: TableParquet,
    /// Of CSV, texts that stand for no value, in every column, quoted or not.
    #[serde(default = "nulls")]
    pub nulls: Vec<String>,
    /// What is done where several rows have the same key.
    #[serde(default)]
    pub on_duplicate: OnDuplicate,
}

fn nulls() -> Vec<String> {
    // What nearly every export writes for nothing.
    vec![String::new()]
}

/// How a table's rows are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TableFormat {
    /// By the file's extension, that of its compression aside: `.csv`, `.json`, `.ndjson`, `.jsonl`
    /// or `.parquet`.
    #[default]
    Auto,
    /// Rows of CSV, or of other delimited text.
    Csv,
    /// One JSON array of objects.
    Json,
    /// A JSON object a line.
    Ndjson,
    /// Rows of Parquet. A value is what a source of Parquet makes of it.
    Parquet,
}

/// What a column of a table holds. A plugin may read it as any kind of the same type of JSON: a
/// number as `int64` or `float64`, a text as `utf8`, `enumeration`, `date` or timestamp, and
/// everything as `json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TableKind {
    /// `true` or `false`.
    Boolean,
    /// A whole number of 64 bits.
    Int64,
    /// A number.
    Float64,
    /// A text by RFC 3339, with an offset.
    Timestamp,
    /// A number of seconds since the epoch.
    UnixSeconds,
    /// A number of milliseconds since the epoch.
    UnixMilliseconds,
    /// A whole number of microseconds since the epoch.
    UnixMicroseconds,
    /// A text `YYYY-MM-DD`.
    Date,
    /// Text.
    Utf8,
    /// Any JSON, as its text.
    Json,
}

/// What the text of a CSV table looks like.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TableCsv {
    /// What the first row of the file is.
    pub header: CsvHeader,
    /// The names of all columns of the file, in order, where the header does not give them.
    pub names: Vec<String>,
    /// What stands between two fields: one ASCII character, such as `;` or `"\t"`.
    pub delimiter: String,
    /// What stands around a field with a delimiter or a line break in it: one ASCII character, which
    /// is doubled where it is meant. It counts only at the start of a field. An empty text: nothing
    /// is quoted.
    pub quote: String,
    /// Whether spaces and tabs around names and values are taken away.
    pub trim: bool,
    /// The character set of the file, by the names of the Encoding Standard: `utf-8`, `utf-16le`,
    /// `windows-1252`, `shift_jis`, … Each line is converted; one that is not of the character set
    /// refuses the table.
    pub encoding: Option<String>,
}

impl Default for TableCsv {
    fn default() -> Self {
        TableCsv {
            header: CsvHeader::default(),
            names: Vec::new(),
            // Both as in RFC 4180.
            delimiter: ",".to_owned(),
            quote: "\"".to_owned(),
            trim: false,
            encoding: None,
        }
    }
}

/// What values of a Parquet table become where there is a choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TableParquet {
    /// What becomes of a float that is not finite: it refuses the table, or is a null.
    pub not_finite: NotFinite,
    /// What a timestamp without a time zone is. As it is written it is none of kind `timestamp`.
    pub local_times: LocalTimes,
}

/// What is done where several rows of a table have the same key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnDuplicate {
    /// The table is refused, by the lines of such rows: what a key stands for must be clear.
    #[default]
    Refuse,
    /// The first row counts.
    First,
    /// The last row counts.
    Last,
}

impl Table {
    /// How its rows are written: never `auto`, and nothing where the extension does not say.
    pub(crate) fn format(&self) -> Option<TableFormat> {
        if self.format != TableFormat::Auto {
            return Some(self.format);
        }
        let extension = |path: &Path| path.extension()?.to_str().map(str::to_owned);
        let extension = match extension(&self.path)?.as_str() {
            "gz" | "zst" => extension(Path::new(self.path.file_stem()?))?,
            other => other.to_owned(),
        };
        match extension.as_str() {
            "csv" => Some(TableFormat::Csv),
            "json" => Some(TableFormat::Json),
            "ndjson" | "jsonl" => Some(TableFormat::Ndjson),
            "parquet" => Some(TableFormat::Parquet),
            _ => None,
        }
    }

    /// Its columns.
    pub(crate) fn columns(&self) -> Vec<TableColumn> {
        let column = |(name, kind): (&String, &TableKind)| TableColumn {
            name: name.clone(),
            kind: Kind::from(*kind),
        };
        self.columns.iter().map(column).collect()
    }

    /// What it looks like, or why it can't be.
    pub(crate) fn schema(&self) -> Result<TableSchema, InvalidSchema> {
        let key: Vec<&str> = self.key.iter().map(String::as_str).collect();
        TableSchema::new(&self.name, self.columns(), &key, self.on_duplicate.into())
    }
}

impl From<TableKind> for Kind {
    fn from(kind: TableKind) -> Self {
        match kind {
            TableKind::Boolean => Kind::Boolean,
            TableKind::Int64 => Kind::Int64,
            TableKind::Float64 => Kind::Float64,
            TableKind::Timestamp => Kind::Timestamp(TimestampFormat::Rfc3339),
            TableKind::UnixSeconds => Kind::Timestamp(TimestampFormat::UnixSeconds),
            TableKind::UnixMilliseconds => Kind::Timestamp(TimestampFormat::UnixMilliseconds),
            TableKind::UnixMicroseconds => Kind::Timestamp(TimestampFormat::UnixMicroseconds),
            TableKind::Date => Kind::Date,
            TableKind::Utf8 => Kind::Utf8,
            TableKind::Json => Kind::Json,
        }
    }
}

impl From<OnDuplicate> for lookup::OnDuplicate {
    fn from(written: OnDuplicate) -> Self {
        match written {
            OnDuplicate::Refuse => lookup::OnDuplicate::Refuse,
            OnDuplicate::First => lookup::OnDuplicate::First,
            OnDuplicate::Last => lookup::OnDuplicate::Last,
        }
    }
}
