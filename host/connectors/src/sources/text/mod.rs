//! Lines of text as records: converted to UTF-8 where they are in another character set, and taken
//! apart by a pattern where one is given.

mod lines;
#[cfg(feature = "text")]
mod pattern;

use std::{io, sync::Arc};

use tidegate_core::source::SourceError;

use super::{encoding::TextEncoding, files::SourceFile, fingerprint::Head, lines::Stream};
use lines::TextLines;
#[cfg(feature = "text")]
pub use pattern::{LinePattern, PatternError, PatternText};

/// How lines are to be understood.
#[derive(Clone, Debug)]
pub struct TextFormat {
    /// The character set that they are in. Positions are offsets in the bytes as they stand.
    pub encoding: TextEncoding,
    /// What a line is made into.
    pub form: TextForm,
}

/// What a line is made into.
#[derive(Clone, Debug)]
pub enum TextForm {
    /// Nothing: it is JSON.
    Json,
    /// An object with what a pattern has found as members.
    #[cfg(feature = "text")]
    Fields(Arc<LinePattern>),
}

/// A file of lines of text.
pub(super) struct TextFile {
    file: Arc<SourceFile>,
    format: Arc<TextFormat>,
}

impl TextFile {
    pub(super) fn new(mut file: SourceFile, format: Arc<TextFormat>) -> Self {
        file.line_feed = format.encoding.line_feed();
        TextFile { file: Arc::new(file), format }
    }
}

impl Stream for TextFile {
    type Loader = TextLines;

    fn open(&self, after: Option<(u64, &str)>) -> Result<(TextLines, Head), SourceError> {
        let (chunks, head) = self.file.open(after)?;
        let offset = after.map_or(0, |(offset, _)| offset);
        let lines = TextLines::new(chunks, self.format.clone(), self.file.clone(), offset);
        Ok((lines, head))
    }

    fn failed(&self, offset: u64, error: io::Error) -> SourceError {
        self.file.failed(offset, error)
    }

    fn version(&self) -> u64 {
        self.file.version()
    }

    async fn changed(&self, since: u64) {
        self.file.changed(since).await;
    }

    fn reached(&self, offset: u64, token: impl FnOnce() -> String) {
        self.file.reached(offset, token);
    }

    fn ended(&self) {
        self.file.ended();
    }
}
