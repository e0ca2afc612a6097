//! The plan: stages, what each reads and writes, and where rows go. Built once, checked whole,
//! immutable, and carried by every range.
//!
//! [`PlanSpec`] → [`Plan::build`] → `Plan`, with no I/O. Everything that is wrong comes back at
//! once as [`Findings`], each with a stable code; [`Plan::describe`] says what a sound plan does.

mod columns;
mod describe;
mod finding;
mod resolve;
mod spec;

use std::{collections::HashSet, fmt, sync::Arc, time::Duration};

use tidegate_core::{
    Digest, Kind, Path, TransformFactory,
    description::{HostValue, Origin},
    json::{self, Envelope, Projector},
    parquet::Schema,
    sink::Naming,
    transform::Plugin,
};

pub(crate) use columns::TablePlan;
pub use columns::declared_columns;
pub use describe::{
    PlanDescription, ReadDescription, StageDescription, TableDescription, WriteDescription,
};
pub use finding::{Finding, Findings, Level};
use resolve::Resolver;
pub(crate) use resolve::{
    Conversion, Join, Materialization, Recipe, RecipeId, Selector, StageWrite, Writer,
};
pub use spec::{
    Breaker, ColumnSpec, Compression, DeadLetterSpec, Format, Layout, Limits, OnMismatch, OnPoison,
    OnReject, PartitionKeySpec, PlanSpec, Purity, SinkSpec, StageSpec, StateScope, StateSpec,
    TableSpec, Unrouted, Zone,
};

use crate::{
    encode::{Buffers, TreePlan},
    process::{ProcessError, RangeContext, RangeProcessor},
};

/// Where objects of a range may go: the sinks in the order of the config, then the dead letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The sink's name.
    pub name: String,
    /// Whether its objects can be named.
    pub naming: Naming,
}

/// A checked pipeline, ready to process ranges. Immutable: a swap makes another.
pub struct Plan {
    pub(crate) spec: PlanSpec,
    pub(crate) destinations: Vec<Destination>,
    pub(crate) generation: Digest,
    /// Reads what all stages, conditions and trees need of a record, and locates what they write.
    pub(crate) projector: Projector,
    /// What it reads.
    pub(crate) source_reads: Vec<(Path, Kind)>,
    pub(crate) recipes: Vec<Recipe>,
    /// What is looked up, once a batch each.
    pub(crate) joins: Vec<Join>,
    pub(crate) materializations: Vec<Materialization>,
    pub(crate) filter: Option<Selector>,
    pub(crate) stages: Vec<StagePlan>,
    /// What all stages write, in order: the place of an edit's path.
    pub(crate) writes: Vec<StageWrite>,
    pub(crate) layouts: Vec<LayoutPlan>,
    pub(crate) sinks: Vec<SinkPlan>,
    /// How to come by record ids, where a layout names them.
    pub(crate) record_id: Option<RecipeId>,
    /// What objects are written into.
    pub(crate) buffers: Buffers,
    warnings: Findings,
}

/// A stage, resolved.
pub(crate) struct StagePlan {
    pub(crate) name: Arc<str>,
    pub(crate) factory: Arc<dyn TransformFactory>,
    pub(crate) when: Option<Selector>,
    /// How to come by each column of the plugin's reads.
    pub(crate) reads: Vec<RecipeId>,
    /// The reads without which the host rejects a row.
    pub(crate) required: Vec<usize>,
    /// The joins that its reads are of, each once, in the order of the reads.
    pub(crate) joins: Vec<usize>,
    /// Where the stage's writes begin in the plan's.
    pub(crate) first_write: usize,
    /// The reads that make up the key of the states, where it keeps any.
    pub(crate) key: Option<Vec<usize>>,
    pub(crate) on_reject: OnReject,
    pub(crate) on_poison: OnPoison,
    pub(crate) breaker: Breaker,
    pub(crate) state: StateSpec,
    pub(crate) purity: Purity,
    pub(crate) call_rows_max: usize,
    pub(crate) memory_watermark_bytes: u64,
}

impl StagePlan {
    pub(crate) fn plugin(&self) -> &Plugin {
        self.factory.plugin()
    }

