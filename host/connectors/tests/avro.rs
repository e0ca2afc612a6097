//! What a source of Avro promises: rows at the number of each, the same however they are read; and of
//! a file that is broken, all that is not, with what is lost told.

#![cfg(feature = "avro")]
#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

use std::{fs, path::Path};

use apache_avro::{Codec, DeflateSettings, Schema, Writer, ZstandardSettings, types::Value};
use proptest::prelude::*;
use tempfile::TempDir;
use tidegate_connectors::sources::{AvroFormat, FileSource, FileSourceConfig, Framing, LineLimits};
use tidegate_core::{
    Source,
    conformance::{self, ExpectedPartition},
    parquet::RowFormat,
    source::{PartitionId, ReadLimit, ReadOutcome, Resume, SourceErrorKind},
};

const ALL: ReadLimit = ReadLimit { records_max: usize::MAX, bytes_max: usize::MAX, until: None };

const SCHEMA: &str = r#"{ "type": "record", "name": "Row", "fields": [
    { "name": "n", "type": "long" },
    { "name": "text", "type": ["null", "string"] },
    { "name": "x", "type": "double" }
] }"#;

fn source_of(directory: &TempDir, rows: RowFormat, limits: LineLimits) -> FileSource {
    let mut config = FileSourceConfig::new("rows", ["*"]);
    config.base = directory.path().to_owned();
    config.framing = Framing::Avro(AvroFormat { rows, reader: None });
    config.limits = limits;
    FileSource::new(config)
}

/// A file of values, in blocks of so many.
fn write(
    path: &Path,
    schema: &str,
    values: impl IntoIterator<Item = Value>,
    block: usize,
    codec: Codec,
) {
    let schema = Schema::parse_str(schema).unwrap();
    let mut writer = Writer::with_codec(&schema, Vec::new(), codec).unwrap();
    for (i, value) in values.into_iter().enumerate() {
        writer.append_value(value).unwrap();
        if (i + 1) % block == 0 {
            writer.flush().unwrap();
        }
    }
    fs::write(path, writer.into_inner().unwrap()).unwrap();
}

/// A float in a hundred is not finite.
fn value(n: i64) -> Value {
    let text = match n % 3 {
        0 => Value::Union(0, Box::new(Value::Null)),
        _ => Value::Union(1, Box::new(Value::String(format!("text {n}")))),
    };
    let x = if n % 100 == 99 { f64::NAN } else { n as f64 / 8.0 };
    Value::Record(vec![
        ("n".to_owned(), Value::Long(n)),
        ("text".to_owned(), text),
        ("x".to_owned(), Value::Double(x)),
    ])
}

/// The row of a number, as a record or as the payload of a dead letter.
fn row(n: i64) -> String {
    let text = if n % 3 == 0 { "null".to_owned() } else { format!("\"text {n}\"") };
    let x = if n % 100 == 99 { "\"NaN\"".to_owned() } else { format!("{:?}", n as f64 / 8.0) };
    format!("{{\"n\":{n},\"text\":{text},\"x\":{x}}}")
}

fn deflate() -> Codec {
    Codec::Deflate(DeflateSettings::default())
}

#[tokio::test]
async fn a_source_of_avro_keeps_its_promises() {
    let codecs =
        [Codec::Null, deflate(), Codec::Snappy, Codec::Zstandard(ZstandardSettings::default())];
    for codec in codecs {
        let directory = tempfile::tempdir().unwrap();
        write(&directory.path().join("a"), SCHEMA, (0..240).map(value), 50, codec);
        write(&directory.path().join("b"), SCHEMA, (1000..1030).map(value), 1000, codec);
        write(&directory.path().join("empty"), SCHEMA, [], 1, codec);
        let source = source_of(&directory, RowFormat::default(), LineLimits::default());
        let expected = |name, numbers: std::ops::Range<i64>| ExpectedPartition {
            id: PartitionId::from(name),
            records: numbers.map(|n| row(n).into_bytes()).collect(),
        };
        let partitions =
            [expected("a", 0..240), expected("b", 1000..1030), expected("empty", 0..0)];
        conformance::source(&source, &partitions).await;
    }
}

