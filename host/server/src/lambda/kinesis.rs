//! Lambda's event source mapping: records of a shard to the sinks, and in the answer from which one on
//! they are to be handed over again.
//!
//! A batch of the pipeline is a range that is delivered by itself: its dead letters, then its rows.
//! What is before the first one that could not be is done, and not handed over again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use serde::Serialize;
use tidegate_connectors::sources::kinesis::{HandedRecord, HandedRecords, PayloadCompression};
use tidegate_core::{
    Position, RecordBatch, Sink,
    batcher::BatchLimit,
    position::InvalidPosition,
    sink::{Object, SinkError},
    source::{PartitionId, ReadLimit, SourceError},
};
use tidegate_pipeline::{Plan, PlanSpec, RangeOutput, causes, plan::Compression};
use tokio::time::Instant;

use super::{
    chain::{Next, Processed, Ranges, Stopped, now},
    emission::Emission,
    event::KinesisEvent,
    report::Report,
};
use crate::letters::Letter;

/// About how much is taken apart at once: some batches.
const READ_BYTES: usize = 1 << 20;

/// What a pipeline is to an event source mapping.
pub(super) struct Delivery {
    pub(super) plan: Arc<Plan>,
    pub(super) batch: BatchLimit,
    pub(super) compression: PayloadCompression,
    pub(super) record_bytes_max: usize,
    /// One for each of the plan's, in order.
    pub(super) sinks: Vec<Arc<dyn Sink>>,
    pub(super) copies: Arc<dyn Sink>,
    pub(super) emission: Emission,
}

/// A plan whose dead letters are sent as they are.
pub(super) fn delivering(mut spec: PlanSpec) -> PlanSpec {
    spec.dead_letters.compression = Compression::None;
    spec
}

/// What is not done of an event: for each shard from which record on. Whoever runs out of time answers
/// with this.
#[derive(Debug, Default)]
pub(super) struct Undone(Mutex<BTreeMap<String, String>>);

impl Undone {
    fn set(&self, shard: &str, from: &str) {
        self.lock().insert(shard.to_owned(), from.to_owned());
    }

    fn finish(&self, shard: &str) {
        self.lock().remove(shard);
    }

    /// The sequence numbers.
    pub(super) fn from(&self) -> Vec<String> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Answer {
    batch_item_failures: Vec<Failure>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Failure {
    item_identifier: String,
}

impl Answer {
    pub(super) fn of(undone: &Undone) -> Self {
        let failures = undone.from().into_iter();
        let failures = failures.map(|item_identifier| Failure { item_identifier });
        Answer { batch_item_failures: failures.collect() }
    }
}

/// Why a shard's records are handed over again.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Stopped(#[from] Stopped),
    #[error("failed to write to sink `{sink}`")]
    Sink { sink: String, source: SinkError },
    #[error("failed to send dead letters")]
    Letters {
        /// The first record whose letter was not sent.
        from: Position,
        source: SinkError,
    },
    #[error("failed to take records apart")]
    Records(#[from] SourceError),
    #[error("other records are dead letters the second time: a plugin ran out of time")]
    Differs,
}

/// Records of one shard, in order, each with where it lies.
struct Shard<'a> {
    name: &'a str,
    records: Vec<(Position, &'a str, HandedRecord)>,
}

impl Shard<'_> {
    /// The sequence number of the first record that lies at a position or behind it.
    fn at(&self, position: Position) -> Option<&str> {
        let start = Position([position.0[0], position.0[1], position.0[2], 0]);
        let place = self.records.partition_point(|(it, ..)| *it < start);
        self.records.get(place).map(|(_, sequence_number, _)| *sequence_number)
    }

    /// The same, of the first behind it.
    fn behind(&self, position: Position) -> Option<&str> {
        let end = Position([position.0[0], position.0[1], position.0[2], u64::MAX]);
        let place = self.records.partition_point(|(it, ..)| *it <= end);
        self.records.get(place).map(|(_, sequence_number, _)| *sequence_number)
    }
}

impl Delivery {
    /// Delivers records. What is left in `undone` is to be handed over again.
    pub(super) async fn deliver(
        &self,
        event: &KinesisEvent<'_>,
        until: Instant,
        undone: &Undone,
        report: &mut Report,
    ) -> Result<(), InvalidPosition> {
        let shards = shards(event)?;
        for shard in &shards {
            if let Some((_, first, _)) = shard.records.first() {
                undone.set(shard.name, first);
            }
        }
        for shard in &shards {
            match self.shard(shard, until, undone, report).await {
                Ok(()) => undone.finish(shard.name),
                Err(trouble) => {
                    let again_from = undone.lock().get(shard.name).cloned();
                    tracing::error!(
                        shard = shard.name,
                        again_from,
                        "records are to be handed over again: {}",
                        causes(&trouble)
                    );
                }
            }
        }
        report.again_from = undone.from();
        Ok(())
    }

