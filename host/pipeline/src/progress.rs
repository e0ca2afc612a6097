//! What a run tells about itself while it runs: counters to look at, events to listen to, metrics.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use metrics::{Counter, Gauge, Histogram};
use tidegate_core::{
    Digest, Position,
    batcher::Cut,
    checkpoint::{Counts, StateKeys},
    source::PartitionId,
};

use crate::{
    partition::Outcome,
    process::{LookupStatistics, StageStatistics},
};

/// Who did not answer, or answered with a failure.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Seam {
    /// The source.
    Source,
    /// The checkpoint store.
    Store,
    /// A sink, by name.
    Sink(Arc<str>),
    /// The ledger of ranges.
    Ledger,
    /// The chain of plugins: there is no room for an instance, or no time.
    Chain,
}

impl std::fmt::Display for Seam {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Seam::Source => f.write_str("the source"),
            Seam::Store => f.write_str("the checkpoint store"),
            Seam::Sink(name) => write!(f, "sink `{name}`"),
            Seam::Ledger => f.write_str("the ledger"),
            Seam::Chain => f.write_str("the chain of plugins"),
        }
    }
}

impl Seam {
    /// Its value as a metric's label.
    fn label(&self) -> String {
        match self {
            Seam::Source => "source".to_owned(),
            Seam::Store => "store".to_owned(),
            Seam::Sink(name) => format!("sink:{name}"),
            Seam::Ledger => "ledger".to_owned(),
            Seam::Chain => "chain".to_owned(),
        }
    }
}

/// How a pending range of an earlier run was finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// All its objects were there: it only had to be committed.
    Complete,
    /// Its records were read again and made the same bytes.
    Replayed,
    /// Its records were read again and made other bytes, or another generation serves: it was
    /// published under a new revision.
    Revised,
}

/// Something that happened. Never more often than a few times a range.
#[derive(Clone, Debug)]
pub enum Event {
    /// The source was asked for its partitions.
    Listed {
        /// How many there are to be read, finished ones included.
        partitions: u64,
    },
    /// The host has been told for the first time which partitions are its own.
    Joined {
        /// How many of them it is to take.
        partitions: u64,
    },
    /// A partition is being read.
    Opened {
        /// Which.
        partition: PartitionId,
        /// Behind which position; none from its start.
        after: Option<Position>,
    },
    /// Somebody else has moved a checkpoint: up to there it is their word that counts, and exactly
    /// once ends there.
    CheckpointMoved {
        /// Of which partition.
        partition: PartitionId,
        /// Where it was left; none where nothing was done.
        from: Option<Position>,
        /// Where the partition goes on; none at its beginning.
        to: Option<Position>,
    },
    /// A pending range of an earlier run is finished.
    Recovered {
        /// Of which partition.
        partition: PartitionId,
        /// Which range.
        range: u64,
        /// How.
        how: Recovery,
    },
    /// A checkpoint moved.
    Committed {
        /// Of which partition.
        partition: PartitionId,
        /// Past which range.
        range: u64,
        /// Why the range ended there; none for one of an earlier run.
        cut: Option<Cut>,
        /// What became of its records.
        counts: Counts,
        /// How many objects hold it.
        objects: u64,
        /// Their bytes.
        object_bytes: u64,
        /// What the stages did; empty for a range that an earlier run had processed.
        stages: Vec<StageStatistics>,
    },
    /// Another plan has taken over.
    Swapped {
        /// On which partition.
        partition: PartitionId,
        /// The generation that served before.
        from: Digest,
        /// The generation that serves.
        to: Digest,
        /// Behind which position; none at its start.
        after: Option<Position>,
        /// How long no batch was under way for the swap's sake: from the last one of the old plan
        /// to the first one of the new plan. Zero where nothing was to be cut.
        pause: Duration,
    },
    /// Something failed and is going to be tried again.
    Waiting {
        /// Which partition waits; none where all do.
        partition: Option<PartitionId>,
        /// For whom.
        seam: Seam,
        /// How many attempts have failed.
        attempts: u32,
        /// How long until the next.
        delay: Duration,
        /// What they said: the chain of causes, never a record's values.
        message: String,
    },
    /// What had failed works again.
    Resumed {
        /// Which partition had waited.
        partition: Option<PartitionId>,
        /// For whom.
        seam: Seam,
        /// How many attempts had failed.
        attempts: u32,
    },
    /// A partition's task is over.
    Ended {
        /// Which.
        partition: PartitionId,
        /// How.
        outcome: Outcome,
        /// Why, where it was stopped by an error: the chain of causes.
        message: Option<String>,
    },
}

