//! Hearing of changes: from the system where it tells of them, and by looking at intervals in any
//! case.

use std::{
    collections::{BTreeSet, HashMap},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::{sync::watch, time::timeout};

/// Watches files by their paths.
pub(super) struct Watch {
    /// How often each file that somebody asks about has changed.
    versions: watch::Sender<HashMap<PathBuf, u64>>,
    poll_every: Duration,
    watched: Mutex<Watched>,
}

#[derive(Default)]
struct Watched {
    /// None where the system can't tell.
    watcher: Option<RecommendedWatcher>,
    directories: BTreeSet<PathBuf>,
    complained: bool,
}

impl Watch {
    pub(super) fn new(poll_every: Duration) -> Self {
        let (versions, _) = watch::channel(HashMap::new());
        Watch { versions, poll_every, watched: Mutex::default() }
    }

    /// Watches a file too. Where that does not work, looking at intervals is left. Blocks.
    pub(super) fn add(&self, path: &Path) {
        self.versions.send_if_modified(|versions| {
            versions.entry(path.to_owned()).or_default();
            false
        });
        let directory = path.parent().filter(|it| !it.as_os_str().is_empty());
        let directory = directory.unwrap_or(Path::new("."));
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        if !watched.directories.insert(directory.to_owned()) {
            return;
        }
        if watched.watcher.is_none() && !watched.complained {
            let versions = self.versions.clone();
            match notify::recommended_watcher(move |event| tell(&versions, event)) {
                Ok(watcher) => watched.watcher = Some(watcher),
                Err(error) => watched.complain(directory, &error),
            }
        }
        let watcher = watched.watcher.as_mut();
        let added = watcher.map(|it| it.watch(directory, RecursiveMode::NonRecursive));
        if let Some(Err(error)) = added {
            watched.complain(directory, &error);
        }
    }

    /// A number that changes when a file does.
    pub(super) fn version(&self, path: &Path) -> u64 {
        self.versions.borrow().get(path).copied().unwrap_or(0)
    }

    /// Waits for another version of a file, or for the time of the next look.
    pub(super) async fn changed(&self, path: &Path, since: u64) {
        let mut versions = self.versions.subscribe();
        let changed =
            versions.wait_for(|versions| versions.get(path).is_some_and(|it| *it != since));
        // The sender lives as long as this does; and if it did not, it would be time to look.
        let _ = timeout(self.poll_every, changed).await;
    }
}

fn tell(versions: &watch::Sender<HashMap<PathBuf, u64>>, event: notify::Result<notify::Event>) {
    versions.send_if_modified(|versions| {
        let Ok(event) = event else {
            // Events were lost: anything may have changed.
            versions.values_mut().for_each(|version| *version += 1);
            return true;
        };
        // Reading is no change, and is what the listener does next.
        if event.kind.is_access() {
            return false;
        }
        let mut modified = event.need_rescan();
        if modified {
            versions.values_mut().for_each(|version| *version += 1);
        }
        for path in &event.paths {
            let path = path.strip_prefix(".").unwrap_or(path);
            if let Some(version) = versions.get_mut(path) {
                *version += 1;
                modified = true;
            }
        }
        modified
    });
}

impl Watched {
    fn complain(&mut self, directory: &Path, error: &notify::Error) {
        if !std::mem::replace(&mut self.complained, true) {
            tracing::warn!(
                directory = %directory.display(),
                "the system does not tell of changes here, and files are looked at at intervals: \
                 {error}"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tokio::time::Instant;

    use super::*;

    #[tokio::test]
    async fn a_change_of_a_file_wakes_those_who_wait_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let [path, other] = ["a", "b"].map(|name| folder.path().join(name));
        fs::write(&path, "").unwrap();
        let watch = Watch::new(Duration::from_secs(600));
        watch.add(&path);
        watch.add(&other);
        let (since, of_other) = (watch.version(&path), watch.version(&other));
        fs::write(&path, "more").unwrap();
        watch.changed(&path, since).await;
        assert_eq!(watch.version(&other), of_other);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_change_it_is_looked_at_intervals() {
        let watch = Watch::new(Duration::from_secs(1));
        let began = Instant::now();
        watch.changed(Path::new("nowhere"), 0).await;
        assert!(began.elapsed() >= Duration::from_secs(1));
    }
}
