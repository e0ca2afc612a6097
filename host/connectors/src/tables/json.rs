//! A table as one JSON array of objects, read as a stream: the file may be larger than memory.

use std::io::{self, Read};

use memchr::{memchr_iter, memrchr};
use serde::de::IgnoredAny;
use serde_json::Deserializer;

use super::{ROW_BYTES_MAX, TableError, intake::Intake};

/// The file is read in pieces of this size.
const READ_BYTES: usize = 256 << 10;

/// Takes all rows of a stream. Where each element ends, the parser says; what is in it, the
/// projection reads from its own text, so that numbers are what is written.
pub(super) fn read(stream: Box<dyn Read + Send>, mut intake: Intake) -> Result<Intake, TableError> {
    let mut window = Window { stream, buffer: Vec::new(), done: 0, line: 1, ended: false };
    if window.token()? != Some(b'[') {
        return Err(window.broken("a table is an array of objects, and no `[` is here"));
    }
    window.pass(1);
    let mut token = window.token()?;
    while token != Some(b']') {
        if token != Some(b'{') {
            return Err(window.broken("an object is due, a row of the table"));
        }
        let length = window.element()?;
        intake.take(&window.buffer[window.done..window.done + length], window.line)?;
        window.pass(length);
        token = match window.token()? {
            Some(b',') => {
                window.pass(1);
                window.token()?.filter(|token| *token != b']')
            }
            Some(b']') => Some(b']'),
            _ => return Err(window.broken("`,` or `]` is due behind a row")),
        };
    }
    window.pass(1);
    match window.token()? {
        None => Ok(intake),
        Some(_) => Err(window.broken("something stands behind the array")),
    }
}

/// Whether an error is about the end of a piece, and what comes behind it may mend it. Not all of
/// these say so: where a piece ends with a `-`, the number is called invalid.
fn is_at_end(error: &serde_json::Error, piece: &[u8]) -> bool {
    let last_line = memrchr(b'\n', piece).map_or(0, |line_feed| line_feed + 1);
    let lines = memchr_iter(b'\n', piece).count() + 1;
    error.is_eof() || error.line() == lines && error.column() >= piece.len() - last_line
}

/// A piece of the file.
struct Window {
    stream: Box<dyn Read + Send>,
    buffer: Vec<u8>,
    /// What is before it has been taken.
    done: usize,
    /// The line of `done`.
    line: u64,
    ended: bool,
}

impl Window {
    /// The first byte that is no white space, which is then the next one.
    fn token(&mut self) -> Result<Option<u8>, TableError> {
        loop {
            let rest = &self.buffer[self.done..];
            let space = rest.iter().take_while(|byte| b" \t\r\n".contains(byte)).count();
            let token = rest.get(space).copied();
            self.pass(space);
            if token.is_some() || self.ended {
                return Ok(token);
            }
            self.fill()?;
        }
    }

    /// How long the object is that comes next.
    fn element(&mut self) -> Result<usize, TableError> {
        loop {
            let rest = &self.buffer[self.done..];
            let mut values = Deserializer::from_slice(rest).into_iter::<IgnoredAny>();
            match values.next() {
                Some(Ok(_)) => return Ok(values.byte_offset()),
                Some(Err(error)) if !self.ended && is_at_end(&error, rest) => {}
                None if !self.ended => {}
                _ => return Err(self.broken("the row that begins here is no JSON")),
            }
            if rest.len() > ROW_BYTES_MAX {
                return Err(self.broken(&format!("a row is longer than {ROW_BYTES_MAX} bytes")));
            }
            self.fill()?;
        }
    }

    fn pass(&mut self, bytes: usize) {
        let passed = &self.buffer[self.done..self.done + bytes];
        self.line += memchr_iter(b'\n', passed).count() as u64;
        self.done += bytes;
    }

    fn fill(&mut self) -> io::Result<()> {
        self.buffer.drain(..self.done);
        self.done = 0;
        let filled = self.buffer.len();
        // Twice as much each time, so that a long row is not looked at again for each piece.
        self.buffer.resize(filled + READ_BYTES.max(filled), 0);
        let read = loop {
            match self.stream.read(&mut self.buffer[filled..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        self.buffer.truncate(filled + *read.as_ref().unwrap_or(&0));
        self.ended = read? == 0;
        Ok(())
    }

    fn broken(&self, reason: &str) -> TableError {
        TableError::Broken { line: self.line, reason: reason.to_owned() }
    }
}
