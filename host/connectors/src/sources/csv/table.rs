//! Rows into JSON objects, a table of them at a time. Blocking; runs off the tasks' threads.

use std::{collections::BTreeSet, io, sync::Arc};

use bytes::{BufMut, Bytes, BytesMut};

use super::{
    CsvColumns, CsvEmpty, CsvFormat, CsvMismatch, CsvType,
    reader::{Next, RowReader},
    row::{Row, RowKind, RowParser},
};
use crate::sources::{
    chunks::{Chunk, ChunkLoader},
    encoding::TextEncoding,
    files::SourceFile,
    fingerprint::tail,
    lines::{LineLimits, Loader},
    progress::LineProgress,
    records::{Buffers, Fault, TABLE_BYTES, Table},
};

/// Reads the rows of a file.
pub(in crate::sources) struct Rows {
    reader: RowReader,
    progress: LineProgress,
    encoding: TextEncoding,
    limits: LineLimits,
    columns: Columns,
    buffers: Buffers,
}

impl Rows {
    /// Reads chunks whose first byte stands at an offset, at the start of a row.
    pub(super) fn new(
        chunks: ChunkLoader,
        format: &CsvFormat,
        file: Arc<SourceFile>,
        offset: u64,
    ) -> Self {
        let parser = RowParser::new(format.delimiter, format.quote);
        let (encoding, limits) = (format.encoding, file.limits);
        Rows {
            reader: RowReader::new(chunks, parser, encoding, offset, limits.record_bytes_max),
            progress: LineProgress::new(file, offset),
            encoding,
            limits,
            columns: Columns::default(),
            buffers: Buffers::default(),
        }
    }

    /// Says what the columns are.
    pub(super) fn set_columns(&mut self, columns: Columns) {
        self.columns = columns;
    }

    fn fetch(&mut self) -> io::Result<()> {
        self.reader.fetch(|chunk| self.progress.read(chunk))
    }

    fn pass(&mut self, row: Row) {
        self.progress.pass(self.reader.pass(row));
    }

    fn pass_cut_off(&mut self, chunk: &Chunk) {
        self.progress.pass(1);
        self.reader.pass_cut_off(chunk);
    }

    /// Makes a record of a row, or says why it is none; its bytes are then those of the file.
    fn write(&mut self, row: Row, output: &mut BytesMut) -> io::Result<Option<Fault>> {
        let start = output.len();
        let mut fault = match row.kind {
            RowKind::Blank | RowKind::TooLarge => None,
            _ if !self.reader.is_text(row) => Some(self.encoding.fault()),
            RowKind::Fields => self.columns.write(self.reader.parser(), output).err(),
            RowKind::BrokenQuote => Some(broken_quote(self.limits.record_bytes_max)),
        };
        let bytes = match row.kind {
            RowKind::TooLarge => row.length,
            _ => output.len() - start,
        };
        if fault.is_none() {
            let defect = self.limits.defect(0, bytes as u64, bytes);
            fault = defect.map(|it| Fault::new(it.code, it.message));
        }
        if let Some(fault) = &mut fault {
            output.truncate(start);
            output.extend_from_slice(self.reader.original_content(row));
            fault.message = format!("line {}: {}", self.progress.line_number()?, fault.message);
        }
        Ok(fault)
    }
}

impl Loader for Rows {
    type Piece = Table;

    fn load(&mut self) -> io::Result<Option<Table>> {
        let mut table = Table::default();
        let mut output = self.buffers.take();
        output.reserve(TABLE_BYTES * 9 / 8);
        while output.len() < TABLE_BYTES {
            let start = output.len();
            match self.reader.next() {
                Next::Row(row) if row.kind == RowKind::Blank => self.pass(row),
                Next::Row(row) => {
                    let fault = self.write(row, &mut output)?;
                    // One that no chunk might hold has none.
                    let original = self.reader.original(row);
                    let known = original.len() <= self.limits.payload_bytes_max;
                    let tail = known.then(|| tail(original));
                    self.pass(row);
                    table.push(start, output.len(), (self.reader.offset(), tail), fault);
                }
                Next::CutOff(chunk) => {
                    output.extend_from_slice(&chunk.bytes);
                    let line = self.progress.line_number()?;
                    self.pass_cut_off(&chunk);
                    let fault = chunk.cut_off.and_then(|cut_off| {
                        self.limits.defect(0, cut_off.line_bytes, chunk.bytes.len())
                    });
                    let fault =
                        fault.map(|it| Fault::new(it.code, format!("line {line}: {}", it.message)));
                    table.push(start, output.len(), (self.reader.offset(), None), fault);
                }
                // What is there is returned before a read can fail.
                Next::Unknown if !table.is_empty() => break,
                Next::Unknown => self.fetch()?,
                Next::End => break,
            }
        }
        if table.is_empty() {
            return Ok(None);
        }
        table.bytes = output.freeze();
        table.head = self.progress.head();
        Ok(Some(table))
    }

    fn retire(&mut self, bytes: Bytes) {
        self.buffers.give(bytes);
    }
}

fn broken_quote(row_bytes_max: usize) -> Fault {
    let message = format!(
        "a quote is out of place: what is quoted is quoted up to a delimiter or the line's end, \
         has its quotes doubled, and is no longer than {row_bytes_max} bytes"
    );
    Fault::new("csv-broken-quote", message)
}

/// What a row's fields become.
#[derive(Default)]
pub(super) struct Columns {
    list: Vec<Column>,
    trim: bool,
    empty: CsvEmpty,
    mismatch: CsvMismatch,
}

struct Column {
    name: String,
    /// The name as a member's, with the colon.
    member: Vec<u8>,
    holds: CsvType,
}

