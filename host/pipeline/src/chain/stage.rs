//! One stage: which rows it sees, what it is called with, and what becomes of its reply.

use std::collections::BTreeMap;

use tidegate_core::{
    Column, Presence, RecordBatch,
    checkpoint::{Exclusion, StateChange},
    description::{Kind, Origin, Read},
    source::HashKey,
    transform::{Reply, States, Verdict},
};

use super::{Chain, columns::Ingredients, findings::ByRow, ledger::Fate, parts::Input};
use crate::{
    dead_letter::{Letter, Note},
    isolate::{Caller, EXCLUSION_ATTEMPTS, Gone, POISON_ATTEMPTS, Settled},
    plan::{Plan, StagePlan},
    process::{LookupStatistics, ProcessError, RangeContext, StageStatistics},
    purity,
    states::{Grouping, KeyedStates, StateLoader},
};

/// The code of the dead letters of rows whose key has a state that can't be migrated.
const STATE_MIGRATION: &str = "state-migration";

/// The code of the dead letters of rows whose key is one too many.
const STATE_KEYS: &str = "state-keys";

/// A stage in one range.
#[derive(Debug)]
pub(super) struct StageRun {
    caller: Caller,
    states: Option<KeyedStates>,
    /// How partition keys are hashed, where states go by them.
    hash_key: Option<HashKey>,
    grouping: Grouping,
    /// The rows of the table that the stage is called with.
    selected: Vec<u32>,
    /// Columns of the selected rows, where these are not all rows.
    compacted: Vec<Column>,
    statistics: StageStatistics,
}

impl StageRun {
    pub(super) fn new(plan: &Plan, index: usize, context: &RangeContext) -> Self {
        let stage = &plan.stages[index];
        let description = &stage.plugin().description;
        let states = stage.key.as_ref().map(|_| {
            let version = stage.plugin().about.state_version;
            let name = std::sync::Arc::clone(&stage.name);
            let keys = context.state_keys.get(&*stage.name).copied().unwrap_or_default();
            let room = stage.state.keys_max.saturating_sub(keys);
            KeyedStates::new(name, version, context.opened_at, plan.time_to_live(index), room)
        });
        let hash_key = context.hash_key.filter(|_| stage.states_follow());
        StageRun {
            caller: Caller::default(),
            states,
            hash_key,
            grouping: Grouping::default(),
            selected: Vec::new(),
            compacted: description.reads.iter().map(|read| Column::empty(&read.kind)).collect(),
            statistics: StageStatistics {
                stage: stage.name.to_string(),
                rules: description.rules.iter().map(|rule| rule.id.clone()).collect(),
                findings: vec![0; description.rules.len()],
                lookups: tables(plan, stage),
                ..StageStatistics::default()
            },
        }
    }

    pub(super) fn state_bytes(&self) -> usize {
        self.states.as_ref().map_or(0, KeyedStates::bytes)
    }

    /// What it has done up to now.
    pub(super) fn statistics(&self) -> StageStatistics {
        let keys = self.states.as_ref().map(KeyedStates::added_and_removed).unwrap_or_default();
        StageStatistics {
            poison: self.caller.poison(),
            keys_added: keys.0,
            keys_removed: keys.1,
            breaker_open: self.caller.is_open(),
            calls: self.caller.calls,
            instances: self.caller.instances,
            ..self.statistics.clone()
        }
    }

    pub(super) fn finish(self, stage: &StagePlan) -> (Vec<StateChange>, StageStatistics) {
        let statistics = self.statistics();
        debug_assert_eq!(statistics.findings.len(), stage.plugin().description.rules.len());
        (self.states.map(KeyedStates::changes).unwrap_or_default(), statistics)
    }
}

