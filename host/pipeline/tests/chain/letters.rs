//! Dead letters: complete, with their reason, and the same each time.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tidegate_core::{
    Digest, Kind, Origin, Read, Reply, Timestamp, checkpoint::Outcome, column::Binary,
    description::HostValue, record::Defect, source::PartitionId,
};
use tidegate_pipeline::{
    RangeContext,
    plan::{OnReject, PartitionKeySpec, SinkSpec},
    states::NoStates,
};

use crate::{
    plugins::{Scripted, description, integer},
    support::{OPENED_AT, batch, context, letters, lines, plan, ready, reasons, run, spec, values},
};

#[test]
fn a_letter_carries_its_record_byte_for_byte_and_all_that_is_known_of_it() {
    let not_utf8 = b"{\"n\": \xff\xfe}";
    let mut input = batch(100, &[&not_utf8[..]]);
    input.keys = Binary::from_iter(["key-7"]);
    input.arrivals = vec![Timestamp(1_500_000)];
    let plan = plan(spec(&[]));
    let output = run(&plan, &[input]);
    let letter = &letters(&output)[0];
    let kinesis = &letter["payload"]["Records"][0]["kinesis"];
    let data = STANDARD.decode(kinesis["data"].as_str().expect("text")).expect("base64");
    assert_eq!(data, not_utf8);
    assert_eq!(kinesis["partitionKey"], "key-7");
    assert_eq!(kinesis["sequenceNumber"], "110");
    assert_eq!(kinesis["approximateArrivalTimestamp"], 1.5);
    assert_eq!(letter["version"], "1.0");
    assert_eq!(letter["timestamp"], OPENED_AT.to_string());
    assert_eq!(letter["requestContext"]["condition"], "ProcessingFailed");
    let etl = &letter["etl"];
    assert_eq!(etl["stage"], "decode");
    assert_eq!(etl["errorCode"], "json-invalid-utf8");
    assert_eq!(etl["errorClass"], "permanent");
    assert_eq!(etl["source"], "input");
    assert_eq!(etl["partition"], "data/in.ndjson");
    assert_eq!(etl["position"], "110");
    assert_eq!(etl["pipeline"], "test");
    assert_eq!(etl["payloadSha256"], Digest::of(not_utf8).hex());
    assert_eq!(etl["firstFailure"], etl["lastFailure"]);
    assert!(letter.get("KinesisBatchInfo").is_none());
}

#[test]
fn what_is_no_record_says_why() {
    let mut input = batch(0, &["{\"n\":1}", "half a rec", "{\"n\":2}", "{\"long\":\"........\"}"]);
    input.defects =
        vec![Defect { row: 1, code: "not-decompressible", message: "cut short".to_owned() }];
    let mut spec = spec(&[]);
    spec.limits.record_bytes_max = 12;
    let output = run(&plan(spec), &[input]);
    let codes: Vec<_> = reasons(&output).into_iter().map(|(_, code, _)| code).collect();
    assert_eq!(codes, ["not-decompressible", "record-too-large"]);
    // What is no record can't be tried again; what is too large may be, under another limit.
    let raw =
        letters(&output).iter().map(|it| it["etl"]["payloadIsRaw"].clone()).collect::<Vec<_>>();
    assert_eq!(raw, [Value::Bool(true), Value::Null]);
    assert_eq!(lines(&output, 0), ["{\"n\":1}", "{\"n\":2}"]);
}

#[test]
fn what_is_still_wrong_where_it_was_corrected_is_for_review() {
    let mut numbers = description(&[("n", Kind::Int64)], &[]);
    numbers.reads[0].required = true;
    let plugin = Scripted::new("judge", numbers, |batch, _| {
        let mut reply = Reply::default();
        for row in 0..batch.rows as usize {
            reply.verdicts.push(2);
            reply.findings.rows.push(row as u32);
            reply.findings.rules.push(0);
        }
        Ok(reply)
    });
    let mut spec = spec(&[Arc::new(plugin)]);
    spec.stages[0].on_reject = OnReject::Review;
    let output = run(&plan(spec), &[batch(0, &["{\"n\":1}", "{}"])]);
    let letters = letters(&output);
    let said: Vec<_> =
        letters.iter().map(|it| (&it["etl"]["errorClass"], &it["etl"]["errorCode"])).collect();
    let review = Value::from("review");
    assert_eq!(said, [(&review, &"rejected".into()), (&review, &"required-missing".into())]);
}

