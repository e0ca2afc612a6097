//! Bugs that are planted on purpose: a simulation that does not find them would find no others.
//!
//! Each is a part that keeps its seam's shape and breaks its promise. The pipeline and the leases
//! stay as they are.

use std::{
    collections::BTreeMap,
    fmt,
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use tidegate_connectors::leases::LeaseStore;
use tidegate_core::{
    CheckpointStore, ObjectDigest, Sink, Source,
    checkpoint::{Lease, Manifest, StateChange, StateKeys, StoreError, WriteId},
    sink::{Naming, Object, SinkError, SinkErrorKind},
    source::{HashKey, Partition, PartitionId, Reader, Replay, Resume, SourceError},
};
use tidegate_pipeline::memory::MemorySink;

use super::{
    stream::Stream,
    weather::{Spell, Weather},
};

/// A bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A lease is written whoever has it meanwhile.
    NoFence,
    /// The checkpoint moves before the objects are there.
    CommitBeforePublish,
    /// What a later revision supersedes is deleted: a write that comes late brings it back.
    DeleteInsteadOfOccupy,
    /// A second task renews a lease beside the one that writes its row.
    HeartbeatRace,
    /// What was excluded for its time is not in the intent.
    ExclusionNotStored,
    /// A shard is read whether or not those before it are finished.
    ChildBeforeParent,
}

impl Bug {
    /// All of them.
    pub const ALL: [Bug; 6] = [
        Bug::NoFence,
        Bug::CommitBeforePublish,
        Bug::DeleteInsteadOfOccupy,
        Bug::HeartbeatRace,
        Bug::ExclusionNotStored,
        Bug::ChildBeforeParent,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Bug::NoFence => "no_fence",
            Bug::CommitBeforePublish => "commit_before_publish",
            Bug::DeleteInsteadOfOccupy => "delete_instead_of_occupy",
            Bug::HeartbeatRace => "heartbeat_race",
            Bug::ExclusionNotStored => "exclusion_not_stored",
            Bug::ChildBeforeParent => "child_before_parent",
        }
    }
}

impl fmt::Display for Bug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Bug {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let names = || Bug::ALL.map(Bug::name).join(", ");
        let bug = Bug::ALL.into_iter().find(|it| it.name() == text);
        bug.ok_or_else(|| format!("there is no bug `{text}`: there are {}", names()))
    }
}

/// How intents and commits come to the leases, perhaps with a bug.
pub(super) struct Commits {
    bug: Option<Bug>,
    committed: Mutex<BTreeMap<(PartitionId, u64), StateKeys>>,
}

impl Commits {
    pub(super) fn new(bug: Option<Bug>) -> Self {
        Commits { bug, committed: Mutex::default() }
    }

    pub(super) async fn intend(
        &self,
        leases: &LeaseStore,
        lease: &Lease,
        write: WriteId,
        manifest: &Manifest,
        states: &[StateChange],
    ) -> Result<(), StoreError> {
        match self.bug {
            Some(Bug::ExclusionNotStored) => {
                let manifest = Manifest { exclusions: Vec::new(), ..manifest.clone() };
                leases.intend(lease, write, &manifest, states).await
            }
            Some(Bug::CommitBeforePublish) => {
                leases.intend(lease, write, manifest, states).await?;
                let keys = leases.commit(lease, WriteId(!write.0), manifest.range).await?;
                let mut committed = self.committed.lock().unwrap_or_else(PoisonError::into_inner);
                committed.insert((lease.partition.clone(), manifest.range), keys);
                Ok(())
            }
            _ => leases.intend(lease, write, manifest, states).await,
        }
    }

    pub(super) async fn commit(
        &self,
        leases: &LeaseStore,
        lease: &Lease,
        write: WriteId,
        range: u64,
    ) -> Result<StateKeys, StoreError> {
        let before = {
            let committed = self.committed.lock().unwrap_or_else(PoisonError::into_inner);
            committed.get(&(lease.partition.clone(), range)).cloned()
        };
        match before {
            Some(keys) => Ok(keys),
            None => leases.commit(lease, write, range).await,
        }
    }
}

/// The bucket, perhaps with a bug.
pub(super) struct Bucket {
    sink: MemorySink,
    weather: Arc<Weather>,
    bug: Option<Bug>,
}

impl Bucket {
    pub(super) fn new(sink: MemorySink, weather: Arc<Weather>, bug: Option<Bug>) -> Self {
        Bucket { sink, weather, bug }
    }

    fn is_there(&self) -> Result<(), SinkError> {
        match self.weather.lasts(Spell::BucketAway) {
            false => Ok(()),
            true => {
                let kind = SinkErrorKind::Unavailable { after: None };
                Err(SinkError::plain(kind, "the bucket does not answer"))
            }
        }
    }

    fn count<T>(&self, result: Result<T, SinkError>) -> Result<T, SinkError> {
        if result.is_err() {
            self.weather.struck("failed_upload");
        }
        result
    }
}

#[async_trait]
impl Sink for Bucket {
    fn name(&self) -> &str {
        self.sink.name()
    }

    fn naming(&self) -> Naming {
        self.sink.naming()
    }

    async fn write(&self, objects: &[Object]) -> Result<(), SinkError> {
        self.is_there()?;
        self.count(self.sink.write(objects).await)
    }

    async fn find(&self, key: &str) -> Result<Option<ObjectDigest>, SinkError> {
        self.is_there()?;
        self.count(self.sink.find(key).await)
    }

    async fn occupy(&self, empty: &Object, superseded: ObjectDigest) -> Result<(), SinkError> {
        self.is_there()?;
        if self.bug == Some(Bug::DeleteInsteadOfOccupy) {
            self.sink.remove(&empty.key);
            return Ok(());
        }
        self.count(self.sink.occupy(empty, superseded).await)
    }
}

/// The stream with shards that do not say after which they come.
pub(super) struct Orphans(pub(super) Stream);

#[async_trait]
impl Source for Orphans {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn replay(&self) -> Replay {
        self.0.replay()
    }

    fn ends(&self) -> bool {
        self.0.ends()
    }

    fn hash_key(&self) -> Option<HashKey> {
        self.0.hash_key()
    }

    async fn partitions(&self) -> Result<Vec<Partition>, SourceError> {
        let mut listed = self.0.partitions().await?;
        listed.iter_mut().for_each(|it| it.parents.clear());
        Ok(listed)
    }

    async fn open(
        &self,
        partition: &PartitionId,
        after: Option<&Resume>,
    ) -> Result<Box<dyn Reader>, SourceError> {
        self.0.open(partition, after).await
    }
}
