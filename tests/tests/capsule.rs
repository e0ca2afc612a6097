//! A crash, taken along in one file and seen again.

use std::{fs, path::Path};

use serde_json::Value;
use tidegate_tests::{
    guests,
    program::{Printed, Program},
};

/// A pipeline whose one plugin breaks on the amount 13, after records that pass.
fn pipeline(folder: &Path, guest: &str, rest: &str) -> Program {
    fs::create_dir_all(folder.join("input")).expect("room");
    let amounts = ["1", "2.5", "13", "4"];
    let record = |amount: &&str| format!("{{\"amount\":{amount}}}\n");
    let text: String = amounts.iter().map(record).collect();
    fs::write(folder.join("input/a.ndjson"), text).expect("room for the input");
    fs::write(folder.join("guest.wasm"), guests::component(guest)).expect("room for the guest");
    let text = format!(
        "pipeline: crashes\ndata_dir: data\nsource: {{ ndjson: {{ paths: [\"input/*.ndjson\"] }} \
         }}\nstages:\n  - name: double\n    plugin: guest.wasm\n    breaker: {{ per_thousand: 1000 \
         }}\n{rest}sinks: [{{ name: out, directory: {{ path: out }} }}]\ndead_letters: {{ directory: \
         dead }}\n"
    );
    fs::write(folder.join("pipeline.yaml"), text).expect("room for the pipeline");
    let program = Program::new(folder.join("pipeline.yaml"));
    let summary = program.data("run", &[]);
    assert_eq!(summary["dead_lettered"], 1, "{summary:#}");
    program
}

fn id(program: &Program) -> String {
    let listed = program.data("dlq ls", &["--class", "trap"]);
    listed["letters"][0]["id"].as_str().expect("one is there").to_owned()
}

fn replay(capsule: &Path, arguments: &[&str]) -> Printed {
    Program::new(capsule).run("plugin replay", arguments)
}

#[test]
fn a_capsule_fails_elsewhere_as_it_failed_here() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let program = pipeline(folder.path(), "trap-on-one", "");
    let (id, file) = (id(&program), folder.path().join("crash.json"));
    let out = file.to_str().expect("a path in UTF-8");
    let packed = program.data("dlq capsule", &[&id, "--out", out, "--with-component"]);
    assert_eq!((&packed["stage"], &packed["holds_component"]), (&"double".into(), &true.into()));

    // Everything else is gone: the file is all that it takes.
    let elsewhere = tempfile::tempdir().expect("a temporary folder");
    let moved = elsewhere.path().join("capsule.json");
    fs::rename(&file, &moved).expect("it can be moved");
    fs::remove_dir_all(folder.path().join("data")).expect("it is there");
    let replayed = replay(&moved, &[]);
    assert_eq!(replayed.code, 0, "{:#}\n{}", replayed.json, replayed.stderr);
    let data = &replayed.json["data"];
    assert_eq!((&data["same_failure"], &data["same_component"]), (&true.into(), &true.into()));
    assert_eq!(data["same_config"], true);
    let found = &data["found"];
    assert_eq!(found["code"], "plugin-trap");
    assert!(found["message"].as_str().is_some_and(|it| it.contains("there is no such amount")));
    assert!(found["backtrace"].as_str().is_some_and(|it| it.contains("judge")), "{found:#}");
    assert_eq!(replay(&moved, &["--fixed"]).code, 4, "it is not fixed");

    // Another component, which does not break on it.
    let fixed = elsewhere.path().join("fixed.wasm");
    fs::write(&fixed, guests::component("hidden-state")).expect("room for the guest");
    let fixed = ["--component", fixed.to_str().expect("a path in UTF-8")];
    let replayed = replay(&moved, &fixed);
    assert_eq!(replayed.code, 4, "it fails no more, {:#}", replayed.json);
    let data = &replayed.json["data"];
    assert_eq!((&data["fails"], &data["same_component"]), (&false.into(), &false.into()));
    assert_eq!(data["verdict"], "emit");
    assert_eq!(replay(&moved, &[&fixed[..], &["--fixed"]].concat()).code, 0);
}

