//! Firehose has records transformed.

use serde_json::{Value, json};

use super::{
    event::{of_firehose, results},
    function::{Function, pipeline, trap_on_one},
    server::{BUCKET, REGION, Sqs},
};

/// Rejects what has no `id`, filters what says so, and traps on an amount of 13.
fn text(rest: &str) -> String {
    format!(
        r#"
pipeline: transformation
source: {{ lambda: {{ contract: firehose }} }}
filter: {{ not: {{ field: test, equals: true }} }}
stages:
  - name: validate
    plugin: ${{TIDEGATE_PLUGINS}}/validate.wasm
    config: {{ always: [{{ id: id-given, field: id, check: required }}] }}
{}{rest}"#,
        trap_on_one()
    )
}

fn triple(id: &str, result: &str, data: &str) -> (String, String, String) {
    (id.to_owned(), result.to_owned(), data.to_owned())
}

#[test]
fn each_id_is_answered_once_with_what_became_of_its_record() {
    let name = "each_id_is_answered_once_with_what_became_of_its_record";
    let Some(sqs) = Sqs::start(name) else { return };
    let queue = sqs.create("letters");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let rest = format!(
        r#"sinks:
  - {{ name: answer, reply: {{ tree: [{{ field: type }}] }} }}
dead_letters:
  copy_to:
    sqs:
      queue: {queue}
      region: {REGION}
      endpoint: "{}"
      offload: {{ bucket: {BUCKET}, prefix: large, region: {REGION}, endpoint: "{}", path_style: true }}
"#,
        sqs.endpoint(),
        sqs.server
    );
    let file = pipeline(folder.path(), &text(&rest));
    let Some(function) = Function::start(name, &file, 30) else { return };
    let records: [&[u8]; 7] = [
        br#"{"id":1,"type":"a","amount":1}"#,
        br#"{"type":"a","amount":2}"#,
        br#"{"id":3,"type":"b","amount":13}"#,
        b"no JSON",
        br#"{"id":5,"test":true}"#,
        br#"{"id":6,"type":"b c","amount":4}"#,
        br#"{"id":7,"amount":1.5}"#,
    ];
    let answer = function.invoke(&of_firehose(&records));
    let expected = [
        triple("r0", "Ok", "{\"id\":1,\"type\":\"a\",\"amount\":1,\"doubled\":2.0}\n"),
        triple("r1", "ProcessingFailed", ""),
        triple("r2", "ProcessingFailed", ""),
        triple("r3", "ProcessingFailed", ""),
        triple("r4", "Dropped", ""),
        triple("r5", "Ok", "{\"id\":6,\"type\":\"b c\",\"amount\":4,\"doubled\":8.0}\n"),
        triple("r6", "Ok", "{\"id\":7,\"amount\":1.5,\"doubled\":3.0}\n"),
    ];
    assert_eq!(results(&answer), expected, "{}", function.log());
    let keys = |place: usize| answer["records"][place]["metadata"]["partitionKeys"]["type"].clone();
    assert_eq!([keys(0), keys(5), keys(6)], ["a", "b%20c", "__missing__"].map(Value::from));

    let mut letters: Vec<(String, String)> = Vec::new();
    for message in sqs.receive(&queue) {
        let etl = &message.letter()["etl"];
        let text = |name: &str| etl[name].as_str().unwrap_or_default().to_owned();
        letters.push((text("position"), text("errorCode")));
    }
    letters.sort();
    let found: Vec<_> = letters.iter().map(|(at, code)| (&**at, &**code)).collect();
    assert_eq!(found[..2], [("2", "rejected"), ("3", "plugin-trap")], "{letters:?}");
    assert!(found[2].0 == "4" && found[2].1.starts_with("json-"), "{letters:?}");

    let batch = function.logged("batch").pop().expect("each batch is logged");
    let count = |name: &str| batch[name].as_u64().unwrap_or_default();
    let counts = ["read", "filtered", "delivered", "dead_lettered"].map(count);
    assert_eq!(counts, [7, 1, 3, 3], "{batch:#}");
    assert!(!function.log().contains("no JSON"), "no payload in a log");

    // An empty batch has an answer as well, and what is no event has an error.
    assert_eq!(function.invoke(&of_firehose(&[])), json!({ "records": [] }));
    let error = function.invoke(&json!({ "Records": [{ "eventSource": "aws:sqs" }] }));
    assert_eq!(error["errorType"], "InvalidEvent", "{error:#}");
    assert!(error["errorMessage"].as_str().is_some_and(|it| it.contains("aws:sqs")), "{error:#}");
}

#[test]
fn what_does_not_fit_into_an_answer_has_failed_and_the_answer_arrives() {
    let name = "what_does_not_fit_into_an_answer_has_failed_and_the_answer_arrives";
    let folder = tempfile::tempdir().expect("a temporary folder");
    let rest = "sinks: [{ name: answer, layout: envelope, reply: { delimiter: none } }]\n";
    let file = pipeline(folder.path(), &text(rest));
    let Some(function) = Function::start(name, &file, 30) else { return };
    // In an envelope a record stands beside what was made of it: several times its own bytes.
    const RECORDS: usize = 15_000;
    let large = vec![&br#"{"id":1,"amount":1}"#[..]; RECORDS];
    let event = of_firehose(&large);
    assert!(event.to_string().len() < 6 << 20, "Lambda takes it");
    let answer = function.invoke(&event);
    let results = results(&answer);
    let ids: Vec<&str> = results.iter().map(|(id, ..)| id.as_str()).collect();
    let expected: Vec<String> = (0..RECORDS).map(|i| format!("r{i}")).collect();
    assert!(ids == expected, "each id once, in order: {} ids\n{}", ids.len(), function.log());
    let ok = results.iter().filter(|(_, result, _)| result == "Ok").count();
    let failed = results.iter().filter(|(_, result, _)| result == "ProcessingFailed").count();
    assert!(ok > 5_000 && failed > 0 && ok + failed == RECORDS, "{ok} of {RECORDS}");
    assert!(function.log().contains("do not fit into an answer"), "{}", function.log());
    assert!(results.iter().all(|(.., data)| !data.ends_with('\n')), "as `delimiter` says");
}
