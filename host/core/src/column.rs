//! Typed columns: one value a row, in Arrow's layout, as they cross the sandbox's border.

use crate::description::Kind;

/// Byte strings back to back: value `i` is `bytes[offsets[i]..offsets[i + 1]]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Binary {
    /// One entry more than there are values, from 0, never decreasing; or none for no values.
    pub offsets: Vec<u32>,
    /// The values.
    pub bytes: Vec<u8>,
}

impl Binary {
    /// How many values there are.
    pub fn len(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Value `i`.
    pub fn get(&self, i: usize) -> &[u8] {
        &self.bytes[self.offsets[i] as usize..self.offsets[i + 1] as usize]
    }

    /// Adds a value.
    ///
    /// # Panics
    /// When the values together pass 4 GiB: batches are bounded far below.
    pub fn push(&mut self, value: &[u8]) {
        self.bytes.extend_from_slice(value);
        self.close();
    }

    /// Ends the value whose bytes were appended to `bytes` since the last one.
    pub fn close(&mut self) {
        if self.offsets.is_empty() {
            self.offsets.push(0);
        }
        let end = u32::try_from(self.bytes.len()).expect("a batch is bounded far below 4 GiB");
        self.offsets.push(end);
    }

    /// Forgets all values and keeps the memory.
    pub fn clear(&mut self) {
        self.offsets.clear();
        self.bytes.clear();
    }
}

impl<T: AsRef<[u8]>> FromIterator<T> for Binary {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        let mut binary = Binary::default();
        values.into_iter().for_each(|value| binary.push(value.as_ref()));
        binary
    }
}

/// One value a row. A row without a value has an arbitrary one in its slot.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// 0 or 1 a row.
    Boolean(Vec<u8>),
    /// Signed integers.
    Int64(Vec<i64>),
    /// Floats.
    Float64(Vec<f64>),
    /// Microseconds since the epoch.
    Timestamp(Vec<i64>),
    /// Days since the epoch.
    Date(Vec<i32>),
    /// UTF-8 text, unescaped.
    Utf8(Binary),
    /// Codes into the kind's dictionary.
    Enumeration(Vec<u32>),
    /// Raw JSON text.
    Json(Binary),
}

impl Values {
    /// No values, of a kind.
    pub fn empty(kind: &Kind) -> Self {
        match kind {
            Kind::Boolean => Values::Boolean(Vec::new()),
            Kind::Int64 => Values::Int64(Vec::new()),
            Kind::Float64 => Values::Float64(Vec::new()),
            Kind::Timestamp(_) => Values::Timestamp(Vec::new()),
            Kind::Date => Values::Date(Vec::new()),
            Kind::Utf8 => Values::Utf8(Binary::default()),
            Kind::Enumeration(_) => Values::Enumeration(Vec::new()),
            Kind::Json => Values::Json(Binary::default()),
        }
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        match self {
            Values::Boolean(values) => values.len(),
            Values::Int64(values) | Values::Timestamp(values) => values.len(),
            Values::Float64(values) => values.len(),
            Values::Date(values) => values.len(),
            Values::Enumeration(values) => values.len(),
            Values::Utf8(values) | Values::Json(values) => values.len(),
        }
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets all rows and keeps the memory.
    pub fn clear(&mut self) {
        match self {
            Values::Boolean(values) => values.clear(),
            Values::Int64(values) | Values::Timestamp(values) => values.clear(),
            Values::Float64(values) => values.clear(),
            Values::Date(values) => values.clear(),
            Values::Enumeration(values) => values.clear(),
            Values::Utf8(values) | Values::Json(values) => values.clear(),
        }
    }

    /// Whether these are values of a kind.
    pub fn is_of(&self, kind: &Kind) -> bool {
        matches!(
            (self, kind),
            (Values::Boolean(_), Kind::Boolean)
                | (Values::Int64(_), Kind::Int64)
                | (Values::Float64(_), Kind::Float64)
                | (Values::Timestamp(_), Kind::Timestamp(_))
                | (Values::Date(_), Kind::Date)
                | (Values::Utf8(_), Kind::Utf8)
                | (Values::Enumeration(_), Kind::Enumeration(_))
                | (Values::Json(_), Kind::Json)
        )
    }
}

/// What was found at a path that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Presence {
    /// A value of the kind.
    Value = 0,
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

impl Presence {
    /// The presence of a byte of a presence list.
    pub fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Presence::Value,
            1 => Presence::Missing,
            2 => Presence::Null,
            3 => Presence::OtherType,
            4 => Presence::OutOfRange,
            5 => Presence::Malformed,
            _ => return None,
        })
    }
}

