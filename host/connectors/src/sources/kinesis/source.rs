//! A stream as a source: its shards, and how each is opened where a checkpoint left it.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tidegate_core::{
    Source, Timestamp,
    checkpoint::{StoreError, StoreErrorKind},
    source::{
        HashKey, Partition, PartitionId, Reader, Replay, Resume, SourceError, SourceErrorKind,
    },
};

use super::{
    KinesisConfig, KinesisNotes, KinesisStart,
    budget::Budget,
    client::Caller,
    consumer::{Consumer, Found},
    notes::{Beginning, Note, Notes, Quiet, ShardNotes, SharedNote, begins_beside},
    reader::{KinesisReader, Token},
    shards::{self, Stream},
};
use crate::{aggregate::hash_key, blocking::off_task};

/// What shards are called; a data directory may hold other partitions, of another source.
const SHARD_PREFIX: &str = "shardId-";

/// Reads a stream. Cheap to clone.
#[derive(Clone)]
pub struct KinesisSource {
    pub(super) shared: Arc<Shared>,
}

/// What the readers of all shards share.
pub(super) struct Shared {
    pub(super) config: Arc<KinesisConfig>,
    pub(super) caller: Caller,
    pub(super) budget: Budget,
    pub(super) consumer: Consumer,
    seen: Mutex<Seen>,
}

/// What is known of the stream.
#[derive(Default)]
struct Seen {
    stream: Option<Stream>,
    notes: Option<Notes>,
    /// What this host has found quiet since the last look.
    quiet: BTreeMap<PartitionId, Quiet>,
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
        let consumer = Consumer::new(config.consumer.clone());
        KinesisSource { shared: Arc::new(Shared { config, caller, budget, consumer, seen }) }
    }
}

impl KinesisSource {
    /// The stream's shards, and nothing else: nothing is noted.
    pub async fn shards(&self) -> Result<Vec<Partition>, SourceError> {
        let config = self.shared.config.clone();
        self.shared.caller.call(|client| shards::list(client, config)).await
    }

    /// The time that `latest` stands for now, by the server's clock.
    pub async fn now(&self) -> Result<Timestamp, SourceError> {
        let config = self.shared.config.clone();
        self.shared.caller.call(|client| shards::describe(client, config)).await?;
        Ok(latest(self.shared.caller.server_time()))
    }

    /// The consumer, as it was named, to which shards push their records.
    pub fn consumer(&self) -> Option<String> {
        self.shared.consumer.named()
    }

    /// Looks up another consumer, or none, for the shards that are being read; one that is not there
    /// is registered.
    pub async fn find_consumer(&self, named: Option<String>) -> Result<OtherConsumer, SourceError> {
        let (shared, config) = (self.shared.clone(), self.shared.config.clone());
        let stream = shared.caller.call(|client| shards::describe(client, config)).await?;
        let found = Found::look_up(&shared.caller, &stream.arn, named).await?;
        Ok(OtherConsumer { shared, found })
    }
}

/// Another consumer for the shards of a running source, or none.
pub struct OtherConsumer {
    shared: Arc<Shared>,
    found: Found,
}

impl OtherConsumer {
    /// Has the shards read by it from now on: each goes on where it is with its next read. They are
    /// polled as long as it is being registered.
    pub fn take_over(self) {
        self.shared.consumer.change(self.found);
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
            if resume.token.is_empty() {
                // Somebody else has moved the checkpoint here, and did not say when this arrived.
                return Ok((resume.position, shared.caller.server_time()));
            }
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
        let notes = match &self.config.notes {
            KinesisNotes::Directory(directory) => {
                self.note(&stream, &listed, now, directory).await?
            }
            KinesisNotes::Shared(notes) => {
                let noted = self.note_for_all(&**notes, &stream, &listed, now).await;
                noted.map_err(|error| self.not_noted(error))?
            }
        };
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
        Some(Shard { stream: seen.stream.clone()?, note, expired: !seen.listed.contains(id) })
    }

    /// How long the stream keeps a record, as of the last look at it.
    pub(super) fn retention(&self) -> Option<Duration> {
        self.seen().stream.as_ref().map(|it| it.retention)
    }

    /// Nothing arrived in a shard. It is written down with the next look at the shards.
    pub(super) fn is_quiet(&self, id: &PartitionId, quiet: Quiet) {
        let mut seen = self.seen();
        seen.quiet.insert(id.clone(), quiet);
        let note = seen.notes.as_mut().and_then(|notes| notes.shards.get_mut(id));
        if let Some(note) = note {
            note.quiet = Some(quiet);
        }
    }

    /// A shard was read to its end. Where other hosts may read its children, they are noted before
    /// it is said of their parent that it is finished: nobody overlooks them then.
    pub(super) async fn has_ended(&self, id: &PartitionId) -> Result<(), SourceError> {
        if let KinesisNotes::Shared(_) = self.config.notes {
            self.look().await?;
        }
        self.seen().ended.insert(id.clone());
        Ok(())
    }

