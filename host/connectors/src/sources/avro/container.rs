//! An object container file: its header, and the blocks behind it, whether they are sound or not.
//!
//! A block says how many rows it has, how many bytes they take, and ends with the file's marker. So
//! blocks can be passed over without looking into them; and where one is broken, the next marker
//! says where the one behind it begins.

use std::{
    collections::HashMap,
    io::{self, BufReader, Read, Seek, SeekFrom},
    str::FromStr,
};

use apache_avro::{Codec, Schema, reader::datum::GenericDatumReader, types::Value};
use memchr::memmem;
use xxhash_rust::xxh3::Xxh3;

use crate::sources::medium::RawStream;

/// What a file begins with.
const MAGIC: &[u8; 4] = b"Obj\x01";

/// A longer header is taken for a broken one. It holds the schema and what the writer wants to say.
const HEADER_BYTES_MAX: u64 = 16 << 20;

const MARKER_BYTES: usize = 16;

/// A count and a size, of at most ten bytes each.
const PREFIX_BYTES_MAX: usize = 20;

/// Nothing, compressed by any codec, takes no more bytes.
const NOTHING_BYTES_MAX: u64 = 32;

/// Markers are looked for in pieces of this size.
const SEARCHED_BYTES: usize = 256 << 10;

/// So much of a file's start, and of its end, is looked at for its fingerprint.
const FINGERPRINT_BYTES: u64 = 4 << 10;

/// A row's number, and so a position, is no larger than what JSON readers take for a whole number.
const ROWS_MAX: u64 = 1 << 53;

static LONG: Schema = Schema::Long;

/// A file, and how far its blocks have been passed.
pub(super) struct Container {
    file: BufReader<Box<dyn RawStream>>,
    /// Where the reader stands.
    cursor: u64,
    length: u64,
    marker: [u8; MARKER_BYTES],
    /// Where the next block begins.
    offset: u64,
    /// How many rows lie before it.
    rows: u64,
}

/// What a file says of itself.
pub(super) struct Header {
    /// The schema that its rows were written with, as JSON.
    pub(super) schema: serde_json::Value,
    pub(super) codec: Codec,
    /// What tells the file from one that has taken its place: its length, and a hash of its start
    /// and its end.
    pub(super) fingerprint: String,
}

/// Why a file is none.
pub(super) enum OpenError {
    Failed(io::Error),
    /// What is wrong with it.
    Unusable(String),
}

/// What comes next in a file.
pub(super) enum Next {
    Block(Block),
    Damage(Damage),
    End,
}

/// A block whose frame is sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// Where it begins in the file.
    pub(super) offset: u64,
    /// How many rows lie before it.
    pub(super) rows_before: u64,
    pub(super) rows: u64,
    /// Where its rows begin, and how many bytes they take.
    data: u64,
    pub(super) data_bytes: u64,
}

/// A part of a file that is no block. It counts as one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Damage {
    pub(super) offset: u64,
    pub(super) bytes: u64,
    pub(super) rows_before: u64,
    /// What is wrong.
    pub(super) reason: &'static str,
}

