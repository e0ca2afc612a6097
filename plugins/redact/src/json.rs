//! Redaction of raw JSON, token by token.
//!
//! The host has checked the text, so tokens are told apart by their first byte and nothing is
//! parsed twice. What is no text and no number is kept, or redacted as a whole: there is no token
//! that is passed on because it was not understood.

use std::borrow::Cow;

use crate::{
    action::{Action, Value},
    patterns::{Finder, Found},
};

/// A piece of JSON text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    /// A string: what stands between the quotes.
    Text(&'a str),
    /// A number.
    Number(&'a str),
    /// `true`, `false` or `null`.
    Word(&'a str),
    /// One of `{}[],:`, or white space.
    Mark(&'a str),
}

/// The tokens of a JSON text.
struct Tokens<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        let bytes = self.text.as_bytes();
        let start = self.at;
        let end_of = |is_part: fn(u8) -> bool| {
            let rest = bytes[start..].iter();
            start + 1 + rest.skip(1).take_while(|byte| is_part(**byte)).count()
        };
        match *bytes.get(start)? {
            b'"' => {
                let mut end = start + 1;
                while let Some(byte) = bytes.get(end).filter(|byte| **byte != b'"') {
                    end += if *byte == b'\\' { 2 } else { 1 };
                }
                let end = end.min(bytes.len());
                self.at = (end + 1).min(bytes.len());
                Some(Token::Text(self.text.get(start + 1..end).unwrap_or_default()))
            }
            b'-' | b'0'..=b'9' => {
                let is_part =
                    |byte: u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
                self.at = end_of(is_part);
                Some(Token::Number(&self.text[start..self.at]))
            }
            b'a'..=b'z' => {
                self.at = end_of(|byte| byte.is_ascii_lowercase());
                Some(Token::Word(&self.text[start..self.at]))
            }
            _ => {
                let end = self.text[start..].chars().next().map_or(1, char::len_utf8);
                self.at = start + end;
                Some(Token::Mark(&self.text[start..self.at]))
            }
        }
    }
}

/// Appends the JSON of what an action makes of a value: of each element of an array, and of
/// anything else as a whole. Nulls stay.
pub(crate) fn redact_whole(json: &str, action: &Action, scratch: &mut String, out: &mut String) {
    let mut tokens = Tokens { text: json, at: 0 };
    loop {
        let start = tokens.at;
        let Some(token) = tokens.next() else { return };
        let decoded;
        let value = match token {
            Token::Text(raw) => {
                decoded = unescape(raw);
                Value::Text(&decoded)
            }
            Token::Number(text) => Value::Number(text),
            Token::Word("null") => {
                out.push_str("null");
                continue;
            }
            Token::Word(text) => Value::Other(text),
            Token::Mark("{") => {
                skip_object(&mut tokens);
                Value::Other(&json[start..tokens.at])
            }
            Token::Mark(mark) => {
                out.push_str(mark);
                continue;
            }
        };
        scratch.clear();
        match action.redact(value, scratch) {
            true => out.push_str(scratch),
            false => push_string(scratch, out),
        }
    }
}

/// Passes over an object whose `{` was taken.
fn skip_object(tokens: &mut Tokens<'_>) {
    let mut depth = 1;
    while depth > 0 {
        match tokens.next() {
            Some(Token::Mark("{")) => depth += 1,
            Some(Token::Mark("}")) => depth -= 1,
            Some(_) => {}
            None => return,
        }
    }
}

/// Appends the JSON with what is found in its texts redacted: in the names of members too, and in
/// numbers. Says what was found.
pub(crate) fn redact_texts(
    json: &str,
    finder: &Finder,
    scratch: &mut String,
    out: &mut String,
) -> Found {
    let mut found = Found::default();
    for token in (Tokens { text: json, at: 0 }) {
        match token {
            Token::Text(raw) => {
                scratch.clear();
                let here = finder.redact(&unescape(raw), scratch);
                match here.is_empty() {
                    true => push_quoted(raw, out),
                    false => push_string(scratch, out),
                }
                found |= here;
            }
            Token::Number(text) => {
                scratch.clear();
                let digits = whole(text);
                let here = finder.redact_number(digits.as_deref().unwrap_or_default(), scratch);
                match here.is_empty() {
                    true => out.push_str(text),
                    false => push_string(scratch, out),
                }
                found |= here;
            }
            Token::Word(text) | Token::Mark(text) => out.push_str(text),
        }
    }
    found
}

/// The digits of a number that is whole, however it is written, and not absurdly long.
fn whole(number: &str) -> Option<Cow<'_, str>> {
    let number = number.strip_prefix('-').unwrap_or(number);
    if number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Cow::Borrowed(number));
    }
    let (mantissa, exponent) = match number.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (number, 0),
    };
    let (before, behind) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let point = i32::try_from(before.len()).ok()?.checked_add(exponent)?;
    let digits = format!("{before}{behind}");
    let significant = digits.trim_end_matches('0');
    let point = usize::try_from(point).ok().filter(|point| *point <= 64)?;
    (significant.len() <= point).then(|| Cow::Owned(format!("{significant:0<point$}")))
}

