//! Firehose's transformation: records in, and for each its id with what became of it.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use tidegate_connectors::sources::kinesis::{PayloadCompression, fill};
use tidegate_core::{
    Origin, Position, RecordBatch, Sink, batcher::BatchLimit, checkpoint::Outcome,
    description::HostValue, record::Defect, source::PartitionId,
};
use tidegate_pipeline::{
    Plan, PlanSpec, RangeOutput,
    plan::{Compression, PartitionKeySpec},
};
use tokio::time::{Duration, Instant};

use super::{
    chain::{Ranges, Stopped, now},
    emission::Emission,
    event::{FirehoseEvent, FirehoseRecord},
    reply::{Reply, Verdict},
    report::Report,
};
use crate::config::{Config, Delimiter};

/// What an event's records may expand to: an answer has room for a tenth of it.
const EXPANDED_BYTES_MAX: usize = 64 << 20;

/// How long an answer waits for copies of dead letters: each record is below the stream's error prefix
/// as well, and the others are not to be held up for an alarm.
const COPIES_TAKE_MAX: Duration = Duration::from_secs(10);

/// What a pipeline is to Firehose.
pub(super) struct Transformation {
    pub(super) plan: Arc<Plan>,
    pub(super) batch: BatchLimit,
    pub(super) compression: PayloadCompression,
    pub(super) record_bytes_max: usize,
    pub(super) ends_with_newline: bool,
    pub(super) copies: Option<Arc<dyn Sink>>,
    pub(super) emission: Emission,
}

/// Whether the one sink has records end with a line break.
pub(super) fn ends_with_newline(config: &Config) -> bool {
    config.sinks.first().is_none_or(|sink| {
        let reply = sink.reply.as_ref().map(|it| it.delimiter);
        let delimiter = reply.or(sink.firehose.as_ref().map(|it| it.delimiter));
        delimiter.unwrap_or_default() == Delimiter::Newline
    })
}

/// A plan whose one sink is the answer: every line says which record it is of, and is as long as it is.
/// What would compress it or cut it into files is the stream's.
pub(super) fn answering(mut spec: PlanSpec) -> PlanSpec {
    spec.dead_letters.compression = Compression::None;
    for sink in &mut spec.sinks {
        sink.compression = Compression::None;
        sink.part_records_max = u64::MAX;
        sink.part_bytes_max = u64::MAX;
        sink.row_bytes_max = None;
        let from = Origin::Host(HostValue::Position);
        sink.partition_key = Some(PartitionKeySpec { from, chars_max: usize::MAX });
    }
    spec
}

/// Records of one partition, and which of the event's each is.
struct Group {
    partition: PartitionId,
    rows: Vec<usize>,
    batch: RecordBatch,
}

