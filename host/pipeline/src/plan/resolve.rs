//! Where each read comes from: the source, the host, or what earlier stages wrote.
//!
//! A read of a path that no earlier stage touches is a column of the one projection. A path that
//! earlier stages wrote is an overlay: a row has the value of the last stage that wrote it, else
//! the source's. A path above or below one that was written can't be had from columns: the record
//! is rendered with what was written so far and read again.
//!
//! Each distinct way to come by a column is a recipe, and is followed once a batch at most.

use std::{collections::HashSet, sync::Arc};

use tidegate_core::{
    Condition, Kind, LookupTable, Origin, Path,
    condition::Compiled,
    description::{HostValue, Lookup},
    json::{self, Projector},
    lookup,
};

use super::finding::{Finding, Findings, Level, suggestion};

/// A recipe's place in the plan.
pub(crate) type RecipeId = usize;

/// How to come by a column.
#[derive(Clone, Debug)]
pub(crate) enum Recipe {
    /// It is a column of the projection.
    Source { column: usize },
    /// The host knows it.
    Host { value: HostValue },
    /// Each row has what the first of `writers` that wrote it left, else the projection's value.
    Overlay { base: usize, kind: Kind, writers: Vec<Writer> },
    /// It is a column of a materialization.
    Materialized { materialization: usize, column: usize, kind: Kind },
    /// It is a column of the table that a join finds rows of.
    Lookup { join: usize, column: usize, from: Kind, kind: Kind, conversion: Conversion },
}

/// Rows of a table, found by a key: once a batch, whatever is read of them.
#[derive(Clone, Debug)]
pub(crate) struct Join {
    pub(crate) table: Arc<LookupTable>,
    /// How to come by each part of the key.
    pub(crate) key: Vec<RecipeId>,
}

/// A written column that an overlay takes values of.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    pub(crate) stage: usize,
    /// Its place in the stage's writes.
    pub(crate) column: usize,
    pub(crate) kind: Kind,
    pub(crate) conversion: Conversion,
}

/// From a written value, or a table's, to a value of the kind that is read: what projecting its
/// text would give.
#[derive(Clone, Debug)]
pub(crate) enum Conversion {
    /// It is the value.
    Same,
    /// Both are raw JSON: white space around it is not part of a value.
    Trim,
    /// A code for each code, where the reader's dictionary has the entry.
    Codes(Vec<Option<u32>>),
    /// The entry of the dictionary.
    Words,
    /// The float nearest to the integer.
    Nearest,
    /// Its JSON text.
    Render,
    /// Its JSON text is projected.
    Project(Projector),
}

/// Records rendered with what the stages before a point wrote, and read again.
#[derive(Clone, Debug)]
pub(crate) struct Materialization {
    /// The writes of the stages before this one are in it.
    pub(crate) before: usize,
    /// Locates the written fields in the original record.
    pub(crate) renderer: Projector,
    /// Reads the rendered record.
    pub(crate) reader: Projector,
}

/// A condition and how to come by its columns.
#[derive(Clone, Debug)]
pub(crate) struct Selector {
    pub(crate) condition: Compiled,
    pub(crate) columns: Vec<RecipeId>,
}

/// A path that a stage writes.
#[derive(Clone, Debug)]
pub(crate) struct StageWrite {
    pub(crate) stage: usize,
    /// Its place in the stage's writes.
    pub(crate) column: usize,
    pub(crate) path: Path,
    pub(crate) kind: Kind,
}

/// Collects what has to be projected, built and materialized, and what is wrong.
pub(super) struct Resolver {
    partition_key: Option<Path>,
    tables: Vec<Arc<LookupTable>>,
    /// The tables that somebody looks up in, by their names, whether it can be or not.
    asked: HashSet<String>,
    pub(super) joins: Vec<Join>,
    pub(super) source_reads: Vec<(Path, Kind)>,
    pub(super) recipes: Vec<Recipe>,
    /// For each materialization: before which stage, and what is read of it.
    materialized: Vec<(usize, Vec<(Path, Kind)>)>,
    /// The writes of the stages so far, in order.
    pub(super) writes: Vec<StageWrite>,
    pub(super) findings: Findings,
}

