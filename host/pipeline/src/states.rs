//! The states of keys, as a range sees and changes them.
//!
//! A range begins with what its predecessor left, loads a key's state when it first meets the key,
//! and keeps all changes to itself until it is cut: a range that is discarded takes its states
//! with it.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Range,
    sync::Arc,
};

use async_trait::async_trait;
use hashbrown::HashMap;
use tidegate_core::{
    Column, Failure, Timestamp, TransformFactory,
    checkpoint::{StateChange, StateKeys, StateRow, StoreError},
    description::Kind,
    transform::{ChangedStates, MigrateError, States},
};

use crate::{
    chain::cells,
    process::{ProcessError, StageStatistics},
};

/// Where a range finds the states that its predecessor left.
///
/// Called by a range's processor, from one task, at most once for each key of a stage in a range:
/// what it has loaded and changed it keeps until it is cut. Retries are the loader's business: an
/// error discards the range.
#[async_trait]
pub trait StateLoader: Send + Sync {
    /// The states of some keys of a stage, in the keys' order.
    async fn load(&self, stage: &str, keys: &[u128]) -> Result<Vec<Option<StateRow>>, StoreError>;
}

/// No states at all: for plans without a stateful stage.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoStates;

#[async_trait]
impl StateLoader for NoStates {
    async fn load(&self, _: &str, keys: &[u128]) -> Result<Vec<Option<StateRow>>, StoreError> {
        Ok(vec![None; keys.len()])
    }
}

/// The states that a cut range leaves, for its successor to find before they are committed.
#[derive(Debug)]
pub(crate) struct LeftStates {
    /// By stage, then key.
    changes: Vec<StateChange>,
    /// Where each stage's lie.
    stages: Vec<(Arc<str>, Range<usize>)>,
}

impl LeftStates {
    pub(crate) fn new(changes: Vec<StateChange>) -> Self {
        let mut stages = Vec::new();
        let mut start = 0;
        for changes in changes.chunk_by(|a, b| a.stage == b.stage) {
            let end = start + changes.len();
            stages.push((Arc::clone(&changes[0].stage), start..end));
            start = end;
        }
        LeftStates { changes, stages }
    }

    pub(crate) fn changes(&self) -> &[StateChange] {
        &self.changes
    }

    /// What it left of a key; none where it did not change the key's state.
    pub(crate) fn find(&self, stage: &str, key: u128) -> Option<&Option<StateRow>> {
        let (_, range) = self.stages.iter().find(|(name, _)| **name == *stage)?;
        let changes = &self.changes[range.clone()];
        let place = changes.binary_search_by_key(&key, |change| change.key).ok()?;
        Some(&changes[place].state)
    }
}

/// How many states a partition has: what the store said last, and what ranges that are cut and not
/// yet committed add to it. So a range's start does not depend on how far its predecessors are.
#[derive(Debug, Default)]
pub(crate) struct StateCounts {
    committed: StateKeys,
    /// By their ranges, in order.
    cut: VecDeque<(u64, Vec<CutCount>)>,
}

/// How many states of a stage a range that is cut adds and removes.
#[derive(Debug)]
struct CutCount {
    stage: String,
    added: u64,
    removed: u64,
}

impl StateCounts {
    /// A range is cut.
    pub(crate) fn cut(&mut self, range: u64, stages: &[StageStatistics]) {
        let changed = stages.iter().filter(|it| it.keys_added != it.keys_removed);
        let changed = changed.map(|it| CutCount {
            stage: it.stage.clone(),
            added: it.keys_added,
            removed: it.keys_removed,
        });
        self.cut.push_back((range, changed.collect()));
    }

    /// All ranges before this one are committed, and the store has counted. Says what it had said
    /// before.
    pub(crate) fn committed(&mut self, next_range: u64, keys: StateKeys) -> StateKeys {
        while self.cut.pop_front_if(|(range, _)| *range < next_range).is_some() {}
        std::mem::replace(&mut self.committed, keys)
    }

