//! The ledger of ranges on a real server: each range is entered once, whatever is lost and whoever
//! crashes, and the sums are those of the records.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
    fs,
};

use aws_sdk_dynamodb::types::AttributeValue;
use tidegate_tests::{
    program::{Program, lines, tree},
    server::with_credentials,
};
use tokio::runtime::Runtime;

use super::{dynamodb::DynamoDb, proxy::Fault, server::REGION};

const RECORDS: u64 = 1_000;

/// Each tenth is no JSON; the others belong to three kinds, a directory each.
fn input() -> String {
    let mut text = String::new();
    for number in 0..RECORDS {
        let _ = match number % 10 {
            3 => writeln!(text, "{number} is no JSON"),
            _ => writeln!(text, r#"{{"number":{number},"kind":"k{}"}}"#, number % 3),
        };
    }
    text
}

fn number(row: &HashMap<String, AttributeValue>, name: &str) -> u64 {
    let value = row.get(name).and_then(|it| it.as_n().ok());
    value.unwrap_or_else(|| panic!("{name} is a number: {row:?}")).parse().expect("a number")
}

fn text<'r>(row: &'r HashMap<String, AttributeValue>, name: &str) -> &'r str {
    row.get(name).and_then(|it| it.as_s().ok()).expect("a text")
}

#[test]
fn each_range_is_entered_once_whatever_is_lost_and_whoever_crashes() {
    let test = "each_range_is_entered_once_whatever_is_lost_and_whoever_crashes";
    let runtime = Runtime::new().expect("threads can be started");
    let Some(dynamodb) = runtime.block_on(DynamoDb::start(test)) else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let in_folder = |name: &str| folder.path().join(name);
    fs::create_dir(in_folder("in")).expect("room");
    fs::write(in_folder("in/events.ndjson"), input()).expect("room");
    let pipeline = format!(
        r#"
pipeline: ledger-story
data_dir: ${{OUT}}/data
ledger:
  table: ledger-of-ranges
  region: {REGION}
  endpoint: {}
  time_to_live: 7d
source: {{ ndjson: {{ paths: ["in/*.ndjson"] }} }}
sinks:
  - name: out
    directory: {{ path: "${{OUT}}/out", tree: [{{ field: kind }}] }}
dead_letters: {{ directory: "${{OUT}}/dead" }}
range: {{ records: 150 }}
retry: {{ delay_first: 10ms }}
"#,
        dynamodb.endpoint(),
    );
    fs::write(in_folder("pipeline.yaml"), pipeline).expect("room");
    let program = || {
        let program = Program::new(in_folder("pipeline.yaml")).with("OUT", folder.path());
        with_credentials(program)
    };

    // Its row is there, and the checkpoint has not moved.
    let crash = program().with("TIDEGATE_FAILPOINT", "before-commit:3");
    assert!(!crash.start("run", &[]).wait().expect("it ends").success());
    let faults = [Fault::Throttled, Fault::LostResponse, Fault::Internal, Fault::Reset];
    dynamodb.proxy.fail_next("PutItem", &faults);
    program().data("run", &[]);
    assert_eq!(dynamodb.proxy.faults_left(), 0);

    let scan = dynamodb.client.scan().table_name("ledger-of-ranges").send();
    let rows = runtime.block_on(scan).expect("the server answers").items.unwrap_or_default();
    let sum = |name: &str| rows.iter().map(|row| number(row, name)).sum::<u64>();
    assert_eq!(sum("total"), RECORDS);
    assert_eq!(sum("failed"), RECORDS / 10);
    assert_eq!(sum("success"), RECORDS - RECORDS / 10);
    assert_eq!(sum("delivered"), lines(&in_folder("out")).len() as u64);
    assert_eq!(sum("failed"), lines(&in_folder("dead")).len() as u64);
    let objects = tree(&in_folder("out")).len() + tree(&in_folder("dead")).len();
    assert_eq!(sum("objects_count"), objects as u64);
    let mut by_range = BTreeMap::new();
    for row in &rows {
        assert!(by_range.insert(text(row, "batch_id"), row).is_none());
        assert_eq!(number(row, "partitions_count"), 3, "{row:?}");
        assert_eq!(number(row, "revision"), 0);
        let time: jiff::Timestamp = text(row, "processed_at").parse().expect("a time");
        let kept = i64::try_from(number(row, "ttl")).expect("a time") - time.as_second();
        assert_eq!(kept, 7 * 24 * 60 * 60);
    }
    assert_eq!(by_range.len(), RECORDS.div_ceil(150) as usize);
    let mut end = "";
    for (number, (id, row)) in by_range.iter().enumerate() {
        assert_eq!(*id, format!("ledger-story/{}/{number:010}", text(row, "shard_id")));
        assert_eq!(text(row, "start"), end, "it begins where the one before ends");
        end = text(row, "end");
    }

    // By shard, in the order of time.
    let shard = text(&rows[0], "shard_id").to_owned();
    let query = dynamodb.client.query().table_name("ledger-of-ranges");
    let query = query
        .index_name(tidegate_connectors::ledger::BY_SHARD)
        .key_condition_expression("shard_id = :shard")
        .expression_attribute_values(":shard", AttributeValue::S(shard))
        .send();
    let found = runtime.block_on(query).expect("the server answers").items.unwrap_or_default();
    assert_eq!(found.len(), rows.len());
    assert!(found.is_sorted_by_key(|row| text(row, "processed_at").to_owned()));
}
