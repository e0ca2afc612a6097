//! The raw zone: records as they came, whatever the stages make of them.

use std::sync::Arc;

use serde_json::json;
use tidegate_core::{
    Kind, Origin,
    parquet::{Codec, File, RowFormat, RowGroupLimit},
    source::PartitionId,
};
use tidegate_pipeline::{
    Plan, PlanSpec, RangeContext,
    plan::{ColumnSpec, Format, OnMismatch, SinkSpec, TableSpec, Zone},
    states::NoStates,
};

use crate::{
    plugins::doubling,
    support::{batches, context, lines, numbers, plan, run, run_in, spec},
};

/// Doubles `n`, and crashes on 13: the processed zone in `out`, the raw one in `raw`.
fn zones() -> PlanSpec {
    let mut spec = spec(&[Arc::new(doubling(&[13], false))]);
    spec.sinks.push(SinkSpec { zone: Zone::Raw, ..SinkSpec::new("raw") });
    spec
}

fn condition(json: &str) -> tidegate_core::Condition {
    serde_json::from_str(json).expect(json)
}

#[test]
fn the_raw_zone_has_every_record_that_is_one_as_it_came() {
    let mut records = numbers(40);
    records[7] = "{ \"n\" : 7,\t\"m\":1.0,\"m\":2 }".to_owned();
    records[20] = "{\"n\":".to_owned();
    let mut spec = zones();
    spec.filter = Some(condition(r#"{"not":{"field":"n","in":[1,3]}}"#));
    // The processed zone takes half of what is left.
    let digits = r#"{"field":"n","range":{"min":20}}"#;
    spec.sinks[0].when = Some(condition(digits));
    spec.unrouted = tidegate_pipeline::plan::Unrouted::Drop;
    let output = run(&plan(spec), &batches(&records, 8));
    let wanted: Vec<&String> = records
        .iter()
        .enumerate()
        .filter(|(n, _)| ![1, 3, 20].contains(n))
        .map(|it| it.1)
        .collect();
    assert_eq!(lines(&output, 1).iter().collect::<Vec<_>>(), wanted);
    // What becomes of a record is the processed zone's business.
    let counts = output.counts;
    let of = |tally: tidegate_core::checkpoint::Tally| tally.records;
    assert_eq!((of(counts.read), of(counts.filtered)), (40, 2 + 18 - 1));
    assert_eq!((of(counts.delivered), of(counts.dead_lettered)), (19, 2));
    let raw = &output.destinations[1];
    assert_eq!((raw.shares, raw.delivered, raw.dead_lettered), (37, 37, 0));
}

#[test]
fn its_conditions_directories_and_columns_are_the_records_own() {
    let mut spec = zones();
    spec.sinks[1].when = Some(condition(r#"{"field":"n","in":[1,2,3]}"#));
    spec.sinks[1].tree = "n={n}/{twice}".parse().expect("a tree");
    let own = ColumnSpec {
        name: None,
        from: Origin::Field("n".parse().expect("a path")),
        kind: Kind::Int64,
        required: true,
    };
    spec.sinks[1].format = Format::Parquet(TableSpec {
        columns: vec![own],
        declared: false,
        on_mismatch: OnMismatch::DeadLetter,
        codec: Codec::Plain,
        row_group: RowGroupLimit::default(),
    });
    let output = run(&plan(spec), &batches(&numbers(10), 4));
    let raw: Vec<_> = output.objects.iter().filter(|it| it.destination == 1).collect();
    assert_eq!(raw.len(), 3);
    for (object, n) in raw.iter().zip(1..) {
        // What a stage writes is not there yet.
        let directory = format!("n={n}/__missing__/");
        assert!(object.object.key.starts_with(&directory), "{}", object.object.key);
        let content = Arc::new(object.object.content.clone());
        let file = File::open(content, RowFormat::default()).expect("it is sound");
        let mut rows = file.rows_behind(0).expect("it is sound");
        let read = rows.read(10, 1 << 20).expect("it is sound").expect("a row");
        assert_eq!(read.bytes, json!({ "n": n }).to_string().as_bytes());
    }
}

#[test]
fn what_it_can_not_take_is_a_dead_letter_and_goes_on() {
    let mut spec = zones();
    spec.sinks[1].row_bytes_max = Some(b"{\"n\":9}\n".len());
    let output = run(&plan(spec), &batches(&numbers(12), 5));
    assert_eq!(lines(&output, 0).len(), 12);
    assert_eq!(lines(&output, 1).len(), 10);
    let raw = &output.destinations[1];
    assert_eq!((raw.shares, raw.delivered, raw.dead_lettered), (12, 10, 2));
    assert_eq!(output.counts.dead_lettered.records, 2);
}

#[test]
fn redriven_records_are_not_written_into_it_again() {
    let context = RangeContext { origin: Some(PartitionId::from("first")), ..context(Vec::new()) };
    let output = run_in(&plan(zones()), context, &batches(&numbers(5), 5), &NoStates);
    let output = output.expect("it runs");
    assert_eq!((lines(&output, 0).len(), lines(&output, 1).len()), (5, 0));
}

#[test]
fn a_plan_needs_a_sink_for_what_the_stages_make() {
    let mut spec = zones();
    spec.sinks.remove(0);
    let findings = Plan::build(spec).expect_err("there is no processed zone");
    assert!(findings.to_string().contains("all sinks are of the raw zone"), "{findings}");
}
