//! Look-ups: tables joined before the call, against a map; what is counted, and what is refused.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};
use tidegate_core::{
    Column, Condition, Digest, Kind, LookupTable, Origin, Path, Presence, Read, Reply,
    TransformFactory, Values,
    description::{Lookup, TimestampFormat},
    lookup::{OnDuplicate, TableBuilder, TableColumn, TableSchema},
};
use tidegate_pipeline::{
    Plan, PlanSpec,
    plan::{Finding, Findings},
    process::LookupStatistics,
};

use crate::{
    plugins::{Scripted, description, text},
    support::{batches, fingerprint, plan, run, spec, values},
};

/// Codes and numbers that stand for a word, a weight and, mostly, a price.
fn goods(digest: &[u8]) -> Arc<LookupTable> {
    let column = |name: &str, kind| TableColumn { name: name.to_owned(), kind };
    let columns = vec![
        column("code", Kind::Utf8),
        column("size", Kind::Int64),
        column("word", Kind::Utf8),
        column("weight", Kind::Int64),
        column("price", Kind::Float64),
        column("since", Kind::Timestamp(TimestampFormat::Rfc3339)),
    ];
    let schema = TableSchema::new("goods", columns, &["code", "size"], OnDuplicate::Refuse);
    let mut builder = TableBuilder::new(schema.expect("the schema is sound"));
    let rows: Vec<(String, i64)> =
        (0..40).filter(|i| i % 3 != 0).map(|i| (format!("c{}", i % 8), i / 8)).collect();
    let all = |values| Column { values, presence: Vec::new() };
    let numbers = || rows.iter().map(|(code, size)| size * 10 + code.len() as i64);
    let chunk = [
        all(Values::Utf8(rows.iter().map(|(code, _)| code).collect())),
        all(Values::Int64(rows.iter().map(|(_, size)| *size).collect())),
        all(Values::Utf8(rows.iter().map(|(_, size)| WORDS[*size as usize % 3]).collect())),
        all(Values::Int64(numbers().collect())),
        Column {
            values: Values::Float64(numbers().map(|number| number as f64 / 4.0).collect()),
            presence: rows.iter().map(|(_, size)| u8::from(size % 2 == 1)).collect(),
        },
        all(Values::Timestamp(numbers().map(|number| number * 1_000_000).collect())),
    ];
    builder.append(&chunk).expect("the rows fit");
    Arc::new(builder.finish(Digest::of(digest)).expect("the keys differ"))
}

const WORDS: [&str; 3] = ["red", "green", "bl\"ue"];

/// What the reads below are of a code and a size, as `reading` writes them.
fn model() -> BTreeMap<(String, i64), Value> {
    let mut model = BTreeMap::new();
    for i in (0..40).filter(|i| i % 3 != 0) {
        let (code, size): (String, i64) = (format!("c{}", i % 8), i / 8);
        let number = size * 10 + code.len() as i64;
        let price = if size % 2 == 1 { json!("null") } else { json!(number as f64 / 4.0) };
        let word = WORDS[size as usize % 3];
        // The dictionary of the read lacks one of the words.
        let known = if word == "red" { json!("out of range") } else { json!(word) };
        let since = format!("1970-01-01T00:00:{number:02}Z");
        model.insert((code, size), json!([word, known, number, number as f64, price, since]));
    }
    model
}

fn reads(keys: &[&str]) -> Vec<Read> {
    let keys: Vec<Path> = keys.iter().map(|key| key.parse().expect("a path")).collect();
    let cell = |column: &str, kind| Read {
        from: Origin::Lookup(Lookup {
            table: "goods".to_owned(),
            keys: keys.clone(),
            column: column.to_owned(),
        }),
        kind,
        required: false,
    };
    vec![
        cell("word", Kind::Utf8),
        cell("word", Kind::Enumeration(vec!["bl\"ue".to_owned(), "green".to_owned()])),
        cell("weight", Kind::Int64),
        cell("weight", Kind::Float64),
        cell("price", Kind::Json),
        cell("since", Kind::Utf8),
    ]
}

