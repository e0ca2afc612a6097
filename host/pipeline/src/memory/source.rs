//! A source whose partitions are lists.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use tidegate_core::{
    Position, RecordBatch, Source,
    source::{
        HashKey, Partition, PartitionId, ReadLimit, ReadOutcome, Reader, Replay, Resume,
        SourceError, SourceErrorKind,
    },
};
use tokio::sync::Notify;

use super::trouble::{Storm, Trouble, Troubles, lock};

/// How long a read waits for records before it says that it found none.
const IDLE_AFTER: Duration = Duration::from_millis(100);

/// A record of a memory source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryRecord {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its partition key, where the source has such a thing.
    pub key: Option<Vec<u8>>,
    /// It belongs to one group with the record behind it.
    pub group_goes_on: bool,
}

impl<T: AsRef<[u8]>> From<T> for MemoryRecord {
    fn from(bytes: T) -> Self {
        MemoryRecord { bytes: bytes.as_ref().to_vec(), ..MemoryRecord::default() }
    }
}

/// Partitions in memory. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct MemorySource {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    partitions: Mutex<BTreeMap<PartitionId, Held>>,
    pushed: Notify,
    troubles: Troubles,
    unlistable: AtomicBool,
    /// Partitions go when their work has ended.
    passing: AtomicBool,
    /// What was heard of how work has ended.
    heard: Mutex<Vec<(PartitionId, bool)>>,
}

#[derive(Debug, Default)]
struct Held {
    records: Vec<MemoryRecord>,
    parents: Vec<PartitionId>,
    hash_range: Option<(u128, u128)>,
    ended: bool,
    edition: u32,
    opened: u32,
}

impl MemorySource {
    /// A source without partitions.
    pub fn new() -> Self {
        MemorySource::default()
    }

    /// Adds a record to a partition, which appears with its first one. A position is the record's
    /// number, from 1.
    pub fn push(&self, partition: &str, record: impl Into<MemoryRecord>) {
        self.change(partition, |held| held.records.push(record.into()));
    }

    /// Nothing will be added to a partition any more.
    pub fn end(&self, partition: &str) {
        self.change(partition, |held| held.ended = true);
    }

    /// A partition is to be read after others.
    pub fn follows(&self, partition: &str, parents: &[&str]) {
        let parents = parents.iter().map(|it| PartitionId::from(*it)).collect();
        self.change(partition, |held| held.parents = parents);
    }

    /// A partition owns the keys whose hashes lie in a range: a key's hash is its number in bytes.
    pub fn owns(&self, partition: &str, hashes: (u128, u128)) {
        self.change(partition, |held| held.hash_range = Some(hashes));
    }

    /// Puts other records in the place of a partition's, as somebody who overwrites a file does.
    pub fn replace(&self, partition: &str, records: Vec<MemoryRecord>) {
        self.change(partition, |held| {
            held.records = records;
            held.edition += 1;
        });
    }

    /// The next reads go wrong.
    pub fn fail_next(&self, times: usize) {
        self.inner.troubles.add(Trouble::Fail, times);
    }

    /// From here on its partitions can't be listed, and won't be again.
    pub fn break_listing(&self) {
        self.inner.unlistable.store(true, Ordering::Relaxed);
    }

    /// From here on partitions go when the work on them has ended, and may come again.
    pub fn let_pass(&self) {
        self.inner.passing.store(true, Ordering::Relaxed);
    }

    /// How the work on partitions has ended, in order: whether each was finished.
    pub fn heard(&self) -> Vec<(String, bool)> {
        let heard = lock(&self.inner.heard);
        heard.iter().map(|(id, finished)| (id.to_string(), *finished)).collect()
    }

    /// Reads wait until [`MemorySource::uncork`].
    pub fn cork(&self) {
        self.inner.troubles.cork(true);
    }

    /// Reads go on.
    pub fn uncork(&self) {
        self.inner.troubles.cork(false);
    }

    /// Random trouble, or none: reads fail, take their time and come in random sizes.
    pub fn storm(&self, storm: Option<Storm>) {
        self.inner.troubles.storm(storm);
    }

    /// How often a partition was opened.
    pub fn opened(&self, partition: &str) -> u32 {
        let partitions = lock(&self.inner.partitions);
        partitions.get(&PartitionId::from(partition)).map_or(0, |held| held.opened)
    }

    fn change(&self, partition: &str, change: impl FnOnce(&mut Held)) {
        change(lock(&self.inner.partitions).entry(partition.into()).or_default());
        self.inner.pushed.notify_waiters();
    }
}

fn unavailable() -> SourceError {
    SourceError::plain(SourceErrorKind::Unavailable, "the memory source was told to fail")
}

