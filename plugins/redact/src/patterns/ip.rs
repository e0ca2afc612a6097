//! IP addresses: four numbers below 256 with dots between them, and the forms of RFC 4291.

use std::{net::Ipv6Addr, ops::Range};

/// Calls `found` with each address.
pub(super) fn find(text: &str, mut found: impl FnMut(Range<usize>)) {
    runs(
        text,
        |byte| byte.is_ascii_digit() || byte == b'.',
        |at| {
            let run = &text[at.clone()];
            // A sentence may end behind it.
            let address = run.trim_end_matches('.');
            if is_version_4(address) {
                found(at.start..at.start + address.len());
            }
        },
    );
    let is_part = |byte: u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
    runs(text, is_part, |at| {
        let is_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        let goes_on = [text[..at.start].chars().next_back(), text[at.end..].chars().next()];
        if let Some(inside) = version_6(&text[at.clone()], goes_on.map(is_word)) {
            found(at.start + inside.start..at.start + inside.end);
        }
    });
}

/// Calls `found` with each run of such bytes that is longest.
fn runs(text: &str, is_part: impl Fn(u8) -> bool, mut found: impl FnMut(Range<usize>)) {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let length = bytes[at..].iter().take_while(|byte| is_part(**byte)).count();
        if length > 0 {
            found(at..at + length);
        }
        at += length + 1;
    }
}

fn is_version_4(text: &str) -> bool {
    let mut numbers = 0;
    let is_number = |number: &str| {
        numbers += 1;
        (1..=3).contains(&number.len()) && number.parse::<u8>().is_ok()
    };
    text.split('.').all(is_number) && numbers == 4
}

/// The address in a run of hex digits, colons and dots. The run may begin with the end of a word
/// (`addr:fe80::1`), and end with that of a sentence or with a port. `in_word` says whether letters
/// stand right before and behind it.
fn version_6(run: &str, in_word: [bool; 2]) -> Option<Range<usize>> {
    if run.bytes().filter(|byte| *byte == b':').count() < 2 {
        return None;
    }
    let behind_colon = run.find(':').map_or(0, |at| at + 1);
    let end = run.trim_end_matches(['.', ':']).len();
    let before_colon = run[..end].rfind(':').unwrap_or(end);
    let starts = [(!in_word[0]).then_some(0), Some(behind_colon)];
    let ends = [(!in_word[1]).then_some(run.len()), Some(end), Some(before_colon)];
    let starts = starts.into_iter().flatten();
    let mut candidates =
        starts.flat_map(|start| ends.into_iter().flatten().map(move |end| start..end));
    candidates.find(|at| {
        let address = run.get(at.clone()).unwrap_or_default();
        // `::` alone is a path in some languages, and the address of nobody.
        address.bytes().any(|byte| byte.is_ascii_hexdigit()) && address.parse::<Ipv6Addr>().is_ok()
    })
}
