//! A Kinesis stream as the pipeline's source, and as a sink.

use std::sync::Arc;

use anyhow::Context;
use tidegate_connectors::{
    sinks::kinesis::{KinesisSink, KinesisSinkConfig},
    sources::kinesis::{
        KinesisConfig, KinesisSource, KinesisStart, OnExplicitHash, OnTrimmed, OutOfRange,
        PayloadCompression,
    },
};
use tidegate_core::{Sink, Source, Timestamp};

use super::{aws::aws, known};
use crate::config::{self, Config};

/// The source. `states_follow` says that a stage keeps states that are not a partition's own.
pub(super) fn source(
    config: &Config,
    written: &config::Kinesis,
    states_follow: bool,
) -> anyhow::Result<Arc<dyn Source>> {
    let source = &config.source;
    let defaults = KinesisConfig::new(&source.name, &written.stream, &config.data_dir);
    let bytes = |size: config::ByteSize| usize::try_from(size.0).unwrap_or(usize::MAX);
    Ok(Arc::new(KinesisSource::new(KinesisConfig {
        pipeline: config.pipeline.clone(),
        aws: aws(written.aws()),
        start: match &written.start {
            config::KinesisStart::TrimHorizon => KinesisStart::TrimHorizon,
            config::KinesisStart::Latest => KinesisStart::Latest,
            config::KinesisStart::AtTimestamp(time) => {
                KinesisStart::At(Timestamp::parse(time).context("`start` is no time")?)
            }
        },
        on_trimmed: match written.on_trimmed {
            config::OnTrimmed::Fail => OnTrimmed::Fail,
            config::OnTrimmed::Continue => OnTrimmed::Continue,
        },
        out_of_range: match written.out_of_range {
            config::OutOfRange::Deliver => OutOfRange::Deliver,
            config::OutOfRange::DeadLetter => OutOfRange::DeadLetter,
            config::OutOfRange::Drop => OutOfRange::Drop,
        },
        on_explicit_hash: match (states_follow, written.on_explicit_hash) {
            (false, _) => OnExplicitHash::Deliver,
            (true, config::OnExplicitHash::Fail) => OnExplicitHash::Fail,
            (true, config::OnExplicitHash::DeadLetter) => OnExplicitHash::DeadLetter,
        },
        compression: match written.compression {
            config::PayloadCompression::None => PayloadCompression::None,
            config::PayloadCompression::Gzip => PayloadCompression::Gzip,
            config::PayloadCompression::Zstd => PayloadCompression::Zstd,
        },
        record_bytes_max: bytes(source.record_bytes_max),
        poll_every: written.poll_every.0,
        fetched_bytes_max: bytes(written.fetch_memory),
        known: known(config).context("failed to look up which shards have been read")?,
        ..defaults
    })))
}

/// A sink. Makes no call yet.
pub(super) fn sink(config: &Config, name: &str, written: &config::KinesisSink) -> Arc<dyn Sink> {
    Arc::new(KinesisSink::new(KinesisSinkConfig {
        pipeline: config.pipeline.clone(),
        aws: aws(written.aws()),
        request_bytes_max: usize::try_from(written.request_size.0).unwrap_or(usize::MAX),
        aggregates: written.aggregate,
        ..KinesisSinkConfig::new(name, &written.stream)
    }))
}
