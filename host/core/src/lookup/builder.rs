//! Making a table: rows come in chunks of columns, and the index is made at the end, when its size
//! is known.

use super::{
    LookupTable, NO_ROW, OnDuplicate, TableSchema,
    index::{self, Index},
};
use crate::{
    Digest,
    column::{Binary, Column, Presence, Values},
};

/// So many duplicates are told of by their rows.
pub const DUPLICATES_TOLD_MAX: usize = 5;

/// So many keys are hashed at a time.
const HASHED_ROWS: usize = 4096;

/// Takes the rows of a table.
#[derive(Debug)]
pub struct TableBuilder {
    schema: TableSchema,
    columns: Vec<Column>,
    rows: usize,
}

/// There is no table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// Rows are numbered with 32 bits.
    #[error("a table holds at most {NO_ROW} rows")]
    Rows,
    /// Texts are found with 32 bits.
    #[error("the texts of column `{0}` together pass 4 GiB")]
    Text(String),
    /// What a key stands for is not clear.
    #[error("{count} rows have the key of an earlier one")]
    Duplicates {
        /// How many rows have the key of an earlier one.
        count: usize,
        /// The first of them, up to [`DUPLICATES_TOLD_MAX`]: the earlier row and the row, from 0.
        pairs: Vec<(u32, u32)>,
    },
    /// The part of a key has no value.
    #[error("row {row} has no value in `{column}`, which is part of the key")]
    Key {
        /// The row, from 0.
        row: u32,
        /// The column.
        column: String,
    },
}

impl TableBuilder {
    /// A table without rows.
    pub fn new(schema: TableSchema) -> Self {
        let columns = schema.columns.iter().map(|column| Column::empty(&column.kind)).collect();
        TableBuilder { schema, columns, rows: 0 }
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Adds rows: a column for each of the schema's, in its order and of its kind. A cell that has
    /// no value, for whatever reason, is null.
    ///
    /// # Panics
    /// When the columns are of other kinds, or of different lengths.
    pub fn append(&mut self, chunk: &[Column]) -> Result<(), BuildError> {
        let more = chunk.first().map_or(0, |column| column.values.len());
        // The largest number stands for no row.
        if self.rows + more >= NO_ROW as usize {
            return Err(BuildError::Rows);
        }
        for (place, from) in chunk.iter().enumerate() {
            assert_eq!(from.values.len(), more, "a row has a cell in each column");
            let column = &self.schema.columns[place];
            let lacking = from.presence.iter().position(|presence| *presence != 0);
            if let Some(row) = lacking.filter(|_| self.schema.key.contains(&place)) {
                let row = (self.rows + row) as u32;
                return Err(BuildError::Key { row, column: column.name.clone() });
            }
            let into = &mut self.columns[place];
            if !extend_values(&mut into.values, &from.values) {
                return Err(BuildError::Text(column.name.clone()));
            }
            if lacking.is_some() || !into.presence.is_empty() {
                let null = |presence: &u8| if *presence == 0 { 0 } else { Presence::Null as u8 };
                into.presence.resize(self.rows, 0);
                into.presence.extend(from.presence.iter().map(null));
                into.presence.resize(self.rows + more, 0);
            }
        }
        self.rows += more;
        Ok(())
    }

    /// The table. `digest` tells it from every table that would answer otherwise.
    pub fn finish(self, digest: Digest) -> Result<LookupTable, BuildError> {
        let TableBuilder { schema, mut columns, rows } = self;
        columns.iter_mut().for_each(shrink);
        let key: Vec<&Column> = schema.key.iter().map(|place| &columns[*place]).collect();
        let mut index = Index::with_capacity(rows);
        let mut hashes = Vec::new();
        let (mut count, mut pairs) = (0, Vec::new());
        for from in (0..rows).step_by(HASHED_ROWS) {
            let chunk = from..rows.min(from + HASHED_ROWS);
            index::hash(&key, chunk.clone(), &mut hashes);
            for (row, hash) in chunk.zip(&hashes) {
                let row = row as u32;
                let Some(known) = index.enter(&key, row, *hash) else { continue };
                count += 1;
                match schema.on_duplicate {
                    OnDuplicate::Refuse if pairs.len() < DUPLICATES_TOLD_MAX => {
                        pairs.push((*known, row));
                    }
                    OnDuplicate::Refuse | OnDuplicate::First => {}
                    OnDuplicate::Last => *known = row,
                }
            }
        }
        if !pairs.is_empty() {
            return Err(BuildError::Duplicates { count, pairs });
        }
        Ok(LookupTable { schema, digest, columns, rows, index })
    }
}

/// Appends values of the same kind. False, and nothing done, where texts would be too long.
fn extend_values(into: &mut Values, from: &Values) -> bool {
    match (into, from) {
        (Values::Boolean(to), Values::Boolean(from)) => to.extend_from_slice(from),
        (Values::Int64(to), Values::Int64(from)) => to.extend_from_slice(from),
        (Values::Timestamp(to), Values::Timestamp(from)) => to.extend_from_slice(from),
        (Values::Float64(to), Values::Float64(from)) => to.extend_from_slice(from),
        (Values::Date(to), Values::Date(from)) => to.extend_from_slice(from),
        (Values::Utf8(to), Values::Utf8(from)) | (Values::Json(to), Values::Json(from)) => {
            return extend_texts(to, from);
        }
        _ => panic!("rows are added as columns of the table's kinds"),
    }
    true
}

fn extend_texts(into: &mut Binary, from: &Binary) -> bool {
    if into.bytes.len() + from.bytes.len() > u32::MAX as usize {
        return false;
    }
    let base = into.bytes.len() as u32;
    if into.offsets.is_empty() && !from.is_empty() {
        into.offsets.push(0);
    }
    into.offsets.extend(from.offsets.iter().skip(1).map(|offset| base + offset));
    into.bytes.extend_from_slice(&from.bytes);
    true
}

/// Gives back what was reserved for rows that did not come.
fn shrink(column: &mut Column) {
    column.presence.shrink_to_fit();
    match &mut column.values {
        Values::Boolean(values) => values.shrink_to_fit(),
        Values::Int64(values) | Values::Timestamp(values) => values.shrink_to_fit(),
        Values::Float64(values) => values.shrink_to_fit(),
        Values::Date(values) => values.shrink_to_fit(),
        Values::Enumeration(values) => values.shrink_to_fit(),
        Values::Utf8(values) | Values::Json(values) => {
            values.offsets.shrink_to_fit();
            values.bytes.shrink_to_fit();
        }
    }
}
