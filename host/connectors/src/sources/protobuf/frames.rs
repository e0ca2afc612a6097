//! Where a message begins and ends: each stands behind its length. Blocking; runs off the tasks'
//! threads.

use std::io::{self, Read};

use super::MessageFraming;
use crate::sources::fingerprint::{HEAD_BYTES_MAX, TAIL_BYTES_MAX, tail};

/// A file is read in pieces of this size.
const READ_BYTES: usize = 256 << 10;

/// What is passed over is read in pieces of this size.
const PASSED_BYTES: u64 = 1 << 20;

/// No message is longer, by the format's own limit.
pub(super) const MESSAGE_BYTES_MAX: u64 = (1 << 31) - 1;

/// A varint of 64 bits has no more bytes.
const VARINT_BYTES_MAX: usize = 10;

/// Reads messages.
pub(super) struct Frames {
    stream: Box<dyn Read + Send>,
    framing: MessageFraming,
    /// A message is kept whole up to here.
    kept_max: usize,
    /// What was read; what is before `done` has been returned.
    buffer: Vec<u8>,
    done: usize,
    /// Where `done` stands in the file.
    offset: u64,
    ended: bool,
    /// Where reading began, and what was read first, as far as fingerprints go.
    opened_at: u64,
    head: Vec<u8>,
}

/// What comes next in a file.
pub(super) struct Frame<'f> {
    /// The message, or what is kept of it.
    pub(super) bytes: &'f [u8],
    pub(super) kind: FrameKind,
    /// Where it begins, with its length.
    pub(super) start: u64,
    /// Where the next one begins.
    pub(super) end: u64,
    /// The fingerprint of what lies right before that, where the message is long enough.
    pub(super) tail: Option<u64>,
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FrameKind {
    /// A message.
    Message,
    /// A message that is longer than may be kept: so long.
    CutOff(u64),
    /// The file ends within a message that should have so many bytes, or within its length.
    Truncated(Option<u64>),
    /// No length stands here, so nobody knows where the next message begins: the rest of the file.
    Lost,
}

impl Frames {
    /// Reads a stream whose next byte stands at an offset, where a message begins.
    pub(super) fn new(
        stream: Box<dyn Read + Send>,
        framing: MessageFraming,
        offset: u64,
        kept_max: usize,
    ) -> Self {
        Frames {
            stream,
            framing,
            kept_max,
            buffer: Vec::new(),
            done: 0,
            offset,
            ended: false,
            opened_at: offset,
            head: Vec::new(),
        }
    }

    /// Where reading began, and what was read first.
    pub(super) fn head(&self) -> (u64, &[u8]) {
        (self.opened_at, &self.head)
    }

