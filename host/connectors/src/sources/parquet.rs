//! Rows of Parquet files as records: each becomes a JSON object, as rows of CSV do.
//!
//! A record's position is the number of rows up to and including it, so that the footer says in
//! which row group reading goes on: those before it are not touched.

use std::{
    fs::File,
    io,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;
use tidegate_core::{
    Position, RecordBatch,
    parquet::{self, ReadAt, ReadError, RowFormat, Rows},
    record::Defect,
    source::{ReadLimit, SourceError},
};

use super::{
    files::SourceFile,
    fingerprint::Head,
    lines::{LineLimits, Loader, Piece, Split, Stream, broken},
};

/// As many rows are made into records at a time, or as many as have about so many bytes.
const PIECE_ROWS: usize = 8192;
const PIECE_BYTES: usize = 1 << 20;

/// A file of columns.
pub(super) struct ParquetFile {
    file: SourceFile,
    format: RowFormat,
}

impl ParquetFile {
    pub(super) fn new(file: SourceFile, format: RowFormat) -> Self {
        ParquetFile { file, format }
    }

    /// A failure as the library tells it, as one of a file.
    fn refused(&self, error: ReadError) -> SourceError {
        let path = self.file.path.display();
        match error {
            ReadError::Io(error) => self.file.failed(0, error),
            error => broken(format!("`{path}` can't be read: {error}"), None),
        }
    }
}

impl Stream for ParquetFile {
    type Loader = ParquetRows;

    fn open(&self, after: Option<(u64, &str)>) -> Result<(ParquetRows, Head), SourceError> {
        let source = self.file.at_offsets().map_err(|error| self.file.failed(0, error))?;
        let opened = parquet::File::open(source, self.format);
        let opened = match (opened, after) {
            (Ok(opened), _) => opened,
            // Whatever it is now, it was a sound file once.
            (Err(ReadError::Damaged { detail }), Some(_)) => {
                return Err(self.file.replaced(&detail));
            }
            (Err(error), _) => return Err(self.refused(error)),
        };
        let head = Head::of_whole(opened.fingerprint().to_owned());
        let row = after.map_or(0, |(row, _)| row);
        if let Some((_, token)) = after
            && token != head.token(row, None)
        {
            return Err(self.file.replaced("its length, its footer or its start differ"));
        }
        let rows = opened.rows_behind(row).map_err(|error| self.refused(error))?;
        Ok((ParquetRows { rows, row }, head))
    }

    fn failed(&self, row: u64, error: io::Error) -> SourceError {
        let path = self.file.path.display();
        if error.kind() == io::ErrorKind::InvalidData {
            let message = format!(
                "`{path}` is damaged behind row {row}, up to which everything is done: {error}; \
                 put a whole file there"
            );
            return broken(message, Some(error));
        }
        self.file.failed(0, error)
    }
}

/// A file, read by one thread at a time.
pub(crate) struct PlainFile {
    file: Mutex<File>,
    length: u64,
}

impl PlainFile {
    pub(crate) fn new(file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        Ok(PlainFile { file: Mutex::new(file), length })
    }
}

impl ReadAt for PlainFile {
    fn length(&self) -> u64 {
        self.length
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        use std::io::{Read, Seek, SeekFrom};

        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(into)
    }
}

/// Makes rows into records.
pub(super) struct ParquetRows {
    rows: Rows,
    /// How many rows lie before the next one.
    row: u64,
}

/// Records, and how far they have been returned.
pub(super) struct RowPiece {
    bytes: Bytes,
    ends: Vec<usize>,
    defects: Vec<parquet::RowDefect>,
    /// How many rows lie before the first.
    row: u64,
    done: usize,
}

impl Loader for ParquetRows {
    type Piece = RowPiece;

    fn load(&mut self) -> io::Result<Option<RowPiece>> {
        let read = self.rows.read(PIECE_ROWS, PIECE_BYTES).map_err(|error| match error {
            ReadError::Io(error) => error,
            error => io::Error::new(io::ErrorKind::InvalidData, error.to_string()),
        })?;
        let Some(rows) = read else { return Ok(None) };
        let row = self.row;
        self.row += rows.ends.len() as u64;
        let parquet::JsonRows { bytes, ends, defects } = rows;
        Ok(Some(RowPiece { bytes: bytes.into(), ends, defects, row, done: 0 }))
    }

    /// Rows are made into a buffer of their own each time.
    fn retire(&mut self, _: Bytes) {}
}

impl Piece for RowPiece {
    /// The fingerprint is known from the start.
    fn read_from(&self) -> (u64, &[u8]) {
        (0, &[])
    }

    fn split(&mut self, limit: &ReadLimit, until: u64, limits: &LineLimits) -> Split {
        let mut batch = RecordBatch { bytes: self.bytes.clone(), ..RecordBatch::default() };
        let mut bytes = 0;
        while let Some(end) = self.ends.get(self.done).copied() {
            let position = self.row + self.done as u64 + 1;
            if position > until {
                return Split { batch, tails: Vec::new(), beyond: true };
            }
            let start = self.done.checked_sub(1).map_or(0, |last| self.ends[last]);
            let length = end - start;
            let is_full = batch.len() >= limit.records_max.max(1)
                || (!batch.is_empty() && bytes + length > limit.bytes_max);
            if is_full {
                break;
            }
            let row = batch.len();
            let kept = length.min(limits.payload_bytes_max);
            if let Some(defect) = limits.defect(row, length as u64, kept) {
                batch.defects.push(defect);
            } else if let Ok(found) = self.defects.binary_search_by_key(&self.done, |it| it.row) {
                let parquet::RowDefect { code, message, .. } = self.defects[found].clone();
                batch.defects.push(Defect { row: row as u32, code, message });
            }
            // Pieces are far smaller than 4 GiB, unless one row is not: then it is cut, and said.
            batch.spans.push((start as u32, (start + kept) as u32));
            batch.positions.push(Position::from_offset(position));
            bytes += length;
            self.done += 1;
        }
        Split { batch, tails: Vec::new(), beyond: false }
    }

    fn into_bytes(self) -> Bytes {
        self.bytes
    }
}
