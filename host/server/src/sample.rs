//! What a sample of records says about their fields: the reads of a project that begins with it.
//!
//! A field is read as the narrowest kind that all its values in the sample are of, and is optional
//! where a record lacks it. What of the sample gets into the project are its first records.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufRead as _, BufReader, Read as _},
    path::{Path as FilePath, PathBuf},
};

use serde_json::{Map, Value, json};
use tidegate_build::{Sample, SampleField, SampleKind, SampleWrite, Says};
use tidegate_core::{Path, Timestamp, path::Segment};

/// More records say nothing new, and people point at whole files.
const RECORDS_MAX: usize = 10_000;
/// A line that is longer is no record that anybody wants in a project.
const LINE_BYTES_MAX: usize = 1 << 20;
/// Each field is a line of the project's source; those that most records have come first.
const FIELDS_MAX: usize = 32;
/// What the project's own test runs on.
const KEPT_MAX: usize = 20;
/// What its golden cases are made of.
const CASES_MAX: usize = 5;

/// A sample that no project can be made of.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SampleError {
    #[error("failed to read the sample `{}`: {cause}", path.display())]
    Read { path: PathBuf, cause: std::io::Error },
    #[error("the sample `{}` has no record: it is NDJSON, one JSON object a line", .0.display())]
    Empty(PathBuf),
    #[error(
        "the sample `{}` is no NDJSON, one JSON object a line: line {line}: {why}",
        path.display()
    )]
    Line { path: PathBuf, line: usize, why: String },
    #[error("the sample `{}` has no field that could be read", .0.display())]
    NoFields(PathBuf),
}

/// What was found.
#[derive(Debug)]
pub(crate) struct Inferred {
    pub(crate) sample: Sample,
    /// How many records were looked at.
    pub(crate) records: usize,
    /// Fields for which there was no room, or no name that a source may have.
    pub(crate) left_out: usize,
}

/// Reads a sample.
pub(crate) fn read(path: &FilePath) -> Result<Inferred, SampleError> {
    let records = records(path)?;
    let mut root = Node::default();
    for record in &records {
        root.see_members(record);
    }
    let (fields, left_out) = fields(&root, records.len());
    if fields.is_empty() {
        return Err(SampleError::NoFields(path.to_owned()));
    }
    let kept = &records[..records.len().min(KEPT_MAX)];
    let write = choose_write(&fields, kept, &root);
    let first = write.of(&kept[0]).map(|value| value.to_string());
    let sample = Sample {
        golden: golden(&write, &kept[..kept.len().min(CASES_MAX)]),
        records: kept.iter().map(|record| format!("{}\n", json!(record))).collect(),
        write: SampleWrite { name: write.name, says: write.says, field: write.place, first },
        fields: fields.into_iter().map(|(_, field)| field).collect(),
    };
    Ok(Inferred { sample, records: records.len(), left_out })
}

fn records(path: &FilePath) -> Result<Vec<Map<String, Value>>, SampleError> {
    let unreadable = |cause| SampleError::Read { path: path.to_owned(), cause };
    let mut reader = BufReader::new(File::open(path).map_err(unreadable)?);
    let mut records = Vec::new();
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let mut room = reader.by_ref().take(LINE_BYTES_MAX as u64 + 1);
        let bytes = room.read_until(b'\n', &mut line).map_err(unreadable)?;
        if bytes == 0 || records.len() == RECORDS_MAX {
            break;
        }
        let wrong = |why: String| SampleError::Line { path: path.to_owned(), line: number, why };
        if bytes > LINE_BYTES_MAX {
            return Err(wrong("it is longer than 1 MiB".to_owned()));
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        // What the parser says is about its kind and place, and never the text itself.
        match serde_json::from_slice(&line) {
            Ok(Value::Object(record)) => records.push(record),
            Ok(_) => return Err(wrong("it is JSON, and no object".to_owned())),
            Err(error) => {
                return Err(wrong(format!("it is no JSON, from column {} on", error.column())));
            }
        }
    }
    if records.is_empty() {
        return Err(SampleError::Empty(path.to_owned()));
    }
    Ok(records)
}