impl Resolver {
    pub(super) fn new(partition_key: Option<Path>, tables: Vec<Arc<LookupTable>>) -> Self {
        Resolver {
            partition_key,
            tables,
            asked: HashSet::new(),
            joins: Vec::new(),
            source_reads: Vec::new(),
            recipes: Vec::new(),
            materialized: Vec::new(),
            writes: Vec::new(),
            findings: Findings::default(),
        }
    }

    pub(super) fn error(&mut self, code: &'static str, pointer: &str, message: String) {
        let pointer = pointer.to_owned();
        let finding = Finding { level: Level::Error, code, pointer, message, suggestion: None };
        self.findings.0.push(finding);
    }

    /// Says what the last finding's author probably meant.
    fn suggest(&mut self, suggestion: Option<String>) {
        if let Some(finding) = self.findings.0.last_mut() {
            finding.suggestion = suggestion;
        }
    }

    pub(super) fn warn(&mut self, code: &'static str, pointer: &str, message: String) {
        let pointer = pointer.to_owned();
        let finding = Finding { level: Level::Warning, code, pointer, message, suggestion: None };
        self.findings.0.push(finding);
    }

    /// How a stage with this number (or the router, behind the last) comes by a column.
    pub(super) fn read(
        &mut self,
        stage: usize,
        origin: &Origin,
        kind: &Kind,
        pointer: &str,
    ) -> RecipeId {
        let recipe = match origin {
            Origin::Field(path) if path.is_root() && *kind != Kind::Json => {
                let message = format!("`$` is the whole record, of kind json, not {kind}");
                self.error("root-needs-json", pointer, message);
                Recipe::Host { value: HostValue::Source }
            }
            Origin::Field(path) => self.field(stage, path, kind),
            Origin::Host(value) => self.host(*value, kind, pointer),
            Origin::Lookup(lookup) => match self.lookup(stage, lookup, kind, pointer) {
                Some(recipe) => recipe,
                // It is an error by now, and there will be no plan.
                None => Recipe::Host { value: HostValue::Source },
            },
        };
        self.recipe(recipe)
    }

    /// A cell of a table, or nothing and a finding that says why it can't be had.
    fn lookup(
        &mut self,
        stage: usize,
        lookup: &Lookup,
        kind: &Kind,
        pointer: &str,
    ) -> Option<Recipe> {
        self.asked.insert(lookup.table.clone());
        let Some(table) = self.tables.iter().find(|table| table.name() == lookup.table) else {
            let message = format!(
                "`{}` is read from the table `{}`, which the pipeline does not have",
                lookup.column, lookup.table
            );
            let known = suggestion(
                &lookup.table,
                "its tables are",
                self.tables.iter().map(|table| table.name()),
            );
            let known = known.or_else(|| Some("name it under `tables`".to_owned()));
            self.error("unknown-table", pointer, message);
            self.suggest(known);
            return None;
        };
        let table = Arc::clone(table);
        let schema = table.schema();
        let Some(column) = schema.column(&lookup.column) else {
            let message = format!("the table `{}` has no column `{}`", lookup.table, lookup.column);
            self.error("unknown-table-column", pointer, message);
            let known = schema.columns().iter().map(|column| column.name.as_str());
            self.suggest(suggestion(&lookup.column, "its columns are", known));
            return None;
        };
        if lookup.keys.len() != schema.key().len() {
            let parts: Vec<_> = schema.key().map(|part| format!("`{}`", part.name)).collect();
            let message = format!(
                "the key of the table `{}` is {}, and it is looked up by {} fields",
                lookup.table,
                parts.join(" and "),
                lookup.keys.len()
            );
            self.error("lookup-key", pointer, message);
            return None;
        }
        let from = schema.columns()[column].kind.clone();
        if !lookup::is_readable_as(&from, kind) {
            let message = format!(
                "`{}.{}` is of kind {from}, and is read as {kind}: no value would ever fit",
                lookup.table, lookup.column
            );
            self.error("lookup-kind", pointer, message);
            return None;
        }
        let kinds: Vec<Kind> = schema.key().map(|part| part.kind.clone()).collect();
        let key: Vec<RecipeId> = lookup
            .keys
            .iter()
            .zip(&kinds)
            .map(|(path, kind)| self.read(stage, &Origin::Field(path.clone()), kind, pointer))
            .collect();
        let same = |join: &Join| Arc::ptr_eq(&join.table, &table) && join.key == key;
        let join = self.joins.iter().position(same).unwrap_or_else(|| {
            self.joins.push(Join { table: Arc::clone(&table), key });
            self.joins.len() - 1
        });
        let conversion = Conversion::of(&from, kind);
        Some(Recipe::Lookup { join, column, from, kind: kind.clone(), conversion })
    }

