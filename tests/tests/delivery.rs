//! The delivery guarantee over the real edges: files in, a directory tree out, progress in SQLite.
//! A process dies at each step of the protocol, or the power is cut between any two operations of
//! the file system; it is started again, and the tree is what an undisturbed run leaves.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tempfile::TempDir;
use tidegate_connectors::{
    files::{Files, RealFiles, SimulatedFiles},
    sinks::DirectorySink,
    sources::{FileSource, FileSourceConfig},
    store::SqliteStore,
};
use tidegate_core::{CheckpointStore, Sink, Source, Timestamp, time::FixedClock};
use tidegate_pipeline::{
    Environment, Pipeline, Plan, PlanSpec, Report, Settings, Shutdown, Workers,
    failpoint::{Failpoint, Failpoints},
    memory::{MemorySource, MemoryStore},
    partition::Outcome,
    plan::{Compression, SinkSpec},
    retry::{OnExhausted, RetryPolicy},
};
use tokio::sync::Notify;

/// A name for a write is never used twice, so each run has a seed of its own.
static RUNS: AtomicU64 = AtomicU64::new(1);

const NOW: Timestamp = Timestamp(1_800_000_000_000_000);

fn plan() -> Arc<Plan> {
    let archive =
        SinkSpec { compression: Compression::Gzip { level: 1 }, ..SinkSpec::new("archive") };
    let spec = PlanSpec {
        sinks: vec![archive, SinkSpec { part_records_max: 7, ..SinkSpec::new("parts") }],
        ..PlanSpec::new("delivery", "files")
    };
    Plan::build(spec).expect("the plan is sound")
}

fn settings() -> Settings {
    let mut settings = Settings::default();
    settings.batch.records_max = 8;
    settings.range.records_max = 20;
    settings.read_bytes_max = 300;
    settings
}

fn environment(failpoints: Failpoints) -> Environment {
    let seed = RUNS.fetch_add(1, Ordering::Relaxed);
    let workers = Workers::Here;
    Environment { workers, failpoints, ..Environment::new(Arc::new(FixedClock(NOW)), seed) }
}

/// Every ninth line is no JSON.
fn line(i: usize) -> String {
    if i % 9 == 4 { format!("{{\"broken\": {i}") } else { format!("{{\"number\": {i}}}") }
}

fn sinks(
    root: &Path,
    files: &Arc<dyn Files>,
) -> Result<Vec<Arc<dyn Sink>>, tidegate_core::sink::SinkError> {
    let names = ["archive", "parts", "dead-letters"];
    let open = |name: &str| {
        let sink = DirectorySink::open(name, &root.join(name), files.clone())?;
        Ok(Arc::new(sink) as Arc<dyn Sink>)
    };
    names.into_iter().map(open).collect()
}

/// Three input files, and room for what comes of them.
struct Place {
    input: TempDir,
    output: TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Place {
            input: tempfile::tempdir().expect("a directory"),
            output: tempfile::tempdir().expect("a directory"),
        };
        for (name, lines) in [("a.jsonl", 70), ("b.jsonl", 45), ("empty.jsonl", 0)] {
            let text = (0..lines).map(|i| line(i) + "\n").collect::<String>();
            fs::write(place.input.path().join(name), text).expect("the input is written");
        }
        place
    }

    async fn run(&self, failpoints: Failpoints) -> Report {
        let mut config = FileSourceConfig::new("files", ["*.jsonl"]);
        config.base = self.input.path().to_owned();
        let source: Arc<dyn Source> = Arc::new(FileSource::new(config));
        let files: Arc<dyn Files> = Arc::new(RealFiles);
        let sinks = sinks(self.output.path(), &files).expect("the sinks can be opened");
        let store = SqliteStore::open(&self.output.path().join("data")).expect("nobody has it");
        let store: Arc<dyn CheckpointStore> = Arc::new(store);
        let environment = environment(failpoints);
        let pipeline = Pipeline::new(plan(), source, sinks, store, settings(), environment);
        let pipeline = pipeline.expect("the sinks are those of the plan");
        pipeline.run(Shutdown::never()).await.expect("the input can be listed")
    }

    /// Runs and dies at the `nth` visit of a place. Whether it died.
    async fn dies_at(&self, failpoint: Failpoint, nth: u64) -> bool {
        let (died, visits) = (Arc::new(Notify::new()), AtomicU64::new(0));
        let dies = died.clone();
        let failpoints = Failpoints::new(move |at| {
            let dead = at == failpoint && visits.fetch_add(1, Ordering::Relaxed) + 1 >= nth;
            if dead {
                dies.notify_one();
            }
            dead
        });
        tokio::select! {
            biased;
            _ = self.run(failpoints) => false,
            () = died.notified() => true,
        }
    }

    /// Every published file below the sinks' directories.
    fn tree(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        let mut directories = vec![self.output.path().to_owned()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).expect("the output is there") {
                let path = entry.expect("an entry").path();
                let relative = path.strip_prefix(self.output.path()).expect("below the output");
                if path.is_dir() && !relative.starts_with("data") {
                    directories.push(path);
                } else if path.is_file() {
                    found.insert(relative.to_owned(), fs::read(&path).expect("it can be read"));
                }
            }
        }
        found
    }
}

