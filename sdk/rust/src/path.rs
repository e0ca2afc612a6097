//! Paths into a record.
//!
//! People write them as RFC 9535 singular queries whose leading `$.` may be left out:
//! `merchant.id`, `items[0].sku`, `['a.b'].c`; the whole record is `$`. They are parsed here and
//! not by a JSONPath library, because a library brings filters, functions and a regex engine into
//! every component, for a grammar of three productions. A test holds this parser against one.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de::Error as _};

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// A member of an object: any text, dots and quotes included.
    Key(String),
    /// An element of an array, from 0.
    Index(u32),
}

/// Where a field lies. The empty path is the whole record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Path(pub Vec<Segment>);

impl Path {
    /// A member of the record itself, whatever its name contains.
    pub fn key(name: impl Into<String>) -> Self {
        Path(vec![Segment::Key(name.into())])
    }

    /// Whether this is the whole record.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }
}

/// A text that is no path, and why.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` is not a path: {reason}")]
pub struct InvalidPath {
    text: String,
    reason: Cow<'static, str>,
}

impl FromStr for Path {
    type Err = InvalidPath;

    fn from_str(text: &str) -> Result<Self, InvalidPath> {
        parse(text)
            .map(Path)
            .map_err(|reason| InvalidPath { text: text.to_owned(), reason: reason.into() })
    }
}

impl fmt::Display for Path {
    /// The shortest text that parses to the same path.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() {
            return f.write_str("$");
        }
        for (depth, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Index(index) => write!(f, "[{index}]")?,
                Segment::Key(key) if is_name(key) => {
                    write!(f, "{}{key}", if depth > 0 { "." } else { "" })?;
                }
                Segment::Key(key) => {
                    f.write_str("['")?;
                    for c in key.chars() {
                        match c {
                            '\'' | '\\' => write!(f, "\\{c}")?,
                            c if c < ' ' => write!(f, "\\u{:04x}", c as u32)?,
                            c => write!(f, "{c}")?,
                        }
                    }
                    f.write_str("']")?;
                }
            }
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Path {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl JsonSchema for Path {
    fn schema_name() -> Cow<'static, str> {
        "Path".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "minLength": 1,
            "description": "Where a field lies: `merchant.id`, `items[0].sku`, `['a.b'].c`.",
        })
    }
}

fn parse(text: &str) -> Result<Vec<Segment>, &'static str> {
    let mut segments = Vec::new();
    let mut rest = match text.strip_prefix('$') {
        Some(rest) => rest,
        None if text.is_empty() => return Err("it is empty; the whole record is `$`"),
        None if text.starts_with('[') => text,
        None => {
            let (name, rest) = name(text)?;
            segments.push(Segment::Key(name.to_owned()));
            rest
        }
    };
    while !rest.is_empty() {
        let (segment, after) = if let Some(after_dot) = rest.strip_prefix('.') {
            let (name, after) = name(after_dot)?;
            (Segment::Key(name.to_owned()), after)
        } else if let Some(inside) = rest.strip_prefix('[') {
            let (segment, after) = selector(inside.trim_start_matches(BLANK))?;
            let after = after.trim_start_matches(BLANK).strip_prefix(']');
            (segment, after.ok_or("`]` is missing after one name or index")?)
        } else {
            return Err("a segment begins with `.` or `[`");
        };
        segments.push(segment);
        rest = after;
    }
    Ok(segments)
}

const BLANK: [char; 4] = [' ', '\t', '\n', '\r'];

/// Splits a name in dot notation off the front.
fn name(text: &str) -> Result<(&str, &str), &'static str> {
    let end = text.find(|c: char| !is_name_char(c)).unwrap_or(text.len());
    match text.split_at(end) {
        ("", rest) if rest.starts_with(['*', '.']) => Err("it may select more than one field"),
        (name, rest) if is_name(name) => Ok((name, rest)),
        _ => Err("a name with other characters stands in brackets: `['a-b']`"),
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| is_name_char(c) && !c.is_ascii_digit())
        && text.chars().all(is_name_char)
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || !c.is_ascii()
}

/// Splits what stands between brackets off the front: a quoted name or an index.
fn selector(text: &str) -> Result<(Segment, &str), &'static str> {
    if let Some(quote @ ('\'' | '"')) = text.chars().next() {
        return quoted(&text[1..], quote).map(|(key, rest)| (Segment::Key(key), rest));
    }
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    match text.split_at(end) {
        ("", rest) if rest.starts_with('-') => Err("an index counts from the start"),
        ("", _) => Err("it must name one field: `['name']` or `[0]`"),
        (digits, _) if digits.len() > 1 && digits.starts_with('0') => {
            Err("an index has no leading zero")
        }
        (digits, rest) => match digits.parse() {
            Ok(index) => Ok((Segment::Index(index), rest)),
            Err(_) => Err("the index is too large"),
        },
    }
}

