//! International bank account numbers, by ISO 13616: a country, two check digits and up to 30
//! letters and digits. With the first four characters put last, and letters counted as 10 to 35, the
//! number leaves 1 when it is divided by 97 (ISO/IEC 7064, MOD 97-10).

use std::ops::Range;

/// The shortest one in use has 15 characters, Norway's.
const CHARACTERS: Range<usize> = 15..35;

/// Calls `found` with each IBAN.
pub(super) fn find(text: &str, mut found: impl FnMut(Range<usize>)) {
    let bytes = text.as_bytes();
    let mut before = b' ';
    for (start, byte) in bytes.iter().enumerate() {
        let begins = byte.is_ascii_alphabetic() && !before.is_ascii_alphanumeric();
        before = *byte;
        if let Some(end) = begins.then(|| end_of(&bytes[start..])).flatten() {
            found(start..start + end);
        }
    }
}

/// Where the IBAN ends that the text begins with. It ends with a group, and the longest one that
/// is right counts.
fn end_of(bytes: &[u8]) -> Option<usize> {
    let [a, b, c, d, ..] = bytes else { return None };
    let head = [*a, *b, *c, *d];
    let is_head = b.is_ascii_alphabetic() && c.is_ascii_digit() && d.is_ascii_digit();
    if !is_head {
        return None;
    }
    let mut characters = 4;
    let mut body = 0;
    let mut right = None;
    let mut at = 4;
    while characters < CHARACTERS.end {
        match bytes.get(at) {
            Some(byte) if byte.is_ascii_alphanumeric() => {
                body = add(body, *byte);
                characters += 1;
                at += 1;
            }
            // One space or hyphen between two groups.
            Some(b' ' | b'-') if bytes.get(at + 1).is_some_and(u8::is_ascii_alphanumeric) => {
                at += 1
            }
            _ => break,
        }
        let group_ends = !bytes.get(at).is_some_and(u8::is_ascii_alphanumeric);
        let is_right = || head.iter().fold(body, |rest, byte| add(rest, *byte)) == 1;
        if group_ends && CHARACTERS.contains(&characters) && is_right() {
            right = Some(at);
        }
    }
    right
}

/// The remainder by 97 with a character behind: a digit, or a letter as two digits.
fn add(remainder: u32, byte: u8) -> u32 {
    match byte {
        b'0'..=b'9' => (remainder * 10 + u32::from(byte - b'0')) % 97,
        _ => (remainder * 100 + u32::from(byte.to_ascii_uppercase() - b'A') + 10) % 97,
    }
}
