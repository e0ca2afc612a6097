//! What a Kinesis sink counts.

use metrics::{Counter, Label};

/// A sink's metrics.
pub(super) struct Meters {
    labels: Vec<Label>,
    taken: Counter,
    refused: Counter,
}

/// How a request ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ended {
    Done,
    /// Some of its records were not taken.
    Partial,
    Failed,
}

impl Meters {
    pub(super) fn new(pipeline: &str, sink: &str) -> Self {
        let labels =
            vec![Label::new("pipeline", pipeline.to_owned()), Label::new("sink", sink.to_owned())];
        Meters {
            taken: metrics::counter!("tidegate_kinesis_put_records_total", labels.iter()),
            refused: metrics::counter!("tidegate_kinesis_refused_records_total", labels.iter()),
            labels,
        }
    }

    /// A request has ended.
    pub(super) fn ended(&self, ended: Ended) {
        let outcome = match ended {
            Ended::Done => "done",
            Ended::Partial => "partial",
            Ended::Failed => "failed",
        };
        let mut labels = self.labels.clone();
        labels.push(Label::from_static_parts("outcome", outcome));
        metrics::counter!("tidegate_kinesis_put_requests_total", labels).increment(1);
    }

    /// So many records of a request were taken, and so many were not.
    pub(super) fn answered(&self, taken: usize, refused: usize) {
        self.taken.increment(taken as u64);
        self.refused.increment(refused as u64);
    }
}
