//! Files as a source: which there are, and how each is opened where a checkpoint left it.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::{Component, Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use glob::{MatchOptions, Pattern};
use tidegate_core::{
    Source,
    parquet::RowFormat,
    source::{Partition, PartitionId, Reader, Replay, Resume, SourceError, SourceErrorKind},
};

use super::{
    chunks::ChunkLoader,
    compression::{Compression, is_damage},
    csv::{CsvFile, CsvFormat},
    fingerprint::{HEAD_BYTES_MAX, Head},
    lines::{LineLimits, LineReader, Stream, broken},
    parquet::ParquetFile,
    whole::WholeFileReader,
};
use crate::blocking::off_task;

/// What a record is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// A line. The line feed, and a carriage return before it, don't belong to it; a line without
    /// anything on it is none; the last one may lack its line feed. A record's position is the
    /// offset just behind its line feed, in the decompressed file.
    #[default]
    Lines,
    /// A whole file, even an empty one. Its position is 1.
    WholeFile,
    /// A row of delimited text, as a JSON object. A record's position is the offset just behind its
    /// line feed, in the decompressed file.
    Csv(Arc<CsvFormat>),
    /// A row of a Parquet file, as a JSON object. A record's position is the number of rows up to
    /// it. The files are compressed within, and never as a whole.
    Parquet(RowFormat),
}

/// Which files to read, and how.
#[derive(Clone, Debug)]
pub struct FileSourceConfig {
    /// The source's name.
    pub name: String,
    /// What relative paths are relative to.
    pub base: PathBuf,
    /// Paths, or patterns with `*`, `?`, `[…]` and `**`. A pattern matches no name that starts
    /// with a dot, unless it says so. A path that is there is taken as it stands, even if it has
    /// such a character in it.
    pub paths: Vec<String>,
    /// What a record is.
    pub framing: Framing,
    /// How the files are compressed.
    pub compression: Compression,
    /// How large a record may be.
    pub limits: LineLimits,
}

impl FileSourceConfig {
    /// Lines of files, relative to the working directory, compressed as their extension says.
    pub fn new(
        name: impl Into<String>,
        paths: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        FileSourceConfig {
            name: name.into(),
            base: PathBuf::new(),
            paths: paths.into_iter().map(Into::into).collect(),
            framing: Framing::default(),
            compression: Compression::default(),
            limits: LineLimits::default(),
        }
    }
}

/// Reads files.
pub struct FileSource {
    config: Arc<FileSourceConfig>,
    /// A named file that is missing is an error at first. Later it has been read and removed.
    listed: AtomicBool,
}

impl FileSource {
    /// A source that has touched no file yet.
    pub fn new(mut config: FileSourceConfig) -> Self {
        config.limits = config.limits.clamped();
        FileSource { config: Arc::new(config), listed: AtomicBool::new(false) }
    }
}

#[async_trait]
impl Source for FileSource {
    fn name(&self) -> &str {
        &self.config.name
    }

    fn replay(&self) -> Replay {
        Replay::Exact
    }

    async fn partitions(&self) -> Result<Vec<Partition>, SourceError> {
        let config = self.config.clone();
        let first = !self.listed.load(Ordering::Relaxed);
        let names = off_task(true, move || Ok(list(&config, first)))
            .await
            .map_err(|error| unavailable("failed to list the files".to_owned(), error))??;
        self.listed.store(true, Ordering::Relaxed);
        Ok(names
            .into_iter()
            .map(|name| Partition {
                id: PartitionId(name.into()),
                parents: Vec::new(),
                hash_range: None,
            })
            .collect())
    }

