//! The columns of a batch: each recipe of the plan is followed once at most, and a column that
//! need not be made is lent.

use tidegate_core::{
    Column, Digest, Kind, Presence, RecordBatch, Values, Write,
    description::HostValue,
    json::{Projection, Splicer, Stamp, WriteConflict, WrittenColumn},
    lookup::Matches,
};

use super::{
    cells,
    table::{StageOutput, Table},
};
use crate::{
    plan::{Conversion, Join, Plan, Recipe, RecipeId, Writer},
    process::RangeContext,
};

/// What columns are made of.
#[derive(Clone, Copy)]
pub(crate) struct Ingredients<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) context: &'a RangeContext,
    pub(crate) batch: &'a RecordBatch,
    /// For each row of the projection, its record in the batch.
    pub(crate) records: &'a [u32],
    pub(crate) table: &'a Table,
    pub(crate) outputs: &'a [StageOutput],
}

impl<'a> Ingredients<'a> {
    /// The bytes of the record that a row comes from.
    pub(crate) fn record(&self, row: usize) -> &'a [u8] {
        self.batch.record(self.record_index(row))
    }

    /// The record, as its place in the batch, that a row comes from.
    pub(crate) fn record_index(&self, row: usize) -> usize {
        self.records[self.table.source(row)] as usize
    }

    /// What stages wrote, in order, of those before one.
    pub(crate) fn written(&self, before: usize) -> Vec<WrittenColumn<'a>> {
        let mut all = Vec::with_capacity(self.plan.writes.len());
        for (output, stage) in self.outputs.iter().zip(&self.plan.stages).take(before) {
            let Some(places) = output.slots() else { continue };
            let written = self.plan.writes.iter().enumerate().skip(stage.first_write);
            all.extend(output.reply.columns.iter().zip(written).map(
                |(column, (path, written))| WrittenColumn {
                    path,
                    column,
                    kind: &written.kind,
                    places,
                },
            ));
        }
        all
    }
}

/// The columns of the batch at hand.
#[derive(Debug)]
pub(crate) struct Columns {
    pub(crate) projection: Projection,
    /// One a recipe.
    cells: Vec<Made>,
    /// One a materialization: what was read of the rendered records, and whether it is of this
    /// batch's rows.
    materialized: Vec<(Projection, bool)>,
    splicers: Vec<Splicer>,
    /// One a join.
    joined: Vec<Joined>,
    /// Rows that could not be rendered.
    conflicts: Vec<(u32, WriteConflict)>,
}

/// The rows of a table that a batch's keys were found at.
#[derive(Debug, Default)]
struct Joined {
    matches: Matches,
    /// Whether they are of this batch's rows.
    current: bool,
}

/// A recipe's column.
#[derive(Debug)]
struct Made {
    column: Column,
    place: Place,
}

/// Where a recipe's column is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// It is still to be made.
    Nowhere,
    Own,
    Projection(usize),
    Reply {
        stage: usize,
        column: usize,
    },
}

impl Columns {
    pub(crate) fn new(plan: &Plan) -> Self {
        let kind = |recipe: &Recipe| match recipe {
            Recipe::Source { column } => plan.source_reads[*column].1.clone(),
            Recipe::Host { value } => value.kind(),
            Recipe::Overlay { kind, .. }
            | Recipe::Materialized { kind, .. }
            | Recipe::Lookup { kind, .. } => kind.clone(),
        };
        let made = |recipe| Made { column: Column::empty(&kind(recipe)), place: Place::Nowhere };
        Columns {
            projection: plan.projector.projection(),
            cells: plan.recipes.iter().map(made).collect(),
            materialized: plan
                .materializations
                .iter()
                .map(|it| (it.reader.projection(), false))
                .collect(),
            splicers: plan.materializations.iter().map(|it| it.renderer.splicer()).collect(),
            joined: plan.joins.iter().map(|_| Joined::default()).collect(),
            conflicts: Vec::new(),
        }
    }

