//! A pipeline's config: from a file to checked types, with everything that is wrong found at once.
//!
//! ```text
//! text ─► tree with places ─► variables ─► shape, by the schema ─► types ─► rules
//!         a syntax error      all unset    unknown keys, missing            choices, names,
//!         ends it here        ones         keys, wrong types                what must fit
//! ```
//!
//! Each step runs only over what the ones before left whole, and gives all that it finds.

mod aws;
mod component;
mod encryption;
mod field;
mod firehose;
mod firehose_rules;
mod format;
mod interpolate;
mod kinesis;
mod kinesis_rules;
mod kinesis_sink;
mod lambda;
mod leases;
mod ledger;
mod model;
mod policy;
pub mod reference;
mod rules;
mod s3;
mod s3_rules;
mod s3_source;
mod s3_source_rules;
mod schemas;
mod shape;
mod sink;
mod source;
mod sqs;
mod sqs_rules;
mod table;
mod table_rules;
mod tests;
mod tree;
mod units;

use std::{
    path::{Path, PathBuf},
    sync::LazyLock,
};

pub(crate) use aws::Aws;
pub use aws::AwsRole;
pub use component::{ComponentReference, InvalidReference, RegistryReference};
pub use encryption::{DataKeyCache, Discovery, EncryptionFormat, OnRefusedKey, PayloadEncryption};
pub use field::FieldPath;
pub use firehose::{Delimiter, Firehose};
pub use format::{Column, ColumnKind, Format, OnMismatch, ParquetFormat, RowGroup, TimeFormat};
pub use interpolate::Variables;
pub use kinesis::{
    Kinesis, KinesisStart, OnExplicitHash, OnTrimmed, OutOfRange, PayloadCompression,
};
pub use kinesis_sink::KinesisSink;
pub use lambda::{Contract, Lambda, Reply};
pub use leases::{Leases, OnStateGap};
pub use ledger::Ledger;
pub use model::{
    Batch, Breaker, Config, Grant, Observability, OnExhausted, OnPoison, OnReject, PluginLimits,
    Purity, Range, Reload, Retry, Scope, Stage, State,
};
pub use policy::{Blocked, Identity, Key, LoadedPolicy, PolicyFile, Signatures, load_policy};
pub use s3::{Checksum, Encryption, KmsEncryption, S3, StorageClass};
pub use s3_source::{OnGone, S3Source};
pub use sink::{
    Compression, DeadLetters, Directory, Layout, Level as TreeLevel, NestedLayout, Nothing,
    Rotation, Sink, TimePart, Unrouted, Zone,
};
pub use source::{
    Avro, Csv, CsvEmpty, CsvHeader, CsvMismatch, CsvType, Generator, InputCompression, LocalTimes,
    Ndjson, NotFinite, Nulls, OnLost, Parquet, Protobuf, ProtobufDefaults, ProtobufFraming,
    ProtobufInt64, ProtobufNames, Source, Stdin, Text, Weights, WholeFile,
};
pub use sqs::{CopyTo, Sqs};
pub use table::{OnDuplicate, Table, TableCsv, TableFormat, TableKind, TableParquet};
pub use tests::{
    Expected, ExpectedLetter, ExpectedVerdict, LoadedTests, TestCase, TestFile, load_tests,
};
pub use units::{ByteSize, TimeSpan};

use tidegate_core::Condition;

pub(crate) use self::shape::did_you_mean;
use self::{shape::Shape, tree::Node};
use crate::{
    files::Files,
    finding::{Finding, SourceFile, has_errors},
};

/// The config's JSON Schema, made from its types.
static SCHEMA: LazyLock<serde_json::Value> =
    LazyLock::new(|| schemars::schema_for!(Config).to_value());

/// A config and the file that it was read from, so that later checks can point into it too.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The config. Its paths are resolved against `base`; the patterns of a source of files stay
    /// as written, for partitions are named by them.
    pub config: Config,
    /// The directory that the file lies in.
    pub base: PathBuf,
    /// The text.
    pub file: SourceFile,
    tree: Node,
}

/// A config can't be had.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file can't be read.
    #[error("failed to read `{}`", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// It is read and wrong.
    #[error("{} problems in the config", .0.len())]
    Invalid(Vec<Finding>),
}

