//! A queue that gets copies of dead letters.

use std::sync::Arc;

use anyhow::Context;
use tidegate_connectors::sinks::{
    s3::S3Sink,
    sqs::{Offload, SqsConfig, SqsSink},
};
use tidegate_core::Sink;

use super::{aws::aws, s3};
use crate::{
    DEAD_LETTER_COPIES,
    config::{self, Config},
};

/// The sink. Asks whether the bucket for large letters is there, and makes no other call yet.
pub(super) async fn sink(config: &Config, written: &config::Sqs) -> anyhow::Result<Arc<dyn Sink>> {
    let offload = written.offload.as_ref().context("the config names no bucket to offload to")?;
    let bucket = S3Sink::open(s3::s3(config, DEAD_LETTER_COPIES, offload)).await;
    let bucket = bucket.context("failed to open the bucket for large dead letters")?;
    Ok(Arc::new(SqsSink::new(SqsConfig {
        name: DEAD_LETTER_COPIES.to_owned(),
        pipeline: config.pipeline.clone(),
        queue: written.queue.clone(),
        aws: aws(written.aws()),
        message_bytes_max: usize::try_from(written.message_size.0).unwrap_or(usize::MAX),
        offload: Offload {
            sink: Arc::new(bucket),
            place: format!("s3://{}/{}", offload.bucket, offload.below()),
        },
    })))
}
