//! The directories that rows are sorted into, and the names of objects in them.
//!
//! A tree is written as a template: `event_type={event_type}/year={year:timestamp}/raw`. In
//! braces stands a field, or a part of a time: `year`, `month`, `day` or `hour` of a field that
//! is an RFC 3339 timestamp, or of `@batch-time`. All in UTC.
//!
//! | what the field has | what the directory has |
//! |---|---|
//! | a text | the text, percent-encoded but for letters, digits, `-`, `_`, `.` and `~` |
//! | a number, `true`, `false` | as it stands in the record, percent-encoded |
//! | nothing, or no timestamp where a part of one is asked for | `__missing__` |
//! | null | `__null__` |
//! | an empty text | `__empty__` |
//! | an array or object | `__other__` |
//!
//! A text that begins with `__` has its first `_` encoded, and one that would be longer than
//! [`VALUE_BYTES_MAX`] is cut and ends in `~` and a hash, so that no two values share a directory.

use std::{borrow::Cow, fmt::Write as _, str::FromStr};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tidegate_core::{
    Column, Kind, Origin, Path, Presence, Values,
    description::{HostValue, TimestampFormat},
    json::{self, Projector},
};

use crate::plan::RecipeId;

/// Names in directories are at most 255 bytes in all common file systems, `event_type=` included.
pub const VALUE_BYTES_MAX: usize = 160;

const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A template of directories.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Value(TreeValue),
}

/// What stands in braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TreeValue {
    Field(Origin),
    Time { of: Origin, part: TimePart },
}

/// A part of a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TimePart {
    Year,
    Month,
    Day,
    Hour,
}

/// The text is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a template of directories: {reason}")]
pub struct InvalidTree {
    text: String,
    reason: String,
}

impl FromStr for Tree {
    type Err = InvalidTree;

    fn from_str(text: &str) -> Result<Self, InvalidTree> {
        let invalid = |reason: String| InvalidTree { text: text.to_owned(), reason };
        let directories = text.trim_end_matches('/');
        let mut pieces = Vec::new();
        let mut rest = directories;
        while let Some(open) = rest.find('{') {
            push_literal(&mut pieces, &rest[..open]).map_err(invalid)?;
            let behind = &rest[open + 1..];
            let close = behind.find('}').ok_or_else(|| invalid("a `{` has no `}`".into()))?;
            pieces.push(Piece::Value(parse_value(&behind[..close]).map_err(invalid)?));
            rest = &behind[close + 1..];
        }
        push_literal(&mut pieces, rest).map_err(invalid)?;
        let plain = |name: &str| matches!(name, "" | "." | "..");
        if !directories.is_empty() && directories.split('/').any(plain) {
            return Err(invalid("a directory has no name".into()));
        }
        Ok(Tree { pieces })
    }
}

fn push_literal(pieces: &mut Vec<Piece>, text: &str) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.~=/".contains(c);
    if let Some(other) = text.chars().find(|c| !allowed(*c)) {
        return Err(format!("{other:?} may stand in braces only"));
    }
    if !text.is_empty() {
        pieces.push(Piece::Literal(text.to_owned()));
    }
    Ok(())
}

fn parse_value(text: &str) -> Result<TreeValue, String> {
    let parts = [
        ("year:", TimePart::Year),
        ("month:", TimePart::Month),
        ("day:", TimePart::Day),
        ("hour:", TimePart::Hour),
    ];
    let field = |text: &str| match text {
        "@source" => Ok(Origin::Host(HostValue::Source)),
        "@partition" => Ok(Origin::Host(HostValue::Partition)),
        text => Path::from_str(text).map(Origin::Field).map_err(|error| error.to_string()),
    };
    match parts.into_iter().find_map(|(name, part)| Some((text.strip_prefix(name)?, part))) {
        Some(("@batch-time", part)) => {
            Ok(TreeValue::Time { of: Origin::Host(HostValue::BatchTime), part })
        }
        Some(("@arrival-time", part)) => {
            Ok(TreeValue::Time { of: Origin::Host(HostValue::ArrivalTime), part })
        }
        Some((of, part)) => Ok(TreeValue::Time { of: field(of)?, part }),
        None => Ok(TreeValue::Field(field(text)?)),
    }
}

