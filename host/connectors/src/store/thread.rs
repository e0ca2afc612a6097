//! The thread that owns the connection, and the transactions that it makes of what it is asked.

use std::{sync::Mutex, thread::JoinHandle};

use rusqlite::Connection;
use tidegate_core::{
    checkpoint::{
        Acquired, Lease, Manifest, OwnerId, StateKeys, StateRow, StoreError, StoreErrorKind,
        WriteId,
    },
    source::PartitionId,
};
use tokio::sync::{mpsc, oneshot};

use super::{
    Generation, Redriven, failed, lock::DirectoryLock, operations, operations::StatePlace, redriven,
};

/// How many requests may wait. Each partition has one at a time, so that this also bounds the bytes
/// of those that carry states.
const WAITING_MAX: usize = 64;

type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

/// What the thread is asked for.
#[allow(missing_docs, reason = "the operations of `CheckpointStore`")]
pub(super) enum Event {
    Acquire {
        partition: PartitionId,
        owner: OwnerId,
        write: WriteId,
        answer: Answer<Acquired>,
    },
    Renew {
        lease: Lease,
        answer: Answer<()>,
    },
    HandOver {
        lease: Lease,
        write: WriteId,
        answer: Answer<()>,
    },
    Inherit {
        lease: Lease,
        parent: PartitionId,
        hash_range: (u128, u128),
        after: Option<StatePlace>,
        answer: Answer<(Option<StatePlace>, StateKeys)>,
    },
    Intend {
        lease: Lease,
        write: WriteId,
        manifest: Box<Manifest>,
        states: Vec<u8>,
        answer: Answer<()>,
    },
    Commit {
        lease: Lease,
        write: WriteId,
        range: u64,
        answer: Answer<StateKeys>,
    },
    States {
        lease: Lease,
        stage: String,
        keys: Vec<u128>,
        answer: Answer<Vec<Option<StateRow>>>,
    },
    Finish {
        lease: Lease,
        write: WriteId,
        answer: Answer<()>,
    },
    RecordGeneration {
        generation: Generation,
        answer: Answer<()>,
    },
    BeginRedrive {
        letters: Vec<Redriven>,
        answer: Answer<()>,
    },
    /// Something about generations: rare, and of many kinds.
    Catalogue(Box<dyn FnOnce(&Connection) -> Settle + Send>),
}

impl Event {
    pub(super) fn catalogue<T: Send + 'static>(
        answer: Answer<T>,
        operation: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Self {
        Event::Catalogue(Box::new(move |connection| settle(answer, connection, operation)))
    }
}

/// The thread's handle. Dropping it waits for what was asked before, then closes the store.
pub(super) struct StoreThread {
    events: Option<mpsc::Sender<Event>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl StoreThread {
    pub(super) fn spawn(connection: Connection, lock: DirectoryLock) -> Result<Self, StoreError> {
        let (events, waiting) = mpsc::channel(WAITING_MAX);
        let thread = std::thread::Builder::new()
            .name("tidegate-store".to_owned())
            .spawn(move || {
                serve(&connection, waiting);
                // In this order: nobody else may have the directory before the file is closed.
                drop(connection);
                drop(lock);
            })
            .map_err(|error| {
                StoreError::new(StoreErrorKind::Broken, "failed to start the store's thread", error)
            })?;
        Ok(StoreThread { events: Some(events), thread: Mutex::new(Some(thread)) })
    }

    pub(super) async fn send(&self, event: Event) -> Result<(), StoreError> {
        let events = self.events.as_ref().expect("the sender is there until the handle is dropped");
        events.send(event).await.map_err(|_| {
            StoreError::plain(StoreErrorKind::Broken, "the store's thread has stopped")
        })
    }
}

impl Drop for StoreThread {
    fn drop(&mut self) {
        drop(self.events.take());
        let thread = self.thread.get_mut().map(Option::take).unwrap_or_default();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the store's thread panicked");
        }
    }
}