impl Chain {
    /// Takes the living rows through a stage.
    pub(super) async fn run_stage(
        &mut self,
        index: usize,
        plan: &Plan,
        context: &RangeContext,
        batch: &RecordBatch,
        loader: &dyn StateLoader,
    ) -> Result<(), ProcessError> {
        let stage = &plan.stages[index];
        self.select(index, plan, context, batch);
        if self.stages[index].selected.is_empty() {
            return Ok(());
        }
        for recipe in &stage.reads {
            self.make(*recipe, plan, context, batch);
        }
        if self.bury_conflicts(plan, context, batch) {
            retain_alive(&mut self.stages[index].selected, &self.table.alive);
        }
        self.count_lookups(index, plan);
        self.reject_incomplete(index, plan, context, batch);
        self.load_states(index, plan, context, batch, loader).await?;
        let mut excluded = self.excluded(index, plan, context, batch);

        let Chain { columns, outputs, stages, table, .. } = self;
        let run = &mut stages[index];
        if run.selected.is_empty() {
            return Ok(());
        }
        let rows = run.selected.len();
        let whole = rows == table.len();
        if !whole {
            for (recipe, into) in stage.reads.iter().zip(&mut run.compacted) {
                columns.get(*recipe, outputs).gather(&run.selected, into);
            }
        }
        let reads: Vec<&Column> = match whole {
            true => stage.reads.iter().map(|recipe| columns.get(*recipe, outputs)).collect(),
            false => run.compacted.iter().collect(),
        };
        let states = match &run.states {
            Some(states) => {
                let (states, unusable) = states.view(&run.grouping);
                set_apart(&unusable, &states, stage, &mut excluded);
                states
            }
            None => States::default(),
        };
        let input = Input { rows, columns: &reads, states: &states, batch_time: context.opened_at };
        let settled = run.caller.call(stage, &input, &excluded)?;
        run.statistics.rows += rows as u64;
        let RangeContext { partition, range, .. } = context;
        if settled.gone.is_empty()
            && purity::is_sampled(stage.purity, partition, *range, self.batches, index)
        {
            run.statistics.purity_checks += 1;
            if let Some(what) = purity::difference(stage, &input, &settled.reply) {
                report_impure(stage, &what, &mut run.statistics);
            }
        }
        if let Some(states) = &mut run.states {
            states.apply(&run.grouping, &settled.reply.states);
        }
        self.apply(index, settled, plan, context, batch);
        Ok(())
    }

    /// The living rows that meet the stage's condition.
    fn select(&mut self, index: usize, plan: &Plan, context: &RangeContext, batch: &RecordBatch) {
        let met = plan.stages[index].when.as_ref();
        let met = met.map(|when| self.evaluate(when, plan, context, batch));
        let selected = &mut self.stages[index].selected;
        selected.clear();
        match met {
            None => selected.extend_from_slice(&self.table.alive),
            Some(met) => {
                selected.extend(self.table.alive.iter().filter(|row| met[**row as usize]));
            }
        }
    }

    /// Counts which of the selected rows have a key that is in the stage's tables.
    fn count_lookups(&mut self, index: usize, plan: &Plan) {
        let run = &mut self.stages[index];
        for join in &plan.stages[index].joins {
            let hits = self.columns.hits(*join, &run.selected);
            let name = plan.joins[*join].table.name();
            if let Some(of_table) = run.statistics.lookups.iter_mut().find(|it| it.table == name) {
                of_table.hits += hits;
                of_table.misses += run.selected.len() as u64 - hits;
            }
        }
    }

