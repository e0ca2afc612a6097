//! Aggregates of the Kinesis Producer Library: many user records in one Kinesis record.
//!
//! The format is that of `aggregation-format.md` in awslabs/amazon-kinesis-producer: four bytes that
//! say so, a protobuf message, and the MD5 of the message.
//!
//! A record that begins with the four bytes and is not such an aggregate is malformed, and not a
//! record of its own: the bytes begin no text and nothing compressed, so it was meant as one.

use bytes::Bytes;
use md5::{Digest, Md5};
use prost::Message;

/// What an aggregate begins with.
const MAGIC: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];

/// The MD5 that it ends with.
const CHECKSUM_BYTES: usize = 16;

#[derive(Message)]
struct AggregatedRecord {
    #[prost(string, repeated, tag = "1")]
    partition_key_table: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    explicit_hash_key_table: Vec<String>,
    #[prost(message, repeated, tag = "3")]
    records: Vec<Entry>,
}

/// Required fields are optional here, so that a missing one is told from one that is 0 or empty.
/// Tags, the fourth field, are not read.
#[derive(Message)]
struct Entry {
    #[prost(uint64, optional, tag = "1")]
    partition_key_index: Option<u64>,
    #[prost(uint64, optional, tag = "2")]
    explicit_hash_key_index: Option<u64>,
    #[prost(bytes = "bytes", optional, tag = "3")]
    data: Option<Bytes>,
}

