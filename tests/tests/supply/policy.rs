//! Ceilings, and a block list that holds while records flow.

use std::{collections::BTreeSet, fs, path::Path, thread, time::Duration};

use serde_json::{Value, json};
use tidegate_core::Digest;
use tidegate_tests::{
    program::{Program, lines, tree},
    running::{replace, start, stop, wait_for},
};

use super::{another, code, constant, pipeline, plugin, policy, under};

/// A policy that blocks components.
fn blocking(digests: &[Digest]) -> String {
    let blocked = |digest| json!({ "digest": digest, "reason": "it leaks" });
    json!({ "blocked": digests.iter().map(blocked).collect::<Vec<_>>() }).to_string()
}

/// A pipeline that goes on until it is stopped.
fn endless(folder: &Path, stages: &str) -> Program {
    let text = format!(
        "pipeline: supply\ndata_dir: data\n\
         source: {{ generator: {{ rate: 5000, partitions: 1, duplicate: 0 }} }}\n\
         stages:\n{stages}\nsinks: [{{ name: out, directory: {{ path: out }} }}]\n\
         dead_letters: {{ directory: dead-letters }}\nrange: {{ age: 200ms }}\n\
         reload: {{ watch: false }}\nretry: {{ attempts: 1, on_exhausted: stop }}\n"
    );
    fs::write(folder.join("pipeline.yaml"), text).expect("a temporary folder");
    Program::new(folder.join("pipeline.yaml"))
}

/// How many objects have been published.
fn objects(folder: &Path) -> usize {
    tree(&folder.join("out")).len()
}

#[track_caller]
fn grows(folder: &Path) {
    let before = objects(folder);
    wait_for("the next object", || objects(folder) > before);
}

#[test]
fn what_is_blocked_stops_between_two_batches_and_goes_on_with_nothing_lost() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let component = plugin("enrich");
    fs::write(folder.path().join("edition.wasm"), &component).expect("a temporary folder");
    let program = endless(folder.path(), &constant("edition.wasm"));
    let nothing = policy(folder.path(), "{}");
    let run = start(&program, folder.path(), &[&nothing[0], &nothing[1]]);
    grows(folder.path());

    policy(folder.path(), &blocking(&[Digest::of(&component)]));
    let mut seen = objects(folder.path());
    wait_for("the standstill", || {
        thread::sleep(Duration::from_millis(1_500));
        let before = std::mem::replace(&mut seen, objects(folder.path()));
        before == seen
    });
    // The same files can't come to serve either, whoever asks.
    let reload = program.run("reload", &[]);
    assert_eq!(reload.code, 4, "{:#}", reload.json);
    let reason = reload.json["data"]["reason"].as_str().expect("a reason");
    assert!(reason.starts_with("blocked: ") && reason.contains("it leaks"), "{reason}");
    // Half a policy is no policy: what was taken before holds on.
    policy(folder.path(), "blocked: [");
    thread::sleep(Duration::from_millis(1_500));
    assert_eq!(objects(folder.path()), seen, "it is still blocked");

    policy(folder.path(), "{}");
    grows(folder.path());

    // Blocked once more, and another component takes its place.
    policy(folder.path(), &blocking(&[Digest::of(&component)]));
    thread::sleep(Duration::from_millis(1_500));
    replace(&folder.path().join("edition.wasm"), another(&component));
    let receipt = program.data("reload", &[]);
    assert_eq!(receipt["state"], "serving", "{receipt:#}");
    grows(folder.path());
    // And a rollback does not bring it back.
    let rollback = program.run("rollback", &[]);
    assert_eq!(rollback.code, 4, "{:#}", rollback.json);
    let reason = rollback.json["data"]["reason"].as_str().expect("a reason");
    assert!(reason.starts_with("blocked: "), "{reason}");
    stop(run);

    assert_eq!(program.data("verify", &[])["conserved"], true);
    let mut ids = BTreeSet::new();
    for line in lines(&folder.path().join("out")) {
        let record: Value = serde_json::from_slice(&line).expect("JSON");
        if let Some(id) = record["event_id"].as_str() {
            assert!(ids.insert(id.to_owned()), "{id} is there twice");
        }
    }
    let letters = program.data("dlq ls", &[]).to_string();
    assert!(!letters.contains("plugin-"), "no record is dead for the plugin's sake: {letters}");
    // And it does not start.
    policy(folder.path(), &blocking(&[Digest::of(&another(&component))]));
    let printed = under(&program, "check", &nothing);
    assert_eq!((printed.code, code(&printed)), (4, "blocked"));
    let printed =
        under(&Program::new(folder.path().join("edition.wasm")), "plugin inspect", &nothing);
    assert_eq!(printed.code, 4, "{:#}", printed.json);
}

