//! Lines as records: splitting chunks into batches without copying a byte.

use std::{io, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use memchr::memchr_iter;
use tidegate_core::{
    Position, RecordBatch,
    record::Defect,
    source::{ReadLimit, ReadOutcome, Reader, SourceError, SourceErrorKind},
};
use tokio::task::JoinHandle;

use super::{
    chunks::{Chunk, ChunkLoader},
    fingerprint::{self, Head, Tails},
};

/// About how long lines are, to make room for as many.
const USUAL_LINE_BYTES: usize = 256;

/// What some programs begin a file of UTF-8 with. It is no part of a record.
pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// How large a record may be.
#[derive(Clone, Copy, Debug)]
pub struct LineLimits {
    /// A record with more bytes is a dead letter, `record-too-large`. 10 MiB by default: far above
    /// what streams carry (a Kinesis record has at most 10 MiB).
    pub record_bytes_max: usize,
    /// Such a dead letter has its whole payload up to this many bytes. 64 MiB by default: somebody
    /// has to hold it in memory.
    pub payload_bytes_max: usize,
}

impl Default for LineLimits {
    fn default() -> Self {
        LineLimits { record_bytes_max: 10 << 20, payload_bytes_max: 64 << 20 }
    }
}

impl LineLimits {
    /// Spans are 32 bits wide, a batch may be a line more than was asked for, and a fingerprint
    /// wants its head: outside of this, limits are moved to the nearest that work.
    pub(super) fn clamped(self) -> Self {
        let asked = self.payload_bytes_max.max(self.record_bytes_max);
        let payload_bytes_max = asked.clamp(64 << 10, 1 << 30);
        LineLimits {
            record_bytes_max: self.record_bytes_max.clamp(1, payload_bytes_max),
            payload_bytes_max,
        }
    }

    pub(super) fn defect(&self, row: usize, record_bytes: u64, kept: usize) -> Option<Defect> {
        if record_bytes <= self.record_bytes_max as u64 {
            return None;
        }
        let mut message = format!(
            "the record has {record_bytes} bytes, and a record may have {}: raise \
             `record_bytes_max`, or make smaller records",
            self.record_bytes_max,
        );
        if (kept as u64) < record_bytes {
            message.push_str(&format!("; only its first {kept} bytes are kept here"));
        }
        Some(Defect { row: row as u32, code: "record-too-large", message })
    }
}

/// Where a reader's bytes come from.
pub(super) trait Stream: Send + Sync + 'static {
    /// What takes them in.
    type Loader: Loader;

    /// Opens it behind an offset, where it is what the token stands for. Blocks.
    fn open(&self, after: Option<(u64, &str)>) -> Result<(Self::Loader, Head), SourceError>;

    /// What kind of failure an error of a read is.
    fn failed(&self, offset: u64, error: io::Error) -> SourceError;

    /// A number that changes when there may be more to read. Taken before a read; one that found
    /// nothing waits until it has changed.
    fn version(&self) -> u64 {
        0
    }

    /// Waits for another version, for as long as it finds proper.
    fn changed(&self, since: u64) -> impl Future<Output = ()> + Send {
        let _ = since;
        std::future::ready(())
    }

    /// Hears how far the stream has been read, and the token that belongs there.
    fn reached(&self, offset: u64, token: impl FnOnce() -> String) {
        let _ = (offset, token);
    }

    /// Hears that the stream has ended, and that all of it has been read.
    fn ended(&self) {}

    /// Runs a call that blocks, and never ends while nobody writes to the stream.
    fn run(
        &self,
        load: impl FnOnce() -> Loaded<Self::Loader> + Send + 'static,
    ) -> JoinHandle<Loaded<Self::Loader>> {
        tokio::task::spawn_blocking(load)
    }
}

/// A loader, and what it has loaded.
pub(super) type Loaded<L> = (L, io::Result<Option<<L as Loader>::Piece>>);

/// Takes in a stream, piece by piece: lines as they stand, rows as what they are made into.
pub(super) trait Loader: Send + 'static {
    /// What is loaded at a time.
    type Piece: Piece;

    /// The next piece; none at the end of the stream. Blocks; called by one thread at a time.
    /// Called again after it has said that there is nothing for now: [`io::ErrorKind::WouldBlock`].
    fn load(&mut self) -> io::Result<Option<Self::Piece>>;

    /// Takes back the buffer of a piece that has been returned, to be used again.
    fn retire(&mut self, bytes: Bytes);
}

