//! What can't work in a function is refused at its start.

use std::process::Command;

use serde_json::Value;
use tidegate_tests::program::{plugins, program};

use super::function::pipeline;

/// Starts a pipeline as a function that nobody invokes: its exit code, and the places of what is found.
fn refused(text: &str) -> (Option<i32>, Vec<(String, String)>) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = pipeline(folder.path(), text);
    let mut command = Command::new(program());
    command.args(["lambda", "--json"]).arg(&file).env("TIDEGATE_PLUGINS", plugins());
    let output = command.output().expect("the program starts");
    let json: Value = serde_json::from_slice(&output.stdout).expect("the program prints JSON");
    let findings = json["findings"].as_array().expect("a list").iter();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let found = findings.map(|it| (text(&it["pointer"]), text(&it["message"]))).collect();
    (output.status.code(), found)
}

fn pointers(found: &[(String, String)]) -> Vec<&str> {
    found.iter().map(|(pointer, _)| pointer.as_str()).collect()
}

const STATEFUL: &str = r"
pipeline: p
source: { lambda: {} }
stages:
  - name: anomaly
    plugin: ${TIDEGATE_PLUGINS}/anomaly.wasm
    grants: [state]
    state: { scope: partition }
    config: { key: [id], field: amount, write_score: score, write_verdict: verdict }
sinks: [{ name: answer, reply: {} }]
";

#[test]
fn states_are_refused_in_both_contracts() {
    let (code, found) = refused(STATEFUL);
    assert_eq!(code, Some(2), "{found:?}");
    assert_eq!(pointers(&found), ["/stages/0/plugin", "/sinks/0", "/dead_letters"], "{found:?}");
    assert!(found[0].1.contains("keeps a state"), "{found:?}");
}

#[test]
fn firehose_has_one_sink_and_takes_records() {
    let text = r"
pipeline: p
source: { lambda: { contract: firehose } }
sinks:
  - { name: files, directory: { path: out }, format: { parquet: { declared: true } } }
  - { name: other, blackhole: {} }
";
    let (code, found) = refused(text);
    assert_eq!(code, Some(2), "{found:?}");
    assert_eq!(pointers(&found), ["/sinks/1", "/sinks/0/format"], "{found:?}");
}

#[test]
fn a_mapping_wants_sinks_that_need_no_commit_and_a_place_for_rejects() {
    let text = r"
pipeline: p
source: { lambda: { contract: kinesis } }
sinks:
  - { name: files, directory: { path: out } }
  - { name: answer, reply: {} }
";
    let (code, found) = refused(text);
    assert_eq!(code, Some(2), "{found:?}");
    assert_eq!(pointers(&found), ["/sinks/0", "/sinks/1", "/dead_letters"], "{found:?}");
}

/// A pipeline of a server is a function as well, and what has no meaning there is said.
#[test]
fn what_is_ignored_is_said_and_nobody_invokes_it_here() {
    let text = r"
pipeline: p
source: { ndjson: { paths: ['*.ndjson'] } }
sinks: [{ name: files, directory: { path: out, tree: [{ field: type }] } }]
dead_letters: { directory: dead }
";
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = pipeline(folder.path(), text);
    let mut command = Command::new(program());
    let output = command.arg("lambda").arg(&file).output().expect("the program starts");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    for said in ["records come with the function's invocations", "a function has no ledger"] {
        assert!(stderr.contains(said), "{stderr}");
    }
    assert!(stderr.contains("AWS_LAMBDA_RUNTIME_API"), "{stderr}");
    assert!(!folder.path().join("out").exists(), "nothing is written");
    let run = Command::new(program())
        .args(["run", "--json"])
        .arg(pipeline(
            folder.path(),
            "pipeline: p\nsource: { lambda: {} }\nsinks: [{ name: a, reply: {} }]\n",
        ))
        .output()
        .expect("the program starts");
    assert_ne!(run.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&run.stdout).contains("tidegate lambda"));
}
