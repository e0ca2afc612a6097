//! Plans: everything that is wrong at once, and what a sound one does.

use std::sync::Arc;

use tidegate_core::{Condition, Kind, Origin, Reply, description::Lookup};
use tidegate_pipeline::{
    Plan, PlanSpec,
    plan::{Findings, Layout, Level, OnPoison, SinkSpec, StateScope},
};

use crate::{
    plugins::{Scripted, description, keyed},
    support::{plan, spec},
};

fn idle(name: &str, reads: &[(&str, Kind)], writes: &[(&str, Kind)]) -> Scripted {
    Scripted::new(name, description(reads, writes), |_, _| Ok(Reply::default()))
}

fn condition(json: &str) -> Condition {
    serde_json::from_str(json).expect(json)
}

/// The codes of what is wrong.
fn refused(spec: PlanSpec) -> Vec<(&'static str, String)> {
    let Findings(findings) = Plan::build(spec).expect_err("it is not sound");
    findings.into_iter().map(|finding| (finding.code, finding.pointer)).collect()
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    let mut reads_table = description(&[("a", Kind::Utf8)], &[]);
    reads_table.reads[0].from = Origin::Lookup(Lookup {
        table: "merchants".to_owned(),
        keys: vec!["id".parse().expect("a path")],
        column: "risk".to_owned(),
    });
    let stages: Vec<Arc<dyn tidegate_core::TransformFactory>> = vec![
        Arc::new(idle("overlapping", &[], &[("a", Kind::Json), ("a.b", Kind::Utf8)])),
        Arc::new(idle("judge", &[], &[]).indispensable()),
        Arc::new(Scripted::new("joining", reads_table, |_, _| Ok(Reply::default()))),
        Arc::new(Scripted::new(
            "counting",
            keyed(description(&[("user", Kind::Utf8)], &[])),
            |_, _| Ok(Reply::default()),
        )),
        Arc::new(idle(
            "rooting",
            &[("$", Kind::Utf8), ("@batch-time", Kind::Utf8)],
            &[("$", Kind::Utf8)],
        )),
    ];
    let mut spec = spec(&stages);
    spec.stages[1].on_poison = OnPoison::Passthrough;
    spec.stages[4].name = "judge".to_owned();
    spec.sinks[0].when = Some(condition(r#"{"field":"@batch-time","equals":5}"#));
    let mut found = refused(spec);
    found.sort();
    let of = |code, pointer: &str| (code, pointer.to_owned());
    assert_eq!(
        found,
        [
            of("condition-kind", "/sinks/0/when"),
            of("duplicate-name", "/stages/4/name"),
            of("host-value-kind", "/stages/4"),
            of("key-does-not-follow", "/stages/3/state"),
            of("passthrough-forbidden", "/stages/1/on_poison"),
            of("root-needs-json", "/stages/4"),
            of("root-needs-json", "/stages/4"),
            of("unknown-table", "/stages/2"),
            of("write-overlap", "/stages/0"),
        ]
    );
    assert_eq!(refused(PlanSpec::new("empty", "input")), [of("no-sinks", "/sinks")]);
}

#[test]
fn a_key_follows_the_partition_key_or_says_what_it_does() {
    let stage = || -> Arc<dyn tidegate_core::TransformFactory> {
        let description = keyed(description(&[("user", Kind::Utf8)], &[]));
        Arc::new(Scripted::new("counting", description, |_, _| Ok(Reply::default())))
    };
    let sound = |change: &dyn Fn(&mut PlanSpec)| {
        let mut spec = spec(&[stage()]);
        change(&mut spec);
        Plan::build(spec).is_ok()
    };
    assert!(!sound(&|_| {}));
    assert!(sound(&|spec| spec.partition_key = Some("user".parse().expect("a path"))));
    assert!(!sound(&|spec| spec.partition_key = Some("other".parse().expect("a path"))));
    assert!(sound(&|spec| spec.stages[0].state.scope = StateScope::Partition));
    assert!(sound(&|spec| spec.stages[0].state.scope = StateScope::Follows));

    // Once a stage has rewritten it, it is no longer what the source partitions by.
    let mut spec = spec(&[Arc::new(idle("rewriting", &[], &[("user", Kind::Utf8)])), stage()]);
    spec.partition_key = Some("user".parse().expect("a path"));
    assert_eq!(refused(spec)[0].0, "key-does-not-follow");
}

#[test]
fn arrays_need_the_flat_layout() {
    let writes = idle("arrays", &[], &[("items[0].sku", Kind::Utf8)]);
    let mut spec = spec(&[Arc::new(writes)]);
    Plan::build(spec.clone()).expect("flat does it");
    spec.sinks.push(SinkSpec { layout: Layout::Nested("x".to_owned()), ..SinkSpec::new("nested") });
    assert_eq!(refused(spec), [("invalid-projection", "/sinks".to_owned())]);
}

#[test]
fn a_read_of_what_only_a_later_stage_writes_is_warned_of() {
    let early =
        idle("early", &[("category", Kind::Utf8), ("own", Kind::Utf8)], &[("own", Kind::Utf8)]);
    let late = idle("late", &[], &[("category", Kind::Utf8)]);
    let plan = plan(spec(&[Arc::new(early), Arc::new(late)]));
    let [warning] = &plan.warnings().0[..] else { panic!("{}", plan.warnings()) };
    assert_eq!((warning.level, warning.code), (Level::Warning, "reads-nobody-writes"));
    assert!(warning.message.contains("`late`"), "{}", warning.message);
}

#[test]
fn a_plan_explains_itself() {
    let first = idle("first", &[("a", Kind::Int64)], &[("b.c", Kind::Utf8), ("d", Kind::Int64)]);
    let second = idle(
        "second",
        &[("b", Kind::Json), ("d", Kind::Int64), ("a", Kind::Int64), ("@record-id", Kind::Utf8)],
        &[],
    );
    let mut spec = spec(&[Arc::new(first), Arc::new(second)]);
    spec.filter = Some(condition(r#"{"field":"a","equals":1}"#));
    let plan = plan(spec);
    let described = plan.describe();
    assert_eq!(described.projected, ["a: int64", "d: int64"]);
    assert_eq!(described.materialized_before, ["second"]);
    let from: Vec<_> = described.stages[1].reads.iter().map(|read| read.from.join(" ")).collect();
    assert_eq!(from, ["record", "first source", "source", "host"]);
    let read_by: Vec<_> =
        described.stages[0].writes.iter().map(|written| written.read_by.join(" ")).collect();
    assert_eq!(read_by, ["second", "second"]);
}

#[test]
fn the_generation_is_that_of_config_and_components() {
    let of = |name: &str, config: &[u8]| {
        let mut spec = spec(&[Arc::new(idle(name, &[], &[]))]);
        spec.config = tidegate_core::Digest::of(config);
        plan(spec).generation()
    };
    assert_eq!(of("a", b"1"), of("a", b"1"));
    assert_ne!(of("a", b"1"), of("b", b"1"));
    assert_ne!(of("a", b"1"), of("a", b"2"));
}