#[tokio::test]
async fn a_broken_file_keeps_the_same_promises() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a");
    write(&path, SCHEMA, (0..200).map(value), 20, Codec::Null);
    let mut bytes = fs::read(&path).unwrap();
    // A text's length in the fourth block, and the marker behind the seventh.
    let at = |text: &str| bytes.windows(text.len()).position(|it| it == text.as_bytes()).unwrap();
    let (in_fourth, in_eighth) = (at("text 71"), at("text 140"));
    bytes[in_fourth - 1] = 0xff;
    bytes[in_eighth - 12] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let source = source_of(&directory, RowFormat::default(), LineLimits::default());
    let found = read(&source, "a").await;
    let good: Vec<u64> = found.iter().filter(|it| it.2.is_empty()).map(|it| it.1).collect();
    let lost = |n: u64| (72..=80).contains(&n) || (121..=160).contains(&n) || n == 100 || n == 200;
    assert!(good.iter().all(|n| *n <= 180), "rows are counted without the blocks that are none");
    let damage: Vec<_> = found.iter().filter(|it| it.2 == "avro-damaged").map(|it| it.1).collect();
    // The rest of the fourth block, and the seventh and the eighth together.
    assert_eq!(damage, [80, 121]);
    let before: Vec<u64> = (1..=120).filter(|n| !lost(*n)).collect();
    assert_eq!(good.iter().copied().take_while(|n| *n < 121).collect::<Vec<_>>(), before);
    let records = found.into_iter().map(|it| it.0).collect();
    conformance::source(&source, &[ExpectedPartition { id: PartitionId::from("a"), records }])
        .await;
}

/// Every record with its position; of a bad one the code.
async fn read(source: &FileSource, name: &str) -> Vec<(Vec<u8>, u64, &'static str)> {
    let mut reader = source.open(&name.into(), None).await.unwrap();
    let mut all = Vec::new();
    while let ReadOutcome::Records(batch) = reader.read(ALL).await.unwrap() {
        for row in 0..batch.len() {
            let defect = batch.defects.iter().find(|it| it.row as usize == row);
            let code = defect.map_or("", |it| it.code);
            all.push((batch.record(row).to_vec(), batch.positions[row].offset(), code));
        }
    }
    all
}

async fn read_one(schema: &str, value: Value, rows: RowFormat) -> (String, &'static str) {
    let directory = tempfile::tempdir().unwrap();
    write(&directory.path().join("a"), schema, [value], 1, Codec::Null);
    let found = read(&source_of(&directory, rows, LineLimits::default()), "a").await;
    (String::from_utf8(found[0].0.clone()).unwrap(), found[0].2)
}

