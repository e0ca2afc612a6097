//! Loops over columns, eight rows a turn.
//!
//! In a component each turn of a loop is charged for, and asked whether its time is up, which costs
//! as much as what is done with most numbers. So the loops that most plugins need are here, and
//! make an eighth of the turns.

use std::ops::RangeInclusive;

use crate::{
    batch::{Cells, Text},
    reply::LEAVE,
};

/// How many rows are looked at together.
pub const ROWS: usize = 8;

/// A value made from each.
#[inline]
pub fn map<T: Copy, U: Copy>(values: &[T], mut f: impl FnMut(T) -> U) -> Vec<U> {
    let mut made = Vec::with_capacity(values.len());
    let (blocks, rest) = values.as_chunks::<ROWS>();
    blocks.iter().for_each(|block| made.extend_from_slice(&block.map(&mut f)));
    made.extend(rest.iter().copied().map(f));
    made
}

/// Makes another value of each.
#[inline]
pub fn update<T: Copy>(values: &mut [T], mut f: impl FnMut(T) -> T) {
    let (blocks, rest) = values.as_chunks_mut::<ROWS>();
    blocks.iter_mut().for_each(|block| *block = block.map(&mut f));
    rest.iter_mut().for_each(|value| *value = f(*value));
}

/// Makes another value of each and of its like in another column.
#[inline]
pub fn combine<T: Copy, U: Copy>(values: &mut [T], others: &[U], mut f: impl FnMut(T, U) -> T) {
    let (blocks, rest) = values.as_chunks_mut::<ROWS>();
    let (other_blocks, other_rest) = others.as_chunks::<ROWS>();
    for (block, others) in blocks.iter_mut().zip(other_blocks) {
        block.iter_mut().zip(others).for_each(|(value, other)| *value = f(*value, *other));
    }
    rest.iter_mut().zip(other_rest).for_each(|(value, other)| *value = f(*value, *other));
}

/// Whether something holds for every value. It is asked of values that stand where there are none
/// as well, and should have no branch.
#[inline]
pub fn all<T>(values: &[T], f: impl Fn(&T) -> bool) -> bool {
    let (blocks, rest) = values.as_chunks::<ROWS>();
    blocks.iter().all(|block| every(block, &f)) && rest.iter().all(f)
}

#[inline]
fn every<T>(block: &[T; ROWS], f: impl Fn(&T) -> bool) -> bool {
    block.iter().fold(true, |all, value| all & f(value))
}

/// Calls `look` with the bytes that are not 0, and their places: with the rows that hold no value.
#[inline]
pub fn each_set(bytes: &[u8], mut look: impl FnMut(usize, u8)) {
    let (blocks, rest) = bytes.as_chunks::<ROWS>();
    let mut look_at = |first: usize, bytes: &[u8]| {
        for (i, byte) in bytes.iter().enumerate().filter(|(_, byte)| **byte != 0) {
            look(first + i, *byte);
        }
    };
    for (i, block) in blocks.iter().enumerate().filter(|(_, block)| **block != [0; ROWS]) {
        look_at(i * ROWS, block);
    }
    look_at(blocks.len() * ROWS, rest);
}

/// The presence of a written column that leaves its path as it is where what it was made from has
/// no value.
pub fn leave_absent(presence: &[u8]) -> Vec<u8> {
    let mut actions = presence.to_vec();
    each_set(presence, |row, _| actions[row] = LEAVE);
    actions
}

/// Calls `look` with each row whose value is not `fine`, with each that has none, and with some
/// others beside them.
#[inline]
pub fn suspects(numbers: Cells<'_, f64>, fine: impl Fn(f64) -> bool, mut look: impl FnMut(usize)) {
    let (blocks, rest) = numbers.values.as_chunks::<ROWS>();
    let (present, _) = numbers.presence.as_chunks::<ROWS>();
    for (i, block) in blocks.iter().enumerate() {
        let all_there = present.get(i).is_none_or(|bytes| *bytes == [0; ROWS]);
        if !(every(block, |number| fine(*number)) && all_there) {
            (i * ROWS..(i + 1) * ROWS).for_each(&mut look);
        }
    }
    let first = blocks.len() * ROWS;
    (first..first + rest.len()).for_each(look);
}