#[test]
fn a_record_that_is_redriven_is_told_its_origin_and_its_fate_is_kept() {
    // What plugins are told of a record's place, written into it.
    let mut places = description(&[], &[("partition", Kind::Utf8), ("position", Kind::Utf8)]);
    for value in [HostValue::Partition, HostValue::Position] {
        places.reads.push(Read { from: Origin::Host(value), kind: Kind::Utf8, required: false });
    }
    let plugin = Scripted::new("placing", places, |batch, _| {
        let columns = batch.columns.iter().map(|column| (*column).clone()).collect();
        Ok(Reply { columns, ..Reply::default() })
    });
    let mut spec = spec(&[Arc::new(plugin)]);
    let filter = json!({ "field": "n", "equals": 1 });
    spec.filter = Some(serde_json::from_value(filter).expect("a condition"));
    let plan = plan(spec);
    let mut input = batch(0, &["{\"n\":1}", "{\"n\":2}", "{\"n\":"]);
    input.redrives = vec![1, 1, 3];
    let origin = Some(PartitionId::from("data/origin.ndjson"));
    let mut range = plan
        .open_range(RangeContext { origin, ..context(Vec::new()) })
        .expect("a range can be opened");
    ready(range.process(&input, &NoStates)).expect("nothing fails");
    let output = range.cut().expect("it adds up");
    assert_eq!(
        values(&output, 0),
        [json!({ "n": 1, "partition": "data/origin.ndjson", "position": "8" })]
    );
    let letter = &letters(&output)[0];
    assert_eq!(letter["etl"]["partition"], "data/origin.ndjson");
    assert_eq!(letter["etl"]["redriveCount"], 3);
    // Objects are named after the range that they are of.
    assert!(output.objects.iter().all(|it| it.object.key.contains("in.ndjson")));
    let outcomes: Vec<_> =
        output.outcomes.iter().map(|it| (it.position.offset(), it.outcome)).collect();
    let expected = [(8, Outcome::Delivered), (16, Outcome::Filtered), (22, Outcome::DeadLettered)];
    assert_eq!(outcomes, expected);
    assert!(run(&plan, &[batch(0, &["{\"n\":1}"])]).outcomes.is_empty(), "the counts say it");
}

#[test]
fn a_record_that_is_too_old_at_batch_time_is_dead_before_anything_reads_it() {
    let mut spec = spec(&[]);
    spec.limits.record_age_max = Some(Duration::from_secs(60));
    let plan = plan(spec);
    let mut input = batch(0, &["{\"n\":1}", "not even JSON", "{\"n\":3}"]);
    let ago = |micros: i64| Timestamp(OPENED_AT.0 - micros);
    // At the limit, past it, and by a clock that is ahead of ours.
    input.arrivals = vec![ago(60_000_000), ago(60_000_001), ago(-5)];
    let output = run(&plan, &[input.clone()]);
    assert_eq!(lines(&output, 0), ["{\"n\":1}", "{\"n\":3}"]);
    let letter = &letters(&output)[0];
    assert_eq!(letter["requestContext"]["condition"], "RecordAgeExceeded");
    assert_eq!(letter["etl"]["errorCode"], "record-age");
    assert_eq!(letter["etl"]["errorClass"], "review");
    // An operator who tries it again knows how old it is.
    input.redrives = vec![1, 1, 1];
    let output = run(&plan, &[input]);
    assert_eq!(letters(&output)[0]["requestContext"]["condition"], "ProcessingFailed");
}

