//! Writing a file: rows wait column by column until there are enough for a row group.

use std::{fmt, io, sync::Arc};

use bytes::Bytes;
use parquet::{
    data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int32Type, Int64Type},
    errors::ParquetError,
    file::writer::{SerializedColumnWriter, SerializedFileWriter},
};

use super::{Field, Room, Schema};
use crate::{
    column::{Column, Values},
    description::Kind,
};

/// Writes a file, into memory.
pub struct Writer {
    schema: Arc<Schema>,
    /// The file as far as it is encoded; none before its first row group.
    file: Option<Box<SerializedFileWriter<Vec<u8>>>>,
    /// The open row group.
    columns: Vec<Buffer>,
    rows: u64,
    bytes: u64,
    /// Bytes of all rows, before they were encoded.
    pushed_bytes: u64,
}

/// A column's values in the open row group.
#[derive(Debug)]
struct Buffer {
    /// Of the rows that have one.
    values: Values,
    /// 1 for each row with a value, else 0; empty where every row must have one.
    levels: Vec<i16>,
}

impl Writer {
    /// A file without rows.
    pub fn new(schema: Arc<Schema>) -> Self {
        let columns = schema.fields.iter().map(Buffer::new).collect();
        Writer { schema, file: None, columns, rows: 0, bytes: 0, pushed_bytes: 0 }
    }

    /// Takes rows of columns, one for each of the schema's and of its kind, and says how many: all
    /// of them unless there was no room for more, or a row group was finished. What a column can't
    /// have of a row (its presence is not 0) is a null.
    pub fn push(&mut self, columns: &[&Column], rows: &[u32], room: Room) -> io::Result<usize> {
        let group = self.schema.row_group;
        let mut taken = 0;
        let mut bytes = 0;
        for row in rows {
            bytes += row_bytes(columns, *row as usize);
            taken += 1;
            let is_full = taken >= room.rows
                || bytes >= room.bytes
                || self.rows + taken >= group.rows
                || self.bytes + bytes >= group.bytes;
            if is_full {
                break;
            }
        }
        let taken_rows = &rows[..taken as usize];
        for ((buffer, column), field) in
            self.columns.iter_mut().zip(columns).zip(&self.schema.fields)
        {
            buffer.push(column, taken_rows, field);
        }
        self.rows += taken;
        self.bytes += bytes;
        self.pushed_bytes += bytes;
        if self.rows >= group.rows || self.bytes >= group.bytes {
            self.finish_row_group().map_err(io::Error::other)?;
        }
        Ok(taken_rows.len())
    }

    /// How many bytes are held: rows as they are, and what is encoded of them.
    pub fn held_bytes(&self) -> usize {
        let encoded = self.file.as_ref().map_or(0, |file| file.bytes_written());
        self.bytes as usize + encoded
    }

    /// How many bytes the rows had before they were encoded.
    pub fn pushed_bytes(&self) -> u64 {
        self.pushed_bytes
    }

    /// The file.
    pub fn finish(mut self) -> io::Result<Vec<u8>> {
        let finish = || {
            if self.rows > 0 {
                self.finish_row_group()?;
            }
            match self.file {
                Some(file) => file.into_inner(),
                None => new_file(&self.schema)?.into_inner(),
            }
        };
        finish().map_err(io::Error::other)
    }

    fn finish_row_group(&mut self) -> Result<(), ParquetError> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(Box::new(new_file(&self.schema)?)),
        };
        let mut group = file.next_row_group()?;
        for buffer in &mut self.columns {
            let column = group.next_column()?;
            let mut column = column.ok_or_else(|| {
                ParquetError::General("a row group lacks a column of its schema".to_owned())
            })?;
            buffer.write(&mut column)?;
            column.close()?;
        }
        group.close()?;
        self.rows = 0;
        self.bytes = 0;
        Ok(())
    }
}

fn new_file(schema: &Schema) -> Result<SerializedFileWriter<Vec<u8>>, ParquetError> {
    SerializedFileWriter::new(Vec::new(), schema.message.clone(), schema.properties.clone())
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Writer { rows, bytes, pushed_bytes, .. } = self;
        f.debug_struct("Writer")
            .field("rows", rows)
            .field("bytes", bytes)
            .field("pushed_bytes", pushed_bytes)
            .finish_non_exhaustive()
    }
}

