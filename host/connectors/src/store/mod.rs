//! The embedded store: progress, states and history in one SQLite file.
//!
//! A data directory belongs to one process at a time, which holds a lock on it. One thread owns the
//! connection; what waits for it is done in one transaction, so that partitions share the syncs.
//! Every answer is given after the transaction is on the disk: WAL, `synchronous=FULL`.

mod inspect;
mod lock;
mod operations;
mod probe;
mod redriven;
mod schema;
mod swaps;
mod thread;

use std::{path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use tidegate_core::{
    CheckpointStore, Digest, Timestamp,
    checkpoint::{
        Acquired, Lease, Manifest, OwnerId, StateChange, StateKeys, StateRow, StoreError,
        StoreErrorKind, WriteId,
    },
    source::{PartitionId, Resume},
};
use tokio::sync::oneshot;

pub use inspect::{PartitionRecord, StoreInspector};
pub use redriven::{RedriveOutcome, Redriven};
pub use swaps::{ForeignState, Pin, Swap, SwapCause, SwapEffect, SwapState};

use crate::{
    probe::{Probed, Probing},
    states,
};
use thread::{Event, StoreThread};

/// A generation of a pipeline, as the catalogue keeps it: what served, and since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generation {
    /// The digest over all components, configs and tables.
    pub digest: Digest,
    /// When it was first recorded.
    pub recorded_at: Timestamp,
    /// What it is made of, in JSON: the names and digests of its parts.
    pub contents: String,
}

/// The embedded checkpoint store. Clones are the same store; it is closed, and its data directory
/// free, once the last one is dropped.
#[derive(Clone)]
pub struct SqliteStore {
    thread: Arc<StoreThread>,
}

impl SqliteStore {
    /// Opens the store in a data directory, and creates either where it is missing. Fails with
    /// [`StoreErrorKind::Broken`] where another process holds the directory, or where the store
    /// was written by another version. Blocks.
    pub fn open(data_directory: &Path) -> Result<Self, StoreError> {
        let lock = lock::DirectoryLock::take(data_directory)?;
        let connection = schema::open(&data_directory.join(schema::FILE))?;
        Ok(SqliteStore { thread: Arc::new(StoreThread::spawn(connection, lock)?) })
    }

    /// What of a data directory works from here, while somebody may hold it.
    pub async fn probe(data_directory: &Path, probing: Probing) -> Vec<Probed> {
        probe::probe(data_directory, probing).await
    }

    /// Records a generation in the catalogue; what is recorded already stays as it is.
    pub async fn record_generation(&self, generation: Generation) -> Result<(), StoreError> {
        self.ask(|answer| Event::RecordGeneration { generation, answer }).await
    }

    /// Records the letters of a redrive, all of them or none. Fails with
    /// [`StoreErrorKind::Conflict`] where one of them was redriven before, or where a partition of
    /// the source has the name of one of the redrive's.
    pub async fn begin_redrive(&self, letters: Vec<Redriven>) -> Result<(), StoreError> {
        self.ask(|answer| Event::BeginRedrive { letters, answer }).await
    }

    /// Records an attempt to make a generation serve, and gives its number.
    pub async fn receive_swap(
        &self,
        generation: Option<Digest>,
        cause: SwapCause,
        at: Timestamp,
    ) -> Result<u64, StoreError> {
        self.catalogue(move |it| swaps::receive(it, generation, cause, at)).await
    }

    /// Records how far an attempt has come.
    pub async fn advance_swap(
        &self,
        swap: u64,
        state: SwapState,
        generation: Option<Digest>,
        at: Timestamp,
        reason: Option<String>,
    ) -> Result<(), StoreError> {
        self.catalogue(move |it| swaps::advance(it, swap, state, generation, at, reason.as_deref()))
            .await
    }

    /// Records that an attempt took effect on a partition.
    pub async fn swap_took_effect(&self, swap: u64, effect: SwapEffect) -> Result<(), StoreError> {
        self.catalogue(move |it| swaps::took_effect(it, swap, &effect)).await
    }

    /// Says that an operator wants another generation than the files make, or no longer.
    pub async fn set_pin(&self, pin: Option<Pin>) -> Result<(), StoreError> {
        self.catalogue(move |it| swaps::set_pin(it, pin)).await
    }

    /// What an operator wants instead of what the files make.
    pub async fn pin(&self) -> Result<Option<Pin>, StoreError> {
        self.catalogue(swaps::pin).await
    }

    /// States of a stage, of all partitions, that have another version than this: the next `most`
    /// behind a place. Committed ones: what a range changes meanwhile is not among them.
    pub async fn foreign_states(
        &self,
        stage: &str,
        version: u32,
        after: Option<(i64, Vec<u8>)>,
        most: u32,
    ) -> Result<Vec<ForeignState>, StoreError> {
        let stage = stage.to_owned();
        self.catalogue(move |it| swaps::foreign_states(it, &stage, version, after, most)).await
    }

