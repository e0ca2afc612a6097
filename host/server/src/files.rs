//! The files that a generation is made of: read whole, once, and kept as they were read.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tidegate_core::Digest;

/// Reads files, and remembers what it read: of the disk, or of an earlier reading.
#[derive(Debug, Default)]
pub struct Files {
    /// Nothing but these is to be had.
    fixed: Option<Contents>,
    taken: Mutex<Contents>,
}

/// Files by the paths that a config gives them.
pub type Contents = BTreeMap<PathBuf, Content>;

/// A file as it was read.
#[derive(Clone, Debug)]
pub enum Content {
    /// Its bytes.
    Bytes(Arc<[u8]>),
    /// A large one, which stays where it is.
    Placed {
        /// Where that is.
        at: PathBuf,
        /// The digest of its bytes.
        digest: Digest,
    },
}

impl Content {
    /// The digest of its bytes.
    pub fn digest(&self) -> Digest {
        match self {
            Content::Bytes(bytes) => Digest::of(bytes),
            Content::Placed { digest, .. } => *digest,
        }
    }
}

impl Files {
    /// As they are on the disk.
    pub fn on_disk() -> Self {
        Files::default()
    }

    /// As they were when they were read.
    pub fn of(contents: Contents) -> Self {
        Files { fixed: Some(contents), taken: Mutex::default() }
    }

    /// Whether what was not read yet is read off the disk.
    #[cfg_attr(not(feature = "registry"), expect(dead_code, reason = "what is pulled asks for it"))]
    pub(crate) fn are_on_disk(&self) -> bool {
        self.fixed.is_none()
    }

    /// The files of a directory, in order.
    #[cfg_attr(not(feature = "registry"), expect(dead_code, reason = "what is pulled asks for it"))]
    pub(crate) fn of_directory(&self, directory: &Path) -> io::Result<Vec<PathBuf>> {
        let mut paths = match &self.fixed {
            Some(contents) => contents.keys().cloned().collect(),
            None => {
                let entries = fs::read_dir(directory)?.map(|entry| Ok(entry?.path()));
                entries.collect::<io::Result<Vec<_>>>()?
            }
        };
        paths.retain(|path| path.parent() == Some(directory));
        paths.sort();
        Ok(paths)
    }

    /// A file's bytes. Read once: what is read again is what was read before.
    pub fn read(&self, path: &Path) -> io::Result<Arc<[u8]>> {
        if let Some(Content::Bytes(bytes)) = self.lock().get(path) {
            return Ok(Arc::clone(bytes));
        }
        let bytes: Arc<[u8]> = match &self.fixed {
            None => fs::read(path)?.into(),
            Some(contents) => match contents.get(path).ok_or_else(unknown)? {
                Content::Bytes(bytes) => Arc::clone(bytes),
                Content::Placed { at, .. } => fs::read(at)?.into(),
            },
        };
        self.lock().insert(path.to_owned(), Content::Bytes(Arc::clone(&bytes)));
        Ok(bytes)
    }

    /// Where a large file lies, for whoever reads it in pieces and then says what its digest was.
    pub fn place(&self, path: &Path) -> io::Result<PathBuf> {
        match &self.fixed {
            None => Ok(path.to_owned()),
            Some(contents) => match contents.get(path).ok_or_else(unknown)? {
                Content::Placed { at, .. } => Ok(at.clone()),
                Content::Bytes(_) => Ok(path.to_owned()),
            },
        }
    }

    /// What a large file was when it was read.
    pub fn placed(&self, path: &Path, at: PathBuf, digest: Digest) {
        self.lock().insert(path.to_owned(), Content::Placed { at, digest });
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

fn unknown() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "it is not among the files of the generation")
}
