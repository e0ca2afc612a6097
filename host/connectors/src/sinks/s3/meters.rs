//! What is counted of a sink's requests.

use metrics::{Counter, Label};

/// A sink's metrics.
pub(super) struct Meters {
    labels: Vec<Label>,
    uploaded: Counter,
    orphans: Counter,
}

/// How a request ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ended {
    Done,
    /// What lies there is not what was asked for: for a conditional write, that something does.
    Refused,
    Failed,
}

impl Meters {
    pub(super) fn new(pipeline: &str, sink: &str) -> Self {
        let labels =
            vec![Label::new("pipeline", pipeline.to_owned()), Label::new("sink", sink.to_owned())];
        Meters {
            uploaded: metrics::counter!("tidegate_s3_uploaded_bytes_total", labels.iter()),
            orphans: metrics::counter!("tidegate_s3_orphans_aborted_total", labels.iter()),
            labels,
        }
    }

    /// A request has ended.
    pub(super) fn ended(&self, operation: &'static str, ended: Ended) {
        let outcome = match ended {
            Ended::Done => "done",
            Ended::Refused => "refused",
            Ended::Failed => "failed",
        };
        let mut labels = self.labels.clone();
        labels.push(Label::from_static_parts("operation", operation));
        labels.push(Label::from_static_parts("outcome", outcome));
        metrics::counter!("tidegate_s3_requests_total", labels).increment(1);
    }

    /// S3 has taken some content.
    pub(super) fn uploaded(&self, bytes: usize) {
        self.uploaded.increment(bytes as u64);
    }

    /// An upload of an earlier process was aborted.
    pub(super) fn orphan(&self) {
        self.orphans.increment(1);
    }
}
