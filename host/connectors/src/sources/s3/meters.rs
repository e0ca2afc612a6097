//! What is counted of the source.

use metrics::{Counter, Gauge};

use super::S3SourceConfig;

/// The source's metrics.
pub(super) struct Meters {
    pub(super) received: Counter,
    pub(super) deleted: Counter,
    pub(super) extended: Counter,
    pub(super) given_back: Counter,
    pub(super) malformed: Counter,
    pub(super) ignored: Counter,
    pub(super) refused: Counter,
    pub(super) held: Gauge,
    pub(super) gone: Counter,
    pub(super) bytes: Counter,
    pub(super) requests: Counter,
    pub(super) failed: Counter,
}

impl Meters {
    pub(super) fn new(config: &S3SourceConfig) -> Self {
        let pipeline = ("pipeline", config.pipeline.clone());
        let labels = [pipeline.clone()];
        let request = |outcome: &str| {
            let labels = [pipeline.clone(), ("outcome", outcome.to_owned())];
            metrics::counter!("tidegate_s3_source_requests_total", &labels)
        };
        Meters {
            received: metrics::counter!("tidegate_s3_source_received_messages_total", &labels),
            deleted: metrics::counter!("tidegate_s3_source_deleted_messages_total", &labels),
            extended: metrics::counter!("tidegate_s3_source_extended_messages_total", &labels),
            given_back: metrics::counter!("tidegate_s3_source_returned_messages_total", &labels),
            malformed: metrics::counter!("tidegate_s3_source_malformed_messages_total", &labels),
            ignored: metrics::counter!("tidegate_s3_source_ignored_notices_total", &labels),
            refused: metrics::counter!("tidegate_s3_source_refused_entries_total", &labels),
            held: metrics::gauge!("tidegate_s3_source_objects_held", &labels),
            gone: metrics::counter!("tidegate_s3_source_objects_gone_total", &labels),
            bytes: metrics::counter!("tidegate_s3_source_bytes_total", &labels),
            requests: request("done"),
            failed: request("failed"),
        }
    }
}