impl Transformation {
    /// Transforms records. Each of the event's has its place in the answer.
    pub(super) async fn transform(
        &self,
        event: &FirehoseEvent<'_>,
        until: Instant,
        report: &mut Report,
    ) -> Result<Reply, Stopped> {
        let mut verdicts = vec![Verdict::Failed; event.records.len()];
        let mut letters = Vec::new();
        for group in self.groups(event) {
            let Group { partition, rows, batch } = group;
            let places: HashMap<String, usize> =
                batch.positions.iter().map(ToString::to_string).zip(rows).collect();
            let output = Ranges::whole(&self.plan, partition, self.batch, until, batch).await?;
            report.add(&output, &self.plan);
            self.judge(&output, &places, &mut verdicts);
            let of_letters = output.objects.into_iter();
            let dead = self.plan.destinations().len() - 1;
            letters.extend(of_letters.filter(|it| it.destination == dead).map(|it| it.object));
        }
        if let Some(copies) = self.copies.as_ref().filter(|_| !letters.is_empty()) {
            let until = until.min(Instant::now() + COPIES_TAKE_MAX);
            if let Err(error) = self.emission.emit(&**copies, letters, until).await {
                let message = tidegate_pipeline::causes(&error);
                tracing::warn!(
                    "copies of dead letters are not sent, and their records are below the stream's \
                     error prefix alone: {message}"
                );
            }
        }
        let ids = event.records.iter().map(|record| Cow::Borrowed(&*record.record_id));
        let records: Vec<(Cow<'_, str>, Verdict)> = ids.zip(verdicts).collect();
        let reply = Reply::new(&records);
        if reply.too_large > 0 {
            tracing::warn!(
                records = reply.too_large,
                "records do not fit into an answer of 6 MiB, and Firehose writes them below its error \
                 prefix: make the buffer of the stream's transformation smaller"
            );
        }
        report.too_large = reply.too_large;
        Ok(reply)
    }

    /// Records by the shard that they were in, in its order; all in one where they were in none, or
    /// where what is said of that does not tell them apart.
    fn groups(&self, event: &FirehoseEvent<'_>) -> Vec<Group> {
        let mut by_shard: BTreeMap<&str, Vec<(Position, usize)>> = BTreeMap::new();
        let mut others = Vec::new();
        for (row, record) in event.records.iter().enumerate() {
            match place(record) {
                Some((shard, position)) => by_shard.entry(shard).or_default().push((position, row)),
                None => others.push(row),
            }
        }
        let mut groups = Vec::new();
        for (shard, mut records) in by_shard {
            records.sort();
            match records.is_sorted_by(|a, b| a.0 < b.0) {
                true => groups.push(self.group(PartitionId::from(shard), event, &records)),
                false => others.extend(records.iter().map(|(_, row)| *row)),
            }
        }
        if !others.is_empty() {
            others.sort_unstable();
            let stream = event.delivery_stream_arn.rsplit('/').next().unwrap_or_default();
            let partition = format!("{stream}/{}", event.invocation_id);
            let records = others.iter().map(|row| (Position::from_offset(*row as u64 + 1), *row));
            let records: Vec<_> = records.collect();
            groups.push(self.group(PartitionId::from(&*partition), event, &records));
        }
        groups
    }

    fn group(
        &self,
        partition: PartitionId,
        event: &FirehoseEvent<'_>,
        records: &[(Position, usize)],
    ) -> Group {
        let mut batch = RecordBatch::default();
        let (mut bytes, mut packed) = (Vec::new(), Vec::new());
        for (row, (position, of_event)) in records.iter().enumerate() {
            let record = &event.records[*of_event];
            let start = bytes.len() as u32;
            let fault = match self.compression {
                PayloadCompression::None => record.decode(&mut bytes),
                compression => {
                    packed.clear();
                    let fault = record.decode(&mut packed);
                    if fault.is_some() {
                        bytes.extend_from_slice(&packed);
                    }
                    fault.or_else(|| match bytes.len() < EXPANDED_BYTES_MAX {
                        true => fill(&packed, compression, self.record_bytes_max, &mut bytes),
                        false => {
                            bytes.extend_from_slice(&packed);
                            let message =
                                "the records before it expand to more than an answer holds";
                            Some(("record-too-large", message.to_owned()))
                        }
                    })
                }
            };
            let defect = |(code, message)| Defect { row: row as u32, code, message };
            batch.defects.extend(fault.map(defect));
            batch.spans.push((start, bytes.len() as u32));
            batch.positions.push(*position);
            batch.arrivals.push(record.arrival().unwrap_or_else(now));
            let key =
                record.kinesis_record_metadata.as_ref().map(|it| it.partition_key().as_bytes());
            batch.keys.push(key.unwrap_or_default());
        }
        batch.bytes = bytes.into();
        Group { partition, rows: records.iter().map(|(_, row)| *row).collect(), batch }
    }

    /// What became of each record: those that are delivered with their line, out of the objects.
    fn judge(
        &self,
        output: &RangeOutput,
        places: &HashMap<String, usize>,
        verdicts: &mut [Verdict],
    ) {
        for it in &output.outcomes {
            let Some(place) = places.get(&it.position.to_string()) else { continue };
            if matches!(it.outcome, Outcome::Dropped | Outcome::Filtered) {
                verdicts[*place] = Verdict::Dropped;
            }
        }
        for object in output.objects.iter().filter(|it| it.destination == 0) {
            let partition_keys = partition_keys(&object.object.key);
            let Some(keys) = &object.object.keys else { continue };
            let lines = object.object.content.split_inclusive(|byte| *byte == b'\n');
            for (line, row) in lines.zip(0..keys.len()) {
                let position = String::from_utf8_lossy(keys.get(row));
                let Some(place) = places.get(&*position) else { continue };
                let bare = line.strip_suffix(b"\n").unwrap_or(line);
                let data = if self.ends_with_newline { line } else { bare };
                let partition_keys = partition_keys.clone();
                verdicts[*place] = Verdict::Ok { data: data.to_vec(), partition_keys };
            }
        }
    }
}

/// Where a record lay in a Kinesis stream.
fn place<'a>(record: &'a FirehoseRecord<'_>) -> Option<(&'a str, Position)> {
    let metadata = record.kinesis_record_metadata.as_ref()?;
    let mut position = Position::from_sequence_number(&metadata.sequence_number).ok()?;
    position.0[3] = metadata.subsequence_number();
    Some((&metadata.shard_id, position))
}

/// The levels of the tree that an object lies in, which the sink would have as directories.
fn partition_keys(key: &str) -> BTreeMap<String, String> {
    let directories = key.split('/').filter_map(|level| level.split_once('='));
    directories.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}
