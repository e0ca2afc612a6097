//! A fleet's store: leases in DynamoDB, in the schema of the Kinesis Client Library, and manifests and
//! states as objects that every host sees.
//!
//! ```text
//! row of a partition    who has it, the fence, the checkpoint, what pends, which objects hold states
//! manifests/…           what each range is to be, or was: the row names it, with its digest
//! states/…              a base, and what each range changes
//! ```
//!
//! Everything that must be one write is one conditional write of one row. The fence is the row's
//! counter, which each write moves on, the checkpoint that we left there, and the owner. Every write
//! names itself (`tgWrite`), so that one whose answer was lost is found to be done. One task writes a
//! row, heartbeats included, so that none of our own writes fences another.
//!
//! A row holds 400 KB, and a manifest or the states of a range may be larger. So an object is written
//! first, under a name that its content makes, and then the row that names it. An object that no row
//! names is nothing.

mod coordinate;
mod dynamo;
mod hold;
mod intent;
mod memory;
mod meters;
mod probe;
mod reset;
mod row;
mod states;
mod table;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use aws_sdk_dynamodb::types::AttributeValue;
use tidegate_core::{
    CheckpointStore,
    checkpoint::{
        Acquired, Checkpoint, Lease, Manifest, MovedCheckpoint, OwnerId, StateChange, StateKeys,
        StateRow, StoreError, StoreErrorKind, WriteId,
    },
    source::{Partition, PartitionId},
};

use self::{
    coordinate::Observations,
    dynamo::DynamoTable,
    hold::{Hold, Holds},
    intent::Pending,
    meters::Meters,
    row::{Done, EXPIRES, Row, SHARD_END, TRIM_HORIZON, checkpoint_of, described, write_id},
    table::{Change, LeaseTable, Written},
};
pub use self::{
    memory::{Call, Fate, LeaseWrite, MemoryTable, Passage},
    reset::LeaseReset,
};
use crate::{aws::AwsConfig, objects::SharedObjects};

/// A write that somebody else was in the way of is tried again so often before it is left to the
/// caller.
const TRIES_MAX: usize = 8;

/// A table of leases, and how a fleet shares it.
#[derive(Clone, Debug)]
pub struct LeaseConfig {
    /// The table's name.
    pub table: String,
    /// The pipeline's name, for metrics.
    pub pipeline: String,
    /// Which account and region.
    pub aws: AwsConfig,
    /// Whether a table that is not there is created.
    pub create_table: bool,
    /// A lease that shows no sign of life for so long is taken over.
    pub failover: Duration,
    /// How often the table is looked at.
    pub look_every: Duration,
    /// A finished row that nobody asks for any more is deleted after this: longer than any host has
    /// an old list of the source's partitions.
    pub history_kept: Duration,
    /// What becomes of a partition whose checkpoint somebody else has moved away from its states.
    pub on_state_gap: OnStateGap,
    /// Set where partitions come and go, and a queue tells each host which are its own: rows of those
    /// that are finished, or of which nothing was begun, expire so long after.
    pub expires_after: Option<Duration>,
}

impl LeaseConfig {
    /// A table that has to be there.
    pub fn new(table: impl Into<String>) -> Self {
        LeaseConfig {
            table: table.into(),
            pipeline: String::new(),
            aws: AwsConfig::default(),
            create_table: false,
            // What KCL takes.
            failover: Duration::from_secs(10),
            // A lease that was handed over waits for no longer.
            look_every: Duration::from_secs(1),
            history_kept: Duration::from_secs(600),
            on_state_gap: OnStateGap::default(),
            expires_after: None,
        }
    }
}

/// What becomes of a partition with states whose checkpoint is not where they were left: a worker of
/// KCL has moved it, or a person.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnStateGap {
    /// It stops with an error.
    #[default]
    Fail,
    /// Its states are forgotten, and it goes on at the checkpoint.
    Reset,
}

