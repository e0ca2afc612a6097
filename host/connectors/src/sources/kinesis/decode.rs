//! From Kinesis records to records: aggregates taken apart, payloads unpacked, hashes looked at.
//!
//! What a shard gave stays as it came until it is asked for. A few kilobytes of compressed payload
//! may stand for gigabytes, in one aggregate too, so no more is unpacked at a time than a read
//! takes.

use std::collections::VecDeque;

use bytes::Bytes;
use tidegate_core::{
    Position, RecordBatch, Timestamp,
    record::Defect,
    source::{ReadLimit, SourceError, SourceErrorKind},
};

#[cfg(feature = "kms")]
use super::encryption::{Decryption, Opened, Pending, Wanted};
use super::{
    payload::{PayloadCompression, Unpacked, unpack},
    position::SequenceNumber,
    raw::{RawRecord, RawRecords},
};
use crate::aggregate::{Aggregate, UserRecord, hash_key};

/// What becomes of a user record of an aggregate whose hash lies outside of its shard's range: its
/// aggregate was made for another shard, before a reshard, or Kinesis itself distributes records.
/// The Kinesis Client Library passes over the whole aggregate without a word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OutOfRange {
    /// It is a record like any other.
    #[default]
    Deliver,
    /// It is a dead letter.
    DeadLetter,
    /// It is passed over, and counted. Other records of its aggregate are not.
    Drop,
}

/// What becomes of a record whose key's hash lies outside of its shard's range: its producer has
/// chosen the shard by an explicit hash key, so that a key has records on several shards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnExplicitHash {
    /// It is a record like any other: no stage keeps a state by key.
    #[default]
    Deliver,
    /// Its shard stops.
    Fail,
    /// It is a dead letter.
    DeadLetter,
}

/// So many payloads ahead of the one that wants a data key are looked at for those that they want, so
/// that a producer with a data key for each record does not cost a call after the other.
#[cfg(feature = "kms")]
const WANTED_MAX: usize = 16;

/// How records are made.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    /// The hashes that the shard owns, both ends included.
    pub(super) hash_range: Option<(u128, u128)>,
    pub(super) out_of_range: OutOfRange,
    pub(super) on_explicit_hash: OnExplicitHash,
    pub(super) compression: PayloadCompression,
    /// What decrypts payloads, where producers encrypt them.
    #[cfg(feature = "kms")]
    pub(super) decryption: Option<Decryption>,
    /// What a payload may expand to.
    pub(super) record_bytes_max: usize,
}

/// What was met on the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Met {
    /// Outside of the shard's range, by what became of them.
    pub(super) out_of_range: u64,
    pub(super) explicit_hash: u64,
    pub(super) malformed: u64,
    pub(super) dropped: u64,
}

/// What a read takes.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) batch: RecordBatch,
    /// The next record lies behind the read's end.
    pub(super) beyond: bool,
    /// Nothing was taken, for these data keys have to be asked for first.
    #[cfg(feature = "kms")]
    pub(super) wanted: Vec<Wanted>,
}

/// The code of a payload that can't be decrypted.
#[cfg(feature = "kms")]
pub(super) const NOT_DECRYPTABLE: &str = "not-decryptable";