/// Calls `look` with each row whose text is not of some length in bytes, or holds others than some
/// ASCII characters, with each that has none, and with some others beside them.
#[inline]
pub fn odd_texts(
    texts: Text<'_>,
    presence: &[u8],
    length: usize,
    characters: &AsciiSet,
    mut look: impl FnMut(usize),
) {
    let rows = texts.offsets.len().saturating_sub(1);
    let (present, _) = presence.as_chunks::<ROWS>();
    for block in 0..rows / ROWS {
        let first = block * ROWS;
        let all_there = present.get(block).is_none_or(|bytes| *bytes == [0; ROWS]);
        let offsets = &texts.offsets[first..=first + ROWS];
        let ends = offsets[1..].iter().zip(offsets);
        let as_long = |all, (end, start): (&u32, &u32)| all & ((end - start) as usize == length);
        let all_as_long = ends.fold(true, as_long);
        let bytes = &texts.bytes.as_bytes()[offsets[0] as usize..offsets[ROWS] as usize];
        if !(all_there && all_as_long && characters.holds_all(bytes)) {
            (first..first + ROWS).for_each(&mut look);
        }
    }
    (rows / ROWS * ROWS..rows).for_each(look);
}

/// Some ASCII characters, as ranges. Asked of eight bytes at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AsciiSet {
    ranges: Vec<AsciiRange>,
}

/// Numbers that show in the high bit of each byte of a word whether it lies in a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct AsciiRange {
    /// Carries into the high bit from the range's first character on.
    from_first: u64,
    /// Carries into the high bit from the one behind its last.
    behind_last: u64,
}

const HIGH_BITS: u64 = 0x8080_8080_8080_8080;

impl AsciiSet {
    /// The set of the characters in some ranges; none where one is not ASCII.
    pub fn new(ranges: impl IntoIterator<Item = RangeInclusive<u8>>) -> Option<Self> {
        let ranges = ranges.into_iter().map(|range| {
            let (first, last) = range.into_inner();
            let each = |byte: u8| u64::from_ne_bytes([byte; 8]);
            (first <= last && last < 0x80).then(|| AsciiRange {
                from_first: each(0x80 - first),
                behind_last: each(0x7f - last),
            })
        });
        Some(AsciiSet { ranges: ranges.collect::<Option<_>>()? })
    }

    /// How many ranges there are: what it costs to ask.
    pub fn ranges(&self) -> usize {
        self.ranges.len()
    }

    /// Whether all bytes are of the set.
    #[inline]
    pub fn holds_all(&self, bytes: &[u8]) -> bool {
        let (words, rest) = bytes.as_chunks::<8>();
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        let of_rest = HIGH_BITS & ((1 << (8 * rest.len())) - 1);
        words.iter().all(|word| self.held(*word) == HIGH_BITS)
            && self.held(last) & of_rest == of_rest
    }

    /// The high bit of each byte that is of the set. A byte that is not ASCII spoils the word: it
    /// is of no set.
    #[inline]
    fn held(&self, word: [u8; 8]) -> u64 {
        let word = u64::from_le_bytes(word);
        if word & HIGH_BITS != 0 {
            return 0;
        }
        self.ranges.iter().fold(0, |held, AsciiRange { from_first, behind_last }| {
            held | (word + from_first) & !(word + behind_last) & HIGH_BITS
        })
    }
}

/// A range of numbers with both of its ends inside.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    low: f64,
    high: f64,
}

impl Interval {
    /// The numbers for which every limit that is given holds.
    pub fn new(
        above: Option<f64>,
        at_least: Option<f64>,
        below: Option<f64>,
        at_most: Option<f64>,
    ) -> Self {
        // The least number above a limit is the next one.
        let lows = [at_least, above.map(f64::next_up)];
        let highs = [at_most, below.map(f64::next_down)];
        Interval {
            low: lows.into_iter().flatten().fold(f64::NEG_INFINITY, f64::max),
            high: highs.into_iter().flatten().fold(f64::INFINITY, f64::min),
        }
    }

