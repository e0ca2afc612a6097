//! The command line over real plugins: what an operator is told before, during and after a run.

use std::{fs, path::Path};

use serde_json::Value;
use tidegate_tests::program::{Program, plugins, root};

/// The example of generated events, small, in a folder of its own.
fn events(folder: &Path, records: u64) -> Program {
    Program::new(root().join("examples/events/pipeline.yaml"))
        .with("DEMO_DIR", folder)
        .with("DEMO_RECORDS", records.to_string())
}

/// A pipeline over one stage, which never runs.
fn one_stage(folder: &Path, stage: &str) -> Program {
    let text = format!(
        "pipeline: one-stage\nsource: {{ stdin: {{}} }}\nstages:\n{stage}sinks: [{{ name: out, blackhole: \
         {{}} }}]\ndead_letters: {{ directory: dead }}\n"
    );
    let file = folder.join("pipeline.yaml");
    fs::write(&file, text).expect("room for the pipeline");
    Program::new(file)
}

/// What `check` finds: code and line.
fn found(program: &Program) -> Vec<(String, u64)> {
    let printed = program.run("check", &[]);
    assert_eq!(printed.code, 4, "{}\n{:#}", printed.stderr, printed.json);
    let findings = printed.json["findings"].as_array().expect("a list").iter();
    let code = |finding: &Value| finding["code"].as_str().expect("a code").to_owned();
    findings.map(|it| (code(it), it["line"].as_u64().expect("a line"))).collect()
}

#[test]
fn events_run_through_four_plugins_and_every_byte_is_proved() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let program = events(folder.path(), 5_000);
    let checked = program.data("check", &[]);
    let stages = checked["plan"]["stages"].as_array().expect("a list");
    assert_eq!(stages.len(), 4);
    let measure = stages[1]["writes"]
        .as_array()
        .and_then(|writes| writes.iter().find(|write| write["field"] == "measure"));
    assert_eq!(measure.expect("enrich writes it")["read_by"], serde_json::json!(["anomaly"]));

    let summary = program.data("run", &[]);
    let count = |name: &str| summary[name].as_u64().expect("a number");
    assert_eq!(count("read"), 5_000);
    assert_eq!(count("read"), count("delivered") + count("dead_lettered"));
    assert!(count("dead_lettered") > 20, "some events are broken on purpose: {summary:#}");

    let verified = program.data("verify", &["--replay"]);
    assert_eq!((&verified["conserved"], &verified["complete"]), (&true.into(), &true.into()));
    assert_eq!(verified["replayed"], verified["ranges"], "{verified:#}");

    let letters = program.data("dlq ls", &["--rule", "amount-valid"]);
    assert!(letters["total"].as_u64() > Some(0), "{letters:#}");
    let id = letters["letters"][0]["id"].as_str().expect("an id");
    let letter = program.data("dlq show", &[id]);
    let etl = &letter["letters"][0]["etl"];
    assert_eq!(
        (&etl["stage"], &etl["rule"]),
        (&"transform:validate".into(), &"amount-valid".into())
    );
    assert!(etl["componentDigest"].as_str().is_some_and(|it| it.starts_with("sha256:")));
}

#[test]
fn check_says_where_a_plugin_refuses_its_config() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let stage = "  - name: categorize\n    plugin: ${TIDEGATE_PLUGINS}/categorize.wasm\n    config:\n      \
                 bands:\n        - write: size\n          field: amount\n          bands: []\n          \
                 surplus: 1\n";
    let found = found(&one_stage(folder.path(), stage));
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].0, "plugin-config");
}

#[test]
fn check_says_what_was_not_granted_and_what_state_would_be_torn_apart() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let stage = |rest: &str| {
        format!(
            "  - name: anomaly\n    plugin: ${{TIDEGATE_PLUGINS}}/anomaly.wasm\n    config: {{ key: \
             [user], field: amount, write_score: score, write_verdict: verdict }}\n{rest}"
        )
    };
    let not_granted = found(&one_stage(folder.path(), &stage("")));
    assert_eq!(not_granted[0].0, "not-granted");
    let torn = found(&one_stage(folder.path(), &stage("    grants: [state]\n")));
    assert_eq!(torn[0].0, "key-does-not-follow");
    let kept = stage("    grants: [state]\n    state: { scope: partition }\n");
    one_stage(folder.path(), &kept).data("check", &[]);
}

#[test]
fn check_names_all_plugins_that_are_none_at_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("text.wasm"), "not a component").expect("room");
    // The smallest core module.
    fs::write(folder.path().join("module.wasm"), b"\0asm\x01\0\0\0").expect("room");
    let stages = "  - { name: a, plugin: text.wasm }\n  - { name: b, plugin: module.wasm }\n  \
                  - { name: c, plugin: absent.wasm }\n";
    let codes = found(&one_stage(folder.path(), stages));
    let expected = [("invalid-plugin", 4), ("invalid-plugin", 5), ("unreadable-file", 6)];
    assert_eq!(codes, expected.map(|(code, line)| (code.to_owned(), line)));
}

