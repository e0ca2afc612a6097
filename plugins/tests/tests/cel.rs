//! What `rules` makes of an expression over columns means what the interpreter of CEL means.

use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Map, Value, json};
use tidegate_plugin::testing::{self, Outcome};

const RECORD_FIELDS: [&str; 7] = ["n", "m", "i", "j", "t", "u", "b"];

/// Mostly values of the type that a field's name stands for, and some that are not.
fn values(field: &'static str) -> BoxedStrategy<Value> {
    let numbers = prop_oneof![
        (-3_i64..4).prop_map(Value::from),
        select(vec![0.5, -1.5]).prop_map(Value::from)
    ];
    let integers = prop_oneof![
        (-3_i64..4).prop_map(Value::from),
        select(vec![i64::MAX, i64::MIN, i64::MAX / 2]).prop_map(Value::from)
    ];
    let texts = select(vec!["", "x", "xy", "yx", "größe"]).prop_map(Value::from);
    let fitting = match field {
        "n" | "m" => numbers.boxed(),
        "i" | "j" => integers.boxed(),
        "t" | "u" => texts.boxed(),
        _ => any::<bool>().prop_map(Value::from).boxed(),
    };
    let other = select(vec![Value::Null, json!([]), json!({"a": 1})]);
    prop_oneof![6 => fitting, 1 => other].boxed()
}

fn records() -> impl Strategy<Value = Value> {
    let fields: Vec<_> = RECORD_FIELDS
        .into_iter()
        .map(|field| proptest::option::weighted(0.85, values(field)))
        .collect();
    fields.prop_map(|values| {
        let present = RECORD_FIELDS.into_iter().zip(values);
        let present = present.filter_map(|(field, value)| Some((field.to_owned(), value?)));
        Value::Object(present.collect::<Map<_, _>>())
    })
}

fn numbers() -> impl Strategy<Value = String> {
    let leaf = select(vec!["n", "m", "1.5", "2", "-1.0"]).prop_map(str::to_owned);
    leaf.prop_recursive(2, 6, 2, |inner| {
        prop_oneof![
            // No quotient: what is no number has a finding of its own here, and none in CEL.
            (inner.clone(), select(vec!["+", "-", "*"]), inner.clone())
                .prop_map(|(one, operator, other)| format!("({one} {operator} {other})")),
            inner.prop_map(|operand| format!("(-{operand})")),
        ]
    })
}

fn integers() -> impl Strategy<Value = String> {
    let leaf = select(vec!["i", "j", "2", "-3", "0", "size(t)"]).prop_map(str::to_owned);
    leaf.prop_recursive(2, 6, 2, |inner| {
        prop_oneof![
            (inner.clone(), select(vec!["+", "-", "*", "/", "%"]), inner.clone())
                .prop_map(|(one, operator, other)| format!("({one} {operator} {other})")),
            inner.prop_map(|operand| format!("(-{operand})")),
        ]
    })
}

fn texts() -> impl Strategy<Value = String> {
    select(vec!["t", "u", "'x'", "''", "'größe'"]).prop_map(str::to_owned)
}

fn flags() -> impl Strategy<Value = String> {
    let operators = || select(vec!["==", "!=", "<", "<=", ">", ">="]);
    let compared =
        |(one, operator, other): (String, &str, String)| format!("({one} {operator} {other})");
    let leaf = prop_oneof![
        2 => (numbers(), operators(), numbers()).prop_map(compared),
        2 => (integers(), operators(), integers()).prop_map(compared),
        1 => (numbers(), operators(), integers()).prop_map(compared),
        2 => (texts(), operators(), texts()).prop_map(compared),
        1 => (texts(), select(vec!["startsWith", "endsWith", "contains"]), texts())
            .prop_map(|(text, function, part)| format!("{text}.{function}({part})")),
        1 => select(vec!["(t in ['x', 'yx'])", "(n in [1, 0.5])", "(i in [1, 2])", "!(u in ['x'])"]).prop_map(str::to_owned),
        1 => select(RECORD_FIELDS.to_vec()).prop_map(|field| format!("has({field})")),
        1 => select(RECORD_FIELDS.to_vec()).prop_map(|field| format!("({field} == null)")),
        1 => select(RECORD_FIELDS.to_vec()).prop_map(|field| format!("(null != {field})")),
        1 => select(vec!["b", "true", "false"]).prop_map(str::to_owned),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(one, other)| format!("({one} && {other})")),
            (inner.clone(), inner.clone()).prop_map(|(one, other)| format!("({one} || {other})")),
            (inner.clone(), inner.clone(), inner.clone())
                .prop_map(|(condition, yes, no)| format!("({condition} ? {yes} : {no})")),
            (inner.clone(), inner.clone()).prop_map(|(one, other)| format!("({one} == {other})")),
            inner.prop_map(|operand| format!("!{operand}")),
        ]
    })
}

/// The kinds of all fields, so that both readings of an expression have the same columns.
fn reads(expression: &str) -> Value {
    let kinds = [
        ("n", "float64"),
        ("m", "float64"),
        ("i", "int64"),
        ("j", "int64"),
        ("t", "utf8"),
        ("u", "utf8"),
        ("b", "boolean"),
    ];
    let words: Vec<_> = expression.split(|c: char| !c.is_alphanumeric()).collect();
    let named = kinds.into_iter().filter(|(field, _)| words.contains(field));
    named
        .map(|(field, kind)| (field.to_owned(), json!({"kind": kind})))
        .collect::<Map<_, _>>()
        .into()
}

/// Whether the rule holds, does not, or has no answer.
fn said(outcomes: &[Outcome]) -> Vec<&'static str> {
    let said = outcomes.iter().map(|outcome| match outcome.findings.first() {
        None => "yes",
        Some(finding) if finding.detail.is_empty() => "no",
        Some(_) => "no answer",
    });
    said.collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn columns_mean_what_the_interpreter_means(
        expression in flags(),
        records in vec(records(), 1..8),
    ) {
        let run = |check: &str| {
            let rule = json!({"id": "r", "check": check});
            let config = json!({"rules": [rule], "reads": reads(check)});
            testing::run::<rules::Rules>(config, records.iter().cloned().collect())
        };
        let columns = run(&expression);
        // A value whose type is known as it is evaluated is for the interpreter alone.
        let interpreted = run(&format!("{expression} && dyn(true)"));
        prop_assert_eq!(said(&columns), said(&interpreted), "{}", expression);
    }
}