impl Tree {
    /// Chooses a column for each value.
    pub(crate) fn resolve(&self, mut read: impl FnMut(&Origin, &Kind) -> RecipeId) -> TreePlan {
        let mut columns: Vec<TreeColumn> = Vec::new();
        let mut pieces = Vec::new();
        for piece in &self.pieces {
            let value = match piece {
                Piece::Literal(text) => {
                    pieces.push(PiecePlan::Literal(text.clone()));
                    continue;
                }
                Piece::Value(value) => value,
            };
            let (recipe, part) = match value {
                TreeValue::Field(origin @ Origin::Host(_)) => (read(origin, &Kind::Utf8), None),
                TreeValue::Field(origin) => (read(origin, &Kind::Json), None),
                TreeValue::Time { of, part } => {
                    (read(of, &Kind::Timestamp(TimestampFormat::Rfc3339)), Some(*part))
                }
            };
            let known = columns.iter().position(|column| column.recipe == recipe);
            let column = known.unwrap_or_else(|| {
                columns.push(TreeColumn { recipe, finest: part });
                columns.len() - 1
            });
            columns[column].finest = columns[column].finest.max(part);
            pieces.push(PiecePlan::Value { column, part });
        }
        TreePlan { columns, pieces }
    }
}

/// A template with columns instead of fields.
#[derive(Clone, Debug)]
pub(crate) struct TreePlan {
    pub(crate) columns: Vec<TreeColumn>,
    pieces: Vec<PiecePlan>,
}

/// A column that a tree is made of.
#[derive(Clone, Debug)]
pub(crate) struct TreeColumn {
    pub(crate) recipe: RecipeId,
    /// Of a time, the finest part that is asked for.
    finest: Option<TimePart>,
}

#[derive(Clone, Debug)]
enum PiecePlan {
    Literal(String),
    Value { column: usize, part: Option<TimePart> },
}

impl TreePlan {
    /// Whether all rows go to one place.
    pub(crate) fn is_flat(&self) -> bool {
        self.columns.is_empty()
    }

    /// Appends what tells the directory of a row from others: cheap, and never shown.
    pub(crate) fn fingerprint(&self, columns: &[&Column], row: usize, out: &mut Vec<u8>) {
        for (plan, column) in self.columns.iter().zip(columns) {
            let presence = column.presence_of(row);
            out.push(presence);
            if presence != Presence::Value as u8 {
                continue;
            }
            match &column.values {
                Values::Utf8(texts) | Values::Json(texts) => {
                    let text = texts.get(row);
                    out.extend_from_slice(&(text.len() as u32).to_le_bytes());
                    out.extend_from_slice(text);
                }
                Values::Timestamp(times) => {
                    let unit = match plan.finest {
                        Some(TimePart::Hour) => 3_600_000_000,
                        _ => 86_400_000_000,
                    };
                    out.extend_from_slice(&times[row].div_euclid(unit).to_le_bytes());
                }
                _ => {}
            }
        }
    }

    /// The directory of a row, with a `/` at its end unless it is the root.
    pub(crate) fn directory(&self, columns: &[&Column], row: usize) -> String {
        let mut directory = String::new();
        for piece in &self.pieces {
            match piece {
                PiecePlan::Literal(text) => directory.push_str(text),
                PiecePlan::Value { column, part } => {
                    push_value(columns[*column], row, *part, &mut directory);
                }
            }
        }
        if !directory.is_empty() {
            directory.push('/');
        }
        directory
    }
}

