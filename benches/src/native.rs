//! Plugins linked natively, behind the seam that components stand behind.
//!
//! The same sources, the same columns in, the same checks of the reply: what is left of the
//! difference to a component is the sandbox.

use std::{marker::PhantomData, sync::Arc};

use tidegate_core::{
    Batch, Column, Digest, Transform, TransformFactory, Values,
    column::Binary,
    description as ours,
    path::{Path, Segment},
    transform::{Breach, ChangedStates, Findings, Plugin, Reply, ReplyLimits, TransformError},
};
use tidegate_engine::Limits;
use tidegate_plugin as sdk;

/// Makes instances of a plugin that is linked into this program.
pub struct NativeFactory<P> {
    config_json: String,
    plugin: Arc<Plugin>,
    makes: PhantomData<fn() -> P>,
}

impl<P: sdk::Plugin> NativeFactory<P> {
    /// Configures the plugin.
    pub fn new(config_json: String) -> Result<Self, sdk::ConfigError> {
        let (_, description) = sdk::configure::<P>(&config_json)?;
        let about = P::about();
        let plugin = Plugin {
            component: Digest::of(about.name.as_bytes()),
            config: Digest::of(config_json.as_bytes()),
            about: ours::About {
                name: about.name.into(),
                version: about.version.into(),
                summary: about.summary.into(),
                config_schema: sdk::config_schema::<P>(),
                capabilities: about.capabilities.into_iter().map(capability).collect(),
                state_version: about.state_version,
                may_be_passed_by: about.may_be_passed_by,
            },
            description: describe(description),
        };
        Ok(NativeFactory { config_json, plugin: Arc::new(plugin), makes: PhantomData })
    }
}

impl<P: sdk::Plugin + Send> TransformFactory for NativeFactory<P> {
    fn plugin(&self) -> &Plugin {
        &self.plugin
    }

    fn instantiate(&self) -> Result<Box<dyn Transform>, TransformError> {
        let (instance, _) = sdk::configure::<P>(&self.config_json)
            .map_err(|error| TransformError::new(Breach::Configure, error.to_string()))?;
        Ok(Box::new(Native { instance, plugin: Arc::clone(&self.plugin) }))
    }
}

struct Native<P> {
    instance: P,
    plugin: Arc<Plugin>,
}

impl<P: sdk::Plugin + Send> Transform for Native<P> {
    fn transform(&mut self, batch: &Batch<'_>) -> Result<Reply, TransformError> {
        let columns: Vec<_> = batch.columns.iter().map(|column| lend(column)).collect();
        let states = sdk::batch::States {
            rows: &batch.states.rows,
            offsets: &batch.states.values.offsets,
            bytes: &batch.states.values.bytes,
        };
        let lent = sdk::Batch { rows: batch.rows as usize, columns: &columns, states };
        let reply = take(self.instance.transform(&lent));
        let limits = Limits::default();
        let limits = ReplyLimits {
            reply_bytes_max: limits.reply_bytes.of(batch.rows),
            findings_max: limits.findings.of(batch.rows),
            state_bytes_max: limits.state_bytes,
            fan_out: self.plugin.about.capabilities.contains(&ours::Capability::FanOut),
        };
        reply.check(&self.plugin.description, batch, &limits)?;
        Ok(reply)
    }

    fn memory_bytes(&self) -> u64 {
        0
    }
}

fn lend(column: &Column) -> sdk::batch::Column<'_> {
    use sdk::batch::Values as Lent;
    let values = match &column.values {
        Values::Boolean(values) => Lent::Boolean(values),
        Values::Int64(values) => Lent::Int64(values),
        Values::Float64(values) => Lent::Float64(values),
        Values::Timestamp(values) => Lent::Timestamp(values),
        Values::Date(values) => Lent::Date(values),
        Values::Utf8(texts) => Lent::Utf8(text(texts)),
        Values::Enumeration(codes) => Lent::Enumeration(codes),
        Values::Json(texts) => Lent::Json(text(texts)),
    };
    sdk::batch::Column { values, presence: &column.presence }
}

fn text(texts: &Binary) -> sdk::batch::Text<'_> {
    // SAFETY: a column of text holds UTF-8, which the projection has checked, and a guest takes
    // its word for it, too.
    let bytes = unsafe { std::str::from_utf8_unchecked(&texts.bytes) };
    sdk::batch::Text { offsets: &texts.offsets, bytes }
}

fn take(reply: sdk::Reply) -> Reply {
    Reply {
        verdicts: reply.verdicts,
        parents: reply.parents,
        columns: reply.columns.into_iter().map(take_column).collect(),
        findings: Findings {
            rows: reply.findings.rows,
            rules: reply.findings.rules,
            details: take_binary(reply.findings.details),
        },
        states: ChangedStates { keys: reply.states.keys, values: take_binary(reply.states.values) },
    }
}