    /// How many states a stage has when all ranges that are cut are committed.
    pub(crate) fn of(&self, stage: &str) -> u64 {
        let committed = self.committed.get(stage).copied().unwrap_or_default();
        let cut = self.cut.iter().flat_map(|(_, stages)| stages);
        let of_stage = cut.filter(|it| it.stage == stage);
        // What has expired may be counted out twice, until the next COMMIT.
        of_stage.fold(committed, |keys, it| (keys + it.added).saturating_sub(it.removed))
    }
}

/// The states of one stage in one range.
#[derive(Debug)]
pub(crate) struct KeyedStates {
    stage: Arc<str>,
    version: u32,
    now: Timestamp,
    time_to_live: Option<i64>,
    /// How many keys more may get a state. A key that gives its state up in this range makes no
    /// room in it: which keys are refused does not depend on how rows are cut into batches.
    room: u64,
    entries: HashMap<u128, Entry>,
    /// Bytes of all entries.
    bytes: usize,
}

/// The state of a key that the range has met.
#[derive(Debug, Default)]
struct Entry {
    /// Empty where there is none.
    state: Vec<u8>,
    /// It was there before the range.
    stored: bool,
    changed: bool,
    /// It is one key too many.
    refused: bool,
    /// The hash of the partition key of the row that the range met it with.
    hash_key: Option<u128>,
    /// Another version wrote it, and it can't be migrated: why.
    unusable: Option<String>,
}

/// What an entry takes besides its state: the key, the vector and the table's slot.
const ENTRY_BYTES: usize = 64;

/// The keys of a batch.
#[derive(Debug, Default)]
pub(crate) struct Grouping {
    /// The distinct keys, in the order of their first rows.
    pub(crate) keys: Vec<u128>,
    /// The first row of each, of the table.
    first_rows: Vec<u32>,
    /// For each row, the place of its key.
    rows: Vec<u32>,
    places: HashMap<u128, u32>,
    text: Vec<u8>,
}

impl Grouping {
    /// Groups some rows by the columns of a key, all of which have a value in each of them.
    pub(crate) fn group(&mut self, rows: &[u32], key: &[(&Column, &Kind)]) {
        self.keys.clear();
        self.first_rows.clear();
        self.rows.clear();
        self.places.clear();
        for row in rows {
            self.text.clear();
            canonical_key(key, *row as usize, &mut self.text);
            let hash = xxhash_rust::xxh3::xxh3_128(&self.text);
            let (keys, first_rows) = (&mut self.keys, &mut self.first_rows);
            let place = *self.places.entry(hash).or_insert_with(|| {
                keys.push(hash);
                first_rows.push(*row);
                keys.len() as u32 - 1
            });
            self.rows.push(place);
        }
    }
}

/// A key's canonical text, of which states are kept under the 128-bit XXH3: the JSON array of its
/// values, as they are written.
fn canonical_key(key: &[(&Column, &Kind)], row: usize, out: &mut Vec<u8>) {
    for (i, (column, kind)) in key.iter().enumerate() {
        out.push(if i == 0 { b'[' } else { b',' });
        cells::render(column, kind, row, out);
    }
    out.push(b']');
}

impl KeyedStates {
    pub(crate) fn new(
        stage: Arc<str>,
        version: u32,
        now: Timestamp,
        time_to_live: Option<i64>,
        room: u64,
    ) -> Self {
        let entries = HashMap::new();
        KeyedStates { stage, version, now, time_to_live, room, entries, bytes: 0 }
    }

