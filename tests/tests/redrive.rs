//! A redrive that dies at each step of the protocol, and is begun again: each record is delivered
//! exactly once, as what it was.

use std::{collections::BTreeMap, fs, path::Path, process::Child};

use serde_json::Value;
use tidegate_core::Digest;
use tidegate_pipeline::failpoint::Failpoint;
use tidegate_tests::{
    program::{Program, lines, tree},
    running::{start, stop, wait_for},
};

/// Two sinks, one of which takes only what has a `kind` that is listed. Without plugins: what kills
/// a redrive does not depend on them.
fn write_pipeline(file: &Path, kinds: &str, follow: bool) {
    let text = format!(
        r#"
pipeline: redriven
data_dir: ${{OUT}}/data
source: {{ name: shop, ndjson: {{ paths: ["input/*.ndjson"], follow: {follow} }} }}
sinks:
  - name: tree
    when: {{ field: kind, in: [{kinds}] }}
    directory: {{ path: "${{OUT}}/tree", tree: [{{ field: kind }}, {{ field: "@partition" }}] }}
  - name: packed
    when: {{ field: kind, in: [{kinds}] }}
    directory: {{ path: "${{OUT}}/packed" }}
    layout: envelope
dead_letters: {{ directory: "${{OUT}}/dead" }}
range: {{ records: 8, age: 200ms }}
"#
    );
    fs::write(file, text).expect("room for the pipeline");
}

/// Records of kinds `a` and `b`; one in each file is no JSON.
fn write_input(folder: &Path) -> Vec<String> {
    fs::create_dir_all(folder).expect("a fresh folder");
    let mut records = Vec::new();
    for file in 0..3 {
        let kind = |n: u32| if n.is_multiple_of(2) { "a" } else { "b" };
        let record = |n: u32| format!("{{\"kind\":\"{}\", \"id\":\"{file}-{n}\"}}", kind(n));
        let of_file: Vec<String> = (0..40).map(record).collect();
        let text = of_file.join("\n") + "\n{\"kind\":\n";
        fs::write(folder.join(format!("{file}.ndjson")), text).expect("room for the input");
        records.extend(of_file);
    }
    records
}

/// A folder in which everything of kind `b` is dead, and would not be from here on.
fn dead_letters(folder: &Path) -> (Program, Vec<String>) {
    let records = write_input(&folder.join("input"));
    let pipeline = folder.join("pipeline.yaml");
    write_pipeline(&pipeline, "a", false);
    let program = Program::new(&pipeline).with("OUT", folder.join("out"));
    let summary = program.data("run", &[]);
    assert_eq!(summary["dead_lettered"], 63, "{summary:#}");
    write_pipeline(&pipeline, "a, b", false);
    (program, records)
}

/// How often each record lies in the tree, by its bytes.
fn times(records: &[String], out: &Path) -> BTreeMap<String, u64> {
    let mut times: BTreeMap<String, u64> = records.iter().map(|it| (it.clone(), 0)).collect();
    for line in lines(&out.join("tree")) {
        let line = String::from_utf8(line).expect("text");
        *times.entry(line.trim_end().to_owned()).or_default() += 1;
    }
    times
}

#[test]
fn wherever_a_redrive_dies_the_next_one_delivers_each_record_once() {
    let mut deaths = 0;
    for (number, failpoint) in Failpoint::all().enumerate() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (program, records) = dead_letters(folder.path());
        // Not the same visit for all: another range, another partition, another destination.
        let place = format!("{failpoint}:{}", 1 + number % 4);
        let dying = program.clone().with("TIDEGATE_FAILPOINT", &place);
        let ended = dying.start("dlq redrive", &["--execute"]).wait().expect("it ends");
        deaths += u64::from(ended.code().is_none());

        let dry = program.data("dlq redrive", &[]);
        let resumed = program.data("dlq redrive", &["--execute"]);
        if ended.code().is_none() {
            assert_eq!(dry["interrupted"]["redrive"], 1, "{place}: {dry:#}");
            assert_eq!(resumed["resumed"], true, "{place}: {resumed:#}");
            assert_eq!(resumed["letters"], 63, "{place}: {resumed:#}");
            assert_eq!(resumed["delivered"], 60, "{place}: {resumed:#}");
            assert_eq!(resumed["dead_lettered"], 3, "{place}: {resumed:#}");
            assert_eq!(resumed["open"], 0, "{place}: {resumed:#}");
        }
        let out = folder.path().join("out");
        let times = times(&records, &out);
        assert!(times.values().all(|times| *times == 1), "{place}: {times:#?}");
        let verified = program.data("verify", &[]);
        assert_eq!(verified["conserved"], true, "{place}: {verified:#}");
        assert_eq!(verified["complete"], true, "{place}: {verified:#}");
    }
    assert!(deaths >= 14, "only {deaths} died");
}

