//! A micro-batch on its way through the chain: projection, filter, stages, router, encoding.
//!
//! ```text
//! records ─► projection ─► filter ─► stage ─► … ─► router ─► splice ─► objects
//!                │           │ └─► raw zone            │          │
//!                └───────────┴─── ledger: one fate a record ──────┘
//! ```
//!
//! All of it is columnar, and works in buffers that are kept from batch to batch.

pub(crate) mod cells;
pub(crate) mod columns;
mod findings;
pub(crate) mod ledger;
pub(crate) mod parts;
mod route;
mod stage;
pub(crate) mod table;
mod tabulate;

use std::{collections::BTreeMap, time::Duration};

use tidegate_core::{
    Position, RecordBatch,
    checkpoint::{Counts, DestinationCounts, Exclusion, RecordOutcome},
};

use self::{
    columns::{Columns, Ingredients},
    ledger::{Fate, Ledger},
    route::Router,
    stage::StageRun,
    table::{StageOutput, Table},
};
use crate::{
    dead_letter::{Letter, RECORD_AGE, TOO_LARGE},
    encode::Objects,
    plan::{Plan, Selector, Zone},
    process::{ProcessError, RangeContext, StageStatistics},
    states::StateLoader,
};

/// The chain of one range.
#[derive(Debug)]
pub(crate) struct Chain {
    columns: Columns,
    table: Table,
    /// For each row of the projection, its record in the batch.
    records: Vec<u32>,
    outputs: Vec<StageOutput>,
    stages: Vec<StageRun>,
    router: Router,
    ledger: Ledger,
    /// How many batches there were.
    batches: u64,
    pub(crate) counts: Counts,
    /// One for each of the plan's destinations.
    pub(crate) destinations: Vec<DestinationCounts>,
    /// The pinned exclusions, and those of this run.
    pub(crate) exclusions: Vec<Exclusion>,
    /// What became of each record, where the range has an origin.
    pub(crate) outcomes: Vec<RecordOutcome>,
    pinned: BTreeMap<Position, Vec<Exclusion>>,
    letter: Vec<u8>,
    /// For each sink and column of its files, how many values became nulls.
    nulled: Vec<Vec<u64>>,
}

impl Chain {
    pub(crate) fn new(plan: &Plan, context: &RangeContext) -> Self {
        let mut pinned: BTreeMap<Position, Vec<Exclusion>> = BTreeMap::new();
        for exclusion in &context.exclusions {
            pinned.entry(exclusion.position).or_default().push(exclusion.clone());
        }
        let destinations = plan.destinations.iter().map(|destination| DestinationCounts {
            sink: destination.name.clone(),
            shares: 0,
            delivered: 0,
            dead_lettered: 0,
        });
        Chain {
            columns: Columns::new(plan),
            table: Table::default(),
            records: Vec::new(),
            outputs: plan.stages.iter().map(|_| StageOutput::default()).collect(),
            stages: (0..plan.stages.len()).map(|i| StageRun::new(plan, i, context)).collect(),
            router: Router::new(plan),
            ledger: Ledger::default(),
            batches: 0,
            counts: Counts::default(),
            destinations: destinations.collect(),
            exclusions: context.exclusions.clone(),
            outcomes: Vec::new(),
            pinned,
            letter: Vec::new(),
            nulled: tabulate::counts(plan),
        }
    }

    /// Takes one batch through.
    pub(crate) async fn run(
        &mut self,
        plan: &Plan,
        context: &RangeContext,
        batch: &RecordBatch,
        loader: &dyn StateLoader,
        objects: &mut [Objects],
    ) -> Result<(), ProcessError> {
        self.ledger.open(batch, &mut self.counts);
        self.project(plan, context, batch);
        self.filter(plan, context, batch);
        // What is redriven was there when it came.
        if plan.has_raw_zone() && context.origin.is_none() {
            self.route(Zone::Raw, plan, context, batch, objects)?;
        }
        for index in 0..plan.stages.len() {
            if self.table.alive.is_empty() {
                break;
            }
            self.run_stage(index, plan, context, batch, loader).await?;
        }
        self.route(Zone::Processed, plan, context, batch, objects)?;
        self.write_letters(plan, context, batch, objects)?;
        self.batches += 1;
        Ok(())
    }

    /// Reads each record once. What is no record, or no JSON, is a dead letter.
    fn project(&mut self, plan: &Plan, context: &RangeContext, batch: &RecordBatch) {
        self.columns.clear();
        self.records.clear();
        self.outputs.iter_mut().for_each(StageOutput::clear);
        let bytes_max = plan.spec.limits.record_bytes_max;
        let mut defects = batch.defects.iter().peekable();
        for row in 0..batch.len() {
            if let Some(defect) = defects.next_if(|defect| defect.row as usize == row) {
                let (code, message) = (defect.code, defect.message.clone());
                let letter = || Letter { is_raw: true, ..decode_letter(row, code, message) };
                self.ledger.dead_letter(letter, row);
                continue;
            }
            if let Some(age) = too_old(plan, context, batch, row) {
                self.ledger.dead_letter(|| age_letter(row, age, plan), row);
                continue;
            }
            let record = batch.record(row);
            if record.len() > bytes_max {
                let message = format!("the record has {} bytes of {bytes_max}", record.len());
                self.ledger.dead_letter(|| decode_letter(row, TOO_LARGE, message), row);
                continue;
            }
            match plan.projector.project(record, &mut self.columns.projection) {
                Ok(()) => self.records.push(row as u32),
                Err(error) => self
                    .ledger
                    .dead_letter(|| decode_letter(row, error.code.code(), error.to_string()), row),
            }
        }
        self.table.reset(self.records.len());
    }

