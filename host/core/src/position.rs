//! Where a record lies in its partition.

use std::{fmt, str::FromStr};

/// A place in a partition, ordered within it and opaque to all but the source that issued it.
///
/// Four big-endian words are enough for a byte offset, a Kafka offset, and a Kinesis sequence
/// number (186 bits) with a sub-sequence number. A record's position is the place just behind it:
/// reading after a position never returns the record that has it.
///
/// The text form is the words in decimal, joined by `-`, without leading zero words: a byte
/// offset reads `1834`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub [u64; 4]);

impl Position {
    /// A position that is one number, such as a byte offset.
    pub const fn from_offset(offset: u64) -> Self {
        Position([0, 0, 0, offset])
    }

    /// The last word: the whole position where it was made by [`Position::from_offset`].
    pub const fn offset(self) -> u64 {
        self.0[3]
    }

    /// A 128-bit hash. Summed over a range it tells a loss and a duplicate apart, which cancel
    /// in a count.
    pub fn hash128(self) -> u128 {
        let mut bytes = [0u8; 32];
        for (chunk, word) in bytes.chunks_exact_mut(8).zip(self.0) {
            chunk.copy_from_slice(&word.to_be_bytes());
        }
        xxhash_rust::xxh3::xxh3_128(&bytes)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = self.0.iter().position(|word| *word != 0).unwrap_or(3);
        write!(f, "{}", self.0[first])?;
        self.0[first + 1..].iter().try_for_each(|word| write!(f, "-{word}"))
    }
}

/// The text is not one to four decimal numbers joined by `-`.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a position: expected one to four numbers joined by `-`")]
pub struct InvalidPosition(String);

impl FromStr for Position {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidPosition(text.to_owned());
        let words = text
            .split('-')
            .map(|word| word.parse::<u64>().map_err(|_| invalid()))
            .collect::<Result<Vec<_>, _>>()?;
        if words.len() > 4 {
            return Err(invalid());
        }
        let mut position = Position::default();
        position.0[4 - words.len()..].copy_from_slice(&words);
        Ok(position)
    }
}

impl serde::Serialize for Position {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Position {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips_and_keeps_order() {
        for words in [[0, 0, 0, 0], [0, 0, 0, 7], [0, 0, 1, 0], [9, 0, 0, u64::MAX]] {
            let position = Position(words);
            assert_eq!(position.to_string().parse(), Ok(position));
        }
        assert!(Position([0, 0, 1, 0]) > Position([0, 0, 0, u64::MAX]));
        assert!("1-2-3-4-5".parse::<Position>().is_err());
        assert!("".parse::<Position>().is_err());
    }
}
