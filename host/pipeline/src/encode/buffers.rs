//! The memory that objects are written into, used again and again.
//!
//! A fresh page costs more than the row that is written to it. So an object's bytes come back here
//! when the last sink has let go of them, and the next range writes into the same pages.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::rows::{Content, Pages};

/// No more than this waits to be used: a spool's worth of memory is not kept for good.
const WAITING_BYTES_MAX: usize = 32 << 20;

/// No more than so many wait: small ones are not worth a search.
const WAITING_MAX: usize = 128;

/// Memory that waits to be written to. Shared by all partitions of a plan.
#[derive(Clone, Debug, Default)]
pub(crate) struct Buffers {
    shelf: Arc<Mutex<Shelf>>,
}

#[derive(Debug, Default)]
struct Shelf {
    waiting: Vec<Pages>,
    /// For each destination how large its last object was: about as large the next one will be.
    usual: Vec<usize>,
}

impl Buffers {
    /// Empty pages for an object of a destination: the fewest that it should fit into, or the
    /// most.
    pub(crate) fn take(&self, destination: usize) -> Pages {
        let mut shelf = self.lock();
        let wanted = shelf.usual.get(destination).copied().unwrap_or_default();
        let fits_best = |pages: &Pages| {
            let capacity = pages.capacity();
            (capacity < wanted, capacity.abs_diff(wanted))
        };
        let best = shelf.waiting.iter().enumerate().min_by_key(|(_, pages)| fits_best(pages));
        let place = best.map(|(place, _)| place);
        let mut pages = place.map(|place| shelf.waiting.swap_remove(place)).unwrap_or_default();
        drop(shelf);
        pages.reserve(wanted);
        pages
    }

    /// Notes how large an object of a destination was.
    pub(crate) fn note(&self, destination: usize, bytes: usize) {
        let mut shelf = self.lock();
        if shelf.usual.len() <= destination {
            shelf.usual.resize(destination + 1, 0);
        }
        shelf.usual[destination] = bytes;
    }

    /// Takes pages that nobody reads any more.
    pub(crate) fn give(&self, mut pages: Pages) {
        pages.clear();
        let mut shelf = self.lock();
        let held: usize = shelf.waiting.iter().map(Pages::capacity).sum();
        let has_room = shelf.waiting.len() < WAITING_MAX
            && held.saturating_add(pages.capacity()) <= WAITING_BYTES_MAX;
        if pages.capacity() > 0 && has_room {
            shelf.waiting.push(pages);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An object's content, to be read by whoever wants it: its pages come back when nobody does.
    pub(crate) fn lend(&self, content: Content) -> Bytes {
        match content {
            Content::Bytes(bytes) => bytes.into(),
            Content::Pages(pages) => Bytes::from_owner(Lent { pages, home: self.clone() }),
        }
    }
}

struct Lent {
    pages: Pages,
    home: Buffers,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        self.pages.as_ref()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.home.give(std::mem::take(&mut self.pages));
    }
}

#[cfg(test)]
mod tests {
    use super::{super::rows::Rows, *};

    fn pages(bytes: usize) -> Pages {
        let mut pages = Pages::default();
        pages.reserve(bytes);
        pages
    }

    #[test]
    fn pages_come_back_when_their_last_reader_lets_go() {
        let buffers = Buffers::default();
        let mut rows = Rows::default();
        rows.last.resize(100_000, b'x');
        rows.settle(|| buffers.take(0));
        let (content, _) = rows.finish();
        let content = buffers.lend(content);
        let place = content.as_ptr();
        let reader = content.clone();
        drop(content);
        assert_eq!((reader.len(), buffers.take(0).capacity()), (100_000, 0));
        drop(reader);
        let again = buffers.take(0);
        assert_eq!((again.as_ref().as_ptr(), again.as_ref().len()), (place, 0));
    }

    #[test]
    fn a_destination_gets_what_its_last_object_would_have_fitted_into() {
        let buffers = Buffers::default();
        let capacities = [1 << 17, 1 << 21, 1 << 19];
        capacities.iter().for_each(|capacity| buffers.give(pages(*capacity)));
        buffers.note(1, 500_000);
        buffers.note(2, 9 << 20);
        assert_eq!(buffers.take(1).capacity(), 1 << 19);
        assert!(buffers.take(2).capacity() >= 9 << 20, "it grows at once");
        assert_eq!(buffers.take(0).capacity(), 1 << 17, "nothing is known of this one");
    }

    #[test]
    fn what_waits_is_bounded() {
        let buffers = Buffers::default();
        for _ in 0..5 {
            buffers.give(pages(WAITING_BYTES_MAX / 3));
        }
        let waiting = (0..5).filter(|_| buffers.take(0).capacity() > 0).count();
        assert!((1..=3).contains(&waiting), "{waiting}");
    }
}
