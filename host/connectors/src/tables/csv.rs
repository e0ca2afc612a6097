//! A table as delimited text: each row becomes a JSON object of the columns that are kept.

use std::io::{self, Read};

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
        reader::{Next, RowReader},
        row::{RowKind, RowParser},
    },
};

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
        CsvColumns::Header => header(&mut rows, format)?,
    };
    let columns = Columns::new(&schema, &header, format.trim, nulls)?;
    // Within a row that is written here, columns are told by their numbers.
    let paths: Vec<Path> =
        (0..schema.columns().len()).map(|place| Path::keys([place.to_string().as_str()])).collect();
    let mut intake = Intake::new(schema, &paths, Counted::Lines)?;
    let mut object = Vec::new();
    let mut validator = Validator::default();
    while let Some(RowAt { kind, line, is_text }) = rows.next()? {
        let written = match kind {
            RowKind::Blank => continue,
            _ if !is_text => Err(format!("it is not {}", format.encoding.name())),
            RowKind::BrokenQuote => Err("a quote is out of place".to_owned()),
            RowKind::TooLarge => Err(format!("it is longer than {ROW_BYTES_MAX} bytes")),
            RowKind::Fields => columns.write(rows.reader.parser(), &mut validator, &mut object),
        };
        match written {
            Ok(()) => intake.take(&object, line)?,
            Err(reason) => intake.fault(line, &reason),
        }
    }
    Ok(intake)
}

/// The names that the first row gives.
fn header(rows: &mut Rows, format: &CsvTable) -> Result<Vec<String>, TableError> {
    let unusable = |what: &str| {
        TableError::Columns(format!("its header {what}: correct it, or name the columns"))
    };
    let no_text = || unusable(&format!("is not {}", format.encoding.name()));
    loop {
        let Some(RowAt { kind, is_text, .. }) = rows.next()? else {
            return Err(unusable("is missing, for the file is empty"));
        };
        match kind {
            RowKind::Blank => {}
            _ if !is_text => return Err(no_text()),
            RowKind::BrokenQuote => return Err(unusable("has a quote out of place")),
            RowKind::TooLarge => return Err(unusable("is too large")),
            RowKind::Fields => break,
        }
    }
    let names = rows.reader.parser().fields().map(|field| {
        let name = std::str::from_utf8(field).map_err(|_| no_text())?;
        Ok(trimmed(name, format.trim).to_owned())
    });
    names.collect()
}

fn trimmed(text: &str, trim: bool) -> &str {
    if trim { text.trim_matches([' ', '\t']) } else { text }
}

/// The rows of a file, and their lines.
struct Rows {
    reader: RowReader,
    lines_done: u64,
}

/// A row, whose fields the parser has.
struct RowAt {
    kind: RowKind,
    /// The line that it begins on.
    line: u64,
    is_text: bool,
}

impl Rows {
    fn new(stream: Box<dyn Read + Send>, format: &CsvTable) -> Self {
        let chunks = ChunkLoader::new(stream, 0, ROW_BYTES_MAX, false);
        let parser = RowParser::new(format.delimiter, format.quote);
        let reader = RowReader::new(chunks, parser, format.encoding, 0, ROW_BYTES_MAX);
        Rows { reader, lines_done: 0 }
    }

    fn next(&mut self) -> io::Result<Option<RowAt>> {
        loop {
            let line = self.lines_done + 1;
            match self.reader.next() {
                Next::Row(row) => {
                    let is_text = self.reader.is_text(row);
                    self.lines_done += self.reader.pass(row);
                    return Ok(Some(RowAt { kind: row.kind, line, is_text }));
                }
                Next::CutOff(chunk) => {
                    self.lines_done += 1;
                    self.reader.pass_cut_off(&chunk);
                    return Ok(Some(RowAt { kind: RowKind::TooLarge, line, is_text: true }));
                }
                Next::Unknown => self.reader.fetch(|_| ())?,
                Next::End => return Ok(None),
            }
        }
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