/// What was seen at a place of the records.
#[derive(Debug, Default)]
struct Node {
    /// How many records have a value there.
    values: usize,
    kind: Option<Seen>,
    members: Vec<(String, Node)>,
    places: HashMap<String, usize>,
}

/// What all values of a place are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Object,
    Leaf(SampleKind),
}

impl Node {
    fn see_members(&mut self, record: &Map<String, Value>) {
        for (key, value) in record {
            let next = self.members.len();
            let place = *self.places.entry(key.clone()).or_insert(next);
            if place == next {
                self.members.push((key.clone(), Node::default()));
            }
            self.members[place].1.see(value);
        }
    }

    fn see(&mut self, value: &Value) {
        use SampleKind::{Boolean, Date, Float64, Int64, Json, Timestamp as Time, Utf8};
        let seen = match value {
            Value::Null => return,
            Value::Bool(_) => Seen::Leaf(Boolean),
            Value::Number(number) if number.is_i64() => Seen::Leaf(Int64),
            Value::Number(_) => Seen::Leaf(Float64),
            Value::String(text) if Timestamp::parse(text).is_some() => Seen::Leaf(Time),
            Value::String(text) if is_date(text) => Seen::Leaf(Date),
            Value::String(_) => Seen::Leaf(Utf8),
            Value::Array(_) => Seen::Leaf(Json),
            Value::Object(record) => {
                self.see_members(record);
                Seen::Object
            }
        };
        self.values += 1;
        self.kind = Some(match (self.kind, seen) {
            (None, seen) => seen,
            (Some(before), seen) if before == seen => seen,
            (Some(Seen::Leaf(Int64 | Float64)), Seen::Leaf(Int64 | Float64)) => Seen::Leaf(Float64),
            (Some(Seen::Leaf(Time | Date | Utf8)), Seen::Leaf(Time | Date | Utf8)) => {
                Seen::Leaf(Utf8)
            }
            _ => Seen::Leaf(Json),
        });
    }

    fn at(&self, key: &str) -> Option<&Node> {
        self.places.get(key).map(|place| &self.members[*place].1)
    }
}

/// A date as the contract has it: `YYYY-MM-DD`.
fn is_date(text: &str) -> bool {
    text.len() == "YYYY-MM-DD".len() && text.parse::<jiff::civil::Date>().is_ok()
}

/// The fields to read, with their segments, in the order in which they turned up; and how many more
/// there are.
fn fields(root: &Node, records: usize) -> (Vec<(Vec<String>, SampleField)>, usize) {
    let mut leaves = Vec::new();
    collect(root, &mut Vec::new(), &mut leaves);
    let all = leaves.len();
    let writable = |it: &(Vec<String>, usize, SampleKind)| it.0.iter().all(|key| is_writable(key));
    leaves.retain(writable);
    let mut places: Vec<usize> = (0..leaves.len()).collect();
    places.sort_by_key(|place| std::cmp::Reverse(leaves[*place].1));
    places.truncate(FIELDS_MAX);
    places.sort_unstable();
    let mut names: Vec<String> = Vec::new();
    let mut fields = Vec::new();
    for (keys, values, kind) in places.into_iter().map(|place| leaves[place].clone()) {
        let name = unique(name_of(&keys), |name| names.iter().any(|it| it == name));
        names.push(name.clone());
        let path = Path(keys.iter().cloned().map(Segment::Key).collect()).to_string();
        fields.push((keys, SampleField { name, path, kind, optional: values < records }));
    }
    let left_out = all - fields.len();
    (fields, left_out)
}

fn collect(
    node: &Node,
    path: &mut Vec<String>,
    leaves: &mut Vec<(Vec<String>, usize, SampleKind)>,
) {
    for (key, member) in &node.members {
        path.push(key.clone());
        match member.kind {
            // A null is all that was ever there: nobody knows what it would be.
            None => {}
            Some(Seen::Object) if !member.members.is_empty() => collect(member, path, leaves),
            Some(Seen::Object) => leaves.push((path.clone(), member.values, SampleKind::Json)),
            Some(Seen::Leaf(kind)) => leaves.push((path.clone(), member.values, kind)),
        }
        path.pop();
    }
}

