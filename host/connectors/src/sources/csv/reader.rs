//! Rows out of a stream, one at a time: for a source, and for look-up tables.
//!
//! In another character set than UTF-8 each line is converted before it is taken apart. Its bytes as
//! they stand are kept beside it: positions count them, and dead letters hold them.

use std::{borrow::Cow, collections::VecDeque, io};

use memchr::memchr_iter;

use super::row::{Row, RowParser};
use crate::sources::{
    chunks::{Chunk, ChunkLoader},
    encoding::TextEncoding,
};

/// Reads rows.
pub(crate) struct RowReader {
    chunks: ChunkLoader,
    parser: RowParser,
    encoding: TextEncoding,
    row_bytes_max: usize,
    /// Whole lines, in UTF-8; those before `done` have been passed.
    text: Vec<u8>,
    done: usize,
    /// The same lines as they stand in the stream, where they stand otherwise.
    original: Option<Original>,
    /// Where `done` stands in the stream.
    offset: u64,
    /// A line that is too large to keep; it comes behind `text`.
    cut_off: Option<Chunk>,
    ended: bool,
}

/// Lines as they stand in the stream.
#[derive(Default)]
struct Original {
    bytes: Vec<u8>,
    done: usize,
    /// Those behind `done`.
    lines: VecDeque<Line>,
}

/// A line that was converted.
struct Line {
    /// Its bytes with its line feed, as it stood and in UTF-8.
    bytes: usize,
    text_bytes: usize,
    /// Whether it was text.
    is_valid: bool,
}

/// What comes next.
pub(crate) enum Next {
    Row(Row),
    /// A line of which only the beginning was kept.
    CutOff(Chunk),
    /// Not known before more has been read.
    Unknown,
    End,
}

impl RowReader {
    /// Reads chunks whose first byte stands at an offset, at the start of a row.
    pub(crate) fn new(
        chunks: ChunkLoader,
        parser: RowParser,
        encoding: TextEncoding,
        offset: u64,
        row_bytes_max: usize,
    ) -> Self {
        RowReader {
            chunks: chunks.with_line_feed(encoding.line_feed()),
            parser,
            encoding,
            row_bytes_max,
            text: Vec::new(),
            done: 0,
            original: (!encoding.is_utf8()).then(Original::default),
            offset,
            cut_off: None,
            ended: false,
        }
    }

    /// What has the fields of the row that came last.
    pub(crate) fn parser(&self) -> &RowParser {
        &self.parser
    }

    /// Where the next row begins in the stream.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Reads on. `seen` is shown what was read.
    pub(crate) fn fetch(&mut self, seen: impl FnOnce(&Chunk)) -> io::Result<()> {
        let Some(chunk) = self.chunks.chunk()? else {
            self.ended = true;
            return Ok(());
        };
        seen(&chunk);
        if chunk.cut_off.is_some() {
            self.cut_off = Some(chunk);
            return Ok(());
        }
        let mark = if chunk.offset == 0 { self.encoding.mark(&chunk.bytes) } else { 0 };
        self.offset += mark as u64;
        self.text.drain(..self.done);
        self.done = 0;
        match &mut self.original {
            None => self.text.extend_from_slice(&chunk.bytes[mark..]),
            Some(original) => {
                original.take(&chunk.bytes[mark..], self.encoding, &mut self.text);
            }
        }
        self.chunks.take_back(chunk.bytes);
        Ok(())
    }

    /// The next row, whose fields the parser has then.
    pub(crate) fn next(&mut self) -> Next {
        let complete = self.ended || self.cut_off.is_some();
        match self.parser.row(&self.text[self.done..], complete, self.row_bytes_max) {
            Some(row) => Next::Row(row),
            None => match self.cut_off.take() {
                Some(chunk) => Next::CutOff(chunk),
                None if self.ended => Next::End,
                None => Next::Unknown,
            },
        }
    }

    /// The row that came last as it stands in the stream, with its line break.
    pub(crate) fn original(&self, row: Row) -> &[u8] {
        match &self.original {
            None => &self.text[self.done..self.done + row.end],
            Some(original) => {
                &original.bytes[original.done..original.done + original.bytes_of(row)]
            }
        }
    }

    /// The same without its line break.
    pub(crate) fn original_content(&self, row: Row) -> &[u8] {
        match &self.original {
            None => &self.text[self.done..self.done + row.length],
            Some(_) => self.encoding.line_feed().without_break(self.original(row)),
        }
    }

    /// Whether the row that came last was text. Of UTF-8 that is looked at field by field.
    pub(crate) fn is_text(&self, row: Row) -> bool {
        let mut lines = self.original.iter().flat_map(|original| original.lines_of(row));
        lines.all(|line| line.is_valid)
    }

    /// Goes behind a row, and says how many lines that were.
    pub(crate) fn pass(&mut self, row: Row) -> u64 {
        let lines = memchr_iter(b'\n', &self.text[self.done..self.done + row.end]).count();
        self.offset += match &mut self.original {
            None => row.end,
            Some(original) => original.pass(row),
        } as u64;
        self.done += row.end;
        lines as u64
    }

    /// Goes behind a line that was cut off.
    pub(crate) fn pass_cut_off(&mut self, chunk: &Chunk) {
        self.offset = chunk.cut_off.map_or(chunk.offset, |it| it.end);
    }
}

impl Original {
    /// Takes lines, and appends what they say.
    fn take(&mut self, lines: &[u8], encoding: TextEncoding, text: &mut Vec<u8>) {
        self.bytes.drain(..self.done);
        self.done = 0;
        self.bytes.extend_from_slice(lines);
        let line_feed = encoding.line_feed();
        let mut rest = lines;
        while !rest.is_empty() {
            let end = line_feed.end_of_first(rest);
            let (line, behind) = rest.split_at(end.unwrap_or(rest.len()));
            let content = match end {
                Some(_) => &line[..line.len() - line_feed.bytes().len()],
                None => line,
            };
            let decoded = encoding.decode(content);
            let is_valid = decoded.is_some();
            // What is no text is still taken apart: its quotes say where its row ends.
            let decoded = decoded.unwrap_or_else(|| Cow::Owned(encoding.decode_lossy(content)));
            let before = text.len();
            text.extend_from_slice(decoded.as_bytes());
            if end.is_some() {
                text.push(b'\n');
            }
            let text_bytes = text.len() - before;
            self.lines.push_back(Line { bytes: line.len(), text_bytes, is_valid });
            rest = behind;
        }
    }

    /// The lines of a row that begins with the next one.
    fn lines_of(&self, row: Row) -> impl Iterator<Item = &Line> {
        let mut text_bytes = 0;
        self.lines.iter().take_while(move |line| {
            let is_part = text_bytes < row.end;
            text_bytes += line.text_bytes;
            is_part
        })
    }

    fn bytes_of(&self, row: Row) -> usize {
        self.lines_of(row).map(|line| line.bytes).sum()
    }

    /// Goes behind a row, and says how many bytes that were.
    fn pass(&mut self, row: Row) -> usize {
        let (bytes, lines) = (self.bytes_of(row), self.lines_of(row).count());
        self.lines.drain(..lines);
        self.done += bytes;
        bytes
    }
}
