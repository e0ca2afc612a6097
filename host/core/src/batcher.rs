//! Where records are cut: into micro-batches, and into ranges.
//!
//! A plan for one partition as a plain struct: reads of any size go in, and [`Batcher::step`]
//! says what to do next. It asks no clock and awaits nothing.
//!
//! Invariant: the same records give the same batches, however they arrive in reads. All batches
//! of a range but the last are cut by counts and bytes from the range's start; the last one ends
//! where the range ends. So a replay of `(start, end]` makes the same batches, whatever it was
//! that ended the range: its age, a stop, a limit.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;

use crate::{
    column::Binary,
    position::Position,
    record::{Defect, RecordBatch},
    time::Timestamp,
};

/// When a micro-batch is full: with the record that reaches one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimit {
    /// Records.
    pub records_max: u64,
    /// Bytes of records.
    pub bytes_max: u64,
}

/// When a range ends. Count and size end it behind the record that reaches them, the others
/// between two micro-batches, all of them behind the end of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RangeLimit {
    /// Records.
    pub records_max: u64,
    /// Bytes of records.
    pub bytes_max: u64,
    /// Time since the range was opened.
    pub age_max: Duration,
    /// Bytes of output that wait in memory.
    pub spooled_bytes_max: usize,
    /// Objects that are being written: a wide tree of directories has one for each leaf.
    pub open_objects_max: usize,
}

/// Why a range ends where it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cut {
    /// It has enough records.
    Count,
    /// It has enough bytes.
    Size,
    /// It was opened long enough ago.
    Age,
    /// It fills its spool.
    Spool,
    /// It holds as many objects open as it may.
    OpenObjects,
    /// There is no more memory for it, or others wait for what it has.
    Memory,
    /// Another generation of plugins takes over: an object has one set of digests.
    Swap,
    /// The pipeline stops.
    Stop,
    /// The partition has ended.
    Ended,
    /// The end of the range that is being replayed.
    Replayed,
}

/// What the pipeline knows of the open range when it asks for the next step.
#[derive(Clone, Copy, Debug)]
pub struct Situation {
    /// The time by the clock that gave the range its `opened_at`.
    pub now: Timestamp,
    /// Bytes of output that wait in memory.
    pub spooled_bytes: usize,
    /// Objects that are being written.
    pub open_objects: usize,
    /// [`Cut::Swap`], [`Cut::Memory`] or [`Cut::Stop`], where somebody asked for it.
    pub requested: Option<Cut>,
}

/// What to do next.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "one a batch, and a batch has heap enough")]
pub enum Step {
    /// Records wait and no range is open: call [`Batcher::open`].
    Open,
    /// Process these, then ask again.
    Process(RecordBatch),
    /// End the range behind the last batch: no range is open from here on.
    Cut(Cut),
    /// Nothing can be done without more records: read, then [`Batcher::push`] or
    /// [`Batcher::end`]. Ask again, too, when the range comes of age.
    Read,
    /// All is processed, and there will be nothing more: the partition ended, or a stop was asked
    /// for.
    Done,
}

/// Cuts the records of one partition.
#[derive(Debug)]
pub struct Batcher {
    batch: BatchLimit,
    range: RangeLimit,
    reads: VecDeque<Read>,
    /// Records that are looked at and belong to the next batch, in any case.
    gathered: Gathered,
    open: Option<OpenRange>,
    ended: bool,
}

/// A read that is not used up.
#[derive(Debug)]
struct Read {
    batch: RecordBatch,
    /// Rows before this are in batches.
    taken: usize,
    /// Rows before this are gathered or in batches.
    seen: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Gathered {
    records: u64,
    bytes: u64,
    /// How many of them up to and including the last one that a range may end behind.
    whole_groups: u64,
}

#[derive(Clone, Copy, Debug)]
struct OpenRange {
    opened_at: Timestamp,
    until: Option<Position>,
    records: u64,
    bytes: u64,
    last: Option<Position>,
    /// Whether a range may end behind its last record so far.
    at_group_end: bool,
    /// Why it has to end, from the moment that this was found: a batch may have been cut for it.
    due: Option<Cut>,
}

impl Batcher {
    /// Nothing read, no range open.
    pub fn new(batch: BatchLimit, range: RangeLimit) -> Self {
        Batcher {
            batch,
            range,
            reads: VecDeque::new(),
            gathered: Gathered::default(),
            open: None,
            ended: false,
        }
    }

