//! The source against the manifests.

use std::sync::Arc;

use tidegate_connectors::store::PartitionRecord;
use tidegate_core::{
    Source,
    checkpoint::{Manifest, Tally},
    source::{ReadLimit, ReadOutcome, SourceError},
};

use super::Verdict;

/// How much is in memory at a time.
const READ: ReadLimit = ReadLimit { records_max: 50_000, bytes_max: 4 << 20, until: None };

/// Reads a partition again, from its start: the records of each range must be those that its
/// manifest accounts for.
pub(super) async fn check(
    source: &Arc<dyn Source>,
    record: &PartitionRecord,
    manifests: &[Manifest],
    verdict: &mut Verdict,
) {
    let partition = Some(&record.id);
    match tally(source, record, manifests).await {
        Err(error) => {
            let message = format!("the source can't be read again: {error}");
            verdict.problem("source-unreadable", partition, None, message);
        }
        Ok((tallies, left)) => {
            for (manifest, tally) in manifests.iter().zip(tallies) {
                if tally != manifest.counts.read {
                    let message = format!(
                        "the source has {} records in this range and the manifest accounts for \
                         {}{}",
                        tally.records,
                        manifest.counts.read.records,
                        if tally.records == manifest.counts.read.records {
                            ", at other positions"
                        } else {
                            ""
                        },
                    );
                    verdict.problem("source-differs", partition, Some(manifest.range), message);
                }
            }
            if left > 0 {
                verdict.complete = false;
            }
            if left > 0 && record.checkpoint.finished {
                let message =
                    format!("the partition is finished, and the source has {left} more records");
                verdict.problem("unread", partition, None, message);
            }
        }
    }
}

/// Counts the records of each range, and those behind the last. Behind the last of a partition
/// that is not finished it does not look: a source may have no end.
async fn tally(
    source: &Arc<dyn Source>,
    record: &PartitionRecord,
    manifests: &[Manifest],
) -> Result<(Vec<Tally>, u64), SourceError> {
    let mut tallies = vec![Tally::default(); manifests.len()];
    let mut left = 0;
    let mut range = 0;
    let Some(last) = manifests.last() else { return Ok((tallies, left)) };
    let until = (!record.checkpoint.finished).then_some(last.end.position);
    let mut reader = source.open(&record.id, None).await?;
    loop {
        match reader.read(ReadLimit { until, ..READ }).await? {
            ReadOutcome::Records(batch) => {
                for position in &batch.positions {
                    while range < manifests.len() && *position > manifests[range].end.position {
                        range += 1;
                    }
                    match tallies.get_mut(range) {
                        Some(tally) => tally.add(position.hash128()),
                        None => left += 1,
                    }
                }
            }
            // A source that waits for more has none for now.
            ReadOutcome::Idle | ReadOutcome::Ended => return Ok((tallies, left)),
        }
    }
}