    /// Writes down what is to be known after a crash, before it is needed.
    async fn note(
        &self,
        stream: &Stream,
        listed: &[Partition],
        now: Timestamp,
        directory: &Path,
    ) -> Result<Notes, SourceError> {
        let failing = |error: io::Error| {
            let kind = match error.kind() {
                io::ErrorKind::InvalidData => SourceErrorKind::Broken,
                _ => SourceErrorKind::Unavailable,
            };
            SourceError::new(kind, "failed to note where shards begin", error)
        };
        let directory = directory.to_owned();
        let from = directory.clone();
        let written = off_task(true, move || Notes::load(&from)).await.map_err(failing)?;
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
            let notes = notes.clone();
            off_task(true, move || notes.save(&directory)).await.map_err(failing)?;
        }
        Ok(notes)
    }

    /// Brings notes up to what is known now.
    fn see(&self, notes: &mut Notes, are_new: bool, listed: &[Partition], now: Timestamp) {
        let known = || self.config.known.iter().filter(|it| it.id.0.starts_with(SHARD_PREFIX));
        let begins = match !are_new || known().next().is_some() {
            // They grew out of those that were seen before.
            true => Beginning::TrimHorizon,
            false => self.first(now),
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

    /// Where shards begin that there are when a stream is first seen.
    fn first(&self, now: Timestamp) -> Beginning {
        match self.config.start {
            KinesisStart::TrimHorizon => Beginning::TrimHorizon,
            KinesisStart::Latest => Beginning::At(latest(now)),
            KinesisStart::At(time) => Beginning::At(time),
        }
    }

    /// The same, where all hosts see it: what somebody has noted first is what holds for all.
    async fn note_for_all(
        &self,
        shared: &dyn ShardNotes,
        stream: &Stream,
        listed: &[Partition],
        now: Timestamp,
    ) -> Result<Notes, NotNoted> {
        let (noted, mut notes) = self.noted(shared, stream, listed).await?;
        let mut missing: Vec<_> =
            listed.iter().filter(|it| !notes.shards.contains_key(&it.id)).collect();
        missing.sort_by(|a, b| b.id.cmp(&a.id));
        let mut others = false;
        for shard in missing {
            let begins = begins_beside(&noted, &notes, shard, self.first(now));
            let mut new = Notes::default();
            new.see(shard, now, begins);
            for note in new.shards.into_values() {
                others |= !shared.add(shard, &note_text(stream, &note)?).await?;
                notes.shards.insert(shard.id.clone(), note);
            }
        }
        if others {
            notes = self.noted(shared, stream, listed).await?.1;
        }
        let quiet = std::mem::take(&mut self.seen().quiet);
        for (id, quiet) in quiet {
            let Some(note) = notes.shards.get_mut(&id) else { continue };
            note.quiet = Some(quiet);
            shared.replace(&id, &note_text(stream, note)?).await?;
        }
        Ok(notes)
    }

    /// What hosts have noted of shards that there still is something to be said of.
    async fn noted(
        &self,
        shared: &dyn ShardNotes,
        stream: &Stream,
        listed: &[Partition],
    ) -> Result<(Vec<super::NotedShard>, Notes), NotNoted> {
        let noted = shared.load().await?;
        let mut notes = Notes {
            stream: self.config.stream.clone(),
            created: stream.created,
            ..Notes::default()
        };
        for shard in &noted {
            let is_listed = listed.iter().any(|it| it.id == shard.id);
            let Some(text) = shard.note.as_ref().filter(|_| is_listed || !shard.finished) else {
                continue;
            };
            let note: SharedNote = serde_json::from_str(text)?;
            if note.created != stream.created {
                return Err(NotNoted::Replaced);
            }
            notes.shards.insert(shard.id.clone(), note.note);
        }
        Ok((noted, notes))
    }

    fn not_noted(&self, error: NotNoted) -> SourceError {
        let what = "failed to note where shards begin";
        match error {
            NotNoted::Replaced => self.replaced(),
            NotNoted::Unreadable(error) => SourceError::new(SourceErrorKind::Broken, what, error),
            NotNoted::Store(error) => {
                let kind = match error.kind {
                    StoreErrorKind::Unavailable => SourceErrorKind::Unavailable,
                    _ => SourceErrorKind::Broken,
                };
                SourceError::new(kind, what, error)
            }
        }
    }

    fn replaced(&self) -> SourceError {
        let message = format!(
            "the stream `{}` was deleted and created again since it was last read: begin with an \
             empty data directory, and with an empty table of leases",
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

/// Notes can't be had.
#[derive(Debug)]
enum NotNoted {
    /// They are of another stream, which had the same name.
    Replaced,
    Unreadable(serde_json::Error),
    Store(StoreError),
}

impl From<serde_json::Error> for NotNoted {
    fn from(error: serde_json::Error) -> Self {
        NotNoted::Unreadable(error)
    }
}

impl From<StoreError> for NotNoted {
    fn from(error: StoreError) -> Self {
        NotNoted::Store(error)
    }
}

fn note_text(stream: &Stream, note: &Note) -> Result<String, serde_json::Error> {
    serde_json::to_string(&SharedNote { created: stream.created, note: note.clone() })
}
