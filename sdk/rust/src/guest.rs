//! The component's side of the contract: bindings, and the way between them and this crate.
//!
//! The only module that knows WIT. Everything else compiles and runs natively.

use crate::{
    About, Batch, ConfigError, Description, Migrate, Plugin, Reply, batch, description as ours,
    fault,
};

use bindings::exports::tidegate::plugin::plugin as exported;
use bindings::tidegate::plugin::{columns, description};

#[allow(missing_docs, unreachable_pub, clippy::all)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "transform",
        generate_all,
        pub_export_macro: true,
        export_macro_name: "export_transform",
        default_bindings_module: "tidegate_plugin::guest::bindings",
    });
}

/// What a component exports besides if it migrates states. The whole world that the contract has for
/// it would be all of the above once more.
#[allow(missing_docs, unreachable_pub, clippy::all)]
pub mod migrating {
    wit_bindgen::generate!({
        inline: "
            package tidegate:sdk;
            world migrating { export tidegate:plugin/migration@0.1.0; }
        ",
        path: "../../wit",
        world: "tidegate:sdk/migrating",
        with: {
            "tidegate:plugin/columns@0.1.0": crate::guest::bindings::tidegate::plugin::columns,
        },
        pub_export_macro: true,
        export_macro_name: "export_migrating",
        default_bindings_module: "tidegate_plugin::guest::migrating",
    });
}

pub use columns::Binary;

/// The `describe` of a plugin.
pub fn describe<P: Plugin>() -> exported::About {
    fault::install_hook();
    let About { name, version, summary, capabilities, state_version, may_be_passed_by } =
        P::about();
    description::About {
        name: name.to_owned(),
        version: version.to_owned(),
        summary: summary.to_owned(),
        config_schema: crate::config_schema::<P>(),
        capabilities: capabilities.iter().map(|known| known.name().to_owned()).collect(),
        state_version,
        may_be_passed_by,
    }
}

/// The `configure` of a plugin: the instance, to be kept, and what the host is told.
pub fn configure<P: Plugin>(
    config: &str,
) -> Result<(P, exported::Description), exported::ConfigError> {
    fault::install_hook();
    match crate::configure::<P>(config) {
        Ok((plugin, description)) => Ok((plugin, description_to_host(description))),
        Err(ConfigError { pointer, message }) => Err(description::ConfigError { pointer, message }),
    }
}

/// The `transform` of a plugin.
pub fn transform<P: Plugin>(plugin: &P, batch: exported::Batch) -> exported::Reply {
    fault::note_no_row();
    let columns: Vec<_> = batch.columns.iter().map(column_from_host).collect();
    let states = batch::States {
        rows: &batch.states.rows,
        offsets: &batch.states.values.offsets,
        bytes: &batch.states.values.bytes,
    };
    let reply = plugin.transform(&Batch { rows: batch.rows as usize, columns: &columns, states });
    fault::note_no_row();
    reply_to_host(reply)
}

/// The `migrate` of a plugin.
pub fn migrate<P: Migrate>(from: u32, states: &Binary) -> Result<Binary, String> {
    fault::note_no_row();
    let states = batch::States { rows: &[], offsets: &states.offsets, bytes: &states.bytes };
    let mut migrated = crate::reply::Binary::default();
    for place in 0..states.keys() {
        migrated.push(&P::migrate(from, states.get(place))?);
    }
    Ok(binary_to_host(migrated))
}

fn column_from_host(column: &columns::Column) -> batch::Column<'_> {
    let values = match &column.values {
        columns::Values::Boolean(values) => batch::Values::Boolean(values),
        columns::Values::Int64(values) => batch::Values::Int64(values),
        columns::Values::Float64(values) => batch::Values::Float64(values),
        columns::Values::Timestamp(values) => batch::Values::Timestamp(values),
        columns::Values::Date(values) => batch::Values::Date(values),
        columns::Values::Utf8(texts) => batch::Values::Utf8(text_from_host(texts)),
        columns::Values::Enumeration(codes) => batch::Values::Enumeration(codes),
        columns::Values::Json(texts) => batch::Values::Json(text_from_host(texts)),
    };
    batch::Column { values, presence: &column.presence }
}

fn text_from_host(texts: &columns::Binary) -> batch::Text<'_> {
    // SAFETY: the contract says that these bytes are UTF-8, and the host, which owns this memory
    // and runs this code, checked it. Checking it again would cost more than most plugins do.
    let bytes = unsafe { std::str::from_utf8_unchecked(&texts.bytes) };
    batch::Text { offsets: &texts.offsets, bytes }
}

fn reply_to_host(reply: Reply) -> columns::Reply {
    columns::Reply {
        verdicts: reply.verdicts,
        parents: reply.parents,
        columns: reply.columns.into_iter().map(column_to_host).collect(),
        findings: columns::Findings {
            rows: reply.findings.rows,
            rules: reply.findings.rules,
            details: binary_to_host(reply.findings.details),
        },
        states: columns::ChangedStates {
            keys: reply.states.keys,
            values: binary_to_host(reply.states.values),
        },
    }
}

