//! Keeps compiled components, so that a restart or a rollback needs no compiler.
//!
//! Compiled code is run as it is, so the cache must be as hard to write to as the host's own
//! program: a directory that belongs to this user and that nobody else may enter. What lies there
//! is taken only under the name that this host would give it (component, engine configuration,
//! host build) and with the digest that it wrote along. Nothing is ever taken from outside.
//!
//! A deployment package brings compiled components along, so that the first start of a function needs
//! no compiler either. They are trusted as far as the program in the same package is: see
//! [`Package`].

use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use sha2::Digest as _;
use tidegate_core::Digest;
use wasmtime::{Engine, component::Component};

/// Files that are kept, the latest ones: some hundred megabytes at worst.
const FILES_MAX: usize = 128;

/// The cache's directory can't be trusted or used.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The file system says no.
    #[error("failed to {doing} {path}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The directory.
        path: PathBuf,
        /// What it said.
        #[source]
        cause: io::Error,
    },
    /// Somebody else could write to it.
    #[error("{path} is not private: it must be a directory of this user's with mode 0700, {what}")]
    NotPrivate {
        /// The directory.
        path: PathBuf,
        /// What it is instead.
        what: String,
    },
}

/// A directory of compiled components.
#[derive(Debug)]
pub(crate) struct Cache {
    directory: PathBuf,
    /// What all names depend on besides the component: engine configuration and host build.
    host: Digest,
}

impl Cache {
    /// Opens the directory, or makes it.
    pub(crate) fn open(directory: PathBuf, engine: &Engine) -> Result<Self, CacheError> {
        let failed = |doing| {
            let path = directory.clone();
            move |cause| CacheError::Io { doing, path, cause }
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .map_err(failed("create"))?;
        let metadata = fs::symlink_metadata(&directory).map_err(failed("look at"))?;
        let mode = metadata.mode() & 0o777;
        let owner = metadata.uid();
        if !metadata.is_dir() || mode != 0o700 || owner != rustix::process::geteuid().as_raw() {
            let what = match metadata.is_dir() {
                true => format!("not one of user {owner} with mode {mode:04o}"),
                false => "not something else".to_owned(),
            };
            return Err(CacheError::NotPrivate { path: directory, what });
        }
        Ok(Cache { directory, host: host_digest(engine) })
    }

    /// A component that was kept by this host build. Whatever is wrong with a file, the component
    /// is compiled instead.
    pub(crate) fn find(&self, engine: &Engine, component: Digest) -> Option<Component> {
        let path = self.path(component);
        let file = fs::read(&path).ok()?;
        let (digest, compiled) = file.split_at_checked(32)?;
        if digest != Digest::of(compiled).0 {
            tracing::warn!(path = %path.display(), "a compiled component is damaged: compiling anew");
            return None;
        }
        // SAFETY: the bytes are what a host of this very build serialized for this engine
        // configuration, by its name and its digest, in a directory that only this user can
        // write to. Whoever can forge them can replace the host's program as well.
        let loaded = unsafe { Component::deserialize(engine, compiled) };
        loaded.inspect_err(|error| tracing::warn!("a compiled component is no use: {error:#}")).ok()
    }

    /// Keeps a component. A cache that can't be written to costs time, and nothing else.
    pub(crate) fn keep(&self, component: Digest, compiled: &Component) {
        let kept = compiled
            .serialize()
            .map_err(|error| io::Error::other(format!("{error:#}")))
            .and_then(|bytes| self.write(&self.path(component), &bytes))
            .and_then(|()| self.prune());
        if let Err(error) = kept {
            tracing::warn!("failed to keep a compiled component: {error}");
        }
    }

    fn path(&self, component: Digest) -> PathBuf {
        self.directory.join(format!("{}-{}.cwasm", component.hex(), self.host.short()))
    }

    /// A crash leaves the old file, the new one or none; and the digest tells a torn one.
    fn write(&self, path: &Path, compiled: &[u8]) -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&self.directory)?;
        file.write_all(&Digest::of(compiled).0)?;
        file.write_all(compiled)?;
        file.persist(path)?;
        Ok(())
    }

    /// Removes the oldest files when there are too many.
    fn prune(&self) -> io::Result<()> {
        let mut files: Vec<(SystemTime, PathBuf)> = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            if entry.path().extension().is_some_and(|extension| extension == "cwasm") {
                files.push((entry.metadata()?.modified()?, entry.path()));
            }
        }
        files.sort();
        let surplus = files.len().saturating_sub(FILES_MAX);
        files.iter().take(surplus).try_for_each(|(_, path)| fs::remove_file(path))
    }
}

