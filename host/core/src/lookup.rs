//! Look-up tables: typed columns under a key, immutable, and shared by all who join with them.
//!
//! ```text
//! chunks of columns ─► TableBuilder ─► LookupTable        (once, when it is loaded)
//! a batch's keys    ─► find ─► matches ─► gather ─► column (once a batch)
//! ```
//!
//! A table holds its cells as columns, in the layout in which they cross the sandbox's border, and
//! an index of row numbers by the hash of the key: no copy of a key. Where it comes from is the
//! edges' business; here it is a value with a digest.

mod builder;
mod index;
#[cfg(test)]
mod tests;

use std::{collections::HashSet, fmt};

pub use builder::{BuildError, DUPLICATES_TOLD_MAX, TableBuilder};
use index::Index;
pub use index::Matches;

use crate::{
    Digest,
    column::{Column, Presence, Values},
    description::{Kind, TimestampFormat},
};

/// What a table looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableSchema {
    name: String,
    columns: Vec<TableColumn>,
    key: Vec<usize>,
    on_duplicate: OnDuplicate,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableColumn {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: Kind,
}

/// What is done where several rows have the same key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDuplicate {
    /// There is no table: what a key stands for must be clear.
    #[default]
    Refuse,
    /// The first row counts.
    First,
    /// The last row counts.
    Last,
}

/// There can be no such table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSchema {
    /// Nothing to look up by.
    #[error("a table is looked up by a key, and `{0}` has none")]
    NoKey(String),
    /// The key names no column of the table.
    #[error("the key has `{0}`, which is no column of the table")]
    UnknownKey(String),
    /// The key names a column twice.
    #[error("the key has `{0}` twice")]
    RepeatedKey(String),
    /// Two columns of a name.
    #[error("there are two columns named `{0}`")]
    RepeatedColumn(String),
    /// No key can be made of it.
    #[error(
        "`{0}` is of kind {1}, which is no key: a key is of kind boolean, int64, timestamp, date \
         or utf8"
    )]
    KeyKind(String, Kind),
    /// Tables hold words as text.
    #[error("`{0}` is of kind enumeration: a table holds it as utf8, and it is read as either")]
    Enumeration(String),
}

impl TableSchema {
    /// A table with these columns, looked up by those that `key` names, in its order.
    pub fn new(
        name: &str,
        columns: Vec<TableColumn>,
        key: &[&str],
        on_duplicate: OnDuplicate,
    ) -> Result<Self, InvalidSchema> {
        let mut seen = HashSet::new();
        for TableColumn { name, kind } in &columns {
            if !seen.insert(name) {
                return Err(InvalidSchema::RepeatedColumn(name.clone()));
            }
            if let Kind::Enumeration(_) = kind {
                return Err(InvalidSchema::Enumeration(name.clone()));
            }
        }
        let mut places = Vec::with_capacity(key.len());
        for part in key {
            let place = columns.iter().position(|column| column.name == *part);
            let place = place.ok_or_else(|| InvalidSchema::UnknownKey((*part).to_owned()))?;
            if places.contains(&place) {
                return Err(InvalidSchema::RepeatedKey((*part).to_owned()));
            }
            if !is_key_kind(&columns[place].kind) {
                let kind = columns[place].kind.clone();
                return Err(InvalidSchema::KeyKind((*part).to_owned(), kind));
            }
            places.push(place);
        }
        if places.is_empty() {
            return Err(InvalidSchema::NoKey(name.to_owned()));
        }
        Ok(TableSchema { name: name.to_owned(), columns, key: places, on_duplicate })
    }

    /// The table's name, by which plugins ask for it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its columns, the key's among them.
    pub fn columns(&self) -> &[TableColumn] {
        &self.columns
    }

    /// The columns of the key, in its order.
    pub fn key(&self) -> impl ExactSizeIterator<Item = &TableColumn> {
        self.key.iter().map(|place| &self.columns[*place])
    }

    /// The places of the key's columns.
    pub fn key_places(&self) -> &[usize] {
        &self.key
    }

    /// What is done where several rows have the same key.
    pub fn on_duplicate(&self) -> OnDuplicate {
        self.on_duplicate
    }

    /// The place of a column.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }
}

/// Whether values of a kind are equal or not, without a doubt: floats are rounded, and one JSON
/// value has many texts.
fn is_key_kind(kind: &Kind) -> bool {
    matches!(kind, Kind::Boolean | Kind::Int64 | Kind::Timestamp(_) | Kind::Date | Kind::Utf8)
}