impl Loaded {
    /// A finding about a place in the config.
    pub fn finding(&self, code: &'static str, pointer: &str, message: String) -> Finding {
        Finding::error(code, &self.file, self.tree.place_of(pointer), pointer, message)
    }
}

/// Reads and checks a config. Plugins' config files are read too and stand in `config` afterwards.
pub fn load(path: &Path, variables: Variables<'_>) -> Result<Loaded, ConfigError> {
    load_from(path, variables, &Files::on_disk())
}

/// The same, of given files.
pub fn load_from(
    path: &Path,
    variables: Variables<'_>,
    files: &Files,
) -> Result<Loaded, ConfigError> {
    let file = read_from(path, files)?;
    let mut loaded = parse(file, variables).map_err(ConfigError::Invalid)?;
    loaded.base = path.parent().unwrap_or(Path::new("")).to_owned();
    resolve_paths(&mut loaded.config, &loaded.base);
    let mut findings = Vec::new();
    for i in 0..loaded.config.stages.len() {
        let Some(path) = loaded.config.stages[i].config_file.clone() else { continue };
        match read_from(&path, files) {
            Ok(file) => match plugin_config(&file, variables) {
                Ok(config) => loaded.config.stages[i].config = Some(config),
                Err(found) => findings.extend(found),
            },
            Err(error) => {
                let pointer = format!("/stages/{i}/config_file");
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                let message = format!("{error}: {}", cause.unwrap_or_default());
                findings.push(loaded.finding("unreadable-file", &pointer, message));
            }
        }
    }
    findings.extend(schemas::read(&mut loaded, files));
    match has_errors(&findings) {
        true => Err(ConfigError::Invalid(findings)),
        false => Ok(loaded),
    }
}

/// Where a pipeline keeps its data. Its plugins' config files are not read: they may be what is to
/// be mended.
pub fn data_dir(path: &Path, variables: Variables<'_>) -> Result<PathBuf, ConfigError> {
    let loaded = parse(read(path)?, variables).map_err(ConfigError::Invalid)?;
    Ok(path.parent().unwrap_or(Path::new("")).join(loaded.config.data_dir))
}

/// Checks a config's text. Its paths stay as they are written.
pub fn parse(file: SourceFile, variables: Variables<'_>) -> Result<Loaded, Vec<Finding>> {
    let mut tree = Node::parse(&file).map_err(|finding| vec![*finding])?;
    let mut findings = Vec::new();
    interpolate::interpolate(&mut tree, &file, variables, &mut findings);
    findings.extend(Shape::check(&SCHEMA, &file, &mut tree));
    let has_shape = !has_errors(&findings);
    let mut json = tree.to_json();
    conditions(&tree, &mut json, &file, &mut findings);
    if !has_shape {
        return Err(in_order(findings));
    }
    let config: Config = typed(json, &tree, &file)?;
    findings.extend(rules::check(&config, &tree, &file));
    match has_errors(&findings) {
        true => Err(in_order(findings)),
        false => Ok(Loaded { config, base: PathBuf::new(), file, tree }),
    }
}

/// The types of a document that has their shape.
fn typed<T: serde::de::DeserializeOwned>(
    json: serde_json::Value,
    tree: &Node,
    file: &SourceFile,
) -> Result<T, Vec<Finding>> {
    serde_path_to_error::deserialize(json).map_err(|error| {
        let pointer = pointer_of(error.path());
        let place = tree.place_of(&pointer);
        let message = error.into_inner().to_string();
        vec![Finding::error("invalid-value", file, place, pointer, message)]
    })
}

