//! What a queue's sink counts.

use metrics::{Counter, Label};

/// A queue's metrics.
pub(super) struct Meters {
    labels: Vec<Label>,
    taken: Counter,
    refused: Counter,
    offloaded: Counter,
}

/// How a request ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ended {
    Done,
    /// Some of its messages were not taken.
    Partial,
    Failed,
}

impl Meters {
    pub(super) fn new(pipeline: &str) -> Self {
        let labels = vec![Label::new("pipeline", pipeline.to_owned())];
        Meters {
            taken: metrics::counter!("tidegate_sqs_messages_total", labels.iter()),
            refused: metrics::counter!("tidegate_sqs_refused_messages_total", labels.iter()),
            offloaded: metrics::counter!("tidegate_sqs_offloaded_letters_total", labels.iter()),
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
        metrics::counter!("tidegate_sqs_requests_total", labels).increment(1);
    }

    /// So many messages of a request were taken, and so many were not.
    pub(super) fn answered(&self, taken: usize, refused: usize) {
        self.taken.increment(taken as u64);
        self.refused.increment(refused as u64);
    }

    /// So many letters that are larger than a message lie in the bucket.
    pub(super) fn offloaded(&self, letters: usize) {
        self.offloaded.increment(letters as u64);
    }
}
