//! A queue's objects as a source: which there are, and how each is opened where a checkpoint left it.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use tidegate_core::{
    Position, Source,
    parquet::ReadAt,
    source::{
        Partition, PartitionId, ReadLimit, ReadOutcome, Reader, Replay, Resume, SourceError,
        SourceErrorKind,
    },
};
use tokio::task::JoinSet;

use super::{
    S3SourceConfig,
    held::Item,
    keeper::Keeper,
    message::MessageReader,
    name::{self, ObjectVersion},
    object::{Bucket, Found, Requests},
    pages::ObjectPages,
    stream::ObjectStream,
};
use crate::{
    aws::Io,
    blocking::off_task,
    sources::{
        files::{self, SourceFile},
        medium::{Medium, RawStream},
    },
};

/// Reads objects of a bucket, as a queue tells of them.
pub struct S3Source {
    pub(super) bucket: Arc<Bucket>,
    keeper: Arc<Keeper>,
    io: Io,
    /// Receiving, and keeping hidden what was received: from the first look on.
    tasks: Mutex<JoinSet<()>>,
    /// What the last look has seen.
    seen: AtomicU64,
}

impl S3Source {
    /// A source that has made no call yet.
    pub fn new(mut config: S3SourceConfig) -> Self {
        config.limits = config.limits.clamped();
        let bucket = Arc::new(Bucket::new(config));
        let keeper = Arc::new(Keeper::new(bucket.clone()));
        let (tasks, seen) = (Mutex::default(), AtomicU64::new(0));
        S3Source { bucket, keeper, io: Io::default(), tasks, seen }
    }

    fn config(&self) -> &S3SourceConfig {
        &self.bucket.config
    }

    fn start(&self) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        if tasks.is_empty() && self.config().receives {
            // One of which nothing was done waits for its message, which is there still.
            let begun = self.config().known.iter();
            let begun = begun.filter(|it| !it.finished && it.resume.is_some());
            begun.filter_map(|it| ObjectVersion::of(&it.id)).for_each(|it| self.keeper.adopt(it));
            let handle = self.io.handle();
            tasks.spawn_on(self.keeper.clone().receive(), &handle);
            tasks.spawn_on(self.keeper.clone().keep(), &handle);
        }
    }

    /// An object as it is now; none where it is gone and that is to be the end of it.
    async fn find(&self, object: &ObjectVersion) -> Result<Option<Found>, SourceError> {
        let (bucket, wanted) = (self.bucket.clone(), object.clone());
        let found = self.io.run(async move { bucket.look(&wanted).await }).await;
        match found.unwrap_or_else(|error| {
            let message = "a request to S3 was not finished";
            Err(SourceError::new(SourceErrorKind::Unavailable, message, error))
        }) {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.kind == SourceErrorKind::Trimmed => {
                self.bucket.gone(object, error).map(|()| None)
            }
            Err(error) => Err(error),
        }
    }
}

#[async_trait]
impl Source for S3Source {
    fn name(&self) -> &str {
        &self.config().name
    }

    fn replay(&self) -> Replay {
        Replay::Exact
    }

    fn can_be_read_again(&self, partition: &PartitionId) -> bool {
        // A message is deleted once it is a dead letter.
        !name::is_message(partition)
    }

    fn ends(&self) -> bool {
        false
    }

    fn remembers_for(&self) -> Option<Duration> {
        Some(self.config().remembers_for)
    }

    async fn partitions(&self) -> Result<Vec<Partition>, SourceError> {
        self.start();
        self.seen.store(*self.keeper.versions().borrow(), Ordering::Relaxed);
        let partition = |id| Partition { id, parents: Vec::new(), hash_range: None };
        Ok(self.keeper.listed().await?.into_iter().map(partition).collect())
    }

    async fn changed(&self) {
        let mut versions = self.keeper.versions();
        let is_new = |version: &u64| *version != self.seen.load(Ordering::Relaxed);
        // The sender lives as long as the keeper.
        let _ = versions.wait_for(is_new).await;
    }

