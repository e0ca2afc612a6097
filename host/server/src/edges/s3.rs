//! A place in a bucket as a sink, or to be read.

use std::sync::Arc;

use anyhow::Context;
use tidegate_connectors::sinks::s3::{Checksum, Encryption, S3Config, S3Sink};
use tidegate_core::Sink;

use super::aws::aws;
use crate::config::{self, Config};

/// The sink. Aborts what earlier runs left unfinished.
pub(super) async fn sink(
    config: &Config,
    name: &str,
    written: &config::S3,
) -> anyhow::Result<Arc<dyn Sink>> {
    let sink = S3Sink::open(s3(config, name, written)).await;
    Ok(Arc::new(sink.with_context(|| format!("failed to open the bucket of sink `{name}`"))?))
}

/// A place in a bucket.
pub(crate) fn s3(config: &Config, name: &str, written: &config::S3) -> S3Config {
    let bytes = |size: config::ByteSize| usize::try_from(size.0).unwrap_or(usize::MAX);
    S3Config {
        pipeline: config.pipeline.clone(),
        aws: aws(written.aws()),
        path_style: written.path_style,
        // Other hosts of a fleet are at work there.
        abort_orphans: config.leases.is_none(),
        encryption: match &written.encryption {
            config::Encryption::Bucket => Encryption::Bucket,
            config::Encryption::S3 => Encryption::S3,
            config::Encryption::Kms(kms) => {
                Encryption::Kms { key: kms.key.clone(), bucket_key: kms.bucket_key }
            }
        },
        storage_class: written.storage_class.map(|it| it.name().to_owned()),
        tags: written.tags.clone(),
        checksum: match written.checksum {
            config::Checksum::Crc64nvme => Checksum::Crc64Nvme,
            config::Checksum::Crc32 => Checksum::Crc32,
            config::Checksum::Sha256 => Checksum::Sha256,
        },
        part_bytes: bytes(written.part_size),
        uploads_max: written.uploads as usize,
        uploading_bytes_max: bytes(written.upload_memory),
        ..S3Config::new(name, &written.bucket, &written.prefix)
    }
}
