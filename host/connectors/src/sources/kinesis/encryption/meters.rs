//! What is counted of decrypting.

use metrics::Counter;

/// A source's metrics.
pub(super) struct Meters {
    pipeline: String,
    decrypted: Counter,
    not_decryptable: Counter,
    hits: Counter,
    misses: Counter,
}

impl Meters {
    pub(super) fn new(pipeline: &str) -> Self {
        let pipeline = pipeline.to_owned();
        let payloads = |outcome: &'static str| {
            let labels = [("pipeline", pipeline.clone()), ("outcome", outcome.to_owned())];
            metrics::counter!("tidegate_encrypted_payloads_total", &labels)
        };
        let lookups = |outcome: &'static str| {
            let labels = [("pipeline", pipeline.clone()), ("outcome", outcome.to_owned())];
            metrics::counter!("tidegate_data_key_lookups_total", &labels)
        };
        Meters {
            decrypted: payloads("decrypted"),
            not_decryptable: payloads("not_decryptable"),
            hits: lookups("hit"),
            misses: lookups("miss"),
            pipeline,
        }
    }

    pub(super) fn decrypted(&self) {
        self.decrypted.increment(1);
    }

    pub(super) fn not_decryptable(&self) {
        self.not_decryptable.increment(1);
    }

    pub(super) fn hit(&self) {
        self.hits.increment(1);
    }

    pub(super) fn missed(&self) {
        self.misses.increment(1);
    }

    /// KMS has been called.
    pub(super) fn called(&self, outcome: &'static str) {
        let labels = [("pipeline", self.pipeline.clone()), ("outcome", outcome.to_owned())];
        metrics::counter!("tidegate_kms_calls_total", &labels).increment(1);
    }
}
