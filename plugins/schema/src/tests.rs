use serde_json::{Value, json};
use tidegate_plugin::testing::{self, Harness, Outcome};

use super::*;

fn against(schema: Value, records: Value) -> Vec<Outcome> {
    testing::run::<Schema>(json!({"checks": [{"id": "s", "schema": schema}]}), records)
}

fn details(outcome: &Outcome) -> Vec<&str> {
    outcome.findings.iter().map(|finding| &*finding.detail).collect()
}

fn refused(config: Value) -> ConfigError {
    Harness::<Schema>::new(config).expect_err("the config is refused")
}

/// A JSON text as it is: the macro would make floats of its numbers.
fn exactly(text: &str) -> Value {
    text.parse().unwrap()
}

#[test]
fn findings_name_the_place_and_the_keyword_and_never_the_value() {
    let schema = json!({
        "type": "object",
        "required": ["sku"],
        "properties": {
            "sku": {"type": "string", "pattern": "^[A-Z]+$"},
            "lines": {"items": {"properties": {"price": {"maximum": 10}}}},
            "status": {"enum": ["open", "paid"]},
        },
        "additionalProperties": false,
    });
    let outcomes = against(
        schema,
        json!([
            {"sku": "A", "lines": [{"price": 10}]},
            {"lines": [{"price": 1}, {"price": 4711}]},
            {"sku": "secret", "status": "secret", "secret": 1},
            "secret",
        ]),
    );
    let verdicts: Vec<_> = outcomes.iter().map(|outcome| outcome.verdict).collect();
    assert_eq!(verdicts, [Verdict::Emit, Verdict::Reject, Verdict::Reject, Verdict::Reject]);
    assert_eq!(details(&outcomes[1]), ["/lines/1/price: maximum", "the whole: required `sku`"]);
    assert_eq!(
        details(&outcomes[2]),
        ["/sku: pattern", "/status: enum", "the whole: additionalProperties"]
    );
    assert_eq!(details(&outcomes[3]), ["the whole: type"]);
    let shown =
        format!("{:?}", outcomes.iter().map(|outcome| &outcome.findings).collect::<Vec<_>>());
    assert!(!shown.contains("secret") && !shown.contains("4711"), "{shown}");
}