    /// Whether it keeps states that are not a partition's own.
    pub(crate) fn states_follow(&self) -> bool {
        self.key.is_some() && self.state.scope != StateScope::Partition
    }

    /// What dead letters call it.
    pub(crate) fn letter_stage(&self) -> String {
        format!("transform:{}", self.name)
    }
}

/// One way to lay a row out, shared by the sinks that use it.
#[derive(Debug)]
pub(crate) struct LayoutPlan {
    pub(crate) projector: Projector,
    /// It locates written fields where the plan's projector does, or needs no locations: the
    /// record need not be read again.
    pub(crate) shares_projection: bool,
}

/// A sink, resolved.
#[derive(Debug)]
pub(crate) struct SinkPlan {
    pub(crate) zone: Zone,
    pub(crate) when: Option<Selector>,
    pub(crate) tree: TreePlan,
    /// Its place in the plan's layouts.
    pub(crate) layout: usize,
    /// The columns of its files, where they are no lines.
    pub(crate) table: Option<TablePlan>,
    /// A line that has more bytes, with its key, is a dead letter.
    pub(crate) row_bytes_max: usize,
    pub(crate) partition_key: Option<PartitionKeyPlan>,
}

/// What a sink partitions by, resolved.
#[derive(Debug)]
pub(crate) struct PartitionKeyPlan {
    /// How to come by it: by the first of these that has a value.
    pub(crate) recipes: Vec<RecipeId>,
    pub(crate) chars_max: usize,
}

impl Plan {
    /// Checks a spec and makes it a plan, or says everything that is wrong with it at once.
    pub fn build(spec: PlanSpec) -> Result<Arc<Plan>, Findings> {
        let mut resolver = Resolver::new(spec.partition_key.clone(), spec.tables.clone());
        check_names(&spec, &mut resolver);
        let filter = spec.filter.as_ref().and_then(|it| resolver.select(0, it, "/source/filter"));
        let mut stages = Vec::new();
        for (index, stage) in spec.stages.iter().enumerate() {
            stages.push(resolve_stage(&mut resolver, &spec, index, stage));
        }
        warn_of_reads_before_writes(&spec, &mut resolver);
        resolver.warn_of_unread_tables();
        let mut layouts: Vec<json::Layout> = Vec::new();
        let mut sinks = Vec::new();
        for (index, sink) in spec.sinks.iter().enumerate() {
            let pointer = format!("/sinks/{index}");
            let behind = match sink.zone {
                Zone::Processed => stages.len(),
                Zone::Raw => 0,
            };
            let when = sink.when.as_ref().and_then(|condition| {
                resolver.select(behind, condition, &format!("{pointer}/when"))
            });
            let tree = sink.tree.resolve(|origin, kind| {
                resolver.read(behind, origin, kind, &format!("{pointer}/tree"))
            });
            let table = match &sink.format {
                Format::Lines => None,
                Format::Parquet(table) => {
                    let pointer = format!("{pointer}/format");
                    columns::resolve(&mut resolver, &spec, behind, table, &pointer)
                }
            };
            let layout = core_layout(&spec, sink);
            let layout = layouts.iter().position(|known| *known == layout).unwrap_or_else(|| {
                layouts.push(layout);
                layouts.len() - 1
            });
            let row_bytes_max = sink.row_bytes_max.unwrap_or(usize::MAX);
            let partition_key = sink.partition_key.as_ref().map(|key| {
                let recipes = match &key.from {
                    Origin::Host(HostValue::PartitionKey) => resolver.own_keys(),
                    from @ Origin::Host(_) => {
                        vec![resolver.read(behind, from, &Kind::Utf8, &pointer)]
                    }
                    from => vec![resolver.read(behind, from, &Kind::Json, &pointer)],
                };
                PartitionKeyPlan { recipes, chars_max: key.chars_max }
            });
            let zone = sink.zone;
            sinks.push(SinkPlan { zone, when, tree, layout, table, row_bytes_max, partition_key });
        }
        let names_records = layouts.iter().any(json::Layout::is_envelope);
        let record_id = names_records.then(|| {
            resolver.read(stages.len(), &Origin::Host(HostValue::RecordId), &Kind::Utf8, "/sinks")
        });
        let materializations = resolver.materializations();
        let (projector, layouts) = project(&mut resolver, layouts);
        if resolver.findings.has_errors() {
            return Err(resolver.findings);
        }
        let Some(projector) = projector else { return Err(resolver.findings) };
        let named = spec.sinks.iter().map(|sink| (&sink.name, sink.naming));
        let destinations = named
            .chain([(&spec.dead_letters.name, spec.dead_letters.naming)])
            .map(|(name, naming)| Destination { name: name.clone(), naming })
            .collect();
        Ok(Arc::new(Plan {
            generation: generation(&spec),
            destinations,
            projector,
            source_reads: resolver.source_reads,
            recipes: resolver.recipes,
            joins: resolver.joins,
            materializations,
            filter,
            stages,
            writes: resolver.writes,
            layouts,
            sinks,
            record_id,
            buffers: Buffers::default(),
            warnings: resolver.findings,
            spec,
        }))
    }