/// Why a payload is no record: a code and the reason.
pub type Fault = (&'static str, String);

/// What a payload comes to.
enum Filled {
    /// It was appended, or what came was, with a code and the reason.
    Done(Option<Fault>),
    /// Nothing behind it is to be read.
    #[cfg(feature = "kms")]
    Fails(SourceError),
    /// A data key has to be asked for.
    #[cfg(feature = "kms")]
    Wants(Box<Wanted>),
}

/// Records that were fetched and not taken yet.
#[derive(Debug, Default)]
pub(super) struct Unread {
    raw: RawRecords,
    /// Records of the one that is being taken apart.
    items: VecDeque<Item>,
    /// Nothing up to here is wanted: it was taken before.
    after: Option<Position>,
    met: Met,
}

#[derive(Debug)]
struct Item {
    position: Position,
    arrival: Timestamp,
    key: Bytes,
    data: Bytes,
    fate: Fate,
    /// A range may end behind it.
    ends_group: bool,
}

#[derive(Debug)]
enum Fate {
    Deliver,
    DeadLetter { code: &'static str, message: String },
    Fail { message: String },
}

impl Unread {
    /// Nothing is left.
    pub(super) fn is_empty(&self) -> bool {
        self.raw.is_empty() && self.items.is_empty()
    }

    /// Takes what was fetched, which lies behind a position. Whatever was fetched before has been
    /// taken.
    pub(super) fn push(&mut self, raw: RawRecords, after: Option<Position>) {
        assert!(self.is_empty(), "nothing is fetched before all is taken");
        self.after = after;
        self.raw = raw;
    }

    /// What was met since this was last asked.
    pub(super) fn met(&mut self) -> Met {
        std::mem::take(&mut self.met)
    }

    /// Takes some records: at least one, if there is one before the limit's end.
    pub(super) fn take(&mut self, limit: &ReadLimit, rules: &Rules) -> Result<Taken, SourceError> {
        let mut taken = Taken::default();
        let mut bytes = Vec::with_capacity(self.expected(limit));
        let mut has_groups = false;
        while taken.batch.len() < limit.records_max.max(1)
            && (taken.batch.is_empty() || bytes.len() < limit.bytes_max)
        {
            let Some(item) = self.next(rules) else { break };
            if limit.until.is_some_and(|until| item.position > until) {
                taken.beyond = true;
                self.items.push_front(item);
                break;
            }
            if let Fate::Fail { message } = &item.fate {
                let error = SourceError::plain(SourceErrorKind::Broken, message.clone());
                // Whoever asks again comes to it again: it is never passed.
                self.items.push_front(item);
                // What lies before it is delivered first.
                if taken.batch.is_empty() {
                    return Err(error);
                }
                break;
            }
            let start = bytes.len();
            let row = taken.batch.len() as u32;
            let filled = match &item.fate {
                Fate::DeadLetter { code, message } => {
                    bytes.extend_from_slice(&item.data);
                    Filled::Done(Some((*code, message.clone())))
                }
                _ => rules.fill(&item, &mut bytes),
            };
            let fault = match filled {
                Filled::Done(fault) => fault,
                #[cfg(feature = "kms")]
                Filled::Fails(error) => {
                    self.items.push_front(item);
                    if taken.batch.is_empty() {
                        return Err(error);
                    }
                    break;
                }
                #[cfg(feature = "kms")]
                Filled::Wants(wanted) => {
                    self.items.push_front(item);
                    if taken.batch.is_empty() {
                        taken.wanted = self.wanted(*wanted, rules);
                    }
                    break;
                }
            };
            let batch = &mut taken.batch;
            batch.defects.extend(fault.map(|(code, message)| Defect { row, code, message }));
            batch.spans.push((start as u32, bytes.len() as u32));
            batch.positions.push(item.position);
            batch.arrivals.push(item.arrival);
            batch.keys.push(&item.key);
            batch.group_ends.push(item.ends_group);
            has_groups |= !item.ends_group;
        }
        taken.batch.bytes = bytes.into();
        if !has_groups {
            taken.batch.group_ends.clear();
        }
        Ok(taken)
    }

    /// The data keys that the next payload wants, and those that some behind it do.
    #[cfg(feature = "kms")]
    fn wanted(&mut self, first: Wanted, rules: &Rules) -> Vec<Wanted> {
        let mut wanted = vec![first];
        let Some(decryption) = &rules.decryption else { return wanted };
        while self.items.len() < WANTED_MAX
            && let Some(raw) = self.raw.pop()
        {
            self.take_apart(raw, rules);
        }
        let behind = self.items.iter().skip(1).take(WANTED_MAX - 1);
        wanted.extend(behind.filter_map(|it| decryption.wanted(&it.data)));
        wanted
    }

    /// About how many bytes a read will take.
    fn expected(&self, limit: &ReadLimit) -> usize {
        let waiting = self.items.iter().map(|it| it.data.len()).sum::<usize>()
            + self.raw.sizes().sum::<usize>();
        waiting.min(limit.bytes_max)
    }

    fn next(&mut self, rules: &Rules) -> Option<Item> {
        loop {
            if let Some(item) = self.items.pop_front() {
                if Some(item.position) > self.after {
                    return Some(item);
                }
                continue;
            }
            let raw = self.raw.pop()?;
            self.take_apart(raw, rules);
        }
    }

    fn take_apart(&mut self, raw: RawRecord, rules: &Rules) {
        let RawRecord { sequence, arrival, key, data } = raw;
        let met = &mut self.met;
        let mut push = |index, key, data, fate| {
            let position = sequence.position(index);
            self.items.push_back(Item { position, arrival, key, data, fate, ends_group: false });
        };
        match Aggregate::parse(&data) {
            Ok(None) => {
                let fate = rules.fate_of_plain(&key, sequence, met);
                push(0, key, data, fate);
            }
            Err(malformed) => {
                met.malformed += 1;
                let (code, message) = ("malformed-aggregate", malformed.to_string());
                push(0, key, data, Fate::DeadLetter { code, message });
            }
            Ok(Some(Aggregate { keys, records })) => {
                let hashes = rules.hash_range.map(|_| keys.iter().map(|key| hash_key(key)));
                let hashes = hashes.map(Iterator::collect::<Vec<_>>).unwrap_or_default();
                for (index, record) in records.into_iter().enumerate() {
                    let UserRecord { key, explicit_hash, data } = record;
                    let hash = hashes.get(key).copied();
                    match rules.fate_of_user_record(hash, explicit_hash, sequence, met) {
                        None => met.dropped += 1,
                        Some(fate) => push(index as u64, keys[key].clone(), data, fate),
                    }
                }
            }
        }
        if let Some(last) = self.items.back_mut() {
            last.ends_group = true;
        }
    }
}

impl Rules {
    /// Appends an item's payload as it was before its producer encrypted and compressed it.
    fn fill(&self, item: &Item, into: &mut Vec<u8>) -> Filled {
        #[cfg(feature = "kms")]
        if let Some(decryption) = &self.decryption {
            let (compression, bytes_max) = (self.compression, self.record_bytes_max);
            return match fill_decrypted(&item.data, decryption, compression, bytes_max, into) {
                Ok(fault) => Filled::Done(fault),
                Err(Pending::Wants(wanted)) => Filled::Wants(wanted),
                Err(Pending::Fails(why)) => {
                    let message = format!("record {}: {why}", item.position);
                    Filled::Fails(SourceError::plain(SourceErrorKind::Broken, message))
                }
            };
        }
        Filled::Done(fill(&item.data, self.compression, self.record_bytes_max, into))
    }

    fn owns(&self, hash: u128) -> bool {
        self.hash_range.is_none_or(|(start, end)| (start..=end).contains(&hash))
    }

    fn fate_of_plain(&self, key: &[u8], sequence: SequenceNumber, met: &mut Met) -> Fate {
        // Where Kinesis itself distributes records they need no key.
        if self.on_explicit_hash == OnExplicitHash::Deliver || key.is_empty() {
            return Fate::Deliver;
        }
        match self.owns(hash_key(key)) {
            true => Fate::Deliver,
            false => self.explicit(sequence, met),
        }
    }

    /// None where it is dropped.
    fn fate_of_user_record(
        &self,
        hash_of_key: Option<u128>,
        explicit_hash: Option<u128>,
        sequence: SequenceNumber,
        met: &mut Met,
    ) -> Option<Fate> {
        let outside = |hash: Option<u128>| hash.is_some_and(|hash| !self.owns(hash));
        if outside(explicit_hash.or(hash_of_key)) {
            met.out_of_range += 1;
            match self.out_of_range {
                OutOfRange::Deliver => {}
                OutOfRange::Drop => return None,
                OutOfRange::DeadLetter => {
                    let message = "a record of an aggregate whose hash lies outside of its \
                                   shard's range: `out_of_range` says that it is a dead letter";
                    let (code, message) = ("out-of-range", message.to_owned());
                    return Some(Fate::DeadLetter { code, message });
                }
            }
        }
        Some(match outside(hash_of_key) {
            true => self.explicit(sequence, met),
            false => Fate::Deliver,
        })
    }

    fn explicit(&self, sequence: SequenceNumber, met: &mut Met) -> Fate {
        let what = "the hash of its key lies outside of its shard's range, since its producer \
                    chose the shard by an explicit hash key, and a stage keeps states by key";
        match self.on_explicit_hash {
            OnExplicitHash::Deliver => Fate::Deliver,
            OnExplicitHash::DeadLetter => {
                met.explicit_hash += 1;
                let message = format!("{what}: `on_explicit_hash` says that it is a dead letter");
                Fate::DeadLetter { code: "explicit-hash-key", message }
            }
            OnExplicitHash::Fail => {
                met.explicit_hash += 1;
                let message = format!(
                    "record {sequence}: {what}, so a state would miss some of its records; set \
                     `on_explicit_hash: dead_letter`, or `scope: partition` for the stage"
                );
                Fate::Fail { message }
            }
        }
    }
}

/// Appends the payload as it was before its producer compressed it, or as it is, with a code and the
/// reason.
pub fn fill(
    payload: &[u8],
    compression: PayloadCompression,
    bytes_max: usize,
    into: &mut Vec<u8>,
) -> Option<Fault> {
    let fault = match unpack(payload, compression, bytes_max, into) {
        Unpacked::Whole => return None,
        Unpacked::TooLarge => {
            ("record-too-large", format!("its payload expands to more than {bytes_max} bytes"))
        }
        Unpacked::Damaged(error) => {
            ("not-decompressible", format!("its payload can't be decompressed: {error}"))
        }
    };
    into.extend_from_slice(payload);
    Some(fault)
}

/// The same of a payload that its producer has encrypted after it was compressed. What is appended where
/// it can't be had is what the producer sent: nothing is decrypted for a dead letter.
#[cfg(feature = "kms")]
pub(super) fn fill_decrypted(
    payload: &[u8],
    decryption: &Decryption,
    compression: PayloadCompression,
    bytes_max: usize,
    into: &mut Vec<u8>,
) -> Result<Option<Fault>, Pending> {
    let start = into.len();
    let fault = match decryption.open(payload) {
        Opened::Plaintext(plaintext) => fill(&plaintext, compression, bytes_max, into),
        Opened::Refused(why) => {
            Some((NOT_DECRYPTABLE, format!("its payload can't be decrypted: {why}")))
        }
        Opened::Pending(pending) => return Err(pending),
    };
    if fault.is_some() {
        into.truncate(start);
        into.extend_from_slice(payload);
    }
    Ok(fault)
}

#[cfg(test)]
mod tests {
    use super::{super::raw::Packing, *};
    use crate::aggregate::tests::aggregate;

    const LIMIT: ReadLimit = ReadLimit { records_max: usize::MAX, bytes_max: 1 << 20, until: None };

    fn rules() -> Rules {
        Rules {
            // The MD5 of `a` begins with 0c, that of `b` with 92: only `a` is here.
            hash_range: Some((0, u128::MAX / 2)),
            out_of_range: OutOfRange::Deliver,
            on_explicit_hash: OnExplicitHash::Deliver,
            compression: PayloadCompression::None,
            #[cfg(feature = "kms")]
            decryption: None,
            record_bytes_max: 1 << 20,
        }
    }

    type Raw = (u32, &'static str, Bytes);

    fn raw(sequence: u32, key: &'static str, data: impl Into<Bytes>) -> Raw {
        (sequence, key, data.into())
    }

    fn number(sequence: u32) -> SequenceNumber {
        sequence.to_string().parse().expect("a number")
    }

    fn unread(raw: Vec<Raw>, after: Option<Position>) -> Unread {
        let mut packing = Packing::with_capacity(0, 0);
        for (sequence, key, data) in raw {
            let arrival = Timestamp(i64::from(sequence));
            packing.push(number(sequence), arrival, key.as_bytes(), &data);
        }
        let mut raw = packing.done();
        raw.skip(0, after);
        let mut unread = Unread::default();
        unread.push(raw, after);
        unread
    }

    fn place(sequence: u32, index: u64) -> Position {
        number(sequence).position(index)
    }

    /// Everything that is left, read by read.
    fn all(unread: &mut Unread, limit: ReadLimit, rules: &Rules) -> Vec<RecordBatch> {
        let mut batches = Vec::new();
        loop {
            let taken = unread.take(&limit, rules).expect("nothing fails");
            if taken.batch.is_empty() {
                return batches;
            }
            batches.push(taken.batch);
        }
    }

    fn stream() -> Vec<Raw> {
        let three = aggregate(&[("a", None, b"3.0"), ("b", None, b"3.1"), ("b", Some(1), b"3.2")]);
        vec![raw(1, "a", "1"), raw(3, "x", three), raw(9, "b", "9")]
    }

    #[test]
    fn reads_of_any_size_give_the_same_records() {
        let expected = [(1, 0, "1"), (3, 0, "3.0"), (3, 1, "3.1"), (3, 2, "3.2"), (9, 0, "9")];
        for (records_max, bytes_max) in [(1, 1), (2, 100), (100, 4), (100, 100)] {
            let limit = ReadLimit { records_max, bytes_max, until: None };
            for skipped in 0..=expected.len() {
                let last = skipped.checked_sub(1).map(|last| expected[last]);
                let after = last.map(|(sequence, index, _)| place(sequence, index));
                let batches = all(&mut unread(stream(), after), limit, &rules());
                let rows = batches.iter().flat_map(|it| (0..it.len()).map(move |row| (it, row)));
                let found: Vec<_> = rows
                    .map(|(batch, row)| {
                        let ends = batch.group_ends.get(row).copied().unwrap_or(true);
                        (batch.positions[row], batch.record(row).to_vec(), ends)
                    })
                    .collect();
                let expected = expected[skipped..].iter().map(|(sequence, index, text)| {
                    let ends = (*sequence, *index) != (3, 0) && (*sequence, *index) != (3, 1);
                    (place(*sequence, *index), text.as_bytes().to_vec(), ends)
                });
                assert_eq!(found, expected.collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn a_read_ends_at_its_end_within_an_aggregate_too() {
        let mut unread = unread(stream(), None);
        let limit = ReadLimit { until: Some(place(3, 1)), ..LIMIT };
        let taken = unread.take(&limit, &rules()).expect("nothing fails");
        assert_eq!((taken.batch.last_position(), taken.beyond), (Some(place(3, 1)), true));
        let taken = unread.take(&limit, &rules()).expect("nothing fails");
        assert!(taken.batch.is_empty() && taken.beyond);
        let rest = unread.take(&LIMIT, &rules()).expect("nothing fails");
        assert_eq!(rest.batch.positions, [place(3, 2), place(9, 0)], "nothing of it is lost");
    }

    #[test]
    fn a_group_ends_with_the_last_record_that_is_not_dropped() {
        let dropping = Rules { out_of_range: OutOfRange::Drop, ..rules() };
        let mixed = aggregate(&[
            ("a", None, b"0"),
            ("b", None, b"dropped"),
            ("b", Some(5), b"2"),
            ("a", Some(u128::MAX), b"dropped"),
        ]);
        let gone = aggregate(&[("b", None, b"dropped")]);
        let mut unread =
            unread(vec![raw(1, "x", mixed), raw(2, "x", gone), raw(3, "a", "3")], None);
        let taken = unread.take(&LIMIT, &dropping).expect("nothing fails");
        assert_eq!(taken.batch.positions, [place(1, 0), place(1, 2), place(3, 0)]);
        assert_eq!(taken.batch.group_ends, [false, true, true]);
        let met = Met { out_of_range: 3, dropped: 3, ..Met::default() };
        assert_eq!(unread.met(), met);
        assert_eq!(unread.met(), Met::default(), "it is told once");
    }

    #[test]
    fn an_explicit_hash_stops_behind_what_lies_before_it() {
        let failing = Rules { on_explicit_hash: OnExplicitHash::Fail, ..rules() };
        let mut unread = unread(vec![raw(1, "a", "1"), raw(2, "b", "2"), raw(3, "a", "3")], None);
        let taken = unread.take(&LIMIT, &failing).expect("the first is sound");
        assert_eq!(taken.batch.positions, [place(1, 0)]);
        for _ in 0..2 {
            let error = unread.take(&LIMIT, &failing).expect_err("it stays there");
            assert_eq!(error.kind, SourceErrorKind::Broken);
            assert!(error.to_string().starts_with("record 2: "), "{error}");
        }
        assert_eq!(unread.met().explicit_hash, 1, "it is counted once, however often it is read");
    }

    #[test]
    fn records_without_a_key_are_distributed_by_kinesis() {
        let failing = Rules { on_explicit_hash: OnExplicitHash::Fail, ..rules() };
        let taken = unread(vec![raw(1, "", "1")], None).take(&LIMIT, &failing);
        assert_eq!(taken.expect("no hash is wrong").batch.len(), 1);
    }

    #[test]
    fn no_more_is_unpacked_than_a_read_takes() {
        let bomb = zstd::encode_all(&vec![b' '; 900 << 10][..], 1).expect("memory takes it");
        let user_records: Vec<_> = (0..500).map(|_| ("a", None, bomb.as_slice())).collect();
        let rules = Rules { compression: PayloadCompression::Zstd, ..rules() };
        let mut unread = unread(vec![raw(1, "x", aggregate(&user_records))], None);
        let mut records = 0;
        for batch in all(&mut unread, LIMIT, &rules) {
            assert!(batch.bytes.len() <= 2 << 20, "{} bytes", batch.bytes.len());
            assert!(batch.defects.is_empty());
            records += batch.len();
        }
        assert_eq!(records, 500);
    }
}
