//! Parquet in a build without it: what can't be made is uninhabited, so that those who use it
//! need not know.

use std::{convert::Infallible, io, sync::Arc};

use super::{
    Codec, Field, JsonRows, ReadAt, ReadError, Room, RowFormat, RowGroupLimit, SchemaError,
};
use crate::column::Column;

/// The columns of a file, and how they are written. There is none in this build.
#[derive(Debug)]
pub struct Schema(Infallible);

impl Schema {
    /// Says that this build has no Parquet.
    pub fn new(_: Vec<Field>, _: Codec, _: RowGroupLimit) -> Result<Self, SchemaError> {
        Err(SchemaError::NotBuilt)
    }

    /// A file without rows.
    pub fn empty_file(self: &Arc<Self>) -> io::Result<Vec<u8>> {
        match self.0 {}
    }
}

/// Writes a file. There is none in this build.
#[derive(Debug)]
pub struct Writer(Infallible);

#[allow(missing_docs, reason = "said where there is Parquet")]
impl Writer {
    pub fn new(schema: Arc<Schema>) -> Self {
        match schema.0 {}
    }

    pub fn push(&mut self, _: &[&Column], _: &[u32], _: Room) -> io::Result<usize> {
        match self.0 {}
    }

    pub fn held_bytes(&self) -> usize {
        match self.0 {}
    }

    pub fn pushed_bytes(&self) -> u64 {
        match self.0 {}
    }

    pub fn finish(self) -> io::Result<Vec<u8>> {
        match self.0 {}
    }
}

/// A file that is read. There is none in this build.
#[derive(Debug)]
pub struct File(Infallible);

#[allow(missing_docs, reason = "said where there is Parquet")]
impl File {
    /// Says that this build has no Parquet.
    pub fn open(_: Arc<dyn ReadAt>, _: RowFormat) -> Result<Self, ReadError> {
        Err(ReadError::NotBuilt)
    }

    pub fn fingerprint(&self) -> &str {
        match self.0 {}
    }

    pub fn row_count(&self) -> u64 {
        match self.0 {}
    }

    pub fn names(&self) -> Vec<&str> {
        match self.0 {}
    }

    pub fn only(self, _: &[&str]) -> Self {
        match self.0 {}
    }

    pub fn rows_behind(self, _: u64) -> Result<Rows, ReadError> {
        match self.0 {}
    }
}

/// The rows of a file. There are none in this build.
#[derive(Debug)]
pub struct Rows(Infallible);

#[allow(missing_docs, reason = "said where there is Parquet")]
impl Rows {
    pub fn read(&mut self, _: usize, _: usize) -> Result<Option<JsonRows>, ReadError> {
        match self.0 {}
    }
}
