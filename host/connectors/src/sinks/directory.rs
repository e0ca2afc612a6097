//! A directory tree as a sink: objects are files, created once and never changed.
//!
//! An object is written under a temporary name and synced, then moved to its own name, which
//! nothing may have; then its directory is synced. So a name is there with all of its content or
//! not at all, before and after a power cut, and whoever lists the tree sees whole files only.
//!
//! A directory's own name is durable once its parent is synced. A process that was killed may have
//! left directories, and files, whose names are not: so each directory is made durable once by
//! every process that relies on it, whether it had to create it or not.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use tidegate_core::{
    ObjectDigest, Sink,
    sink::{Naming, Object, SinkError, SinkErrorKind},
};

use super::same_or_occupied;
use crate::{blocking::off_task, files::Files};

/// Directories that a process remembers as durable. Beyond it, it forgets and syncs them again.
const DURABLE_DIRECTORIES_MAX: usize = 16_384;

/// How many files or directories are synced at once.
const SYNCS_AT_ONCE_MAX: usize = 8;

/// What a file system takes as one name.
const NAME_BYTES_MAX: usize = 255;

/// Keeps objects as files under a root directory.
///
/// A full disk is [`SinkErrorKind::Unavailable`], for somebody can make room while the pipeline
/// waits. A denied permission, a read-only file system or an I/O error is
/// [`SinkErrorKind::Broken`]: after a failed sync only a restart knows what is on the disk.
pub struct DirectorySink {
    name: String,
    tree: Arc<Tree>,
}

impl DirectorySink {
    /// A sink over a root directory, which is created where it is missing. Removes what an earlier
    /// process left under temporary names. Blocks.
    ///
    /// Two sinks may share a root if they have different names and write different keys.
    pub fn open(
        name: impl Into<String>,
        root: &Path,
        files: Arc<dyn Files>,
    ) -> Result<Self, SinkError> {
        let name = name.into();
        let temporary = name.clone();
        DirectorySink::open_with(name, root, &temporary, files)
    }

    /// The same, of a root that other hosts write to under the same name: their temporary files are
    /// left alone. `host` is what this one alone is called, from run to run.
    pub fn open_shared(
        name: impl Into<String>,
        root: &Path,
        host: &str,
        files: Arc<dyn Files>,
    ) -> Result<Self, SinkError> {
        let name = name.into();
        let temporary = format!("{name}-{host}");
        DirectorySink::open_with(name, root, &temporary, files)
    }

    fn open_with(
        name: String,
        root: &Path,
        temporary: &str,
        files: Arc<dyn Files>,
    ) -> Result<Self, SinkError> {
        let root = std::path::absolute(root)
            .map_err(|error| failed("failed to resolve the directory", root, error))?;
        let temporary = root.join(format!(".tmp-{}", temporary.replace(|c| !is_plain(c), "_")));
        let tree = Tree {
            root,
            temporary,
            files,
            next_temporary: AtomicU64::new(0),
            durable: Mutex::default(),
        };
        tree.prepare()?;
        Ok(DirectorySink { name, tree: Arc::new(tree) })
    }

    async fn off_task<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Tree) -> Result<T, SinkError> + Send + 'static,
    ) -> Result<T, SinkError> {
        let tree = self.tree.clone();
        off_task(self.tree.files.blocks(), move || Ok(call(&tree)))
            .await
            .map_err(|error| failed("failed to write below", &self.tree.root, error))?
    }
}

#[async_trait]
impl Sink for DirectorySink {
    fn name(&self) -> &str {
        &self.name
    }

    fn naming(&self) -> Naming {
        Naming::Named
    }

    async fn write(&self, objects: &[Object]) -> Result<(), SinkError> {
        let objects = objects.to_vec();
        self.off_task(move |tree| tree.write(&objects)).await
    }

    async fn find(&self, key: &str) -> Result<Option<ObjectDigest>, SinkError> {
        let key = key.to_owned();
        self.off_task(move |tree| tree.find(&key)).await
    }

    async fn occupy(&self, empty: &Object, superseded: ObjectDigest) -> Result<(), SinkError> {
        let empty = empty.clone();
        self.off_task(move |tree| tree.occupy(&empty, superseded)).await
    }
}

struct Tree {
    root: PathBuf,
    /// Where objects are before they have their names. One directory for the whole tree, so that
    /// what a killed process left is found without a walk.
    temporary: PathBuf,
    files: Arc<dyn Files>,
    next_temporary: AtomicU64,
    /// Directories whose own names this process knows to be durable.
    durable: Mutex<HashSet<PathBuf>>,
}

