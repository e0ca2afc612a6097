//! Aggregates by Amazon's library for Python against ours: what it makes is read here, and what the sink
//! makes is read there, user record by user record.

use std::{collections::BTreeMap, path::PathBuf};

use aws_sdk_kinesis::{primitives::Blob, types::PutRecordsRequestEntry};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tidegate_connectors::sources::kinesis::{KinesisConfig, KinesisSource, OutOfRange};
use tidegate_core::{Source, source::PartitionId};
use tidegate_tests::{
    program::{Program, lines},
    python::{python, run},
    server::with_credentials,
};

use super::{
    server::{Kinesis, REGION, hash_range},
    source::{base64_of, config, read_shard},
};

/// A user record: its key, the hash that its producer has chosen, its payload.
pub(crate) type UserRecord = (String, Option<u128>, Vec<u8>);

/// Amazon's library.
pub(crate) struct Aggregates {
    python: PathBuf,
}

const MAKE: &str = "
import base64, json, sys
from aws_kinesis_agg.aggregator import RecordAggregator
made = []
for records in json.load(open(sys.argv[1])):
    aggregator = RecordAggregator()
    for key, hash, data in records:
        full = aggregator.add_user_record(key, base64.b64decode(data), hash)
        assert full is None, 'they are one aggregate'
    key, hash, data = aggregator.clear_and_get().get_contents()
    made.append([key, hash, base64.b64encode(data).decode()])
print(json.dumps(made))
";

const TAKE_APART: &str = "
import base64, json, sys
from aws_kinesis_agg.deaggregator import deaggregate_records
records = [{'kinesis': {'kinesisSchemaVersion': '1.0', 'sequenceNumber': str(number),
                        'approximateArrivalTimestamp': 0, 'partitionKey': key, 'data': data}}
           for number, (key, data) in enumerate(json.load(open(sys.argv[1])))]
print(json.dumps([[it['kinesis']['partitionKey'], base64.b64decode(it['kinesis']['data']).decode(),
                   it['kinesis'].get('aggregated', False)] for it in deaggregate_records(records)]))
";

impl Aggregates {
    /// A test that misses it says so.
    pub(crate) fn find(test: &str) -> Option<Aggregates> {
        python(test, "TIDEGATE_AGGREGATES").map(|python| Aggregates { python })
    }

    fn ask(&self, program: &str, argument: &Value) -> Value {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), argument.to_string()).expect("there is room");
        run(&self.python, program, file.path())
    }

    /// Makes an aggregate of each list, to be put as it is.
    pub(crate) fn make(&self, lists: &[Vec<UserRecord>]) -> Vec<PutRecordsRequestEntry> {
        let record = |(key, hash, data): &UserRecord| {
            json!([key, hash.map(|it| it.to_string()), STANDARD.encode(data)])
        };
        let lists = lists.iter().map(|it| it.iter().map(record).collect::<Vec<_>>());
        let made = self.ask(MAKE, &lists.collect::<Vec<_>>().into());
        let entry = |made: &Value| {
            let entry = PutRecordsRequestEntry::builder();
            let entry = entry.partition_key(made[0].as_str().expect("a key"));
            let entry = entry.set_explicit_hash_key(made[1].as_str().map(str::to_owned));
            entry.data(Blob::new(base64_of(&made[2]))).build().expect("it has a key and data")
        };
        made.as_array().expect("a list").iter().map(entry).collect()
    }
}

fn put(kinesis: &Kinesis, entries: Vec<PutRecordsRequestEntry>) {
    kinesis.run(async |client, stream| {
        let put =
            client.put_records().stream_name(stream).set_records(Some(entries)).send().await?;
        assert_eq!(put.failed_record_count, Some(0));
        Ok(())
    });
}

