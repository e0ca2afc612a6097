//! The whole program over a stream that does not take everything, that loses answers, and under which
//! it is killed.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path, time::Duration};

use serde_json::Value;
use tidegate_tests::{
    program::{Program, lines},
    server::with_credentials,
};

use super::{
    proxy::Fault,
    server::{Kinesis, REGION},
};

const RECORDS: usize = 900;
const KEYS: usize = 30;

/// Records of some users, of which one is not JSON, one is larger than Kinesis takes with its key,
/// one is exactly as large, and one has no user. Returns what arrives, by user.
fn write_records(folder: &Path) -> BTreeMap<String, Vec<String>> {
    let of_bytes = |bytes: usize| {
        let frame = r#"{"user":"u1","text":""}"#.len() + "u1".len();
        format!(r#"{{"user":"u1","text":"{}"}}"#, "x".repeat(bytes - frame))
    };
    let mut text = String::new();
    let mut expected: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for i in 0..RECORDS {
        let user = format!("u{}", i * 7 % KEYS);
        let (line, arrives) = match i {
            100 => (of_bytes((1 << 20) + 1), None),
            400 => (of_bytes(1 << 20), Some("u1")),
            600 => (r#"{"user":"#.to_owned(), None),
            700 => (format!(r#"{{"id":{i}}}"#), None),
            _ => (format!(r#"{{"user":"{user}","id":{i}}}"#), Some(user.as_str())),
        };
        writeln!(text, "{line}").expect("a string");
        if let Some(user) = arrives {
            expected.entry(user.to_owned()).or_default().push(line);
        }
    }
    fs::write(folder.join("input.ndjson"), text).expect("room");
    expected
}

fn pipeline(folder: &Path, kinesis: &Kinesis, sink: &str) -> Program {
    let text = format!(
        r#"
pipeline: kinesis-sink-story
data_dir: data
source: {{ ndjson: {{ paths: ["input.ndjson"] }} }}
sinks:
  - name: out
    kinesis:
      stream: {}
      region: {REGION}
      endpoint: "{}"
      partition_key: user
{sink}
dead_letters: {{ directory: dead }}
range: {{ records: 300 }}
retry: {{ delay_first: 10ms, delay_max: 100ms }}
"#,
        kinesis.stream,
        kinesis.endpoint()
    );
    let file = folder.join("pipeline.yaml");
    fs::write(&file, text).expect("room for the pipeline");
    with_credentials(Program::new(&file))
}

fn count(by_key: &BTreeMap<String, Vec<String>>) -> usize {
    by_key.values().map(Vec::len).sum()
}

/// What came first of each record, in the order in which it came.
fn first_arrivals(by_key: BTreeMap<String, Vec<String>>) -> BTreeMap<String, Vec<String>> {
    let firsts = by_key.into_iter().map(|(key, records)| {
        let mut seen = std::collections::BTreeSet::new();
        let first = records.into_iter().filter(|record| seen.insert(record.clone()));
        (key, first.collect())
    });
    firsts.collect()
}

#[test]
fn what_is_not_taken_is_sent_again_in_its_order_and_nothing_else_is() {
    let kinesis = Kinesis::start(3);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let expected = write_records(folder.path());
    let program = pipeline(folder.path(), &kinesis, "");
    kinesis.proxy.withhold(200, 7);
    kinesis.proxy.fail_next("PutRecords", &[Fault::Internal, Fault::Reset, Fault::Throttled]);
    let ran = program.data("run", &[]);
    assert_eq!(ran["delivered"].as_u64(), Some(count(&expected) as u64), "{ran:#}");
    assert!(ran["balanced"] == true && ran["complete"] == true, "{ran:#}");
    assert!(kinesis.proxy.withheld() > 100, "{}", kinesis.proxy.withheld());
    assert!(kinesis.by_key() == expected, "each once, and each user's in order");

    let letters = lines(&folder.path().join("dead"));
    let letter =
        |line: &Vec<u8>| serde_json::from_slice::<Value>(line).expect("a letter")["etl"].clone();
    let letters: Vec<Value> = letters.iter().map(letter).collect();
    let said: Vec<_> = letters
        .iter()
        .map(|etl| (etl["stage"].as_str().expect("text"), etl["errorCode"].as_str().expect("text")))
        .collect();
    assert_eq!(said[0], ("sink:out", "record-too-large"));
    assert_eq!(said[1].0, "decode");
    assert_eq!(said[2..], [("sink:out", "partition-key-missing")]);

    let verified = program.data("verify", &[]);
    assert!(verified["conserved"] == true && verified["complete"] == true, "{verified:#}");
    assert_eq!(verified["sinks_not_looked_into"], serde_json::json!(["out"]));
}

#[test]
fn where_an_answer_is_lost_records_come_twice_and_first_arrivals_are_in_order() {
    let kinesis = Kinesis::start(3);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let expected = write_records(folder.path());
    let program = pipeline(folder.path(), &kinesis, "");
    kinesis.proxy.withhold(50, 3);
    for well in [1, 4] {
        kinesis.proxy.fail_next_but("PutRecords", well, Fault::LostResponse);
    }
    let ran = program.data("run", &[]);
    assert_eq!(ran["delivered"].as_u64(), Some(count(&expected) as u64), "{ran:#}");
    let delivered = kinesis.by_key();
    let (came, due) = (count(&delivered), count(&expected));
    assert!(came > due, "the server had taken what it did not answer");
    assert!(came <= due + 2 * KEYS, "nothing but the two requests without an answer: {came}");
    assert!(first_arrivals(delivered) == expected, "none is missing, and each in its order");
}

/// Killed at each step of the protocol: before anything of a range is sent, nothing comes twice;
/// from then to the commit, that range does, and no other.
#[test]
fn where_it_dies_between_intent_and_commit_one_range_comes_twice() {
    for (place, repeats) in [
        ("before-intent:2", false),
        ("before-emit:2", false),
        ("after-emit:2", true),
        // The dead letters of the range are visible: they say that the stream has its records.
        ("after-publish:1", false),
        ("after-commit:1", false),
    ] {
        let kinesis = Kinesis::start(2);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let expected = write_records(folder.path());
        let program = pipeline(folder.path(), &kinesis, "");
        let dying = program.clone().with("TIDEGATE_FAILPOINT", place);
        let mut died = dying.start("run", &[]);
        assert!(!died.wait().expect("it can be waited for").success(), "{place}");
        let ran = program.data("run", &[]);
        assert!(ran["balanced"] == true && ran["complete"] == true, "{place}: {ran:#}");
        let delivered = kinesis.by_key();
        let more = count(&delivered) - count(&expected);
        match repeats {
            true => assert!((297..=300).contains(&more), "{place}: {more}"),
            false => assert_eq!(more, 0, "{place}"),
        }
        assert!(first_arrivals(delivered) == expected, "{place}");
    }
}

/// Killed at moments of nobody's choice, while records are not taken: none is missing in the end, and
/// no more comes twice than one range a kill.
#[test]
fn killed_over_and_over_nothing_is_lost() {
    let kinesis = Kinesis::start(2);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let expected = write_records(folder.path());
    let program = pipeline(folder.path(), &kinesis, "");
    kinesis.proxy.withhold(100, 11);
    let mut kills = 0;
    for milliseconds in [120, 180, 240, 300, 360] {
        let mut run = program.start("run", &[]);
        std::thread::sleep(Duration::from_millis(milliseconds));
        if run.try_wait().expect("it can be waited for").is_some() {
            break;
        }
        run.kill().expect("it runs");
        run.wait().expect("it can be waited for");
        kills += 1;
    }
    assert!(kills > 0, "it was never killed");
    let ran = program.data("run", &[]);
    assert!(ran["balanced"] == true && ran["complete"] == true, "{ran:#}");
    let delivered = kinesis.by_key();
    let more = count(&delivered) - count(&expected);
    assert!(more <= kills * 300, "{more} of {kills} kills");
    assert!(first_arrivals(delivered) == expected, "none is missing, and each in its order");
}

/// Aggregates that the sink makes are what the source takes apart, and each key keeps its order from
/// one end to the other.
#[test]
fn aggregates_arrive_as_the_records_that_they_were_made_of() {
    let kinesis = Kinesis::start(3);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let expected = write_records(folder.path());
    let program = pipeline(folder.path(), &kinesis, "      aggregate: true");
    kinesis.proxy.withhold(100, 5);
    let ran = program.data("run", &[]);
    assert_eq!(ran["delivered"].as_u64(), Some(count(&expected) as u64), "{ran:#}");
    let records = count(&kinesis.by_key());
    assert!(records < count(&expected) / 5, "{records} are hardly aggregates");

    let reading = folder.path().join("reading.yaml");
    let text = format!(
        r#"
pipeline: kinesis-sink-reader
data_dir: reading
source: {{ kinesis: {{ stream: {}, region: {REGION}, endpoint: "{}", poll_every: 200ms }} }}
sinks:
  - {{ name: out, directory: {{ path: out }} }}
dead_letters: {{ directory: reading-dead }}
range: {{ age: 200ms }}
"#,
        kinesis.stream,
        kinesis.endpoint()
    );
    fs::write(&reading, text).expect("room for the pipeline");
    let run = with_credentials(Program::new(&reading)).start("run", &[]);
    let out = folder.path().join("out");
    tidegate_tests::running::wait_for("all records", || {
        let whole = tidegate_tests::program::tree(&out);
        let whole = whole.iter().filter(|(name, _)| name.ends_with(".jsonl"));
        let lines = whole.map(|(_, content)| content.iter().filter(|it| **it == b'\n').count());
        lines.sum::<usize>() >= count(&expected)
    });
    tidegate_tests::running::stop(run);
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in lines(&out) {
        let line = String::from_utf8(line).expect("text").trim_end().to_owned();
        let record: Value = serde_json::from_str(&line).expect("JSON");
        let user = record["user"].as_str().expect("a user").to_owned();
        found.entry(user).or_default().push(line);
    }
    assert!(found == expected, "each once, and each user's in order");
    assert!(lines(&folder.path().join("reading-dead")).is_empty());
}
