//! The rows that a rule is for, and the few of them that are worth a closer look.

use tidegate_plugin::{
    Absence,
    batch::{Cells, Presences, Texts},
    blocks,
};

use crate::pattern::{Even, Pattern};

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
            Rows::All(_) => found.each_absence(look),
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
        look: impl FnMut(usize),
    ) {
        match self {
            Rows::All(_) => blocks::suspects(numbers, fine, look),
            Rows::Some(_) => self.each(look),
        }
    }

    /// Calls `look` with each row whose text does not match, with each that has none, and with
    /// some others.
    #[inline]
    pub(crate) fn mismatches(self, texts: Texts<'_>, pattern: &Pattern, look: impl FnMut(usize)) {
        match (self, pattern.even()) {
            (Rows::All(_), Some(Even { length, characters })) => {
                blocks::odd_texts(texts.texts, texts.presence, *length, characters, look);
            }
            _ => self.each(look),
        }
    }
}
