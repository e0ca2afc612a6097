//! A pipeline over memory members that outlive it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use tidegate_core::{
    Digest, Sink, Timestamp,
    batcher::{BatchLimit, RangeLimit},
    checkpoint::Manifest,
    coordinator::{Alone, Coordinator},
    sink::Naming,
    time::Clock,
};
use tidegate_pipeline::{
    Environment, Error, Event, Generations, Pipeline, Plan, PlanSpec, Report, Settings, Shutdown,
    Workers,
    failpoint::{Failpoint, Failpoints},
    memory::{MemoryRecord, MemorySink, MemorySource, MemoryStore, StoreWrite},
    plan::{Compression, DeadLetterSpec, SinkSpec, StageSpec, StateScope, StateSpec},
    process::ProcessError,
    retry::RetryPolicy,
};
use tokio::sync::Notify;

use crate::counting::{CountingFactory, is_dropped};

/// The name of the sink for what is delivered.
pub(crate) const ARCHIVE: &str = "archive";
/// The name of the sink for dead letters.
pub(crate) const LETTERS: &str = "dead-letters";

/// Everything that survives a crash.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) source: MemorySource,
    pub(crate) archive: MemorySink,
    pub(crate) letters: MemorySink,
    /// Who gets copies of dead letters.
    pub(crate) copies: Option<MemorySink>,
    pub(crate) compression: Compression,
    pub(crate) store: MemoryStore,
    pub(crate) settings: Settings,
    pub(crate) plugin: Arc<CountingFactory>,
    pub(crate) scope: StateScope,
    pub(crate) generation: &'static str,
    pub(crate) events: Arc<Mutex<Vec<String>>>,
    pub(crate) clock: Arc<TickingClock>,
    pub(crate) runs: Arc<AtomicU64>,
    /// The generations that are still kept.
    pub(crate) kept: Vec<&'static str>,
    /// A policy refuses the generations that are kept.
    pub(crate) withheld: Arc<AtomicBool>,
    /// Whose partitions are whose.
    pub(crate) coordinator: Arc<dyn Coordinator>,
}

/// The wall clock goes with tokio's, which is paused.
pub(crate) struct TickingClock(tokio::time::Instant);

impl Clock for TickingClock {
    fn now(&self) -> Timestamp {
        Timestamp(1_800_000_000_000_000 + self.0.elapsed().as_micros() as i64)
    }
}

/// A clock that stands still: whatever happens, batch times are the same.
struct StoppedClock;

impl Clock for StoppedClock {
    fn now(&self) -> Timestamp {
        Timestamp(1_800_000_000_000_000)
    }
}

/// Small numbers, so that few records make many batches and ranges.
pub(crate) fn small() -> Settings {
    Settings {
        batch: BatchLimit { records_max: 4, bytes_max: 1 << 10 },
        range: RangeLimit {
            records_max: 10,
            bytes_max: 1 << 12,
            age_max: Duration::from_secs(60),
            spooled_bytes_max: 1 << 12,
            open_objects_max: 8,
        },
        read_bytes_max: 100,
        memory_bytes_max: 16 << 10,
        partitions_per_worker: 2,
        retry: RetryPolicy::default(),
        renew_every: Duration::from_secs(10),
        discover_every: Duration::from_secs(5),
        drain_max: Duration::from_secs(30),
    }
}

impl World {
    pub(crate) fn new() -> Self {
        World {
            source: MemorySource::new(),
            archive: MemorySink::named(ARCHIVE),
            letters: MemorySink::named(LETTERS),
            copies: None,
            compression: Compression::None,
            store: MemoryStore::new(),
            settings: small(),
            plugin: Arc::new(CountingFactory::new()),
            scope: StateScope::Partition,
            generation: "one",
            events: Arc::default(),
            clock: Arc::new(TickingClock(tokio::time::Instant::now())),
            runs: Arc::default(),
            kept: Vec::new(),
            withheld: Arc::default(),
            coordinator: Arc::new(Alone),
        }
    }

    /// A world with one partition that ends, every seventh record of which is not JSON.
    pub(crate) fn with_records(records: usize) -> Self {
        let world = World::new();
        world.fill("p", records);
        world
    }

    /// The same sources and another everything else: for the run that nobody disturbs.
    pub(crate) fn twin(&self) -> Self {
        World {
            archive: match self.archive_is_named() {
                true => MemorySink::named(ARCHIVE),
                false => MemorySink::unnamed(ARCHIVE),
            },
            letters: MemorySink::named(LETTERS),
            store: MemoryStore::new(),
            events: Arc::default(),
            runs: Arc::default(),
            ..self.clone()
        }
    }

