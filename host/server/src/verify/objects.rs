//! What lies in the sinks' directories and buckets against the manifests.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use tidegate_core::{
    ObjectDigest,
    checkpoint::{Manifest, ManifestObject, Tally},
    source::PartitionId,
};

use super::Verdict;
use crate::{
    DEAD_LETTERS,
    config::Config,
    letters::Letter,
    objects::{self, Objects},
};

/// The objects of the sinks, and which of them belong there.
pub(super) struct Trees {
    sinks: BTreeMap<String, Objects>,
    /// By sink and key.
    known: BTreeSet<(String, String)>,
}

impl Trees {
    pub(super) fn new(config: &Config) -> Self {
        Trees { sinks: Objects::of_all(config).collect(), known: BTreeSet::new() }
    }

    /// The sinks whose objects can't be looked at.
    pub(super) fn not_looked_into(&self, config: &Config) -> Vec<String> {
        let names = config.sinks.iter().map(|sink| &sink.name);
        names.filter(|name| !self.sinks.contains_key(*name)).cloned().collect()
    }

    /// Objects that may be there: of a range that is not committed.
    pub(super) fn tolerate(&mut self, manifest: &Manifest) {
        let objects = manifest.objects.iter().chain(&manifest.superseded);
        self.known.extend(objects.map(|object| (object.sink.clone(), object.key.clone())));
    }

    /// Checks the objects of a committed range. Its dead letters name the partition `origin`.
    pub(super) async fn check(
        &mut self,
        partition: &PartitionId,
        origin: &PartitionId,
        manifest: &Manifest,
        verdict: &mut Verdict,
    ) -> anyhow::Result<()> {
        self.tolerate(manifest);
        let mut dead = Dead::default();
        for object in &manifest.objects {
            verdict.objects += 1;
            verdict.object_bytes += object.bytes;
            // Some sinks keep nothing that could be looked at.
            let Some(objects) = self.sinks.get(&object.sink) else { continue };
            let range = Some(manifest.range);
            if let Err((code, message)) = check_object(object, objects, origin, &mut dead).await {
                verdict.problem(code, Some(partition), range, message);
            }
        }
        verdict.dead_letters += dead.letters;
        if dead.records != manifest.counts.dead_lettered {
            let message = format!(
                "the dead letters name {} records, and the manifest counts {}",
                dead.records.records, manifest.counts.dead_lettered.records
            );
            verdict.problem("dead-letters", Some(partition), Some(manifest.range), message);
        }
        Ok(())
    }

    /// Finds objects that no manifest names: somebody else's, or one that was published and is in no
    /// catalogue.
    pub(super) async fn find_foreign(&self, verdict: &mut Verdict) -> anyhow::Result<()> {
        for (sink, objects) in &self.sinks {
            for key in objects.keys().await? {
                let place = objects.place(&key);
                if !self.known.contains(&(sink.clone(), key)) {
                    let message = format!("`{place}` of sink `{sink}` is in no manifest");
                    verdict.problem("foreign-object", None, None, message);
                }
            }
        }
        Ok(())
    }
}

/// The records that dead letters name.
#[derive(Default)]
struct Dead {
    letters: u64,
    records: Tally,
}

impl Dead {
    fn add(&mut self, letter: &Letter, partition: &PartitionId) -> anyhow::Result<()> {
        anyhow::ensure!(
            letter.etl("partition") == &*partition.0,
            "it holds a letter of partition `{}`",
            letter.etl("partition")
        );
        let position = letter.position()?;
        self.letters += 1;
        self.records.add(position.hash128());
        Ok(())
    }
}

async fn check_object(
    object: &ManifestObject,
    objects: &Objects,
    partition: &PartitionId,
    dead: &mut Dead,
) -> Result<(), (&'static str, String)> {
    let shown = objects.place(&object.key);
    let missing =
        |error: anyhow::Error| ("object-missing", format!("`{shown}` can't be read: {error:#}"));
    let file = objects.file(&object.key).await.map_err(missing)?;
    let content = fs::read(file.path()).map_err(|error| missing(error.into()))?;
    let found = ObjectDigest::of(&content);
    if found != object.digest || content.len() as u64 != object.bytes {
        let message = format!("`{shown}` is {found}, and its manifest says {}", object.digest);
        return Err(("object-differs", message));
    }
    drop(content);
    let mut records = 0;
    let read = objects::each_record(file.path(), |batch| {
        records += batch.len() as u64;
        if object.sink != DEAD_LETTERS {
            return Ok(());
        }
        (0..batch.len()).try_for_each(|row| dead.add(&Letter::parse(batch.record(row))?, partition))
    });
    read.await.map_err(|error| ("object-unreadable", format!("`{shown}`: {error:#}")))?;
    if records != object.records {
        let message =
            format!("`{shown}` holds {records} records, and its manifest says {}", object.records);
        return Err(("object-records", message));
    }
    Ok(())
}
