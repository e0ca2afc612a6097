//! Cutting a stream of bytes into chunks of whole lines. Blocking; runs off the tasks' threads.

use std::io::{self, Read};

use bytes::{Bytes, BytesMut};

use super::line_feed::LineFeed;

/// The usual size of a chunk: with what is made of it, it stays in the second-level cache.
const CHUNK_BYTES: usize = 512 << 10;
/// The same where a stream is read while it is written: there may be many, and each has little.
const PROMPT_CHUNK_BYTES: usize = 64 << 10;

/// Whole lines, back to back: the last one ends with its line feed, or with the stream.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// Where the first byte stands in the stream.
    pub(crate) offset: u64,
    /// The bytes.
    pub(crate) bytes: Bytes,
    /// Set where this is a single line that was too large to keep: its length without the line
    /// feed. `bytes` holds how it begins, without one.
    pub(crate) cut_off: Option<CutOff>,
}

/// A line of which only the beginning was kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CutOff {
    /// How long it is, without its line feed.
    pub(crate) line_bytes: u64,
    /// Where the next line starts in the stream.
    pub(crate) end: u64,
}

/// Reads chunks from a stream.
pub(crate) struct ChunkLoader {
    stream: Box<dyn Read + Send>,
    /// Where the carry starts in the stream.
    offset: u64,
    /// The beginning of a line whose end has not been read yet.
    carry: Vec<u8>,
    /// A line is kept whole up to here.
    line_bytes_max: usize,
    /// Whether to return as soon as there is a line, rather than a full chunk: for a stream that
    /// somebody writes to while it is read.
    prompt: bool,
    line_feed: LineFeed,
    chunk_bytes: usize,
    /// A line that is too large and whose end has not been found.
    too_large: Option<TooLarge>,
    ended: bool,
    /// What stopped the stream, to be told once all lines before it have been returned.
    failed: Option<io::Error>,
    /// Buffers of earlier chunks. One is used again once nobody holds any of its bytes.
    retired: Vec<Bytes>,
}

/// A line that is too large, as far as it has been read.
struct TooLarge {
    beginning: BytesMut,
    line_bytes: u64,
    /// Half a line feed, where the last read ended in one.
    half: Vec<u8>,
}

/// More buffers than these are given back to the allocator.
const RETIRED_MAX: usize = 4;

impl ChunkLoader {
    /// Reads a stream whose next byte stands at `offset`, at the start of a line.
    ///
    /// A stream that has nothing for now says [`io::ErrorKind::WouldBlock`]; so does
    /// [`ChunkLoader::chunk`] then, and may be called again.
    pub(crate) fn new(
        stream: Box<dyn Read + Send>,
        offset: u64,
        line_bytes_max: usize,
        prompt: bool,
    ) -> Self {
        ChunkLoader {
            stream,
            offset,
            carry: Vec::new(),
            line_bytes_max,
            prompt,
            line_feed: LineFeed::Byte,
            chunk_bytes: if prompt { PROMPT_CHUNK_BYTES } else { CHUNK_BYTES },
            too_large: None,
            ended: false,
            failed: None,
            retired: Vec::new(),
        }
    }

    /// Says what ends a line.
    pub(super) fn with_line_feed(mut self, line_feed: LineFeed) -> Self {
        self.line_feed = line_feed;
        self
    }

    /// Takes back the buffer of a chunk that has been used up.
    pub(crate) fn take_back(&mut self, bytes: Bytes) {
        // Larger ones were for a line of unusual size, smaller ones end a stream.
        let usual = (self.chunk_bytes / 2..=self.chunk_bytes).contains(&bytes.len());
        if usual && self.retired.len() < RETIRED_MAX {
            self.retired.push(bytes);
        }
    }

