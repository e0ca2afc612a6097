//! The rows of a micro-batch on their way through the chain.
//!
//! Rows are numbered. A row that is dropped keeps its number and is no longer alive; a stage that
//! fans out makes a new table, whose rows know which record they come from. So a column never has
//! to move: what a stage wrote stays as the stage returned it, and a slot map says which of its
//! rows belongs to which row of the table.

use std::sync::OnceLock;

use tidegate_core::transform::Reply;

use super::findings::ByRow;

/// The stage wrote nothing for this row.
const NO_SLOT: u32 = tidegate_core::json::WrittenColumn::NOWHERE;

/// The rows of a batch.
#[derive(Debug, Default)]
pub(crate) struct Table {
    /// How many rows there are, alive or not.
    len: usize,
    /// For each row, its record's row in the projection; empty where that is the row's number.
    sources: Vec<u32>,
    /// For each row, what is added to its record's id; empty where no stage fanned out.
    suffixes: Vec<String>,
    /// The rows that are still in the chain, ascending.
    pub(crate) alive: Vec<u32>,
}

impl Table {
    /// One row for each record of a projection.
    pub(crate) fn reset(&mut self, len: usize) {
        self.len = len;
        self.sources.clear();
        self.suffixes.clear();
        self.alive.clear();
        self.alive.extend(0..len as u32);
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether rows are the rows of the projection.
    pub(crate) fn is_projection(&self) -> bool {
        self.sources.is_empty()
    }

    /// The row of the projection that a row comes from.
    #[inline]
    pub(crate) fn source(&self, row: usize) -> usize {
        self.sources.get(row).map_or(row, |source| *source as usize)
    }

    /// For each row, its row in the projection; empty where that is the row's number.
    pub(crate) fn sources(&self) -> &[u32] {
        &self.sources
    }

    /// What is added to the record's id for a child.
    pub(crate) fn suffix(&self, row: usize) -> &str {
        self.suffixes.get(row).map_or("", String::as_str)
    }

    /// Takes rows out of the chain. `gone` is ascending.
    pub(crate) fn kill(&mut self, gone: &[u32]) {
        if gone.is_empty() {
            return;
        }
        let mut next = gone.iter().copied().peekable();
        self.alive.retain(|row| {
            while next.next_if(|gone| gone < row).is_some() {}
            next.peek() != Some(row)
        });
    }

    /// Replaces each of the `selected` rows (ascending, some of the alive ones) by its children:
    /// `parents` has for each child the place of its parent in `selected`. Returns which slot of
    /// the stage each new row has, and which old row it comes from.
    ///
    /// An only child keeps its parent's id; several get an ordinal each.
    pub(crate) fn fan_out(&mut self, selected: &[u32], parents: &[u32]) -> FanOut {
        let mut made = FanOut::default();
        let mut sources = Vec::with_capacity(parents.len());
        let mut suffixes = Vec::with_capacity(parents.len());
        let mut child = 0;
        let mut place = 0;
        for &row in &self.alive {
            let old = row as usize;
            if selected.get(place) != Some(&row) {
                made.slots.push(NO_SLOT);
                made.from.push(row);
                sources.push(self.source(old) as u32);
                suffixes.push(self.suffix(old).to_owned());
                continue;
            }
            let first = child;
            while parents.get(child) == Some(&(place as u32)) {
                child += 1;
            }
            for slot in first..child {
                made.slots.push(slot as u32);
                made.from.push(row);
                sources.push(self.source(old) as u32);
                suffixes.push(match child - first {
                    1 => self.suffix(old).to_owned(),
                    _ => format!("{}-{}", self.suffix(old), slot - first),
                });
            }
            place += 1;
        }
        self.len = sources.len();
        self.alive.clear();
        self.alive.extend(0..self.len as u32);
        self.sources = sources;
        self.suffixes = suffixes;
        made
    }
}

/// How the rows of a table were made of another's.
#[derive(Debug, Default)]
pub(crate) struct FanOut {
    /// The slot of the stage that fanned out, or none.
    slots: Vec<u32>,
    /// The old row.
    from: Vec<u32>,
}

impl FanOut {
    /// The row that a new row comes from, of the table as it was.
    pub(crate) fn from(&self, row: usize) -> u32 {
        self.from[row]
    }
}

/// What a stage returned for a batch, and where each row finds its own.
#[derive(Debug, Default)]
pub(crate) struct StageOutput {
    pub(crate) reply: Reply,
    slots: Slots,
    findings: OnceLock<ByRow>,
}

#[derive(Debug, Default)]
enum Slots {
    /// The stage was not called.
    #[default]
    None,
    /// A row's slot is its number.
    Same,
    /// One a row.
    Map(Vec<u32>),
}

impl StageOutput {
    pub(crate) fn clear(&mut self) {
        self.reply = Reply::default();
        self.slots = Slots::None;
        self.findings.take();
    }

