//! Paths into a record.
//!
//! People write them as RFC 9535 singular queries whose leading `$.` may be left out:
//! `merchant.id`, `items[0].sku`, `['a.b'].c`; the whole record is `$`. They are parsed here and
//! not by a JSONPath library, because a library brings filters, functions and a regex engine into
//! every component, for a grammar of three productions. A test holds this parser against one.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de::Error as _};

mod syntax;

pub use syntax::Segment;

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
        syntax::parse(text)
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
                Segment::Key(key) if syntax::is_name(key) => {
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
            "$ .a",
            "$ ",
            "$.a [0]",
            "$. a",
            " $",
            "$['']",
            "$..a",
            "$.*",
            "$[-1]",
        ];
        for text in texts {
            assert_eq!(text.parse::<Path>().ok().map(|path| path.0), theirs(text), "{text}");
        }
    }

    fn theirs(text: &str) -> Option<Vec<Segment>> {
        use rsonpath_syntax::{Index, Segment as Theirs, Selector};
        let segment = |segment: &Theirs| match segment {
            Theirs::Child(selectors) => match selectors.iter().collect::<Vec<_>>()[..] {
                [Selector::Name(name)] => Some(key(name.unquoted())),
                [Selector::Index(Index::FromStart(index))] => {
                    Some(Segment::Index(index.as_u64().try_into().ok()?))
                }
                _ => None,
            },
            Theirs::Descendant(_) => None,
        };
        rsonpath_syntax::parse(text).ok()?.segments().iter().map(segment).collect()
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
