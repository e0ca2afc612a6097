//! Every example runs, and leaves what it left when somebody last looked at it.
//!
//! What is expected is committed as counts and digests: most of the input is not ours.
//! `TIDEGATE_BLESS=1` writes it anew.

use std::{fs, os::unix::fs::symlink, path::Path};

use serde_json::{Value, json};
use tidegate_core::Digest;
use tidegate_tests::program::{Program, lines, root, shared_data, tree};

/// One digest over the names and contents of all files under a directory.
fn digest(directory: &Path) -> (usize, String) {
    let files = tree(directory);
    let all = files.iter().fold(Vec::new(), |mut all, (name, content)| {
        all.extend_from_slice(name.as_bytes());
        all.extend_from_slice(&Digest::of(content).0);
        all
    });
    (files.len(), Digest::of(&all).to_string())
}

/// One digest over what dead letters say of their records. Not over all their bytes: they name the
/// digests of the components, which depend on where those were built.
fn digest_of_letters(directory: &Path) -> (usize, String) {
    let letters = lines(directory);
    let all = letters.iter().fold(String::new(), |mut all, letter| {
        let letter: Value = serde_json::from_slice(letter).expect("a dead letter is JSON");
        let etl = &letter["etl"];
        for part in
            ["stage", "errorCode", "errorMessage", "rule", "partition", "position", "payloadSha256"]
        {
            all.push_str(&etl[part].to_string());
        }
        all
    });
    (letters.len(), Digest::of(all.as_bytes()).to_string())
}

/// Runs an example with its output in a fresh folder, and holds what it leaves against what is
/// expected.
fn check(name: &str, program: Program, out: &Path, parts: &[&str]) {
    let summary = program.data("run", &["--clock", "2026-03-01T00:00:00Z"]);
    let counts = ["read", "filtered", "dropped", "delivered", "dead_lettered"];
    let mut found = serde_json::Map::new();
    for count in counts {
        found.insert(count.to_owned(), summary[count].clone());
    }
    for part in parts {
        let (files, digest) = digest(&out.join(part));
        found.insert((*part).to_owned(), json!({ "files": files, "digest": digest }));
    }
    let (letters, digest) = digest_of_letters(&out.join("dead-letters"));
    assert_eq!(summary["dead_lettered"], letters as u64, "{name}");
    found.insert("dead-letters".to_owned(), json!({ "letters": letters, "digest": digest }));
    let found = Value::Object(found);

    let verified = program.data("verify", &[]);
    assert_eq!(verified["conserved"], true, "{name}: {verified:#}");
    let read = found["read"].as_u64().expect("a count");
    let rest: u64 = counts[1..].iter().map(|it| found[it].as_u64().expect("a count")).sum();
    assert_eq!(read, rest, "{name}: {found:#}");

    let file = root().join("examples").join(name).join("expected.json");
    if std::env::var_os("TIDEGATE_BLESS").is_some() {
        fs::write(&file, format!("{found:#}\n")).expect("the example's folder can be written to");
    }
    let expected = fs::read_to_string(&file).expect("the example says what it leaves");
    let expected: Value = serde_json::from_str(&expected).expect("it says so in JSON");
    assert_eq!(found, expected, "{name} leaves something else; TIDEGATE_BLESS=1 takes it as right");
}

/// The names of partitions are the paths as the pipeline gives them: relative ones, or they would
/// be others on every machine.
fn over_shared(name: &str, input: &str, parts: &[&str]) {
    let Some(data) = shared_data(&format!("example {name}")) else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let files = fs::canonicalize(data.join(input)).expect("the input is there");
    symlink(files, folder.path().join(input)).expect("a fresh folder");
    let pipeline = folder.path().join("pipeline.yaml");
    fs::copy(root().join("examples").join(name).join("pipeline.yaml"), &pipeline)
        .expect("the example has a pipeline");
    let program = Program::new(pipeline).with(&input.to_uppercase(), input);
    check(name, program, &folder.path().join("out"), parts);
}

/// The tests that lie beside an example's pipeline pass.
fn passes_its_tests(name: &str, variables: &[(&str, &str)]) {
    let program = Program::new(root().join("examples").join(name).join("pipeline.yaml"));
    let program =
        variables.iter().fold(program, |program, (name, value)| program.with(name, value));
    let tested = program.run("test", &[]);
    assert_eq!(tested.code, 0, "{name}: {:#}\n{}", tested.json, tested.stderr);
    assert!(tested.json["data"]["passed"].as_u64() > Some(0), "{name}");
}

#[test]
fn examples_pass_their_own_tests() {
    passes_its_tests("events", &[]);
    passes_its_tests("retail", &[("RETAIL", "retail")]);
}

#[test]
fn generated_events() {
    let out = tempfile::tempdir().expect("a temporary folder");
    let program = Program::new(root().join("examples/events/pipeline.yaml"))
        .with("DEMO_DIR", out.path())
        .with("DEMO_RECORDS", "20000")
        .with("DEMO_SEED", "1");
    check("events", program, out.path(), &["processed"]);
}

#[test]
fn driver_events() {
    over_shared("cars", "events", &["pickups", "dropoffs"]);
}

#[test]
fn changes_of_a_table() {
    over_shared("debezium", "events", &["changes", "cancelled"]);
}

#[test]
fn webhooks() {
    over_shared("github", "events", &["webhooks"]);
}

/// One example writes files and the other reads them: each holds what the first left to both.
#[test]
fn parquet_out_and_in() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name);
    for name in ["parquet", "parquet-back"] {
        // The files' names are names of partitions, and so relative.
        let from = root().join("examples").join(name).join("pipeline.yaml");
        fs::copy(from, path(&format!("{name}.yaml"))).expect("a fresh folder");
    }
    let program = |name| Program::new(path(name)).with("PARQUET_DIR", ".").with("LAKE", "lake");
    check("parquet", program("parquet.yaml"), folder.path(), &["lake"]);
    check("parquet-back", program("parquet-back.yaml"), &path("back"), &["events"]);
}

#[test]
fn order_lines() {
    over_shared("retail", "retail", &["sales", "returns"]);
}

#[test]
fn weather_looked_up_in_tables() {
    over_shared("weather", "lookups", &["compared"]);
}

#[test]
fn lines_of_an_access_log() {
    let out = tempfile::tempdir().expect("a temporary folder");
    let program =
        Program::new(root().join("examples/access-log/pipeline.yaml")).with("OUT", out.path());
    check("access-log", program, out.path(), &["served", "failed"]);
}
