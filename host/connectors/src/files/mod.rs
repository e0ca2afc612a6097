//! Files as a seam: what a sink does to a file system, so that a test may pull the plug on it.
//!
//! Two members: [`RealFiles`], and [`SimulatedFiles`], which forgets what was not synced. A
//! `kill -9` never finds a missing sync, for the page cache survives it; a simulated power cut does.

mod direct;
mod probe;
mod real;
mod simulated;

use std::{
    io::{self, Read, Write},
    path::Path,
};

pub use probe::probe_directory;
pub use real::RealFiles;
pub use simulated::{Operation, SimulatedFiles};

/// What is done to a file system. Calls block, and several threads may call at once.
pub trait Files: Send + Sync + 'static {
    /// Whether calls may take long enough to be kept off the threads that serve tasks.
    fn blocks(&self) -> bool;

    /// Creates a file for writing; fails with `AlreadyExists` where the name is taken.
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn NewFile>>;

    /// Opens a file for reading.
    fn open(&self, path: &Path) -> io::Result<Box<dyn Read>>;

    /// Whether something lies under a name.
    fn exists(&self, path: &Path) -> io::Result<bool>;

    /// Moves a file to a name that nothing has; fails with `AlreadyExists` where something has it.
    fn rename_noreplace(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Moves a file to the name of another, in its place.
    fn rename_replacing(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// The names in a directory, sorted.
    fn list(&self, directory: &Path) -> io::Result<Vec<String>>;

    /// Creates a directory in one that exists; fails with `AlreadyExists` where the name is taken.
    fn create_directory(&self, path: &Path) -> io::Result<()>;

    /// Makes a directory's entries durable: what was created in it, moved into it, removed from it.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;
}

/// A file being written.
pub trait NewFile: Write + Send {
    /// Makes its content durable. Its name is durable only once its directory is synced.
    fn sync(&mut self) -> io::Result<()>;
}
