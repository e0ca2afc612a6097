//! Columns back into JSON values, for tests.

use serde_json::{Map, Value};

use super::{project, slice};
use crate::{
    Date, Kind, Path, Segment, Timestamp, TimestampFormat, Write,
    reply::{Binary, Column, Values},
};

/// Checks a written column as a host does.
pub(super) fn check(write: &Write, column: &Column, rows: usize) {
    let Write { path, kind } = write;
    let texts = |texts: &Binary| {
        assert!(texts.offsets.is_sorted(), "{path}: offsets never decrease");
        assert_eq!(texts.offsets.first().copied().unwrap_or(0), 0, "{path}: offsets begin at 0");
        let end = texts.offsets.last().copied().unwrap_or(0) as usize;
        assert_eq!(end, texts.bytes.len(), "{path}: offsets end with the bytes");
        let whole = std::str::from_utf8(&texts.bytes).expect("text is UTF-8");
        let cut = texts.offsets.iter().all(|offset| whole.is_char_boundary(*offset as usize));
        assert!(cut, "{path}: each text is UTF-8");
        texts.len()
    };
    let set = |row: usize| column.presence.get(row).is_none_or(|action| *action == 0);
    let len = match (&column.values, kind) {
        (Values::Boolean(values), Kind::Boolean) => values.len(),
        (Values::Int64(values), Kind::Int64) => values.len(),
        (Values::Float64(values), Kind::Float64) => {
            let finite = values.iter().enumerate().all(|(row, v)| v.is_finite() || !set(row));
            assert!(finite, "{path}: a float is finite");
            values.len()
        }
        (Values::Timestamp(values), Kind::Timestamp(_)) => values.len(),
        (Values::Date(values), Kind::Date) => values.len(),
        (Values::Utf8(values), Kind::Utf8) | (Values::Json(values), Kind::Json) => texts(values),
        (Values::Enumeration(codes), Kind::Enumeration(labels)) => {
            let known = codes
                .iter()
                .enumerate()
                .all(|(row, code)| (*code as usize) < labels.len() || !set(row));
            assert!(known, "{path}: a code is in the dictionary");
            codes.len()
        }
        (values, kind) => panic!("{path}: the column is not of {kind}: {values:?}"),
    };
    assert_eq!(len, rows, "{path}: one value an output row");
    assert!(column.presence.is_empty() || column.presence.len() == rows, "{path}: presence");
    assert!(column.presence.iter().all(|action| *action <= 3), "{path}: presence is 0 to 3");
}

/// Does to a record what a column says of a row.
pub(super) fn write(record: &mut Value, write: &Write, column: &Column, row: usize) {
    match column.presence.get(row) {
        None | Some(0) => set(record, &write.path, value(column, &write.kind, row)),
        Some(1) => {}
        Some(2) => set(record, &write.path, Value::Null),
        Some(_) => remove(record, &write.path),
    }
}

fn set(record: &mut Value, path: &Path, value: Value) {
    let mut place = record;
    for segment in &path.0 {
        place = match (segment, place) {
            (Segment::Key(key), place) => {
                if place.is_null() {
                    *place = Value::Object(Map::new());
                }
                let object = place.as_object_mut().expect("the parent of a write is an object");
                object.entry(key.clone()).or_insert(Value::Null)
            }
            (Segment::Index(index), place) => {
                place.get_mut(*index as usize).expect("the index of a write is in the array")
            }
        };
    }
    *place = value;
}

fn remove(record: &mut Value, path: &Path) {
    let Some((Segment::Key(last), parents)) = path.0.split_last() else { return };
    let parent = parents.iter().try_fold(record, |value, segment| match segment {
        Segment::Key(key) => value.get_mut(key),
        Segment::Index(index) => value.get_mut(*index as usize),
    });
    if let Some(object) = parent.and_then(Value::as_object_mut) {
        object.remove(last);
    }
}

fn value(column: &Column, kind: &Kind, row: usize) -> Value {
    match (&column.values, kind) {
        (Values::Boolean(values), _) => (values[row] != 0).into(),
        (Values::Int64(values), _) => values[row].into(),
        (Values::Float64(values), _) => values[row].into(),
        (Values::Timestamp(values), Kind::Timestamp(TimestampFormat::Rfc3339)) => {
            let time = jiff::Timestamp::from_microsecond(values[row]);
            time.expect("a time between the years -9999 and 9999").to_string().into()
        }
        (Values::Timestamp(values), Kind::Timestamp(format)) => {
            let unit = project::microseconds_in(*format);
            match values[row] % unit {
                0 => (values[row] / unit).into(),
                _ => (Timestamp(values[row]).0 as f64 / unit as f64).into(),
            }
        }
        (Values::Date(values), _) => {
            let (year, month, day) = Date(values[row]).ymd();
            format!("{year:04}-{month:02}-{day:02}").into()
        }
        (Values::Utf8(texts), _) => String::from_utf8_lossy(slice(texts, row)).into(),
        (Values::Enumeration(codes), Kind::Enumeration(labels)) => {
            labels[codes[row] as usize].clone().into()
        }
        (Values::Json(texts), _) => {
            serde_json::from_slice(slice(texts, row)).expect("written JSON is JSON")
        }
        (Values::Timestamp(_) | Values::Enumeration(_), kind) => {
            unreachable!("checked to be of {kind}")
        }
    }
}
