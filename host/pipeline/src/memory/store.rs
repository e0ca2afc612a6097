//! A checkpoint store whose rows are entries of a map.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use tidegate_core::{
    CheckpointStore, Position,
    checkpoint::{
        Acquired, Checkpoint, Lease, Manifest, OwnerId, StateChange, StateKeys, StateRow,
        StoreError, StoreErrorKind, WriteId,
    },
    source::PartitionId,
};

use super::trouble::{Storm, Trouble, Troubles, lock};

/// Progress in memory. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    held: Mutex<Held>,
    troubles: Troubles,
}

#[derive(Debug, Default)]
struct Held {
    rows: BTreeMap<PartitionId, Row>,
    history: Vec<StoreWrite>,
}

#[derive(Debug)]
struct Row {
    counter: u64,
    owner: Option<OwnerId>,
    checkpoint: Checkpoint,
    pending: Option<(Manifest, Vec<StateChange>)>,
    states: BTreeMap<(Arc<str>, u128), StateRow>,
    last_write: WriteId,
}

/// A write that was done, for tests that look back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreWrite {
    /// Somebody took a partition.
    Acquire {
        /// The partition.
        partition: PartitionId,
        /// Their fence.
        counter: u64,
    },
    /// An owner showed that it lives.
    Renew {
        /// Of which partition.
        partition: PartitionId,
    },
    /// States were taken from parents.
    Inherit {
        /// By which partition.
        partition: PartitionId,
        /// How many.
        states: usize,
    },
    /// An intent was stored.
    Intend {
        /// Under which fence.
        counter: u64,
        /// For which partition.
        partition: PartitionId,
        /// The intent.
        manifest: Box<Manifest>,
    },
    /// A checkpoint moved.
    Commit {
        /// Under which fence.
        counter: u64,
        /// The partition.
        partition: PartitionId,
        /// The range.
        range: u64,
        /// The checkpoint's position.
        end: Position,
    },
    /// A partition was finished.
    Finish {
        /// The partition.
        partition: PartitionId,
    },
}

impl MemoryStore {
    /// A store that knows of no partition.
    pub fn new() -> Self {
        MemoryStore::default()
    }

    /// The checkpoint of a partition.
    pub fn checkpoint(&self, partition: &str) -> Option<Checkpoint> {
        let held = lock(&self.inner.held);
        held.rows.get(&PartitionId::from(partition)).map(|row| row.checkpoint.clone())
    }

    /// The pending intent of a partition.
    pub fn pending(&self, partition: &str) -> Option<Manifest> {
        let held = lock(&self.inner.held);
        let row = held.rows.get(&PartitionId::from(partition))?;
        row.pending.as_ref().map(|(manifest, _)| manifest.clone())
    }

    /// Changes a pending intent, as a host of another build would have stored it.
    pub fn tamper(&self, partition: &str, change: impl FnOnce(&mut Manifest)) {
        let mut held = lock(&self.inner.held);
        let row = held.rows.get_mut(&PartitionId::from(partition));
        let pending = row.and_then(|row| row.pending.as_mut());
        change(&mut pending.expect("an intent pends").0);
    }

    /// The current states of a partition, by stage and key.
    pub fn states_of(&self, partition: &str) -> BTreeMap<(Arc<str>, u128), StateRow> {
        let held = lock(&self.inner.held);
        let row = held.rows.get(&PartitionId::from(partition));
        row.map(|row| row.states.clone()).unwrap_or_default()
    }

    /// Every write that was done, in order.
    pub fn history(&self) -> Vec<StoreWrite> {
        lock(&self.inner.held).history.clone()
    }

    /// The next calls fail, and nothing of them is done.
    pub fn fail_next(&self, times: usize) {
        self.inner.troubles.add(Trouble::Fail, times);
    }

    /// The next calls are done, but their callers hear of a failure.
    pub fn lose_next_response(&self, times: usize) {
        self.inner.troubles.add(Trouble::LoseResponse, times);
    }

    /// Calls wait until [`MemoryStore::uncork`].
    pub fn cork(&self) {
        self.inner.troubles.cork(true);
    }