#[test]
fn a_redriven_record_is_what_it_was() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (program, records) = dead_letters(folder.path());
    let redriven = program
        .data("dlq redrive", &["--execute", "--partition", "input/1.ndjson", "--code", "unrouted"]);
    assert_eq!((&redriven["letters"], &redriven["delivered"]), (&20.into(), &20.into()));
    let out = folder.path().join("out");
    // Its directory is that of the partition that it was first read from.
    let directories: Vec<String> = tree(&out.join("tree")).into_keys().collect();
    let of_b: Vec<&String> = directories.iter().filter(|it| it.starts_with("kind=b/")).collect();
    assert!(!of_b.is_empty());
    assert!(of_b.iter().all(|it| it.contains("partition=input%2F1.ndjson/")), "{of_b:?}");
    // Its id is that of its original bytes.
    let ids: Vec<Value> = lines(&out.join("packed"))
        .iter()
        .map(|line| serde_json::from_slice::<Value>(line).expect("JSON")["record_id"].clone())
        .collect();
    let b = records.iter().filter(|it| it.contains("\"b\"") && it.contains("\"1-"));
    let expected: Vec<Value> = b.map(|it| Digest::of(it.as_bytes()).hex().into()).collect();
    assert_eq!(expected.len(), 20);
    assert!(expected.iter().all(|id| ids.contains(id)), "{ids:?}");
    // And it makes the same bytes again, through the plan that made it.
    let verified = program.run("verify", &["--replay"]);
    let problems = verified.json["data"]["problems"].as_array().expect("a list");
    let of_redrive = |it: &&Value| {
        it["partition"].as_str().is_some_and(|partition| partition.starts_with("redrive:"))
    };
    assert_eq!(problems.iter().filter(of_redrive).count(), 0, "{problems:#?}");
    // The ranges of the first run were made by another config, and are not replayed.
    assert_eq!(verified.json["data"]["replayed"], 3, "{:#}", verified.json);
}

/// A pipeline that runs on behind its last record, over letters that would not be dead any more.
fn running(folder: &Path) -> (Program, Child, Vec<String>) {
    let records = write_input(&folder.join("input"));
    let (pipeline, out) = (folder.join("pipeline.yaml"), folder.join("out"));
    write_pipeline(&pipeline, "a", true);
    let program = Program::new(&pipeline).with("OUT", &out);
    let run = start(&program, &out, &[]);
    wait_for("the letters", || program.data("dlq ls", &[])["total"] == 63);
    stop(run);
    write_pipeline(&pipeline, "a, b", true);
    let run = start(&program, &out, &[]);
    (program, run, records)
}

#[test]
fn a_running_pipeline_redrives_its_letters_itself() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (program, run, records) = running(folder.path());
    let redriven = program.data("dlq redrive", &["--execute"]);
    assert_eq!((&redriven["redrive"], &redriven["letters"]), (&1.into(), &63.into()));
    assert_eq!((&redriven["delivered"], &redriven["dead_lettered"]), (&60.into(), &3.into()));
    assert_eq!(redriven["open"], 0, "{redriven:#}");
    // What comes in meanwhile goes on.
    let more = "{\"kind\":\"b\", \"id\":\"more\"}\n";
    fs::write(folder.path().join("input/more.ndjson"), more).expect("room for the input");
    let out = folder.path().join("out");
    let mut all = records;
    all.push(more.trim_end().to_owned());
    wait_for("the last record", || times(&all, &out).values().all(|times| *times == 1));
    // All that there was, as often as it may be.
    let again = program.data("dlq redrive", &["--execute"]);
    assert_eq!((&again["letters"], &again["left"]["redriven"]), (&3.into(), &63.into()));
    assert_eq!(again["dead_lettered"], 3, "{again:#}");
    stop(run);
    let verified = program.data("verify", &[]);
    assert_eq!(verified["conserved"], true, "{verified:#}");
}

#[test]
fn a_redrive_stops_with_whoever_ordered_it_and_with_the_pipeline() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (program, run, records) = running(folder.path());
    let open = || program.data("dlq redrive", &[])["interrupted"]["letters"].as_u64();
    let begun = |left: u64| wait_for("some records", || open().is_some_and(|it| it < left));
    let mut ordered = program.start("dlq redrive", &["--execute", "--rate", "20/s"]);
    begun(63);
    let busy = program.run("dlq redrive", &["--execute"]);
    assert_eq!(busy.code, 1, "{:#}", busy.json);
    assert!(busy.json["error"].as_str().is_some_and(|it| it.contains("one at a time")));
    ordered.kill().expect("it runs");
    ordered.wait().expect("it can be waited for");
    let next = || program.start("dlq redrive", &["--execute", "--rate", "20/s"]);
    let left = open().expect("some are left");
    let mut ordered = next();
    // Until the one that was left has come to its end, the next one is refused.
    wait_for("the next redrive", || {
        if ordered.try_wait().expect("it can be asked").is_some() {
            ordered = next();
        }
        open().is_some_and(|it| it < left)
    });
    stop(run);
    let ended = ordered.wait().expect("it can be waited for");
    assert_eq!(ended.code(), Some(0));
    // Nobody runs: it is finished here.
    let last = program.data("dlq redrive", &["--execute"]);
    assert_eq!((&last["resumed"], &last["open"]), (&true.into(), &0.into()), "{last:#}");
    let times = times(&records, &folder.path().join("out"));
    assert!(times.values().all(|times| *times == 1), "{times:#?}");
}

#[test]
fn another_process_keeps_its_letters() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (program, _) = dead_letters(folder.path());
    let lock = fs::File::options()
        .read(true)
        .write(true)
        .open(folder.path().join("out/data/lock"))
        .expect("the data directory has a lock");
    lock.lock().expect("nobody has it");
    let refused = program.run("dlq redrive", &["--execute"]);
    assert_eq!(refused.code, 3, "{:#}", refused.json);
    assert!(refused.json["error"].as_str().is_some_and(|it| it.contains("running process")));
    // To look is always possible.
    assert_eq!(program.data("dlq redrive", &["--code", "unrouted"])["letters"], 60);
}
