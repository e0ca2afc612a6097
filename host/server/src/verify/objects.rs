//! What lies in the sinks' directories against the manifests.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use tidegate_core::{
    ObjectDigest,
    checkpoint::{Manifest, ManifestObject, Tally},
    source::PartitionId,
};

use super::Verdict;
use crate::{DEAD_LETTERS, config::Config, letters::Letter, objects};

/// The directories of the sinks, and which files in them belong there.
pub(super) struct Trees {
    roots: BTreeMap<String, PathBuf>,
    known: BTreeSet<PathBuf>,
}

impl Trees {
    pub(super) fn new(config: &Config) -> Self {
        let sinks = config.sinks.iter().filter_map(|sink| {
            let directory = sink.directory.as_ref()?;
            Some((sink.name.clone(), directory.path.clone()))
        });
        let dead = (DEAD_LETTERS.to_owned(), config.dead_letters.directory.clone());
        Trees { roots: sinks.chain([dead]).collect(), known: BTreeSet::new() }
    }

    /// Where an object lies; none where its sink keeps nothing that could be looked at.
    fn path(&self, object: &ManifestObject) -> Option<PathBuf> {
        self.roots.get(&object.sink).map(|root| root.join(&object.key))
    }

    /// Objects that may be there: of a range that is not committed.
    pub(super) fn tolerate(&mut self, manifest: &Manifest) {
        let objects = manifest.objects.iter().chain(&manifest.superseded);
        let paths: Vec<PathBuf> = objects.filter_map(|object| self.path(object)).collect();
        self.known.extend(paths);
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
            let Some(path) = self.path(object) else { continue };
            let range = Some(manifest.range);
            if let Err((code, message)) = check_object(object, &path, origin, &mut dead).await {
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

    /// Finds files that no manifest names: somebody else's, or an object that was published and is
    /// in no catalogue.
    pub(super) fn find_foreign(&self, verdict: &mut Verdict) -> anyhow::Result<()> {
        for (sink, root) in &self.roots {
            for file in objects::files(root)? {
                if !self.known.contains(&file) {
                    let message = format!(
                        "`{}` in the directory of sink `{sink}` is in no manifest",
                        file.display()
                    );
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
    path: &Path,
    partition: &PartitionId,
    dead: &mut Dead,
) -> Result<(), (&'static str, String)> {
    let shown = path.display();
    let content = fs::read(path)
        .map_err(|error| ("object-missing", format!("`{shown}` can't be read: {error}")))?;
    let found = ObjectDigest::of(&content);
    if found != object.digest || content.len() as u64 != object.bytes {
        let message = format!("`{shown}` is {found}, and its manifest says {}", object.digest);
        return Err(("object-differs", message));
    }
    drop(content);
    let mut records = 0;
    let read = objects::each_record(path, |batch| {
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
