//! How a file is known again: by a hash of how it begins, and one of what lies right before the
//! position.

use std::collections::VecDeque;

use memchr::memrchr;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

/// How much of a file's beginning is looked at.
pub(super) const HEAD_BYTES_MAX: usize = 4 << 10;
/// How much before a position is looked at, where the head does not reach it.
pub(super) const TAIL_BYTES_MAX: usize = 64;
/// Tails of earlier reads are forgotten when there are more than these.
const TAILS_MAX: usize = 64 << 10;
/// Reads whose tails are kept in any case: a range ends in one of the last few.
const READS_KEPT: usize = 4;

/// The first bytes of a file, decompressed: what its fingerprints are taken of.
///
/// A fingerprint belongs to a position: it covers what lies before it, at most
/// [`HEAD_BYTES_MAX`], so that it stays valid while a file grows. Its text is the number of bytes
/// that it covers and their 128-bit hash in hex. Where there is more before the position, a `+` and
/// the hash of the last line's end follow: a file that begins like another one is told from it.
/// (They may be absent: earlier versions wrote none.)
///
/// A file that is never added to has one fingerprint, which is known from the start.
#[derive(Clone, Debug)]
pub(super) enum Head {
    /// As much as has been read.
    Start(Vec<u8>),
    /// The fingerprint.
    Whole(String),
}

impl Default for Head {
    fn default() -> Self {
        Head::Start(Vec::new())
    }
}

impl Head {
    /// A head of bytes that are already known.
    pub(super) fn of(bytes: Vec<u8>) -> Self {
        Head::Start(bytes)
    }

    /// A file's one fingerprint.
    pub(super) fn of_whole(token: String) -> Self {
        Head::Whole(token)
    }

    /// The bytes that are known.
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Head::Start(head) => head,
            Head::Whole(_) => &[],
        }
    }

    /// Takes what is missing from the bytes that start at an offset.
    pub(super) fn extend(&mut self, offset: u64, bytes: &[u8]) {
        let Head::Start(head) = self else { return };
        let known = head.len();
        if known >= HEAD_BYTES_MAX || offset > known as u64 {
            return;
        }
        let new = bytes.get(known - offset as usize..).unwrap_or_default();
        head.extend_from_slice(&new[..new.len().min(HEAD_BYTES_MAX - known)]);
    }

    /// The fingerprint that belongs to an offset.
    pub(super) fn token(&self, offset: u64, tail: Option<u64>) -> String {
        let head = match self {
            Head::Start(head) => head,
            Head::Whole(token) => return token.clone(),
        };
        let covered = (offset.min(HEAD_BYTES_MAX as u64) as usize).min(head.len());
        let hash = xxh3_128(&head[..covered]);
        match tail.filter(|_| offset > HEAD_BYTES_MAX as u64) {
            Some(tail) => format!("{covered}:{hash:032x}+{tail:016x}"),
            None => format!("{covered}:{hash:032x}"),
        }
    }
}

/// A fingerprint's two parts: of the head, and of the tail where it has one.
pub(super) fn parts(token: &str) -> (&str, Option<&str>) {
    token.split_once('+').map_or((token, None), |(head, tail)| (head, Some(tail)))
}

/// What a tail's hash looks like in a fingerprint.
pub(super) fn tail_text(hash: u64) -> String {
    format!("{hash:016x}")
}

/// The hash of the end of the last line before a position: of its last bytes, its line feed among
/// them. `before` are the bytes in front of the position, from the start of that line on or from
/// [`TAIL_BYTES_MAX`] before it: it makes no difference which.
pub(super) fn tail(before: &[u8]) -> u64 {
    let window = &before[before.len().saturating_sub(TAIL_BYTES_MAX)..];
    let line = window.strip_suffix(b"\n").unwrap_or(window);
    let start = memrchr(b'\n', line).map_or(0, |line_feed| line_feed + 1);
    xxh3_64(&window[start..])
}

/// The tails of the records that were returned last, each with the position that it belongs to.
#[derive(Debug, Default)]
pub(super) struct Tails {
    reads: VecDeque<Vec<(u64, u64)>>,
    count: usize,
}

impl Tails {
    /// Takes those of one more read.
    pub(super) fn push(&mut self, tails: Vec<(u64, u64)>) {
        self.count += tails.len();
        self.reads.push_back(tails);
        while self.count > TAILS_MAX && self.reads.len() > READS_KEPT {
            self.count -= self.reads.pop_front().map_or(0, |read| read.len());
        }
    }

    /// The one that belongs to a position. A position that is long gone has none, and then its
    /// fingerprint is of the head alone.
    pub(super) fn get(&self, position: u64) -> Option<u64> {
        let ends_there = |read: &&Vec<(u64, u64)>| read.last().is_some_and(|it| it.0 >= position);
        let read = self.reads.iter().find(ends_there)?;
        let found = read.binary_search_by_key(&position, |it| it.0).ok()?;
        Some(read[found].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_does_not_depend_on_how_the_head_was_read() {
        let bytes: Vec<u8> = (0..10_000u32).map(|i| (i % 251) as u8).collect();
        let whole = Head::of(bytes[..HEAD_BYTES_MAX].to_vec());
        let mut pieces = Head::default();
        for (i, piece) in bytes.chunks(700).enumerate() {
            pieces.extend(i as u64 * 700, piece);
        }
        for offset in [0, 1, 699, 700, 4095, 4096, 9999] {
            assert_eq!(whole.token(offset, Some(1)), pieces.token(offset, Some(1)));
        }
        assert_ne!(whole.token(10, None), whole.token(11, None));
        assert_eq!(whole.token(4096, Some(1)), whole.token(9999, None));
        assert_ne!(whole.token(9999, Some(1)), whole.token(9999, Some(2)));
    }

    #[test]
    fn a_tail_does_not_depend_on_what_is_known_before_its_line() {
        for line in ["", "x", "some line", &"a long line ".repeat(20)] {
            let text = format!("{}\nbefore\n{line}\n", "earlier ".repeat(30));
            let line_start = text.len() - line.len() - 1;
            let expected = tail(text.as_bytes());
            assert_eq!(tail(&text.as_bytes()[line_start..]), expected, "{line}");
            let window = text.len() - TAIL_BYTES_MAX;
            assert_eq!(tail(&text.as_bytes()[window..]), expected, "{line}");
        }
        assert_ne!(tail(b"one\n"), tail(b"two\n"));
        assert_ne!(tail(b"one\n"), tail(b"one"));
    }

    #[test]
    fn tails_are_found_by_their_positions() {
        let mut tails = Tails::default();
        for read in 0..1000u64 {
            tails.push((0..100).map(|i| (read * 1000 + i * 10, read * i)).collect());
        }
        assert_eq!(tails.get(999_990), Some(999 * 99));
        assert_eq!(tails.get(999_000), Some(0));
        assert_eq!(tails.get(999_001), None);
        assert_eq!(tails.get(0), None, "long forgotten");
    }
}