    /// Forgets the batch and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.projection.clear();
        self.forget_rows();
    }

    /// The table has other rows than before: what was made of the old ones is of no use.
    pub(crate) fn forget_rows(&mut self) {
        self.cells.iter_mut().for_each(|made| made.place = Place::Nowhere);
        self.materialized.iter_mut().for_each(|(_, current)| *current = false);
        self.joined.iter_mut().for_each(|joined| joined.current = false);
    }

    /// Makes a column, one row for each row of the table, if it is not there yet.
    pub(crate) fn make(&mut self, recipe: RecipeId, from: Ingredients<'_>) {
        if self.cells[recipe].place != Place::Nowhere {
            return;
        }
        if let Recipe::Lookup { join, .. } = &from.plan.recipes[recipe] {
            self.join(*join, from);
        }
        let mut column =
            std::mem::replace(&mut self.cells[recipe].column, Column::empty(&Kind::Boolean));
        column.clear();
        self.cells[recipe].place = match &from.plan.recipes[recipe] {
            Recipe::Source { column: source } if from.table.is_projection() => {
                Place::Projection(*source)
            }
            Recipe::Source { column: source } => {
                self.projection.columns[*source].gather(from.table.sources(), &mut column);
                Place::Own
            }
            Recipe::Host { value } => {
                fill_host(*value, from, &mut column);
                Place::Own
            }
            Recipe::Overlay { base, writers, .. } => match lent(writers, from) {
                Some(place) => place,
                None => {
                    overlay(&self.projection.columns[*base], writers, from, &mut column);
                    Place::Own
                }
            },
            Recipe::Materialized { materialization, column: read, .. } => {
                self.materialize(*materialization, from);
                std::mem::swap(
                    &mut column,
                    &mut self.materialized[*materialization].0.columns[*read],
                );
                Place::Own
            }
            Recipe::Lookup { join, column: cell, from: kind, conversion, .. } => {
                let table = &from.plan.joins[*join].table;
                let matches = &self.joined[*join].matches;
                match conversion {
                    Conversion::Same => table.gather(*cell, matches, &mut column),
                    conversion => {
                        let mut cells = Column::empty(kind);
                        table.gather(*cell, matches, &mut cells);
                        convert_all(conversion, kind, &cells, &mut column);
                    }
                }
                Place::Own
            }
        };
        self.cells[recipe].column = column;
    }

    /// Finds the rows of a table that the batch's keys stand for, if they are not there yet.
    fn join(&mut self, join: usize, from: Ingredients<'_>) {
        if std::mem::replace(&mut self.joined[join].current, true) {
            return;
        }
        let Join { table, key } = &from.plan.joins[join];
        key.iter().for_each(|part| self.make(*part, from));
        let mut matches = std::mem::take(&mut self.joined[join].matches);
        let key: Vec<&Column> = key.iter().map(|part| self.get(*part, from.outputs)).collect();
        table.find(&key, from.table.len(), &mut matches);
        self.joined[join].matches = matches;
    }

    /// How many of some rows have a key that a join found, once it was made.
    pub(crate) fn hits(&self, join: usize, rows: &[u32]) -> u64 {
        let matches = &self.joined[join].matches;
        match matches.misses() {
            0 => rows.len() as u64,
            _ => rows.iter().filter(|row| matches.is_hit(**row as usize)).count() as u64,
        }
    }

    /// A column that was made.
    pub(crate) fn get<'a>(&'a self, recipe: RecipeId, outputs: &'a [StageOutput]) -> &'a Column {
        let made = &self.cells[recipe];
        match made.place {
            Place::Projection(column) => &self.projection.columns[column],
            Place::Reply { stage, column } => &outputs[stage].reply.columns[column],
            Place::Own | Place::Nowhere => &made.column,
        }
    }

    /// Rows that could not be rendered since the last call, ascending.
    pub(crate) fn take_conflicts(&mut self) -> Vec<(u32, WriteConflict)> {
        std::mem::take(&mut self.conflicts)
    }

    /// Renders each living row with what was written so far, and reads it again.
    fn materialize(&mut self, index: usize, from: Ingredients<'_>) {
        let (rendered, current) = &mut self.materialized[index];
        if std::mem::replace(current, true) {
            return;
        }
        rendered.clear();
        let plan = &from.plan.materializations[index];
        let mut located = plan.renderer.projection();
        let written = from.written(plan.before);
        let mut splicer = self.splicers[index].rows(&written);
        let mut text = Vec::new();
        let mut alive = from.table.alive.iter().copied().peekable();
        // The envelope's: not read by the flat layout.
        let stamp = Stamp { record_id: "", processed: from.context.opened_at };
        for row in 0..from.table.len() {
            let living = alive.next_if_eq(&(row as u32)).is_some();
            let record = from.record(row);
            located.clear();
            text.clear();
            let read = living && plan.renderer.project(record, &mut located).is_ok() && {
                let located = located.located(0);
                match splicer.splice(record, located, row, stamp, &mut text) {
                    Ok(()) => plan.reader.project(&text, rendered).is_ok(),
                    Err(conflict) => {
                        self.conflicts.push((row as u32, conflict));
                        false
                    }
                }
            };
            if !read {
                // Nobody looks at it: the row is gone, or is about to be.
                let nothing = plan.reader.project(b"null", rendered);
                debug_assert!(nothing.is_ok());
            }
        }
    }
}

