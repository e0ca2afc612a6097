//! One range, from its first micro-batch to what it leaves: the seam between the range protocol
//! and everything that happens to records in between.
//!
//! The protocol opens a range with a [`RangeContext`], feeds the processor micro-batches that it
//! has cut by counts and bytes from the range's start, and cuts it. Nothing of a range is visible
//! to anybody before that.
//!
//! Invariant: the same batches, context, plan and states give the same output, byte for byte.

use std::sync::Arc;

use tidegate_core::{
    Digest, Failure, RecordBatch, Timestamp,
    checkpoint::{
        Counts, DestinationCounts, Exclusion, RecordOutcome, StateChange, StateKeys, StoreError,
    },
    sink::{Object, Provenance},
    source::{HashKey, PartitionId, Resume},
    transform::{Breach, TransformError},
};

use crate::{
    chain::{Chain, ledger},
    encode::{self, Naming, Objects},
    plan::Plan,
    states::StateLoader,
};

/// What a range is before its first record.
#[derive(Clone, Debug)]
pub struct RangeContext {
    /// The partition.
    pub partition: PartitionId,
    /// The partition that its records were first read from, where they are redriven: what plugins
    /// and dead letters are told. Then what becomes of each record is kept.
    pub origin: Option<PartitionId>,
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
    /// Of how many keys the stages have states before it.
    pub state_keys: StateKeys,
    /// How the source hashes partition keys, where states go by them to the children of their
    /// partition.
    pub hash_key: Option<HashKey>,
}

impl RangeContext {
    /// The partition that the records' positions are positions of.
    pub(crate) fn origin(&self) -> &PartitionId {
        self.origin.as_ref().unwrap_or(&self.partition)
    }
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
    /// Its objects: by destination, then by name; parts of one directory in position order.
    pub objects: Vec<RangeObject>,
    /// What became of its records.
    pub counts: Counts,
    /// What became of its shares, one entry for each of [`Plan::destinations`] in order.
    pub destinations: Vec<DestinationCounts>,
    /// The pinned exclusions and those that this run added: for the intent.
    pub exclusions: Vec<Exclusion>,
    /// States that changed, by stage, then key.
    pub states: Vec<StateChange>,
    /// What each stage did, in order.
    pub stages: Vec<StageStatistics>,
    /// What became of each record, in order, where the range has an origin.
    pub outcomes: Vec<RecordOutcome>,
}

/// What a stage did in a range: for metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StageStatistics {
    /// Its name.
    pub stage: String,
    /// Rows that it was called with.
    pub rows: u64,
    /// Rows that it dropped.
    pub dropped: u64,
    /// Rows that it rejected, or the host for it.
    pub rejected: u64,
    /// Rows that were poison to it or excluded.
    pub poison: u64,
    /// Its breaker opened.
    pub breaker_open: bool,
    /// Keys that have got a state.
    pub keys_added: u64,
    /// Keys whose state was removed.
    pub keys_removed: u64,
    /// Calls of the plugin.
    pub calls: u64,
    /// Instances that it took.
    pub instances: u64,
    /// Batches that were run again at other sizes.
    pub purity_checks: u64,
    /// Those whose replies differed.
    pub impure: u64,
    /// How the first of them differed.
    pub impurity: Option<String>,
    /// The ids of the rules of the plugin's description.
    pub rules: Vec<String>,
    /// Findings, one count for each rule.
    pub findings: Vec<u64>,
    /// What became of its look-ups, one entry a table.
    pub lookups: Vec<LookupStatistics>,
}

/// What became of a stage's look-ups in one table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LookupStatistics {
    /// The table's name.
    pub table: String,
    /// Rows, of those that met the stage's condition, whose key is in the table: each as often as
    /// there are keys that the stage looks it up by.
    pub hits: u64,
    /// Those whose key is not, or is incomplete.
    pub misses: u64,
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
    /// States were written by a version of the plugin that this one can't read.
    #[error(
        "states of stage `{stage}` have version {found}, and the plugin reads version {supported}: \
         go back to the plugin that wrote them"
    )]
    StateVersion {
        /// Of which stage.
        stage: String,
        /// The version in the store.
        found: u32,
        /// The plugin's.
        supported: u32,
    },
    /// A plugin could not be instantiated, or there was no room for an instance.
    #[error("failed to start the plugin of stage `{stage}`")]
    Plugin {
        /// Of which stage.
        stage: String,
        /// Why.
        #[source]
        source: TransformError,
    },
    /// A range of an earlier generation can't be made again for now: the operator's policy refuses
    /// a component of it.
    #[error("generation {generation} is held back by the policy: {reason}")]
    Withheld {
        /// The generation.
        generation: Digest,
        /// Which component, and why.
        reason: String,
    },
    /// A breaker opened, and the stage's policy is to halt.
    #[error(
        "the breaker of stage `{stage}` is open: {poison} of {rows} records of the range are \
         poison to its plugin"
    )]
    Halted {
        /// The stage.
        stage: String,
        /// How many were poison.
        poison: u64,
        /// Of how many.
        rows: u64,
    },
    /// An object could not be encoded.
    #[error("failed to encode `{key}`")]
    Encode {
        /// The object's name.
        key: String,
        /// Why.
        #[source]
        source: std::io::Error,
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
    /// Whether an operator has stopped it, and an operator lets it go on.
    pub fn is_blocked(&self) -> bool {
        match self {
            ProcessError::Plugin { source, .. } => source.breach == Breach::Blocked,
            ProcessError::Withheld { .. } => true,
            _ => false,
        }
    }

    /// What it asks for.
    pub fn failure(&self) -> Failure {
        match self {
            ProcessError::States { source, .. } => source.failure(),
            ProcessError::Plugin { source, .. } => match source.failure() {
                Failure::Reject => Failure::Fatal,
                other => other,
            },
            ProcessError::Withheld { .. } => Failure::RETRY,
            ProcessError::StateVersion { .. }
            | ProcessError::Halted { .. }
            | ProcessError::Encode { .. }
            | ProcessError::Conservation { .. } => Failure::Fatal,
        }
    }
}

