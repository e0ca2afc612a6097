//! One range, from its first micro-batch to what it leaves: the seam between the range protocol
//! and everything that happens to records in between.
//!
//! The protocol opens a range with a [`RangeContext`], feeds the processor micro-batches that it
//! has cut by counts and bytes from the range's start, and cuts it. Nothing of a range is visible
//! to anybody before that.
//!
//! Invariant: the same batches, context, plan and states give the same output, byte for byte.

use std::sync::Arc;

use bytes::Bytes;
use tidegate_core::{
    Digest, Failure, RecordBatch, Timestamp,
    checkpoint::{Counts, DestinationCounts, Exclusion, StateChange, StoreError},
    sink::Object,
    source::{PartitionId, Resume},
};

use crate::{plan::Plan, states::StateLoader};

/// What a range is before its first record.
#[derive(Clone, Debug)]
pub struct RangeContext {
    /// The partition.
    pub partition: PartitionId,
    /// The range's number in its partition.
    pub range: u64,
    /// Part of the objects' names: grows when a replay could not make the same bytes.
    pub revision: u32,
    /// The range begins behind this.
    pub start: Option<Resume>,
    /// The batch time of all its records.
    pub opened_at: Timestamp,
    /// Records that an intent has pinned as excluded: they are dead letters whatever happens.
    pub exclusions: Vec<Exclusion>,
}

/// An object of a range.
#[derive(Clone, Debug)]
pub struct RangeObject {
    /// Where it goes: an index into [`Plan::destinations`].
    pub destination: usize,
    /// How many rows, or dead letters, it holds.
    pub records: u64,
    /// Its name and content.
    pub object: Object,
}

/// What a range leaves.
#[derive(Clone, Debug)]
pub struct RangeOutput {
    /// Its objects: by destination, then in position order.
    pub objects: Vec<RangeObject>,
    /// What became of its records.
    pub counts: Counts,
    /// What became of its shares, one entry for each of [`Plan::destinations`] in order.
    pub destinations: Vec<DestinationCounts>,
    /// The pinned exclusions and those that this run added: for the intent.
    pub exclusions: Vec<Exclusion>,
    /// States that changed, by stage, then key.
    pub states: Vec<StateChange>,
}

/// Processing a range failed. The processor is of no use after it: the range is discarded.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// States could not be loaded.
    #[error("failed to load states of stage `{stage}`")]
    States {
        /// Of which stage.
        stage: String,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// Records were lost or doubled: a defect of the host.
    #[error("records don't add up in range {range} of partition `{partition}`: {detail}")]
    Conservation {
        /// The partition.
        partition: PartitionId,
        /// The range's number.
        range: u64,
        /// Which sums differ.
        detail: String,
    },
}

impl ProcessError {
    /// What it asks for.
    pub fn failure(&self) -> Failure {
        match self {
            ProcessError::States { source, .. } => source.failure(),
            ProcessError::Conservation { .. } => Failure::Fatal,
        }
    }
}

/// Processes one range. Lives on one worker thread at a time.
#[derive(Debug)]
pub struct RangeProcessor {
    plan: Arc<Plan>,
    context: RangeContext,
    counts: Counts,
    rows: Vec<u8>,
    letters: Vec<u8>,
    delivered: u64,
    dead: u64,
}

impl RangeProcessor {
    pub(crate) fn open(plan: Arc<Plan>, context: RangeContext) -> Result<Self, ProcessError> {
        Ok(RangeProcessor {
            plan,
            context,
            counts: Counts::default(),
            rows: Vec::new(),
            letters: Vec::new(),
            delivered: 0,
            dead: 0,
        })
    }

    /// Takes one micro-batch through the chain. Awaits nothing but states that the range has not
    /// seen yet.
    pub async fn process(
        &mut self,
        batch: &RecordBatch,
        _states: &dyn StateLoader,
    ) -> Result<(), ProcessError> {
        for row in 0..batch.len() {
            let record = batch.record(row);
            let hash = batch.positions[row].hash128();
            self.counts.read.add(hash);
            let json = serde_json::from_slice::<serde::de::IgnoredAny>(record).is_ok();
            let excluded =
                self.context.exclusions.iter().any(|it| it.position == batch.positions[row]);
            let (out, tally) = if json && !excluded {
                self.delivered += 1;
                (&mut self.rows, &mut self.counts.delivered)
            } else {
                self.dead += 1;
                (&mut self.letters, &mut self.counts.dead_lettered)
            };
            tally.add(hash);
            out.extend_from_slice(record);
            out.push(b'\n');
        }
        Ok(())
    }

    /// How many bytes the range holds in memory: the protocol cuts it at the spool's limit.
    pub fn spooled_bytes(&self) -> usize {
        self.rows.len() + self.letters.len()
    }

    /// How many objects are open: the protocol cuts the range at a limit, or a wide Hive tree
    /// would hold an encoder for each of its leaves.
    pub fn open_objects(&self) -> usize {
        usize::from(!self.rows.is_empty()) + usize::from(!self.letters.is_empty())
    }

    /// Closes the range: finishes the objects and checks that every record is accounted for.
    pub fn cut(self) -> Result<RangeOutput, ProcessError> {
        let mut objects = Vec::new();
        let destinations = self.plan.destinations();
        let dead = destinations.len() - 1;
        let parts = [(0, self.rows, self.delivered), (dead, self.letters, self.dead)];
        for (destination, content, records) in parts {
            if content.is_empty() {
                continue;
            }
            let context = &self.context;
            let key = format!(
                "{}-{:08}-r{}-0000.jsonl",
                context.partition, context.range, context.revision
            );
            let digest = Digest::of(&content);
            let object = Object { key, content: Bytes::from(content), digest };
            objects.push(RangeObject { destination, records, object });
        }
        let destinations = destinations
            .iter()
            .enumerate()
            .map(|(i, destination)| {
                let shares = match i {
                    0 => self.delivered,
                    i if i == dead => self.dead,
                    _ => 0,
                };
                DestinationCounts {
                    sink: destination.name.clone(),
                    shares,
                    delivered: shares,
                    dead_lettered: 0,
                }
            })
            .collect();
        Ok(RangeOutput {
            objects,
            counts: self.counts,
            destinations,
            exclusions: self.context.exclusions,
            states: Vec::new(),
        })
    }
}
