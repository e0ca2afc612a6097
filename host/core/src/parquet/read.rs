//! Reading a file: its footer once, then its rows, some at a time.
//!
//! What is in memory at a time is a page of each column and the rows of one read. A row group that
//! lies wholly before the row that reading goes on at is not touched, and within one whole pages
//! are passed over where the file says what is in them.

use std::{
    io::{self, BufReader, Read},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use bytes::Bytes;
use parquet::{
    errors::ParquetError,
    file::{
        metadata::ParquetMetaData,
        reader::{ChunkReader, FileReader, Length},
        serialized_reader::SerializedFileReader,
    },
};
use xxhash_rust::xxh3::Xxh3;

use super::{
    JsonRows, ReadAt, ReadError, RowDefect, RowFormat,
    column::{LeafColumn, ragged},
    schema::detail_of,
    text,
    tree::{self, Node, Repeated, Shape},
};
use crate::json::Validator;

/// No more rows are decoded at a time.
const ROWS_MAX: usize = 1024;

/// About as many bytes of columns are decoded at a time.
const DECODED_BYTES: u64 = 1 << 20;

/// What stands before the magic number at a file's end: the footer's length.
const TAIL_BYTES: usize = 8;

/// How much of a file's start is looked at for its fingerprint.
const HEAD_BYTES: u64 = 4 << 10;

/// A file whose footer has been read.
pub struct File {
    reader: SerializedFileReader<Chunks>,
    members: Vec<Node>,
    /// The columns that the members are made of, in order.
    leaves: Vec<usize>,
    format: RowFormat,
    fingerprint: String,
    row_count: u64,
}

/// The rows of a file, from one on.
pub struct Rows {
    file: File,
    /// The row group that comes next.
    next_group: usize,
    columns: Vec<LeafColumn>,
    /// Rows of the open row group that are still to be decoded.
    undecoded: u64,
    /// Rows that are decoded and have not been returned.
    decoded: usize,
    /// How many rows of the open row group are decoded at a time.
    stride: usize,
    validator: Validator,
    /// What ended the last read, of which the rows before it were returned first.
    failed: Option<ReadError>,
}

impl File {
    /// Reads a file's footer.
    pub fn open(source: Arc<dyn ReadAt>, format: RowFormat) -> Result<Self, ReadError> {
        unharmed(|| {
            let fingerprint = fingerprint(&*source)?;
            let reader = SerializedFileReader::new(Chunks(source))?;
            let metadata = reader.metadata();
            let members = tree::members(metadata.file_metadata().schema_descr())?;
            let leaves = (0..metadata.file_metadata().schema_descr().num_columns()).collect();
            let row_count = count_rows(metadata)?;
            Ok(File { reader, members, leaves, format, fingerprint, row_count })
        })
    }

    /// What tells a file from one that has taken its place: its length, and a hash of its footer,
    /// which says where each page lies and what is in it, and of its start.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// How many rows there are.
    pub fn row_count(&self) -> u64 {
        self.row_count
    }

    /// The names of the members that its rows have.
    pub fn names(&self) -> Vec<&str> {
        let schema = self.reader.metadata().file_metadata().schema_descr();
        schema.root_schema().get_fields().iter().map(|field| field.name()).collect()
    }

    /// Leaves the members out that have none of these names. Their columns are not read: what is in
    /// them makes no defect.
    pub fn only(mut self, names: &[&str]) -> Self {
        let places: Vec<usize> = self
            .names()
            .iter()
            .enumerate()
            .filter(|(_, name)| names.contains(name))
            .map(|(place, _)| place)
            .collect();
        let mut leaves = Vec::new();
        let mut place = 0;
        self.members.retain_mut(|member| {
            let is_kept = places.contains(&place);
            place += 1;
            if is_kept {
                let from = member.leaves.clone();
                member.move_leaves(from.start - leaves.len());
                leaves.extend(from);
            }
            is_kept
        });
        self.leaves = leaves;
        self
    }

    /// The rows behind the first so many.
    pub fn rows_behind(self, row: u64) -> Result<Rows, ReadError> {
        unharmed(|| {
            let mut rows = Rows {
                file: self,
                next_group: 0,
                columns: Vec::new(),
                undecoded: 0,
                decoded: 0,
                stride: ROWS_MAX,
                validator: Validator::default(),
                failed: None,
            };
            rows.pass(row)?;
            Ok(rows)
        })
    }
}

impl Rows {
    /// The next rows: no more than `rows_max`, and about as many as have `bytes_max` bytes; none
    /// at the end of the file. Fails behind the last sound row, and is of no use then.
    pub fn read(
        &mut self,
        rows_max: usize,
        bytes_max: usize,
    ) -> Result<Option<JsonRows>, ReadError> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let mut rows = JsonRows::default();
        let read = unharmed(|| {
            while rows.ends.len() < rows_max.max(1)
                && (rows.ends.is_empty() || rows.bytes.len() < bytes_max)
                && self.has_row()?
            {
                self.write_row(&mut rows)?;
            }
            Ok(())
        });
        match (read, rows.ends.last()) {
            (Err(error), None) => return Err(error),
            (Err(error), Some(end)) => {
                rows.bytes.truncate(*end);
                self.failed = Some(error);
            }
            (Ok(()), _) => {}
        }
        Ok((!rows.ends.is_empty()).then_some(rows))
    }

    /// Passes over the first rows of the file.
    fn pass(&mut self, mut rows: u64) -> Result<(), ReadError> {
        while rows > 0 && self.next_group < self.file.reader.num_row_groups() {
            let of_group = group_rows(self.file.reader.metadata(), self.next_group)?;
            if of_group <= rows {
                self.next_group += 1;
                rows -= of_group;
                continue;
            }
            self.open_group()?;
            for column in &mut self.columns {
                column.skip(rows as usize)?;
            }
            self.undecoded -= rows;
            return Ok(());
        }
        Ok(())
    }

    fn open_group(&mut self) -> Result<(), ReadError> {
        let group = self.file.reader.get_row_group(self.next_group)?;
        let metadata = self.file.reader.metadata();
        self.undecoded = group_rows(metadata, self.next_group)?;
        let bytes = u64::try_from(group.metadata().total_byte_size()).unwrap_or_default();
        let usual = (bytes / self.undecoded.max(1)).max(1);
        self.stride = usize::try_from(DECODED_BYTES / usual).unwrap_or(ROWS_MAX).clamp(1, ROWS_MAX);
        self.columns.clear();
        let schema = metadata.file_metadata().schema_descr();
        for place in self.file.leaves.iter().copied() {
            let reader = group.get_column_reader(place)?;
            let column = &schema.columns()[place];
            self.columns.push(LeafColumn::new(reader, column, self.file.format)?);
        }
        self.next_group += 1;
        Ok(())
    }

    /// Whether there is another row. It is decoded then.
    fn has_row(&mut self) -> Result<bool, ReadError> {
        while self.decoded == 0 {
            if self.undecoded == 0 {
                if self.next_group >= self.file.reader.num_row_groups() {
                    return Ok(false);
                }
                self.open_group()?;
                continue;
            }
            let rows = self.undecoded.min(self.stride as u64);
            for column in &mut self.columns {
                column.load(rows as usize)?;
            }
            self.undecoded -= rows;
            self.decoded = rows as usize;
        }
        Ok(true)
    }

    fn write_row(&mut self, rows: &mut JsonRows) -> Result<(), ReadError> {
        let starts_row = |column: &LeafColumn| column.repetition() == Some(0);
        if !self.columns.iter().all(starts_row) {
            return Err(ragged());
        }
        let mut row = Row {
            columns: &mut self.columns,
            omit_nulls: self.file.format.omit_nulls,
            validator: &mut self.validator,
            defect: None,
            out: &mut rows.bytes,
        };
        row.write_object(&self.file.members)?;
        if let Some((code, message)) = row.defect {
            rows.defects.push(RowDefect { row: rows.ends.len(), code, message });
        }
        rows.ends.push(rows.bytes.len());
        self.decoded -= 1;
        Ok(())
    }
}

