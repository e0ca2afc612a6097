//! Committed ranges, through plugins once more: nothing is delivered.
//!
//! Each range has the bounds, the batch time and the exclusions of its manifest, and the states that
//! the ranges before it have left, so that the plan that made it makes the same of it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tidegate_core::{
    Source, Timestamp,
    batcher::{Batcher, Situation, Step},
    checkpoint::{Manifest, StateKeys},
    source::{Partition, PartitionId, ReadLimit, ReadOutcome},
};
use tidegate_pipeline::{Plan, RangeContext, RangeOutput, RangeProcessor};

use crate::{config::Config, plan, states::StatesInMemory};

/// How much is in memory at a time.
const READ: ReadLimit = ReadLimit { records_max: 50_000, bytes_max: 4 << 20, until: None };

/// A source that has nothing for now is asked again so often, and has lost it after that.
const IDLE_MAX: u32 = 100;
/// How long it is left alone.
const IDLE: Duration = Duration::from_millis(50);

/// Looks on.
pub(crate) trait Visit {
    /// A range is about to be replayed. Gives how many keys its stages count as having states of at
    /// its start, or nothing where it, and what follows it, is not to be replayed.
    fn open(&mut self, manifest: &Manifest, states: &StatesInMemory) -> Option<StateKeys>;

    /// What came of it.
    fn cut(&mut self, manifest: &Manifest, output: &RangeOutput);
}

/// Replays a pipeline's partitions, parents before their children.
pub(crate) struct Replays<'a> {
    plan: &'a Arc<Plan>,
    config: &'a Config,
    lineage: HashMap<PartitionId, Partition>,
    /// What the partitions have left that were replayed.
    left: HashMap<PartitionId, StatesInMemory>,
}

impl<'a> Replays<'a> {
    /// `listed` are the partitions as the source lists them.
    pub(crate) fn new(plan: &'a Arc<Plan>, config: &'a Config, listed: Vec<Partition>) -> Self {
        let lineage = listed.into_iter().map(|it| (it.id.clone(), it)).collect();
        Replays { plan, config, lineage, left: HashMap::new() }
    }

    /// Replays some of a partition's ranges, which follow each other.
    pub(crate) async fn partition(
        &mut self,
        source: &Arc<dyn Source>,
        partition: &PartitionId,
        manifests: &[Manifest],
        visit: &mut impl Visit,
    ) -> anyhow::Result<()> {
        let states = self.inherited(partition);
        self.ranges(source, (partition, &states), manifests, visit).await?;
        self.left.insert(partition.clone(), states);
        Ok(())
    }

    /// The states that the partitions have left, less what their children took.
    pub(crate) fn left(self) -> impl Iterator<Item = (PartitionId, StatesInMemory)> {
        self.left.into_iter()
    }

    /// What a partition's parents have left to it.
    fn inherited(&self, partition: &PartitionId) -> StatesInMemory {
        let Some(Partition { parents, hash_range: Some(range), .. }) = self.lineage.get(partition)
        else {
            return StatesInMemory::default();
        };
        let parents = parents.iter().filter_map(|parent| self.left.get(parent));
        StatesInMemory::of(parents.flat_map(|it| it.give(*range)))
    }

    async fn ranges(
        &self,
        source: &Arc<dyn Source>,
        (partition, states): (&PartitionId, &StatesInMemory),
        manifests: &[Manifest],
        visit: &mut impl Visit,
    ) -> anyhow::Result<()> {
        let (Some(first), Some(last)) = (manifests.first(), manifests.last()) else {
            return Ok(());
        };
        let settings = plan::settings(self.config);
        let mut batcher = Batcher::new(settings.batch, settings.range);
        let mut reader = source.open(partition, first.start.as_ref()).await?;
        let limit = ReadLimit { until: Some(last.end.position), ..READ };
        let mut ranges = manifests.iter();
        let mut open: Option<(&Manifest, RangeProcessor)> = None;
        let mut idle = 0;
        // Replayed ranges end at their ends, whatever the time is.
        let situation = Situation {
            now: Timestamp::default(),
            spooled_bytes: 0,
            open_objects: 0,
            requested: None,
        };
        loop {
            match batcher.step(&situation) {
                Step::Open => {
                    let Some(manifest) = ranges.next() else { return Ok(()) };
                    let Some(state_keys) = visit.open(manifest, states) else { return Ok(()) };
                    batcher.open(manifest.opened_at, Some(manifest.end.position));
                    let processor = self.plan.open_range(RangeContext {
                        partition: partition.clone(),
                        origin: source.origin(partition),
                        range: manifest.range,
                        revision: manifest.revision,
                        start: manifest.start.clone(),
                        opened_at: manifest.opened_at,
                        exclusions: manifest.exclusions.clone(),
                        state_keys,
                        hash_key: source.hash_key(),
                    })?;
                    open = Some((manifest, processor));
                }
                Step::Process(batch) => {
                    if let Some((_, processor)) = &mut open {
                        processor.process(&batch, states).await?;
                    }
                }
                Step::Cut(_) => {
                    let Some((manifest, processor)) = open.take() else { continue };
                    let output = processor.cut()?;
                    visit.cut(manifest, &output);
                    states.apply(output.states);
                }
                Step::Read => match reader.read(limit).await? {
                    ReadOutcome::Records(batch) => {
                        idle = 0;
                        batcher.push(batch);
                    }
                    ReadOutcome::Idle if idle < IDLE_MAX => {
                        idle += 1;
                        tokio::time::sleep(IDLE).await;
                    }
                    ReadOutcome::Idle | ReadOutcome::Ended => batcher.end(),
                },
                Step::Done => return Ok(()),
            }
        }
    }
}
