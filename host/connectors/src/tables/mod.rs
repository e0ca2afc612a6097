//! Look-up tables out of files: CSV, JSON, JSON Lines and Parquet, read as a stream into columns.
//!
//! ```text
//! file ─► digest ─► decompressed ─► rows as JSON ─► projection ─► columns + index
//!                                   one at a time   some thousand at a time
//! ```
//!
//! All formats meet in one place: a row is a JSON object, and a cell is what `docs/json.md` makes
//! of its member in the column's kind. A table is loaded whole or not at all: a look-up in a part
//! of a table would be wrong without anybody noticing.

mod csv;
mod intake;
mod json;
mod ndjson;
mod parquet;

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    path::Path as FilePath,
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::{Value, json};
use tidegate_core::{
    Digest, Kind, LookupTable, Path,
    description::TimestampFormat,
    digest::DigestHasher,
    lookup::{BuildError, InvalidSchema, OnDuplicate, TableColumn, TableSchema},
    parquet::{ReadError, RowFormat},
};

use crate::sources::{Compression, CsvColumns, TextEncoding};
use intake::{Counted, Intake};

/// A longer row is refused: what is looked up is a handful of cells.
const ROW_BYTES_MAX: usize = 16 << 20;

/// A file that holds a table, and how it is to be understood.
#[derive(Clone, Debug)]
pub struct TableSpec {
    /// The table's name, by which plugins ask for it.
    pub name: String,
    /// How its rows are written.
    pub format: TableFormat,
    /// How the file is compressed.
    pub compression: Compression,
    /// The columns that are kept, those of the key among them. Others are passed over.
    pub columns: Vec<TableColumn>,
    /// Of JSON and Parquet, where in a row a column lies; the member of its name where nothing is
    /// said.
    pub paths: BTreeMap<String, Path>,
    /// The columns of the key, in the order in which look-ups give it.
    pub key: Vec<String>,
    /// Of CSV, the texts that stand for no value, in every column.
    pub nulls: Vec<String>,
    /// What is done where several rows have the same key.
    pub on_duplicate: OnDuplicate,
}

/// How the rows of a table are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TableFormat {
    /// Delimited text.
    Csv(CsvTable),
    /// One JSON array of objects.
    Json,
    /// A JSON object a line.
    Ndjson,
    /// Rows of Parquet, with values as a source of Parquet has them.
    Parquet(RowFormat),
}

/// How delimited text is to be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CsvTable {
    /// Where the columns' names come from.
    pub columns: CsvColumns,
    /// What stands between two fields: an ASCII character.
    pub delimiter: u8,
    /// What stands around a field with a delimiter or a line break in it; nothing is quoted
    /// without it.
    pub quote: Option<u8>,
    /// Whether spaces and tabs around a value are taken away.
    pub trim: bool,
    /// The character set of the file.
    pub encoding: TextEncoding,
}

impl Default for CsvTable {
    /// As RFC 4180 has it, with a header.
    fn default() -> Self {
        CsvTable {
            columns: CsvColumns::default(),
            delimiter: b',',
            quote: Some(b'"'),
            trim: false,
            encoding: TextEncoding::default(),
        }
    }
}

/// There is no table. Nothing here tells what a cell holds.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The columns and the key do not make a table.
    #[error(transparent)]
    Schema(#[from] InvalidSchema),
    /// The file can't be read.
    #[error("failed to read the file")]
    Read(#[from] io::Error),
    /// It is no file of Parquet, or a broken one.
    #[error(transparent)]
    Parquet(ReadError),
    /// The file's columns are not those that the spec names.
    #[error("{0}")]
    Columns(String),
    /// From here on nothing can be understood.
    #[error("line {line}: {reason}")]
    Broken {
        /// The line.
        line: u64,
        /// What is wrong.
        reason: String,
    },
    /// Rows that can't be taken.
    #[error("{count} of its rows can't be taken: {}", list(told, *count))]
    Rows {
        /// How many.
        count: usize,
        /// The first of them: the line, and what is wrong.
        told: Vec<String>,
    },
    /// Rows of the same key.
    #[error(
        "{count} of its rows have the key of an earlier one: {}; correct the file, or say with \
         `on_duplicate` which one counts",
        list(told, *count)
    )]
    Duplicates {
        /// How many.
        count: usize,
        /// The lines of the first of them.
        told: Vec<String>,
    },
    /// It is too large.
    #[error(transparent)]
    TooLarge(BuildError),
}

/// The first of many things, in words.
fn list(told: &[String], count: usize) -> String {
    let more = if told.len() < count { "; and more" } else { "" };
    format!("{}{more}", told.join("; "))
}

