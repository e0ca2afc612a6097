//! Where records come from: lines of files, rows of CSV, Parquet and Avro, messages of Protobuf,
//! whole files, standard input, objects of S3, Kinesis streams.
//!
//! A file is a partition. Its name is the path as it was asked for, relative to the source's base,
//! so that a tree may be moved. Files are read to the end that they have when it is reached: a
//! file should be whole when it appears (write it elsewhere, then rename it). Or they are followed
//! while they are written, and then a partition is a file whatever its name is: see `follow`.

#[cfg(feature = "avro")]
mod avro;
pub(crate) mod chunks;
mod compression;
pub(crate) mod csv;
mod encoding;
mod files;
mod fingerprint;
mod follow;
#[cfg(feature = "kinesis")]
pub mod kinesis;
mod line_feed;
mod lines;
mod medium;
pub(crate) mod parquet;
mod probe;
mod progress;
#[cfg(feature = "protobuf")]
mod protobuf;
mod records;
#[cfg(feature = "s3-source")]
pub mod s3;
mod stdin;
mod text;
mod whole;

#[cfg(feature = "avro")]
pub use avro::{AvroFormat, AvroSchema};
pub use compression::Compression;
pub use csv::{CsvColumns, CsvEmpty, CsvFormat, CsvMismatch, CsvType};
pub use encoding::{EncodingError, TextEncoding};
pub use files::{FileSource, FileSourceConfig, Framing};
pub use follow::{Follow, KnownPartition, OnLost};
pub use lines::LineLimits;
pub use probe::probe_files;
#[cfg(feature = "protobuf")]
pub use protobuf::{
    MessageDecoder, MessageFormat, MessageFraming, ProtobufFormat, SchemaError, compile_protobuf,
};
pub use stdin::{StandardInput, StandardInputConfig};
#[cfg(feature = "text")]
pub use text::{LinePattern, PatternError, PatternText};
pub use text::{TextForm, TextFormat};
