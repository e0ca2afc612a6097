//! The memory that objects are written into, used again and again.
//!
//! A fresh page costs more than the row that is written to it. So an object's bytes come back here
//! when the last sink has let go of them, and the next range writes into the same pages.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// No more than this waits to be used: a spool's worth of memory is not kept for good.
const WAITING_BYTES_MAX: usize = 32 << 20;

/// No more buffers than this wait: small ones are not worth a search.
const WAITING_BUFFERS_MAX: usize = 128;

/// Buffers that wait to be written to. Shared by all partitions of a plan.
#[derive(Clone, Debug, Default)]
pub(crate) struct Buffers {
    waiting: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Buffers {
    /// An empty buffer.
    pub(crate) fn take(&self) -> Vec<u8> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.pop().unwrap_or_default()
    }

    /// Takes a buffer that nobody reads any more.
    pub(crate) fn give(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let held: usize = waiting.iter().map(Vec::capacity).sum();
        let has_room = waiting.len() < WAITING_BUFFERS_MAX
            && held.saturating_add(buffer.capacity()) <= WAITING_BYTES_MAX;
        if buffer.capacity() > 0 && has_room {
            waiting.push(buffer);
        }
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
        let mut buffer = buffers.take();
        buffer.extend_from_slice(b"rows");
        let place = buffer.as_ptr();
        let content = buffers.lend(buffer);
        let reader = content.clone();
        drop(content);
        assert_eq!((&reader[..], buffers.take().capacity()), (&b"rows"[..], 0));
        drop(reader);
        let again = buffers.take();
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
    }

    #[test]
    fn what_waits_is_bounded() {
        let buffers = Buffers::default();
        for _ in 0..5 {
            buffers.give(Vec::with_capacity(WAITING_BYTES_MAX / 3));
        }
        let waiting = (0..5).filter(|_| buffers.take().capacity() > 0).count();
        assert!((1..=3).contains(&waiting), "{waiting}");
    }
}