    /// Takes what was read, in the order of positions.
    pub fn push(&mut self, read: RecordBatch) {
        if !read.is_empty() {
            self.reads.push_back(Read { batch: read, taken: 0, seen: 0 });
        }
    }

    /// There will be no more records.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// Opens a range at the next record. With `until` it is a replay, and ends there whatever its
    /// limits say.
    pub fn open(&mut self, opened_at: Timestamp, until: Option<Position>) {
        self.open = Some(OpenRange {
            opened_at,
            until,
            records: 0,
            bytes: 0,
            last: None,
            at_group_end: false,
            due: None,
        });
    }

    /// Where the open range ends so far.
    pub fn last_position(&self) -> Option<Position> {
        self.open.and_then(|range| range.last)
    }

    /// How long until the open range comes of age, on its clock. None where none is open.
    pub fn age_left(&self, now: Timestamp) -> Option<Duration> {
        self.open.map(|range| self.range.age_max.saturating_sub(age(range.opened_at, now)))
    }

    /// Bytes that were read and are in no batch yet.
    pub fn waiting_bytes(&self) -> usize {
        self.reads.iter().map(|read| read.batch.bytes.len()).sum()
    }

    /// What to do next.
    pub fn step(&mut self, situation: &Situation) -> Step {
        let Some(mut range) = self.open else {
            let waiting = !self.reads.is_empty();
            let done = self.ended || situation.requested == Some(Cut::Stop);
            return match (waiting, done) {
                (true, _) => Step::Open,
                (false, true) => Step::Done,
                (false, false) => Step::Read,
            };
        };
        let due = self.due(&range, situation);
        range.due = due;
        self.open = Some(range);
        if let Some(cut) = due
            && range.at_group_end
            && !(cut.takes_what_was_read() && self.has_whole_group())
        {
            self.open = None;
            return Step::Cut(cut);
        }
        if self.gather(&range, due.is_some_and(|cut| !cut.takes_what_was_read())) || self.ended {
            if self.gathered.records > 0 {
                return Step::Process(self.take(self.gathered.records));
            }
        } else if due.is_some() && self.gathered.whole_groups > 0 {
            return Step::Process(self.take(self.gathered.whole_groups));
        }
        if self.ended {
            self.open = None;
            return Step::Cut(Cut::Ended);
        }
        Step::Read
    }

    /// Why the range has to end, if it has to. Invariant: what depends on nothing but the records
    /// comes first, so that it decides where both would.
    fn due(&self, range: &OpenRange, situation: &Situation) -> Option<Cut> {
        if range.until.is_some() {
            return (range.last >= range.until).then_some(Cut::Replayed);
        }
        let limit = &self.range;
        let by_records = [
            (Cut::Count, range.records >= limit.records_max),
            (Cut::Size, range.bytes >= limit.bytes_max),
        ];
        let spooled = range.records > 0 && situation.spooled_bytes >= limit.spooled_bytes_max;
        let opened = range.records > 0 && situation.open_objects >= limit.open_objects_max;
        let by_situation = [
            (Cut::Spool, spooled),
            (Cut::OpenObjects, opened),
            (Cut::Age, age(range.opened_at, situation.now) >= limit.age_max),
        ];
        let first = |reasons: &[(Cut, bool)]| reasons.iter().find(|it| it.1).map(|it| it.0);
        first(&by_records).or(range.due).or_else(|| first(&by_situation)).or(situation.requested)
    }

