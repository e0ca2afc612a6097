use serde_json::{Value, json};
use tidegate_plugin::testing::{self, Harness};

use super::*;

/// What an expression gives for a record; null where it writes nothing.
fn value_of(expression: Value, record: Value) -> Value {
    let config = json!({"fields": [{"write": "out", "value": expression}]});
    let outcomes = testing::run::<Enrich>(config, json!([record]));
    outcomes[0].record().get("out").cloned().unwrap_or_default()
}

macro_rules! check {
    ($($expression:tt, $record:tt => $expected:expr;)*) => {$(
        let (expression, record) = (json!($expression), json!($record));
        assert_eq!(value_of(expression.clone(), record), json!($expected), "{expression}");
    )*};
}

#[test]
fn parts_of_times() {
    let record = json!({"t": "2026-01-01T23:59:58.5Z", "e": -1, "s": "2024-02-29"});
    let of = |expression: Value| value_of(expression, record.clone());
    let t = json!({"timestamp": "t"});
    assert_eq!(of(json!({"date_of": t})), "2026-01-01");
    for (part, expected) in [
        ("year", 2026),
        ("quarter", 1),
        ("month", 1),
        ("day", 1),
        ("day_of_year", 1),
        ("hour", 23),
        ("minute", 59),
        ("second", 58),
        ("weekday", 4),
        ("iso_week", 1),
        ("iso_year", 2026),
    ] {
        assert_eq!(of(json!({part: t})), expected, "{part}");
    }
    assert_eq!(of(json!({"is_weekend": t})), false);
    assert_eq!(of(json!({"day_of_year": {"date": "s"}})), 60);
    assert_eq!(of(json!({"year": {"unix_seconds": "e"}})), 1969);
    assert_eq!(of(json!({"second": {"unix_milliseconds": "e"}})), 59);
    assert_eq!(
        of(json!({"seconds_between": [{"unix_seconds": "e"}, {"unix_milliseconds": "e"}]})),
        0.999
    );
    assert_eq!(of(json!({"year": {"host": "@batch-time"}})), 2026);
    assert_eq!(of(t), "2026-01-01T23:59:58.5Z");
}

#[test]
fn a_batch_may_run_across_days_in_any_order() {
    let config = json!({"fields": [
        {"write": "d", "value": {"day": {"timestamp": "t"}}},
        {"write": "h", "value": {"hour": {"timestamp": "t"}}},
    ]});
    let times = [
        ("2026-03-01T00:00:00Z", 1, 0),
        ("2026-02-28T23:59:59.999999Z", 28, 23),
        ("1969-12-31T12:00:00Z", 31, 12),
        ("2026-03-01T23:00:00Z", 1, 23),
    ];
    let records = times.iter().map(|(time, ..)| json!({"t": time})).collect();
    for (outcome, (_, day, hour)) in testing::run::<Enrich>(config, records).iter().zip(times) {
        assert_eq!((&outcome.record()["d"], &outcome.record()["h"]), (&json!(day), &json!(hour)));
    }
}

#[test]
fn arithmetic() {
    check! {
        {"add": [{"number": "a"}, {"number": "b"}, {"constant": 0.5}]}, {"a": 1, "b": 2} => 3.5;
        {"subtract": [{"number": "a"}, {"number": "b"}]}, {"a": 1, "b": 2} => -1.0;
        {"multiply": [{"number": "a"}, {"constant": 3}]}, {"a": 1.5} => 4.5;
        {"divide": [{"integer": "a"}, {"constant": 2}]}, {"a": 7} => 3.5;
        {"remainder": [{"number": "a"}, {"constant": 3.0}]}, {"a": -7} => -1.0;
        {"min": [{"number": "a"}, {"number": "b"}]}, {"a": 1, "b": 2} => 1.0;
        {"max": [{"integer": "a"}, {"constant": 5}]}, {"a": 1} => 5;
        {"absolute": {"number": "a"}}, {"a": -1.5} => 1.5;
        {"absolute": {"integer": "a"}}, {"a": -1} => 1;
        {"round": {"value": {"number": "a"}, "decimals": 2}}, {"a": 2.345678} => 2.35;
        {"round": {"value": {"number": "a"}}}, {"a": -2.5} => -3.0;
        {"round": {"value": {"number": "a"}, "decimals": 15}}, {"a": 1e300} => 1e300;
        {"floor": {"number": "a"}}, {"a": -1.5} => -2;
        {"ceiling": {"number": "a"}}, {"a": 1.2} => 2;
        {"add": [{"integer": "a"}, {"integer": "b"}]}, {"a": 1, "b": 2} => 3;
        {"remainder": [{"integer": "a"}, {"constant": 3}]}, {"a": 7} => 1;
        {"add": [{"integer": "a"}, {"number": "b"}]}, {"a": 1, "b": 0.5} => 1.5;
    }
}