/// A lease as it stands in the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRecord {
    /// The partition.
    pub partition: PartitionId,
    /// Who has it, or is to have it.
    pub owner: Option<OwnerId>,
    /// Who is still to hand it over.
    pub hands_over: Option<OwnerId>,
    /// The fence.
    pub counter: u64,
    /// How far it is done.
    pub checkpoint: Checkpoint,
    /// Whether an intent pends.
    pub pends: bool,
    /// The partitions that it comes after.
    pub parents: Vec<PartitionId>,
    /// What the source has noted.
    pub note: Option<String>,
    /// The range of the last intent, whatever became of it.
    pub intended: Option<u64>,
    /// How many states it has.
    pub state_keys: StateKeys,
}

impl LeaseRecord {
    fn of(row: Row) -> Result<LeaseRecord, StoreError> {
        let resume = match row.done()? {
            Done::Ours(resume) | Done::Moved(resume) => resume,
        };
        let finished = row.is_finished();
        Ok(LeaseRecord {
            checkpoint: Checkpoint { resume, next_range: row.next_range, finished },
            owner: row.owner.map(OwnerId),
            hands_over: row.hands_over.map(OwnerId),
            counter: row.counter,
            pends: row.pending.is_some(),
            parents: row.parents.into_iter().collect(),
            note: row.note,
            intended: row.intended,
            state_keys: row.states.keys,
            partition: row.partition,
        })
    }
}

/// What the ranges of a partition were.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseHistory {
    /// Those that are committed, in order, without what has expired.
    pub committed: Vec<Manifest>,
    /// One that is intended.
    pub pending: Option<Manifest>,
}

/// The store of a fleet. Clones are the same store.
#[derive(Clone)]
pub struct LeaseStore {
    shared: Arc<Shared>,
}

struct Shared {
    config: LeaseConfig,
    table: Arc<dyn LeaseTable>,
    objects: Arc<dyn SharedObjects>,
    meters: Meters,
    holds: Mutex<Holds>,
    observations: Mutex<Observations>,
}

impl LeaseStore {
    /// Opens the table, and creates it where that is asked for.
    ///
    /// # Errors
    /// Where there is no such table, or where nobody answers.
    pub async fn open(
        config: LeaseConfig,
        objects: Arc<dyn SharedObjects>,
    ) -> Result<Self, StoreError> {
        let table = DynamoTable::new(config.table.clone(), config.aws.clone());
        table.open(config.create_table).await?;
        if config.create_table && config.expires_after.is_some() {
            table.let_expire().await;
        }
        Ok(LeaseStore::over(config, Arc::new(table), objects))
    }

    /// The same over a table in memory, which many hosts may share.
    pub fn in_memory(
        config: LeaseConfig,
        table: MemoryTable,
        objects: Arc<dyn SharedObjects>,
    ) -> Self {
        LeaseStore::over(config, Arc::new(table), objects)
    }

    fn over(
        config: LeaseConfig,
        table: Arc<dyn LeaseTable>,
        objects: Arc<dyn SharedObjects>,
    ) -> Self {
        let shared = Shared {
            meters: Meters::new(&config.pipeline),
            config,
            table,
            objects,
            holds: Mutex::default(),
            observations: Mutex::default(),
        };
        LeaseStore { shared: Arc::new(shared) }
    }

    /// All leases, by partition.
    pub async fn leases(&self) -> Result<Vec<LeaseRecord>, StoreError> {
        let rows = self.shared.table.scan(true).await?;
        let records = rows.into_iter().map(LeaseRecord::of);
        let mut records = records.collect::<Result<Vec<_>, StoreError>>()?;
        records.sort_by(|a, b| a.partition.cmp(&b.partition));
        Ok(records)
    }

    /// A lease, and what the ranges of its partition were; none where it has no row.
    pub async fn history(
        &self,
        partition: &PartitionId,
    ) -> Result<Option<(LeaseRecord, LeaseHistory)>, StoreError> {
        let Some(row) = self.shared.table.get(partition).await? else { return Ok(None) };
        let history = self.shared.history(&row).await?;
        Ok(Some((LeaseRecord::of(row)?, history)))
    }

