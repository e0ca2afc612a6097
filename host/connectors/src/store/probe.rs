//! Probes of a data directory. Its lock is left alone: it may be a running process's.

use std::path::Path;

use super::{StoreInspector, schema};
use crate::{
    blocking::off_task,
    files::probe_directory,
    probe::{Answer, ProbeLevel::Read, Probed, Probes, Probing, Unproven, in_full},
};

/// What of a data directory works from here, and of the store in it.
pub(super) async fn probe(directory: &Path, probing: Probing) -> Vec<Probed> {
    let mut found = probe_directory(directory, probing).await;
    let mut probes = Probes::new(probing);
    let place = directory.join(schema::FILE).display().to_string();
    probes.ask(Read, "read store", place, read(directory)).await;
    // Between what is opened and what is written.
    found.splice(1..1, probes.found());
    found
}

async fn read(directory: &Path) -> Answer<()> {
    let directory = directory.to_owned();
    let known = off_task(true, move || {
        let is_there = directory.join(schema::FILE).exists();
        Ok(is_there.then(|| StoreInspector::open(&directory).and_then(|it| it.partitions())))
    });
    let hint = "name another data directory, or read the error's own advice";
    let known = known.await.map_err(|error| Unproven::failed(error.to_string(), hint))?;
    let known =
        known.ok_or_else(|| Unproven::unknown("there is none: the first run creates it"))?;
    let known = known.map_err(|error| Unproven::failed(in_full(&error), hint))?;
    let finished = known.iter().filter(|it| it.checkpoint.finished).count();
    Ok(((), format!("{} partitions are known, {finished} of them finished", known.len())))
}
