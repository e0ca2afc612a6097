//! A table as a file of columns: those that are kept become JSON objects, a row at a time.

use std::{
    fs::File,
    io::{self, Seek},
    path::Path as FilePath,
    sync::Arc,
};

use tidegate_core::{
    Digest, Path,
    digest::DigestHasher,
    lookup::TableSchema,
    parquet::{self, ReadError, RowFormat},
    path::Segment,
};

use super::{
    ROW_BYTES_MAX, TableError,
    intake::{Counted, Intake},
};
use crate::sources::parquet::PlainFile;

/// As many rows are made into JSON at a time, or as many as have about so many bytes.
const PIECE_ROWS: usize = 8192;
const PIECE_BYTES: usize = 1 << 20;

/// Takes all rows of a file whose columns lie at these paths. Its footer is read first, so it can't
/// be digested while it is read; it is digested before and behind, and refused where that differs.
pub(super) fn read(
    path: &FilePath,
    format: RowFormat,
    schema: TableSchema,
    paths: &[Path],
) -> Result<(Intake, Digest), TableError> {
    let mut file = File::open(path)?;
    let content = content(&mut file)?;
    let opened = parquet::File::open(Arc::new(PlainFile::new(file.try_clone()?)?), format)?;
    let opened = select(opened, paths)?;
    let mut intake = Intake::new(schema, paths, Counted::Rows)?;
    let mut rows = opened.rows_behind(0)?;
    let mut row = 0;
    while let Some(piece) = rows.read(PIECE_ROWS, PIECE_BYTES)? {
        let (mut start, mut defects) = (0, piece.defects.iter().peekable());
        for (place, end) in piece.ends.iter().copied().enumerate() {
            row += 1;
            if let Some(defect) = defects.next_if(|defect| defect.row == place) {
                intake.fault(row, &defect.message);
            } else if end - start > ROW_BYTES_MAX {
                intake.fault(row, &format!("it is longer than {ROW_BYTES_MAX} bytes"));
            } else {
                intake.take(&piece.bytes[start..end], row)?;
            }
            start = end;
        }
    }
    if self::content(&mut file)? != content {
        let reason = "somebody wrote to the file while it was read";
        return Err(TableError::Read(io::Error::other(reason)));
    }
    Ok((intake, content))
}

/// Leaves all columns out that no path begins with.
fn select(file: parquet::File, paths: &[Path]) -> Result<parquet::File, TableError> {
    if paths.iter().any(Path::is_root) {
        return Ok(file);
    }
    let given = file.names();
    let mut kept = Vec::new();
    for path in paths {
        match path.0.first() {
            Some(Segment::Key(name)) if given.contains(&name.as_str()) => kept.push(name.as_str()),
            Some(Segment::Key(name)) => {
                let given: Vec<_> = given.iter().map(|name| format!("`{name}`")).collect();
                let reason =
                    format!("it has no column `{name}`: its columns are {}", given.join(", "));
                return Err(TableError::Columns(reason));
            }
            _ => {
                let reason = format!("a row is an object, and `{path}` is no member of one");
                return Err(TableError::Columns(reason));
            }
        }
    }
    Ok(file.only(&kept))
}

/// The SHA-256 of a file's bytes.
fn content(file: &mut File) -> io::Result<Digest> {
    struct Hashing(DigestHasher);
    impl io::Write for Hashing {
        fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
            self.0.update(piece);
            Ok(piece.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    file.rewind()?;
    let mut hashing = Hashing(DigestHasher::default());
    io::copy(file, &mut hashing)?;
    Ok(hashing.0.finish())
}

impl From<ReadError> for TableError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Io(error) => TableError::Read(error),
            error => TableError::Parquet(error),
        }
    }
}