    /// Takes a reply without fan-out for some rows of a table.
    pub(crate) fn set(&mut self, reply: Reply, selected: &[u32], rows: usize) {
        self.reply = reply;
        self.slots = if selected.len() == rows {
            Slots::Same
        } else {
            let mut slots = vec![NO_SLOT; rows];
            for (slot, row) in selected.iter().enumerate() {
                slots[*row as usize] = slot as u32;
            }
            Slots::Map(slots)
        };
    }

    /// Takes the reply that made a new table.
    pub(crate) fn set_fanned_out(&mut self, reply: Reply, made: &FanOut) {
        self.reply = reply;
        self.slots = Slots::Map(made.slots.clone());
    }

    /// Follows the rows into the table that a later stage made.
    pub(crate) fn follow(&mut self, made: &FanOut) {
        if matches!(self.slots, Slots::None) {
            return;
        }
        let slot = |row: &u32| self.slot(*row as usize).map_or(NO_SLOT, |slot| slot as u32);
        self.slots = Slots::Map(made.from.iter().map(slot).collect());
    }

    /// Which row of the reply's columns belongs to each row of the table: none for the row of its
    /// number. Nothing where the stage was not called.
    pub(crate) fn slots(&self) -> Option<Option<&[u32]>> {
        match &self.slots {
            Slots::None => None,
            Slots::Same => Some(None),
            Slots::Map(slots) => Some(Some(slots)),
        }
    }

    /// Which row of the reply's columns belongs to a row of the table.
    #[inline]
    pub(crate) fn slot(&self, row: usize) -> Option<usize> {
        match &self.slots {
            Slots::None => None,
            Slots::Same => Some(row),
            Slots::Map(slots) => match slots[row] {
                NO_SLOT => None,
                slot => Some(slot as usize),
            },
        }
    }

    /// Which of the rows that the stage was called with a row of the table is, or comes from.
    pub(crate) fn place(&self, row: usize) -> Option<u32> {
        let slot = self.slot(row)?;
        Some(self.reply.parents.get(slot).copied().unwrap_or(slot as u32))
    }

    /// The findings of the reply.
    pub(crate) fn findings_by_row(&self) -> &ByRow {
        self.findings.get_or_init(|| ByRow::of(&self.reply.findings))
    }

    /// Whether each row of the table has the slot of its number.
    pub(crate) fn is_same(&self) -> bool {
        matches!(self.slots, Slots::Same)
    }

    /// Whether the stage was called.
    pub(crate) fn was_called(&self) -> bool {
        !matches!(self.slots, Slots::None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dead_rows_keep_their_numbers() {
        let mut table = Table::default();
        table.reset(5);
        table.kill(&[1, 4]);
        table.kill(&[0, 1, 2]);
        assert_eq!((table.len(), table.alive.as_slice()), (5, &[3][..]));
    }

    #[test]
    fn children_know_their_record_and_their_ordinal() {
        let mut table = Table::default();
        table.reset(4);
        table.kill(&[1]);
        let mut earlier = StageOutput::default();
        earlier.set(Reply::default(), &[0, 3], 4);

        // Rows 0 and 3 are fanned out into two and one, row 2 passes the stage by.
        let made = table.fan_out(&[0, 3], &[0, 0, 1]);
        let mut output = StageOutput::default();
        output.set_fanned_out(Reply::default(), &made);
        earlier.follow(&made);
        let rows: Vec<_> = (0..table.len())
            .map(|row| (table.source(row), table.suffix(row), output.slot(row), earlier.slot(row)))
            .collect();
        assert_eq!(
            rows,
            [
                (0, "-0", Some(0), Some(0)),
                (0, "-1", Some(1), Some(0)),
                (2, "", None, None),
                (3, "", Some(2), Some(1)),
            ]
        );

        let made = table.fan_out(&[1], &[0, 0]);
        earlier.follow(&made);
        let ids: Vec<_> = (0..table.len()).map(|row| table.suffix(row)).collect();
        assert_eq!(ids, ["-0", "-1-0", "-1-1", "", ""]);
        assert_eq!(earlier.slot(2), Some(0));
    }
}
