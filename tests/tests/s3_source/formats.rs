//! What objects hold is read as what files hold: the same records, whatever the format.

use std::{fs, time::Duration};

use tidegate_tests::program::Program;

use super::inbox::{Inbox, assert_each_once, records};

/// What the source of files makes of some files, by the same formats.
fn of_files(inbox: &Inbox, format: &str, pattern: &str) -> Vec<String> {
    let format = format.replacen("{ ", &format!("{{ paths: [\"files/{pattern}\"], "), 1);
    let text = format!(
        "pipeline: files\ndata_dir: files-data\nsource: {{ {format} }}\nsinks: [{{ name: out, \
         directory: {{ path: files-out }} }}]\ndead_letters: {{ directory: files-dead }}\n"
    );
    let file = inbox.path("files.yaml");
    fs::write(&file, text).expect("room");
    Program::new(&file).data("run", &[]);
    let lines = tidegate_tests::program::lines(&inbox.path("files-out"));
    lines.into_iter().map(|it| String::from_utf8(it).expect("text").trim_end().to_owned()).collect()
}

/// Sends files of a folder as objects, and compares.
fn same_as_files(inbox: &Inbox, format: &str, pattern: &str, settings: &str) {
    let expected = of_files(inbox, format, pattern);
    assert!(!expected.is_empty());
    for entry in fs::read_dir(inbox.path("files")).expect("a folder") {
        let path = entry.expect("a file").path();
        let name = path.file_name().expect("it has one").to_string_lossy().into_owned();
        inbox.arrive(&format!("in/{name}"), &fs::read(&path).expect("a file"));
    }
    let program = inbox.pipeline(settings, format, "");
    inbox.run_until(&program, expected.len());
    assert_each_once(&inbox.out(), &expected);
    let verified = program.data("verify", &["--replay"]);
    assert_eq!(verified["conserved"], true, "{verified:#}");
}

fn files(inbox: &Inbox, files: &[(&str, Vec<u8>)]) {
    fs::create_dir(inbox.path("files")).expect("a fresh folder");
    for (name, content) in files {
        fs::write(inbox.path("files").join(name), content).expect("room");
    }
}

#[test]
fn rows_of_csv_plain_and_compressed() {
    let Some(inbox) = Inbox::start("rows_of_csv_plain_and_compressed") else { return };
    let rows: String = (0..30_000).map(|n| format!("{n},\"a \"\"b\"\"\n{n}\",x{n}\n")).collect();
    let text = format!("id;name;rest\n{}", rows.replace(',', ";"));
    let compressed = zstd::encode_all(text.as_bytes(), 3).expect("memory");
    files(&inbox, &[("a.csv", text.clone().into_bytes()), ("b.csv.zst", compressed)]);
    let format = "csv: { delimiter: \";\", types: { id: integer } }";
    same_as_files(&inbox, format, "*", "chunk_size: 1MiB");
}

#[test]
fn rows_of_parquet() {
    let Some(inbox) = Inbox::start("rows_of_parquet") else { return };
    let (text, _) = records("row", 60_000);
    fs::write(inbox.path("input.jsonl"), text).expect("room");
    let text = "pipeline: make\ndata_dir: make-data\nsource: { ndjson: { paths: [input.jsonl] } }\n\
                sinks:\n  - name: made\n    directory: { path: made }\n    format: { \
                parquet: { columns: [{ field: id, kind: utf8 }, { field: text, kind: utf8 }], row_group: { records: 7000 } } }\n\
                dead_letters: { directory: make-dead }\n";
    let file = inbox.path("make.yaml");
    fs::write(&file, text).expect("room");
    Program::new(&file).data("run", &[]);
    let made = tidegate_tests::program::tree(&inbox.path("made"));
    let made: Vec<(String, Vec<u8>)> = made.into_iter().collect();
    files(&inbox, &[("rows.parquet", made[0].1.clone())]);
    assert!(made[0].1.len() > 600 << 10, "more than a page: {}", made[0].1.len());
    same_as_files(&inbox, "parquet: { nulls: keep }", "*", "");
}

#[test]
fn a_large_object_is_read_in_parts_side_by_side_and_is_the_same() {
    let Some(inbox) = Inbox::start("a_large_object_is_read_in_parts") else { return };
    let (text, expected) = records("large", 450_000);
    assert!(text.len() > 40 << 20, "{} bytes", text.len());
    inbox.s3.proxy.slow(Duration::from_millis(40));
    inbox.arrive("in/large.jsonl", text.as_bytes());
    let program = inbox.pipeline("chunk_size: 2MiB\n    chunks: 5", "", "");
    inbox.run_until(&program, expected.len());
    // In order, since an object is one partition.
    let mut lines = Vec::new();
    for (_, content) in tidegate_tests::program::tree(&inbox.path("out")) {
        lines.extend_from_slice(&content);
    }
    assert!(lines == text.as_bytes(), "byte for byte, and in order");
    assert!(inbox.s3.proxy.reading_most() >= 4, "{}", inbox.s3.proxy.reading_most());
    assert!(inbox.s3.proxy.calls("GetObject") < 40, "{}", inbox.s3.proxy.calls("GetObject"));
}

#[test]
fn parts_that_fail_are_read_again_and_nothing_is_lost() {
    let Some(inbox) = Inbox::start("parts_that_fail_are_read_again") else { return };
    let (text, mut expected) = records("plain", 60_000);
    inbox.arrive("in/plain.jsonl", text.as_bytes());
    let (text, more) = records("packed", 60_000);
    inbox.arrive("in/packed.jsonl.zst", &zstd::encode_all(text.as_bytes(), 1).expect("memory"));
    expected.extend(more);
    inbox.s3.proxy.unruly(4, 11);
    let program = inbox.pipeline("chunk_size: 1MiB", "", "range: { records: 20000 }");
    inbox.run_until(&program, expected.len());
    assert!(inbox.s3.proxy.calm() > 3);
    assert_each_once(&inbox.out(), &expected);
}
