//! What file sources promise: every record once, at the offset behind it, again after a restart,
//! and never from a file that is another one.

#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

use std::{fs, io::Write, path::Path};

use tempfile::TempDir;
use tidegate_connectors::sources::{
    Compression, FileSource, FileSourceConfig, Framing, LineLimits, StandardInput,
    StandardInputConfig,
};
use tidegate_core::{
    Position, Source,
    conformance::{self, ExpectedPartition},
    source::{PartitionId, ReadLimit, ReadOutcome, Reader, Replay, Resume, SourceErrorKind},
};

const ALL: ReadLimit = ReadLimit { records_max: usize::MAX, bytes_max: usize::MAX, until: None };

/// A record as a test looks at it: its text, the offset behind it, and its defect's code.
type Seen = (String, u64, Option<&'static str>);

fn seen(text: &str, offset: u64) -> Seen {
    (text.to_owned(), offset, None)
}

async fn drain(reader: &mut dyn Reader, limit: ReadLimit) -> Vec<Seen> {
    let mut all = Vec::new();
    loop {
        match reader.read(limit).await.unwrap() {
            ReadOutcome::Records(batch) => {
                assert!(!batch.is_empty());
                for row in 0..batch.len() {
                    let text = String::from_utf8_lossy(batch.record(row)).into_owned();
                    let defect = batch.defects.iter().find(|defect| defect.row as usize == row);
                    all.push((text, batch.positions[row].offset(), defect.map(|it| it.code)));
                }
            }
            ReadOutcome::Idle => {}
            ReadOutcome::Ended => return all,
        }
    }
}

fn source_of(directory: &TempDir, patterns: &[&str]) -> FileSource {
    let mut config = FileSourceConfig::new("files", patterns.iter().copied());
    config.base = directory.path().to_owned();
    FileSource::new(config)
}

async fn open(source: &dyn Source, name: &str, after: Option<&Resume>) -> Box<dyn Reader> {
    source.open(&PartitionId::from(name), after).await.unwrap()
}

async fn names(source: &dyn Source) -> Vec<String> {
    source.partitions().await.unwrap().into_iter().map(|it| it.id.to_string()).collect()
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn write(directory: &TempDir, name: &str, content: impl AsRef<[u8]>) {
    let path = directory.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

#[tokio::test]
async fn lines_are_records_and_blank_ones_are_none() {
    let directory = tempfile::tempdir().unwrap();
    write(&directory, "a", "one\ntwo\r\n\n\r\n three \nfour");
    let source = source_of(&directory, &["a"]);
    let mut reader = open(&source, "a", None).await;
    let expected = [seen("one", 4), seen("two", 9), seen(" three ", 20), seen("four", 24)];
    assert_eq!(drain(&mut *reader, ALL).await, expected);
    assert_eq!(source.replay(), Replay::Exact);
}

/// Numbered lines of many lengths, some of them blank, over several chunks.
fn many_lines() -> String {
    (0..30_000).fold(String::new(), |mut text, i| {
        text.push_str(&format!("{i} {}\n", "x".repeat(i * 7919 % 60)));
        text.push_str(if i % 97 == 0 { "\n" } else { "" });
        text
    })
}

#[tokio::test]
async fn every_resume_goes_on_behind_its_record_in_every_compression() {
    let directory = tempfile::tempdir().unwrap();
    let text = many_lines();
    let (first, second) = text.as_bytes().split_at(text.len() / 3);
    write(&directory, "plain", &text);
    write(&directory, "members.gz", [gzip(first), gzip(second)].concat());
    let frames = [first, second].map(|part| zstd::encode_all(part, 1).unwrap());
    write(&directory, "frames.zst", frames.concat());
    let source = source_of(&directory, &["*"]);
    assert_eq!(names(&source).await, ["frames.zst", "members.gz", "plain"]);

    let mut expected = None;
    for name in ["plain", "members.gz", "frames.zst"] {
        let mut reader = open(&source, name, None).await;
        let limit = ReadLimit { records_max: 777, bytes_max: 20_000, until: None };
        let all = drain(&mut *reader, limit).await;
        assert_eq!(all.len(), 30_000);
        assert_eq!(&all, expected.get_or_insert(all.clone()), "{name}");

        for row in [0, 1, 50, 200, 9_999, 29_998, 29_999] {
            let position = Position::from_offset(all[row].1);
            let resume = Resume { position, token: reader.token(position) };
            let mut resumed = open(&source, name, Some(&resume)).await;
            assert_eq!(drain(&mut *resumed, ALL).await, all[row + 1..], "{name} row {row}");
            assert_eq!(resumed.token(position), resume.token);
        }
    }
}

#[tokio::test]
async fn a_replay_reads_just_its_range() {
    let directory = tempfile::tempdir().unwrap();
    write(&directory, "a", many_lines());
    let source = source_of(&directory, &["a"]);
    let mut reader = open(&source, "a", None).await;
    let all = drain(&mut *reader, ALL).await;
    for (start, end) in [(0, 1), (5, 6), (100, 20_000), (29_998, 29_999)] {
        let position = Position::from_offset(all[start].1);
        let resume = Resume { position, token: reader.token(position) };
        let mut replay = open(&source, "a", Some(&resume)).await;
        let until = Some(Position::from_offset(all[end].1));
        let limit = ReadLimit { records_max: 1000, bytes_max: 1 << 20, until };
        assert_eq!(drain(&mut *replay, limit).await, all[start + 1..=end]);
    }
}

#[tokio::test]
async fn limits_bound_a_batch_but_one_record_always_fits() {
    let directory = tempfile::tempdir().unwrap();
    write(&directory, "a", "12345678\n12345678\n12345678\n1\n2\n3\n");
    let source = source_of(&directory, &["a"]);
    let mut reader = open(&source, "a", None).await;
    let mut sizes = Vec::new();
    let limit = ReadLimit { records_max: 2, bytes_max: 4, until: None };
    while let ReadOutcome::Records(batch) = reader.read(limit).await.unwrap() {
        sizes.push(batch.len());
    }
    assert_eq!(sizes, [1, 1, 1, 2, 1]);
}

#[tokio::test]
async fn a_replaced_file_is_not_resumed_into() {
    let text = many_lines();
    let shorter = &text[..1000];
    let moved = format!("{}y\n{}", &text[..5000], &text[5000..]);
    let begins_differently = text.replacen("0 ", "00", 1);
    for (what, content) in [("shorter", shorter), ("moved", &moved), ("other", &begins_differently)]
    {
        for compressed in [false, true] {
            let directory = tempfile::tempdir().unwrap();
            let name = if compressed { "a.gz" } else { "a" };
            let put = |content: &str| match compressed {
                true => write(&directory, name, gzip(content.as_bytes())),
                false => write(&directory, name, content),
            };
            put(&text);
            let source = source_of(&directory, &[name]);
            let mut reader = open(&source, name, None).await;
            let all = drain(&mut *reader, ALL).await;
            let position = Position::from_offset(all[20_000].1);
            let resume = Resume { position, token: reader.token(position) };

            put(content);
            let Err(error) = source.open(&PartitionId::from(name), Some(&resume)).await else {
                panic!("{what} was resumed into");
            };
            assert_eq!(error.kind, SourceErrorKind::Replaced, "{what}");
            assert!(error.message.contains("is not the file that was read before"), "{error}");
        }
    }
}

#[tokio::test]
async fn a_line_that_grew_behind_the_end_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let text = "some line that is long enough\n".repeat(200);
    write(&directory, "a", format!("{text}to"));
    let source = source_of(&directory, &["a"]);
    let mut reader = open(&source, "a", None).await;
    let all = drain(&mut *reader, ALL).await;
    let position = Position::from_offset(all[200].1);
    let resume = Resume { position, token: reader.token(position) };
    assert!(drain(&mut *open(&source, "a", Some(&resume)).await, ALL).await.is_empty());

    write(&directory, "a", format!("{text}tomorrow\n"));
    let error = source.open(&PartitionId::from("a"), Some(&resume)).await.err().unwrap();
    assert_eq!(error.kind, SourceErrorKind::Replaced);
}

#[tokio::test]
async fn a_record_that_is_too_large_is_told_of_and_kept_whole_as_far_as_it_may() {
    let directory = tempfile::tempdir().unwrap();
    let (large, huge) = ("l".repeat(2_000), "h".repeat(300_000));
    write(&directory, "a", format!("one\n{large}\ntwo\n{huge}\nthree\n{huge}"));
    let mut config = FileSourceConfig::new("files", ["a"]);
    config.base = directory.path().to_owned();
    config.limits = LineLimits { record_bytes_max: 1_000, payload_bytes_max: 100_000 };
    let source = FileSource::new(config);
    let all = drain(&mut *open(&source, "a", None).await, ALL).await;
    let too_large = Some("record-too-large");
    let end = 2_009 + 300_001;
    assert_eq!(
        all,
        [
            seen("one", 4),
            (large, 2_005, too_large),
            seen("two", 2_009),
            (huge[..100_000].to_owned(), end, too_large),
            seen("three", end + 6),
            (huge[..100_000].to_owned(), end + 6 + 300_000, too_large),
        ]
    );
}

#[tokio::test]
async fn damaged_compression_stops_behind_the_last_whole_line_and_says_where() {
    let directory = tempfile::tempdir().unwrap();
    let text = many_lines();
    let whole = gzip(text.as_bytes());
    write(&directory, "short.gz", &whole[..whole.len() / 2]);
    let mut flipped = zstd::encode_all(text.as_bytes(), 1).unwrap();
    let middle = flipped.len() / 2;
    flipped[middle..middle + 8].fill(0xff);
    write(&directory, "flipped.zst", flipped);
    write(&directory, "never.gz", "this was never compressed\n");
    let source = source_of(&directory, &["*"]);
    for (name, at_least) in [("short.gz", 1), ("flipped.zst", 0), ("never.gz", 0)] {
        let mut reader = open(&source, name, None).await;
        let mut records = 0;
        let error = loop {
            match reader.read(ALL).await {
                Ok(ReadOutcome::Records(batch)) => {
                    for row in 0..batch.len() {
                        let number = format!("{} ", records + row);
                        assert!(batch.record(row).starts_with(number.as_bytes()), "{name}");
                    }
                    records += batch.len();
                }
                Ok(other) => panic!("{name}: {other:?}"),
                Err(error) => break error,
            }
        };
        assert!(records >= at_least, "{name}: {records}");
        assert_eq!(error.kind, SourceErrorKind::Broken, "{name}");
        assert!(error.message.contains("is damaged"), "{error}");
    }
}

#[tokio::test]
async fn partitions_are_the_files_that_match_each_once_under_one_name() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["in/b.ndjson", "in/a.ndjson", "in/deep/c.ndjson", "in/.hidden.ndjson", "in/[x]"] {
        write(&directory, name, "1\n");
    }
    let patterns = ["in/*.ndjson", "./in//a.ndjson", "in/**/c.ndjson", "in/[x]", "none/*"];
    let source = source_of(&directory, &patterns);
    let expected = ["in/[x]", "in/a.ndjson", "in/b.ndjson", "in/deep/c.ndjson"];
    assert_eq!(names(&source).await, expected);

    write(&directory, "in/aa.ndjson", "1\n");
    fs::remove_file(directory.path().join("in/a.ndjson")).unwrap();
    let expected = ["in/[x]", "in/aa.ndjson", "in/b.ndjson", "in/deep/c.ndjson"];
    assert_eq!(names(&source).await, expected);
}

#[tokio::test]
async fn a_named_file_that_is_missing_at_the_start_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let error = source_of(&directory, &["typo.ndjson"]).partitions().await.unwrap_err();
    assert_eq!(error.kind, SourceErrorKind::Broken);
    assert!(error.message.starts_with("there is no file"), "{error}");
    let error = source_of(&directory, &["."]).partitions().await.unwrap_err();
    assert!(error.message.contains("is a directory"), "{error}");
}

