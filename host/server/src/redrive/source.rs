//! A source of records that are dead letters.

use std::{
    collections::{BTreeMap, HashMap},
    num::NonZeroU32,
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
    record::Defect,
    source::{
        Partition, PartitionId, ReadLimit, ReadOutcome, Reader, Replay, Resume, SourceError,
        SourceErrorKind,
    },
};

use super::Sealed;
use crate::{
    letters::{self, Letter},
    objects::Objects,
};

/// The longest that a read waits for the rate to allow a record.
const WAIT_MAX: Duration = Duration::from_millis(100);

/// A redrive's letters. What they are is fixed, and so is where they lie: reading them again gives
/// the same records.
pub(crate) struct RedriveSource {
    name: String,
    objects: Objects,
    parts: BTreeMap<PartitionId, Arc<Part>>,
    rate: Option<Arc<DefaultDirectRateLimiter>>,
    sealed: Sealed,
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
    /// A source of some letters, which lie in some objects. At most `rate` records a
    /// second are read, over all partitions, save by replays.
    pub(crate) fn new(
        name: &str,
        objects: Objects,
        letters: Vec<Redriven>,
        rate: Option<NonZeroU32>,
        sealed: Sealed,
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
            objects,
            parts: parts.into_iter().map(part).collect(),
            rate: rate.map(quota),
            sealed,
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
        let (objects, rate) = (self.objects.clone(), self.rate.clone());
        let sealed = self.sealed.clone();
        Ok(Box::new(RedriveReader { objects, part, next, rate, sealed }))
    }
}

struct RedriveReader {
    objects: Objects,
    part: Arc<Part>,
    next: usize,
    rate: Option<Arc<DefaultDirectRateLimiter>>,
    sealed: Sealed,
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
        let batch = self.load(self.next..last, limit.bytes_max).await?;
        self.next += batch.len();
        Ok(ReadOutcome::Records(batch))
    }

    fn token(&self, _position: Position) -> String {
        // Objects never change, and the letters of a redrive don't either.
        String::new()
    }
}