    async fn open(
        &self,
        partition: &PartitionId,
        after: Option<&Resume>,
    ) -> Result<Box<dyn Reader>, SourceError> {
        let file = SourceFile {
            path: self.config.base.join(&*partition.0),
            compression: self.config.compression,
            limits: self.config.limits,
        };
        let after = after.cloned();
        let limits = self.config.limits;
        let framing = self.config.framing.clone();
        let opened = off_task(true, move || {
            let offset = after.as_ref().map_or(0, |resume| resume.position.offset());
            let behind = after.as_ref().map(|resume| (offset, resume.token.as_str()));
            Ok(match framing {
                Framing::Lines => file.open(behind).map(|opened| {
                    Box::new(LineReader::new(file, limits, offset, opened)) as Box<dyn Reader>
                }),
                Framing::Csv(format) => {
                    let file = CsvFile::new(file, format);
                    file.open(behind).map(|opened| {
                        Box::new(LineReader::new(file, limits, offset, opened)) as Box<dyn Reader>
                    })
                }
                Framing::Parquet(format) => {
                    let file = ParquetFile::new(file, format);
                    file.open(behind).map(|opened| {
                        Box::new(LineReader::new(file, limits, offset, opened)) as Box<dyn Reader>
                    })
                }
                Framing::WholeFile => WholeFileReader::open(file, after.as_ref())
                    .map(|reader| Box::new(reader) as Box<dyn Reader>),
            })
        });
        opened.await.map_err(|error| unavailable(format!("failed to open `{partition}`"), error))?
    }
}

/// One file and how it is read.
pub(super) struct SourceFile {
    pub(super) path: PathBuf,
    pub(super) compression: Compression,
    pub(super) limits: LineLimits,
}

impl Stream for SourceFile {
    type Loader = ChunkLoader;

    fn open(&self, after: Option<(u64, &str)>) -> Result<(ChunkLoader, Head), SourceError> {
        let failed = |error| self.failed(0, error);
        let Some((offset, token)) = after else {
            let stream = self.compression.open(&self.path).map_err(failed)?;
            let line_bytes_max = self.limits.payload_bytes_max;
            return Ok((ChunkLoader::new(stream, 0, line_bytes_max, false), Head::default()));
        };
        let (stream, head) = if self.compression.of(&self.path) == Compression::Plain {
            self.seek(offset, token)?
        } else {
            let mut stream = self.compression.open(&self.path).map_err(failed)?;
            let head = self.recognize(&mut stream, offset, token)?;
            let skip = (offset - head.1).saturating_sub(1);
            let skipped = io::copy(&mut (&mut stream).take(skip), &mut io::sink());
            if skipped.map_err(|error| self.failed(offset, error))? < skip {
                return Err(self.shorter(offset));
            }
            (stream, head)
        };
        let stream = self.at_line_start(stream, offset, head.1)?;
        Ok((ChunkLoader::new(stream, offset, self.limits.payload_bytes_max, false), head.0))
    }

    fn failed(&self, offset: u64, error: io::Error) -> SourceError {
        let path = self.path.display();
        let compression = self.compression.of(&self.path);
        match error.kind() {
            io::ErrorKind::NotFound => SourceError::new(
                SourceErrorKind::Trimmed,
                format!("`{path}` is gone before it was read to its end: put it back"),
                error,
            ),
            io::ErrorKind::PermissionDenied | io::ErrorKind::IsADirectory => {
                broken(format!("`{path}` can't be read"), Some(error))
            }
            _ if compression != Compression::Plain && is_damage(&error) => {
                let format = compression.name();
                let message = format!(
                    "`{path}` is damaged: its {format} data can't be decompressed behind byte \
                     {offset} of what it holds; everything before is done: put a whole file there",
                );
                broken(message, Some(error))
            }
            _ => unavailable(format!("failed to read `{path}`"), error),
        }
    }
}

type Opened = (Box<dyn Read + Send>, (Head, u64));

impl SourceFile {
    /// Goes to the byte before an offset of a plain file, past a head that must be the token's.
    fn seek(&self, offset: u64, token: &str) -> Result<Opened, SourceError> {
        let failed = |error| self.failed(offset, error);
        let mut file = File::open(&self.path).map_err(failed)?;
        let head = self.recognize(&mut file, offset, token)?;
        if file.metadata().map_err(failed)?.len() < offset {
            return Err(self.shorter(offset));
        }
        if offset > head.1 {
            file.seek(SeekFrom::Start(offset - 1)).map_err(failed)?;
        }
        Ok((Box::new(file), head))
    }