#[test]
fn what_can_not_be_computed_is_left_out_and_found() {
    for (expression, record) in [
        (json!({"divide": [{"number": "a"}, {"constant": 0}]}), json!({"a": 1})),
        (json!({"divide": [{"number": "a"}, {"number": "a"}]}), json!({"a": 0})),
        (json!({"multiply": [{"number": "a"}, {"number": "a"}]}), json!({"a": 1e200})),
        (json!({"add": [{"integer": "a"}, {"constant": 1}]}), json!({"a": i64::MAX})),
        (json!({"remainder": [{"integer": "a"}, {"constant": 0}]}), json!({"a": 1})),
        (json!({"absolute": {"integer": "a"}}), json!({"a": i64::MIN})),
        (json!({"floor": {"number": "a"}}), json!({"a": 1e19})),
        (json!({"date_of": {"unix_seconds": "a"}}), json!({"a": 1e12})),
        (json!({"unix_seconds": "a"}), json!({"a": -1e12})),
    ] {
        let config = json!({"fields": [{"write": "x.out", "value": expression}]});
        let outcome = testing::run::<Enrich>(config, json!([record])).remove(0);
        assert_eq!(outcome.rules(), ["computable:x.out"], "{expression}");
        assert_eq!(*outcome.record(), record);
    }
}

#[test]
fn operands_without_a_value_give_nothing_and_no_finding() {
    let config = json!({"fields": [
        {"write": "sum", "value": {"add": [{"number": "a"}, {"number": "b"}]}},
        {"write": "ratio", "value": {"divide": [{"number": "a"}, {"number": "b"}]}},
        {"write": "name", "value": {"concat": [{"text": "s"}, {"text": "t"}]}},
        {"write": "day", "value": {"day": {"timestamp": "when"}}},
    ]});
    let records = json!([{"a": 1, "b": "2"}, {"b": null}, {"s": "x"}, {"when": "soon"}]);
    for (outcome, record) in
        testing::run::<Enrich>(config, records.clone()).iter().zip(records.as_array().unwrap())
    {
        assert_eq!(outcome.record(), record);
        assert!(outcome.findings.is_empty());
    }
}

#[test]
fn the_first_that_has_a_value() {
    check! {
        {"first_of": [{"text": "a"}, {"text": "b"}, {"constant": "?"}]}, {"b": "x"} => "x";
        {"first_of": [{"text": "a"}, {"constant": "?"}]}, {"a": 1} => "?";
        {"first_of": [{"number": "a"}, {"constant": 0}]}, {} => 0.0;
        {"first_of": [{"integer": "a"}, {"integer": "b"}]}, {"b": 2} => 2;
        {"first_of": [{"divide": [{"number": "a"}, {"constant": 0}]}, {"constant": 9.5}]}, {"a": 1} => 9.5;
        {"first_of": [{"text": "a"}, {"text": "b"}]}, {} => (Value::Null);
    }
}

#[test]
fn text_functions() {
    check! {
        {"upper": {"text": "s"}}, {"s": "straße"} => "STRASSE";
        {"upper": {"text": "s"}}, {"s": "abc1"} => "ABC1";
        {"lower": {"text": "s"}}, {"s": "ΑΣ"} => "ας";
        {"lower": {"text": "s"}}, {"s": "ABC"} => "abc";
        {"trim": {"text": "s"}}, {"s": " \u{a0}x y\n"} => "x y";
        {"length": {"text": "s"}}, {"s": "größe"} => 5;
        {"concat": [{"text": "s"}, {"constant": "-"}, {"text_of": {"integer": "n"}}]}, {"s": "a", "n": 7} => "a-7";
        {"substring": {"value": {"text": "s"}, "start": 1, "length": 2}}, {"s": "größe"} => "rö";
        {"substring": {"value": {"text": "s"}, "start": 1, "length": 2}}, {"s": "abcd"} => "bc";
        {"substring": {"value": {"text": "s"}, "start": 9}}, {"s": "abcd"} => "";
        {"substring": {"value": {"text": "s"}, "start": 2}}, {"s": "abcd"} => "cd";
        {"replace": {"value": {"text": "s"}, "find": "l", "with": "L!"}}, {"s": "hello"} => "heL!L!o";
        {"split": {"value": {"text": "s"}, "by": "@", "index": 1}}, {"s": "me@host"} => "host";
        {"split": {"value": {"text": "s"}, "by": "@", "index": 2}}, {"s": "me@host"} => (Value::Null);
        {"text_of": {"number": "n"}}, {"n": 1.50} => "1.5";
        {"text_of": {"boolean": "b"}}, {"b": true} => "true";
        {"text_of": {"date_of": {"timestamp": "t"}}}, {"t": "2026-03-01T00:00:00Z"} => "2026-03-01";
        {"host": "@source"}, {} => "test";
    }
}

#[test]
fn hashes_are_the_standard_ones() {
    check! {
        {"sha256": {"text": "s"}}, {"s": "abc"}
            => "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        {"crc32": {"text": "s"}}, {"s": "123456789"} => "cbf43926";
    }
}

#[test]
fn constants_of_each_type() {
    check! {
        {"constant": "v1"}, {} => "v1";
        {"constant": 7}, {} => 7;
        {"constant": 0.5}, {} => 0.5;
        {"constant": true}, {} => true;
        {"boolean": "b"}, {"b": false} => false;
        {"date": "d"}, {"d": "2026-03-01"} => "2026-03-01";
    }
}

