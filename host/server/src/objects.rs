//! Objects that a sink has written, read back: as a consumer would see them.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;
#[cfg(feature = "s3")]
use tidegate_connectors::sinks::s3::S3Reader;
use tidegate_connectors::sources::{FileSource, FileSourceConfig, Framing, LineLimits};
use tidegate_core::{
    RecordBatch, Source, parquet,
    source::{ReadLimit, ReadOutcome},
};
#[cfg(feature = "s3")]
use tokio::sync::Mutex;

use crate::{
    DEAD_LETTERS,
    config::{self, Config},
};

/// How much of a file is in memory at a time.
const READ: ReadLimit = ReadLimit { records_max: 10_000, bytes_max: 4 << 20, until: None };

/// A dead letter holds its payload in base64, and one line is one record.
const LINE: LineLimits = LineLimits { record_bytes_max: 1 << 30, payload_bytes_max: 1 << 30 };

/// The objects of one sink, by their keys.
#[derive(Clone)]
pub(crate) enum Objects {
    /// Files below a directory.
    Directory(PathBuf),
    /// Objects in a bucket.
    #[cfg(feature = "s3")]
    S3(Arc<Fetched>),
}

/// A bucket's objects, and the last of them that was copied here: a reader comes back to it.
#[cfg(feature = "s3")]
pub(crate) struct Fetched {
    reader: S3Reader,
    last: Mutex<Option<(String, LocalFile)>>,
}

/// A file with an object's content, and what keeps it there.
#[derive(Clone, Debug)]
pub(crate) struct LocalFile {
    path: PathBuf,
    _folder: Option<Arc<tempfile::TempDir>>,
}

impl LocalFile {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Objects {
    /// Those of all sinks whose objects can be looked at, by the sinks' names, and the dead letters.
    pub(crate) fn of_all(config: &Config) -> impl Iterator<Item = (String, Objects)> {
        let sinks = config.sinks.iter().filter_map(|sink| {
            let (directory, s3) = (sink.directory.as_ref(), sink.s3.as_ref());
            let objects = Objects::of(config, &sink.name, directory.map(|it| &it.path), s3)?;
            Some((sink.name.clone(), objects))
        });
        sinks.chain([(DEAD_LETTERS.to_owned(), Objects::of_dead_letters(config))])
    }

    pub(crate) fn of_dead_letters(config: &Config) -> Objects {
        let dead = &config.dead_letters;
        let objects = Objects::of(config, DEAD_LETTERS, dead.directory.as_ref(), dead.s3.as_ref());
        // A function of Lambda has no place of its own, and none have ever been written here.
        objects.unwrap_or_else(|| Objects::Directory(config.data_dir.join(DEAD_LETTERS)))
    }

    fn of(
        config: &Config,
        sink: &str,
        directory: Option<&PathBuf>,
        s3: Option<&config::S3>,
    ) -> Option<Objects> {
        match (directory, s3) {
            (Some(directory), _) => Some(Objects::Directory(directory.clone())),
            #[cfg(feature = "s3")]
            (None, Some(s3)) => {
                let reader = S3Reader::new(crate::edges::s3(config, sink, s3));
                Some(Objects::S3(Arc::new(Fetched { reader, last: Mutex::default() })))
            }
            _ => {
                let _ = (config, sink);
                None
            }
        }
    }

    /// The keys of all objects, in order.
    pub(crate) async fn keys(&self) -> anyhow::Result<Vec<String>> {
        match self {
            Objects::Directory(root) => {
                let key = |file: PathBuf| {
                    let key = file.strip_prefix(root).unwrap_or(&file);
                    key.to_string_lossy().into_owned()
                };
                Ok(files(root)?.into_iter().map(key).collect())
            }
            #[cfg(feature = "s3")]
            Objects::S3(fetched) => Ok(fetched.reader.list().await?),
        }
    }

    /// An object as a file, with its extension. An object that is not there is an error.
    pub(crate) async fn file(&self, key: &str) -> anyhow::Result<LocalFile> {
        match self {
            Objects::Directory(root) => Ok(LocalFile { path: root.join(key), _folder: None }),
            #[cfg(feature = "s3")]
            Objects::S3(fetched) => fetched.file(key).await,
        }
    }

    /// Where an object lies, for people.
    pub(crate) fn place(&self, key: &str) -> String {
        match self {
            Objects::Directory(root) => root.join(key).display().to_string(),
            #[cfg(feature = "s3")]
            Objects::S3(fetched) => fetched.reader.place(key),
        }
    }
}

#[cfg(feature = "s3")]
impl Fetched {
    async fn file(&self, key: &str) -> anyhow::Result<LocalFile> {
        let mut last = self.last.lock().await;
        if let Some((_, file)) = last.as_ref().filter(|(last, _)| last == key) {
            return Ok(file.clone());
        }
        let folder = tempfile::tempdir().context("failed to make a folder for an object")?;
        let path = folder.path().join(key.rsplit('/').next().unwrap_or(key));
        let is_there = self.reader.fetch(key, &path).await?;
        anyhow::ensure!(is_there, "there is no object `{}`", self.reader.place(key));
        let file = LocalFile { path, _folder: Some(Arc::new(folder)) };
        *last = Some((key.to_owned(), file.clone()));
        Ok(file)
    }
}

/// Calls `visit` with the records of a file, some at a time: its lines, decompressed as its extension
/// says, or its rows.
pub(crate) async fn each_record(
    path: &Path,
    mut visit: impl FnMut(&RecordBatch) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let named = path.to_string_lossy().into_owned();
    // What was written as a number that is not finite can only be counted.
    let as_null = parquet::RowFormat { not_finite_as_null: true, ..Default::default() };
    let framing = match path.extension() {
        Some(extension) if extension == parquet::EXTENSION => Framing::Parquet(as_null),
        _ => Framing::Lines,
    };
    let config =
        FileSourceConfig { framing, limits: LINE, ..FileSourceConfig::new("object", [named]) };
    let source = FileSource::new(config);
    let context = || format!("failed to read `{}`", path.display());
    for partition in source.partitions().await.with_context(context)? {
        let mut reader = source.open(&partition.id, None).await.with_context(context)?;
        while let ReadOutcome::Records(batch) = reader.read(READ).await.with_context(context)? {
            anyhow::ensure!(batch.defects.is_empty(), "`{}` has a defect", path.display());
            visit(&batch)?;
        }
    }
    Ok(())
}

/// All files below a directory but those under temporary names, sorted. A directory that is not
/// there is empty.
fn files(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries.with_context(|| format!("failed to list `{}`", folder.display()))?,
        };
        for entry in entries {
            let entry = entry.with_context(|| format!("failed to list `{}`", folder.display()))?;
            let temporary =
                folder == root && entry.file_name().to_string_lossy().starts_with(".tmp-");
            if temporary {
                continue;
            }
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                _ => files.push(entry.path()),
            }
        }
    }
    files.sort();
    Ok(files)
}