fn whole_files(directory: &TempDir, limits: LineLimits) -> FileSource {
    let mut config = FileSourceConfig::new("files", ["*"]);
    config.base = directory.path().to_owned();
    config.framing = Framing::WholeFile;
    config.limits = limits;
    FileSource::new(config)
}

#[tokio::test]
async fn a_whole_file_is_one_record_even_if_it_is_empty_or_damaged() {
    let directory = tempfile::tempdir().unwrap();
    write(&directory, "a.json", "{\n}\n");
    write(&directory, "b.json", "");
    write(&directory, "c.json.gz", gzip(b"[1]"));
    write(&directory, "d.json.gz", "not gzip");
    let source = whole_files(&directory, LineLimits::default());
    for (name, expected) in [
        ("a.json", seen("{\n}\n", 1)),
        ("b.json", seen("", 1)),
        ("c.json.gz", seen("[1]", 1)),
        ("d.json.gz", ("not gzip".to_owned(), 1, Some("not-decompressible"))),
    ] {
        let mut reader = open(&source, name, None).await;
        assert_eq!(drain(&mut *reader, ALL).await, [expected]);
        let position = Position::from_offset(1);
        let resume = Resume { position, token: reader.token(position) };
        assert!(drain(&mut *open(&source, name, Some(&resume)).await, ALL).await.is_empty());
        fs::write(directory.path().join(name), "changed").unwrap();
        let error = source.open(&PartitionId::from(name), Some(&resume)).await.err().unwrap();
        assert_eq!(error.kind, SourceErrorKind::Replaced, "{name}");
    }
}