    fn archive_is_named(&self) -> bool {
        self.archive.naming() == Naming::Named
    }

    /// Adds records to a partition and ends it.
    pub(crate) fn fill(&self, partition: &str, records: usize) {
        for i in 0..records {
            self.source.push(partition, record(partition, i));
        }
        self.source.end(partition);
    }

    fn plan(&self) -> Arc<Plan> {
        self.plan_of(self.generation)
    }

    /// The plan of a generation.
    pub(crate) fn plan_of(&self, generation: &str) -> Arc<Plan> {
        let naming = match self.archive_is_named() {
            true => Naming::Named,
            false => Naming::Unnamed,
        };
        let spec = PlanSpec {
            config: Digest::of(generation.as_bytes()),
            stages: vec![StageSpec {
                state: StateSpec { scope: self.scope, ..StateSpec::default() },
                ..StageSpec::new("count", self.plugin.clone())
            }],
            sinks: vec![SinkSpec { naming, ..SinkSpec::new(ARCHIVE) }],
            dead_letters: DeadLetterSpec {
                compression: self.compression,
                copy_to: self.copies.as_ref().map(|copies| copies.name().to_owned()),
                ..DeadLetterSpec::new(LETTERS)
            },
            ..PlanSpec::new("delivery", "memory")
        };
        Plan::build(spec).expect("the plan is sound")
    }

    /// A pipeline over the world. Each has a seed of its own.
    pub(crate) fn pipeline(&self, failpoints: Failpoints, workers: Workers) -> Pipeline {
        self.pipeline_to(Arc::new(self.archive.clone()), failpoints, workers)
    }

    /// A pipeline over the world, with another archive.
    pub(crate) fn pipeline_to(
        &self,
        archive: Arc<dyn Sink>,
        failpoints: Failpoints,
        workers: Workers,
    ) -> Pipeline {
        self.build(archive, failpoints, workers).expect("the sinks are those of the plan")
    }

    /// A pipeline over the world, if its sinks are those of the plan.
    pub(crate) fn try_pipeline(&self) -> Result<Pipeline, Error> {
        self.try_pipeline_to(Arc::new(self.archive.clone()))
    }

    /// A pipeline over the world and another archive, if that is as the plan has it.
    pub(crate) fn try_pipeline_to(&self, archive: Arc<dyn Sink>) -> Result<Pipeline, Error> {
        self.build(archive, Failpoints::default(), Workers::Here)
    }

    fn build(
        &self,
        archive: Arc<dyn Sink>,
        failpoints: Failpoints,
        workers: Workers,
    ) -> Result<Pipeline, Error> {
        let events = self.events.clone();
        let run = self.runs.fetch_add(1, Ordering::Relaxed);
        let clock: Arc<dyn Clock> = match self.settings.range.age_max > Duration::from_secs(30) {
            true => Arc::new(StoppedClock),
            false => self.clock.clone(),
        };
        let environment = Environment {
            generations: Some(Arc::new(self.clone())),
            workers,
            failpoints,
            coordinator: self.coordinator.clone(),
            observer: Arc::new(move |event: &Event| {
                events.lock().expect("no test panics while it holds it").push(format!("{event:?}"));
            }),
            ..Environment::new(clock, 1_000 + run)
        };
        let source = Arc::new(self.source.clone());
        let mut sinks: Vec<Arc<dyn Sink>> = vec![Arc::new(self.letters.clone()), archive];
        sinks.extend(self.copies.iter().map(|copies| Arc::new(copies.clone()) as Arc<dyn Sink>));
        let store = Arc::new(self.store.clone());
        Pipeline::new(self.plan(), source, sinks, store, self.settings, environment)
    }

    /// Runs to the end.
    pub(crate) async fn run(&self) -> Report {
        let pipeline = self.pipeline(Failpoints::default(), Workers::Here);
        pipeline.run(Shutdown::never()).await.expect("the source can be listed")
    }

    /// Runs and dies at the `nth` visit of a place. None when it died, its report when it never
    /// came there.
    pub(crate) async fn run_until(&self, failpoint: Failpoint, nth: u64) -> Option<Report> {
        let (died, visits) = (Arc::new(Notify::new()), AtomicU64::new(0));
        let dies = died.clone();
        let failpoints = Failpoints::new(move |at| {
            let dead = at == failpoint && visits.fetch_add(1, Ordering::Relaxed) + 1 >= nth;
            if dead {
                dies.notify_one();
            }
            dead
        });
        let run = self.pipeline(failpoints, Workers::Here).run(Shutdown::never());
        tokio::select! {
            biased;
            report = run => Some(report.expect("the source can be listed")),
            () = died.notified() => None,
        }
    }

