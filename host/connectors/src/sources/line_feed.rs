//! What ends a line, in bytes.

use memchr::{memchr, memrchr};

/// The bytes that end a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum LineFeed {
    /// One: in UTF-8, and in every character set of which ASCII is a part.
    #[default]
    Byte,
    /// Two, the low one first, in pairs from the stream's start: UTF-16LE.
    LowFirst,
    /// Two, the high one first: UTF-16BE.
    HighFirst,
}

impl LineFeed {
    /// The bytes.
    pub(super) fn bytes(self) -> &'static [u8] {
        match self {
            LineFeed::Byte => b"\n",
            LineFeed::LowFirst => b"\n\0",
            LineFeed::HighFirst => b"\0\n",
        }
    }

    /// A line without its line feed, and without a carriage return before it.
    pub(super) fn without_break(self, line: &[u8]) -> &[u8] {
        let carriage_return = match self {
            LineFeed::Byte => b"\r".as_slice(),
            LineFeed::LowFirst => b"\r\0",
            LineFeed::HighFirst => b"\0\r",
        };
        let line = line.strip_suffix(self.bytes()).unwrap_or(line);
        line.strip_suffix(carriage_return).unwrap_or(line)
    }

    /// Behind the first line feed of some bytes, which start where a line does.
    pub(super) fn end_of_first(self, bytes: &[u8]) -> Option<usize> {
        let mut from = 0;
        loop {
            let found = from + memchr(b'\n', &bytes[from..])?;
            match self.end_at(bytes, found) {
                Some(end) => return Some(end),
                None => from = found + 1,
            }
        }
    }

    /// Behind the last line feed of some bytes, which start where a line does, if it begins at or
    /// behind `from`.
    pub(super) fn end_of_last(self, bytes: &[u8], from: usize) -> Option<usize> {
        let mut to = bytes.len();
        loop {
            let found = from + memrchr(b'\n', bytes.get(from..to)?)?;
            match self.end_at(bytes, found) {
                Some(end) => return Some(end),
                None => to = found,
            }
        }
    }

    /// Where the line feed ends that a byte is part of, if it is.
    fn end_at(self, bytes: &[u8], found: usize) -> Option<usize> {
        let start = match self {
            LineFeed::Byte => return Some(found + 1),
            LineFeed::LowFirst => found,
            LineFeed::HighFirst => found.checked_sub(1)?,
        };
        let whole = start % 2 == 0 && bytes.get(start..start + 2) == Some(self.bytes());
        whole.then_some(start + 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_a_line_feed_only_where_a_character_starts() {
        let low = [0x41, 0, 0x0a, 1, 0, 0x0a, 0x0a, 0, 0x42, 0];
        assert_eq!(LineFeed::LowFirst.end_of_first(&low), Some(8));
        assert_eq!(LineFeed::LowFirst.end_of_last(&low, 0), Some(8));
        assert_eq!(LineFeed::LowFirst.end_of_last(&low, 8), None);
        let high = [0, 0x41, 0x0a, 0, 0x0a, 0x0a, 0, 0x0a, 0, 0x42];
        assert_eq!(LineFeed::HighFirst.end_of_first(&high), Some(8));
        assert_eq!(LineFeed::HighFirst.end_of_last(&high, 0), Some(8));
        assert_eq!(LineFeed::Byte.end_of_first(b"a\nb\nc"), Some(2));
        assert_eq!(LineFeed::Byte.end_of_last(b"a\nb\nc", 0), Some(4));
        assert_eq!(LineFeed::Byte.end_of_last(b"a\nb\nc", 4), None);
    }
}
