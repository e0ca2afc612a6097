//! A table as delimited text: each row becomes a JSON object of the columns that are kept.

use std::io::{self, Read};

use memchr::memchr_iter;
use tidegate_core::{
    Kind, Path,
    description::TimestampFormat,
    json::{self, Validator},
    lookup::TableSchema,
};

use super::{
    CsvTable, ROW_BYTES_MAX, TableError,
    intake::{Counted, Intake},
};
use crate::sources::{
    CsvColumns,
    chunks::ChunkLoader,
    csv::{
        is_number,
        row::{Row, RowKind, RowParser},
    },
};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Takes all rows of a stream. Empty lines and a byte order mark are passed over.
pub(super) fn read(
    stream: Box<dyn Read + Send>,
    format: &CsvTable,
    nulls: &[String],
    schema: TableSchema,
) -> Result<Intake, TableError> {
    let mut rows = Rows::new(stream, format);
    let header = match &format.columns {
        CsvColumns::Named { names, skip_header } => {
            if *skip_header {
                rows.next()?;
            }
            names.clone()
        }
        CsvColumns::Header => header(&mut rows, format.trim)?,
    };
    let columns = Columns::new(&schema, &header, format.trim, nulls)?;
    // Within a row that is written here, columns are told by their numbers.
    let paths: Vec<Path> =
        (0..schema.columns().len()).map(|place| Path::keys([place.to_string().as_str()])).collect();
    let mut intake = Intake::new(schema, &paths, Counted::Lines)?;
    let mut object = Vec::new();
    let mut validator = Validator::default();
    while let Some((row, line)) = rows.next()? {
        let reason = match row {
            RowKind::Blank => continue,
            RowKind::BrokenQuote => Err("a quote is out of place".to_owned()),
            RowKind::TooLarge => Err(format!("it is longer than {ROW_BYTES_MAX} bytes")),
            RowKind::Fields => columns.write(&rows.parser, &mut validator, &mut object),
        };
        match reason {
            Ok(()) => intake.take(&object, line)?,
            Err(reason) => intake.fault(line, &reason),
        }
    }
    Ok(intake)
}

/// The names that the first row gives.
fn header(rows: &mut Rows, trim: bool) -> Result<Vec<String>, TableError> {
    let unusable = |what: &str| {
        TableError::Columns(format!("its header {what}: correct it, or name the columns"))
    };
    loop {
        match rows.next()? {
            None => return Err(unusable("is missing, for the file is empty")),
            Some((RowKind::Blank, _)) => {}
            Some((RowKind::BrokenQuote, _)) => return Err(unusable("has a quote out of place")),
            Some((RowKind::TooLarge, _)) => return Err(unusable("is too large")),
            Some((RowKind::Fields, _)) => break,
        }
    }
    let names = rows.parser.fields().map(|field| {
        let name = std::str::from_utf8(field).map_err(|_| unusable("is not UTF-8"))?;
        Ok(trimmed(name, trim).to_owned())
    });
    names.collect()
}

fn trimmed(text: &str, trim: bool) -> &str {
    if trim { text.trim_matches([' ', '\t']) } else { text }
}

/// The rows of a file, and their lines.
struct Rows {
    chunks: ChunkLoader,
    parser: RowParser,
    /// Whole lines; those before `done` have been taken.
    raw: Vec<u8>,
    done: usize,
    begun: bool,
    ended: bool,
    lines_done: u64,
}

impl Rows {
    fn new(stream: Box<dyn Read + Send>, format: &CsvTable) -> Self {
        Rows {
            chunks: ChunkLoader::new(stream, 0, ROW_BYTES_MAX, false),
            parser: RowParser::new(format.delimiter, format.quote),
            raw: Vec::new(),
            done: 0,
            begun: false,
            ended: false,
            lines_done: 0,
        }
    }

    /// The next row, whose fields the parser has then, and the line that it begins on.
    fn next(&mut self) -> io::Result<Option<(RowKind, u64)>> {
        loop {
            let row = self.parser.row(&self.raw[self.done..], self.ended, ROW_BYTES_MAX);
            if let Some(Row { end, kind, .. }) = row {
                let line = self.lines_done + 1;
                let passed = &self.raw[self.done..self.done + end];
                self.lines_done += memchr_iter(b'\n', passed).count() as u64;
                self.done += end;
                return Ok(Some((kind, line)));
            }
            if self.ended {
                return Ok(None);
            }
            if let Some(too_large) = self.fetch()? {
                return Ok(Some(too_large));
            }
        }
    }

