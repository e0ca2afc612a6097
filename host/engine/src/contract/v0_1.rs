//! Version 0.1.0 of the contract: its bindings, and the conversions to the host's vocabulary.

use tidegate_core::{
    column::{Binary, Column, Values},
    description::{
        About, Capability, Description, Dimension, HostValue, KeyedState, Kind, Lookup, Origin,
        Read, Rule, Severity, TimestampFormat, Written,
    },
    path::{Path, Segment},
    transform::{Batch, ChangedStates, Findings, Reply, States},
};
use wasmtime::{
    Store,
    component::{HasSelf, InstancePre, Linker},
};

use self::bindings::{
    TransformWindowedMigrating,
    exports::tidegate::plugin::{migration as exported_migration, plugin as exported},
    tidegate::plugin::{columns as wire, description as said, host},
};
use super::Refusal;
use crate::guest::{Guest, LogLevel};

/// Bindings of the largest world: the types of all interfaces. Of what it exports, `plugin` is
/// asked for, and `migration` where a component has it.
#[allow(missing_docs, unreachable_pub, reason = "generated")]
mod bindings {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "transform-windowed-migrating",
        // Columns go into the guest as borrowed slices: one copy, into its memory.
        ownership: Borrowing { duplicate_if_necessary: true },
        imports: { default: trappable },
    });
}

/// Offers the contract's imports.
pub(crate) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    TransformWindowedMigrating::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)
}

/// A component, linked and ready to be instantiated.
pub(crate) struct Linked {
    pre: InstancePre<Guest>,
    exports: exported::GuestIndices,
    migration: Option<exported_migration::GuestIndices>,
}

impl Linked {
    /// Checks that the exports have the contract's types. `migrates` says whether there is one to
    /// migrate states by.
    pub(crate) fn new(pre: InstancePre<Guest>, migrates: bool) -> wasmtime::Result<Self> {
        let exports = exported::GuestIndices::new(&pre)?;
        let migration =
            migrates.then(|| exported_migration::GuestIndices::new(&pre)).transpose()?;
        Ok(Linked { pre, exports, migration })
    }

    /// A fresh instance in a store of its own.
    pub(crate) fn instantiate(&self, store: &mut Store<Guest>) -> wasmtime::Result<Exports> {
        let instance = self.pre.instantiate(&mut *store)?;
        let plugin = self.exports.load(&mut *store, &instance)?;
        let migration = self.migration.as_ref();
        let migration = migration.map(|it| it.load(store, &instance)).transpose()?;
        Ok(Exports { plugin, migration })
    }
}

/// The exported functions of one instance, in the host's terms.
pub(crate) struct Exports {
    plugin: exported::Guest,
    migration: Option<exported_migration::Guest>,
}

impl Exports {
    /// `describe`. The inner error says what is wrong with the answer.
    pub(crate) fn describe(
        &self,
        store: &mut Store<Guest>,
    ) -> wasmtime::Result<Result<About, String>> {
        self.plugin.call_describe(store).map(about)
    }

    /// `configure`. The inner error is the plugin's.
    pub(crate) fn configure(
        &self,
        store: &mut Store<Guest>,
        config: &str,
    ) -> wasmtime::Result<Result<Description, Refusal>> {
        let answer = self.plugin.call_configure(store, config)?;
        Ok(answer
            .map(description)
            .map_err(|said::ConfigError { pointer, message }| Refusal { pointer, message }))
    }

    /// `transform`. The reply is as the guest gave it: unchecked.
    pub(crate) fn transform(
        &self,
        store: &mut Store<Guest>,
        batch: &Batch<'_>,
    ) -> wasmtime::Result<Reply> {
        let columns: Vec<_> = batch.columns.iter().map(|column| lent_column(column)).collect();
        let states = lent_states(batch.states);
        let batch = wire::Batch { rows: batch.rows, columns: &columns, states };
        self.plugin.call_transform(store, batch).map(reply)
    }

    /// `migrate`; none where the component can't. The inner error is the plugin's, and the states
    /// are as the guest gave them: unchecked.
    pub(crate) fn migrate(
        &self,
        store: &mut Store<Guest>,
        from: u32,
        states: &Binary,
    ) -> wasmtime::Result<Option<Result<Binary, String>>> {
        let Some(migration) = &self.migration else { return Ok(None) };
        let answer = migration.call_migrate(store, from, lent_binary(states))?;
        Ok(Some(answer.map(binary)))
    }
}

impl host::Host for Guest {
    fn log(&mut self, level: host::Level, message: String) -> wasmtime::Result<()> {
        let level = match level {
            host::Level::Debug => LogLevel::Debug,
            host::Level::Info => LogLevel::Info,
            host::Level::Warn => LogLevel::Warn,
            host::Level::Error => LogLevel::Error,
        };
        Guest::log(self, level, message)
    }

    fn fault(&mut self, row: Option<u32>, message: String) -> wasmtime::Result<()> {
        Guest::fault(self, row, message)
    }
}

impl wire::Host for Guest {}

impl said::Host for Guest {}

// Into the guest: everything is lent.

fn lent_binary(binary: &Binary) -> wire::BinaryParam<'_> {
    wire::BinaryParam { offsets: &binary.offsets, bytes: &binary.bytes }
}

fn lent_column(column: &Column) -> wire::ColumnParam<'_> {
    let values = match &column.values {
        Values::Boolean(values) => wire::ValuesParam::Boolean(values),
        Values::Int64(values) => wire::ValuesParam::Int64(values),
        Values::Float64(values) => wire::ValuesParam::Float64(values),
        Values::Timestamp(values) => wire::ValuesParam::Timestamp(values),
        Values::Date(values) => wire::ValuesParam::Date(values),
        Values::Utf8(values) => wire::ValuesParam::Utf8(lent_binary(values)),
        Values::Enumeration(codes) => wire::ValuesParam::Enumeration(codes),
        Values::Json(values) => wire::ValuesParam::Json(lent_binary(values)),
    };
    wire::ColumnParam { values, presence: &column.presence }
}

