//! How a file is known again: by a hash of how it begins.

use xxhash_rust::xxh3::xxh3_128;

/// How much of a file's beginning is looked at.
pub(super) const HEAD_BYTES_MAX: usize = 4 << 10;

/// The first bytes of a file, decompressed: what its fingerprints are taken of.
///
/// A fingerprint belongs to a position: it covers what lies before it, at most
/// [`HEAD_BYTES_MAX`], so that it stays valid while a file grows. Its text is the number of bytes
/// that it covers and their 128-bit hash in hex.
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
    pub(super) fn token(&self, offset: u64) -> String {
        let head = match self {
            Head::Start(head) => head,
            Head::Whole(token) => return token.clone(),
        };
        let covered = (offset.min(HEAD_BYTES_MAX as u64) as usize).min(head.len());
        format!("{covered}:{:032x}", xxh3_128(&head[..covered]))
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
            assert_eq!(whole.token(offset), pieces.token(offset));
        }
        assert_ne!(whole.token(10), whole.token(11));
        assert_eq!(whole.token(4096), whole.token(9999));
    }
}
