//! Objects of a bucket, as they are created, as the pipeline's source.

use tidegate_connectors::sources::{
    Compression, Framing, LineLimits,
    s3::{OnGone, S3Source, S3SourceConfig},
};

use super::{Reading, aws::aws};
use crate::config::{self, Config};

/// The source. Makes no call yet.
pub(super) fn source(
    config: &Config,
    written: &config::S3Source,
    (framing, compression): (Framing, Compression),
    limits: LineLimits,
    reading: &Reading<'_>,
) -> S3Source {
    let bytes = |size: config::ByteSize| usize::try_from(size.0).unwrap_or(usize::MAX);
    S3Source::new(S3SourceConfig {
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
        receives: reading.receives,
        ..S3SourceConfig::new(&config.source.name, &written.queue, &written.bucket)
    })
}
