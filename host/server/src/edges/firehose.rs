//! A Firehose stream as a sink.

use tidegate_connectors::sinks::firehose::{Delimiter, FirehoseConfig, FirehoseSink};

use super::aws::aws;
use crate::config::{self, Config};

/// The sink. Makes no call yet.
pub(super) fn sink(config: &Config, name: &str, written: &config::Firehose) -> FirehoseSink {
    FirehoseSink::new(FirehoseConfig {
        pipeline: config.pipeline.clone(),
        aws: aws(written.aws()),
        delimiter: match written.delimiter {
            config::Delimiter::Newline => Delimiter::Newline,
            config::Delimiter::None => Delimiter::None,
        },
        ..FirehoseConfig::new(name, &written.stream)
    })
}