    /// Looks at records until the next batch is complete. With `at_once` it is complete at the
    /// first end of a group.
    fn gather(&mut self, range: &OpenRange, at_once: bool) -> bool {
        for read in &mut self.reads {
            let groups = &read.batch.group_ends;
            for row in read.seen..read.batch.len() {
                let (start, end) = read.batch.spans[row];
                let gathered = &mut self.gathered;
                gathered.records += 1;
                gathered.bytes += u64::from(end - start);
                read.seen = row + 1;
                let group_end = groups.is_empty() || groups[row];
                if group_end {
                    gathered.whole_groups = gathered.records;
                }
                let batch_full = gathered.records >= self.batch.records_max
                    || gathered.bytes >= self.batch.bytes_max;
                let range_full = match range.until {
                    Some(until) => read.batch.positions[row] >= until,
                    None => {
                        at_once
                            || range.records + gathered.records >= self.range.records_max
                            || range.bytes + gathered.bytes >= self.range.bytes_max
                    }
                };
                if batch_full || range_full && group_end {
                    return true;
                }
            }
        }
        false
    }

    /// Whether what was read and is in no batch holds a place where a range may end.
    fn has_whole_group(&self) -> bool {
        self.reads.iter().any(|read| {
            let groups = &read.batch.group_ends;
            groups.is_empty() || groups[read.taken..].contains(&true)
        })
    }