/// A row on its way from its columns to an object.
struct Row<'a> {
    columns: &'a mut [LeafColumn],
    omit_nulls: bool,
    validator: &'a mut Validator,
    /// The first one.
    defect: Option<(&'static str, String)>,
    out: &'a mut Vec<u8>,
}

impl Row<'_> {
    fn write_object(&mut self, members: &[Node]) -> Result<(), ReadError> {
        self.out.push(b'{');
        let mut is_first = true;
        for member in members {
            if self.omit_nulls && self.is_null(member)? {
                self.pass(member)?;
                continue;
            }
            if !std::mem::take(&mut is_first) {
                self.out.push(b',');
            }
            self.out.extend_from_slice(&member.member);
            self.write(member)?;
        }
        self.out.push(b'}');
        Ok(())
    }

    fn write(&mut self, node: &Node) -> Result<(), ReadError> {
        if self.is_null(node)? {
            self.out.extend_from_slice(b"null");
            return self.pass(node);
        }
        match &node.shape {
            Shape::Value => self.write_value(node.leaves.start),
            Shape::Object(members) => self.write_object(members),
            Shape::Array(element, repeated) => {
                self.write_repeated(node, *repeated, [b'[', b']'], |row| row.write(element))
            }
            Shape::Map { key, value, repeated } => {
                self.write_repeated(node, *repeated, [b'{', b'}'], |row| {
                    row.write(key)?;
                    row.out.push(b':');
                    row.write(value)
                })
            }
        }
    }

    fn write_value(&mut self, leaf: usize) -> Result<(), ReadError> {
        let column = &mut self.columns[leaf];
        if let Err(why) = column.write(self.validator, self.out)? {
            let name = &column.name;
            self.defect.get_or_insert_with(|| (text::code(why), why.message(name)));
        }
        Ok(())
    }

    /// Something of which there are any number.
    fn write_repeated(
        &mut self,
        node: &Node,
        repeated: Repeated,
        [open, close]: [u8; 2],
        mut write_one: impl FnMut(&mut Self) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        self.out.push(open);
        if self.columns[node.leaves.start].definition()? < repeated.defined {
            self.pass(node)?;
        } else {
            loop {
                write_one(self)?;
                let next = self.columns[node.leaves.start].repetition();
                if next.is_none_or(|level| level < repeated.repetition) {
                    break;
                }
                self.out.push(b',');
            }
        }
        self.out.push(close);
        Ok(())
    }

    fn is_null(&self, node: &Node) -> Result<bool, ReadError> {
        let Some(level) = node.null_below else { return Ok(false) };
        Ok(self.columns[node.leaves.start].definition()? < level)
    }

    /// Passes something that is not there: each of its columns says so once.
    fn pass(&mut self, node: &Node) -> Result<(), ReadError> {
        self.columns[node.leaves.clone()].iter_mut().try_for_each(LeafColumn::pass)
    }
}