#[tokio::test]
async fn standard_input_is_read_once_as_lines_come() {
    let (stream, mut writer) = std::io::pipe().unwrap();
    let config = StandardInputConfig {
        name: "in".to_owned(),
        run: "r1".to_owned(),
        compression: Compression::Plain,
        limits: LineLimits::default(),
    };
    let source = StandardInput::from_reader(config, stream);
    assert_eq!(source.replay(), Replay::Never);
    let partition = source.partitions().await.unwrap().remove(0).id;
    assert_eq!(&*partition.0, "stdin:r1");
    let mut reader = source.open(&partition, None).await.unwrap();

    // The pipe stays open: the first line must not wait for its end.
    writer.write_all(b"one\ntw").unwrap();
    let ReadOutcome::Records(batch) = reader.read(ALL).await.unwrap() else { panic!() };
    assert_eq!((batch.len(), batch.record(0)), (1, &b"one"[..]));
    writer.write_all(b"o\nthree").unwrap();
    drop(writer);
    assert_eq!(drain(&mut *reader, ALL).await, [seen("two", 8), seen("three", 13)]);

    let again = source.open(&partition, None).await.err().unwrap();
    assert_eq!(again.kind, SourceErrorKind::Trimmed);
}

#[tokio::test]
async fn real_events_come_as_the_lines_that_they_are() {
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/events");
    if !Path::new(data).exists() {
        eprintln!("SKIPPED: real_events_come_as_the_lines_that_they_are: shared/data is absent");
        return;
    }
    let mut config = FileSourceConfig::new("files", ["*.ndjson"]);
    config.base = data.into();
    let source = FileSource::new(config);
    for name in names(&source).await {
        let text = fs::read_to_string(Path::new(data).join(&name)).unwrap();
        let expected: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
        let all = drain(&mut *open(&source, &name, None).await, ALL).await;
        let texts: Vec<&str> = all.iter().map(|(text, ..)| text.as_str()).collect();
        assert_eq!(texts, expected, "{name}");
    }
}

