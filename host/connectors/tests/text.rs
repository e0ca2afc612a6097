//! What lines of text promise: records at the offset behind each line, in whatever character set it
//! is, the same however they are read, and bad lines told apart from good ones.

#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

use std::{collections::BTreeMap, fs, io::Write, sync::Arc};

use tempfile::TempDir;
use tidegate_connectors::sources::{
    CsvMismatch, CsvType, FileSource, FileSourceConfig, Framing, LineLimits, LinePattern,
    PatternText, TextEncoding, TextForm, TextFormat,
};
use tidegate_core::{
    Source,
    conformance::{self, ExpectedPartition},
    source::{ReadLimit, ReadOutcome, Resume},
};

const ALL: ReadLimit = ReadLimit { records_max: usize::MAX, bytes_max: usize::MAX, until: None };

fn pattern() -> TextForm {
    let text = PatternText::Grok {
        pattern: "%{WORD:level} %{NUMBER:took:float}(?: %{GREEDYDATA:note})?".to_owned(),
        definitions: BTreeMap::new(),
    };
    let types = BTreeMap::from([("took".to_owned(), CsvType::Number)]);
    TextForm::Fields(Arc::new(LinePattern::new(text, types, CsvMismatch::Reject).unwrap()))
}

fn source_of(directory: &TempDir, encoding: &str, form: TextForm) -> FileSource {
    let mut config = FileSourceConfig::new("lines", ["*"]);
    config.base = directory.path().to_owned();
    let encoding = TextEncoding::named(encoding).unwrap();
    config.framing = Framing::Text(Arc::new(TextFormat { encoding, form }));
    config.limits = LineLimits { record_bytes_max: 60, payload_bytes_max: 64 << 10 };
    FileSource::new(config)
}

/// Every record with the offset behind it; of a bad one the code and the message, and what it is.
async fn read(bytes: &[u8], encoding: &str, form: TextForm) -> Vec<(String, u64)> {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("a"), bytes).unwrap();
    let source = source_of(&directory, encoding, form);
    let mut reader = source.open(&"a".into(), None).await.unwrap();
    let mut all = Vec::new();
    while let ReadOutcome::Records(batch) = reader.read(ALL).await.unwrap() {
        for row in 0..batch.len() {
            let record = String::from_utf8_lossy(batch.record(row)).into_owned();
            let defect = batch.defects.iter().find(|it| it.row as usize == row);
            let said = match defect {
                Some(defect) => {
                    let line = defect.message.split(':').next().unwrap();
                    format!("{} {line} {record}", defect.code)
                }
                None => record,
            };
            all.push((said, batch.positions[row].offset()));
        }
    }
    all
}

#[tokio::test]
async fn lines_are_taken_apart_and_bad_ones_told() {
    let long = "x".repeat(61);
    let text = format!("\u{feff}low 1.5\r\n\nhigh 2 and a \"note\"\nlow x\nhigh .5\n{long}\nlow 3");
    let offset = |part: &str| (text.find(part).unwrap() + part.len()) as u64;
    let expected = [
        (r#"{"level":"low","took":1.5}"#.to_owned(), offset("1.5\r\n")),
        (r#"{"level":"high","note":"and a \"note\"","took":2}"#.to_owned(), offset("note\"\n")),
        ("text-no-match line 4 low x".to_owned(), offset("low x\n")),
        ("text-wrong-type line 5 high .5".to_owned(), offset(".5\n")),
        (format!("record-too-large line 6 {long}"), offset("x\nlow 3") - 5),
        (r#"{"level":"low","took":3}"#.to_owned(), text.len() as u64),
    ];
    assert_eq!(read(text.as_bytes(), "utf-8", pattern()).await, expected);
}

#[tokio::test]
async fn character_sets_are_converted_and_positions_are_those_of_the_file() {
    let found = read(b"{\"a\":\"caf\xe9\"}\n{\"a\":1}\n", "iso-8859-1", TextForm::Json).await;
    let expected = [("{\"a\":\"caf\u{e9}\"}".to_owned(), 13), ("{\"a\":1}".to_owned(), 21)];
    assert_eq!(found, expected);
    // A character one of whose bytes is that of a line feed, and half a pair.
    let mut wide: Vec<u8> =
        "\u{feff}{\"a\":\"\u{0a0a}\"}\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let first = wide.len() as u64;
    wide.extend(b"\x00\xd8\n\0\n\0");
    let bad = wide.len() as u64 - 2;
    wide.extend(b"7\0");
    let found = read(&wide, "utf-16le", TextForm::Json).await;
    assert_eq!(found[0], ("{\"a\":\"\u{0a0a}\"}".to_owned(), first));
    assert!(found[1].0.starts_with("invalid-encoding line 2 "), "{found:?}");
    assert_eq!((found[1].1, &found[2]), (bad, &("7".to_owned(), wide.len() as u64)));
    let found = read(b"{\"a\":1}\n\xff\n2\n", "utf-8", TextForm::Json).await;
    assert_eq!(found[1].0, "invalid-encoding line 2 \u{fffd}");
    assert_eq!(found[2], ("2".to_owned(), 12));
}

#[tokio::test]
async fn a_source_of_text_keeps_its_promises() {
    for (encoding, compressed) in [("utf-8", false), ("utf-16be", false), ("utf-16le", true)] {
        let mut text = String::new();
        let mut records = Vec::new();
        for i in 0..400 {
            let note = "\u{e9}".repeat(i % 7);
            text.push_str(&format!("low {i} n{note}\n"));
            records.push(format!(r#"{{"level":"low","note":"n{note}","took":{i}}}"#).into_bytes());
            if i % 50 == 0 {
                text.push_str("\r\nbad\n");
                records.push(bytes_of("bad", encoding));
            }
        }
        let mut bytes = bytes_of(&text, encoding);
        let mut name = "a";
        if compressed {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&bytes).unwrap();
            (name, bytes) = ("a.gz", encoder.finish().unwrap());
        }
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(name), bytes).unwrap();
        let source = source_of(&directory, encoding, pattern());
        conformance::source(&source, &[ExpectedPartition { id: name.into(), records }]).await;
    }
}

fn bytes_of(text: &str, encoding: &str) -> Vec<u8> {
    match encoding {
        "utf-16le" => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        "utf-16be" => text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
        _ => text.as_bytes().to_vec(),
    }
}

#[tokio::test]
async fn behind_a_position_bad_lines_keep_their_numbers() {
    for encoding in ["utf-8", "utf-16le"] {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("a"), bytes_of("low 1\n\nlow 2\nbad\n", encoding)).unwrap();
        let source = source_of(&directory, encoding, pattern());
        let mut reader = source.open(&"a".into(), None).await.unwrap();
        let limit = ReadLimit { records_max: 1, ..ALL };
        let ReadOutcome::Records(batch) = reader.read(limit).await.unwrap() else { panic!() };
        let position = batch.last_position().unwrap();
        let resume = Resume { position, token: reader.token(position) };
        let mut reader = source.open(&"a".into(), Some(&resume)).await.unwrap();
        let ReadOutcome::Records(batch) = reader.read(ALL).await.unwrap() else { panic!() };
        assert!(batch.defects[0].message.starts_with("line 4: "), "{:?}", batch.defects);
    }
}