/// Loads a table from a file. Blocks for as long as reading takes.
///
/// The table's digest is the SHA-256 of what the spec says and of the file's bytes as they lie
/// there: the same digest is the same answers, and a file that was written again with the same
/// content is no other table.
pub fn load(path: &FilePath, spec: &TableSpec) -> Result<Arc<LookupTable>, TableError> {
    read(path, spec).map(|(table, _)| table)
}

/// The same, with the SHA-256 of the file's bytes.
pub fn read(path: &FilePath, spec: &TableSpec) -> Result<(Arc<LookupTable>, Digest), TableError> {
    let key: Vec<&str> = spec.key.iter().map(String::as_str).collect();
    let schema = TableSchema::new(&spec.name, spec.columns.clone(), &key, spec.on_duplicate)?;
    let objects = |schema| Intake::new(schema, &members(spec), Counted::Lines);
    let (intake, content) = match &spec.format {
        TableFormat::Csv(format) => {
            streamed(path, spec, |rows| csv::read(rows, format, &spec.nulls, schema))?
        }
        TableFormat::Json => streamed(path, spec, |rows| json::read(rows, objects(schema)?))?,
        TableFormat::Ndjson => streamed(path, spec, |rows| ndjson::read(rows, objects(schema)?))?,
        TableFormat::Parquet(format) => parquet::read(path, *format, schema, &members(spec))?,
    };
    Ok((Arc::new(intake.finish(digest(spec, content))?), content))
}

/// Takes the rows of a file that is read from its start to its end, and digests it meanwhile.
fn streamed(
    path: &FilePath,
    spec: &TableSpec,
    take: impl FnOnce(Box<dyn Read + Send>) -> Result<Intake, TableError>,
) -> Result<(Intake, Digest), TableError> {
    let hasher = Arc::new(Mutex::new(DigestHasher::default()));
    let file = Hashed { file: File::open(path)?, hasher: Arc::clone(&hasher) };
    let intake = take(spec.compression.of(path).decode(file)?)?;
    // All is read: nobody else holds the hasher's other end to any effect.
    let hasher = hasher.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok((intake, hasher.finish()))
}

/// Where in a row each column lies.
fn members(spec: &TableSpec) -> Vec<Path> {
    let member = |column: &TableColumn| match spec.paths.get(&column.name) {
        Some(path) => path.clone(),
        None => Path::keys([column.name.as_str()]),
    };
    spec.columns.iter().map(member).collect()
}

/// The digest of a file's content as a table.
fn digest(spec: &TableSpec, content: Digest) -> Digest {
    let columns: Vec<Value> =
        spec.columns.iter().map(|column| json!([column.name, kind_name(&column.kind)])).collect();
    let format = match &spec.format {
        TableFormat::Csv(CsvTable { columns, delimiter, quote, trim, encoding }) => {
            let names = match columns {
                CsvColumns::Header => Value::Null,
                CsvColumns::Named { names, skip_header } => json!([names, skip_header]),
            };
            let mut csv = json!([names, delimiter, quote, trim, spec.nulls]);
            // Tables from before there was a choice keep their digest.
            if !encoding.is_utf8() {
                csv = json!([csv, encoding.name()]);
            }
            json!({ "csv": csv })
        }
        TableFormat::Json => json!({ "json": spec.paths }),
        TableFormat::Ndjson => json!({ "ndjson": spec.paths }),
        TableFormat::Parquet(RowFormat { not_finite_as_null, local_as_utc, .. }) => {
            json!({ "parquet": [spec.paths, not_finite_as_null, local_as_utc] })
        }
    };
    let on_duplicate = match spec.on_duplicate {
        OnDuplicate::Refuse => "refuse",
        OnDuplicate::First => "first",
        OnDuplicate::Last => "last",
    };
    let decisive = json!({
        "name": spec.name, "columns": columns, "key": spec.key, "format": format,
        "on_duplicate": on_duplicate, "content": content,
    });
    Digest::of(decisive.to_string().as_bytes())
}

/// A kind's name, with the format of a timestamp.
fn kind_name(kind: &Kind) -> &'static str {
    match kind {
        Kind::Timestamp(TimestampFormat::UnixSeconds) => "unix-seconds",
        Kind::Timestamp(TimestampFormat::UnixMilliseconds) => "unix-milliseconds",
        Kind::Timestamp(TimestampFormat::UnixMicroseconds) => "unix-microseconds",
        other => other.name(),
    }
}

/// A file whose bytes are digested as they are read, so that what is loaded is what was digested,
/// even if somebody writes to the file meanwhile.
struct Hashed {
    file: File,
    hasher: Arc<Mutex<DigestHasher>>,
}

impl Read for Hashed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(buffer)?;
        let mut hasher = self.hasher.lock().unwrap_or_else(PoisonError::into_inner);
        hasher.update(&buffer[..n]);
        Ok(n)
    }
}
