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
use memchr::memchr_iter;
use tidegate_core::{
    Source,
    parquet::{ReadAt, RowFormat},
    source::{Partition, PartitionId, Reader, Replay, Resume, SourceError, SourceErrorKind},
};

#[cfg(feature = "avro")]
use super::avro::{AvroFile, AvroFormat};
#[cfg(feature = "protobuf")]
use super::protobuf::{MessageFile, ProtobufFormat};
use super::{
    chunks::ChunkLoader,
    compression::{Compression, is_damage},
    csv::{CsvFile, CsvFormat},
    fingerprint::{self, HEAD_BYTES_MAX, Head, TAIL_BYTES_MAX},
    follow::{Follow, Live, Located, Registry},
    line_feed::LineFeed,
    lines::{LineLimits, LineReader, Stream, broken},
    medium::{Medium, RawStream},
    parquet::{ParquetFile, PlainFile},
    text::{TextFile, TextFormat},
    whole::WholeFileReader,
};
use crate::blocking::off_task;

/// Files are read in pieces of this size where only their lines are counted.
const COUNTED_READ_BYTES: usize = 128 << 10;

/// What a record is.
#[derive(Clone, Debug, Default)]
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
    /// A row of an Avro object container file, as JSON. A record's position is the number of rows up
    /// to it. The files are compressed within, and never as a whole.
    #[cfg(feature = "avro")]
    Avro(AvroFormat),
    /// A message of Protobuf, as JSON. A record's position is the offset just behind its message, in
    /// the decompressed file.
    #[cfg(feature = "protobuf")]
    Protobuf(Arc<ProtobufFormat>),
    /// A line of text that is converted, or taken apart by a pattern. A record's position is the
    /// offset just behind its line feed, in the decompressed file as it stands.
    Text(Arc<TextFormat>),
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
    /// Set where files are read while they are written: how. Without it they are read to the end
    /// that they have when it is reached. Not for whole files.
    pub follow: Option<Follow>,
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
            follow: None,
        }
    }
}

/// Reads files.
pub struct FileSource {
    config: Arc<FileSourceConfig>,
    /// A named file that is missing is an error at first. Later it has been read and removed.
    listed: AtomicBool,
    /// What there is to follow, where files are followed.
    registry: Option<Arc<Registry>>,
}

impl FileSource {
    /// A source that has touched no file yet.
    pub fn new(mut config: FileSourceConfig) -> Self {
        config.limits = config.limits.clamped();
        let follow = config.follow.take();
        let registry = follow.map(|follow| Arc::new(Registry::new(config.base.clone(), follow)));
        FileSource { config: Arc::new(config), listed: AtomicBool::new(false), registry }
    }