    /// Loads the states of those keys of a batch that the range has not met yet, and migrates what
    /// another version of the plugin wrote. Says whether there is room for the states of all.
    /// `hash_of` gives the hash of a row's partition key.
    pub(crate) async fn load(
        &mut self,
        grouping: &Grouping,
        hash_of: &(dyn Fn(u32) -> Option<u128> + Sync),
        loader: &dyn StateLoader,
        plugin: &dyn TransformFactory,
    ) -> Result<bool, ProcessError> {
        let met = grouping.keys.iter().zip(&grouping.first_rows);
        let met = met.filter(|(key, _)| !self.entries.contains_key(*key));
        let (unknown, rows): (Vec<u128>, Vec<u32>) = met.unzip();
        if !unknown.is_empty() {
            let loaded = loader.load(&self.stage, &unknown).await;
            let loaded = loaded
                .map_err(|source| ProcessError::States { stage: self.stage.to_string(), source })?;
            let mut foreign: BTreeMap<u32, Vec<(u128, Vec<u8>)>> = BTreeMap::new();
            for ((key, row), state) in unknown.iter().zip(rows).zip(loaded) {
                let entry = match state {
                    None => self.admit(false),
                    // It is forgotten, and the store is told so.
                    Some(state) if state.expires_at.is_some_and(|at| at <= self.now) => {
                        self.admit(true)
                    }
                    Some(state) if state.version == self.version => {
                        Entry { state: state.bytes, stored: true, ..Entry::default() }
                    }
                    Some(state) => {
                        foreign.entry(state.version).or_default().push((*key, state.bytes));
                        Entry { stored: true, ..Entry::default() }
                    }
                };
                self.insert(*key, Entry { hash_key: hash_of(row), ..entry });
            }
            for (version, states) in foreign {
                self.migrate(version, states, plugin)?;
            }
        }
        Ok(!grouping.keys.iter().any(|key| self.is_refused(key)))
    }

    /// A key without a state takes room for one.
    fn admit(&mut self, changed: bool) -> Entry {
        let refused = self.room == 0;
        self.room = self.room.saturating_sub(1);
        Entry { changed, refused, ..Entry::default() }
    }

    fn is_refused(&self, key: &u128) -> bool {
        self.entries.get(key).is_some_and(|entry| entry.refused)
    }

    /// Whether a row, by its place among those that were grouped, has a key for whose state there
    /// is no room.
    pub(crate) fn refuses(&self, grouping: &Grouping, row: usize) -> bool {
        self.is_refused(&grouping.keys[grouping.rows[row] as usize])
    }

    /// The states of a batch's keys, all of them loaded. With them come the places of the keys
    /// whose states can't be had, and why: their rows must not be seen by the plugin.
    pub(crate) fn view(&self, grouping: &Grouping) -> (States, BTreeMap<u32, String>) {
        let mut states = States { rows: grouping.rows.clone(), ..States::default() };
        let mut unusable = BTreeMap::new();
        for (place, key) in grouping.keys.iter().enumerate() {
            let entry = self.entries.get(key);
            states.values.push(entry.map_or(&[][..], |entry| &entry.state));
            if let Some(why) = entry.and_then(|entry| entry.unusable.clone()) {
                unusable.insert(place as u32, why);
            }
        }
        (states, unusable)
    }

    fn insert(&mut self, key: u128, entry: Entry) {
        self.bytes += ENTRY_BYTES + entry.state.len();
        self.entries.insert(key, entry);
    }

    /// What a state of another version is in this one, or why it can't be had.
    fn migrated(&mut self, key: u128, state: Result<Vec<u8>, String>) {
        let entry = self.entries.entry(key).or_default();
        match state {
            Ok(state) => {
                self.bytes += state.len();
                entry.state = state;
            }
            Err(why) => entry.unusable = Some(why),
        }
    }