#[test]
fn a_plugin_that_would_have_more_needs_an_operators_word() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("edition.wasm"), plugin("enrich")).expect("a temporary folder");
    let program = endless(folder.path(), &constant("edition.wasm"));
    let nothing = policy(folder.path(), "{}");
    let run = start(&program, folder.path(), &[&nothing[0], &nothing[1]]);

    // It has always asked for look-ups, and now its stage grants them.
    let granted = format!("{}\n    grants: [lookups]", constant("edition.wasm"));
    endless(folder.path(), &granted.replace("constant: a", "constant: b"));
    let refused = program.run("reload", &[]);
    let reason = refused.json["data"]["reason"].as_str().expect("a reason");
    assert!(reason.starts_with("widens-capabilities") && reason.contains("lookups"), "{reason}");
    let receipt = program.data("reload", &["--approve"]);
    assert_eq!(receipt["state"], "serving", "{receipt:#}");
    let rights = &receipt["stages"][0];
    assert_eq!((&rights["stage"], &rights["granted"]), (&json!("edition"), &json!(["lookups"])));
    assert_eq!(rights["effective"], json!(["lookups"]));

    // Under a ceiling it has nothing again, and a rollback to when it had is refused.
    endless(folder.path(), &granted.replace("constant: a", "constant: c"));
    policy(folder.path(), "capabilities: []");
    thread::sleep(Duration::from_millis(1_500));
    let receipt = program.data("reload", &[]);
    assert_eq!(receipt["state"], "serving", "{receipt:#}");
    let rights = &receipt["stages"][0];
    assert_eq!((&rights["ceiling"], &rights["effective"]), (&json!([]), &json!([])));
    let refused = program.run("rollback", &[]);
    let reason = refused.json["data"]["reason"].as_str().expect("a reason");
    assert!(reason.starts_with("above-ceiling"), "{reason}");
    stop(run);

    // The history tells what each generation had.
    let swaps = program.data("generations", &[])["swaps"].as_array().expect("a list").clone();
    let serving = swaps.iter().filter(|swap| swap["state"] == "serving");
    let had: Vec<&Value> = serving.map(|swap| &swap["stages"][0]["effective"]).collect();
    assert_eq!(had, [&json!([]), &json!(["lookups"]), &json!([])]);
}

