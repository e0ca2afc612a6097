//! Records that are made of what a file holds, a table of them at a time.

use bytes::{Bytes, BytesMut};
use tidegate_core::{Position, RecordBatch, record::Defect, source::ReadLimit};

use super::lines::{LineLimits, Piece, Split};

/// A table is full with so many bytes: with what it is made of, it stays in the second-level cache.
pub(super) const TABLE_BYTES: usize = 512 << 10;

/// More buffers than these are given back to the allocator.
const RETIRED_MAX: usize = 4;

/// Records that were made together, and how many of them have been returned.
#[derive(Default)]
pub(super) struct Table {
    pub(super) bytes: Bytes,
    spans: Vec<(u32, u32)>,
    positions: Vec<Position>,
    tails: Vec<(u64, u64)>,
    defects: Vec<Defect>,
    /// Where reading began, and what was read first, as far as fingerprints go.
    pub(super) head: (u64, Vec<u8>),
    done: usize,
    defects_done: usize,
}

impl Table {
    pub(super) fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Adds the record that lies between two places in the table's bytes. It ends at an offset of
    /// the file, where a tail belongs.
    pub(super) fn push(
        &mut self,
        start: usize,
        end: usize,
        (offset, tail): (u64, Option<u64>),
        fault: Option<Fault>,
    ) {
        let row = self.spans.len() as u32;
        self.defects.extend(fault.map(|it| Defect { row, code: it.code, message: it.message }));
        self.spans.push((start as u32, end as u32));
        self.positions.push(Position::from_offset(offset));
        self.tails.extend(tail.map(|tail| (offset, tail)));
    }
}

impl Piece for Table {
    fn read_from(&self) -> (u64, &[u8]) {
        (self.head.0, &self.head.1)
    }

    fn split(&mut self, limit: &ReadLimit, until: u64, _: &LineLimits) -> Split {
        let first = self.done;
        let mut batch = RecordBatch::default();
        let Some((from, mut to)) = self.spans.get(first).map(|span| (span.0, span.0)) else {
            return Split::default();
        };
        let mut beyond = false;
        for (span, position) in self.spans[first..].iter().zip(&self.positions[first..]) {
            let bytes = (span.1 - from) as usize;
            let full = batch.len() >= limit.records_max.max(1)
                || (!batch.is_empty() && bytes > limit.bytes_max);
            beyond = position.offset() > until;
            if full || beyond {
                break;
            }
            batch.spans.push((span.0 - from, span.1 - from));
            batch.positions.push(*position);
            to = span.1;
        }
        batch.bytes = self.bytes.slice(from as usize..to as usize);
        self.done += batch.len();
        let defects = self.defects[self.defects_done..].iter();
        let of_batch = defects.take_while(|it| (it.row as usize) < self.done);
        batch.defects = of_batch.cloned().collect();
        self.defects_done += batch.defects.len();
        batch.defects.iter_mut().for_each(|defect| defect.row -= first as u32);
        let last = batch.last_position().map_or(0, Position::offset);
        let returned = self.tails.partition_point(|it| it.0 <= last);
        let tails = self.tails.drain(..returned).collect();
        Split { batch, tails, beyond }
    }

    fn into_bytes(self) -> Bytes {
        self.bytes
    }
}

/// Why a row or a line is no record.
pub(super) struct Fault {
    pub(super) code: &'static str,
    pub(super) message: String,
}

impl Fault {
    pub(super) fn new(code: &'static str, message: String) -> Self {
        Fault { code, message }
    }
}

/// Buffers of earlier tables. One is used again once nobody holds any of its bytes.
#[derive(Default)]
pub(super) struct Buffers(Vec<Bytes>);

impl Buffers {
    /// An empty one.
    pub(super) fn take(&mut self) -> BytesMut {
        let unused = self.0.iter().position(Bytes::is_unique);
        let recycled = unused.and_then(|i| self.0.swap_remove(i).try_into_mut().ok());
        let mut buffer = recycled.unwrap_or_default();
        buffer.clear();
        buffer
    }

    /// Takes one back.
    pub(super) fn give(&mut self, bytes: Bytes) {
        // Larger ones were for a record of unusual size.
        if self.0.len() < RETIRED_MAX && bytes.len() <= TABLE_BYTES * 2 {
            self.0.push(bytes);
        }
    }
}
