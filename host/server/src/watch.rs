//! When files have changed.
//!
//! Events of the file system say when to look; what is seen decides. Every file is looked at
//! through its links (a mounted ConfigMap is a link that moves), and mounts that have no events
//! are looked at every so often.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::{sync::mpsc, task::AbortHandle, time::sleep};

/// How long files must stand still before they are read.
pub(crate) const SETTLED: Duration = Duration::from_millis(100);
/// How often that is waited for: a file that is written all the time is read at last all the same.
pub(crate) const SETTLE_ROUNDS_MAX: usize = 100;

/// Which file lies at a path, and which version of it.
type Stamp = (u64, u64, u64, i64, i64);

fn stamp(path: &Path) -> Option<Stamp> {
    let it = fs::metadata(path).ok()?;
    Some((it.dev(), it.ino(), it.len(), it.mtime(), it.mtime_nsec()))
}

/// Which version of which file lies at each path; a folder's changes with what is in it.
pub(crate) fn stamps(paths: &BTreeSet<PathBuf>) -> Vec<Option<Stamp>> {
    paths.iter().map(|path| stamp(path)).collect()
}

/// Blocks until what these paths name stands still.
pub(crate) fn settle(paths: impl Fn() -> BTreeSet<PathBuf>) {
    let mut before = stamps(&paths());
    for _ in 0..SETTLE_ROUNDS_MAX {
        thread::sleep(SETTLED);
        let now = stamps(&paths());
        if now == before {
            return;
        }
        before = now;
    }
}

/// Looks at files, and says when one has changed. Ends when it is dropped.
pub(crate) struct Watcher {
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
    /// Looks at these files, at least so often, and sends what `look` makes when one of them has
    /// changed: and once at first, for what changed since they were read.
    pub(crate) fn start<M: Send + 'static>(
        paths: BTreeSet<PathBuf>,
        every: Duration,
        messages: mpsc::Sender<M>,
        look: impl Fn() -> M + Send + 'static,
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
                    let message = look();
                    if messages.send(message).await.is_err() {
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
    pub(crate) fn watch(&mut self, paths: impl IntoIterator<Item = PathBuf>) {
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