    /// Rejects selected rows that lack a required field or a part of their key.
    fn reject_incomplete(
        &mut self,
        index: usize,
        plan: &Plan,
        context: &RangeContext,
        batch: &RecordBatch,
    ) {
        let stage = &plan.stages[index];
        let key = stage.key.iter().flatten().map(|read| (*read, "state-key-missing"));
        let needed = stage.required.iter().map(|read| (*read, "required-missing")).chain(key);
        let Chain { columns, table, records, outputs, ledger, stages, .. } = self;
        let run = &mut stages[index];
        let mut gone: Vec<(u32, usize, &str)> = Vec::new();
        for (read, code) in needed {
            let presence = &columns.get(stage.reads[read], outputs).presence;
            if !presence.is_empty() {
                let lacking = run.selected.iter().filter(|row| presence[**row as usize] != 0);
                gone.extend(lacking.map(|row| (*row, read, code)));
            }
        }
        if gone.is_empty() {
            return;
        }
        // The first of a row's needs, in their order, is the one that is named.
        gone.sort_by_key(|(row, ..)| *row);
        gone.dedup_by_key(|(row, ..)| *row);
        let from = Ingredients { plan, context, batch, records, table, outputs };
        for (row, read, code) in &gone {
            let record = from.record_index(*row as usize);
            let presence = columns.get(stage.reads[*read], outputs).presence_of(*row as usize);
            let field = &stage.plugin().description.reads[*read];
            let letter = || Letter {
                message: lacking(field, presence),
                plugin: Some(index),
                ..Letter::new(record as u32, &stage.letter_stage(), stage.on_reject.class(), code)
            };
            ledger.dead_letter(letter, record);
        }
        run.statistics.rejected += gone.len() as u64;
        let gone: Vec<u32> = gone.into_iter().map(|(row, ..)| row).collect();
        table.kill(&gone);
        retain_alive(&mut run.selected, &table.alive);
    }

    /// Groups the selected rows by their keys and loads the keys' states. Rows of a key for whose
    /// state there is no room are rejected.
    async fn load_states(
        &mut self,
        index: usize,
        plan: &Plan,
        context: &RangeContext,
        batch: &RecordBatch,
        loader: &dyn StateLoader,
    ) -> Result<(), ProcessError> {
        let stage = &plan.stages[index];
        let Chain { columns, table, records, outputs, ledger, stages, .. } = self;
        let StageRun { states, grouping, selected, statistics, hash_key, .. } = &mut stages[index];
        let (Some(states), Some(key)) = (states, &stage.key) else { return Ok(()) };
        let kinds = &stage.plugin().description.reads;
        let column = |read: &usize| (columns.get(stage.reads[*read], outputs), &kinds[*read].kind);
        let key: Vec<(&Column, &Kind)> = key.iter().map(column).collect();
        grouping.group(selected, &key);
        let hash_of = |row: u32| {
            let record = records[table.source(row as usize)] as usize;
            let hash_key = hash_key.filter(|_| record < batch.keys.len())?;
            Some(hash_key(batch.keys.get(record)))
        };
        if states.load(grouping, &hash_of, loader, &*stage.factory).await? {
            return Ok(());
        }
        let from = Ingredients { plan, context, batch, records, table, outputs };
        let refused = |place: &usize| states.refuses(grouping, *place);
        let gone: Vec<u32> =
            (0..selected.len()).filter(refused).map(|place| selected[place]).collect();
        let message = format!(
            "there are states of {} keys on this partition, and no room for another: the stage's \
             `state.keys_max`",
            stage.state.keys_max
        );
        for row in &gone {
            let record = from.record_index(*row as usize);
            let class = stage.on_reject.class();
            let letter = || Letter {
                message: message.clone(),
                plugin: Some(index),
                ..Letter::new(record as u32, &stage.letter_stage(), class, STATE_KEYS)
            };
            ledger.dead_letter(letter, record);
        }
        statistics.rejected += gone.len() as u64;
        table.kill(&gone);
        retain_alive(selected, &table.alive);
        grouping.group(selected, &key);
        Ok(())
    }

    /// The selected rows, by their place, that the range's intent excludes from this stage.
    fn excluded(
        &self,
        index: usize,
        plan: &Plan,
        context: &RangeContext,
        batch: &RecordBatch,
    ) -> BTreeMap<u32, Exclusion> {
        let mut excluded = BTreeMap::new();
        if self.pinned.is_empty() {
            return excluded;
        }
        let Chain { table, records, outputs, .. } = self;
        let from = Ingredients { plan, context, batch, records, table, outputs };
        for (place, row) in self.stages[index].selected.iter().enumerate() {
            let position = batch.positions[from.record_index(*row as usize)];
            let mut pinned = self.pinned.get(&position).into_iter().flatten();
            let of_stage = pinned.find(|it| *it.stage == *plan.stages[index].name);
            if let Some(exclusion) = of_stage {
                excluded.insert(place as u32, exclusion.clone());
            }
        }
        excluded
    }

