//! What is to be written, and what may be in the way.

use super::{time_text, write};
use crate::{
    column::{Column, Values, Write},
    description::{Kind, TimestampFormat},
    failure::Failure,
    path::Path,
};

/// A value to be written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// `true` or `false`.
    Boolean(bool),
    /// An integer.
    Int64(i64),
    /// A float, which must be finite.
    Float64(f64),
    /// Microseconds since the epoch, and how to write them.
    Timestamp(i64, TimestampFormat),
    /// Days since the epoch.
    Date(i32),
    /// UTF-8 text, unescaped; an enumeration's entry as well.
    Utf8(&'a [u8]),
    /// Valid JSON text, written as it is.
    Json(&'a [u8]),
}

/// What becomes of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Change<'a> {
    /// It is set to a value.
    Set(Value<'a>),
    /// It is set to null.
    Null,
    /// It is removed.
    Remove,
}

impl<'a> Change<'a> {
    /// What a row of a reply's column asks for; nothing where the field is to be left as it is.
    /// The reply has been checked: the column is of `kind`, and its codes are in the dictionary.
    pub fn of(column: &'a Column, kind: &'a Kind, row: usize) -> Option<Self> {
        match Write::from_byte(column.presence_of(row))? {
            Write::Leave => return None,
            Write::Null => return Some(Change::Null),
            Write::Remove => return Some(Change::Remove),
            Write::Set => {}
        }
        Some(Change::Set(match (&column.values, kind) {
            (Values::Boolean(values), _) => Value::Boolean(values[row] != 0),
            (Values::Int64(values), _) => Value::Int64(values[row]),
            (Values::Float64(values), _) => Value::Float64(values[row]),
            (Values::Timestamp(values), Kind::Timestamp(format)) => {
                Value::Timestamp(values[row], *format)
            }
            (Values::Timestamp(values), _) => {
                Value::Timestamp(values[row], TimestampFormat::Rfc3339)
            }
            (Values::Date(values), _) => Value::Date(values[row]),
            (Values::Enumeration(codes), Kind::Enumeration(dictionary)) => {
                Value::Utf8(dictionary.get(codes[row] as usize)?.as_bytes())
            }
            (Values::Enumeration(_), _) => return None,
            (Values::Utf8(values), _) => Value::Utf8(values.get(row)),
            (Values::Json(values), _) => Value::Json(values.get(row)),
        }))
    }

    /// Why the value has no text, if it has none.
    pub(super) fn conflict(&self) -> Option<Conflict> {
        let has_text = match *self {
            Change::Set(Value::Float64(value)) => value.is_finite(),
            Change::Set(Value::Timestamp(micros, TimestampFormat::Rfc3339)) => {
                time_text::timestamp_has_text(micros)
            }
            Change::Set(Value::Date(days)) => time_text::date_has_text(days),
            _ => true,
        };
        (!has_text).then_some(Conflict::NoText)
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match *self {
            Change::Null => out.extend_from_slice(b"null"),
            Change::Set(Value::Boolean(true)) => out.extend_from_slice(b"true"),
            Change::Set(Value::Boolean(false)) => out.extend_from_slice(b"false"),
            Change::Set(Value::Int64(value)) => write::write_int64(value, out),
            Change::Set(Value::Float64(value)) => write::write_float64(value, out),
            Change::Set(Value::Timestamp(value, format)) => {
                write::write_timestamp(value, format, out)
            }
            Change::Set(Value::Date(value)) => write::write_date(value, out),
            Change::Set(Value::Utf8(text)) => write::write_string(text, out),
            Change::Set(Value::Json(text)) => out.extend_from_slice(text),
            Change::Remove => {}
        }
    }
}

/// A change of one path.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Edit<'a> {
    /// The path's place in the projector's writes.
    pub path: usize,
    /// What becomes of it.
    pub change: Change<'a>,
}

/// A column that was written, and for which path.
#[derive(Clone, Copy, Debug)]
pub struct WrittenColumn<'a> {
    /// The path's place in the projector's writes.
    pub path: usize,
    /// The column, of a reply that was checked.
    pub column: &'a Column,
    /// Its kind.
    pub kind: &'a Kind,
    /// For each row its place in the column, [`WrittenColumn::NOWHERE`] for one that was not
    /// written to; without it, a row's place is its number.
    pub places: Option<&'a [u32]>,
}

impl<'a> WrittenColumn<'a> {
    /// The place of a row that the column has nothing for.
    pub const NOWHERE: u32 = u32::MAX;

    /// Where the column has something for a row.
    #[inline]
    pub(super) fn place(&self, row: usize) -> Option<usize> {
        match self.places {
            None => Some(row),
            Some(places) => (places[row] != Self::NOWHERE).then(|| places[row] as usize),
        }
    }

    /// What is to become of the path in a row.
    pub(super) fn edit(&self, row: usize) -> Option<Edit<'a>> {
        let change = Change::of(self.column, self.kind, self.place(row)?)?;
        Some(Edit { path: self.path, change })
    }
}

/// A row can't take what was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("can't write `{path}`: {reason}")]
pub struct WriteConflict {
    /// The path that was to be written.
    pub path: Path,
    /// What is in the way.
    pub reason: Conflict,
}

impl WriteConflict {
    /// The stable code in dead letters, metrics and docs.
    pub const CODE: &'static str = "write-conflict";

    /// What it asks for: the record is at fault, always.
    pub fn failure(&self) -> Failure {
        Failure::Reject
    }
}

/// What is in the way of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// The record is no object.
    #[error("the record is not an object")]
    NotAnObject,
    /// Something above the path is of another type than the path needs.
    #[error("a parent is of another type")]
    ParentType,
    /// The array is shorter.
    #[error("the array has no such element")]
    IndexOutOfRange,
    /// It would move the other elements.
    #[error("an array's element can't be removed, only set or set to null")]
    RemovesElement,
    /// Nothing would be left.
    #[error("the whole record can't be removed: drop it instead")]
    RemovesRecord,
    /// A float that is not finite, or a year outside 0 to 9999.
    #[error("the value has no text form")]
    NoText,
    /// An earlier edit's JSON text is no JSON, or too deep.
    #[error("what was written above it is not valid JSON")]
    InvalidJson,
}
