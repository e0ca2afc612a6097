//! The files that a generation is made of: read whole, once, and kept as they were read.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Reads files, and remembers what it read: of the disk, or of an earlier reading.
#[derive(Debug, Default)]
pub struct Files {
    /// Nothing but these is to be had.
    fixed: Option<Contents>,
    taken: Mutex<Contents>,
}

/// Files by the paths that a config gives them.
pub type Contents = BTreeMap<PathBuf, Arc<[u8]>>;

impl Files {
    /// As they are on the disk.
    pub fn on_disk() -> Self {
        Files::default()
    }

    /// As they were when they were read.
    pub fn of(contents: Contents) -> Self {
        Files { fixed: Some(contents), taken: Mutex::default() }
    }

    /// A file's bytes. Read once: what is read again is what was read before.
    pub fn read(&self, path: &Path) -> io::Result<Arc<[u8]>> {
        if let Some(bytes) = self.lock().get(path) {
            return Ok(Arc::clone(bytes));
        }
        let bytes: Arc<[u8]> = match &self.fixed {
            None => fs::read(path)?.into(),
            Some(contents) => contents.get(path).cloned().ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::NotFound,
                    "it is not among the files of the generation",
                )
            })?,
        };
        self.lock().insert(path.to_owned(), Arc::clone(&bytes));
        Ok(bytes)
    }

    /// A file's text.
    pub fn read_to_string(&self, path: &Path) -> io::Result<String> {
        let bytes = self.read(path)?;
        let text = std::str::from_utf8(&bytes);
        text.map(str::to_owned).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// All that was read.
    pub fn taken(&self) -> Contents {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Contents> {
        // What a panic leaves in it is whole.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