/// Writes all cells that it reads into `cells`, for records that are in the table.
fn reading(keys: &[&str]) -> Scripted {
    let mut description = description(&[], &[("cells", Kind::Json)]);
    description.reads = reads(keys);
    Scripted::new("reading", description, |batch, _| {
        let cell = |column: usize, row: usize| {
            let presence = batch.columns[column].presence_of(row);
            match (Presence::from_byte(presence), &batch.columns[column].values) {
                (Some(Presence::Value), Values::Int64(values)) => json!(values[row]),
                (Some(Presence::Value), Values::Float64(values)) => json!(values[row]),
                (Some(Presence::Value), Values::Enumeration(codes)) => {
                    json!(["bl\"ue", "green"][codes[row] as usize])
                }
                (Some(Presence::Value), Values::Json(_)) => {
                    serde_json::from_str(text(batch, column, row)).expect("it is JSON")
                }
                (Some(Presence::Value), _) => json!(text(batch, column, row)),
                (Some(Presence::Missing), _) => json!("missing"),
                (Some(Presence::Null), _) => json!("null"),
                _ => json!("out of range"),
            }
        };
        let cells = (0..batch.rows as usize).map(|row| {
            Value::from((0..6).map(|column| cell(column, row)).collect::<Vec<_>>()).to_string()
        });
        let cells = Column { values: Values::Json(cells.collect()), presence: Vec::new() };
        Ok(Reply { columns: vec![cells], ..Reply::default() })
    })
}

/// Corrects every other code by what `fixed` says, and takes every seventh record out.
fn correcting() -> Scripted {
    let description =
        description(&[("fixed", Kind::Utf8), ("n", Kind::Int64)], &[("code", Kind::Utf8)]);
    Scripted::new("correcting", description, |batch, _| {
        let Values::Int64(numbers) = &batch.columns[1].values else { unreachable!() };
        let presence = numbers.iter().map(|n| u8::from(n % 2 == 0)).collect();
        let gone: Vec<u32> =
            (0..batch.rows).filter(|row| numbers[*row as usize] % 7 == 0).collect();
        let verdicts = numbers.iter().map(|n| u8::from(n % 7 == 0)).collect();
        let mut reply = Reply {
            columns: vec![Column { presence, ..batch.columns[0].clone() }],
            verdicts,
            ..Reply::default()
        };
        reply.findings.rules = vec![0; gone.len()];
        reply.findings.rows = gone;
        Ok(reply)
    })
}

fn with_table(stages: &[Arc<dyn TransformFactory>]) -> PlanSpec {
    PlanSpec { tables: vec![goods(b"1")], ..spec(stages) }
}

/// Records whose key is in the table or not, incomplete, or of another type.
fn records() -> Vec<String> {
    (0..200)
        .map(|n| {
            let code = match n % 11 {
                0 => json!(null),
                1 => json!(n),
                _ => json!(format!("c{}", n % 9)),
            };
            let mut record = json!({ "n": n, "code": code, "fixed": format!("c{}", n % 5) });
            if n % 13 != 0 {
                record["dim"] = json!({ "size": n % 6 });
            }
            record.to_string()
        })
        .collect()
}