    /// Looks at the files that are followed. Blocks.
    fn look(
        config: &FileSourceConfig,
        registry: &Registry,
    ) -> Result<Vec<PartitionId>, SourceError> {
        // One that is not there may come.
        registry.look(list(config, false)?)
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

    fn ends(&self) -> bool {
        self.registry.is_none()
    }

    async fn partitions(&self) -> Result<Vec<Partition>, SourceError> {
        let config = self.config.clone();
        let partition = |id| Partition { id, parents: Vec::new(), hash_range: None };
        if let Some(registry) = self.registry.clone() {
            let unfinished = off_task(true, move || Ok(Self::look(&config, &registry)))
                .await
                .map_err(|error| unavailable("failed to look at the files".to_owned(), error))??;
            return Ok(unfinished.into_iter().map(partition).collect());
        }
        let first = !self.listed.load(Ordering::Relaxed);
        let names = off_task(true, move || Ok(list(&config, first)))
            .await
            .map_err(|error| unavailable("failed to list the files".to_owned(), error))??;
        self.listed.store(true, Ordering::Relaxed);
        Ok(names.into_iter().map(|name| partition(PartitionId(name.into()))).collect())
    }

    async fn open(
        &self,
        partition: &PartitionId,
        after: Option<&Resume>,
    ) -> Result<Box<dyn Reader>, SourceError> {
        let after = after.cloned();
        let (config, registry, id) =
            (self.config.clone(), self.registry.clone(), partition.clone());
        let opened = off_task(true, move || {
            let file = match registry {
                None => {
                    let path = config.base.join(&*id.0);
                    SourceFile::at(path, config.compression, config.limits)
                }
                Some(registry) => match followed(&config, &registry, &id) {
                    Ok(live) => SourceFile::live(live, config.limits),
                    Err(error) => return Ok(Err(error)),
                },
            };
            Ok(reader(file, &config.framing, after.as_ref()))
        });
        opened.await.map_err(|error| unavailable(format!("failed to open `{partition}`"), error))?
    }
}

/// Opens a file as records, behind a checkpoint or from its start. Blocks.
pub(super) fn reader(
    file: SourceFile,
    framing: &Framing,
    after: Option<&Resume>,
) -> Result<Box<dyn Reader>, SourceError> {
    match framing.clone() {
        Framing::Lines => stream_reader(file.limits, file, after),
        Framing::Csv(format) => stream_reader(file.limits, CsvFile::new(file, format), after),
        Framing::Text(format) => stream_reader(file.limits, TextFile::new(file, format), after),
        Framing::Parquet(format) => {
            stream_reader(file.limits, ParquetFile::new(file, format), after)
        }
        #[cfg(feature = "avro")]
        Framing::Avro(format) => stream_reader(file.limits, AvroFile::new(file, format), after),
        #[cfg(feature = "protobuf")]
        Framing::Protobuf(format) => {
            stream_reader(file.limits, MessageFile::new(file, format), after)
        }
        Framing::WholeFile => {
            WholeFileReader::open(file, after).map(|reader| Box::new(reader) as Box<dyn Reader>)
        }
    }
}

fn stream_reader(
    limits: LineLimits,
    stream: impl Stream,
    after: Option<&Resume>,
) -> Result<Box<dyn Reader>, SourceError> {
    let resumed = after.map(|it| (it.position.offset(), it.token.clone()));
    let opened = stream.open(resumed.as_ref().map(|(offset, token)| (*offset, token.as_str())))?;
    Ok(Box::new(LineReader::new(stream, limits, resumed, opened)))
}

/// A partition among those that are followed.
fn followed(
    config: &FileSourceConfig,
    registry: &Arc<Registry>,
    id: &PartitionId,
) -> Result<Arc<Live>, SourceError> {
    if !registry.has_looked() {
        FileSource::look(config, registry)?;
    }
    let live = Live::new(registry.clone(), id).ok_or_else(|| {
        let message = format!("there is no file that `{id}` stands for");
        SourceError::plain(SourceErrorKind::Trimmed, message)
    })?;
    Ok(Arc::new(live))
}

/// One file and how it is read.
pub(super) struct SourceFile {
    pub(super) path: PathBuf,
    pub(super) compression: Compression,
    pub(super) limits: LineLimits,
    /// What ends a line.
    pub(super) line_feed: LineFeed,
    /// Whether records are lines, so that one ends where reading stopped.
    of_lines: bool,
    /// Set where it is followed; the path is then where it was first seen.
    live: Option<Arc<Live>>,
    /// Set where it lies elsewhere than in the file system; the path is then for people, and ends as
    /// its name does.
    medium: Option<Arc<dyn Medium>>,
}

impl SourceFile {
    /// A file that is read to its end.
    pub(super) fn at(path: PathBuf, compression: Compression, limits: LineLimits) -> Self {
        SourceFile {
            path,
            compression,
            limits,
            line_feed: LineFeed::Byte,
            of_lines: true,
            live: None,
            medium: None,
        }
    }

    /// A file that lies elsewhere than in the file system.
    #[cfg(feature = "s3-source")]
    pub(super) fn on(
        medium: Arc<dyn Medium>,
        path: PathBuf,
        compression: Compression,
        limits: LineLimits,
    ) -> Self {
        SourceFile { medium: Some(medium), ..SourceFile::at(path, compression, limits) }
    }

