//! Where rows go, and in which form: routes are conditions like any other, and each row is spliced
//! into the object that its sink has for it.

use tidegate_core::{
    Column, Kind, RecordBatch, Values,
    json::{Located, Projection, Splicer, Stamp, WriteConflict},
};

use super::{
    Chain,
    columns::Ingredients,
    ledger::{Fate, Ledger},
    tabulate::Tables,
};
use crate::{
    dead_letter::{KEY_MISSING, KEY_TOO_LONG, Letter, TOO_LARGE},
    encode::{KeyProblem, Objects, partition_key},
    plan::{Plan, SinkPlan, Unrouted, Zone},
    process::{ProcessError, RangeContext},
};

/// What the router keeps from batch to batch.
#[derive(Debug)]
pub(super) struct Router {
    /// One a layout of the plan.
    splicers: Vec<Splicer>,
    /// For each layout that can't use the chain's projection, one of its own for the row at hand.
    located: Vec<Option<Projection>>,
}

impl Router {
    pub(super) fn new(plan: &Plan) -> Self {
        let own = |it: &crate::plan::LayoutPlan| {
            (!it.shares_projection).then(|| it.projector.projection())
        };
        Router {
            splicers: plan.layouts.iter().map(|it| it.projector.splicer()).collect(),
            located: plan.layouts.iter().map(own).collect(),
        }
    }
}

/// A sink, and the rows of a batch that go there.
struct Route<'a> {
    place: usize,
    sink: &'a SinkPlan,
    /// All, where nothing is asked of them.
    met: Option<Vec<bool>>,
    /// What its directories are named by.
    tree: Vec<&'a Column>,
    /// What it partitions by, where it does.
    key: Vec<&'a Column>,
}

impl Chain {
    /// Sends the living rows to the sinks of a zone. Only the processed zone decides what becomes of
    /// a record, but for one that a sink can't take.
    pub(super) fn route(
        &mut self,
        zone: Zone,
        plan: &Plan,
        context: &RangeContext,
        batch: &RecordBatch,
        objects: &mut [Objects],
    ) -> Result<(), ProcessError> {
        let of_zone = |(_, sink): &(usize, &SinkPlan)| sink.zone == zone;
        let mut met: Vec<Option<Vec<bool>>> = Vec::with_capacity(plan.sinks.len());
        for (_, sink) in plan.sinks.iter().enumerate().filter(of_zone) {
            let when = sink.when.as_ref();
            met.push(when.map(|when| self.evaluate(when, plan, context, batch)));
            for column in &sink.tree.columns {
                self.make(column.recipe, plan, context, batch);
            }
            for column in sink.table.iter().flat_map(|table| &table.columns) {
                self.make(column.recipe, plan, context, batch);
            }
            for recipe in sink.partition_key.iter().flat_map(|key| &key.recipes) {
                self.make(*recipe, plan, context, batch);
            }
            self.bury_conflicts(plan, context, batch);
        }
        if let Some(recipe) = plan.record_id {
            self.make(recipe, plan, context, batch);
        }
        let Chain { columns, table, records, outputs, router, ledger, .. } = self;
        let Chain { destinations, nulled, .. } = self;
        let from = Ingredients { plan, context, batch, records, table, outputs };
        let sinks = plan.sinks.iter().enumerate().filter(of_zone).zip(met);
        let routes = sinks.map(|((place, sink), met)| {
            let tree = sink.tree.columns.iter().map(|it| columns.get(it.recipe, outputs));
            let key = sink.partition_key.iter().flat_map(|key| &key.recipes);
            let key = key.map(|recipe| columns.get(*recipe, outputs));
            Route { place, sink, met, tree: tree.collect(), key: key.collect() }
        });
        let routes: Vec<Route<'_>> = routes.collect();
        let mut tables = Tables::new(zone, plan, columns, outputs, nulled);
        let ids = plan.record_id.map(|recipe| &columns.get(recipe, outputs).values);
        let written = from.written(plan.stages.len());
        let Router { splicers, located: own_located } = router;
        let note_delivery = |ledger: &mut Ledger, record| {
            if zone == Zone::Processed {
                ledger.note(record, Fate::Delivered);
            }
        };
        let mut splicers: Vec<_> = splicers.iter_mut().map(|it| it.rows(&written)).collect();
        // Only raw JSON may bring in a line break that the record did not have.
        let may_break_lines = written.iter().any(|written| *written.kind == Kind::Json);
        for &row in &table.alive {
            let row = row as usize;
            let record = from.record(row);
            let index = from.record_index(row);
            let record_id = match ids {
                Some(Values::Utf8(ids)) => std::str::from_utf8(ids.get(row)).unwrap_or_default(),
                _ => "",
            };
            let stamp = Stamp { record_id, processed: context.opened_at };
            let mut routed = false;
            for Route { place, sink, met, tree, key: key_columns } in &routes {
                let place = *place;
                if met.as_ref().is_some_and(|met| !met[row]) {
                    continue;
                }
                routed = true;
                let shares = &mut destinations[place];
                shares.shares += 1;
                if sink.table.is_some() {
                    match tables.place(place, row, |row| objects[place].leaf(&sink.tree, tree, row))
                    {
                        Ok(()) => {
                            shares.delivered += 1;
                            note_delivery(ledger, index);
                        }
                        Err(misfit) => {
                            shares.dead_lettered += 1;
                            ledger.dead_letter(|| misfit.letter(index, plan), index);
                        }
                    }
                    continue;
                }
                let key = sink.partition_key.as_ref();
                let key = key.map(|key| partition_key(key_columns, row, key.chars_max));
                let key = match key.transpose() {
                    Ok(key) => key,
                    Err(problem) => {
                        shares.dead_lettered += 1;
                        ledger.dead_letter(|| key_letter(index, problem, place, plan), index);
                        continue;
                    }
                };
                let located = match &mut own_located[sink.layout] {
                    None => columns.projection.located(table.source(row)),
                    Some(own) => locate(plan, sink.layout, record, own),
                };
                let objects = &mut objects[place];
                let leaf = objects.leaf(&sink.tree, tree, row);
                let rows = objects.rows(leaf);
                let start = rows.len();
                match splicers[sink.layout].splice(record, located, row, stamp, rows) {
                    Ok(()) => {
                        if may_break_lines || located.may_break_lines() {
                            mend_line(rows, start);
                        }
                        rows.push(b'\n');
                        let bytes = rows.len() - start + key.as_ref().map_or(0, |key| key.len());
                        if bytes > sink.row_bytes_max {
                            rows.truncate(start);
                            shares.dead_lettered += 1;
                            ledger
                                .dead_letter(|| too_large_letter(index, bytes, place, plan), index);
                            continue;
                        }
                        if let Some(key) = key {
                            objects.push_key(leaf, key.as_bytes());
                        }
                        objects.appended(leaf, start)?;
                        shares.delivered += 1;
                        note_delivery(ledger, index);
                    }
                    Err(conflict) => {
                        shares.dead_lettered += 1;
                        ledger.dead_letter(|| conflict_letter(index, &conflict, plan), index);
                    }
                }
            }
            if !routed && zone == Zone::Processed {
                match plan.spec.unrouted {
                    Unrouted::Drop => ledger.note(index, Fate::Filtered),
                    Unrouted::DeadLetter => ledger.dead_letter(|| unrouted_letter(index), index),
                }
            }
        }
        tables.append(objects)
    }
}