impl Container {
    /// Reads the header.
    pub(super) fn open(mut file: Box<dyn RawStream>) -> Result<(Self, Header), OpenError> {
        let length = file.seek(SeekFrom::End(0))?;
        let fingerprint = fingerprint(&mut file, length)?;
        file.rewind()?;
        let mut start = BufReader::new(file).take(HEADER_BYTES_MAX.min(length));
        let mut magic = [0; MAGIC.len()];
        if length >= magic.len() as u64 {
            start.read_exact(&mut magic)?;
        }
        if magic != *MAGIC {
            let reason = "it does not begin as an object container file".to_owned();
            return Err(OpenError::Unusable(reason));
        }
        let metadata = metadata(&mut start)?;
        let mut marker = [0; MARKER_BYTES];
        start.read_exact(&mut marker).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => OpenError::Unusable("its header is cut off".to_owned()),
            _ => OpenError::Failed(error),
        })?;
        let header = Header {
            schema: schema(&metadata).map_err(OpenError::Unusable)?,
            codec: codec(&metadata).map_err(OpenError::Unusable)?,
            fingerprint,
        };
        let mut file = start.into_inner();
        let offset = file.stream_position()?;
        Ok((Container { file, cursor: offset, length, marker, offset, rows: 0 }, header))
    }

    /// Goes on, to what comes next.
    pub(super) fn next(&mut self) -> io::Result<Next> {
        if self.offset >= self.length {
            return Ok(Next::End);
        }
        let (offset, rows_before) = (self.offset, self.rows);
        match self.block()? {
            Ok(block) => {
                self.offset = block.data + block.data_bytes + MARKER_BYTES as u64;
                self.rows += block.rows;
                Ok(Next::Block(block))
            }
            Err(reason) => {
                self.offset = self.behind_marker(offset)?.unwrap_or(self.length);
                self.rows += 1;
                let bytes = self.offset - offset;
                Ok(Next::Damage(Damage { offset, bytes, rows_before, reason }))
            }
        }
    }

    /// The block at the offset, or why there is none.
    fn block(&mut self) -> io::Result<Result<Block, &'static str>> {
        let mut prefix = [0; PREFIX_BYTES_MAX];
        let left = usize::try_from(self.length - self.offset).unwrap_or(usize::MAX);
        let prefix = &mut prefix[..PREFIX_BYTES_MAX.min(left)];
        self.read_at(self.offset, prefix)?;
        let mut rest = &*prefix;
        let (Some(rows), Some(data_bytes)) = (length(&mut rest), length(&mut rest)) else {
            return Ok(Err("no count and size of a block stand here"));
        };
        // A block without rows may have what it takes to compress nothing.
        if rows == 0 && data_bytes > NOTHING_BYTES_MAX {
            return Ok(Err("a block without rows has bytes"));
        }
        let data = self.offset + (prefix.len() - rest.len()) as u64;
        if self.rows.checked_add(rows).is_none_or(|rows| rows > ROWS_MAX) {
            return Ok(Err("a block has more rows than there can be"));
        }
        let end = data.checked_add(data_bytes);
        let Some(end) = end.filter(|end| end.saturating_add(MARKER_BYTES as u64) <= self.length)
        else {
            return Ok(Err("a block is larger than what is left of the file"));
        };
        let mut marker = [0; MARKER_BYTES];
        self.read_at(end, &mut marker)?;
        if marker != self.marker {
            return Ok(Err("a block does not end with the file's marker"));
        }
        let (offset, rows_before) = (self.offset, self.rows);
        Ok(Ok(Block { offset, rows_before, rows, data, data_bytes }))
    }

    /// Behind the first marker that begins at or behind an offset.
    fn behind_marker(&mut self, mut offset: u64) -> io::Result<Option<u64>> {
        let finder = memmem::Finder::new(&self.marker).into_owned();
        let mut piece = vec![0; SEARCHED_BYTES];
        loop {
            let left = self.length - offset;
            let bytes = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
            self.read_at(offset, &mut piece[..bytes])?;
            if let Some(found) = finder.find(&piece[..bytes]) {
                return Ok(Some(offset + (found + MARKER_BYTES) as u64));
            }
            if bytes as u64 == left {
                return Ok(None);
            }
            // One may lie across two pieces.
            offset += (bytes + 1 - MARKER_BYTES) as u64;
        }
    }

    /// The bytes of a block's rows, as they stand in the file; no more than so many.
    pub(super) fn data(&mut self, block: &Block, bytes_max: usize) -> io::Result<Vec<u8>> {
        self.bytes(block.data, block.data_bytes, bytes_max)
    }

    /// Bytes of the file; no more than so many.
    pub(super) fn bytes(
        &mut self,
        offset: u64,
        bytes: u64,
        bytes_max: usize,
    ) -> io::Result<Vec<u8>> {
        let mut read = vec![0; usize::try_from(bytes).unwrap_or(usize::MAX).min(bytes_max)];
        self.read_at(offset, &mut read)?;
        Ok(read)
    }

    fn read_at(&mut self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.file.seek_relative(offset.wrapping_sub(self.cursor).cast_signed())?;
        self.file.read_exact(into)?;
        self.cursor = offset + into.len() as u64;
        Ok(())
    }
}

/// A number that is a length or a count.
fn length(bytes: &mut &[u8]) -> Option<u64> {
    let value = GenericDatumReader::builder(&LONG).build().ok()?.read_value(bytes).ok()?;
    match value {
        Value::Long(length) => u64::try_from(length).ok(),
        _ => None,
    }
}

/// What stands in the header by name.
fn metadata(start: &mut impl Read) -> Result<HashMap<String, Value>, OpenError> {
    let map = Schema::map(Schema::Bytes).build();
    let broken = || OpenError::Unusable("its header can't be read".to_owned());
    let reader = GenericDatumReader::builder(&map).build().map_err(|_| broken())?;
    // The library does not tell a failure of the device from a header that is broken; who opens
    // the file again learns which it was.
    match reader.read_value(start) {
        Ok(Value::Map(metadata)) => Ok(metadata),
        _ => Err(broken()),
    }
}

fn schema(metadata: &HashMap<String, Value>) -> Result<serde_json::Value, String> {
    let Some(Value::Bytes(schema)) = metadata.get("avro.schema") else {
        return Err("it has no schema".to_owned());
    };
    serde_json::from_slice(schema).map_err(|error| format!("its schema is no JSON: {error}"))
}

fn codec(metadata: &HashMap<String, Value>) -> Result<Codec, String> {
    let Some(Value::Bytes(name)) = metadata.get("avro.codec") else { return Ok(Codec::Null) };
    let name = String::from_utf8_lossy(name);
    Codec::from_str(&name).map_err(|_| {
        let name: String = name.chars().take(32).collect();
        format!(
            "it is compressed with `{name}`, and `null`, `deflate`, `snappy` and `zstandard` can be \
             read"
        )
    })
}

fn fingerprint(file: &mut (impl Read + Seek), length: u64) -> io::Result<String> {
    let mut hash = Xxh3::new();
    let mut piece = Vec::new();
    for from in [0, length.saturating_sub(FINGERPRINT_BYTES)] {
        piece.clear();
        file.seek(SeekFrom::Start(from))?;
        file.by_ref().take(FINGERPRINT_BYTES).read_to_end(&mut piece)?;
        hash.update(&piece);
    }
    Ok(format!("{length}:{:032x}", hash.digest128()))
}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        OpenError::Failed(error)
    }
}
