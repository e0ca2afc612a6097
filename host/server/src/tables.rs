//! The look-up tables of a pipeline: each file loaded, whole or not at all.

use std::sync::Arc;

use tidegate_connectors::{
    sources::{CsvColumns, TextEncoding},
    tables::{self, CsvTable, TableFormat, TableSpec},
};
use tidegate_core::LookupTable;

use crate::{
    config::{self, CsvHeader, Loaded, Table},
    edges::{input_compression, row_format},
    files::Files,
    finding::Finding,
};

/// Loads all tables, or says everything that is wrong with them at once. Blocks for as long as
/// reading takes.
pub fn load(loaded: &Loaded) -> Result<Vec<Arc<LookupTable>>, Vec<Finding>> {
    load_from(loaded, &Files::on_disk())
}

/// The same, of given files.
pub fn load_from(loaded: &Loaded, files: &Files) -> Result<Vec<Arc<LookupTable>>, Vec<Finding>> {
    let mut made = Vec::new();
    let mut findings = Vec::new();
    for (i, table) in loaded.config.tables.iter().enumerate() {
        let path = table.path.display();
        let read = files.place(&table.path).map_err(tables::TableError::from).and_then(|at| {
            let (made, digest) = tables::read(&at, &spec(table))?;
            files.placed(&table.path, at, digest);
            Ok(made)
        });
        match read {
            Ok(table) => {
                tracing::info!(
                    table = table.name(),
                    rows = table.rows(),
                    bytes = table.bytes(),
                    digest = %table.digest(),
                    "loaded"
                );
                made.push(table);
            }
            Err(error) => {
                let message =
                    format!("failed to load `{path}`: {}", tidegate_pipeline::causes(&error));
                let code = match &error {
                    tables::TableError::Read(_) => "unreadable-file",
                    tables::TableError::Duplicates { .. } => "duplicate-key",
                    _ => "invalid-table",
                };
                findings.push(loaded.finding(code, &format!("/tables/{i}/path"), message));
            }
        }
    }
    if findings.is_empty() { Ok(made) } else { Err(findings) }
}

/// What the loader is told. The config's rules have refused what can't be.
pub(crate) fn spec(table: &Table) -> TableSpec {
    let csv = &table.csv;
    let names = csv.names.clone();
    TableSpec {
        name: table.name.clone(),
        format: match table.format() {
            Some(config::TableFormat::Json) => TableFormat::Json,
            Some(config::TableFormat::Ndjson) => TableFormat::Ndjson,
            Some(config::TableFormat::Parquet) => TableFormat::Parquet(row_format(
                config::Nulls::Omit,
                table.parquet.not_finite,
                table.parquet.local_times,
            )),
            _ => TableFormat::Csv(CsvTable {
                columns: match csv.header {
                    CsvHeader::Names => CsvColumns::Header,
                    CsvHeader::Skip => CsvColumns::Named { names, skip_header: true },
                    CsvHeader::Absent => CsvColumns::Named { names, skip_header: false },
                },
                delimiter: csv.delimiter.bytes().next().unwrap_or(b','),
                quote: csv.quote.bytes().next(),
                trim: csv.trim,
                // The config's rules have refused what is none.
                encoding: csv
                    .encoding
                    .as_deref()
                    .map(TextEncoding::named)
                    .transpose()
                    .unwrap_or_default()
                    .unwrap_or_default(),
            }),
        },
        // By the name that the operator gave it, wherever it is read.
        compression: input_compression(table.compression).of(&table.path),
        columns: table.columns(),
        paths: table.paths.iter().map(|(name, path)| (name.clone(), path.0.clone())).collect(),
        key: table.key.clone(),
        nulls: table.nulls.clone(),
        on_duplicate: table.on_duplicate.into(),
    }
}
