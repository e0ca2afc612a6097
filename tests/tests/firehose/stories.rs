//! The whole program over a stream that does not take everything, and that loses answers.

use std::{fs, path::Path};

use serde_json::Value;
use tidegate_tests::program::{Program, lines};

use super::{
    proxy::Fault,
    server::{Firehose, REGION},
};

const RECORDS: usize = 800;

/// Records, of which one is not JSON, one is larger than Firehose takes, and one is exactly as large.
/// Returns those that arrive.
fn write_records(folder: &Path) -> Vec<String> {
    let mut records: Vec<String> = (0..RECORDS).map(|i| format!("{{\"id\":{i}}}\n")).collect();
    let of_bytes = |bytes: usize| format!("{{\"text\":\"{}\"}}\n", "x".repeat(bytes - 12));
    records[400] = of_bytes(1_024_000);
    let mut delivered = records.clone();
    records[100] = of_bytes(1_024_001);
    records[600] = "{\"id\":\n".to_owned();
    assert_eq!([records[100].len(), records[400].len()], [1_024_001, 1_024_000]);
    delivered.remove(600);
    delivered.remove(100);
    fs::write(folder.join("input.ndjson"), records.concat()).expect("room");
    delivered.sort_unstable();
    delivered
}

fn pipeline(folder: &Path, firehose: &Firehose, stream: &str) -> Program {
    let text = format!(
        r#"
pipeline: firehose-story
data_dir: data-{stream}
source: {{ ndjson: {{ paths: ["input.ndjson"] }} }}
sinks:
  - name: out
    firehose: {{ stream: {stream}, region: {REGION}, endpoint: "{}" }}
dead_letters: {{ directory: dead-{stream} }}
range: {{ records: 300 }}
retry: {{ delay_first: 10ms, delay_max: 100ms }}
"#,
        firehose.endpoint()
    );
    let file = folder.join(format!("{stream}.yaml"));
    fs::write(&file, text).expect("room for the pipeline");
    Program::new(&file)
        .with("AWS_ACCESS_KEY_ID", "test")
        .with("AWS_SECRET_ACCESS_KEY", "test")
        .with("AWS_EC2_METADATA_DISABLED", "true")
}

#[test]
fn what_is_not_taken_is_sent_again_and_nothing_else_is() {
    let name = "what_is_not_taken_is_sent_again_and_nothing_else_is";
    let Some(firehose) = Firehose::start(name) else { return };
    firehose.create("throttled");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let expected = write_records(folder.path());
    let program = pipeline(folder.path(), &firehose, "throttled");
    firehose.proxy.withhold(200, 7);
    let refused = Fault::Refused(503, "ServiceUnavailableException");
    firehose.proxy.fail_next([refused.clone(), Fault::Reset, Fault::Withheld(vec![1]), refused]);
    let ran = program.data("run", &[]);
    assert_eq!(ran["delivered"].as_u64(), Some(expected.len() as u64), "{ran:#}");
    assert!(ran["balanced"] == true && ran["complete"] == true, "{ran:#}");
    assert!(firehose.proxy.withheld() > 100, "{}", firehose.proxy.withheld());
    assert!(firehose.delivered("throttled") == expected, "each once");

    let letters = lines(&folder.path().join("dead-throttled"));
    let letter =
        |line: &Vec<u8>| serde_json::from_slice::<Value>(line).expect("a letter")["etl"].clone();
    let letters: Vec<Value> = letters.iter().map(letter).collect();
    assert_eq!(letters.len(), 2);
    assert_eq!([&letters[0]["stage"], &letters[1]["stage"]], ["sink:out", "decode"]);
    assert_eq!(letters[0]["errorCode"], "record-too-large");

    let verified = program.data("verify", &[]);
    assert!(verified["conserved"] == true && verified["complete"] == true, "{verified:#}");
    assert_eq!(verified["sinks_not_looked_into"], serde_json::json!(["out"]));
}

#[test]
fn where_an_answer_is_lost_records_come_twice_and_none_is_missing() {
    let name = "where_an_answer_is_lost_records_come_twice_and_none_is_missing";
    let Some(firehose) = Firehose::start(name) else { return };
    firehose.create("lossy");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let expected = write_records(folder.path());
    let program = pipeline(folder.path(), &firehose, "lossy");
    firehose.proxy.withhold(50, 3);
    firehose.proxy.fail_next([Fault::Withheld(vec![2]), Fault::LostResponse]);
    let ran = program.data("run", &[]);
    assert_eq!(ran["delivered"].as_u64(), Some(expected.len() as u64), "{ran:#}");
    let mut delivered = firehose.delivered("lossy");
    assert!(delivered.len() > expected.len(), "the server had taken what it did not answer");
    delivered.dedup();
    assert!(delivered == expected, "none is missing");
}
