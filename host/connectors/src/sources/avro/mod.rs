//! Rows of Avro object container files as records: each becomes JSON, as rows of Parquet do.
//!
//! ```text
//! file ─► blocks ─► decompressed ─► values ─► JSON
//!         container                 library   write, by a plan of schema
//! ```
//!
//! A record's position is the number of rows up to and including it. Blocks say how many rows they
//! have, so that those before a position are passed over unread. What is broken is a dead letter:
//! of the rest of a block, one whose position is that of the block's last row; of a part of the file
//! that is no block, one that counts as a row. So a row's number does not depend on where reading
//! began.

mod container;
mod schema;
mod write;

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use apache_avro::{Codec, Schema, error::Details, reader::datum::GenericDatumReader, util};
use bytes::Bytes;
use tidegate_core::{json::typed::RowFormat, source::SourceError};

use super::{
    files::SourceFile,
    fingerprint::Head,
    lines::{LineLimits, Loader, Stream, broken},
    records::{Fault, TABLE_BYTES, Table},
};
use container::{Block, Container, Damage, Next, OpenError};
use schema::Plan;
use write::RowWriter;

/// A block takes no more memory when it is decompressed, nor does a row when it is decoded. Writers
/// make blocks of some hundred KiB.
const DECODED_BYTES_MAX: usize = 256 << 20;

/// Values may lie so deep in a row, where a record, a union and a type by its name each count. The
/// library takes more than 50 KiB of stack a level, and a thread has 2 MiB.
const DEPTH_MAX: usize = 32;

/// How rows are to be understood.
#[derive(Clone, Debug, Default)]
pub struct AvroFormat {
    /// What values become where there is a choice.
    pub rows: RowFormat,
    /// The schema that rows are wanted in; without one it is what they were written with.
    pub reader: Option<Arc<AvroSchema>>,
}

/// A schema of Avro.
#[derive(Clone, Debug)]
pub struct AvroSchema(Schema);

impl AvroSchema {
    /// Reads a schema from its JSON, or says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        Schema::parse_str(text).map(AvroSchema).map_err(|error| error.to_string())
    }
}

/// A file of rows.
pub(super) struct AvroFile {
    file: SourceFile,
    format: AvroFormat,
}

impl AvroFile {
    pub(super) fn new(file: SourceFile, format: AvroFormat) -> Self {
        AvroFile { file, format }
    }

    fn unusable(&self, reason: &str) -> SourceError {
        let path = self.file.path.display();
        broken(format!("`{path}` can't be read as Avro: {reason}"), None)
    }
}

impl Stream for AvroFile {
    type Loader = AvroRows;

    fn open(&self, after: Option<(u64, &str)>) -> Result<(AvroRows, Head), SourceError> {
        // Said once a process; the library's own limits are for other machines and other stacks.
        util::max_allocation_bytes(DECODED_BYTES_MAX);
        util::max_decode_recursion_depth(DEPTH_MAX);
        let failed = |error| self.file.failed(0, error);
        let file = self.file.raw().map_err(failed)?;
        let (mut container, header) = match (Container::open(file), after) {
            (Ok(opened), _) => opened,
            (Err(OpenError::Failed(error)), _) => return Err(failed(error)),
            // Whatever it is now, it was a sound file once.
            (Err(OpenError::Unusable(reason)), Some(_)) => return Err(self.file.replaced(&reason)),
            (Err(OpenError::Unusable(reason)), None) => return Err(self.unusable(&reason)),
        };
        let head = Head::of_whole(header.fingerprint);
        if let Some((row, token)) = after
            && token != head.token(row, None)
        {
            return Err(self.file.replaced("its length, its start or its end differ"));
        }
        let parse = |for_decoding| {
            let schema = schema::plain(&header.schema, for_decoding);
            match unharmed(|| Schema::parse(schema)) {
                Some(Ok(schema)) => Ok(schema),
                Some(Err(error)) => Err(self.unusable(&format!("its schema is none: {error}"))),
                None => Err(self.unusable("its schema is none")),
            }
        };
        let (written, decoded) = (parse(false)?, parse(true)?);
        let wanted = self.format.reader.as_ref().map_or(&written, |it| &it.0);
        let plan = Plan::new(&written, wanted).map_err(|mismatch| {
            self.unusable(&format!("its rows don't fit the reader's schema: {}", mismatch.0))
        })?;
        let row = after.map_or(0, |(row, _)| row);
        let open = pass(&mut container, row).map_err(|error| self.file.failed(row, error))?;
        let rows = AvroRows {
            container,
            codec: header.codec,
            schema: decoded,
            plan,
            format: self.format.rows,
            limits: self.file.limits,
            next: open,
            block: None,
            passed: row,
            failed: None,
        };
        Ok((rows, head))
    }

