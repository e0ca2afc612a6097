//! One process a data directory.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, Write},
    path::Path,
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};
use tidegate_core::checkpoint::{StoreError, StoreErrorKind};

/// The lock file's name. Its content is the holder's process id, for people.
const FILE: &str = "lock";

/// The sole right to a data directory. The kernel gives it back when the process ends, however it
/// ends.
pub(super) struct DirectoryLock {
    _file: File,
}

impl DirectoryLock {
    /// Takes a directory, which is created where it is missing.
    pub(super) fn take(directory: &Path) -> Result<Self, StoreError> {
        let broken =
            |message: String, error| StoreError::new(StoreErrorKind::Broken, message, error);
        let shown = directory.display();
        create_durably(directory)
            .map_err(|error| broken(format!("failed to create the directory `{shown}`"), error))?;
        let path = directory.join(FILE);
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|error| broken(format!("failed to open `{}`", path.display()), error))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let mut holder = String::new();
                let _ = file.read_to_string(&mut holder);
                let message = format!(
                    "the data directory `{shown}` belongs to a running process (process id {}): \
                     stop that one, or name another directory",
                    if holder.is_empty() { "unknown" } else { holder.trim() },
                );
                return Err(StoreError::plain(StoreErrorKind::Broken, message));
            }
            Err(error) => {
                let error = io::Error::from(error);
                return Err(broken(format!("failed to lock `{}`", path.display()), error));
            }
        }
        // For people only: a failure to tell them changes nothing.
        let _ = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(DirectoryLock { _file: file })
    }
}

/// Creates a directory, and makes its name and those of new ones above it durable. SQLite syncs
/// what is in it.
fn create_durably(directory: &Path) -> io::Result<()> {
    let directory = std::path::absolute(directory)?;
    let missing: Vec<&Path> = directory.ancestors().take_while(|path| !path.exists()).collect();
    fs::create_dir_all(&directory)?;
    missing
        .into_iter()
        .filter_map(Path::parent)
        .try_for_each(|parent| File::open(parent)?.sync_all())
}
