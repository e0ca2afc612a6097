//! A plugin over a file of records, for its author: as a pipeline of one stage would run it, in
//! ranges and batches of the default sizes and under the limits of production, and nothing is
//! committed anywhere.

use std::{
    collections::BTreeMap,
    io::Write,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Context;
use serde::Serialize;
use tidegate_core::{
    Source, Timestamp, TransformFactory,
    batcher::{BatchLimit, Batcher, RangeLimit, Situation, Step},
    source::{PartitionId, ReadLimit, ReadOutcome},
};
use tidegate_engine::{CallUsage, Component, ConfigureOptions, UsageSink, Used};
use tidegate_pipeline::{
    Plan, PlanSpec, RangeContext, RangeOutput, RangeProcessor,
    plan::{Purity, SinkSpec, StageSpec, StateScope, StateSpec},
};

use crate::{
    DEAD_LETTERS, config,
    letters::{Letter, Reason},
    states::StatesInMemory,
};

const STAGE: &str = "plugin";
const SINK: &str = "emitted";

/// How much is read at a time.
const READ: ReadLimit = ReadLimit { records_max: 50_000, bytes_max: 4 << 20, until: None };

/// A plugin that is tried.
pub(crate) struct Trial {
    plan: Arc<Plan>,
    meter: Arc<Meter>,
}

/// What became of the records.
#[derive(Debug, Default)]
pub(crate) struct Tried {
    /// Records that were read.
    pub(crate) records: u64,
    /// Records of which something goes on.
    pub(crate) emitted: u64,
    /// What goes on: more than that where the plugin fans out.
    pub(crate) rows_out: u64,
    /// Records that the plugin wants gone.
    pub(crate) dropped: u64,
    /// Records that would be dead letters, and by what.
    pub(crate) rejected: u64,
    pub(crate) causes: BTreeMap<Cause, u64>,
    /// Records that the plugin failed on, of those.
    pub(crate) poison: u64,
    /// Findings by rule, those that only warn included.
    pub(crate) findings: BTreeMap<String, u64>,
    /// How the plugin is impure, where a batch that was run again came out otherwise.
    pub(crate) impurity: Option<String>,
    /// Instances that were taken.
    pub(crate) instances: u64,
    /// From the first record to the last, the host's work included.
    pub(crate) time: Duration,
    /// What its calls used up.
    pub(crate) usage: Totals,
}

/// Why a record is rejected.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Cause {
    /// The code of its dead letter.
    pub(crate) code: String,
    /// The plugin's rule, where it broke one.
    pub(crate) rule: Option<String>,
    /// Which field the host misses, where that is the cause.
    pub(crate) message: Option<String>,
}

impl Cause {
    fn of(letter: &Letter) -> Self {
        let Reason { code, rule, .. } = letter.reason();
        // Other messages of the host's name a place in the record, each another one.
        let of_a_field = code == "required-missing";
        let message = of_a_field.then(|| letter.etl("errorMessage").to_owned());
        Cause { code, rule, message }
    }
}

/// What all calls of a trial used up.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) calls: u64,
    pub(crate) rows: u64,
    pub(crate) time: Duration,
    /// The call that came closest to each limit.
    pub(crate) peaks: [Used; LIMITS.len()],
}

/// What is limited, in the order of [`Totals::peaks`].
pub(crate) const LIMITS: [Limited; 7] = [
    Limited { name: "memory", unit: Unit::Bytes },
    Limited { name: "fuel", unit: Unit::Count },
    Limited { name: "time", unit: Unit::Microseconds },
    Limited { name: "reply", unit: Unit::Bytes },
    Limited { name: "findings", unit: Unit::Count },
    Limited { name: "log_lines", unit: Unit::Count },
    Limited { name: "state", unit: Unit::Bytes },
];

/// Something that is limited.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limited {
    /// As in the `limits` of a stage.
    pub(crate) name: &'static str,
    pub(crate) unit: Unit,
}

/// What an amount is counted in.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Unit {
    Bytes,
    Count,
    Microseconds,
}

/// Adds up what calls use.
#[derive(Debug, Default)]
struct Meter(Mutex<Totals>);

impl Meter {
    fn lock(&self) -> MutexGuard<'_, Totals> {
        // What a panic leaves in it is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, usage: &CallUsage) {
        let micros = |it: Duration| u64::try_from(it.as_micros()).unwrap_or(u64::MAX);
        let now = [
            usage.memory_bytes,
            usage.fuel,
            Used { used: micros(usage.time), max: micros(usage.time_max) },
            usage.reply_bytes,
            usage.findings,
            usage.log_lines,
            usage.state_bytes,
        ];
        let mut totals = self.lock();
        totals.calls += 1;
        totals.rows += u64::from(usage.rows);
        totals.time += usage.time;
        for (peak, now) in totals.peaks.iter_mut().zip(now) {
            if peak.max == 0 || share(now) > share(*peak) {
                *peak = now;
            }
        }
    }
}

/// How much of a limit was used.
pub(crate) fn share(used: Used) -> f64 {
    if used.max == 0 { 0.0 } else { used.used as f64 / used.max as f64 }
}

