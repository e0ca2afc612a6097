use serde_json::{Value as Json, json};
use tidegate_plugin::testing::{self, Finding, Harness, Outcome};

use super::*;

fn check(expression: &str, records: Json) -> Vec<Outcome> {
    testing::run::<Rules>(json!({"rules": [{"id": "r", "check": expression}]}), records)
}

/// What an expression says of each record: `yes`, `no`, or why it says nothing.
fn says(expression: &str, records: Json) -> Vec<String> {
    let outcomes = check(expression, records);
    let said = outcomes.iter().map(|outcome| match &outcome.findings[..] {
        [] => "yes".to_owned(),
        [Finding { detail, .. }] if detail.is_empty() => "no".to_owned(),
        [Finding { detail, .. }] => detail.clone(),
        more => panic!("{more:?}"),
    });
    said.collect()
}

fn refused(config: Json) -> ConfigError {
    Harness::<Rules>::new(config).expect_err("the config is refused")
}

fn refused_check(expression: &str) -> String {
    let error = refused(json!({"rules": [{"id": "r", "check": expression}]}));
    assert_eq!(error.pointer, "/rules/0/check", "{error}");
    error.message
}

/// The reads of a check: `path: kind`.
fn reads(expression: &str) -> Vec<String> {
    let config = json!({"rules": [{"id": "r", "check": expression}]});
    let harness = Harness::<Rules>::new(config).unwrap_or_else(|error| panic!("{error}"));
    let read = |read: &tidegate_plugin::Read| match &read.from {
        tidegate_plugin::Origin::Field(path) => format!("{path}: {}", read.kind),
        other => panic!("{other:?}"),
    };
    harness.description().reads.iter().map(read).collect()
}

#[test]
fn reads_and_their_kinds_follow_from_expressions() {
    assert_eq!(reads("amount > 100"), ["amount: float64"]);
    assert_eq!(reads("100 < amount && amount < 200.0"), ["amount: float64"]);
    assert_eq!(reads("merchant.id != ''"), ["merchant.id: utf8"]);
    assert_eq!(reads("items[0].sku.startsWith('A')"), ["items[0].sku: utf8"]);
    assert_eq!(reads("tags['a.b'] in ['x', 'y']"), ["tags['a.b']: utf8"]);
    assert_eq!(reads("count % 2 == 0 && count > 1"), ["count: int64"]);
    assert_eq!(reads("count > 1 && count % 2 == 0"), ["count: int64"]);
    assert_eq!(reads("!is_test || is_paid"), ["is_test: boolean", "is_paid: boolean"]);
    assert_eq!(reads("has(a.b)"), ["a.b: boolean"]);
    assert_eq!(reads("has(a.b) && a.b > 1"), ["a.b: float64"]);
    assert_eq!(reads("a == b && b > 1"), ["a: float64", "b: float64"]);
    assert_eq!(reads("a == b"), ["a: json", "b: json"]);
    assert_eq!(
        reads("items.all(i, i.price > 0 && i.price < limit)"),
        ["items: json", "limit: json"]
    );
    assert_eq!(reads("'x' in tags"), ["tags: json"]);
    assert_eq!(reads("size(name) > 3"), ["name: json"]);
    assert_eq!(reads("price * quantity > 10"), ["price: float64", "quantity: float64"]);
    assert_eq!(reads("(is_big ? a : b) > 1.5"), ["is_big: boolean", "a: float64", "b: float64"]);
}

#[test]
fn what_is_missing_null_or_of_another_type_has_no_order() {
    let records = json!([{"a": 2}, {"a": 1}, {}, {"a": null}, {"a": "x"}]);
    assert_eq!(
        says("a > 1", records.clone()),
        ["yes", "no", "`a` is missing", "`a` is null", "`a` is of another type"]
    );
    // Equality is with any value that is there.
    assert_eq!(says("a == 1", records.clone()), ["no", "yes", "`a` is missing", "no", "no"]);
    assert_eq!(says("a != 1", records.clone()), ["yes", "no", "`a` is missing", "yes", "yes"]);
    assert_eq!(says("a in [1, 2]", records.clone()), ["yes", "yes", "`a` is missing", "no", "no"]);
    assert_eq!(says("a == null", records.clone()), ["no", "no", "`a` is missing", "yes", "no"]);
    assert_eq!(says("has(a)", records.clone()), ["yes", "yes", "no", "yes", "yes"]);
    let asked = says("has(a) && a != null && a > 1", records);
    assert_eq!(asked, ["yes", "no", "no", "no", "`a` is of another type"]);
}