impl Tree {
    fn prepare(&self) -> Result<(), SinkError> {
        self.ensure_directories([self.temporary.as_path()])?;
        let orphans = self
            .files
            .list(&self.temporary)
            .map_err(|error| failed("failed to list", &self.temporary, error))?;
        for orphan in orphans {
            let path = self.temporary.join(orphan);
            self.files.remove(&path).map_err(|error| failed("failed to remove", &path, error))?;
        }
        Ok(())
    }

    fn write(&self, objects: &[Object]) -> Result<(), SinkError> {
        let mut staged = Vec::with_capacity(objects.len());
        let result = self.publish(objects, &mut staged);
        if result.is_err() {
            // Best effort: what is left is removed at the next start. Room, above all, is given
            // back at once. And nothing is taken for durable that may have been removed meanwhile.
            staged.iter().for_each(|temporary| drop(self.files.remove(temporary)));
            self.lock_durable().clear();
        }
        result
    }

    fn publish(&self, objects: &[Object], staged: &mut Vec<PathBuf>) -> Result<(), SinkError> {
        let paths = objects
            .iter()
            .map(|object| self.path_of(&object.key))
            .collect::<Result<Vec<_>, _>>()?;
        let directories: BTreeSet<&Path> = paths.iter().map(|path| directory_of(path)).collect();
        self.ensure_directories(directories.iter().copied().chain([self.temporary.as_path()]))?;

        let mut missing = Vec::with_capacity(objects.len());
        for (object, path) in objects.iter().zip(&paths) {
            match self.digest_at(path)? {
                Some(found) => same_or_occupied(object, found)?,
                None => missing.push((object, path)),
            }
        }
        let mut refused = None;
        for result in self.at_once(&missing, |(object, _)| self.stage(object)) {
            match result {
                Ok(path) => staged.push(path),
                Err(error) => refused = Some(error),
            }
        }
        refused.map_or(Ok(()), Err)?;
        for ((object, path), temporary) in missing.iter().zip(staged.iter()) {
            self.publish_one(object, temporary, path)?;
        }

        // Also where nothing was missing: who published it may have been killed before its sync.
        let directories = Vec::from_iter(directories);
        let synced = self.at_once(&directories, |directory| self.sync_directory(directory));
        synced.into_iter().collect()
    }