impl Buffer {
    fn new(field: &Field) -> Self {
        let values = match &field.kind {
            // Codes mean nothing outside of a plan.
            Kind::Enumeration(_) => Values::empty(&Kind::Utf8),
            kind => Values::empty(kind),
        };
        Buffer { values, levels: Vec::new() }
    }

    fn push(&mut self, column: &Column, rows: &[u32], field: &Field) {
        let rows = rows.iter().map(|row| *row as usize);
        if !field.required {
            let level = |row| i16::from(column.presence_of(row) == 0);
            self.levels.extend(rows.clone().map(level));
        }
        let present = rows.filter(|row| column.presence_of(*row) == 0);
        match (&mut self.values, &column.values) {
            (Values::Boolean(to), Values::Boolean(from)) => to.extend(present.map(|row| from[row])),
            (Values::Int64(to), Values::Int64(from))
            | (Values::Timestamp(to), Values::Timestamp(from)) => {
                to.extend(present.map(|row| from[row]));
            }
            (Values::Float64(to), Values::Float64(from)) => to.extend(present.map(|row| from[row])),
            (Values::Date(to), Values::Date(from)) => to.extend(present.map(|row| from[row])),
            (Values::Utf8(to), Values::Utf8(from)) | (Values::Json(to), Values::Json(from)) => {
                present.for_each(|row| to.push(from.get(row)));
            }
            (Values::Utf8(to), Values::Enumeration(from)) => {
                let Kind::Enumeration(words) = &field.kind else {
                    panic!("codes are of an enumeration");
                };
                present.for_each(|row| {
                    let word = words.get(from[row] as usize);
                    to.push(
                        word.expect("codes of a reply and of a projection are checked").as_bytes(),
                    );
                });
            }
            _ => panic!("a column is of its field's kind"),
        }
    }

    /// Writes the values and forgets them.
    fn write(&mut self, column: &mut SerializedColumnWriter<'_>) -> Result<(), ParquetError> {
        let levels = std::mem::take(&mut self.levels);
        let levels = (!levels.is_empty()).then_some(levels.as_slice());
        match &mut self.values {
            Values::Boolean(values) => {
                let values: Vec<bool> = values.drain(..).map(|value| value != 0).collect();
                column.typed::<BoolType>().write_batch(&values, levels, None)?;
            }
            Values::Int64(values) | Values::Timestamp(values) => {
                column.typed::<Int64Type>().write_batch(values, levels, None)?;
            }
            Values::Float64(values) => {
                column.typed::<DoubleType>().write_batch(values, levels, None)?;
            }
            Values::Date(values) => {
                column.typed::<Int32Type>().write_batch(values, levels, None)?;
            }
            Values::Utf8(texts) | Values::Json(texts) => {
                let bytes = Bytes::from(std::mem::take(&mut texts.bytes));
                let text =
                    |ends: &[u32]| ByteArray::from(bytes.slice(ends[0] as usize..ends[1] as usize));
                let values: Vec<ByteArray> = texts.offsets.windows(2).map(text).collect();
                column.typed::<ByteArrayType>().write_batch(&values, levels, None)?;
            }
            // Never made: enumerations are written as texts.
            Values::Enumeration(_) => {}
        }
        self.values.clear();
        Ok(())
    }
}

/// How many bytes a row's values take, before they are encoded. Limits count in these.
fn row_bytes(columns: &[&Column], row: usize) -> u64 {
    let bytes = |column: &Column| {
        if column.presence_of(row) != 0 {
            return 1;
        }
        1 + match &column.values {
            Values::Boolean(_) => 1,
            Values::Date(_) => 4,
            Values::Enumeration(_) => 4,
            Values::Int64(_) | Values::Float64(_) | Values::Timestamp(_) => 8,
            Values::Utf8(texts) | Values::Json(texts) => 4 + texts.get(row).len() as u64,
        }
    };
    columns.iter().map(|column| bytes(column)).sum()
}