fn count_rows(metadata: &ParquetMetaData) -> Result<u64, ReadError> {
    let mut rows = 0u64;
    for group in 0..metadata.num_row_groups() {
        rows = rows.checked_add(group_rows(metadata, group)?).ok_or_else(ragged)?;
    }
    Ok(rows)
}

fn group_rows(metadata: &ParquetMetaData, group: usize) -> Result<u64, ReadError> {
    u64::try_from(metadata.row_group(group).num_rows()).map_err(|_| ragged())
}

fn fingerprint(source: &dyn ReadAt) -> Result<String, ReadError> {
    let length = source.length();
    let mut hash = Xxh3::new();
    let mut tail = [0; TAIL_BYTES];
    let short = || ReadError::Damaged { detail: format!("it has {length} bytes") };
    let tail_at = length.checked_sub(TAIL_BYTES as u64).ok_or_else(short)?;
    source.read_at(tail_at, &mut tail).map_err(ReadError::Io)?;
    if tail[4..] != *b"PAR1" {
        let detail = "it does not end as one".to_owned();
        return Err(ReadError::Damaged { detail });
    }
    let footer = u64::from(u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]));
    let footer_at = tail_at.checked_sub(footer).ok_or_else(short)?;
    let mut bytes = vec![0; (length - footer_at) as usize];
    source.read_at(footer_at, &mut bytes).map_err(ReadError::Io)?;
    hash.update(&bytes);
    bytes.resize(HEAD_BYTES.min(footer_at) as usize, 0);
    source.read_at(0, &mut bytes).map_err(ReadError::Io)?;
    hash.update(&bytes);
    Ok(format!("{length}:{:032x}", hash.digest128()))
}