    /// Tables that nobody reads are memory and time for nothing.
    pub(super) fn warn_of_unread_tables(&mut self) {
        for index in 0..self.tables.len() {
            let table = &self.tables[index];
            if !self.asked.contains(table.name()) {
                let message = format!("no stage reads the table `{}`", table.name());
                self.warn("unread-table", &format!("/tables/{index}"), message);
            }
        }
    }

    fn field(&mut self, stage: usize, path: &Path, kind: &Kind) -> Recipe {
        let related = |write: &&StageWrite| {
            write.stage < stage && (write.path.contains(path) || path.contains(&write.path))
        };
        if self.writes.iter().filter(related).any(|write| write.path != *path) {
            return self.materialized(stage, path, kind);
        }
        let writers: Vec<Writer> = self
            .writes
            .iter()
            .rev()
            .filter(related)
            .map(|write| Writer {
                stage: write.stage,
                column: write.column,
                kind: write.kind.clone(),
                conversion: Conversion::of(&write.kind, kind),
            })
            .collect();
        let base = self.source(path, kind);
        match writers.is_empty() {
            true => Recipe::Source { column: base },
            false => Recipe::Overlay { base, kind: kind.clone(), writers },
        }
    }

    fn host(&mut self, value: HostValue, kind: &Kind, pointer: &str) -> Recipe {
        if value.kind().name() != kind.name() {
            let message = format!("{} is of kind {}, not {kind}", value.name(), value.kind());
            self.error("host-value-kind", pointer, message);
        }
        match (value, &self.partition_key) {
            // What the source partitions by is what it was read as, whatever stages make of it.
            (HostValue::PartitionKey, Some(path)) => {
                let path = path.clone();
                Recipe::Source { column: self.source(&path, &Kind::Utf8) }
            }
            _ => Recipe::Host { value },
        }
    }

    /// How to come by the keys that records came with: the source hands them over, or they are a
    /// field as the source had it.
    pub(super) fn own_keys(&mut self) -> Vec<RecipeId> {
        let mut recipes = vec![self.recipe(Recipe::Host { value: HostValue::PartitionKey })];
        if let Some(path) = self.partition_key.clone() {
            let column = self.source(&path, &Kind::Json);
            recipes.push(self.recipe(Recipe::Source { column }));
        }
        recipes
    }

    fn materialized(&mut self, stage: usize, path: &Path, kind: &Kind) -> Recipe {
        let materialization =
            self.materialized.iter().position(|(before, _)| *before == stage).unwrap_or_else(
                || {
                    self.materialized.push((stage, Vec::new()));
                    self.materialized.len() - 1
                },
            );
        let reads = &mut self.materialized[materialization].1;
        let column = position_or_push(reads, (path.clone(), kind.clone()));
        Recipe::Materialized { materialization, column, kind: kind.clone() }
    }

    fn source(&mut self, path: &Path, kind: &Kind) -> usize {
        position_or_push(&mut self.source_reads, (path.clone(), kind.clone()))
    }

