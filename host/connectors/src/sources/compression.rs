//! Reading what may be compressed.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::Path,
};

use tidegate_core::source::SourceError;

/// How a file is compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// What the file's extension says: `.gz` is gzip, `.zst` is zstd, any other is plain.
    #[default]
    ByExtension,
    /// Not at all.
    Plain,
    /// Gzip, of any number of members.
    Gzip,
    /// Zstandard, of any number of frames, with a window of up to 128 MiB.
    Zstd,
}

/// Compressed bytes are read in pieces of this size.
const COMPRESSED_READ_BYTES: usize = 128 << 10;

impl Compression {
    /// What it is for one file: never [`Compression::ByExtension`].
    pub fn of(self, path: &Path) -> Compression {
        match self {
            Compression::ByExtension => match path.extension().and_then(|name| name.to_str()) {
                Some("gz") => Compression::Gzip,
                Some("zst") => Compression::Zstd,
                _ => Compression::Plain,
            },
            named => named,
        }
    }

    /// What it is called in messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Compression::ByExtension | Compression::Plain => "plain",
            Compression::Gzip => "gzip",
            Compression::Zstd => "zstd",
        }
    }

    /// The decompressed bytes of a stream.
    pub(crate) fn decode(
        self,
        raw: impl Read + Send + 'static,
    ) -> io::Result<Box<dyn Read + Send>> {
        let buffered = |raw| BufReader::with_capacity(COMPRESSED_READ_BYTES, raw);
        Ok(match self {
            Compression::ByExtension | Compression::Plain => Box::new(raw),
            Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(buffered(raw))),
            Compression::Zstd => Box::new(zstd::Decoder::with_buffer(buffered(raw))?),
        })
    }

    /// The decompressed bytes of a file.
    pub(super) fn open(self, path: &Path) -> io::Result<Box<dyn Read + Send>> {
        self.of(path).decode(File::open(path)?)
    }
}

/// Whether an error is of the compressed data, and not of the device that it was read from.
pub(super) fn is_damage(error: &io::Error) -> bool {
    let is_told = error.get_ref().is_some_and(|it| it.is::<SourceError>());
    error.raw_os_error().is_none() && !is_told
}
