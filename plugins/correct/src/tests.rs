use serde_json::{Value as Json, json};
use tidegate_plugin::{
    Severity,
    testing::{self, Harness},
};

use super::*;

const NULL: Json = Json::Null;

/// What a step makes of a value, and whether it says so.
fn corrected(step: Json, value: Json) -> Json {
    let config = json!({"corrections": [{"field": "a", "do": step}]});
    let outcome = testing::run::<Correct>(config, json!([{"a": value, "b": " x "}])).remove(0);
    let after = outcome.record()["a"].clone();
    assert_eq!(outcome.record()["b"], " x ");
    assert_eq!(outcome.findings.len(), usize::from(after != value), "a change is a finding");
    assert!(outcome.findings.iter().all(|finding| finding.detail.is_empty()));
    after
}

macro_rules! check {
    ($step:tt: $($value:expr => $expected:expr;)*) => {$(
        let (step, value) = (json!($step), json!($value));
        assert_eq!(corrected(step.clone(), value.clone()), json!($expected), "{step} of {value}");
    )*};
}

#[test]
fn white_space() {
    check! { "trim":
        "  a b\t\n" => "a b"; "\u{a0}ü\u{3000}" => "ü"; "a" => "a"; "" => ""; "  " => "";
        " \"\\ " => "\"\\"; 1 => 1; [" a "] => [" a "];
    }
    check! { "collapse_spaces":
        " a  b\u{a0}c\n" => "a b c"; "a b" => "a b"; "a\tb" => "a b"; "" => ""; " " => "";
    }
}

#[test]
fn case() {
    check! { {"case": "upper"}: "straße 1" => "STRASSE 1"; "A-1" => "A-1"; "É" => "É"; true => true; }
    check! { {"case": "lower"}: "Ärger" => "ärger"; "a-1" => "a-1"; "é" => "é"; }
    check! { {"case": "title"}:
        "o'neil-SMITH ltd" => "O'neil-Smith Ltd"; "O'Neil" => "O'neil"; "élan vital" => "Élan Vital";
        "2nd row" => "2nd Row"; "'tis" => "'Tis"; "Fine Already" => "Fine Already";
    }
}

#[test]
fn what_means_nothing_and_what_is_missing() {
    check! { {"null_if": ["", "N/A"]}: "" => NULL; "N/A" => NULL; "n/a" => "n/a"; 0 => 0; }
    check! { {"default": "unknown"}: NULL => "unknown"; "" => ""; 0 => 0; [1] => [1]; }
    check! { {"default": 1}: NULL => 1; }
    check! { {"default": 1.5}: NULL => 1.5; }
    check! { {"default": 2.0}: NULL => 2.0; }
    check! { {"default": false}: NULL => false; true => true; }
    let config = json!({"corrections": [{"field": "a.b", "do": {"default": "x\"y"}}]});
    let outcomes =
        testing::run::<Correct>(config, json!([{}, {"a": {"b": null}}, {"a": {"b": 1}}]));
    assert_eq!(*outcomes[0].record(), json!({"a": {"b": "x\"y"}}));
    assert_eq!(*outcomes[1].record(), json!({"a": {"b": "x\"y"}}));
    assert_eq!(*outcomes[2].record(), json!({"a": {"b": 1}}));
    assert_eq!(outcomes[0].rules(), ["default:a.b"]);
}

#[test]
fn spelling_and_limits() {
    check! { {"spelling": {"Germny": "Germany", "UK": "UK"}}:
        "Germny" => "Germany"; "Germany" => "Germany"; "UK" => "UK"; "germny" => "germny"; 1 => 1;
    }
    check! { {"clamp": {"at_least": 0, "at_most": 100.5}}:
        -1 => 0; 0 => 0; 50.25 => 50.25; 100.5 => 100.5; 101 => 100.5; 1e300 => 100.5; "200" => "200";
    }
    check! { {"clamp": {"at_least": 1}}: 0.5 => 1; 7 => 7; NULL => NULL; }
}

#[test]
fn types() {
    check! { {"number": {}}:
        "12" => 12; "12.5" => 12.5; "+007" => 7; "1,5" => "1,5"; "" => ""; 5 => 5; true => true;
        "0.12345678901234567890" => "0.12345678901234567890";
    }
    check! { {"number": {"decimal": ",", "group": "."}}: "1.234,5" => 1234.5; "1.5" => "1.5"; }
    check! { {"number": {"whole": true}}: "12" => 12; "12.0" => "12.0"; }
    check! { {"boolean": {}}: "true" => true; "FALSE" => false; "yes" => "yes"; 1 => 1; }
    check! { {"boolean": {"for_true": ["yes", "1"], "for_false": ["no", "0"]}}:
        "Yes" => true; "0" => false; "true" => "true"; true => true;
    }
    check! { "text": 12 => "12"; -1.5 => "-1.5"; true => "true"; "x" => "x"; json!({}) => json!({}); NULL => NULL; }
}

