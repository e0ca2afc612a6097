//! Tests of the module as a whole: against strict and slow oracles, and against its documents.

mod convert;
mod grammar;
mod reference;
mod splice;
mod suite;

use proptest::prelude::*;

use super::*;
use crate::{Column, Kind, Path};

/// How many cases each property is tried with. `TIDEGATE_CASES` sets another number for long runs.
fn cases(ordinary: u32) -> ProptestConfig {
    let cases = std::env::var("TIDEGATE_CASES").ok().and_then(|text| text.parse().ok());
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(cases.unwrap_or(ordinary))
    }
}

/// Projects one record, or says why not.
fn project(record: &str, reads: &[(Path, Kind)]) -> Result<Vec<Column>, JsonError> {
    let projector = Projector::new(reads, &[], Layout::Flat).expect("valid reads");
    let mut projection = projector.projection();
    projector.project(record.as_bytes(), &mut projection).map(|()| projection.columns)
}

fn path(text: &str) -> Path {
    text.parse().expect("a path")
}

/// White space between tokens.
fn space() -> impl Strategy<Value = String> {
    prop_oneof![8 => Just(String::new()), 1 => Just(" ".to_owned()), 1 => "[ \t\r\n]{0,70}"]
}

/// A number's text, odd ones included.
fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => any::<i64>().prop_map(|value| value.to_string()),
        2 => (-1000i64..1000).prop_map(|value| value.to_string()),
        2 => any::<f64>().prop_filter("finite", |v| v.is_finite()).prop_map(|v| format!("{v:e}")),
        2 => "-?(0|[1-9][0-9]{0,22})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?",
        1 => "-?(0|[1-9][0-9]{0,3}0{0,20})(\\.0{0,4}[0-9])?([eE][+-]?[0-2]?[0-9])?",
        1 => Just("-0".to_owned()),
        1 => Just("1e400".to_owned()),
        1 => Just("9223372036854775808".to_owned()),
        1 => Just("-9223372036854775808".to_owned()),
    ]
}

/// A string's text with its quotes, any escapes included.
fn string() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        6 => "[a-zA-Z0-9 :,{}\\[\\]]{0,20}",
        1 => "[^\\x00-\\x1f\"\\\\]{0,8}",
        1 => "\\\\[\"\\\\/bfnrt]",
        1 => "\\\\u[0-9a-fA-F]{4}",
        1 => Just("\\\\".to_owned()),
        1 => Just("\\ud83d\\ude00".to_owned()),
        1 => "[a-z]{60,70}",
    ];
    proptest::collection::vec(piece, 0..4).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}

/// A key's text out of a few, so that paths meet them, plainly and escaped.
fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => prop::sample::select(&["\"a\"", "\"b\"", "\"c\"", "\"a.b\"", "\"\""][..]).prop_map(str::to_owned),
        1 => prop::sample::select(&["\"\\u0061\"", "\"\\u0062\"", "\"a\\u002eb\"", "\"amount of things\""][..])
            .prop_map(str::to_owned),
        1 => string(),
    ]
}

/// The keys that [`key`] makes most often, as path segments.
const KEYS: [&str; 6] = ["a", "b", "c", "a.b", "", "amount of things"];

/// Any JSON text, duplicate keys included.
fn json() -> impl Strategy<Value = String> {
    json_around(prop_oneof![
        2 => number(),
        2 => string(),
        1 => prop::sample::select(&["true", "false", "null", "{}", "[]", "{ }"][..]).prop_map(str::to_owned),
    ])
}

fn json_around(leaf: impl Strategy<Value = String> + 'static) -> impl Strategy<Value = String> {
    let spaced = (space(), leaf, space()).prop_map(|(a, b, c)| format!("{a}{b}{c}"));
    spaced.prop_recursive(5, 60, 6, |inner| {
        let member = (space(), key(), space(), inner.clone())
            .prop_map(|(a, key, b, value)| format!("{a}{key}{b}:{value}"));
        prop_oneof![
            3 => (space(), proptest::collection::vec(member, 1..7), space())
                .prop_map(|(a, members, b)| format!("{a}{{{}}}{b}", members.join(","))),
            1 => (space(), proptest::collection::vec(inner, 1..5), space())
                .prop_map(|(a, elements, b)| format!("{a}[{}]{b}", elements.join(","))),
        ]
    })
}

/// A path that [`json`] may have.
fn any_path() -> impl Strategy<Value = Path> {
    let segment = prop_oneof![
        5 => prop::sample::select(&KEYS[..]).prop_map(|key| crate::Segment::Key(key.to_owned())),
        1 => (0u32..3).prop_map(crate::Segment::Index),
    ];
    proptest::collection::vec(segment, 1..4).prop_map(Path)
}