    fn publish_one(&self, object: &Object, temporary: &Path, path: &Path) -> Result<(), SinkError> {
        match self.files.rename_noreplace(temporary, path) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                // Somebody was faster; what they wrote decides.
                let _ = self.files.remove(temporary);
                match self.digest_at(path)? {
                    Some(found) => same_or_occupied(object, found),
                    None => Err(failed("failed to publish", path, io::ErrorKind::NotFound.into())),
                }
            }
            Err(error) => Err(failed("failed to publish", path, error)),
        }
    }

    /// Writes an object under a temporary name and makes its content durable.
    fn stage(&self, object: &Object) -> Result<PathBuf, SinkError> {
        let number = self.next_temporary.fetch_add(1, Ordering::Relaxed);
        let path = self.temporary.join(format!("{}-{number}", std::process::id()));
        let written = self.files.create_new(&path).and_then(|mut file| {
            file.write_all(&object.content)?;
            file.sync()
        });
        match written {
            Ok(()) => Ok(path),
            Err(error) => {
                let _ = self.files.remove(&path);
                Err(failed("failed to write", &path, error))
            }
        }
    }

    /// What lies under a key. Once this has answered, it is durable: a checkpoint may rely on it,
    /// even if the process that published it was killed before its last sync.
    fn find(&self, key: &str) -> Result<Option<ObjectDigest>, SinkError> {
        let path = self.path_of(key)?;
        let found = self.digest_at(&path)?;
        if found.is_some() {
            self.ensure_directories([directory_of(&path)])?;
            self.sync_directory(directory_of(&path))?;
        }
        Ok(found)
    }

    /// Puts an object in the place of a certain other, or where nothing lies.
    fn occupy(&self, empty: &Object, superseded: ObjectDigest) -> Result<(), SinkError> {
        let path = self.path_of(&empty.key)?;
        if self.digest_at(&path)? != Some(superseded) {
            return self.write(std::slice::from_ref(empty));
        }
        self.ensure_directories([directory_of(&path)])?;
        let temporary = self.stage(empty)?;
        self.files.rename_replacing(&temporary, &path).map_err(|error| {
            let _ = self.files.remove(&temporary);
            failed("failed to replace", &path, error)
        })?;
        self.sync_directory(directory_of(&path))
    }

    fn digest_at(&self, path: &Path) -> Result<Option<ObjectDigest>, SinkError> {
        let content = match self.files.open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("failed to open", path, error)),
        };
        let digest = ObjectDigest::of_reader(content);
        digest.map(Some).map_err(|error| failed("failed to read", path, error))
    }

    /// Makes directories be there and their names be durable, and so for all above them.
    fn ensure_directories<'a>(
        &self,
        directories: impl IntoIterator<Item = &'a Path>,
    ) -> Result<(), SinkError> {
        // In the order of paths a directory comes before what is in it.
        let mut unsure = BTreeSet::new();
        let durable = self.lock_durable();
        for directory in directories {
            unsure.extend(directory.ancestors().take_while(|path| !durable.contains(*path)));
        }
        drop(durable);
        unsure.remove(Path::new("/"));

        let mut parents = BTreeMap::<_, bool>::new();
        for directory in &unsure {
            let created = self.create_directory(directory)?;
            let parent = directory.parent().unwrap_or(Path::new("/"));
            *parents.entry(parent).or_default() |= created || !self.is_above(directory);
        }
        let parents = Vec::from_iter(parents);
        let synced = self.at_once(&parents, |(parent, ours)| {
            match self.files.sync_directory(parent) {
                // Above the root stand directories that are not ours, and that may not be opened.
                // If we have created nothing in one, nothing that we rely on is new in it.
                Err(error) if !ours && error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
                result => {
                    result.map_err(|error| failed("failed to sync the directory", parent, error))
                }
            }
        });
        synced.into_iter().collect::<Result<(), _>>()?;

        let mut durable = self.lock_durable();
        if durable.len() + unsure.len() > DURABLE_DIRECTORIES_MAX {
            durable.clear();
        }
        durable.extend(unsure.into_iter().map(Path::to_owned));
        Ok(())
    }

    /// Says whether it was not there.
    fn create_directory(&self, path: &Path) -> Result<bool, SinkError> {
        match self.files.create_directory(path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            // Directories above the root may refuse to be created for more than one reason.
            Err(_) if self.is_above(path) && matches!(self.files.exists(path), Ok(true)) => {
                Ok(false)
            }
            Err(error) => Err(failed("failed to create the directory", path, error)),
        }
    }

    /// Does something for each item, several at once: a journal makes syncs that come together
    /// durable together, in about the time of one.
    fn at_once<T: Sync, R: Send>(&self, items: &[T], call: impl Fn(&T) -> R + Sync) -> Vec<R> {
        // A simulation does one thing after the other, in an order that a seed gives again.
        if !self.files.blocks() || items.len() < 2 {
            return items.iter().map(call).collect();
        }
        let call = &call;
        let parts = items.chunks(items.len().div_ceil(SYNCS_AT_ONCE_MAX));
        std::thread::scope(|scope| {
            let threads: Vec<_> = parts
                .map(|part| scope.spawn(move || part.iter().map(call).collect::<Vec<_>>()))
                .collect();
            let joined = threads.into_iter().map(|thread| match thread.join() {
                Ok(results) => results,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            joined.flatten().collect()
        })
    }

    /// Whether a directory is the root or contains it.
    fn is_above(&self, path: &Path) -> bool {
        self.root.starts_with(path)
    }

    fn sync_directory(&self, path: &Path) -> Result<(), SinkError> {
        self.files
            .sync_directory(path)
            .map_err(|error| failed("failed to sync the directory", path, error))
    }

    fn lock_durable(&self) -> std::sync::MutexGuard<'_, HashSet<PathBuf>> {
        self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a key's file lies. Never outside the root, and never among the temporary files.
    fn path_of(&self, key: &str) -> Result<PathBuf, SinkError> {
        let refused = |why: &str| {
            let message = format!("`{key}` can't be the name of an object: {why}");
            Err(SinkError::plain(SinkErrorKind::Broken, message))
        };
        let mut path = self.root.clone();
        for name in key.split('/') {
            match name {
                "" => return refused("it has an empty part"),
                "." | ".." => return refused("it has a part that is not a name"),
                _ if name.contains('\0') => return refused("it contains a zero byte"),
                _ if name.starts_with(".tmp-") => return refused("it looks like a temporary file"),
                _ if name.len() > NAME_BYTES_MAX => {
                    return refused("a part of it is longer than 255 bytes");
                }
                _ => path.push(name),
            }
        }
        Ok(path)
    }
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-' || c == '_'
}

fn directory_of(path: &Path) -> &Path {
    path.parent().expect("a path of an object is longer than the root")
}

fn failed(action: &str, path: &Path, error: io::Error) -> SinkError {
    use io::ErrorKind::*;
    let kind = match error.kind() {
        StorageFull
        | QuotaExceeded
        | Interrupted
        | WouldBlock
        | TimedOut
        | ResourceBusy
        | OutOfMemory
        | NotFound
        | StaleNetworkFileHandle
        | HostUnreachable
        | NetworkUnreachable => SinkErrorKind::Unavailable { after: None },
        _ if is_out_of_descriptors(&error) => SinkErrorKind::Unavailable { after: None },
        _ => SinkErrorKind::Broken,
    };
    SinkError::new(kind, format!("{action} `{}`", path.display()), error)
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}