/// Whether an overlay is just what its one writer returned.
fn lent(writers: &[Writer], from: Ingredients<'_>) -> Option<Place> {
    let called = |writer: &&Writer| from.outputs[writer.stage].was_called();
    let writer = writers.iter().find(called)?;
    let output = &from.outputs[writer.stage];
    let column = &output.reply.columns[writer.column];
    let is_plain = matches!(writer.conversion, Conversion::Same)
        && output.is_same()
        && column.presence.is_empty();
    is_plain.then_some(Place::Reply { stage: writer.stage, column: writer.column })
}

/// For each row what the last stage that wrote it left, else what the record has.
fn overlay(base: &Column, writers: &[Writer], from: Ingredients<'_>, into: &mut Column) {
    let mut text = Vec::new();
    for row in 0..from.table.len() {
        let written = writers.iter().find_map(|writer| {
            let slot = from.outputs[writer.stage].slot(row)?;
            let column = &from.outputs[writer.stage].reply.columns[writer.column];
            match Write::from_byte(column.presence_of(slot))? {
                Write::Leave => None,
                write => Some((writer, column, slot, write)),
            }
        });
        match written {
            None => cells::push_read(into, base, from.table.source(row)),
            Some((_, _, _, Write::Null)) => cells::push_absent(into, Presence::Null as u8),
            Some((_, _, _, Write::Remove)) => cells::push_absent(into, Presence::Missing as u8),
            Some((Writer { conversion, kind, .. }, column, slot, _)) => {
                convert(conversion, kind, column, slot, &mut text, into);
            }
        }
    }
}

/// Appends the cells of a table, of a kind, as the kind that is read.
fn convert_all(conversion: &Conversion, kind: &Kind, cells: &Column, into: &mut Column) {
    let mut text = Vec::new();
    for row in 0..cells.values.len() {
        match cells.presence_of(row) {
            0 => convert(conversion, kind, cells, row, &mut text, into),
            presence => cells::push_absent(into, presence),
        }
    }
}