#[test]
fn what_decides_hides_what_has_no_result() {
    let records = json!([{"b": true}, {"b": false}]);
    assert_eq!(says("a > 1 || b", records.clone()), ["yes", "`a` is missing"]);
    assert_eq!(says("b || a > 1", records.clone()), ["yes", "`a` is missing"]);
    assert_eq!(says("a > 1 && b", records.clone()), ["`a` is missing", "no"]);
    assert_eq!(says("b ? true : a > 1", records.clone()), ["yes", "`a` is missing"]);
    assert_eq!(says("!(a > 1) || b", records), ["yes", "`a` is missing"]);
}

#[test]
fn arithmetic_is_total() {
    let records = json!([{"a": 5, "b": 0}, {"a": i64::MAX, "b": 2}, {"a": 6, "b": 3}]);
    let config = |check: &str| {
        json!({
            "rules": [{"id": "r", "check": check}],
            "reads": {"a": {"kind": "int64"}, "b": {"kind": "int64"}},
        })
    };
    let said = |check: &str| -> Vec<String> {
        let outcomes = testing::run::<Rules>(config(check), records.clone());
        outcomes
            .iter()
            .map(|outcome| {
                outcome.findings.first().map_or("yes".into(), |finding| finding.detail.clone())
            })
            .collect()
    };
    assert_eq!(said("a / b == 2"), ["it divides by zero", "", "yes"]);
    assert_eq!(said("a % b == 0"), ["it divides by zero", "", "yes"]);
    assert_eq!(said("a * b == 18"), ["", "an integer is beyond 64 bits", "yes"]);
    assert_eq!(said("-a < b + 1"), ["yes", "yes", "yes"]);
    // An integer beside a float is one.
    assert_eq!(said("a * 1.5 == 9.0 && b > 0"), ["", "", "yes"]);
}

#[test]
fn macros_go_over_lists_and_objects() {
    let records = json!([
        {"items": [{"price": 1}, {"price": 2.5}], "tags": ["a", "b"]},
        {"items": [{"price": 0}], "tags": []},
        {"items": [], "tags": ["b"]},
        {"items": [{}], "tags": "b"},
        {"items": 3},
    ]);
    assert_eq!(
        says("items.all(i, i.price > 0)", records.clone()),
        [
            "yes",
            "no",
            "yes",
            "a list or an object lacks what is asked for",
            "an operation does not take such operands"
        ]
    );
    assert_eq!(
        says("'b' in tags", records.clone()),
        ["yes", "no", "yes", "an operation does not take such operands", "`tags` is missing"]
    );
    assert_eq!(says("size(items) > 0", records.clone())[..3], ["yes", "yes", "no"]);
    assert_eq!(says("items.filter(i, i.price > 1.0).size() == 1", records)[..2], ["yes", "no"]);
    let objects = json!([{"o": {"c": 1, "a": 2, "b": 3}}]);
    assert_eq!(says("o.map(k, k) == ['a', 'b', 'c']", objects.clone()), ["yes"]);
    assert_eq!(says("o.all(k, o[k] > 0.0) && size(o) == 3 && 'a' in o", objects), ["yes"]);
}

#[test]
fn texts_are_compared_searched_and_put_together() {
    let records = json!([{"t": "größe", "u": "gr"}]);
    for expression in [
        "t.startsWith('gr') && t.endsWith('e') && t.contains('ö') && !t.contains('x')",
        "size(t) == 5 && t.size() > 4 && t > 'a'",
        "t.startsWith(u) && t != u",
        "u + 'öße' == t",
        "t in ['x', 'größe']",
        "string(size(t)) + '!' == '5!' && t != ''",
    ] {
        assert_eq!(says(expression, records.clone()), ["yes"], "{expression}");
    }
}

#[test]
fn the_functions_that_the_manual_names_are_there() {
    let records = json!([{"t": "x", "l": [1, 2, 2]}]);
    for expression in [
        "int('3') == 3 && int(2.9) == 2 && uint(3) == 3u && double('1.5') == 1.5",
        "string(1.5) == '1.5' && bool('true') && dyn(1) == 1",
        "l.exists_one(e, e == 1.0) && l.map(e, e * 2.0) == [2.0, 4.0, 4.0]",
        "l.filter(e, e > 1.0).size() == 2 && l[0] == 1.0 && size(l) == 3",
        "(t == 'x' ? 1 : 2) == 1 && duration('2m') == 120000000",
    ] {
        assert_eq!(says(expression, records.clone()), ["yes"], "{expression}");
    }
}