    fn recipe(&mut self, recipe: Recipe) -> RecipeId {
        let known = self.recipes.iter().position(|known| known.is_the_same_as(&recipe));
        known.unwrap_or_else(|| {
            self.recipes.push(recipe);
            self.recipes.len() - 1
        })
    }

    /// How a condition comes by its columns.
    pub(super) fn select(
        &mut self,
        stage: usize,
        condition: &Condition,
        pointer: &str,
    ) -> Option<Selector> {
        match condition.compile() {
            Ok(condition) => {
                let reads = condition.reads.clone();
                let columns = reads
                    .iter()
                    .map(|(from, kind)| self.read(stage, from, kind, pointer))
                    .collect();
                Some(Selector { condition, columns })
            }
            Err(error) => {
                self.error("condition-kind", pointer, error.to_string());
                None
            }
        }
    }

    /// The projectors of the materializations, once all reads are known.
    pub(super) fn materializations(&mut self) -> Vec<Materialization> {
        let mut made = Vec::new();
        for (before, reads) in std::mem::take(&mut self.materialized) {
            let writes: Vec<Path> = self
                .writes
                .iter()
                .filter(|write| write.stage < before)
                .map(|write| write.path.clone())
                .collect();
            let renderer = Projector::new(&[], &writes, json::Layout::Flat);
            let reader = Projector::new(&reads, &[], json::Layout::Flat);
            match (renderer, reader) {
                (Ok(renderer), Ok(reader)) => {
                    made.push(Materialization { before, renderer, reader })
                }
                (Err(error), _) | (_, Err(error)) => {
                    let pointer = format!("/stages/{before}");
                    self.error("invalid-projection", &pointer, error.to_string());
                }
            }
        }
        made
    }
}

impl Recipe {
    fn is_the_same_as(&self, other: &Recipe) -> bool {
        match (self, other) {
            (Recipe::Source { column: a }, Recipe::Source { column: b }) => a == b,
            (Recipe::Host { value: a }, Recipe::Host { value: b }) => a == b,
            (
                Recipe::Overlay { base: a, writers: of_a, .. },
                Recipe::Overlay { base: b, writers: of_b, .. },
            ) => a == b && of_a.len() == of_b.len(),
            (
                Recipe::Materialized { materialization: a, column: of_a, .. },
                Recipe::Materialized { materialization: b, column: of_b, .. },
            ) => (a, of_a) == (b, of_b),
            (
                Recipe::Lookup { join: a, column: of_a, kind: as_a, .. },
                Recipe::Lookup { join: b, column: of_b, kind: as_b, .. },
            ) => (a, of_a, as_a) == (b, of_b, as_b),
            _ => false,
        }
    }
}

impl Conversion {
    fn of(written: &Kind, read: &Kind) -> Self {
        match (written, read) {
            (Kind::Json, Kind::Json) => Conversion::Trim,
            (written, read) if written == read => Conversion::Same,
            (Kind::Enumeration(written), Kind::Enumeration(read)) => {
                let code = |word: &String| {
                    let found = read.iter().position(|entry| entry == word);
                    found.and_then(|code| u32::try_from(code).ok())
                };
                Conversion::Codes(written.iter().map(code).collect())
            }
            (Kind::Enumeration(_), Kind::Utf8) => Conversion::Words,
            (Kind::Int64, Kind::Float64) => Conversion::Nearest,
            (_, Kind::Json) => Conversion::Render,
            (_, read) => {
                let reads = [(Path::keys(["v"]), read.clone())];
                let projector = Projector::new(&reads, &[], json::Layout::Flat);
                Conversion::Project(projector.expect("a member can be read as any kind"))
            }
        }
    }
}

fn position_or_push<T: PartialEq>(list: &mut Vec<T>, item: T) -> usize {
    list.iter().position(|known| *known == item).unwrap_or_else(|| {
        list.push(item);
        list.len() - 1
    })
}