/// A plan of one stage, which needs no more than a factory.
pub(crate) fn plan(
    factory: Arc<dyn TransformFactory>,
    purity: Purity,
) -> anyhow::Result<Arc<Plan>> {
    let stage = StageSpec {
        purity,
        // There is one partition, so whatever a state is kept by lies on it.
        state: StateSpec { scope: StateScope::Partition, ..StateSpec::default() },
        ..StageSpec::new(STAGE, factory)
    };
    let spec = PlanSpec {
        stages: vec![stage],
        sinks: vec![SinkSpec { part_bytes_max: u64::MAX, ..SinkSpec::new(SINK) }],
        ..PlanSpec::new("trial", "given")
    };
    Plan::build(spec).map_err(|found| {
        let messages: Vec<&str> = found.0.iter().map(|it| it.message.as_str()).collect();
        anyhow::anyhow!("{}", messages.join("; "))
    })
}

impl Trial {
    /// Configures a plugin. Some batches are run again, as in production, to find out whether it is
    /// pure.
    pub(crate) fn new(component: &Component, options: ConfigureOptions) -> anyhow::Result<Self> {
        let meter = Arc::<Meter>::default();
        let told = Arc::clone(&meter);
        let usage = Some(UsageSink::new(move |usage| told.take(usage)));
        let factory = component.configure(ConfigureOptions { usage, ..options })?;
        let one_in = config::Purity::default().one_in;
        Ok(Trial { plan: plan(Arc::new(factory), Purity::Sample { one_in })?, meter })
    }

    /// Takes all records of a source through. What goes on is written to `out`, what is rejected
    /// to `letters`.
    pub(crate) async fn run(
        &self,
        source: &dyn Source,
        opened_at: Timestamp,
        out: &mut dyn Write,
        letters: &mut dyn Write,
    ) -> anyhow::Result<Tried> {
        let mut tried = Tried::default();
        let started = tokio::time::Instant::now();
        for partition in source.partitions().await? {
            let states = StatesInMemory::default();
            let mut reader = source.open(&partition.id, None).await?;
            let mut batcher = Batcher::new(batch_limit(), range_limit());
            let mut open: Option<RangeProcessor> = None;
            let mut ranges = 0;
            loop {
                let spooled_bytes = open.as_ref().map_or(0, RangeProcessor::spooled_bytes);
                let situation =
                    Situation { now: opened_at, spooled_bytes, open_objects: 0, requested: None };
                match batcher.step(&situation) {
                    Step::Open => {
                        batcher.open(opened_at, None);
                        open = Some(self.open(&partition.id, ranges, opened_at)?);
                        ranges += 1;
                    }
                    Step::Process(batch) => {
                        if let Some(processor) = &mut open {
                            processor.process(&batch, &states).await?;
                        }
                    }
                    Step::Cut(_) => {
                        let Some(processor) = open.take() else { continue };
                        let output = processor.cut()?;
                        self.take(&mut tried, &output, out, letters)?;
                        states.apply(output.states);
                    }
                    Step::Read => match reader.read(READ).await? {
                        ReadOutcome::Records(batch) => batcher.push(batch),
                        ReadOutcome::Idle | ReadOutcome::Ended => batcher.end(),
                    },
                    Step::Done => break,
                }
            }
        }
        out.flush().and_then(|()| letters.flush()).context("failed to write records")?;
        tried.time = started.elapsed();
        tried.usage = *self.meter.lock();
        Ok(tried)
    }

    fn open(
        &self,
        partition: &PartitionId,
        range: u64,
        opened_at: Timestamp,
    ) -> anyhow::Result<RangeProcessor> {
        Ok(self.plan.open_range(RangeContext {
            partition: partition.clone(),
            origin: None,
            range,
            revision: 0,
            start: None,
            opened_at,
            exclusions: Vec::new(),
            state_keys: [].into(),
            hash_key: None,
        })?)
    }

    fn take(
        &self,
        tried: &mut Tried,
        output: &RangeOutput,
        out: &mut dyn Write,
        letters: &mut dyn Write,
    ) -> anyhow::Result<()> {
        let counts = &output.counts;
        tried.records += counts.read.records;
        tried.emitted += counts.delivered.records;
        tried.dropped += counts.dropped.records;
        tried.rejected += counts.dead_lettered.records;
        for object in &output.objects {
            let content = &object.object.content;
            if self.plan.destinations()[object.destination].name == DEAD_LETTERS {
                letters.write_all(content).context("failed to write what was rejected")?;
                for line in content.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                    *tried.causes.entry(Cause::of(&Letter::parse(line)?)).or_default() += 1;
                }
            } else {
                tried.rows_out += object.records;
                out.write_all(content).context("failed to write what goes on")?;
            }
        }
        for stage in &output.stages {
            tried.poison += stage.poison;
            tried.instances += stage.instances;
            tried.impurity = tried.impurity.take().or_else(|| stage.impurity.clone());
            for (rule, count) in stage.rules.iter().zip(&stage.findings).filter(|it| *it.1 > 0) {
                *tried.findings.entry(rule.clone()).or_default() += count;
            }
        }
        Ok(())
    }
}

fn batch_limit() -> BatchLimit {
    let batch = config::Batch::default();
    BatchLimit { records_max: batch.records, bytes_max: batch.bytes.0 }
}

fn range_limit() -> RangeLimit {
    let range = config::Range::default();
    RangeLimit {
        records_max: range.records,
        bytes_max: range.bytes.0,
        // A file makes nobody wait.
        age_max: Duration::MAX,
        spooled_bytes_max: usize::try_from(range.spool.0).unwrap_or(usize::MAX),
        open_objects_max: range.objects as usize,
    }
}
