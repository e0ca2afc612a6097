//! A partition's current states, in its owner's memory. What they are made of lies in shared objects:
//! a base, and what each range has changed since.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use tidegate_core::{
    Timestamp,
    checkpoint::{StateChange, StateKeys, StateRow},
};

use super::row::StateIndex;

/// So many objects are read one after another before they are made one.
const OBJECTS_MAX: usize = 32;

/// The states of one partition.
#[derive(Clone, Debug, Default)]
pub(super) struct StateMap {
    stages: BTreeMap<Arc<str>, HashMap<u128, StateRow>>,
    /// In the order in which they expire.
    expiries: BTreeSet<(Timestamp, Arc<str>, u128)>,
}

impl StateMap {
    pub(super) fn apply(&mut self, changes: &[StateChange]) {
        for StateChange { stage, key, state } in changes {
            let rows = self.stages.entry(stage.clone()).or_default();
            let before = match state {
                Some(state) => rows.insert(*key, state.clone()),
                None => rows.remove(key),
            };
            if let Some(at) = before.and_then(|it| it.expires_at) {
                self.expiries.remove(&(at, stage.clone(), *key));
            }
            if let Some(at) = state.as_ref().and_then(|it| it.expires_at) {
                self.expiries.insert((at, stage.clone(), *key));
            }
        }
    }

    pub(super) fn find(&self, stage: &str, key: u128) -> Option<&StateRow> {
        self.stages.get(stage)?.get(&key)
    }

    /// What a range changes, and before it what had expired when the range was opened: the range
    /// did not see it, and it is forgotten with the range's COMMIT.
    pub(super) fn with_expired(
        &self,
        opened_at: Timestamp,
        changes: &[StateChange],
    ) -> Vec<StateChange> {
        let expired = self.expiries.iter().take_while(|(at, ..)| *at <= opened_at);
        let removals = expired.map(|(_, stage, key)| StateChange {
            stage: stage.clone(),
            key: *key,
            state: None,
        });
        removals.chain(changes.iter().cloned()).collect()
    }

    /// How many keys there are once some changes are made.
    pub(super) fn keys_after(&self, changes: &[StateChange]) -> StateKeys {
        let mut last: BTreeMap<(&str, u128), bool> = BTreeMap::new();
        for change in changes {
            last.insert((&change.stage, change.key), change.state.is_some());
        }
        let mut keys = self.keys();
        for ((stage, key), stays) in last {
            let count = keys.entry(stage.to_owned()).or_default();
            match (self.find(stage, key).is_some(), stays) {
                (false, true) => *count += 1,
                (true, false) => *count -= 1,
                _ => {}
            }
        }
        keys.retain(|_, count| *count > 0);
        keys
    }

    pub(super) fn keys(&self) -> StateKeys {
        let counts = self.stages.iter().map(|(stage, rows)| (stage.to_string(), rows.len() as u64));
        counts.filter(|(_, count)| *count > 0).collect()
    }

    /// All of them, each as the change that makes it; in order, so that the same states are the same
    /// bytes.
    pub(super) fn all(&self) -> Vec<StateChange> {
        let mut all = Vec::new();
        for (stage, rows) in &self.stages {
            let mut keys: Vec<u128> = rows.keys().copied().collect();
            keys.sort_unstable();
            all.extend(keys.into_iter().map(|key| StateChange {
                stage: stage.clone(),
                key,
                state: rows.get(&key).cloned(),
            }));
        }
        all
    }

    /// Those whose hash keys lie in a range, both ends included.
    pub(super) fn within(&self, range: (u128, u128)) -> Vec<StateChange> {
        let mut all = self.all();
        all.retain(|change| lies_in(change, range));
        all
    }

    /// Forgets those whose hash keys lie in a range.
    pub(super) fn forget(&mut self, range: (u128, u128)) {
        let mut taken = self.within(range);
        taken.iter_mut().for_each(|change| change.state = None);
        self.apply(&taken);
    }
}

fn lies_in(change: &StateChange, (start, end): (u128, u128)) -> bool {
    let hash = change.state.as_ref().and_then(|it| it.hash_key);
    hash.is_some_and(|it| (start..=end).contains(&it))
}

/// Whether what changed since the base is to be made a new base: it is as large, or there is too much
/// of it to be read one by one.
pub(super) fn is_long(index: &StateIndex) -> bool {
    let bytes =
        |objects: &[super::row::StateObject]| objects.iter().map(|it| it.bytes).sum::<u64>();
    match index.objects.split_first() {
        None => false,
        Some((base, since)) => {
            let many = since.len() >= 4 && bytes(since) > bytes(std::slice::from_ref(base));
            many || index.objects.len() >= OBJECTS_MAX
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::row::StateObject, *};

    fn change(key: u128, expires_at: Option<i64>, bytes: Option<&[u8]>) -> StateChange {
        let row = |bytes: &[u8]| StateRow {
            version: 1,
            expires_at: expires_at.map(Timestamp),
            hash_key: Some(key * 10),
            bytes: bytes.to_vec(),
        };
        StateChange { stage: "sum".into(), key, state: bytes.map(row) }
    }

    #[test]
    fn what_has_expired_goes_with_the_next_range_unless_that_renews_it() {
        let mut states = StateMap::default();
        states.apply(&[change(1, Some(10), Some(b"a")), change(2, Some(10), Some(b"b"))]);
        states.apply(&[change(3, Some(20), Some(b"c")), change(3, Some(30), Some(b"c"))]);
        let changes = states.with_expired(Timestamp(25), &[change(2, Some(40), Some(b"new"))]);
        assert_eq!(states.keys_after(&changes), [("sum".to_owned(), 2)].into());
        states.apply(&changes);
        assert_eq!(states.keys(), [("sum".to_owned(), 2)].into());
        assert_eq!(states.find("sum", 1), None);
        assert_eq!(states.find("sum", 2).map(|it| it.bytes.as_slice()), Some(b"new".as_slice()));
        assert_eq!(states.with_expired(Timestamp(29), &[]), []);
    }

    #[test]
    fn states_are_divided_by_their_hashes() {
        let mut states = StateMap::default();
        states.apply(&[1, 2, 3].map(|key| change(key, None, Some(b"x"))));
        let taken = states.within((10, 20));
        assert_eq!(taken, [1, 2].map(|key| change(key, None, Some(b"x"))));
        states.forget((10, 20));
        assert_eq!(states.all(), [change(3, None, Some(b"x"))]);
    }

    #[test]
    fn changes_become_a_base_before_there_are_too_many() {
        let object = |bytes| StateObject { key: String::new(), bytes };
        let index = |bytes: &[u64]| StateIndex {
            objects: bytes.iter().map(|it| object(*it)).collect(),
            keys: StateKeys::new(),
        };
        assert!(!is_long(&index(&[])));
        assert!(!is_long(&index(&[10, 5, 5])), "two are read quickly");
        assert!(!is_long(&index(&[100, 5, 5, 5, 5])));
        assert!(is_long(&index(&[10, 5, 5, 5, 5])));
        assert!(is_long(&index(&[u64::MAX / 64; 32])));
    }
}