/// What a reply asks to be done with a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Write {
    /// Set it to the value.
    Set = 0,
    /// Leave it as it is.
    Leave = 1,
    /// Set it to null.
    Null = 2,
    /// Remove it.
    Remove = 3,
}

impl Write {
    /// The write of a byte of a reply's presence list.
    pub fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Write::Set,
            1 => Write::Leave,
            2 => Write::Null,
            3 => Write::Remove,
            _ => return None,
        })
    }
}

/// A column and which of its rows hold a value.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// One value a row.
    pub values: Values,
    /// Empty when every row holds a value; else a [`Presence`] (read) or [`Write`] (written) byte
    /// a row.
    pub presence: Vec<u8>,
}

impl Column {
    /// A column without rows.
    pub fn empty(kind: &Kind) -> Self {
        Column { values: Values::empty(kind), presence: Vec::new() }
    }

    /// The presence byte of a row.
    pub fn presence_of(&self, row: usize) -> u8 {
        self.presence.get(row).copied().unwrap_or(0)
    }

    /// Forgets all rows and keeps the memory.
    pub fn clear(&mut self) {
        self.values.clear();
        self.presence.clear();
    }

    /// Makes `into`, a column of the same kind, this column's rows at `rows`, in their order:
    /// what a stage with a `when` is called with.
    ///
    /// # Panics
    /// When this column lacks a row, or `into` is of another kind.
    pub fn gather(&self, rows: &[u32], into: &mut Column) {
        into.clear();
        match (&self.values, &mut into.values) {
            (Values::Boolean(from), Values::Boolean(to)) => pick(from, rows, to),
            (Values::Int64(from), Values::Int64(to))
            | (Values::Timestamp(from), Values::Timestamp(to)) => pick(from, rows, to),
            (Values::Float64(from), Values::Float64(to)) => pick(from, rows, to),
            (Values::Date(from), Values::Date(to)) => pick(from, rows, to),
            (Values::Enumeration(from), Values::Enumeration(to)) => pick(from, rows, to),
            (Values::Utf8(from), Values::Utf8(to)) | (Values::Json(from), Values::Json(to)) => {
                to.offsets.reserve(rows.len() + 1);
                rows.iter().for_each(|row| to.push(from.get(*row as usize)));
            }
            _ => panic!("a column is gathered into one of its own kind"),
        }
        if !self.presence.is_empty() {
            pick(&self.presence, rows, &mut into.presence);
        }
    }
}

fn pick<T: Copy>(from: &[T], rows: &[u32], to: &mut Vec<T>) {
    to.extend(rows.iter().map(|row| from[*row as usize]));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gathering_keeps_rows_and_presence() {
        let texts: Binary = ["a", "", "ccc", "dd"].into_iter().collect();
        let column = Column { values: Values::Utf8(texts), presence: vec![0, 1, 0, 2] };
        let mut into = Column::empty(&Kind::Utf8);
        for _ in 0..2 {
            column.gather(&[3, 0, 2], &mut into);
            let Values::Utf8(texts) = &into.values else { panic!("not text") };
            assert_eq!(
                (texts.get(0), texts.get(1), texts.get(2)),
                (&b"dd"[..], &b"a"[..], &b"ccc"[..])
            );
            assert_eq!(into.presence, [2, 0, 0]);
        }
        let numbers = Column { values: Values::Int64(vec![5, 6, 7]), presence: Vec::new() };
        let mut into = Column::empty(&Kind::Int64);
        numbers.gather(&[2, 1], &mut into);
        assert_eq!(into, Column { values: Values::Int64(vec![7, 6]), presence: Vec::new() });
        numbers.gather(&[], &mut into);
        assert_eq!(into, Column::empty(&Kind::Int64));
    }
}
