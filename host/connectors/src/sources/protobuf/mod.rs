//! Messages of Protobuf out of files as records.
//!
//! ```text
//! file ─► frames ─► messages ─► JSON
//!         where     library     decoder, by a schema that is given
//!         they are
//! ```
//!
//! Framing and decoding know nothing of each other: a message is the same message wherever it came
//! from. A record's position is the offset behind its message.

mod decoder;
mod frames;

use std::{io, sync::Arc};

use bytes::Bytes;
use metrics::Counter;
use tidegate_core::source::SourceError;

use super::{
    files::SourceFile,
    fingerprint::Head,
    lines::{LineLimits, Loader, Stream},
    records::{Fault, TABLE_BYTES, Table},
};
use decoder::MessageError;
pub use decoder::{MessageDecoder, MessageFormat, SchemaError, compile_protobuf};
use frames::{Frame, FrameKind, Frames, MESSAGE_BYTES_MAX};

/// How files of messages are to be understood.
#[derive(Debug)]
pub struct ProtobufFormat {
    /// The pipeline's name, by which fields that nobody knows are counted.
    pub pipeline: String,
    /// How a message's length is written.
    pub framing: MessageFraming,
    /// What makes JSON of them.
    pub decoder: MessageDecoder,
}

/// How the length before a message is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MessageFraming {
    /// As a varint.
    #[default]
    Varint,
    /// As four bytes, the highest first.
    U32,
}

/// A file of messages.
pub(super) struct MessageFile {
    file: SourceFile,
    format: Arc<ProtobufFormat>,
}

impl MessageFile {
    pub(super) fn new(file: SourceFile, format: Arc<ProtobufFormat>) -> Self {
        MessageFile { file: file.without_lines(), format }
    }
}

impl Stream for MessageFile {
    type Loader = Messages;

    fn open(&self, after: Option<(u64, &str)>) -> Result<(Messages, Head), SourceError> {
        let (stream, head) = self.file.open_bytes(after)?;
        let offset = after.map_or(0, |(offset, _)| offset);
        let limits = self.file.limits;
        let pipeline = self.format.pipeline.clone();
        let messages = Messages {
            frames: Frames::new(stream, self.format.framing, offset, limits.payload_bytes_max),
            format: self.format.clone(),
            limits,
            unknown: metrics::counter!(
                "tidegate_protobuf_unknown_fields_total", "pipeline" => pipeline
            ),
            failed: None,
        };
        Ok((messages, head))
    }

    fn failed(&self, offset: u64, error: io::Error) -> SourceError {
        self.file.failed(offset, error)
    }
}

/// Makes messages into records.
pub(super) struct Messages {
    frames: Frames,
    format: Arc<ProtobufFormat>,
    limits: LineLimits,
    /// Fields that the schema does not know.
    unknown: Counter,
    /// What stopped the last read, of which the messages before it were returned first.
    failed: Option<io::Error>,
}

impl Messages {
    /// Fills a table, as far as there are messages.
    fn fill(&mut self, table: &mut Table, output: &mut Vec<u8>) -> io::Result<()> {
        while output.len() < TABLE_BYTES {
            let Some(frame) = self.frames.next()? else { return Ok(()) };
            let start = output.len();
            let fault = match frame.kind {
                FrameKind::Message => {
                    message(&frame, &self.format.decoder, &self.limits, &self.unknown, output)
                }
                FrameKind::CutOff(bytes) => {
                    let defect = self.limits.defect(0, bytes, frame.bytes.len());
                    defect.map(|it| Fault::new(it.code, it.message))
                }
                FrameKind::Truncated(bytes) => {
                    let of = bytes.map_or("its length".to_owned(), |it| format!("its {it} bytes"));
                    let reason = format!("the file ends within {of}");
                    Some(Fault::new("protobuf-truncated", reason))
                }
                FrameKind::Lost => {
                    let reason = format!(
                        "no message's length stands here, or one of more than {MESSAGE_BYTES_MAX} \
                         bytes: the rest of the file, {} bytes, can't be read",
                        frame.end - frame.start,
                    );
                    Some(Fault::new("protobuf-lost-framing", reason))
                }
            };
            let fault = fault.map(|mut fault| {
                output.truncate(start);
                output.extend_from_slice(frame.bytes);
                fault.message = format!("the message at byte {}: {}", frame.start, fault.message);
                fault
            });
            table.push(start, output.len(), (frame.end, frame.tail), fault);
        }
        Ok(())
    }
}

/// Makes a record of a message, or says why it is none.
fn message(
    frame: &Frame<'_>,
    decoder: &MessageDecoder,
    limits: &LineLimits,
    unknown: &Counter,
    output: &mut Vec<u8>,
) -> Option<Fault> {
    let start = output.len();
    let too_large = |bytes: usize, kept: usize| {
        let defect = limits.defect(0, bytes as u64, kept);
        defect.map(|it| Fault::new(it.code, it.message))
    };
    if let Some(fault) = too_large(frame.bytes.len(), frame.bytes.len()) {
        return Some(fault);
    }
    match decoder.decode(frame.bytes, output) {
        Ok(fields) => {
            unknown.increment(fields);
            let bytes = output.len() - start;
            too_large(bytes, bytes)
        }
        Err(error) => {
            let code = match error {
                MessageError::Malformed { .. } => "protobuf-malformed",
                MessageError::NoJson { .. } => "protobuf-no-json",
            };
            Some(Fault::new(code, error.to_string()))
        }
    }
}

impl Loader for Messages {
    type Piece = Table;

    fn load(&mut self) -> io::Result<Option<Table>> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let (mut table, mut output) = (Table::default(), Vec::new());
        match self.fill(&mut table, &mut output) {
            Ok(()) => {}
            // What is there is returned first.
            Err(error) if !table.is_empty() => self.failed = Some(error),
            Err(error) => return Err(error),
        }
        if table.is_empty() {
            return Ok(None);
        }
        table.bytes = output.into();
        let (opened_at, head) = self.frames.head();
        table.head = (opened_at, head.to_vec());
        Ok(Some(table))
    }

    /// Messages are made into a buffer of their own each time.
    fn retire(&mut self, _: Bytes) {}
}
