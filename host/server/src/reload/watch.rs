//! When files have changed, and when they are whole.
//!
//! Events of the file system say when to look; what is seen decides. Every file is looked at
//! through its links (a mounted ConfigMap is a link that moves), and mounts that have no events
//! are looked at every so often. Files are taken once they have stood still for a moment, so that
//! what is changed together is read together, and never half written.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::{sync::mpsc, task::AbortHandle, time::sleep};

use super::{Message, catalogue::hashed_copy};
use crate::{
    config,
    files::{Files, Stamp, stamp},
    supply::Supply,
};

/// How long files must stand still.
const SETTLED: Duration = Duration::from_millis(100);
/// How often that is waited for: a file that is written all the time is read at last all the same.
const SETTLE_ROUNDS_MAX: usize = 100;

fn stamps(paths: &BTreeSet<PathBuf>) -> Vec<Stamp> {
    paths.iter().map(|path| stamp(path)).collect()
}

/// Looks at files, and says when one has changed. Ends when it is dropped.
pub(super) struct Watcher {
    events: Option<RecommendedWatcher>,
    directories: BTreeSet<PathBuf>,
    paths: std::sync::Arc<std::sync::Mutex<BTreeSet<PathBuf>>>,
    poll: AbortHandle,
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.poll.abort();
    }
}

impl Watcher {
    pub(super) fn start(
        paths: BTreeSet<PathBuf>,
        every: Duration,
        messages: mpsc::Sender<Message>,
    ) -> Self {
        let (stirred, mut stirs) = mpsc::channel::<()>(1);
        let events = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.is_ok() {
                // One that waits already is enough.
                let _ = stirred.try_send(());
            }
        });
        let events = events
            .inspect_err(|error| {
                tracing::warn!("no events of files, looking now and then: {error}")
            })
            .ok();
        let shared = std::sync::Arc::new(std::sync::Mutex::new(BTreeSet::new()));
        let watched = std::sync::Arc::clone(&shared);
        let poll = tokio::spawn(async move {
            let current = || lock(&watched).clone();
            // The first look finds what has changed since the files were read.
            let mut before = Vec::new();
            loop {
                tokio::select! {
                    stir = stirs.recv() => if stir.is_none() { sleep(every).await },
                    () = sleep(every) => {}
                }
                let now = stamps(&current());
                if now != before {
                    before = now;
                    let look = Message::Look { approved: false, answer: None };
                    if messages.send(look).await.is_err() {
                        return;
                    }
                }
            }
        });
        let poll = poll.abort_handle();
        let mut watcher = Watcher { events, directories: BTreeSet::new(), paths: shared, poll };
        watcher.watch(paths);
        watcher
    }

    /// Watches these files from here on.
    pub(super) fn watch(&mut self, paths: impl IntoIterator<Item = PathBuf>) {
        let paths: BTreeSet<PathBuf> = paths.into_iter().collect();
        // A file that is replaced is another one: what is watched is where it lies.
        let mut directories = BTreeSet::new();
        for path in &paths {
            for place in [Some(path.clone()), fs::canonicalize(path).ok()].into_iter().flatten() {
                let directory = place.parent().unwrap_or(Path::new("."));
                let directory =
                    if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
                directories.insert(directory.to_owned());
            }
        }
        if let Some(events) = &mut self.events {
            for directory in directories.difference(&self.directories) {
                if let Err(error) = events.watch(directory, RecursiveMode::NonRecursive) {
                    tracing::debug!(directory = %directory.display(), "no events: {error}");
                }
            }
        }
        self.directories.extend(directories);
        *lock(&self.paths) = paths;
    }
}

fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

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