    fn ended(&self, partition: &PartitionId, finished: bool) {
        self.keeper.ended(partition, finished);
    }

    fn are_elsewhere(&self, partitions: &BTreeSet<PartitionId>) {
        self.keeper.are_elsewhere(partitions);
    }

    async fn close(&self) {
        let mut tasks =
            std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        if !tasks.is_empty() {
            // A call that is broken off may still take messages: nobody would have them.
            self.keeper.stop_receiving();
            let _ = tasks.join_next().await;
            tasks.shutdown().await;
            self.keeper.close().await;
        }
    }

    async fn open(
        &self,
        partition: &PartitionId,
        after: Option<&Resume>,
    ) -> Result<Box<dyn Reader>, SourceError> {
        self.keeper.started(partition);
        let object = match self.keeper.item(partition) {
            Some(Item::Message(message)) => {
                return Ok(Box::new(MessageReader::new(message, after)));
            }
            Some(Item::Object(object)) => Some(object),
            None => ObjectVersion::of(partition),
        };
        let object = object.ok_or_else(|| {
            let message = format!("`{partition}` is no object, and no message that is held");
            SourceError::plain(SourceErrorKind::Trimmed, message)
        })?;
        let Some(found) = self.find(&object).await? else {
            return Ok(Box::new(Over(after.map(|it| it.token.clone()).unwrap_or_default())));
        };
        let gone = Vanishing { bucket: self.bucket.clone(), object: object.clone() };
        let medium = Arc::new(ObjectMedium {
            bucket: self.bucket.clone(),
            found: Arc::new(found),
            requests: Requests(self.io.handle()),
        });
        let config = self.config();
        let path = PathBuf::from(object.place());
        let file = SourceFile::on(medium, path, config.compression, config.limits);
        let (framing, after) = (config.framing.clone(), after.cloned());
        let opened = off_task(true, move || Ok(files::reader(file, &framing, after.as_ref())));
        let reader = opened.await.map_err(|error| {
            let message = format!("failed to open `{partition}`");
            SourceError::new(SourceErrorKind::Unavailable, message, error)
        })??;
        Ok(Box::new(Followed { reader, gone }))
    }
}

/// An object that may be gone before it is read to its end.
struct Vanishing {
    bucket: Arc<Bucket>,
    object: ObjectVersion,
}

/// Reads an object, and follows the policy where it is gone on the way.
struct Followed {
    reader: Box<dyn Reader>,
    gone: Vanishing,
}

#[async_trait]
impl Reader for Followed {
    async fn read(&mut self, limit: ReadLimit) -> Result<ReadOutcome, SourceError> {
        match self.reader.read(limit).await {
            Err(error) if error.kind == SourceErrorKind::Trimmed => {
                let Vanishing { bucket, object } = &self.gone;
                bucket.gone(object, error).map(|()| ReadOutcome::Ended)
            }
            read => read,
        }
    }

    fn token(&self, position: Position) -> String {
        self.reader.token(position)
    }
}

/// An object as the bytes of a file.
struct ObjectMedium {
    bucket: Arc<Bucket>,
    found: Arc<Found>,
    requests: Requests,
}

impl Medium for ObjectMedium {
    fn open(&self) -> std::io::Result<Box<dyn RawStream>> {
        let (bucket, found) = (self.bucket.clone(), self.found.clone());
        Ok(Box::new(ObjectStream::new(bucket, found, self.requests.clone())))
    }

    fn at_offsets(&self) -> std::io::Result<Arc<dyn ReadAt>> {
        let (bucket, found) = (self.bucket.clone(), self.found.clone());
        Ok(Arc::new(ObjectPages::new(bucket, found, self.requests.clone())))
    }
}

/// Reads an object that is gone: there is nothing more. Keeps the token of what was read.
struct Over(String);

#[async_trait]
impl Reader for Over {
    async fn read(&mut self, _: ReadLimit) -> Result<ReadOutcome, SourceError> {
        Ok(ReadOutcome::Ended)
    }

    fn token(&self, _: Position) -> String {
        self.0.clone()
    }
}
