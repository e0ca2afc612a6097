//! Sinks of files of columns: what lies in the files, what does not fit, and that every row is
//! accounted for.

use std::sync::Arc;

use serde_json::{Value, json};
use tidegate_core::{
    Kind, Origin, Reply,
    description::TimestampFormat,
    parquet::{Codec, File, RowFormat, RowGroupLimit},
};
use tidegate_pipeline::{
    Plan, PlanSpec, RangeOutput,
    plan::{ColumnSpec, Format, OnMismatch, SinkSpec, TableSpec},
};

use crate::{
    plugins::{Scripted, description, integer, integers, texts},
    support::{batches, fingerprint, plan, reasons, run, spec, values},
};

fn column(field: &str, kind: Kind) -> ColumnSpec {
    let from = match field.strip_prefix('@') {
        Some("position") => Origin::Host(tidegate_core::description::HostValue::Position),
        _ => Origin::Field(field.parse().expect(field)),
    };
    ColumnSpec { name: None, from, kind, required: false }
}

fn table(columns: Vec<ColumnSpec>) -> TableSpec {
    TableSpec {
        columns,
        declared: false,
        on_mismatch: OnMismatch::DeadLetter,
        codec: Codec::Zstd { level: 3 },
        row_group: RowGroupLimit::default(),
    }
}

fn sink(name: &str, table: TableSpec) -> SinkSpec {
    SinkSpec { format: Format::Parquet(table), ..SinkSpec::new(name) }
}

/// The rows of a destination's files, by its objects' names.
fn rows(output: &RangeOutput, destination: usize) -> Vec<(String, Vec<Value>)> {
    let of = output.objects.iter().filter(|it| it.destination == destination);
    of.map(|made| {
        let file = File::open(Arc::new(made.object.content.clone()), RowFormat::default());
        let mut rows = file.expect("it is sound").rows_behind(0).expect("it is sound");
        let mut all = Vec::new();
        while let Some(read) = rows.read(100, 1 << 20).expect("it is sound") {
            let mut start = 0;
            for end in read.ends {
                all.push(serde_json::from_slice(&read.bytes[start..end]).expect("rows are JSON"));
                start = end;
            }
        }
        assert_eq!(all.len() as u64, made.records);
        (made.object.key.clone(), all)
    })
    .collect()
}

/// Writes `half` where a record's `n` is even, and removes `note` where it is 3.
fn halving() -> Arc<Scripted> {
    let description =
        description(&[("n", Kind::Int64)], &[("half", Kind::Int64), ("note", Kind::Utf8)]);
    Arc::new(Scripted::new("halving", description, |batch, _| {
        let rows = batch.rows as usize;
        let n: Vec<i64> = (0..rows).map(|row| integer(batch, 0, row).unwrap_or(0)).collect();
        let mut half = integers(n.iter().map(|n| n / 2));
        half.presence = n.iter().map(|n| u8::from(n % 2 != 0)).collect();
        let mut note = texts(n.iter().map(|n| format!("note {n}")));
        note.presence = n.iter().map(|n| if *n == 3 { 3 } else { 0 }).collect();
        let columns = vec![half, note];
        Ok(Reply { verdicts: vec![0; rows], columns, ..Reply::default() })
    }))
}

#[test]
fn columns_hold_what_stages_left() {
    let columns = vec![
        column("n", Kind::Int64),
        column("half", Kind::Float64),
        column("note", Kind::Utf8),
        column("at", Kind::Timestamp(TimestampFormat::Rfc3339)),
        column("deep.day", Kind::Date),
        column("@position", Kind::Utf8),
        column("deep", Kind::Json),
        column("$", Kind::Json),
    ];
    let mut spec = spec(&[halving()]);
    spec.sinks = vec![sink("lake", table(columns))];
    let records = [
        r#"{"n":2,"at":"2026-03-01T12:00:00+01:00","deep":{"day":"2026-03-01","x":[1]}}"#,
        r#"{"n":3,"note":"old"}"#,
    ];
    let output = run(&plan(spec), &batches(&records, 10));
    let (name, rows) = rows(&output, 0).remove(0);
    assert!(name.ends_with("-00000003-r0-0000.parquet"), "{name}");
    assert_eq!(
        rows,
        [
            json!({
                "n": 2, "half": 1.0, "note": "note 2", "at": "2026-03-01T11:00:00Z",
                "deep_day": "2026-03-01", "position": "77",
                "deep": {"day": "2026-03-01", "x": [1]},
                "record": {
                    "n": 2, "at": "2026-03-01T12:00:00+01:00",
                    "deep": {"day": "2026-03-01", "x": [1]}, "half": 1, "note": "note 2"
                },
            }),
            json!({
                "n": 3, "half": null, "note": null, "at": null, "deep_day": null,
                "position": "98", "deep": null, "record": {"n": 3},
            }),
        ]
    );
}

