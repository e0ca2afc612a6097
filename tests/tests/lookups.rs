//! Look-ups as an operator meets them: tables in a pipeline file, joined for a component, counted,
//! part of the generation, and refused with their place and their lines.

use std::{fs, path::Path};

use serde_json::{Value, json};
use tidegate_tests::program::{Program, lines};

const MERCHANTS: &str = "id,region,risk,open\nm1,EU,0.5,true\nm1,US,2,false\nm2,EU,NA,true\n";

/// Payments by merchants of a region, weighed by what a table says of them.
fn payments(folder: &Path, table: &str) -> Program {
    let records = [
        json!({"merchant": {"id": "m1"}, "region": "EU", "amount": 10}),
        json!({"merchant": {"id": "m1"}, "region": "US", "amount": 10}),
        json!({"merchant": {"id": "m2"}, "region": "EU", "amount": 10}),
        json!({"merchant": {"id": "m2"}, "region": "US", "amount": 10}),
        json!({"merchant": {"id": 7}, "region": "EU", "amount": 10}),
    ];
    let records: String = records.iter().map(|record| format!("{record}\n")).collect();
    fs::write(folder.join("in.jsonl"), records).expect("room for the records");
    let text = format!(
        r#"pipeline: payments
data_dir: data
source: {{ ndjson: {{ paths: [in.jsonl] }} }}
tables:
  - name: merchants
    path: merchants.csv
    key: [id, region]
{table}
    nulls: ["", NA]
stages:
  - name: weigh
    plugin: ${{TIDEGATE_PLUGINS}}/enrich.wasm
    grants: [lookups]
    config:
      fields:
        - write: exposure
          value:
            multiply:
              - number: amount
              - lookup:
                  table: merchants
                  key: [merchant.id, region]
                  column: risk
                  type: number
                  default: 1
        - write: merchant.open
          value:
            lookup: {{ table: merchants, key: [merchant.id, region], column: open, type: boolean }}
sinks: [{{ name: out, directory: {{ path: out }} }}]
dead_letters: {{ directory: dead }}
"#
    );
    let file = folder.join("pipeline.yaml");
    fs::write(&file, text).expect("room for the pipeline");
    Program::new(file)
}

const COLUMNS: &str = "    columns: { id: utf8, region: utf8, risk: float64, open: boolean }";

/// The findings of a check: code, line, message and suggestion.
fn found(program: &Program, code: i32) -> Vec<(String, u64, String, String)> {
    let printed = program.run("check", &[]);
    assert_eq!(printed.code, code, "{}\n{:#}", printed.stderr, printed.json);
    let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
    let findings = printed.json["findings"].as_array().expect("a list").iter();
    findings
        .map(|it| {
            let line = it["line"].as_u64().expect("a line");
            (text(&it["code"]), line, text(&it["message"]), text(&it["suggestion"]))
        })
        .collect()
}

#[test]
fn records_are_joined_with_a_table_before_the_call() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let merchants = folder.path().join("merchants.csv");
    fs::write(&merchants, MERCHANTS).expect("room for the table");
    let program = payments(folder.path(), COLUMNS);

    let checked = program.data("check", &[]);
    let table = &checked["plan"]["tables"][0];
    assert_eq!((&table["name"], &table["rows"]), (&json!("merchants"), &json!(3)));
    assert_eq!(table["key"], json!(["id: utf8", "region: utf8"]));
    assert!(table["bytes"].as_u64() > Some(0) && table["digest"].is_string(), "{table:#}");
    let reads = &checked["plan"]["stages"][0]["reads"];
    let risk = reads.as_array().expect("a list").iter().find(|it| it["field"] == "merchants.risk");
    let from = &risk.expect("enrich reads it")["from"];
    assert_eq!(*from, json!(["merchant.id (source)", "region (source)"]));

    let graph = program.data("graph", &[]);
    assert_eq!(graph["tables"][0]["read_by"], json!(["weigh"]), "{graph:#}");
    let impact = program.run("impact", &["merchant.id"]).json;
    assert!(impact.to_string().contains("merchants"), "{impact:#}");

    let summary = program.data("run", &["--clock", "2026-03-01T00:00:00Z"]);
    assert_eq!(
        summary["lookups"],
        json!([{ "stage": "weigh", "table": "merchants", "hits": 3, "misses": 2 }])
    );
    let written: Vec<Value> = lines(&folder.path().join("out"))
        .iter()
        .map(|line| {
            let record: Value = serde_json::from_slice(line).expect("a record is JSON");
            json!([record["exposure"], record["merchant"]["open"]])
        })
        .collect();
    // A hit, a hit, a null cell, a key that is not there, and one of another type.
    let expected =
        [json!([5.0, true]), json!([20.0, false]), json!([10.0, true]), json!([10.0, null])];
    assert_eq!(written[..4], expected);
    assert_eq!(written[4], json!([10.0, null]));
    let verified = program.data("verify", &["--replay"]);
    assert_eq!(verified["replayed"], verified["ranges"], "{verified:#}");

    // The same content is the same generation, and another content is another.
    let generation = || program.data("check", &[])["generation"].clone();
    assert_eq!(generation(), checked["generation"]);
    fs::write(&merchants, MERCHANTS.replace("0.5", "0.6")).expect("room for the table");
    assert_ne!(generation(), checked["generation"]);
}

#[test]
fn what_is_wrong_with_tables_is_told_with_its_place() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let merchants = folder.path().join("merchants.csv");
    fs::write(&merchants, MERCHANTS).expect("room for the table");

    let shape = "    columns: { id: utf8, regoin: utf8, risk: float65 }";
    let shape = found(&payments(folder.path(), shape), 2);
    assert_eq!((shape[0].0.as_str(), shape[0].1), ("unknown-word", 8), "{shape:?}");
    assert_eq!(shape[0].3, "did you mean `float64`?");

    let key = found(&payments(folder.path(), "    columns: { id: utf8, regoin: utf8 }"), 2);
    assert_eq!((key[0].0.as_str(), key[0].1), ("unknown-name", 7), "{key:?}");
    assert_eq!(key[0].3, "did you mean `regoin`?");

    let float = "    columns: { id: utf8, region: float64 }";
    let float = found(&payments(folder.path(), float), 2);
    assert_eq!(float[0].0, "table-key");

    let kind = "    columns: { id: utf8, region: utf8, risk: utf8, opened: boolean }";
    let file = found(&payments(folder.path(), kind), 4);
    assert_eq!((file[0].0.as_str(), file[0].1), ("invalid-table", 6), "{file:?}");
    assert!(file[0].2.contains("no column `opened`"), "{file:?}");

    fs::write(&merchants, MERCHANTS.replace("open", "opened")).expect("room for the table");
    let plan = found(&payments(folder.path(), kind), 4);
    let codes: Vec<&str> = plan.iter().map(|it| it.0.as_str()).collect();
    assert_eq!(codes, ["lookup-kind", "unknown-table-column"], "{plan:?}");
    assert!(plan[0].2.contains("`merchants.risk` is of kind utf8, and is read as float64"));
    assert_eq!(plan[1].3, "did you mean `opened`?");

    let twice = format!("{MERCHANTS}m2,EU,1,true\n");
    fs::write(&merchants, twice).expect("room for the table");
    let program = payments(folder.path(), COLUMNS);
    let duplicate = found(&program, 4);
    assert_eq!(duplicate[0].0, "duplicate-key");
    assert!(duplicate[0].2.contains("line 5 that of line 4"), "{duplicate:?}");
    assert_eq!(program.run("run", &[]).code, 2, "a table that is refused is never looked up in");
}
