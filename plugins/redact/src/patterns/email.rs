//! E-mail addresses: a local part, `@`, and a domain of two labels or more. What RFC 5321 allows
//! between quotes is found as well, and letters beyond ASCII by RFC 6531.

use std::ops::Range;

/// A longer local part is none: RFC 5321 allows 64 octets, and no more than this is looked at.
const LOCAL_CHARACTERS_MAX: usize = 256;

/// Calls `found` with each address.
pub(super) fn find(text: &str, mut found: impl FnMut(Range<usize>)) {
    for (at, sign) in text.match_indices(['@', '%']) {
        // `%40` is the sign in a URL.
        let behind = match sign {
            "@" => at + 1,
            _ if text[at..].starts_with("%40") => at + 3,
            _ => continue,
        };
        let length = domain_len(&text[behind..]);
        if length > 0 {
            let start = local_start(&text[..at]);
            if start < at {
                found(start..behind + length);
            }
        }
    }
}

/// Where the local part begins that ends with the text.
fn local_start(before: &str) -> usize {
    if let Some(inside) = before.strip_suffix('"')
        && let Some(quote) = inside.rfind('"')
    {
        return quote;
    }
    let is_part = |c: &char| c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(*c);
    let local = before.chars().rev().take(LOCAL_CHARACTERS_MAX).take_while(is_part);
    let mut start = before.len() - local.map(char::len_utf8).sum::<usize>();
    // In a query of a URL it begins behind the parameter's name.
    if let Some(parameter) = before[start..].rfind(['?', '&']) {
        start += parameter + 1;
        start += before[start..].find('=').map_or(0, |equals| equals + 1);
    }
    // Dots before it are the end of a sentence.
    before.len() - before[start..].trim_start_matches('.').len()
}

/// How long the domain is that the text begins with; 0 where there is none.
fn domain_len(behind: &str) -> usize {
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '-' | '.');
    let end = behind.find(|c| !is_part(c)).unwrap_or(behind.len());
    let domain = behind[..end].trim_end_matches(['.', '-']);
    let is_domain = domain.rsplit_once('.').is_some_and(|(labels, last)| {
        !labels.is_empty() && !labels.starts_with('.') && last.chars().count() >= 2
    });
    if is_domain { domain.len() } else { 0 }
}
