//! The data path and parts of it, over one file of transactions.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context, ensure};
use tidegate_connectors::{
    files::RealFiles,
    sinks::DirectorySink,
    sources::{FileSource, FileSourceConfig},
    store::SqliteStore,
};
use tidegate_core::{
    RecordBatch, Sink, Source, Timestamp,
    batcher::{BatchLimit, Batcher, RangeLimit, Situation, Step},
    checkpoint::StateKeys,
    source::{PartitionId, ReadLimit, ReadOutcome},
    time::FixedClock,
};
use tidegate_pipeline::{
    Environment, Pipeline, Plan, RangeContext, RangeProcessor, Report, Settings, Workers, shutdown,
    states::NoStates,
};

/// The batch time of everything, 2026-03-01T12:00:00Z: two runs write the same bytes.
const OPENED_AT: Timestamp = Timestamp(1_772_366_400_000_000);

/// The size of the pipeline's micro-batches, unless it is what is looked at.
pub fn batch_limit() -> BatchLimit {
    Settings::default().batch
}

/// Reads a file, cuts it into micro-batches as the pipeline does, and hands each over.
pub async fn read(
    input: &Path,
    batch: BatchLimit,
    mut take: impl FnMut(RecordBatch),
) -> anyhow::Result<()> {
    let source = FileSource::new(FileSourceConfig::new("transactions", [input.to_string_lossy()]));
    let mut reader = source.open(&PartitionId(input.to_string_lossy().into()), None).await?;
    let limit = ReadLimit {
        records_max: usize::MAX,
        bytes_max: Settings::default().read_bytes_max,
        until: None,
    };
    let endless = RangeLimit {
        records_max: u64::MAX,
        bytes_max: u64::MAX,
        age_max: Duration::MAX,
        spooled_bytes_max: usize::MAX,
        open_objects_max: usize::MAX,
    };
    let situation =
        Situation { now: OPENED_AT, spooled_bytes: 0, open_objects: 0, requested: None };
    let mut batcher = Batcher::new(batch, endless);
    loop {
        match batcher.step(&situation) {
            Step::Open => batcher.open(OPENED_AT, None),
            Step::Process(batch) => take(batch),
            Step::Cut(_) => {}
            Step::Done => return Ok(()),
            Step::Read => match reader.read(limit).await? {
                ReadOutcome::Records(records) => batcher.push(records),
                ReadOutcome::Idle => {}
                ReadOutcome::Ended => batcher.end(),
            },
        }
    }
}

/// All micro-batches of a file.
pub async fn batches(input: &Path, batch: BatchLimit) -> anyhow::Result<Vec<RecordBatch>> {
    let mut batches = Vec::new();
    read(input, batch, |batch| batches.push(batch)).await?;
    Ok(batches)
}

/// Takes batches through a plan, from their bytes to rows that are spliced and wait in memory, in
/// ranges as long as the pipeline's. What is made is dropped.
pub async fn splice(plan: &Arc<Plan>, batches: &[RecordBatch]) -> anyhow::Result<()> {
    let spool_bytes_max = Settings::default().range.spooled_bytes_max;
    let mut range = open_range(plan)?;
    for batch in batches {
        range.process(batch, &NoStates).await?;
        if range.spooled_bytes() >= spool_bytes_max {
            std::mem::replace(&mut range, open_range(plan)?).cut()?;
        }
    }
    range.cut()?;
    Ok(())
}

fn open_range(plan: &Arc<Plan>) -> anyhow::Result<RangeProcessor> {
    Ok(plan.open_range(RangeContext {
        partition: PartitionId::from("transactions"),
        origin: None,
        range: 0,
        revision: 0,
        start: None,
        opened_at: OPENED_AT,
        exclusions: Vec::new(),
        state_keys: StateKeys::new(),
        hash_key: None,
    })?)
}

/// What came of the transactions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// Those that went on, as JSON Lines, in order.
    pub lines: Vec<u8>,
    /// How many were refused.
    pub refused: u64,
}

/// Takes batches through a plan as one range and keeps what it makes.
pub async fn output(plan: &Arc<Plan>, batches: &[RecordBatch]) -> anyhow::Result<Output> {
    let mut range = open_range(plan)?;
    for batch in batches {
        range.process(batch, &NoStates).await?;
    }
    let made = range.cut()?;
    let mut output = Output { refused: made.counts.dead_lettered.records, ..Output::default() };
    let delivered =
        made.objects.iter().filter(|it| plan.destinations()[it.destination].name == "processed");
    delivered.for_each(|it| output.lines.extend_from_slice(&it.object.content));
    Ok(output)
}

/// The whole pipeline: a file in, files and a checkpoint store out, below a directory of its own.
pub async fn pipeline(
    plan: &Arc<Plan>,
    input: &Path,
    directory: &Path,
    workers: usize,
    settings: Settings,
) -> anyhow::Result<Report> {
    let names: Vec<String> = input_files(input)?;
    let source = Arc::new(FileSource::new(FileSourceConfig::new("transactions", names)));
    let store = SqliteStore::open(&directory.join("data"))?;
    let mut sinks: Vec<Arc<dyn Sink>> = Vec::new();
    for destination in plan.destinations() {
        let name = &destination.name;
        let root = directory.join(name);
        sinks.push(Arc::new(DirectorySink::open(name.clone(), &root, Arc::new(RealFiles))?));
    }
    let environment = Environment {
        workers: Workers::Threads(workers),
        ..Environment::new(Arc::new(FixedClock(OPENED_AT)), 1)
    };
    let pipeline =
        Pipeline::new(Arc::clone(plan), source, sinks, Arc::new(store), settings, environment)?;
    let (_stop, shutdown) = shutdown();
    let report = pipeline.run(shutdown).await?;
    ensure!(report.is_complete(), "the pipeline did not come to its end: {report:?}");
    Ok(report)
}

/// A file, or all files of a directory: a partition each.
fn input_files(input: &Path) -> anyhow::Result<Vec<String>> {
    if !input.is_dir() {
        return Ok(vec![input.to_string_lossy().into()]);
    }
    let entries = std::fs::read_dir(input).with_context(|| format!("list {}", input.display()))?;
    let paths = entries.map(|entry| Ok(entry?.path().to_string_lossy().into()));
    paths.collect::<std::io::Result<_>>().context("list the input")
}

/// What a run of the pipeline over one file has written, in order.
pub fn written(plan: &Plan, report: &Report, directory: &Path) -> anyhow::Result<Output> {
    let mut output = Output { refused: report.counts.dead_lettered.records, ..Output::default() };
    let root = directory.join(&plan.destinations()[0].name);
    let entries = std::fs::read_dir(&root).with_context(|| format!("list {}", root.display()))?;
    let mut files = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .filter(|path| path.as_ref().is_ok_and(|path| path.is_file()))
        .collect::<Result<Vec<_>, _>>()?;
    // An object's name begins with its range's number, and parts follow.
    files.sort();
    for file in files {
        output.lines.extend(std::fs::read(file)?);
    }
    Ok(output)
}