/// Compiled components beside the program that runs them, in one deployment package. Read only.
///
/// Whoever unpacks a package gives its files other times, and other owners. So a file is taken where
/// it belongs to whom the program belongs to and nobody else may write to it or to its directory:
/// who could forge it could replace the program. Its name says that a program of the same size and
/// version has made it, and wasmtime checks that it was made for this engine and this processor.
#[derive(Debug)]
pub(crate) struct Package {
    directory: PathBuf,
    program: Digest,
}

impl Package {
    pub(crate) fn open(directory: PathBuf) -> Self {
        Package { directory, program: program_digest() }
    }

    /// A component that the package brings along. Whatever is wrong with a file, the component is
    /// compiled instead.
    pub(crate) fn find(&self, engine: &Engine, component: Digest) -> Option<Component> {
        let path = self.path(component);
        if !path.exists() {
            return None;
        }
        self.read(engine, &path)
            .inspect_err(|why| {
                tracing::warn!(path = %path.display(), "a compiled component is no use: {why}");
            })
            .ok()
    }

    fn read(&self, engine: &Engine, path: &Path) -> Result<Component, String> {
        let program = std::env::current_exe().and_then(fs::metadata);
        let owner = program.map_err(|error| format!("the program is not to be seen: {error}"))?;
        for path in [&*self.directory, path] {
            let metadata = fs::symlink_metadata(path).map_err(|error| error.to_string())?;
            if metadata.uid() != owner.uid() || metadata.mode() & 0o022 != 0 {
                return Err(format!(
                    "{} must belong to the owner of the program, and nobody else may write to it",
                    path.display()
                ));
            }
        }
        let file = fs::read(path).map_err(|error| error.to_string())?;
        let (digest, compiled) = file.split_at_checked(32).ok_or("it is damaged")?;
        if digest != Digest::of(compiled).0 {
            return Err("it is damaged".to_owned());
        }
        // SAFETY: the bytes are what this program serialized, by their name and their digest, and
        // lie where only those can write who can replace the program. Wasmtime checks that they
        // were made for this engine's configuration and for what this processor can do.
        unsafe { Component::deserialize(engine, compiled) }.map_err(|error| format!("{error:#}"))
    }

    /// Puts a component into a package that is being made.
    pub(crate) fn keep(&self, component: Digest, compiled: &Component) -> io::Result<()> {
        let bytes = compiled.serialize().map_err(|error| io::Error::other(format!("{error:#}")))?;
        fs::create_dir_all(&self.directory)?;
        // Where others may write, nothing is trusted.
        fs::set_permissions(&self.directory, fs::Permissions::from_mode(0o755))?;
        // Whoever runs the function may be another user.
        let readable = fs::Permissions::from_mode(0o644);
        let mut file =
            tempfile::Builder::new().permissions(readable).tempfile_in(&self.directory)?;
        file.write_all(&Digest::of(&bytes).0)?;
        file.write_all(&bytes)?;
        file.persist(self.path(component))?;
        Ok(())
    }

    fn path(&self, component: Digest) -> PathBuf {
        self.directory.join(format!("{}-{}.cwasm", component.hex(), self.program.short()))
    }
}

/// The program that runs, by what stays the same when it is packed and unpacked.
fn program_digest() -> Digest {
    let mut hasher = sha2::Sha256::new();
    hasher.update(env!("CARGO_PKG_VERSION"));
    if let Ok(program) = std::env::current_exe().and_then(fs::metadata) {
        hasher.update(program.len().to_le_bytes());
    }
    Digest(hasher.finalize().into())
}

/// The engine's configuration as wasmtime sees it, and the program that runs: its version, and
/// the size and time of its file, which change whenever it is built.
fn host_digest(engine: &Engine) -> Digest {
    let mut hasher = Sha256(sha2::Sha256::new());
    std::hash::Hash::hash(&engine.precompile_compatibility_hash(), &mut hasher);
    hasher.0.update(env!("CARGO_PKG_VERSION"));
    if let Ok(program) = std::env::current_exe().and_then(fs::metadata) {
        hasher.0.update(program.len().to_le_bytes());
        hasher.0.update(program.mtime().to_le_bytes());
        hasher.0.update(program.mtime_nsec().to_le_bytes());
    }
    Digest(hasher.0.finalize().into())
}

/// SHA-256 as the sink of a `Hash`.
struct Sha256(sha2::Sha256);

impl std::hash::Hasher for Sha256 {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Never asked for: the digest is.
    fn finish(&self) -> u64 {
        0
    }
}
