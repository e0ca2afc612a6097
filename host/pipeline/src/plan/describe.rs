//! What a plan does, in words: which stage reads and writes what, where it comes from, and what
//! has to be read twice. The raw material of `check` and of lineage.

use serde::Serialize;
use tidegate_core::{LookupTable, Origin, Path, lookup::TableColumn};

use super::{Plan, Recipe, RecipeId};

/// What a plan does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlanDescription {
    /// Fields that are read of every record, as `path: kind`.
    pub projected: Vec<String>,
    /// The look-up tables, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tables: Vec<TableDescription>,
    /// The stages, in order.
    pub stages: Vec<StageDescription>,
    /// Points before which records are rendered and read again, by the name of the stage, or
    /// `router`: an earlier stage wrote above or below a field that is read there.
    pub materialized_before: Vec<String>,
}

/// A look-up table in memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TableDescription {
    /// Its name.
    pub name: String,
    /// The columns of its key, as `name: kind`.
    pub key: Vec<String>,
    /// The other columns, as `name: kind`.
    pub columns: Vec<String>,
    /// How many rows it has.
    pub rows: usize,
    /// How many keys they have: fewer, where of rows with the same key one counts.
    pub keys: usize,
    /// How much memory it takes, once for all workers.
    pub bytes: usize,
    /// Its digest: part of the generation.
    pub digest: tidegate_core::Digest,
}

impl TableDescription {
    fn of(table: &LookupTable) -> Self {
        let schema = table.schema();
        let text = |column: &TableColumn| format!("{}: {}", column.name, column.kind);
        let others = schema.columns().iter().filter(|it| schema.key().all(|part| part != *it));
        TableDescription {
            name: table.name().to_owned(),
            key: schema.key().map(text).collect(),
            columns: others.map(text).collect(),
            rows: table.rows(),
            keys: table.keys(),
            bytes: table.bytes(),
            digest: table.digest(),
        }
    }
}

/// What a stage does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StageDescription {
    /// The stage's name.
    pub name: String,
    /// The plugin, as `name version`.
    pub plugin: String,
    /// The component's digest.
    pub component: tidegate_core::Digest,
    /// What it reads.
    pub reads: Vec<ReadDescription>,
    /// What it writes.
    pub writes: Vec<WriteDescription>,
}

/// Where a stage has a field from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReadDescription {
    /// The path, the host value or the `table.column`.
    pub field: String,
    /// The column's kind.
    pub kind: String,
    /// Whether rows without it are rejected.
    pub required: bool,
    /// `source`, `host`, `record` (rendered and read again), or the stages that may have written
    /// it, the last first. Of a look-up: where its keys are from, each with its path.
    pub from: Vec<String>,
}

/// Who uses what a stage writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WriteDescription {
    /// The path.
    pub field: String,
    /// The column's kind.
    pub kind: String,
    /// Later stages that read it, or something above or below it.
    pub read_by: Vec<String>,
}

impl Plan {
    /// Says what the plan does.
    pub fn describe(&self) -> PlanDescription {
        let projected = self.source_reads.iter().map(|(path, kind)| format!("{path}: {kind}"));
        let before = |stage: usize| match self.stages.get(stage) {
            Some(stage) => stage.name.to_string(),
            None => "router".to_owned(),
        };
        PlanDescription {
            projected: projected.collect(),
            tables: self.spec.tables.iter().map(|table| TableDescription::of(table)).collect(),
            stages: (0..self.stages.len()).map(|stage| self.describe_stage(stage)).collect(),
            materialized_before: self.materializations.iter().map(|m| before(m.before)).collect(),
        }
    }

    /// Who a field of the record may be from.
    fn origins(&self, recipe: RecipeId) -> Vec<String> {
        match &self.recipes[recipe] {
            Recipe::Source { .. } => vec!["source".to_owned()],
            Recipe::Host { .. } => vec!["host".to_owned()],
            Recipe::Materialized { .. } => vec!["record".to_owned()],
            Recipe::Overlay { writers, .. } => writers
                .iter()
                .map(|writer| self.stages[writer.stage].name.to_string())
                .chain(["source".to_owned()])
                .collect(),
            Recipe::Lookup { join, .. } => vec![self.joins[*join].table.name().to_owned()],
        }
    }

    fn describe_stage(&self, index: usize) -> StageDescription {
        let stage = &self.stages[index];
        let plugin = stage.plugin();
        let reads = plugin.description.reads.iter().zip(&stage.reads).map(|(read, recipe)| {
            let from = match (&read.from, &self.recipes[*recipe]) {
                (Origin::Lookup(lookup), Recipe::Lookup { join, .. }) => {
                    let parts = lookup.keys.iter().zip(&self.joins[*join].key);
                    let text = |(path, part): (&Path, &RecipeId)| {
                        format!("{path} ({})", self.origins(*part).join(", "))
                    };
                    parts.map(text).collect()
                }
                _ => self.origins(*recipe),
            };
            let kind = read.kind.to_string();
            ReadDescription { field: read.from.to_string(), kind, required: read.required, from }
        });
        let writes = plugin.description.writes.iter().map(|written| {
            let reads_it = |origin: &Origin| match origin {
                Origin::Field(path) => touch(path, &written.path),
                Origin::Lookup(lookup) => lookup.keys.iter().any(|key| touch(key, &written.path)),
                Origin::Host(_) => false,
            };
            let read_by = self.stages[index + 1..]
                .iter()
                .filter(|later| {
                    later.plugin().description.reads.iter().any(|read| reads_it(&read.from))
                })
                .map(|later| later.name.to_string());
            WriteDescription {
                field: written.path.to_string(),
                kind: written.kind.to_string(),
                read_by: read_by.collect(),
            }
        });
        StageDescription {
            name: stage.name.to_string(),
            plugin: format!("{} {}", plugin.about.name, plugin.about.version),
            component: plugin.component,
            reads: reads.collect(),
            writes: writes.collect(),
        }
    }
}

/// Whether one lies at, above or under the other.
fn touch(one: &Path, other: &Path) -> bool {
    one.contains(other) || other.contains(one)
}