/// Listens to events. Called on the data path's threads: it returns at once.
pub trait Observer: Send + Sync {
    /// Takes an event.
    fn observe(&self, event: &Event);
}

/// Nobody listens.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unobserved;

impl Observer for Unobserved {
    fn observe(&self, _: &Event) {}
}

impl<F: Fn(&Event) + Send + Sync> Observer for F {
    fn observe(&self, event: &Event) {
        self(event);
    }
}

/// Counters of a run, for whoever wants to look now and then. All but what was read count what
/// is committed.
#[derive(Debug)]
pub struct Progress {
    records_read: AtomicU64,
    bytes_read: AtomicU64,
    filtered: AtomicU64,
    dropped: AtomicU64,
    delivered: AtomicU64,
    dead_lettered: AtomicU64,
    ranges: AtomicU64,
    objects: AtomicU64,
    object_bytes: AtomicU64,
    partitions: AtomicU64,
    partitions_open: AtomicU64,
    partitions_ended: AtomicU64,
    waiting: AtomicI64,
    meters: Meters,
}

/// The counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Snapshot {
    pub records_read: u64,
    pub bytes_read: u64,
    pub filtered: u64,
    pub dropped: u64,
    pub delivered: u64,
    pub dead_lettered: u64,
    pub ranges: u64,
    pub objects: u64,
    pub object_bytes: u64,
    /// Partitions that the source has listed.
    pub partitions: u64,
    pub partitions_open: u64,
    pub partitions_ended: u64,
    /// How many partitions wait for something that is unavailable.
    pub waiting: i64,
}

/// The metrics' handles, looked up once.
struct Meters {
    pipeline: String,
    records_read: Counter,
    bytes_read: Counter,
    outcomes: [Counter; 4],
    ranges: Counter,
    objects: Counter,
    object_bytes: Counter,
    waiting: Gauge,
    partitions_open: Gauge,
    swap_pause: Histogram,
}

impl std::fmt::Debug for Meters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Meters({})", self.pipeline)
    }
}

impl Meters {
    fn new(pipeline: &str) -> Self {
        let name = pipeline.to_owned();
        let outcome = |outcome: &'static str| {
            let pipeline = name.clone();
            metrics::counter!("tidegate_records_total", "pipeline" => pipeline, "outcome" => outcome)
        };
        Meters {
            pipeline: name.clone(),
            records_read: metrics::counter!("tidegate_records_read_total", "pipeline" => name.clone()),
            bytes_read: metrics::counter!("tidegate_read_bytes_total", "pipeline" => name.clone()),
            outcomes: ["filtered", "dropped", "delivered", "dead_lettered"].map(outcome),
            ranges: metrics::counter!("tidegate_ranges_committed_total", "pipeline" => name.clone()),
            objects: metrics::counter!("tidegate_objects_total", "pipeline" => name.clone()),
            object_bytes: metrics::counter!("tidegate_object_bytes_total", "pipeline" => name.clone()),
            waiting: metrics::gauge!("tidegate_partitions_waiting", "pipeline" => name.clone()),
            partitions_open: metrics::gauge!("tidegate_partitions_open", "pipeline" => name.clone()),
            swap_pause: metrics::histogram!("tidegate_swap_pause_seconds", "pipeline" => name.clone()),
        }
    }
}

impl Progress {
    /// Nothing done yet.
    pub(crate) fn new(pipeline: &str) -> Self {
        Progress {
            records_read: AtomicU64::new(0),
            bytes_read: AtomicU64::new(0),
            filtered: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            dead_lettered: AtomicU64::new(0),
            ranges: AtomicU64::new(0),
            objects: AtomicU64::new(0),
            object_bytes: AtomicU64::new(0),
            partitions: AtomicU64::new(0),
            partitions_open: AtomicU64::new(0),
            partitions_ended: AtomicU64::new(0),
            waiting: AtomicI64::new(0),
            meters: Meters::new(pipeline),
        }
    }