#[test]
fn a_capsule_without_its_component_names_it_and_is_not_fooled() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let program = pipeline(folder.path(), "trap-on-one", "");
    let (id, file) = (id(&program), folder.path().join("crash.json"));
    let out = file.to_str().expect("a path in UTF-8");
    // The pipeline has another component by now.
    let then = folder.path().join("then.wasm");
    fs::rename(folder.path().join("guest.wasm"), &then).expect("it is there");
    fs::write(folder.path().join("guest.wasm"), guests::component("hidden-state")).expect("room");
    let refused = program.run("dlq capsule", &[&id, "--out", out, "--with-component"]);
    assert_eq!(refused.code, 1, "{:#}", refused.json);
    program.data("dlq capsule", &[&id, "--out", out]);
    assert_eq!(replay(&file, &[]).code, 3, "it does not hold the component");
    let then = then.to_str().expect("a path in UTF-8");
    assert_eq!(replay(&file, &["--component", then]).code, 0);
    // One that reads something else can't be run on it.
    let other = folder.path().join("other.wasm");
    fs::write(&other, guests::component("annotate")).expect("room for the guest");
    let other = replay(&file, &["--component", other.to_str().expect("a path in UTF-8")]);
    assert_eq!(other.code, 1, "{:#}", other.json);
    assert!(other.json["error"].as_str().is_some_and(|it| it.contains("reads `currency`")));
    // A damaged component is not run.
    let text = fs::read_to_string(&file).expect("it is there");
    let mut capsule: Value = serde_json::from_str(&text).expect("it is JSON");
    capsule["component"]["wasm"] = "AAAA".into();
    fs::write(&file, capsule.to_string()).expect("room");
    assert_eq!(replay(&file, &[]).code, 1);
}

#[test]
fn the_state_of_the_key_and_the_limits_come_along() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let stage =
        "    grants: [state]\n    state: { scope: partition }\n    limits: { state: 4KiB }\n";
    let program = pipeline(folder.path(), "flood-state", stage);
    let (id, file) = (id(&program), folder.path().join("crash.json"));
    let out = file.to_str().expect("a path in UTF-8");
    program.data("dlq capsule", &[&id, "--out", out, "--with-component"]);
    let text = fs::read_to_string(&file).expect("it is there");
    let capsule: Value = serde_json::from_str(&text).expect("it is JSON");
    assert_eq!(capsule["limits"]["state"], "4KiB");
    assert!(capsule["limits"]["fuel"].is_u64(), "all of them are spelled out: {capsule:#}");
    assert_eq!(capsule["letter"]["etl"]["call"]["state"], "", "the key had none");
    let replayed = replay(&file, &[]);
    assert_eq!(replayed.code, 0, "{:#}\n{}", replayed.json, replayed.stderr);
    assert_eq!(replayed.json["data"]["found"]["code"], "plugin-state-bytes");
    // The record is not shown by what looks at letters without being asked for it.
    let shown = program.data("dlq show", &[&id]);
    assert!(shown["letters"][0]["etl"].get("call").is_none(), "{shown:#}");
}

#[test]
fn a_record_that_was_rejected_has_no_crash_to_take_along() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let program = pipeline(folder.path(), "trap-on-one", "");
    fs::write(folder.path().join("input/b.ndjson"), "{\"amount\":\n").expect("room");
    program.data("run", &[]);
    let listed = program.data("dlq ls", &["--stage", "decode"]);
    let id = listed["letters"][0]["id"].as_str().expect("one is there");
    let out = folder.path().join("none.json");
    let out = out.to_str().expect("a path in UTF-8");
    assert_eq!(program.run("dlq capsule", &[id, "--out", out]).code, 4);
    assert_eq!(program.run("dlq capsule", &["input/a.ndjson:1", "--out", out]).code, 4);
    assert!(!Path::new(out).exists());
}
