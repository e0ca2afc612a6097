//! Telephone numbers: international ones (ITU-T E.164: `+` or `00`, 15 digits at most), national
//! ones with the trunk prefix `0`, and those of North America.
//!
//! The weakest of the patterns: nothing in a telephone number can be checked. So here, other than
//! elsewhere, it must stand apart from words and other numbers.

use std::ops::Range;

const DIGITS: Range<usize> = 7..16;

/// So many characters at most lie between two groups of digits: `) (`.
const SEPARATORS_MAX: usize = 3;

/// The digits of a number group by group.
#[derive(Default)]
struct Groups {
    /// Where each group ends, and how many digits there are up to there.
    ends: Vec<(usize, usize)>,
}

/// Calls `found` with each number.
pub(super) fn find(text: &str, mut found: impl FnMut(Range<usize>)) {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let begins = matches!(bytes[at], b'+' | b'(' | b'0'..=b'9') && stands_apart(&bytes[..at]);
        match begins.then(|| end_of(&text[at..])).flatten() {
            Some(length) => {
                found(at..at + length);
                at += length;
            }
            None => at += 1,
        }
    }
}

/// Whether what comes behind does not go on with a word or a number.
fn stands_apart(before: &[u8]) -> bool {
    match before {
        [.., digit, b'.' | b'-' | b'/' | b'+'] => !digit.is_ascii_digit(),
        [.., byte] => !byte.is_ascii_alphanumeric() && *byte != b'_',
        [] => true,
    }
}

/// Where the number ends that the text begins with.
fn end_of(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let head = bytes.get(..3).unwrap_or(bytes);
    match head {
        [b'+', b'0'..=b'9' | b'(', ..] => groups(text, 1).end(DIGITS),
        [b'0', b'.', ..] => None,
        [b'0', b'0', ..]
        | [b'0', b'1'..=b'9' | b' ' | b'-' | b'/' | b'(', ..]
        | [b'(', b'0', ..] => {
            let groups = groups(text, 0);
            if groups.are_a_date() { None } else { groups.end(DIGITS) }
        }
        [b'(' | b'1'..=b'9', ..] => north_american(text),
        _ => None,
    }
}

/// The groups of digits from `start` on.
fn groups(text: &str, start: usize) -> Groups {
    let mut groups = Groups::default();
    let mut digits = 0;
    let mut separators = 0;
    let mut in_group = false;
    for (at, c) in text.char_indices().filter(|(at, _)| *at >= start) {
        match c {
            '0'..='9' => {
                digits += 1;
                separators = 0;
                if in_group {
                    groups.ends.pop();
                }
                groups.ends.push((at + 1, digits));
                in_group = true;
            }
            ' ' | '-' | '.' | '(' | ')' | '/' | '\u{a0}' | '\u{2011}' | '\u{202f}' => {
                separators += 1;
                in_group = false;
            }
            // A letter right behind a digit makes it something else.
            c if in_group && (c.is_ascii_alphabetic() || c == '_') => {
                groups.ends.pop();
                break;
            }
            _ => break,
        }
        if separators > SEPARATORS_MAX || digits > 2 * DIGITS.end {
            break;
        }
    }
    groups
}

impl Groups {
    /// The end of the last group up to which there are so many digits.
    fn end(&self, digits: Range<usize>) -> Option<usize> {
        let fits = |(_, count): &&(usize, usize)| digits.contains(count);
        self.ends.iter().rev().find(fits).map(|(end, _)| *end)
    }

    /// Whether it begins as `01.02.2026` and `01/02/26` do.
    fn are_a_date(&self) -> bool {
        matches!(&self.ends[..], [(2, 2), (5, 4), (10, 8), ..] | [(2, 2), (5, 4), (8, 6), ..])
    }
}

/// The end of `(212) 555-0100`, `212-555-0100`, `212.555.0100` or `1 212 555 0100`: groups of three,
/// three and four, the first two of which begin with 2 or more.
fn north_american(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 0;
    if bytes[0] == b'1' {
        at = gap(bytes, 1).filter(|at| *at > 1)?;
    }
    let (area, bracketed) = match bytes.get(at)? {
        b'(' => (at + 1, true),
        _ => (at, false),
    };
    let is_group = |at: usize, digits: usize| {
        let group = bytes.get(at..at + digits)?;
        let ends = !bytes.get(at + digits).is_some_and(u8::is_ascii_alphanumeric);
        let first = digits == 4 || group[0] >= b'2';
        (first && ends && group.iter().all(u8::is_ascii_digit)).then_some(at + digits)
    };
    let mut at = is_group(area, 3)?;
    if bracketed {
        at = (*bytes.get(at)? == b')').then_some(at + 1)?;
    }
    let exchange = gap(bytes, at).filter(|next| bracketed || *next > at)?;
    let at = is_group(exchange, 3)?;
    let line = gap(bytes, at).filter(|next| *next > at)?;
    is_group(line, 4)
}

/// Behind at most one separator.
fn gap(bytes: &[u8], at: usize) -> Option<usize> {
    Some(at + usize::from(matches!(bytes.get(at)?, b' ' | b'-' | b'.' | b'/')))
}
