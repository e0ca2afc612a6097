//! From a config and its plugins to a plan: what the pipeline checks and runs.

use std::{str::FromStr, sync::Arc, time::Duration};

use serde_json::{Value, json};
use tidegate_core::{
    Digest, LookupTable, TransformFactory,
    batcher::{BatchLimit, RangeLimit},
    parquet::{Codec, RowGroupLimit},
    sink::Naming,
};
use tidegate_pipeline::{
    Plan, PlanSpec, Settings,
    encode::Tree,
    plan::{
        self, ColumnSpec, DeadLetterSpec, Limits, PartitionKeySpec, SinkSpec, StageSpec,
        StateScope, StateSpec, TableSpec,
    },
    retry::{self, RetryPolicy},
};

use crate::{
    DEAD_LETTER_COPIES, DEAD_LETTERS,
    chain::LoadedStage,
    config::{
        self, Compression, Config, Format, Layout, Loaded, OnExhausted, OnPoison, OnReject, Scope,
        Sink, Stage, TimeSpan, Unrouted, Zone,
    },
    finding::Finding,
    supply::Guarded,
};

/// Long enough that no range of a source that does not wait ends by its age.
const AGE_OF_FILES: TimeSpan = TimeSpan::seconds(365 * 24 * 3600);
/// How long somebody who watches a slow stream waits for what came.
pub(crate) const AGE_OF_STREAMS: TimeSpan = TimeSpan::seconds(5);

/// More files than these wait until others are finished. A task that waits for lines costs next to
/// nothing, and nobody follows so many.
const FOLLOWED_PER_WORKER: usize = 1024;
/// About how much of a shard is read at once: some batches.
const SHARD_READ_BYTES: usize = 128 << 10;
/// Shards appear where others end, and then they are looked for at once. Otherwise they are listed
/// so often, which no limit of an account minds.
const LIST_SHARDS_EVERY: Duration = Duration::from_secs(30);
/// Files that appear are seen this soon: somebody waits for what is in them.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Builds the plan, or says everything that is wrong with it at once. Warnings come with it.
pub fn build(
    loaded: &Loaded,
    stages: &[LoadedStage],
    tables: Vec<Arc<LookupTable>>,
) -> Result<(Arc<Plan>, Vec<Finding>), Vec<Finding>> {
    build_from(loaded, PlanSpec { tables, ..spec(&loaded.config, stages) })
}

/// The same, of a spec that somebody has made for a purpose of their own.
pub(crate) fn build_from(
    loaded: &Loaded,
    spec: PlanSpec,
) -> Result<(Arc<Plan>, Vec<Finding>), Vec<Finding>> {
    match Plan::build(spec) {
        Ok(plan) => {
            let warnings = findings(loaded, plan.warnings());
            Ok((plan, warnings))
        }
        Err(found) => Err(findings(loaded, &found)),
    }
}

/// The plan's findings, at their places in the config.
fn findings(loaded: &Loaded, found: &plan::Findings) -> Vec<Finding> {
    let finding = |it: &plan::Finding| {
        // The filter is the source's there, and trees are the sinks'.
        let pointer = it.pointer.replace("/source/filter", "/filter");
        let sink = pointer.strip_prefix("/sinks/").and_then(|it| it.split('/').next());
        let sink = sink.and_then(|it| loaded.config.sinks.get(it.parse::<usize>().ok()?));
        let tree = sink.map_or("/directory/tree", Sink::tree_pointer);
        let pointer = pointer.replace("/tree", tree);
        let mut finding = loaded.finding(it.code, &pointer, it.message.clone());
        finding.suggestion = it.suggestion.clone();
        match it.level {
            plan::Level::Warning => finding.warning(),
            plan::Level::Error => finding,
        }
    };
    found.0.iter().map(finding).collect()
}

/// What a config says, to be made a plan. Without its tables.
pub(crate) fn spec(config: &Config, stages: &[LoadedStage]) -> PlanSpec {
    let dead = &config.dead_letters;
    PlanSpec {
        pipeline: config.pipeline.clone(),
        version: config.version.clone(),
        config: digest(config),
        source: config.source.name.clone(),
        partition_key: config.source.partition_key().map(|it| it.0),
        filter: config.filter.clone(),
        tables: Vec::new(),
        stages: config.stages.iter().zip(stages).map(|(it, loaded)| stage(it, loaded)).collect(),
        sinks: config.sinks.iter().map(sink).collect(),
        dead_letters: DeadLetterSpec {
            compression: compression(dead.compression, dead.compression_level),
            copy_to: dead.copy_to.as_ref().map(|_| DEAD_LETTER_COPIES.to_owned()),
            ..DeadLetterSpec::new(DEAD_LETTERS)
        },
        unrouted: match config.unrouted {
            Unrouted::DeadLetter => plan::Unrouted::DeadLetter,
            Unrouted::Drop => plan::Unrouted::Drop,
        },
        limits: Limits {
            record_bytes_max: usize::try_from(config.source.record_bytes_max.0)
                .unwrap_or(usize::MAX),
            record_age_max: config.source.record_age_max.map(|age| age.0),
        },
    }
}

