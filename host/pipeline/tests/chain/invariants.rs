//! The invariants of the design that are upheld between a range's first record and its cut.

use std::sync::Arc;

use tidegate_core::{Condition, Kind, Reply, TransformFactory, transform::Verdict};
use tidegate_pipeline::{
    Plan, PlanSpec, RangeOutput,
    plan::{Compression, Layout, SinkSpec, Unrouted},
};

use crate::{
    plugins::{Scripted, description, doubling, integer, integers, texts},
    support::{batch, batches, fingerprint, lines, numbers, plan, reasons, run, spec, values},
};

fn condition(json: &str) -> Condition {
    serde_json::from_str(json).expect(json)
}

/// Drops multiples of 5, rejects multiples of 7, makes `n % 4` children of the others with a
/// `size`; multiples of 4 without children are dropped as well.
fn busy() -> Arc<dyn TransformFactory> {
    let description =
        description(&[("n", Kind::Int64)], &[("size", Kind::Utf8), ("child", Kind::Int64)]);
    Arc::new(Scripted::new("busy", description, |batch, _| {
        let mut reply = Reply::default();
        let (mut sizes, mut children) = (Vec::new(), Vec::new());
        for row in 0..batch.rows as usize {
            let n = integer(batch, 0, row).unwrap_or(0);
            let verdict = match n {
                n if n % 5 == 0 => Verdict::Drop,
                n if n % 7 == 0 => Verdict::Reject,
                _ => Verdict::Emit,
            };
            reply.verdicts.push(verdict as u8);
            if verdict != Verdict::Emit || n % 4 == 0 {
                reply.findings.rows.push(row as u32);
                reply.findings.rules.push(0);
            }
            for child in 0..n % 4 {
                reply.parents.push(row as u32);
                sizes.push(if child == 2 { "large" } else { "small" });
                children.push(child);
            }
        }
        if reply.parents.is_empty() {
            // No parents at all would mean one row for each: so childless rows are dropped.
            for verdict in reply.verdicts.iter_mut().filter(|verdict| **verdict == 0) {
                *verdict = Verdict::Drop as u8;
            }
            sizes.resize(batch.rows as usize, "");
            children.resize(batch.rows as usize, 0);
        }
        reply.columns = vec![texts(sizes), integers(children)];
        Ok(reply)
    }))
}

