//! The manifests against each other and against the checkpoint.

use tidegate_connectors::store::PartitionRecord;
use tidegate_core::checkpoint::Manifest;

use super::Verdict;

/// Checks that ranges follow each other up to the checkpoint, and that each adds up.
pub(super) fn check(
    record: &PartitionRecord,
    manifests: &[Manifest],
    is_redriven: bool,
    verdict: &mut Verdict,
) {
    let partition = Some(&record.id);
    let mut end = None;
    for (number, manifest) in manifests.iter().enumerate() {
        let range = Some(manifest.range);
        verdict.ranges += 1;
        verdict.count(&manifest.counts, is_redriven);
        if manifest.range != number as u64 {
            let message = format!("range {number} is not in the catalogue");
            verdict.problem("range-missing", partition, range, message);
        }
        let start = manifest.start.as_ref().map(|resume| resume.position);
        if start != end {
            let message = "the range does not start where the one before it ends".to_owned();
            verdict.problem("gap", partition, range, message);
        }
        end = Some(manifest.end.position);
        if !manifest.counts.conserved() {
            let message = "read is not filtered + dropped + delivered + dead-lettered".to_owned();
            verdict.problem("not-conserved", partition, range, message);
        }
        check_destinations(record, manifest, verdict);
    }
    let stored = record.checkpoint.resume.as_ref().map(|resume| resume.position);
    if stored != end || record.checkpoint.next_range != manifests.len() as u64 {
        let message = format!(
            "the checkpoint stands at {} behind {} ranges, and the {} ranges of the catalogue end \
             at {}",
            stored.unwrap_or_default(),
            record.checkpoint.next_range,
            manifests.len(),
            end.unwrap_or_default(),
        );
        verdict.problem("checkpoint", partition, None, message);
    }
}

/// Shares that were routed somewhere lie in its objects or are dead.
fn check_destinations(record: &PartitionRecord, manifest: &Manifest, verdict: &mut Verdict) {
    for destination in &manifest.destinations {
        let objects = manifest.objects.iter().filter(|object| object.sink == destination.sink);
        let held: u64 = objects.map(|object| object.records).sum();
        if destination.shares != destination.delivered + destination.dead_lettered
            || held != destination.delivered
        {
            let message = format!(
                "sink `{}` was given {} rows: {} are dead letters, {} were delivered, and its \
                 objects hold {held}",
                destination.sink,
                destination.shares,
                destination.dead_lettered,
                destination.delivered,
            );
            let partition = Some(&record.id);
            verdict.problem("shares", partition, Some(manifest.range), message);
        }
    }
}