#[test]
fn declared_columns_are_what_stages_read_and_write() {
    let mut spec = spec(&[halving()]);
    let n = ColumnSpec { name: Some("number".to_owned()), ..column("n", Kind::Int64) };
    spec.sinks = vec![sink("lake", TableSpec { declared: true, ..table(vec![n]) })];
    let output = run(&plan(spec), &batches(&[r#"{"n":4,"other":1}"#], 10));
    let (_, rows) = rows(&output, 0).remove(0);
    assert_eq!(rows, [json!({"number": 4, "half": 2, "note": "note 4"})]);
}

fn mixed() -> Vec<String> {
    let mut records: Vec<String> =
        (0..300).map(|n| format!("{{\"n\":{n},\"kind\":\"{}\"}}", n % 7)).collect();
    records[5] = r#"{"n":"five","kind":"x"}"#.to_owned();
    records[6] = r#"{"n":1e300,"kind":"x"}"#.to_owned();
    records[7] = r#"{"kind":"x"}"#.to_owned();
    records[8] = r#"{"n":null,"kind":"x"}"#.to_owned();
    records[9] = "nonsense".to_owned();
    records
}

fn mixed_spec(table: TableSpec) -> PlanSpec {
    let mut spec = spec(&[]);
    spec.sinks = vec![sink("lake", table), SinkSpec::new("lines")];
    spec
}

#[test]
fn what_does_not_fit_is_a_dead_letter_unless_it_may_be_a_null() {
    let columns = || vec![column("n", Kind::Int64)];
    let output = run(&plan(mixed_spec(table(columns()))), &batches(&mixed(), 50));
    let codes: Vec<String> = reasons(&output).into_iter().map(|(_, code, _)| code).collect();
    assert_eq!(codes[..2], ["column-mismatch", "column-mismatch"]);
    assert_eq!(codes.len(), 3, "{codes:?}");
    assert!(output.counts.conserved());
    let shares = &output.destinations[0];
    assert_eq!((shares.shares, shares.delivered, shares.dead_lettered), (299, 297, 2));
    assert_eq!(output.destinations[1].delivered, 299, "lines take anything");
    assert_eq!(output.counts.dead_lettered.records, 3);
    let (_, held) = rows(&output, 0).remove(0);
    assert_eq!(held.len(), 297);

    let as_null = TableSpec { on_mismatch: OnMismatch::Null, ..table(columns()) };
    let output = run(&plan(mixed_spec(as_null)), &batches(&mixed(), 50));
    assert_eq!(output.destinations[0].delivered, 299);
    let (_, held) = rows(&output, 0).remove(0);
    let nulls = held.iter().filter(|row| row["n"].is_null()).count();
    assert_eq!(nulls, 4, "two of them had something else");

    let required = ColumnSpec { required: true, ..column("n", Kind::Int64) };
    let strict = TableSpec { on_mismatch: OnMismatch::Null, ..table(vec![required]) };
    let output = run(&plan(mixed_spec(strict)), &batches(&mixed(), 50));
    let mut codes: Vec<String> = reasons(&output).into_iter().map(|(_, code, _)| code).collect();
    codes.sort();
    let [a, b] = ["column-mismatch", "column-without-value"];
    assert_eq!(codes[..4], [a, a, b, b], "a required column has no nulls");
}

#[test]
fn files_are_sorted_into_directories_and_cut_as_lines_are() {
    let columns = vec![column("n", Kind::Json), column("kind", Kind::Utf8)];
    let small = RowGroupLimit { rows: 4, bytes: u64::MAX };
    let table = TableSpec { row_group: small, ..table(columns) };
    let mut spec = mixed_spec(table);
    for sink in &mut spec.sinks {
        sink.tree = "kind={kind}".parse().expect("a tree");
        sink.part_records_max = 10;
    }
    let plan = plan(spec);
    let output = run(&plan, &batches(&mixed(), 64));
    let of_lines = values(&output, 1);
    let held: Vec<Value> = rows(&output, 0).into_iter().flat_map(|(_, rows)| rows).collect();
    let pairs = |rows: &[Value]| -> Vec<(Value, Value)> {
        rows.iter().map(|row| (row["n"].clone(), row["kind"].clone())).collect()
    };
    assert_eq!(pairs(&held), pairs(&of_lines), "the same rows in the same order");
    let names = |destination: usize| -> Vec<String> {
        let of = output.objects.iter().filter(|it| it.destination == destination);
        of.map(|it| it.object.key.rsplit_once(".").expect("an extension").0.to_owned()).collect()
    };
    assert_eq!(names(0), names(1));
    assert!(names(0).len() > 30, "{:?}", names(0));
}

#[test]
fn the_same_range_gives_the_same_bytes() {
    let make = |records: &[String], size| {
        let columns = vec![column("n", Kind::Json), column("kind", Kind::Utf8)];
        let plan: Arc<Plan> = plan(mixed_spec(table(columns)));
        fingerprint(&run(&plan, &batches(records, size)))
    };
    let once = make(&mixed(), 300);
    assert_eq!(once, make(&mixed(), 300));
    assert_eq!(once, make(&mixed(), 7), "however it was cut into batches");
}

#[test]
fn what_is_held_is_counted_and_bytes_cut_objects() {
    let columns = vec![column("kind", Kind::Utf8)];
    let spec = mixed_spec(table(columns.clone()));
    let plan_of_one = plan(spec);
    let mut range = plan_of_one.open_range(crate::support::context(Vec::new())).expect("it opens");
    let before = range.spooled_bytes();
    let batch = batches(&mixed(), 300).remove(0);
    crate::support::ready(range.process(&batch, &tidegate_pipeline::states::NoStates))
        .expect("it is processed");
    assert!(range.spooled_bytes() > before + 299 * 6, "rows of columns are held");
    assert_eq!(range.open_objects(), 3);

    let mut spec = mixed_spec(table(columns));
    spec.sinks.truncate(1);
    spec.sinks[0].part_bytes_max = 60;
    let output = run(&plan(spec), &batches(&mixed(), 300));
    let files = rows(&output, 0);
    // Ten rows of six bytes each.
    assert!(files.iter().rev().skip(1).all(|(_, rows)| rows.len() == 10));
    assert_eq!(files.len(), 30);
}

#[test]
fn columns_that_make_no_file_are_findings() {
    let build = |table: TableSpec| {
        let mut spec = spec(&[halving()]);
        spec.sinks = vec![sink("lake", table)];
        let findings = Plan::build(spec).expect_err("it is unsound");
        findings.0.iter().map(|it| (it.code, it.pointer.clone())).collect::<Vec<_>>()
    };
    let at = |part: &str| format!("/sinks/0/format/parquet{part}");
    assert_eq!(build(table(Vec::new())), [("no-columns", at(""))]);
    assert_eq!(
        build(table(vec![
            column("a.b", Kind::Utf8),
            column("a_b", Kind::Utf8),
            column("half", Kind::Date),
            column("$", Kind::Utf8),
            column("@position", Kind::Int64),
        ])),
        [
            ("duplicate-column", at("/columns/1")),
            ("column-kind", at("/columns/2")),
            ("root-needs-json", at("/columns/3")),
            ("host-value-kind", at("/columns/4")),
        ]
    );
    let level =
        TableSpec { codec: Codec::Zstd { level: 99 }, ..table(vec![column("a", Kind::Utf8)]) };
    assert_eq!(build(level), [("invalid-table", at(""))]);
}