    /// Takes out what the operator does not want.
    fn filter(&mut self, plan: &Plan, context: &RangeContext, batch: &RecordBatch) {
        let Some(filter) = &plan.filter else { return };
        let met = self.evaluate(filter, plan, context, batch);
        let gone: Vec<u32> =
            self.table.alive.iter().copied().filter(|row| !met[*row as usize]).collect();
        for row in &gone {
            self.ledger.note(self.records[*row as usize] as usize, Fate::Filtered);
        }
        self.table.kill(&gone);
    }

    /// Which rows of the table meet a condition. Rows that could not be read for it are dead
    /// letters from here on.
    fn evaluate(
        &mut self,
        selector: &Selector,
        plan: &Plan,
        context: &RangeContext,
        batch: &RecordBatch,
    ) -> Vec<bool> {
        selector.columns.iter().for_each(|recipe| self.make(*recipe, plan, context, batch));
        self.bury_conflicts(plan, context, batch);
        let columns: Vec<_> = selector
            .columns
            .iter()
            .map(|recipe| self.columns.get(*recipe, &self.outputs))
            .collect();
        selector.condition.evaluate(&columns, self.table.len())
    }

    fn make(&mut self, recipe: usize, plan: &Plan, context: &RangeContext, batch: &RecordBatch) {
        let Chain { columns, table, records, outputs, .. } = self;
        columns.make(recipe, Ingredients { plan, context, batch, records, table, outputs });
    }

    /// Rows that could not be rendered, since what was written does not fit them, are dead
    /// letters. Says whether there were any.
    fn bury_conflicts(&mut self, plan: &Plan, context: &RangeContext, batch: &RecordBatch) -> bool {
        let conflicts = self.columns.take_conflicts();
        if conflicts.is_empty() {
            return false;
        }
        let Chain { table, records, outputs, ledger, .. } = self;
        let from = Ingredients { plan, context, batch, records, table, outputs };
        for (row, conflict) in &conflicts {
            let record = from.record_index(*row as usize);
            ledger.dead_letter(|| route::conflict_letter(record, conflict, plan), record);
        }
        let gone: Vec<u32> = conflicts.into_iter().map(|(row, _)| row).collect();
        self.table.kill(&gone);
        true
    }

    /// Writes the batch's dead letters, in position order, and closes its books.
    fn write_letters(
        &mut self,
        plan: &Plan,
        context: &RangeContext,
        batch: &RecordBatch,
        objects: &mut [Objects],
    ) -> Result<(), ProcessError> {
        let destination = plan.dead_letters();
        if context.origin.is_some() {
            self.outcomes.extend(self.ledger.outcomes(&batch.positions));
        }
        let counts = &mut self.destinations[destination];
        for letter in self.ledger.close(&mut self.counts) {
            self.letter.clear();
            crate::dead_letter::write(letter, batch, plan, context, &mut self.letter);
            let objects = &mut objects[destination];
            let leaf = objects.only_leaf();
            let start = objects.rows(leaf).len();
            objects.rows(leaf).extend_from_slice(&self.letter);
            objects.appended(leaf, start)?;
            counts.shares += 1;
            counts.delivered += 1;
        }
        Ok(())
    }

    /// How many bytes of states the range holds.
    pub(crate) fn state_bytes(&self) -> usize {
        self.stages.iter().map(StageRun::state_bytes).sum()
    }

    /// What the stages have done up to now.
    pub(crate) fn statistics(&self) -> Vec<StageStatistics> {
        self.stages.iter().map(StageRun::statistics).collect()
    }

    /// What the stages leave: their states, by stage, then key, and what they did.
    pub(crate) fn finish(
        self,
        plan: &Plan,
    ) -> (Vec<tidegate_core::checkpoint::StateChange>, Vec<StageStatistics>) {
        let mut states = Vec::new();
        let mut statistics = Vec::new();
        for (run, stage) in self.stages.into_iter().zip(&plan.stages) {
            let (changes, of_stage) = run.finish(stage);
            states.extend(changes);
            statistics.push(of_stage);
        }
        (states, statistics)
    }
}

/// How old a record was at batch time, if it is too old: before it is read, and never again.
fn too_old(
    plan: &Plan,
    context: &RangeContext,
    batch: &RecordBatch,
    row: usize,
) -> Option<Duration> {
    let age_max = plan.spec.limits.record_age_max?;
    let arrival = batch.arrivals.get(row).filter(|_| batch.redrives.is_empty())?;
    let age = u64::try_from(context.opened_at.0.saturating_sub(arrival.0)).unwrap_or_default();
    Some(Duration::from_micros(age)).filter(|age| *age > age_max)
}

fn age_letter(row: usize, age: Duration, plan: &Plan) -> Letter {
    let allowed = plan.spec.limits.record_age_max.unwrap_or_default().as_secs();
    let message = format!(
        "the record had arrived {} seconds before its batch time, and {allowed} are allowed: the \
         source's `record_age_max`",
        age.as_secs()
    );
    Letter { message, ..Letter::new(row as u32, "decode", "review", RECORD_AGE) }
}

fn decode_letter(row: usize, code: &str, message: String) -> Letter {
    Letter { message, ..Letter::new(row as u32, "decode", "permanent", code) }
}