    fn failed(&self, row: u64, error: io::Error) -> SourceError {
        self.file.failed(row, error)
    }
}

/// Passes all blocks that lie wholly before a row. Gives what comes next.
fn pass(container: &mut Container, row: u64) -> io::Result<Option<Next>> {
    loop {
        let next = container.next()?;
        let end = match &next {
            Next::Block(block) => block.rows_before + block.rows,
            Next::Damage(damage) => damage.rows_before + 1,
            Next::End => return Ok(Some(next)),
        };
        if end > row {
            return Ok(Some(next));
        }
    }
}

/// Makes rows into records.
pub(super) struct AvroRows {
    container: Container,
    codec: Codec,
    /// What rows are decoded by.
    schema: Schema,
    plan: Plan,
    format: RowFormat,
    limits: LineLimits,
    /// What comes next, where it is known.
    next: Option<Next>,
    /// The block whose rows come next.
    block: Option<OpenBlock>,
    /// Rows up to here were returned before the file was opened.
    passed: u64,
    /// What stopped the last read, of which the rows before it were returned first.
    failed: Option<io::Error>,
}

/// A block, decompressed.
struct OpenBlock {
    block: Block,
    data: Vec<u8>,
    /// How many of its bytes, and of its rows, have been decoded.
    done: usize,
    rows_done: u64,
}

/// Records on their way into a table.
#[derive(Default)]
struct Output {
    table: Table,
    bytes: Vec<u8>,
}

impl Output {
    /// Adds what was written behind `start` as the record at a position.
    fn push(&mut self, start: usize, position: u64, fault: Option<Fault>, limits: &LineLimits) {
        let length = self.bytes.len() - start;
        let kept = length.min(limits.payload_bytes_max);
        self.bytes.truncate(start + kept);
        let too_large = limits.defect(0, length as u64, kept);
        let fault = fault.or_else(|| too_large.map(|it| Fault::new(it.code, it.message)));
        self.table.push(start, start + kept, (position, None), fault);
    }

    /// Adds bytes that are no row.
    fn push_damage(&mut self, payload: &[u8], position: u64, message: String) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(payload);
        let fault = Fault::new("avro-damaged", message);
        self.table.push(start, self.bytes.len(), (position, None), Some(fault));
    }
}

impl AvroRows {
    /// Fills a table, as far as there are rows.
    fn fill(&mut self, output: &mut Output) -> io::Result<()> {
        while output.bytes.len() < TABLE_BYTES {
            if let Some(open) = self.block.take() {
                self.block = self.decode(open, output);
                continue;
            }
            let next = self.next.take().map_or_else(|| self.container.next(), Ok)?;
            match next {
                Next::End => break,
                Next::Block(block) => self.block = self.open(block, output)?,
                Next::Damage(damage) => self.damage(&damage, output)?,
            }
        }
        Ok(())
    }

    /// Opens a block; none where it can't be, which is then said.
    fn open(&mut self, block: Block, output: &mut Output) -> io::Result<Option<OpenBlock>> {
        let kept = self.limits.payload_bytes_max;
        let (first, last) = (block.rows_before + 1, block.rows_before + block.rows);
        if block.rows == 0 {
            return Ok(None);
        }
        let too_large = block.data_bytes > DECODED_BYTES_MAX as u64;
        let bytes_max = if too_large { kept } else { DECODED_BYTES_MAX };
        let mut data = self.container.data(&block, bytes_max)?;
        let reason = if too_large {
            Some(format!("it has {} bytes, and may have {DECODED_BYTES_MAX}", block.data_bytes))
        } else {
            match unharmed(|| self.codec.decompress(&mut data)) {
                Some(Ok(())) if block.rows <= data.len() as u64 => None,
                Some(Ok(())) => Some(format!("it has {} bytes for its rows", data.len())),
                failed => {
                    data = self.container.data(&block, kept)?;
                    Some(match failed.and_then(Result::err).map(|it| it.into_details()) {
                        Some(Details::MemoryAllocation { .. }) => {
                            format!("it has more than {DECODED_BYTES_MAX} bytes decompressed")
                        }
                        _ => "it can't be decompressed".to_owned(),
                    })
                }
            }
        };
        let Some(reason) = reason else {
            return Ok(Some(OpenBlock { block, data, done: 0, rows_done: 0 }));
        };
        let message = format!(
            "the block at byte {} of the file, with rows {first} to {last}, can't be read: {reason}",
            block.offset,
        );
        output.push_damage(&data[..data.len().min(kept)], last, message);
        Ok(None)
    }