/// A plan with something of everything, and no route for `child: 1`.
fn busy_spec(unrouted: Unrouted) -> PlanSpec {
    let mut spec = spec(&[Arc::new(doubling(&[13, 131], false)), busy()]);
    spec.filter = Some(condition(r#"{"not":{"field":"n","in":[1,3,9]}}"#));
    let small =
        r#"{"all":[{"field":"size","equals":"small"},{"not":{"field":"child","equals":1}}]}"#;
    spec.sinks = vec![
        SinkSpec {
            when: Some(condition(small)),
            tree: "size={size}/{@source}".parse().expect("a tree"),
            compression: Compression::Zstd { level: 1 },
            part_records_max: 10,
            ..SinkSpec::new("small")
        },
        SinkSpec {
            when: Some(condition(r#"{"field":"size","prefix":"large"}"#)),
            layout: Layout::Envelope,
            ..SinkSpec::new("large")
        },
        SinkSpec {
            when: Some(condition(r#"{"field":"child","equals":2}"#)),
            layout: Layout::Nested("etl".to_owned()),
            ..SinkSpec::new("nested")
        },
    ];
    spec.unrouted = unrouted;
    spec
}

fn busy_input() -> Vec<String> {
    let mut records = numbers(200);
    records[20] = "{\"n\":20".to_owned();
    records[21] = "nonsense".to_owned();
    records
}

#[test]
fn invariant_3_read_is_filtered_and_dropped_and_delivered_and_dead_lettered() {
    for unrouted in [Unrouted::Drop, Unrouted::DeadLetter] {
        let output = run(&plan(busy_spec(unrouted)), &batches(&busy_input(), 64));
        let counts = &output.counts;
        assert!(counts.conserved());
        // Each record, by hand.
        let mut want = [0; 4];
        for n in 0..200u64 {
            let place = match n {
                20 | 21 | 13 | 131 => 3,
                1 | 3 | 9 => 0,
                n if n % 5 == 0 => 1,
                n if n % 7 == 0 => 3,
                n if n % 4 == 0 => 1,
                // Child 0 is always delivered; child 1 has no route.
                n if n % 4 >= 2 && unrouted == Unrouted::DeadLetter => 3,
                _ => 2,
            };
            want[place] += 1;
        }
        let have = [&counts.filtered, &counts.dropped, &counts.delivered, &counts.dead_lettered];
        assert_eq!(have.map(|tally| tally.records), want, "{unrouted:?}");
        assert_eq!(reasons(&output).len() as u64, want[3], "each dead letter once");
        for destination in &output.destinations {
            assert_eq!(destination.shares, destination.delivered + destination.dead_lettered);
        }
        assert_eq!(output.destinations[1].shares, output.destinations[2].shares);
        assert!(output.destinations[1].shares > 0);
    }
}

#[test]
fn invariant_5_order_holds_from_source_to_sink() {
    let mut spec = busy_spec(Unrouted::Drop);
    spec.sinks = vec![SinkSpec::new("out")];
    let output = run(&plan(spec), &batches(&busy_input(), 7));
    let order: Vec<_> =
        values(&output, 0).iter().map(|v| (v["n"].as_i64(), v["child"].as_i64())).collect();
    assert!(order.len() > 100);
    assert!(order.is_sorted());
    let letters: Vec<u64> = values(&output, 1)
        .iter()
        .map(|letter| letter["etl"]["position"].as_str().and_then(|p| p.parse().ok()).expect("one"))
        .collect();
    assert!(letters.is_sorted());
}

#[test]
fn invariant_6_a_misbehaving_plugin_costs_one_record_at_best() {
    let output =
        run(&plan(spec(&[Arc::new(doubling(&[42], false))])), &batches(&numbers(300), 300));
    assert_eq!(output.counts.dead_lettered.records, 1);
    assert_eq!(output.counts.delivered.records, 299);
}

#[test]
fn invariant_9_the_same_range_gives_the_same_bytes() {
    let make = |plan: &Arc<Plan>| -> RangeOutput { run(plan, &batches(&busy_input(), 64)) };
    let first = fingerprint(&make(&plan(busy_spec(Unrouted::DeadLetter))));
    for _ in 0..3 {
        assert_eq!(fingerprint(&make(&plan(busy_spec(Unrouted::DeadLetter)))), first);
    }
    // Nor do they depend on how the range was cut into batches.
    for size in [1, 10, 200] {
        let output = run(&plan(busy_spec(Unrouted::DeadLetter)), &batches(&busy_input(), size));
        assert_eq!(fingerprint(&output), first, "batches of {size}");
    }
}

#[test]
fn what_no_plugin_touched_comes_out_byte_for_byte() {
    let records = [
        "{ \"n\" : 1E400 , \"z\":-0, \"f\":1.000000000000000005, \"a\":1,\"a\":2 }",
        "{\"i\":123456789012345678901234567890,\"u\":\"\\ud800\",\"n\":null}",
        "[1, 2]",
        "\"text\"",
        "7",
    ];
    let mut spec = spec(&[]);
    spec.sinks.push(SinkSpec { layout: Layout::Envelope, ..SinkSpec::new("enveloped") });
    let output = run(&plan(spec), &[batch(0, &records)]);
    assert_eq!(lines(&output, 0), records);
    for (line, record) in lines(&output, 1).iter().zip(records) {
        assert!(line.starts_with(&format!("{{\"original_data\":{record},\"enriched_data\":{{}}")));
    }
}

#[test]
fn a_raw_line_break_between_tokens_is_written_as_a_space() {
    let output = run(&plan(spec(&[])), &[batch(0, &["{\r\n\"a\":\n1}", "{\"a\":\"\\n\"}"])]);
    assert_eq!(lines(&output, 0), ["{  \"a\": 1}", "{\"a\":\"\\n\"}"]);
}

#[test]
fn an_envelope_names_its_record_and_a_child_its_ordinal() {
    let output = run(&plan(busy_spec(Unrouted::Drop)), &batches(&busy_input(), 64));
    let large = values(&output, 1);
    for envelope in &large {
        let record = envelope["original_data"].to_string();
        let id = tidegate_core::Digest::of(record.as_bytes()).hex();
        assert_eq!(envelope["record_id"], format!("{id}-2"));
        assert_eq!(envelope["enriched_data"]["child"], 2);
        assert_eq!(envelope["processed_timestamp"], "2026-03-01T12:00:00Z");
        assert_eq!(envelope["metadata"]["source"], "input");
    }
    let nested = values(&output, 2);
    assert_eq!(nested.len(), large.len());
    assert!(nested.iter().all(|row| row["etl"]["child"] == 2 && row.get("child").is_none()));
}

#[test]
fn objects_lie_in_their_tree_under_names_of_the_range() {
    let output = run(&plan(busy_spec(Unrouted::Drop)), &batches(&busy_input(), 64));
    let names: Vec<_> = output
        .objects
        .iter()
        .filter(|object| object.destination == 0)
        .map(|object| object.object.key.as_str())
        .collect();
    assert!(names.len() > 5);
    for (part, name) in names.iter().enumerate() {
        assert!(name.starts_with("size=small/input/data-in.ndjson-"), "{name}");
        assert!(name.ends_with(&format!("-00000003-r0-{part:04}.jsonl.zst")), "{name}");
    }
}
