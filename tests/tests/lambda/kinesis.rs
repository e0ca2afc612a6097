//! An event source mapping hands over records of a shard.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tidegate_connectors::sinks::kinesis::KinesisSinkConfig;
use tidegate_core::{Sink as _, sink::Object};
use tidegate_tests::kinesis::{Kinesis, proxy::Fault};

use super::{
    event::{again, of_kinesis, sequence_number},
    function::{Function, pipeline, trap_on_one},
    proxy,
    server::{BUCKET, REGION, Sqs},
};

/// Into a stream, by an embedded server, and to a queue.
fn text(folder: &Path, kinesis: &Kinesis, sqs: &Sqs, queue: &str) -> PathBuf {
    let text = format!(
        r#"
pipeline: delivery
source: {{ lambda: {{}} }}
stages:
  - name: validate
    plugin: ${{TIDEGATE_PLUGINS}}/validate.wasm
    config: {{ always: [{{ id: id-given, field: id, check: required }}] }}
{}sinks:
  - name: out
    kinesis: {{ stream: {}, partition_key: "@partition-key", region: {REGION}, endpoint: "{}" }}
dead_letters:
  copy_to:
    sqs:
      queue: {queue}
      region: {REGION}
      endpoint: "{}"
      offload: {{ bucket: {BUCKET}, prefix: large, region: {REGION}, endpoint: "{}", path_style: true }}
batch: {{ records: 4 }}
retry: {{ delay_first: 10ms, delay_max: 100ms }}
"#,
        trap_on_one(),
        kinesis.stream,
        kinesis.endpoint(),
        sqs.endpoint(),
        sqs.server
    );
    pipeline(folder, &text)
}

/// The ids of the records in the stream, in their order.
fn delivered(kinesis: &Kinesis) -> Vec<u64> {
    let records = kinesis.by_key().remove("k").unwrap_or_default().into_iter();
    let id = |record: String| -> Option<u64> {
        serde_json::from_str::<Value>(&record).ok()?["id"].as_u64()
    };
    records.filter_map(id).collect()
}

fn good(id: usize) -> Vec<u8> {
    format!(r#"{{"id":{id},"amount":{id}.5}}"#).into_bytes()
}

fn references(records: &[Vec<u8>]) -> Vec<&[u8]> {
    records.iter().map(Vec::as_slice).collect()
}

#[test]
fn records_go_to_the_sink_and_rejects_to_the_queue_and_nothing_comes_again() {
    let name = "records_go_to_the_sink_and_rejects_to_the_queue_and_nothing_comes_again";
    let Some(sqs) = Sqs::start(name) else { return };
    let (kinesis, queue) = (Kinesis::start(1), sqs.create("letters"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = text(folder.path(), &kinesis, &sqs, &queue);
    let Some(function) = Function::start(name, &file, 30) else { return };
    let mut records: Vec<Vec<u8>> = (0..10).map(good).collect();
    records[3] = br#"{"amount":1}"#.to_vec();
    records[6] = br#"{"id":6,"amount":13}"#.to_vec();
    records[7] = b"secret".to_vec();
    let answer = function.invoke(&of_kinesis(&references(&records)));
    assert_eq!(again(&answer), [""; 0], "{}", function.log());
    assert_eq!(delivered(&kinesis), [0, 1, 2, 4, 5, 8, 9]);
    let messages = sqs.receive(&queue);
    let mut places: Vec<String> =
        messages.iter().map(|it| it.attributes["sequenceNumber"].clone()).collect();
    places.sort();
    assert_eq!(places, [3, 6, 7].map(sequence_number));
    assert!(messages.iter().all(|it| it.attributes["shardId"] == "shardId-000000000006"));
    assert!(!function.log().contains("secret"), "no payload in a log");
}

#[test]
fn aggregates_are_taken_apart() {
    let name = "aggregates_are_taken_apart";
    let Some(sqs) = Sqs::start(name) else { return };
    let (kinesis, queue) = (Kinesis::start(1), sqs.create("letters"));
    // The sink makes an aggregate, as a producer would.
    let config = KinesisSinkConfig::new("out", &kinesis.stream);
    let sink = kinesis.sink_of(KinesisSinkConfig { aggregates: true, ..config });
    let lines: Vec<Vec<u8>> = (10..13).map(good).collect();
    let keys: tidegate_core::Binary = ["k"; 3].iter().collect();
    let object = Object::new("o", [lines.join(&b'\n'), b"\n".to_vec()].concat());
    let object = Object { keys: Some(std::sync::Arc::new(keys)), ..object };
    kinesis.block_on(sink.write(&[object])).expect("the server takes it");
    let aggregate = kinesis.raw().pop().expect("one record");
    assert!(aggregate.starts_with(&[0xf3, 0x89, 0x9a, 0xc2]), "an aggregate");

    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = text(folder.path(), &kinesis, &sqs, &queue);
    let Some(function) = Function::start(name, &file, 30) else { return };
    let records = [good(1), aggregate, good(2)];
    let answer = function.invoke(&of_kinesis(&references(&records)));
    assert_eq!(again(&answer), [""; 0], "{}", function.log());
    assert_eq!(delivered(&kinesis), [1, 10, 11, 12, 2]);
}

#[test]
fn what_can_not_be_sent_comes_again_from_there_on() {
    let name = "what_can_not_be_sent_comes_again_from_there_on";
    let Some(sqs) = Sqs::start(name) else { return };
    let (kinesis, queue) = (Kinesis::start(1), sqs.create("letters"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = text(folder.path(), &kinesis, &sqs, &queue);
    let Some(function) = Function::start(name, &file, 5) else { return };
    let mut records: Vec<Vec<u8>> = (0..12).map(good).collect();
    records[6] = br#"{"amount":1}"#.to_vec();
    let event = of_kinesis(&references(&records));

    // The queue is down: what is before the reject is done.
    let down = || proxy::Fault::Refused(503, "ServiceUnavailable");
    sqs.proxy.fail_next((0..1000).map(|_| down()));
    assert_eq!(again(&function.invoke(&event)), [sequence_number(6)], "{}", function.log());
    assert_eq!(delivered(&kinesis), [0, 1, 2, 3, 4, 5]);
    assert!(sqs.receive(&queue).is_empty());
    let line = function.logged("batch").pop().expect("each batch is logged");
    assert_eq!(line["again_from"], sequence_number(6), "{line:#}");

    // It is back, and the stream is down: the reject is sent, and its batch comes again.
    let left = sqs.proxy.faults_left();
    assert!(left > 0, "it was tried until the time was up, and not more");
    sqs.proxy.forgive();
    let rest = of_kinesis_from(&event, 6);
    kinesis.proxy.fail_next("PutRecords", &[Fault::Internal; 1000]);
    assert_eq!(again(&function.invoke(&rest)), [sequence_number(6)], "{}", function.log());
    assert_eq!(delivered(&kinesis), [0, 1, 2, 3, 4, 5]);
    kinesis.proxy.forgive();
    assert_eq!(again(&function.invoke(&rest)), [""; 0], "{}", function.log());
    assert_eq!(delivered(&kinesis), [0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 11]);
    assert!(!sqs.receive(&queue).is_empty());
}

/// The event that Lambda makes of what is left.
fn of_kinesis_from(event: &Value, first: usize) -> Value {
    let records = event["Records"].as_array().expect("a list");
    serde_json::json!({ "Records": records[first..] })
}
