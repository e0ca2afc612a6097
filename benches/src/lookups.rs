//! Tables of many rows, made up in memory, and batches of keys to look up in them.

use std::time::{Duration, Instant};

use tidegate_core::{
    Column, Digest, Kind, LookupTable, Values,
    column::Binary,
    lookup::{Matches, OnDuplicate, TableBuilder, TableColumn, TableSchema},
};

/// How many keys are looked up at once: the rows of a usual batch.
const BATCH_ROWS: usize = 500;

/// So many batches are a round. Their keys are drawn from the whole table, so a large one is in no
/// cache.
const BATCHES: usize = 200;

/// Rows are added in chunks of this size, as a loader does.
const CHUNK_ROWS: usize = 4096;

/// One key in so many is not in the table.
const MISS_ONE_IN: u64 = 10;

/// A table by a text of twelve characters, with a number, and keys to look up in it.
pub struct Lookups {
    table: LookupTable,
    batches: Vec<Column>,
    matches: Matches,
    found: Column,
}

impl Lookups {
    /// A table of so many rows, and how long it took to make of its columns.
    pub fn new(rows: usize) -> anyhow::Result<(Self, Duration)> {
        let columns = [("id", Kind::Utf8), ("risk", Kind::Float64)];
        let column = |(name, kind): (&str, Kind)| TableColumn { name: name.to_owned(), kind };
        let schema =
            TableSchema::new("accounts", columns.map(column).into(), &["id"], OnDuplicate::Refuse)?;
        let mut builder = TableBuilder::new(schema);
        let begin = Instant::now();
        for from in (0..rows).step_by(CHUNK_ROWS) {
            let chunk = from..rows.min(from + CHUNK_ROWS);
            let risks = chunk.clone().map(|row| row as f64 / 8.0).collect();
            builder.append(&[
                keys(chunk.map(|row| row as u64)),
                Column { values: Values::Float64(risks), presence: Vec::new() },
            ])?;
        }
        let table = builder.finish(Digest::of(b"accounts"))?;
        let taken = begin.elapsed();
        let mut draw = 0x9e37_79b9_7f4a_7c15_u64;
        let mut drawn = || {
            // A linear congruence is random enough to be in no cache; its low bits are not.
            draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let row = (draw >> 33) % rows as u64;
            // Those that miss look like the others.
            if (draw >> 20).is_multiple_of(MISS_ONE_IN) { row + rows as u64 } else { row }
        };
        let batches = (0..BATCHES).map(|_| keys((0..BATCH_ROWS).map(|_| drawn()))).collect();
        let found = Column::empty(&Kind::Float64);
        Ok((Lookups { table, batches, matches: Matches::default(), found }, taken))
    }

    /// How many keys a round looks up.
    pub fn round_rows() -> u64 {
        (BATCHES * BATCH_ROWS) as u64
    }

    /// Looks all keys up, and gives how many were not found.
    pub fn round(&mut self) -> usize {
        let mut misses = 0;
        for keys in &self.batches {
            self.table.find(&[keys], BATCH_ROWS, &mut self.matches);
            self.table.gather(1, &self.matches, &mut self.found);
            misses += self.matches.misses();
        }
        misses
    }

    /// What a row of the table takes in memory, in bytes.
    pub fn bytes_per_row(&self) -> f64 {
        self.table.bytes() as f64 / self.table.rows() as f64
    }
}

fn keys(rows: impl Iterator<Item = u64>) -> Column {
    let keys: Binary = rows.map(|row| format!("acc-{row:08}")).collect();
    Column { values: Values::Utf8(keys), presence: Vec::new() }
}
