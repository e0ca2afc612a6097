//! Places that all hosts of a fleet see, for what does not fit into a row: each object is created
//! once, and its name says what is in it.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;
use bytes::Bytes;
use tidegate_core::checkpoint::{StoreError, StoreErrorKind};

use crate::blocking::off_task;

/// Where objects are kept. Called concurrently, by any number of hosts.
#[async_trait]
pub trait SharedObjects: Send + Sync {
    /// Keeps an object, durably on return. Again with the same content is no other object; a name
    /// never gets another content.
    async fn put(&self, key: &str, content: Bytes) -> Result<(), StoreError>;

    /// An object's content; none where there is no such object.
    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError>;

    /// Forgets an object that nothing refers to any more. One that is gone is no error.
    async fn remove(&self, key: &str) -> Result<(), StoreError>;

    /// Where an object lies, for people.
    fn place(&self, key: &str) -> String;
}

/// A directory that all hosts see: on one machine, or on a shared file system.
#[derive(Debug)]
pub struct SharedDirectory {
    root: PathBuf,
    /// Two hosts never write to one temporary file.
    host: String,
    written: AtomicU64,
}

impl SharedDirectory {
    /// A directory, which is created where it is missing. `host` tells this host from others.
    pub fn new(root: impl Into<PathBuf>, host: &str) -> Self {
        let host = host.replace(|it: char| !it.is_ascii_alphanumeric(), "_");
        SharedDirectory { root: root.into(), host, written: AtomicU64::new(0) }
    }
}

#[async_trait]
impl SharedObjects for SharedDirectory {
    async fn put(&self, key: &str, content: Bytes) -> Result<(), StoreError> {
        let path = self.root.join(key);
        let number = self.written.fetch_add(1, Ordering::Relaxed);
        let temporary = self.root.join(format!(".tmp-{}-{number}", self.host));
        let shown = path.clone();
        off_task(true, move || {
            let directory = path.parent().expect("a key lies below the root");
            create_durably(directory)?;
            let mut file = File::create(&temporary)?;
            file.write_all(&content)?;
            file.sync_all()?;
            // What is there already is the same.
            fs::rename(&temporary, &path)?;
            File::open(directory)?.sync_all()
        })
        .await
        .map_err(|error| failed("write", &shown, error))
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        let path = self.root.join(key);
        let shown = path.clone();
        let read = off_task(true, move || match fs::read(&path) {
            Ok(content) => Ok(Some(content.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        });
        read.await.map_err(|error| failed("read", &shown, error))
    }

    async fn remove(&self, key: &str) -> Result<(), StoreError> {
        let path = self.root.join(key);
        let shown = path.clone();
        let removed = off_task(true, move || match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        });
        removed.await.map_err(|error| failed("remove", &shown, error))
    }

    fn place(&self, key: &str) -> String {
        self.root.join(key).display().to_string()
    }
}

/// Creates a directory, and makes its name and those of new ones above it durable.
fn create_durably(directory: &Path) -> io::Result<()> {
    // The first part of a relative path has no parent that could be opened.
    let directory = std::path::absolute(directory)?;
    let missing: Vec<&Path> = directory.ancestors().take_while(|path| !path.exists()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    fs::create_dir_all(&directory)?;
    missing
        .into_iter()
        .filter_map(Path::parent)
        .try_for_each(|parent| File::open(parent)?.sync_all())
}

fn failed(action: &str, path: &Path, error: io::Error) -> StoreError {
    let kind = match error.kind() {
        // Somebody can make room while the pipeline waits.
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreErrorKind::Unavailable,
        _ => StoreErrorKind::Broken,
    };
    StoreError::new(kind, format!("failed to {action} `{}`", path.display()), error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_object_is_there_for_every_host_until_it_is_removed() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let (one, other) =
            (SharedDirectory::new(root.path(), "a/1"), SharedDirectory::new(root.path(), "b"));
        assert_eq!(one.get("p/states/1").await.expect("readable"), None);
        for host in [&one, &other] {
            host.put("p/states/1", Bytes::from_static(b"content")).await.expect("there is room");
        }
        let found = other.get("p/states/1").await.expect("readable");
        assert_eq!(found.as_deref(), Some(b"content".as_slice()));
        let names = fs::read_dir(root.path()).expect("a folder").count();
        assert_eq!(names, 1, "nothing is left under temporary names");
        for _ in 0..2 {
            other.remove("p/states/1").await.expect("removed, or gone");
        }
        assert_eq!(one.get("p/states/1").await.expect("readable"), None);
    }
    #[tokio::test]
    async fn a_directory_of_a_relative_name_is_created() {
        let here = tempfile::tempdir_in(".").expect("a temporary folder");
        let name = here.path().file_name().expect("it has a name").to_owned();
        // Its own first part is missing as well.
        drop(here);
        let shared = SharedDirectory::new(&name, "a");
        let put = shared.put("p/states/1", Bytes::from_static(b"content")).await;
        let removed = fs::remove_dir_all(&name);
        put.expect("there is room");
        removed.expect("it was created");
    }
}