/// Whether a key can stand in a string, a tag and a comment of any language without an escape.
fn is_writable(key: &str) -> bool {
    !key.is_empty()
        && key.chars().all(|c| c.is_ascii_alphanumeric() || " _-.:@$/#+".contains(c))
        && !key.contains("*/")
}

/// Words in lower case, joined by `_`: `merchant.countryCode` is `merchant_country_code`.
fn name_of(keys: &[String]) -> String {
    let mut name = String::new();
    let mut after_lower = false;
    for c in keys.join("_").chars() {
        if !c.is_ascii_alphanumeric() {
            after_lower = false;
            if !name.is_empty() && !name.ends_with('_') {
                name.push('_');
            }
            continue;
        }
        if c.is_ascii_uppercase() && after_lower {
            name.push('_');
        }
        after_lower = c.is_ascii_lowercase() || c.is_ascii_digit();
        name.push(c.to_ascii_lowercase());
    }
    let name = name.trim_end_matches('_');
    match name.chars().next() {
        None => "field".to_owned(),
        Some(first) if first.is_ascii_digit() => format!("field_{name}"),
        Some(_) => name.to_owned(),
    }
}

fn unique(name: String, is_taken: impl Fn(&str) -> bool) -> String {
    let numbered = (2..).map(|number| format!("{name}_{number}"));
    std::iter::once(name.clone()).chain(numbered).find(|it| !is_taken(it)).unwrap_or(name)
}

/// The one field that is written.
struct ChosenWrite {
    name: String,
    says: Says,
    place: usize,
    keys: Vec<String>,
}

/// A number is asked whether it is large, a time which day it is, a text whether it is empty. What
/// every record has is better than what some have.
fn choose_write(
    fields: &[(Vec<String>, SampleField)],
    records: &[Map<String, Value>],
    root: &Node,
) -> ChosenWrite {
    let is_id = |field: &SampleField| field.name == "id" || field.name.ends_with("_id");
    let rank = |(_, field): &(Vec<String>, SampleField)| {
        let kind = match field.kind {
            SampleKind::Float64 => 0,
            SampleKind::Int64 if !is_id(field) => 1,
            SampleKind::Timestamp => 2,
            SampleKind::Utf8 => 3,
            SampleKind::Int64 | SampleKind::Boolean | SampleKind::Date | SampleKind::Json => 4,
        };
        (field.optional, kind)
    };
    let place = (0..fields.len()).min_by_key(|place| rank(&fields[*place])).unwrap_or_default();
    let (keys, field) = &fields[place];
    let (says, suffix) = match field.kind {
        SampleKind::Float64 | SampleKind::Int64 if !is_id(field) => {
            (Says::IsLarge(median(keys, records)), "is_large")
        }
        SampleKind::Timestamp => (Says::Day, "day"),
        SampleKind::Utf8 => (Says::IsEmpty, "is_empty"),
        _ => (Says::IsThere, "is_there"),
    };
    let name = unique(format!("{}_{suffix}", field.name), |name| {
        root.at(name).is_some() || fields.iter().any(|(_, field)| field.name == name)
    });
    ChosenWrite { name, says, place, keys: keys.clone() }
}

/// The middle one of the numbers, so that the records show both sides.
fn median(keys: &[String], records: &[Map<String, Value>]) -> f64 {
    let mut numbers: Vec<f64> =
        records.iter().filter_map(|record| at(record, keys)?.as_f64()).collect();
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or_default()
}

fn at<'a>(record: &'a Map<String, Value>, keys: &[String]) -> Option<&'a Value> {
    let (first, rest) = keys.split_first()?;
    let found = rest.iter().try_fold(record.get(first)?, |value, key| value.get(key))?;
    (!found.is_null()).then_some(found)
}

impl ChosenWrite {
    /// What the template's plugin writes into a record; none where it leaves the field as it is.
    fn of(&self, record: &Map<String, Value>) -> Option<Value> {
        let value = at(record, &self.keys);
        match self.says {
            Says::IsThere => Some(value.is_some().into()),
            Says::IsLarge(limit) => Some((value?.as_f64()? >= limit).into()),
            Says::IsEmpty => Some(value?.as_str()?.is_empty().into()),
            Says::Day => {
                let time = value?.as_str()?.parse::<jiff::Timestamp>().ok()?;
                Some(time.to_zoned(jiff::tz::TimeZone::UTC).date().to_string().into())
            }
        }
    }
}

