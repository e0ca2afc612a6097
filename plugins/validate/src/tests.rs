use serde_json::{Value, json};
use tidegate_plugin::{
    Dimension, Severity,
    testing::{self, Finding, Harness},
};

use super::*;

/// What each of the values breaks, when it stands in field `f` under one check.
fn broken(check: Value, values: &[Value]) -> Vec<bool> {
    let config = json!({"always": [{"id": "r", "field": "f", "check": check}]});
    let records = values.iter().map(|value| json!({"f": value})).collect();
    testing::run::<Validate>(config, records)
        .iter()
        .map(|outcome| outcome.verdict == Verdict::Reject)
        .collect()
}

fn holds_for(check: Value, good: &[Value], bad: &[Value]) {
    assert_eq!(broken(check.clone(), good), vec![false; good.len()], "{check}: {good:?}");
    assert_eq!(broken(check.clone(), bad), vec![true; bad.len()], "{check}: {bad:?}");
}

macro_rules! values {
    ($($value:tt),* $(,)?) => { &[$(json!($value)),*] };
}

#[test]
fn required_is_broken_by_what_is_missing_or_null_alone() {
    holds_for(json!("required"), values![0, "", false, [], {}, "x"], values![null]);
    let config = json!({"always": [{"id": "r", "field": "a.b", "check": "required"}]});
    let outcomes = testing::run::<Validate>(config, json!([{}, {"a": 1}, {"a": {"b": 1}}]));
    let verdicts: Vec<_> = outcomes.iter().map(|outcome| outcome.verdict).collect();
    assert_eq!(verdicts, [Verdict::Reject, Verdict::Reject, Verdict::Emit]);
    assert_eq!(outcomes[0].findings, [Finding { rule: "r".into(), detail: "missing".into() }]);
}

#[test]
fn other_checks_leave_what_is_missing_or_null_to_required() {
    for check in [
        json!({"type": "string"}),
        json!({"range": {"above": 0}}),
        json!({"length": {"at_least": 1}}),
        json!({"pattern": "x"}),
        json!({"one_of": ["a"]}),
        json!({"type": "object"}),
        json!({"recent": {"older_by_at_most": "1h"}}),
        json!({"compare": {"is": "below", "to": "g"}}),
    ] {
        holds_for(check, values![null], &[]);
    }
}

#[test]
fn types_are_those_of_json_and_times() {
    let of = |name: &str| json!({"type": name});
    holds_for(of("string"), values!["", "2026-03-01", "x"], values![1, true, [], {}]);
    holds_for(of("number"), values![1, 1.5, 1e300], values!["1", true, []]);
    holds_for(of("integer"), values![1, (-5)], values![1.5, "1"]);
    holds_for(of("boolean"), values![true, false], values![0, "true"]);
    holds_for(of("object"), values![{}, {"a": 1}], values![[], "x", 1]);
    holds_for(of("array"), values![[], [1]], values![{}, "x"]);
    holds_for(of("timestamp"), values!["2026-03-01T12:00:00Z"], values!["2026-03-01", 1, "x"]);
    holds_for(of("date"), values!["2026-03-01"], values!["2026-02-30", 20260301]);
}

#[test]
fn ranges_have_inclusive_and_exclusive_limits() {
    let range = json!({"range": {"at_least": 0, "below": 10}});
    holds_for(range, values![0, 9.99], values![(-0.01), 10, "5"]);
    holds_for(json!({"range": {"above": 0, "at_most": 10}}), values![0.01, 10], values![0, 10.01]);
}

#[test]
fn lengths_count_characters() {
    let length = json!({"length": {"at_least": 2, "at_most": 3}});
    holds_for(length, values!["ab", "äöü", "日本語"], values!["a", "abcd", "é", 12]);
}

#[test]
fn patterns_match_anywhere_unless_anchored() {
    holds_for(json!({"pattern": "b+"}), values!["abc"], values!["ac", 1]);
    holds_for(json!({"pattern": "^[A-Z]{3}$"}), values!["EUR"], values!["EURO", "eur", "€UR"]);
}

#[test]
fn enumerations_are_exact() {
    holds_for(json!({"one_of": ["EUR", "USD"]}), values!["EUR", "USD"], values!["eur", "", 1]);
}

