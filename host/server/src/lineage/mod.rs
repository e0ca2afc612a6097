//! Lineage: who reads and writes which field of a pipeline, as a plain model.
//!
//! Plugins declare what they read and write, conditions and directory templates name their
//! fields, so all of it is known before the first record flows. [`Lineage::of`] writes it down,
//! with no I/O; [`Lineage::impact`] follows a field through it; [`Lineage::mermaid`] draws it.
//!
//! Two paths touch where they are the same or one lies under the other: whoever reads `merchant`
//! notices what is written at `merchant.risk`, and the other way round.

mod impact;
mod mermaid;

use std::fmt;

use serde::{Serialize, Serializer};
use tidegate_core::{
    Condition, Description, Digest, Kind, Origin, Path, description::HostValue, transform::Plugin,
};

pub use impact::{Change, Impact, Notice, Step};
use tidegate_pipeline::plan::declared_columns;

use crate::config::{Config, Format, KinesisSink, Layout, Sink, TreeLevel, Zone};

/// A pipeline, and who reads and writes what in it.
#[derive(Clone, Debug, Serialize)]
pub struct Lineage {
    /// The pipeline's name.
    pub pipeline: String,
    /// Where records come from.
    pub source: SourceNode,
    /// Which records are taken at all.
    pub filter: Option<ConditionNode>,
    /// The stages, in order.
    pub stages: Vec<StageNode>,
    /// The look-up tables that stages read.
    pub tables: Vec<TableNode>,
    /// The sinks, in order.
    pub sinks: Vec<SinkNode>,
    /// Every field that somebody names, by its text.
    pub fields: Vec<FieldNode>,
    /// Every use of a field, in the order of the data path.
    #[serde(skip)]
    uses: Vec<Use>,
}

/// Where records come from.
#[derive(Clone, Debug, Serialize)]
pub struct SourceNode {
    /// The source's name.
    pub name: String,
    /// The field that it partitions by.
    pub partition_key: Option<Path>,
}

/// A condition and the fields that it asks for.
#[derive(Clone, Debug, Serialize)]
pub struct ConditionNode {
    /// As it is written.
    pub condition: Condition,
    /// What it reads.
    pub reads: Vec<ReadNode>,
}

/// A stage.
#[derive(Clone, Debug, Serialize)]
pub struct StageNode {
    /// Its name.
    pub name: String,
    /// The plugin, as `name version`.
    pub plugin: String,
    /// The component's digest.
    pub component: Digest,
    /// Which records the plugin is handed.
    pub when: Option<ConditionNode>,
    /// What it reads.
    pub reads: Vec<ReadNode>,
    /// What it writes.
    pub writes: Vec<WriteNode>,
    /// What its state is kept by, where it keeps any.
    #[serde(serialize_with = "optional_texts")]
    pub state_key: Option<Vec<Origin>>,
    /// The rules that name a field.
    pub rules: Vec<RuleNode>,
}

/// A field that is read.
#[derive(Clone, Debug, Serialize)]
pub struct ReadNode {
    /// A path, a host value, or `table.column`.
    #[serde(serialize_with = "text")]
    pub field: Origin,
    /// The column's kind.
    #[serde(serialize_with = "text")]
    pub kind: Kind,
    /// Whether records without it are rejected.
    pub required: bool,
    /// The stages that may have written it, the last first, then `source`; or `host`; or the
    /// table's name.
    pub from: Vec<String>,
    /// Of a look-up, the fields that are the key.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<Path>,
}

/// A field that is written.
#[derive(Clone, Debug, Serialize)]
pub struct WriteNode {
    /// The path.
    pub field: Path,
    /// The column's kind.
    #[serde(serialize_with = "text")]
    pub kind: Kind,
    /// Who uses it later on.
    pub read_by: Vec<User>,
}

/// A rule of a plugin that is about a field.
#[derive(Clone, Debug, Serialize)]
pub struct RuleNode {
    /// The rule's id.
    pub id: String,
    /// The field.
    pub field: Path,
}

/// A look-up table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TableNode {
    /// Its name.
    pub name: String,
    /// The columns that are read of it.
    pub columns: Vec<String>,
    /// The fields that make up its keys.
    pub keys: Vec<Path>,
    /// The stages that read it.
    pub read_by: Vec<String>,
}

