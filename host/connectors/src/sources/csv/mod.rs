//! Rows of delimited text as records: each becomes a JSON object, so that all that comes behind
//! works as it does on lines.
//!
//! Where a row ends depends on nothing but the bytes from its start on. That makes a replay exact:
//! whoever starts behind a row finds the rows that a reader from the file's start found.

pub(crate) mod reader;
pub(crate) mod row;
mod table;

use std::{collections::BTreeMap, io, sync::Arc};

use super::{
    encoding::TextEncoding,
    files::SourceFile,
    fingerprint::Head,
    lines::{Stream, broken},
};
use table::{Columns, ColumnsError, Rows};
use tidegate_core::source::SourceError;

/// How delimited text is to be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CsvFormat {
    /// Where the columns' names come from.
    pub columns: CsvColumns,
    /// What columns hold, by their names. All others hold text.
    pub types: BTreeMap<String, CsvType>,
    /// What stands between two fields: an ASCII character.
    pub delimiter: u8,
    /// What stands around a field that has a delimiter, a line break or this in it, which is then
    /// doubled: an ASCII character. Without it nothing is quoted.
    pub quote: Option<u8>,
    /// Whether spaces and tabs around a value are taken away.
    pub trim: bool,
    /// What a field without a value is.
    pub empty: CsvEmpty,
    /// What becomes of a value that is not of its column's type.
    pub mismatch: CsvMismatch,
    /// The character set of the file. Positions are offsets in the bytes as they stand.
    pub encoding: TextEncoding,
}

impl Default for CsvFormat {
    /// As RFC 4180 has it, with a header.
    fn default() -> Self {
        CsvFormat {
            columns: CsvColumns::default(),
            types: BTreeMap::new(),
            delimiter: b',',
            quote: Some(b'"'),
            trim: false,
            empty: CsvEmpty::default(),
            mismatch: CsvMismatch::default(),
            encoding: TextEncoding::default(),
        }
    }
}

/// Where the columns' names come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CsvColumns {
    /// From each file's first row.
    #[default]
    Header,
    /// From here, in order.
    Named {
        /// The names.
        names: Vec<String>,
        /// Whether a file's first row is a header all the same, and no record.
        skip_header: bool,
    },
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CsvType {
    /// Text.
    String,
    /// A whole number, written as in JSON, of any length.
    Integer,
    /// A number, written as in JSON.
    Number,
    /// `true` or `false`.
    Boolean,
}

/// What a field without a value is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CsvEmpty {
    /// No member of the record.
    #[default]
    Missing,
    /// A null.
    Null,
    /// Text of no characters, which is of no type but [`CsvType::String`].
    Text,
}

/// What becomes of a value that is not of its column's type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CsvMismatch {
    /// Its row is a dead letter.
    #[default]
    Reject,
    /// It is left as text.
    Text,
}

/// A file of rows.
pub(super) struct CsvFile {
    file: Arc<SourceFile>,
    format: Arc<CsvFormat>,
}

impl CsvFile {
    pub(super) fn new(mut file: SourceFile, format: Arc<CsvFormat>) -> Self {
        file.line_feed = format.encoding.line_feed();
        CsvFile { file: Arc::new(file), format }
    }
}

impl Stream for CsvFile {
    type Loader = Rows;

    fn open(&self, after: Option<(u64, &str)>) -> Result<(Rows, Head), SourceError> {
        let (chunks, _) = self.file.open(None)?;
        let mut rows = Rows::new(chunks, &self.format, self.file.clone(), 0);
        // Also where reading goes on in the middle: nothing else knows what the columns are.
        let columns = Columns::read(&mut rows, &self.format).map_err(|error| match error {
            ColumnsError::Failed(error) => self.file.failed(0, error),
            ColumnsError::Unusable(reason) => {
                let path = self.file.path.display();
                broken(format!("the columns of `{path}` are not clear: {reason}"), None)
            }
        })?;
        let mut head = Head::default();
        if let Some((offset, _)) = after {
            let (chunks, known) = self.file.open(after)?;
            rows = Rows::new(chunks, &self.format, self.file.clone(), offset);
            head = known;
        }
        rows.set_columns(columns);
        Ok((rows, head))
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

impl CsvType {
    pub(in crate::sources) fn name(self) -> &'static str {
        match self {
            CsvType::String => "text",
            CsvType::Integer => "integer",
            CsvType::Number => "number",
            CsvType::Boolean => "boolean",
        }
    }

    /// Whether a text is one of its values, as JSON writes it.
    pub(in crate::sources) fn admits(self, text: &str) -> bool {
        match self {
            CsvType::String => true,
            CsvType::Boolean => matches!(text, "true" | "false"),
            CsvType::Integer => is_number(text) && !text.contains(['.', 'e', 'E']),
            CsvType::Number => is_number(text),
        }
    }
}

pub(crate) fn is_number(text: &str) -> bool {
    let digit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_digit);
    let bytes = text.as_bytes();
    // White space around it is no part of a number, and nothing else begins and ends like one.
    (digit(bytes.first()) || bytes.first() == Some(&b'-'))
        && digit(bytes.last())
        && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}
