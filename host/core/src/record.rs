//! Records as a source hands them over: bytes back to back, and what is known of each.

use bytes::Bytes;

use crate::{column::Binary, position::Position, time::Timestamp};

/// Consecutive records of one partition.
///
/// Columnar: what a source does not know costs nothing. Invariant: `positions` strictly increase,
/// and every list that is not empty has one entry a record.
#[derive(Clone, Debug, Default)]
pub struct RecordBatch {
    /// The records' bytes; what lies between two records (a line feed) belongs to neither.
    pub bytes: Bytes,
    /// Start and end of each record in `bytes`.
    pub spans: Vec<(u32, u32)>,
    /// Each record's position: the place just behind it.
    pub positions: Vec<Position>,
    /// When the source received each record; empty where it does not say.
    pub arrivals: Vec<Timestamp>,
    /// The keys that the source partitions by; empty where it has none.
    pub keys: Binary,
    /// How often each record has been taken out of the dead letters to be tried again; empty where
    /// none ever was.
    pub redrives: Vec<u32>,
    /// Whether a range may end behind each record; empty where it may end behind any. (All user
    /// records of one Kinesis aggregate belong to one range.)
    pub group_ends: Vec<bool>,
    /// Records that could not be read as such, in order: they go to the dead letters. Their spans
    /// hold what there is of the payload.
    pub defects: Vec<Defect>,
}

/// Why a record could not be taken out of its source's framing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defect {
    /// Which record of the batch.
    pub row: u32,
    /// A stable code: `record-too-large`, `not-decompressible`.
    pub code: &'static str,
    /// What is wrong and what to do about it, without the payload.
    pub message: String,
}

impl RecordBatch {
    /// How many records there are.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The bytes of a record.
    pub fn record(&self, row: usize) -> &[u8] {
        let (start, end) = self.spans[row];
        &self.bytes[start as usize..end as usize]
    }

    /// The position of the last record.
    pub fn last_position(&self) -> Option<Position> {
        self.positions.last().copied()
    }
}