/// A sink.
#[derive(Clone, Debug, Serialize)]
pub struct SinkNode {
    /// Its name.
    pub name: String,
    /// Whether it takes what the stages make, or the records as they came.
    pub zone: Zone,
    /// How new fields join the record.
    pub layout: Layout,
    /// Which records it takes.
    pub when: Option<ConditionNode>,
    /// The template of its directories: `event_type={event_type}`; empty where there is none.
    pub directory: String,
    /// What the template reads.
    pub directory_reads: Vec<ReadNode>,
    /// What the columns of its files read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub column_reads: Vec<ReadNode>,
    /// What its records are partitioned by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition_key: Option<ReadNode>,
}

impl SinkNode {
    /// What it reads besides its condition.
    pub(crate) fn reads(&self) -> impl Iterator<Item = &ReadNode> {
        self.directory_reads.iter().chain(&self.column_reads).chain(&self.partition_key)
    }
}

/// A field and all who name it, or something above or below it.
#[derive(Clone, Debug, Serialize)]
pub struct FieldNode {
    /// A path or a host value.
    #[serde(serialize_with = "text")]
    pub field: Origin,
    /// The stages that write it.
    pub written_by: Vec<String>,
    /// Who reads it, in the order of the data path.
    pub read_by: Vec<User>,
}

/// Who uses a field.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "who", content = "name", rename_all = "kebab-case")]
pub enum User {
    /// The source.
    Source(String),
    /// The pipeline's filter.
    Filter,
    /// A stage.
    Stage(String),
    /// A sink.
    Sink(String),
}

/// What for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "role", content = "of", rename_all = "kebab-case")]
pub enum Role {
    /// The source, or a sink, partitions by it.
    PartitionKey,
    /// A filter, a `when` or a route asks for it.
    Condition,
    /// A plugin reads it.
    Read,
    /// It is part of the key of a stage's states.
    StateKey,
    /// It is part of the key of a look-up in this table.
    Lookup(String),
    /// This rule of the plugin is about it.
    Rule(String),
    /// A directory's name is made of it.
    Directory,
    /// A column of a file is made of it.
    Column,
}

/// One use of a field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Use {
    /// Who.
    #[serde(flatten)]
    pub user: User,
    /// What for.
    #[serde(flatten)]
    pub role: Role,
    /// The field.
    #[serde(serialize_with = "text")]
    pub field: Origin,
    /// Whether records without it are rejected.
    pub required: bool,
    /// It sees what the stages before this one wrote; sinks stand behind the last, or before the
    /// first.
    #[serde(skip)]
    position: usize,
}

