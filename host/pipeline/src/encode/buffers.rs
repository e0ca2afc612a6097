//! The memory that objects are written into, used again and again.
//!
//! A fresh page costs more than the row that is written to it. So an object's bytes come back here
//! when the last sink has let go of them, and the next range writes into the same pages.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// No more than this waits to be used: a spool's worth of memory is not kept for good.
const WAITING_BYTES_MAX: usize = 32 << 20;

/// No more buffers than this wait: small ones are not worth a search.
const WAITING_BUFFERS_MAX: usize = 128;

/// Buffers that wait to be written to. Shared by all partitions of a plan.
#[derive(Clone, Debug, Default)]
pub(crate) struct Buffers {
    shelf: Arc<Mutex<Shelf>>,
}

#[derive(Debug, Default)]
struct Shelf {
    waiting: Vec<Vec<u8>>,
    /// For each destination how large its last object was: about as large the next one will be.
    usual: Vec<usize>,
}

impl Buffers {
    /// An empty buffer for an object of a destination: the smallest that it should fit into, or
    /// the largest.
    pub(crate) fn take(&self, destination: usize) -> Vec<u8> {
        let mut shelf = self.lock();
        let wanted = shelf.usual.get(destination).copied().unwrap_or_default();
        let fits_best = |buffer: &&Vec<u8>| {
            let capacity = buffer.capacity();
            (capacity < wanted, capacity.abs_diff(wanted))
        };
        let best = shelf.waiting.iter().min_by_key(fits_best).map(Vec::as_ptr);
        let place = shelf.waiting.iter().position(|buffer| Some(buffer.as_ptr()) == best);
        let mut buffer = place.map(|place| shelf.waiting.swap_remove(place)).unwrap_or_default();
        drop(shelf);
        buffer.reserve(wanted);
        buffer
    }

    /// Notes how large an object of a destination was.
    pub(crate) fn note(&self, destination: usize, bytes: usize) {
        let mut shelf = self.lock();
        if shelf.usual.len() <= destination {
            shelf.usual.resize(destination + 1, 0);
        }
        shelf.usual[destination] = bytes;
    }

    /// Takes a buffer that nobody reads any more.
    pub(crate) fn give(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let mut shelf = self.lock();
        let held: usize = shelf.waiting.iter().map(Vec::capacity).sum();
        let has_room = shelf.waiting.len() < WAITING_BUFFERS_MAX
            && held.saturating_add(buffer.capacity()) <= WAITING_BYTES_MAX;
        if buffer.capacity() > 0 && has_room {
            shelf.waiting.push(buffer);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A buffer's content, to be read by whoever wants it: the buffer comes back when nobody does.
    pub(crate) fn lend(&self, buffer: Vec<u8>) -> Bytes {
        Bytes::from_owner(Lent { buffer, home: self.clone() })
    }
}

struct Lent {
    buffer: Vec<u8>,
    home: Buffers,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.home.give(std::mem::take(&mut self.buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_when_its_last_reader_lets_go() {
        let buffers = Buffers::default();
        let mut buffer = buffers.take(0);
        buffer.extend_from_slice(b"rows");
        let place = buffer.as_ptr();
        let content = buffers.lend(buffer);
        let reader = content.clone();
        drop(content);
        assert_eq!((&reader[..], buffers.take(0).capacity()), (&b"rows"[..], 0));
        drop(reader);
        let again = buffers.take(0);
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
    }

    #[test]
    fn a_destination_gets_what_its_last_object_would_have_fitted_into() {
        let buffers = Buffers::default();
        let capacities = [10, 5_000, 200];
        capacities.iter().for_each(|capacity| buffers.give(Vec::with_capacity(*capacity)));
        buffers.note(1, 150);
        buffers.note(2, 9_000);
        assert_eq!(buffers.take(1).capacity(), 200);
        assert!(buffers.take(2).capacity() >= 9_000, "it grows at once");
        assert_eq!(buffers.take(0).capacity(), 10, "nothing is known of this one");
    }

    #[test]
    fn what_waits_is_bounded() {
        let buffers = Buffers::default();
        for _ in 0..5 {
            buffers.give(Vec::with_capacity(WAITING_BYTES_MAX / 3));
        }
        let waiting = (0..5).filter(|_| buffers.take(0).capacity() > 0).count();
        assert!((1..=3).contains(&waiting), "{waiting}");
    }
}