#[test]
fn a_rejection_names_its_rule_and_lists_what_was_found() {
    let description = description(&[("n", Kind::Int64)], &[]);
    let plugin = Scripted::new("judge", description, |batch, _| {
        let mut reply = Reply::default();
        for row in 0..batch.rows as usize {
            let negative = integer(batch, 0, row).is_some_and(|n| n < 0);
            reply.verdicts.push(if negative { 2 } else { 0 });
            reply.findings.rows.push(row as u32);
            reply.findings.rules.push(0);
            reply.findings.details.push(b"line one\nline two");
        }
        Ok(reply)
    });
    let mut spec = spec(&[Arc::new(plugin)]);
    spec.stages[0].name = "quality".to_owned();
    let output = run(&plan(spec), &[batch(0, &["{\"n\":1}", "{\"n\":-1}"])]);
    let letter = &letters(&output)[0];
    assert_eq!(letter["etl"]["stage"], "transform:quality");
    assert_eq!(letter["etl"]["errorCode"], "rejected");
    assert_eq!(letter["etl"]["errorClass"], "reject");
    assert_eq!(letter["etl"]["rule"], "says-so");
    assert_eq!(letter["etl"]["errorMessage"], "the plugin says so");
    let finding = &letter["etl"]["findings"][0];
    assert_eq!(finding["dimension"], "validity");
    assert_eq!(finding["detail"], "line one line two");
    assert_eq!(output.stages[0].findings, [2]);
    assert_eq!(letter["requestContext"]["functionArn"], format!("judge@{}", Digest::of(b"judge")));
}

/// What plugins make of a record may be too large for one sink, and not for another.
#[test]
fn a_row_that_is_too_large_for_its_sink_is_taken_off_again_and_is_a_dead_letter() {
    let small = SinkSpec { row_bytes_max: Some("{\"n\":11}\n".len()), ..SinkSpec::new("small") };
    let mut spec = spec(&[]);
    spec.sinks.push(small);
    let records = ["{\"n\":1}", "{\"n\":222}", "{\"n\":33}", "{\"n\":4444}"];
    let output = run(&plan(spec), &[batch(0, &records[..2]), batch(18, &records[2..])]);
    assert_eq!(lines(&output, 0), records);
    assert_eq!(lines(&output, 1), ["{\"n\":1}", "{\"n\":33}"]);
    let reason =
        |record: &str| ("sink:small".to_owned(), "record-too-large".to_owned(), record.to_owned());
    assert_eq!(reasons(&output), [reason(records[1]), reason(records[3])]);
    let etl = &letters(&output)[0]["etl"];
    assert_eq!(etl["errorClass"], "permanent");
    let message = "10 bytes in sink `small`, which takes at most 9";
    assert_eq!(etl["errorMessage"], message);
    // A record is counted once, and each of its shares too.
    let counts = &output.counts;
    let counted = [counts.read, counts.delivered, counts.dead_lettered].map(|it| it.records);
    assert_eq!(counted, [4, 2, 2]);
    let shares = output.destinations.iter().map(|it| (it.shares, it.delivered, it.dead_lettered));
    assert_eq!(shares.collect::<Vec<_>>()[..2], [(4, 4, 0), (4, 2, 2)]);
}

