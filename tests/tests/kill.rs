//! The kill story: a process that is killed at random moments, over and over, leaves what an
//! undisturbed one leaves.

use std::{fmt::Write as _, fs, path::Path, process::Child, time::Duration};

use tidegate_connectors::store::StoreInspector;
use tidegate_tests::program::{Program, tree};

/// A plain linear congruential generator: moments and events differ from run to run of the test
/// only where the seed does.
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

/// Events of some users, some of them broken, in a few files.
fn write_events(folder: &Path, files: u64, events: u64, seed: u64) {
    let mut random = Seeded(seed);
    fs::create_dir_all(folder).expect("a fresh folder");
    for file in 0..files {
        let mut text = String::new();
        for event in 0..events {
            let user = random.next(20);
            let amount = random.next(200_000) as f64 / 100.0;
            let currency = ["EUR", "USD", "GBP", "XXX"][random.next(40).min(3) as usize];
            let day = 1 + event * 3 / events;
            match random.next(50) {
                0 => text.push_str("{\"event_type\":\"transaction\",\"amount\":"),
                1 => write!(text, r#"{{"event_type":"transaction","user_id":"u{user}"}}"#).expect("a string"),
                _ => write!(
                    text,
                    r#"{{"event_type":"transaction","id":"{file}-{event}","user_id":"u{user}","amount":{amount},"currency":"{currency}","timestamp":"2026-03-0{day}T12:00:00Z"}}"#
                )
                .expect("a string"),
            }
            text.push('\n');
        }
        fs::write(folder.join(format!("events-{file}.ndjson")), text).expect("room for the events");
    }
}

/// A pipeline with states, several sinks, and ranges so small that there are hundreds.
fn write_pipeline(file: &Path, range: &str) {
    let text = format!(
        r#"
pipeline: kill-story
data_dir: ${{OUT}}/data
source: {{ ndjson: {{ paths: ["input/*.ndjson"] }} }}
stages:
  - name: validate
    plugin: ${{TIDEGATE_PLUGINS}}/validate.wasm
    config:
      always:
        - {{ id: amount-given, field: amount, check: required }}
        - {{ id: currency-known, field: currency, check: {{ one_of: [EUR, USD, GBP] }} }}
  - name: categorize
    plugin: ${{TIDEGATE_PLUGINS}}/categorize.wasm
    config:
      bands:
        - write: size
          field: amount
          bands: [{{ label: small, below: 100 }}, {{ label: large }}]
  - name: anomaly
    plugin: ${{TIDEGATE_PLUGINS}}/anomaly.wasm
    grants: [state]
    state: {{ scope: partition }}
    config:
      key: [user_id]
      field: amount
      write_score: score
      write_verdict: verdict
sinks:
  - name: tree
    directory: {{ path: "${{OUT}}/tree", tree: [{{ field: size }}, {{ time: timestamp, parts: [day] }}] }}
  - name: packed
    directory: {{ path: "${{OUT}}/packed" }}
    layout: envelope
    compression: zstd
dead_letters: {{ directory: "${{OUT}}/dead" }}
range: {range}
"#
    );
    fs::write(file, text).expect("room for the pipeline");
}

/// What a run leaves: outputs, dead letters, and the states of all keys.
fn left_by(out: &Path) -> (Vec<(String, Vec<u8>)>, String) {
    let files = ["tree", "packed", "dead"]
        .iter()
        .flat_map(|part| {
            let files = tree(&out.join(part));
            files.into_iter().map(move |(name, content)| (format!("{part}/{name}"), content))
        })
        .collect();
    (files, states(&out.join("data")))
}

/// Every state in the store, a line each, in order.
fn states(data: &Path) -> String {
    let store = StoreInspector::open(data).expect("the store can be read");
    let mut text = String::new();
    for partition in store.partitions().expect("the partitions can be read") {
        let each = |change| {
            writeln!(text, "{} {change:?}", partition.id).expect("a string");
            Ok(())
        };
        store.states(&partition.id, each).expect("the states can be read");
    }
    text
}

/// Starts runs and kills them at random moments until `kills` were killed while they worked, then
/// lets one end.
fn kill_until(program: &Program, kills: u64, random: &mut Seeded, arguments: &[&str]) -> u64 {
    let mut killed = 0;
    let mut moment = 400;
    while killed < kills {
        let mut run: Child = program.start("run", arguments);
        std::thread::sleep(Duration::from_millis(5 + random.next(moment)));
        run.kill().expect("it can be killed");
        let ended = run.wait().expect("it can be waited for").code();
        match ended {
            // It was done before its moment came: what is left must last longer.
            Some(0) => break,
            Some(code) => panic!("a run ended with exit code {code}"),
            None => killed += 1,
        }
        moment = 50 + random.next(500);
    }
    program.data("run", arguments);
    killed
}

#[test]
fn a_killed_process_leaves_byte_for_byte_what_an_undisturbed_one_leaves() {
    let kills = setting("TIDEGATE_KILLS", 10);
    let seed = setting("TIDEGATE_SEED", 7);
    println!("seed {seed}, {kills} kills");
    let folder = tempfile::tempdir().expect("a temporary folder");
    write_events(&folder.path().join("input"), 3, 4_000 * kills.max(5), seed);
    let pipeline = folder.path().join("pipeline.yaml");
    write_pipeline(&pipeline, "{ records: 300 }");
    let clock = ["--clock", "2026-03-04T00:00:00Z"];

    let undisturbed = folder.path().join("undisturbed");
    let summary = Program::new(&pipeline).with("OUT", &undisturbed).data("run", &clock);
    assert_eq!(summary["read"].as_u64(), Some(3 * 4_000 * kills.max(5)));
    let killed = folder.path().join("killed");
    let program = Program::new(&pipeline).with("OUT", &killed);
    let times = kill_until(&program, kills, &mut Seeded(seed), &clock);
    assert_eq!(times, kills, "the input was too small: it was done after {times} kills");

    let (expected_files, expected_states) = left_by(&undisturbed);
    let (files, states) = left_by(&killed);
    assert!(expected_files.len() > 100 && expected_states.lines().count() == 60);
    let names = |files: &[(String, Vec<u8>)]| -> Vec<String> {
        files.iter().map(|(name, _)| name.clone()).collect()
    };
    assert_eq!(names(&files), names(&expected_files));
    for ((name, content), (_, expected)) in files.iter().zip(&expected_files) {
        assert!(content == expected, "{name} differs");
    }
    assert_eq!(states, expected_states);
    assert_eq!(program.data("verify", &[])["conserved"], true);
}

#[test]
fn with_ranges_cut_by_age_a_killed_process_conserves_every_record() {
    let kills = setting("TIDEGATE_KILLS", 10);
    let seed = setting("TIDEGATE_SEED", 11);
    println!("seed {seed}, {kills} kills");
    let folder = tempfile::tempdir().expect("a temporary folder");
    write_events(&folder.path().join("input"), 3, 4_000 * kills.max(5), seed);
    let pipeline = folder.path().join("pipeline.yaml");
    write_pipeline(&pipeline, "{ records: 400, age: 5ms }");
    let program = Program::new(&pipeline).with("OUT", folder.path().join("out"));
    let times = kill_until(&program, kills, &mut Seeded(seed), &[]);
    assert_eq!(times, kills, "the input was too small: it was done after {times} kills");

    let verified = program.data("verify", &[]);
    assert_eq!(verified["conserved"], true, "{verified:#}");
    assert_eq!(verified["read"].as_u64(), Some(3 * 4_000 * kills.max(5)), "{verified:#}");
}
