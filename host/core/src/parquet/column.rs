//! A column of a row group as it is read: some rows' levels and values at a time, and how far they
//! have been used.

use parquet::{
    column::reader::{ColumnReader, ColumnReaderImpl},
    data_type::{
        BoolType, ByteArrayType, DataType, DoubleType, FixedLenByteArrayType, FloatType, Int32Type,
        Int64Type, Int96Type,
    },
    errors::ParquetError,
    schema::types::ColumnDescriptor,
};

use super::{
    ReadError, RowFormat,
    text::{Text, Unwritable},
};
use crate::json::{Validator, typed};

/// A column, and the part of it that is in memory.
pub(super) struct LeafColumn {
    /// Its path, for messages.
    pub(super) name: String,
    text: Text,
    not_finite_as_null: bool,
    definition_max: i16,
    has_repetition: bool,
    reader: Reader,
    definitions: Vec<i16>,
    repetitions: Vec<i16>,
    /// How many levels there are, whether or not they are stored.
    levels: usize,
    /// The level and the value that come next.
    level: usize,
    value: usize,
}

/// A reader and the values that it has read.
enum Reader {
    Boolean(ColumnReaderImpl<BoolType>, Vec<bool>),
    Int32(ColumnReaderImpl<Int32Type>, Vec<i32>),
    Int64(ColumnReaderImpl<Int64Type>, Vec<i64>),
    Int96(ColumnReaderImpl<Int96Type>, Vec<<Int96Type as DataType>::T>),
    Float(ColumnReaderImpl<FloatType>, Vec<f32>),
    Double(ColumnReaderImpl<DoubleType>, Vec<f64>),
    Bytes(ColumnReaderImpl<ByteArrayType>, Vec<<ByteArrayType as DataType>::T>),
    Fixed(ColumnReaderImpl<FixedLenByteArrayType>, Vec<<FixedLenByteArrayType as DataType>::T>),
}

/// The columns of a file do not fit together.
pub(super) const RAGGED: &str = "a column has other rows than the footer says";

pub(super) fn ragged() -> ReadError {
    ReadError::Damaged { detail: RAGGED.to_owned() }
}

impl LeafColumn {
    pub(super) fn new(
        reader: ColumnReader,
        column: &ColumnDescriptor,
        format: RowFormat,
    ) -> Result<Self, ReadError> {
        let text = match Text::of(column)? {
            Text::Timestamp { unit, utc } => {
                Text::Timestamp { unit, utc: utc || format.local_as_utc }
            }
            text => text,
        };
        Ok(LeafColumn {
            name: column.path().string(),
            text,
            not_finite_as_null: format.not_finite_as_null,
            definition_max: column.max_def_level(),
            has_repetition: column.max_rep_level() > 0,
            reader: Reader::new(reader),
            definitions: Vec::new(),
            repetitions: Vec::new(),
            levels: 0,
            level: 0,
            value: 0,
        })
    }

    /// Passes rows over, pages at a time where that can be.
    pub(super) fn skip(&mut self, rows: usize) -> Result<(), ReadError> {
        if self.reader.skip(rows).map_err(ReadError::from)? == rows {
            Ok(())
        } else {
            Err(ragged())
        }
    }

    /// Reads the next rows, all of which must be there. Those before must have been used.
    pub(super) fn load(&mut self, rows: usize) -> Result<(), ReadError> {
        if self.level != self.levels {
            return Err(ragged());
        }
        self.definitions.clear();
        self.repetitions.clear();
        let definitions = (self.definition_max > 0).then_some(&mut self.definitions);
        let repetitions = self.has_repetition.then_some(&mut self.repetitions);
        let (found, levels) = self.reader.read(rows, definitions, repetitions)?;
        (self.levels, self.level, self.value) = (levels, 0, 0);
        if found == rows { Ok(()) } else { Err(ragged()) }
    }

    /// The definition level that comes next.
    pub(super) fn definition(&self) -> Result<i16, ReadError> {
        if self.level >= self.levels {
            return Err(ragged());
        }
        Ok(self.definitions.get(self.level).copied().unwrap_or_default())
    }

    /// The repetition level that comes next; none at the end of the last row that was read.
    pub(super) fn repetition(&self) -> Option<i16> {
        let stored = self.repetitions.get(self.level).copied().unwrap_or_default();
        (self.level < self.levels).then_some(stored)
    }

    /// Passes what comes next.
    pub(super) fn pass(&mut self) -> Result<(), ReadError> {
        if self.definition()? == self.definition_max {
            self.value += 1;
        }
        self.level += 1;
        Ok(())
    }

