//! The model over hand-made plugins: three stages that build on each other, a table, and two sinks.

use std::{path::PathBuf, sync::Arc};

use serde_json::json;
use tidegate_core::{
    About, Read, Rule,
    description::{Dimension, KeyedState, Lookup, Severity, Written},
};

use super::*;
use crate::{
    config::{self, Config},
    finding::SourceFile,
};

const PIPELINE: &str = "
pipeline: orders
source: { stdin: { partition_key: account } }
filter: { field: kind, exists: true }
stages:
  - { name: measure, plugin: a.wasm }
  - { name: risk, plugin: b.wasm, when: { field: country, equals: DE } }
  - { name: score, plugin: c.wasm, grants: [state] }
sinks:
  - { name: hot, blackhole: {}, when: { field: score, range: { min: 1 } } }
  - name: all
    directory:
      path: out
      tree: [{ field: kind }, { time: '@batch-time', parts: [year] }]
dead_letters: { directory: dead }
";

fn config(text: &str) -> Config {
    let file = SourceFile { path: PathBuf::from("pipeline.yaml"), text: Arc::from(text) };
    config::parse(file, &|_| None).expect("the config is sound").config
}

fn field(text: &str) -> Origin {
    named(text).expect("a field")
}

fn path(text: &str) -> Path {
    text.parse().expect("a path")
}

fn plugin(name: &str, reads: Vec<Origin>, writes: &[&str]) -> Plugin {
    let read = |from| Read { from, kind: Kind::Json, required: false };
    let write = |text: &&str| Written { path: path(text), kind: Kind::Json };
    Plugin {
        about: About {
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            summary: String::new(),
            config_schema: "{}".to_owned(),
            capabilities: Vec::new(),
            state_version: 0,
            may_be_passed_by: true,
        },
        description: Description {
            reads: reads.into_iter().map(read).collect(),
            writes: writes.iter().map(write).collect(),
            rules: Vec::new(),
            state: None,
        },
        component: Digest::of(name.as_bytes()),
        config: Digest::of(b""),
    }
}

fn plugins() -> [Plugin; 3] {
    let mut measure = plugin("a", vec![field("amount")], &["measure"]);
    measure.description.reads[0].required = true;
    let rule = |id: &str, text| Rule {
        id: id.to_owned(),
        dimension: Dimension::Validity,
        severity: Severity::Reject,
        field: Some(path(text)),
        text: String::new(),
    };
    measure.description.rules = vec![rule("amount-valid", "amount"), rule("made", "measure")];
    let cell = Lookup {
        table: "merchants".to_owned(),
        keys: vec![path("merchant.id")],
        column: "risk".to_owned(),
    };
    let risk = plugin("b", vec![Origin::Lookup(cell)], &["merchant.risk"]);
    let reads = vec![field("merchant"), field("measure"), field("@partition-key")];
    let mut score = plugin("c", reads, &["score"]);
    score.description.state = Some(KeyedState { key: vec![2] });
    [measure, risk, score]
}

fn lineage() -> Lineage {
    Lineage::of(&config(PIPELINE), &plugins())
}

/// Who notices, as `user role field < written field < …`.
fn noticed(impact: &Impact) -> Vec<String> {
    let notice = |it: &Notice| {
        let user = match &it.used.user {
            User::Filter => "filter",
            User::Source(name) | User::Stage(name) | User::Sink(name) => name,
        };
        let role = json!(it.used.role);
        let mut text = format!("{user} {} {}", role["role"].as_str().unwrap(), it.used.field);
        for step in it.through.iter().rev() {
            text.push_str(&format!(" < {}", step.field));
        }
        text
    };
    impact.noticed_by.iter().map(notice).collect()
}

fn check(asked: &str, expected: &[&str]) {
    assert_eq!(noticed(&lineage().impact(&field(asked))), expected, "{asked}");
}

#[test]
fn a_change_spreads_through_what_is_written_to_routes() {
    let expected = [
        "measure read amount",
        "measure rule amount",
        "score read measure < measure",
        "hot condition score < score < measure",
    ];
    check("amount", &expected);
    let impact = lineage().impact(&field("amount"));
    let changes: Vec<_> = impact.changes.iter().map(|it| it.written.field.to_string()).collect();
    assert_eq!(changes, ["measure", "score"]);
    assert_eq!(impact.changes[1].through[0].stage, "measure");
    assert!(impact.noticed_by[0].used.required);
}

#[test]
fn paths_above_and_below_touch() {
    // A look-up's key spreads to what is written below a field that a later stage reads.
    check(
        "merchant.id",
        &["risk lookup merchant.id", "score read merchant", "hot condition score < score"],
    );
    check("merchant.name", &["score read merchant", "hot condition score < score"]);
    assert_eq!(lineage().impact(&field("merchant.risk.level")).written_by, ["risk"]);
}

#[test]
fn conditions_keys_and_directories_notice() {
    check(
        "country",
        &[
            "risk condition country",
            "score read merchant < merchant.risk",
            "hot condition score < score < merchant.risk",
        ],
    );
    check("kind", &["filter condition kind", "all directory kind"]);
    check("@batch-time", &["all directory @batch-time"]);
    // The partition key is the source's field by another name.
    check(
        "account",
        &[
            "source partition-key account",
            "score read account",
            "score state-key account",
            "hot condition score < score",
        ],
    );
}