    /// Makes a batch of the next `records` records, and counts it into the range.
    fn take(&mut self, records: u64) -> RecordBatch {
        let mut wanted = usize::try_from(records).expect("as many records as lie in memory");
        let mut parts = Vec::new();
        while wanted > 0 {
            let read = self.reads.front_mut().expect("gathered records lie in reads");
            let rows = wanted.min(read.batch.len() - read.taken);
            let all = read.taken == 0 && rows == read.batch.len();
            let used_up = read.taken + rows == read.batch.len();
            let part = match all {
                true => std::mem::take(&mut read.batch),
                false => slice(&read.batch, read.taken, rows),
            };
            read.taken += rows;
            wanted -= rows;
            parts.push(part);
            if used_up {
                self.reads.pop_front();
            }
        }
        let batch = concat(parts);
        let bytes = match records == self.gathered.records {
            true => self.gathered.bytes,
            false => batch.spans.iter().map(|(start, end)| u64::from(end - start)).sum(),
        };
        // What was looked at and is left over is looked at again: a rest without a whole group.
        if self.gathered.records > records {
            for read in &mut self.reads {
                read.seen = read.taken;
            }
        }
        self.gathered = Gathered::default();
        let range = self.open.as_mut().expect("batches are taken for an open range");
        range.records += records;
        range.bytes += bytes;
        range.last = batch.last_position();
        range.at_group_end = batch.group_ends.last().is_none_or(|end| *end);
        batch
    }
}

impl Cut {
    /// Whether records that were read go into the range before it ends. The others end it at
    /// once: they must not depend on what has arrived.
    fn takes_what_was_read(self) -> bool {
        matches!(self, Cut::Age | Cut::Stop)
    }
}

/// How long ago a range was opened. A clock that went backwards says: just now.
fn age(opened_at: Timestamp, now: Timestamp) -> Duration {
    Duration::from_micros(u64::try_from(now.0.saturating_sub(opened_at.0)).unwrap_or(0))
}

/// Some consecutive records of a batch, sharing its bytes.
fn slice(batch: &RecordBatch, first: usize, rows: usize) -> RecordBatch {
    let range = first..first + rows;
    let of = |column: &[bool]| column.get(range.clone()).map(<[_]>::to_vec).unwrap_or_default();
    let (start, end) = (batch.spans[first].0, batch.spans[range.end - 1].1);
    let defects = batch.defects.iter().filter(|it| range.contains(&(it.row as usize)));
    RecordBatch {
        bytes: batch.bytes.slice(start as usize..end as usize),
        spans: batch.spans[range.clone()].iter().map(|(s, e)| (s - start, e - start)).collect(),
        positions: batch.positions[range.clone()].to_vec(),
        arrivals: batch.arrivals.get(range.clone()).map(<[_]>::to_vec).unwrap_or_default(),
        keys: match batch.keys.is_empty() {
            true => Binary::default(),
            false => range.clone().map(|row| batch.keys.get(row)).collect(),
        },
        redrives: batch.redrives.get(range.clone()).map(<[_]>::to_vec).unwrap_or_default(),
        group_ends: of(&batch.group_ends),
        defects: defects.map(|it| Defect { row: it.row - first as u32, ..it.clone() }).collect(),
    }
}

/// Batches back to back. Only a batch that lies across two reads is copied.
fn concat(mut parts: Vec<RecordBatch>) -> RecordBatch {
    if parts.len() == 1 {
        return parts.remove(0);
    }
    let mut whole = RecordBatch::default();
    let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.bytes.len()).sum());
    // A source gives arrivals, keys and redrives for all of its records or for none.
    let has_groups = parts.iter().any(|part| !part.group_ends.is_empty());
    for part in parts {
        let rows = part.len();
        let first = whole.spans.len() as u32;
        let shift = u32::try_from(bytes.len()).expect("a batch is bounded far below 4 GiB");
        bytes.extend_from_slice(&part.bytes);
        whole.spans.extend(part.spans.iter().map(|(start, end)| (start + shift, end + shift)));
        whole.positions.extend(part.positions);
        whole.arrivals.extend(part.arrivals);
        (0..part.keys.len()).for_each(|row| whole.keys.push(part.keys.get(row)));
        whole.redrives.extend(part.redrives);
        match part.group_ends.is_empty() {
            true if has_groups => whole.group_ends.extend(std::iter::repeat_n(true, rows)),
            _ => whole.group_ends.extend(part.group_ends),
        }
        let defects = part.defects.into_iter();
        whole.defects.extend(defects.map(|it| Defect { row: it.row + first, ..it }));
    }
    whole.bytes = Bytes::from(bytes);
    whole
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A record as the model knows it: its size, and whether a range may end behind it.
    #[derive(Clone, Copy, Debug)]
    struct Given {
        bytes: u32,
        group_end: bool,
    }

    /// What came out: batches by their last record's number, and cuts.
    #[derive(Clone, Debug, PartialEq, Eq)]
    enum Seen {
        Batch { last: u64 },
        Cut(Cut),
    }

    const CALM: Situation =
        Situation { now: Timestamp(0), spooled_bytes: 0, open_objects: 0, requested: None };

    fn read(given: &[Given], first: usize, rows: usize) -> RecordBatch {
        let mut batch = RecordBatch::default();
        let mut bytes = Vec::new();
        for (row, record) in given.iter().enumerate().skip(first).take(rows) {
            let start = bytes.len() as u32;
            bytes.extend(std::iter::repeat_n(row as u8, record.bytes as usize));
            batch.spans.push((start, bytes.len() as u32));
            bytes.push(b'\n');
            batch.positions.push(Position::from_offset(row as u64 + 1));
            batch.keys.push(&(row as u64).to_be_bytes());
            batch.redrives.push(row as u32);
            batch.group_ends.push(record.group_end);
            if record.bytes == 7 {
                let row = batch.spans.len() as u32 - 1;
                batch.defects.push(Defect { row, code: "seven", message: String::new() });
            }
        }
        if batch.group_ends.iter().all(|end| *end) {
            batch.group_ends.clear();
        }
        batch.bytes = Bytes::from(bytes);
        batch
    }

    /// Feeds records in reads of the given sizes, and asks `situation` before every step.
    fn run(
        mut batcher: Batcher,
        given: &[Given],
        reads: &[usize],
        until: Option<Position>,
        mut situation: impl FnMut() -> Situation,
    ) -> Vec<Seen> {
        let (mut next, mut sizes) = (0, reads.iter().cycle());
        let mut seen = Vec::new();
        let mut row = 0u64;
        loop {
            match batcher.step(&situation()) {
                Step::Open => batcher.open(Timestamp(0), until),
                Step::Process(batch) => {
                    assert!(!batch.is_empty());
                    for i in 0..batch.len() {
                        assert_eq!(batch.positions[i], Position::from_offset(row + 1));
                        let record = &given[row as usize];
                        assert_eq!(batch.record(i), vec![row as u8; record.bytes as usize]);
                        assert_eq!(batch.keys.get(i), row.to_be_bytes());
                        assert_eq!(u64::from(batch.redrives[i]), row);
                        let defect = batch.defects.iter().any(|it| it.row as usize == i);
                        assert_eq!(defect, record.bytes == 7);
                        row += 1;
                    }
                    seen.push(Seen::Batch { last: row });
                }
                Step::Cut(cut) => seen.push(Seen::Cut(cut)),
                Step::Read if next == given.len() => batcher.end(),
                Step::Read => {
                    let rows = *sizes.next().expect("a cycle").min(&(given.len() - next));
                    batcher.push(read(given, next, rows));
                    next += rows;
                }
                Step::Done => return seen,
            }
        }
    }

    /// The model: one record after the other, no reads.
    fn model(batch: BatchLimit, range: RangeLimit, given: &[Given]) -> Vec<Seen> {
        let mut seen = Vec::new();
        let (mut in_batch, mut in_range) = ((0, 0), (0, 0));
        for (row, record) in given.iter().enumerate() {
            for sums in [&mut in_batch, &mut in_range] {
                *sums = (sums.0 + 1, sums.1 + u64::from(record.bytes));
            }
            let last = row + 1 == given.len();
            assert!(record.group_end || !last);
            let count = in_range.0 >= range.records_max;
            let size = in_range.1 >= range.bytes_max;
            let cut = (count || size) && record.group_end;
            let full = in_batch.0 >= batch.records_max || in_batch.1 >= batch.bytes_max;
            if full || cut || last {
                seen.push(Seen::Batch { last: row as u64 + 1 });
                in_batch = (0, 0);
            }
            if cut {
                seen.push(Seen::Cut(if count { Cut::Count } else { Cut::Size }));
                in_range = (0, 0);
            } else if last {
                seen.push(Seen::Cut(Cut::Ended));
            }
        }
        seen
    }

    fn records() -> impl Strategy<Value = Vec<Given>> {
        let record = (0u32..40, prop::bool::weighted(0.7))
            .prop_map(|(bytes, group_end)| Given { bytes, group_end });
        prop::collection::vec(record, 1..250).prop_map(|mut given| {
            if let Some(last) = given.last_mut() {
                last.group_end = true;
            }
            given
        })
    }

    fn limits() -> impl Strategy<Value = (BatchLimit, RangeLimit)> {
        (1u64..20, 1u64..300, 1u64..60, 1u64..900).prop_map(|(a, b, c, d)| {
            let range = RangeLimit {
                records_max: c,
                bytes_max: d,
                age_max: Duration::from_secs(60),
                spooled_bytes_max: 1_000,
                open_objects_max: 10,
            };
            (BatchLimit { records_max: a, bytes_max: b }, range)
        })
    }

    proptest! {
        #[test]
        fn the_same_records_give_the_same_batches_however_they_arrive(
            given in records(),
            (batch, range) in limits(),
            reads in prop::collection::vec(1usize..70, 1..20),
        ) {
            let batcher = Batcher::new(batch, range);
            let seen = run(batcher, &given, &reads, None, || CALM);
            prop_assert_eq!(seen, model(batch, range, &given));
        }

        #[test]
        fn a_replay_makes_the_same_batches_whatever_ended_the_range(
            given in records(),
            (batch, range) in limits(),
            reads in prop::collection::vec(1usize..70, 1..20),
            troubles in prop::collection::vec(0u8..30, 1..50),
        ) {
            let mut troubles = troubles.into_iter().cycle();
            let situation = || match troubles.next() {
                Some(0) => Situation { now: Timestamp(100_000_000), ..CALM },
                Some(1) => Situation { spooled_bytes: 1_000, ..CALM },
                Some(2) => Situation { open_objects: 10, ..CALM },
                Some(3) => Situation { requested: Some(Cut::Swap), ..CALM },
                _ => CALM,
            };
            let seen = run(Batcher::new(batch, range), &given, &reads, None, situation);
            let mut start = 0;
            for range_seen in seen.split_inclusive(|it| matches!(it, Seen::Cut(_))) {
                let [batches @ .., Seen::Cut(_)] = range_seen else {
                    panic!("a range ends with a cut: {range_seen:?}");
                };
                let Some(Seen::Batch { last }) = batches.last() else {
                    panic!("a range has records: {range_seen:?}");
                };
                let end = *last as usize;
                // A source ends a replayed range at its end, so the replay sees nothing past it.
                let replayed = replay(batch, range, &given, start, end);
                prop_assert_eq!(&replayed, batches);
                prop_assert!(given[end - 1].group_end);
                start = end;
            }
            prop_assert_eq!(start, given.len());
        }
    }

    fn replay(
        batch: BatchLimit,
        range: RangeLimit,
        given: &[Given],
        start: usize,
        end: usize,
    ) -> Vec<Seen> {
        let mut batcher = Batcher::new(batch, range);
        let mut seen = Vec::new();
        batcher.push(read(&given[..end], start, end - start));
        loop {
            let stormy = Situation { spooled_bytes: 5_000, now: Timestamp(i64::MAX), ..CALM };
            match batcher.step(&stormy) {
                Step::Open => {
                    batcher.open(Timestamp(0), Some(Position::from_offset(end as u64)));
                }
                Step::Process(batch) => {
                    let last = batch.last_position().expect("a batch has records").offset();
                    seen.push(Seen::Batch { last });
                }
                Step::Read => batcher.end(),
                Step::Cut(_) => {}
                Step::Done => return seen,
            }
            if let Some(last) = batcher.last_position()
                && last.offset() == end as u64
            {
                batcher.end();
            }
        }
    }

    #[test]
    fn a_stop_takes_what_was_read_and_a_swap_does_not() {
        let given = [Given { bytes: 10, group_end: true }; 30];
        let batch = BatchLimit { records_max: 8, bytes_max: 1_000 };
        let range = RangeLimit {
            records_max: 1_000,
            bytes_max: 100_000,
            age_max: Duration::from_secs(1),
            spooled_bytes_max: 1_000,
            open_objects_max: 1,
        };
        let until_cut = |requested| {
            let mut batcher = Batcher::new(batch, range);
            batcher.push(read(&given, 0, 30));
            assert!(matches!(batcher.step(&CALM), Step::Open));
            batcher.open(Timestamp(0), None);
            assert!(matches!(batcher.step(&CALM), Step::Process(batch) if batch.len() == 8));
            let mut sizes = Vec::new();
            while let Step::Process(batch) = batcher.step(&Situation { requested, ..CALM }) {
                sizes.push(batch.len());
            }
            (sizes, batcher.waiting_bytes() > 0)
        };
        assert_eq!(until_cut(Some(Cut::Stop)), (vec![8, 8, 6], false));
        assert_eq!(until_cut(Some(Cut::Swap)), (vec![], true));
    }

    #[test]
    fn a_clock_that_goes_backwards_cuts_nothing() {
        assert_eq!(age(Timestamp(5), Timestamp(3)), Duration::ZERO);
        assert_eq!(
            age(Timestamp(i64::MIN), Timestamp(i64::MAX)),
            Duration::from_micros(i64::MAX as u64)
        );
    }
}
