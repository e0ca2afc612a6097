//! A source of records that are dead letters.

use std::{
    collections::{BTreeMap, HashMap},
    num::NonZeroU32,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use governor::{
    DefaultDirectRateLimiter, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
};
use tidegate_connectors::store::Redriven;
use tidegate_core::{
    Position, RecordBatch, Source,
    source::{
        Partition, PartitionId, ReadLimit, ReadOutcome, Reader, Replay, Resume, SourceError,
        SourceErrorKind,
    },
};

use crate::letters::{self, Letter};

/// The longest that a read waits for the rate to allow a record.
const WAIT_MAX: Duration = Duration::from_millis(100);

/// A redrive's letters. What they are is fixed, and so is where they lie: reading them again gives
/// the same records.
pub(crate) struct RedriveSource {
    name: String,
    directory: PathBuf,
    parts: BTreeMap<PartitionId, Arc<Part>>,
    rate: Option<Arc<DefaultDirectRateLimiter>>,
}

/// The letters of one partition, by position.
#[derive(Debug)]
struct Part {
    origin: PartitionId,
    letters: Vec<Redriven>,
    /// The source gave its records partition keys.
    keyed: bool,
}

impl RedriveSource {
    /// A source of some letters, whose objects lie below a directory. At most `rate` records a
    /// second are read, over all partitions, save by replays.
    pub(crate) fn new(
        name: &str,
        directory: PathBuf,
        letters: Vec<Redriven>,
        rate: Option<NonZeroU32>,
    ) -> Self {
        let mut parts: BTreeMap<PartitionId, Vec<Redriven>> = BTreeMap::new();
        for letter in letters {
            parts.entry(letter.partition.clone()).or_default().push(letter);
        }
        let part = |(id, mut letters): (PartitionId, Vec<Redriven>)| {
            letters.sort_by_key(|it| it.position);
            let origin = letters[0].origin.clone();
            let keyed = letters.iter().any(|it| it.keyed);
            (id, Arc::new(Part { origin, letters, keyed }))
        };
        // A tenth of a second's worth may come at once: more often than that nobody wakes up.
        let quota = |rate: NonZeroU32| {
            let burst = NonZeroU32::new(rate.get() / 10).unwrap_or(NonZeroU32::MIN);
            Arc::new(RateLimiter::direct(Quota::per_second(rate).allow_burst(burst)))
        };
        RedriveSource {
            name: name.to_owned(),
            directory,
            parts: parts.into_iter().map(part).collect(),
            rate: rate.map(quota),
        }
    }

    fn part(&self, partition: &PartitionId) -> Result<&Arc<Part>, SourceError> {
        self.parts.get(partition).ok_or_else(|| {
            let message = format!("no letter is redriven as partition `{partition}`");
            SourceError::plain(SourceErrorKind::Broken, message)
        })
    }
}

#[async_trait]
impl Source for RedriveSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn replay(&self) -> Replay {
        Replay::Exact
    }

    async fn partitions(&self) -> Result<Vec<Partition>, SourceError> {
        let partition =
            |id: &PartitionId| Partition { id: id.clone(), parents: Vec::new(), hash_range: None };
        Ok(self.parts.keys().map(partition).collect())
    }

    fn origin(&self, partition: &PartitionId) -> Option<PartitionId> {
        self.parts.get(partition).map(|part| part.origin.clone())
    }

    async fn open(
        &self,
        partition: &PartitionId,
        after: Option<&Resume>,
    ) -> Result<Box<dyn Reader>, SourceError> {
        let part = Arc::clone(self.part(partition)?);
        let next = match after {
            None => 0,
            Some(after) => part.letters.partition_point(|it| it.position <= after.position),
        };
        let (directory, rate) = (self.directory.clone(), self.rate.clone());
        Ok(Box::new(RedriveReader { directory, part, next, rate }))
    }
}

