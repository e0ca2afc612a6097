//! What a source of Protobuf promises: messages at the offset behind each, the same however they are
//! read, and no length believed before the bytes are there.

#![cfg(feature = "protobuf")]
#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

use std::{fs, io::Write, path::Path, sync::Arc};

use proptest::prelude::*;
use tempfile::TempDir;
use tidegate_connectors::sources::{
    FileSource, FileSourceConfig, Framing, LineLimits, MessageDecoder, MessageFormat,
    MessageFraming, ProtobufFormat, compile_protobuf,
};
use tidegate_core::{
    Source,
    conformance::{self, ExpectedPartition},
    source::{PartitionId, ReadLimit, ReadOutcome, Resume, SourceErrorKind},
};

const ALL: ReadLimit = ReadLimit { records_max: usize::MAX, bytes_max: usize::MAX, until: None };

const PROTO: &str = r#"
syntax = "proto3";
message Row { int32 id = 1; string text = 2; map<string, int32> counts = 3; Row below = 4; }
"#;

fn source_of(directory: &TempDir, framing: MessageFraming, limits: LineLimits) -> FileSource {
    let read = |name: &str| match name {
        "row.proto" => Ok(PROTO.to_owned()),
        _ => Err(std::io::ErrorKind::NotFound.into()),
    };
    let descriptors = compile_protobuf("row.proto", &read).unwrap();
    let decoder = MessageDecoder::new(&descriptors, "Row", MessageFormat::default()).unwrap();
    let mut config = FileSourceConfig::new("rows", ["*"]);
    config.base = directory.path().to_owned();
    let pipeline = "p".to_owned();
    config.framing = Framing::Protobuf(Arc::new(ProtobufFormat { pipeline, framing, decoder }));
    config.limits = limits;
    FileSource::new(config)
}

/// The message of a number, by hand: its tags are few.
fn message(id: u8) -> Vec<u8> {
    let text = "x".repeat(usize::from(id) % 120);
    let mut bytes = vec![0x08, id, 0x12, text.len() as u8];
    bytes.extend_from_slice(text.as_bytes());
    for key in [b'b', b'a'] {
        bytes.extend_from_slice(&[0x1a, 5, 0x0a, 1, key, 0x10, id]);
    }
    bytes
}

fn row(id: u8) -> Vec<u8> {
    let text = match usize::from(id) % 120 {
        0 => String::new(),
        length => format!(",\"text\":\"{}\"", "x".repeat(length)),
    };
    let id_member = if id == 0 { String::new() } else { format!("\"id\":{id}{text},") };
    format!("{{{id_member}\"counts\":{{\"a\":{id},\"b\":{id}}}}}").into_bytes()
}

fn framed(messages: impl IntoIterator<Item = Vec<u8>>, framing: MessageFraming) -> Vec<u8> {
    let mut file = Vec::new();
    for message in messages {
        match framing {
            MessageFraming::U32 => file.extend_from_slice(&(message.len() as u32).to_be_bytes()),
            MessageFraming::Varint if message.len() < 0x80 => file.push(message.len() as u8),
            MessageFraming::Varint => {
                file.extend_from_slice(&[message.len() as u8 | 0x80, (message.len() >> 7) as u8]);
            }
        }
        file.extend_from_slice(&message);
    }
    file
}

#[tokio::test]
async fn a_source_of_protobuf_keeps_its_promises() {
    for framing in [MessageFraming::Varint, MessageFraming::U32] {
        let directory = tempfile::tempdir().unwrap();
        // Far more than a fingerprint's head, of messages shorter and longer than its tail.
        let ids = || (0..300u32).map(|i| (i % 128) as u8);
        let file = framed(ids().map(message), framing);
        fs::write(directory.path().join("a"), &file).unwrap();
        let gzip = fs::File::create(directory.path().join("b.gz")).unwrap();
        let mut gzip = flate2::write::GzEncoder::new(gzip, flate2::Compression::fast());
        gzip.write_all(&file).unwrap();
        gzip.finish().unwrap();
        fs::write(directory.path().join("empty"), "").unwrap();
        let source = source_of(&directory, framing, LineLimits::default());
        let records: Vec<_> = ids().map(row).collect();
        let expected = ["a", "b.gz", "empty"].map(|name| ExpectedPartition {
            id: PartitionId::from(name),
            records: if name == "empty" { Vec::new() } else { records.clone() },
        });
        conformance::source(&source, &expected).await;
    }
}

/// Every record with the offset behind it; of a bad one the code.
async fn read(
    path: &Path,
    directory: &TempDir,
    framing: MessageFraming,
) -> Vec<(usize, u64, String)> {
    let limits = LineLimits { record_bytes_max: 1 << 10, payload_bytes_max: 64 << 10 };
    let source = source_of(directory, framing, limits);
    let name = path.file_name().unwrap().to_str().unwrap();
    let mut reader = source.open(&name.into(), None).await.unwrap();
    let mut all = Vec::new();
    while let ReadOutcome::Records(batch) = reader.read(ALL).await.unwrap() {
        for row in 0..batch.len() {
            let defect = batch.defects.iter().find(|it| it.row as usize == row);
            let code = defect.map_or("", |it| it.code).to_owned();
            all.push((batch.record(row).len(), batch.positions[row].offset(), code));
        }
    }
    all
}

