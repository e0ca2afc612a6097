//! What a source of Parquet promises: rows as JSON objects, at the number of each, the same however
//! they are read, and a file that was replaced or broken told from the one that was read.

#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

use std::{fs, path::Path, sync::Arc};

use proptest::prelude::*;
use tempfile::TempDir;
use tidegate_connectors::sources::{FileSource, FileSourceConfig, Framing, LineLimits};
use tidegate_core::{
    Column, Kind, Source, Values,
    conformance::{self, ExpectedPartition},
    parquet::{Codec, Field, Room, RowFormat, RowGroupLimit, Schema, Writer},
    source::{PartitionId, ReadLimit, ReadOutcome, Resume, SourceErrorKind},
};

const ALL: ReadLimit = ReadLimit { records_max: usize::MAX, bytes_max: usize::MAX, until: None };

fn source_of(directory: &TempDir, format: RowFormat, limits: LineLimits) -> FileSource {
    let mut config = FileSourceConfig::new("rows", ["*.parquet"]);
    config.base = directory.path().to_owned();
    config.framing = Framing::Parquet(format);
    config.limits = limits;
    FileSource::new(config)
}

/// A file of numbers and texts, in row groups of so many rows. A float in a hundred is not finite.
fn write(path: &Path, first: i64, rows: usize, row_group: u64) {
    let field = |name: &str, kind| Field { name: name.to_owned(), kind, required: false };
    let fields =
        vec![field("n", Kind::Int64), field("text", Kind::Utf8), field("x", Kind::Float64)];
    let row_group = RowGroupLimit { rows: row_group, bytes: u64::MAX };
    let schema = Schema::new(fields, Codec::Zstd { level: 1 }, row_group).unwrap();
    let mut writer = Writer::new(Arc::new(schema));
    let numbers = first..first + rows as i64;
    let texts = numbers.clone().map(|n| format!("text {n}")).collect();
    let floats = numbers.clone().map(|n| if n % 100 == 99 { f64::NAN } else { n as f64 / 8.0 });
    let columns = [
        Column { values: Values::Int64(numbers.clone().collect()), presence: Vec::new() },
        Column {
            values: Values::Utf8(texts),
            presence: numbers.map(|n| (n % 3 == 0).into()).collect(),
        },
        Column { values: Values::Float64(floats.collect()), presence: Vec::new() },
    ];
    let columns: Vec<&Column> = columns.iter().collect();
    let all: Vec<u32> = (0..rows as u32).collect();
    let mut left = &all[..];
    while !left.is_empty() {
        let room = Room { rows: u64::MAX, bytes: u64::MAX };
        left = &left[writer.push(&columns, left, room).unwrap()..];
    }
    fs::write(path, writer.finish().unwrap()).unwrap();
}

/// The row of a number, as a record or as the payload of a dead letter.
fn row(n: i64) -> String {
    let text = if n % 3 == 0 { "null".to_owned() } else { format!("\"text {n}\"") };
    let x = match n % 100 {
        99 => "\"NaN\"".to_owned(),
        _ => format!("{:?}", n as f64 / 8.0),
    };
    format!("{{\"n\":{n},\"text\":{text},\"x\":{x}}}")
}

fn expected(name: &str, numbers: std::ops::Range<i64>) -> ExpectedPartition {
    let records = numbers.map(|n| row(n).into_bytes()).collect();
    ExpectedPartition { id: PartitionId::from(name), records }
}

#[tokio::test]
async fn a_source_of_parquet_keeps_its_promises() {
    let directory = tempfile::tempdir().unwrap();
    write(&directory.path().join("a.parquet"), 0, 240, 50);
    write(&directory.path().join("b.parquet"), 1000, 30, 1000);
    write(&directory.path().join("empty.parquet"), 0, 0, 50);
    let source = source_of(&directory, RowFormat::default(), LineLimits::default());
    let partitions = [
        expected("a.parquet", 0..240),
        expected("b.parquet", 1000..1030),
        expected("empty.parquet", 0..0),
    ];
    conformance::source(&source, &partitions).await;
}

#[tokio::test]
async fn a_position_is_the_number_of_a_row_and_bad_rows_are_defects() {
    let directory = tempfile::tempdir().unwrap();
    write(&directory.path().join("a.parquet"), 0, 300, 128);
    for (format, defects) in [
        (RowFormat::default(), vec![100, 200, 300]),
        (RowFormat { not_finite_as_null: true, ..RowFormat::default() }, vec![]),
    ] {
        let source = source_of(&directory, format, LineLimits::default());
        let mut reader = source.open(&"a.parquet".into(), None).await.unwrap();
        let mut positions = Vec::new();
        let mut bad = Vec::new();
        while let ReadOutcome::Records(batch) = reader.read(ALL).await.unwrap() {
            let of = |row: u32| batch.positions[row as usize].offset();
            bad.extend(batch.defects.iter().map(|it| (it.code, of(it.row))));
            positions.extend(batch.positions.iter().map(|it| it.offset()));
        }
        assert_eq!(positions, (1..=300).collect::<Vec<_>>());
        let wanted: Vec<_> = defects.into_iter().map(|n| ("parquet-not-finite", n)).collect();
        assert_eq!(bad, wanted);
    }
}

