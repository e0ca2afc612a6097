//! Events as AWS sends them.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

/// Firehose asks for records to be transformed. Their ids are `r0`, `r1` and so on.
pub(crate) fn of_firehose(records: &[&[u8]]) -> Value {
    let record = |(place, data): (usize, &&[u8])| {
        json!({ "recordId": format!("r{place}"), "approximateArrivalTimestamp": 1_495_072_949_453_u64,
                "data": STANDARD.encode(data) })
    };
    json!({
        "invocationId": "invocation",
        "deliveryStreamArn": "arn:aws:firehose:us-east-1:000000000000:deliverystream/clicks",
        "region": "us-east-1",
        "records": records.iter().enumerate().map(record).collect::<Vec<_>>(),
    })
}

/// The sequence number of a record of [`of_kinesis`].
pub(crate) fn sequence_number(place: usize) -> String {
    format!("4959033827149025660855969253836157109592157598913{:07}", 6_588_000 + place)
}

/// Lambda hands over records of a shard, all of one key.
pub(crate) fn of_kinesis(records: &[&[u8]]) -> Value {
    let record = |(place, data): (usize, &&[u8])| {
        let sequence_number = sequence_number(place);
        json!({
            "kinesis": {
                "kinesisSchemaVersion": "1.0", "partitionKey": "k",
                "sequenceNumber": sequence_number, "data": STANDARD.encode(data),
                "approximateArrivalTimestamp": 1_545_084_650.987,
            },
            "eventSource": "aws:kinesis", "eventVersion": "1.0",
            "eventID": format!("shardId-000000000006:{sequence_number}"),
            "eventName": "aws:kinesis:record", "awsRegion": "us-east-1",
            "eventSourceARN": "arn:aws:kinesis:us-east-1:000000000000:stream/clicks",
        })
    };
    json!({ "Records": records.iter().enumerate().map(record).collect::<Vec<_>>() })
}

/// An answer to Firehose: the result of each id, and the text that it goes on as.
pub(crate) fn results(answer: &Value) -> Vec<(String, String, String)> {
    let records = answer["records"].as_array().unwrap_or_else(|| panic!("no answer: {answer:#}"));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let result = |record: &Value| {
        let data = STANDARD.decode(text(&record["data"])).expect("base64");
        let data = String::from_utf8(data).expect("lines are text");
        (text(&record["recordId"]), text(&record["result"]), data)
    };
    records.iter().map(result).collect()
}

/// Which records an answer to Lambda wants again.
pub(crate) fn again(answer: &Value) -> Vec<String> {
    let failures = answer["batchItemFailures"].as_array();
    let failures = failures.unwrap_or_else(|| panic!("no answer: {answer:#}")).iter();
    failures.map(|it| it["itemIdentifier"].as_str().expect("a text").to_owned()).collect()
}
