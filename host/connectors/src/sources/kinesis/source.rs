//! A stream as a source: its shards, and how each is opened where a checkpoint left it.

use std::{
    collections::BTreeSet,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tidegate_core::{
    Source, Timestamp,
    source::{
        HashKey, Partition, PartitionId, Reader, Replay, Resume, SourceError, SourceErrorKind,
    },
};

use super::{
    KinesisConfig, KinesisStart,
    budget::Budget,
    client::Caller,
    notes::{Beginning, Note, Notes, Quiet},
    reader::{KinesisReader, Token},
    shards::{self, Stream},
};
use crate::{aggregate::hash_key, blocking::off_task};

/// What shards are called; a data directory may hold other partitions, of another source.
const SHARD_PREFIX: &str = "shardId-";

/// Reads a stream.
pub struct KinesisSource {
    shared: Arc<Shared>,
}

/// What the readers of all shards share.
pub(super) struct Shared {
    pub(super) config: Arc<KinesisConfig>,
    pub(super) caller: Caller,
    pub(super) budget: Budget,
    seen: Mutex<Seen>,
}

/// What is known of the stream.
#[derive(Default)]
struct Seen {
    stream: Option<Stream>,
    notes: Option<Notes>,
    /// What the stream has.
    listed: BTreeSet<PartitionId>,
    /// What was read to its end, by this run or, as far as progress is kept, by an earlier one.
    ended: BTreeSet<PartitionId>,
}

/// A shard, to be opened.
#[derive(Clone, Debug)]
pub(super) struct Shard {
    pub(super) stream: Stream,
    pub(super) note: Note,
    /// The stream has dropped it.
    expired: bool,
}

impl KinesisSource {
    /// A source that has made no call yet.
    pub fn new(config: KinesisConfig) -> Self {
        let config = Arc::new(config);
        let budget = Budget::new(config.fetched_bytes_max);
        let caller = Caller::new(config.clone());
        let ended = config.known.iter().filter(|it| it.finished).map(|it| it.id.clone()).collect();
        let seen = Mutex::new(Seen { ended, ..Seen::default() });
        KinesisSource { shared: Arc::new(Shared { config, caller, budget, seen }) }
    }
}

#[async_trait]
impl Source for KinesisSource {
    fn name(&self) -> &str {
        &self.shared.config.name
    }

    fn replay(&self) -> Replay {
        Replay::Exact
    }

    fn ends(&self) -> bool {
        false
    }

    fn hash_key(&self) -> Option<HashKey> {
        Some(hash_key)
    }

    async fn partitions(&self) -> Result<Vec<Partition>, SourceError> {
        self.shared.look().await
    }

    async fn open(
        &self,
        partition: &PartitionId,
        after: Option<&Resume>,
    ) -> Result<Box<dyn Reader>, SourceError> {
        let shared = &self.shared;
        let shard = match shared.shard(partition) {
            Some(shard) => shard,
            None => {
                shared.look().await?;
                shared.shard(partition).ok_or_else(|| {
                    let stream = &shared.config.stream;
                    let message = format!("the stream `{stream}` has no shard `{partition}`");
                    SourceError::plain(SourceErrorKind::Broken, message)
                })?
            }
        };
        let last = after.map(|resume| {
            let token = Token::parse(&resume.token).filter(|it| it.created == shard.stream.created);
            let token = token.ok_or_else(|| shared.replaced())?;
            Ok((resume.position, token.arrival))
        });
        let last = last.transpose()?;
        let expired = shard.expired;
        let mut reader = KinesisReader::new(shared.clone(), partition.clone(), shard, last);
        match expired {
            true => reader.expired()?,
            false => reader.begins_in_time()?,
        }
        Ok(Box::new(reader))
    }
}

impl Shared {
    /// The stream's shards as of now, and those of which it has dropped what was not read.
    async fn look(&self) -> Result<Vec<Partition>, SourceError> {
        let config = self.config.clone();
        let stream = self.caller.call(|client| shards::describe(client, config)).await?;
        // Before the shards are listed: what arrives from here on arrives behind it.
        let now = self.caller.server_time();
        let config = self.config.clone();
        let mut listed = self.caller.call(|client| shards::list(client, config)).await?;
        let notes = self.note(stream, &listed, now).await?;
        let mut seen = self.seen();
        seen.listed = listed.iter().map(|it| it.id.clone()).collect();
        let expired = notes.shards.iter().filter(|(id, _)| !seen.listed.contains(*id));
        listed.extend(expired.map(|(id, note)| Partition {
            id: id.clone(),
            parents: note.parents.clone(),
            hash_range: note.hash_range,
        }));
        seen.stream = Some(stream);
        seen.notes = Some(notes);
        Ok(listed)
    }

    /// What is known of a shard.
    fn shard(&self, id: &PartitionId) -> Option<Shard> {
        let seen = self.seen();
        let note = seen.notes.as_ref()?.shards.get(id)?.clone();
        Some(Shard { stream: seen.stream?, note, expired: !seen.listed.contains(id) })
    }

    /// How long the stream keeps a record, as of the last look at it.
    pub(super) fn retention(&self) -> Option<Duration> {
        self.seen().stream.map(|it| it.retention)
    }

    /// Nothing arrived in a shard. It is written down with the next look at the shards.
    pub(super) fn is_quiet(&self, id: &PartitionId, quiet: Quiet) {
        let mut seen = self.seen();
        let note = seen.notes.as_mut().and_then(|notes| notes.shards.get_mut(id));
        if let Some(note) = note {
            note.quiet = Some(quiet);
        }
    }

    /// A shard was read to its end.
    pub(super) fn has_ended(&self, id: &PartitionId) {
        self.seen().ended.insert(id.clone());
    }

    /// Writes down what is to be known after a crash, before it is needed.
    async fn note(
        &self,
        stream: Stream,
        listed: &[Partition],
        now: Timestamp,
    ) -> Result<Notes, SourceError> {
        let failing = |error: io::Error| {
            let kind = match error.kind() {
                io::ErrorKind::InvalidData => SourceErrorKind::Broken,
                _ => SourceErrorKind::Unavailable,
            };
            SourceError::new(kind, "failed to note where shards begin", error)
        };
        let directory = self.config.notes.clone();
        let written = off_task(true, move || Notes::load(&directory)).await.map_err(failing)?;
        let mut notes = written.clone().unwrap_or_else(|| Notes {
            stream: self.config.stream.clone(),
            created: stream.created,
            ..Notes::default()
        });
        if notes.created != stream.created {
            return Err(self.replaced());
        }
        self.see(&mut notes, written.is_none(), listed, now);
        if written.as_ref() != Some(&notes) {
            let (directory, notes) = (self.config.notes.clone(), notes.clone());
            off_task(true, move || notes.save(&directory)).await.map_err(failing)?;
        }
        Ok(notes)
    }

    /// Brings notes up to what is known now.
    fn see(&self, notes: &mut Notes, are_new: bool, listed: &[Partition], now: Timestamp) {
        let known = || self.config.known.iter().filter(|it| it.id.0.starts_with(SHARD_PREFIX));
        let begins = match self.config.start {
            // They grew out of those that were seen before.
            _ if !are_new || known().next().is_some() => Beginning::TrimHorizon,
            KinesisStart::TrimHorizon => Beginning::TrimHorizon,
            KinesisStart::Latest => Beginning::At(latest(now)),
            KinesisStart::At(time) => Beginning::At(time),
        };
        listed.iter().for_each(|shard| notes.see(shard, now, begins));
        for known in known() {
            let shard = Partition { id: known.id.clone(), parents: Vec::new(), hash_range: None };
            notes.see(&shard, now, begins);
        }
        let seen = self.seen();
        for (id, note) in seen.notes.iter().flat_map(|it| &it.shards) {
            if let Some(written) = notes.shards.get_mut(id) {
                written.quiet = note.quiet.or(written.quiet);
            }
        }
        // What was read and is no longer there is never asked for again.
        let listed: BTreeSet<_> = listed.iter().map(|it| &it.id).collect();
        notes.shards.retain(|id, _| listed.contains(id) || !seen.ended.contains(id));
    }

    fn replaced(&self) -> SourceError {
        let message = format!(
            "the stream `{}` was deleted and created again since it was last read: begin with an \
             empty data directory",
            self.config.stream
        );
        SourceError::plain(SourceErrorKind::Replaced, message)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        // Nothing in it is ever half changed.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The time that `latest` stands for. Arrivals are approximate, as Kinesis says itself, and some
/// servers tell them to the second: what arrives a moment after `now` may be said to have arrived
/// a moment before.
fn latest(now: Timestamp) -> Timestamp {
    Timestamp((now.0.div_euclid(1_000_000) - 1) * 1_000_000)
}
