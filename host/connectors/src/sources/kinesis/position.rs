//! Sequence numbers as positions.

use std::{fmt, str::FromStr};

use tidegate_core::Position;

/// Where a record lies in its shard: a number of up to 186 bits, ordered as a number and not as the
/// text that it comes as.
///
/// It makes the first three words of a position; the last one is the sub-sequence number, which
/// tells the user records of one aggregate apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SequenceNumber([u64; 3]);

impl SequenceNumber {
    /// The place of a user record, by its index in the aggregate; a plain record has index 0.
    pub(super) fn position(self, index: u64) -> Position {
        let [high, middle, low] = self.0;
        Position([high, middle, low, index])
    }

    /// The record that a position lies in.
    pub(super) fn of(position: Position) -> Self {
        let [high, middle, low, _] = position.0;
        SequenceNumber([high, middle, low])
    }
}

/// The text is no sequence number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no sequence number: expected a decimal number of up to 192 bits")]
pub(super) struct InvalidSequenceNumber(String);

impl FromStr for SequenceNumber {
    type Err = InvalidSequenceNumber;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let position = Position::from_sequence_number(text);
        position.map(SequenceNumber::of).map_err(|_| InvalidSequenceNumber(text.to_owned()))
    }
}

impl fmt::Display for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.position(0).sequence_number())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_round_trip_and_are_ordered_as_numbers() {
        let texts = [
            "0",
            "9",
            "10",
            "18446744073709551616",
            "49597411459012285111935017620416693517210978893395132418",
            "49597411459012285111935017621194032819223185658889633794",
            "6277101735386680763835789423207666416102355444464034512895",
        ];
        let numbers: Vec<SequenceNumber> =
            texts.iter().map(|text| text.parse().expect("a number of up to 192 bits")).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
        for (number, text) in numbers.iter().zip(texts) {
            assert_eq!(number.to_string(), text);
            assert_eq!(SequenceNumber::of(number.position(u64::MAX)), *number);
        }
        let [.., before, behind] = numbers.as_slice() else { panic!("there are many") };
        assert!(before.position(u64::MAX) < behind.position(0), "of one record, then of the next");
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in ["", "-1", "x", "1.5", "SHARD_END", &"9".repeat(60)] {
            assert_eq!(
                text.parse::<SequenceNumber>(),
                Err(InvalidSequenceNumber(text.to_owned())),
                "{text}"
            );
        }
    }
}
