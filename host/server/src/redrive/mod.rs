//! Dead letters, taken through the pipeline again.
//!
//! A redrive is recorded before anything is done: which letters it takes, as which partitions. So
//! one that is killed is finished by the next, and no letter is redriven twice. From there on it is
//! a run like any other, whose source reads the dead letters: the range protocol makes what it
//! delivers exactly-once, and stores what became of each record in the write that commits it.
//!
//! - A redrive has one partition for each partition that its records were first read from, and
//!   their positions are their positions there. Plugins, conditions, trees and envelopes see the
//!   original partition, position and record.
//! - What fails again is another letter, whose `redriveCount` is larger by one.
//! - States are kept by partition: a redriven record meets no state of its original partition, and
//!   leaves none there.

mod beside;
mod execute;
mod sealed;
mod select;
mod source;

use std::collections::HashMap;

use tidegate_connectors::store::{Redriven, StoreInspector};
use tidegate_core::checkpoint::StoreError;

pub(crate) use self::{
    beside::Beside,
    execute::{Account, Order, Redriver, Stopped, open},
    sealed::Sealed,
    select::{LeftAlone, Selection, Terms, select},
    source::RedriveSource,
};

use crate::letters::LetterKey;

/// The letters that were redriven, or are to be.
#[derive(Debug, Default)]
pub(crate) struct History {
    letters: HashMap<LetterKey, Redriven>,
}

impl History {
    /// Reads it.
    pub(crate) fn read(store: &StoreInspector) -> Result<Self, StoreError> {
        let mut letters = HashMap::new();
        store.redriven(|it| {
            letters.insert((it.origin.clone(), it.position, it.redrives), it);
            Ok(())
        })?;
        Ok(History { letters })
    }

    /// How a letter was redriven, if it was.
    pub(crate) fn of(&self, letter: &LetterKey) -> Option<&Redriven> {
        self.letters.get(letter)
    }

    /// The letters of a redrive that has not come to its end: it was killed, or had to stop.
    pub(crate) fn interrupted(&self) -> Option<(u64, Vec<Redriven>)> {
        let open = self.letters.values().filter(|it| it.outcome.is_none());
        let redrive = open.map(|it| it.redrive).min()?;
        Some((redrive, self.redrive(redrive)))
    }

    /// The letters of a redrive.
    pub(crate) fn redrive(&self, redrive: u64) -> Vec<Redriven> {
        self.letters.values().filter(|it| it.redrive == redrive).cloned().collect()
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<Redriven> {
        self.letters.values().cloned().collect()
    }

    /// The number of the next redrive.
    fn next(&self) -> u64 {
        self.letters.values().map(|it| it.redrive).max().unwrap_or_default() + 1
    }
}