#[tokio::test]
async fn whatever_the_step_a_restart_leaves_the_same_tree() {
    let undisturbed = Place::new();
    let report = undisturbed.run(Failpoints::default()).await;
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(report.counts.read.records, 115);
    assert_eq!(report.counts.dead_lettered.records, 13);
    let tree = undisturbed.tree();
    assert!(tree.len() > 15, "{:?}", tree.keys());

    let mut deaths = 0;
    for (number, failpoint) in Failpoint::all().enumerate() {
        let place = Place::new();
        // Not the same visit for all: the second range, the other file, another destination.
        deaths += usize::from(place.dies_at(failpoint, 1 + number as u64 % 4).await);
        let report = place.run(Failpoints::default()).await;
        assert!(report.is_complete(), "{failpoint}: {report:?}");
        assert_eq!(place.tree(), tree, "{failpoint}");
    }
    assert!(deaths >= 12, "only {deaths} died");
}

#[tokio::test(start_paused = true)]
async fn a_power_cut_between_any_two_operations_loses_nothing() {
    let source = MemorySource::new();
    (0..50).for_each(|i| source.push("p", line(i)));
    source.end("p");
    // A disk that fails stays failed until the restart: there is no use in waiting.
    let mut settings = settings();
    settings.retry =
        RetryPolicy { attempts: 1, on_exhausted: OnExhausted::Stop, ..RetryPolicy::default() };
    let root = Path::new("/data");
    let run = async |disk: &SimulatedFiles, store: &MemoryStore| {
        let files: Arc<dyn Files> = Arc::new(disk.clone());
        let sinks = sinks(root, &files).ok()?;
        let pipeline = Pipeline::new(
            plan(),
            Arc::new(source.clone()),
            sinks,
            Arc::new(store.clone()),
            settings,
            environment(Failpoints::default()),
        );
        let pipeline = pipeline.expect("the sinks are those of the plan");
        Some(pipeline.run(Shutdown::never()).await.expect("the source can be listed"))
    };
    let published = |disk: &SimulatedFiles| {
        let temporary = |path: &Path| path.to_string_lossy().contains("/.tmp-");
        let contents = disk.contents().into_iter();
        contents.filter(|(path, _)| !temporary(path)).collect::<BTreeMap<_, _>>()
    };

    let disk = SimulatedFiles::new(0);
    let report = run(&disk, &MemoryStore::new()).await.expect("nothing fails");
    assert!(report.is_complete(), "{report:?}");
    let operations = disk.trace().len();
    let expected = published(&disk);
    assert!(operations > 60 && expected.len() > 8, "{operations} operations");

    for cut in 0..operations {
        let (disk, store) = (SimulatedFiles::new(cut as u64), MemoryStore::new());
        disk.crash_after(cut);
        let report = run(&disk, &store).await;
        let finished = report.is_some_and(|it| it.partitions[0].outcome == Outcome::Finished);
        assert!(!finished, "the power was cut after {cut} operations");
        assert!(disk.restart(), "the power was cut after {cut} operations");
        let report = run(&disk, &store).await.expect("the disk is back");
        assert!(report.is_complete(), "cut after {cut} operations: {report:?}");
        assert_eq!(published(&disk), expected, "cut after {cut} operations");
        // And once more: what the second run left is on the disk, not in a cache.
        disk.crash();
        assert_eq!(published(&disk), expected, "cut after {cut} operations, and at the end");
    }
}