#[test]
fn what_is_written_is_seen_by_later_stages_only() {
    let config = config(PIPELINE);
    let mut plugins = plugins();
    // The first stage reads what the last one writes: it has the source's.
    plugins[0].description.reads[0].from = field("score");
    let lineage = Lineage::of(&config, &plugins);
    let impact = lineage.impact(&field("merchant.name"));
    assert_eq!(noticed(&impact), ["score read merchant", "hot condition score < score"]);
    assert_eq!(lineage.stages[2].writes[0].read_by, [User::Sink("hot".to_owned())]);
    assert_eq!(lineage.stages[0].reads[0].from, ["source"]);
}

#[test]
fn a_field_that_nobody_names_has_near_names() {
    let impact = lineage().impact(&field("amuont"));
    assert!(!impact.is_known && impact.noticed_by.is_empty());
    // The likest first.
    assert_eq!(impact.near, ["amount", "account"]);
    assert_eq!(lineage().impact(&field("id")).near, ["merchant.id"]);
    assert!(lineage().impact(&field("zzz")).near.is_empty());
    let mut plugins = plugins();
    plugins[0].description.reads.push(Read { from: field("$"), kind: Kind::Json, required: false });
    let impact = Lineage::of(&config(PIPELINE), &plugins).impact(&field("amuont"));
    assert!(impact.is_known && impact.is_only_in_whole);
    assert_eq!(impact.near[0], "amount");
}

#[test]
fn the_model_names_tables_and_where_reads_come_from() {
    let lineage = lineage();
    let table = TableNode {
        name: "merchants".to_owned(),
        columns: vec!["risk".to_owned()],
        keys: vec![path("merchant.id")],
        read_by: vec!["risk".to_owned()],
    };
    assert_eq!(lineage.tables, [table]);
    let from: Vec<_> = lineage.stages[2].reads.iter().map(|read| read.from.join(" ")).collect();
    assert_eq!(from, ["risk source", "measure source", "host"]);
    let written = lineage.fields.iter().find(|it| it.field == field("measure"));
    let written = written.expect("it is written");
    assert_eq!(written.written_by, ["measure"]);
    // A rule about what the stage itself writes is no use of it.
    assert_eq!(written.read_by, [User::Stage("score".to_owned())]);
    let json = json!(lineage);
    assert_eq!(json["stages"][2]["state_key"], json!(["@partition-key"]));
    assert_eq!(
        json["fields"][0],
        json!({ "field": "@batch-time", "written_by": [],
                "read_by": [{ "who": "sink", "name": "all" }] })
    );
}

#[test]
fn a_drawing_has_an_arrow_for_each_pair_and_breaks_on_no_name() {
    let drawing = lineage().mermaid();
    for line in [
        "  source ==> filter",
        "  filter ==> stage0",
        "  stage2 ==> sink1",
        "  stage0 -.->|\"measure\"| stage2",
        "  stage1 -.->|\"merchant\"| stage2",
        "  table0 -.->|\"risk\"| stage1",
        "  source -.->|\"country<br/>merchant.id\"| stage1",
        "  filter{{\"filter<br/>by kind\"}}",
    ] {
        assert!(drawing.lines().any(|it| it == line), "{line}\n{drawing}");
    }
    let mut plugins = plugins();
    plugins[0].description.reads[0].from = field("['a\"<b>;#']");
    let drawing = Lineage::of(&config(PIPELINE), &plugins).mermaid();
    assert!(drawing.contains("['a#34;#60;b#62;#59;#35;']"), "{drawing}");
}

/// Invariant: a swap that stops writing a field is refused where a stage, a route or a tree reads it.
#[test]
fn who_loses_a_field_is_found() {
    let lost = |plugins: &[Plugin; 3]| {
        let (before, after) = (lineage(), Lineage::of(&config(PIPELINE), plugins));
        let lost = after.lost_since(&before);
        lost.map(|(reader, writer)| format!("{reader}, of {writer}"))
    };
    assert_eq!(lost(&plugins()), None);
    let mut none_measures = plugins();
    none_measures[0].description.writes.clear();
    assert_eq!(lost(&none_measures).as_deref(), Some("stage `score` reads `measure`, of measure"));
    // A route reads it and no stage does.
    let mut none_scores = plugins();
    none_scores[2].description.writes.clear();
    assert_eq!(
        lost(&none_scores).as_deref(),
        Some("the `when` of sink `hot` reads `score`, of score")
    );
    // Another stage before the reader writes it instead.
    let mut moved = plugins();
    moved[0].description.writes.clear();
    moved[1].description.writes.push(Written { path: path("measure"), kind: Kind::Json });
    assert_eq!(lost(&moved), None);
    // Who stops reading it loses nothing.
    none_measures[2].description.reads.remove(1);
    none_measures[2].description.state = None;
    assert_eq!(lost(&none_measures), None);
    // A tree is named by what a stage writes.
    let with_kind = |writes: &[&str]| {
        let plugins = [plugin("a", Vec::new(), writes), plugins()[1].clone(), plugins()[2].clone()];
        Lineage::of(&config(PIPELINE), &plugins)
    };
    let (before, after) = (with_kind(&["measure", "kind"]), with_kind(&["measure"]));
    let (reader, writer) = after.lost_since(&before).expect("the tree loses it");
    assert_eq!(
        (reader.to_string().as_str(), writer),
        ("the `tree` of sink `all` reads `kind`", "measure")
    );
    // And so is what a sink partitions by.
    let keyed = PIPELINE.replace("blackhole: {}", "kinesis: { stream: s, partition_key: score }");
    let before = Lineage::of(&config(&keyed), &plugins());
    let hot = before.sinks[0].partition_key.as_ref().expect("it partitions");
    assert_eq!((hot.field.to_string().as_str(), hot.from[0].as_str()), ("score", "score"));
    assert_eq!(noticed(&before.impact(&field("score"))).last().unwrap(), "hot partition-key score");
}