fn column_to_host(column: crate::reply::Column) -> columns::Column {
    use crate::reply::Values;
    let values = match column.values {
        Values::Boolean(values) => columns::Values::Boolean(values),
        Values::Int64(values) => columns::Values::Int64(values),
        Values::Float64(values) => columns::Values::Float64(values),
        Values::Timestamp(values) => columns::Values::Timestamp(values),
        Values::Date(values) => columns::Values::Date(values),
        Values::Utf8(texts) => columns::Values::Utf8(binary_to_host(texts)),
        Values::Enumeration(codes) => columns::Values::Enumeration(codes),
        Values::Json(texts) => columns::Values::Json(binary_to_host(texts)),
    };
    columns::Column { values, presence: column.presence }
}

fn binary_to_host(binary: crate::reply::Binary) -> columns::Binary {
    columns::Binary { offsets: binary.offsets, bytes: binary.bytes }
}

fn description_to_host(from: Description) -> description::Description {
    description::Description {
        reads: from.reads.into_iter().map(read_to_host).collect(),
        writes: from
            .writes
            .into_iter()
            .map(|write| description::Write {
                path: path_to_host(write.path),
                kind: kind_to_host(write.kind),
            })
            .collect(),
        rules: from.rules.into_iter().map(rule_to_host).collect(),
        state: from.state_key.map(|key| description::KeyedState { key }),
    }
}

fn read_to_host(read: ours::Read) -> description::Read {
    let from = match read.from {
        ours::Origin::Field(path) => description::Origin::Field(path_to_host(path)),
        ours::Origin::Host(value) => description::Origin::Host(match value {
            ours::HostValue::RecordId => description::HostValue::RecordId,
            ours::HostValue::Partition => description::HostValue::Partition,
            ours::HostValue::Position => description::HostValue::Position,
            ours::HostValue::PartitionKey => description::HostValue::PartitionKey,
            ours::HostValue::ArrivalTime => description::HostValue::ArrivalTime,
            ours::HostValue::BatchTime => description::HostValue::BatchTime,
            ours::HostValue::Source => description::HostValue::Source,
        }),
        ours::Origin::Lookup(ours::Lookup { table, keys, column }) => {
            let keys = keys.into_iter().map(path_to_host).collect();
            description::Origin::Lookup(description::Lookup { table, keys, column })
        }
    };
    description::Read { from, kind: kind_to_host(read.kind), required: read.required }
}

fn path_to_host(path: crate::Path) -> description::Path {
    path.0
        .into_iter()
        .map(|segment| match segment {
            crate::Segment::Key(key) => description::Segment::Key(key),
            crate::Segment::Index(index) => description::Segment::Index(index),
        })
        .collect()
}

fn kind_to_host(kind: ours::Kind) -> description::Kind {
    match kind {
        ours::Kind::Boolean => description::Kind::Boolean,
        ours::Kind::Int64 => description::Kind::Int64,
        ours::Kind::Float64 => description::Kind::Float64,
        ours::Kind::Timestamp(format) => description::Kind::Timestamp(match format {
            ours::TimestampFormat::Rfc3339 => description::TimestampFormat::Rfc3339,
            ours::TimestampFormat::UnixSeconds => description::TimestampFormat::UnixSeconds,
            ours::TimestampFormat::UnixMilliseconds => {
                description::TimestampFormat::UnixMilliseconds
            }
            ours::TimestampFormat::UnixMicroseconds => {
                description::TimestampFormat::UnixMicroseconds
            }
        }),
        ours::Kind::Date => description::Kind::Date,
        ours::Kind::Utf8 => description::Kind::Utf8,
        ours::Kind::Enumeration(labels) => description::Kind::Enumeration(labels),
        ours::Kind::Json => description::Kind::Json,
    }
}

fn rule_to_host(rule: ours::Rule) -> description::Rule {
    description::Rule {
        id: rule.id,
        dimension: match rule.dimension {
            ours::Dimension::Completeness => description::Dimension::Completeness,
            ours::Dimension::Validity => description::Dimension::Validity,
            ours::Dimension::Uniqueness => description::Dimension::Uniqueness,
            ours::Dimension::Consistency => description::Dimension::Consistency,
            ours::Dimension::Timeliness => description::Dimension::Timeliness,
            ours::Dimension::Accuracy => description::Dimension::Accuracy,
        },
        severity: match rule.severity {
            ours::Severity::Info => description::Severity::Info,
            ours::Severity::Warn => description::Severity::Warn,
            ours::Severity::Reject => description::Severity::Reject,
        },
        field: rule.field.map(path_to_host),
        text: rule.text,
    }
}
