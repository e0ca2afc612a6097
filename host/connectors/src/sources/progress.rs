//! How far a reader of lines has come, for what it tells of them: their numbers, and the file's
//! fingerprint.

use std::{io, sync::Arc};

use super::{chunks::Chunk, files::SourceFile, fingerprint::HEAD_BYTES_MAX};

/// What a reader knows of the lines that it has read.
pub(super) struct LineProgress {
    file: Arc<SourceFile>,
    /// Where reading began, and how many lines stand before that, once somebody has asked.
    opened_at: u64,
    lines_before: Option<u64>,
    /// How many lines have been read since.
    lines_done: u64,
    /// What was read first, as far as fingerprints go.
    head: Vec<u8>,
}

impl LineProgress {
    /// Of a reader that begins at an offset.
    pub(super) fn new(file: Arc<SourceFile>, offset: u64) -> Self {
        LineProgress {
            file,
            opened_at: offset,
            lines_before: (offset == 0).then_some(0),
            lines_done: 0,
            head: Vec::new(),
        }
    }

    /// Takes note of what was read.
    pub(super) fn read(&mut self, chunk: &Chunk) {
        if self.opened_at + (self.head.len() as u64) == chunk.offset {
            let missing = HEAD_BYTES_MAX.saturating_sub(chunk.offset as usize);
            self.head.extend_from_slice(&chunk.bytes[..chunk.bytes.len().min(missing)]);
        }
    }

    /// Goes behind lines.
    pub(super) fn pass(&mut self, lines: u64) {
        self.lines_done += lines;
    }

    /// The number of the line that comes next. Only bad lines ask, so that a reader that starts in
    /// the middle of a good file does not read what lies before.
    pub(super) fn line_number(&mut self) -> io::Result<u64> {
        let before = match self.lines_before {
            Some(before) => before,
            None => self.file.count_lines(self.opened_at)?,
        };
        self.lines_before = Some(before);
        Ok(before + self.lines_done + 1)
    }

    /// Where reading began, and what was read first.
    pub(super) fn head(&self) -> (u64, Vec<u8>) {
        (self.opened_at, self.head.clone())
    }
}
