//! A new version of a plugin brings another state, and a running pipeline's states are migrated by
//! the component itself.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tidegate_tests::{
    guests,
    program::{Program, tree},
};

/// How long something that has to happen may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

fn wait_for(what: &str, mut happened: impl FnMut() -> bool) {
    let since = Instant::now();
    while !happened() {
        assert!(since.elapsed() < PATIENCE, "{what} did not happen");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A pipeline that follows a log of logins.
fn pipeline(folder: &Path) -> Program {
    let text = "pipeline: logins\n\
                data_dir: data\n\
                source: {ndjson: {paths: [log.ndjson], follow: true, partition_key: user}}\n\
                stages:\n\
                \x20 - {name: streak, plugin: streak.wasm, grants: [state], state: {scope: follows}}\n\
                sinks: [{name: out, directory: {path: out}}]\n\
                dead_letters: {directory: dead}\n\
                range: {age: 200ms}\n\
                reload: {watch: false}\n";
    fs::write(folder.join("pipeline.yaml"), text).expect("room for a pipeline");
    Program::new(folder.join("pipeline.yaml"))
}

fn log_in(folder: &Path, user: &str, times: usize) {
    let log = folder.join("log.ndjson");
    let mut file = OpenOptions::new().create(true).append(true).open(log).expect("a log");
    let lines = format!("{{\"user\":\"{user}\"}}\n").repeat(times);
    file.write_all(lines.as_bytes()).expect("room");
}

/// What is delivered, in the order of the objects.
fn delivered(folder: &Path) -> Vec<Value> {
    let objects = tree(&folder.join("out"));
    let content = objects.iter().filter(|(name, _)| name.ends_with(".jsonl"));
    let lines = content.flat_map(|(_, content)| content.split(|byte| *byte == b'\n'));
    let lines = lines.filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).expect("a record")).collect()
}

fn of<'a>(user: &str, records: &'a [Value]) -> Vec<&'a Value> {
    records.iter().filter(|record| record["user"] == user).collect()
}

#[test]
fn a_swap_to_a_newer_state_version_has_the_component_migrate_what_is_kept() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = |name: &str| folder.path().join(name);
    let component = |name: &str| match guests::language(name) {
        Ok(bytes) => bytes,
        Err(why) => panic!("plugins in Rust are built everywhere: {why}"),
    };
    let program = pipeline(folder.path());
    fs::write(at("streak.wasm"), component("rust-streak-1")).expect("room for a component");
    log_in(folder.path(), "ada", 3);
    let mut run = program.start("run", &[]);
    wait_for("the first delivery", || delivered(folder.path()).len() == 3);
    wait_for("the start", || at("data/control.sock").exists());

    fs::write(at("streak.wasm"), component("rust-streak-2")).expect("room for a component");
    let receipt = program.data("reload", &[]);
    assert_eq!(receipt["state"], "serving", "{receipt:#}");
    log_in(folder.path(), "ada", 1);
    log_in(folder.path(), "bob", 1);
    wait_for("the second delivery", || delivered(folder.path()).len() == 5);
    let records = delivered(folder.path());
    let last = of("ada", &records).into_iter().max_by_key(|it| it["logins"].as_i64());
    let last = last.expect("there are some");
    assert_eq!((&last["logins"], &last["before"]), (&4.into(), &3.into()), "{records:#?}");
    let fresh = of("bob", &records)[0];
    assert_eq!((&fresh["logins"], &fresh["before"]), (&1.into(), &0.into()), "{records:#?}");

    let told = Command::new("kill").arg("-TERM").arg(run.id().to_string()).status();
    assert!(told.expect("`kill` is there").success());
    assert_eq!(run.wait().expect("it can be waited for").code(), Some(0));
}

#[test]
fn a_state_that_the_component_refuses_to_migrate_refuses_the_swap() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = |name: &str| folder.path().join(name);
    let component = |name: &str| guests::language(name).expect("plugins in Rust are built");
    let program = pipeline(folder.path());
    fs::write(at("streak.wasm"), component("rust-streak-1")).expect("room for a component");
    log_in(folder.path(), "ada", 13);
    let mut run = program.start("run", &[]);
    wait_for("the first delivery", || delivered(folder.path()).len() == 13);
    wait_for("the start", || at("data/control.sock").exists());

    fs::write(at("streak.wasm"), component("rust-streak-2")).expect("room for a component");
    let refused = program.run("reload", &[]);
    assert!(refused.json.to_string().contains("thirteen logins"), "{:#}", refused.json);
    log_in(folder.path(), "ada", 1);
    wait_for("the second delivery", || delivered(folder.path()).len() == 14);
    let records = delivered(folder.path());
    let most = records.iter().filter_map(|it| it["logins"].as_i64()).max();
    assert_eq!(most, Some(14), "the first version runs on, with its states");

    let told = Command::new("kill").arg("-TERM").arg(run.id().to_string()).status();
    assert!(told.expect("`kill` is there").success());
    assert_eq!(run.wait().expect("it can be waited for").code(), Some(0));
}