    /// The next lines; none at the end of the stream.
    pub(crate) fn chunk(&mut self) -> io::Result<Option<Chunk>> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        if let Some(line) = self.too_large.take() {
            return self.cut_off(line);
        }
        if self.ended && self.carry.is_empty() {
            return Ok(None);
        }
        let mut buffer = self.buffer();
        let mut filled = self.carry.len();
        buffer[..filled].copy_from_slice(&self.carry);
        // The end of the last whole line. No line feed lies between it and `searched`.
        let mut whole = 0;
        let mut searched = 0;
        loop {
            let stopped = self.ended || self.failed.is_some();
            if stopped || self.prompt || filled == buffer.len() {
                if let Some(end) = self.line_feed.end_of_last(&buffer[..filled], searched) {
                    whole = end;
                }
                // Half a line feed may stand at the end.
                searched = (filled + 1).saturating_sub(self.line_feed.bytes().len());
                if stopped || whole > 0 {
                    break;
                }
            }
            if filled == buffer.len() {
                if filled >= self.line_bytes_max {
                    self.carry.clear();
                    buffer.truncate(filled);
                    let half = buffer[searched..].to_vec();
                    let line_bytes = filled as u64;
                    return self.cut_off(TooLarge { beginning: buffer, line_bytes, half });
                }
                buffer.resize(buffer.len().saturating_mul(2).min(self.line_bytes_max), 0);
            }
            match self.stream.read(&mut buffer[filled..]) {
                Ok(0) => self.ended = true,
                Ok(n) => filled += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.failed = Some(error),
            }
        }
        if self.ended {
            whole = filled;
        }
        self.carry.clear();
        self.carry.shrink_to(CHUNK_BYTES);
        self.carry.extend_from_slice(&buffer[whole..filled]);
        if whole == 0 {
            return self.failed.take().map_or(Ok(None), Err);
        }
        // Who asks again reads again.
        self.failed.take_if(|error| error.kind() == io::ErrorKind::WouldBlock);
        buffer.truncate(whole);
        let chunk = Chunk { offset: self.offset, bytes: buffer.freeze(), cut_off: None };
        self.offset += whole as u64;
        Ok(Some(chunk))
    }

    /// Reads to the end of a line that is too large, and keeps its beginning.
    fn cut_off(&mut self, mut line: TooLarge) -> io::Result<Option<Chunk>> {
        let mut rest = vec![0; self.chunk_bytes];
        let line_feed = loop {
            // A line feed of two bytes may lie across two reads.
            let before = line.half.len();
            rest[..before].copy_from_slice(&line.half);
            match self.stream.read(&mut rest[before..]) {
                Ok(0) => {
                    self.ended = true;
                    break 0;
                }
                Ok(n) => {
                    let read = &rest[..before + n];
                    let width = self.line_feed.bytes().len();
                    // Pairs are counted from the line's start.
                    let odd = ((line.line_bytes - before as u64) % width as u64) as usize;
                    match self.line_feed.end_of_first(&read[odd..]) {
                        Some(end) => {
                            let end = odd + end;
                            line.line_bytes += (end - before) as u64;
                            line.line_bytes -= width as u64;
                            self.carry.extend_from_slice(&read[end..]);
                            break width as u64;
                        }
                        None => {
                            line.line_bytes += n as u64;
                            line.half = read[read.len() + 1 - width..].to_vec();
                        }
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.too_large = Some(line);
                    return Err(error);
                }
                Err(error) => return Err(error),
            }
        };
        let line_bytes = line.line_bytes;
        let end = self.offset + line_bytes + line_feed;
        let cut_off = Some(CutOff { line_bytes, end });
        let chunk = Chunk { offset: self.offset, bytes: line.beginning.freeze(), cut_off };
        self.offset = end;
        Ok(Some(chunk))
    }

    /// A buffer with room for the carry and more, all of it initialized.
    fn buffer(&mut self) -> BytesMut {
        let least = (self.carry.len() + 1).max(self.chunk_bytes).min(
            // Never larger than a line may be, unless the carry already is.
            self.line_bytes_max.max(self.carry.len() + 1),
        );
        let unused = self.retired.iter().position(Bytes::is_unique);
        let recycled = unused.and_then(|i| self.retired.swap_remove(i).try_into_mut().ok());
        match recycled {
            Some(mut buffer) => {
                // What a truncated buffer lacks to its full size is a little: it was cut at a line.
                buffer.resize(least, 0);
                buffer
            }
            None => BytesMut::zeroed(least),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stream that gives its bytes in pieces of a size.
    struct Pieces(Vec<u8>, usize, usize);

    impl Read for Pieces {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let n = self.2.min(buffer.len()).min(self.0.len() - self.1);
            buffer[..n].copy_from_slice(&self.0[self.1..self.1 + n]);
            self.1 += n;
            Ok(n)
        }
    }

    fn check(content: &[u8], piece: usize, prompt: bool) {
        let stream = Box::new(Pieces(content.to_vec(), 0, piece));
        let mut loader = ChunkLoader::new(stream, 0, 1 << 20, prompt);
        let mut together = Vec::new();
        while let Some(chunk) = loader.chunk().unwrap() {
            assert_eq!(chunk.offset, together.len() as u64);
            assert!(!chunk.bytes.is_empty() && chunk.cut_off.is_none());
            together.extend_from_slice(&chunk.bytes);
            assert!(chunk.bytes.ends_with(b"\n") || together.len() == content.len());
            loader.take_back(chunk.bytes);
        }
        assert_eq!(together, content);
    }

    #[test]
    fn chunks_are_whole_lines_and_together_the_stream() {
        let long = "x".repeat(400_000);
        let many = "some line of a usual size\n".repeat(60_000);
        for content in ["", "\n", "a", "a\n", "a\nb", "\n\na\n", &long, &many] {
            for piece in [1, 7, 4096, 1 << 20] {
                if content.len() / piece < 500_000 {
                    check(content.as_bytes(), piece, false);
                    check(content.as_bytes(), piece, true);
                }
            }
        }
        check(format!("a\n{long}\nb\n{long}").as_bytes(), 1 << 20, false);
    }

    #[test]
    fn a_prompt_loader_does_not_wait_for_more_than_a_line() {
        let stream = Box::new(Pieces(b"one\ntwo\nthr".to_vec(), 0, 5));
        let mut loader = ChunkLoader::new(stream, 0, 1 << 20, true);
        assert_eq!(loader.chunk().unwrap().unwrap().bytes, "one\n");
        assert_eq!(loader.chunk().unwrap().unwrap().bytes, "two\n");
        assert_eq!(loader.chunk().unwrap().unwrap().bytes, "thr");
        assert!(loader.chunk().unwrap().is_none());
    }

    #[test]
    fn of_a_line_that_is_too_large_the_beginning_is_kept() {
        let mut content = b"a\n".to_vec();
        content.extend(vec![b'x'; 2 << 20]);
        content.extend(b"\nb\n");
        let mut loader = ChunkLoader::new(Box::new(io::Cursor::new(content)), 0, 300_000, false);
        assert_eq!(loader.chunk().unwrap().unwrap().bytes, "a\n");
        let large = loader.chunk().unwrap().unwrap();
        assert_eq!(large.bytes.len(), 300_000);
        let cut_off = large.cut_off.unwrap();
        assert_eq!((cut_off.line_bytes, cut_off.end), (2 << 20, 2 + (2 << 20) + 1));
        let last = loader.chunk().unwrap().unwrap();
        assert_eq!((last.offset, &last.bytes[..]), (cut_off.end, &b"b\n"[..]));
    }

    /// A stream that has nothing for now between any two of its pieces.
    struct Growing(Pieces, bool);

    impl Read for Growing {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.0.read(buffer)
        }
    }

    /// Reads a stream that grows: the chunks, and how long the lines are that were cut off.
    fn grown(content: &[u8], piece: usize, line_feed: LineFeed) -> (Vec<u8>, Vec<u64>) {
        let stream = Growing(Pieces(content.to_vec(), 0, piece), false);
        let mut loader = ChunkLoader::new(Box::new(stream), 0, 40, true).with_line_feed(line_feed);
        let (mut together, mut cut_off) = (Vec::new(), Vec::new());
        loop {
            match loader.chunk() {
                Ok(Some(chunk)) => {
                    assert_eq!(chunk.offset, together.len() as u64);
                    match chunk.cut_off {
                        Some(it) => {
                            assert_eq!(chunk.bytes, content[together.len()..][..40]);
                            cut_off.push(it.line_bytes);
                            together.extend_from_slice(&content[together.len()..it.end as usize]);
                        }
                        None => together.extend_from_slice(&chunk.bytes),
                    }
                }
                Ok(None) => return (together, cut_off),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        }
    }

    #[test]
    fn a_stream_that_has_nothing_for_now_is_gone_on_with_later() {
        let text = format!("a\n\nsome line\n{}\nlast", "x".repeat(100));
        let wide = |order: fn(u16) -> [u8; 2]| -> Vec<u8> {
            // A character one of whose bytes is that of a line feed.
            let text = text.replace("some", "s\u{0a05}me\u{050a}");
            text.encode_utf16().flat_map(order).collect()
        };
        for piece in 1..50 {
            let found = grown(text.as_bytes(), piece, LineFeed::Byte);
            assert_eq!(found, (text.clone().into_bytes(), vec![100]), "{piece}");
            let low = wide(u16::to_le_bytes);
            assert_eq!(grown(&low, piece, LineFeed::LowFirst), (low, vec![200]), "{piece}");
            let high = wide(u16::to_be_bytes);
            assert_eq!(grown(&high, piece, LineFeed::HighFirst), (high, vec![200]), "{piece}");
        }
    }

    #[test]
    fn lines_before_a_failure_come_first() {
        struct Failing(bool);
        impl Read for Failing {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                if std::mem::replace(&mut self.0, true) {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                buffer[..5].copy_from_slice(b"a\nb\nc");
                Ok(5)
            }
        }
        let mut loader = ChunkLoader::new(Box::new(Failing(false)), 0, 1 << 20, false);
        assert_eq!(loader.chunk().unwrap().unwrap().bytes, "a\nb\n");
        assert_eq!(loader.chunk().unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