    /// Creates a partition's row, with what its source notes of it. Where there is one already, it
    /// stays as it is, but for a note that it does not have. Says whether the note is the row's now.
    pub async fn announce(
        &self,
        partition: &Partition,
        note: Option<&str>,
    ) -> Result<bool, StoreError> {
        let noted = |change: Change| match note {
            Some(note) => change.set_text("tgNote", note),
            None => change,
        };
        let create = Change::default()
            .if_is("leaseKey", None)
            .set_number("leaseCounter", 0)
            .set_text("checkpoint", TRIM_HORIZON)
            .set_number("checkpointSubSequenceNumber", 0)
            .set_number("ownerSwitchesSinceCheckpoint", 0)
            .set_all(described(partition));
        let create = self.shared.expiring(create);
        let table = &self.shared.table;
        match table.update(&partition.id, noted(create)).await? {
            Written::Done(_) => return Ok(true),
            Written::Refused(_) if note.is_none() => return Ok(false),
            Written::Refused(_) => {}
        }
        let beside = Change::default().if_there().if_is("tgNote", None);
        let written = table.update(&partition.id, noted(beside)).await?;
        Ok(matches!(written, Written::Done(_)))
    }

    /// Replaces what the source has noted of a partition that has a row.
    pub async fn set_note(&self, partition: &PartitionId, note: &str) -> Result<(), StoreError> {
        let change = Change::default().if_there().set_text("tgNote", note);
        self.shared.table.update(partition, change).await.map(drop)
    }
}

#[async_trait]
impl CheckpointStore for LeaseStore {
    /// Where the fleet's table was looked at to find that the partition may be taken, it is taken
    /// only if nothing has changed since; else from whoever has it.
    async fn acquire(
        &self,
        partition: &PartitionId,
        owner: &OwnerId,
        write: WriteId,
    ) -> Result<Acquired, StoreError> {
        let held = self.shared.holds().acquired_by(partition, write);
        if let Some(hold) = held {
            return self.shared.acquired(hold, None).await;
        }
        let seen = self.shared.observations().expected(partition);
        for _ in 0..TRIES_MAX {
            let Some(row) = self.shared.table.get(partition).await? else {
                let partition =
                    Partition { id: partition.clone(), parents: Vec::new(), hash_range: None };
                self.announce(&partition, None).await?;
                continue;
            };
            if row.last_write == Some(write) && row.is_of(&owner.0) {
                return self.shared.hold(row, owner, write, None).await;
            }
            if seen.is_some_and(|seen| seen != row.counter) {
                return Err(fenced(partition));
            }
            let (change, moved) = self.shared.take(&row, owner, write)?;
            match self.shared.table.update(partition, change).await? {
                Written::Done(item) => {
                    let row = Row::read(&item)?.ok_or_else(|| fenced(partition))?;
                    return self.shared.hold(row, owner, write, moved).await;
                }
                // It was renewed meanwhile, or this very write had been done.
                Written::Refused(_) => {}
            }
        }
        let message = format!("the lease of `{partition}` changes faster than it can be taken");
        Err(StoreError::plain(StoreErrorKind::Unavailable, message))
    }

    async fn renew(&self, lease: &Lease, write: WriteId) -> Result<(), StoreError> {
        let renewed = self.shared.write(lease, write, |_| Change::default()).await;
        if renewed.is_err() {
            self.shared.meters.renewal_failed();
        }
        renewed.map(drop)
    }

    async fn hand_over(&self, lease: &Lease, write: WriteId) -> Result<(), StoreError> {
        if self.shared.holds().was_handed_over(&lease.partition, write) {
            return Ok(());
        }
        let handed = self.shared.write(lease, write, |row| {
            // Who comes back to one of which nothing was begun loses nothing if it is gone.
            let change = match row.is_begun() {
                true => Change::default(),
                false => self.shared.expiring(Change::default()),
            };
            match row.hands_over {
                // Whoever asked for it has its name there already.
                Some(_) => change.remove("checkpointOwner"),
                None => change.if_is("checkpointOwner", None).remove("leaseOwner"),
            }
        });
        handed.await?;
        self.shared.holds().hand_over(lease, write);
        self.shared.meters.handed_over();
        self.shared.count_held();
        Ok(())
    }

    async fn inherit(
        &self,
        lease: &Lease,
        write: WriteId,
        parents: &[PartitionId],
        hash_range: (u128, u128),
    ) -> Result<StateKeys, StoreError> {
        self.shared.inherit(lease, write, parents, hash_range).await
    }