    /// Replaces all states of some stages, on every partition, and says which generation an
    /// operator wants: all of it or nothing. Fails with [`StoreErrorKind::Conflict`] where a range
    /// pends.
    pub async fn replace_states(
        &self,
        stages: Vec<String>,
        states: Vec<(PartitionId, Vec<StateChange>)>,
        pin: Option<Pin>,
    ) -> Result<(), StoreError> {
        self.catalogue(move |it| {
            operations::replace_states(it, &stages, &states)?;
            swaps::set_pin(it, pin)
        })
        .await
    }

    /// Moves partitions, all of them or none: each behind a record, or to its beginning, with its states
    /// or without. What pends is gone.
    pub async fn reset(
        &self,
        partitions: Vec<(PartitionId, Option<Resume>, bool)>,
    ) -> Result<(), StoreError> {
        self.catalogue(move |it| {
            partitions.iter().try_for_each(|(partition, resume, forgets_states)| {
                operations::reset(it, partition, resume.as_ref(), *forgets_states)
            })
        })
        .await
    }

    async fn catalogue<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&rusqlite::Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.ask(|answer| Event::catalogue(answer, operation)).await
    }

    /// Hands the thread an event, and waits for its answer.
    async fn ask<T>(
        &self,
        event: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Event,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.thread.send(event(answer)).await?;
        answered.await.unwrap_or_else(|_| {
            let message = "the store's thread gave no answer";
            Err(StoreError::plain(StoreErrorKind::Unavailable, message))
        })
    }
}

#[async_trait]
impl CheckpointStore for SqliteStore {
    async fn acquire(
        &self,
        partition: &PartitionId,
        owner: &OwnerId,
        write: WriteId,
    ) -> Result<Acquired, StoreError> {
        let (partition, owner) = (partition.clone(), owner.clone());
        self.ask(|answer| Event::Acquire { partition, owner, write, answer }).await
    }

    /// There is no other host, so that nobody waits for a sign of life: this only says whether the
    /// lease is still worth something.
    async fn renew(&self, lease: &Lease, _write: WriteId) -> Result<(), StoreError> {
        let lease = lease.clone();
        self.ask(|answer| Event::Renew { lease, answer }).await
    }

    async fn hand_over(&self, lease: &Lease, write: WriteId) -> Result<(), StoreError> {
        let lease = lease.clone();
        self.ask(|answer| Event::HandOver { lease, write, answer }).await
    }

    /// Some at a time: one that was broken off goes on where it was.
    async fn inherit(
        &self,
        lease: &Lease,
        _write: WriteId,
        parents: &[PartitionId],
        hash_range: (u128, u128),
    ) -> Result<StateKeys, StoreError> {
        let mut keys = StateKeys::new();
        for parent in parents {
            let mut after = None;
            loop {
                let (lease, parent) = (lease.clone(), parent.clone());
                let event = |answer| Event::Inherit { lease, parent, hash_range, after, answer };
                (after, keys) = self.ask(event).await?;
                if after.is_none() {
                    break;
                }
            }
        }
        Ok(keys)
    }

    async fn intend(
        &self,
        lease: &Lease,
        write: WriteId,
        manifest: &Manifest,
        states: &[StateChange],
    ) -> Result<(), StoreError> {
        let (lease, manifest) = (lease.clone(), Box::new(manifest.clone()));
        let states = states::encode(states);
        self.ask(|answer| Event::Intend { lease, write, manifest, states, answer }).await
    }

    async fn commit(
        &self,
        lease: &Lease,
        write: WriteId,
        range: u64,
    ) -> Result<StateKeys, StoreError> {
        let lease = lease.clone();
        self.ask(|answer| Event::Commit { lease, write, range, answer }).await
    }

    /// Also those that have expired and that no commit has removed yet: whether a state is seen is
    /// decided on batch time, by the pipeline.
    async fn states(
        &self,
        lease: &Lease,
        stage: &str,
        keys: &[u128],
    ) -> Result<Vec<Option<StateRow>>, StoreError> {
        let (lease, stage, keys) = (lease.clone(), stage.to_owned(), keys.to_vec());
        self.ask(|answer| Event::States { lease, stage, keys, answer }).await
    }

    async fn finish(&self, lease: &Lease, write: WriteId) -> Result<(), StoreError> {
        let lease = lease.clone();
        self.ask(|answer| Event::Finish { lease, write, answer }).await
    }

    async fn forget(&self, finished_for: Duration) -> Result<u64, StoreError> {
        let seconds = finished_for.as_secs();
        self.catalogue(move |it| operations::forget(it, seconds)).await
    }
}

/// What an error of SQLite is for the store's callers.
fn failed(action: &str, error: rusqlite::Error) -> StoreError {
    use rusqlite::ErrorCode;
    let code = error.sqlite_error_code();
    let (kind, hint) = match code {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            (StoreErrorKind::Unavailable, "")
        }
        Some(ErrorCode::DiskFull) => (StoreErrorKind::Broken, ": the disk is full"),
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            (StoreErrorKind::Broken, ": it can't be opened for writing")
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            (StoreErrorKind::Broken, ": the file is damaged, or is no store")
        }
        _ => (StoreErrorKind::Broken, ""),
    };
    StoreError::new(kind, format!("failed to {action}{hint}"), error)
}
