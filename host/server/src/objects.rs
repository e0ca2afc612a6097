//! Objects that a directory sink has written, read back: as a consumer would see them.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::Context;
use tidegate_connectors::sources::{FileSource, FileSourceConfig, Framing, LineLimits};
use tidegate_core::{
    RecordBatch, Source, parquet,
    source::{ReadLimit, ReadOutcome},
};

/// How much of a file is in memory at a time.
const READ: ReadLimit = ReadLimit { records_max: 10_000, bytes_max: 4 << 20, until: None };

/// A dead letter holds its payload in base64, and one line is one record.
const LINE: LineLimits = LineLimits { record_bytes_max: 1 << 30, payload_bytes_max: 1 << 30 };

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
pub(crate) fn files(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
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