impl Lineage {
    /// Writes down what a config and its plugins, one a stage, say.
    pub fn of<'p>(config: &Config, plugins: impl IntoIterator<Item = &'p Plugin>) -> Self {
        let plugins: Vec<&Plugin> = plugins.into_iter().collect();
        let mut stages = Vec::new();
        let mut uses = Uses::new(config);
        if let Some(filter) = &config.filter {
            uses.condition(&User::Filter, 0, filter);
        }
        let filter = config.filter.as_ref().map(|it| condition_node(it, &[]));
        for (stage, plugin) in config.stages.iter().zip(&plugins) {
            let position = stages.len();
            let user = User::Stage(stage.name.clone());
            if let Some(when) = &stage.when {
                uses.condition(&user, position, when);
            }
            uses.plugin(&user, position, &plugin.description);
            let when = stage.when.as_ref().map(|it| condition_node(it, &stages));
            stages.push(stage_node(&stage.name, when, plugin, &stages));
        }
        let mut sinks = Vec::new();
        for sink in &config.sinks {
            let user = User::Sink(sink.name.clone());
            let before = &stages[..behind(sink.zone, stages.len())];
            if let Some(when) = &sink.when {
                uses.condition(&user, before.len(), when);
            }
            let node = sink_node(sink, &plugins, before);
            for read in &node.column_reads {
                uses.push(&user, Role::Column, before.len(), read.field.clone(), read.required);
            }
            for read in &node.directory_reads {
                uses.push(&user, Role::Directory, before.len(), read.field.clone(), false);
            }
            if let Some(read) = &node.partition_key {
                uses.push(&user, Role::PartitionKey, before.len(), read.field.clone(), true);
            }
            sinks.push(node);
        }
        let uses = uses.all;
        for (index, stage) in stages.iter_mut().enumerate() {
            for write in &mut stage.writes {
                let written = Origin::Field(write.field.clone());
                let later = uses.iter().filter(|it| it.position > index);
                write.read_by = users(later.filter(|it| touch(&it.field, &written)));
            }
        }
        Lineage {
            pipeline: config.pipeline.clone(),
            source: SourceNode {
                name: config.source.name.clone(),
                partition_key: config.source.partition_key().map(|it| it.0),
            },
            filter,
            tables: tables(&stages),
            fields: fields(&stages, &uses),
            stages,
            sinks,
            uses,
        }
    }

    /// Every use of a field, in the order of the data path.
    pub fn uses(&self) -> &[Use] {
        &self.uses
    }

    /// The first use of a field that a stage of `before` writes for it, and no stage of this one:
    /// the use, and the last stage that wrote the field.
    pub(crate) fn lost_since<'l>(&'l self, before: &'l Lineage) -> Option<(&'l Use, &'l str)> {
        self.uses.iter().find_map(|it| {
            // A rule is about what its plugin reads, and that is a use of its own.
            let (Origin::Field(path), false) = (&it.field, matches!(it.role, Role::Rule(_))) else {
                return None;
            };
            match (before.writer(path, it.position), self.writer(path, it.position)) {
                (Some(writer), None) => Some((it, writer)),
                _ => None,
            }
        })
    }

    /// The last of the first stages that writes a field.
    fn writer(&self, path: &Path, stages: usize) -> Option<&str> {
        let written = Origin::Field(path.clone());
        let writes = |stage: &&StageNode| {
            stage.writes.iter().any(|it| touch(&Origin::Field(it.field.clone()), &written))
        };
        self.stages.iter().take(stages).rfind(writes).map(|stage| stage.name.as_str())
    }
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let field = &self.field;
        let user = match &self.user {
            User::Source(name) => format!("source `{name}`"),
            User::Filter => return write!(f, "the filter reads `{field}`"),
            User::Stage(name) => format!("stage `{name}`"),
            User::Sink(name) => format!("sink `{name}`"),
        };
        match &self.role {
            Role::PartitionKey => write!(f, "{user} partitions by `{field}`"),
            Role::Condition => write!(f, "the `when` of {user} reads `{field}`"),
            Role::Read => write!(f, "{user} reads `{field}`"),
            Role::StateKey => write!(f, "the states of {user} are kept by `{field}`"),
            Role::Lookup(table) => write!(f, "{user} looks `{field}` up in table `{table}`"),
            Role::Rule(rule) => write!(f, "the rule `{rule}` of {user} is about `{field}`"),
            Role::Directory => write!(f, "the `tree` of {user} reads `{field}`"),
            Role::Column => write!(f, "a column of {user} reads `{field}`"),
        }
    }
}

/// Whether who names one of them notices a change of the other.
fn touch(one: &Origin, other: &Origin) -> bool {
    match (one, other) {
        (Origin::Field(one), Origin::Field(other)) => one.contains(other) || other.contains(one),
        (one, other) => one == other,
    }
}

/// Collects uses, each once.
struct Uses {
    partition_key: Option<Path>,
    all: Vec<Use>,
}

impl Uses {
    fn new(config: &Config) -> Self {
        let partition_key = config.source.partition_key().map(|it| it.0);
        let mut uses = Uses { partition_key: partition_key.clone(), all: Vec::new() };
        if let Some(path) = partition_key {
            let user = User::Source(config.source.name.clone());
            uses.push(&user, Role::PartitionKey, 0, Origin::Field(path), false);
        }
        uses
    }

    fn push(&mut self, user: &User, role: Role, position: usize, field: Origin, required: bool) {
        if let Origin::Lookup(lookup) = field {
            for key in lookup.keys {
                let role = Role::Lookup(lookup.table.clone());
                self.push(user, role, position, Origin::Field(key), required);
            }
            return;
        }
        if let (Origin::Host(HostValue::PartitionKey), Some(path)) = (&field, &self.partition_key) {
            // It is what the source had, whatever stages make of the field.
            let path = Origin::Field(path.clone());
            self.push(user, role.clone(), 0, path, required);
        }
        let known = self.all.iter_mut().find(|it| {
            (&it.user, &it.role, &it.field, it.position) == (user, &role, &field, position)
        });
        match known {
            Some(known) => known.required |= required,
            None => self.all.push(Use { user: user.clone(), role, field, required, position }),
        }
    }

