//! Structs that are read.

use crate::{
    Absence, Batch, Date, Kind, Read, Timestamp, TimestampFormat,
    batch::{Cells, Texts},
};

/// A struct whose fields are read from each row.
///
/// `#[derive(Reads)]` implements it. A field is read from the record's member of its name, or as
/// an attribute says:
///
/// | attribute | reads |
/// |---|---|
/// | `#[read(path = "merchant.id")]` | the field at a path |
/// | `#[read(host = "@batch-time")]` | what the host knows |
/// | `#[read(format = "unix-seconds")]` | a timestamp that is no RFC 3339 text |
/// | `#[read(key)]` | the key of the plugin's state, or one of its parts |
/// | `#[lookup(table = "merchants", key = "merchant.id")]` | a cell of a table's column of the field's name |
/// | `#[lookup(table = "merchants", key = "merchant.id", column = "risk")]` | a cell of another column |
///
/// A field of a plain type is required: the host rejects a row without it before the plugin sees
/// it. `Option<T>` is `None` where there is no value, and `Result<T, Absence>` says why.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be read from rows",
    label = "the row of a plugin is a struct with `#[derive(Reads)]`"
)]
pub trait Reads<'a>: Sized {
    /// The columns that a row is read from.
    type Columns;

    /// How many of the fields make up the key of the state.
    const KEYS: usize;

    /// What is read, in the order of the fields.
    fn reads() -> Vec<Read>;

    /// The indices of the reads that make up the key of the state.
    fn key() -> Vec<u32>;

    /// Finds the columns in a batch.
    fn bind(batch: &Batch<'a>) -> Self::Columns;

    /// A row.
    fn row(columns: &Self::Columns, row: usize) -> Self;
}

/// The type of a field that can be read: a [`Value`], an `Option` of one, or a `Result` of one and
/// an [`Absence`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a type that a field can be read as",
    label = "no column holds this type",
    note = "a field is read as `bool`, `i64`, `f64`, `&'a str`, `Timestamp`, `Date`, `Json<'a>` or \
            an enum with `#[derive(Enumeration)]`, or as an `Option` of one of these"
)]
pub trait ReadValue<'a>: Sized {
    /// The column's cells.
    type Cells;

    /// Whether the host rejects rows without a value.
    const REQUIRED: bool;

    /// The kind of the column.
    fn kind(format: TimestampFormat) -> Kind;

    /// Finds the column in a batch.
    fn bind(batch: &Batch<'a>, read: usize) -> Self::Cells;

    /// The value of a row.
    fn get(cells: &Self::Cells, row: usize) -> Result<Self, Absence>;
}

/// A type that a column holds.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a type that a field can be read as",
    label = "no column holds this type",
    note = "a field is read as `bool`, `i64`, `f64`, `&'a str`, `Timestamp`, `Date`, `Json<'a>` or \
            an enum with `#[derive(Enumeration)]`, or as an `Option` of one of these"
)]
pub trait Value<'a>: Sized {
    /// The column's cells.
    type Cells;

    /// The kind of the column.
    fn kind(format: TimestampFormat) -> Kind;

    /// Finds the column in a batch.
    fn bind(batch: &Batch<'a>, read: usize) -> Self::Cells;

    /// The value of a row, or why there is none.
    fn get(cells: &Self::Cells, row: usize) -> Result<Self, Absence>;
}

/// The raw JSON text of a subtree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Json<'a>(pub &'a str);

impl<'a, T: Value<'a>> ReadValue<'a> for T {
    type Cells = T::Cells;

    const REQUIRED: bool = true;

    fn kind(format: TimestampFormat) -> Kind {
        T::kind(format)
    }

    fn bind(batch: &Batch<'a>, read: usize) -> Self::Cells {
        T::bind(batch, read)
    }

    #[inline]
    fn get(cells: &Self::Cells, row: usize) -> Result<Self, Absence> {
        T::get(cells, row)
    }
}

impl<'a, T: Value<'a>> ReadValue<'a> for Option<T> {
    type Cells = T::Cells;

    const REQUIRED: bool = false;

    fn kind(format: TimestampFormat) -> Kind {
        T::kind(format)
    }

    fn bind(batch: &Batch<'a>, read: usize) -> Self::Cells {
        T::bind(batch, read)
    }

    #[inline]
    fn get(cells: &Self::Cells, row: usize) -> Result<Self, Absence> {
        Ok(T::get(cells, row).ok())
    }
}

impl<'a, T: Value<'a>> ReadValue<'a> for Result<T, Absence> {
    type Cells = T::Cells;

    const REQUIRED: bool = false;

    fn kind(format: TimestampFormat) -> Kind {
        T::kind(format)
    }

    fn bind(batch: &Batch<'a>, read: usize) -> Self::Cells {
        T::bind(batch, read)
    }

    #[inline]
    fn get(cells: &Self::Cells, row: usize) -> Result<Self, Absence> {
        Ok(T::get(cells, row))
    }
}

macro_rules! values {
    ($($type:ty: $cells:ty, $kind:expr, $bind:ident, $made:expr;)*) => {$(
        impl<'a> Value<'a> for $type {
            type Cells = $cells;

            fn kind(format: TimestampFormat) -> Kind {
                let kind: fn(TimestampFormat) -> Kind = $kind;
                kind(format)
            }

            fn bind(batch: &Batch<'a>, read: usize) -> Self::Cells {
                batch.$bind(read)
            }

            #[inline]
            fn get(cells: &Self::Cells, row: usize) -> Result<Self, Absence> {
                cells.get(row).map($made)
            }
        }
    )*};
}

values! {
    bool: Cells<'a, bool>, |_| Kind::Boolean, boolean, |value| value;
    i64: Cells<'a, i64>, |_| Kind::Int64, int64, |value| value;
    f64: Cells<'a, f64>, |_| Kind::Float64, float64, |value| value;
    Timestamp: Cells<'a, Timestamp>, Kind::Timestamp, timestamp, |value| value;
    Date: Cells<'a, Date>, |_| Kind::Date, date, |value| value;
    &'a str: Texts<'a>, |_| Kind::Utf8, utf8, |value| value;
    Json<'a>: Texts<'a>, |_| Kind::Json, json, Json;
}

/// Says that a required field has no value.
///
/// # Panics
/// Always: the host rejects such a row, and never hands it to a plugin.
#[cold]
pub fn absent(field: &str, absence: Absence) -> ! {
    panic!("the required field `{field}` is {absence}, and the host should have rejected the row")
}