#[test]
fn a_look_up_is_what_a_map_gives_whatever_earlier_stages_did() {
    let plan =
        plan(with_table(&[Arc::new(correcting()), Arc::new(reading(&["code", "dim.size"]))]));
    let (model, nothing) = (model(), Value::from(vec!["missing"; 6]));
    let mut before = None;
    for size in [200, 7, 1] {
        let output = run(&plan, &batches(&records(), size));
        let (mut hits, mut misses) = (0, 0);
        let delivered = values(&output, 0);
        assert_eq!(delivered.len(), 171, "every seventh is gone");
        for record in &delivered {
            let key = record["code"].as_str().zip(record["dim"]["size"].as_i64());
            let found = key.and_then(|(code, size)| model.get(&(code.to_owned(), size)));
            *if found.is_some() { &mut hits } else { &mut misses } += 1;
            assert_eq!(&record["cells"], found.unwrap_or(&nothing), "{record}");
        }
        assert!(hits > 20 && misses > 20, "{hits} hits, {misses} misses");
        let table = "goods".to_owned();
        assert_eq!(output.stages[1].lookups, [LookupStatistics { table, hits, misses }]);
        assert_eq!(output.stages[0].lookups, []);
        // The same bytes, however the range was cut into batches.
        let fingerprint = fingerprint(&output);
        assert_eq!(before.get_or_insert_with(|| fingerprint.clone()), &fingerprint);
    }
}

#[test]
fn only_rows_that_a_stage_is_called_with_are_counted() {
    let mut spec = with_table(&[Arc::new(reading(&["code", "size"]))]);
    let when = json!({ "field": "kind", "equals": "goods" });
    let when: Condition = serde_json::from_value(when).expect("a condition");
    spec.stages[0].when = Some(when);
    let records = [
        json!({ "kind": "goods", "code": "c1", "size": 0 }),
        json!({ "kind": "other", "code": "c1", "size": 0 }),
        json!({ "kind": "goods", "code": "c1", "size": 9 }),
        json!({ "kind": "goods", "size": 0 }),
    ];
    let output = run(&plan(spec), &batches(&records.map(|it| it.to_string()), 10));
    let table = "goods".to_owned();
    assert_eq!(output.stages[0].lookups, [LookupStatistics { table, hits: 1, misses: 2 }]);
    assert_eq!(values(&output, 0)[1].get("cells"), None);
}

#[test]
fn a_required_look_up_rejects_what_the_table_does_not_have() {
    let mut description = description(&[], &[]);
    description.reads = vec![Read { required: true, ..reads(&["code", "size"]).remove(2) }];
    let seen = Arc::new(Mutex::new(0));
    let rows = Arc::clone(&seen);
    let strict = Scripted::new("strict", description, move |batch, _| {
        *rows.lock().expect("nobody panicked") += batch.rows;
        Ok(Reply::default())
    });
    let records = [json!({ "code": "c1", "size": 0 }), json!({ "code": "c1", "size": 9 })];
    let plan = plan(with_table(&[Arc::new(strict)]));
    let output = run(&plan, &batches(&records.map(|it| it.to_string()), 10));
    assert_eq!(*seen.lock().expect("nobody panicked"), 1);
    let letter = &crate::support::letters(&output)[0]["etl"];
    assert_eq!(letter["errorCode"], "required-missing");
    let message = letter["errorMessage"].as_str().expect("a text");
    assert_eq!(message, "`goods.weight` is missing: the table has no row for `code` and `size`");
    // What is required is counted before rows without it are taken out.
    assert_eq!((output.stages[0].lookups[0].hits, output.stages[0].lookups[0].misses), (1, 1));
}

