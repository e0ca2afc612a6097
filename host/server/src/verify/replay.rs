//! The plugins against the manifests: each range goes through them again.

use std::{collections::HashMap, sync::Arc};

use tidegate_core::{
    Source, Timestamp,
    batcher::{Batcher, Situation, Step},
    checkpoint::Manifest,
    source::{Partition, PartitionId, ReadOutcome},
};
use tidegate_pipeline::{Plan, RangeContext, RangeOutput, RangeProcessor};

use super::{Verdict, source::READ};
use crate::{config::Config, plan, states::StatesInMemory};

/// Replays of a pipeline's partitions, parents before their children.
pub(super) struct Replays<'a> {
    plan: &'a Arc<Plan>,
    config: &'a Config,
    lineage: HashMap<PartitionId, Partition>,
    /// What the partitions have left that were replayed.
    left: HashMap<PartitionId, StatesInMemory>,
}

impl<'a> Replays<'a> {
    pub(super) fn new(plan: &'a Arc<Plan>, config: &'a Config, listed: Vec<Partition>) -> Self {
        let lineage = listed.into_iter().map(|it| (it.id.clone(), it)).collect();
        Replays { plan, config, lineage, left: HashMap::new() }
    }

    /// Replays a partition's ranges in order, as far as this generation of plugins made them.
    pub(super) async fn check(
        &mut self,
        source: &Arc<dyn Source>,
        partition: &PartitionId,
        manifests: &[Manifest],
        verdict: &mut Verdict,
    ) -> anyhow::Result<()> {
        let states = self.inherited(partition);
        let Replays { plan, config, .. } = self;
        check(plan, config, source, (partition, &states), manifests, verdict).await?;
        self.left.insert(partition.clone(), states);
        Ok(())
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
}

async fn check(
    plan: &Arc<Plan>,
    config: &Config,
    source: &Arc<dyn Source>,
    (partition, states): (&PartitionId, &StatesInMemory),
    manifests: &[Manifest],
    verdict: &mut Verdict,
) -> anyhow::Result<()> {
    let settings = plan::settings(config);
    let mut batcher = Batcher::new(settings.batch, settings.range);
    let mut reader = source.open(partition, None).await?;
    let mut ranges = manifests.iter();
    let mut open: Option<(&Manifest, RangeProcessor)> = None;
    // Replayed ranges end at their ends, whatever the time is.
    let situation =
        Situation { now: Timestamp::default(), spooled_bytes: 0, open_objects: 0, requested: None };
    loop {
        match batcher.step(&situation) {
            Step::Open => {
                let Some(manifest) = ranges.next() else { return Ok(()) };
                if manifest.generation != plan.generation() {
                    let message = "other plugins or another config made it: it can't be replayed";
                    let range = Some(manifest.range);
                    verdict.problem("generation", Some(partition), range, message.to_owned());
                    return Ok(());
                }
                batcher.open(manifest.opened_at, Some(manifest.end.position));
                let processor = plan.open_range(RangeContext {
                    partition: partition.clone(),
                    origin: source.origin(partition),
                    range: manifest.range,
                    revision: manifest.revision,
                    start: manifest.start.clone(),
                    opened_at: manifest.opened_at,
                    exclusions: manifest.exclusions.clone(),
                    state_keys: manifest.state_keys.clone(),
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
                match difference(plan, manifest, &output) {
                    None => verdict.replayed = verdict.replayed.map(|ranges| ranges + 1),
                    Some(message) => {
                        let range = Some(manifest.range);
                        verdict.problem("replay-differs", Some(partition), range, message);
                    }
                }
                states.apply(output.states);
            }
            Step::Read => match reader.read(READ).await? {
                ReadOutcome::Records(batch) => batcher.push(batch),
                ReadOutcome::Idle | ReadOutcome::Ended => batcher.end(),
            },
            Step::Done => return Ok(()),
        }
    }
}

/// In what a replay differs from the manifest.
fn difference(plan: &Plan, manifest: &Manifest, output: &RangeOutput) -> Option<String> {
    if output.counts != manifest.counts {
        return Some("a replay counts its records in another way".to_owned());
    }
    let mut made: Vec<(&str, &str, tidegate_core::ObjectDigest)> = output
        .objects
        .iter()
        .map(|it| {
            let sink = plan.destinations()[it.destination].name.as_str();
            (sink, it.object.key.as_str(), it.object.digest)
        })
        .collect();
    let mut kept: Vec<(&str, &str, tidegate_core::ObjectDigest)> =
        manifest.objects.iter().map(|it| (it.sink.as_str(), it.key.as_str(), it.digest)).collect();
    made.sort_unstable();
    kept.sort_unstable();
    if made == kept {
        return None;
    }
    let other =
        made.iter().find(|it| !kept.contains(it)).or(kept.iter().find(|it| !made.contains(it)));
    Some(match other {
        Some((sink, key, _)) => format!("a replay makes other bytes of `{key}` in sink `{sink}`"),
        None => "a replay makes other objects".to_owned(),
    })
}