    /// Does what a reply says: takes rows out, counts findings, keeps what was written.
    fn apply(
        &mut self,
        index: usize,
        settled: Settled,
        plan: &Plan,
        context: &RangeContext,
        batch: &RecordBatch,
    ) {
        let Settled { reply, gone } = settled;
        let stage = &plan.stages[index];
        let selected = std::mem::take(&mut self.stages[index].selected);
        for rule in &reply.findings.rules {
            self.stages[index].statistics.findings[*rule as usize] += 1;
        }
        let mut dead: Vec<u32> = Vec::new();
        for (place, why) in gone {
            let row = selected[place as usize];
            self.bury(index, row, why, plan, context, batch);
            dead.push(row);
        }
        if !reply.verdicts.is_empty() {
            let mut by_row = None;
            for (place, row) in selected.iter().enumerate() {
                let record = self.records[self.table.source(*row as usize)] as usize;
                match reply.verdict(place) {
                    Verdict::Emit => continue,
                    Verdict::Drop => {
                        self.ledger.note(record, Fate::Dropped);
                        self.stages[index].statistics.dropped += 1;
                    }
                    Verdict::Reject => {
                        let by_row = by_row.get_or_insert_with(|| ByRow::of(&reply.findings));
                        let mut findings = self.notes(*row, plan);
                        findings.extend(by_row.notes(&reply, place as u32, stage));
                        let letter = || Letter {
                            record: record as u32,
                            plugin: Some(index),
                            findings,
                            ..by_row.rejection(&reply, place as u32, stage)
                        };
                        self.ledger.dead_letter(letter, record);
                        self.stages[index].statistics.rejected += 1;
                    }
                }
                dead.push(*row);
            }
            dead.sort_unstable();
            dead.dedup();
        }
        self.keep(index, reply, &selected, dead);
        self.stages[index].selected = selected;
    }

    /// Keeps what a stage wrote, and takes the `dead` rows out.
    fn keep(&mut self, index: usize, reply: Reply, selected: &[u32], dead: Vec<u32>) {
        if reply.parents.is_empty() {
            self.outputs[index].set(reply, selected, self.table.len());
            self.table.kill(&dead);
            return;
        }
        let mut has_child = vec![false; selected.len()];
        reply.parents.iter().for_each(|parent| has_child[*parent as usize] = true);
        for (place, row) in selected.iter().enumerate() {
            if !has_child[place] && dead.binary_search(row).is_err() {
                let record = self.records[self.table.source(*row as usize)] as usize;
                self.ledger.note(record, Fate::Dropped);
                self.stages[index].statistics.dropped += 1;
            }
        }
        let made = self.table.fan_out(selected, &reply.parents);
        self.outputs.iter_mut().for_each(|output| output.follow(&made));
        self.outputs[index].set_fanned_out(reply, &made);
        self.columns.forget_rows();
        // Whatever a plugin returned for rows that it took out is nothing.
        let gone: Vec<u32> = (0..self.table.len() as u32)
            .filter(|row| dead.binary_search(&made.from(*row as usize)).is_ok())
            .collect();
        self.table.kill(&gone);
    }