struct RedriveReader {
    directory: PathBuf,
    part: Arc<Part>,
    next: usize,
    rate: Option<Arc<DefaultDirectRateLimiter>>,
}

#[async_trait]
impl Reader for RedriveReader {
    async fn read(&mut self, limit: ReadLimit) -> Result<ReadOutcome, SourceError> {
        let letters = &self.part.letters;
        let end = match limit.until {
            None => letters.len(),
            Some(until) => letters.partition_point(|it| it.position <= until),
        };
        if self.next >= end {
            return Ok(ReadOutcome::Ended);
        }
        // A replay makes up for lost time.
        let rate = self.rate.as_ref().filter(|_| limit.until.is_none());
        let mut last = self.next;
        let mut bytes = 0u64;
        while last < end && last - self.next < limit.records_max.max(1) {
            bytes += letters[last].bytes;
            if last > self.next && bytes > limit.bytes_max as u64 {
                break;
            }
            if let Some(Err(not_yet)) = rate.map(|rate| rate.check()) {
                if last == self.next {
                    let wait = not_yet.wait_time_from(DefaultClock::default().now());
                    tokio::time::sleep(wait.min(WAIT_MAX)).await;
                    return Ok(ReadOutcome::Idle);
                }
                break;
            }
            last += 1;
        }
        let batch = self.load(self.next..last).await?;
        self.next = last;
        Ok(ReadOutcome::Records(batch))
    }

    fn token(&self, _position: Position) -> String {
        // Objects never change, and the letters of a redrive don't either.
        String::new()
    }
}

impl RedriveReader {
    /// Reads some letters out of the objects that they lie in.
    async fn load(&self, places: std::ops::Range<usize>) -> Result<RecordBatch, SourceError> {
        let wanted = &self.part.letters[places];
        let mut objects: BTreeMap<&str, HashMap<(Position, u32), usize>> = BTreeMap::new();
        for (i, letter) in wanted.iter().enumerate() {
            let of_object = objects.entry(&letter.object).or_default();
            of_object.insert((letter.position, letter.redrives), i);
        }
        let mut found: Vec<Option<Letter>> = vec![None; wanted.len()];
        for (object, of_object) in objects {
            let file = self.directory.join(object);
            let visit = |letter: Letter| {
                let (_, position, redrives) = letter.key()?;
                if let Some(i) = of_object.get(&(position, redrives)) {
                    found[*i] = Some(letter);
                }
                Ok(())
            };
            let read = letters::in_object(&file, visit).await;
            read.map_err(|error| broken(format!("{error:#}")))?;
        }
        let mut batch = RecordBatch::default();
        let mut bytes = Vec::new();
        for (letter, wanted) in found.into_iter().zip(wanted) {
            let letter = letter.ok_or_else(|| {
                let object = self.directory.join(&wanted.object);
                broken(format!(
                    "the dead letter `{}:{}` is not in `{}` any more",
                    wanted.origin,
                    wanted.position,
                    object.display()
                ))
            })?;
            let record = letter.payload().map_err(|error| broken(format!("{error:#}")))?;
            let start = bytes.len();
            bytes.extend_from_slice(&record);
            batch.spans.push((offset(start)?, offset(bytes.len())?));
            batch.positions.push(wanted.position);
            batch.redrives.push(wanted.redrives.saturating_add(1));
            batch.arrivals.extend(letter.arrival());
            if self.part.keyed {
                batch.keys.push(letter.etl("partitionKey").as_bytes());
            }
        }
        if batch.arrivals.len() != batch.positions.len() {
            // The source did not say.
            batch.arrivals.clear();
        }
        batch.bytes = bytes.into();
        Ok(batch)
    }
}

fn offset(at: usize) -> Result<u32, SourceError> {
    u32::try_from(at).map_err(|_| broken("a read holds more than 4 GiB".to_owned()))
}

fn broken(message: String) -> SourceError {
    SourceError::plain(SourceErrorKind::Broken, message)
}