    async fn intend(
        &self,
        lease: &Lease,
        write: WriteId,
        manifest: &Manifest,
        states: &[StateChange],
    ) -> Result<(), StoreError> {
        let row = self.shared.row(lease)?;
        if row.last_write == Some(write) {
            return Ok(());
        }
        self.shared.may_intend(lease, &row, manifest)?;
        let intent = self.shared.describe(lease, &row, manifest, states).await?;
        let state = intent.reference();
        let (end, sub) = checkpoint_of(manifest.end.position);
        let intended = self.shared.write(lease, write, |_| {
            // From here on it is begun, and stays until it is finished.
            let change = match self.shared.config.expires_after {
                Some(_) => Change::default().remove(EXPIRES),
                None => Change::default(),
            };
            change
                .set_text("pendingCheckpoint", &end)
                .set_number("pendingCheckpointSubSequenceNumber", sub)
                .set("pendingCheckpointState", AttributeValue::B(state.clone()))
                .set_number("tgIntended", manifest.range)
        });
        intended.await?;
        self.shared.holds().of(lease)?.intent = Some(intent);
        Ok(())
    }

    async fn commit(
        &self,
        lease: &Lease,
        write: WriteId,
        range: u64,
    ) -> Result<StateKeys, StoreError> {
        let row = self.shared.row(lease)?;
        if row.last_write == Some(write) {
            return Ok(row.states.keys);
        }
        let intent = self.shared.holds().of(lease)?.intent.clone();
        let intent = intent.filter(|it| it.manifest.range == range);
        let intent = intent.ok_or_else(|| {
            let message =
                format!("partition `{}`: no intent of range {range} pends", row.partition);
            StoreError::plain(StoreErrorKind::Conflict, message)
        })?;
        let changes = self.shared.changes(lease, &intent).await?;
        let (index, outdated) = self.shared.index_after(lease, &row, &intent).await?;
        let children = match intent.manifest.finishes {
            true => self.shared.children(&row.partition).await?,
            false => Vec::new(),
        };
        let end = &intent.manifest.end;
        let (resume, states) = (to_json(end)?, to_json(&index)?);
        let committed = self.shared.write(lease, write, |row| {
            let change = match intent.manifest.finishes {
                true => self.shared.finished(&children),
                false => {
                    let (checkpoint, sub) = checkpoint_of(end.position);
                    Change::default()
                        .set_text("checkpoint", checkpoint)
                        .set_number("checkpointSubSequenceNumber", sub)
                }
            };
            let change = change
                .set_number("ownerSwitchesSinceCheckpoint", 0)
                .set_text("tgResume", &resume)
                .set_number("tgRange", range + 1)
                .set_text("tgLast", intent.key())
                .remove("pendingCheckpoint")
                .remove("pendingCheckpointSubSequenceNumber")
                .remove("pendingCheckpointState");
            match index == row.states {
                true => change,
                false => change.set_text("tgStates", &states),
            }
        });
        let keys = committed.await?.states.keys;
        self.shared.holds().of(lease)?.committed(&changes);
        self.shared.remove(&outdated).await;
        Ok(keys)
    }

    async fn states(
        &self,
        lease: &Lease,
        stage: &str,
        keys: &[u128],
    ) -> Result<Vec<Option<StateRow>>, StoreError> {
        self.shared.load(lease).await?;
        let mut holds = self.shared.holds();
        let states = holds.of(lease)?.states.as_ref();
        Ok(keys.iter().map(|key| states?.find(stage, *key).cloned()).collect())
    }

    async fn finish(&self, lease: &Lease, write: WriteId) -> Result<(), StoreError> {
        let row = self.shared.row(lease)?;
        if row.last_write != Some(write) && row.pending.is_some() {
            let message = format!("partition `{}`: a range pends", row.partition);
            return Err(StoreError::plain(StoreErrorKind::Conflict, message));
        }
        let children = self.shared.children(&row.partition).await?;
        self.shared.write(lease, write, |_| self.shared.finished(&children)).await.map(drop)
    }
}