/// Reads each condition by itself, and takes those that are none out of `json`: so all of them are
/// found, and what is wrong elsewhere too. Where the shape has findings, there is nothing to add.
fn conditions(
    tree: &Node,
    json: &mut serde_json::Value,
    file: &SourceFile,
    findings: &mut Vec<Finding>,
) {
    let mut places = vec!["/filter".to_owned()];
    for list in ["stages", "sinks"] {
        let entries = tree.get(list).map_or(0, Node::len);
        places.extend((0..entries).map(|i| format!("/{list}/{i}/when")));
    }
    for pointer in places {
        let Some(node) = tree.pointer(&pointer) else { continue };
        if findings.iter().any(|finding| finding.pointer.starts_with(&pointer)) {
            continue;
        }
        if let Err(error) = serde_path_to_error::deserialize::<_, Option<Condition>>(node.to_json())
        {
            let below = pointer_of(error.path());
            let place = node.place_of(&below);
            let message = error.into_inner().to_string();
            if let Some(condition) = json.pointer_mut(&pointer) {
                *condition = serde_json::Value::Null;
            }
            let pointer = format!("{pointer}{below}");
            findings.push(Finding::error("invalid-condition", file, place, pointer, message));
        }
    }
}

/// As people read: from the top of the file to its end.
fn in_order(mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.sort_by_key(|finding| (finding.line, finding.column));
    findings
}

fn plugin_config(
    file: &SourceFile,
    variables: Variables<'_>,
) -> Result<serde_json::Value, Vec<Finding>> {
    let mut tree = Node::parse(file).map_err(|finding| vec![*finding])?;
    let mut findings = Vec::new();
    interpolate::interpolate(&mut tree, file, variables, &mut findings);
    match findings.is_empty() {
        true => Ok(tree.to_json()),
        false => Err(findings),
    }
}

/// A plugin's config out of a file of its own, YAML or JSON.
pub fn load_plugin_config(
    path: &Path,
    variables: Variables<'_>,
) -> Result<serde_json::Value, ConfigError> {
    plugin_config(&read(path)?, variables).map_err(ConfigError::Invalid)
}

/// A file of another kind than a pipeline's, by its type: the first thing that is wrong with it.
pub(crate) fn load_document<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, ConfigError> {
    let file = read(path)?;
    let invalid = |finding| ConfigError::Invalid(vec![finding]);
    let tree = Node::parse(&file).map_err(|finding| invalid(*finding))?;
    serde_path_to_error::deserialize(tree.to_json()).map_err(|error| {
        let pointer = pointer_of(error.path());
        let place = tree.place_of(&pointer);
        let message = error.into_inner().to_string();
        invalid(Finding::error("invalid-value", &file, place, pointer, message))
    })
}

fn read(path: &Path) -> Result<SourceFile, ConfigError> {
    read_from(path, &Files::on_disk())
}

fn read_from(path: &Path, files: &Files) -> Result<SourceFile, ConfigError> {
    let text = files
        .read_to_string(path)
        .map_err(|cause| ConfigError::Read { path: path.to_owned(), cause })?;
    Ok(SourceFile { path: path.to_owned(), text: text.into() })
}

/// Paths are relative to the file that they stand in, wherever the process was started.
fn resolve_paths(config: &mut Config, base: &Path) {
    let resolve = |path: &mut PathBuf| *path = base.join(&*path);
    resolve(&mut config.data_dir);
    config.dead_letters.directory.iter_mut().for_each(resolve);
    config.leases.iter_mut().filter_map(|it| it.directory.as_mut()).for_each(resolve);
    config.tables.iter_mut().for_each(|table| resolve(&mut table.path));
    if let Some(avro) = &mut config.source.avro {
        avro.reader_schema.iter_mut().for_each(resolve);
    }
    if let Some(protobuf) = &mut config.source.protobuf {
        resolve(&mut protobuf.schema);
        protobuf.imports.iter_mut().for_each(resolve);
    }
    resolve(&mut config.components);
    for stage in &mut config.stages {
        stage.plugin.resolve(base, &config.components);
        stage.config_file.iter_mut().for_each(resolve);
    }
    for directory in config.sinks.iter_mut().filter_map(|sink| sink.directory.as_mut()) {
        resolve(&mut directory.path);
    }
}

fn pointer_of(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    path.iter().fold(String::new(), |pointer, segment| match segment {
        Segment::Seq { index } => tree::step(&pointer, index),
        Segment::Map { key } => tree::step(&pointer, key),
        // A variant is a key too: all enums here are written `{variant: …}`.
        Segment::Enum { variant } => tree::step(&pointer, variant),
        Segment::Unknown => pointer,
    })
}