#[test]
fn a_config_that_makes_no_sense_is_refused_with_its_place() {
    let cases = [
        (
            json!({"year": {"text": "t"}}),
            "/year",
            "this is a text, and it takes a timestamp or date",
        ),
        (json!({"add": []}), "/add", "there is no operand"),
        (
            json!({"add": [{"number": "a"}, {"text": "b"}]}),
            "/add/1",
            "a text, and it takes a number",
        ),
        (json!({"first_of": [{"number": "a"}, {"text": "b"}]}), "/first_of/1", "takes a number"),
        (json!({"first_of": [{"date": "a"}, {"text": "b"}]}), "/first_of", "not of one type"),
        (json!({"upper": {"length": {"number": "a"}}}), "/upper/length", "takes a text"),
        (json!({"round": {"value": {"number": "a"}, "decimals": 99}}), "/round/decimals", "15"),
        (json!({"split": {"value": {"text": "a"}, "by": "", "index": 0}}), "/split/by", "empty"),
        (json!({"host": "@clock"}), "/host", "@batch-time"),
        (json!({"uper": {"text": "a"}}), "", "did you mean `upper`?"),
        (json!({"text": "a..b"}), "/text", "is not a path"),
    ];
    for (expression, place, why) in cases {
        let config = json!({"fields": [{"write": "out", "value": expression}]});
        let error = Harness::<Enrich>::new(config).expect_err(place);
        assert_eq!(error.pointer, format!("/fields/0/value{place}"), "{error}");
        assert!(error.message.contains(why), "{error}");
    }
    let twice = json!({"write": "a", "value": {"constant": 1}});
    let error = Harness::<Enrich>::new(json!({"fields": [twice, twice]})).expect_err("twice");
    assert_eq!(error.pointer, "/fields/1/write");
}

/// Records looked up in a table of two merchants, one of which has no risk.
fn looked_up(fields: Value, records: Value) -> Vec<testing::Outcome> {
    Harness::<Enrich>::new(json!({ "fields": fields }))
        .expect("the config is sound")
        .lookup("merchants", json!(["m1", 1]), json!({"risk": 0.5, "name": "One", "open": true}))
        .lookup("merchants", json!(["m2", 1]), json!({"risk": null, "name": "Two", "open": false}))
        .run(records)
}

#[test]
fn look_ups_are_operands_and_defaults_are_counted() {
    let lookup = |column: &str, of: &str, default: Option<Value>| {
        let mut lookup = json!({"table": "merchants", "key": ["m.id", "v"], "column": column,
                                "type": of});
        if let Some(default) = default {
            lookup["default"] = default;
        }
        json!({ "lookup": lookup })
    };
    let fields = json!([
        {"write": "risk", "value": {"multiply": [lookup("risk", "number", Some(json!(1))),
                                                 {"constant": 2}]}},
        {"write": "name", "value": lookup("name", "text", None)},
        {"write": "open", "value": {"first_of": [lookup("open", "boolean", None),
                                                 {"boolean": "was"}]}},
    ]);
    let records = json!([
        {"m": {"id": "m1"}, "v": 1},
        {"m": {"id": "m2"}, "v": 1},
        {"m": {"id": "m1"}, "v": 2, "was": true},
        {"v": 1},
    ]);
    let outcomes = looked_up(fields, records);
    let written: Vec<Value> = outcomes
        .iter()
        .map(|outcome| {
            let record = outcome.record();
            json!([record["risk"], record["name"], record["open"]])
        })
        .collect();
    let expected = [
        json!([1.0, "One", true]),
        json!([2.0, "Two", false]),
        json!([2.0, null, true]),
        json!([2.0, null, null]),
    ];
    assert_eq!(written, expected);
    let rules: Vec<Vec<&str>> = outcomes.iter().map(testing::Outcome::rules).collect();
    assert_eq!(
        rules,
        [vec![], vec!["defaulted:risk"], vec!["defaulted:risk"], vec!["defaulted:risk"]]
    );
}

#[test]
fn look_ups_that_make_no_sense_are_refused() {
    let refused = |lookup: Value| {
        let config = json!({"fields": [{"write": "out", "value": {"lookup": lookup}}]});
        let error = Harness::<Enrich>::new(config).expect_err("it is refused");
        (error.pointer.clone(), error.message.clone())
    };
    let base = || json!({"table": "t", "key": ["k"], "column": "c", "type": "number"});
    let mut lookup = base();
    lookup["default"] = json!("text");
    let (pointer, message) = refused(lookup);
    assert_eq!(pointer, "/fields/0/value/lookup/default");
    assert!(message.contains("`type`"), "{message}");
    let mut lookup = base();
    lookup["type"] = json!("date");
    lookup["default"] = json!("2026-01-01");
    assert!(refused(lookup).1.contains("first_of"));
    let mut lookup = base();
    lookup["key"] = json!([]);
    assert_eq!(refused(lookup).0, "/fields/0/value/lookup/key");
}