impl RedriveReader {
    /// Reads some letters out of the objects that they lie in: one at least, and no more once what
    /// was encrypted and compressed has come to `bytes_max`.
    async fn load(
        &self,
        places: std::ops::Range<usize>,
        bytes_max: usize,
    ) -> Result<RecordBatch, SourceError> {
        let wanted = &self.part.letters[places];
        let mut objects: BTreeMap<&str, HashMap<(Position, u32), usize>> = BTreeMap::new();
        for (i, letter) in wanted.iter().enumerate() {
            let of_object = objects.entry(&letter.object).or_default();
            of_object.insert((letter.position, letter.redrives), i);
        }
        let mut found: Vec<Option<Letter>> = vec![None; wanted.len()];
        for (object, of_object) in objects {
            let visit = |letter: Letter| {
                let (_, position, redrives) = letter.key()?;
                if let Some(i) = of_object.get(&(position, redrives)) {
                    found[*i] = Some(letter);
                }
                Ok(())
            };
            let read = letters::in_object(&self.objects, object, visit).await;
            read.map_err(|error| broken(format!("{error:#}")))?;
        }
        let mut batch = RecordBatch::default();
        let mut bytes = Vec::new();
        for (letter, wanted) in found.into_iter().zip(wanted) {
            if !batch.is_empty() && bytes.len() >= bytes_max {
                break;
            }
            let letter = letter.ok_or_else(|| {
                broken(format!(
                    "the dead letter `{}:{}` is not in `{}` any more",
                    wanted.origin,
                    wanted.position,
                    self.objects.place(&wanted.object)
                ))
            })?;
            let record = letter.payload().map_err(|error| broken(format!("{error:#}")))?;
            let start = bytes.len();
            let row = batch.spans.len() as u32;
            let fault = match letter.payload_is_raw() {
                // It was one that could be tried again.
                true => self.sealed.fill(&record, &mut bytes).await?,
                false => {
                    bytes.extend_from_slice(&record);
                    None
                }
            };
            batch.defects.extend(fault.map(|(code, message)| Defect { row, code, message }));
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

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use base64::{Engine, engine::general_purpose::STANDARD};
    use serde_json::json;
    use tidegate_core::{
        Timestamp,
        conformance::{self, ExpectedPartition},
    };

    use super::*;

    fn objects(directory: &Path) -> Objects {
        Objects::Directory(directory.to_owned())
    }

    /// A line of a dead-letter object.
    fn line(position: u64, redrives: u32, key: &str, record: &[u8]) -> String {
        let kinesis = json!({ "data": STANDARD.encode(record),
                              "approximateArrivalTimestamp": position as f64 + 0.000_001 });
        let etl = json!({ "partition": "in", "position": position.to_string(),
                          "redriveCount": redrives, "partitionKey": key });
        let letter = json!({ "etl": etl, "payload": { "Records": [{ "kinesis": kinesis }] } });
        format!("{letter}\n")
    }

    fn letter(position: u64, redrives: u32, object: &str, record: &[u8]) -> Redriven {
        Redriven {
            origin: PartitionId::from("in"),
            position: Position::from_offset(position),
            redrives,
            partition: PartitionId::from("redrive:1:in"),
            redrive: 1,
            object: object.to_owned(),
            bytes: record.len() as u64,
            keyed: true,
            outcome: None,
        }
    }

    /// Letters of two objects, whose positions lie between each other's, and some that are not
    /// redriven.
    fn letters(directory: &Path) -> (Vec<Redriven>, Vec<Vec<u8>>) {
        let mut objects = [String::new(), String::new()];
        let (mut letters, mut records) = (Vec::new(), Vec::new());
        for position in 1..=40_u64 {
            let record = format!("record {position} {}", "x".repeat(position as usize % 7));
            let is_third = position.is_multiple_of(3);
            let (place, redrives) = (usize::from(is_third), u32::from(is_third));
            let key = format!("key {position}");
            objects[place].push_str(&line(position, redrives, &key, record.as_bytes()));
            if !position.is_multiple_of(5) {
                let object = ["first.jsonl", "second.jsonl"][place];
                letters.push(letter(position, redrives, object, record.as_bytes()));
                records.push(record.into_bytes());
            }
        }
        for (name, text) in ["first.jsonl", "second.jsonl"].iter().zip(&objects) {
            fs::write(directory.join(name), text).expect("room for the letters");
        }
        // In no order.
        letters.reverse();
        (letters, records)
    }

    #[tokio::test]
    async fn it_passes_the_suite_of_sources() {
        let directory = tempfile::tempdir().expect("a temporary folder");
        let (letters, records) = letters(directory.path());
        let source =
            RedriveSource::new("s", objects(directory.path()), letters, None, Sealed::default());
        let id = PartitionId::from("redrive:1:in");
        assert_eq!(source.origin(&id), Some(PartitionId::from("in")));
        conformance::source(&source, &[ExpectedPartition { id, records }]).await;
    }

    #[tokio::test]
    async fn records_are_what_they_were_and_are_counted_once_more() {
        let directory = tempfile::tempdir().expect("a temporary folder");
        let (letters, _) = letters(directory.path());
        let source =
            RedriveSource::new("s", objects(directory.path()), letters, None, Sealed::default());
        let mut reader = source.open(&PartitionId::from("redrive:1:in"), None).await.expect("open");
        let limit = ReadLimit { records_max: 3, bytes_max: 1 << 20, until: None };
        let ReadOutcome::Records(batch) = reader.read(limit).await.expect("read") else {
            panic!("there are records");
        };
        let offsets: Vec<u64> = batch.positions.iter().map(|it| it.offset()).collect();
        assert_eq!(offsets, [1, 2, 3]);
        assert_eq!(batch.redrives, [1, 1, 2]);
        assert_eq!(batch.arrivals[2], Timestamp(3_000_001));
        assert_eq!(batch.keys.get(1), b"key 2");
    }

    #[tokio::test]
    async fn a_letter_that_is_gone_is_named() {
        let directory = tempfile::tempdir().expect("a temporary folder");
        let (letters, _) = letters(directory.path());
        fs::write(directory.path().join("second.jsonl"), "").expect("it can be written to");
        let source =
            RedriveSource::new("s", objects(directory.path()), letters, None, Sealed::default());
        let mut reader = source.open(&PartitionId::from("redrive:1:in"), None).await.expect("open");
        let limit = ReadLimit { records_max: 100, bytes_max: 1 << 20, until: None };
        let error = reader.read(limit).await.expect_err("some are gone");
        assert!(error.message.contains("`in:3` is not in"), "{error}");
    }

    #[tokio::test]
    async fn a_rate_holds_back_reads_but_not_replays() {
        let directory = tempfile::tempdir().expect("a temporary folder");
        let (letters, records) = letters(directory.path());
        let rate = NonZeroU32::new(1);
        let source =
            RedriveSource::new("s", objects(directory.path()), letters, rate, Sealed::default());
        let id = PartitionId::from("redrive:1:in");
        let read = async |until: Option<u64>| {
            let limit = ReadLimit {
                records_max: 100,
                bytes_max: 1 << 20,
                until: until.map(Position::from_offset),
            };
            let mut reader = source.open(&id, None).await.expect("open");
            match reader.read(limit).await.expect("read") {
                ReadOutcome::Records(batch) => batch.len(),
                _ => 0,
            }
        };
        assert_eq!(read(None).await, 1, "the first one comes at once");
        assert_eq!(read(None).await, 0, "and then no more for a while");
        assert_eq!(read(Some(40)).await, records.len());
    }
}