/// Splits a string and its closing quote off the front, and unescapes it.
fn quoted(text: &str, quote: char) -> Result<(String, &str), &'static str> {
    const OPEN: &str = "a quote is not closed";
    const ESCAPE: &str = "a name contains an unknown escape";
    let mut key = String::new();
    let mut chars = text.chars();
    loop {
        match chars.next().ok_or(OPEN)? {
            c if c == quote => return Ok((key, chars.as_str())),
            '\\' => key.push(match chars.next().ok_or(OPEN)? {
                c if c == quote => c,
                c @ ('/' | '\\') => c,
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'u' => {
                    let high = hex4(&mut chars).ok_or(ESCAPE)?;
                    match high {
                        0xd800..0xdc00 => {
                            let pair = (chars.next(), chars.next());
                            let low = hex4(&mut chars).ok_or(ESCAPE)?;
                            if pair != (Some('\\'), Some('u')) || !(0xdc00..0xe000).contains(&low) {
                                return Err("a name contains half a surrogate pair");
                            }
                            char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00))
                        }
                        _ => char::from_u32(high),
                    }
                    .ok_or("a name contains half a surrogate pair")?
                }
                _ => return Err(ESCAPE),
            }),
            c if c < ' ' => return Err("a name contains a control character"),
            c => key.push(c),
        }
    }
}

fn hex4(chars: &mut std::str::Chars<'_>) -> Option<u32> {
    (0..4).try_fold(0, |value, _| Some(value << 4 | chars.next()?.to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(text: &str) -> Vec<Segment> {
        text.parse::<Path>().unwrap_or_else(|error| panic!("{error}")).0
    }

    fn key(name: &str) -> Segment {
        Segment::Key(name.into())
    }

    #[test]
    fn the_leading_root_may_be_left_out() {
        for text in ["merchant.id", "$.merchant.id", "['merchant'].id", "$[\"merchant\"]['id']"] {
            assert_eq!(segments(text), [key("merchant"), key("id")], "{text}");
        }
        assert_eq!(segments("items[0].sku"), [key("items"), Segment::Index(0), key("sku")]);
        assert_eq!(segments("$[3]"), [Segment::Index(3)]);
        assert_eq!(segments("$"), []);
    }

    #[test]
    fn what_is_displayed_parses_to_the_same_path() {
        for text in
            ["$", "a.b", "['a.b'].c", "items[0].sku", "['it\\'s'][\"\\\\\"]", "größe", "['']"]
        {
            let path: Path = text.parse().unwrap();
            assert_eq!(path.to_string().parse(), Ok(path), "{text}");
        }
    }

    /// Every text is taken or refused as by an implementation of RFC 9535, and means the same.
    #[test]
    fn it_agrees_with_a_library_on_singular_queries() {
        let texts = [
            "$",
            "$.a",
            "$.a.b",
            "$['a']",
            "$[\"a\"]",
            "$['a.b'].c",
            "$[0]",
            "$[10].x",
            "$.a[0][1]",
            "$['\\u00e9']",
            "$['\\ud83d\\ude00']",
            "$['\\ud83d']",
            "$['\\'']",
            "$[\"\\\"\"]",
            "$['\\\"']",
            "$['\\x']",
            "$['a",
            "$[",
            "$.",
            "$a",
            "$.1",
            "$.a-b",
            "$[01]",
            "$['a'",
            "$[ 'a' ]",
            "$[\t0\n]",
            "$.größe",
            "$['\u{1}']",
            "$['\\n\\t\\b\\f\\r\\/\\\\']",
            "$._x",
            "$.a b",
            "$.'a'",
            "$[a]",
            "$[4294967295]",
        ];
        for text in texts {
            let theirs = serde_json_path::JsonPath::parse(text).ok().map(|path| path.to_string());
            let ours = text.parse::<Path>().ok();
            assert_eq!(ours.is_some(), theirs.is_some(), "{text}: {ours:?}, {theirs:?}");
            // The library's normal form must read as the same path.
            if let (Some(ours), Some(theirs)) = (ours, theirs)
                && !text.contains('\\')
            {
                assert_eq!(theirs.parse(), Ok(ours), "{text}");
            }
        }
    }

    #[test]
    fn a_query_for_many_fields_is_refused_with_a_reason() {
        for text in ["", "a[*]", "a.*", "a..b", "a[-1]", "a[0,1]", "a[?@.b]", "a[1:2]", "a-b"] {
            assert!(text.parse::<Path>().is_err(), "{text}");
        }
        let error = "a-b".parse::<Path>().unwrap_err();
        assert_eq!(error.to_string(), "`a-b` is not a path: a segment begins with `.` or `[`",);
    }
}