#[test]
fn severities_reject_drop_and_warn_in_this_order() {
    let config = json!({"rules": [
        {"id": "warns", "check": "a > 0", "severity": "warn"},
        {"id": "drops", "check": "a > 1", "severity": "drop"},
        {"id": "rejects", "check": "a > 2", "when": "has(a) && b", "message": "a is large"},
    ]});
    let records = json!([{"a": 0, "b": true}, {"a": 0, "b": false}, {"a": 3, "b": true}, {"a": 2, "b": true}]);
    let outcomes = testing::run::<Rules>(config, records);
    let verdicts: Vec<_> = outcomes.iter().map(|outcome| outcome.verdict).collect();
    assert_eq!(verdicts, [Verdict::Reject, Verdict::Drop, Verdict::Emit, Verdict::Reject]);
    assert_eq!(outcomes[0].rules(), ["rejects", "drops", "warns"]);
    assert_eq!(outcomes[1].rules(), ["drops", "warns"]);
}

#[test]
fn a_condition_without_an_answer_breaks_its_rule() {
    let config = json!({"rules": [{"id": "r", "when": "kind == 'x'", "check": "a > 0"}]});
    let records = json!([{"kind": "x", "a": 1}, {"kind": "y"}, {"a": 1}, {"kind": "x"}]);
    let outcomes = testing::run::<Rules>(config, records);
    let details: Vec<Vec<_>> = outcomes
        .iter()
        .map(|outcome| outcome.findings.iter().map(|finding| &*finding.detail).collect())
        .collect();
    assert_eq!(details, [vec![], vec![], vec!["`kind` is missing"], vec!["`a` is missing"]]);
}

#[test]
fn fields_are_computed() {
    let config = json!({"fields": [
        {"write": "total", "kind": "float64", "value": "price * quantity"},
        {"write": "is_large", "kind": "boolean", "value": "price > 100"},
        {"write": "label", "kind": "utf8", "value": "sku + '-' + (price > 100 ? 'L' : 'S')"},
        {"write": "lines", "kind": "int64", "value": "size(items)"},
        {"write": "half", "kind": "int64", "value": "count / 2"},
        {"write": "note", "kind": "utf8", "value": "has(note) ? note : null"},
    ]});
    let records = json!([
        {"price": 150, "quantity": 2, "sku": "A", "items": [1, 2], "count": 7, "note": "n"},
        {"price": "x", "sku": "B"},
    ]);
    let outcomes = testing::run::<Rules>(config, records);
    assert_eq!(
        *outcomes[0].record(),
        json!({
            "price": 150, "quantity": 2, "sku": "A", "items": [1, 2], "count": 7, "note": "n",
            "total": 300.0, "is_large": true, "label": "A-L", "lines": 2, "half": 3,
        })
    );
    assert_eq!(*outcomes[1].record(), json!({"price": "x", "sku": "B", "note": null}));
}

#[test]
fn a_result_that_is_none_is_a_finding_of_its_field() {
    let config = json!({
        "fields": [
            {"write": "x", "kind": "float64", "value": "a / b"},
            {"write": "y", "kind": "int64", "value": "c / 0"},
        ],
        "reads": {"c": {"kind": "int64"}},
    });
    let outcomes = testing::run::<Rules>(config, json!([{"a": 1, "b": 0, "c": 1}]));
    assert_eq!(outcomes[0].rules(), ["computable:x", "computable:y"]);
    assert_eq!(outcomes[0].findings[0].detail, "a number is not finite, or none");
    assert_eq!(outcomes[0].findings[1].detail, "it divides by zero");
    assert_eq!(*outcomes[0].record(), json!({"a": 1, "b": 0, "c": 1}));
}

#[test]
fn names_stand_for_other_paths_and_for_what_the_host_knows() {
    let config = json!({
        "rules": [{"id": "fresh", "check": "now - at < duration('24h') && event.kind == 'sale'"}],
        "reads": {
            "now": {"host": "@batch-time"},
            "at": {"kind": "timestamp", "format": "unix-seconds", "path": "['paid-at']"},
            "event": {"path": "['the event']"},
        },
    });
    let records = json!([
        {"paid-at": 1772366399, "the event": {"kind": "sale"}},
        {"paid-at": 1772266399, "the event": {"kind": "sale"}},
        {"paid-at": 1772366399, "the event": {"kind": "refund"}},
    ]);
    let outcomes = testing::run::<Rules>(config, records);
    let verdicts: Vec<_> = outcomes.iter().map(|outcome| outcome.verdict).collect();
    assert_eq!(verdicts, [Verdict::Emit, Verdict::Reject, Verdict::Reject]);
}