fn lent_states(states: &States) -> wire::States<'_> {
    wire::States { rows: &states.rows, values: lent_binary(&states.values) }
}

// Out of the guest: everything is moved.

fn binary(binary: wire::BinaryResult) -> Binary {
    Binary { offsets: binary.offsets, bytes: binary.bytes }
}

fn column(column: wire::ColumnResult) -> Column {
    let values = match column.values {
        wire::ValuesResult::Boolean(values) => Values::Boolean(values),
        wire::ValuesResult::Int64(values) => Values::Int64(values),
        wire::ValuesResult::Float64(values) => Values::Float64(values),
        wire::ValuesResult::Timestamp(values) => Values::Timestamp(values),
        wire::ValuesResult::Date(values) => Values::Date(values),
        wire::ValuesResult::Utf8(values) => Values::Utf8(binary(values)),
        wire::ValuesResult::Enumeration(codes) => Values::Enumeration(codes),
        wire::ValuesResult::Json(values) => Values::Json(binary(values)),
    };
    Column { values, presence: column.presence }
}

fn reply(reply: wire::Reply) -> Reply {
    Reply {
        verdicts: reply.verdicts,
        parents: reply.parents,
        columns: reply.columns.into_iter().map(column).collect(),
        findings: Findings {
            rows: reply.findings.rows,
            rules: reply.findings.rules,
            details: binary(reply.findings.details),
        },
        states: ChangedStates { keys: reply.states.keys, values: binary(reply.states.values) },
    }
}

fn about(about: said::About) -> Result<About, String> {
    let capability = |name: String| {
        let known = Capability::ALL.into_iter().find(|capability| capability.name() == name);
        known.ok_or_else(|| {
            let known = Capability::ALL.map(Capability::name).join(", ");
            format!("it asks for the capability `{name}`, and this host knows {known}")
        })
    };
    Ok(About {
        name: about.name,
        version: about.version,
        summary: about.summary,
        config_schema: about.config_schema,
        capabilities: about.capabilities.into_iter().map(capability).collect::<Result<_, _>>()?,
        state_version: about.state_version,
        may_be_passed_by: about.may_be_passed_by,
    })
}

fn description(description: said::Description) -> Description {
    Description {
        reads: description.reads.into_iter().map(read).collect(),
        writes: description.writes.into_iter().map(written).collect(),
        rules: description.rules.into_iter().map(rule).collect(),
        state: description.state.map(|state| KeyedState { key: state.key }),
    }
}

fn path(segments: said::Path) -> Path {
    let segment = |segment| match segment {
        said::Segment::Key(key) => Segment::Key(key),
        said::Segment::Index(index) => Segment::Index(index),
    };
    Path(segments.into_iter().map(segment).collect())
}

fn kind(kind: said::Kind) -> Kind {
    match kind {
        said::Kind::Boolean => Kind::Boolean,
        said::Kind::Int64 => Kind::Int64,
        said::Kind::Float64 => Kind::Float64,
        said::Kind::Timestamp(format) => Kind::Timestamp(match format {
            said::TimestampFormat::Rfc3339 => TimestampFormat::Rfc3339,
            said::TimestampFormat::UnixSeconds => TimestampFormat::UnixSeconds,
            said::TimestampFormat::UnixMilliseconds => TimestampFormat::UnixMilliseconds,
            said::TimestampFormat::UnixMicroseconds => TimestampFormat::UnixMicroseconds,
        }),
        said::Kind::Date => Kind::Date,
        said::Kind::Utf8 => Kind::Utf8,
        said::Kind::Enumeration(dictionary) => Kind::Enumeration(dictionary),
        said::Kind::Json => Kind::Json,
    }
}

fn read(read: said::Read) -> Read {
    let from = match read.from {
        said::Origin::Field(segments) => Origin::Field(path(segments)),
        said::Origin::Host(value) => Origin::Host(match value {
            said::HostValue::RecordId => HostValue::RecordId,
            said::HostValue::Partition => HostValue::Partition,
            said::HostValue::Position => HostValue::Position,
            said::HostValue::PartitionKey => HostValue::PartitionKey,
            said::HostValue::ArrivalTime => HostValue::ArrivalTime,
            said::HostValue::BatchTime => HostValue::BatchTime,
            said::HostValue::Source => HostValue::Source,
        }),
        said::Origin::Lookup(lookup) => Origin::Lookup(Lookup {
            table: lookup.table,
            keys: lookup.keys.into_iter().map(path).collect(),
            column: lookup.column,
        }),
    };
    Read { from, kind: kind(read.kind), required: read.required }
}

fn written(write: said::Write) -> Written {
    Written { path: path(write.path), kind: kind(write.kind) }
}

fn rule(rule: said::Rule) -> Rule {
    Rule {
        id: rule.id,
        dimension: match rule.dimension {
            said::Dimension::Completeness => Dimension::Completeness,
            said::Dimension::Validity => Dimension::Validity,
            said::Dimension::Uniqueness => Dimension::Uniqueness,
            said::Dimension::Consistency => Dimension::Consistency,
            said::Dimension::Timeliness => Dimension::Timeliness,
            said::Dimension::Accuracy => Dimension::Accuracy,
        },
        severity: match rule.severity {
            said::Severity::Info => Severity::Info,
            said::Severity::Warn => Severity::Warn,
            said::Severity::Reject => Severity::Reject,
        },
        field: rule.field.map(path),
        text: rule.text,
    }
}