/// Records are written as JSON, which is YAML: as `plugin test --accept` writes them.
fn golden(write: &ChosenWrite, records: &[Map<String, Value>]) -> String {
    let mut text = String::from(
        "# What the plugin makes of the first records of the sample: `tidegate plugin test` runs it on \
         them,\n# `--accept` writes what comes out. They hold the sample's values as they were.\n",
    );
    if let Says::IsLarge(limit) = write.says {
        text.push_str(&format!("config: {}\n", json!({ "large": limit })));
    }
    text.push_str("cases:\n  - name: records of the sample\n    records:\n");
    for record in records {
        let written = write.of(record).map(|value| json!({ &write.name: value }));
        let written = written.unwrap_or_else(|| json!({}));
        text.push_str(&format!("      - given: {}\n        emit: {written}\n", json!(record)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inferred(lines: &str) -> Inferred {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), lines).expect("room for it");
        read(file.path()).expect("a sample")
    }

    #[track_caller]
    fn refused(lines: &str, why: &str) {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), lines).expect("room for it");
        let error = read(file.path()).expect_err("no sample").to_string();
        assert!(error.contains(why), "{error}");
    }

    #[test]
    fn fields_have_the_narrowest_kind_that_fits_all_and_are_optional_where_one_lacks_them() {
        let found = inferred(
            r#"{"id":"a","amount":2,"m":{"countryCode":"DE","n":null},"at":"2026-03-01T12:00:00Z","l":[1]}
{"id":"b","amount":2.5,"m":{"countryCode":null},"at":"2026-03-01","d":"2026-03-01","x":1}
{"id":"c","amount":3,"m":{},"at":"x","d":"2026-03-02","x":"1","b":true}
"#,
        );
        let fields = found.sample.fields.iter();
        let fields: Vec<_> =
            fields.map(|it| (it.name.as_str(), it.path.as_str(), it.kind, it.optional)).collect();
        use SampleKind::{Boolean, Date, Float64, Json, Utf8};
        assert_eq!(
            fields,
            [
                ("amount", "amount", Float64, false),
                ("at", "at", Utf8, false),
                ("id", "id", Utf8, false),
                ("l", "l", Json, true),
                ("m_country_code", "m.countryCode", Utf8, true),
                ("d", "d", Date, true),
                ("x", "x", Json, true),
                ("b", "b", Boolean, true),
            ]
        );
        assert_eq!(found.sample.write.says, Says::IsLarge(2.5));
        assert_eq!(found.sample.write.name, "amount_is_large");
        assert_eq!(found.sample.write.first.as_deref(), Some("false"));
        assert!(found.sample.golden.contains("emit: {\"amount_is_large\":true}"));
    }

    #[test]
    fn names_are_unique_and_what_no_source_can_hold_is_left_out() {
        let found = inferred("{\"a b\":1,\"a-b\":2,\"a_b_is_large\":true,\"q\\\"\":1,\"9\":1}\n");
        let names: Vec<_> = found.sample.fields.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["field_9", "a_b", "a_b_2", "a_b_is_large"]);
        assert_eq!(found.left_out, 1);
    }

    #[test]
    fn fields_that_most_records_have_come_before_others() {
        let mut lines = String::new();
        for record in 0..50 {
            lines.push_str(&format!("{{\"only_{record}\":1,\"z\":\"t\"}}\n"));
        }
        let found = inferred(&lines);
        assert_eq!((found.sample.fields.len(), found.left_out), (FIELDS_MAX, 51 - FIELDS_MAX));
        assert!(found.sample.fields.iter().any(|it| it.name == "z" && !it.optional));
        assert_eq!(found.sample.records.lines().count(), KEPT_MAX);
    }

    #[test]
    fn what_is_no_sample_is_refused_with_its_line_and_without_its_text() {
        refused("", "has no record");
        refused("\n \n", "has no record");
        refused("{\"a\":1}\n{\"a\":\n", "line 2: it is no JSON, from column");
        refused("[{\"a\":1}]\n", "line 1: it is JSON, and no object");
        refused("{\"a\":null}\n", "no field that could be read");
    }
}
