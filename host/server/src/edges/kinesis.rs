//! A Kinesis stream as the pipeline's source, and as a sink.

use std::sync::Arc;

use anyhow::Context;
use tidegate_connectors::{
    sinks::kinesis::{KinesisSink, KinesisSinkConfig},
    sources::kinesis::{
        KinesisConfig, KinesisNotes, KinesisSource, KinesisStart, OnExplicitHash, OnTrimmed,
        OutOfRange, PayloadCompression,
    },
};
use tidegate_core::Timestamp;

use super::{Reading, aws::aws, known};
use crate::config::{self, Config};

/// The source. Makes no call yet.
pub(super) fn source(
    config: &Config,
    written: &config::Kinesis,
    reading: &Reading<'_>,
) -> anyhow::Result<KinesisSource> {
    let source = &config.source;
    let defaults = KinesisConfig::new(&source.name, &written.stream, &config.data_dir);
    let bytes = |size: config::ByteSize| usize::try_from(size.0).unwrap_or(usize::MAX);
    #[cfg(not(feature = "dynamodb"))]
    let notes: Option<KinesisNotes> = None;
    #[cfg(feature = "dynamodb")]
    let notes = reading.leases.clone().map(|store| {
        let writes = !reading.looks_only;
        KinesisNotes::Shared(Arc::new(super::leases::LeaseNotes { store, writes }))
    });
    // What is known of a fleet's shards stands where it is noted.
    let known = match config.leases.is_some() || reading.lists_only {
        true => Vec::new(),
        false => known(config).context("failed to look up which shards have been read")?,
    };
    Ok(KinesisSource::new(KinesisConfig {
        pipeline: config.pipeline.clone(),
        aws: aws(written.aws()),
        // A consumer has one subscription to a shard: whoever only looks leaves it to those who work.
        consumer: written.consumer.clone().filter(|_| !reading.looks_only),
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
        on_explicit_hash: match (reading.states_follow, written.on_explicit_hash) {
            (false, _) => OnExplicitHash::Deliver,
            (true, config::OnExplicitHash::Fail) => OnExplicitHash::Fail,
            (true, config::OnExplicitHash::DeadLetter) => OnExplicitHash::DeadLetter,
        },
        compression: compression(written.compression),
        #[cfg(feature = "kms")]
        decryption: super::decryption(config),
        record_bytes_max: bytes(source.record_bytes_max),
        poll_every: written.poll_every.0,
        fetched_bytes_max: bytes(written.fetch_memory),
        known,
        notes: notes.unwrap_or(defaults.notes.clone()),
        ..defaults
    }))
}

/// How producers compress payloads.
pub(crate) fn compression(written: config::PayloadCompression) -> PayloadCompression {
    match written {
        config::PayloadCompression::None => PayloadCompression::None,
        config::PayloadCompression::Gzip => PayloadCompression::Gzip,
        config::PayloadCompression::Zstd => PayloadCompression::Zstd,
    }
}

/// A sink. Makes no call yet.
pub(super) fn sink(config: &Config, name: &str, written: &config::KinesisSink) -> KinesisSink {
    KinesisSink::new(KinesisSinkConfig {
        pipeline: config.pipeline.clone(),
        aws: aws(written.aws()),
        request_bytes_max: usize::try_from(written.request_size.0).unwrap_or(usize::MAX),
        aggregates: written.aggregate,
        ..KinesisSinkConfig::new(name, &written.stream)
    })
}