#[tokio::test]
async fn a_length_that_is_a_lie_makes_no_memory_and_one_that_is_too_large_is_passed_over() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a");
    let write = |parts: &[&[u8]]| {
        fs::write(&path, parts.concat()).unwrap();
        path.clone()
    };
    let good = framed([message(1)], MessageFraming::U32);
    let good_bytes = good.len() as u64;
    // A message that is larger than a record may be, and one that is larger than what is kept.
    for bytes in [2000, 200_000] {
        let large = framed([vec![0; bytes]], MessageFraming::U32);
        let end = good_bytes + large.len() as u64;
        let found = read(&write(&[&good, &large, &good]), &directory, MessageFraming::U32).await;
        let codes: Vec<_> = found.iter().map(|it| it.2.as_str()).collect();
        assert_eq!(codes, ["", "record-too-large", ""]);
        assert_eq!(
            found.iter().map(|it| it.1).collect::<Vec<_>>(),
            [good_bytes, end, end + good_bytes]
        );
        assert_eq!(found[1].0, bytes.min(64 << 10));
    }
    for (length, code) in [
        (&b"\x7f\xff\xff\xff"[..], "protobuf-truncated"),
        (b"\x80\0\0\0", "protobuf-lost-framing"),
        (b"\0\0", "protobuf-truncated"),
    ] {
        let found = read(&write(&[&good, length]), &directory, MessageFraming::U32).await;
        assert_eq!(
            found.last().unwrap(),
            &(length.len(), good_bytes + length.len() as u64, code.to_owned())
        );
    }
}

#[tokio::test]
async fn messages_that_lie_too_deep_are_dead_letters() {
    let directory = tempfile::tempdir().unwrap();
    let mut deep = Vec::new();
    for _ in 0..2000 {
        let mut around = vec![0x22];
        let length = deep.len();
        if length < 0x80 {
            around.push(length as u8);
        } else {
            around.extend_from_slice(&[length as u8 | 0x80, (length >> 7) as u8]);
        }
        around.extend_from_slice(&deep);
        deep = around;
        if deep.len() > 900 {
            break;
        }
    }
    let path = directory.path().join("a");
    fs::write(&path, framed([deep, message(3)], MessageFraming::U32)).unwrap();
    let found = read(&path, &directory, MessageFraming::U32).await;
    assert_eq!(
        found.iter().map(|it| it.2.as_str()).collect::<Vec<_>>(),
        ["protobuf-malformed", ""]
    );
}

#[tokio::test]
async fn a_file_that_was_replaced_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a");
    let file = |from: u8| framed((from..from + 100).map(message), MessageFraming::Varint);
    fs::write(&path, file(0)).unwrap();
    let source = source_of(&directory, MessageFraming::Varint, LineLimits::default());
    let mut reader = source.open(&"a".into(), None).await.unwrap();
    let ReadOutcome::Records(batch) =
        reader.read(ReadLimit { records_max: 99, ..ALL }).await.unwrap()
    else {
        panic!("no messages")
    };
    let position = batch.last_position().unwrap();
    let resume = Resume { position, token: reader.token(position) };
    // More may be added behind; what was read may not change.
    fs::write(&path, [file(0), file(1)].concat()).unwrap();
    assert!(source.open(&"a".into(), Some(&resume)).await.is_ok());
    let mut late = file(0);
    late[position.offset() as usize - 3] ^= 1;
    for other in [file(1), late, file(0)[..100].to_vec()] {
        fs::write(&path, other).unwrap();
        let error = source.open(&"a".into(), Some(&resume)).await.err().unwrap();
        assert_eq!(error.kind, SourceErrorKind::Replaced, "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Whatever is in a file: it is read to its end, once, whatever is asked for at a time.
    #[test]
    fn any_bytes_are_read_to_their_end(
        bytes in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..400),
            (prop::collection::vec(0u8..128, 0..20), any::<prop::sample::Index>(), any::<u8>()).prop_map(
                |(ids, place, byte)| {
                    let mut file = framed(ids.into_iter().map(message), MessageFraming::Varint);
                    if !file.is_empty() {
                        let place = place.index(file.len());
                        file[place] = byte;
                    }
                    file
                },
            ),
        ],
    ) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        fs::write(&path, &bytes).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for framing in [MessageFraming::Varint, MessageFraming::U32] {
            let found = runtime.block_on(read(&path, &directory, framing));
            let last = found.last().map_or(0, |it| it.1);
            prop_assert_eq!(last, bytes.len() as u64);
            prop_assert!(found.is_sorted_by(|a, b| a.1 < b.1));
        }
    }
}
