//! What is counted of a shard.

use std::time::Duration;

use metrics::{Counter, Gauge};
use tidegate_core::{Timestamp, source::PartitionId};

use super::{KinesisConfig, OutOfRange, decode::Met, loss::horizon};

/// A shard's metrics.
pub(super) struct Meters {
    records: Counter,
    bytes: Counter,
    calls: Counter,
    throttled: Counter,
    expired: Counter,
    losses: Counter,
    malformed: Counter,
    out_of_range: Counter,
    explicit_hash: Counter,
    behind: Gauge,
    age: Gauge,
    loss_in: Gauge,
}

impl Meters {
    pub(super) fn new(config: &KinesisConfig, shard: &PartitionId) -> Self {
        let labels =
            [("pipeline", config.pipeline.clone()), ("shard", shard.0.as_ref().to_owned())];
        let outcome = match config.out_of_range {
            OutOfRange::Deliver => "delivered",
            OutOfRange::DeadLetter => "dead_lettered",
            OutOfRange::Drop => "dropped",
        };
        let mut with_outcome = labels.to_vec();
        with_outcome.push(("outcome", outcome.to_owned()));
        Meters {
            records: metrics::counter!("tidegate_kinesis_records_total", &labels),
            bytes: metrics::counter!("tidegate_kinesis_bytes_total", &labels),
            calls: metrics::counter!("tidegate_kinesis_calls_total", &labels),
            throttled: metrics::counter!("tidegate_kinesis_throttled_total", &labels),
            expired: metrics::counter!("tidegate_kinesis_expired_iterators_total", &labels),
            losses: metrics::counter!("tidegate_kinesis_losses_total", &labels),
            malformed: metrics::counter!("tidegate_kinesis_malformed_aggregates_total", &labels),
            out_of_range: metrics::counter!("tidegate_kinesis_out_of_range_total", &with_outcome),
            explicit_hash: metrics::counter!("tidegate_kinesis_explicit_hash_total", &labels),
            behind: metrics::gauge!("tidegate_kinesis_behind_latest_seconds", &labels),
            age: metrics::gauge!("tidegate_kinesis_iterator_age_seconds", &labels),
            loss_in: metrics::gauge!("tidegate_kinesis_loss_in_seconds", &labels),
        }
    }

    pub(super) fn called(&self) {
        self.calls.increment(1);
    }

    pub(super) fn throttled(&self) {
        self.throttled.increment(1);
    }

    pub(super) fn expired(&self) {
        self.expired.increment(1);
    }

    pub(super) fn lost(&self) {
        self.losses.increment(1);
    }

    /// An answer has come. `last` is when its last record arrived, or nothing where it has none.
    pub(super) fn answered(&self, answer: Answered, now: Timestamp, retention: Duration) {
        let Answered { records, bytes, behind, last } = answer;
        self.records.increment(records);
        self.bytes.increment(bytes);
        self.behind.set(behind.as_secs_f64());
        // Without a record the iterator is where `behind` says.
        let age = match last {
            Some(last) => (now.0 - last.0).max(0) as f64 / 1e6,
            None => behind.as_secs_f64(),
        };
        self.age.set(age);
        let oldest = Timestamp(now.0 - (age * 1e6) as i64);
        self.loss_in.set((oldest.0 - horizon(now, retention).0) as f64 / 1e6);
    }

    /// There will be no more answers.
    pub(super) fn ended(&self, retention: Duration) {
        self.behind.set(0.0);
        self.age.set(0.0);
        self.loss_in.set(retention.as_secs_f64());
    }

    pub(super) fn met(&self, met: Met) {
        self.malformed.increment(met.malformed);
        self.out_of_range.increment(met.out_of_range);
        self.explicit_hash.increment(met.explicit_hash);
    }
}

/// What an answer says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answered {
    pub(super) records: u64,
    pub(super) bytes: u64,
    pub(super) behind: Duration,
    pub(super) last: Option<Timestamp>,
}