    /// A row leaves the chain since the plugin can't have it.
    fn bury(
        &mut self,
        index: usize,
        row: u32,
        why: Gone,
        plan: &Plan,
        context: &RangeContext,
        batch: &RecordBatch,
    ) {
        let stage = &plan.stages[index];
        let record = self.records[self.table.source(row as usize)] as usize;
        let findings = self.notes(row, plan);
        let letter = Letter {
            plugin: Some(index),
            findings,
            ..Letter::new(record as u32, &stage.letter_stage(), "timeout", "")
        };
        let letter = match why {
            Gone::Poison { error, call } => Letter {
                class: error.breach.class(),
                code: error.breach.code().to_owned(),
                message: error.message,
                backtrace: error.backtrace,
                attempts: POISON_ATTEMPTS,
                call: Some(call),
                ..letter
            },
            Gone::Excluded { code, message } => {
                let class = if code == STATE_MIGRATION { "reject" } else { letter.class };
                let letter = Letter { class, ..letter };
                let exclusion = Exclusion {
                    position: batch.positions[record],
                    stage: stage.name.to_string(),
                    code: code.clone(),
                    message: message.clone(),
                };
                if !context.exclusions.contains(&exclusion) {
                    self.exclusions.push(exclusion);
                }
                Letter { code, message, attempts: EXCLUSION_ATTEMPTS, ..letter }
            }
        };
        self.ledger.dead_letter(|| letter, record);
    }

    /// What earlier stages found in a row.
    fn notes(&self, row: u32, plan: &Plan) -> Vec<Note> {
        let earlier = self.outputs.iter().zip(&plan.stages);
        let notes = earlier.filter_map(|(output, stage)| {
            let place = output.place(row as usize)?;
            Some(output.findings_by_row().notes(&output.reply, place, stage))
        });
        notes.flatten().collect()
    }
}

/// Excludes the rows of keys whose states can't be had.
fn set_apart(
    unusable: &BTreeMap<u32, String>,
    states: &States,
    stage: &StagePlan,
    excluded: &mut BTreeMap<u32, Exclusion>,
) {
    if unusable.is_empty() {
        return;
    }
    for (row, key) in states.rows.iter().enumerate() {
        let Some(message) = unusable.get(key) else { continue };
        excluded.entry(row as u32).or_insert_with(|| Exclusion {
            // Whoever buries the row knows its position.
            position: tidegate_core::Position::default(),
            stage: stage.name.to_string(),
            code: STATE_MIGRATION.to_owned(),
            message: message.clone(),
        });
    }
}

/// The tables that a stage reads, with nothing counted yet.
fn tables(plan: &Plan, stage: &StagePlan) -> Vec<LookupStatistics> {
    let mut names: Vec<&str> = Vec::new();
    for join in &stage.joins {
        let name = plan.joins[*join].table.name();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let nothing = |name: &str| LookupStatistics { table: name.to_owned(), hits: 0, misses: 0 };
    names.into_iter().map(nothing).collect()
}

/// Keeps those of the selected rows that are alive; both lists ascend.
fn retain_alive(selected: &mut Vec<u32>, alive: &[u32]) {
    let mut alive = alive.iter().copied().peekable();
    selected.retain(|row| {
        while alive.next_if(|alive| alive < row).is_some() {}
        alive.peek() == Some(row)
    });
}

/// Why a row has not what is required of it, for people.
fn lacking(read: &Read, presence: u8) -> String {
    let (from, kind) = (&read.from, &read.kind);
    match (from, Presence::from_byte(presence)) {
        (Origin::Lookup(lookup), Some(Presence::Missing)) => {
            let keys: Vec<String> = lookup.keys.iter().map(|key| format!("`{key}`")).collect();
            format!("`{from}` is missing: the table has no row for {}", keys.join(" and "))
        }
        _ => format!("`{from}` {}, and must be of kind {kind}", found(presence)),
    }
}

/// What was found where a value should be, for people.
fn found(presence: u8) -> &'static str {
    match Presence::from_byte(presence) {
        Some(Presence::Missing) => "is missing",
        Some(Presence::Null) => "is null",
        Some(Presence::OtherType) => "is of another type",
        Some(Presence::OutOfRange) => "is out of range",
        _ => "is malformed",
    }
}

fn report_impure(stage: &StagePlan, what: &str, statistics: &mut StageStatistics) {
    if statistics.impure == 0 {
        let plugin = &stage.plugin().about.name;
        tracing::warn!(
            stage = &*stage.name,
            plugin,
            "impure: the plugin's reply depends on how rows are cut into batches: {what}"
        );
    }
    statistics.impure += 1;
    statistics.impurity.get_or_insert_with(|| what.to_owned());
}
