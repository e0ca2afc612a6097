//! Whole files as records.

use std::{
    io::{self, Read},
    sync::Arc,
};

use async_trait::async_trait;
use bytes::Bytes;
use tidegate_core::{
    Position, RecordBatch,
    record::Defect,
    source::{ReadLimit, ReadOutcome, Reader, Resume, SourceError},
};
use xxhash_rust::xxh3::Xxh3;

use super::{
    compression::{Compression, is_damage},
    files::SourceFile,
    lines::Stream,
};
use crate::blocking::off_task;

/// The position of the one record that a file is.
const POSITION: Position = Position::from_offset(1);

/// Reads a file as one record.
pub(super) struct WholeFileReader {
    file: Arc<SourceFile>,
    done: bool,
    token: String,
}

impl WholeFileReader {
    /// Opens a file, whose content must be the token's if it has been read before.
    pub(super) fn open(file: SourceFile, after: Option<&Resume>) -> Result<Self, SourceError> {
        let mut token = String::new();
        if let Some(resume) = after {
            token = file.load()?.token;
            if token != resume.token {
                return Err(file.replaced("its content differs"));
            }
        } else {
            // Missing files are told of here, and not when somebody reads.
            file.raw().map_err(|error| file.failed(0, error))?;
        }
        Ok(WholeFileReader { file: Arc::new(file), done: after.is_some(), token })
    }
}

#[async_trait]
impl Reader for WholeFileReader {
    async fn read(&mut self, limit: ReadLimit) -> Result<ReadOutcome, SourceError> {
        if self.done || limit.until.is_some_and(|until| until < POSITION) {
            return Ok(ReadOutcome::Ended);
        }
        let file = self.file.clone();
        let content = off_task(true, move || Ok(file.load()))
            .await
            .map_err(|error| self.file.failed(0, error))??;
        self.done = true;
        self.token = content.token;
        let kept = content.bytes.len();
        let mut defects = Vec::new();
        match content.damage {
            Some(message) => {
                defects.push(Defect { row: 0, code: "not-decompressible", message });
            }
            None => defects.extend(self.file.limits.defect(0, content.length, kept)),
        }
        Ok(ReadOutcome::Records(RecordBatch {
            bytes: content.bytes,
            spans: vec![(0, kept as u32)],
            positions: vec![POSITION],
            defects,
            ..RecordBatch::default()
        }))
    }

    fn token(&self, _position: Position) -> String {
        self.token.clone()
    }
}

/// A file's content, or as much of it as may be kept.
struct Content {
    bytes: Bytes,
    length: u64,
    /// The content's length and hash.
    token: String,
    /// Set where the bytes are the compressed ones, because they can't be decompressed.
    damage: Option<String>,
}

impl SourceFile {
    fn load(&self) -> Result<Content, SourceError> {
        match self.load_as(self.compression) {
            Ok(content) => Ok(content),
            Err(error) if is_damage(&error) => {
                let format = self.compression.of(&self.path).name();
                let message = format!(
                    "the file can't be decompressed as {format}, and stands here as it is: {error}"
                );
                let raw = self.load_as(Compression::Plain);
                let raw = raw.map_err(|error| self.failed(0, error))?;
                Ok(Content { damage: Some(message), ..raw })
            }
            Err(error) => Err(self.failed(0, error)),
        }
    }

    fn load_as(&self, compression: Compression) -> io::Result<Content> {
        let mut stream = self.decompressed(compression)?;
        let mut bytes = Vec::new();
        let kept_max = self.limits.payload_bytes_max as u64;
        let mut length = (&mut stream).take(kept_max).read_to_end(&mut bytes)? as u64;
        let mut hash = Xxh3::new();
        hash.update(&bytes);
        let mut rest = vec![0; 64 << 10];
        loop {
            match stream.read(&mut rest) {
                Ok(0) => break,
                Ok(n) => {
                    hash.update(&rest[..n]);
                    length += n as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let token = format!("{length}:{:032x}", hash.digest128());
        Ok(Content { bytes: bytes.into(), length, token, damage: None })
    }
}
