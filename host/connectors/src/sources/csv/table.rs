//! Rows into JSON objects, a table of them at a time. Blocking; runs off the tasks' threads.

use std::{collections::BTreeSet, io, sync::Arc};

use bytes::{BufMut, Bytes, BytesMut};
use memchr::memchr_iter;

use super::{
    CsvColumns, CsvEmpty, CsvFormat, CsvMismatch, CsvType,
    row::{Row, RowKind, RowParser},
};
use crate::sources::{
    chunks::{Chunk, ChunkLoader},
    files::SourceFile,
    fingerprint::{HEAD_BYTES_MAX, tail},
    lines::{BYTE_ORDER_MARK, Loader},
    records::{Buffers, Fault, TABLE_BYTES, Table},
};

/// Reads the rows of a file.
pub(in crate::sources) struct Rows {
    file: Arc<SourceFile>,
    chunks: ChunkLoader,
    parser: RowParser,
    columns: Columns,
    /// Whole lines; those before `done` have become records.
    raw: Vec<u8>,
    done: usize,
    /// Where `done` stands in the file.
    offset: u64,
    /// A line that is too large to keep; it comes behind `raw`.
    cut_off: Option<Chunk>,
    ended: bool,
    /// Where reading began, and how many lines stand before that, once somebody has asked.
    opened_at: u64,
    lines_before: Option<u64>,
    /// How many lines have been read since.
    lines_done: u64,
    /// What was read first, as far as fingerprints go.
    head: Vec<u8>,
    buffers: Buffers,
}

/// What comes next.
enum Next {
    Row(Row),
    /// A line of which only the beginning was kept.
    CutOff(Chunk),
    /// Not known before more has been read.
    Unknown,
    End,
}

impl Rows {
    /// Reads chunks whose first byte stands at an offset, at the start of a row.
    pub(super) fn new(
        chunks: ChunkLoader,
        parser: RowParser,
        file: Arc<SourceFile>,
        offset: u64,
    ) -> Self {
        Rows {
            file,
            chunks,
            parser,
            columns: Columns::default(),
            raw: Vec::new(),
            done: 0,
            offset,
            cut_off: None,
            ended: false,
            opened_at: offset,
            lines_before: (offset == 0).then_some(0),
            lines_done: 0,
            head: Vec::new(),
            buffers: Buffers::default(),
        }
    }

    /// Says what the columns are.
    pub(super) fn set_columns(&mut self, columns: Columns) {
        self.columns = columns;
    }

    /// Reads on.
    fn fetch(&mut self) -> io::Result<()> {
        let Some(chunk) = self.chunks.chunk()? else {
            self.ended = true;
            return Ok(());
        };
        if self.opened_at + (self.head.len() as u64) == chunk.offset {
            let missing = HEAD_BYTES_MAX.saturating_sub(chunk.offset as usize);
            self.head.extend_from_slice(&chunk.bytes[..chunk.bytes.len().min(missing)]);
        }
        if chunk.cut_off.is_some() {
            self.cut_off = Some(chunk);
            return Ok(());
        }
        self.raw.drain(..self.done);
        self.raw.extend_from_slice(&chunk.bytes);
        self.done = 0;
        if chunk.offset == 0 && self.raw.starts_with(BYTE_ORDER_MARK) {
            self.done = BYTE_ORDER_MARK.len();
            self.offset = self.done as u64;
        }
        self.chunks.take_back(chunk.bytes);
        Ok(())
    }

    fn next(&mut self) -> Next {
        let complete = self.ended || self.cut_off.is_some();
        let row_bytes_max = self.file.limits.record_bytes_max;
        match self.parser.row(&self.raw[self.done..], complete, row_bytes_max) {
            Some(row) => Next::Row(row),
            None => match self.cut_off.take() {
                Some(chunk) => Next::CutOff(chunk),
                None if self.ended => Next::End,
                None => Next::Unknown,
            },
        }
    }

    /// Goes behind a row.
    fn pass(&mut self, row: Row) {
        let line_feeds = memchr_iter(b'\n', &self.raw[self.done..self.done + row.end]).count();
        self.lines_done += line_feeds as u64;
        self.done += row.end;
        self.offset += row.end as u64;
    }

