//! Structs that are written.

use std::borrow::Cow;

use crate::{
    Date, Field, Kind, Timestamp, TimestampFormat, Write,
    reply::{Column, ColumnBuilder, TextBuilder, Values},
};

/// A struct whose fields are written to each row.
///
/// `#[derive(Writes)]` implements it. A field is written to the record's member of its name, or to
/// the path of `#[write(path = "risk.level")]`; a timestamp as RFC 3339 text, or as
/// `#[write(format = "unix-seconds")]` says. `Option<T>` leaves the path as it is where it is
/// `None`; [`Field`](crate::Field) also says null and remove.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be written to rows",
    label = "a plugin returns a struct with `#[derive(Writes)]`, or a `Result` of one and a \
             `Reject`"
)]
pub trait Writes: Sized {
    /// The columns that are built.
    type Columns;

    /// What is written, in the order of the fields.
    fn writes() -> Vec<Write>;

    /// Columns without rows yet.
    fn columns(rows: usize) -> Self::Columns;

    /// Adds a row.
    fn push(self, columns: &mut Self::Columns);

    /// Adds a row that leaves everything as it is.
    fn leave(columns: &mut Self::Columns);

    /// The columns.
    fn finish(columns: Self::Columns) -> Vec<Column>;
}

/// A plugin that judges and writes nothing.
impl Writes for () {
    type Columns = ();

    fn writes() -> Vec<Write> {
        Vec::new()
    }

    fn columns(_: usize) {}

    fn push(self, (): &mut ()) {}

    fn leave((): &mut ()) {}

    fn finish((): ()) -> Vec<Column> {
        Vec::new()
    }
}

/// The type of a field that can be written: a [`Written`] type, an `Option` of one, or a
/// [`Field`] of one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a type that a field can be written as",
    label = "no column holds this type",
    note = "a field is written as `bool`, `i64`, `f64`, `&str`, `String`, `Cow<str>`, `Timestamp`, \
            `Date`, `JsonText` or an enum with `#[derive(Enumeration)]`, or as an `Option` or a \
            `Field` of one of these"
)]
pub trait WriteValue: Sized {
    /// What builds the column.
    type Builder: Builder;

    /// The kind of the column.
    fn kind(format: TimestampFormat) -> Kind;

    /// Adds a row.
    fn push(self, builder: &mut Self::Builder);

    /// The column.
    fn finish(builder: Self::Builder) -> Column;
}

/// A type that a written column holds.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a type that a field can be written as",
    label = "no column holds this type",
    note = "a field is written as `bool`, `i64`, `f64`, `&str`, `String`, `Cow<str>`, `Timestamp`, \
            `Date`, `JsonText` or an enum with `#[derive(Enumeration)]`, or as an `Option` or a \
            `Field` of one of these"
)]
pub trait Written: Sized {
    /// What builds the column.
    type Builder: Builder;

    /// The kind of the column.
    fn kind(format: TimestampFormat) -> Kind;

    /// Adds a row that sets its value.
    fn set(self, builder: &mut Self::Builder);

    /// The column.
    fn finish(builder: Self::Builder) -> Column;
}

/// Builds a column row by row.
pub trait Builder {
    /// No rows yet.
    fn with_rows(rows: usize) -> Self;

    /// Adds a row without a value.
    fn push_none(&mut self, action: Field<()>);
}

impl<T: Default> Builder for ColumnBuilder<T> {
    fn with_rows(rows: usize) -> Self {
        ColumnBuilder::with_capacity(rows)
    }

    #[inline]
    fn push_none(&mut self, action: Field<()>) {
        self.push(action.map(|()| T::default()));
    }
}

impl Builder for TextBuilder {
    fn with_rows(rows: usize) -> Self {
        TextBuilder::with_capacity(rows, 16 * rows)
    }

    #[inline]
    fn push_none(&mut self, action: Field<()>) {
        self.push(action.map(|()| ""));
    }
}

impl<T: Written> WriteValue for T {
    type Builder = T::Builder;

    fn kind(format: TimestampFormat) -> Kind {
        T::kind(format)
    }

    #[inline]
    fn push(self, builder: &mut Self::Builder) {
        self.set(builder);
    }

    fn finish(builder: Self::Builder) -> Column {
        T::finish(builder)
    }
}

impl<T: Written> WriteValue for Option<T> {
    type Builder = T::Builder;

    fn kind(format: TimestampFormat) -> Kind {
        T::kind(format)
    }

    #[inline]
    fn push(self, builder: &mut Self::Builder) {
        match self {
            Some(value) => value.set(builder),
            None => builder.push_none(Field::Leave),
        }
    }

    fn finish(builder: Self::Builder) -> Column {
        T::finish(builder)
    }
}

impl<T: Written> WriteValue for Field<T> {
    type Builder = T::Builder;

    fn kind(format: TimestampFormat) -> Kind {
        T::kind(format)
    }

    #[inline]
    fn push(self, builder: &mut Self::Builder) {
        match self {
            Field::Set(value) => value.set(builder),
            other => builder.push_none(other.map(|_| ())),
        }
    }

    fn finish(builder: Self::Builder) -> Column {
        T::finish(builder)
    }
}

/// JSON text to write as it is. The host refuses text that is no JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonText(pub String);

macro_rules! written {
    ($($type:ty: $builder:ty, $kind:expr, $wrap:path, $value:ident => $raw:expr;)*) => {$(
        impl Written for $type {
            type Builder = $builder;

            fn kind(format: TimestampFormat) -> Kind {
                let kind: fn(TimestampFormat) -> Kind = $kind;
                kind(format)
            }

            #[inline]
            fn set(self, builder: &mut $builder) {
                let $value = self;
                builder.set($raw);
            }

            fn finish(builder: $builder) -> Column {
                builder.finish($wrap)
            }
        }
    )*};
}

written! {
    bool: ColumnBuilder<u8>, |_| Kind::Boolean, Values::Boolean, value => u8::from(value);
    i64: ColumnBuilder<i64>, |_| Kind::Int64, Values::Int64, value => value;
    f64: ColumnBuilder<f64>, |_| Kind::Float64, Values::Float64, value => value;
    Timestamp: ColumnBuilder<i64>, Kind::Timestamp, Values::Timestamp, value => value.0;
    Date: ColumnBuilder<i32>, |_| Kind::Date, Values::Date, value => value.0;
    &str: TextBuilder, |_| Kind::Utf8, Values::Utf8, value => value;
    String: TextBuilder, |_| Kind::Utf8, Values::Utf8, value => &value;
    Cow<'_, str>: TextBuilder, |_| Kind::Utf8, Values::Utf8, value => &value;
    JsonText: TextBuilder, |_| Kind::Json, Values::Json, value => &value.0;
    super::Json<'_>: TextBuilder, |_| Kind::Json, Values::Json, value => value.0;
}
