//! `offsets reset`: partitions go on where they were moved to, by one process and by a fleet, and only
//! while nobody reads them.

use std::{path::Path, thread, time::Duration};

use serde_json::Value;
use tidegate_tests::{
    program::{Program, lines},
    server::with_credentials,
};

use super::{
    fleet::Fleet,
    server::{Kinesis, REGION},
    stories::{ONCE, Run, wait_for},
};

/// The program over a stream, with or without leases.
struct Reader<'a> {
    kinesis: &'a Kinesis,
    program: Program,
    out: std::path::PathBuf,
    /// How many records have come.
    came: usize,
    next: usize,
}

impl Reader<'_> {
    fn put(&mut self, count: usize) -> Vec<String> {
        let records: Vec<Vec<u8>> = (self.next..self.next + count)
            .map(|n| format!(r#"{{"key":"k","n":{n}}}"#).into_bytes())
            .collect();
        self.next += count;
        self.kinesis.put(&records.iter().map(|it| ("k", it.as_slice())).collect::<Vec<_>>())
    }

    /// Runs until some more records have come, and no more come, and says which.
    fn read(&mut self, count: usize) -> Vec<u64> {
        let run = Run(self.program.start("run", &[]));
        wait_for(&self.out, (self.came + count) as u64);
        thread::sleep(Duration::from_millis(700));
        run.terminate();
        let lines = lines(&self.out);
        let number = |line: &Vec<u8>| {
            let record: Value = serde_json::from_slice(line).expect("JSON");
            record["n"].as_u64().expect("a number")
        };
        // One partition: its objects are in the order of its ranges.
        let new = lines[self.came..].iter().map(number).collect();
        self.came = lines.len();
        new
    }

    fn reset(&self, arguments: &[&str]) -> Value {
        self.program.data("offsets reset", arguments)
    }
}

fn one_process(folder: &Path, kinesis: &Kinesis) -> Program {
    let text = format!(
        r#"
pipeline: offsets
data_dir: ${{OUT}}/data
source:
  kinesis: {{ stream: {}, region: {REGION}, endpoint: "{}", poll_every: 200ms }}
sinks:
  - name: out
    directory: {{ path: "${{OUT}}/out" }}
dead_letters: {{ directory: "${{OUT}}/dead" }}
range: {{ age: 200ms }}
"#,
        kinesis.stream,
        kinesis.endpoint(),
    );
    let file = folder.join("pipeline.yaml");
    std::fs::write(&file, text).expect("room for the pipeline");
    with_credentials(Program::new(&file).with("OUT", folder))
}

/// To each kind of place, one after the other.
fn moves(reader: &mut Reader<'_>) {
    let shard = "shardId-000000000000";
    let sequences = reader.put(10);
    assert_eq!(reader.read(10), Vec::from_iter(0..10));

    let asked = reader.reset(&["--to", "trim_horizon", "--all", "--dry-run"]);
    let partition = &asked["partitions"][0];
    assert_eq!((&asked["executed"], &partition["partition"]), (&false.into(), &shard.into()));
    assert_eq!(partition["old"].as_str(), Some(format!("{}-0", sequences[9]).as_str()));
    reader.put(2);
    assert_eq!(reader.read(2), [10, 11], "nothing was moved");
    // Neither asked for nor only asked about.
    let printed = reader.program.run("offsets reset", &["--to", "trim_horizon", "--all"]);
    assert_eq!((printed.code, &printed.json["data"]["executed"]), (4, &false.into()));

    let moved = reader.reset(&["--to", "trim_horizon", "--all", "--execute"]);
    assert_eq!(moved["executed"], true);
    assert_eq!(reader.read(12), Vec::from_iter(0..12), "all again");

    let behind = format!("{}-0", sequences[6]);
    let moved = reader.reset(&["--to", &behind, "--partition", shard, "--execute"]);
    assert_eq!(moved["partitions"][0]["effect"], "what lies behind it is read again");
    assert_eq!(reader.read(5), [7, 8, 9, 10, 11]);

    // Arrivals are told to the second.
    thread::sleep(Duration::from_millis(3_100));
    let now = jiff::Timestamp::now().as_second();
    let time = jiff::Timestamp::from_second(now).expect("a time").to_string();
    reader.put(3);
    assert_eq!(reader.read(3), [12, 13, 14]);
    reader.reset(&["--to", &time, "--all", "--execute"]);
    assert_eq!(reader.read(3), [12, 13, 14], "what arrived from then on");

    reader.put(2);
    thread::sleep(Duration::from_millis(3_100));
    reader.reset(&["--to", "latest", "--all", "--execute"]);
    reader.put(1);
    assert_eq!(reader.read(1), [17], "15 and 16 are skipped");

    let printed = reader.program.run("offsets reset", &["--to", "latest", "--partition", "x"]);
    assert_eq!(printed.code, 1);
    assert!(printed.json.to_string().contains("`x`"), "{}", printed.json);
}

#[test]
fn one_process_goes_on_where_it_was_moved_to() {
    let kinesis = Kinesis::start(1);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let program = one_process(folder.path(), &kinesis);
    let out = folder.path().join("out");
    let mut reader = Reader { kinesis: &kinesis, program, out, came: 0, next: 0 };
    moves(&mut reader);
    // Not while it runs.
    let run = tidegate_tests::running::start(&reader.program, folder.path(), &[]);
    let printed =
        reader.program.run("offsets reset", &["--to", "trim_horizon", "--all", "--execute"]);
    assert_eq!(printed.code, 1);
    assert!(printed.json.to_string().contains("running process"), "{}", printed.json);
    tidegate_tests::running::stop(run);
}

#[test]
fn a_fleet_goes_on_where_it_was_moved_to() {
    let Some(fleet) = Fleet::with("a_fleet_goes_on", "", || Some(Kinesis::start(1))) else {
        return;
    };
    let (program, out) = (fleet.program("a"), fleet.out());
    let mut reader = Reader { kinesis: &fleet.kinesis, program, out, came: 0, next: 0 };
    moves(&mut reader);
    // A host that was killed leaves its name, and one that lives its signs of life.
    drop(fleet.host("b"));
    let asked = reader.reset(&["--to", "trim_horizon", "--all", "--dry-run"]);
    assert_eq!(asked["partitions"][0]["refused"], Value::Null);
    let run = fleet.host("b");
    fleet.until("it has the lease", |owners| owners.len() == 1 && !owners.contains_key(""));
    let printed =
        reader.program.run("offsets reset", &["--to", "trim_horizon", "--all", "--execute"]);
    assert_eq!(printed.code, 3);
    assert!(printed.json.to_string().contains("stop all hosts"), "{}", printed.json);
    run.terminate();
}

#[test]
fn states_are_forgotten_only_where_that_is_said() {
    let Some(fleet) = Fleet::with("states_are_forgotten", ONCE, || Some(Kinesis::start(1))) else {
        return;
    };
    let (program, out) = (fleet.program("a"), fleet.out());
    let mut reader = Reader { kinesis: &fleet.kinesis, program, out, came: 0, next: 0 };
    reader.put(5);
    assert_eq!(reader.read(5), Vec::from_iter(0..5));
    let arguments = ["--to", "trim_horizon", "--all", "--execute"];
    let printed = reader.program.run("offsets reset", &arguments);
    assert_eq!((printed.code, &printed.json["data"]["executed"]), (4, &false.into()));
    let partition = &printed.json["data"]["partitions"][0];
    assert_eq!(partition["states"], 5);
    assert!(partition["refused"].as_str().is_some_and(|it| it.contains("--on-state-gap")));
    reader.reset(&[&arguments[..], &["--on-state-gap", "reset"]].concat());
    assert_eq!(reader.read(5), Vec::from_iter(0..5), "nothing is known of them any more");
}