#[async_trait]
impl Source for MemorySource {
    fn name(&self) -> &str {
        "memory"
    }

    fn replay(&self) -> Replay {
        Replay::Exact
    }

    async fn partitions(&self) -> Result<Vec<Partition>, SourceError> {
        if self.inner.troubles.strike().await.is_some() {
            return Err(unavailable());
        }
        if self.inner.unlistable.load(Ordering::Relaxed) {
            let message = "the memory source was told to break";
            return Err(SourceError::plain(SourceErrorKind::Broken, message));
        }
        let partitions = lock(&self.inner.partitions);
        let listed = partitions.iter().map(|(id, held)| Partition {
            id: id.clone(),
            parents: held.parents.clone(),
            hash_range: held.hash_range,
        });
        Ok(listed.collect())
    }

    fn remembers_for(&self) -> Option<Duration> {
        self.inner.passing.load(Ordering::Relaxed).then_some(Duration::from_secs(3600))
    }

    fn ended(&self, partition: &PartitionId, finished: bool) {
        if self.remembers_for().is_some() {
            lock(&self.inner.heard).push((partition.clone(), finished));
            lock(&self.inner.partitions).remove(partition);
        }
    }

    fn hash_key(&self) -> Option<HashKey> {
        Some(|key| key.iter().fold(0, |hash, byte| hash << 8 | u128::from(*byte)))
    }

    async fn open(
        &self,
        partition: &PartitionId,
        after: Option<&Resume>,
    ) -> Result<Box<dyn Reader>, SourceError> {
        let mut partitions = lock(&self.inner.partitions);
        let Some(held) = partitions.get_mut(partition) else {
            let message = format!("there is no partition `{partition}`");
            return Err(SourceError::plain(SourceErrorKind::Broken, message));
        };
        held.opened += 1;
        if after.is_some_and(|after| after.token != token(held.edition)) {
            let message = format!("partition `{partition}` is not what it was");
            return Err(SourceError::plain(SourceErrorKind::Replaced, message));
        }
        let next = after.map_or(0, |after| after.position.offset() as usize);
        let (inner, partition, edition) = (self.inner.clone(), partition.clone(), held.edition);
        Ok(Box::new(MemoryReader { inner, partition, next, edition }))
    }
}

fn token(edition: u32) -> String {
    format!("edition {edition}")
}

#[derive(Debug)]
struct MemoryReader {
    inner: Arc<Inner>,
    partition: PartitionId,
    next: usize,
    edition: u32,
}

impl MemoryReader {
    /// What there is now; none where there is nothing yet.
    fn take(&mut self, limit: &ReadLimit) -> Option<ReadOutcome> {
        let partitions = lock(&self.inner.partitions);
        let held = partitions.get(&self.partition)?;
        let until = limit.until.map_or(usize::MAX, |until| until.offset() as usize);
        let rest = held.records.get(self.next..held.records.len().min(until)).unwrap_or_default();
        let records_max = match self.inner.troubles.below(rest.len()) {
            Some(fewer) => limit.records_max.min(fewer + 1),
            None => limit.records_max,
        };
        let mut batch = RecordBatch::default();
        let mut bytes = Vec::new();
        for record in rest.iter().take(records_max) {
            let start = bytes.len() as u32;
            bytes.extend_from_slice(&record.bytes);
            batch.spans.push((start, bytes.len() as u32));
            self.next += 1;
            batch.positions.push(Position::from_offset(self.next as u64));
            batch.group_ends.push(!record.group_goes_on);
            if let Some(key) = &record.key {
                batch.keys.push(key);
            }
            if bytes.len() >= limit.bytes_max {
                break;
            }
        }
        batch.bytes = Bytes::from(bytes);
        match batch.is_empty() {
            false => Some(ReadOutcome::Records(batch)),
            true if held.ended || self.next >= until => Some(ReadOutcome::Ended),
            true => None,
        }
    }
}

#[async_trait]
impl Reader for MemoryReader {
    async fn read(&mut self, limit: ReadLimit) -> Result<ReadOutcome, SourceError> {
        if self.inner.troubles.strike().await.is_some() {
            return Err(unavailable());
        }
        let inner = self.inner.clone();
        let pushed = inner.pushed.notified();
        if let Some(outcome) = self.take(&limit) {
            return Ok(outcome);
        }
        let _ = tokio::time::timeout(IDLE_AFTER, pushed).await;
        Ok(self.take(&limit).unwrap_or(ReadOutcome::Idle))
    }

    fn token(&self, _: Position) -> String {
        token(self.edition)
    }
}