/// Appends a value of a kind as the kind that is read.
fn convert(
    conversion: &Conversion,
    kind: &Kind,
    column: &Column,
    slot: usize,
    text: &mut Vec<u8>,
    into: &mut Column,
) {
    match (conversion, &column.values, kind) {
        (Conversion::Same, ..) => cells::push_value(into, column, slot),
        (Conversion::Trim, Values::Json(texts), _) => match texts.get(slot).trim_ascii() {
            b"null" => cells::push_absent(into, Presence::Null as u8),
            text => cells::push_text(into, text),
        },
        (Conversion::Codes(codes), Values::Enumeration(values), _) => {
            match codes.get(values[slot] as usize).copied().flatten() {
                Some(code) => cells::push_code(into, code),
                None => cells::push_absent(into, Presence::OutOfRange as u8),
            }
        }
        (Conversion::Words, Values::Enumeration(values), Kind::Enumeration(words)) => {
            match words.get(values[slot] as usize) {
                Some(word) => cells::push_text(into, word.as_bytes()),
                None => cells::push_absent(into, Presence::OutOfRange as u8),
            }
        }
        (Conversion::Nearest, Values::Int64(values), _) => {
            cells::push_float(into, values[slot] as f64);
        }
        (Conversion::Render, _, kind) => {
            text.clear();
            cells::render(column, kind, slot, text);
            cells::push_text(into, text);
        }
        (Conversion::Project(projector), _, kind) => {
            text.clear();
            text.extend_from_slice(b"{\"v\":");
            cells::render(column, kind, slot, text);
            text.push(b'}');
            let mut projection = projector.projection();
            match projector.project(text, &mut projection) {
                Ok(()) => cells::push_read(into, &projection.columns[0], 0),
                Err(_) => cells::push_absent(into, Presence::Malformed as u8),
            }
        }
        // A reply's columns are of the kinds that were declared.
        _ => cells::push_absent(into, Presence::OtherType as u8),
    }
}

/// What the host knows of each row.
fn fill_host(value: HostValue, from: Ingredients<'_>, into: &mut Column) {
    let batch = from.batch;
    let missing = Presence::Missing as u8;
    let mut text = String::new();
    if value == HostValue::RecordId {
        return fill_record_ids(from, into);
    }
    for row in 0..from.table.len() {
        let record = from.record_index(row);
        match value {
            HostValue::Partition => cells::push_text(into, from.context.origin().0.as_bytes()),
            HostValue::Position => {
                text.clear();
                // Writing to a string can't fail.
                let _ = std::fmt::Write::write_fmt(
                    &mut text,
                    format_args!("{}", batch.positions[record]),
                );
                cells::push_text(into, text.as_bytes());
            }
            HostValue::PartitionKey if batch.keys.is_empty() => cells::push_absent(into, missing),
            HostValue::PartitionKey => cells::push_text(into, batch.keys.get(record)),
            HostValue::ArrivalTime => match batch.arrivals.get(record) {
                Some(time) => cells::push_time(into, time.0),
                None => cells::push_absent(into, missing),
            },
            HostValue::BatchTime => cells::push_time(into, from.context.opened_at.0),
            HostValue::Source => cells::push_text(into, from.plan.spec.source.as_bytes()),
            // Filled above.
            HostValue::RecordId => {}
        }
    }
}

/// The ids of all rows. Records are hashed two at a time, which takes about half as long.
fn fill_record_ids(from: Ingredients<'_>, into: &mut Column) {
    let mut push = |row: usize, digest: Digest| {
        let mut id = [0; 64];
        let encoded = hex::encode_to_slice(digest.0, &mut id);
        debug_assert!(encoded.is_ok(), "32 bytes are 64 digits");
        match from.table.suffix(row) {
            "" => cells::push_text(into, &id),
            suffix => cells::push_text(into, &[&id, suffix.as_bytes()].concat()),
        }
    };
    let rows = from.table.len();
    for row in (0..rows).step_by(2) {
        if row + 1 < rows {
            let [one, other] = Digest::of_two([from.record(row), from.record(row + 1)]);
            push(row, one);
            push(row + 1, other);
        } else {
            push(row, Digest::of(from.record(row)));
        }
    }
}
