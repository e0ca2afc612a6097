//! Where a file's bytes come from, where that is not the file system.

use std::{
    io::{self, Read, Seek},
    sync::Arc,
};

use tidegate_core::parquet::ReadAt;

/// Bytes in order, from any offset on.
pub(super) trait RawStream: Read + Seek + Send {}

impl<T: Read + Seek + Send> RawStream for T {}

/// Holds the bytes of one file, which never change. Calls block.
pub(super) trait Medium: Send + Sync + 'static {
    /// From the first on.
    fn open(&self) -> io::Result<Box<dyn RawStream>>;

    /// At offsets, for formats that say where what lies.
    fn at_offsets(&self) -> io::Result<Arc<dyn ReadAt>>;
}