    /// The counters now.
    pub fn snapshot(&self) -> Snapshot {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Snapshot {
            records_read: get(&self.records_read),
            bytes_read: get(&self.bytes_read),
            filtered: get(&self.filtered),
            dropped: get(&self.dropped),
            delivered: get(&self.delivered),
            dead_lettered: get(&self.dead_lettered),
            ranges: get(&self.ranges),
            objects: get(&self.objects),
            object_bytes: get(&self.object_bytes),
            partitions: get(&self.partitions),
            partitions_open: get(&self.partitions_open),
            partitions_ended: get(&self.partitions_ended),
            waiting: self.waiting.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn read(&self, records: u64, bytes: u64) {
        self.records_read.fetch_add(records, Ordering::Relaxed);
        self.bytes_read.fetch_add(bytes, Ordering::Relaxed);
        self.meters.records_read.increment(records);
        self.meters.bytes_read.increment(bytes);
    }

    pub(crate) fn committed(&self, counts: &Counts, objects: u64, object_bytes: u64) {
        let tallies = [counts.filtered, counts.dropped, counts.delivered, counts.dead_lettered];
        let counters = [&self.filtered, &self.dropped, &self.delivered, &self.dead_lettered];
        for ((tally, counter), meter) in tallies.iter().zip(counters).zip(&self.meters.outcomes) {
            counter.fetch_add(tally.records, Ordering::Relaxed);
            meter.increment(tally.records);
        }
        self.ranges.fetch_add(1, Ordering::Relaxed);
        self.objects.fetch_add(objects, Ordering::Relaxed);
        self.object_bytes.fetch_add(object_bytes, Ordering::Relaxed);
        self.meters.ranges.increment(1);
        self.meters.objects.increment(objects);
        self.meters.object_bytes.increment(object_bytes);
    }

    /// The states of a partition, as the store counted them before and counts them now.
    pub(crate) fn state_keys(&self, before: &StateKeys, now: &StateKeys) {
        for stage in before.keys().chain(now.keys().filter(|stage| !before.contains_key(*stage))) {
            let of = |keys: &StateKeys| keys.get(stage).copied().unwrap_or_default() as f64;
            let (pipeline, difference) = (self.meters.pipeline.clone(), of(now) - of(before));
            let labels = [("pipeline", pipeline), ("stage", stage.clone())];
            metrics::gauge!("tidegate_stage_state_keys", &labels).increment(difference);
        }
    }

    pub(crate) fn stages(&self, stages: &[StageStatistics]) {
        for stage in stages {
            let counts = [
                ("tidegate_stage_rows_total", stage.rows),
                ("tidegate_stage_dropped_total", stage.dropped),
                ("tidegate_stage_rejected_total", stage.rejected),
                ("tidegate_stage_poison_total", stage.poison),
                ("tidegate_stage_calls_total", stage.calls),
                ("tidegate_stage_instances_total", stage.instances),
                ("tidegate_stage_purity_checks_total", stage.purity_checks),
                ("tidegate_stage_impure_total", stage.impure),
                ("tidegate_stage_breaker_opened_total", u64::from(stage.breaker_open)),
            ];
            for (name, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
                let (pipeline, stage) = (self.meters.pipeline.clone(), stage.stage.clone());
                metrics::counter!(name, "pipeline" => pipeline, "stage" => stage).increment(count);
            }
            for (rule, count) in stage.rules.iter().zip(&stage.findings) {
                metrics::counter!(
                    "tidegate_stage_findings_total",
                    "pipeline" => self.meters.pipeline.clone(),
                    "stage" => stage.stage.clone(),
                    "rule" => rule.clone(),
                )
                .increment(*count);
            }
            for LookupStatistics { table, hits, misses } in &stage.lookups {
                for (outcome, count) in [("hit", *hits), ("miss", *misses)] {
                    metrics::counter!(
                        "tidegate_lookups_total",
                        "pipeline" => self.meters.pipeline.clone(),
                        "stage" => stage.stage.clone(),
                        "table" => table.clone(),
                        "outcome" => outcome,
                    )
                    .increment(count);
                }
            }
        }
    }

    pub(crate) fn retry(&self, seam: &Seam) {
        let pipeline = self.meters.pipeline.clone();
        let seam = seam.label();
        metrics::counter!("tidegate_retries_total", "pipeline" => pipeline, "seam" => seam)
            .increment(1);
    }

    pub(crate) fn swapped(&self, pause: Duration) {
        self.meters.swap_pause.record(pause);
    }

    /// One more partition waits, until what is returned is dropped.
    pub(crate) fn waits(self: &Arc<Self>) -> Waits {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.meters.waiting.increment(1.0);
        Waits(self.clone())
    }

    pub(crate) fn listed(&self, partitions: u64) {
        self.partitions.store(partitions, Ordering::Relaxed);
    }

    pub(crate) fn opened(&self) {
        self.partitions_open.fetch_add(1, Ordering::Relaxed);
        self.meters.partitions_open.increment(1.0);
    }

    pub(crate) fn ended(&self) {
        self.partitions_open.fetch_sub(1, Ordering::Relaxed);
        self.partitions_ended.fetch_add(1, Ordering::Relaxed);
        self.meters.partitions_open.decrement(1.0);
    }
}

/// A partition waits.
#[derive(Debug)]
pub(crate) struct Waits(Arc<Progress>);

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
        self.0.meters.waiting.decrement(1.0);
    }
}
