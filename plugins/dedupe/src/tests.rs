use serde_json::{Value, json};
use tidegate_plugin::testing::{Harness, Outcome};

use super::*;

fn harness(config: Value) -> Harness<Dedupe> {
    Harness::new(config).unwrap_or_else(|error| panic!("{error}"))
}

fn dropped(outcomes: &[Outcome]) -> Vec<bool> {
    outcomes.iter().map(|outcome| outcome.verdict == Verdict::Drop).collect()
}

fn orders(ids: impl IntoIterator<Item = u32>) -> Value {
    ids.into_iter().map(|id| json!({"id": id})).collect()
}

/// The harness runs every batch again in rows of one and three, and compares.
#[test]
fn a_duplicate_is_dropped_in_the_same_batch_and_in_a_later_one() {
    for config in [
        json!({"key": ["id"]}),
        json!({"key": ["id"], "renew": true}),
        json!({"key": ["id"], "approximate": {"capacity": 100}}),
        json!({"key": ["id"], "approximate": {"capacity": 100, "ttl": "1h"}, "renew": true}),
    ] {
        let mut harness = harness(config);
        let first = harness.run(orders([1, 2, 1, 3, 1, 2]));
        assert_eq!(dropped(&first), [false, false, true, false, true, true]);
        assert_eq!(first[2].rules(), ["duplicate"]);
        assert!(first[0].findings.is_empty());
        let second = harness.run(orders([3, 4, 4]));
        assert_eq!(dropped(&second), [true, false, true]);
    }
}

#[test]
fn duplicates_may_be_rejected_or_flagged() {
    let records = json!([{"id": 1}, {"id": 1}]);
    let outcomes = harness(json!({"key": ["id"], "on_duplicate": "reject"})).run(records.clone());
    assert_eq!((outcomes[0].verdict, outcomes[1].verdict), (Verdict::Emit, Verdict::Reject));
    let config = json!({"key": ["id"], "on_duplicate": {"flag": "meta.seen_before"}});
    let outcomes = harness(config).run(records);
    assert_eq!(*outcomes[0].record(), json!({"id": 1, "meta": {"seen_before": false}}));
    assert_eq!(*outcomes[1].record(), json!({"id": 1, "meta": {"seen_before": true}}));
    assert_eq!(outcomes[1].rules(), ["duplicate"]);
}

#[test]
fn a_key_is_of_several_fields_and_its_parts_do_not_run_together() {
    for approximate in [Value::Null, json!({"capacity": 100})] {
        let mut harness = harness(json!({"key": ["a", "b"], "approximate": approximate}));
        let records = json!([
            {"a": "x", "b": "yz"}, {"a": "xy", "b": "z"}, {"a": 1, "b": "1"}, {"a": "1", "b": 1},
            {"a": {"k": 1}, "b": true}, {"b": "yz", "a": "x"},
        ]);
        assert_eq!(dropped(&harness.run(records)), [false, false, false, false, false, true]);
    }
}

#[test]
fn a_typed_key_is_compared_as_what_it_means() {
    for approximate in [Value::Null, json!({"capacity": 100})] {
        let config = json!({"key": [
            {"field": "n", "as": "integer"},
            {"field": "at", "as": "timestamp"},
            {"field": "on", "as": "date"},
            {"field": "s", "as": "text"},
        ], "approximate": approximate});
        // Whether `1.0` is `1` as a key is the host's doing: this one groups by the record's text.
        let records = json!([
            {"n": 1, "at": "2026-03-01T12:00:00Z", "on": "2026-03-01", "s": "é"},
            {"n": 1, "at": "2026-03-01T12:00:00Z", "on": "2026-03-01", "s": "é"},
            {"n": 1, "at": "2026-03-01T12:00:00Z", "on": "2026-03-01", "s": 7},
            {"n": 1, "at": "2026-03-01T12:00:00Z", "on": "2026-03-02", "s": "é"},
        ]);
        let outcomes = harness(config).run(records);
        assert_eq!(dropped(&outcomes), [false, true, false, false]);
        assert_eq!(outcomes[2].rules(), ["required"], "of another type than the key");
    }
    let config =
        json!({"key": [{"field": "at", "as": "timestamp"}], "approximate": {"capacity": 9}});
    let outcomes = harness(config)
        .run(json!([{"at": "2026-03-01T12:00:00Z"}, {"at": "2026-03-01T13:00:00+01:00"}]));
    assert_eq!(dropped(&outcomes), [false, true], "one moment in two time zones");
}