#[test]
fn fields_compare_as_numbers_text_times_and_dates() {
    let verdicts = |compare: Value, pairs: Value| -> Vec<bool> {
        let config = json!({"always":
            [{"id": "r", "field": "a", "check": {"compare": compare}}]});
        let pairs = pairs.as_array().unwrap().iter();
        let records = pairs.map(|pair| json!({"a": pair[0], "b": pair[1]})).collect();
        let outcomes = testing::run::<Validate>(config, records);
        outcomes.iter().map(|outcome| outcome.verdict == Verdict::Emit).collect()
    };
    let numbers = json!([[1, 2], [2, 2], [3, 2], [1, null], ["1", 2]]);
    let compare = |is: &str| json!({"is": is, "to": "b"});
    assert_eq!(verdicts(compare("below"), numbers.clone()), [true, false, false, true, false]);
    assert_eq!(verdicts(compare("at_most"), numbers.clone()), [true, true, false, true, false]);
    assert_eq!(verdicts(compare("equal_to"), numbers.clone()), [false, true, false, true, false]);
    assert_eq!(
        verdicts(compare("different_from"), numbers.clone()),
        [true, false, true, true, false]
    );
    assert_eq!(verdicts(compare("at_least"), numbers.clone()), [false, true, true, true, false]);
    assert_eq!(verdicts(compare("above"), numbers), [false, false, true, true, false]);
    let texts = json!({"is": "equal_to", "to": "b", "as": "text"});
    assert_eq!(verdicts(texts, json!([["x", "x"], ["x", "y"]])), [true, false]);
    let times = json!({"is": "at_most", "to": "b", "as": "timestamp"});
    let pairs = json!([
        ["2026-03-01T10:00:00Z", "2026-03-01T11:30:00+01:00"],
        ["2026-03-01T10:00:00Z", "2026-03-01T10:30:00+01:00"],
    ]);
    assert_eq!(verdicts(times, pairs), [true, false]);
    let dates = json!({"is": "below", "to": "b", "as": "date"});
    assert_eq!(verdicts(dates, json!([["2026-02-28", "2026-03-01"]])), [true]);
}

#[test]
fn recent_is_judged_by_the_batch_time() {
    let config = json!({"always": [{"id": "age", "field": "t", "check":
        {"recent": {"older_by_at_most": "24h", "ahead_by_at_most": "5m"}}}]});
    let mut harness = Harness::<Validate>::new(config).unwrap().at("2026-03-02T12:00:00Z");
    let outcomes = harness.run(json!([
        {"t": "2026-03-01T12:00:00Z"}, {"t": "2026-03-01T11:59:59Z"},
        {"t": "2026-03-02T12:05:00Z"}, {"t": "2026-03-02T12:05:01Z"}, {"t": "yesterday"},
    ]));
    let rejected: Vec<_> = outcomes.iter().map(|o| o.verdict == Verdict::Reject).collect();
    assert_eq!(rejected, [false, true, false, true, true]);
    assert_eq!(outcomes[4].findings[0].detail, "malformed");
    assert_eq!(harness.description().rules[0].dimension, Dimension::Timeliness);
}

#[test]
fn rules_apply_by_type_and_by_condition() {
    let config = json!({
        "always": [{"id": "type-known", "field": "kind", "check": {"one_of": ["a", "b"]},
                    "severity": "warn"}],
        "by_type": {"field": "kind", "rules": {
            "a": [{"id": "a-n", "field": "n", "check": "required"}],
            "b": [
                {"id": "b-failed-code", "field": "code", "check": "required",
                 "when": {"field": "status", "equals": "failed"}},
                {"id": "b-code-reason", "field": "reason", "check": "required",
                 "when": {"field": "code", "exists": true}},
                {"id": "b-retries", "field": "retries", "check": {"range": {"at_most": 3}},
                 "when": {"field": "status", "in": ["failed", "late"]}},
                {"id": "b-paid", "field": "amount", "check": "required",
                 "when": {"field": "paid", "equals": true}},
                {"id": "b-seven", "field": "x", "check": "required",
                 "when": {"field": "level", "equals": 7}},
            ],
        }},
    });
    let outcomes = testing::run::<Validate>(
        config,
        json!([
            {"kind": "a"},
            {"kind": "a", "n": 1},
            {"kind": "b", "status": "failed"},
            {"kind": "b", "code": 7},
            {"kind": "b", "status": "late", "retries": 4},
            {"kind": "b", "status": "fine", "retries": 4},
            {"kind": "b", "paid": true, "level": 7},
            {"kind": "c"},
        ]),
    );
    let rules: Vec<_> = outcomes.iter().map(|outcome| outcome.rules()).collect();
    let expected: [&[&str]; 8] = [
        &["a-n"],
        &[],
        &["b-failed-code"],
        &["b-code-reason"],
        &["b-retries"],
        &[],
        &["b-paid", "b-seven"],
        &["type-known"],
    ];
    assert_eq!(rules, expected);
    assert_eq!(outcomes[7].verdict, Verdict::Emit, "a warning lets the record go on");
}