/// Records that were loaded together, and how far they have been returned.
pub(super) trait Piece: Send + 'static {
    /// What was read for it, and where that stands in the stream; at least as far as fingerprints
    /// go.
    fn read_from(&self) -> (u64, &[u8]);

    /// The next records, as far as the limits go.
    fn split(&mut self, limit: &ReadLimit, until: u64, limits: &LineLimits) -> Split;

    /// Its buffer.
    fn into_bytes(self) -> Bytes;
}

/// The next records of a piece.
#[derive(Default)]
pub(super) struct Split {
    pub(super) batch: RecordBatch,
    /// The tail that belongs to each record's position.
    pub(super) tails: Vec<(u64, u64)>,
    /// The next record lies beyond where reading was to end.
    pub(super) beyond: bool,
}

/// Reads the records of a stream, each of which ends with a line.
pub(super) struct LineReader<S: Stream> {
    stream: Arc<S>,
    limits: LineLimits,
    /// The end of the last record that was returned.
    offset: u64,
    /// Where reading began, with the token that it was found by.
    resumed: Option<(u64, String)>,
    head: Head,
    tails: Tails,
    piece: Option<<S::Loader as Loader>::Piece>,
    /// What was returned of earlier pieces, for the loader to use again.
    spent: Vec<Bytes>,
    loading: Loading<S::Loader>,
    /// The stream's version when the last load was begun.
    version: u64,
}

/// What came of a load.
enum Load<S: Stream> {
    Piece(<S::Loader as Loader>::Piece),
    NothingForNow,
    End,
}

enum Loading<L: Loader> {
    /// Nothing is open: at the start, and after a failure.
    Closed,
    Ready(L),
    /// The next piece is read while the last one is being processed. Kept here, so that a read
    /// that is given up half way loses nothing.
    Underway(JoinHandle<Loaded<L>>),
}

impl<S: Stream> LineReader<S> {
    pub(super) fn new(
        stream: S,
        limits: LineLimits,
        resumed: Option<(u64, String)>,
        (loader, head): (S::Loader, Head),
    ) -> Self {
        LineReader {
            stream: Arc::new(stream),
            limits,
            offset: resumed.as_ref().map_or(0, |it| it.0),
            resumed,
            head,
            tails: Tails::default(),
            piece: None,
            spent: Vec::new(),
            loading: Loading::Ready(loader),
            version: 0,
        }
    }

    fn token_at(&self, offset: u64) -> String {
        match &self.resumed {
            Some((began, token)) if *began == offset => token.clone(),
            _ => self.head.token(offset, self.tails.get(offset)),
        }
    }

    /// The next piece, and sets out for the one after it.
    async fn load(&mut self) -> Result<Load<S>, SourceError> {
        if let Loading::Closed = self.loading {
            self.loading = Loading::Ready(self.reopen().await?);
        }
        self.spent.extend(self.piece.take().map(Piece::into_bytes));
        self.start_loading();
        let Loading::Underway(handle) = &mut self.loading else { return Ok(Load::End) };
        let (loader, loaded) = match handle.await {
            Ok(loaded) => loaded,
            Err(error) => {
                self.loading = Loading::Closed;
                return Err(self.stream.failed(self.offset, io::Error::other(error)));
            }
        };
        match loaded {
            Ok(Some(piece)) => {
                self.loading = Loading::Ready(loader);
                self.start_loading();
                let (offset, bytes) = piece.read_from();
                self.head.extend(offset, bytes);
                Ok(Load::Piece(piece))
            }
            Ok(None) => {
                self.loading = Loading::Ready(loader);
                Ok(Load::End)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.loading = Loading::Ready(loader);
                Ok(Load::NothingForNow)
            }
            Err(error) => {
                self.loading = Loading::Closed;
                Err(self.stream.failed(self.offset, error))
            }
        }
    }

