//! A stream with shards that are split and merged while it is read, and the truth about it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tidegate_core::{
    Position, Source,
    source::{
        HashKey, Partition, PartitionId, ReadLimit, ReadOutcome, Reader, Replay, Resume,
        SourceError, SourceErrorKind,
    },
};
use tidegate_pipeline::memory::{MemoryRecord, MemorySource};
use tokio::time::sleep;

use super::weather::Weather;

/// What is to become of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i64)]
pub(super) enum Fate {
    /// It is delivered.
    Good,
    /// The plugin counts it and drops it.
    Dropped,
    /// It is a dead letter: the plugin can't have it.
    Poison,
    /// Delivered, or a dead letter where the machine was slow.
    Slow,
    /// It is a dead letter: it is no JSON.
    Torn,
}

/// A record that the producer was told was taken.
#[derive(Clone, Debug)]
pub(super) struct Produced {
    pub(super) key: String,
    /// Its number among those of its key.
    pub(super) number: u64,
    pub(super) fate: Fate,
}

/// A shard, as it is in truth.
#[derive(Clone, Debug, Default)]
pub(super) struct Shard {
    pub(super) parents: Vec<String>,
    pub(super) closed: bool,
    /// Positions are numbers from 1.
    pub(super) records: Vec<Produced>,
    hashes: (u128, u128),
}

#[derive(Debug, Default)]
struct Truth {
    shards: BTreeMap<String, Shard>,
    next_number: BTreeMap<String, u64>,
    next_shard: u64,
    /// The stream does not list them any more.
    forgotten: BTreeSet<String>,
}

/// The stream. Clones are the same stream.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    source: MemorySource,
    truth: Arc<Mutex<Truth>>,
    weather: Arc<Weather>,
}

/// Two letters, and their bytes are their hash.
fn hash(key: &str) -> u128 {
    key.bytes().fold(0, |hash, byte| hash << 8 | u128::from(byte))
}

/// Where the hashes of keys lie.
const HASHES: (u128, u128) = (0x6161, 0x7a7a);

impl Stream {
    /// A stream with so many shards, each of about the same size.
    pub(super) fn new(shards: u64, weather: Arc<Weather>) -> Self {
        let (source, truth) = Default::default();
        let stream = Stream { source, truth, weather };
        let width = (HASHES.1 - HASHES.0) / u128::from(shards);
        for n in 0..shards {
            let start = if n == 0 { 0 } else { HASHES.0 + width * u128::from(n) };
            let end = match n + 1 == shards {
                true => u128::MAX,
                false => HASHES.0 + width * u128::from(n + 1) - 1,
            };
            stream.open_shard((start, end), &[]);
        }
        stream
    }

    /// Takes a record.
    pub(super) fn put(&self, key: &str, fate: Fate) {
        let mut truth = self.truth();
        let next = truth.next_number.entry(key.to_owned()).or_default();
        let number = *next;
        *next += 1;
        let owns = |it: &Shard| !it.closed && (it.hashes.0..=it.hashes.1).contains(&hash(key));
        let (name, shard) =
            truth.shards.iter_mut().find(|(_, it)| owns(it)).expect("some shard owns each hash");
        shard.records.push(Produced { key: key.to_owned(), number, fate });
        let text = match fate {
            Fate::Torn => format!("{key} {number} is torn"),
            _ => format!("{{\"key\":\"{key}\",\"number\":{number},\"fate\":{}}}", fate as i64),
        };
        let record =
            MemoryRecord { key: Some(key.as_bytes().to_vec()), ..MemoryRecord::from(text) };
        self.source.push(name, record);
    }

