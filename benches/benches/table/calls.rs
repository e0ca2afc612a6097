//! The bare calls: columns in, a checked reply out, with nothing before and nothing behind.

use std::hint::black_box;

use tidegate_benches::work::{self, Extras, Plugins};
use tidegate_core::{Batch, Column, Timestamp, Transform, transform::States};

use super::{Scene, Table};

/// How many batches there are to call with, and how often each is used in a round. The columns of
/// a batch are in the processor's caches when a plugin is called, and so they are here.
const BATCHES: usize = 10;
const REPEATS: usize = 20;

/// A plugin's instance and what it is called with.
pub(crate) struct Call {
    instance: Box<dyn Transform>,
    batches: Vec<Vec<Column>>,
    rows: u64,
}

impl Call {
    /// A fresh instance, and the columns that it reads of the first batches.
    pub(crate) fn prepare(
        plugins: &Plugins<'_>,
        stage: &work::Stage,
        scene: &Scene<'_>,
    ) -> anyhow::Result<Self> {
        let factory = plugins.factory(stage)?;
        let projector = work::projector_of(&factory.plugin().description)?;
        let mut rows = 0;
        let mut batches = Vec::new();
        for batch in scene.batches.iter().take(BATCHES) {
            let mut projection = projector.projection();
            for row in 0..batch.len() {
                // What is no JSON never reaches a plugin.
                let _ = projector.project(batch.record(row), &mut projection);
            }
            rows += projection.rows() as u64;
            batches.push(projection.columns);
        }
        Ok(Call { instance: factory.instantiate()?, batches, rows })
    }

    /// How many rows a round has.
    fn round(&self) -> u64 {
        self.rows * REPEATS as u64
    }

    pub(crate) fn add_row<'a>(mut self, table: &mut Table<'a>, name: impl Into<String>) {
        table.add_work(name, self.round(), move || self.repeat());
    }

    /// Each batch as often as it is used in a round.
    fn repeat(&mut self) -> anyhow::Result<()> {
        let states = States::default();
        for _ in 0..REPEATS {
            for columns in &self.batches {
                let borrowed: Vec<&Column> = columns.iter().collect();
                let rows = borrowed.first().map_or(0, |column| column.values.len());
                let batch = Batch {
                    rows: u32::try_from(rows)?,
                    columns: &borrowed,
                    states: &states,
                    batch_time: Timestamp::default(),
                };
                black_box(self.instance.transform(&batch)?);
            }
        }
        Ok(())
    }
}

/// Adds each plugin of the chain of four on its own, and all of them: nanoseconds a record and
/// plugin.
pub(crate) fn add_rows<'a>(
    table: &mut Table<'a>,
    components: &Plugins<'_>,
    scene: &Scene<'_>,
) -> anyhow::Result<()> {
    for (name, plugins) in [("native_call", &Plugins::Native), ("component_call", components)] {
        let stages = work::chain(Extras::default());
        for stage in &stages {
            let call = Call::prepare(plugins, stage, scene)?;
            call.add_row(table, format!("{name}/{}", stage.plugin));
        }
        let calls = stages.iter().map(|stage| Call::prepare(plugins, stage, scene));
        let mut calls = calls.collect::<anyhow::Result<Vec<_>>>()?;
        let rows: u64 = calls.iter().map(Call::round).sum();
        table.add_work(name, rows, move || calls.iter_mut().try_for_each(Call::repeat));
    }
    Ok(())
}

/// Adds what a fresh instance of each plugin costs, its config included: nanoseconds an instance.
/// Each range begins with one of each.
pub(crate) fn add_instances<'a>(
    table: &mut Table<'a>,
    components: &Plugins<'_>,
) -> anyhow::Result<()> {
    for stage in work::chain(Extras::default()) {
        let factory = components.factory(&stage)?;
        table.add_work(format!("instance/{}", stage.plugin), REPEATS as u64, move || {
            for _ in 0..REPEATS {
                black_box(factory.instantiate()?);
            }
            Ok(())
        });
    }
    Ok(())
}
