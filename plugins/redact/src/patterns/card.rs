//! Card numbers, by ISO/IEC 7812: up to 19 digits, the last of which is a check digit by the formula
//! of H. P. Luhn (US patent 2,950,048).

use std::ops::Range;

/// Shorter ones are not issued any more, and would be found in every other number.
const DIGITS: Range<usize> = 13..20;

/// So many characters at most lie between two groups of digits.
const SEPARATORS_MAX: usize = 3;

/// A run of digits.
struct Group {
    at: Range<usize>,
    /// The place of its first digit among those of the chain.
    first: usize,
}

/// Calls `found` with each card number; they may overlap.
pub(super) fn find(text: &str, mut found: impl FnMut(Range<usize>)) {
    let mut digits: Vec<u8> = Vec::new();
    let mut chain: Vec<Group> = Vec::new();
    let mut rest = 0;
    while let Some(start) = text[rest..].find(|c: char| c.is_ascii_digit()).map(|at| rest + at) {
        let run = text[start..].bytes().take_while(u8::is_ascii_digit).count();
        let apart = chain.last().is_none_or(|last| !is_gap(&text[last.at.end..start]));
        if apart {
            search(&chain, &digits, &mut found);
            chain.clear();
            digits.clear();
        }
        chain.push(Group { at: start..start + run, first: digits.len() });
        digits.extend(text[start..start + run].bytes().map(|byte| byte - b'0'));
        rest = start + run;
    }
    search(&chain, &digits, &mut found);
}

fn is_gap(between: &str) -> bool {
    between.chars().count() <= SEPARATORS_MAX
        && between.chars().all(|c| matches!(c, ' ' | '-' | '\u{a0}' | '\u{2011}' | '\u{202f}'))
}

/// Tries whole groups only: a part of a longer run of digits is no card number.
fn search(chain: &[Group], digits: &[u8], found: &mut impl FnMut(Range<usize>)) {
    for (i, first) in chain.iter().enumerate() {
        for last in &chain[i..] {
            let end = last.first + last.at.len();
            if end - first.first >= DIGITS.end {
                break;
            }
            let digits = &digits[first.first..end];
            if digits.len() >= DIGITS.start && is_right(digits) {
                found(first.at.start..last.at.end);
            }
        }
    }
}

/// Whether the last digit is right: every second one from there is doubled, the digits of what
/// comes out are added up, and the sum is a multiple of ten.
fn is_right(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(i, digit)| match (i % 2, *digit) {
            (0, digit) => u32::from(digit),
            (_, digit @ 0..=4) => 2 * u32::from(digit),
            (_, digit) => 2 * u32::from(digit) - 9,
        })
        .sum();
    sum.is_multiple_of(10)
}