    /// Splits a shard, or merges two that lie side by side.
    pub(super) fn reshard(&self, random: &mut ChaCha8Rng) -> bool {
        let mut open: Vec<(String, (u128, u128))> = {
            let truth = self.truth();
            let open = truth.shards.iter().filter(|(_, it)| !it.closed);
            open.map(|(name, it)| (name.clone(), it.hashes)).collect()
        };
        open.sort_by_key(|(_, hashes)| *hashes);
        let at = random.random_range(0..open.len());
        if open.len() < 2 || random.random_bool(0.5) {
            let (name, (start, end)) = &open[at];
            let (low, high) = ((*start).max(HASHES.0), (*end).min(HASHES.1));
            if low >= high {
                return false;
            }
            let middle = random.random_range(low..high);
            self.close(name);
            self.open_shard((*start, middle), &[name]);
            self.open_shard((middle + 1, *end), &[name]);
        } else {
            let at = at.min(open.len() - 2);
            let [(one, (start, _)), (other, (_, end))] = [&open[at], &open[at + 1]];
            self.close(one);
            self.close(other);
            self.open_shard((*start, *end), &[one, other]);
        }
        true
    }

    /// The stream lists a shard no more: it is read to its end, and older than what is retained.
    pub(super) fn forget(&self, shard: &str) {
        self.truth().forgotten.insert(shard.to_owned());
    }

    /// All shards there ever were.
    pub(super) fn shards(&self) -> BTreeMap<String, Shard> {
        self.truth().shards.clone()
    }

    /// Looks at a shard.
    pub(super) fn look<T>(&self, name: &str, look: impl FnOnce(&Shard) -> T) -> Option<T> {
        self.truth().shards.get(name).map(look)
    }

    fn open_shard(&self, hashes: (u128, u128), parents: &[&str]) {
        let mut truth = self.truth();
        let name = format!("shardId-{:012}", truth.next_shard);
        truth.next_shard += 1;
        self.source.owns(&name, hashes);
        self.source.follows(&name, parents);
        let parents = parents.iter().map(|it| (*it).to_owned()).collect();
        truth.shards.insert(name, Shard { parents, hashes, ..Shard::default() });
    }

    fn close(&self, name: &str) {
        if let Some(shard) = self.truth().shards.get_mut(name) {
            shard.closed = true;
        }
        self.source.end(name);
    }

    fn truth(&self) -> MutexGuard<'_, Truth> {
        // Nothing in it is ever half changed.
        self.truth.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Source for Stream {
    fn name(&self) -> &str {
        "stream"
    }

    fn replay(&self) -> Replay {
        self.source.replay()
    }

    fn ends(&self) -> bool {
        false
    }

    fn hash_key(&self) -> Option<HashKey> {
        self.source.hash_key()
    }

    async fn partitions(&self) -> Result<Vec<Partition>, SourceError> {
        sleep(self.weather.delay()).await;
        if self.weather.loses().is_some() {
            let message = "the shards could not be listed";
            return Err(SourceError::plain(SourceErrorKind::Unavailable, message));
        }
        let mut listed = self.source.partitions().await?;
        let truth = self.truth();
        listed.retain(|it| !truth.forgotten.contains(&*it.id.0));
        Ok(listed)
    }

    async fn open(
        &self,
        partition: &PartitionId,
        after: Option<&Resume>,
    ) -> Result<Box<dyn Reader>, SourceError> {
        sleep(self.weather.delay()).await;
        let reader = self.source.open(partition, after).await?;
        Ok(Box::new(Iterating { reader, weather: self.weather.clone() }))
    }
}

/// A reader whose iterator expires: it goes on behind the last record that it has returned.
struct Iterating {
    reader: Box<dyn Reader>,
    weather: Arc<Weather>,
}

#[async_trait]
impl Reader for Iterating {
    async fn read(&mut self, limit: ReadLimit) -> Result<ReadOutcome, SourceError> {
        sleep(self.weather.delay()).await;
        if self.weather.expires() {
            let message = "the iterator has expired";
            return Err(SourceError::plain(SourceErrorKind::Unavailable, message));
        }
        self.reader.read(limit).await
    }

    fn token(&self, position: Position) -> String {
        self.reader.token(position)
    }
}
