//! Parquet, both ways: columns of a batch become a file, and a file's rows become JSON objects.
//!
//! ```text
//! columns ─► row group ─► pages ─► file        (a Writer, once an object)
//! file ─► pages ─► levels and values ─► JSON   (Rows, some rows at a time)
//! ```
//!
//! The only module that knows the `parquet` crate, and only its low level: no Arrow arrays lie in
//! between. Files are bytes in memory on the way out, and whatever can be read at an offset on the
//! way in: nothing here opens one.
//!
//! Invariant: the same rows, schema and limits give the same bytes. Nothing in a file depends on
//! the clock, on how rows were cut into batches, or on how hash tables iterate.
//!
//! Without the feature `parquet` the types are there, so that nobody else needs to ask, and none of
//! them can be made: [`Schema::new`] and [`File::open`] say that this build has no Parquet.

#[cfg(not(feature = "parquet"))]
mod absent;
#[cfg(feature = "parquet")]
mod column;
#[cfg(feature = "parquet")]
mod read;
#[cfg(feature = "parquet")]
mod schema;
#[cfg(feature = "parquet")]
mod text;
#[cfg(feature = "parquet")]
mod tree;
#[cfg(feature = "parquet")]
mod write;

#[cfg(all(test, feature = "parquet"))]
mod tests;

use std::io;

#[cfg(not(feature = "parquet"))]
pub use absent::{File, Rows, Schema, Writer};
#[cfg(feature = "parquet")]
pub use read::{File, Rows};
#[cfg(feature = "parquet")]
pub use schema::Schema;
#[cfg(feature = "parquet")]
pub use write::Writer;

use crate::description::Kind;
pub use crate::json::typed::RowFormat;

/// The extension of the files' names.
pub const EXTENSION: &str = "parquet";

/// A column of a file that is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// The column's name.
    pub name: String,
    /// What it holds.
    pub kind: Kind,
    /// Whether each row has a value.
    pub required: bool,
}

/// How the pages of a file are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Codec {
    /// Not at all.
    #[default]
    Plain,
    /// Snappy: fast, and read by everything.
    Snappy,
    /// gzip.
    Gzip {
        /// 1, fast, to 9, small.
        level: u32,
    },
    /// Zstandard.
    Zstd {
        /// 1, fast, to 22, small.
        level: i32,
    },
}

/// When the next row group is begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowGroupLimit {
    /// After this many rows.
    pub rows: u64,
    /// Once its values take this many bytes before they are encoded.
    pub bytes: u64,
}

impl Default for RowGroupLimit {
    fn default() -> Self {
        // What engines that read row groups in parallel ask for, and no more than a range may hold.
        RowGroupLimit { rows: 1 << 20, bytes: 64 << 20 }
    }
}

/// How much more an object may take.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// In rows.
    pub rows: u64,
    /// In bytes before encoding. The row that goes past it is taken.
    pub bytes: u64,
}

/// No file can have such a schema.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// The feature `parquet` is off.
    #[error("this build of Tidegate has no Parquet: build it with the feature `parquet`")]
    NotBuilt,
    /// A level of a compression that there is none of.
    #[error("{detail}")]
    Invalid {
        /// What is wrong.
        detail: String,
    },
}

/// Something that can be read at an offset, by one thread at a time.
pub trait ReadAt: Send + Sync + 'static {
    /// How many bytes there are.
    fn length(&self) -> u64;

    /// Fills `into` with the bytes from an offset on; fails where there are not as many.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()>;
}

impl ReadAt for bytes::Bytes {
    fn length(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let bytes = self.get(start..).and_then(|rest| rest.get(..into.len()));
        into.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// A file can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The feature `parquet` is off.
    #[error("this build of Tidegate has no Parquet: build it with the feature `parquet`")]
    NotBuilt,
    /// What lies under it failed.
    #[error("failed to read")]
    Io(#[source] io::Error),
    /// It is no Parquet file, or a broken one.
    #[error("it is no sound Parquet file: {detail}")]
    Damaged {
        /// What is wrong.
        detail: String,
    },
    /// It has a schema that no JSON object has a place for.
    #[error("its schema can't become JSON: {detail}")]
    Schema {
        /// What is wrong.
        detail: String,
    },
}

/// Rows as JSON objects, back to back.
#[derive(Debug, Default)]
pub struct JsonRows {
    /// Their bytes.
    pub bytes: Vec<u8>,
    /// Where each of them ends in `bytes`.
    pub ends: Vec<usize>,
    /// Rows with a value that is no JSON, by their place here, ascending. What stands in its place
    /// is for people: a text.
    pub defects: Vec<RowDefect>,
}

/// Why a row is no record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowDefect {
    /// Which row.
    pub row: usize,
    /// A stable code: `parquet-not-finite`.
    pub code: &'static str,
    /// What is wrong and what to do about it, without the value.
    pub message: String,
}