#[test]
fn a_record_without_a_key_is_rejected() {
    for approximate in [Value::Null, json!({"capacity": 100, "per": ["shop"]})] {
        let mut harness = harness(json!({"key": ["id"], "approximate": approximate}));
        let outcomes = harness.run(json!([{"shop": 1}, {"id": null, "shop": 1}]));
        assert!(outcomes.iter().all(|outcome| outcome.rules() == ["required"]));
        assert_eq!(harness.states().0, 0);
    }
}

#[test]
fn an_exact_state_is_one_byte_a_key_and_set_again_only_to_be_renewed() {
    let changes = |renew: bool| {
        let (plugin, _) = tidegate_plugin::configure::<Dedupe>(
            &json!({"key": ["id"], "renew": renew}).to_string(),
        )
        .unwrap();
        // Two keys, of which the first was seen before; a row of each.
        let states = States { rows: &[0, 1], offsets: &[0, 1, 1], bytes: SEEN };
        plugin.transform(&Batch { rows: 2, columns: &[], states }).states
    };
    assert_eq!((changes(false).keys, changes(false).values.bytes), (vec![1], vec![1]));
    assert_eq!(changes(true).keys, [0, 1]);
}

#[test]
fn a_filter_is_kept_for_a_partition_or_for_each_value_of_a_field() {
    let mut one = harness(json!({"key": ["id"], "approximate": {"capacity": 10}}));
    let records =
        || json!([{"id": 1, "shop": "a"}, {"id": 1, "shop": "b"}, {"id": 1, "shop": "a"}]);
    assert_eq!(dropped(&one.run(records())), [false, true, true]);
    assert_eq!(one.states().0, 1);
    let mut each =
        harness(json!({"key": ["id"], "approximate": {"capacity": 10, "per": ["shop"]}}));
    assert_eq!(dropped(&each.run(records())), [false, false, true]);
    assert_eq!(each.states().0, 2);
}

#[test]
fn a_filter_forgets_by_count_and_by_batch_time() {
    let config = json!({"key": ["id"], "approximate": {"capacity": 20, "error": 0.0001}});
    let mut by_count = harness(config);
    by_count.run(orders(0..60));
    assert_eq!(dropped(&by_count.run(orders([0, 59]))), [false, true]);

    let config = json!({"key": ["id"], "approximate": {"capacity": 20, "ttl": "1h"}});
    let mut by_time = harness(config).at("2026-03-01T12:00:00Z");
    by_time.run(orders([1]));
    let mut by_time = by_time.at("2026-03-01T13:59:59Z");
    assert_eq!(dropped(&by_time.run(orders([1]))), [true], "at most twice as long");
    let mut by_time = by_time.at("2026-03-01T15:59:59Z");
    assert_eq!(dropped(&by_time.run(orders([1]))), [false]);
}

#[test]
fn a_state_stays_below_the_hosts_limit() {
    let mut harness = harness(json!({"key": ["id"], "approximate": {"capacity": 16_564}}));
    harness.run(orders([1, 2]));
    assert!((60_000..=64 << 10).contains(&harness.states().1), "{}", harness.states().1);
}

#[test]
fn it_reads_its_key_and_nothing_else() {
    let harness = harness(json!({"key": ["id"], "approximate": {"capacity": 20}}));
    let description = harness.description();
    assert_eq!(description.reads.len(), 2, "the key and the partition");
    assert_eq!(description.state_key, Some(vec![1]));
    assert!(description.writes.is_empty());
}

#[test]
fn a_config_that_makes_no_sense_is_refused_with_its_place() {
    let refused = |config: Value| Harness::<Dedupe>::new(config).expect_err("it is refused");
    let approximate = |it: Value| refused(json!({"key": ["id"], "approximate": it})).pointer;
    assert_eq!(refused(json!({"key": []})).pointer, "/key");
    assert_eq!(refused(json!({"key": ["id", "$"]})).pointer, "/key/1");
    assert_eq!(
        refused(json!({"key": ["id"], "on_duplicate": {"flag": "$"}})).pointer,
        "/on_duplicate/flag"
    );
    assert_eq!(approximate(json!({"capacity": 0})), "/approximate/capacity");
    assert_eq!(approximate(json!({"capacity": 1, "error": 0})), "/approximate/error");
    assert_eq!(approximate(json!({"capacity": 1, "error": 0.6})), "/approximate/error");
    assert_eq!(approximate(json!({"capacity": 1, "ttl": "1 hour"})), "/approximate/ttl");
    assert_eq!(approximate(json!({"capacity": 1, "ttl": "0s"})), "/approximate/ttl");
    assert_eq!(approximate(json!({"capacity": 1, "per": ["$"]})), "/approximate/per/0");
    let large = refused(json!({"key": ["id"], "approximate": {"capacity": 100_000}}));
    assert!(large.message.contains("16564"), "it says what would fit: {large}");
}