    /// Reads on. A line that is too large to keep is told at once: the table is refused anyway,
    /// and what stands before it may be told behind it.
    fn fetch(&mut self) -> io::Result<Option<(RowKind, u64)>> {
        let Some(chunk) = self.chunks.chunk()? else {
            self.ended = true;
            return Ok(None);
        };
        if chunk.cut_off.is_some() {
            let pending = memchr_iter(b'\n', &self.raw[self.done..]).count() as u64;
            return Ok(Some((RowKind::TooLarge, self.lines_done + pending + 1)));
        }
        self.raw.drain(..self.done);
        self.raw.extend_from_slice(&chunk.bytes);
        self.done = 0;
        if !self.begun && self.raw.starts_with(BYTE_ORDER_MARK) {
            self.done = BYTE_ORDER_MARK.len();
        }
        self.begun = true;
        self.chunks.take_back(chunk.bytes);
        Ok(None)
    }
}

/// Which fields are kept, and as what.
struct Columns<'s> {
    /// How many fields a row has.
    fields: usize,
    kept: Vec<Kept>,
    trim: bool,
    nulls: &'s [String],
}

/// A field that is kept.
struct Kept {
    name: String,
    field: usize,
    /// What stands before its value in the object.
    before: Vec<u8>,
    written_as: WrittenAs,
}

/// How a field is written in JSON.
#[derive(Clone, Copy)]
enum WrittenAs {
    Text,
    Number,
    Boolean,
    Json,
}

impl<'s> Columns<'s> {
    fn new(
        schema: &TableSchema,
        header: &[String],
        trim: bool,
        nulls: &'s [String],
    ) -> Result<Self, TableError> {
        let mut kept = Vec::new();
        for (place, column) in schema.columns().iter().enumerate() {
            let name = &column.name;
            let mut fields = header.iter().enumerate().filter(|(_, given)| *given == name);
            let Some((field, _)) = fields.next() else {
                let given: Vec<_> = header.iter().map(|name| format!("`{name}`")).collect();
                let reason =
                    format!("it has no column `{name}`: its columns are {}", given.join(", "));
                return Err(TableError::Columns(reason));
            };
            if fields.next().is_some() {
                return Err(TableError::Columns(format!("it has two columns `{name}`")));
            }
            let before = format!("{}\"{place}\":", if place == 0 { "{" } else { "," });
            let written_as = match &column.kind {
                Kind::Boolean => WrittenAs::Boolean,
                Kind::Int64 | Kind::Float64 => WrittenAs::Number,
                Kind::Timestamp(TimestampFormat::Rfc3339) => WrittenAs::Text,
                Kind::Timestamp(_) => WrittenAs::Number,
                Kind::Date | Kind::Utf8 | Kind::Enumeration(_) => WrittenAs::Text,
                Kind::Json => WrittenAs::Json,
            };
            let before = before.into_bytes();
            kept.push(Kept { name: name.clone(), field, before, written_as });
        }
        // Fields come in the order of the file, and rows are written in it.
        Ok(Columns { fields: header.len(), kept, trim, nulls })
    }

    /// Writes the parser's row as an object, or says why it can't be.
    fn write(
        &self,
        parser: &RowParser,
        validator: &mut Validator,
        object: &mut Vec<u8>,
    ) -> Result<(), String> {
        let found = parser.fields().len();
        if found != self.fields {
            let expected = self.fields;
            return Err(format!("it has {found} fields, and there are {expected} columns"));
        }
        object.clear();
        for Kept { name, field, before, written_as } in &self.kept {
            object.extend_from_slice(before);
            let text = std::str::from_utf8(parser.field(*field))
                .map_err(|_| format!("`{name}` is not UTF-8: convert the file"))?;
            let text = trimmed(text, self.trim);
            if self.nulls.iter().any(|null| null == text) {
                object.extend_from_slice(b"null");
                continue;
            }
            let what = match written_as {
                WrittenAs::Text => {
                    json::write_string(text.as_bytes(), object);
                    continue;
                }
                WrittenAs::Number if is_number(text) => "",
                WrittenAs::Number => "a number as JSON writes it",
                WrittenAs::Boolean if matches!(text, "true" | "false") => "",
                WrittenAs::Boolean => "`true` or `false`",
                WrittenAs::Json if validator.validate(text.as_bytes()).is_ok() => "",
                WrittenAs::Json => "JSON",
            };
            if !what.is_empty() {
                return Err(format!(
                    "`{name}` is not {what}: if it stands for no value, say so under `nulls`"
                ));
            }
            object.extend_from_slice(text.as_bytes());
        }
        object.push(b'}');
        Ok(())
    }
}
