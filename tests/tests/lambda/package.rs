//! What is packed along: the program, the pipeline and its compiled plugins.

use std::{fs, path::Path, process::Command};

use tidegate_tests::program::{plugins, program};

use super::{
    event::{of_firehose, results},
    function::{Function, pipeline},
};

const TEXT: &str = r"
pipeline: packed
source: { lambda: {} }
stages:
  - name: validate
    plugin: validate.wasm
    config: { always: [{ id: id-given, field: id, check: required }] }
sinks: [{ name: answer, reply: {} }]
";

/// A package, as it lies where Lambda has unpacked it.
fn package(folder: &Path) -> (std::path::PathBuf, std::path::PathBuf) {
    let bootstrap = folder.join("bootstrap");
    fs::copy(program(), &bootstrap).expect("room for the program");
    fs::copy(plugins().join("validate.wasm"), folder.join("validate.wasm")).expect("room");
    (bootstrap, pipeline(folder, TEXT))
}

#[test]
fn plugins_are_compiled_into_the_package_and_taken_from_there() {
    let name = "plugins_are_compiled_into_the_package_and_taken_from_there";
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (bootstrap, file) = package(folder.path());
    let compile = || {
        let mut compile = Command::new(&bootstrap);
        compile.args(["lambda", "--compile"]).arg(&file).output().expect("the program starts")
    };
    let compiled = compile();
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let directory = folder.path().join("compiled");
    let kept: Vec<_> = fs::read_dir(&directory).expect("it is there").flatten().collect();
    assert_eq!(kept.len(), 1);
    let kept = kept[0].path();

    let Some(function) = Function::start_program(name, &bootstrap, &file, 30) else { return };
    let answer = function.invoke(&of_firehose(&[b"{\"id\":1}"]));
    assert_eq!(results(&answer)[0].1, "Ok", "{}", function.log());
    assert!(!function.log().contains("is no use"), "{}", function.log());
    drop(function);

    // What somebody has damaged is compiled anew, and said.
    let mut bytes = fs::read(&kept).expect("it is there");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&kept, bytes).expect("it can be written");
    let function = Function::start_program(name, &bootstrap, &file, 30).expect("as before");
    let answer = function.invoke(&of_firehose(&[b"{\"id\":1}"]));
    assert_eq!(results(&answer)[0].1, "Ok", "{}", function.log());
    assert!(function.log().contains("a compiled component is no use"), "{}", function.log());
}

/// What the documentation shows.
#[test]
fn the_example_answers_its_event() {
    let folder = tidegate_tests::program::root().join("examples/lambda");
    let mut command = Command::new(program());
    command.args(["lambda", "--json"]).arg(folder.join("pipeline.yaml"));
    command.arg("--event").arg(folder.join("firehose.json"));
    let output = command.env("TIDEGATE_PLUGINS", plugins()).output().expect("the program starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let results = results(&json["data"]);
    let words: Vec<&str> = results.iter().map(|(_, result, _)| result.as_str()).collect();
    assert_eq!(words, ["Ok", "ProcessingFailed", "Dropped", "Ok"], "{stderr}");
    let keys = &json["data"]["records"][3]["metadata"]["partitionKeys"];
    assert_eq!(*keys, serde_json::json!({ "event_type": "view", "date": "2026-03-01" }));
}