#[test]
fn what_goes_beyond_a_policy_is_found_by_check() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("dedupe.wasm"), plugin("dedupe")).expect("a temporary folder");
    let stage = "  - name: once\n    plugin: dedupe.wasm\n    grants: [state]\n    config: { key: [a] \
                 }\n    state: { scope: partition }\n    limits: { fuel: 5000000, memory: 32MiB }";
    let program = pipeline(folder.path(), stage);
    let checked = program.run("check", &[]);
    assert_eq!(checked.code, 0, "{:#}", checked.json);

    let printed = under(&program, "check", &policy(folder.path(), "capabilities: [lookups]"));
    assert_eq!((printed.code, code(&printed)), (4, "above-ceiling"));
    assert_eq!(printed.json["findings"][0]["pointer"], "/stages/0/grants");
    let ceiling = policy(folder.path(), "limits: { fuel: 4000000, memory: 64MiB }");
    let printed = under(&program, "check", &ceiling);
    assert_eq!((printed.code, code(&printed)), (2, "above-ceiling"));
    assert_eq!(printed.json["findings"][0]["pointer"], "/stages/0/limits/fuel");

    // What nobody has set is lowered, and is another generation then: it decides what is poison.
    let time = policy(folder.path(), "limits: { time: 1s }");
    let lowered = under(&program, "check", &time);
    assert_eq!(lowered.code, 0, "{:#}", lowered.json);
    assert_ne!(lowered.json["data"]["generation"], checked.json["data"]["generation"]);

    // All limits of a policy hold for what asks a component who it is, too.
    let starved = policy(folder.path(), "limits: { memory: 64KiB }");
    let printed =
        under(&Program::new(folder.path().join("dedupe.wasm")), "plugin inspect", &starved);
    assert_eq!(printed.code, 1, "{:#}", printed.json);

    let printed = under(&program, "check", &policy(folder.path(), "capabilites: []"));
    assert_eq!((printed.code, code(&printed)), (2, "unknown-key"));
    for none in ["acme", "https://ghcr.io", "ghcr.io/acme/"] {
        let policy = policy(folder.path(), &json!({ "registries": [none] }).to_string());
        let printed = under(&program, "check", &policy);
        assert_eq!((printed.code, code(&printed)), (2, "invalid-value"), "{none}");
    }
}

#[test]
fn inspect_shows_what_a_plugin_has() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("dedupe.wasm"), plugin("dedupe")).expect("a temporary folder");
    let stage = "  - name: once\n    plugin: dedupe.wasm\n    grants: [state, document]\n    config: { \
                 key: [a] }\n    state: { scope: partition }";
    pipeline(folder.path(), stage);
    let [flag, file] = policy(folder.path(), "capabilities: [state, lookups]");
    let yaml = folder.path().join("pipeline.yaml").display().to_string();
    let dedupe = Program::new(folder.path().join("dedupe.wasm"));
    let shown = dedupe.data("plugin inspect", &["--pipeline", &yaml, &flag, &file]);
    assert_eq!(shown["capabilities"], json!(["state"]), "{shown:#}");
    assert_eq!(shown["ceiling"], json!(["state", "lookups"]));
    let rights = &shown["stages"][0];
    assert_eq!(rights["granted"], json!(["state", "document"]));
    assert_eq!(rights["effective"], json!(["state"]));
}

#[test]
fn the_commands_for_authors_are_under_the_policy_as_well() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = |name: &str| folder.path().join(name);
    let component = plugin("enrich");
    fs::write(at("edition.wasm"), &component).expect("a temporary folder");
    let config = "fields: [{ write: edition, value: { constant: a } }]\n";
    fs::write(at("edition.yaml"), config).expect("a temporary folder");
    fs::write(at("in.ndjson"), "{\"a\":1}\n").expect("a temporary folder");
    let golden = "cases:\n  - name: one\n    records: [{ given: { a: 1 } }]\n";
    fs::write(at("edition.golden.yaml"), golden).expect("a temporary folder");
    let (edition, input) = (Program::new(at("edition.wasm")), at("in.ndjson"));
    let (input, config) = (input.display().to_string(), at("edition.yaml").display().to_string());
    let run = |command, arguments: &[&str], [flag, file]: &[String; 2]| {
        edition.run(command, &[arguments, &["--config", &config, flag, file]].concat())
    };
    let nothing = policy(folder.path(), "{}");
    let printed = run("plugin run", &["--in", &input], &nothing);
    assert_eq!(printed.code, 0, "{:#}\n{}", printed.json, printed.stderr);
    let blocked = policy(folder.path(), &blocking(&[Digest::of(&component)]));
    for (command, arguments) in [
        ("plugin run", ["--in", &input].as_slice()),
        ("plugin bench", &["--in", &input]),
        ("plugin test", &[]),
        ("plugin inspect", &[]),
    ] {
        let printed = run(command, arguments, &blocked);
        let error = printed.json["error"].as_str().unwrap_or_default();
        assert!(printed.code == 4 && error.contains("it leaks"), "{command}: {:#}", printed.json);
    }
}