    /// Appends the value that comes next. The inner result says whether it is JSON.
    pub(super) fn write(
        &mut self,
        validator: &mut Validator,
        out: &mut Vec<u8>,
    ) -> Result<Result<(), Unwritable>, ReadError> {
        if self.definition()? != self.definition_max {
            return Err(ragged());
        }
        let start = out.len();
        let written = self.reader.write(self.value, self.text, validator, out);
        self.pass()?;
        match written.ok_or_else(ragged)? {
            Err(Unwritable::NotFinite) if self.not_finite_as_null => {
                out.truncate(start);
                out.extend_from_slice(b"null");
                Ok(Ok(()))
            }
            written => Ok(written),
        }
    }
}

impl Reader {
    fn new(reader: ColumnReader) -> Self {
        match reader {
            ColumnReader::BoolColumnReader(reader) => Reader::Boolean(reader, Vec::new()),
            ColumnReader::Int32ColumnReader(reader) => Reader::Int32(reader, Vec::new()),
            ColumnReader::Int64ColumnReader(reader) => Reader::Int64(reader, Vec::new()),
            ColumnReader::Int96ColumnReader(reader) => Reader::Int96(reader, Vec::new()),
            ColumnReader::FloatColumnReader(reader) => Reader::Float(reader, Vec::new()),
            ColumnReader::DoubleColumnReader(reader) => Reader::Double(reader, Vec::new()),
            ColumnReader::ByteArrayColumnReader(reader) => Reader::Bytes(reader, Vec::new()),
            ColumnReader::FixedLenByteArrayColumnReader(reader) => {
                Reader::Fixed(reader, Vec::new())
            }
        }
    }

    fn skip(&mut self, rows: usize) -> Result<usize, ParquetError> {
        match self {
            Reader::Boolean(reader, _) => reader.skip_records(rows),
            Reader::Int32(reader, _) => reader.skip_records(rows),
            Reader::Int64(reader, _) => reader.skip_records(rows),
            Reader::Int96(reader, _) => reader.skip_records(rows),
            Reader::Float(reader, _) => reader.skip_records(rows),
            Reader::Double(reader, _) => reader.skip_records(rows),
            Reader::Bytes(reader, _) => reader.skip_records(rows),
            Reader::Fixed(reader, _) => reader.skip_records(rows),
        }
    }

    /// How many rows and levels were read.
    fn read(
        &mut self,
        rows: usize,
        definitions: Option<&mut Vec<i16>>,
        repetitions: Option<&mut Vec<i16>>,
    ) -> Result<(usize, usize), ParquetError> {
        fn read<T: DataType>(
            reader: &mut ColumnReaderImpl<T>,
            values: &mut Vec<T::T>,
            rows: usize,
            definitions: Option<&mut Vec<i16>>,
            repetitions: Option<&mut Vec<i16>>,
        ) -> Result<(usize, usize), ParquetError> {
            values.clear();
            let (rows, _, levels) = reader.read_records(rows, definitions, repetitions, values)?;
            Ok((rows, levels))
        }
        match self {
            Reader::Boolean(reader, values) => read(reader, values, rows, definitions, repetitions),
            Reader::Int32(reader, values) => read(reader, values, rows, definitions, repetitions),
            Reader::Int64(reader, values) => read(reader, values, rows, definitions, repetitions),
            Reader::Int96(reader, values) => read(reader, values, rows, definitions, repetitions),
            Reader::Float(reader, values) => read(reader, values, rows, definitions, repetitions),
            Reader::Double(reader, values) => read(reader, values, rows, definitions, repetitions),
            Reader::Bytes(reader, values) => read(reader, values, rows, definitions, repetitions),
            Reader::Fixed(reader, values) => read(reader, values, rows, definitions, repetitions),
        }
    }

    /// Nothing where there is no such value.
    fn write(
        &self,
        at: usize,
        text: Text,
        validator: &mut Validator,
        out: &mut Vec<u8>,
    ) -> Option<Result<(), Unwritable>> {
        Some(match self {
            Reader::Boolean(_, values) => {
                out.extend_from_slice(if *values.get(at)? { b"true" } else { b"false" });
                Ok(())
            }
            Reader::Int32(_, values) => text.write_int32(*values.get(at)?, out),
            Reader::Int64(_, values) => text.write_int64(*values.get(at)?, out),
            Reader::Int96(_, values) => Text::write_int96(values.get(at)?, out),
            Reader::Float(_, values) => typed::write_float32(*values.get(at)?, out),
            Reader::Double(_, values) => typed::write_float64(*values.get(at)?, out),
            Reader::Bytes(_, values) => text.write_bytes(values.get(at)?.data(), validator, out),
            Reader::Fixed(_, values) => text.write_bytes(values.get(at)?.data(), validator, out),
        })
    }
}
