//! Standard input as a source: lines that can be read once.

use std::{
    io,
    sync::{Mutex, PoisonError},
};

use async_trait::async_trait;
use tidegate_core::{
    Source,
    source::{Partition, PartitionId, Reader, Replay, Resume, SourceError, SourceErrorKind},
};
use tokio::task::JoinHandle;

use super::{
    chunks::ChunkLoader,
    compression::{Compression, is_damage},
    fingerprint::Head,
    lines::{LineLimits, LineReader, Loaded, Stream, broken},
};

/// How to read standard input.
#[derive(Clone, Debug)]
pub struct StandardInputConfig {
    /// The source's name.
    pub name: String,
    /// What tells this run from others: the partition is `stdin:<run>`, for what the last run was
    /// given has nothing to do with what this one is given.
    pub run: String,
    /// How the stream is compressed; by extension is plain.
    pub compression: Compression,
    /// How large a record may be.
    pub limits: LineLimits,
}

/// Reads lines from standard input, at most once: what was read is gone, and a crash before its
/// commit loses it.
pub struct StandardInput {
    config: StandardInputConfig,
    input: Mutex<Option<Box<dyn io::Read + Send>>>,
}

impl StandardInput {
    /// The process's standard input.
    pub fn new(config: StandardInputConfig) -> Self {
        Self::from_reader(config, io::stdin())
    }

    /// The same over any stream.
    pub fn from_reader(
        mut config: StandardInputConfig,
        input: impl io::Read + Send + 'static,
    ) -> Self {
        config.limits = config.limits.clamped();
        StandardInput { config, input: Mutex::new(Some(Box::new(input))) }
    }
}

#[async_trait]
impl Source for StandardInput {
    fn name(&self) -> &str {
        &self.config.name
    }

    fn replay(&self) -> Replay {
        Replay::Never
    }

    async fn partitions(&self) -> Result<Vec<Partition>, SourceError> {
        let id = PartitionId(format!("stdin:{}", self.config.run).into());
        Ok(vec![Partition { id, parents: Vec::new(), hash_range: None }])
    }

    async fn open(
        &self,
        _partition: &PartitionId,
        _after: Option<&Resume>,
    ) -> Result<Box<dyn Reader>, SourceError> {
        let input = self.input.lock().unwrap_or_else(PoisonError::into_inner).take();
        let gone = || SourceError::plain(SourceErrorKind::Trimmed, "standard input is read once");
        let stream = Input { compression: self.config.compression };
        let decoded = self
            .config
            .compression
            .decode(input.ok_or_else(gone)?)
            .map_err(|error| stream.failed(0, error))?;
        let limits = self.config.limits;
        let loader = ChunkLoader::new(decoded, 0, limits.payload_bytes_max, true);
        Ok(Box::new(LineReader::new(stream, limits, None, (loader, Head::default()))))
    }
}

struct Input {
    compression: Compression,
}

impl Stream for Input {
    type Loader = ChunkLoader;

    fn open(&self, _after: Option<(u64, &str)>) -> Result<(ChunkLoader, Head), SourceError> {
        Err(SourceError::plain(SourceErrorKind::Trimmed, "standard input is read once"))
    }

    fn failed(&self, offset: u64, error: io::Error) -> SourceError {
        let what = if is_damage(&error) { "decompressed" } else { "read" };
        let format = self.compression.name();
        broken(
            format!("standard input ({format}) can't be {what} behind byte {offset}"),
            Some(error),
        )
    }

    /// On a thread of its own: a runtime waits at its end for those that it lends, and this one
    /// waits for somebody to type.
    fn run(
        &self,
        load: impl FnOnce() -> Loaded<ChunkLoader> + Send + 'static,
    ) -> JoinHandle<Loaded<ChunkLoader>> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || drop(sender.send(load())));
        tokio::spawn(async move { receiver.await.expect("the thread answers unless it panics") })
    }
}