/// Whether a cell of one kind can ever be a value of another, as `docs/json.md` converts: both
/// are written as the same type of JSON.
pub fn is_readable_as(cell: &Kind, read: &Kind) -> bool {
    #[derive(PartialEq)]
    enum Type {
        Boolean,
        Number,
        String,
        Any,
    }
    let json_type = |kind: &Kind| match kind {
        Kind::Boolean => Type::Boolean,
        Kind::Int64 | Kind::Float64 => Type::Number,
        Kind::Timestamp(TimestampFormat::Rfc3339) => Type::String,
        Kind::Timestamp(_) => Type::Number,
        Kind::Date | Kind::Utf8 | Kind::Enumeration(_) => Type::String,
        Kind::Json => Type::Any,
    };
    let (cell, read) = (json_type(cell), json_type(read));
    cell == read || cell == Type::Any || read == Type::Any
}

/// A table in memory. Immutable: a reload makes another.
pub struct LookupTable {
    schema: TableSchema,
    digest: Digest,
    columns: Vec<Column>,
    rows: usize,
    index: Index,
}

impl LookupTable {
    /// What it looks like.
    pub fn schema(&self) -> &TableSchema {
        &self.schema
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.schema.name
    }

    /// What tells it from every table that would answer otherwise: whoever made it gave it.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// How many keys there are.
    pub fn keys(&self) -> usize {
        self.index.len()
    }

    /// How many rows it was made of: more than keys where duplicates are allowed.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// How much memory it takes.
    pub fn bytes(&self) -> usize {
        self.columns.iter().map(column_bytes).sum::<usize>() + self.index.bytes()
    }

    /// Finds the row of each of some keys. `key` has one column for each part of the key, of its
    /// kind, with `rows` rows; where a part has no value, nothing is found.
    ///
    /// # Panics
    /// When there are fewer columns than the key has parts, or of other kinds.
    pub fn find(&self, key: &[&Column], rows: usize, into: &mut Matches) {
        self.index.find(&self.key_columns(), key, rows, into);
    }

    /// Makes `into`, a column of the kind of the table's column at `place`, the cells of the rows
    /// that were found: missing where none was.
    ///
    /// # Panics
    /// When there is no such column, or `into` is of another kind.
    pub fn gather(&self, place: usize, matches: &Matches, into: &mut Column) {
        let from = &self.columns[place];
        into.clear();
        if matches.misses() == 0 {
            return from.gather(matches.rows(), into);
        }
        // A miss takes the first row's slot: what stands in the slot of a row without a value is
        // arbitrary, and looking at it is cheaper than asking each time whether to look.
        let slots: Vec<u32> = match self.rows {
            0 => Vec::new(),
            _ => matches.rows().iter().map(|row| if *row == NO_ROW { 0 } else { *row }).collect(),
        };
        if slots.is_empty() {
            pad(&mut into.values, matches.rows().len());
        } else if let (Values::Utf8(from), Values::Utf8(to))
        | (Values::Json(from), Values::Json(to)) = (&from.values, &mut into.values)
        {
            for row in matches.rows() {
                to.push(if *row == NO_ROW { b"" } else { from.get(*row as usize) });
            }
        } else {
            from.gather(&slots, into);
            into.presence.clear();
        }
        into.presence.extend(matches.rows().iter().map(|row| match *row {
            NO_ROW => Presence::Missing as u8,
            row => from.presence_of(row as usize),
        }));
    }

    fn key_columns(&self) -> Vec<&Column> {
        self.schema.key.iter().map(|place| &self.columns[*place]).collect()
    }
}

impl fmt::Debug for LookupTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LookupTable")
            .field("name", &self.schema.name)
            .field("digest", &self.digest)
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}

/// Stands for no row.
const NO_ROW: u32 = u32::MAX;

fn pad(values: &mut Values, rows: usize) {
    match values {
        Values::Boolean(values) => values.resize(rows, 0),
        Values::Int64(values) | Values::Timestamp(values) => values.resize(rows, 0),
        Values::Float64(values) => values.resize(rows, 0.0),
        Values::Date(values) => values.resize(rows, 0),
        Values::Enumeration(values) => values.resize(rows, 0),
        Values::Utf8(values) | Values::Json(values) => (0..rows).for_each(|_| values.close()),
    }
}

fn column_bytes(column: &Column) -> usize {
    let values = match &column.values {
        Values::Boolean(values) => values.capacity(),
        Values::Int64(values) | Values::Timestamp(values) => values.capacity() * 8,
        Values::Float64(values) => values.capacity() * 8,
        Values::Date(values) => values.capacity() * 4,
        Values::Enumeration(values) => values.capacity() * 4,
        Values::Utf8(values) | Values::Json(values) => {
            values.offsets.capacity() * 4 + values.bytes.capacity()
        }
    };
    values + column.presence.capacity()
}