impl Shared {
    fn holds(&self) -> MutexGuard<'_, Holds> {
        // Nothing in it is ever half changed.
        self.holds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn observations(&self) -> MutexGuard<'_, Observations> {
        self.observations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count_held(&self) {
        self.meters.held(self.holds().count());
    }

    /// The row of a lease, as our last write has left it.
    fn row(&self, lease: &Lease) -> Result<Row, StoreError> {
        Ok(self.holds().of(lease)?.row.clone())
    }

    /// How a row becomes an owner's, and from where to where somebody else has moved its checkpoint.
    fn take(
        &self,
        row: &Row,
        owner: &OwnerId,
        write: WriteId,
    ) -> Result<(Change, Option<MovedCheckpoint>), StoreError> {
        let mut change = Change::default()
            .if_is("leaseCounter", Some(AttributeValue::N(row.counter.to_string())))
            .set_text("leaseOwner", &owner.0)
            .set_number("leaseCounter", row.counter + 1)
            .set("tgWrite", write_id(write))
            .remove("checkpointOwner");
        if self.config.expires_after.is_some() && !row.is_begun() {
            // As long as somebody holds it.
            change = change.remove(EXPIRES);
        }
        if row.owner.as_ref() != Some(&owner.0) {
            let one = AttributeValue::N("1".to_owned());
            change = change.add("ownerSwitchesSinceCheckpoint", one);
        }
        if let Pending::Newer = Pending::of(row) {
            let message = format!(
                "the intent of partition `{}` was written by a newer version: use that one",
                row.partition
            );
            return Err(StoreError::plain(StoreErrorKind::Conflict, message));
        }
        let Done::Moved(resume) = row.done()? else { return Ok((change, None)) };
        let moved = MovedCheckpoint {
            from: row.resume.as_ref().map(|it| it.position),
            to: resume.as_ref().map(|it| it.position),
        };
        // Where only an intent was taken away, the states are of the checkpoint.
        if !row.states.objects.is_empty() && moved.from != moved.to {
            if self.config.on_state_gap == OnStateGap::Fail {
                let place = |it: Option<tidegate_core::Position>| {
                    it.map_or_else(|| "the beginning".to_owned(), |it| it.to_string())
                };
                let message = format!(
                    "somebody else has moved the checkpoint of `{}` from {} to {}, and its states \
                     stayed: move it back, or say `on_state_gap: reset` to begin with none",
                    row.partition,
                    place(moved.from),
                    place(moved.to)
                );
                return Err(StoreError::plain(StoreErrorKind::Conflict, message));
            }
            change = change.remove("tgStates");
        }
        // The number of a range that was intended is never given to another one.
        let next = row.intended.map_or(row.next_range, |it| row.next_range.max(it + 1));
        change = change.set_number("tgRange", next);
        change = match &resume {
            Some(resume) => change.set_text("tgResume", to_json(resume)?),
            None => change.remove("tgResume"),
        };
        if let Pending::Ours(_) = Pending::of(row) {
            change = change
                .remove("pendingCheckpoint")
                .remove("pendingCheckpointSubSequenceNumber")
                .remove("pendingCheckpointState");
        }
        Ok((change, Some(moved)))
    }

    /// Remembers a row that is ours now, and says how it was found.
    async fn hold(
        &self,
        row: Row,
        owner: &OwnerId,
        write: WriteId,
        moved: Option<MovedCheckpoint>,
    ) -> Result<Acquired, StoreError> {
        let lease =
            Lease { partition: row.partition.clone(), owner: owner.clone(), counter: row.counter };
        let hold = Hold::new(lease, row, write);
        self.holds().insert(hold.clone());
        self.count_held();
        self.acquired(hold, moved).await
    }

    async fn acquired(
        &self,
        hold: Hold,
        moved: Option<MovedCheckpoint>,
    ) -> Result<Acquired, StoreError> {
        let (lease, row) = (hold.lease, hold.row);
        let intent = match Pending::of(&row) {
            Pending::Ours(reference) => Some(self.intent(&row.partition, &reference).await?),
            _ => None,
        };
        let state_keys = match row.taken.is_empty() {
            true => row.states.keys.clone(),
            false => {
                self.load(&lease).await?;
                let mut holds = self.holds();
                let states = holds.of(&lease)?.states.as_ref();
                states.map(|it| it.keys()).unwrap_or_default()
            }
        };
        let pending = intent.as_ref().map(|it| it.manifest.clone());
        self.holds().of(&lease)?.intent = intent;
        let checkpoint = Checkpoint {
            resume: row.resume.clone(),
            next_range: row.next_range,
            finished: row.is_finished(),
        };
        Ok(Acquired { lease, checkpoint, pending, state_keys, moved })
    }

