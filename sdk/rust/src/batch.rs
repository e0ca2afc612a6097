//! What a plugin is called with: rows as typed columns, borrowed from the host.

use std::fmt;

use crate::{
    blocks, fault,
    time::{Date, Timestamp},
};

/// The rows that a plugin is called with, one column for each read of its description.
///
/// The typed accessors panic when a column is of another kind than asked for. That is a mistake
/// in the plugin: the host checks its side before the call.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// How many rows; every column has this many.
    pub rows: usize,
    /// One for each read of the description, in its order.
    pub columns: &'a [Column<'a>],
    /// The states of the batch's keys; empty for a plugin that declares none.
    pub states: States<'a>,
}

impl<'a> Batch<'a> {
    /// The rows in order, each noted as the current one, so that a panic names its row.
    pub fn rows(&self) -> Rows {
        Rows { next: 0, end: self.rows }
    }

    /// Column `read`, of booleans.
    pub fn boolean(&self, read: usize) -> Cells<'a, bool> {
        let column = self.column(read);
        match column.values {
            Values::Boolean(values) => Cells { values, presence: column.presence },
            _ => column.is_not("boolean", read),
        }
    }

    /// Column `read`, of integers.
    pub fn int64(&self, read: usize) -> Cells<'a, i64> {
        let column = self.column(read);
        match column.values {
            Values::Int64(values) => Cells { values, presence: column.presence },
            _ => column.is_not("int64", read),
        }
    }

    /// Column `read`, of floats.
    pub fn float64(&self, read: usize) -> Cells<'a, f64> {
        let column = self.column(read);
        match column.values {
            Values::Float64(values) => Cells { values, presence: column.presence },
            _ => column.is_not("float64", read),
        }
    }

    /// Column `read`, of timestamps.
    pub fn timestamp(&self, read: usize) -> Cells<'a, Timestamp> {
        let column = self.column(read);
        match column.values {
            Values::Timestamp(values) => Cells { values, presence: column.presence },
            _ => column.is_not("timestamp", read),
        }
    }

    /// Column `read`, of dates.
    pub fn date(&self, read: usize) -> Cells<'a, Date> {
        let column = self.column(read);
        match column.values {
            Values::Date(values) => Cells { values, presence: column.presence },
            _ => column.is_not("date", read),
        }
    }

    /// Column `read`, of text.
    pub fn utf8(&self, read: usize) -> Texts<'a> {
        let column = self.column(read);
        match column.values {
            Values::Utf8(texts) => Texts { texts, presence: column.presence },
            _ => column.is_not("utf8", read),
        }
    }

    /// Column `read`, of codes into the dictionary of its kind.
    pub fn enumeration(&self, read: usize) -> Cells<'a, u32> {
        let column = self.column(read);
        match column.values {
            Values::Enumeration(values) => Cells { values, presence: column.presence },
            _ => column.is_not("enumeration", read),
        }
    }

    /// Column `read`, of raw JSON texts.
    pub fn json(&self, read: usize) -> Texts<'a> {
        let column = self.column(read);
        match column.values {
            Values::Json(texts) => Texts { texts, presence: column.presence },
            _ => column.is_not("json", read),
        }
    }

    /// The presence of column `read`, of whatever kind.
    pub fn presence(&self, read: usize) -> Presences<'a> {
        Presences { bytes: self.column(read).presence }
    }

    fn column(&self, read: usize) -> Column<'a> {
        self.columns[read]
    }
}

/// The rows of a batch, see [`Batch::rows`].
#[derive(Clone, Debug)]
pub struct Rows {
    next: usize,
    end: usize,
}

impl Iterator for Rows {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        if self.next == self.end {
            return None;
        }
        let row = self.next;
        fault::note_row(row);
        self.next += 1;
        Some(row)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.end - self.next, Some(self.end - self.next))
    }
}

impl ExactSizeIterator for Rows {}

