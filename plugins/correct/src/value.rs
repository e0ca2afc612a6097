//! A field's value in the middle of its corrections.

use std::borrow::Cow;

use tidegate_plugin::Absence;

/// A value, borrowed from the batch as long as nothing was changed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    /// Missing, or null.
    Nothing,
    /// Text, unescaped.
    Text(Cow<'a, str>),
    /// A number as it is written.
    Number(Cow<'a, str>),
    /// `true` or `false`.
    Boolean(bool),
    /// An object, an array, or a text with half a character: no correction is about it.
    Other,
}

impl<'a> Value<'a> {
    /// What the host found.
    pub(crate) fn of(json: Result<&'a str, Absence>) -> Self {
        let Ok(json) = json else { return Value::Nothing };
        match json.as_bytes() {
            [b'"', inside @ .., b'"'] if !inside.contains(&b'\\') => {
                Value::Text(Cow::Borrowed(&json[1..json.len() - 1]))
            }
            [b'"', ..] => match serde_json::from_str(json) {
                Ok(text) => Value::Text(Cow::Owned(text)),
                Err(_) => Value::Other,
            },
            [b'-' | b'0'..=b'9', ..] => Value::Number(Cow::Borrowed(json)),
            b"true" => Value::Boolean(true),
            b"false" => Value::Boolean(false),
            _ => Value::Other,
        }
    }

    /// Appends the value's JSON. Nothing has none, and what is no correction's is never written.
    pub(crate) fn write(&self, out: &mut String) {
        match self {
            Value::Nothing | Value::Other => out.push_str("null"),
            Value::Text(text) => push_string(text, out),
            Value::Number(text) => out.push_str(text),
            Value::Boolean(value) => out.push_str(if *value { "true" } else { "false" }),
        }
    }
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
