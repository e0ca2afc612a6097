//! Objects of a bucket, as they are created, as the pipeline's source.

use anyhow::Context;
use tidegate_connectors::sources::{
    Compression, Framing, LineLimits,
    s3::{OnGone, S3Source, S3SourceConfig},
};

use super::{Reading, aws::aws, known};
use crate::config::{self, Config};

/// The source. Makes no call yet.
pub(super) fn source(
    config: &Config,
    written: &config::S3Source,
    (framing, compression): (Framing, Compression),
    limits: LineLimits,
    reading: &Reading<'_>,
) -> anyhow::Result<S3Source> {
    // What is known of a fleet's objects stands in the table, and comes with their messages.
    let known = match config.leases.is_none() && reading.receives {
        true => known(config).context("failed to look up which objects have been read")?,
        false => Vec::new(),
    };
    let bytes = |size: config::ByteSize| usize::try_from(size.0).unwrap_or(usize::MAX);
    Ok(S3Source::new(S3SourceConfig {
        pipeline: config.pipeline.clone(),
        queue_aws: aws(written.queue_aws()),
        aws: aws(written.aws()),
        path_style: written.path_style,
        prefix: written.prefix.clone(),
        suffix: written.suffix.clone(),
        framing,
        compression,
        limits,
        on_gone: match written.on_gone {
            config::OnGone::Fail => OnGone::Fail,
            config::OnGone::Continue => OnGone::Continue,
        },
        objects_max: written.objects as usize,
        visibility: written.visibility.0,
        remembers_for: written.remember.0,
        chunk_bytes: bytes(written.chunk_size),
        chunks_max: written.chunks as usize,
        fetched_bytes_max: bytes(written.fetch_memory),
        known,
        receives: reading.receives,
        ..S3SourceConfig::new(&config.source.name, &written.queue, &written.bucket)
    }))
}
