//! Which letters a redrive takes.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tidegate_connectors::store::{Redriven, StoreInspector};
use tidegate_core::{checkpoint::StoreError, source::PartitionId};

use super::{History, Sealed};
use crate::{
    DEAD_LETTERS,
    config::Config,
    letters::{self, Letter, Reason, Wanted},
    objects::Objects,
};

/// What an operator asks for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Terms {
    pub(crate) wanted: Wanted,
    /// At most so many.
    pub(crate) limit: Option<u64>,
    /// A record that was redriven so often is left alone.
    pub(crate) redrives_max: u32,
}

/// The letters that would be redriven, and those that would not.
#[derive(Debug, Default)]
pub(crate) struct Selection {
    pub(crate) letters: Vec<Redriven>,
    pub(crate) reasons: BTreeMap<Reason, u64>,
    pub(crate) left: LeftAlone,
}

/// Letters that were asked for and are left alone.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct LeftAlone {
    /// Redriven before: what became of them is known.
    pub(crate) redriven: u64,
    /// Redriven as often as may be.
    pub(crate) exhausted: u64,
    /// The payload is not a record.
    pub(crate) raw: u64,
    /// Of a source with another name: their positions mean something else.
    pub(crate) other_source: u64,
    /// Beyond the limit.
    pub(crate) beyond_limit: u64,
}

impl Selection {
    /// The partitions as which they are redriven.
    pub(crate) fn partitions(&self) -> BTreeSet<&PartitionId> {
        self.letters.iter().map(|it| &it.partition).collect()
    }
}

/// Goes through the dead letters of all committed ranges. Those of a range that pends are not looked
/// at: its next revision may have others.
pub(crate) async fn select(
    config: &Config,
    store: &StoreInspector,
    history: &History,
    terms: &Terms,
) -> anyhow::Result<Selection> {
    let redrive = history.next();
    let dead = Objects::of_dead_letters(config);
    let mut selection = Selection::default();
    for partition in store.partitions()? {
        let mut objects = Vec::new();
        store.manifests(&partition.id, |manifest| {
            let letters = manifest.objects.into_iter().filter(|it| it.sink == DEAD_LETTERS);
            objects.extend(letters.map(|it| it.key));
            Ok::<_, StoreError>(())
        })?;
        for object in objects {
            let visit = |letter: Letter| {
                if terms.wanted.takes(&letter) {
                    selection.take(&letter, &object, redrive, config, history, terms)?;
                }
                Ok(())
            };
            letters::in_object(&dead, &object, visit).await?;
        }
    }
    Ok(selection)
}

impl Selection {
    fn take(
        &mut self,
        letter: &Letter,
        object: &str,
        redrive: u64,
        config: &Config,
        history: &History,
        terms: &Terms,
    ) -> anyhow::Result<()> {
        let key = letter.key()?;
        let left = &mut self.left;
        let reason_to_leave = if history.of(&key).is_some() {
            Some(&mut left.redriven)
        } else if letter.redrives() >= terms.redrives_max {
            Some(&mut left.exhausted)
        } else if letter.payload_is_raw() && !Sealed::takes(config, letter) {
            Some(&mut left.raw)
        } else if letter.etl("source") != config.source.name {
            Some(&mut left.other_source)
        } else if terms.limit.is_some_and(|limit| self.letters.len() as u64 >= limit) {
            Some(&mut left.beyond_limit)
        } else {
            None
        };
        if let Some(left) = reason_to_leave {
            *left += 1;
            return Ok(());
        }
        *self.reasons.entry(letter.reason()).or_default() += 1;
        let (origin, position, redrives) = key;
        self.letters.push(Redriven {
            partition: PartitionId(format!("redrive:{redrive}:{origin}").into()),
            origin,
            position,
            redrives,
            redrive,
            object: object.to_owned(),
            bytes: letter.payload()?.len() as u64,
            keyed: !letter.etl("partitionKey").is_empty(),
            outcome: None,
        });
        Ok(())
    }
}