/// The user records of an aggregate.
#[derive(Debug)]
pub(crate) struct Aggregate {
    /// What their producers partition by, each once.
    pub(crate) keys: Vec<Bytes>,
    /// In order: a record's index is its sub-sequence number.
    pub(crate) records: Vec<UserRecord>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UserRecord {
    /// Which key.
    pub(crate) key: usize,
    /// The hash that its producer chose instead of that of the key.
    pub(crate) explicit_hash: Option<u128>,
    /// Its payload.
    pub(crate) data: Bytes,
}

/// Why a record that begins as an aggregate is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("it begins as an aggregate and ends before its checksum")]
    Short,
    #[error("it begins as an aggregate, and the checksum does not fit: it was changed or cut off")]
    Checksum,
    #[error("it is an aggregate with the right checksum whose message can't be read: {0}")]
    Message(String),
    #[error("it is an aggregate without a record in it")]
    Empty,
    #[error("record {0} of the aggregate lacks its {1}")]
    Missing(usize, &'static str),
    #[error("record {0} of the aggregate names a {1} that its table does not have")]
    Index(usize, &'static str),
    #[error("an explicit hash key of the aggregate is no 128-bit number")]
    Hash,
}

impl Aggregate {
    /// Takes a Kinesis record apart; none where it is a plain one. All user records are sound, or
    /// none is given.
    pub(crate) fn parse(record: &Bytes) -> Result<Option<Aggregate>, Malformed> {
        let Some(rest) = record.strip_prefix(&MAGIC[..]) else { return Ok(None) };
        let (message, checksum) =
            rest.split_last_chunk::<CHECKSUM_BYTES>().ok_or(Malformed::Short)?;
        if Md5::digest(message)[..] != checksum[..] {
            return Err(Malformed::Checksum);
        }
        let message = AggregatedRecord::decode(record.slice_ref(message));
        let message = message.map_err(|error| Malformed::Message(error.to_string()))?;
        Aggregate::of(message).map(Some)
    }

    fn of(message: AggregatedRecord) -> Result<Aggregate, Malformed> {
        let AggregatedRecord { partition_key_table, explicit_hash_key_table, records } = message;
        if records.is_empty() {
            return Err(Malformed::Empty);
        }
        let hash = |text: &String| text.parse::<u128>().map_err(|_| Malformed::Hash);
        let hashes = explicit_hash_key_table.iter().map(hash).collect::<Result<Vec<_>, _>>()?;
        let keys: Vec<Bytes> = partition_key_table.into_iter().map(Into::into).collect();
        let user_record = |(i, record): (usize, Entry)| {
            let key = record.partition_key_index.ok_or(Malformed::Missing(i, "partition key"))?;
            let key = usize::try_from(key).ok().filter(|key| *key < keys.len());
            let explicit_hash = record.explicit_hash_key_index.map(|index| {
                let hash = usize::try_from(index).ok().and_then(|index| hashes.get(index));
                hash.copied().ok_or(Malformed::Index(i, "explicit hash key"))
            });
            Ok(UserRecord {
                key: key.ok_or(Malformed::Index(i, "partition key"))?,
                explicit_hash: explicit_hash.transpose()?,
                data: record.data.ok_or(Malformed::Missing(i, "data"))?,
            })
        };
        let records = records.into_iter().enumerate().map(user_record).collect::<Result<_, _>>()?;
        Ok(Aggregate { keys, records })
    }
}

/// How many bytes an aggregate of one key has at most before its first record, and how many more than
/// its payload each record adds.
pub(crate) fn bytes_before(key: &str) -> usize {
    MAGIC.len() + CHECKSUM_BYTES + key.len() + 8
}
pub(crate) const RECORD_BYTES_MORE: usize = 16;

/// Makes an aggregate of records that have one key. So its own hash is that of each of its records:
/// whatever a reshard does, no reader finds one of them outside of its shard's range.
pub(crate) fn seal(key: &str, records: impl Iterator<Item = Bytes>) -> Vec<u8> {
    let entry = |data| Entry {
        partition_key_index: Some(0),
        explicit_hash_key_index: None,
        data: Some(data),
    };
    let message = AggregatedRecord {
        partition_key_table: vec![key.to_owned()],
        explicit_hash_key_table: Vec::new(),
        records: records.map(entry).collect(),
    };
    sealed(&message.encode_to_vec())
}

fn sealed(message: &[u8]) -> Vec<u8> {
    let checksum = Md5::digest(message);
    [&MAGIC[..], message, &checksum[..]].concat()
}

/// The hash by which Kinesis chooses a shard for a key.
pub(crate) fn hash_key(key: &[u8]) -> u128 {
    u128::from_be_bytes(Md5::digest(key).into())
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An aggregate as a producer makes it.
    pub(crate) fn aggregate(records: &[(&str, Option<u128>, &[u8])]) -> Bytes {
        let mut message = AggregatedRecord::default();
        for (key, hash, data) in records {
            let place = |table: &mut Vec<String>, text: String| {
                let found = table.iter().position(|it| *it == text);
                found.unwrap_or_else(|| {
                    table.push(text);
                    table.len() - 1
                }) as u64
            };
            let partition_key_index = Some(place(&mut message.partition_key_table, (*key).into()));
            let hash = hash.map(|it| place(&mut message.explicit_hash_key_table, it.to_string()));
            let data = Some(Bytes::copy_from_slice(data));
            let entry = Entry { partition_key_index, explicit_hash_key_index: hash, data };
            message.records.push(entry);
        }
        sealed(&message.encode_to_vec())
    }

    fn sealed(message: &[u8]) -> Bytes {
        super::sealed(message).into()
    }

    fn fault(record: &Bytes) -> Malformed {
        Aggregate::parse(record).expect_err("it is malformed")
    }

    #[test]
    fn user_records_come_out_as_they_went_in() {
        let records: [(&str, Option<u128>, &[u8]); 4] = [
            ("a", None, b"1"),
            ("b", Some(7), b""),
            ("a", Some(u128::MAX), b"3"),
            ("", None, b"4"),
        ];
        let parsed = Aggregate::parse(&aggregate(&records)).expect("sound").expect("an aggregate");
        let found: Vec<_> = parsed
            .records
            .iter()
            .map(|it| (&parsed.keys[it.key][..], it.explicit_hash, &it.data[..]))
            .collect();
        let expected = records.map(|(key, hash, data)| (key.as_bytes(), hash, data));
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_sealed_comes_out_again_and_is_as_large_as_was_said() {
        for key in ["k", &"é".repeat(256)] {
            for length in [0, 1, 127, 128, 20_000] {
                let records: Vec<Bytes> = (0..40).map(|i| vec![i; length].into()).collect();
                let record = Bytes::from(seal(key, records.iter().cloned()));
                let most = bytes_before(key) + records.len() * (length + RECORD_BYTES_MORE);
                assert!(record.len() <= most, "{} of {most}", record.len());
                let parsed = Aggregate::parse(&record).expect("sound").expect("an aggregate");
                assert_eq!(parsed.keys, [key]);
                let found: Vec<_> = parsed.records.into_iter().map(|it| it.data).collect();
                assert!(found == records);
            }
        }
    }

    #[test]
    fn a_plain_record_is_none() {
        for record in [&b""[..], b"{}", &MAGIC[..3], &[0xf3, 0x89, 0x9a, 0xc3, 0, 0]] {
            assert!(Aggregate::parse(&Bytes::copy_from_slice(record)).expect("plain").is_none());
        }
    }

    #[test]
    fn every_fault_has_a_name() {
        let whole = aggregate(&[("a", None, b"data")]);
        assert_eq!(fault(&whole.slice(..4)), Malformed::Short);
        assert_eq!(fault(&whole.slice(..19)), Malformed::Short);
        assert_eq!(fault(&whole.slice(..whole.len() - 1)), Malformed::Checksum);
        assert!(matches!(fault(&sealed(b"\xff\xff\xff")), Malformed::Message(_)));
        assert_eq!(fault(&sealed(b"")), Malformed::Empty);
        let entry = |key, hash, data: Option<&'static [u8]>| {
            let entry = Entry {
                partition_key_index: key,
                explicit_hash_key_index: hash,
                data: data.map(Bytes::from_static),
            };
            let good = Entry {
                partition_key_index: Some(0),
                explicit_hash_key_index: None,
                data: Some(Bytes::new()),
            };
            let message = AggregatedRecord {
                partition_key_table: vec!["a".to_owned()],
                explicit_hash_key_table: vec!["7".to_owned()],
                records: vec![good, entry],
            };
            fault(&sealed(&message.encode_to_vec()))
        };
        assert_eq!(entry(None, None, Some(b"x")), Malformed::Missing(1, "partition key"));
        assert_eq!(entry(Some(1), None, Some(b"x")), Malformed::Index(1, "partition key"));
        assert_eq!(entry(Some(0), Some(9), Some(b"x")), Malformed::Index(1, "explicit hash key"));
        assert_eq!(entry(Some(0), Some(0), None), Malformed::Missing(1, "data"));
        let message = AggregatedRecord {
            partition_key_table: vec!["a".to_owned()],
            explicit_hash_key_table: vec!["many".to_owned()],
            records: vec![Entry::default()],
        };
        assert_eq!(fault(&sealed(&message.encode_to_vec())), Malformed::Hash);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(message in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(Some(aggregate)) = Aggregate::parse(&sealed(&message)) {
                prop_assert!(!aggregate.records.is_empty());
            }
        }

        #[test]
        fn whatever_is_changed_is_noticed(place in 4usize..60, change in 1u8..=255) {
            let whole = aggregate(&[("key", Some(1), b"a payload of some length, and so on")]);
            let mut changed = whole.to_vec();
            let place = place.min(changed.len() - 1);
            changed[place] ^= change;
            prop_assert_eq!(fault(&changed.into()), Malformed::Checksum);
        }
    }

    #[test]
    fn hashes_are_those_of_kinesis() {
        // The MD5 of "a", which `aggregation-format.md` and everybody's test tools agree on.
        assert_eq!(hash_key(b"a"), 0x0cc1_75b9_c0f1_b6a8_31c3_99e2_6977_2661);
    }
}