    /// Whether a number lies within. Without a branch.
    #[inline]
    pub fn contains(&self, number: f64) -> bool {
        (self.low <= number) & (number <= self.high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_made_of_each_in_order() {
        for rows in 0..30_i64 {
            let values: Vec<i64> = (0..rows).collect();
            let mut calls = 0;
            let made = map(&values, |value| {
                calls += 1;
                (calls, value * 2)
            });
            let expected: Vec<_> = (0..rows).map(|value| (value + 1, value * 2)).collect();
            assert_eq!(made, expected);

            let mut changed = values.clone();
            update(&mut changed, |value| value * 3);
            combine(&mut changed, &values, |tripled, value| tripled * 10 + value);
            assert_eq!(changed, map(&values, |value| value * 31));
        }
    }

    #[test]
    fn one_that_does_not_hold_is_found_wherever_it_stands() {
        for rows in 0..30 {
            assert!(all(&vec![1; rows], |value| *value == 1));
            for odd in 0..rows {
                let mut values = vec![1; rows];
                values[odd] = 2;
                assert!(!all(&values, |value| *value == 1), "{odd} of {rows}");
            }
        }
    }

    #[test]
    fn a_path_is_left_where_there_is_no_value() {
        for rows in 0..30 {
            let presence: Vec<u8> =
                (0..rows).map(|row| if row % 7 == 3 { row % 6 } else { 0 }).collect();
            let expected: Vec<u8> = presence.iter().map(|byte| u8::from(*byte != 0)).collect();
            assert_eq!(leave_absent(&presence), expected);
        }
    }

    #[test]
    fn no_suspect_is_overlooked() {
        for rows in 0..40 {
            for odd in 0..rows {
                let values: Vec<f64> = (0..rows).map(|row| f64::from(row == odd)).collect();
                let presence: Vec<u8> = (0..rows).map(|row| u8::from(row == odd / 2)).collect();
                for presence in [&presence[..], &[]] {
                    let cells = Cells { values: &values, presence };
                    let mut seen = Vec::new();
                    suspects(cells, |number| number == 0.0, |row| seen.push(row as i32));
                    assert!(seen.contains(&odd), "{odd} of {rows}: {seen:?}");
                    assert!(presence.is_empty() || seen.contains(&(odd / 2)), "{odd} of {rows}");
                    assert!(seen.is_sorted() && seen.len() <= 3 * ROWS, "{odd} of {rows}");
                }
            }
        }
    }

    #[test]
    fn no_odd_text_is_overlooked() {
        let digits = AsciiSet::new([b'0'..=b'9']).expect("digits are ASCII");
        for odd_text in ["12a4", "123", "12345", "", "12é", "/234", "123:"] {
            for rows in 0..40 {
                for odd in 0..rows {
                    let mut offsets = vec![0];
                    let mut bytes = String::new();
                    for row in 0..rows {
                        bytes.push_str(if row == odd { odd_text } else { "0189" });
                        offsets.push(bytes.len() as u32);
                    }
                    let presence: Vec<u8> = (0..rows).map(|row| u8::from(row == odd / 2)).collect();
                    let texts = Text { offsets: &offsets, bytes: &bytes };
                    let mut seen = Vec::new();
                    odd_texts(texts, &presence, 4, &digits, |row| seen.push(row));
                    let wanted = |row| seen.contains(&row);
                    assert!(
                        wanted(odd) && wanted(odd / 2),
                        "{odd_text} at {odd} of {rows}: {seen:?}"
                    );
                    assert!(seen.is_sorted() && seen.len() <= 3 * ROWS, "{odd} of {rows}");
                }
            }
        }
    }

    #[test]
    fn a_set_holds_its_characters_and_no_others() {
        let ranges = || [b'0'..=b'9', b'_'..=b'_', b'a'..=b'f', 0..=0, 0x7f..=0x7f];
        let set = AsciiSet::new(ranges()).expect("all are ASCII");
        for byte in 0..=u8::MAX {
            let is_in = ranges().iter().any(|range| range.contains(&byte));
            for length in 1..20 {
                for at in 0..length {
                    let mut text = vec![b'a'; length];
                    text[at] = byte;
                    assert_eq!(set.holds_all(&text), is_in, "{byte} at {at} of {length}");
                }
            }
        }
        assert!(set.holds_all(b""));
        assert_eq!(AsciiSet::new([b'a'..=0x80]), None);
    }

    #[test]
    fn an_interval_has_the_ends_that_its_limits_say() {
        let below_ten = Interval::new(None, Some(1.0), Some(10.0), None);
        let holds = |it: Interval, numbers: [f64; 4]| numbers.map(|number| it.contains(number));
        assert_eq!(holds(below_ten, [0.999, 1.0, 9.999, 10.0]), [false, true, true, false]);
        let up_to_ten = Interval::new(Some(1.0), None, None, Some(10.0));
        assert_eq!(holds(up_to_ten, [1.0, 1.001, 10.0, 10.001]), [false, true, true, false]);
        let all = Interval::new(None, None, None, None);
        assert_eq!(holds(all, [f64::MIN, 0.0, f64::INFINITY, f64::NAN]), [true, true, true, false]);
        let tightest = Interval::new(Some(3.0), Some(5.0), Some(9.0), Some(7.0));
        assert_eq!(holds(tightest, [4.0, 5.0, 7.0, 8.0]), [false, true, true, false]);
    }
}