#[test]
fn inspect_shows_a_plugin_and_what_a_config_of_it_does() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = folder.path().join("config.yaml");
    fs::write(&config, "bands:\n  - { write: size, field: amount, bands: [{ label: any }] }\n")
        .expect("room");
    let program = Program::new(plugins().join("categorize.wasm"));
    let about = program.data("plugin inspect", &[]);
    assert_eq!((&about["name"], &about["contract"]), (&"categorize".into(), &"0.1.0".into()));
    assert_eq!(about["capabilities"], serde_json::json!([]));
    assert_eq!(about["config_schema"]["type"], "object");
    // Without a config it shows what that of its golden cases does.
    let writes = about["description"]["writes"].as_array().expect("a list");
    assert!(writes.iter().any(|write| write["path"] == "region"), "{about:#}");
    let config = config.to_str().expect("a path in UTF-8");
    let configured = program.data("plugin inspect", &["--config", config]);
    let write = &configured["description"]["writes"][0];
    assert_eq!((&write["path"], &write["kind"]), (&"size".into(), &"enumeration".into()));
    assert_eq!(Program::new(folder.path().join("absent.wasm")).run("plugin inspect", &[]).code, 3);
}

#[test]
fn graph_shows_who_reads_and_writes_what() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    // Compiled plugins are kept there: the second command needs no compiler.
    fs::create_dir(folder.path().join("data")).expect("room");
    let program = events(folder.path(), 1);
    let graph = program.data("graph", &[]);
    let names = graph["stages"].as_array().expect("a list").iter();
    let names: Vec<_> = names.map(|stage| stage["name"].as_str().expect("a name")).collect();
    assert_eq!(names, ["validate", "enrich", "categorize", "anomaly"]);
    let fields = graph["fields"].as_array().expect("a list");
    let measure = fields.iter().find(|it| it["field"] == "measure").expect("enrich writes it");
    assert_eq!(
        *measure,
        serde_json::json!({ "field": "measure", "written_by": ["enrich"],
                            "read_by": [{ "who": "stage", "name": "anomaly" }] })
    );
    assert_eq!(graph["stages"][3]["state_key"], serde_json::json!(["account_id", "event_type"]));
    assert!(graph.get("mermaid").is_none());
    let drawn = program.data("graph", &["--format", "mermaid"]);
    let drawing = drawn["mermaid"].as_str().expect("a drawing");
    assert!(drawing.starts_with("flowchart TD\n"), "{drawing}");
    assert!(drawing.contains("stage1 -.->|\"measure\"| stage3"), "{drawing}");
}

#[test]
fn impact_follows_a_field_to_whoever_would_notice() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    // Compiled plugins are kept there: the second command needs no compiler.
    fs::create_dir(folder.path().join("data")).expect("room");
    let program = events(folder.path(), 1);
    let impact = program.data("impact", &["amount"]);
    let notices = impact["noticed_by"].as_array().expect("a list");
    let notice = |name: &str, role: &str| {
        let found = notices.iter().find(|it| it["name"] == name && it["role"] == role);
        found.unwrap_or_else(|| panic!("{name} has no {role} in {impact:#}"))
    };
    assert_eq!(notice("validate", "rule")["of"], "amount-given");
    assert_eq!(notice("categorize", "read")["through"], serde_json::json!([]));
    assert_eq!(
        notice("anomaly", "read")["through"],
        serde_json::json!([{ "field": "measure", "stage": "enrich" }])
    );
    let changes = impact["changes"].as_array().expect("a list").iter();
    let changes: Vec<_> = changes.map(|it| it["field"].as_str().expect("a path")).collect();
    assert!(changes.contains(&"anomaly_score") && changes.contains(&"amount_category"));

    let kept = program.data("impact", &["event_type"]);
    let roles = kept["noticed_by"].as_array().expect("a list").iter();
    let roles: Vec<_> = roles.map(|it| it["role"].as_str().expect("a role")).collect();
    for role in ["read", "condition", "state-key", "directory", "rule"] {
        assert!(roles.contains(&role), "no {role} in {roles:?}");
    }
}

#[test]
fn impact_of_a_field_that_nobody_names_is_a_finding() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let stage = "  - name: categorize\n    plugin: ${TIDEGATE_PLUGINS}/categorize.wasm\n    config: { bands: [{ \
                 write: size, field: amount, bands: [{ label: any }] }] }\n";
    let program = one_stage(folder.path(), stage);
    let printed = program.run("impact", &["amuont"]);
    assert_eq!(printed.code, 4, "{:#}", printed.json);
    let finding = &printed.json["findings"][0];
    assert_eq!(finding["code"], "unknown-field");
    assert_eq!(finding["suggestion"], "did you mean `amount`?");
    assert_eq!(program.run("impact", &["a..b"]).code, 2);
    assert_eq!(program.run("impact", &["@nothing"]).code, 2);
    let absent = Program::new(folder.path().join("absent.yaml"));
    assert_eq!(absent.run("impact", &["amount"]).code, 3);
}