#[test]
fn bad_expressions_say_where_and_what_to_do() {
    let begins = |expression: &str, at: &str, part: &str| {
        let message = refused_check(expression);
        assert!(message.starts_with(at) && message.contains(part), "{expression}: {message}");
        assert!(!message.contains('\n'), "{message}");
    };
    let long_path = format!("has(x{}) && has(y)", ".b".repeat(900));
    assert_eq!(says(&long_path, json!([{"x": {}, "y": 1}])), ["no"], "a path may be long");
    begins("a >", "line 1, column ", "");
    begins("a > 1 &&\n  (b > 2", "line 2, column ", "");
    begins("a > 1 && b.matches('x')", "line 1, column ", "`pattern`");
    begins("true && now() > 1", "line 1, column ", "@batch-time");
    begins("total(a) > 1", "line 1, column ", "there is no function `total`");
    begins(
        "a > 1 &&\n  a.startsWith('x')",
        "line 2, column ",
        "`a` is a number elsewhere and a text here",
    );
    begins("'x' > 1", "line 1, column ", "don't go together");
    begins("a + 1", "line 1, column ", "a number where a boolean is due");
    begins("items.all(i)", "line 1, column ", "items.all(i, i.price > 0.0)");
    begins("duration('a day') > 1", "line 1, column ", "duration(\"15m\")");
    begins("{'a': 1}[x] == 1", "line 1, column 1:", "categorize");
    begins("size(Thing{a: 1}) == 1", "line 1, column ", "messages");
    let deep = format!("{}a{} > 1", "(-".repeat(90), ")".repeat(90));
    begins(&deep, "line 1, column ", "");
    let long = vec!["a"; 300].join(" + ") + " > 1";
    begins(&long, "line 1, column ", "deep");
    let error = refused(json!({"rules": [{"id": "r", "check": "a".repeat(3000)}]}));
    assert!(error.message.contains("longer than 2000 bytes"), "{error}");
}

#[test]
fn bad_configs_say_where() {
    let twice = json!({"rules": [{"id": "r", "check": "a"}, {"id": "r", "check": "b"}]});
    assert_eq!(refused(twice).pointer, "/rules/1/id");
    let field = json!({"write": "x", "kind": "int64", "value": "1"});
    assert_eq!(refused(json!({"fields": [field, field]})).pointer, "/fields/1/write");
    let root = json!({"fields": [{"write": "$", "kind": "int64", "value": "1"}]});
    assert_eq!(refused(root).pointer, "/fields/0/write");
    let wrong = json!({"fields": [{"write": "x", "kind": "int64", "value": "'a'"}]});
    assert_eq!(refused(wrong).pointer, "/fields/0/value");
    let host =
        json!({"rules": [{"id": "r", "check": "now > 1"}], "reads": {"now": {"host": "@time"}}});
    assert!(refused(host).message.contains("@batch-time"));
    assert_eq!(refused(json!({})).pointer, "");
    let unused = json!({"rules": [{"id": "r", "check": "a"}], "reads": {"b": {"kind": "utf8"}}});
    assert_eq!(refused(unused).pointer, "/reads/b");
}

#[test]
fn has_asks_for_any_field() {
    let records = json!([{"a": {"b": 1}, "c": "has(a)"}, {"a": 1, "c": 2}, {}]);
    assert_eq!(says("has(a)", records.clone()), ["yes", "yes", "no"]);
    assert_eq!(says("has(a.b)", records.clone()), ["yes", "no", "no"]);
    assert_eq!(says("!has(a) || (has(c) && has(a['b']))", records.clone()), ["yes", "no", "yes"]);
    assert_eq!(says("'ähas(a)' != '' &&\n has(c) && c == 'has(a)'", records)[..2], ["yes", "no"]);
    let items = json!([{"items": [{"p": 1}, {}]}]);
    assert_eq!(says("items.exists(i, has(i.p)) && !items.all(i, has(i.p))", items), ["yes"]);
}