    /// One fenced write, done once however often it is sent. `change` says what becomes of the row
    /// beside the fence.
    async fn write(
        &self,
        lease: &Lease,
        write: WriteId,
        change: impl Fn(&Row) -> Change,
    ) -> Result<Row, StoreError> {
        for _ in 0..TRIES_MAX {
            let row = {
                let mut holds = self.holds();
                let hold = holds.of(lease)?;
                if hold.row.last_write == Some(write) {
                    return Ok(hold.row.clone());
                }
                hold.is_sent(write);
                hold.row.clone()
            };
            let number = |it: u64| AttributeValue::N(it.to_string());
            let change = change(&row)
                .if_is("leaseCounter", Some(number(row.counter)))
                .if_is("checkpoint", row.checkpoint.clone().map(AttributeValue::S))
                .if_is("checkpointSubSequenceNumber", row.sub_sequence.map(number))
                .if_owned(&lease.owner.0)
                .set_number("leaseCounter", row.counter + 1)
                .set("tgWrite", write_id(write));
            let written = self.table.update(&lease.partition, change).await?;
            let (done, item) = match written {
                Written::Done(item) => (true, Some(item)),
                Written::Refused(item) => (false, item),
            };
            let found = item.as_ref().map(Row::read).transpose()?.flatten();
            let mut holds = self.holds();
            let hold = holds.of(lease)?;
            match found {
                Some(found) if done || hold.explains(&found) => hold.is_as(found),
                _ => {
                    holds.forget(lease);
                    drop(holds);
                    self.meters.lost();
                    self.count_held();
                    return Err(fenced(&lease.partition));
                }
            }
        }
        let message =
            format!("the lease of `{}` changes faster than it is written", lease.partition);
        Err(StoreError::plain(StoreErrorKind::Unavailable, message))
    }

    /// The partitions that come after one. Their rows are there before its own says that it ends.
    async fn children(&self, parent: &PartitionId) -> Result<Vec<String>, StoreError> {
        // What a queue tells of has neither parents nor children.
        if self.config.expires_after.is_some() {
            return Ok(Vec::new());
        }
        let rows = self.table.scan(true).await?;
        let children = rows.into_iter().filter(|row| row.parents.contains(parent));
        Ok(children.map(|row| row.partition.to_string()).collect())
    }

    /// A row of a partition of which nothing is left to be read.
    fn finished(&self, children: &[String]) -> Change {
        let change = Change::default()
            .set_text("checkpoint", SHARD_END)
            .set_number("checkpointSubSequenceNumber", 0)
            .set("tgEnded", AttributeValue::Bool(true));
        let change = self.expiring(change);
        match children.is_empty() {
            true => change,
            false => change.set("childShardIds", AttributeValue::Ss(children.to_vec())),
        }
    }

    /// Where partitions come and go: a row that nobody needs for long.
    fn expiring(&self, change: Change) -> Change {
        let Some(after) = self.config.expires_after else { return change };
        let now = u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or_default();
        change.set_number(EXPIRES, now.saturating_add(after.as_secs()))
    }

    /// Forgets objects that no row names any more. What is left costs storage and nothing else.
    async fn remove(&self, keys: &[String]) {
        for key in keys {
            if let Err(error) = self.objects.remove(key).await {
                let place = self.objects.place(key);
                tracing::warn!("`{place}` is not needed any more, and is left: {error}");
            }
        }
    }
}

fn fenced(partition: &PartitionId) -> StoreError {
    let message = format!("somebody else has acquired partition `{partition}`");
    StoreError::plain(StoreErrorKind::Fenced, message)
}

fn to_json<T: serde::Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value)
        .map_err(|error| StoreError::new(StoreErrorKind::Broken, "failed to write JSON", error))
}
