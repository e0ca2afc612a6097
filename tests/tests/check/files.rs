//! Files, directories and tables, where nothing of AWS is needed.

use std::{fs, path::Path};

use tidegate_tests::program::{Program, tree};

use super::world::Probes;

fn pipeline(folder: &Path, source: &str) -> Program {
    let text = format!(
        r#"
pipeline: files
data_dir: data
source: {{ name: in, {source} }}
sinks:
  - {{ name: out, directory: {{ path: out }} }}
  - {{ name: none, blackhole: {{}} }}
dead_letters: {{ directory: dead }}
"#
    );
    let file = folder.join("pipeline.yaml");
    fs::write(&file, text).expect("room for the pipeline");
    Program::new(file)
}

#[test]
fn files_are_read_as_the_config_says_and_directories_are_as_they_were() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    fs::create_dir(folder.join("in")).expect("room");
    fs::write(folder.join("in/a.jsonl"), "{\"id\":1}\nno JSON\n{\"id\":2}\n").expect("room");
    let program = pipeline(folder, "ndjson: { paths: ['in/*.jsonl'] }");
    let before = tree(folder);
    let probes = Probes::of(&program, "write", &[]);
    probes.nothing_failed();
    let read = probes.one("file source `in`", "read file");
    assert_eq!(read.outcome, "verified");
    assert_eq!(read.why, "the first 3 records, 1 of them would be dead letters");
    let written = probes.one("directory sink `out`", "create, sync, rename and delete");
    assert_eq!(written.outcome, "verified");
    assert_eq!(tree(folder), before);
    for missing in ["data", "out", "dead"] {
        assert!(!folder.join(missing).exists(), "{missing}");
    }

    // Without a level nothing is asked, and the answer is what it always was.
    let data = program.data("check", &[]);
    assert!(data.get("probes").is_none() && data.get("plan").is_some(), "{data:#}");
}

#[test]
fn a_format_that_no_record_has_fails_and_a_directory_that_is_none() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    fs::write(folder.join("a.csv"), "id,name\n1,secret\n2,secret\n").expect("room");
    fs::write(folder.join("out"), "somebody's").expect("room");
    let program = pipeline(folder, "ndjson: { paths: [a.csv] }");
    let probes = Probes::of(&program, "write", &[]);
    assert_eq!(probes.code, 4);
    let read = probes.one("file source `in`", "read file");
    assert!(read.why.contains("none of the first 3 records"), "{read:?}");
    assert!(!format!("{probes:?}").contains("secret"), "no payload is shown");
    let out = probes.one("directory sink `out`", "open directory");
    assert_eq!((out.outcome.as_str(), out.why.as_str()), ("failed", "it is no directory"));
    assert_eq!(probes.failed().len(), 2, "{:#?}", probes.failed());

    let right = pipeline(folder, "csv: { paths: [a.csv] }");
    assert_eq!(
        Probes::of(&right, "read", &[]).one("file source `in`", "read file").outcome,
        "verified"
    );
    let missing = pipeline(folder, "csv: { paths: [b.csv] }");
    let missing = Probes::of(&missing, "connect", &[]);
    assert_eq!(missing.one("file source `in`", "list files").outcome, "failed");
    let followed = pipeline(folder, "ndjson: { paths: [b.jsonl], follow: true }");
    let followed = Probes::of(&followed, "read", &[]);
    assert_eq!(followed.one("file source `in`", "list files").outcome, "not_verified");
}

#[test]
fn a_time_without_a_unit_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let program = pipeline(folder.path(), "generator: {}");
    let mut run = program.start("check", &["--level", "read", "--timeout", "10"]);
    assert_eq!(run.wait().expect("it ends").code(), Some(2));
    let probes = Probes::of(&program, "read", &["--timeout", "500ms"]);
    probes.nothing_failed();
    assert_eq!(probes.verified("generator source `in`"), ["open"]);
}