fn stage(stage: &Stage, loaded: &LoadedStage) -> StageSpec {
    let factory: Arc<dyn TransformFactory> =
        Arc::new(Guarded::new(loaded.factory.clone(), loaded.guard.clone()));
    let defaults = StageSpec::new(&stage.name, factory);
    let key_bytes_max = stage.limits.state.and_then(|size| usize::try_from(size.0).ok());
    StageSpec {
        when: stage.when.clone(),
        on_reject: match stage.on_reject {
            OnReject::Reject => plan::OnReject::Reject,
            OnReject::Review => plan::OnReject::Review,
        },
        on_poison: match stage.on_poison {
            OnPoison::Dlq => plan::OnPoison::Dlq,
            OnPoison::Halt => plan::OnPoison::Halt,
            OnPoison::Passthrough => plan::OnPoison::Passthrough,
        },
        breaker: plan::Breaker {
            per_thousand: stage.breaker.per_thousand,
            window: stage.breaker.window,
        },
        state: StateSpec {
            time_to_live: stage.state.ttl.map(|ttl| ttl.0),
            key_bytes_max: key_bytes_max.unwrap_or(defaults.state.key_bytes_max),
            keys_max: stage.state.keys_max.unwrap_or(defaults.state.keys_max),
            scope: match stage.state.scope {
                Scope::Key => StateScope::Key,
                Scope::Follows => StateScope::Follows,
                Scope::Partition => StateScope::Partition,
            },
        },
        purity: match stage.purity.one_in {
            0 => plan::Purity::Off,
            1 => plan::Purity::Always,
            one_in => plan::Purity::Sample { one_in },
        },
        ..defaults
    }
}

fn sink(sink: &Sink) -> SinkSpec {
    let tree = sink.template().unwrap_or_default();
    SinkSpec {
        naming: naming(sink),
        zone: match sink.zone {
            Zone::Processed => plan::Zone::Processed,
            Zone::Raw => plan::Zone::Raw,
        },
        when: sink.when.clone(),
        // The config's rules have refused what is none.
        tree: Tree::from_str(&tree).unwrap_or_default(),
        layout: match &sink.layout {
            Layout::Flat => plan::Layout::Flat,
            Layout::Nested(nested) => plan::Layout::Nested(nested.key.clone()),
            Layout::Envelope => plan::Layout::Envelope,
        },
        compression: compression(sink.compression, sink.compression_level),
        format: format(sink),
        part_records_max: sink.rotation.records.unwrap_or(u64::MAX),
        part_bytes_max: sink.rotation.bytes.0,
        row_bytes_max: row_bytes_max(sink),
        partition_key: partition_key(sink),
        ..SinkSpec::new(&sink.name)
    }
}

/// How long a line may be for the sink's far side to take it.
fn row_bytes_max(sink: &Sink) -> Option<usize> {
    let kinesis = sink.kinesis.as_ref().map(config::KinesisSink::row_bytes_max);
    kinesis.or(sink.firehose.as_ref().map(config::Firehose::row_bytes_max))
}

/// What the sink's far side partitions by.
fn partition_key(sink: &Sink) -> Option<PartitionKeySpec> {
    // The config's rules have refused what is nothing to partition by.
    let from = sink.kinesis.as_ref()?.partition_key()?;
    Some(PartitionKeySpec { from, chars_max: config::KinesisSink::KEY_CHARS_MAX })
}

fn format(sink: &Sink) -> plan::Format {
    let Format::Parquet(written) = &sink.format else { return plan::Format::Lines };
    let level = level(sink.compression, sink.compression_level);
    plan::Format::Parquet(TableSpec {
        columns: columns(written),
        declared: written.declared,
        on_mismatch: match written.on_mismatch {
            config::OnMismatch::DeadLetter => plan::OnMismatch::DeadLetter,
            config::OnMismatch::AsNull => plan::OnMismatch::Null,
        },
        codec: match sink.compression {
            Compression::None => Codec::Plain,
            Compression::Snappy => Codec::Snappy,
            Compression::Gzip => Codec::Gzip { level },
            Compression::Zstd => Codec::Zstd { level: level.cast_signed() },
        },
        row_group: RowGroupLimit {
            rows: written.row_group.records,
            bytes: written.row_group.bytes.0,
        },
    })
}

/// The columns that are named. The config's rules have refused what are none.
pub(crate) fn columns(written: &config::ParquetFormat) -> Vec<ColumnSpec> {
    let column = |column: &config::Column| {
        let (from, kind) = (column.from()?, column.kind()?);
        Some(ColumnSpec { name: column.name.clone(), from, kind, required: column.required })
    };
    written.columns.iter().filter_map(column).collect()
}

/// Only objects with names can be found again.
pub(crate) fn naming(sink: &Sink) -> Naming {
    if sink.is_named() { Naming::Named } else { Naming::Unnamed }
}