    fn start_loading(&mut self) {
        if matches!(self.loading, Loading::Ready(_)) {
            self.version = self.stream.version();
        }
        self.loading = match std::mem::replace(&mut self.loading, Loading::Closed) {
            Loading::Ready(mut loader) => {
                let spent = std::mem::take(&mut self.spent);
                let load = move || {
                    spent.into_iter().for_each(|bytes| loader.retire(bytes));
                    let loaded = loader.load();
                    (loader, loaded)
                };
                Loading::Underway(self.stream.run(load))
            }
            other => other,
        };
    }

    async fn reopen(&mut self) -> Result<S::Loader, SourceError> {
        let (stream, offset) = (self.stream.clone(), self.offset);
        let token = (offset > 0).then(|| self.token_at(offset));
        let opened = tokio::task::spawn_blocking(move || {
            stream.open(token.as_deref().map(|token| (offset, token)))
        });
        match opened.await {
            Ok(opened) => opened.map(|(loader, _)| loader),
            Err(error) => Err(self.stream.failed(offset, io::Error::other(error))),
        }
    }
}

#[async_trait]
impl<S: Stream> Reader for LineReader<S> {
    async fn read(&mut self, limit: ReadLimit) -> Result<ReadOutcome, SourceError> {
        let until = limit.until.map_or(u64::MAX, Position::offset);
        loop {
            if self.offset >= until {
                return Ok(ReadOutcome::Ended);
            }
            if let Some(piece) = &mut self.piece {
                let Split { batch, tails, beyond } = piece.split(&limit, until, &self.limits);
                if let Some(last) = batch.last_position() {
                    self.offset = last.offset();
                    self.tails.push(tails);
                    self.stream.reached(self.offset, || self.token_at(self.offset));
                    return Ok(ReadOutcome::Records(batch));
                }
                if beyond {
                    return Ok(ReadOutcome::Ended);
                }
            }
            match self.load().await? {
                Load::Piece(piece) => self.piece = Some(piece),
                Load::NothingForNow => {
                    self.stream.changed(self.version).await;
                    return Ok(ReadOutcome::Idle);
                }
                Load::End => {
                    self.stream.ended();
                    return Ok(ReadOutcome::Ended);
                }
            }
        }
    }

    fn token(&self, position: Position) -> String {
        self.token_at(position.offset())
    }
}

/// A chunk and how far it has been returned.
pub(super) struct Lines {
    chunk: Chunk,
    done: usize,
}

impl Loader for ChunkLoader {
    type Piece = Lines;

    fn load(&mut self) -> io::Result<Option<Lines>> {
        Ok(self.chunk()?.map(|chunk| {
            let marked = chunk.offset == 0 && chunk.bytes.starts_with(BYTE_ORDER_MARK);
            let done = if marked { BYTE_ORDER_MARK.len() } else { 0 };
            Lines { chunk, done }
        }))
    }

    fn retire(&mut self, bytes: Bytes) {
        self.take_back(bytes);
    }
}

impl Piece for Lines {
    fn read_from(&self) -> (u64, &[u8]) {
        (self.chunk.offset, &self.chunk.bytes)
    }

    fn into_bytes(self) -> Bytes {
        self.chunk.bytes
    }