    /// One digest over everything that decides what becomes of a record, besides the record.
    pub fn generation(&self) -> Digest {
        self.generation
    }

    /// Where objects may go; `RangeObject::destination` is an index into it. The last one takes
    /// the dead letters.
    pub fn destinations(&self) -> &[Destination] {
        &self.destinations
    }

    /// What works and may not be what was meant.
    pub fn warnings(&self) -> &Findings {
        &self.warnings
    }

    /// Whether a stage keeps states that are not a partition's own: one state for a key, wherever
    /// its records are.
    pub fn states_follow(&self) -> bool {
        self.stages.iter().any(StagePlan::states_follow)
    }

    /// Starts a range: fresh instances, empty objects, no state loaded.
    pub fn open_range(
        self: &Arc<Self>,
        context: RangeContext,
    ) -> Result<RangeProcessor, ProcessError> {
        RangeProcessor::open(Arc::clone(self), context)
    }

    /// The columns of a sink's files, where its objects are such.
    pub(crate) fn schema_of(&self, sink: &str) -> Option<&Arc<Schema>> {
        let place = self.spec.sinks.iter().position(|it| it.name == sink)?;
        self.sinks[place].table.as_ref().map(|table| &table.schema)
    }

    /// Whether a sink takes records as they came.
    pub(crate) fn has_raw_zone(&self) -> bool {
        self.sinks.iter().any(|sink| sink.zone == Zone::Raw)
    }

    /// The place of the dead letters among the destinations.
    pub(crate) fn dead_letters(&self) -> usize {
        self.destinations.len() - 1
    }

    /// The names of the stages that keep a state for each key.
    pub(crate) fn keyed_stages(&self) -> impl Iterator<Item = &str> {
        self.stages.iter().filter(|stage| stage.key.is_some()).map(|stage| &*stage.name)
    }