    fn pass_cut_off(&mut self, end: u64) {
        self.lines_done += 1;
        self.offset = end;
    }

    /// The number of the line that comes next. Only bad lines ask, so that a reader that starts in
    /// the middle of a good file does not read what lies before.
    fn line_number(&mut self) -> io::Result<u64> {
        let before = match self.lines_before {
            Some(before) => before,
            None => self.file.count_lines(self.opened_at)?,
        };
        self.lines_before = Some(before);
        Ok(before + self.lines_done + 1)
    }

    /// Makes a record of a row, or says why it is none; its bytes are then those of the file.
    fn write(&mut self, row: Row, output: &mut BytesMut) -> io::Result<Option<Fault>> {
        let start = output.len();
        let limits = self.file.limits;
        let mut fault = match row.kind {
            RowKind::Fields => self.columns.write(&self.parser, output).err(),
            RowKind::Blank | RowKind::TooLarge => None,
            RowKind::BrokenQuote => Some(broken_quote(limits.record_bytes_max)),
        };
        let bytes = match row.kind {
            RowKind::TooLarge => row.length,
            _ => output.len() - start,
        };
        if fault.is_none() {
            fault = limits.defect(0, bytes as u64, bytes).map(|it| Fault::new(it.code, it.message));
        }
        if let Some(fault) = &mut fault {
            output.truncate(start);
            output.extend_from_slice(&self.raw[self.done..self.done + row.length]);
            fault.message = format!("line {}: {}", self.line_number()?, fault.message);
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
            match self.next() {
                Next::Row(row) if row.kind == RowKind::Blank => self.pass(row),
                Next::Row(row) => {
                    let fault = self.write(row, &mut output)?;
                    // One that no chunk might hold has none.
                    let known = row.length <= self.file.limits.payload_bytes_max;
                    let tail = known.then(|| tail(&self.raw[self.done..self.done + row.end]));
                    self.pass(row);
                    table.push(start, output.len(), (self.offset, tail), fault);
                }
                Next::CutOff(chunk) => {
                    output.extend_from_slice(&chunk.bytes);
                    let line = self.line_number()?;
                    let fault = chunk.cut_off.and_then(|cut_off| {
                        self.pass_cut_off(cut_off.end);
                        self.file.limits.defect(0, cut_off.line_bytes, chunk.bytes.len())
                    });
                    let fault =
                        fault.map(|it| Fault::new(it.code, format!("line {line}: {}", it.message)));
                    table.push(start, output.len(), (self.offset, None), fault);
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
        table.head = (self.opened_at, self.head.clone());
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
            (CsvColumns::Header, Some((row, line))) => columns.names(rows, row, line)?,
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
    fn names(&self, rows: &Rows, row: Row, line: u64) -> Result<Vec<String>, ColumnsError> {
        let unusable = |what: &str| {
            let remedy = "correct it, or name the columns in the config";
            ColumnsError::Unusable(format!("its header, line {line}, {what}: {remedy}"))
        };
        match row.kind {
            RowKind::Fields => {}
            RowKind::BrokenQuote => return Err(unusable("has a quote out of place")),
            RowKind::Blank | RowKind::TooLarge => return Err(unusable("is too large")),
        }
        let mut names = Vec::new();
        let mut seen = BTreeSet::new();
        for (i, field) in rows.parser.fields().enumerate() {
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

/// The first row, and the number of its line.
fn read_header(rows: &mut Rows) -> Result<Option<(Row, u64)>, ColumnsError> {
    loop {
        match rows.next() {
            Next::Row(row) => {
                let line = rows.lines_done + 1;
                rows.pass(row);
                if row.kind != RowKind::Blank {
                    return Ok(Some((row, line)));
                }
            }
            Next::CutOff(chunk) => {
                let line = rows.lines_done + 1;
                let end = chunk.cut_off.map_or(chunk.offset, |it| it.end);
                rows.pass_cut_off(end);
                let row = Row { length: 0, end: 0, kind: RowKind::TooLarge };
                return Ok(Some((row, line)));
            }
            Next::Unknown => rows.fetch().map_err(ColumnsError::Failed)?,
            Next::End => return Ok(None),
        }
    }
}