    /// Reads the head, up to an offset, and compares it with the token. Also says its length.
    fn recognize(
        &self,
        stream: &mut impl Read,
        offset: u64,
        token: &str,
    ) -> Result<(Head, u64), SourceError> {
        let length = offset.min(HEAD_BYTES_MAX as u64);
        let mut bytes = Vec::with_capacity(length as usize);
        let read = stream.take(length).read_to_end(&mut bytes);
        read.map_err(|error| self.failed(0, error))?;
        if (bytes.len() as u64) < length {
            return Err(self.shorter(offset));
        }
        let head = Head::of(bytes);
        if head.token(offset) != token {
            return Err(self.replaced("it begins differently"));
        }
        Ok((head, length))
    }

    /// Checks that a record ends at an offset, whose last byte has been read if it is in the head.
    fn at_line_start(
        &self,
        mut stream: Box<dyn Read + Send>,
        offset: u64,
        head_bytes: u64,
    ) -> Result<Box<dyn Read + Send>, SourceError> {
        let failed = |error| self.failed(offset, error);
        if offset <= head_bytes {
            return Ok(stream);
        }
        let mut last = [0];
        match stream.read_exact(&mut last) {
            Ok(()) if last == *b"\n" => return Ok(stream),
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(self.shorter(offset));
            }
            Err(error) => return Err(failed(error)),
        }
        // The last line of a file may lack its line feed; then nothing may have been added to it.
        let mut next = [0];
        match stream.read(&mut next).map_err(failed)? {
            0 => Ok(Box::new(io::empty())),
            _ => Err(self.replaced("no line ends where reading stopped")),
        }
    }

    fn shorter(&self, offset: u64) -> SourceError {
        self.replaced(&format!("it ends before byte {offset}, up to which it has been read"))
    }

    pub(super) fn replaced(&self, how: &str) -> SourceError {
        let path = self.path.display();
        let message = format!(
            "`{path}` is not the file that was read before: {how}; put the old one back, or give \
             the new one a name of its own"
        );
        SourceError::plain(SourceErrorKind::Replaced, message)
    }
}

fn unavailable(message: String, error: io::Error) -> SourceError {
    SourceError::new(SourceErrorKind::Unavailable, message, error)
}

/// The files that there are, sorted by name, each once.
fn list(config: &FileSourceConfig, first: bool) -> Result<BTreeSet<String>, SourceError> {
    let mut names = BTreeSet::new();
    for path in &config.paths {
        let literal = config.base.join(path);
        if literal.is_dir() {
            let message = format!("`{path}` is a directory: name files in it, as in `{path}/*`");
            return Err(broken(message, None));
        }
        if literal.exists() {
            names.insert(name_of(Path::new(path))?);
        } else if path.contains(['*', '?', '[']) {
            names.append(&mut matches(&config.base, path)?);
        } else if first {
            return Err(broken(format!("there is no file `{}`", literal.display()), None));
        }
    }
    Ok(names)
}

fn matches(base: &Path, pattern: &str) -> Result<BTreeSet<String>, SourceError> {
    let invalid = |error: glob::PatternError| {
        let message = format!("`{pattern}` is not a pattern for paths: {}", error.msg);
        broken(message, None)
    };
    let options = MatchOptions {
        case_sensitive: true,
        require_literal_separator: true,
        require_literal_leading_dot: true,
    };
    let escaped = PathBuf::from(Pattern::escape(&base.to_string_lossy())).join(pattern);
    let mut names = BTreeSet::new();
    for found in glob::glob_with(&escaped.to_string_lossy(), options).map_err(invalid)? {
        let found = found.map_err(|error| {
            broken(format!("`{}` can't be listed", error.path().display()), Some(error.into()))
        })?;
        if found.is_file() {
            names.insert(name_of(found.strip_prefix(base).unwrap_or(&found))?);
        }
    }
    Ok(names)
}

/// A path as a partition's name: without `.` and doubled separators, so that it is the same
/// however it was written.
fn name_of(path: &Path) -> Result<String, SourceError> {
    let plain: PathBuf = path.components().filter(|part| *part != Component::CurDir).collect();
    plain.into_os_string().into_string().map_err(|name| {
        broken(format!("`{}` is not UTF-8, as a partition's name must be", name.display()), None)
    })
}
