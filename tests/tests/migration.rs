//! A new version of a plugin brings another state, and a running pipeline's states are migrated by
//! the component itself.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::Path,
    process::Child,
};

use serde_json::Value;
use tidegate_tests::{
    guests,
    program::{Printed, Program, tree},
    running::{start, stop, wait_for},
};

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
    let run = start(&program, folder.path(), &[]);
    wait_for("the first delivery", || delivered(folder.path()).len() == 3);

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

    stop(run);
}

#[test]
fn a_state_that_the_component_refuses_to_migrate_refuses_the_swap() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = |name: &str| folder.path().join(name);
    let component = |name: &str| guests::language(name).expect("plugins in Rust are built");
    let program = pipeline(folder.path());
    fs::write(at("streak.wasm"), component("rust-streak-1")).expect("room for a component");
    log_in(folder.path(), "ada", 13);
    let run = start(&program, folder.path(), &[]);
    wait_for("the first delivery", || delivered(folder.path()).len() == 13);

    fs::write(at("streak.wasm"), component("rust-streak-2")).expect("room for a component");
    let refused = program.run("reload", &[]);
    assert!(refused.json.to_string().contains("thirteen logins"), "{:#}", refused.json);
    log_in(folder.path(), "ada", 1);
    wait_for("the second delivery", || delivered(folder.path()).len() == 14);
    let records = delivered(folder.path());
    let most = records.iter().filter_map(|it| it["logins"].as_i64()).max();
    assert_eq!(most, Some(14), "the first version runs on, with its states");

    stop(run);
}

/// States of the second version are in the store, which the first can't read. Gives the time between
/// three logins of ada and one of ada and one of bob.
fn with_newer_states(folder: &Path) -> (Program, Child, String) {
    let at = |name: &str| folder.join(name);
    let component = |name: &str| guests::language(name).expect("plugins in Rust are built");
    let program = pipeline(folder);
    fs::write(at("streak.wasm"), component("rust-streak-1")).expect("room for a component");
    log_in(folder, "ada", 3);
    let run = start(&program, folder, &[]);
    wait_for("the first delivery", || delivered(folder).len() == 3);
    let between = jiff::Timestamp::now().to_string();
    fs::write(at("streak.wasm"), component("rust-streak-2")).expect("room for a component");
    assert_eq!(program.data("reload", &[])["state"], "serving");
    log_in(folder, "ada", 1);
    log_in(folder, "bob", 1);
    wait_for("the second delivery", || delivered(folder).len() == 5);
    (program, run, between)
}

#[test]
fn a_rollback_that_can_not_read_the_states_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (program, run, _) = with_newer_states(folder.path());
    let refused = |printed: Printed| {
        assert_eq!(printed.code, 4, "{:#}", printed.json);
        let reason = printed.json["data"]["reason"].as_str().expect("a reason").to_owned();
        assert!(reason.starts_with("state-"), "{reason}");
    };
    refused(program.run("rollback", &[]));
    stop(run);
    // As well while nobody runs.
    refused(program.run("rollback", &[]));
    // And a start with the older component, as if it were new.
    let older = guests::language("rust-streak-1").expect("plugins in Rust are built");
    fs::write(folder.path().join("streak.wasm"), older).expect("room for a component");
    let printed = program.run("run", &[]);
    assert_eq!(printed.code, 3, "{:#}", printed.json);
    let error = printed.json["error"].as_str().expect("an error");
    assert!(
        error.starts_with("state-version: stage `streak` keeps states of version 2"),
        "{error}"
    );
}

#[test]
fn a_rollback_builds_states_anew_that_it_can_not_read() {
    for since_the_swap in [false, true] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (program, run, between) = with_newer_states(folder.path());
        let running = program.run("rollback", &["--reprocess"]);
        assert_eq!(running.code, 3, "{:#}", running.json);
        stop(run);
        let mut arguments = vec!["--reprocess"];
        arguments.extend(since_the_swap.then_some(["--since", &between]).into_iter().flatten());
        let pinned = program.data("rollback", &arguments);
        let records = if since_the_swap { 2 } else { 5 };
        assert_eq!(pinned["state"], "pinned", "{pinned:#}");
        assert_eq!(pinned["reprocessed"]["states"], 2, "{pinned:#}");
        assert_eq!(pinned["reprocessed"]["records"], records, "{pinned:#}");
        assert_eq!(delivered(folder.path()).len(), 5, "nothing is delivered again");

        let run = start(&program, folder.path(), &[]);
        log_in(folder.path(), "ada", 1);
        log_in(folder.path(), "bob", 1);
        wait_for("the third delivery", || delivered(folder.path()).len() == 7);
        let records = delivered(folder.path());
        let logins = |user: &str| {
            let last = of(user, &records).into_iter().next_back().expect("there are some");
            assert!(last.get("before").is_none(), "the first version serves: {last}");
            last["logins"].as_i64()
        };
        let ada = if since_the_swap { 2 } else { 5 };
        assert_eq!((logins("ada"), logins("bob")), (Some(ada), Some(2)), "{records:#?}");
        stop(run);
        assert_eq!(program.data("verify", &[])["conserved"], true);
    }
}
