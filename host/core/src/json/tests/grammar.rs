//! Which texts are accepted.

use std::panic::AssertUnwindSafe;

use super::*;
use crate::json::tokens::{self, Tokens};

/// What serde_json, which has no limit of depth when it skips a value, says of a text.
fn oracle(text: &[u8]) -> bool {
    let depth = || {
        let (mut depth, mut deepest, mut inside, mut escaped) = (0usize, 0, false, false);
        for byte in text {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if inside => escaped = true,
                b'"' => inside = !inside,
                b'{' | b'[' if !inside => depth += 1,
                b'}' | b']' if !inside => depth -= 1,
                _ => {}
            }
            deepest = deepest.max(depth);
        }
        deepest
    };
    std::str::from_utf8(text).is_ok()
        && serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok()
        && depth() <= DEPTH_MAX
}

fn check(text: &[u8]) {
    let want = oracle(text);
    let shown = String::from_utf8_lossy(text);
    let got = Validator::default().validate(text);
    assert_eq!(got.is_ok(), want, "fast path: {got:?} for {shown:?}");
    assert_eq!(fault::find(text).is_none(), want, "plain parser for {shown:?}");
    if let Err(error) = got {
        assert!(error.offset <= text.len());
    }
}

/// One byte of a text changed, removed, doubled or inserted.
fn mutate(text: &str, at: prop::sample::Index, how: u8, byte: u8) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    if bytes.is_empty() {
        return vec![byte];
    }
    let at = at.index(bytes.len());
    match how % 5 {
        0 => bytes[at] = byte,
        1 => drop(bytes.remove(at)),
        2 => bytes.insert(at, byte),
        3 => bytes.truncate(at),
        _ => bytes.insert(at, bytes[at]),
    }
    bytes
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn valid_texts_are_accepted(text in json()) {
        check(text.as_bytes());
        prop_assert!(Validator::default().validate(text.as_bytes()).is_ok());
    }

    #[test]
    fn mutated_texts_fare_as_with_the_oracle(
        text in json(),
        at in any::<prop::sample::Index>(),
        how in any::<u8>(),
        byte in prop_oneof![
            prop::sample::select(&b"{}[]:,\"\\ \n\t01-+.eEtfnu/\x00\x1f\x7f\xc3\xff"[..]),
            any::<u8>(),
        ],
    ) {
        check(&mutate(&text, at, how, byte));
    }

    #[test]
    fn random_bytes_fare_as_with_the_oracle(
        text in proptest::collection::vec(
            prop::sample::select(&b"{}[]:,\"\"\\ \n01-+.eEtfnu/a\x01\xc3\xa9"[..]), 0..150),
    ) {
        check(&text);
    }

    /// The vector paths give the same tokens as the portable one, wherever the text begins in a
    /// block and in memory.
    #[test]
    fn all_paths_find_the_same_tokens(
        text in json(),
        at in any::<prop::sample::Index>(),
        how in any::<u8>(),
        byte in any::<u8>(),
        offset in 0usize..64,
    ) {
        for text in [text.clone().into_bytes(), mutate(&text, at, how, byte)] {
            let shifted = [vec![b' '; offset], text].concat();
            let ways = tokens::available();
            let mut portable = Tokens::default();
            let accepted = (ways[0].1)(&shifted[offset..], &mut portable);
            let want = &portable.starts[..portable.count + tokens::LOOK_AHEAD];
            for (name, index) in &ways[1..] {
                let mut tokens = Tokens::default();
                prop_assert_eq!(index(&shifted[offset..], &mut tokens), accepted, "{}", name);
                if accepted {
                    prop_assert_eq!(tokens.count, portable.count, "{}", name);
                    prop_assert_eq!(&tokens.starts[..want.len()], want, "{}", name);
                    prop_assert_eq!(tokens.escapes, portable.escapes, "{}", name);
                    prop_assert_eq!(&tokens.padded, &portable.padded, "{}", name);
                }
            }
        }
    }
}

/// Each byte value at each place around the border of two blocks, in a string and outside.
#[test]
fn every_byte_around_a_block_border() {
    for byte in 0..=u8::MAX {
        for place in 56..72usize {
            for quote in ["\"", ""] {
                let mut text = format!("[{}{quote}{}", " ".repeat(20), "x".repeat(place - 21));
                if quote.is_empty() {
                    text = format!("[1,{}", " ".repeat(place));
                }
                let mut bytes = text.into_bytes();
                bytes.push(byte);
                bytes.extend_from_slice(quote.as_bytes());
                bytes.extend_from_slice(b" , 5 ]");
                check(&bytes);
            }
        }
    }
}