#[tokio::test]
async fn values_that_json_has_no_place_for_are_defects_of_their_rows_alone() {
    let of = |kind: &str| {
        format!(r#"{{"type":"record","name":"R","fields":[{{"name":"v","type":{kind}}}]}}"#)
    };
    let record = |value| Value::Record(vec![("v".to_owned(), value)]);
    let as_null = RowFormat { not_finite_as_null: true, ..RowFormat::default() };
    for (kind, value, rows, expected) in [
        (
            "\"float\"",
            Value::Float(f32::INFINITY),
            RowFormat::default(),
            ("{\"v\":\"Infinity\"}", "avro-not-finite"),
        ),
        ("\"float\"", Value::Float(f32::INFINITY), as_null, ("{\"v\":null}", "")),
        (
            "{\"type\":\"int\",\"logicalType\":\"date\"}",
            Value::Date(i32::MAX),
            RowFormat::default(),
            ("{\"v\":2147483647}", "avro-out-of-range"),
        ),
        (
            "{\"type\":\"long\",\"logicalType\":\"time-micros\"}",
            Value::TimeMicros(-1),
            RowFormat::default(),
            ("{\"v\":-1}", "avro-out-of-range"),
        ),
        (
            "{\"type\":\"long\",\"logicalType\":\"timestamp-nanos\"}",
            Value::TimestampNanos(1),
            RowFormat::default(),
            ("{\"v\":\"1970-01-01T00:00:00.000000001Z\"}", ""),
        ),
        (
            "{\"type\":\"long\",\"logicalType\":\"local-timestamp-micros\"}",
            Value::LocalTimestampMicros(0),
            RowFormat { local_as_utc: true, ..RowFormat::default() },
            ("{\"v\":\"1970-01-01T00:00:00Z\"}", ""),
        ),
        (
            "[\"null\",\"int\"]",
            Value::Union(0, Box::new(Value::Null)),
            RowFormat { omit_nulls: true, ..RowFormat::default() },
            ("{}", ""),
        ),
        (
            "{\"type\":\"string\",\"logicalType\":\"uuid\"}",
            Value::Uuid(apache_avro::Uuid::from_u128(7)),
            RowFormat::default(),
            ("{\"v\":\"00000000-0000-0000-0000-000000000007\"}", ""),
        ),
        (
            "{\"type\":\"map\",\"values\":\"int\"}",
            Value::Map(
                [("b", 1), ("a", 2)].map(|(key, it)| (key.to_owned(), Value::Int(it))).into(),
            ),
            RowFormat::default(),
            ("{\"v\":{\"a\":2,\"b\":1}}", ""),
        ),
    ] {
        let found = read_one(&of(kind), record(value), rows).await;
        assert_eq!((found.0.as_str(), found.1), expected, "{kind}");
    }
    // Bytes that say that they are text, by a file whose schema is changed behind its writer's back.
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a");
    let rows = [b"ok".to_vec(), vec![0xff], b"too".to_vec()].map(|it| record(Value::Bytes(it)));
    let schema = of("\"bytes\"").replacen('{', "{\"doc\":\"ab\",", 1);
    write(&path, &schema, rows, 9, Codec::Null);
    let mut bytes = fs::read(&path).unwrap();
    for (from, to) in [("\"doc\":\"ab\"", "\"doc\":\"a\""), ("\"bytes\"", "\"string\"")] {
        let place = bytes.windows(from.len()).position(|it| it == from.as_bytes()).unwrap();
        bytes.splice(place..place + from.len(), to.bytes());
    }
    fs::write(&path, bytes).unwrap();
    let found =
        read(&source_of(&directory, RowFormat::default(), LineLimits::default()), "a").await;
    let codes: Vec<_> = found.iter().map(|it| it.2).collect();
    assert_eq!(codes, ["", "avro-invalid-utf8", ""]);
}

#[tokio::test]
async fn lengths_that_are_lies_make_no_memory() {
    let long = |value: u64| -> Vec<u8> {
        let mut value = value << 1;
        let mut bytes = Vec::new();
        while value >= 0x80 {
            bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        bytes.push(value as u8);
        bytes
    };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a");
    for (kind, data) in [
        ("\"string\"", long(1 << 40)),
        ("{\"type\":\"array\",\"items\":\"null\"}", long(1 << 40)),
        ("{\"type\":\"array\",\"items\":\"null\"}", long(40_000_000)),
        ("{\"type\":\"map\",\"values\":\"null\"}", long(1 << 40)),
        ("{\"type\":\"fixed\",\"name\":\"F\",\"size\":1099511627776}", vec![1]),
        ("\"null\"", vec![1]),
    ] {
        write(&path, kind, [], 1, Codec::Null);
        let mut bytes = fs::read(&path).unwrap();
        let marker = bytes[bytes.len() - 16..].to_vec();
        let rows = if kind == "\"null\"" { 1 << 50 } else { 1 };
        bytes.extend([long(rows), long(data.len() as u64), data, marker].concat());
        fs::write(&path, &bytes).unwrap();
        let source = source_of(&directory, RowFormat::default(), LineLimits::default());
        let found = read(&source, "a").await;
        assert_eq!(found.iter().map(|it| it.2).collect::<Vec<_>>(), ["avro-damaged"], "{kind}");
    }
    // A block that unpacks to more than fits, and one that says that it does.
    for codec in [Codec::Zstandard(ZstandardSettings::default()), deflate()] {
        let mut packed = vec![0; 257 << 20];
        codec.compress(&mut packed).unwrap();
        write(&path, "\"string\"", [], 1, codec);
        let mut bytes = fs::read(&path).unwrap();
        let marker = bytes[bytes.len() - 16..].to_vec();
        bytes.extend([long(1), long(packed.len() as u64), packed, marker].concat());
        fs::write(&path, &bytes).unwrap();
        let source = source_of(&directory, RowFormat::default(), LineLimits::default());
        let found = read(&source, "a").await;
        assert_eq!(found.iter().map(|it| it.2).collect::<Vec<_>>(), ["avro-damaged"]);
    }
}

#[tokio::test]
async fn rows_may_be_deep_but_not_without_end() {
    let schema = r#"{"type":"record","name":"R","fields":[{"name":"next","type":["null","R"]}]}"#;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a");
    // Each level is one byte, the branch of the union: until one has no next.
    for (levels, code) in [(9, ""), (100, "avro-damaged"), (100_000, "avro-damaged")] {
        write(&path, schema, [], 1, Codec::Null);
        let mut bytes = fs::read(&path).unwrap();
        let marker = bytes[bytes.len() - 16..].to_vec();
        let mut data = vec![2; levels];
        data.push(0);
        let size: Vec<u8> = match data.len() * 2 {
            size if size < 1 << 14 => vec![size as u8 | 0x80, (size >> 7) as u8],
            size => vec![size as u8 | 0x80, (size >> 7) as u8 | 0x80, (size >> 14) as u8],
        };
        bytes.extend([vec![2], size, data, marker].concat());
        fs::write(&path, &bytes).unwrap();
        let source = source_of(&directory, RowFormat::default(), LineLimits::default());
        let found = read(&source, "a").await;
        assert_eq!(found.iter().map(|it| it.2).collect::<Vec<_>>(), [code], "{levels}");
    }
}

#[tokio::test]
async fn a_file_that_was_replaced_is_noticed_and_one_that_is_none_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a");
    let make = |first: i64, rows: i64| {
        write(&path, SCHEMA, (first..first + rows).map(value), 30, Codec::Null);
        fs::read(&path).unwrap()
    };
    let original = make(0, 100);
    let source = source_of(&directory, RowFormat::default(), LineLimits::default());
    let mut reader = source.open(&"a".into(), None).await.unwrap();
    let limit = ReadLimit { records_max: 40, ..ALL };
    let ReadOutcome::Records(batch) = reader.read(limit).await.unwrap() else { panic!("no rows") };
    let position = batch.last_position().unwrap();
    let resume = Resume { position, token: reader.token(position) };
    drop(reader);
    for other in [make(1, 100), make(0, 101), b"no Avro".to_vec()] {
        fs::write(&path, other).unwrap();
        let error = source.open(&"a".into(), Some(&resume)).await.err().unwrap();
        assert_eq!(error.kind, SourceErrorKind::Replaced, "{error}");
    }
    fs::write(&path, original).unwrap();
    assert!(source.open(&"a".into(), Some(&resume)).await.is_ok());
    for content in [&b""[..], b"Obj", b"Obj\x01", b"Obj\x01\x02\x16avro.schema\x7f", b"PAR1PAR1"] {
        fs::write(&path, content).unwrap();
        let error = source.open(&"a".into(), None).await.err().unwrap();
        assert_eq!(error.kind, SourceErrorKind::Broken, "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    /// Whatever becomes of some bytes of a file: it is read to its end or refused, nothing panics,
    /// and a reader that begins in the middle finds what one from the start found.
    #[test]
    fn damage_is_told_and_never_doubles_or_moves_a_row(
        codec in prop::sample::select(vec![Codec::Null, deflate(), Codec::Snappy]),
        places in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
        stop in any::<prop::sample::Index>(),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        write(&path, SCHEMA, (0..120).map(value), 17, codec);
        let mut bytes = fs::read(&path).unwrap();
        for (place, byte) in places {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        fs::write(&path, bytes).unwrap();
        let source = source_of(&directory, RowFormat::default(), LineLimits::default());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            if source.open(&"a".into(), None).await.is_err() {
                return;
            }
            let whole = read(&source, "a").await;
            assert!(whole.is_sorted_by(|a, b| a.1 < b.1));
            if whole.is_empty() {
                return;
            }
            let stop = stop.index(whole.len());
            let mut reader = source.open(&"a".into(), None).await.unwrap();
            let limit = ReadLimit { records_max: stop + 1, ..ALL };
            let ReadOutcome::Records(batch) = reader.read(limit).await.unwrap() else { panic!() };
            let position = batch.last_position().unwrap();
            let resume = Resume { position, token: reader.token(position) };
            let mut rest = source.open(&"a".into(), Some(&resume)).await.unwrap();
            let mut positions = Vec::new();
            while let ReadOutcome::Records(batch) = rest.read(ALL).await.unwrap() {
                positions.extend(batch.positions.iter().map(|it| it.offset()));
            }
            let wanted: Vec<u64> =
                whole.iter().map(|it| it.1).filter(|it| *it > position.offset()).collect();
            assert_eq!(positions, wanted);
        });
    }
}
