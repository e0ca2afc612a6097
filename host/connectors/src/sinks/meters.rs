//! What sinks count that send requests of many records, and are answered for each.

use metrics::{Counter, Label};

/// What such a sink's metrics are called.
pub(super) struct Names {
    pub(super) requests: &'static str,
    pub(super) taken: &'static str,
    pub(super) refused: &'static str,
}

/// A sink's metrics.
pub(super) struct RequestMeters {
    labels: Vec<Label>,
    requests: &'static str,
    taken: Counter,
    refused: Counter,
}

impl RequestMeters {
    pub(super) fn new(names: &Names, labels: Vec<Label>) -> Self {
        RequestMeters {
            requests: names.requests,
            taken: metrics::counter!(names.taken, labels.iter()),
            refused: metrics::counter!(names.refused, labels.iter()),
            labels,
        }
    }

    /// A request of so many records has ended. Where it was answered, so many of them were not taken.
    pub(super) fn ended(&self, records: usize, refused: Option<usize>) {
        let outcome = match refused {
            None => "failed",
            Some(0) => "done",
            Some(_) => "partial",
        };
        let mut labels = self.labels.clone();
        labels.push(Label::from_static_parts("outcome", outcome));
        metrics::counter!(self.requests, labels).increment(1);
        if let Some(refused) = refused {
            self.taken.increment((records - refused) as u64);
            self.refused.increment(refused as u64);
        }
    }
}

/// The labels of a sink of a pipeline.
#[cfg(any(feature = "firehose", feature = "kinesis"))]
pub(super) fn labels(pipeline: &str, sink: &str) -> Vec<Label> {
    vec![Label::new("pipeline", pipeline.to_owned()), Label::new("sink", sink.to_owned())]
}