#[test]
fn what_amazons_library_has_aggregated_comes_out_record_by_record() {
    let Some(aggregates) = Aggregates::find("what_amazons_library_has_aggregated") else { return };
    let kinesis = Kinesis::start(2);
    let open = kinesis.open_shards();
    let [(lower, _), (upper, _)] = [hash_range(&open[0]), hash_range(&open[1])];
    // Lists of one record and of many, of one key and of several, with hashes of their own and without,
    // some of which are another shard's; empty payloads, and keys beyond ASCII.
    let list = |list: u64| -> Vec<UserRecord> {
        let record = |n: u64| {
            let key = format!("schlüssel-{}", (list * 5 + n) % (list % 4 + 1));
            let hash = match n % 3 {
                // The first one is where the aggregate goes.
                0 => Some(lower + u128::from(n)),
                1 if list.is_multiple_of(2) => Some(upper + u128::from(n)),
                _ => Some(lower + u128::from(list)),
            };
            let data =
                if n == 2 { Vec::new() } else { format!(r#"{{"list":{list},"n":{n}}}"#).into() };
            (key, hash, data)
        };
        (0..1 + list * list % 40).map(record).collect()
    };
    let lists: Vec<Vec<UserRecord>> = (0..24).map(list).collect();
    put(&kinesis, aggregates.make(&lists));
    let mut expected = Vec::new();
    for list in &lists {
        for (sub, (key, hash, data)) in list.iter().enumerate() {
            let text = String::from_utf8_lossy(data).into_owned();
            let defect = hash.is_some_and(|it| it >= upper).then_some("out-of-range");
            expected.push((key.clone(), text, sub as u64, sub + 1 == list.len(), defect));
        }
    }
    let notes = tempfile::tempdir().expect("a temporary folder");
    let out_of_range = OutOfRange::DeadLetter;
    let source =
        KinesisSource::new(KinesisConfig { out_of_range, ..config(&kinesis, notes.path()) });
    let shard = PartitionId::from(open[0].shard_id());
    let found = kinesis.block_on(async {
        source.partitions().await.expect("the shards are listed");
        read_shard(&source, &shard, None, expected.len()).await.expect("readable")
    });
    let found: Vec<_> = found
        .into_iter()
        .map(|it| (it.key, it.text, it.resume.position.0[3], it.ends_group, it.defect))
        .collect();
    assert!(expected.iter().any(|it| it.4.is_some()) && expected.len() > 300);
    assert_eq!(found, expected);
}

/// Without hashes of their own, records have those of their keys.
#[test]
fn records_of_an_aggregate_without_hashes_have_those_of_their_keys() {
    let Some(aggregates) = Aggregates::find("records_of_an_aggregate_without_hashes") else {
        return;
    };
    let kinesis = Kinesis::start(2);
    let open = kinesis.open_shards();
    // The MD5 of `a` begins with 0c, in the lower half, and that of `b` with 92.
    let records = ["a", "b", "a"].map(|key| (key.to_owned(), None, key.as_bytes().to_vec()));
    put(&kinesis, aggregates.make(&[records.to_vec()]));
    let notes = tempfile::tempdir().expect("a temporary folder");
    let out_of_range = OutOfRange::DeadLetter;
    let source =
        KinesisSource::new(KinesisConfig { out_of_range, ..config(&kinesis, notes.path()) });
    let shard = PartitionId::from(open[0].shard_id());
    let found = kinesis.block_on(async {
        source.partitions().await.expect("the shards are listed");
        read_shard(&source, &shard, None, 3).await.expect("readable")
    });
    let found: Vec<_> = found.iter().map(|it| (it.key.as_str(), it.defect)).collect();
    assert_eq!(found, [("a", None), ("b", Some("out-of-range")), ("a", None)]);
}

#[test]
fn what_the_sink_has_aggregated_amazons_library_takes_apart() {
    let Some(aggregates) = Aggregates::find("what_the_sink_has_aggregated") else { return };
    let kinesis = Kinesis::start(1);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut expected: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut input = String::new();
    for n in 0..1_000 {
        let user = format!("größe-{}", n * 7 % 13);
        let line = format!(r#"{{"user":"{user}","n":{n},"text":"{}"}}"#, "ä".repeat(n % 90));
        input += &format!("{line}\n");
        expected.entry(user).or_default().push(line);
    }
    std::fs::write(folder.path().join("input.ndjson"), input).expect("there is room");
    let text = format!(
        r#"
pipeline: aggregates
data_dir: data
source: {{ ndjson: {{ paths: ["input.ndjson"] }} }}
sinks:
  - name: out
    kinesis:
      stream: {}
      region: {REGION}
      endpoint: "{}"
      partition_key: user
      aggregate: true
dead_letters: {{ directory: dead }}
range: {{ records: 300 }}
"#,
        kinesis.stream,
        kinesis.endpoint()
    );
    let file = folder.path().join("pipeline.yaml");
    std::fs::write(&file, text).expect("there is room");
    let ran = with_credentials(Program::new(&file)).data("run", &[]);
    assert_eq!(ran["delivered"].as_u64(), Some(1_000), "{ran:#}");
    assert!(lines(&folder.path().join("dead")).is_empty());
    let records: Vec<Value> = kinesis
        .records()
        .into_values()
        .flatten()
        .map(|(key, data)| json!([key, STANDARD.encode(data)]))
        .collect();
    assert!(records.len() < 100, "{} are hardly aggregates", records.len());
    let apart = aggregates.ask(TAKE_APART, &records.into());
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for record in apart.as_array().expect("a list") {
        assert_eq!(record[2], true, "it was aggregated");
        let text = |place: usize| record[place].as_str().expect("a text").to_owned();
        found.entry(text(0)).or_default().push(text(1));
    }
    assert!(found == expected, "each once, and each key's in order");
}