/// A column and which of its rows hold a value.
#[derive(Clone, Copy, Debug)]
pub struct Column<'a> {
    /// One value a row; where there is none, an arbitrary one of the kind.
    pub values: Values<'a>,
    /// Empty when every row holds a value, else one byte a row: 0, or that of an [`Absence`].
    pub presence: &'a [u8],
}

impl Column<'_> {
    #[cold]
    fn is_not(&self, kind: &str, read: usize) -> ! {
        panic!("read {read} is a column of {}, not of {kind}", self.values.kind_name())
    }
}

/// One value a row.
#[derive(Clone, Copy, Debug)]
pub enum Values<'a> {
    /// 0 or 1 a row.
    Boolean(&'a [u8]),
    /// Signed integers.
    Int64(&'a [i64]),
    /// Floats.
    Float64(&'a [f64]),
    /// Microseconds since the epoch.
    Timestamp(&'a [i64]),
    /// Days since the epoch.
    Date(&'a [i32]),
    /// Text.
    Utf8(Text<'a>),
    /// Codes into the dictionary of the kind.
    Enumeration(&'a [u32]),
    /// Raw JSON text.
    Json(Text<'a>),
}

impl Values<'_> {
    fn kind_name(&self) -> &'static str {
        match self {
            Values::Boolean(_) => "boolean",
            Values::Int64(_) => "int64",
            Values::Float64(_) => "float64",
            Values::Timestamp(_) => "timestamp",
            Values::Date(_) => "date",
            Values::Utf8(_) => "utf8",
            Values::Enumeration(_) => "enumeration",
            Values::Json(_) => "json",
        }
    }
}

/// Texts back to back: text `i` is `bytes[offsets[i]..offsets[i + 1]]`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Text<'a> {
    /// One entry more than there are texts.
    pub offsets: &'a [u32],
    /// The texts.
    pub bytes: &'a str,
}

impl<'a> Text<'a> {
    /// Text `i`.
    #[inline]
    pub fn get(&self, i: usize) -> &'a str {
        &self.bytes[self.offsets[i] as usize..self.offsets[i + 1] as usize]
    }
}

/// Why a row has no value of the kind that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Absence {
    /// Nothing at the path.
    Missing = 1,
    /// A null.
    Null = 2,
    /// A value of another JSON type.
    OtherType = 3,
    /// The right type, but no such value in the kind.
    OutOfRange = 4,
    /// The right JSON type, but not the kind's syntax: a timestamp that is none.
    Malformed = 5,
}

impl Absence {
    /// Whether there is nothing at all: no such field, or a null.
    #[inline]
    pub fn is_empty(self) -> bool {
        matches!(self, Absence::Missing | Absence::Null)
    }

    /// The word for it, for a finding's detail.
    pub fn name(self) -> &'static str {
        match self {
            Absence::Missing => "missing",
            Absence::Null => "null",
            Absence::OtherType => "of another type",
            Absence::OutOfRange => "out of range",
            Absence::Malformed => "malformed",
        }
    }

    #[inline]
    fn check(presence: &[u8], row: usize) -> Result<(), Absence> {
        if presence.is_empty() {
            return Ok(());
        }
        Absence::from_byte(presence[row]).map_or(Ok(()), Err)
    }

    #[inline]
    fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => None,
            1 => Some(Absence::Missing),
            2 => Some(Absence::Null),
            3 => Some(Absence::OtherType),
            4 => Some(Absence::OutOfRange),
            _ => Some(Absence::Malformed),
        }
    }
}

impl fmt::Display for Absence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A value of a fixed width, and how it stands in a column.
pub trait Fixed: Copy {
    /// The type in the column.
    type Raw: Copy;

    /// The value of what stands in the column.
    fn from_raw(raw: Self::Raw) -> Self;
}

macro_rules! fixed {
    ($($type:ty = $raw:ident: $width:ty => $value:expr;)*) => {$(
        impl Fixed for $type {
            type Raw = $width;

            #[inline]
            fn from_raw($raw: $width) -> Self {
                $value
            }
        }
    )*};
}

