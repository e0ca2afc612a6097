//! The rows that a rule is for, and the few of them that are worth a closer look.

use tidegate_plugin::{
    Absence,
    batch::{Cells, Presences},
};

/// How many rows are looked at together. In a component each turn of a loop is charged for: one
/// turn for eight rows costs less than what most rules do with a row.
const BLOCK: usize = 8;

/// The rows that a rule is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rows<'a> {
    /// So many, from the first.
    All(usize),
    /// These, ascending.
    Some(&'a [u32]),
}

impl Rows<'_> {
    /// Calls `look` with each row.
    #[inline]
    pub(crate) fn each(self, look: impl FnMut(usize)) {
        match self {
            Rows::All(rows) => (0..rows).for_each(look),
            Rows::Some(rows) => rows.iter().map(|row| *row as usize).for_each(look),
        }
    }

    /// Those that something holds for.
    pub(crate) fn filter(self, keep: impl Fn(usize) -> bool) -> Vec<u32> {
        let mut kept = Vec::new();
        self.each(|row| {
            if keep(row) {
                kept.push(row as u32);
            }
        });
        kept
    }

    /// Calls `look` with each row that has no value.
    #[inline]
    pub(crate) fn absences(self, found: Presences<'_>, mut look: impl FnMut(usize, Absence)) {
        match self {
            Rows::All(_) => found.absences().for_each(|(row, absence)| look(row, absence)),
            Rows::Some(_) if found.is_full() => {}
            Rows::Some(_) => self.each(|row| {
                if let Err(absence) = found.get(row) {
                    look(row, absence);
                }
            }),
        }
    }

    /// Calls `look` with each row whose value is not `fine`, with each that has none, and with
    /// some others.
    #[inline]
    pub(crate) fn suspects(
        self,
        numbers: Cells<'_, f64>,
        fine: impl Fn(f64) -> bool,
        mut look: impl FnMut(usize),
    ) {
        let Rows::All(rows) = self else { return self.each(look) };
        let (blocks, _) = numbers.values.as_chunks::<BLOCK>();
        let (present, _) = numbers.presence.as_chunks::<BLOCK>();
        for (i, block) in blocks.iter().enumerate() {
            // Without a branch: what stands where there is no value is a number too.
            let all_fine = block.iter().fold(true, |all, number| all & fine(*number));
            let all_there = present.get(i).is_none_or(|bytes| *bytes == [0; BLOCK]);
            if !(all_fine && all_there) {
                (i * BLOCK..(i + 1) * BLOCK).for_each(&mut look);
            }
        }
        (blocks.len() * BLOCK..rows).for_each(look);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_suspect_is_overlooked() {
        for rows in 0..40 {
            for odd in 0..rows {
                let values: Vec<f64> = (0..rows).map(|row| f64::from(row == odd)).collect();
                let presence: Vec<u8> = (0..rows).map(|row| u8::from(row == odd / 2)).collect();
                for presence in [&presence[..], &[]] {
                    let cells = Cells { values: &values, presence };
                    let mut seen = Vec::new();
                    let fine = |number| number == 0.0;
                    Rows::All(rows as usize).suspects(cells, fine, |row| seen.push(row as i32));
                    assert!(seen.contains(&odd), "{odd} of {rows}: {seen:?}");
                    assert!(presence.is_empty() || seen.contains(&(odd / 2)), "{odd} of {rows}");
                    assert!(seen.is_sorted() && seen.len() <= 3 * BLOCK, "{odd} of {rows}");
                }
            }
        }
    }
}