    /// The next frame; none at the end of the stream.
    pub(super) fn next(&mut self) -> io::Result<Option<Frame<'_>>> {
        let start = self.offset;
        self.fill(VARINT_BYTES_MAX)?;
        let rest = &self.buffer[self.done..];
        if rest.is_empty() {
            return Ok(None);
        }
        let (width, length) = match self.framing.length(rest) {
            Length::Known(width, length) if length <= MESSAGE_BYTES_MAX => (width, length),
            // Only at the end is there too little to know it.
            Length::Unfinished => return self.rest(start, FrameKind::Truncated(None)).map(Some),
            _ => return self.rest(start, FrameKind::Lost).map(Some),
        };
        let kept = usize::try_from(length).unwrap_or(usize::MAX).min(self.kept_max);
        self.fill(width + kept)?;
        if self.buffer.len() - self.done < width + kept {
            return self.rest(start, FrameKind::Truncated(Some(length))).map(Some);
        }
        let from = self.done + width;
        let beyond = length - kept as u64;
        self.done = from + kept;
        self.offset = start + width as u64 + kept as u64;
        if beyond > 0 {
            let passed = self.pass(beyond)?;
            self.offset += passed;
            let kind = match passed < beyond {
                true => FrameKind::Truncated(Some(length)),
                false => FrameKind::CutOff(length),
            };
            let bytes = &self.buffer[from..from + kept];
            return Ok(Some(Frame { bytes, kind, start, end: self.offset, tail: None }));
        }
        let bytes = &self.buffer[from..self.done];
        // Of a shorter one it would depend on what came before, which a reader that begins behind
        // that does not know.
        let whole = &self.buffer[self.done - width - kept..self.done];
        let window = whole.len().checked_sub(TAIL_BYTES_MAX);
        let tail = window.map(|from| tail(&whole[from..]));
        Ok(Some(Frame { bytes, kind: FrameKind::Message, start, end: self.offset, tail }))
    }

    /// All that is left, of which the beginning is kept.
    fn rest(&mut self, start: u64, kind: FrameKind) -> io::Result<Frame<'_>> {
        self.fill(self.kept_max)?;
        let from = self.done;
        let kept = (self.buffer.len() - from).min(self.kept_max);
        self.done += kept;
        self.offset += kept as u64 + self.pass(u64::MAX)?;
        let bytes = &self.buffer[from..from + kept];
        Ok(Frame { bytes, kind, start, end: self.offset, tail: None })
    }

    /// Passes over bytes, and says over how many: fewer than asked for only at the end. What has
    /// been read of them leaves the buffer only later.
    fn pass(&mut self, bytes: u64) -> io::Result<u64> {
        let read = (self.buffer.len() - self.done) as u64;
        let of_buffer = bytes.min(read);
        self.done += of_buffer as usize;
        let mut passed = of_buffer;
        while passed < bytes {
            let piece = (bytes - passed).min(PASSED_BYTES);
            let n = io::copy(&mut self.stream.by_ref().take(piece), &mut io::sink())?;
            passed += n;
            if n < piece {
                self.ended = true;
                break;
            }
        }
        Ok(passed)
    }

    /// Reads until so many bytes are there, or the stream has ended.
    fn fill(&mut self, bytes: usize) -> io::Result<()> {
        if self.buffer.len() - self.done >= bytes {
            return Ok(());
        }
        self.buffer.drain(..self.done);
        self.done = 0;
        while self.buffer.len() - self.done < bytes && !self.ended {
            let filled = self.buffer.len();
            // Never more at once than is asked for by a length that may be a lie.
            self.buffer.resize(filled + READ_BYTES, 0);
            let read = self.stream.read(&mut self.buffer[filled..]);
            self.buffer.truncate(filled + *read.as_ref().unwrap_or(&0));
            match read {
                Ok(0) => self.ended = true,
                Ok(n) => self.extend_head(filled, n),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Takes what is missing of the head from bytes that were read.
    fn extend_head(&mut self, from: usize, bytes: usize) {
        let known = self.opened_at as usize + self.head.len();
        let missing = HEAD_BYTES_MAX.saturating_sub(known).min(bytes);
        self.head.extend_from_slice(&self.buffer[from..from + missing]);
    }
}

/// A length, as it stands at the start of some bytes.
enum Length {
    /// With its own width.
    Known(usize, u64),
    /// More bytes have to be known.
    Unfinished,
    /// There is none.
    None,
}

impl MessageFraming {
    fn length(self, bytes: &[u8]) -> Length {
        match self {
            MessageFraming::U32 => match bytes.first_chunk() {
                Some(length) => Length::Known(4, u64::from(u32::from_be_bytes(*length))),
                None => Length::Unfinished,
            },
            MessageFraming::Varint => {
                let mut rest = bytes;
                match prost_reflect::prost::encoding::decode_varint(&mut rest) {
                    Ok(length) => Length::Known(bytes.len() - rest.len(), length),
                    Err(_)
                        if bytes.len() < VARINT_BYTES_MAX
                            && bytes.iter().all(|byte| *byte >= 0x80) =>
                    {
                        Length::Unfinished
                    }
                    Err(_) => Length::None,
                }
            }
        }
    }
}