fixed! {
    bool = raw: u8 => raw != 0;
    i64 = raw: i64 => raw;
    f64 = raw: f64 => raw;
    u32 = raw: u32 => raw;
    Timestamp = raw: i64 => Timestamp(raw);
    Date = raw: i32 => Date(raw);
}

/// A column's cells of a fixed width.
#[derive(Clone, Copy, Debug)]
pub struct Cells<'a, T: Fixed> {
    /// One value a row; where there is none, an arbitrary one.
    pub values: &'a [T::Raw],
    /// Empty when every row holds a value, else one byte a row, 0 where it does.
    pub presence: &'a [u8],
}

impl<T: Fixed> Cells<'_, T> {
    /// The value of a row, or why there is none.
    #[inline]
    pub fn get(&self, row: usize) -> Result<T, Absence> {
        Absence::check(self.presence, row)?;
        Ok(T::from_raw(self.values[row]))
    }
}

/// A column of text.
#[derive(Clone, Copy, Debug)]
pub struct Texts<'a> {
    /// One text a row; where there is none, an arbitrary one.
    pub texts: Text<'a>,
    /// Empty when every row holds a value, else one byte a row, 0 where it does.
    pub presence: &'a [u8],
}

impl<'a> Texts<'a> {
    /// The text of a row, or why there is none.
    #[inline]
    pub fn get(&self, row: usize) -> Result<&'a str, Absence> {
        Absence::check(self.presence, row)?;
        Ok(self.texts.get(row))
    }

    /// The bytes of a row's text, or why there is none. For who looks at bytes anyway: a `str` is
    /// checked for where it is cut.
    #[inline]
    pub fn bytes(&self, row: usize) -> Result<&'a [u8], Absence> {
        Absence::check(self.presence, row)?;
        let Text { offsets, bytes } = self.texts;
        Ok(&bytes.as_bytes()[offsets[row] as usize..offsets[row + 1] as usize])
    }
}

/// Which rows of a column hold a value.
#[derive(Clone, Copy, Debug)]
pub struct Presences<'a> {
    bytes: &'a [u8],
}

impl Presences<'_> {
    /// Whether every row holds a value.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether a row holds a value, or why not.
    #[inline]
    pub fn get(&self, row: usize) -> Result<(), Absence> {
        Absence::check(self.bytes, row)
    }

    /// Calls `look` with the rows that hold none, in order, and why. Where nearly all hold one this
    /// is much faster than asking for each.
    #[inline]
    pub fn each_absence(self, mut look: impl FnMut(usize, Absence)) {
        blocks::each_set(self.bytes, |row, byte| {
            if let Some(absence) = Absence::from_byte(byte) {
                look(row, absence);
            }
        });
    }
}

/// The states of the distinct keys of a batch.
#[derive(Clone, Copy, Debug, Default)]
pub struct States<'a> {
    /// For each row, the index of its key.
    pub rows: &'a [u32],
    /// One entry more than there are keys.
    pub offsets: &'a [u32],
    /// The states back to back; an empty one means that the key has none yet.
    pub bytes: &'a [u8],
}

impl<'a> States<'a> {
    /// How many keys there are.
    pub fn keys(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// The state of a key; empty when it has none yet.
    #[inline]
    pub fn get(&self, key: usize) -> &'a [u8] {
        &self.bytes[self.offsets[key] as usize..self.offsets[key + 1] as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absences_are_those_of_single_rows() {
        for rows in 0..30 {
            for period in 1..12 {
                let bytes: Vec<u8> =
                    (0..rows).map(|row| if row % period == 1 { row % 6 } else { 0 }).collect();
                let found = Presences { bytes: &bytes };
                let one_by_one: Vec<_> = (0..rows as usize)
                    .filter_map(|row| Some((row, found.get(row).err()?)))
                    .collect();
                let mut seen = Vec::new();
                found.each_absence(|row, absence| seen.push((row, absence)));
                assert_eq!(seen, one_by_one, "{bytes:?}");
            }
        }
    }
}