/// Does what waits in one transaction, answers, and begins anew.
fn serve(connection: &Connection, mut waiting: mpsc::Receiver<Event>) {
    while let Some(first) = waiting.blocking_recv() {
        let begun = connection.execute_batch("BEGIN");
        let mut pending = Vec::new();
        let mut next = Some(first);
        while let Some(event) = next {
            pending.push(perform(connection, event));
            next = if pending.len() < WAITING_MAX { waiting.try_recv().ok() } else { None };
        }
        let done = begun.and_then(|()| connection.execute_batch("COMMIT"));
        if done.is_err() && !connection.is_autocommit() {
            // What fails here has failed before; what matters is that nothing is confirmed.
            let _ = connection.execute_batch("ROLLBACK");
        }
        let done = done.map_err(|error| {
            let error = failed("commit to the store", error);
            // Told to many, so that the cause goes into the text.
            let cause = error.cause.as_ref().map_or_else(String::new, |it| format!(": {it}"));
            (error.kind, error.message + &cause)
        });
        pending.into_iter().for_each(|settle| settle(&done));
    }
}

/// Whether a transaction is on the disk; else what each of its operations is told.
pub(super) type Done = Result<(), (StoreErrorKind, String)>;

/// Gives the answer, once it is known whether the transaction is on the disk.
pub(super) type Settle = Box<dyn FnOnce(&Done)>;

fn perform(connection: &Connection, event: Event) -> Settle {
    match event {
        Event::Acquire { partition, owner, write, answer } => {
            settle(answer, connection, |it| operations::acquire(it, &partition, &owner, write))
        }
        Event::Renew { lease, answer } => {
            settle(answer, connection, |it| operations::renew(it, &lease))
        }
        Event::HandOver { lease, write, answer } => {
            settle(answer, connection, |it| operations::hand_over(it, &lease, write))
        }
        Event::Inherit { lease, parent, hash_range, after, answer } => {
            settle(answer, connection, |it| {
                operations::inherit(it, &lease, &parent, hash_range, after)
            })
        }
        Event::Intend { lease, write, manifest, states, answer } => {
            settle(answer, connection, |it| {
                operations::intend(it, &lease, write, &manifest, &states)
            })
        }
        Event::Commit { lease, write, range, answer } => {
            settle(answer, connection, |it| operations::commit(it, &lease, write, range))
        }
        Event::States { lease, stage, keys, answer } => {
            settle(answer, connection, |it| operations::states(it, &lease, &stage, &keys))
        }
        Event::Finish { lease, write, answer } => {
            settle(answer, connection, |it| operations::finish(it, &lease, write))
        }
        Event::RecordGeneration { generation, answer } => {
            settle(answer, connection, |it| operations::record_generation(it, &generation))
        }
        Event::BeginRedrive { letters, answer } => {
            settle(answer, connection, |it| redriven::begin(it, &letters))
        }
        Event::Catalogue(operation) => operation(connection),
    }
}

/// Does one operation in a savepoint of its own: one that fails leaves nothing behind, and takes
/// no other along.
fn settle<T: 'static>(
    answer: Answer<T>,
    connection: &Connection,
    operation: impl FnOnce(&Connection) -> Result<T, StoreError>,
) -> Settle {
    let savepoint = |sql: &str| {
        connection.execute_batch(sql).map_err(|error| failed("write to the store", error))
    };
    let result = savepoint("SAVEPOINT operation").and_then(|()| {
        let result = operation(connection);
        if result.is_err() {
            savepoint("ROLLBACK TO operation")?;
        }
        savepoint("RELEASE operation")?;
        result
    });
    Box::new(move |done| {
        let result = match (result, done) {
            (Ok(_), Err((kind, message))) => Err(StoreError::plain(*kind, message.clone())),
            (result, _) => result,
        };
        // Nobody waits for the answer any more: they will ask again under the same write id.
        let _ = answer.send(result);
    })
}