    fn split(&mut self, limit: &ReadLimit, until: u64, limits: &LineLimits) -> Split {
        let chunk = &self.chunk;
        let mut batch = RecordBatch::default();
        let mut tails = Vec::new();
        if let Some(cut_off) = chunk.cut_off {
            if self.done < chunk.bytes.len() && cut_off.end <= until {
                let kept = chunk.bytes.len().min(limits.payload_bytes_max);
                batch.spans.push((0, kept as u32));
                batch.positions.push(Position::from_offset(cut_off.end));
                batch.defects.extend(limits.defect(0, cut_off.line_bytes, kept));
                batch.bytes = chunk.bytes.clone();
                self.done = chunk.bytes.len();
            }
            return Split { batch, tails, beyond: cut_off.end > until };
        }

        let rest = &chunk.bytes[self.done..];
        let start = chunk.offset + self.done as u64;
        // Behind the last line feed a line ends with the stream.
        let tail = (!rest.is_empty() && rest.last() != Some(&b'\n')).then_some(rest.len());
        let mut line_start = 0;
        let mut beyond = false;
        let expected = limit.records_max.min(rest.len() / USUAL_LINE_BYTES);
        batch.spans.reserve(expected);
        batch.positions.reserve(expected);
        tails.reserve(expected);
        for line_end in memchr_iter(b'\n', rest).chain(tail) {
            let behind = (line_end + 1).min(rest.len());
            let with_return = line_end > line_start && rest[line_end - 1] == b'\r';
            let record_end = line_end - usize::from(with_return);
            let record_start = std::mem::replace(&mut line_start, behind);
            // A line without anything on it is no record.
            if record_end == record_start {
                continue;
            }
            let full = batch.len() >= limit.records_max.max(1)
                || (!batch.is_empty() && record_end > limit.bytes_max);
            beyond = start + behind as u64 > until;
            if full || beyond {
                line_start = record_start;
                break;
            }
            let row = batch.len();
            // Cut where a line that no chunk holds would be: a replay, whose chunks are others,
            // keeps the same.
            let record_bytes = record_end - record_start;
            let kept = record_bytes.min(limits.payload_bytes_max);
            batch.defects.extend(limits.defect(row, record_bytes as u64, kept));
            batch.spans.push((record_start as u32, (record_start + kept) as u32));
            let position = start + behind as u64;
            batch.positions.push(Position::from_offset(position));
            // One that no chunk might hold has none.
            if kept == record_bytes {
                tails.push((position, fingerprint::tail(&rest[record_start..behind])));
            }
        }
        batch.bytes = chunk.bytes.slice(self.done..self.done + line_start);
        self.done += line_start;
        Split { batch, tails, beyond }
    }
}

/// An error for what a stream holds, and not for its device.
pub(super) fn broken(message: String, cause: Option<io::Error>) -> SourceError {
    let cause = cause.map(Into::into);
    SourceError { kind: SourceErrorKind::Broken, message, cause }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Cursor, Read},
        sync::atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    const TEXT: &str = "one\ntwo\nthree\nfour\n";

    /// A stream whose first opening breaks off after some bytes, as a disk does.
    struct BreaksOnce {
        opened: AtomicUsize,
        after: usize,
    }

    struct BreaksOff(Cursor<&'static str>);

    impl Read for BreaksOff {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.read(buffer)? {
                0 => Err(io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error())),
                n => Ok(n),
            }
        }
    }

    impl Stream for BreaksOnce {
        type Loader = ChunkLoader;

        fn open(&self, after: Option<(u64, &str)>) -> Result<(ChunkLoader, Head), SourceError> {
            let offset = after.map_or(0, |(offset, _)| offset);
            let stream: Box<dyn Read + Send> = match self.opened.fetch_add(1, Ordering::Relaxed) {
                0 => Box::new(BreaksOff(Cursor::new(&TEXT[..self.after]))),
                _ => Box::new(Cursor::new(&TEXT[offset as usize..])),
            };
            Ok((ChunkLoader::new(stream, offset, 1 << 20, false), Head::default()))
        }

        fn failed(&self, offset: u64, error: io::Error) -> SourceError {
            SourceError::new(SourceErrorKind::Unavailable, format!("behind {offset}"), error)
        }
    }

    #[tokio::test]
    async fn after_a_failure_reading_goes_on_behind_the_last_record() {
        let limits = LineLimits::default().clamped();
        let limit = ReadLimit { records_max: 2, bytes_max: 1 << 20, until: None };
        for after in 0..TEXT.len() {
            let stream = BreaksOnce { opened: AtomicUsize::new(0), after };
            let opened = stream.open(None).unwrap();
            let mut reader = LineReader::new(stream, limits, None, opened);
            let (mut records, mut failures) = (Vec::new(), 0);
            loop {
                match reader.read(limit).await {
                    Ok(ReadOutcome::Records(batch)) => {
                        records.extend((0..batch.len()).map(|row| batch.record(row).to_vec()));
                    }
                    Ok(_) => break,
                    Err(_) => failures += 1,
                }
            }
            let expected: Vec<_> = TEXT.lines().map(|line| line.as_bytes().to_vec()).collect();
            assert_eq!((records, failures), (expected, 1), "after {after} bytes");
        }
    }
}