    fn condition(&mut self, user: &User, position: usize, condition: &Condition) {
        for (field, _) in condition_reads(condition) {
            self.push(user, Role::Condition, position, field, false);
        }
    }

    fn plugin(&mut self, user: &User, position: usize, description: &Description) {
        for read in &description.reads {
            self.push(user, Role::Read, position, read.from.clone(), read.required);
        }
        for field in state_key(description).into_iter().flatten() {
            self.push(user, Role::StateKey, position, field, false);
        }
        for rule in &description.rules {
            let Some(field) = rule.field.clone().map(Origin::Field) else { continue };
            // A rule about what the plugin makes notices nothing that comes in.
            if !description.reads.iter().any(|read| touch(&read.from, &field)) {
                continue;
            }
            self.push(user, Role::Rule(rule.id.clone()), position, field, false);
        }
    }
}

/// What a condition asks for. One that can't be compiled has been refused by the plan.
fn condition_reads(condition: &Condition) -> Vec<(Origin, Kind)> {
    condition.compile().map(|compiled| compiled.reads).unwrap_or_default()
}

fn state_key(description: &Description) -> Option<Vec<Origin>> {
    let state = description.state.as_ref()?;
    let reads = state.key.iter().filter_map(|&i| description.reads.get(i as usize));
    Some(reads.map(|read| read.from.clone()).collect())
}

fn condition_node(condition: &Condition, before: &[StageNode]) -> ConditionNode {
    let reads = condition_reads(condition);
    let reads = reads.into_iter().map(|(field, kind)| read_node(field, kind, false, before));
    ConditionNode { condition: condition.clone(), reads: reads.collect() }
}

fn read_node(field: Origin, kind: Kind, required: bool, before: &[StageNode]) -> ReadNode {
    let (from, keys) = match &field {
        Origin::Field(path) => (writers(path, before), Vec::new()),
        Origin::Host(_) => (vec!["host".to_owned()], Vec::new()),
        Origin::Lookup(lookup) => (vec![lookup.table.clone()], lookup.keys.clone()),
    };
    ReadNode { field, kind, required, from, keys }
}

/// The stages that write a field, the last first, and the source, for a stage need not write.
fn writers(path: &Path, before: &[StageNode]) -> Vec<String> {
    let writes = |stage: &&StageNode| {
        stage.writes.iter().any(|it| it.field.contains(path) || path.contains(&it.field))
    };
    let stages = before.iter().rev().filter(writes).map(|stage| stage.name.clone());
    stages.chain(["source".to_owned()]).collect()
}

fn stage_node(
    name: &str,
    when: Option<ConditionNode>,
    plugin: &Plugin,
    before: &[StageNode],
) -> StageNode {
    let Plugin { about, description, component, .. } = plugin;
    let reads = description
        .reads
        .iter()
        .map(|read| read_node(read.from.clone(), read.kind.clone(), read.required, before));
    let writes = description.writes.iter().map(|written| WriteNode {
        field: written.path.clone(),
        kind: written.kind.clone(),
        // Known once all later uses are.
        read_by: Vec::new(),
    });
    let rules = description
        .rules
        .iter()
        .filter_map(|rule| Some(RuleNode { id: rule.id.clone(), field: rule.field.clone()? }));
    StageNode {
        name: name.to_owned(),
        plugin: format!("{} {}", about.name, about.version),
        component: *component,
        when,
        reads: reads.collect(),
        writes: writes.collect(),
        state_key: state_key(description),
        rules: rules.collect(),
    }
}