/// Where the written fields of a record lie for a layout of its own.
fn locate<'a>(plan: &Plan, layout: usize, record: &[u8], own: &'a mut Projection) -> Located<'a> {
    own.clear();
    let read = plan.layouts[layout].projector.project(record, own);
    read.expect("the chain's projector has accepted the record, and JSON is JSON to both");
    own.located(0)
}

/// Makes one line of a row that begins at `start`, for JSON Lines: a raw line break can only stand
/// between tokens.
fn mend_line(rows: &mut [u8], start: usize) {
    let mut rest = &mut rows[start..];
    while let Some(at) = memchr::memchr2(b'\n', b'\r', rest) {
        rest[at] = b' ';
        rest = &mut rest[at + 1..];
    }
}

/// What plugins have made of the record is more than its sink takes at once.
fn too_large_letter(record: usize, bytes: usize, place: usize, plan: &Plan) -> Letter {
    let sink = &plan.destinations()[place].name;
    let max = plan.sinks[place].row_bytes_max;
    Letter {
        message: format!("{bytes} bytes in sink `{sink}`, which takes at most {max}"),
        ..Letter::new(record as u32, &format!("sink:{sink}"), "permanent", TOO_LARGE)
    }
}

/// The sink would not know where to put it.
fn key_letter(record: usize, problem: KeyProblem, place: usize, plan: &Plan) -> Letter {
    let sink = &plan.destinations()[place].name;
    let (code, message) = match (problem, &plan.spec.sinks[place].partition_key) {
        (KeyProblem::TooLong(chars), Some(key)) => (
            KEY_TOO_LONG,
            format!(
                "a partition key of {chars} characters for sink `{sink}`, which takes at most {}",
                key.chars_max
            ),
        ),
        (_, key) => {
            let from = key.as_ref().map(|key| key.from.to_string()).unwrap_or_default();
            (KEY_MISSING, format!("sink `{sink}` partitions by `{from}`, which has no value"))
        }
    };
    let stage = format!("sink:{sink}");
    Letter { message, ..Letter::new(record as u32, &stage, "permanent", code) }
}

fn unrouted_letter(record: usize) -> Letter {
    Letter {
        message: "no sink takes it; to drop such records say `unrouted: drop`".to_owned(),
        ..Letter::new(record as u32, "route", "review", "unrouted")
    }
}

/// What was written does not fit the record. The stage that wrote it is named.
pub(super) fn conflict_letter(record: usize, conflict: &WriteConflict, plan: &Plan) -> Letter {
    let fits = |write: &&crate::plan::StageWrite| {
        write.path.contains(&conflict.path) || conflict.path.contains(&write.path)
    };
    let stage = plan.writes.iter().rev().find(fits).map(|write| write.stage);
    Letter {
        message: conflict.to_string(),
        plugin: stage,
        ..Letter::new(record as u32, "encode", "permanent", WriteConflict::CODE)
    }
}