/// A sink that partitions gets a key with each row, and a row without one has no place in it.
#[test]
fn rows_go_with_their_partition_keys_or_are_dead_letters() {
    let keyed = |name: &str, from: Origin, row_bytes_max| SinkSpec {
        partition_key: Some(PartitionKeySpec { from, chars_max: 4 }),
        row_bytes_max,
        ..SinkSpec::new(name)
    };
    let mut spec = spec(&[]);
    let field = "user.id".parse().map(Origin::Field).expect("a path");
    spec.sinks = vec![
        keyed("by-field", field, Some("{\"user\":{\"id\":\"abcd\"}}\n".len() + 4)),
        keyed("by-own", Origin::Host(HostValue::PartitionKey), None),
    ];
    let records = [
        "{\"user\":{\"id\":\"a\"}}",
        "{\"user\":{\"id\":17}}",
        "{\"user\":{}}",
        "{\"user\":{\"id\":\"abcde\"}}",
        "{\"user\":{\"id\":\"abcd\"}}",
        "{\"user\":{\"id\":\"ab\"},\"x\":1}",
    ];
    let mut input = batch(0, &records);
    input.keys = Binary::from_iter(["k0", "k1", "k2", "k3", "k4", "k5"]);
    let output = run(&plan(spec), &[input]);
    let keys = |sink: usize| {
        let objects = output.objects.iter().filter(|it| it.destination == sink);
        let keys = objects.flat_map(|it| {
            let keys = it.object.keys.as_ref().expect("the sink wants keys");
            (0..keys.len()).map(|i| String::from_utf8_lossy(keys.get(i)).into_owned())
        });
        keys.collect::<Vec<_>>()
    };
    assert_eq!(lines(&output, 0), [records[0], records[1], records[4]]);
    assert_eq!(keys(0), ["a", "17", "abcd"]);
    assert_eq!(lines(&output, 1), records);
    assert_eq!(keys(1), ["k0", "k1", "k2", "k3", "k4", "k5"]);
    let codes: Vec<_> =
        reasons(&output).into_iter().map(|(stage, code, _)| (stage, code)).collect();
    let reason = |code: &str| ("sink:by-field".to_owned(), code.to_owned());
    let expected = ["partition-key-missing", "partition-key-too-long", "record-too-large"];
    assert_eq!(codes, expected.map(reason), "the key counts");
    let message = |i: usize| letters(&output)[i]["etl"]["errorMessage"].clone();
    assert_eq!(message(0), "sink `by-field` partitions by `user.id`, which has no value");
    let long = "a partition key of 5 characters for sink `by-field`, which takes at most 4";
    assert_eq!(message(1), long);
}

/// A source that hands over no keys has a field for one, as it was before any stage.
#[test]
fn a_record_has_the_key_that_it_came_with_whatever_stages_make_of_it() {
    let overwrite = description(&[], &[("user", Kind::Utf8)]);
    let plugin = Scripted::new("anonymize", overwrite, |batch, _| {
        let column = crate::plugins::texts((0..batch.rows).map(|_| "nobody"));
        Ok(Reply { columns: vec![column], ..Reply::default() })
    });
    let mut spec = spec(&[Arc::new(plugin)]);
    spec.partition_key = Some("user".parse().expect("a path"));
    let keyed = |name: &str, from: Origin| SinkSpec {
        partition_key: Some(PartitionKeySpec { from, chars_max: 256 }),
        ..SinkSpec::new(name)
    };
    let field = "user".parse().map(Origin::Field).expect("a path");
    spec.sinks = vec![keyed("own", Origin::Host(HostValue::PartitionKey)), keyed("written", field)];
    let output = run(&plan(spec), &[batch(0, &["{\"user\":7}", "{\"user\":\"b\"}"])]);
    let keys: Vec<_> = output.objects.iter().map(|it| it.object.keys.clone()).collect();
    let binary = |keys: &[&str]| Some(Arc::new(keys.iter().collect::<Binary>()));
    assert_eq!(keys, [binary(&["7", "b"]), binary(&["nobody", "nobody"])]);
}

#[test]
fn a_write_that_does_not_fit_rejects_the_row() {
    let description = description(&[("n", Kind::Int64)], &[("a.b", Kind::Int64)]);
    let plugin = Scripted::new("writer", description, |batch, _| {
        let column = crate::plugins::integers((0..batch.rows).map(i64::from));
        Ok(Reply { columns: vec![column], ..Reply::default() })
    });
    let output = run(
        &plan(spec(&[Arc::new(plugin)])),
        &[batch(0, &["{\"a\":{}}", "{\"a\":5}", "{}", "[1]"])],
    );
    assert_eq!(lines(&output, 0), ["{\"a\":{\"b\":0}}", "{\"a\":{\"b\":2}}"]);
    let found = reasons(&output);
    assert_eq!(
        found,
        [
            ("encode".to_owned(), "write-conflict".to_owned(), "{\"a\":5}".to_owned()),
            ("encode".to_owned(), "write-conflict".to_owned(), "[1]".to_owned()),
        ]
    );
    assert_eq!(letters(&output)[0]["etl"]["plugin"], "writer 1.2.3");
}
