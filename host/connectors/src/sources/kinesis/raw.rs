//! Records as a shard gave them, packed.
//!
//! What waits to be taken may be thousands of records in each of many shards. As AWS's library has
//! them, each is four pieces of memory; here an answer is two, which go when its last record went.

use std::collections::VecDeque;

use bytes::Bytes;
use tidegate_core::{Position, Timestamp};

use super::position::SequenceNumber;

/// Records in order, their keys and payloads in one piece of memory.
#[derive(Debug, Default)]
pub(super) struct RawRecords {
    bytes: Bytes,
    rows: VecDeque<Row>,
}

/// Where in `bytes` a record lies: its key, and its payload right behind it.
#[derive(Clone, Copy, Debug)]
struct Row {
    sequence: SequenceNumber,
    arrival: Timestamp,
    start: usize,
    key_end: usize,
    end: usize,
}

/// One of them.
#[derive(Debug)]
pub(super) struct RawRecord {
    pub(super) sequence: SequenceNumber,
    pub(super) arrival: Timestamp,
    pub(super) key: Bytes,
    pub(super) data: Bytes,
}

impl RawRecords {
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(super) fn first(&self) -> Option<SequenceNumber> {
        self.rows.front().map(|it| it.sequence)
    }

    /// The last one, and when it arrived.
    pub(super) fn last(&self) -> Option<(SequenceNumber, Timestamp)> {
        self.rows.back().map(|it| (it.sequence, it.arrival))
    }

    pub(super) fn arrivals(&self) -> impl Iterator<Item = Timestamp> {
        self.rows.iter().map(|it| it.arrival)
    }

    /// How many bytes each payload has.
    pub(super) fn sizes(&self) -> impl ExactSizeIterator<Item = usize> + Clone {
        self.rows.iter().map(|it| it.end - it.key_end)
    }

    /// Goes without the first `count`, and without those that lie at or before a position.
    pub(super) fn skip(&mut self, count: usize, after: Option<Position>) {
        self.rows.drain(..count);
        let old = |it: &Row| Some(it.sequence.position(u64::MAX)) <= after;
        while self.rows.front().is_some_and(old) {
            self.rows.pop_front();
        }
        if self.rows.is_empty() {
            *self = RawRecords::default();
        }
    }

    /// What they take in memory.
    pub(super) fn memory_bytes(&self) -> usize {
        self.bytes.len() + self.rows.capacity() * size_of::<Row>()
    }

    pub(super) fn pop(&mut self) -> Option<RawRecord> {
        let Row { sequence, arrival, start, key_end, end } = self.rows.pop_front()?;
        let (key, data) = (self.bytes.slice(start..key_end), self.bytes.slice(key_end..end));
        if self.rows.is_empty() {
            *self = RawRecords::default();
        }
        Some(RawRecord { sequence, arrival, key, data })
    }
}

/// Packs records.
#[derive(Debug)]
pub(super) struct Packing {
    bytes: Vec<u8>,
    rows: VecDeque<Row>,
}

impl Packing {
    /// Has room for some records, whose keys and payloads have so many bytes.
    pub(super) fn with_capacity(records: usize, bytes: usize) -> Self {
        Packing { bytes: Vec::with_capacity(bytes), rows: VecDeque::with_capacity(records) }
    }

    pub(super) fn push(
        &mut self,
        sequence: SequenceNumber,
        arrival: Timestamp,
        key: &[u8],
        data: &[u8],
    ) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key);
        let key_end = self.bytes.len();
        self.bytes.extend_from_slice(data);
        self.rows.push_back(Row { sequence, arrival, start, key_end, end: self.bytes.len() });
    }

    pub(super) fn done(self) -> RawRecords {
        RawRecords { bytes: self.bytes.into(), rows: self.rows }
    }
}