/// Runs of backslashes of every length across block borders.
#[test]
fn runs_of_backslashes() {
    for before in 50..66 {
        for run in 0..140 {
            for tail in ["\"", "n\"", "u0061\"", "u00\"", "x\""] {
                let text = format!("\"{}{}{tail}", "x".repeat(before), "\\".repeat(run));
                check(text.as_bytes());
            }
        }
    }
}

#[test]
fn depth_is_limited() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        for depth in [1, 127, 128, 129, 130, 5000] {
            for inner in ["1", "[]", "{}", ""] {
                let text = format!("{}{inner}{}", open.repeat(depth), close.repeat(depth));
                check(text.as_bytes());
            }
        }
    }
    let deep = "[".repeat(129) + &"]".repeat(129);
    let error = Validator::default().validate(deep.as_bytes()).expect_err("too deep");
    assert_eq!(error, JsonError { code: JsonErrorCode::TooDeep, offset: 128 });
}

#[test]
fn faults_have_names_and_places() {
    use JsonErrorCode::*;
    for (text, code, offset) in [
        (&b""[..], UnexpectedEnd, 0),
        (b"  ", UnexpectedEnd, 2),
        (b"\xef\xbb\xbf{}", ByteOrderMark, 0),
        (b"{\"a\":\"\xff\"}", InvalidUtf8, 6),
        (b"{\"a\":1,}", UnexpectedByte, 7),
        (b"{\"a\":1", UnexpectedEnd, 6),
        (b"{\"a\" 1}", UnexpectedByte, 5),
        (b"[01]", InvalidNumber, 1),
        (b"[1.]", InvalidNumber, 1),
        (b"[1e]", InvalidNumber, 1),
        (b"[+1]", UnexpectedByte, 1),
        (b"[tru]", InvalidLiteral, 1),
        (b"[\"\\x\"]", InvalidEscape, 2),
        (b"[\"\\u12g4\"]", InvalidEscape, 2),
        (b"[\"a\nb\"]", ControlCharacter, 3),
        (b"{} {}", TrailingBytes, 3),
        (b"[1 2]", UnexpectedByte, 3),
        (b"{1:2}", UnexpectedByte, 1),
        (b"\"abc", UnexpectedEnd, 4),
    ] {
        let shown = String::from_utf8_lossy(text);
        let error = Validator::default().validate(text).expect_err("refused");
        assert_eq!(error, JsonError { code, offset }, "{shown:?}");
        let page = include_str!("../../../../../docs/json.md");
        assert!(page.contains(&format!("| `{}` |", code.code())), "{code:?} is not on the page");
    }
    let error = JsonError { code: InvalidNumber, offset: 7 };
    assert_eq!(error.to_string(), "invalid number at byte 7");
}

/// Whatever is refused leaves no row behind, and what comes next is read as ever.
#[test]
fn a_refused_record_appends_nothing() {
    let reads = [(path("a"), Kind::Int64), (path("b"), Kind::Utf8)];
    let projector = Projector::new(&reads, &[path("b")], Layout::Flat).expect("valid");
    let mut projection = projector.projection();
    let records = [r#"{"a":1,"b":"x"}"#, r#"{"a":2,"a":3,"b":"y"} x"#, r#"{"b":"z""#, r#"{"a":4}"#];
    let read: Vec<bool> = records
        .iter()
        .map(|record| projector.project(record.as_bytes(), &mut projection).is_ok())
        .collect();
    assert_eq!(read, [true, false, false, true]);
    assert_eq!(projection.rows(), 2);
    let alone = project(records[0], &reads).expect("valid");
    assert_eq!(alone[0].values.len(), 1);
    assert!(projection.columns.iter().all(|column| column.values.len() == 2));
    assert_eq!(projection.columns[1].presence, [0, 1]);
    assert!(projection.located(1).duplicates.is_empty());
    let beyond = AssertUnwindSafe(|| projection.located(2).spans.len());
    assert!(std::panic::catch_unwind(beyond).is_err());
}
