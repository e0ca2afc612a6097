//! A file that may grow, as a stream of bytes: it has nothing for now until it has ended.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::FileExt,
    path::Path,
    sync::Arc,
};

use tokio::time::Instant;

use super::{identity::FileId, registry::Live};
use crate::sources::fingerprint::{HEAD_BYTES_MAX, TAIL_BYTES_MAX};

/// Reads a file that may grow.
pub(super) struct GrowingFile {
    live: Arc<Live>,
    id: FileId,
    input: Input,
    /// How far it has been read.
    offset: u64,
    /// How the file begins, and what lies right before the offset: whether it is still what it was
    /// is seen by them, and a copy is known by them.
    head: Vec<u8>,
    last: Vec<u8>,
    /// The last read has found the end: all that there was has been read.
    at_end: bool,
    /// Since when nothing has been added to it where it is not at home.
    quiet_since: Option<Instant>,
}

enum Input {
    /// The file itself.
    Own(File),
    /// A copy of it, which is as it is.
    Copy(Box<dyn Read + Send>),
    /// Nothing more comes.
    Over,
}

impl GrowingFile {
    /// Reads a file that stands at an offset.
    pub(super) fn new(
        live: Arc<Live>,
        file: File,
        offset: u64,
        head: &[u8],
        last: &[u8],
    ) -> io::Result<Self> {
        let id = FileId::of(&file.metadata()?);
        Ok(GrowingFile {
            live,
            id,
            input: Input::Own(file),
            offset,
            head: head.to_vec(),
            last: last.to_vec(),
            at_end: false,
            quiet_since: None,
        })
    }

    /// Whether the file still holds what was read of it.
    fn is_same(&self, file: &File) -> io::Result<bool> {
        if file.metadata()?.len() < self.offset {
            return Ok(false);
        }
        let mut last = vec![0; self.last.len()];
        match file.read_exact_at(&mut last, self.offset - self.last.len() as u64) {
            Ok(()) => Ok(last == self.last),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn took(&mut self, bytes: &[u8]) {
        self.offset += bytes.len() as u64;
        let missing = HEAD_BYTES_MAX - self.head.len();
        self.head.extend_from_slice(&bytes[..bytes.len().min(missing)]);
        self.last.extend_from_slice(&bytes[bytes.len().saturating_sub(TAIL_BYTES_MAX)..]);
        let surplus = self.last.len().saturating_sub(TAIL_BYTES_MAX);
        self.last.drain(..surplus);
        self.at_end = false;
        self.quiet_since = None;
    }

    /// The file was filled anew. What it held may lie in a copy.
    fn truncated(&mut self) -> io::Result<()> {
        self.live.displaced();
        let (id, home) = (&self.live.id, &self.live.home);
        match self.live.registry.rest(id, &self.head, self.offset, &self.last) {
            Some((path, stream)) => {
                self.told(&path);
                self.input = Input::Copy(stream);
            }
            // All that had been seen was read. Who truncates a file without a copy wants none of
            // it.
            None if self.at_end => {
                tracing::warn!(
                    partition = %id,
                    "`{}` was truncated, and there is no copy of it in its directory: what was \
                     written behind byte {} right before that is lost",
                    home.display(),
                    self.offset,
                );
                self.input = Input::Over;
            }
            None => {
                self.live.lost(self.offset).map_err(io::Error::other)?;
                self.input = Input::Over;
            }
        }
        Ok(())
    }

    fn told(&self, path: &Path) {
        tracing::info!(
            partition = %self.live.id,
            "`{}` was truncated: the rest is read from `{}`",
            self.live.home.display(),
            path.display(),
        );
    }
}

impl Read for GrowingFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            // Before each read: what is read behind a truncation would be torn.
            if let Input::Own(file) = &self.input
                && !self.is_same(file)?
            {
                self.truncated()?;
            }
            let n = match &mut self.input {
                Input::Own(file) => file.read(buffer)?,
                Input::Copy(stream) => stream.read(buffer)?,
                Input::Over => return Ok(0),
            };
            if n > 0 {
                self.took(&buffer[..n]);
                return Ok(n);
            }
            self.at_end = true;
            if self.live.was_ended || matches!(self.input, Input::Copy(_)) {
                return Ok(0);
            }
            if self.live.is_at_home(self.id) {
                self.quiet_since = None;
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let since = *self.quiet_since.get_or_insert_with(Instant::now);
            if since.elapsed() < self.live.settle() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.input = Input::Over;
        }
    }
}
