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
        let parsed = serde_json_path::JsonPath::parse(&query)
            .map_err(|error| invalid(format!("{}", error.message())))?;
        segments(&parsed.to_string()).map(Path).map_err(invalid)
    }
}

/// Reads the segments off the library's normalized text: `$['a']['b'][0]`, or refuses a query
/// that may select more than one node.
fn segments(_normalized: &str) -> Result<Vec<Segment>, String> {
    Err("not yet".into())
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
