//! Made-up events as a source.

use std::time::Duration;

use async_trait::async_trait;
use tidegate_core::{
    Position, RecordBatch, Source,
    source::{
        Partition, PartitionId, ReadLimit, ReadOutcome, Reader, Replay, Resume, SourceError,
        SourceErrorKind,
    },
};
use tokio::time::Instant;
use xxhash_rust::xxh3::xxh3_128;

use super::{EventGenerator, GeneratorConfig, GeneratorError};

/// About as much as one read makes up, whatever it may: more would keep others waiting.
const READ_BYTES_MAX: usize = 256 << 10;

/// The longest that a read waits for the rate to allow an event.
const WAIT_MAX: Duration = Duration::from_millis(100);

/// Makes up events. Partitions are `p0000`, `p0001` and so on; an event's position is how many
/// there are up to it.
pub struct GeneratorSource {
    name: String,
    config: GeneratorConfig,
}

impl GeneratorSource {
    /// A source with a name.
    pub fn new(name: impl Into<String>, config: GeneratorConfig) -> Result<Self, GeneratorError> {
        config.check()?;
        Ok(GeneratorSource { name: name.into(), config })
    }

    /// Stands for everything that events follow from: other settings make another partition of it.
    fn token(&self) -> String {
        // How many there are, and how fast they come, changes none of them.
        let settings = GeneratorConfig { records: None, rate: None, ..self.config.clone() };
        format!("{:032x}", xxh3_128(format!("{settings:?}").as_bytes()))
    }

    fn number_of(&self, partition: &PartitionId) -> Option<u32> {
        let number = partition.0.strip_prefix('p')?.parse().ok()?;
        (number < self.config.partitions && name_of(number) == *partition).then_some(number)
    }
}

fn name_of(partition: u32) -> PartitionId {
    PartitionId(format!("p{partition:04}").into())
}

#[async_trait]
impl Source for GeneratorSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn replay(&self) -> Replay {
        Replay::Exact
    }

    async fn partitions(&self) -> Result<Vec<Partition>, SourceError> {
        let partition =
            |number| Partition { id: name_of(number), parents: Vec::new(), hash_range: None };
        Ok((0..self.config.partitions).map(partition).collect())
    }

    async fn open(
        &self,
        partition: &PartitionId,
        after: Option<&Resume>,
    ) -> Result<Box<dyn Reader>, SourceError> {
        let broken = |message| SourceError::plain(SourceErrorKind::Broken, message);
        let number = self
            .number_of(partition)
            .ok_or_else(|| broken(format!("the generator has no partition `{partition}`")))?;
        let token = self.token();
        if after.is_some_and(|resume| resume.token != token) {
            let message = format!(
                "partition `{partition}` was made up from other settings: set them as they were, \
                 or begin with an empty data directory"
            );
            return Err(SourceError::plain(SourceErrorKind::Replaced, message));
        }
        let next = after.map_or(0, |resume| resume.position.offset());
        Ok(Box::new(GeneratorReader {
            generator: EventGenerator::new(&self.config, number)
                .map_err(|error| broken(error.to_string()))?,
            next,
            end: self.config.records_of(number).unwrap_or(u64::MAX),
            token,
            pace: self.config.rate.map(|rate| Pace {
                rate: u128::from(rate.max(1)),
                partitions: u128::from(self.config.partitions),
                from: next,
                since: Instant::now(),
            }),
        }))
    }
}

struct GeneratorReader {
    generator: EventGenerator,
    /// The index of the next event.
    next: u64,
    /// How many there are.
    end: u64,
    token: String,
    pace: Option<Pace>,
}

#[async_trait]
impl Reader for GeneratorReader {
    async fn read(&mut self, limit: ReadLimit) -> Result<ReadOutcome, SourceError> {
        let end = limit.until.map_or(self.end, |until| until.offset().min(self.end));
        if self.next >= end {
            return Ok(ReadOutcome::Ended);
        }
        // A replay makes up for lost time.
        let due = match &self.pace {
            Some(pace) if limit.until.is_none() => pace.due(self.next).await.min(end),
            _ => end,
        };
        if self.next >= due {
            return Ok(ReadOutcome::Idle);
        }
        let bytes_max = limit.bytes_max.min(READ_BYTES_MAX);
        let mut bytes = Vec::with_capacity(bytes_max + 1024);
        let mut batch = RecordBatch::default();
        while self.next < due && batch.len() < limit.records_max.max(1) {
            let start = bytes.len();
            self.generator.write(self.next, &mut bytes);
            if !batch.is_empty() && bytes.len() > bytes_max {
                bytes.truncate(start);
                break;
            }
            self.next += 1;
            batch.spans.push((start as u32, bytes.len() as u32));
            batch.positions.push(Position::from_offset(self.next));
        }
        batch.bytes = bytes.into();
        Ok(ReadOutcome::Records(batch))
    }

    fn token(&self, _position: Position) -> String {
        self.token.clone()
    }
}

/// How fast events may come. In whole numbers: a rounding error would wait for a time that has
/// passed already.
struct Pace {
    /// So many events over all partitions in a second, of which this is one of so many.
    rate: u128,
    partitions: u128,
    /// The first event's index, and when it was due.
    from: u64,
    since: Instant,
}

impl Pace {
    /// How many events may have come by now. Waits, for a while, until it is more than `next`.
    async fn due(&self, next: u64) -> u64 {
        let now = Instant::now();
        if self.allowed(now) > next {
            return self.allowed(now);
        }
        let wait = (u128::from(next - self.from) * self.second()).div_ceil(self.rate);
        let wait = Duration::from_nanos(u64::try_from(wait).unwrap_or(u64::MAX));
        tokio::time::sleep_until((self.since + wait).min(now + WAIT_MAX)).await;
        self.allowed(Instant::now())
    }

    fn allowed(&self, at: Instant) -> u64 {
        let passed = (at - self.since).as_nanos() * self.rate / self.second();
        self.from.saturating_add(1).saturating_add(passed as u64)
    }

    /// A second of one partition, on the clock of all of them.
    fn second(&self) -> u128 {
        1_000_000_000 * self.partitions
    }
}