#[test]
fn the_first_finding_of_a_rejected_record_is_what_rejects_it() {
    let config = json!({"always": [
        {"id": "nice", "field": "n", "check": {"range": {"below": 10}}, "severity": "warn"},
        {"id": "must", "field": "n", "check": {"range": {"below": 100}}},
    ]});
    let outcomes = testing::run::<Validate>(config, json!([{"n": 1000}, {"n": 50}]));
    assert_eq!(outcomes[0].rules(), ["must", "nice"]);
    assert_eq!(outcomes[1].rules(), ["nice"]);
}

#[test]
fn a_record_that_breaks_everything_has_the_findings_that_a_host_takes() {
    let rule = |i: usize| json!({"id": format!("r{i}"), "field": "f", "check": "required"});
    let rules: Vec<Value> = (0..40).map(rule).collect();
    let outcomes = testing::run::<Validate>(json!({"always": rules}), json!([{}, {"f": 1}, {}]));
    let counts: Vec<_> = outcomes.iter().map(|outcome| outcome.findings.len()).collect();
    assert_eq!(counts, [16, 0, 16]);
    assert_eq!(outcomes[2].verdict, Verdict::Reject);
}

#[test]
fn presence_rules_use_columns_that_are_read_anyway() {
    let config = json!({"always": [
        {"id": "there", "field": "n", "check": "required"},
        {"id": "number", "field": "n", "check": {"type": "number"}},
        {"id": "range", "field": "n", "check": {"range": {"above": 0}}},
        {"id": "text", "field": "s", "check": {"type": "string"}},
        {"id": "one", "field": "s", "check": {"one_of": ["a"]}},
    ]});
    let harness = Harness::<Validate>::new(config).unwrap();
    assert_eq!(harness.description().reads.len(), 2);
    let ids: Vec<_> = harness.description().rules.iter().map(|rule| &*rule.id).collect();
    assert_eq!(ids, ["there", "number", "range", "text", "one"], "rules keep their order");
}

#[test]
fn rules_say_what_they_are_about() {
    let config = json!({"always": [
        {"id": "a", "field": "x.y", "check": {"range": {"at_least": 0, "below": 5}}},
        {"id": "b", "field": "z", "check": "required", "severity": "warn", "text": "needs a z",
         "dimension": "accuracy"},
    ]});
    let harness = Harness::<Validate>::new(config).unwrap();
    let [a, b] = &harness.description().rules[..] else { panic!("two rules") };
    assert_eq!(a.text, "`x.y` is a number at least 0 and below 5");
    assert_eq!((a.dimension, a.severity), (Dimension::Validity, Severity::Reject));
    assert_eq!((b.dimension, b.severity), (Dimension::Accuracy, Severity::Warn));
    assert_eq!(b.text, "needs a z");
}

#[test]
fn a_config_that_makes_no_sense_is_refused_with_its_place() {
    let rule = |check: Value| json!({"always": [{"id": "r", "field": "f", "check": check}]});
    let cases = [
        (rule(json!({"range": {}})), "/always/0/check/range"),
        (rule(json!({"pattern": "("})), "/always/0/check/pattern"),
        (rule(json!({"one_of": []})), "/always/0/check/one_of"),
        (rule(json!({"length": {"at_least": 3, "at_most": 2}})), "/always/0/check/length"),
        (rule(json!({"recent": {}})), "/always/0/check/recent"),
        (
            rule(json!({"recent": {"older_by_at_most": "1 day"}})),
            "/always/0/check/recent/older_by_at_most",
        ),
        (rule(json!({"range": {"minimum": 1}})), "/always/0/check/range/minimum"),
        (
            json!({"always": [{"id": "r", "field": "f", "check": "required", "when": {"field": "g"}}]}),
            "/always/0/when",
        ),
        (
            json!({"by_type": {"field": "t", "rules": {"a/b": [
                {"id": "r", "field": "f", "check": "required"},
                {"id": "r", "field": "g", "check": "required"},
            ]}}}),
            "/by_type/rules/a~1b/1/id",
        ),
    ];
    for (config, pointer) in cases {
        let error = Harness::<Validate>::new(config.clone()).expect_err(pointer);
        assert_eq!(error.pointer, pointer, "{error}");
    }
}
