//! Kinesis records that somebody else has fetched: AWS Lambda hands a function those of a shard.

use bytes::Bytes;
use tidegate_core::{
    Position, RecordBatch, Timestamp,
    position::InvalidPosition,
    source::{ReadLimit, SourceError},
};

use super::{
    decode::{OnExplicitHash, OutOfRange, Rules, Unread},
    payload::PayloadCompression,
    position::SequenceNumber,
    raw::Packing,
};

/// A record as the stream has it.
#[derive(Clone, Debug)]
pub struct HandedRecord {
    /// Its sequence number.
    pub sequence_number: String,
    /// When the stream received it.
    pub arrival: Timestamp,
    /// Its partition key.
    pub key: String,
    /// Its data: a payload, or an aggregate.
    pub data: Bytes,
}

/// Consecutive records of one shard, to be taken apart like those that a source fetches itself. Which
/// hashes the shard owns is not known, so none lies outside of them.
#[derive(Debug)]
pub struct HandedRecords {
    unread: Unread,
    rules: Rules,
}

impl HandedRecords {
    /// Records in the order of their sequence numbers. Fails where one has none.
    pub fn new(
        records: impl IntoIterator<Item = HandedRecord>,
        compression: PayloadCompression,
        record_bytes_max: usize,
    ) -> Result<Self, InvalidPosition> {
        let mut packing = Packing::with_capacity(0, 0);
        for HandedRecord { sequence_number, arrival, key, data } in records {
            let sequence = SequenceNumber::of(Position::from_sequence_number(&sequence_number)?);
            packing.push(sequence, arrival, key.as_bytes(), &data);
        }
        let mut unread = Unread::default();
        unread.push(packing.done(), None);
        let rules = Rules {
            hash_range: None,
            out_of_range: OutOfRange::Deliver,
            on_explicit_hash: OnExplicitHash::Deliver,
            compression,
            // `tidegate lambda` refuses it at its start.
            #[cfg(feature = "kms")]
            decryption: None,
            record_bytes_max,
        };
        Ok(HandedRecords { unread, rules })
    }

    /// Takes some of them: none where there are no more, or none before the limit's end.
    pub fn take(&mut self, limit: &ReadLimit) -> Result<RecordBatch, SourceError> {
        self.unread.take(limit, &self.rules).map(|taken| taken.batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::tests::aggregate;

    fn handed(sequence_number: &str, data: impl Into<Bytes>) -> HandedRecord {
        HandedRecord {
            sequence_number: sequence_number.to_owned(),
            arrival: Timestamp(7),
            key: "k".to_owned(),
            data: data.into(),
        }
    }

    #[test]
    fn aggregates_come_apart_and_no_range_ends_within_one() {
        let two = aggregate(&[("a", None, b"1"), ("b", None, b"2")]);
        let records = [handed("10", "0"), handed("11", two)];
        let mut handed = HandedRecords::new(records, PayloadCompression::None, 100).unwrap();
        let limit = ReadLimit { records_max: 10, bytes_max: 100, until: None };
        let batch = handed.take(&limit).unwrap();
        let rows: Vec<_> = (0..batch.len()).map(|row| batch.record(row).to_vec()).collect();
        assert_eq!(rows, [b"0", b"1", b"2"]);
        let places: Vec<String> = batch.positions.iter().map(ToString::to_string).collect();
        assert_eq!(places, ["10-0", "11-0", "11-1"]);
        assert_eq!(batch.group_ends, [true, false, true]);
        assert!(handed.take(&limit).unwrap().is_empty());
    }

    #[test]
    fn a_record_without_a_sequence_number_is_refused() {
        let records = [handed("SHARD_END", "0")];
        assert!(HandedRecords::new(records, PayloadCompression::None, 100).is_err());
    }
}