/// Why there are no columns.
pub(super) enum ColumnsError {
    /// The file can't be read.
    Failed(io::Error),
    /// The file's header or the config is wrong.
    Unusable(String),
}

impl Columns {
    /// The columns of a file whose first row comes next.
    pub(super) fn read(rows: &mut Rows, format: &CsvFormat) -> Result<Self, ColumnsError> {
        let header = match format.columns {
            CsvColumns::Named { skip_header: false, .. } => None,
            _ => read_header(rows)?,
        };
        let mut columns = Columns {
            list: Vec::new(),
            trim: format.trim,
            empty: format.empty,
            mismatch: format.mismatch,
        };
        let names = match (&format.columns, header) {
            (CsvColumns::Named { names, .. }, _) => names.clone(),
            (CsvColumns::Header, Some(header)) => columns.names(rows, header)?,
            // An empty file has no rows either.
            (CsvColumns::Header, None) => return Ok(columns),
        };
        if let Some(name) = format.types.keys().find(|name| !names.contains(name)) {
            let reason = format!("`types` names a column `{name}`, and there is none");
            return Err(ColumnsError::Unusable(reason));
        }
        for name in names {
            let mut member = serde_json::to_vec(&name).expect("a text can be written as JSON");
            member.push(b':');
            let holds = format.types.get(&name).copied().unwrap_or(CsvType::String);
            columns.list.push(Column { name, member, holds });
        }
        Ok(columns)
    }

    /// The names that a header gives. It may be a row of values by mistake, so none is told.
    fn names(
        &self,
        rows: &Rows,
        Header { kind, line, is_text }: Header,
    ) -> Result<Vec<String>, ColumnsError> {
        let unusable = |what: &str| {
            let remedy = "correct it, or name the columns in the config";
            ColumnsError::Unusable(format!("its header, line {line}, {what}: {remedy}"))
        };
        match kind {
            _ if !is_text => return Err(unusable(&format!("is not {}", rows.encoding.name()))),
            RowKind::Fields => {}
            RowKind::BrokenQuote => return Err(unusable("has a quote out of place")),
            RowKind::Blank | RowKind::TooLarge => return Err(unusable("is too large")),
        }
        let mut names = Vec::new();
        let mut seen = BTreeSet::new();
        for (i, field) in rows.reader.parser().fields().enumerate() {
            let name = std::str::from_utf8(field).map_err(|_| unusable("is not UTF-8"))?;
            let name = self.value(name).to_owned();
            if name.is_empty() {
                return Err(unusable(&format!("has no name for column {}", i + 1)));
            }
            if !seen.insert(name.clone()) {
                let what = format!("gives column {} the name of one before", i + 1);
                return Err(unusable(&what));
            }
            names.push(name);
        }
        Ok(names)
    }

    fn value<'t>(&self, text: &'t str) -> &'t str {
        if self.trim { text.trim_matches([' ', '\t']) } else { text }
    }

    /// Writes the parser's row as a JSON object.
    fn write(&self, parser: &RowParser, output: &mut BytesMut) -> Result<(), Fault> {
        let fields = parser.fields();
        if fields.len() != self.list.len() {
            let (found, expected) = (fields.len(), self.list.len());
            let message = format!(
                "the row has {found} fields, and there are {expected} columns: a value with a \
                 delimiter in it has to be quoted"
            );
            return Err(Fault::new("csv-field-count", message));
        }
        let mut before = b'{';
        for (i, (column, field)) in self.list.iter().zip(fields).enumerate() {
            let text = std::str::from_utf8(field).map_err(|_| {
                let message = format!("field {} is not UTF-8: convert the file", i + 1);
                Fault::new("csv-invalid-utf8", message)
            })?;
            let text = self.value(text);
            if text.is_empty() && self.empty == CsvEmpty::Missing {
                continue;
            }
            output.put_u8(before);
            before = b',';
            output.extend_from_slice(&column.member);
            if text.is_empty() && self.empty == CsvEmpty::Null {
                output.extend_from_slice(b"null");
            } else if column.holds != CsvType::String && column.holds.admits(text) {
                output.extend_from_slice(text.as_bytes());
            } else if column.holds == CsvType::String || self.mismatch == CsvMismatch::Text {
                serde_json::to_writer(output.writer(), text)
                    .expect("a text is written as JSON, and a buffer grows");
            } else {
                let (name, kind) = (&column.name, column.holds.name());
                return Err(Fault::new(
                    "csv-wrong-type",
                    format!("column `{name}` holds no {kind}"),
                ));
            }
        }
        if before == b'{' {
            output.put_u8(b'{');
        }
        output.put_u8(b'}');
        Ok(())
    }
}

/// The first row, whose fields the parser has.
struct Header {
    kind: RowKind,
    /// The number of its line.
    line: u64,
    is_text: bool,
}

fn read_header(rows: &mut Rows) -> Result<Option<Header>, ColumnsError> {
    loop {
        match rows.reader.next() {
            Next::Row(row) => {
                let is_text = rows.reader.is_text(row);
                let line = rows.progress.line_number().map_err(ColumnsError::Failed)?;
                rows.pass(row);
                if row.kind != RowKind::Blank {
                    return Ok(Some(Header { kind: row.kind, line, is_text }));
                }
            }
            Next::CutOff(chunk) => {
                let line = rows.progress.line_number().map_err(ColumnsError::Failed)?;
                rows.pass_cut_off(&chunk);
                return Ok(Some(Header { kind: RowKind::TooLarge, line, is_text: true }));
            }
            Next::Unknown => rows.fetch().map_err(ColumnsError::Failed)?,
            Next::End => return Ok(None),
        }
    }
}
