//! The rows of an open object: the last ones where they were written, still in the processor's
//! cache, the others digested and packed away.
//!
//! What is packed away lies in whole pages from the start of one: a disk can take it from there
//! without a copy.

use tidegate_core::{ObjectDigest, digest::ObjectHasher};

/// What a disk wants memory, offsets and lengths to be a multiple of, whichever it is.
const PAGE_BYTES: usize = 4096;

/// How much is packed away at once: little enough to be in the cache still, and a size that the
/// digest likes.
const PIECE_BYTES: usize = 64 << 10;

/// A page of memory.
#[derive(Clone, Debug)]
#[repr(C, align(4096))]
pub(crate) struct Page([u8; PAGE_BYTES]);

/// Pages and how many of their bytes count.
#[derive(Debug, Default)]
pub(crate) struct Pages {
    pages: Vec<Page>,
    length: usize,
}

/// The rows of an object.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    /// The last ones. Whoever appends to it calls [`Rows::settle`] afterwards.
    pub(crate) last: Vec<u8>,
    packed: Pages,
    hasher: ObjectHasher,
}

/// The content of an object.
#[derive(Debug)]
pub(crate) enum Content {
    /// A small one.
    Bytes(Vec<u8>),
    Pages(Pages),
}

impl Rows {
    /// How many bytes there are.
    pub(crate) fn len(&self) -> usize {
        self.packed.length + self.last.len()
    }

    /// Packs rows away once there are enough, into the memory that `pages` gives: most objects of
    /// a wide tree never want any.
    #[inline]
    pub(crate) fn settle(&mut self, pages: impl FnOnce() -> Pages) {
        if self.last.len() >= PIECE_BYTES {
            if self.packed.capacity() == 0 {
                self.packed = pages();
            }
            self.pack();
        }
    }

    fn pack(&mut self) {
        let (pieces, rest) = self.last.as_chunks::<PIECE_BYTES>();
        for piece in pieces {
            self.hasher.update(piece);
            self.packed.push(piece);
        }
        let packed = self.last.len() - rest.len();
        self.last.copy_within(packed.., 0);
        self.last.truncate(self.last.len() - packed);
    }

    /// All rows in one piece, and their digest.
    pub(crate) fn finish(mut self) -> (Content, ObjectDigest) {
        if self.packed.length == 0 {
            let digest = ObjectDigest::of(&self.last);
            return (Content::Bytes(self.last), digest);
        }
        self.hasher.update(&self.last);
        self.packed.push(&self.last);
        (Content::Pages(self.packed), self.hasher.finish())
    }
}

impl Pages {
    /// How many bytes fit.
    pub(crate) fn capacity(&self) -> usize {
        self.pages.capacity() * PAGE_BYTES
    }

    /// Makes room for so many bytes altogether.
    pub(crate) fn reserve(&mut self, bytes: usize) {
        self.pages.reserve(bytes.div_ceil(PAGE_BYTES).saturating_sub(self.pages.len()));
    }

    pub(crate) fn clear(&mut self) {
        self.pages.clear();
        self.length = 0;
    }

    /// Appends bytes. Only the last ones may be a number that is no multiple of a page.
    fn push(&mut self, bytes: &[u8]) {
        debug_assert!(self.length.is_multiple_of(PAGE_BYTES), "a part of a page is its end");
        let (whole, rest) = bytes.as_chunks::<PAGE_BYTES>();
        self.pages.reserve(whole.len());
        let filled = self.pages.len();
        // SAFETY: there is room for the pages, which are bytes without gaps. Extending by values
        // would copy each twice.
        unsafe {
            let free = self.pages.as_mut_ptr().add(filled).cast::<[u8; PAGE_BYTES]>();
            std::ptr::copy_nonoverlapping(whole.as_ptr(), free, whole.len());
            self.pages.set_len(filled + whole.len());
        }
        if !rest.is_empty() {
            let mut page = [0; PAGE_BYTES];
            page[..rest.len()].copy_from_slice(rest);
            self.pages.push(Page(page));
        }
        self.length += bytes.len();
    }
}

impl AsRef<[u8]> for Pages {
    fn as_ref(&self) -> &[u8] {
        debug_assert!(self.length <= self.pages.len() * PAGE_BYTES);
        // SAFETY: pages are bytes without gaps, and `push` keeps `length` within them.
        unsafe { std::slice::from_raw_parts(self.pages.as_ptr().cast::<u8>(), self.length) }
    }
}

impl AsRef<[u8]> for Content {
    fn as_ref(&self) -> &[u8] {
        match self {
            Content::Bytes(bytes) => bytes,
            Content::Pages(pages) => pages.as_ref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_is_what_was_appended_and_large_ones_begin_with_a_page() {
        let all: Vec<u8> = (0..5 * PIECE_BYTES).map(|i| ((i * 7919) >> 7) as u8).collect();
        let lengths = [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES + 4097];
        for length in lengths {
            for row in [1000, PIECE_BYTES + 5, 2 * PIECE_BYTES] {
                let mut rows = Rows::default();
                for row in all[..length].chunks(row) {
                    rows.last.extend_from_slice(row);
                    rows.settle(Pages::default);
                }
                assert_eq!(rows.len(), length);
                let (content, digest) = rows.finish();
                assert!(content.as_ref() == &all[..length], "{length} bytes by {row}");
                assert_eq!(digest, ObjectDigest::of(&all[..length]));
                let is_large = length >= PIECE_BYTES;
                assert_eq!(matches!(content, Content::Pages(_)), is_large);
                assert!(!is_large || content.as_ref().as_ptr().addr() % PAGE_BYTES == 0);
            }
        }
    }
}