    async fn shard(
        &self,
        shard: &Shard<'_>,
        until: Instant,
        undone: &Undone,
        report: &mut Report,
    ) -> Result<(), Trouble> {
        let partition = PartitionId::from(shard.name);
        let mut handed = self.handed(shard.records.iter().map(|(.., record)| record));
        let mut ranges = Ranges::new(&self.plan, partition.clone(), self.batch, until);
        let limit = ReadLimit { records_max: usize::MAX, bytes_max: READ_BYTES, until: None };
        loop {
            match ranges.next().await? {
                Next::Read => {
                    let records = handed.take(&limit)?;
                    match records.is_empty() {
                        true => ranges.end(),
                        false => ranges.push(records),
                    }
                }
                Next::Cut(range) => {
                    self.range(shard, &partition, &range, until, undone).await?;
                    report.add(&range.output, &self.plan);
                    let last = range.positions.last().copied().unwrap_or_default();
                    if let Some(next) = shard.behind(last) {
                        undone.set(shard.name, next);
                    }
                }
                Next::Done => return Ok(()),
            }
        }
    }

    /// Delivers a range. Where a dead letter can't be sent, the records before it are delivered all the
    /// same: only from it on they are handed over again.
    async fn range(
        &self,
        shard: &Shard<'_>,
        partition: &PartitionId,
        range: &Processed,
        until: Instant,
        undone: &Undone,
    ) -> Result<(), Trouble> {
        // A queue that is away must leave time for the records that have nothing to do with it.
        let now = Instant::now();
        let letters_until = now + until.saturating_duration_since(now) * 3 / 4;
        let trouble = match self.letters(&range.output, letters_until).await {
            Ok(()) => return self.rows(&range.output, until).await,
            Err(trouble) => trouble,
        };
        let Trouble::Letters { from, .. } = &trouble else { return Err(trouble) };
        let first = range.positions.first().copied().unwrap_or_default();
        let whole = |it: &Position| Position([it.0[0], it.0[1], it.0[2], 0]);
        if let Some(again_from) = shard.at(*from).filter(|_| whole(from) > whole(&first)) {
            let before = shard.records.iter().filter(|(position, ..)| {
                whole(position) >= whole(&first) && whole(position) < whole(from)
            });
            let mut handed = self.handed(before.map(|(.., record)| record));
            let limit = ReadLimit { records_max: usize::MAX, bytes_max: usize::MAX, until: None };
            let records: RecordBatch = handed.take(&limit)?;
            match self.before(partition, range, records, until).await {
                Ok(()) => undone.set(shard.name, again_from),
                Err(error) => tracing::error!("and those before: {}", causes(&error)),
            }
        }
        Err(trouble)
    }