fn push_value(column: &Column, row: usize, part: Option<TimePart>, out: &mut String) {
    let presence = column.presence_of(row);
    match (&column.values, part) {
        _ if presence == Presence::Null as u8 => out.push_str("__null__"),
        _ if presence != Presence::Value as u8 => out.push_str("__missing__"),
        (Values::Timestamp(times), Some(part)) => push_time(times[row], part, out),
        (Values::Utf8(texts), _) => push_text(texts.get(row), out),
        (Values::Json(texts), _) => match text_of(texts.get(row)) {
            Some(text) => push_text(&text, out),
            None => out.push_str("__other__"),
        },
        _ => out.push_str("__other__"),
    }
}

fn push_time(micros: i64, part: TimePart, out: &mut String) {
    let Ok(time) = jiff::Timestamp::from_microsecond(micros) else {
        return out.push_str("__missing__");
    };
    let time = time.to_zoned(jiff::tz::TimeZone::UTC);
    // Writing to a string can't fail.
    let _ = match part {
        TimePart::Year => write!(out, "{:04}", time.year()),
        TimePart::Month => write!(out, "{:02}", time.month()),
        TimePart::Day => write!(out, "{:02}", time.day()),
        TimePart::Hour => write!(out, "{:02}", time.hour()),
    };
}

/// A scalar of JSON as a text: a string as the one that it stands for, or as it is written where
/// it stands for none. Nothing of an array or object.
pub(super) fn text_of(json: &[u8]) -> Option<Cow<'_, [u8]>> {
    match json {
        [b'[' | b'{', ..] => None,
        [b'"', text @ .., b'"'] if !text.contains(&b'\\') => Some(Cow::Borrowed(text)),
        [b'"', ..] => Some(unescaped(json).map_or(Cow::Borrowed(json), Cow::Owned)),
        plain => Some(Cow::Borrowed(plain)),
    }
}

fn unescaped(text: &[u8]) -> Option<Vec<u8>> {
    let reads = [(Path::keys(["v"]), Kind::Utf8)];
    let projector = Projector::new(&reads, &[], json::Layout::Flat).ok()?;
    let mut projection = projector.projection();
    let record = [b"{\"v\":", text, b"}"].concat();
    projector.project(&record, &mut projection).ok()?;
    match &projection.columns[0] {
        Column { values: Values::Utf8(texts), presence } if presence.is_empty() => {
            Some(texts.get(0).to_vec())
        }
        _ => None,
    }
}

fn push_text(text: &[u8], out: &mut String) {
    if text.is_empty() {
        return out.push_str("__empty__");
    }
    let start = out.len();
    let lossy = String::from_utf8_lossy(text);
    let rest = match lossy.strip_prefix("__") {
        Some(rest) => {
            out.push_str("%5F_");
            rest
        }
        None => &lossy,
    };
    out.extend(utf8_percent_encode(rest, UNRESERVED));
    if out.len() - start > VALUE_BYTES_MAX {
        let hash = xxhash_rust::xxh3::xxh3_64(text);
        out.truncate(start + VALUE_BYTES_MAX - 17);
        let _ = write!(out, "~{hash:016x}");
    }
}

/// A partition's name as a part of an object's name: what is readable of it, and a hash that tells
/// it from all others.
pub(crate) fn slug(partition: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._".contains(c) { c } else { '-' };
    // The end of a path says more than its beginning.
    let tail_at = partition.char_indices().rev().nth(39).map_or(0, |(at, _)| at);
    let tail: String = partition[tail_at..].chars().map(plain).collect();
    let hash = xxhash_rust::xxh3::xxh3_64(partition.as_bytes());
    match tail.trim_matches(['-', '.']) {
        "" => format!("{:08x}", hash as u32),
        tail => format!("{tail}-{:08x}", hash as u32),
    }
}

