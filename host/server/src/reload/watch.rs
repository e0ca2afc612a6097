//! A pipeline's files, taken once they have stood still for a moment, so that what is changed
//! together is read together, and never half written.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    thread,
};

use super::catalogue::hashed_copy;
use crate::{
    config,
    files::Files,
    supply::Supply,
    watch::{SETTLE_ROUNDS_MAX, SETTLED, stamps},
};

/// Reads a pipeline's files once they stand still. Blocks. Begins with those that served last; a
/// config that names others has them read with it.
pub(super) fn read_settled(
    pipeline: &Path,
    supply: &Supply,
    known: impl Iterator<Item = PathBuf>,
) -> Files {
    let mut paths: BTreeSet<PathBuf> = known.collect();
    paths.insert(pipeline.to_owned());
    for _ in 0..SETTLE_ROUNDS_MAX {
        let before = stamps(&paths);
        thread::sleep(SETTLED);
        if stamps(&paths) != before {
            continue;
        }
        let files = Files::on_disk();
        read_all(pipeline, supply, &files);
        let taken: BTreeSet<PathBuf> = files.taken().into_keys().collect();
        if taken.is_subset(&paths) && stamps(&paths) == before {
            return files;
        }
        paths.extend(taken);
    }
    let files = Files::on_disk();
    read_all(pipeline, supply, &files);
    files
}

/// Reads everything that a pipeline's file names. What is wrong with it is found by whoever makes
/// a generation of the files.
fn read_all(pipeline: &Path, supply: &Supply, files: &Files) {
    let variables = |name: &str| std::env::var(name).ok();
    let Ok(loaded) = config::load_from(pipeline, &variables, files) else { return };
    for stage in &loaded.config.stages {
        let _ = supply.resolve(&stage.plugin, files);
    }
    for table in &loaded.config.tables {
        if let Ok(at) = files.place(&table.path)
            && let Ok(digest) = hashed_copy(&at, &mut io::sink())
        {
            files.placed(&table.path, at, digest);
        }
    }
}
