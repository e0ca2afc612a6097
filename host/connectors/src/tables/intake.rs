//! Rows into a table: JSON objects become cells, and what is wrong with them is collected.

use tidegate_core::{
    Digest, Kind, LookupTable, Path, Presence,
    json::{Layout, Projection, Projector},
    lookup::{BuildError, TableBuilder, TableSchema},
};

use super::TableError;

/// So many rows are added to the columns at once: enough that what it costs can't be measured, and
/// few enough for the processor's caches.
const CHUNK_ROWS: usize = 4096;

/// So many rows that are wrong are told of by their lines.
const TOLD_MAX: usize = 5;

/// Takes the rows of a file, in order.
pub(super) struct Intake {
    schema: TableSchema,
    projector: Projector,
    projection: Projection,
    builder: TableBuilder,
    lines: Lines,
    faults: Faults,
}

/// What the numbers of rows count, by which they are told.
#[derive(Clone, Copy)]
pub(super) enum Counted {
    Lines,
    Rows,
}

impl Counted {
    fn name(self) -> &'static str {
        match self {
            Counted::Lines => "line",
            Counted::Rows => "row",
        }
    }
}

impl Intake {
    /// Takes rows that have the schema's columns at these paths.
    pub(super) fn new(
        schema: TableSchema,
        paths: &[Path],
        counted: Counted,
    ) -> Result<Self, TableError> {
        let reads: Vec<(Path, Kind)> = paths
            .iter()
            .zip(schema.columns())
            .map(|(path, column)| (path.clone(), column.kind.clone()))
            .collect();
        let projector = Projector::new(&reads, &[], Layout::Flat)
            .map_err(|error| TableError::Columns(error.to_string()))?;
        Ok(Intake {
            projection: projector.projection(),
            projector,
            builder: TableBuilder::new(schema.clone()),
            schema,
            lines: Lines::default(),
            faults: Faults { counted, count: 0, told: Vec::new() },
        })
    }

    /// Takes the row that begins on a line, or has a number.
    pub(super) fn take(&mut self, row: &[u8], line: u64) -> Result<(), TableError> {
        match self.projector.project(row, &mut self.projection) {
            Err(error) => self.fault(line, &error.to_string()),
            Ok(()) => {
                self.lines.push(line);
                if self.projection.rows() == CHUNK_ROWS {
                    self.flush()?;
                }
            }
        }
        Ok(())
    }

    /// A row can't be taken.
    pub(super) fn fault(&mut self, line: u64, reason: &str) {
        self.faults.add(line, reason);
    }

    fn flush(&mut self) -> Result<(), TableError> {
        let first = self.builder.rows();
        let columns = self.schema.columns().iter().zip(&self.projection.columns);
        for (place, (column, cells)) in columns.enumerate() {
            let is_key = self.schema.key_places().contains(&place);
            let (name, kind) = (&column.name, &column.kind);
            for (row, presence) in cells.presence.iter().enumerate() {
                let reason = match Presence::from_byte(*presence) {
                    Some(Presence::Value) => continue,
                    Some(Presence::Missing | Presence::Null) if is_key => {
                        format!("it has no `{name}`, which is part of the key")
                    }
                    Some(Presence::Missing | Presence::Null) => continue,
                    Some(Presence::OutOfRange) => format!("`{name}` is out of range for {kind}"),
                    Some(Presence::OtherType) => format!("`{name}` is not of the type of {kind}"),
                    _ => format!("`{name}` is not of the form of {kind}"),
                };
                self.faults.add(self.lines.of(first + row), &reason);
            }
        }
        // With faults there is no table: the other rows are looked at for theirs only.
        match self.faults.count {
            0 => self.builder.append(&self.projection.columns).map_err(TableError::TooLarge)?,
            _ => self.lines.truncate(first),
        }
        self.projection.clear();
        Ok(())
    }

    /// The table, if all rows could be taken.
    pub(super) fn finish(mut self, digest: Digest) -> Result<LookupTable, TableError> {
        self.flush()?;
        let Intake { builder, lines, faults, .. } = self;
        if faults.count > 0 {
            let told = faults.told.into_iter().map(|(_, told)| told).collect();
            return Err(TableError::Rows { count: faults.count, told });
        }
        builder.finish(digest).map_err(|error| match error {
            BuildError::Duplicates { count, pairs } => {
                let told = pairs.into_iter().map(|(earlier, row)| {
                    let [earlier, line] = [earlier, row].map(|row| lines.of(row as usize));
                    let counted = faults.counted.name();
                    format!("{counted} {line} that of {counted} {earlier}")
                });
                TableError::Duplicates { count, told: told.collect() }
            }
            other => TableError::TooLarge(other),
        })
    }
}

/// What is wrong with rows: all of it counted, the first of it told.
struct Faults {
    counted: Counted,
    count: usize,
    /// By line.
    told: Vec<(u64, String)>,
}

impl Faults {
    fn add(&mut self, line: u64, reason: &str) {
        self.count += 1;
        // What a cell holds is looked at some rows later than whether a row is one.
        let place = self.told.partition_point(|(before, _)| *before <= line);
        if place < TOLD_MAX {
            let counted = self.counted.name();
            self.told.insert(place, (line, format!("{counted} {line}: {reason}")));
            self.told.truncate(TOLD_MAX);
        }
    }
}

/// On which line each row begins. Nearly all rows are one line behind the one before, so only the
/// others are kept: a number a row would be forty megabytes for ten million.
#[derive(Default)]
struct Lines {
    rows: usize,
    /// Rows that are not on the line behind the last one's: the row, and its line.
    breaks: Vec<(usize, u64)>,
}

impl Lines {
    fn push(&mut self, line: u64) {
        if self.rows == 0 || self.of(self.rows - 1) + 1 != line {
            self.breaks.push((self.rows, line));
        }
        self.rows += 1;
    }

    fn of(&self, row: usize) -> u64 {
        let behind = self.breaks.partition_point(|(from, _)| *from <= row);
        match behind.checked_sub(1).map(|place| self.breaks[place]) {
            Some((from, line)) => line + (row - from) as u64,
            None => 0,
        }
    }

    fn truncate(&mut self, rows: usize) {
        self.rows = rows;
        self.breaks.retain(|(from, _)| *from < rows);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_know_their_lines() {
        let mut lines = Lines::default();
        let all = [2, 3, 4, 7, 8, 8, 9, 20];
        all.iter().for_each(|line| lines.push(*line));
        assert_eq!((0..all.len()).map(|row| lines.of(row)).collect::<Vec<_>>(), all);
        assert_eq!(lines.breaks.len(), 4);
        lines.truncate(4);
        lines.push(8);
        assert_eq!((lines.of(3), lines.of(4)), (7, 8));
    }
}
