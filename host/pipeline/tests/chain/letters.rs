//! Dead letters: complete, with their reason, and the same each time.

use base64::{Engine, engine::general_purpose::STANDARD};
use tidegate_core::{Digest, Timestamp, column::Binary, record::Defect};

use std::sync::Arc;

use tidegate_core::{Kind, Reply};

use crate::{
    plugins::{Scripted, description, integer},
    support::{OPENED_AT, batch, letters, lines, plan, reasons, run, spec},
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
    assert_eq!(lines(&output, 0), ["{\"n\":1}", "{\"n\":2}"]);
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
