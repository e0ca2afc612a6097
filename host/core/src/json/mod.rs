//! JSON, exactly: records are projected into typed columns, and what plugins write is spliced
//! back into the original bytes.
//!
//! ```text
//! record ─► tokens ─► walk ─► spans ─► columns          (a Projector, once a record)
//!           where     grammar  where    typed values
//!           they are  is met   fields
//!           (SIMD)             lie
//! record + spans + edits ─► splice ─► output            (a Splicer, once a record)
//! ```
//!
//! What is promised:
//! - A record is accepted if and only if it is JSON by RFC 8259, in UTF-8 without a byte order
//!   mark, nested no deeper than [`DEPTH_MAX`], to its last byte. What lies behind the last field
//!   that is read is checked like the rest.
//! - Of duplicate members the last wins, after unescaping the keys, at every level.
//! - A value never depends on what else is read. How each JSON value converts to each kind is
//!   tabled in `docs/json.md`; a value of the wrong type is a [`Presence`](crate::Presence),
//!   never an error.
//! - What no edit touches comes out byte for byte.
//!
//! Two passes rather than one: the first finds every token's place with a few vector instructions
//! for 64 bytes and no branch, the second walks the tokens. Whatever either refuses is read again
//! by a plain parser, whose only task is to name the fault.

mod convert;
mod digits;
mod edit;
mod fault;
mod fragments;
mod layout;
mod project;
#[cfg(target_arch = "x86_64")]
mod simd;
mod splice;
mod time_text;
mod tokens;
mod tree;
pub mod typed;
mod walk;
mod write;

#[cfg(test)]
mod tests;

pub use edit::{Change, Conflict, Edit, Value, WriteConflict, WrittenColumn};
pub use fault::{JsonError, JsonErrorCode};
pub use layout::{Envelope, Layout, Stamp};
pub use project::{InvalidProjection, Located, Projection, Projector};
pub use splice::{RowSplicer, Splicer};
pub use write::{write_date, write_float64, write_string, write_timestamp};

use tokens::Tokens;

/// How many arrays and objects may lie inside one another. Enough for any real document, and
/// small enough that whatever parses our output recursively does not run out of stack.
pub const DEPTH_MAX: usize = 128;

/// Checks texts that must be JSON: what plugins write as kind `json`, and records that nobody
/// reads a field of. Keeps its memory from one text to the next.
#[derive(Debug, Default)]
pub struct Validator {
    tokens: Tokens,
}

impl Validator {
    /// Whether `text` is one JSON value, with nothing but white space around it.
    pub fn validate(&mut self, text: &[u8]) -> Result<(), JsonError> {
        let accepted = tokens::index(text, &mut self.tokens) && walk::is_json(&self.tokens);
        if accepted { Ok(()) } else { Err(fault::name(text)) }
    }
}

/// Copies a JSON text so that it is one line: a raw CR or LF, which the grammar allows between
/// tokens only, becomes a space.
pub fn push_as_line(text: &[u8], out: &mut Vec<u8>) {
    let from = out.len();
    out.extend_from_slice(text);
    let mut rest = &mut out[from..];
    while let Some(at) = memchr::memchr2(b'\n', b'\r', rest) {
        rest[at] = b' ';
        rest = &mut rest[at + 1..];
    }
}

/// The id of a record, `@record-id`: SHA-256 of its original bytes, as 64 lower-case hex digits.
/// The processor's SHA instructions do it where there are any.
pub fn record_id(record: &[u8]) -> [u8; 64] {
    use sha2::{Digest as _, Sha256};

    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 64];
    for (pair, byte) in text.chunks_exact_mut(2).zip(Sha256::digest(record)) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    text
}
