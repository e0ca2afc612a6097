//! Rows on their way into files of columns. The router places them one by one, since each may go
//! elsewhere; they are appended column by column, for all rows of a batch that go to one place.

use tidegate_core::{Column, Presence};

use super::{Chain, columns::Columns, table::StageOutput};
use crate::{
    dead_letter::Letter,
    encode::Objects,
    plan::{OnMismatch, Plan, TablePlan, Zone},
    process::ProcessError,
};

/// Where the rows of a batch go, of all sinks whose objects are files of columns.
pub(super) struct Tables<'a> {
    /// One a sink of the plan; empty for those of the other zone, and whose objects are lines.
    sinks: Vec<SinkRows<'a>>,
}

struct SinkRows<'a> {
    plan: Option<&'a TablePlan>,
    columns: Vec<&'a Column>,
    nulled: &'a mut Vec<u64>,
    /// The leaf of each row that was placed, and the row.
    placed: Vec<(usize, u32)>,
}

/// A row that does not fit into a column.
pub(super) struct Misfit {
    sink: usize,
    column: usize,
    presence: Presence,
}

/// No value has become a null yet.
pub(super) fn counts(plan: &Plan) -> Vec<Vec<u64>> {
    let columns = |table: &TablePlan| table.columns.len();
    plan.sinks.iter().map(|sink| vec![0; sink.table.as_ref().map_or(0, columns)]).collect()
}

impl<'a> Tables<'a> {
    pub(super) fn new(
        zone: Zone,
        plan: &'a Plan,
        columns: &'a Columns,
        outputs: &'a [StageOutput],
        nulled: &'a mut [Vec<u64>],
    ) -> Self {
        let sinks = plan.sinks.iter().zip(nulled).map(|(sink, nulled)| {
            let table = sink.table.as_ref().filter(|_| sink.zone == zone);
            let of_table = table.iter().flat_map(|table| &table.columns);
            SinkRows {
                plan: table,
                columns: of_table.map(|column| columns.get(column.recipe, outputs)).collect(),
                nulled,
                placed: Vec::new(),
            }
        });
        Tables { sinks: sinks.collect() }
    }

    /// Takes a row for a sink, unless it does not fit.
    pub(super) fn place(
        &mut self,
        sink: usize,
        row: usize,
        leaf: impl FnOnce(usize) -> usize,
    ) -> Result<(), Misfit> {
        let SinkRows { plan: Some(plan), columns, nulled, placed } = &mut self.sinks[sink] else {
            return Ok(());
        };
        let absent = |place: usize| Presence::from_byte(columns[place].presence_of(row));
        for (place, column) in plan.columns.iter().enumerate() {
            let fits = match absent(place) {
                Some(Presence::Value) => true,
                Some(Presence::Missing | Presence::Null) => !column.required,
                _ => plan.on_mismatch == OnMismatch::Null && !column.required,
            };
            if !fits {
                let presence = absent(place).unwrap_or(Presence::OtherType);
                return Err(Misfit { sink, column: place, presence });
            }
        }
        for (place, nulled) in nulled.iter_mut().enumerate() {
            let is_absent =
                matches!(absent(place), Some(Presence::Value | Presence::Missing | Presence::Null));
            *nulled += u64::from(!is_absent);
        }
        placed.push((leaf(row), row as u32));
        Ok(())
    }

    /// Appends what was placed to its objects.
    pub(super) fn append(self, objects: &mut [Objects]) -> Result<(), ProcessError> {
        for (sink, objects) in self.sinks.into_iter().zip(objects) {
            let SinkRows { plan: Some(plan), columns, mut placed, .. } = sink else { continue };
            // Rows of one place stay in their order.
            placed.sort_by_key(|(leaf, _)| *leaf);
            for rows in placed.chunk_by(|a, b| a.0 == b.0) {
                let leaf = rows[0].0;
                let rows: Vec<u32> = rows.iter().map(|(_, row)| *row).collect();
                objects.append_columns(leaf, &plan.schema, &columns, &rows)?;
            }
        }
        Ok(())
    }
}

impl Misfit {
    pub(super) fn letter(&self, record: usize, plan: &Plan) -> Letter {
        let sink = &plan.destinations[self.sink].name;
        let table = plan.sinks[self.sink].table.as_ref();
        let column = table.map(|table| &table.columns[self.column]);
        let (name, kind) = match column {
            Some(column) => (column.name.as_str(), column.kind.name()),
            None => ("", ""),
        };
        let (code, message) = match self.presence {
            Presence::Missing | Presence::Null => (
                "column-without-value",
                format!(
                    "column `{name}` of sink `{sink}` is required, and the record has no value for it"
                ),
            ),
            presence => {
                let what = match presence {
                    Presence::OutOfRange => "a value that is out of its range",
                    Presence::Malformed => "a text that is none",
                    _ => "a value of another type",
                };
                (
                    "column-mismatch",
                    format!(
                        "column `{name}` of sink `{sink}` is of kind {kind}, and the record has \
                         {what}: `on_mismatch: as_null` makes it a null"
                    ),
                )
            }
        };
        Letter { message, ..Letter::new(record as u32, "encode", "permanent", code) }
    }
}

impl Chain {
    /// Counts what became nulls since the range's start.
    pub(crate) fn report_nulled(&self, plan: &Plan) {
        for (sink, nulled) in self.nulled.iter().enumerate() {
            let table = plan.sinks[sink].table.iter().flat_map(|table| &table.columns);
            for (column, values) in table.zip(nulled) {
                if *values > 0 {
                    metrics::counter!(
                        "tidegate_column_nulled_total",
                        "pipeline" => plan.spec.pipeline.clone(),
                        "sink" => plan.destinations[sink].name.clone(),
                        "column" => column.name.clone(),
                    )
                    .increment(*values);
                }
            }
        }
    }
}
