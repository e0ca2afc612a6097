//! Columns, cell by cell: for the few places where rows of different columns meet.

use tidegate_core::{Column, Kind, Presence, Values, Write, column::Binary, json};

/// Appends what stands in a row of a column that was read.
pub(crate) fn push_read(into: &mut Column, from: &Column, row: usize) {
    match from.presence_of(row) {
        0 => push_value(into, from, row),
        presence => push_absent(into, presence),
    }
}

/// Appends a value of a column of the same kind.
pub(crate) fn push_value(into: &mut Column, from: &Column, row: usize) {
    match (&mut into.values, &from.values) {
        (Values::Boolean(to), Values::Boolean(from)) => to.push(from[row]),
        (Values::Int64(to), Values::Int64(from)) => to.push(from[row]),
        (Values::Timestamp(to), Values::Timestamp(from)) => to.push(from[row]),
        (Values::Float64(to), Values::Float64(from)) => to.push(from[row]),
        (Values::Date(to), Values::Date(from)) => to.push(from[row]),
        (Values::Enumeration(to), Values::Enumeration(from)) => to.push(from[row]),
        (Values::Utf8(to), Values::Utf8(from)) | (Values::Json(to), Values::Json(from)) => {
            to.push(from.get(row));
        }
        // Kinds were matched when the plan was made.
        _ => return push_absent(into, Presence::OtherType as u8),
    }
    pushed(into);
}

/// Appends a text to a column of texts.
pub(crate) fn push_text(into: &mut Column, text: &[u8]) {
    match &mut into.values {
        Values::Utf8(to) | Values::Json(to) => to.push(text),
        _ => return push_absent(into, Presence::OtherType as u8),
    }
    pushed(into);
}

/// Appends a code to a column of codes.
pub(crate) fn push_code(into: &mut Column, code: u32) {
    match &mut into.values {
        Values::Enumeration(to) => to.push(code),
        _ => return push_absent(into, Presence::OtherType as u8),
    }
    pushed(into);
}

/// Appends a float to a column of floats.
pub(crate) fn push_float(into: &mut Column, value: f64) {
    match &mut into.values {
        Values::Float64(to) => to.push(value),
        _ => return push_absent(into, Presence::OtherType as u8),
    }
    pushed(into);
}

/// Appends a timestamp to a column of timestamps.
pub(crate) fn push_time(into: &mut Column, micros: i64) {
    match &mut into.values {
        Values::Timestamp(to) => to.push(micros),
        _ => return push_absent(into, Presence::OtherType as u8),
    }
    pushed(into);
}

fn pushed(into: &mut Column) {
    if !into.presence.is_empty() {
        into.presence.push(0);
    }
}

/// Appends a row without a value.
pub(crate) fn push_absent(into: &mut Column, presence: u8) {
    into.presence.resize(into.values.len(), 0);
    pad(&mut into.values);
    into.presence.push(presence);
}

fn pad(values: &mut Values) {
    match values {
        Values::Boolean(values) => values.push(0),
        Values::Int64(values) | Values::Timestamp(values) => values.push(0),
        Values::Float64(values) => values.push(0.0),
        Values::Date(values) => values.push(0),
        Values::Enumeration(values) => values.push(0),
        Values::Utf8(values) | Values::Json(values) => values.close(),
    }
}

/// Appends all rows of a column of the same kind, as they are.
pub(crate) fn append(into: &mut Column, from: &Column) {
    let (before, more) = (into.values.len(), from.values.len());
    match (&mut into.values, &from.values) {
        (Values::Boolean(to), Values::Boolean(from)) => to.extend_from_slice(from),
        (Values::Int64(to), Values::Int64(from)) => to.extend_from_slice(from),
        (Values::Timestamp(to), Values::Timestamp(from)) => to.extend_from_slice(from),
        (Values::Float64(to), Values::Float64(from)) => to.extend_from_slice(from),
        (Values::Date(to), Values::Date(from)) => to.extend_from_slice(from),
        (Values::Enumeration(to), Values::Enumeration(from)) => to.extend_from_slice(from),
        (Values::Utf8(to), Values::Utf8(from)) | (Values::Json(to), Values::Json(from)) => {
            append_binary(to, from);
        }
        _ => return (0..more).for_each(|_| push_absent(into, Write::Leave as u8)),
    }
    if !into.presence.is_empty() || !from.presence.is_empty() {
        into.presence.resize(before, 0);
        into.presence.extend_from_slice(&from.presence);
        into.presence.resize(before + more, 0);
    }
}

pub(crate) fn append_binary(into: &mut Binary, from: &Binary) {
    (0..from.len()).for_each(|i| into.push(from.get(i)));
}

/// Whether two cells hold the same value; both columns hold one there. Floats are compared by
/// their bits: that is what is written.
pub(crate) fn same_value(a: &Column, i: usize, b: &Column, j: usize) -> bool {
    match (&a.values, &b.values) {
        (Values::Boolean(a), Values::Boolean(b)) => a[i] == b[j],
        (Values::Int64(a), Values::Int64(b)) | (Values::Timestamp(a), Values::Timestamp(b)) => {
            a[i] == b[j]
        }
        (Values::Float64(a), Values::Float64(b)) => a[i].to_bits() == b[j].to_bits(),
        (Values::Date(a), Values::Date(b)) => a[i] == b[j],
        (Values::Enumeration(a), Values::Enumeration(b)) => a[i] == b[j],
        (Values::Utf8(a), Values::Utf8(b)) | (Values::Json(a), Values::Json(b)) => {
            a.get(i) == b.get(j)
        }
        _ => false,
    }
}

/// Appends the JSON text of a value.
pub(crate) fn render(column: &Column, kind: &Kind, row: usize, out: &mut Vec<u8>) {
    match (&column.values, kind) {
        (Values::Boolean(values), _) => {
            out.extend_from_slice(if values[row] != 0 { b"true" } else { b"false" });
        }
        (Values::Int64(values), _) => {
            out.extend_from_slice(itoa::Buffer::new().format(values[row]).as_bytes());
        }
        (Values::Float64(values), _) => json::write_float64(values[row], out),
        (Values::Timestamp(values), Kind::Timestamp(format)) => {
            json::write_timestamp(values[row], *format, out);
        }
        (Values::Timestamp(values), _) => {
            out.extend_from_slice(itoa::Buffer::new().format(values[row]).as_bytes());
        }
        (Values::Date(values), _) => json::write_date(values[row], out),
        (Values::Utf8(values), _) => json::write_string(values.get(row), out),
        (Values::Enumeration(codes), Kind::Enumeration(words)) => {
            match words.get(codes[row] as usize) {
                Some(word) => json::write_string(word.as_bytes(), out),
                None => out.extend_from_slice(b"null"),
            }
        }
        (Values::Enumeration(_), _) => out.extend_from_slice(b"null"),
        (Values::Json(values), _) => out.extend_from_slice(values.get(row)),
    }
}
