//! States that a generation can't read are built anew: out of the records that made them.
//!
//! The committed ranges go through the generation once more, from a checkpoint on, and nothing of
//! what comes out is delivered but the states. The partitions stay where they are. Only while
//! nobody runs: a range that is committed meanwhile would be missing from the states.

use std::{collections::BTreeSet, sync::Arc};

use anyhow::{Context, bail};
use tidegate_connectors::store::StoreInspector;
use tidegate_core::{
    Source, Timestamp,
    checkpoint::{Manifest, StateChange, StateKeys, StoreError},
    source::{PartitionId, Replay},
};
use tidegate_pipeline::RangeOutput;

use super::Candidate;
use crate::{
    objects::Objects,
    redrive::{History, RedriveSource, Sealed},
    replay::{Replays, Visit},
    states::StatesInMemory,
};

/// The states of some stages, as a generation would have left them.
#[derive(Debug, Default)]
pub(crate) struct Reprocessed {
    pub(crate) states: Vec<(PartitionId, Vec<StateChange>)>,
    /// How many there are.
    pub(crate) keys: usize,
    /// What they were made of.
    pub(crate) ranges: u64,
    pub(crate) records: u64,
}

/// Takes the ranges that were opened at a time or later, or all, through a generation, and gives the
/// states that it leaves of some stages.
pub(crate) async fn reprocess(
    candidate: &Candidate,
    source: &Arc<dyn Source>,
    store: &StoreInspector,
    stages: &BTreeSet<String>,
    since: Option<Timestamp>,
) -> anyhow::Result<Reprocessed> {
    if source.replay() == Replay::Never {
        bail!("the source can't be read again");
    }
    let config = &candidate.loaded.config;
    let letters = Objects::of_dead_letters(config);
    let history = History::read(store)?.all();
    let redriven =
        RedriveSource::new(&config.source.name, letters, history, None, Sealed::of(config));
    let listed = source.partitions().await.context("failed to list the source's partitions")?;
    let mut replays = Replays::new(&candidate.plan, config, listed);
    let mut count = Count::default();
    let mut now = Timestamp::default();
    for record in store.partitions()? {
        let partition = &record.id;
        // What is redriven meets no state, and leaves none.
        if redriven.origin(partition).is_some() {
            continue;
        }
        let mut manifests = Vec::new();
        store.manifests(partition, |manifest| {
            now = now.max(manifest.opened_at);
            if since.is_none_or(|since| manifest.opened_at >= since) {
                manifests.push(manifest);
            }
            Ok::<_, StoreError>(())
        })?;
        let wanted = count.ranges + manifests.len() as u64;
        replays
            .partition(source, partition, &manifests, &mut count)
            .await
            .with_context(|| format!("failed to reprocess partition `{partition}`"))?;
        if count.ranges < wanted {
            bail!(
                "the source has not all records of partition `{partition}` any more that the \
                 states were made of: begin later, with `--since`"
            );
        }
    }
    let Count { ranges, records } = count;
    let mut done = Reprocessed { ranges, records, ..Reprocessed::default() };
    for (partition, states) in replays.left() {
        let states = states.into_changes(|stage, row| {
            stages.contains(stage) && row.expires_at.is_none_or(|expires| expires > now)
        });
        done.keys += states.len();
        done.states.push((partition, states));
    }
    Ok(done)
}

#[derive(Default)]
struct Count {
    ranges: u64,
    records: u64,
}

impl Visit for Count {
    fn open(&mut self, _: &Manifest, states: &StatesInMemory) -> Option<StateKeys> {
        Some(states.keys())
    }

    fn cut(&mut self, manifest: &Manifest, output: &RangeOutput) {
        // One that the source has not got any more comes out short.
        if output.counts.read == manifest.counts.read {
            self.ranges += 1;
            self.records += output.counts.read.records;
        }
    }
}