#[tokio::test]
async fn a_row_that_is_too_large_is_a_defect() {
    let directory = tempfile::tempdir().unwrap();
    write(&directory.path().join("a.parquet"), 0, 12, 5);
    let limits = LineLimits { record_bytes_max: row(1).len(), ..LineLimits::default() };
    let source = source_of(&directory, RowFormat::default(), limits);
    let mut reader = source.open(&"a.parquet".into(), None).await.unwrap();
    let ReadOutcome::Records(batch) = reader.read(ALL).await.unwrap() else { panic!("no rows") };
    let large: Vec<i64> = (0..12).filter(|n| row(*n).len() > row(1).len()).collect();
    let found: Vec<i64> = batch.defects.iter().map(|it| i64::from(it.row)).collect();
    assert!(!large.is_empty());
    assert_eq!(found, large);
    assert!(batch.defects.iter().all(|it| it.code == "record-too-large"));
}

#[tokio::test]
async fn a_file_that_was_replaced_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.parquet");
    write(&path, 0, 100, 30);
    let source = source_of(&directory, RowFormat::default(), LineLimits::default());
    let mut reader = source.open(&"a.parquet".into(), None).await.unwrap();
    let limit = ReadLimit { records_max: 40, ..ALL };
    let ReadOutcome::Records(batch) = reader.read(limit).await.unwrap() else { panic!("no rows") };
    let position = batch.last_position().unwrap();
    let resume = Resume { position, token: reader.token(position) };
    drop(reader);
    for (first, rows) in [(1, 100), (0, 101)] {
        write(&path, first, rows, 30);
        let error = source.open(&"a.parquet".into(), Some(&resume)).await.err().unwrap();
        assert_eq!(error.kind, SourceErrorKind::Replaced, "{error}");
    }
    fs::write(&path, "no Parquet").unwrap();
    let error = source.open(&"a.parquet".into(), Some(&resume)).await.err().unwrap();
    assert_eq!(error.kind, SourceErrorKind::Replaced, "{error}");
    fs::remove_file(&path).unwrap();
    let error = source.open(&"a.parquet".into(), Some(&resume)).await.err().unwrap();
    assert_eq!(error.kind, SourceErrorKind::Trimmed, "{error}");
    write(&path, 0, 100, 30);
    assert!(source.open(&"a.parquet".into(), Some(&resume)).await.is_ok());
}

#[tokio::test]
async fn a_broken_file_is_refused_and_a_broken_page_ends_its_partition() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.parquet");
    let source = source_of(&directory, RowFormat::default(), LineLimits::default());
    for content in [&b""[..], b"n,text\n1,2\n", b"PAR1PAR1PAR1"] {
        fs::write(&path, content).unwrap();
        let error = source.open(&"a.parquet".into(), None).await.err().unwrap();
        assert_eq!(error.kind, SourceErrorKind::Broken, "{error}");
        assert!(error.to_string().contains("a.parquet"), "{error}");
    }
    write(&path, 0, 20_000, 10_000);
    let mut content = fs::read(&path).unwrap();
    // In the second row group: the pages of the first lie before it.
    let middle = content.len() * 6 / 10;
    content[middle..middle + 64].fill(0xff);
    fs::write(&path, content).unwrap();
    let mut reader = source.open(&"a.parquet".into(), None).await.unwrap();
    let mut rows = 0;
    let error = loop {
        match reader.read(ALL).await {
            Ok(ReadOutcome::Records(batch)) => rows += batch.len(),
            Ok(_) => panic!("it ended as if nothing were wrong"),
            Err(error) => break error,
        }
    };
    assert!((10_000..20_000).contains(&rows), "{rows} rows came before it");
    let again = reader.read(ALL).await.err().unwrap();
    assert_eq!(again.kind, SourceErrorKind::Broken, "{again}");
    assert_eq!(error.kind, SourceErrorKind::Broken, "{error}");
    assert!(error.to_string().contains(&format!("damaged behind row {rows}")), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Wherever reading stops and whatever it asks for at a time, the rest is the rest.
    #[test]
    fn reading_goes_on_where_it_stopped(
        rows in 1usize..400,
        row_group in 1u64..150,
        stops in prop::collection::vec((1usize..120, 1usize..4000), 1..12),
    ) {
        let directory = tempfile::tempdir().unwrap();
        write(&directory.path().join("a.parquet"), 0, rows, row_group);
        let source = source_of(&directory, RowFormat::default(), LineLimits::default());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let read = runtime.block_on(async {
            let mut read = Vec::new();
            let mut resume: Option<Resume> = None;
            for (records_max, bytes_max) in stops.iter().cycle() {
                // Opened anew each time, as a process that was killed would.
                let mut reader = source.open(&"a.parquet".into(), resume.as_ref()).await.unwrap();
                let limit = ReadLimit { records_max: *records_max, bytes_max: *bytes_max, until: None };
                let ReadOutcome::Records(batch) = reader.read(limit).await.unwrap() else { break };
                read.extend((0..batch.len()).map(|row| batch.record(row).to_vec()));
                let position = batch.last_position().unwrap();
                resume = Some(Resume { position, token: reader.token(position) });
            }
            read
        });
        let wanted: Vec<_> = (0..rows as i64).map(|n| row(n).into_bytes()).collect();
        prop_assert_eq!(read, wanted);
    }
}