    /// What the sinks hold.
    pub(crate) fn output(&self) -> [BTreeMap<String, Bytes>; 2] {
        [self.archive.objects(), self.letters.objects()]
    }

    /// Records that were delivered, object after object.
    pub(crate) fn delivered(&self) -> Vec<String> {
        lines(self.archive.objects().into_values())
    }

    /// How many dead letters there are.
    pub(crate) fn dead_letters(&self) -> usize {
        lines(self.letters.objects().into_values()).len()
    }

    /// The intents that were stored, in order.
    pub(crate) fn intents(&self) -> Vec<Manifest> {
        let intents = self.store.history().into_iter().filter_map(|write| match write {
            StoreWrite::Intend { manifest, .. } => Some(*manifest),
            _ => None,
        });
        intents.collect()
    }

    /// Ranges in the order in which they were committed.
    pub(crate) fn commits(&self) -> Vec<(String, u64)> {
        let commits = self.store.history().into_iter().filter_map(|write| match write {
            StoreWrite::Commit { partition, range, .. } => Some((partition.to_string(), range)),
            _ => None,
        });
        commits.collect()
    }

    /// Whether an event whose debug text contains `text` was seen.
    pub(crate) fn saw(&self, text: &str) -> bool {
        let events = self.events.lock().expect("no test panics while it holds it");
        events.iter().any(|event| event.contains(text))
    }

    /// Invariant: the stored checkpoint never passes a record that is not delivered, dead-lettered,
    /// dropped by a plugin's word or filtered by the operator's.
    ///
    /// Invariant: a dead letter is durable before the checkpoint passes it.
    #[track_caller]
    pub(crate) fn assert_checkpoint_is_not_ahead(&self, partition: &str) {
        let checkpoint = self.store.checkpoint(partition);
        let done = checkpoint.and_then(|it| it.resume).map_or(0, |it| it.position.offset());
        let delivered = self.delivered();
        let good = expected(partition, done as usize);
        let missing = good.iter().find(|text| !delivered.contains(text));
        assert_eq!(missing, None, "the checkpoint at {done} passed a record");
        let bad = (0..done as usize).filter(|i| !is_json(*i)).count();
        assert!(self.dead_letters() >= bad, "the checkpoint at {done} passed a dead letter");
    }
}

#[async_trait]
impl Generations for World {
    async fn find(&self, generation: Digest) -> Result<Option<Arc<Plan>>, ProcessError> {
        if self.withheld.load(Ordering::Relaxed) {
            return Err(ProcessError::Withheld { generation, reason: "it is blocked".to_owned() });
        }
        let plans = self.kept.iter().map(|name| self.plan_of(name));
        Ok(plans.into_iter().find(|plan| plan.generation() == generation))
    }
}

/// Lines of objects, in order.
pub(crate) fn lines(contents: impl Iterator<Item = Bytes>) -> Vec<String> {
    let text = |content: Bytes| String::from_utf8(content.to_vec()).expect("objects are text");
    contents.flat_map(|it| text(it).lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// Every seventh record is not JSON, and goes to the dead letters.
pub(crate) fn is_json(i: usize) -> bool {
    i % 7 != 3
}

pub(crate) fn record(partition: &str, i: usize) -> MemoryRecord {
    MemoryRecord::from(match is_json(i) {
        true => format!("{{{}}}", fields(partition, i)),
        false => format!("{partition} {i} is no JSON"),
    })
}

fn fields(partition: &str, i: usize) -> String {
    format!("\"partition\":\"{partition}\",\"number\":{i},\"key\":\"{}\"", i % 5)
}

/// What a partition of `records` records delivers: each with the number of rows of its key so far.
pub(crate) fn expected(partition: &str, records: usize) -> Vec<String> {
    let mut counts = [0; 5];
    let counted = (0..records).filter(|i| is_json(*i)).map(|i| {
        counts[i % 5] += 1;
        (i, counts[i % 5])
    });
    let emitted = counted.filter(|(i, _)| !is_dropped(*i as i64));
    let text = |(i, count)| format!("{{{},\"count\":{count}}}", fields(partition, i));
    emitted.map(text).collect()
}

/// How many of a partition's records are dead letters.
pub(crate) fn expected_letters(records: usize) -> usize {
    (0..records).filter(|i| !is_json(*i)).count()
}
