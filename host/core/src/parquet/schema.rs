//! The schema of files that are written, and everything that decides their bytes.

use std::{io, sync::Arc};

use parquet::{
    basic::{
        Compression, GzipLevel, LogicalType, Repetition, TimeUnit, Type as PhysicalType, ZstdLevel,
    },
    errors::ParquetError,
    file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesPtr, WriterVersion},
    schema::types::{ColumnPath, Type, TypePtr},
};

use super::{Codec, Field, RowGroupLimit, SchemaError, Writer};
use crate::description::Kind;

/// Who wrote a file, as readers look for known faults of writers. A constant, and no version of a
/// build: two builds that write the same pages write the same files.
const CREATED_BY: &str = "tidegate version 1 (build parquet)";

/// The columns of a file, and how they are written.
#[derive(Debug)]
pub struct Schema {
    pub(super) fields: Vec<Field>,
    pub(super) message: TypePtr,
    pub(super) properties: WriterPropertiesPtr,
    pub(super) row_group: RowGroupLimit,
}

impl Schema {
    /// A schema of columns, whose names differ.
    pub fn new(
        fields: Vec<Field>,
        codec: Codec,
        row_group: RowGroupLimit,
    ) -> Result<Self, SchemaError> {
        let invalid = |error: ParquetError| SchemaError::Invalid { detail: detail_of(&error) };
        let columns = fields.iter().map(|field| column(field).map(Arc::new));
        let columns = columns.collect::<Result<_, _>>().map_err(invalid)?;
        let message = Type::group_type_builder("schema").with_fields(columns).build();
        let properties = properties(&fields, codec).map_err(invalid)?;
        Ok(Schema {
            fields,
            message: Arc::new(message.map_err(invalid)?),
            properties: Arc::new(properties),
            row_group,
        })
    }

    /// A file without rows, which readers take with the others.
    pub fn empty_file(self: &Arc<Self>) -> io::Result<Vec<u8>> {
        Writer::new(Arc::clone(self)).finish()
    }
}

fn column(field: &Field) -> Result<Type, ParquetError> {
    let (physical, logical) = match &field.kind {
        Kind::Boolean => (PhysicalType::BOOLEAN, None),
        Kind::Int64 => (PhysicalType::INT64, None),
        Kind::Float64 => (PhysicalType::DOUBLE, None),
        Kind::Timestamp(_) => {
            (PhysicalType::INT64, Some(LogicalType::timestamp(true, TimeUnit::MICROS)))
        }
        Kind::Date => (PhysicalType::INT32, Some(LogicalType::Date)),
        // Some readers know no ENUM; a text out of few is a dictionary all the same.
        Kind::Utf8 | Kind::Enumeration(_) => (PhysicalType::BYTE_ARRAY, Some(LogicalType::String)),
        Kind::Json => (PhysicalType::BYTE_ARRAY, Some(LogicalType::Json)),
    };
    let repetition = if field.required { Repetition::REQUIRED } else { Repetition::OPTIONAL };
    Type::primitive_type_builder(&field.name, physical)
        .with_logical_type(logical)
        .with_repetition(repetition)
        .build()
}

fn properties(fields: &[Field], codec: Codec) -> Result<WriterProperties, ParquetError> {
    let compression = match codec {
        Codec::Plain => Compression::UNCOMPRESSED,
        Codec::Snappy => Compression::SNAPPY,
        Codec::Gzip { level } => Compression::GZIP(GzipLevel::try_new(level)?),
        Codec::Zstd { level } => Compression::ZSTD(ZstdLevel::try_new(level)?),
    };
    let mut properties = WriterProperties::builder()
        .set_created_by(CREATED_BY.to_owned())
        // Pages that everything reads.
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_compression(compression)
        // Also for each page: engines skip what a condition rules out.
        .set_statistics_enabled(EnabledStatistics::Page);
    for field in fields {
        // Hardly any two of these are the same, and looking for it costs more than it saves.
        let differ = matches!(field.kind, Kind::Json | Kind::Timestamp(_) | Kind::Float64);
        let path = ColumnPath::new(vec![field.name.clone()]);
        properties = properties.set_column_dictionary_enabled(path, !differ);
    }
    Ok(properties.build())
}

/// What the library says, without the prefix that says which of its errors it is.
pub(super) fn detail_of(error: &ParquetError) -> String {
    match error {
        ParquetError::General(detail) | ParquetError::NYI(detail) | ParquetError::EOF(detail) => {
            detail.clone()
        }
        other => other.to_string(),
    }
}