    /// Decodes rows of the open block, until the output is full.
    fn decode(&mut self, mut open: OpenBlock, output: &mut Output) -> Option<OpenBlock> {
        let last = open.block.rows_before + open.block.rows;
        let mut writer = RowWriter::new(&self.plan, self.format);
        let reader = GenericDatumReader::builder(&self.schema).build();
        let reader = reader.expect("the schema was resolved when the file was opened");
        while open.rows_done < open.block.rows {
            if output.bytes.len() >= TABLE_BYTES {
                return Some(open);
            }
            let mut rest = &open.data[open.done..];
            let decoded = unharmed(|| reader.read_value(&mut rest));
            let done = open.data.len() - rest.len();
            let row = open.block.rows_before + open.rows_done + 1;
            let value = match decoded {
                Some(Ok(_)) if row == last && !rest.is_empty() => {
                    Err("bytes are left behind its last row".to_owned())
                }
                Some(Ok(value)) => Ok(value),
                Some(Err(error)) => Err(match error.details() {
                    Details::MemoryAllocation { .. } => {
                        format!("it takes more than {DECODED_BYTES_MAX} bytes of memory")
                    }
                    Details::DecodeRecursionLimit { .. } => {
                        format!("it lies more than {DEPTH_MAX} levels deep")
                    }
                    _ => "it does not fit the file's schema".to_owned(),
                }),
                None => Err("it can't be decoded".to_owned()),
            };
            match value {
                Ok(value) => {
                    open.done = done;
                    open.rows_done += 1;
                    if row > self.passed {
                        let start = output.bytes.len();
                        let fault = writer.write(&value, &mut output.bytes);
                        output.push(start, row, fault, &self.limits);
                    }
                }
                // Where a row ends, only its own bytes say.
                Err(reason) => {
                    let message = format!(
                        "row {row} can't be read, and with it what is left of its block up to row \
                         {last}: {reason}; the block is at byte {} of the file",
                        open.block.offset,
                    );
                    let rest = &open.data[open.done..];
                    let kept = rest.len().min(self.limits.payload_bytes_max);
                    output.push_damage(&rest[..kept], last, message);
                    return None;
                }
            }
        }
        None
    }

    fn damage(&mut self, damage: &Damage, output: &mut Output) -> io::Result<()> {
        let kept = self.limits.payload_bytes_max;
        let payload = self.container.bytes(damage.offset, damage.bytes, kept)?;
        let message = format!(
            "bytes {} to {} of the file are no block: {}; reading goes on behind the next marker",
            damage.offset,
            damage.offset + damage.bytes,
            damage.reason,
        );
        output.push_damage(&payload, damage.rows_before + 1, message);
        Ok(())
    }
}

impl Loader for AvroRows {
    type Piece = Table;

    fn load(&mut self) -> io::Result<Option<Table>> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let mut output = Output::default();
        match self.fill(&mut output) {
            Ok(()) => {}
            // What is there is returned first.
            Err(error) if !output.table.is_empty() => self.failed = Some(error),
            Err(error) => return Err(error),
        }
        if output.table.is_empty() {
            return Ok(None);
        }
        output.table.bytes = output.bytes.into();
        Ok(Some(output.table))
    }

    /// Rows are made into a buffer of their own each time.
    fn retire(&mut self, _: Bytes) {}
}

/// The library checks what a file says; where it panics over a broken one all the same, the file is
/// at fault.
fn unharmed<T>(decode: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(decode)).ok()
}
