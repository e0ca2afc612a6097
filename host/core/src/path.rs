//! Paths into a record.
//!
//! People write them as RFC 9535 singular queries whose leading `$.` may be left out:
//! `merchant.id`, `items[0].sku`, `['a.b'].c`. The contract carries them as segments.

use std::{fmt, str::FromStr};

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Segment {
    /// A member of an object.
    Key(String),
    /// An element of an array, from 0.
    Index(u32),
}

/// Where a field lies. The empty path is the whole record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Path(pub Vec<Segment>);

impl Path {
    /// The whole record, `$`.
    pub const ROOT: Path = Path(Vec::new());

    /// A path of object members.
    pub fn keys<const N: usize>(keys: [&str; N]) -> Self {
        Path(keys.into_iter().map(|key| Segment::Key(key.to_owned())).collect())
    }

    /// Whether this is the whole record.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `other` lies at or under this path.
    pub fn contains(&self, other: &Path) -> bool {
        other.0.starts_with(&self.0)
    }
}

/// The text is no singular query.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` is not a path: {reason}")]
pub struct InvalidPath {
    /// What was given.
    pub text: String,
    /// What is wrong with it.
    pub reason: String,
}

impl FromStr for Path {
    type Err = InvalidPath;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = |reason: String| InvalidPath { text: text.to_owned(), reason };
        let query = match text {
            "" => return Err(invalid("it is empty; the whole record is `$`".into())),
            _ if text.starts_with('$') => text.to_owned(),
            _ if text.starts_with('[') => format!("${text}"),
            _ => format!("$.{text}"),
        };
        let parsed = rsonpath_syntax::parse(&query).map_err(|error| invalid(one_line(&error)))?;
        parsed.segments().iter().map(singular).collect::<Result<_, _>>().map(Path).map_err(invalid)
    }
}

/// The one step that a segment of a singular query takes; a segment that may select more than one
/// node, or counts from an array's end, is refused.
fn singular(segment: &rsonpath_syntax::Segment) -> Result<Segment, String> {
    use rsonpath_syntax::{Index, Selector};

    if segment.is_descendant() {
        return Err("`..` may select more than one field".into());
    }
    let selectors = segment.selectors().as_slice();
    let [selector] = selectors else {
        return Err("a list of selectors may select more than one field".into());
    };
    match selector {
        Selector::Name(name) => Ok(Segment::Key(name.unquoted().to_owned())),
        Selector::Index(Index::FromStart(index)) => u32::try_from(index.as_u64())
            .map(Segment::Index)
            .map_err(|_| format!("the index {index} is above 4294967295")),
        Selector::Index(Index::FromEnd(_)) => {
            Err("an index counts from the start of the array, from 0".into())
        }
        Selector::Wildcard => Err("a wildcard may select more than one field".into()),
        Selector::Slice(_) => Err("a slice may select more than one field".into()),
        Selector::Filter(_) => Err("a filter may select more than one field".into()),
    }
}

/// What the parser has to say, without the drawing around it and places in a text that is not
/// quite what was given.
fn one_line(error: &rsonpath_syntax::error::ParseError) -> String {
    let text = error.to_string();
    let mut faults: Vec<&str> =
        text.lines().filter_map(|line| line.trim().strip_prefix("error: ")).collect();
    faults.push("a key that is not a plain name is written as `['a-b']`");
    faults.join("; ")
}

impl fmt::Display for Path {
    /// The shortest text that parses to the same path.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() {
            return f.write_str("$");
        }
        for (depth, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Key(key) if is_plain(key) => {
                    if depth > 0 {
                        f.write_str(".")?;
                    }
                    f.write_str(key)?;
                }
                Segment::Key(key) => {
                    f.write_str("['")?;
                    for c in key.chars() {
                        match c {
                            '\'' => f.write_str("\\'")?,
                            '\\' => f.write_str("\\\\")?,
                            c if c < ' ' => write!(f, "\\u{:04x}", c as u32)?,
                            c => write!(f, "{c}")?,
                        }
                    }
                    f.write_str("']")?;
                }
                Segment::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// Whether a key may stand in dot notation.
fn is_plain(key: &str) -> bool {
    let mut chars = key.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_' || !c.is_ascii())
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_' || !c.is_ascii())
}

impl serde::Serialize for Path {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Path {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Vec<Segment> {
        text.parse::<Path>().unwrap_or_else(|error| panic!("{error}")).0
    }

    fn key(text: &str) -> Segment {
        Segment::Key(text.to_owned())
    }

    #[test]
    fn singular_queries_are_paths() {
        assert_eq!(parsed("$"), []);
        assert_eq!(parsed("merchant.id"), [key("merchant"), key("id")]);
        assert_eq!(parsed("$.merchant['id']"), [key("merchant"), key("id")]);
        assert_eq!(parsed("items[0].sku"), [key("items"), Segment::Index(0), key("sku")]);
        assert_eq!(parsed("['a.b'].c"), [key("a.b"), key("c")]);
        assert_eq!(parsed("$[7]"), [Segment::Index(7)]);
        assert_eq!(parsed(r"['it\'s']"), [key("it's")]);
        assert_eq!(parsed(r#"["a\"b\\\u00e9\n"]"#), [key("a\"b\\é\n")]);
        assert_eq!(parsed("['']"), [key("")]);
        assert_eq!(parsed("größe"), [key("größe")]);
        assert_eq!(parsed("['x]['].y"), [key("x]["), key("y")]);
    }

    #[test]
    fn what_may_select_more_than_one_field_is_refused() {
        for (text, reason) in [
            ("", "it is empty"),
            ("a.*", "a wildcard"),
            ("a[*]", "a wildcard"),
            ("a[1:2]", "a slice"),
            ("a..b", "`..`"),
            ("a[0,1]", "a list of selectors"),
            ("a[?@.b]", "a filter"),
            ("a[-1]", "counts from the start"),
            ("a[4294967296]", "above 4294967295"),
            ("a b", ""),
            ("a-b", ""),
            ("a.", ""),
            ("1a", ""),
            ("a['b", ""),
        ] {
            let error = text.parse::<Path>().expect_err(text);
            assert!(error.reason.starts_with(reason) || error.reason.contains(reason), "{error}");
            assert!(!error.reason.is_empty() && !error.reason.contains('\n'), "{error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn text_round_trips(
            segments in proptest::collection::vec(
                proptest::prop_oneof![
                    ".{0,8}".prop_map(Segment::Key),
                    "[a-z_]{1,8}".prop_map(Segment::Key),
                    proptest::prelude::any::<u32>().prop_map(Segment::Index),
                ],
                0..5,
            ),
        ) {
            let path = Path(segments);
            proptest::prop_assert_eq!(path.to_string().parse::<Path>(), Ok(path));
        }
    }

    use proptest::strategy::Strategy as _;
}
