//! What a source of CSV promises: rows as JSON objects, at the offset behind each, the same however
//! they are read, and bad lines told apart from good ones.

#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

use std::{collections::BTreeMap, fs, io::Write, path::Path, sync::Arc};

use tempfile::TempDir;
use tidegate_connectors::sources::{
    CsvColumns, CsvEmpty, CsvFormat, CsvMismatch, CsvType, FileSource, FileSourceConfig, Framing,
    LineLimits, TextEncoding,
};
use tidegate_core::{
    Position, Source,
    conformance::{self, ExpectedPartition},
    source::{PartitionId, ReadLimit, ReadOutcome, Reader, Resume, SourceErrorKind},
};

const ALL: ReadLimit = ReadLimit { records_max: usize::MAX, bytes_max: usize::MAX, until: None };

/// A record: its bytes, the offset behind it, and what is wrong with it.
type Seen = (Vec<u8>, u64, Option<(&'static str, String)>);

fn source_of(directory: &TempDir, format: CsvFormat, limits: LineLimits) -> FileSource {
    let mut config = FileSourceConfig::new("rows", ["*"]);
    config.base = directory.path().to_owned();
    config.framing = Framing::Csv(Arc::new(format));
    config.limits = limits;
    FileSource::new(config)
}

async fn drain(reader: &mut dyn Reader, limit: ReadLimit) -> Vec<Seen> {
    let mut all = Vec::new();
    loop {
        match reader.read(limit).await.unwrap() {
            ReadOutcome::Records(batch) => {
                for row in 0..batch.len() {
                    let defect = batch.defects.iter().find(|it| it.row as usize == row);
                    let defect = defect.map(|it| (it.code, it.message.clone()));
                    let record = batch.record(row).to_vec();
                    all.push((record, batch.positions[row].offset(), defect));
                }
            }
            ReadOutcome::Idle => {}
            ReadOutcome::Ended => return all,
        }
    }
}

async fn rows_of(text: impl AsRef<[u8]>, format: CsvFormat) -> Vec<Seen> {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("a"), text).unwrap();
    let source = source_of(&directory, format, LineLimits::default());
    let mut reader = source.open(&"a".into(), None).await.unwrap();
    drain(&mut *reader, ALL).await
}

/// Reads a text, and holds its records, or the code and the line of what is wrong, against those
/// expected.
async fn check(text: impl AsRef<[u8]>, format: CsvFormat, expected: &[&str]) {
    let said: Vec<String> = rows_of(text, format)
        .await
        .into_iter()
        .map(|(bytes, _, defect)| {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            match defect {
                Some((code, message)) => {
                    let line = message.split(':').next().unwrap();
                    format!("{code} {line} {text}")
                }
                None => text,
            }
        })
        .collect();
    assert_eq!(said, expected);
}

fn typed() -> CsvFormat {
    let types = [("i", CsvType::Integer), ("n", CsvType::Number), ("b", CsvType::Boolean)];
    let types = types.map(|(name, it)| (name.to_owned(), it));
    CsvFormat { types: BTreeMap::from(types), ..CsvFormat::default() }
}

#[tokio::test]
async fn rows_are_objects_with_their_columns_in_order() {
    let text = "\u{feff}z,a\r\n1,\"x \"\"y\"\"\ttab\"\r\n\r\n2,\"two\nlines\"\n,ü";
    let expected =
        [r#"{"z":"1","a":"x \"y\"\ttab"}"#, r#"{"z":"2","a":"two\nlines"}"#, r#"{"a":"ü"}"#];
    check(text, CsvFormat::default(), &expected).await;
    let rows = rows_of(text, CsvFormat::default()).await;
    let ends: Vec<u64> = rows.iter().map(|it| it.1).collect();
    let behind = |part: &str| (text.find(part).unwrap() + part.len()) as u64;
    assert_eq!(ends, [behind("tab\"\r\n"), behind("lines\"\n"), text.len() as u64]);
    check("", CsvFormat::default(), &[]).await;
    check("a,b\n", CsvFormat::default(), &[]).await;
    check("a,b\n,\n", CsvFormat::default(), &["{}"]).await;
}

#[tokio::test]
async fn values_are_exactly_of_their_types() {
    let good = "i,n,b\n-12,1.50e3,true\n0,-0.5,false\n99999999999999999999,7,true\n";
    let expected = [
        r#"{"i":-12,"n":1.50e3,"b":true}"#,
        r#"{"i":0,"n":-0.5,"b":false}"#,
        r#"{"i":99999999999999999999,"n":7,"b":true}"#,
    ];
    check(good, typed(), &expected).await;
    for bad in ["1.0,1,true", "+1,1,true", "007,1,true", " 1,1,true", "x,1,true", "-,1,true"] {
        let expected = format!("csv-wrong-type line 2 {bad}");
        check(format!("i,n,b\n{bad}\n"), typed(), &[&expected]).await;
    }
    for bad in ["1,.5,true", "1,1.,true", "1,NaN,true", "1,0x1,true", "1,1,True", "1,1,1"] {
        let expected = format!("csv-wrong-type line 2 {bad}");
        check(format!("i,n,b\n{bad}\n"), typed(), &[&expected]).await;
    }
    let rows = rows_of("i,n,b\n1,secret,true\n", typed()).await;
    let message = &rows[0].2.as_ref().unwrap().1;
    assert_eq!(message, "line 2: column `n` holds no number");

    let lenient = CsvFormat { mismatch: CsvMismatch::Text, ..typed() };
    check("i,n,b\n007,1,yes\n", lenient, &[r#"{"i":"007","n":1,"b":"yes"}"#]).await;
}

#[tokio::test]
async fn the_config_says_what_empty_fields_and_spaces_are() {
    let text = "a,i,n,b\n ,\"\",1,\n";
    check(text, typed(), &[r#"{"a":" ","n":1}"#]).await;
    let null = CsvFormat { empty: CsvEmpty::Null, trim: true, ..typed() };
    check(text, null, &[r#"{"a":null,"i":null,"n":1,"b":null}"#]).await;
    let text_and_types = CsvFormat { empty: CsvEmpty::Text, ..typed() };
    check(text, text_and_types, &["csv-wrong-type line 2  ,\"\",1,"]).await;
    let kept = CsvFormat { empty: CsvEmpty::Text, mismatch: CsvMismatch::Text, ..typed() };
    check(text, kept, &[r#"{"a":" ","i":"","n":1,"b":""}"#]).await;
    let trimmed = CsvFormat { trim: true, ..typed() };
    check(" i ,n,b\n 5 ,\t6, true\n", trimmed, &[r#"{"i":5,"n":6,"b":true}"#]).await;
}

#[tokio::test]
async fn delimiters_quotes_and_names_are_those_of_the_config() {
    let named = |skip_header| CsvFormat {
        columns: CsvColumns::Named { names: vec!["x".to_owned(), "y".to_owned()], skip_header },
        delimiter: b';',
        quote: Some(b'\''),
        ..CsvFormat::default()
    };
    let text = "a;b\n'1;2';\"3\n";
    check(text, named(false), &[r#"{"x":"a","y":"b"}"#, r#"{"x":"1;2","y":"\"3"}"#]).await;
    check(text, named(true), &[r#"{"x":"1;2","y":"\"3"}"#]).await;
    let unquoted = CsvFormat { quote: None, ..named(true) };
    let expected = [r#"csv-field-count line 2 '1;2';"3"#];
    check(text, unquoted, &expected).await;
}

#[tokio::test]
async fn bad_lines_are_told_of_and_cost_nothing_else() {
    let mut text = b"a,b\n1,2\n1\n1,2,3\n\"x\"y,2\n\n\"two\nlines\",\"3\"\n".to_vec();
    text.extend_from_slice(b"\xff,1\n\"never closed,1\n5,6\n");
    let expected = [
        r#"{"a":"1","b":"2"}"#,
        "csv-field-count line 3 1",
        "csv-field-count line 4 1,2,3",
        "csv-broken-quote line 5 \"x\"y,2",
        r#"{"a":"two\nlines","b":"3"}"#,
        "csv-invalid-utf8 line 9 \u{fffd},1",
        "csv-broken-quote line 10 \"never closed,1",
        r#"{"a":"5","b":"6"}"#,
    ];
    check(text, CsvFormat::default(), &expected).await;
}

#[tokio::test]
async fn rows_that_are_too_large_are_told_of() {
    let directory = tempfile::tempdir().unwrap();
    let (large, huge) = ("l".repeat(1_000), "h".repeat(300_000));
    let controls = "\u{1}".repeat(300);
    let text = format!("a\n{large}\n{controls}\n\"open\n{huge}\nlast\n");
    fs::write(directory.path().join("a"), &text).unwrap();
    let limits = LineLimits { record_bytes_max: 900, payload_bytes_max: 100_000 };
    let source = source_of(&directory, CsvFormat::default(), limits);
    let rows = drain(&mut *source.open(&"a".into(), None).await.unwrap(), ALL).await;
    let (kept, end) = (huge[..100_000].to_owned(), text.len() as u64);
    let found: Vec<_> = rows
        .iter()
        .map(|(bytes, end, defect)| {
            let code = defect.as_ref().map(|it| it.0);
            (String::from_utf8(bytes.clone()).unwrap(), *end, code)
        })
        .collect();
    let too_large = Some("record-too-large");
    let expected = [
        (large, 1_003, too_large),
        (controls, 1_304, too_large),
        ("\"open".to_owned(), 1_310, Some("csv-broken-quote")),
        (kept, end - 5, too_large),
        (r#"{"a":"last"}"#.to_owned(), end, None),
    ];
    assert_eq!(found, expected);
    assert!(rows[3].2.as_ref().unwrap().1.starts_with("line 5: the record has 300000 bytes"));
}

#[tokio::test]
async fn a_header_that_is_not_clear_stops_the_file_and_shows_no_value() {
    for (text, part) in [
        ("a,b,a\n1,2,3\n", "line 1, gives column 3 the name of one before"),
        ("a,,c\n1,2,3\n", "line 1, has no name for column 2"),
        ("\n\"a\"b\n1\n", "line 2, has a quote out of place"),
        ("b,n\n1,2\n", "`types` names a column `i`"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("a"), text).unwrap();
        let source = source_of(&directory, typed(), LineLimits::default());
        let error = source.open(&"a".into(), None).await.err().unwrap();
        assert_eq!(error.kind, SourceErrorKind::Broken);
        assert!(error.message.contains(part), "{error}");
    }
}

/// Rows of many lengths with bad ones among them, over several tables, and the records they are.
fn many_rows(rows: usize) -> (String, Vec<Vec<u8>>) {
    let mut text = "\u{feff}id,note\n".to_owned();
    let mut records = Vec::new();
    for i in 0..rows {
        let note = "x".repeat(i * 7919 % 60);
        let (row, record) = match i % 13 {
            3 => (format!("{i},\"{note}\n\"\"{i}\"\"\""), None),
            5 => (format!("{i},{note},more"), Some(format!("{i},{note},more"))),
            7 => (format!("{i},\"{note}\"x"), Some(format!("{i},\"{note}\"x"))),
            _ => (format!("{i},-{note}"), Some(format!(r#"{{"id":"{i}","note":"-{note}"}}"#))),
        };
        let quoted = || format!(r#"{{"id":"{i}","note":"{note}\n\"{i}\""}}"#);
        records.push(record.unwrap_or_else(quoted).into_bytes());
        text.push_str(&row);
        text.push_str(if i % 3 == 0 { "\r\n" } else { "\n" });
    }
    (text, records)
}

#[tokio::test]
async fn rows_pass_the_suite_of_sources_in_every_compression() {
    let directory = tempfile::tempdir().unwrap();
    let mut expected = Vec::new();
    for (name, rows) in [("a.csv", 30_000), ("b.csv.gz", 4_000), ("c.csv.zst", 40), ("d.csv", 0)] {
        let (text, records) = many_rows(rows);
        let text = text.as_bytes();
        let bytes = if name.ends_with(".gz") {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(text).unwrap();
            encoder.finish().unwrap()
        } else if name.ends_with(".zst") {
            zstd::encode_all(text, 1).unwrap()
        } else {
            text.to_vec()
        };
        fs::write(directory.path().join(name), bytes).unwrap();
        expected.push(ExpectedPartition { id: PartitionId::from(name), records });
    }
    let source = source_of(&directory, CsvFormat::default(), LineLimits::default());
    conformance::source(&source, &expected).await;
}

/// What is said of a bad line does not depend on where reading began.
#[tokio::test]
async fn who_resumes_in_the_middle_knows_the_lines_by_their_numbers() {
    let directory = tempfile::tempdir().unwrap();
    let (text, _) = many_rows(20_000);
    fs::write(directory.path().join("a"), &text).unwrap();
    let source = source_of(&directory, CsvFormat::default(), LineLimits::default());
    let mut reader = source.open(&"a".into(), None).await.unwrap();
    let limit = ReadLimit { records_max: 700, bytes_max: 9_000, until: None };
    let all = drain(&mut *reader, limit).await;
    assert!(all.iter().filter(|it| it.2.is_some()).count() > 3_000);
    for row in [0, 3, 12, 9_999, 19_990] {
        let position = Position::from_offset(all[row].1);
        let resume = Resume { position, token: reader.token(position) };
        let mut resumed = source.open(&"a".into(), Some(&resume)).await.unwrap();
        assert!(drain(&mut *resumed, ALL).await == all[row + 1..], "behind row {row}");
        assert_eq!(resumed.token(position), resume.token);
    }
}

#[tokio::test]
async fn real_order_lines_come_without_a_bad_one() {
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/retail");
    if !Path::new(data).exists() {
        eprintln!("SKIPPED: real_order_lines_come_without_a_bad_one: shared/data is absent");
        return;
    }
    let numbers = [("Quantity", CsvType::Integer), ("UnitPrice", CsvType::Number)];
    let types = BTreeMap::from(numbers.map(|(name, it)| (name.to_owned(), it)));
    let mut config = FileSourceConfig::new("rows", ["*.csv"]);
    config.base = data.into();
    config.framing = Framing::Csv(Arc::new(CsvFormat { types, ..CsvFormat::default() }));
    let source = FileSource::new(config);
    let mut rows = 0;
    for partition in source.partitions().await.unwrap() {
        let mut reader = source.open(&partition.id, None).await.unwrap();
        for (record, _, defect) in drain(&mut *reader, ALL).await {
            assert_eq!(defect, None);
            let record: serde_json::Value = serde_json::from_slice(&record).unwrap();
            assert!(record["Quantity"].is_i64() && record["UnitPrice"].is_number());
            rows += 1;
        }
    }
    assert_eq!(rows, 7_419);
}

/// Text in a character set, of characters that it has.
fn encoded(text: &str, name: &str) -> Vec<u8> {
    match name {
        "utf-16le" => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        "utf-16be" => text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
        _ => {
            let encoding = encoding_rs::Encoding::for_label(name.as_bytes()).unwrap();
            let (bytes, _, unmappable) = encoding.encode(text);
            assert!(!unmappable, "{name}");
            bytes.into_owned()
        }
    }
}

fn in_encoding(name: &str) -> CsvFormat {
    CsvFormat { encoding: TextEncoding::named(name).unwrap(), ..CsvFormat::default() }
}

const CHARACTER_SETS: &[&str] = &[
    "utf-8",
    "utf-16le",
    "utf-16be",
    "windows-1252",
    "iso-8859-15",
    "gb18030",
    "big5",
    "shift_jis",
];

#[tokio::test]
async fn rows_are_converted_and_positions_count_the_bytes_of_the_file() {
    for name in CHARACTER_SETS.iter().copied() {
        // A character whose second byte is a backslash or a pipe in the ones that have such.
        let own = match name {
            "shift_jis" => "\u{8868}\u{307d}",
            "big5" => "\u{529f}",
            "gb18030" => "\u{4e02}\u{20ac}",
            _ => "\u{e9}\u{fc}",
        };
        let parts = [
            format!("id,{own}\r\n"),
            format!("1,\"{own}, \"\"x\"\"\"\r\n"),
            "\n".to_owned(),
            format!("2,\"{own}\n{own}\"\n"),
            format!("3,{own}"),
        ];
        let file: Vec<Vec<u8>> = parts.iter().map(|part| encoded(part, name)).collect();
        let rows = rows_of(file.concat(), in_encoding(name)).await;
        let texts: Vec<_> =
            rows.iter().map(|it| String::from_utf8(it.0.clone()).unwrap()).collect();
        let wanted = [
            format!(r#"{{"id":"1","{own}":"{own}, \"x\""}}"#),
            format!(r#"{{"id":"2","{own}":"{own}\n{own}"}}"#),
            format!(r#"{{"id":"3","{own}":"{own}"}}"#),
        ];
        assert_eq!(texts, wanted, "{name}");
        let ends: Vec<u64> = rows.iter().map(|it| it.1).collect();
        let behind = |parts: usize| file[..parts].concat().len() as u64;
        assert_eq!(ends, [behind(2), behind(4), behind(5)], "{name}");
        assert!(rows.iter().all(|it| it.2.is_none()), "{name}");
    }
}

#[tokio::test]
async fn what_is_no_text_in_its_character_set_is_a_dead_letter_as_it_stands() {
    let rows =
        rows_of(b"a,b\n1,\x81\n2,\"\x93\xfa\n\xff\"\n3,\x93\xfa\n", in_encoding("shift_jis")).await;
    let found: Vec<_> = rows
        .iter()
        .map(|(bytes, _, defect)| {
            (bytes.as_slice(), defect.as_ref().map(|it| (it.0, it.1.split(',').next().unwrap())))
        })
        .collect();
    assert_eq!(
        found,
        [
            (
                &b"1,\x81"[..],
                Some(("invalid-encoding", "line 2: the line is not Shift_JIS: convert the file"))
            ),
            (
                b"2,\"\x93\xfa\n\xff\"",
                Some(("invalid-encoding", "line 3: the line is not Shift_JIS: convert the file"))
            ),
            ("{\"a\":\"3\",\"b\":\"\u{65e5}\"}".as_bytes(), None),
        ]
    );
    // A row that is text, and is bad for another reason, also stands as it did.
    let bad = encoded("\u{feff}a,b\r\n1,2,3\r\n", "utf-16le");
    let rows = rows_of(&bad, in_encoding("utf-16le")).await;
    assert_eq!(rows[0].0, encoded("1,2,3", "utf-16le"));
    assert_eq!(rows[0].2.as_ref().unwrap().0, "csv-field-count");
    // Of another character set a mark is text; a lone half of a pair is none.
    let rows = rows_of(b"a\0\n\0\x00\xd8\n\0b\0", in_encoding("utf-16le")).await;
    assert_eq!(rows[0].2.as_ref().unwrap().0, "invalid-encoding");
    assert_eq!(rows[1].0, b"{\"a\":\"b\"}");
}

#[tokio::test]
async fn a_converted_source_keeps_its_promises() {
    for name in ["windows-1252", "utf-16le", "utf-16be", "shift_jis"] {
        let own = if name == "shift_jis" { "\u{8868}" } else { "\u{e9}" };
        let directory = tempfile::tempdir().unwrap();
        let mut text = "id,b\n".to_owned();
        let mut records = Vec::new();
        for i in 0..400 {
            // Some rows are of several lines, and some longer than a fingerprint looks.
            let value = match i % 7 {
                0 => format!("{own}\n\n{own}"),
                1 => own.repeat(90),
                _ => own.to_owned(),
            };
            text.push_str(&format!("{i},\"{value}\"\r\n"));
            let object = serde_json::json!({ "id": i.to_string(), "b": value });
            let (id, b) = (&object["id"], &object["b"]);
            records.push(format!("{{\"id\":{id},\"b\":{b}}}").into_bytes());
        }
        fs::write(directory.path().join("a"), encoded(&text, name)).unwrap();
        let source = source_of(&directory, in_encoding(name), LineLimits::default());
        let expected = ExpectedPartition { id: PartitionId::from("a"), records };
        conformance::source(&source, &[expected]).await;
    }
}