/// The library checks much of what a file says, and not all of it: where it panics over a broken
/// one, the file is at fault. Nothing of it is used afterwards.
fn unharmed<T>(read: impl FnOnce() -> Result<T, ReadError>) -> Result<T, ReadError> {
    let undecodable = "a page or the footer can't be decoded".to_owned();
    catch_unwind(AssertUnwindSafe(read)).unwrap_or(Err(ReadError::Damaged { detail: undecodable }))
}

impl From<ParquetError> for ReadError {
    fn from(error: ParquetError) -> Self {
        match error {
            ParquetError::External(cause) => match cause.downcast::<io::Error>() {
                Ok(error) => SourceFailed::of(*error),
                Err(cause) => ReadError::Damaged { detail: cause.to_string() },
            },
            error => ReadError::Damaged { detail: detail_of(&error) },
        }
    }
}

/// A failure of what lies under a file. Decoders fail with errors of the same type over bytes that
/// are broken, and those won't be better the next time.
#[derive(Debug, thiserror::Error)]
#[error("failed to read")]
struct SourceFailed(#[source] io::Error);

impl SourceFailed {
    fn mark(error: io::Error) -> io::Error {
        io::Error::new(error.kind(), SourceFailed(error))
    }

    /// What an error that came through the library is.
    fn of(error: io::Error) -> ReadError {
        let detail = error.to_string();
        match error.into_inner().map(|inner| inner.downcast::<SourceFailed>()) {
            Some(Ok(failed)) => ReadError::Io(failed.0),
            _ => ReadError::Damaged { detail },
        }
    }
}

/// A source as the library wants it.
struct Chunks(Arc<dyn ReadAt>);

impl Length for Chunks {
    fn len(&self) -> u64 {
        self.0.length()
    }
}

impl ChunkReader for Chunks {
    type T = BufReader<Chunk>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(BufReader::with_capacity(4 << 10, Chunk { source: self.0.clone(), at: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        // Before there is memory for it: a broken file may ask for any number.
        if start.checked_add(length as u64).is_none_or(|end| end > self.0.length()) {
            let detail = "it points to bytes behind its end".to_owned();
            return Err(ParquetError::EOF(detail));
        }
        let mut bytes = vec![0; length];
        self.0.read_at(start, &mut bytes).map_err(SourceFailed::mark)?;
        Ok(bytes.into())
    }
}

/// A source from an offset on.
struct Chunk {
    source: Arc<dyn ReadAt>,
    at: u64,
}

impl Read for Chunk {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = self.source.length().saturating_sub(self.at);
        let length = into.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        // Behind the end, where a broken file may point to, there is nothing to ask for.
        if length == 0 {
            return Ok(0);
        }
        self.source.read_at(self.at, &mut into[..length]).map_err(SourceFailed::mark)?;
        self.at += length as u64;
        Ok(length)
    }
}

impl std::fmt::Debug for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let File { fingerprint, row_count, .. } = self;
        f.debug_struct("File")
            .field("fingerprint", fingerprint)
            .field("row_count", row_count)
            .finish_non_exhaustive()
    }
}