    /// Its bytes as they lie there, from the first on.
    pub(super) fn raw(&self) -> io::Result<Box<dyn RawStream>> {
        match &self.medium {
            Some(medium) => medium.open(),
            None => Ok(Box::new(File::open(&self.path)?)),
        }
    }

    /// The same, to be read at offsets.
    pub(super) fn at_offsets(&self) -> io::Result<Arc<dyn ReadAt>> {
        match &self.medium {
            Some(medium) => medium.at_offsets(),
            None => Ok(Arc::new(PlainFile::new(File::open(&self.path)?)?)),
        }
    }

    /// Its bytes, decompressed.
    pub(super) fn decompressed(
        &self,
        compression: Compression,
    ) -> io::Result<Box<dyn Read + Send>> {
        compression.of(&self.path).decode(self.raw()?)
    }

    fn live(live: Arc<Live>, limits: LineLimits) -> Self {
        let file = SourceFile::at(live.home.clone(), Compression::Plain, limits);
        SourceFile { live: Some(live), ..file }
    }

    /// The same, of records that are no lines.
    #[cfg(feature = "protobuf")]
    pub(super) fn without_lines(self) -> Self {
        SourceFile { of_lines: false, ..self }
    }
}

impl Stream for SourceFile {
    type Loader = ChunkLoader;

    fn open(&self, after: Option<(u64, &str)>) -> Result<(ChunkLoader, Head), SourceError> {
        let (stream, head) = self.open_bytes(after)?;
        let offset = after.map_or(0, |(offset, _)| offset);
        let (line_bytes_max, prompt) = (self.limits.payload_bytes_max, self.live.is_some());
        let loader = ChunkLoader::new(stream, offset, line_bytes_max, prompt);
        Ok((loader.with_line_feed(self.line_feed), head))
    }

    fn version(&self) -> u64 {
        self.live.as_ref().map_or(0, |live| live.version())
    }

    async fn changed(&self, since: u64) {
        if let Some(live) = &self.live {
            live.changed(since).await;
        }
    }

    fn reached(&self, offset: u64, token: impl FnOnce() -> String) {
        if let Some(live) = &self.live {
            live.reached(offset, token());
        }
    }

    fn ended(&self) {
        if let Some(live) = &self.live {
            live.ended();
        }
    }