#[test]
fn dates_and_times() {
    check! { {"date": {"from": ["%d.%m.%Y", "%m/%d/%Y"]}}:
        "1.3.2026" => "2026-03-01"; "12/31/2010" => "2010-12-31"; "2026-03-01" => "2026-03-01";
        "31.4.2026" => "31.4.2026"; 20260301 => 20260301;
    }
    check! { {"timestamp": {"from": ["%Y-%m-%d %H:%M:%S"], "offset": "+01:00", "unix": "seconds"}}:
        "2010-12-01 08:26:00" => "2010-12-01T07:26:00Z";
        "2010-12-01T08:26:00+05:00" => "2010-12-01T08:26:00+05:00";
        1772366400 => "2026-03-01T12:00:00Z"; 1772366400.25 => "2026-03-01T12:00:00.250Z";
        1e300 => 1e300; "soon" => "soon";
    }
    check! { {"timestamp": {"unix": "milliseconds"}}: 1772366400123_i64 => "2026-03-01T12:00:00.123Z"; }
}

#[test]
fn corrections_of_a_field_are_made_in_order_and_each_is_said() {
    let config = json!({"corrections": [
        {"field": "country", "do": "trim"},
        {"field": "country", "do": {"case": "lower"}, "severity": "warn", "id": "country-case"},
        {"field": "quantity", "do": "trim"},
        {"field": "country", "do": {"spelling": {"u.k.": "United Kingdom"}}},
        {"field": "country", "do": {"null_if": [""]}},
        {"field": "country", "do": {"default": "unknown"}},
        {"field": "quantity", "do": {"number": {}}},
        {"field": "quantity", "do": {"clamp": {"at_least": 0}}},
    ]});
    let mut harness = Harness::<Correct>::new(config).unwrap();
    let severity = |harness: &Harness<Correct>, i: usize| harness.description().rules[i].severity;
    assert_eq!((severity(&harness, 0), severity(&harness, 1)), (Severity::Info, Severity::Warn));
    assert_eq!(harness.description().reads.len(), 2, "a field is read once");
    let outcomes = harness.run(json!([
        {"country": " U.K. ", "quantity": " -3"},
        {"country": "  ", "quantity": 5},
        {"country": "spain", "quantity": "3"},
        {"country": {"code": "ES"}, "quantity": []},
    ]));
    assert_eq!(*outcomes[0].record(), json!({"country": "United Kingdom", "quantity": 0}));
    let all = [
        "trim:country",
        "country-case",
        "spelling:country",
        "trim:quantity",
        "number:quantity",
        "clamp:quantity",
    ];
    assert_eq!(outcomes[0].rules(), all);
    assert_eq!(*outcomes[1].record(), json!({"country": "unknown", "quantity": 5}));
    assert_eq!(outcomes[1].rules(), ["trim:country", "null_if:country", "default:country"]);
    assert_eq!(*outcomes[2].record(), json!({"country": "spain", "quantity": 3}));
    assert_eq!(*outcomes[3].record(), json!({"country": {"code": "ES"}, "quantity": []}));
    assert!(outcomes[3].findings.is_empty());
}

#[test]
fn a_field_that_needs_no_correction_is_left_as_it_is() {
    let config = json!({"corrections": [{"field": "a", "do": "trim"}]}).to_string();
    let (plugin, _) = tidegate_plugin::configure::<Correct>(&config).unwrap();
    // An escape that needs none, and half a character, which is no text to be trimmed.
    let bytes = r#""\u0061"" \ud800""#;
    let text = tidegate_plugin::batch::Text { offsets: &[0, 8, 17], bytes };
    let values = tidegate_plugin::batch::Values::Json(text);
    let column = tidegate_plugin::batch::Column { values, presence: &[] };
    let batch = Batch { rows: 2, columns: &[column], states: Default::default() };
    let reply = plugin.transform(&batch);
    assert_eq!(reply.columns[0].presence, [1, 1]);
    assert!(reply.findings.is_empty());
}

