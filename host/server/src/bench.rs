//! How long a plugin takes for what it is given, at batches of several sizes.
//!
//! The rows are those that reach it of some records, over and over. What is measured is the call:
//! lowering the columns, the plugin, lifting and checking its reply. Times are processor time of the
//! calling thread, the least of some rounds: the machine has other things to do.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, ensure};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use tidegate_core::{
    Batch, Binary, Column, RecordBatch, Reply, Timestamp, Transform, TransformFactory, Values,
    source::PartitionId,
    transform::{Plugin, States, TransformError},
};
use tidegate_engine::{CallUsage, Component, ConfigureOptions, Factory, UsageSink};
use tidegate_pipeline::{RangeContext, plan::Purity};

use crate::{states::StatesInMemory, trial};

/// Rounds of which the least counts.
const ROUNDS: u32 = 9;
/// How long a round lasts at least.
const ROUND: Duration = Duration::from_millis(50);

/// What was measured. Its JSON is the file of a baseline.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) plugin: String,
    pub(crate) component_bytes: u64,
    pub(crate) instantiate_microseconds: f64,
    /// By the rows of a batch.
    pub(crate) batches: BTreeMap<u32, OfBatch>,
}

/// A batch of some size.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct OfBatch {
    pub(crate) ns_per_row: f64,
    pub(crate) fuel_per_row: f64,
}

/// Measures a plugin on the rows that it gets of these records.
pub(crate) async fn measure(
    component: &Component,
    options: ConfigureOptions,
    records: &RecordBatch,
    sizes: &[u32],
) -> anyhow::Result<Measured> {
    let factory = component.configure(options.clone())?;
    let rows = record(&factory, records).await?;
    ensure!(
        rows.count > 0,
        "none of the {} records reaches the plugin: each lacks a field that it requires",
        records.len()
    );
    let metered = Arc::<Mutex<CallUsage>>::default();
    let told = Arc::clone(&metered);
    let usage = UsageSink::new(move |usage| {
        *told.lock().unwrap_or_else(PoisonError::into_inner) = *usage;
    });
    let with_fuel = component.configure(ConfigureOptions { usage: Some(usage), ..options })?;
    let instantiate = least(|| factory.instantiate().map(drop))?;
    let mut batches = BTreeMap::new();
    for size in sizes {
        let (columns, states) = rows.cycled(*size as usize);
        let call = |instance: &mut dyn Transform| {
            let columns: Vec<&Column> = columns.iter().collect();
            let batch =
                Batch { rows: *size, columns: &columns, states: &states, batch_time: Timestamp(0) };
            instance.transform(&batch).map(drop)
        };
        let mut instance = factory.instantiate()?;
        let time = least(|| call(&mut *instance))
            .with_context(|| format!("failed to run a batch of {size} rows"))?;
        // The second call: the first one warms up.
        let mut instance = with_fuel.instantiate()?;
        call(&mut *instance).and_then(|()| call(&mut *instance))?;
        let fuel = metered.lock().unwrap_or_else(PoisonError::into_inner).fuel.used;
        let of = OfBatch {
            ns_per_row: time.as_nanos() as f64 / f64::from(*size),
            fuel_per_row: fuel as f64 / f64::from(*size),
        };
        batches.insert(*size, of);
    }
    Ok(Measured {
        plugin: format!("{} {}", component.about().name, component.about().version),
        component_bytes: component.size_bytes(),
        instantiate_microseconds: instantiate.as_nanos() as f64 / 1e3,
        batches,
    })
}

/// The processor's time that something takes, the least of some rounds.
fn least(mut what: impl FnMut() -> Result<(), TransformError>) -> Result<Duration, TransformError> {
    what()?;
    let mut least = Duration::MAX;
    for _ in 0..ROUNDS {
        let (started, mut times) = (thread_time(), 0);
        loop {
            what()?;
            times += 1;
            let spent = thread_time().saturating_sub(started);
            if spent > ROUND {
                least = least.min(spent / times);
                break;
            }
        }
    }
    Ok(least)
}

fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

/// The rows that a plugin gets of some records, out of the real projection.
async fn record(factory: &Factory, records: &RecordBatch) -> anyhow::Result<Rows> {
    let rows = Arc::<Mutex<Rows>>::default();
    let recorder = Recorder { inner: factory.clone(), rows: Arc::clone(&rows) };
    let plan = trial::plan(Arc::new(recorder), Purity::Off)?;
    let mut processor = plan.open_range(RangeContext {
        partition: PartitionId::from("given"),
        origin: None,
        range: 0,
        revision: 0,
        start: None,
        opened_at: Timestamp(0),
        exclusions: Vec::new(),
        state_keys: [].into(),
        hash_key: None,
    })?;
    processor.process(records, &StatesInMemory::default()).await?;
    let recorded = std::mem::take(&mut *rows.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(recorded)
}

/// The first call of a plugin.
#[derive(Debug, Default)]
struct Rows {
    count: usize,
    columns: Vec<Column>,
    states: States,
}

impl Rows {
    /// So many rows: these, over and over.
    fn cycled(&self, rows: usize) -> (Vec<Column>, States) {
        let places: Vec<usize> = (0..rows).map(|row| row % self.count).collect();
        let columns = self.columns.iter().map(|column| Column {
            values: gathered(&column.values, &places),
            presence: match column.presence.is_empty() {
                true => Vec::new(),
                false => places.iter().map(|place| column.presence[*place]).collect(),
            },
        });
        let mut states = States::default();
        if !self.states.rows.is_empty() {
            // Only keys that have a row: the host hands over no others.
            let keys = places.iter().map(|place| self.states.rows[*place]);
            let mut used: Vec<u32> = Vec::new();
            for key in keys {
                let place = used.iter().position(|it| *it == key).unwrap_or_else(|| {
                    used.push(key);
                    states.values.push(self.states.values.get(key as usize));
                    used.len() - 1
                });
                states.rows.push(place as u32);
            }
        }
        (columns.collect(), states)
    }
}

fn gathered(values: &Values, places: &[usize]) -> Values {
    fn each<T: Copy>(values: &[T], places: &[usize]) -> Vec<T> {
        places.iter().map(|place| values[*place]).collect()
    }
    let texts = |values: &Binary| places.iter().map(|place| values.get(*place)).collect();
    match values {
        Values::Boolean(values) => Values::Boolean(each(values, places)),
        Values::Int64(values) => Values::Int64(each(values, places)),
        Values::Float64(values) => Values::Float64(each(values, places)),
        Values::Timestamp(values) => Values::Timestamp(each(values, places)),
        Values::Date(values) => Values::Date(each(values, places)),
        Values::Utf8(values) => Values::Utf8(texts(values)),
        Values::Enumeration(values) => Values::Enumeration(each(values, places)),
        Values::Json(values) => Values::Json(texts(values)),
    }
}

/// Makes instances that keep what they are called with first.
struct Recorder {
    inner: Factory,
    rows: Arc<Mutex<Rows>>,
}

struct Recording {
    inner: Box<dyn Transform>,
    rows: Arc<Mutex<Rows>>,
}

impl TransformFactory for Recorder {
    fn plugin(&self) -> &Plugin {
        self.inner.plugin()
    }

    fn instantiate(&self) -> Result<Box<dyn Transform>, TransformError> {
        let inner = self.inner.instantiate()?;
        Ok(Box::new(Recording { inner, rows: Arc::clone(&self.rows) }))
    }
}

impl Transform for Recording {
    fn transform(&mut self, batch: &Batch<'_>) -> Result<Reply, TransformError> {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        if rows.count == 0 {
            *rows = Rows {
                count: batch.rows as usize,
                columns: batch.columns.iter().map(|column| (*column).clone()).collect(),
                states: batch.states.clone(),
            };
        }
        drop(rows);
        self.inner.transform(batch)
    }

    fn memory_bytes(&self) -> u64 {
        self.inner.memory_bytes()
    }
}