fn sink_node(sink: &Sink, plugins: &[&Plugin], stages: &[StageNode]) -> SinkNode {
    let columns = match &sink.format {
        Format::Jsonl => Vec::new(),
        Format::Parquet(parquet) => {
            let mut columns = crate::plan::columns(parquet);
            if parquet.declared {
                let descriptions = plugins.iter().map(|plugin| &plugin.description);
                columns.extend(declared_columns(descriptions, &columns));
            }
            columns
        }
    };
    let column_reads =
        columns.into_iter().map(|it| read_node(it.from, it.kind, it.required, stages));
    let levels = sink.tree().into_iter().flatten();
    let partition_key = sink.kinesis.as_ref().and_then(KinesisSink::partition_key);
    SinkNode {
        name: sink.name.clone(),
        zone: sink.zone,
        layout: sink.layout.clone(),
        when: sink.when.as_ref().map(|it| condition_node(it, stages)),
        directory: sink.template().unwrap_or_default(),
        directory_reads: levels.filter_map(|level| level_read(level, stages)).collect(),
        column_reads: column_reads.collect(),
        partition_key: partition_key.map(|field| {
            let kind = match &field {
                Origin::Host(value) => value.kind(),
                _ => Kind::Json,
            };
            read_node(field, kind, true, stages)
        }),
    }
}

/// How many stages a sink stands behind.
fn behind(zone: Zone, stages: usize) -> usize {
    match zone {
        Zone::Processed => stages,
        Zone::Raw => 0,
    }
}

/// What a level of a tree reads: raw JSON of a field, or a time.
fn level_read(level: &TreeLevel, stages: &[StageNode]) -> Option<ReadNode> {
    use tidegate_core::description::TimestampFormat::Rfc3339;

    let (text, kind) = match (&level.time, &level.field) {
        (Some(time), _) => (time, Kind::Timestamp(Rfc3339)),
        (None, Some(field)) => (field, Kind::Json),
        (None, None) => return None,
    };
    let field = named(text)?;
    let kind = match &field {
        Origin::Host(value) => value.kind(),
        _ => kind,
    };
    Some(read_node(field, kind, false, stages))
}

/// A host value by its name, or a path.
pub(crate) fn named(text: &str) -> Option<Origin> {
    match HostValue::ALL.into_iter().find(|value| value.name() == text) {
        Some(value) => Some(Origin::Host(value)),
        None => text.parse().ok().map(Origin::Field),
    }
}

fn tables(stages: &[StageNode]) -> Vec<TableNode> {
    let mut tables: Vec<TableNode> = Vec::new();
    for stage in stages {
        for read in &stage.reads {
            let Origin::Lookup(lookup) = &read.field else { continue };
            let known = tables.iter().position(|it| it.name == lookup.table);
            let known = known.unwrap_or_else(|| {
                tables.push(TableNode {
                    name: lookup.table.clone(),
                    columns: Vec::new(),
                    keys: Vec::new(),
                    read_by: Vec::new(),
                });
                tables.len() - 1
            });
            let table = &mut tables[known];
            push_new(&mut table.columns, lookup.column.clone());
            push_new(&mut table.read_by, stage.name.clone());
            for key in &lookup.keys {
                push_new(&mut table.keys, key.clone());
            }
        }
    }
    tables
}

fn fields(stages: &[StageNode], uses: &[Use]) -> Vec<FieldNode> {
    let writes = || stages.iter().flat_map(|stage| stage.writes.iter().map(move |it| (stage, it)));
    let mut named: Vec<Origin> = uses.iter().map(|it| it.field.clone()).collect();
    named.extend(writes().map(|(_, write)| Origin::Field(write.field.clone())));
    named.sort_by_cached_key(Origin::to_string);
    named.dedup();
    let node = |field: Origin| {
        let mut written_by = Vec::new();
        for (stage, write) in writes() {
            if touch(&field, &Origin::Field(write.field.clone())) {
                push_new(&mut written_by, stage.name.clone());
            }
        }
        let read_by = users(uses.iter().filter(|it| touch(&it.field, &field)));
        FieldNode { field, written_by, read_by }
    };
    named.into_iter().map(node).collect()
}

/// Whose uses they are, each once.
fn users<'u>(uses: impl Iterator<Item = &'u Use>) -> Vec<User> {
    let mut users = Vec::new();
    for it in uses {
        push_new(&mut users, it.user.clone());
    }
    users
}

fn push_new<T: PartialEq>(list: &mut Vec<T>, item: T) {
    if !list.contains(&item) {
        list.push(item);
    }
}

fn text<S: Serializer>(it: &impl std::fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(it)
}

fn optional_texts<S: Serializer>(
    fields: &Option<Vec<Origin>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let texts = fields.as_ref().map(|it| it.iter().map(Origin::to_string).collect::<Vec<_>>());
    texts.serialize(serializer)
}

#[cfg(test)]
mod tests;