    /// Delivers records that have been processed once, with those behind them, at the same batch time.
    /// A plugin is pure: what it makes of them is what it made before, and their letters are sent.
    async fn before(
        &self,
        partition: &PartitionId,
        first: &Processed,
        records: RecordBatch,
        until: Instant,
    ) -> Result<(), Trouble> {
        let sent = self.letters_of(&first.output);
        let ranges = Ranges::new(&self.plan, partition.clone(), self.batch, until);
        let mut ranges = ranges.at(first.opened_at);
        ranges.push(records);
        ranges.end();
        loop {
            match ranges.next().await? {
                // One that is a letter only now would be neither sent nor delivered.
                Next::Cut(range) if !self.letters_of(&range.output).is_subset(&sent) => {
                    return Err(Trouble::Differs);
                }
                Next::Cut(range) => self.rows(&range.output, until).await?,
                Next::Read => {}
                Next::Done => return Ok(()),
            }
        }
    }

    /// Which records are dead letters.
    fn letters_of(&self, output: &RangeOutput) -> BTreeSet<Position> {
        let letters = objects(output, self.sinks.len());
        letters.iter().flat_map(|it| positions(&it.content)).collect()
    }

    async fn letters(&self, output: &RangeOutput, until: Instant) -> Result<(), Trouble> {
        let letters = objects(output, self.sinks.len());
        if letters.is_empty() {
            return Ok(());
        }
        let all = letters.clone();
        self.emission.emit(&*self.copies, letters, until).await.map_err(|mut source| {
            let left = source.rest.take().unwrap_or(all);
            let from = left.iter().flat_map(|it| positions(&it.content)).min().unwrap_or_default();
            Trouble::Letters { from, source }
        })
    }

    async fn rows(&self, output: &RangeOutput, until: Instant) -> Result<(), Trouble> {
        for (place, sink) in self.sinks.iter().enumerate() {
            let objects = objects(output, place);
            if objects.is_empty() {
                continue;
            }
            let written = self.emission.emit(&**sink, objects, until).await;
            written.map_err(|source| Trouble::Sink { sink: sink.name().to_owned(), source })?;
        }
        Ok(())
    }

    fn handed<'a>(&self, records: impl Iterator<Item = &'a HandedRecord>) -> HandedRecords {
        HandedRecords::new(records.cloned(), self.compression, self.record_bytes_max)
            .expect("their sequence numbers have been read")
    }
}

/// Of which records letters are.
fn positions(letters: &[u8]) -> impl Iterator<Item = Position> {
    let lines = letters.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    // One that can't be read is as good as the first of all.
    lines.map(|line| Letter::parse(line).and_then(|it| it.position()).unwrap_or_default())
}

/// What a range has for a destination.
fn objects(output: &RangeOutput, destination: usize) -> Vec<Object> {
    let objects = output.objects.iter().filter(|it| it.destination == destination);
    objects.map(|it| it.object.clone()).collect()
}

/// The records of an event by their shards: one, as Lambda invokes functions.
fn shards<'a>(event: &'a KinesisEvent<'_>) -> Result<Vec<Shard<'a>>, InvalidPosition> {
    let mut shards: Vec<Shard<'a>> = Vec::new();
    let mut bytes = Vec::new();
    let mut spans = Vec::new();
    for record in &event.records {
        let start = bytes.len();
        // What is no base64 is what the record holds: its text is no JSON either.
        record.kinesis.decode(&mut bytes);
        spans.push(start..bytes.len());
    }
    let bytes = Bytes::from(bytes);
    for (record, span) in event.records.iter().zip(spans) {
        let sequence_number = &*record.kinesis.sequence_number;
        let handed = HandedRecord {
            sequence_number: sequence_number.to_owned(),
            arrival: record.kinesis.arrival().unwrap_or_else(now),
            key: record.kinesis.partition_key().to_owned(),
            data: bytes.slice(span),
        };
        let name = record.shard();
        let position = Position::from_sequence_number(sequence_number)?;
        let known = shards.iter().position(|it| it.name == name);
        let known = known.unwrap_or_else(|| {
            shards.push(Shard { name, records: Vec::new() });
            shards.len() - 1
        });
        shards[known].records.push((position, sequence_number, handed));
    }
    for shard in &mut shards {
        shard.records.sort_by_key(|(position, ..)| *position);
        shard.records.dedup_by_key(|(position, ..)| *position);
    }
    Ok(shards)
}
