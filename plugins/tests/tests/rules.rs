//! `validate` over columns says what a plain reading of the same rules over values says.

use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Map, Value, json};
use tidegate_plugin::testing;

const FIELDS: [&str; 3] = ["a", "b", "kind"];

/// A rule's check and condition, and what they mean for a record.
#[derive(Clone, Debug)]
struct Rule {
    check: Value,
    when: Option<Value>,
}

fn values() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        (-3_i64..4).prop_map(Value::from),
        (-30_i64..40).prop_map(|tenths| json!(tenths as f64 / 10.0)),
        any::<bool>().prop_map(Value::from),
        select(vec!["", "x", "y", "xyz", "größe", "2026-03-01"]).prop_map(Value::from),
        Just(json!([1])),
        Just(json!({"a": 1})),
    ]
}

fn records() -> impl Strategy<Value = Value> {
    let field = |name: &'static str| {
        proptest::option::of(values()).prop_map(move |value| (name.to_owned(), value))
    };
    (field("a"), field("b"), field("kind")).prop_map(|(a, b, kind)| {
        let present = [a, b, kind].into_iter().filter_map(|(name, value)| Some((name, value?)));
        Value::Object(present.collect::<Map<_, _>>())
    })
}

fn rules() -> impl Strategy<Value = Rule> {
    let checks = select(vec![
        json!("required"),
        json!({"type": "string"}),
        json!({"type": "number"}),
        json!({"type": "boolean"}),
        json!({"type": "object"}),
        json!({"type": "array"}),
        json!({"range": {"above": -1, "at_most": 2}}),
        json!({"length": {"at_least": 1, "at_most": 3}}),
        json!({"pattern": "^[xy]+$"}),
        json!({"one_of": ["x", "xyz"]}),
        json!({"compare": {"is": "below", "to": "b"}}),
        json!({"compare": {"is": "different_from", "to": "b", "as": "text"}}),
    ]);
    let conditions = select(vec![
        json!({"field": "b", "exists": true}),
        json!({"field": "b", "exists": false}),
        json!({"field": "b", "equals": "x"}),
        json!({"field": "b", "equals": 2}),
        json!({"field": "b", "equals": true}),
        json!({"field": "b", "in": ["x", "y"]}),
    ]);
    (checks, proptest::option::of(conditions)).prop_map(|(check, when)| Rule { check, when })
}

/// The value of a field, none where it is missing or null.
fn at<'a>(record: &'a Value, field: &str) -> Option<&'a Value> {
    record.get(field).filter(|value| !value.is_null())
}

fn applies(when: &Value, record: &Value) -> bool {
    let value = at(record, when["field"].as_str().expect("a field"));
    if let Some(exists) = when.get("exists") {
        return value.is_some() == *exists;
    }
    if let Some(texts) = when.get("in").and_then(Value::as_array) {
        return value.is_some_and(|value| texts.contains(value));
    }
    value.is_some_and(|value| match (value.as_f64(), when["equals"].as_f64()) {
        (Some(value), Some(wanted)) => value == wanted,
        _ => *value == when["equals"],
    })
}

fn holds(check: &Value, record: &Value) -> bool {
    let value = at(record, "a");
    if check == "required" {
        return value.is_some();
    }
    let Some(value) = value else { return true };
    let (name, argument) = check.as_object().and_then(|map| map.iter().next()).expect("a check");
    match &**name {
        "type" => match argument.as_str().expect("a type") {
            "string" => value.is_string(),
            "number" => value.is_number(),
            "boolean" => value.is_boolean(),
            "object" => value.is_object(),
            _ => value.is_array(),
        },
        "range" => value.as_f64().is_some_and(|number| number > -1.0 && number <= 2.0),
        "length" => value.as_str().is_some_and(|text| (1..=3).contains(&text.chars().count())),
        "pattern" => value
            .as_str()
            .is_some_and(|text| !text.is_empty() && text.chars().all(|c| matches!(c, 'x' | 'y'))),
        "one_of" => argument.as_array().expect("texts").contains(value),
        _ => {
            let Some(other) = at(record, "b") else { return true };
            match argument["as"] == "text" {
                true => value.is_string() && other.is_string() && value != other,
                false => match (value.as_f64(), other.as_f64()) {
                    (Some(value), Some(other)) => value < other,
                    _ => false,
                },
            }
        }
    }
}

proptest! {
    #[test]
    fn rules_over_columns_mean_what_rules_over_values_mean(
        records in vec(records(), 1..12),
        always in vec(rules(), 0..4),
        typed in vec(rules(), 0..4),
    ) {
        let written = |prefix: &str, rules: &[Rule]| -> Value {
            let rules = rules.iter().enumerate().map(|(i, Rule { check, when })| {
                let mut rule = json!({"id": format!("{prefix}{i}"), "field": FIELDS[0], "check": check});
                if let Some(when) = when {
                    rule["when"] = when.clone();
                }
                rule
            });
            rules.collect()
        };
        let config = json!({
            "always": written("always-", &always),
            "by_type": {"field": "kind", "rules": {"x": written("x-", &typed), "y": []}},
        });
        let outcomes = testing::run::<validate::Validate>(config, records.iter().cloned().collect());
        for (record, outcome) in records.iter().zip(&outcomes) {
            let broken = |prefix: &'static str, rules: &[Rule]| -> Vec<String> {
                let rules = rules.iter().enumerate().filter(|(_, rule)| {
                    rule.when.as_ref().is_none_or(|when| applies(when, record))
                        && !holds(&rule.check, record)
                });
                rules.map(|(i, _)| format!("{prefix}{i}")).collect()
            };
            let mut expected = broken("always-", &always);
            if record.get("kind") == Some(&json!("x")) {
                expected.extend(broken("x-", &typed));
            }
            prop_assert_eq!(outcome.rules(), expected, "{}", record);
        }
    }
}