fn level(compression: Compression, level: Option<u32>) -> u32 {
    let default = compression.levels().map_or(0, |(_, default)| default);
    level.unwrap_or(default)
}

fn compression(compression: Compression, level: Option<u32>) -> plan::Compression {
    let level = self::level(compression, level);
    match compression {
        // Lines are never compressed with it, which the config's rules see to.
        Compression::None | Compression::Snappy => plan::Compression::None,
        Compression::Gzip => plan::Compression::Gzip { level },
        Compression::Zstd => plan::Compression::Zstd { level: level.cast_signed() },
    }
}

/// The digest of what decides what becomes of a record. Where files lie, how many threads there
/// are and where ranges end does not; the plugins and their configs have digests of their own.
pub(crate) fn digest(config: &Config) -> Digest {
    let stages: Vec<Value> = config
        .stages
        .iter()
        .map(|stage| {
            json!({ "name": stage.name, "when": stage.when, "limits": stage.limits,
                    "on_reject": stage.on_reject, "on_poison": stage.on_poison, "breaker": stage.breaker,
                    "state": stage.state })
        })
        .collect();
    let sinks: Vec<Value> = config
        .sinks
        .iter()
        .map(|sink| {
            let tree = sink.template();
            let mut decisive = json!({
                "name": sink.name, "when": sink.when, "tree": tree, "layout": sink.layout,
                "compression": sink.compression, "level": sink.compression_level,
                "rotation": sink.rotation,
            });
            // Pipelines from before there was a choice keep their digest.
            if sink.format != Format::Jsonl {
                decisive["format"] = json!(sink.format);
            }
            if let Some(bytes) = row_bytes_max(sink) {
                decisive["row_bytes_max"] = json!(bytes);
            }
            if let Some(key) = partition_key(sink) {
                decisive["partition_key"] = json!(key.from.to_string());
            }
            decisive
        })
        .collect();
    let mut decisive = json!({
        "pipeline": config.pipeline,
        "version": config.version,
        "source": { "name": config.source.name, "filter": config.filter,
                    "partition_key": config.source.partition_key(),
                    "record_bytes_max": config.source.record_bytes_max },
        "stages": stages,
        "sinks": sinks,
        "dead_letters": { "compression": config.dead_letters.compression,
                          "level": config.dead_letters.compression_level },
        "unrouted": config.unrouted,
    });
    if let Some(age_max) = config.source.record_age_max {
        decisive["source"]["record_age_max"] = json!(age_max);
    }
    if let Some(decoding) = config.source.decoding() {
        decisive["source"]["decoding"] = decoding;
    }
    Digest::of(decisive.to_string().as_bytes())
}

/// How the pipeline runs the plan.
pub fn settings(config: &Config) -> Settings {
    let defaults = Settings::default();
    let bytes = |size: crate::config::ByteSize| usize::try_from(size.0).unwrap_or(usize::MAX);
    let retry = &config.retry;
    let generated = config.source.generator.as_ref();
    let follows = config.source.follows().is_some();
    let shards = config.source.kinesis.is_some();
    let is_stream = follows
        || shards
        || config.source.stdin.is_some()
        || generated.is_some_and(|it| it.rate.is_some());
    let age = if is_stream { AGE_OF_STREAMS } else { AGE_OF_FILES };
    Settings {
        batch: BatchLimit { records_max: config.batch.records, bytes_max: config.batch.bytes.0 },
        range: RangeLimit {
            records_max: config.range.records,
            bytes_max: config.range.bytes.0,
            age_max: config.range.age.unwrap_or(age).0,
            open_objects_max: config.range.objects as usize,
            spooled_bytes_max: bytes(config.range.spool),
        },
        // Many shards have a read each: what they fetch is in a budget of its own.
        read_bytes_max: if shards { SHARD_READ_BYTES } else { defaults.read_bytes_max },
        memory_bytes_max: bytes(config.memory),
        retry: RetryPolicy {
            delay_first: retry.delay_first.0,
            delay_max: retry.delay_max.0,
            attempts: retry.attempts,
            timeout: retry.timeout.0,
            on_exhausted: match retry.on_exhausted {
                OnExhausted::Wait => retry::OnExhausted::Wait,
                OnExhausted::Stop => retry::OnExhausted::Stop,
            },
        },
        // A file that is followed, or a shard, keeps its place while nothing comes, and holds no
        // memory then.
        partitions_per_worker: match follows || shards {
            true => FOLLOWED_PER_WORKER,
            false => defaults.partitions_per_worker,
        },
        discover_every: match (follows, shards) {
            (true, _) => LOOK_EVERY,
            (false, true) => LIST_SHARDS_EVERY,
            (false, false) => defaults.discover_every,
        },
        // So often that two renewals may fail.
        renew_every: match &config.leases {
            Some(leases) => leases.failover.0 / 3,
            None => defaults.renew_every,
        },
        ..defaults
    }
}
