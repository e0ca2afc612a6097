//! `dedupe`, `correct` and `redact` do to any records what a plain reading of their configs says.
//!
//! Each run is repeated in batches of other sizes by the harness, which compares.

use std::collections::HashSet;

use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Value, json};
use tidegate_plugin::{
    Verdict,
    testing::{self, Harness},
};

fn scalars() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3_i64..4).prop_map(Value::from),
        select(vec!["", " x", "x", "X ", "1", "2.5", "größe", "a@b.de", "4111 1111 1111 1111"])
            .prop_map(Value::from),
    ]
}

/// Values of every type, a few levels deep.
fn values() -> impl Strategy<Value = Value> {
    scalars().prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Value::from),
            vec((select(vec!["a", "b", "c@d.de", "5555555555554444"]), inner), 0..3)
                .prop_map(|members| members.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()),
        ]
    })
}

/// All texts and numbers in a value, names of members too.
fn leaves(value: &Value, out: &mut Vec<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| leaves(item, out)),
        Value::Object(members) => members.iter().for_each(|(name, member)| {
            out.push(name.clone());
            leaves(member, out);
        }),
        Value::String(text) => out.push(text.clone()),
        Value::Number(number) => out.push(number.to_string()),
        Value::Null | Value::Bool(_) => {}
    }
}

proptest! {
    /// The first record of a key goes on and no other, in one batch or in two.
    #[test]
    fn dedupe_is_a_set(
        keys in vec((scalars(), 0..3_u8), 1..40),
        cut in 0..40_usize,
        approximate in prop_oneof![Just(Value::Null), Just(json!({"capacity": 1000, "error": 1e-9}))],
    ) {
        let config = json!({"key": ["a", "b"], "approximate": approximate});
        let records: Vec<Value> = keys.iter().map(|(a, b)| json!({"a": a, "b": b})).collect();
        let mut seen = HashSet::new();
        let expected: Vec<Verdict> = records.iter().map(|record| {
            if record["a"].is_null() {
                return Verdict::Reject;
            }
            if seen.insert(record.to_string()) { Verdict::Emit } else { Verdict::Drop }
        }).collect();
        let mut harness = Harness::<dedupe::Dedupe>::new(config).expect("a good config");
        let (one, two) = records.split_at(cut.min(records.len()));
        let mut outcomes = harness.run(one.to_vec().into());
        outcomes.extend(harness.run(two.to_vec().into()));
        let verdicts: Vec<Verdict> = outcomes.iter().map(|outcome| outcome.verdict).collect();
        prop_assert_eq!(verdicts, expected);
    }

    /// A chain of corrections is one function of the value after the other, and each change is said.
    #[test]
    fn correct_is_a_chain_of_functions(values in vec(values(), 1..12)) {
        let config = json!({"corrections": [
            {"field": "a", "do": "trim", "id": "1"},
            {"field": "a", "do": {"case": "lower"}, "id": "2"},
            {"field": "a", "do": {"null_if": [""]}, "id": "3"},
            {"field": "a", "do": {"number": {}}, "id": "4"},
            {"field": "a", "do": {"clamp": {"at_least": 0, "at_most": 2}}, "id": "5"},
            {"field": "a", "do": {"default": "none"}, "id": "6"},
        ]});
        let records = values.iter().map(|value| json!({"a": value})).collect();
        let outcomes = testing::run::<correct::Correct>(config, records);
        for (value, outcome) in values.iter().zip(&outcomes) {
            let steps: [fn(&Value) -> Option<Value>; 6] = [
                |it| Some(it.as_str()?.trim().into()),
                |it| Some(it.as_str()?.to_lowercase().into()),
                |it| (it == "").then_some(Value::Null),
                |it| serde_json::from_str(it.as_str()?).ok().filter(Value::is_number),
                |it| match it.as_f64()? {
                    number if number < 0.0 => Some(json!(0)),
                    number if number > 2.0 => Some(json!(2)),
                    _ => None,
                },
                |it| it.is_null().then(|| "none".into()),
            ];
            let mut expected = value.clone();
            let mut rules = Vec::new();
            for (i, step) in steps.iter().enumerate() {
                if let Some(changed) = step(&expected).filter(|changed| *changed != expected) {
                    expected = changed;
                    rules.push((i + 1).to_string());
                }
            }
            prop_assert_eq!(&outcome.record()["a"], &expected, "{}", value);
            prop_assert_eq!(outcome.rules(), rules, "{}", value);
        }
    }

    /// Wherever something that is to be redacted stands, it is not in what goes on.
    #[test]
    fn redact_lets_nothing_through(records in vec((values(), values(), values()), 1..8)) {
        let config = json!({
            "keys": {"k": "sixteen bytes and more"},
            "fields": [
                {"field": "whole", "action": {"hash": {"key": "k"}}},
                {"field": "up.inner", "action": {"mask": {}}},
            ],
            "texts": [{"fields": ["text"], "find": [
                {"pattern": "card", "action": {"mask": {}}},
                {"pattern": "email", "action": "drop"},
            ]}],
        });
        let records: Vec<Value> = records
            .into_iter()
            .map(|(whole, up, text)| json!({"whole": whole, "up": up, "text": text, "z": "a@b.de"}))
            .collect();
        let outcomes = testing::run::<redact::Redact>(config, records.clone().into());
        for (record, outcome) in records.iter().zip(&outcomes) {
            let up = &record["up"];
            if !up.is_object() && !up.is_null() {
                prop_assert_eq!(outcome.verdict, Verdict::Reject);
                prop_assert_eq!(outcome.rules()[0], "reachable:up.inner");
                continue;
            }
            let after = outcome.record();
            prop_assert_eq!(&after["z"], "a@b.de", "what is not named stays");
            let mut texts = Vec::new();
            leaves(&after["text"], &mut texts);
            let shown = ["@", "4111 1111", "5555555555554444"];
            let leak = texts.iter().find(|text| shown.iter().any(|it| text.contains(it)));
            prop_assert_eq!(leak, None, "{}", record);
            let mut whole = Vec::new();
            leaves(&after["whole"], &mut whole);
            prop_assert!(whole.iter().all(|text| text.len() == 64), "{}", record);
            prop_assert_eq!(after["whole"].is_null(), record["whole"].is_null());
        }
    }
}