fn take_column(column: sdk::reply::Column) -> Column {
    use sdk::reply::Values as Taken;
    let values = match column.values {
        Taken::Boolean(values) => Values::Boolean(values),
        Taken::Int64(values) => Values::Int64(values),
        Taken::Float64(values) => Values::Float64(values),
        Taken::Timestamp(values) => Values::Timestamp(values),
        Taken::Date(values) => Values::Date(values),
        Taken::Utf8(texts) => Values::Utf8(take_binary(texts)),
        Taken::Enumeration(codes) => Values::Enumeration(codes),
        Taken::Json(texts) => Values::Json(take_binary(texts)),
    };
    Column { values, presence: column.presence }
}

fn take_binary(binary: sdk::reply::Binary) -> Binary {
    Binary { offsets: binary.offsets, bytes: binary.bytes }
}

// What a plugin says of itself, in the host's words.

fn describe(description: sdk::Description) -> ours::Description {
    ours::Description {
        reads: description.reads.into_iter().map(read).collect(),
        writes: description
            .writes
            .into_iter()
            .map(|write| ours::Written { path: path(write.path), kind: kind(write.kind) })
            .collect(),
        rules: description.rules.into_iter().map(rule).collect(),
        state: description.state_key.map(|key| ours::KeyedState { key }),
    }
}

fn read(read: sdk::Read) -> ours::Read {
    let from = match read.from {
        sdk::Origin::Field(field) => ours::Origin::Field(path(field)),
        sdk::Origin::Host(value) => ours::Origin::Host(host_value(value)),
        sdk::Origin::Lookup(lookup) => ours::Origin::Lookup(ours::Lookup {
            table: lookup.table,
            keys: lookup.keys.into_iter().map(path).collect(),
            column: lookup.column,
        }),
    };
    ours::Read { from, kind: kind(read.kind), required: read.required }
}

fn path(path: sdk::Path) -> Path {
    let segment = |segment| match segment {
        sdk::Segment::Key(key) => Segment::Key(key),
        sdk::Segment::Index(index) => Segment::Index(index),
    };
    Path(path.0.into_iter().map(segment).collect())
}

fn kind(kind: sdk::Kind) -> ours::Kind {
    match kind {
        sdk::Kind::Boolean => ours::Kind::Boolean,
        sdk::Kind::Int64 => ours::Kind::Int64,
        sdk::Kind::Float64 => ours::Kind::Float64,
        sdk::Kind::Timestamp(format) => ours::Kind::Timestamp(match format {
            sdk::TimestampFormat::Rfc3339 => ours::TimestampFormat::Rfc3339,
            sdk::TimestampFormat::UnixSeconds => ours::TimestampFormat::UnixSeconds,
            sdk::TimestampFormat::UnixMilliseconds => ours::TimestampFormat::UnixMilliseconds,
            sdk::TimestampFormat::UnixMicroseconds => ours::TimestampFormat::UnixMicroseconds,
        }),
        sdk::Kind::Date => ours::Kind::Date,
        sdk::Kind::Utf8 => ours::Kind::Utf8,
        sdk::Kind::Enumeration(labels) => ours::Kind::Enumeration(labels),
        sdk::Kind::Json => ours::Kind::Json,
    }
}

fn host_value(value: sdk::HostValue) -> ours::HostValue {
    match value {
        sdk::HostValue::RecordId => ours::HostValue::RecordId,
        sdk::HostValue::Partition => ours::HostValue::Partition,
        sdk::HostValue::Position => ours::HostValue::Position,
        sdk::HostValue::PartitionKey => ours::HostValue::PartitionKey,
        sdk::HostValue::ArrivalTime => ours::HostValue::ArrivalTime,
        sdk::HostValue::BatchTime => ours::HostValue::BatchTime,
        sdk::HostValue::Source => ours::HostValue::Source,
    }
}

fn rule(rule: sdk::Rule) -> ours::Rule {
    ours::Rule {
        id: rule.id,
        dimension: match rule.dimension {
            sdk::Dimension::Completeness => ours::Dimension::Completeness,
            sdk::Dimension::Validity => ours::Dimension::Validity,
            sdk::Dimension::Uniqueness => ours::Dimension::Uniqueness,
            sdk::Dimension::Consistency => ours::Dimension::Consistency,
            sdk::Dimension::Timeliness => ours::Dimension::Timeliness,
            sdk::Dimension::Accuracy => ours::Dimension::Accuracy,
        },
        severity: match rule.severity {
            sdk::Severity::Info => ours::Severity::Info,
            sdk::Severity::Warn => ours::Severity::Warn,
            sdk::Severity::Reject => ours::Severity::Reject,
        },
        field: rule.field.map(path),
        text: rule.text,
    }
}

fn capability(capability: sdk::Capability) -> ours::Capability {
    match capability {
        sdk::Capability::State => ours::Capability::State,
        sdk::Capability::FanOut => ours::Capability::FanOut,
        sdk::Capability::Document => ours::Capability::Document,
        sdk::Capability::Lookups => ours::Capability::Lookups,
    }
}
