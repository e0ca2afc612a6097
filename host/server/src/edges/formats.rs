//! Formats with a schema, from how a config has them to what a source reads by.

#[cfg(feature = "protobuf")]
use std::sync::Arc;

use anyhow::Context;
#[cfg(feature = "avro")]
use tidegate_connectors::sources::{AvroFormat, AvroSchema};
#[cfg(feature = "protobuf")]
use tidegate_connectors::sources::{MessageDecoder, MessageFormat, MessageFraming, ProtobufFormat};

use crate::config;

/// Rows of Avro.
#[cfg(feature = "avro")]
pub(super) fn avro(written: &config::Avro) -> anyhow::Result<AvroFormat> {
    let parse = |text: &str| AvroSchema::parse(text).map_err(anyhow::Error::msg);
    let reader = written.reader_schema_text.as_deref().map(parse).transpose();
    let reader = reader.context("failed to read `reader_schema`")?;
    let rows = super::row_format(written.nulls, written.not_finite, written.local_times);
    Ok(AvroFormat { rows, reader: reader.map(std::sync::Arc::new) })
}

/// Messages of Protobuf.
#[cfg(feature = "protobuf")]
pub(super) fn protobuf(
    written: &config::Protobuf,
    pipeline: &str,
) -> anyhow::Result<Arc<ProtobufFormat>> {
    let descriptors = written.descriptors.as_deref().context("`schema` has not been read")?;
    let format = MessageFormat {
        proto_names: written.names == config::ProtobufNames::Proto,
        write_defaults: written.defaults == config::ProtobufDefaults::Write,
        int64_as_text: written.int64 == config::ProtobufInt64::Text,
    };
    let decoder = MessageDecoder::new(descriptors, &written.message, format)?;
    let framing = match written.framing {
        config::ProtobufFraming::Varint => MessageFraming::Varint,
        config::ProtobufFraming::U32 => MessageFraming::U32,
    };
    Ok(Arc::new(ProtobufFormat { pipeline: pipeline.to_owned(), framing, decoder }))
}