#[test]
fn more_corrections_than_a_host_takes_findings_for_are_all_made() {
    let fields: Vec<String> = (0..20).map(|i| format!("f{i}")).collect();
    let corrections: Json = fields.iter().map(|it| json!({"field": it, "do": "trim"})).collect();
    let record: serde_json::Map<_, _> = fields.iter().map(|it| (it.clone(), json!(" x"))).collect();
    let config = json!({"corrections": corrections});
    let outcome = testing::run::<Correct>(config, json!([record])).remove(0);
    assert_eq!(outcome.findings.len(), 16);
    assert!(outcome.record().as_object().unwrap().values().all(|value| value == "x"));
}

/// Real order lines: what is dirty in them is corrected, and no other byte of a field changes.
#[test]
fn retail_order_lines() {
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/retail/2010-12-01.csv");
    let Ok(csv) = std::fs::read_to_string(data) else {
        eprintln!("SKIPPED: retail_order_lines: shared/data is absent");
        return;
    };
    let config = json!({"corrections": [
        {"field": "description", "do": "collapse_spaces"},
        {"field": "at", "do": {"timestamp": {"from": ["%Y-%m-%d %H:%M:%S"]}}},
        {"field": "quantity", "do": {"number": {"whole": true}}},
        {"field": "price", "do": {"number": {}}},
    ]});
    // Lines without a quoted cell: the columns are then what stands between the commas.
    let lines = csv.lines().skip(1).filter(|line| !line.contains('"'));
    let records: Vec<Json> = lines
        .map(|line| line.split(',').collect::<Vec<_>>())
        .map(|it| json!({"description": it[2], "quantity": it[3], "at": it[4], "price": it[5]}))
        .collect();
    assert!(records.len() > 1_000, "{}", records.len());
    let outcomes = testing::run::<Correct>(config, Json::from(records.clone()));
    let mut spaced = 0;
    for (before, outcome) in records.iter().zip(&outcomes) {
        let text = |key: &str| before[key].as_str().unwrap();
        let after = outcome.record();
        assert_eq!(after["quantity"], text("quantity").parse::<i64>().unwrap());
        assert_eq!(after["price"], serde_json::from_str::<Json>(text("price")).unwrap());
        assert_eq!(after["at"], text("at").replace(' ', "T") + "Z");
        let words: Vec<&str> = text("description").split_whitespace().collect();
        assert_eq!(after["description"], words.join(" "));
        spaced += usize::from(outcome.rules().contains(&"collapse_spaces:description"));
    }
    assert!(spaced > 10, "{spaced} descriptions had spaces too many");
}

#[test]
fn a_config_that_makes_no_sense_is_refused_with_its_place() {
    let refused =
        |config: Json| Harness::<Correct>::new(config).expect_err("it is refused").pointer;
    let step = |step: Json| refused(json!({"corrections": [{"field": "a", "do": step}]}));
    let second = |field: &str, change: Json| {
        let mut correction = json!({"field": field, "do": "trim"});
        correction.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        refused(json!({"corrections": [{"field": "a.b", "do": "trim"}, correction]}))
    };
    assert_eq!(refused(json!({"corrections": []})), "/corrections");
    assert_eq!(second("$", json!({})), "/corrections/1/field");
    assert_eq!(second("a", json!({})), "/corrections/1/field");
    assert_eq!(second("a.b.c", json!({})), "/corrections/1/field");
    assert_eq!(second("a.b", json!({})), "/corrections/1/id");
    assert_eq!(second("c", json!({"id": ""})), "/corrections/1/id");
    assert_eq!(second("c", json!({"severity": "reject"})), "/corrections/1/severity");
    for (wrong, at) in [
        (json!({"null_if": []}), "null_if"),
        (json!({"spelling": {}}), "spelling"),
        (json!({"number": {"decimal": "1"}}), "number"),
        (json!({"number": {"decimal": ".", "group": "."}}), "number"),
        (json!({"boolean": {"for_true": [], "for_false": []}}), "boolean"),
        (json!({"boolean": {"for_true": ["x"], "for_false": ["X"]}}), "boolean"),
        (json!({"date": {"from": []}}), "date/from"),
        (json!({"date": {"from": ["%Y-%m"]}}), "date/from/0"),
        (json!({"date": {"from": ["%Y-%m-%d %H"]}}), "date/from/0"),
        (json!({"date": {"from": ["%Q"]}}), "date/from/0"),
        (json!({"timestamp": {}}), "timestamp"),
        (json!({"timestamp": {"from": ["%H:%M"]}}), "timestamp/from/0"),
        (json!({"timestamp": {"unix": "seconds", "offset": "2h"}}), "timestamp/offset"),
        (json!({"clamp": {}}), "clamp"),
        (json!({"clamp": {"at_least": 2, "at_most": 1}}), "clamp"),
    ] {
        assert_eq!(step(wrong), format!("/corrections/0/do/{at}"));
    }
}
