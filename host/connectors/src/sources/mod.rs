//! Where records come from: lines of files, rows of CSV and Parquet, whole files, standard input.
//!
//! A file is a partition. Its name is the path as it was asked for, relative to the source's base,
//! so that a tree may be moved. Files are read to the end that they have when it is reached: a
//! file should be whole when it appears (write it elsewhere, then rename it).

pub(crate) mod chunks;
mod compression;
pub(crate) mod csv;
mod files;
mod fingerprint;
mod lines;
mod parquet;
mod stdin;
mod whole;

pub use compression::Compression;
pub use csv::{CsvColumns, CsvEmpty, CsvFormat, CsvMismatch, CsvType};
pub use files::{FileSource, FileSourceConfig, Framing};
pub use lines::LineLimits;
pub use stdin::{StandardInput, StandardInputConfig};
