//! A stream as a source: its shards, and how each is opened where a checkpoint left it.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use tidegate_core::{
    Source, Timestamp,
    source::{Partition, PartitionId, Reader, Replay, Resume, SourceError, SourceErrorKind},
};

use super::{
    KinesisConfig, KinesisStart,
    budget::Budget,
    client::Caller,
    loss::{Loss, horizon},
    notes::{Beginning, Note, Notes, Quiet},
    position::SequenceNumber,
    reader::{KinesisReader, Token},
    shards::{self, Stream},
};
use crate::blocking::off_task;

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
    hash_ranges: BTreeMap<PartitionId, Option<(u128, u128)>>,
    /// It was looked whether shards have expired that an earlier run has not finished.
    looked_back: bool,
}

/// A shard, to be opened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shard {
    pub(super) stream: Stream,
    pub(super) note: Note,
    pub(super) hash_range: Option<(u128, u128)>,
}

impl KinesisSource {
    /// A source that has made no call yet.
    pub fn new(config: KinesisConfig) -> Self {
        let config = Arc::new(config);
        let budget = Budget::new(config.fetched_bytes_max);
        let caller = Caller::new(config.clone());
        let seen = Mutex::default();
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
        let reader = KinesisReader::new(shared.clone(), partition.clone(), shard, last);
        if last.is_none() {
            // Nothing tells whether what arrived since then is still there.
            let since = shard.note.done_until(None);
            let until = horizon(shared.caller.server_time(), shard.stream.retention);
            if since < until {
                let (shard, since) = (partition.clone(), Some(since));
                reader.lost(&Loss { shard, after: None, before: None, since, until })?;
            }
        }
        Ok(Box::new(reader))
    }
}

impl Shared {
    /// The stream's shards as of now.
    async fn look(&self) -> Result<Vec<Partition>, SourceError> {
        let config = self.config.clone();
        let stream = self.caller.call(|client| shards::describe(client, config)).await?;
        // Before the shards are listed: what arrives from here on arrives behind it.
        let now = self.caller.server_time();
        let config = self.config.clone();
        let listed = self.caller.call(|client| shards::list(client, config)).await?;
        self.look_back(stream, &listed, now)?;
        self.note(stream, &listed, now).await?;
        let mut seen = self.seen();
        seen.stream = Some(stream);
        seen.hash_ranges = listed.iter().map(|it| (it.id.clone(), it.hash_range)).collect();
        Ok(listed)
    }

    /// What is known of a shard.
    fn shard(&self, id: &PartitionId) -> Option<Shard> {
        let seen = self.seen();
        Some(Shard {
            stream: seen.stream?,
            note: *seen.notes.as_ref()?.shards.get(id)?,
            hash_range: *seen.hash_ranges.get(id)?,
        })
    }

    /// Nothing arrived in a shard. It is written down with the next look at the shards.
    pub(super) fn is_quiet(&self, id: &PartitionId, quiet: Quiet) {
        let mut seen = self.seen();
        let note = seen.notes.as_mut().and_then(|notes| notes.shards.get_mut(id));
        if let Some(note) = note {
            note.quiet = Some(quiet);
        }
    }

    /// Writes down what is to be known after a crash, before it is needed.
    async fn note(
        &self,
        stream: Stream,
        listed: &[Partition],
        now: Timestamp,
    ) -> Result<(), SourceError> {
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
        let begins = match (&written, self.config.start) {
            // They grew out of those that were seen before.
            (Some(_), _) | (None, KinesisStart::TrimHorizon) => Beginning::TrimHorizon,
            (None, KinesisStart::Latest) => Beginning::At(now),
            (None, KinesisStart::At(time)) => Beginning::At(time),
        };
        notes.see(listed.iter().map(|it| &it.id), now, begins);
        {
            let seen = self.seen();
            for (id, note) in seen.notes.iter().flat_map(|it| &it.shards) {
                if let Some(written) = notes.shards.get_mut(id) {
                    written.quiet = note.quiet.or(written.quiet);
                }
            }
        }
        // What the stream no longer has is never asked for again.
        let listed: BTreeSet<_> = listed.iter().map(|it| &it.id).collect();
        notes.shards.retain(|id, _| listed.contains(id));
        if written.as_ref() != Some(&notes) {
            let (directory, notes) = (self.config.notes.clone(), notes.clone());
            off_task(true, move || notes.save(&directory)).await.map_err(failing)?;
        }
        self.seen().notes = Some(notes);
        Ok(())
    }

    /// A closed shard expires as a whole, read or not, and is no longer listed.
    fn look_back(
        &self,
        stream: Stream,
        listed: &[Partition],
        now: Timestamp,
    ) -> Result<(), SourceError> {
        if std::mem::replace(&mut self.seen().looked_back, true) {
            return Ok(());
        }
        let of_stream = |it: &&super::KnownPartition| {
            !it.finished
                && it.id.0.starts_with(SHARD_PREFIX)
                && listed.iter().all(|listed| listed.id != it.id)
        };
        for known in self.config.known.iter().filter(of_stream) {
            let token = known.resume.as_ref().and_then(|resume| Token::parse(&resume.token));
            let loss = Loss {
                shard: known.id.clone(),
                after: known.resume.as_ref().map(|it| SequenceNumber::of(it.position)),
                before: None,
                since: token.map(|it| it.arrival),
                until: horizon(now, stream.retention),
            };
            loss.tell(self.config.on_trimmed).inspect_err(|_| self.seen().looked_back = false)?;
        }
        Ok(())
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