#[test]
fn numbers_are_compared_as_they_are_written() {
    let integer = json!({"type": "integer"});
    let whole = exactly("[1.0, 1e2, 123456789012345678901234567890, -0.0]");
    assert!(against(integer.clone(), whole).iter().all(|outcome| outcome.findings.is_empty()));
    let broken = exactly("[1.5, 12345678901234567890.5, 1e-1]");
    assert!(against(integer, broken).iter().all(|outcome| outcome.verdict == Verdict::Reject));

    let above = exactly("[9007199254740992, 9007199254740993, 18446744073709551617]");
    let outcomes = against(exactly(r#"{"maximum": 9007199254740992}"#), above);
    let verdicts: Vec<_> = outcomes.iter().map(|outcome| outcome.verdict).collect();
    assert_eq!(verdicts, [Verdict::Emit, Verdict::Reject, Verdict::Reject]);

    let outcomes = against(exactly(r#"{"multipleOf": 0.1}"#), exactly("[0.3, 1.15, 4.02]"));
    let verdicts: Vec<_> = outcomes.iter().map(|outcome| outcome.verdict).collect();
    assert_eq!(verdicts, [Verdict::Emit, Verdict::Reject, Verdict::Reject]);

    let outcomes = against(exactly(r#"{"const": 1}"#), exactly("[1, 1.0, 1.5]"));
    let verdicts: Vec<_> = outcomes.iter().map(|outcome| outcome.verdict).collect();
    assert_eq!(verdicts, [Verdict::Emit, Verdict::Emit, Verdict::Reject]);
}

#[test]
fn a_field_that_is_missing_is_not_checked_and_a_null_is() {
    let config = json!({"checks": [{"id": "s", "field": "a.b", "schema": {"type": "string"}}]});
    let outcomes = testing::run::<Schema>(
        config,
        json!([{}, {"a": 1}, {"a": {"b": null}}, {"a": {"b": "x"}}, {"a": {"b": 1}}]),
    );
    let broken: Vec<_> = outcomes.iter().map(|outcome| !outcome.findings.is_empty()).collect();
    assert_eq!(broken, [false, false, true, false, true]);
}

#[test]
fn what_rejects_is_named_before_what_warns() {
    let config = json!({"checks": [
        {"id": "warns", "field": "a", "schema": {"type": "string"}, "severity": "warn"},
        {"id": "fine", "field": "a", "schema": true},
        {"id": "rejects", "field": "b", "schema": false},
    ]});
    let outcomes = testing::run::<Schema>(config, json!([{"a": 1, "b": 1}, {"a": 1}]));
    assert_eq!(outcomes[0].rules(), ["rejects", "warns"]);
    assert_eq!(outcomes[0].verdict, Verdict::Reject);
    assert_eq!(outcomes[1].rules(), ["warns"]);
    assert_eq!(outcomes[1].verdict, Verdict::Emit);
}

#[test]
fn at_most_sixteen_findings_are_kept() {
    let outcomes =
        against(json!({"items": {"type": "string"}}), json!([(0..50).collect::<Vec<_>>()]));
    assert_eq!(outcomes[0].findings.len(), 16);
    assert_eq!(outcomes[0].verdict, Verdict::Reject);
}

#[test]
fn a_long_place_is_cut() {
    let name = "ä".repeat(500);
    let outcomes = against(json!({"additionalProperties": {"type": "string"}}), json!([{name: 1}]));
    assert!(outcomes[0].findings[0].detail.len() <= PLACE_BYTES_MAX + ": type".len());
}

#[test]
fn formats_are_checked_where_that_is_asked_for() {
    let check = |formats: bool| {
        let schema = json!({"format": "ipv4"});
        let config = json!({"checks": [{"id": "s", "schema": schema, "formats": formats}]});
        testing::run::<Schema>(config, json!(["300.1.1.1"]))[0].verdict
    };
    assert_eq!((check(false), check(true)), (Verdict::Emit, Verdict::Reject));
}

#[test]
fn a_schema_refers_to_given_documents_and_nothing_is_fetched() {
    let checks = json!([{"id": "s", "schema": {"$ref": "https://example.com/text.json"}}]);
    let documents = json!({"https://example.com/text.json": {"type": "string"}});
    let outcomes =
        testing::run::<Schema>(json!({"checks": checks, "documents": documents}), json!(["x", 1]));
    assert_eq!(outcomes[0].verdict, Verdict::Emit);
    assert_eq!(details(&outcomes[1]), ["the whole: type"]);

    let error = refused(json!({"checks": checks}));
    assert!(error.pointer.starts_with("/checks/0/schema"), "{error}");
    assert!(error.message.contains("https://example.com/text.json"), "{error}");
    assert!(error.message.contains("put the document under `documents`"), "{error}");
}

#[test]
fn drafts_differ_and_are_named() {
    let exclusive = json!({"maximum": 3, "exclusiveMaximum": true});
    let config = json!({"checks": [{"id": "s", "schema": exclusive, "draft": "draft-04"}]});
    assert_eq!(testing::run::<Schema>(config, json!([3]))[0].verdict, Verdict::Reject);
    let said = json!({"$schema": "http://json-schema.org/draft-04/schema#", "maximum": 3, "exclusiveMaximum": true});
    assert_eq!(against(said, json!([3]))[0].verdict, Verdict::Reject);
    let error = refused(json!({"checks": [{"id": "s", "schema": exclusive}]}));
    assert_eq!(error.pointer, "/checks/0/schema/exclusiveMaximum");
}

#[test]
fn bad_configs_say_where() {
    let schema = json!({"properties": {"a": {"type": "strin"}}});
    let error = refused(json!({"checks": [{"id": "s", "schema": schema}]}));
    assert_eq!(error.pointer, "/checks/0/schema/properties/a/type");
    let error = refused(json!({"checks": [{"id": "s", "schema": {"pattern": "("}}]}));
    assert!(error.pointer.starts_with("/checks/0/schema"), "{error}");
    let twice = json!([{"id": "s", "schema": true}, {"id": "s", "schema": true}]);
    assert_eq!(refused(json!({"checks": twice})).pointer, "/checks/1/id");
    assert_eq!(refused(json!({"checks": []})).pointer, "/checks");
    assert_eq!(refused(json!({"checks": [{"id": "s", "schema": 3}]})).pointer, "/checks/0/schema");
    let error = refused(json!({"checks": [{"id": "s", "schema": {"$ref": "#/nowhere"}}]}));
    assert!(error.pointer.starts_with("/checks/0/schema"), "{error}");
}

#[test]
fn a_schema_that_refers_to_itself_for_ever_ends() {
    for schema in [
        json!({"$ref": "#"}),
        json!({"allOf": [{"$ref": "#"}]}),
        json!({"not": {"$ref": "#"}}),
        json!({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}),
        json!({"$dynamicAnchor": "x", "anyOf": [{"$dynamicRef": "#x"}]}),
    ] {
        assert_eq!(against(schema, json!([1, {"a": [[]]}])).len(), 2);
    }
}

#[test]
fn half_a_surrogate_pair_is_a_finding() {
    assert!(parse(r#"{"a": "\ud800"}"#).is_none());
    let deep = format!("{}{}", "[".repeat(128), "]".repeat(128));
    assert!(parse(&deep).is_some(), "as deep as a host lets it be");
}
