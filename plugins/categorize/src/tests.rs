use serde_json::{Value, json};
use tidegate_plugin::{ConfigError, testing};

use super::*;

fn categorized(config: Value, records: Value) -> Vec<Value> {
    testing::run::<Categorize>(config, records)
        .into_iter()
        .map(|outcome| outcome.record().clone())
        .collect()
}

fn refused(config: Value) -> ConfigError {
    testing::Harness::<Categorize>::new(config).expect_err("the config is refused")
}

#[test]
fn a_number_lies_in_the_first_band_that_it_is_below_of() {
    let config = json!({"bands": [{"write": "size", "field": "amount", "bands": [
        {"label": "micro", "below": 10}, {"label": "small", "below": 100},
        {"label": "medium", "below": 1000}, {"label": "large"},
    ]}]});
    let amounts = [-1.0, 0.0, 9.99, 10.0, 99.0, 100.0, 999.99, 1000.0, 1e300];
    let records = amounts.map(|amount| json!({"amount": amount})).into_iter().collect();
    let sizes: Vec<_> =
        categorized(config, records).into_iter().map(|record| record["size"].clone()).collect();
    assert_eq!(
        sizes,
        ["micro", "micro", "micro", "small", "small", "medium", "medium", "large", "large"]
    );
}

#[test]
fn a_number_above_the_last_limit_gets_no_name() {
    let config = json!({"bands": [{"write": "size", "field": "n", "bands": [
        {"label": "low", "below": 0}, {"label": "mid", "below": 10}, {"label": "low", "below": 20},
    ]}]});
    let records = json!([{"n": 15}, {"n": 20}, {"n": "5"}, {}]);
    let expected =
        [json!({"n": 15, "size": "low"}), json!({"n": 20}), json!({"n": "5"}), json!({})];
    assert_eq!(categorized(config, records), expected);
}

#[test]
fn a_row_without_a_number_keeps_what_it_has() {
    let config = json!({
        "bands": [{"write": "size", "field": "n", "bands": [{"label": "any"}]}],
        "flags": [{"write": "high", "field": "n", "above": 1}],
    });
    let records = json!([{"n": null, "size": "kept"}, {"n": 2}]);
    let expected =
        [json!({"n": null, "size": "kept"}), json!({"n": 2, "size": "any", "high": true})];
    assert_eq!(categorized(config, records), expected);
}

#[test]
fn a_word_becomes_what_it_is_mapped_to() {
    let values = json!({"DE": "emea", "FR": "emea", "US": "amer"});
    let with = json!({"mappings":
        [{"write": "region", "field": "country", "values": values, "default": "other"}]});
    let without = json!({"mappings": [{"write": "region", "field": "country", "values": values}]});
    let records = json!([{"country": "FR"}, {"country": "US"}, {"country": "JP"}, {"country": 1}]);
    let regions = |config| -> Vec<Option<String>> {
        let text = |record: Value| record["region"].as_str().map(str::to_owned);
        categorized(config, records.clone()).into_iter().map(text).collect()
    };
    let some = |region: &str| Some(region.to_owned());
    assert_eq!(regions(with), [some("emea"), some("amer"), some("other"), None]);
    assert_eq!(regions(without), [some("emea"), some("amer"), None, None]);
}

#[test]
fn a_flag_holds_when_all_its_limits_do() {
    let config = json!({"flags": [
        {"write": "high", "field": "n", "above": 10},
        {"write": "mid", "field": "n", "at_least": 5, "at_most": 10},
        {"write": "low", "field": "n", "below": 5},
    ]});
    let records = json!([{"n": 4.9}, {"n": 5}, {"n": 10}, {"n": 10.1}]);
    let flags: Vec<_> = categorized(config, records)
        .into_iter()
        .map(|record| ["high", "mid", "low"].map(|flag| record[flag] == true))
        .collect();
    assert_eq!(
        flags,
        [[false, false, true], [false, true, false], [false, true, false], [true, false, false]]
    );
}

#[test]
fn a_field_that_is_used_twice_is_read_once() {
    let config = json!({
        "bands": [{"write": "size", "field": "n", "bands": [{"label": "any"}]}],
        "flags": [{"write": "high", "field": "$.n", "above": 1}],
    });
    let harness = testing::Harness::<Categorize>::new(config).unwrap();
    assert_eq!(harness.description().reads.len(), 1);
}

#[test]
fn a_config_that_makes_no_sense_is_refused_with_its_place() {
    let bands = |bands: Value| json!({"bands": [{"write": "w", "field": "f", "bands": bands}]});
    let falling = json!([{"label": "a", "below": 2}, {"label": "b", "below": 1}]);
    let cases = [
        (bands(falling), "/bands/0/bands/1/below"),
        (bands(json!([{"label": "a"}, {"label": "b", "below": 1}])), "/bands/0/bands/0"),
        (bands(json!([])), "/bands/0/bands"),
        (json!({"flags": [{"write": "w", "field": "f"}]}), "/flags/0"),
        (json!({"flags": [{"write": "w", "field": "a..b", "above": 1}]}), "/flags/0/field"),
        (json!({"mappings": [{"write": "w", "field": "f", "values": {}}]}), "/mappings/0/values"),
    ];
    for (config, pointer) in cases {
        assert_eq!(refused(config).pointer, pointer);
    }
    let typo = refused(json!({"flag": []}));
    assert!(typo.message.contains("did you mean `flags`?"), "{typo}");
}