#[test]
fn rows_of_a_stage_that_fans_out_are_looked_up_again() {
    let mut fanning = description(&[], &[("code", Kind::Utf8)]);
    fanning.reads = reads(&["code", "size"]);
    let fanning = Scripted::new("fanning", fanning, |batch, _| {
        let parents: Vec<u32> = (0..batch.rows).flat_map(|row| [row, row]).collect();
        let codes = parents.iter().enumerate().map(|(i, _)| format!("c{}", 1 + i % 2));
        let codes = Column { values: Values::Utf8(codes.collect()), presence: Vec::new() };
        Ok(Reply { parents, columns: vec![codes], ..Reply::default() })
    });
    let plan = plan(with_table(&[Arc::new(fanning), Arc::new(reading(&["code", "size"]))]));
    let output = run(&plan, &batches(&[r#"{"code":"c4","size":0}"#], 10));
    let model = model();
    let cells: Vec<_> = values(&output, 0).iter().map(|it| it["cells"].clone()).collect();
    let of = |code: &str| model[&(code.to_owned(), 0)].clone();
    assert_eq!(cells, [of("c1"), of("c2")]);
}

#[test]
fn a_table_is_part_of_the_generation() {
    let of = |digest: &[u8]| {
        let mut spec = with_table(&[Arc::new(reading(&["code", "size"]))]);
        spec.tables = vec![goods(digest)];
        plan(spec).generation()
    };
    assert_eq!(of(b"1"), of(b"1"));
    assert_ne!(of(b"1"), of(b"2"));
}

#[test]
fn look_ups_that_can_not_be_are_refused_with_what_was_meant() {
    let refused = |change: fn(&mut Read, &mut PlanSpec)| -> Finding {
        let mut description = description(&[], &[]);
        description.reads = vec![reads(&["code", "size"]).remove(2)];
        let mut spec = with_table(&[]);
        change(&mut description.reads[0], &mut spec);
        let stage = Scripted::new("s", description, |_, _| Ok(Reply::default()));
        spec.stages = crate::support::spec(&[Arc::new(stage)]).stages;
        let Findings(mut findings) = Plan::build(spec).expect_err("it is not sound");
        findings.retain(|finding| finding.code != "unread-table");
        assert_eq!(findings.len(), 1, "{findings:?}");
        findings.remove(0)
    };
    fn lookup(read: &mut Read) -> &mut Lookup {
        let Origin::Lookup(lookup) = &mut read.from else { unreachable!() };
        lookup
    }
    let check = |finding: Finding, code: &str, message: &str, suggestion: Option<&str>| {
        assert_eq!(finding.code, code, "{finding:?}");
        assert!(finding.message.contains(message), "{finding:?}");
        assert_eq!(finding.suggestion.as_deref(), suggestion, "{finding:?}");
    };
    check(
        refused(|read, _| lookup(read).table = "good".to_owned()),
        "unknown-table",
        "`weight` is read from the table `good`",
        Some("did you mean `goods`?"),
    );
    check(
        refused(|_, spec| spec.tables.clear()),
        "unknown-table",
        "which the pipeline does not have",
        Some("name it under `tables`"),
    );
    check(
        refused(|read, _| lookup(read).column = "wieght".to_owned()),
        "unknown-table-column",
        "the table `goods` has no column `wieght`",
        Some("did you mean `weight`?"),
    );
    check(
        refused(|read, _| drop(lookup(read).keys.pop())),
        "lookup-key",
        "the key of the table `goods` is `code` and `size`, and it is looked up by 1 field",
        None,
    );
    check(
        refused(|read, _| read.kind = Kind::Boolean),
        "lookup-kind",
        "`goods.weight` is of kind int64, and is read as boolean",
        None,
    );
    check(
        refused(|_, spec| spec.tables = vec![goods(b"1"), goods(b"2")]),
        "duplicate-name",
        "two tables named `goods`",
        None,
    );
}

#[test]
fn a_plan_explains_its_tables() {
    let plan =
        plan(with_table(&[Arc::new(correcting()), Arc::new(reading(&["code", "dim.size"]))]));
    let described = plan.describe();
    let [table] = &described.tables[..] else { panic!("one table") };
    assert_eq!(table.key, ["code: utf8", "size: int64"]);
    assert_eq!(table.columns.len(), 4);
    assert_eq!((table.rows, table.keys), (26, 26));
    assert!(table.bytes > 26 * 40, "{}", table.bytes);
    let read = &described.stages[1].reads[0];
    assert_eq!(read.field, "goods.word");
    assert_eq!(read.from, ["code (correcting, source)", "dim.size (source)"]);
    assert_eq!(described.stages[0].writes[0].read_by, ["reading"]);

    let unread = with_table(&[Arc::new(correcting())]);
    let warnings = Plan::build(unread).expect("it is sound").warnings().clone();
    assert_eq!((warnings.0[0].code, &*warnings.0[0].pointer), ("unread-table", "/tables/0"));
}