    /// Calls go on.
    pub fn uncork(&self) {
        self.inner.troubles.cork(false);
    }

    /// Random trouble, or none.
    pub fn storm(&self, storm: Option<Storm>) {
        self.inner.troubles.storm(storm);
    }

    /// One call: trouble before, the work, trouble behind.
    async fn call<T>(
        &self,
        work: impl FnOnce(&mut Held) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let unavailable =
            || StoreError::plain(StoreErrorKind::Unavailable, "the memory store was told to fail");
        match self.inner.troubles.strike().await {
            Some(Trouble::Fail | Trouble::FailHalfway) => Err(unavailable()),
            Some(Trouble::LoseResponse) => {
                work(&mut lock(&self.inner.held))?;
                Err(unavailable())
            }
            None => work(&mut lock(&self.inner.held)),
        }
    }

    /// One fenced write: done at most once under its name. Says how many states are current.
    async fn write(
        &self,
        lease: &Lease,
        write: WriteId,
        work: impl FnOnce(&mut Row) -> Result<Option<StoreWrite>, StoreError>,
    ) -> Result<StateKeys, StoreError> {
        self.call(|held| {
            let row = held.fenced(lease)?;
            if row.last_write == write {
                return Ok(row.state_keys());
            }
            let done = work(row)?;
            row.last_write = write;
            let keys = row.state_keys();
            held.history.extend(done);
            Ok(keys)
        })
        .await
    }
}

impl Row {
    fn state_keys(&self) -> StateKeys {
        let mut keys = StateKeys::new();
        for (stage, _) in self.states.keys() {
            *keys.entry(stage.to_string()).or_default() += 1;
        }
        keys
    }
}

impl Held {
    fn fenced(&mut self, lease: &Lease) -> Result<&mut Row, StoreError> {
        let row = self.rows.get_mut(&lease.partition);
        let own = |row: &&mut Row| {
            row.counter == lease.counter && row.owner.as_ref() == Some(&lease.owner)
        };
        row.filter(own).ok_or_else(|| {
            let message = format!("somebody else has acquired partition `{}`", lease.partition);
            StoreError::plain(StoreErrorKind::Fenced, message)
        })
    }
}

fn conflict(message: impl Into<String>) -> StoreError {
    StoreError::plain(StoreErrorKind::Conflict, message)
}

#[async_trait]
impl CheckpointStore for MemoryStore {
    async fn acquire(
        &self,
        partition: &PartitionId,
        owner: &OwnerId,
        write: WriteId,
    ) -> Result<Acquired, StoreError> {
        self.call(|held| {
            let row = held.rows.entry(partition.clone()).or_insert_with(|| Row {
                counter: 0,
                owner: None,
                checkpoint: Checkpoint { resume: None, next_range: 0, finished: false },
                pending: None,
                states: BTreeMap::new(),
                last_write: WriteId(0),
            });
            if row.last_write != write {
                row.counter += 1;
                row.owner = Some(owner.clone());
                row.last_write = write;
                let counter = row.counter;
                let acquire = StoreWrite::Acquire { partition: partition.clone(), counter };
                held.history.push(acquire);
            }
            Ok(Acquired {
                lease: Lease {
                    partition: partition.clone(),
                    owner: owner.clone(),
                    counter: row.counter,
                },
                checkpoint: row.checkpoint.clone(),
                pending: row.pending.as_ref().map(|(manifest, _)| manifest.clone()),
                state_keys: row.state_keys(),
                moved: None,
            })
        })
        .await
    }

    async fn renew(&self, lease: &Lease, write: WriteId) -> Result<(), StoreError> {
        let renew = StoreWrite::Renew { partition: lease.partition.clone() };
        self.write(lease, write, |_| Ok(Some(renew))).await.map(drop)
    }

