//! A Firehose stream as a sink.

use std::sync::Arc;

use tidegate_connectors::sinks::firehose::{Delimiter, FirehoseConfig, FirehoseSink};
use tidegate_core::Sink;

use super::aws::aws;
use crate::config::{self, Config};

/// The sink. Makes no call yet.
pub(super) fn sink(config: &Config, name: &str, written: &config::Firehose) -> Arc<dyn Sink> {
    Arc::new(FirehoseSink::new(FirehoseConfig {
        pipeline: config.pipeline.clone(),
        aws: aws(written.aws()),
        delimiter: match written.delimiter {
            config::Delimiter::Newline => Delimiter::Newline,
            config::Delimiter::None => Delimiter::None,
        },
        ..FirehoseConfig::new(name, &written.stream)
    }))
}