    /// Takes states of another version in. All of the store's were tried before the plugin began
    /// to serve, so a refusal here is one key's, whose rows are set apart: its state stays in the
    /// store as it is.
    fn migrate(
        &mut self,
        from: u32,
        states: Vec<(u128, Vec<u8>)>,
        plugin: &dyn TransformFactory,
    ) -> Result<(), ProcessError> {
        if !plugin.migrates() {
            return Err(ProcessError::StateVersion {
                stage: self.stage.to_string(),
                found: from,
                supported: self.version,
            });
        }
        let all = states.iter().map(|(_, state)| state.as_slice()).collect();
        let together = plugin.migrate(from, &all);
        for (place, (key, state)) in states.into_iter().enumerate() {
            let migrated = match &together {
                Ok(all) => Ok(all.get(place).to_vec()),
                // Pure, and one for one: what is refused with others is found on its own.
                Err(_) => plugin
                    .migrate(from, &[state.as_slice()].into_iter().collect())
                    .map(|one| one.get(0).to_vec()),
            };
            let state = match migrated {
                Err(MigrateError::Failed(source))
                    if matches!(source.failure(), Failure::Retry { .. }) =>
                {
                    let stage = self.stage.to_string();
                    return Err(ProcessError::Plugin { stage, source });
                }
                state => state.map_err(|error| error.to_string()),
            };
            self.migrated(key, state);
        }
        Ok(())
    }

    /// Takes the states that a batch changed.
    pub(crate) fn apply(&mut self, grouping: &Grouping, changed: &ChangedStates) {
        for (i, key) in changed.keys.iter().enumerate() {
            let entry = self.entries.entry(grouping.keys[*key as usize]).or_default();
            let state = changed.values.get(i);
            self.bytes = self.bytes + state.len() - entry.state.len();
            entry.state.clear();
            entry.state.extend_from_slice(state);
            entry.changed = true;
        }
    }

    /// How many bytes the range holds of them.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many keys have got a state in this range, and how many have lost theirs. One that had
    /// expired is counted as new: it may be gone from the store by then.
    pub(crate) fn added_and_removed(&self) -> (u64, u64) {
        let changed = self.entries.values().filter(|entry| entry.changed);
        changed.fold((0, 0), |(added, removed), entry| {
            match (entry.stored, entry.state.is_empty()) {
                (false, false) => (added + 1, removed),
                (true, true) => (added, removed + 1),
                _ => (added, removed),
            }
        })
    }

    /// What changed, by key.
    pub(crate) fn changes(self) -> Vec<StateChange> {
        let expires_at = self.time_to_live.map(|it| Timestamp(self.now.0.saturating_add(it)));
        let changed = self.entries.into_iter().filter(|(_, entry)| entry.changed);
        let mut changes: Vec<StateChange> = changed
            .map(|(key, Entry { state, hash_key, .. })| StateChange {
                stage: Arc::clone(&self.stage),
                key,
                state: (!state.is_empty()).then_some(StateRow {
                    version: self.version,
                    expires_at,
                    hash_key,
                    bytes: state,
                }),
            })
            .collect();
        changes.sort_unstable_by_key(|change| change.key);
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_many_states_there_are_does_not_depend_on_how_far_a_commit_is() {
        let keys = |count: u64| StateKeys::from([("sum".to_owned(), count)]);
        let stage = |keys_added, keys_removed| {
            let stage = "sum".to_owned();
            [StageStatistics { stage, keys_added, keys_removed, ..StageStatistics::default() }]
        };
        let mut counts = StateCounts::default();
        assert_eq!(counts.of("sum"), 0);
        counts.committed(4, keys(10));
        counts.cut(4, &stage(5, 1));
        counts.cut(5, &stage(0, 3));
        assert_eq!(counts.of("sum"), 11);
        assert_eq!(counts.committed(5, keys(14)), keys(10));
        assert_eq!(counts.of("sum"), 11);
        counts.committed(6, keys(11));
        assert_eq!(counts.of("sum"), 11);
        // The COMMIT has removed expired ones besides, and the range before it counted them, too.
        counts.cut(6, &stage(0, 2));
        counts.committed(7, keys(3));
        assert_eq!(counts.of("sum"), 3, "what the store says");
        assert_eq!(counts.of("other"), 0);
    }
}