/// The name of an object: nothing else of the same sink has it.
pub(crate) struct ObjectName<'a> {
    pub(crate) slug: &'a str,
    pub(crate) range: u64,
    pub(crate) revision: u32,
    pub(crate) part: u32,
    pub(crate) extension: &'a str,
}

impl std::fmt::Display for ObjectName<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ObjectName { slug, range, revision, part, extension } = self;
        write!(f, "{slug}-{range:08}-r{revision}-{part:04}.{extension}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_core::Binary;

    fn plan(template: &str) -> (TreePlan, Vec<(Origin, Kind)>) {
        let mut reads = Vec::new();
        let tree: Tree = template.parse().expect(template);
        let plan = tree.resolve(|origin, kind| {
            reads.push((origin.clone(), kind.clone()));
            reads.len() - 1
        });
        (plan, reads)
    }

    #[test]
    fn directories_tell_values_apart() {
        let (plan, _) = plan("t={t}");
        let texts = [
            "\"plain\"",
            "\"a b/c\"",
            "\"__missing__\"",
            "\"\"",
            "5",
            "true",
            "[1]",
            "\"\\u00e9\"",
        ];
        let mut column =
            Column { values: Values::Json(Binary::from_iter(texts)), presence: vec![] };
        let directories: Vec<_> =
            (0..texts.len()).map(|row| plan.directory(&[&column], row)).collect();
        assert_eq!(
            directories,
            [
                "t=plain/",
                "t=a%20b%2Fc/",
                "t=%5F_missing__/",
                "t=__empty__/",
                "t=5/",
                "t=true/",
                "t=__other__/",
                "t=%C3%A9/",
            ]
        );
        column.presence = vec![Presence::Missing as u8, Presence::Null as u8, 0, 0, 0, 0, 0, 0];
        assert_eq!(plan.directory(&[&column], 0), "t=__missing__/");
        assert_eq!(plan.directory(&[&column], 1), "t=__null__/");
    }

    #[test]
    fn long_values_are_cut_and_stay_apart() {
        let (plan, _) = plan("{t}");
        let long = |end: &str| format!("\"{}{end}\"", "é".repeat(100));
        let texts = Binary::from_iter([long("a"), long("b")]);
        let column = Column { values: Values::Json(texts), presence: vec![] };
        let (a, b) = (plan.directory(&[&column], 0), plan.directory(&[&column], 1));
        assert_ne!(a, b);
        assert_eq!(a.len(), VALUE_BYTES_MAX + 1);
    }

    #[test]
    fn times_have_parts() {
        let (plan, reads) = plan("y={year:at}/m={month:at}/d={day:at}/h={hour:at}/");
        assert_eq!(reads.len(), 4);
        let values = Values::Timestamp(vec![1_772_366_400_000_000, -1]);
        let column = Column { values, presence: vec![] };
        let columns = [&column; 4];
        assert_eq!(plan.directory(&columns, 0), "y=2026/m=03/d=01/h=12/");
        assert_eq!(plan.directory(&columns, 1), "y=1969/m=12/d=31/h=23/");
    }

    #[test]
    fn templates_are_checked() {
        for (template, want) in [
            ("a={b", "a `{` has no `}`"),
            ("a b", "' ' may stand in braces only"),
            ("a//b", "a directory has no name"),
            ("../a", "a directory has no name"),
            ("{a..b}", "is not a path"),
        ] {
            let error = template.parse::<Tree>().expect_err(template).to_string();
            assert!(error.contains(want), "{template}: {error}");
        }
        assert_eq!("".parse::<Tree>(), Ok(Tree::default()));
    }

    #[test]
    fn slugs_are_readable_and_unique() {
        assert_ne!(slug("a/b"), slug("a-b"));
        assert!(slug("data/events 2026.ndjson").starts_with("data-events-2026.ndjson-"));
        assert!(slug(&"x/".repeat(500)).len() < 60);
        assert_eq!(slug("///").len(), 8);
    }
}