    fn failed(&self, offset: u64, error: io::Error) -> SourceError {
        let path = self.path.display();
        let compression = self.compression.of(&self.path);
        let error = match error.downcast::<SourceError>() {
            Ok(error) => return error,
            Err(error) => error,
        };
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

impl SourceFile {
    /// The bytes behind an offset, and the head that lies before it.
    pub(super) fn open_bytes(
        &self,
        after: Option<(u64, &str)>,
    ) -> Result<(Box<dyn Read + Send>, Head), SourceError> {
        let failed = |error| self.failed(after.map_or(0, |it| it.0), error);
        let Some(live) = &self.live else { return self.open_whole(after) };
        match live.locate(after)? {
            Located::Own(mut file) => {
                let (head, last) = match after {
                    Some((offset, token)) => self.seek(&mut file, offset, token)?,
                    None => (Head::default(), Vec::new()),
                };
                let offset = after.map_or(0, |(offset, _)| offset);
                let stream = live.stream(file, offset, (head.bytes(), &last)).map_err(failed)?;
                Ok((stream, head))
            }
            Located::Copy(path) => {
                let copy = SourceFile {
                    line_feed: self.line_feed,
                    ..SourceFile::at(path, Compression::ByExtension, self.limits)
                };
                copy.open_whole(after)
            }
            Located::Over => Ok((Box::new(io::empty()), Head::default())),
        }
    }

    /// A file that is read to its end.
    fn open_whole(
        &self,
        after: Option<(u64, &str)>,
    ) -> Result<(Box<dyn Read + Send>, Head), SourceError> {
        let failed = |error| self.failed(0, error);
        let Some((offset, token)) = after else {
            let stream = self.decompressed(self.compression).map_err(failed)?;
            return Ok((stream, Head::default()));
        };
        if self.compression.of(&self.path) == Compression::Plain {
            let mut raw = self.raw().map_err(failed)?;
            let (head, _) = self.seek(&mut raw, offset, token)?;
            return Ok((Box::new(raw), head));
        }
        let mut stream = self.decompressed(self.compression).map_err(failed)?;
        let skip = |stream: &mut Box<dyn Read + Send>, from: u64, to: u64| {
            io::copy(&mut stream.take(to - from), &mut io::sink()).map(drop)
        };
        let (head, _) = self.recognize(&mut stream, offset, token, skip)?;
        Ok((stream, head))
    }

    /// Goes to an offset of a plain file, past what must be the token's. Returns the head and the
    /// last bytes before the offset.
    fn seek(
        &self,
        file: &mut (impl Read + Seek),
        offset: u64,
        token: &str,
    ) -> Result<(Head, Vec<u8>), SourceError> {
        self.recognize(file, offset, token, |file, _, to| file.seek(SeekFrom::Start(to)).map(drop))
    }

    /// Reads the head and what lies right before an offset, and compares them with the token. Where
    /// a file has been read before, a line ends there.
    fn recognize<R: Read>(
        &self,
        stream: &mut R,
        offset: u64,
        token: &str,
        skip: impl FnOnce(&mut R, u64, u64) -> io::Result<()>,
    ) -> Result<(Head, Vec<u8>), SourceError> {
        let failed = |error| self.failed(offset, error);
        let length = offset.min(HEAD_BYTES_MAX as u64);
        let mut bytes = Vec::with_capacity(length as usize);
        stream.by_ref().take(length).read_to_end(&mut bytes).map_err(|it| self.failed(0, it))?;
        if (bytes.len() as u64) < length {
            return Err(self.shorter(offset));
        }
        let (head_token, tail_token) = fingerprint::parts(token);
        let head = Head::of(bytes);
        if head.token(offset, None) != head_token {
            return Err(self.replaced("it begins differently"));
        }
        let from = length.max(offset.saturating_sub(TAIL_BYTES_MAX as u64));
        let mut last = head.bytes()
            [length.min(offset.saturating_sub(TAIL_BYTES_MAX as u64)) as usize..]
            .to_vec();
        if offset == length {
            return Ok((head, last));
        }
        if from > length {
            last.clear();
            skip(stream, length, from).map_err(failed)?;
        }
        let before = last.len() as u64;
        stream.by_ref().take(offset - from).read_to_end(&mut last).map_err(failed)?;
        if last.len() as u64 - before < offset - from {
            return Err(self.shorter(offset));
        }
        let expected =
            tail_token.is_none_or(|it| it == fingerprint::tail_text(fingerprint::tail(&last)));
        if !expected {
            return Err(self.replaced("something else stands where reading stopped"));
        }
        // The last line of a file may lack its line feed; then nothing may have been added to it.
        if self.of_lines && !last.ends_with(self.line_feed.bytes()) {
            let mut next = [0];
            if stream.read(&mut next).map_err(failed)? > 0 {
                return Err(self.replaced("no line ends where reading stopped"));
            }
        }
        Ok((head, last))
    }

    /// How many lines end before an offset.
    pub(super) fn count_lines(&self, offset: u64) -> io::Result<u64> {
        let (stream, _) = self.open_bytes(None).map_err(io::Error::other)?;
        let mut stream = stream.take(offset);
        // An even number of bytes at a time: a line feed may be a pair.
        let mut piece = Vec::with_capacity(COUNTED_READ_BYTES);
        let line_feed = self.line_feed.bytes();
        let mut count = 0;
        loop {
            piece.clear();
            stream.by_ref().take(COUNTED_READ_BYTES as u64).read_to_end(&mut piece)?;
            count += match line_feed {
                [_] => memchr_iter(b'\n', &piece).count() as u64,
                pair => piece.chunks_exact(2).filter(|it| *it == pair).count() as u64,
            };
            if piece.len() < COUNTED_READ_BYTES {
                return Ok(count);
            }
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