#[tokio::test]
async fn files_pass_the_suite_of_sources() {
    let directory = tempfile::tempdir().unwrap();
    let lines = |count: usize| -> Vec<Vec<u8>> {
        (0..count).map(|i| format!("line {i} {}", "x".repeat(i % 50)).into_bytes()).collect()
    };
    let mut expected = Vec::new();
    for (name, count) in [("a.ndjson", 5_000), ("b.ndjson.gz", 40), ("empty.ndjson", 0)] {
        let records = lines(count);
        let text: Vec<u8> = records.iter().flat_map(|line| [line, &b"\n"[..]].concat()).collect();
        write(&directory, name, if name.ends_with(".gz") { gzip(&text) } else { text });
        expected.push(ExpectedPartition { id: PartitionId::from(name), records });
    }
    conformance::source(&source_of(&directory, &["*"]), &expected).await;

    let directory = tempfile::tempdir().unwrap();
    write(&directory, "a.json", "{}");
    write(&directory, "b.json", "");
    let whole = |name: &str, content: &[u8]| ExpectedPartition {
        id: PartitionId::from(name),
        records: vec![content.to_vec()],
    };
    let expected = [whole("a.json", b"{}"), whole("b.json", b"")];
    conformance::source(&whole_files(&directory, LineLimits::default()), &expected).await;
}

/// What lines are, said plainly: texts between line feeds, without a carriage return at their end,
/// and the offset behind each; blank ones left out.
fn plainly(text: &str) -> Vec<Seen> {
    let mut offset = 0;
    let mut all = Vec::new();
    for line in text.split_inclusive('\n') {
        offset += line.len() as u64;
        let line = line.strip_suffix('\n').unwrap_or(line);
        let line = line.strip_suffix('\r').unwrap_or(line);
        if !line.is_empty() {
            all.push(seen(line, offset));
        }
    }
    all
}

#[tokio::test]
async fn random_texts_are_split_as_a_plain_reading_splits_them() {
    use rand::{RngExt, SeedableRng};
    for seed in 0..300 {
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        let mut text = String::new();
        for _ in 0..random.random_range(0..200) {
            match random.random_range(0..8u8) {
                0..=2 => text.push('\n'),
                3 => text.push_str("\r\n"),
                4 => text.push('\r'),
                5 => text.push_str(&"long ".repeat(random.random_range(0..20))),
                _ => text.push('x'),
            }
        }
        let directory = tempfile::tempdir().unwrap();
        write(&directory, "a", &text);
        let source = source_of(&directory, &["a"]);
        let limit = ReadLimit {
            records_max: random.random_range(1..10),
            bytes_max: random.random_range(1..100),
            until: None,
        };
        let mut reader = open(&source, "a", None).await;
        let all = drain(&mut *reader, limit).await;
        assert_eq!(all, plainly(&text), "seed {seed}");
        for (row, (_, offset, _)) in all.iter().enumerate() {
            let position = Position::from_offset(*offset);
            let resume = Resume { position, token: reader.token(position) };
            let rest = drain(&mut *open(&source, "a", Some(&resume)).await, limit).await;
            assert_eq!(rest, all[row + 1..], "seed {seed} row {row}");
        }
    }
}
