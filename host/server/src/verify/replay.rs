//! The plugins against the manifests: each range goes through them again.

use tidegate_core::{
    checkpoint::{Manifest, StateKeys},
    source::PartitionId,
};
use tidegate_pipeline::{Plan, RangeOutput};

use super::Verdict;
use crate::{replay::Visit, states::StatesInMemory};

/// Holds what a replay makes against the manifests, as far as this generation of plugins made them.
pub(super) struct Check<'a> {
    pub(super) plan: &'a Plan,
    pub(super) partition: &'a PartitionId,
    pub(super) verdict: &'a mut Verdict,
}

impl Visit for Check<'_> {
    fn open(&mut self, manifest: &Manifest, _: &StatesInMemory) -> Option<StateKeys> {
        if manifest.generation != self.plan.generation() {
            let message = "other plugins or another config made it: it can't be replayed";
            let range = Some(manifest.range);
            self.verdict.problem("generation", Some(self.partition), range, message.to_owned());
            return None;
        }
        Some(manifest.state_keys.clone())
    }

    fn cut(&mut self, manifest: &Manifest, output: &RangeOutput) {
        match difference(self.plan, manifest, output) {
            None => self.verdict.replayed = self.verdict.replayed.map(|ranges| ranges + 1),
            Some(message) => {
                let range = Some(manifest.range);
                self.verdict.problem("replay-differs", Some(self.partition), range, message);
            }
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
