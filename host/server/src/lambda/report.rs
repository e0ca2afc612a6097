//! What became of an invocation's records, for its log: counts and codes, and nothing of the records.

use std::collections::BTreeMap;

use tidegate_core::checkpoint::Counts;
use tidegate_pipeline::{Plan, RangeOutput};

use crate::letters::Letter;

/// Counts of one invocation.
#[derive(Debug, Default)]
pub(super) struct Report {
    read: u64,
    filtered: u64,
    dropped: u64,
    delivered: u64,
    dead_lettered: u64,
    /// Records that Firehose's answer has no room for.
    pub(super) too_large: usize,
    /// Where the event is to be handed over again from.
    pub(super) again_from: Vec<String>,
    /// Dead letters by stage and code.
    reasons: BTreeMap<String, u64>,
}

impl Report {
    /// Counts what a range left.
    pub(super) fn add(&mut self, output: &RangeOutput, plan: &Plan) {
        let Counts { read, filtered, dropped, delivered, dead_lettered } = &output.counts;
        self.read += read.records;
        self.filtered += filtered.records;
        self.dropped += dropped.records;
        self.delivered += delivered.records;
        self.dead_lettered += dead_lettered.records;
        let dead = plan.destinations().len() - 1;
        for object in output.objects.iter().filter(|it| it.destination == dead) {
            let lines = object.object.content.split(|byte| *byte == b'\n');
            for line in lines.filter(|line| !line.is_empty()) {
                // A letter that can't be read is counted above.
                let Ok(letter) = Letter::parse(line) else { continue };
                let reason = letter.reason();
                *self.reasons.entry(format!("{}:{}", reason.stage, reason.code)).or_default() += 1;
            }
        }
    }

    /// Says it in one line.
    pub(super) fn log(&self, milliseconds: u64) {
        let reasons = serde_json::to_string(&self.reasons).unwrap_or_default();
        tracing::info!(
            read = self.read,
            filtered = self.filtered,
            dropped = self.dropped,
            delivered = self.delivered,
            dead_lettered = self.dead_lettered,
            reasons = (!self.reasons.is_empty()).then_some(reasons),
            too_large = (self.too_large > 0).then_some(self.too_large),
            again_from = (!self.again_from.is_empty()).then(|| self.again_from.join(" ")),
            milliseconds,
            "batch"
        );
    }
}