/// Processes one range. Lives on one worker thread at a time.
#[derive(Debug)]
pub struct RangeProcessor {
    plan: Arc<Plan>,
    context: RangeContext,
    chain: Chain,
    /// One for each of the plan's destinations.
    objects: Vec<Objects>,
}

impl RangeProcessor {
    pub(crate) fn open(plan: Arc<Plan>, context: RangeContext) -> Result<Self, ProcessError> {
        let slug = encode::slug(&context.partition.0);
        let schema = |destination: usize| {
            let table = plan.sinks.get(destination).and_then(|sink| sink.table.as_ref());
            table.map(|table| table.schema.clone())
        };
        let provenance = Arc::new(Provenance {
            pipeline: plan.spec.pipeline.clone(),
            generation: plan.generation(),
            partition: context.partition.clone(),
            range: context.range,
            revision: context.revision,
        });
        let naming = |destination, compression, part_records_max, part_bytes_max| Naming {
            destination,
            provenance: provenance.clone(),
            slug: slug.clone(),
            range: context.range,
            revision: context.revision,
            compression,
            schema: schema(destination),
            part_records_max,
            part_bytes_max,
            buffers: plan.buffers.clone(),
        };
        let sinks = plan.spec.sinks.iter().enumerate().map(|(i, sink)| {
            naming(i, sink.compression, sink.part_records_max, sink.part_bytes_max)
        });
        let letters = &plan.spec.dead_letters;
        let letters =
            naming(plan.dead_letters(), letters.compression, u64::MAX, letters.part_bytes_max);
        let objects = sinks.chain([letters]).map(Objects::new).collect();
        let chain = Chain::new(&plan, &context);
        Ok(RangeProcessor { plan, context, chain, objects })
    }

    /// Takes one micro-batch through the chain. Awaits nothing but states that the range has not
    /// seen yet.
    pub async fn process(
        &mut self,
        batch: &RecordBatch,
        states: &dyn StateLoader,
    ) -> Result<(), ProcessError> {
        self.chain.run(&self.plan, &self.context, batch, states, &mut self.objects).await
    }

    /// How many bytes the range holds in memory, states included: the protocol cuts it at the
    /// spool's limit.
    pub fn spooled_bytes(&self) -> usize {
        self.objects.iter().map(Objects::bytes).sum::<usize>() + self.chain.state_bytes()
    }

    /// How many objects are open: the protocol cuts the range at a limit, so that a wide tree
    /// doesn't make a great many small objects of one range.
    pub fn open_objects(&self) -> usize {
        self.objects.iter().map(Objects::open).sum()
    }

    /// What each stage has done up to now, and what became of the shares: who feeds it record by
    /// record learns what became of each.
    pub fn so_far(&self) -> (Vec<StageStatistics>, &[DestinationCounts]) {
        (self.chain.statistics(), &self.chain.destinations)
    }

    /// Closes the range: finishes the objects and checks that every record is accounted for.
    pub fn cut(self) -> Result<RangeOutput, ProcessError> {
        let RangeProcessor { plan, context, mut chain, objects } = self;
        let mut made = Vec::new();
        for objects in objects {
            made.extend(objects.finish()?);
        }
        chain.report_nulled(&plan);
        let counts = chain.counts;
        let destinations = std::mem::take(&mut chain.destinations);
        let exclusions = std::mem::take(&mut chain.exclusions);
        let outcomes = std::mem::take(&mut chain.outcomes);
        let held = |place: usize| -> u64 {
            made.iter().filter(|it| it.destination == place).map(|it| it.records).sum()
        };
        // Invariant: read = filtered + dropped + delivered + dead-lettered, each record in exactly
        // one; and what a destination's ledger says is delivered lies in its objects.
        let unheld =
            destinations.iter().enumerate().find(|(place, it)| held(*place) != it.delivered).map(
                |(_, it)| format!("the objects of `{}` hold other rows than delivered", it.sink),
            );
        let letters = destinations[plan.dead_letters()].delivered;
        let unwritten = (letters != counts.dead_lettered.records)
            .then(|| format!("{letters} letters for {} records", counts.dead_lettered.records));
        if let Some(detail) = ledger::unbalanced(&counts, &destinations).or(unheld).or(unwritten) {
            let RangeContext { partition, range, .. } = context;
            return Err(ProcessError::Conservation { partition, range, detail });
        }
        let (states, stages) = chain.finish(&plan);
        Ok(RangeOutput {
            objects: made,
            counts,
            destinations,
            exclusions,
            states,
            stages,
            outcomes,
        })
    }
}
