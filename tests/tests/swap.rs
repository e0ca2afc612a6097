//! The swap story: operators change plugins while records flow, well and badly, and nothing is
//! lost, doubled or out of order.

use std::{collections::BTreeSet, fs, os::unix::fs::symlink, path::Path, thread, time::Duration};

use serde_json::Value;
use tidegate_tests::{
    program::{Program, lines, plugins},
    running::{replace, start, stop, wait_for},
};

/// A plain linear congruential generator.
struct Seeded(u64);

impl Seeded {
    fn next(&mut self, below: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// A pipeline whose first plugin writes an edition, and whose second reads it.
fn write_pipeline(folder: &Path, reload: &str) -> Program {
    fs::copy(plugins().join("enrich.wasm"), folder.join("edition.wasm")).expect("built plugins");
    let text = format!(
        r#"
pipeline: swap-story
data_dir: data
source: {{ generator: {{ rate: 50000, partitions: 1, duplicate: 0 }} }}
stages:
  - {{ name: edition, plugin: edition.wasm, config_file: edition.yaml }}
  - name: label
    plugin: ${{TIDEGATE_PLUGINS}}/enrich.wasm
    config: {{ fields: [{{ write: label, value: {{ concat: [{{ text: edition }}, {{ constant: "!" }}] }} }}] }}
sinks: [{{ name: out, directory: {{ path: out }} }}]
dead_letters: {{ directory: dead-letters }}
range: {{ age: 1s }}
reload: {reload}
"#
    );
    fs::write(folder.join("pipeline.yaml"), text).expect("a temporary folder");
    Program::new(folder.join("pipeline.yaml"))
}

/// The config of the first plugin.
fn edition(number: u64) -> String {
    format!("fields: [{{ write: edition, value: {{ constant: \"{number}\" }} }}]\n")
}

fn swaps(program: &Program) -> Vec<Value> {
    program.data("generations", &[])["swaps"].as_array().expect("a list").clone()
}

/// How many attempts ended so.
fn count(swaps: &[Value], state: &str) -> usize {
    swaps.iter().filter(|swap| swap["state"] == state).count()
}

#[test]
fn a_swap_while_records_flow_loses_doubles_and_reorders_nothing() {
    let (swaps_wanted, seed) = (setting("TIDEGATE_SWAPS", 20), setting("TIDEGATE_SEED", 3));
    println!("seed {seed}, {swaps_wanted} swaps");
    let mut random = Seeded(seed);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = |name: &str| folder.path().join(name);
    // Looked at when it is told to: what becomes of each change is then known.
    let program = write_pipeline(folder.path(), "{ watch: false }");
    replace(&at("edition.yaml"), edition(0));
    let run = start(&program, folder.path(), &[]);
    let component = fs::read(at("edition.wasm")).expect("it was copied");
    let guest = |name: &str| {
        let guests = std::env::var_os("TIDEGATE_GUESTS").map(Into::into);
        let guests: std::path::PathBuf =
            guests.unwrap_or_else(|| plugins().parent().expect("a folder").join("guests"));
        fs::read(guests.join(name)).expect("built guests")
    };

    let (mut served, mut refused, mut serving) = (vec![0], Vec::new(), 0);
    for number in 1..=swaps_wanted {
        let bad = match random.next(12) {
            0 => Some(("edition.yaml", b"fields: [".to_vec(), "")),
            1 => Some((
                "edition.yaml",
                b"fields: [{ write: x, value: { nonsense: 1 } }]".to_vec(),
                "plugin-config",
            )),
            2 => Some((
                "edition.yaml",
                b"fields: [{ write: other, value: { constant: a } }]".to_vec(),
                "lost-field",
            )),
            3 => Some(("edition.wasm", b"no component".to_vec(), "invalid-plugin")),
            4 => Some(("edition.wasm", guest("trap-in-configure.wasm"), "plugin-config")),
            5 => Some(("edition.wasm", guest("ask-too-much.wasm"), "")),
            _ => None,
        };
        match bad {
            None => {
                replace(&at("edition.yaml"), edition(number));
                let receipt = program.data("reload", &[]);
                assert_eq!(receipt["state"], "serving", "{receipt:#}");
                served.push(number);
                serving = number;
            }
            Some((file, content, code)) => {
                let before = fs::read(at(file)).expect("it is there");
                replace(&at(file), content);
                let printed = program.run("reload", &[]);
                assert_eq!(printed.code, 4, "{:#}", printed.json);
                let receipt = &printed.json["data"];
                assert_eq!(receipt["state"], "refused", "{receipt:#}");
                let reason = receipt["reason"].as_str().expect("a reason").to_owned();
                assert!(reason.starts_with(code), "{code}: {reason}");
                refused.push(reason);
                replace(&at(file), before);
            }
        }
    }
    if served.len() > 1 {
        let receipt = program.data("rollback", &[]);
        assert_eq!(receipt["state"], "serving", "{receipt:#}");
        served.push(served[served.len() - 2]);
        assert_ne!(served[served.len() - 1], serving);
        thread::sleep(Duration::from_millis(200));
    }
    stop(run);
    assert_eq!(component, fs::read(at("edition.wasm")).expect("it is there"));

    let history = swaps(&program);
    assert_eq!(count(&history, "serving"), served.len(), "{history:#?}");
    assert_eq!(count(&history, "refused"), refused.len(), "{history:#?}");
    let pauses = history.iter().flat_map(|it| it["effects"].as_array().expect("a list"));
    let mut pauses: Vec<u64> = pauses.filter_map(|it| it["pause_micros"].as_u64()).collect();
    pauses.sort_unstable();
    println!("pauses in µs: {pauses:?}");
    assert!(!pauses.is_empty());

    let verified = program.data("verify", &[]);
    assert_eq!(verified["conserved"], true, "{verified:#}");
    let mut ids = BTreeSet::new();
    let mut editions = Vec::new();
    for line in lines(&at("out")) {
        let record: Value = serde_json::from_slice(&line).expect("JSON");
        let edition = record["edition"].as_str().expect("every record has one");
        assert_eq!(record["label"], format!("{edition}!"), "two generations in one record");
        if let Some(id) = record["event_id"].as_str() {
            assert!(ids.insert(id.to_owned()), "{id} is there twice");
        }
        let edition: u64 = edition.parse().expect("a number");
        if editions.last() != Some(&edition) {
            editions.push(edition);
        }
    }
    // A generation that was followed at once may have seen no record; none comes back or early.
    let mut order = served.iter();
    assert!(
        editions.iter().all(|it| order.any(|served| served == it)),
        "{editions:?} of {served:?}"
    );
    assert!(editions.len() > 1 || served.len() == 1);
}

#[test]
fn files_are_watched_and_a_rollback_outlives_the_process() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = |name: &str| folder.path().join(name);
    let program = write_pipeline(folder.path(), "{ poll: 200ms }");
    // As a mounted ConfigMap: a link to a file below a link to a directory, which moves.
    for (version, number) in [("v1", 1), ("v2", 2)] {
        fs::create_dir(at(version)).expect("a temporary folder");
        fs::write(at(version).join("edition.yaml"), edition(number)).expect("a temporary folder");
    }
    symlink("v1", at("..data")).expect("a link");
    symlink("..data/edition.yaml", at("edition.yaml")).expect("a link");
    let run = start(&program, folder.path(), &[]);
    symlink("v2", at("..new")).expect("a link");
    fs::rename(at("..new"), at("..data")).expect("links move as one");
    wait_for("the swap", || count(&swaps(&program), "serving") == 2);
    fs::write(at("v2").join("edition.yaml"), "fields: [").expect("a temporary folder");
    wait_for("the refusal", || count(&swaps(&program), "refused") == 1);
    fs::write(at("v2").join("edition.yaml"), edition(2)).expect("a temporary folder");
    stop(run);

    let first = swaps(&program)[0]["generation"].clone();
    // Nobody runs: what is wanted is written down, and the next start obeys.
    let pinned = program.data("rollback", &[first.as_str().expect("a digest")]);
    assert_eq!(pinned["state"], "pinned");
    let run = start(&program, folder.path(), &[]);
    wait_for("the first records", || count(&swaps(&program), "serving") == 3);
    stop(run);
    let history = swaps(&program);
    let last = history.last().expect("attempts");
    assert_eq!((&last["cause"], &last["generation"]), (&Value::from("start"), &first));
    assert_eq!(program.data("verify", &[])["conserved"], true);
}

#[test]
fn a_swap_that_takes_a_field_from_a_route_or_a_tree_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = |name: &str| folder.path().join(name);
    let text = r"
pipeline: routed
data_dir: data
source: { generator: { rate: 1000, partitions: 1 } }
stages:
  - { name: edition, plugin: '${TIDEGATE_PLUGINS}/enrich.wasm', config_file: edition.yaml }
sinks:
  - { name: late, blackhole: {}, when: { field: late, equals: 'yes' } }
  - { name: out, directory: { path: out, tree: [{ field: edition }] } }
dead_letters: { directory: dead-letters }
reload: { watch: false }
";
    fs::write(at("pipeline.yaml"), text).expect("a temporary folder");
    let program = Program::new(at("pipeline.yaml"));
    let writes = |fields: &[&str]| {
        let each = |field: &&str| format!("{{ write: {field}, value: {{ constant: a }} }}");
        let fields: Vec<String> = fields.iter().map(each).collect();
        replace(&at("edition.yaml"), format!("fields: [{}]\n", fields.join(", ")));
    };
    writes(&["edition", "late"]);
    let run = start(&program, folder.path(), &[]);
    for (kept, reader) in [
        ("edition", "the `when` of sink `late` reads `late`"),
        ("late", "the `tree` of sink `out` reads `edition`"),
    ] {
        writes(&[kept, "another"]);
        let refused = program.run("reload", &[]);
        assert_eq!(refused.code, 4, "{:#}", refused.json);
        let reason = refused.json["data"]["reason"].as_str().expect("a reason");
        assert!(reason.starts_with(&format!("lost-field: {reader}")), "{reason}");
    }
    writes(&["edition", "late", "another"]);
    assert_eq!(program.data("reload", &[])["state"], "serving");
    stop(run);
}

/// Some of what a pipeline's file says is no part of a generation.
#[test]
fn what_can_not_change_while_records_flow_is_refused_and_never_passed_over() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let program = write_pipeline(folder.path(), "{ watch: false }");
    replace(&folder.path().join("edition.yaml"), edition(0));
    let run = start(&program, folder.path(), &[]);
    let file = folder.path().join("pipeline.yaml");
    let text = fs::read_to_string(&file).expect("it was written");
    for (from, to, key) in [
        ("path: out }", "path: elsewhere }", "`sinks`"),
        ("rate: 50000", "rate: 40000", "`source`"),
        ("age: 1s", "age: 2s", "`range`"),
        ("reload:", "workers: 1\nreload:", "`workers`"),
    ] {
        assert!(text.contains(from), "{from} is there");
        replace(&file, text.replace(from, to));
        let refused = program.run("reload", &[]);
        assert_eq!(refused.code, 4, "{:#}", refused.json);
        let reason = refused.json["data"]["reason"].as_str().expect("a reason");
        assert!(reason.starts_with("topology: ") && reason.contains(key), "{reason}");
    }
    replace(&file, text);
    assert_eq!(program.data("reload", &[])["state"], "unchanged");
    stop(run);
}