    /// The time to live of a stage's states, in microseconds.
    pub(crate) fn time_to_live(&self, stage: usize) -> Option<i64> {
        let time_to_live: Option<Duration> = self.stages[stage].state.time_to_live;
        time_to_live.map(|it| i64::try_from(it.as_micros()).unwrap_or(i64::MAX))
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan")
            .field("pipeline", &self.spec.pipeline)
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

fn check_names(spec: &PlanSpec, resolver: &mut Resolver) {
    if spec.sinks.is_empty() {
        resolver.error("no-sinks", "/sinks", "no sink: every record would be unrouted".into());
    } else if spec.sinks.iter().all(|sink| sink.zone == Zone::Raw) {
        let message = "all sinks are of the raw zone: what the stages make would be unrouted";
        resolver.error("no-sinks", "/sinks", message.into());
    }
    let mut seen = HashSet::new();
    for (index, stage) in spec.stages.iter().enumerate() {
        if !seen.insert(&stage.name) {
            let message = format!("there are two stages named `{}`", stage.name);
            resolver.error("duplicate-name", &format!("/stages/{index}/name"), message);
        }
    }
    let mut seen = HashSet::new();
    for (index, table) in spec.tables.iter().enumerate() {
        if !seen.insert(table.name()) {
            let message = format!("there are two tables named `{}`", table.name());
            resolver.error("duplicate-name", &format!("/tables/{index}/name"), message);
        }
    }
    let mut seen = HashSet::from([&spec.dead_letters.name]);
    for (index, sink) in spec.sinks.iter().enumerate() {
        if !seen.insert(&sink.name) {
            let message = format!("there are two sinks named `{}`", sink.name);
            resolver.error("duplicate-name", &format!("/sinks/{index}/name"), message);
        }
    }
}

fn resolve_stage(
    resolver: &mut Resolver,
    spec: &PlanSpec,
    index: usize,
    stage: &StageSpec,
) -> StagePlan {
    let pointer = format!("/stages/{index}");
    let Plugin { about, description, .. } = stage.factory.plugin();
    let when =
        stage.when.as_ref().and_then(|it| resolver.select(index, it, &format!("{pointer}/when")));
    let reads: Vec<RecipeId> = description
        .reads
        .iter()
        .map(|read| resolver.read(index, &read.from, &read.kind, &pointer))
        .collect();
    let mut joins = Vec::new();
    for read in &reads {
        if let Recipe::Lookup { join, .. } = &resolver.recipes[*read]
            && !joins.contains(join)
        {
            joins.push(*join);
        }
    }
    let key = description.state.as_ref().map(|state| state.key.clone());
    let key = key.map(|key| key.into_iter().map(|read| read as usize).collect::<Vec<_>>());
    if let Some(key) = &key {
        check_key(resolver, spec, index, stage, key);
    }
    if stage.on_poison == OnPoison::Passthrough && !about.may_be_passed_by {
        let message = format!(
            "records may not pass `{}` by: others rely on what it judges; use `dlq` or `halt`",
            about.name
        );
        resolver.error("passthrough-forbidden", &format!("{pointer}/on_poison"), message);
    }
    let first_write = resolver.writes.len();
    for (column, written) in description.writes.iter().enumerate() {
        let own = &resolver.writes[first_write..];
        let overlapping = own
            .iter()
            .find(|other| other.path.contains(&written.path) || written.path.contains(&other.path));
        if let Some(other) = overlapping {
            let message =
                format!("`{}` writes `{}` and `{}`", about.name, other.path, written.path);
            resolver.error("write-overlap", &pointer, message);
        }
        if written.path.is_root() && written.kind != Kind::Json {
            let message = format!("`$` is written as kind json, not {}", written.kind);
            resolver.error("root-needs-json", &pointer, message);
        }
        resolver.writes.push(StageWrite {
            stage: index,
            column,
            path: written.path.clone(),
            kind: written.kind.clone(),
        });
    }
    let required = (0..description.reads.len()).filter(|read| description.reads[*read].required);
    StagePlan {
        name: stage.name.as_str().into(),
        factory: Arc::clone(&stage.factory),
        when,
        reads,
        required: required.collect(),
        joins,
        first_write,
        key,
        on_reject: stage.on_reject,
        on_poison: stage.on_poison,
        breaker: stage.breaker,
        state: stage.state,
        purity: stage.purity,
        call_rows_max: stage.call_rows_max.max(1) as usize,
        memory_watermark_bytes: stage.memory_watermark_bytes,
    }
}

/// A key is whole on one partition if a part of it is what the source partitions by, as the source
/// had it.
fn check_key(
    resolver: &mut Resolver,
    spec: &PlanSpec,
    index: usize,
    stage: &StageSpec,
    key: &[usize],
) {
    let pointer = format!("/stages/{index}/state");
    let description = &stage.factory.plugin().description;
    let Some(reads) =
        key.iter().map(|read| description.reads.get(*read)).collect::<Option<Vec<_>>>()
    else {
        let message = "the key names a read that the plugin does not have".to_owned();
        return resolver.error("state-key-unknown", &pointer, message);
    };
    if reads.is_empty() {
        let message = "the key of its states is made of no read".to_owned();
        return resolver.error("state-key-unknown", &pointer, message);
    }
    let follows = reads.iter().any(|read| match &read.from {
        Origin::Host(HostValue::PartitionKey) => true,
        Origin::Field(path) => {
            let rewritten = resolver.writes.iter().any(|write| {
                write.stage < index && (write.path.contains(path) || path.contains(&write.path))
            });
            Some(path) == spec.partition_key.as_ref() && !rewritten
        }
        _ => false,
    });
    if !follows && stage.state.scope == StateScope::Key {
        let key: Vec<_> = reads.iter().map(|read| format!("`{}`", read.from)).collect();
        let partition_key = match &spec.partition_key {
            Some(path) => format!("the source partitions by `{path}`"),
            None => "the source names no field that it partitions by".to_owned(),
        };
        let message = format!(
            "states are kept by {}, and {partition_key}: rows of one key may lie on many \
             partitions; say `scope: follows` if they don't, or `scope: partition` to keep a \
             state on each",
            key.join(" and ")
        );
        resolver.error("key-does-not-follow", &pointer, message);
    }
}

/// A field that only a later stage writes: the source may have it, or the order is wrong.
fn warn_of_reads_before_writes(spec: &PlanSpec, resolver: &mut Resolver) {
    for (index, stage) in spec.stages.iter().enumerate() {
        let reads = &stage.factory.plugin().description.reads;
        let mut paths: Vec<&Path> = Vec::new();
        for read in reads {
            let of_read = match &read.from {
                Origin::Field(path) => std::slice::from_ref(path),
                Origin::Lookup(lookup) => lookup.keys.as_slice(),
                Origin::Host(_) => &[],
            };
            // Many columns are looked up by one key, and the same path is read in several kinds.
            let new = of_read.iter().filter(|path| !paths.contains(path)).collect::<Vec<_>>();
            paths.extend(new);
        }
        for path in paths {
            let touches = |write: &&StageWrite| write.path.contains(path) && !write.path.is_root();
            let mut writes = resolver.writes.iter().filter(touches);
            if writes.clone().any(|write| write.stage <= index) {
                continue;
            }
            if let Some(later) = writes.find(|write| write.stage > index) {
                let message = format!(
                    "reads `{path}`, which nobody writes before the stage `{}`: unless the \
                     source has it, it is missing here",
                    spec.stages[later.stage].name
                );
                resolver.warn("reads-nobody-writes", &format!("/stages/{index}"), message);
            }
        }
    }
}

fn core_layout(spec: &PlanSpec, sink: &SinkSpec) -> json::Layout {
    match &sink.layout {
        Layout::Flat => json::Layout::Flat,
        Layout::Nested(key) => json::Layout::Nested { key: key.clone() },
        Layout::Envelope => json::Layout::Envelope(Envelope {
            source: spec.source.clone(),
            processing_stage: spec.pipeline.clone(),
            version: spec.version.clone(),
        }),
    }
}

/// The plan's projector, in the first layout that needs to know where fields lie, and the others.
fn project(
    resolver: &mut Resolver,
    layouts: Vec<json::Layout>,
) -> (Option<Projector>, Vec<LayoutPlan>) {
    let writes: Vec<Path> = resolver.writes.iter().map(|write| write.path.clone()).collect();
    let reads = resolver.source_reads.clone();
    let main = layouts.iter().find(|layout| !layout.is_envelope()).cloned();
    let main = main.unwrap_or(json::Layout::Flat);
    let mut made = Vec::new();
    for layout in layouts {
        let shares_projection = layout.is_envelope() || layout == main;
        let reads = if shares_projection { reads.as_slice() } else { &[] };
        match Projector::new(reads, &writes, layout) {
            Ok(projector) => made.push(LayoutPlan { projector, shares_projection }),
            Err(error) => resolver.error("invalid-projection", "/sinks", error.to_string()),
        }
    }
    match Projector::new(&reads, &writes, main) {
        Ok(projector) => (Some(projector), made),
        Err(error) => {
            // Sinks of this layout have said so already.
            if resolver.findings.0.iter().all(|finding| finding.code != "invalid-projection") {
                resolver.error("invalid-projection", "/stages", error.to_string());
            }
            (None, made)
        }
    }
}

/// The pipeline's config and the digests of what it names.
fn generation(spec: &PlanSpec) -> Digest {
    let mut parts = spec.config.0.to_vec();
    for stage in &spec.stages {
        let Plugin { component, config, .. } = stage.factory.plugin();
        parts.extend_from_slice(&component.0);
        parts.extend_from_slice(&config.0);
    }
    for table in &spec.tables {
        parts.extend_from_slice(&table.digest().0);
    }
    Digest::of(&parts)
}