/// The text of a string's raw content. A lone surrogate, which no text can hold, becomes U+FFFD.
fn unescape(raw: &str) -> Cow<'_, str> {
    if !raw.contains('\\') {
        return Cow::Borrowed(raw);
    }
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((before, behind)) = rest.split_once('\\') {
        text.push_str(before);
        let mut chars = behind.chars();
        let escape = chars.next();
        rest = chars.as_str();
        text.push(match escape {
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('u') => unescape_unicode(&mut rest),
            Some(c) => c,
            None => break,
        });
    }
    text.push_str(rest);
    Cow::Owned(text)
}

/// The character of a `\u` escape whose digits come next, and of its second half if it has one.
fn unescape_unicode(rest: &mut &str) -> char {
    let hex = |text: &str| text.get(..4).and_then(|digits| u32::from_str_radix(digits, 16).ok());
    let Some(first) = hex(rest) else { return char::REPLACEMENT_CHARACTER };
    *rest = &rest[4..];
    let second = rest.strip_prefix("\\u").and_then(hex).unwrap_or_default();
    match (first, second) {
        (0xd800..=0xdbff, 0xdc00..=0xdfff) => {
            *rest = &rest[6..];
            let code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
            char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
        }
        _ => char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER),
    }
}

fn push_quoted(raw: &str, out: &mut String) {
    out.push('"');
    out.push_str(raw);
    out.push('"');
}

/// Appends a text as a JSON string.
fn push_string(text: &str, out: &mut String) {
    out.push('"');
    let mut rest = text;
    let is_special = |byte: u8| byte < b' ' || matches!(byte, b'"' | b'\\');
    // What needs no escape goes in one piece: mostly all of it.
    while let Some(at) = rest.bytes().position(is_special) {
        out.push_str(&rest[..at]);
        match rest.as_bytes()[at] {
            special @ (b'"' | b'\\') => out.extend(['\\', char::from(special)]),
            control => {
                let hex = |half: u8| char::from_digit(half.into(), 16).unwrap_or('0');
                out.push_str("\\u00");
                out.extend([hex(control >> 4), hex(control & 15)]);
            }
        }
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
    out.push('"');
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn escapes_mean_what_they_mean_to_a_library() {
        for json in [
            r#""""#,
            r#""plain größe""#,
            r#""\"\\\/\b\f\n\r\t""#,
            r#""\u00e9\u00E9\ud83d\ude00x""#,
            r#""a\u0000b""#,
        ] {
            let theirs: String = serde_json::from_str(json).unwrap();
            assert_eq!(unescape(&json[1..json.len() - 1]), theirs);
        }
    }

    #[test]
    fn lone_surrogates_become_replacement_characters() {
        for (raw, text) in [
            (r"a\ud800b", "a\u{fffd}b"),
            (r"\ud800\ud800", "\u{fffd}\u{fffd}"),
            (r"\udc00\ud83d\ude00", "\u{fffd}😀"),
            (r"\ud800\n", "\u{fffd}\n"),
        ] {
            assert_eq!(unescape(raw), text, "{raw}");
        }
    }

    #[test]
    fn a_number_is_whole_however_it_is_written() {
        for (number, digits) in [
            ("4111111111111111", Some("4111111111111111")),
            ("-4111111111111111", Some("4111111111111111")),
            ("4111111111111111.0", Some("4111111111111111")),
            ("4.111111111111111e15", Some("4111111111111111")),
            ("4.1111111111111110E+15", Some("4111111111111111")),
            ("41111111111111110e-1", Some("4111111111111111")),
            ("0.4111111111111111", None),
            ("1.5", None),
            ("1e400", None),
            ("1e99999999999", None),
        ] {
            assert_eq!(whole(number).as_deref(), digits, "{number}");
        }
    }

    /// Pieces put together as a seeded generator says.
    fn texts(pieces: &'static [&'static str]) -> impl Iterator<Item = String> {
        let mut seed = 1_u64;
        let mut below = move |limit: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) as usize % limit
        };
        (0..20_000).map(move |_| (0..below(9)).map(|_| pieces[below(pieces.len())]).collect())
    }

    #[test]
    fn a_string_comes_back() {
        for text in texts(&["a", "\"", "\\", "\u{0}", "\n", "\u{1f}", "\u{7f}", "é", "😀", "u00"])
        {
            let mut json = String::new();
            push_string(&text, &mut json);
            assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
            assert_eq!(unescape(&json[1..json.len() - 1]), text);
        }
    }

    /// Whatever it is, JSON or not: no byte of it gets lost between two tokens.
    #[test]
    fn tokens_are_all_of_the_text() {
        let mut valid = 0;
        for text in texts(&[
            "{", "}", "[", "]", ",", ":", " ", "\"", "\"a\"", "\\", "1", "-0.5e+3", "é", "null",
        ]) {
            let mut whole = String::new();
            for token in (Tokens { text: &text, at: 0 }) {
                match token {
                    Token::Text(raw) => push_quoted(raw, &mut whole),
                    Token::Number(text) | Token::Word(text) | Token::Mark(text) => {
                        whole.push_str(text)
                    }
                }
            }
            // A string that does not end is closed.
            assert!(whole == text || whole == format!("{text}\""), "{whole} {text}");
            if serde_json::from_str::<Value>(&text).is_ok() {
                assert_eq!(whole, text);
                valid += 1;
            }
        }
        assert!(valid > 100, "{valid} were JSON");
    }
}
