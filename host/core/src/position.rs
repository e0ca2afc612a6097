//! Where a record lies in its partition.

use std::{fmt, str::FromStr};

use num_bigint::BigUint;

/// A place in a partition, ordered within it and opaque to all but the source that issued it.
///
/// Four big-endian words are enough for a byte offset, a Kafka offset, and a Kinesis sequence
/// number (186 bits) with a sub-sequence number. A record's position is the place just behind it:
/// reading after a position never returns the record that has it.
///
/// The text form is decimal. The first three words are one number, as Kinesis writes its sequence
/// numbers, and the last word follows behind a `-`. Where the number is 0 there is only the last
/// word: a byte offset reads `1834`.
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

    /// The position of a record that its source gives a decimal number of up to 192 bits.
    pub fn from_sequence_number(text: &str) -> Result<Self, InvalidPosition> {
        let invalid = || InvalidPosition(text.to_owned());
        let number: BigUint = text.parse().map_err(|_| invalid())?;
        let digits = number.to_u64_digits();
        let mut words = [0; 4];
        if digits.len() > 3 {
            return Err(invalid());
        }
        words[..3].iter_mut().rev().zip(digits).for_each(|(word, digit)| *word = digit);
        Ok(Position(words))
    }

    /// The number that the source gives the record, in decimal: of several in one, that of the one.
    pub fn sequence_number(self) -> String {
        match self.sub_sequence_number() {
            None => self.offset().to_string(),
            Some(_) => {
                let words = self.0[..3].iter().rev();
                let halves = words.flat_map(|word| [*word as u32, (*word >> 32) as u32]);
                BigUint::new(halves.collect()).to_string()
            }
        }
    }

    /// Its place among the records that share the source's number; none where the position is one
    /// number, such as a byte offset.
    pub fn sub_sequence_number(self) -> Option<u64> {
        (self.0[..3] != [0; 3]).then_some(self.0[3])
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
        f.write_str(&self.sequence_number())?;
        self.sub_sequence_number().map_or(Ok(()), |sub| write!(f, "-{sub}"))
    }
}

/// The text is no decimal number, and no two of them joined by `-`.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "`{0}` is not a position: expected a number, or a number of up to 192 bits, `-` and another"
)]
pub struct InvalidPosition(String);

impl FromStr for Position {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = |_| InvalidPosition(text.to_owned());
        match text.split_once('-') {
            None => Ok(Position::from_offset(text.parse().map_err(invalid)?)),
            Some((sequence, sub)) => {
                let Position([high, middle, low, _]) = Position::from_sequence_number(sequence)
                    .map_err(|_| InvalidPosition(text.to_owned()))?;
                Ok(Position([high, middle, low, sub.parse().map_err(invalid)?]))
            }
        }
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
        for words in [[0, 0, 0, 0], [0, 0, 0, 7], [0, 0, 1, 0], [9, 0, 0, u64::MAX], [u64::MAX; 4]]
        {
            let position = Position(words);
            assert_eq!(position.to_string().parse(), Ok(position));
        }
        assert!(Position([0, 0, 1, 0]) > Position([0, 0, 0, u64::MAX]));
        for text in ["", "-", "1-", "-1", "1-2-3", "x", "1.5", &format!("{}-0", "9".repeat(60))] {
            assert_eq!(text.parse::<Position>(), Err(InvalidPosition(text.to_owned())));
        }
    }

    #[test]
    fn a_sequence_number_reads_as_kinesis_writes_it() {
        let number = "49597411459012285111935017621194032819223185658889633794";
        let mut position = Position::from_sequence_number(number).expect("a number of 186 bits");
        assert_eq!(position.to_string(), format!("{number}-0"));
        position.0[3] = 7;
        assert_eq!(position.to_string(), format!("{number}-7"));
        assert_eq!(position.sequence_number(), number);
        assert_eq!(position.sub_sequence_number(), Some(7));
        let offset = Position::from_offset(1834);
        assert_eq!((offset.sequence_number(), offset.sub_sequence_number()), ("1834".into(), None));
    }
}
