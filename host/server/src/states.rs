//! The states of keys in memory: for ranges that are run to be looked at, and commit nothing.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use tidegate_core::checkpoint::{StateChange, StateKeys, StateRow, StoreError};
use tidegate_pipeline::StateLoader;

/// The states that the ranges before have left: none at a partition's first record.
#[derive(Default)]
pub(crate) struct StatesInMemory(Mutex<HashMap<(Arc<str>, u128), StateRow>>);

impl StatesInMemory {
    /// Those that a partition's parents have left to it.
    pub(crate) fn of(states: impl Iterator<Item = ((Arc<str>, u128), StateRow)>) -> Self {
        StatesInMemory(Mutex::new(states.collect()))
    }

    /// Gives away those that go to a partition that owns some hashes.
    pub(crate) fn give(&self, (start, end): (u128, u128)) -> HashMap<(Arc<str>, u128), StateRow> {
        let mut states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let goes = |row: &StateRow| row.hash_key.is_some_and(|it| (start..=end).contains(&it));
        states.extract_if(|_, row| goes(row)).collect()
    }

    /// Of how many keys each stage has one.
    pub(crate) fn keys(&self) -> StateKeys {
        let states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut keys = StateKeys::new();
        for (stage, _) in states.keys() {
            *keys.entry(stage.to_string()).or_default() += 1;
        }
        keys
    }

    /// Those that are wanted, each as the change that makes it.
    pub(crate) fn into_changes(self, wanted: impl Fn(&str, &StateRow) -> bool) -> Vec<StateChange> {
        let states = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        let wanted = states.into_iter().filter(|((stage, _), row)| wanted(stage, row));
        wanted.map(|((stage, key), row)| StateChange { stage, key, state: Some(row) }).collect()
    }

    /// Takes what a range has left.
    pub(crate) fn apply(&self, changes: Vec<StateChange>) {
        let mut states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for StateChange { stage, key, state } in changes {
            match state {
                Some(state) => states.insert((stage, key), state),
                None => states.remove(&(stage, key)),
            };
        }
    }
}

#[async_trait]
impl StateLoader for StatesInMemory {
    async fn load(&self, stage: &str, keys: &[u128]) -> Result<Vec<Option<StateRow>>, StoreError> {
        let states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let stage: Arc<str> = stage.into();
        Ok(keys.iter().map(|key| states.get(&(Arc::clone(&stage), *key)).cloned()).collect())
    }
}
