//! Proves from what lies on the disk that no record was lost and none doubled.
//!
//! Four things are held against each other: the catalogue's manifests, the source, the objects and
//! the dead letters.
//!
//! - The committed ranges of a partition follow each other without a gap, and end where the
//!   checkpoint stands.
//! - The source is read again: the records of each range, in number and in the sum of their
//!   positions' hashes, are those that its manifest accounts for, each in exactly one place.
//! - Each object is there with the digest and the number of records of its manifest, and nothing
//!   else lies beside it.
//!   Not so where partitions come and go, and some are forgotten already: see `forgotten`.
//! - The dead letters name their records: these are the ones that the manifest counts as dead.
//! - What was redriven was read out of the dead letters, which are its source.
//! - With a replay, each range goes through the plugins again, with the time that it was opened
//!   at, and must make the same bytes. That ties each output to its record.

mod ledger;
mod objects;
mod progress;
mod replay;
mod source;

use std::sync::Arc;

use serde::Serialize;
use tidegate_core::{
    Source,
    checkpoint::Counts,
    source::{PartitionId, Replay},
};
use tidegate_pipeline::Plan;

use self::progress::Committed;
pub(crate) use self::progress::Progress;
use crate::{
    config::Config,
    objects::Objects,
    redrive::{RedriveSource, Sealed},
    replay::Replays,
};

/// Problems beyond these are counted and not told.
const PROBLEMS_MAX: usize = 100;

/// What was found.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Verdict {
    /// Every committed record is accounted for exactly once, and everything is there.
    pub(crate) conserved: bool,
    /// Nothing is left to be read.
    pub(crate) complete: bool,
    /// Records of the source, in committed ranges.
    pub(crate) read: u64,
    pub(crate) filtered: u64,
    pub(crate) dropped: u64,
    pub(crate) delivered: u64,
    pub(crate) dead_lettered: u64,
    /// Records that were redriven, in committed ranges. They are in none of the counts above, of
    /// which each was a dead letter.
    pub(crate) redriven: u64,
    pub(crate) partitions: u64,
    /// Partitions that were finished long ago, and of which nothing is known any more.
    pub(crate) forgotten: u64,
    pub(crate) ranges: u64,
    pub(crate) objects: u64,
    pub(crate) object_bytes: u64,
    /// Letters: at most one a record.
    pub(crate) dead_letters: u64,
    /// Sinks that keep nothing that could be looked at: of what they were given, only the
    /// manifests tell.
    pub(crate) sinks_not_looked_into: Vec<String>,
    /// Whether the source was read again: it can't be where reading uses it up.
    pub(crate) source_read_again: bool,
    /// Ranges that went through the plugins again and made the same bytes.
    pub(crate) replayed: Option<u64>,
    pub(crate) problem_count: u64,
    pub(crate) problems: Vec<Problem>,
}

/// Something that is not as it must be.
#[derive(Debug, Serialize)]
pub(crate) struct Problem {
    /// A stable code.
    pub(crate) code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) partition: Option<PartitionId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) range: Option<u64>,
    pub(crate) message: String,
}

impl Verdict {
    fn problem(
        &mut self,
        code: &'static str,
        partition: Option<&PartitionId>,
        range: Option<u64>,
        message: String,
    ) {
        self.problem_count += 1;
        if self.problems.len() < PROBLEMS_MAX {
            let partition = partition.cloned();
            self.problems.push(Problem { code, partition, range, message });
        }
    }

    fn count(&mut self, counts: &Counts, is_redriven: bool) {
        if is_redriven {
            self.redriven += counts.read.records;
            return;
        }
        self.read += counts.read.records;
        self.filtered += counts.filtered.records;
        self.dropped += counts.dropped.records;
        self.delivered += counts.delivered.records;
        self.dead_lettered += counts.dead_lettered.records;
    }
}

/// Looks at everything that a pipeline has left. With a plan, ranges are replayed.
pub(crate) async fn verify(
    config: &Config,
    progress: &Progress,
    source: &Arc<dyn Source>,
    plan: Option<&Arc<Plan>>,
) -> anyhow::Result<Verdict> {
    let mut verdict = Verdict { complete: true, ..Verdict::default() };
    let mut trees = objects::Trees::new(config);
    verdict.sinks_not_looked_into = trees.not_looked_into(config);
    let can_read_again = source.replay() == Replay::Exact;
    verdict.source_read_again = can_read_again;
    let history = progress.redriven()?;
    verdict.complete &= history.interrupted().is_none();
    let letters = Objects::of_dead_letters(config);
    let redriven =
        RedriveSource::new(&config.source.name, letters, history.all(), None, Sealed::of(config));
    let redriven: Arc<dyn Source> = Arc::new(redriven);
    verdict.replayed = plan.map(|_| 0);
    let listed = match plan.is_some() && can_read_again {
        true => source.partitions().await?,
        false => Vec::new(),
    };
    let mut replays = plan.map(|plan| (plan, Replays::new(plan, config, listed)));
    let partitions = progress.partitions().await?;
    for record in &partitions {
        let Committed { record, manifests } = progress.committed(record.clone()).await?;
        let record = &record;
        let origin = redriven.origin(&record.id);
        let (source, can_read_again) = match &origin {
            Some(_) => (&redriven, true),
            None => (source, source.can_be_read_again(&record.id)),
        };
        verdict.partitions += 1;
        ledger::check(record, &manifests, origin.is_some(), &mut verdict);
        for manifest in &manifests {
            let origin = origin.as_ref().unwrap_or(&record.id);
            trees.check(&record.id, origin, manifest, &mut verdict).await?;
        }
        if let Some(pending) = &record.pending {
            trees.tolerate(pending);
        }
        if can_read_again {
            source::check(source, record, &manifests, &mut verdict).await;
        }
        if let Some((plan, replays)) = replays.as_mut().filter(|_| can_read_again) {
            let mut check = replay::Check { plan, partition: &record.id, verdict: &mut verdict };
            replays.partition(source, &record.id, &manifests, &mut check).await?;
        }
        verdict.complete &= record.checkpoint.finished && record.pending.is_none();
    }
    verdict.forgotten = progress.forgotten().await?;
    // What lies there of ranges that are forgotten can't be told from what is somebody else's, and of
    // leases that expire nobody counts how many did.
    let may_expire = config.leases.is_some() && config.source.s3.is_some();
    if verdict.forgotten == 0 && !may_expire {
        trees.find_foreign(&mut verdict).await?;
    }
    if can_read_again && let Ok(listed) = source.partitions().await {
        verdict.complete &=
            listed.iter().all(|listed| partitions.iter().any(|known| known.id == listed.id));
    }
    verdict.conserved = verdict.problem_count == 0;
    Ok(verdict)
}