    async fn hand_over(&self, lease: &Lease, write: WriteId) -> Result<(), StoreError> {
        self.call(|held| {
            let row = held.rows.get_mut(&lease.partition);
            // Sent again after it was done: the lease is nobody's, and this write made it so.
            if row.is_some_and(|row| row.owner.is_none() && row.last_write == write) {
                return Ok(());
            }
            let row = held.fenced(lease)?;
            row.owner = None;
            row.last_write = write;
            Ok(())
        })
        .await
    }

    async fn inherit(
        &self,
        lease: &Lease,
        write: WriteId,
        parents: &[PartitionId],
        (start, end): (u128, u128),
    ) -> Result<StateKeys, StoreError> {
        self.call(|held| {
            let row = held.fenced(lease)?;
            if row.last_write == write {
                return Ok(row.state_keys());
            }
            let own = held.fenced(lease)?.states.keys().cloned().collect::<BTreeSet<_>>();
            let mut inherited = BTreeMap::new();
            for parent in parents {
                let Some(row) = held.rows.get_mut(parent) else { continue };
                row.states.retain(|key, state| {
                    let owned = state.hash_key.is_some_and(|it| (start..=end).contains(&it));
                    let goes = owned && !own.contains(key) && !inherited.contains_key(key);
                    if goes {
                        inherited.insert(key.clone(), state.clone());
                    }
                    !goes
                });
            }
            let (partition, states) = (lease.partition.clone(), inherited.len());
            held.history.push(StoreWrite::Inherit { partition, states });
            let row = held.fenced(lease)?;
            row.states.append(&mut inherited);
            row.last_write = write;
            Ok(row.state_keys())
        })
        .await
    }

    async fn intend(
        &self,
        lease: &Lease,
        write: WriteId,
        manifest: &Manifest,
        states: &[StateChange],
    ) -> Result<(), StoreError> {
        self.write(lease, write, |row| {
            let follows = !row.checkpoint.finished
                && manifest.range == row.checkpoint.next_range
                && manifest.start == row.checkpoint.resume;
            if !follows {
                return Err(conflict("the range does not follow the checkpoint"));
            }
            if row.pending.as_ref().is_some_and(|(old, _)| manifest.revision <= old.revision) {
                return Err(conflict("an intent of this or a later revision pends"));
            }
            row.pending = Some((manifest.clone(), states.to_vec()));
            Ok(Some(StoreWrite::Intend {
                counter: lease.counter,
                partition: lease.partition.clone(),
                manifest: Box::new(manifest.clone()),
            }))
        })
        .await
        .map(drop)
    }

    async fn commit(
        &self,
        lease: &Lease,
        write: WriteId,
        range: u64,
    ) -> Result<StateKeys, StoreError> {
        self.write(lease, write, |row| {
            let Some((manifest, states)) = row.pending.take_if(|it| it.0.range == range) else {
                return Err(conflict(format!("no intent of range {range} pends")));
            };
            let end = manifest.end.position;
            row.checkpoint = Checkpoint {
                resume: Some(manifest.end),
                next_range: range + 1,
                finished: manifest.finishes,
            };
            for StateChange { stage, key, state } in states {
                match state {
                    Some(state) => row.states.insert((stage, key), state),
                    None => row.states.remove(&(stage, key)),
                };
            }
            let (counter, partition) = (lease.counter, lease.partition.clone());
            Ok(Some(StoreWrite::Commit { counter, partition, range, end }))
        })
        .await
    }

    async fn states(
        &self,
        lease: &Lease,
        stage: &str,
        keys: &[u128],
    ) -> Result<Vec<Option<StateRow>>, StoreError> {
        self.call(|held| {
            let row = held.fenced(lease)?;
            let stage = Arc::<str>::from(stage);
            let find = |key: &u128| row.states.get(&(stage.clone(), *key)).cloned();
            Ok(keys.iter().map(find).collect())
        })
        .await
    }

    async fn finish(&self, lease: &Lease, write: WriteId) -> Result<(), StoreError> {
        self.write(lease, write, |row| {
            if row.pending.is_some() {
                return Err(conflict("a range pends"));
            }
            row.checkpoint.finished = true;
            Ok(Some(StoreWrite::Finish { partition: lease.partition.clone() }))
        })
        .await
        .map(drop)
    }
}
