use serde_json::{Value, json};
use tidegate_plugin::testing::{Harness, Outcome};

use super::*;

fn config() -> Value {
    json!({
        "key": ["metric", "host"], "field": "value",
        "write_score": "anomaly.score", "write_verdict": "anomaly.verdict",
    })
}

fn harness(change: Value) -> Harness<Anomaly> {
    let mut config = config();
    config.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    Harness::new(config).unwrap()
}

fn record(value: f64) -> Value {
    json!({"metric": "cpu", "host": "a", "value": value})
}

/// Numbers that vary evenly around 50, between 48 and 52.
fn ordinary(count: usize) -> Value {
    (0..count).map(|i| record(48.0 + (i * 3 % 5) as f64)).collect()
}

fn verdict(outcome: &Outcome) -> &str {
    outcome.record()["anomaly"]["verdict"].as_str().unwrap()
}

#[test]
fn a_key_warms_up_then_finds_what_deviates() {
    let mut harness = harness(json!({}));
    let warming = harness.run(ordinary(30));
    assert!(warming.iter().all(|outcome| verdict(outcome) == "warming-up"));
    let outcomes = harness.run(json!([record(51.0), record(80.0), record(50.0)]));
    let verdicts: Vec<_> = outcomes.iter().map(verdict).collect();
    assert_eq!(verdicts, ["normal", "anomalous", "normal"]);
    assert_eq!(outcomes[1].rules(), ["deviation"]);
    assert!(outcomes[0].findings.is_empty());
    let score = outcomes[1].record()["anomaly"]["score"].as_f64().unwrap();
    assert!((20.0..22.0).contains(&score), "30 away, at a deviation of about 1.41: {score}");
}

#[test]
fn keys_have_histories_of_their_own() {
    let mut harness = harness(json!({}));
    harness.run(ordinary(30));
    let by_name = json!({"metric": "cpu", "host": "b", "value": 80.0});
    let by_number = json!({"metric": "cpu", "host": 7, "value": 80.0});
    let outcomes = harness.run(json!([by_name, by_number]));
    assert!(outcomes.iter().all(|outcome| verdict(outcome) == "warming-up"));
    let (keys, longest) = harness.states();
    assert_eq!(keys, 3);
    assert_eq!(longest, 37, "a mean and variance, a cool-down and what they are");
}

#[test]
fn an_outlier_does_not_hide_the_next_one() {
    let mut harness = harness(json!({}));
    harness.run(ordinary(60));
    let outcomes = harness.run(json!([record(1e9), record(70.0)]));
    assert!(outcomes.iter().all(|outcome| verdict(outcome) == "anomalous"));
}

#[test]
fn a_new_level_becomes_normal_in_time() {
    let mut harness = harness(json!({}));
    harness.run(ordinary(60));
    let outcomes = harness.run((0..300).map(|i| record(60.0 + f64::from(i % 3))).collect());
    assert_eq!(verdict(&outcomes[0]), "anomalous");
    assert!(outcomes[200..].iter().all(|outcome| verdict(outcome) == "normal"));
}

#[test]
fn a_range_holds_while_warming_up_too() {
    let mut harness = harness(json!({"range": {"at_least": 0, "at_most": 100}}));
    let outcomes = harness.run(json!([record(50.0), record(-1.0), record(101.0)]));
    let verdicts: Vec<_> = outcomes.iter().map(verdict).collect();
    assert_eq!(verdicts, ["warming-up", "anomalous", "anomalous"]);
    assert_eq!(outcomes[1].rules(), ["range"]);
}

#[test]
fn without_a_key_the_range_alone_decides_and_nothing_is_kept() {
    let config = json!({"field": "value", "write_verdict": "anomaly", "range": {"at_most": 100}});
    let mut harness = Harness::<Anomaly>::new(config).unwrap();
    assert_eq!(harness.description().state_key, None);
    let outcomes = harness.run(json!([{"value": 100}, {"value": 100.5}, {"value": "much"}, {}]));
    assert_eq!(outcomes[0].record()["anomaly"], "normal");
    assert_eq!(outcomes[1].record()["anomaly"], "anomalous");
    assert_eq!(outcomes[1].rules(), ["range"]);
    assert_eq!(*outcomes[2].record(), json!({"value": "much"}));
    assert_eq!(*outcomes[3].record(), json!({}));
    assert_eq!(harness.states().0, 0);
}

#[test]
fn a_number_that_never_changed_may_change_by_a_hair() {
    let constant: Value = (0..40).map(|_| record(5.0)).collect();
    let mut strict = harness(json!({}));
    strict.run(constant.clone());
    assert_eq!(verdict(&strict.run(json!([record(5.1)]))[0]), "anomalous");
    let mut lenient = harness(json!({"deviation_min": 0.1}));
    lenient.run(constant);
    assert_eq!(verdict(&lenient.run(json!([record(5.1)]))[0]), "normal");
}

#[test]
fn a_row_without_a_number_is_left_alone_and_one_without_a_key_rejected() {
    let mut harness = harness(json!({}));
    let nameless = json!({"metric": "cpu", "value": 1.0});
    let idle = json!({"metric": "cpu", "host": "a", "value": null});
    let outcomes = harness.run(json!([idle, nameless]));
    assert_eq!(*outcomes[0].record(), idle);
    assert_eq!(outcomes[1].rules(), ["required"]);
    assert_eq!(harness.states().0, 0);
}

#[test]
fn a_config_that_makes_no_sense_is_refused_with_its_place() {
    let refused = |change: Value| {
        let mut config = config();
        config.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        Harness::<Anomaly>::new(config).expect_err("the config is refused").pointer
    };
    assert_eq!(refused(json!({"key": []})), "/key");
    assert_eq!(refused(json!({"key": null})), "");
    assert_eq!(refused(json!({"key": null, "range": {"at_most": 1}})), "/write_score");
    assert_eq!(refused(json!({"half_life": 0})), "/half_life");
    assert_eq!(refused(json!({"threshold": -1})), "/threshold");
    assert_eq!(refused(json!({"deviation_min": -1})), "/deviation_min");
    assert_eq!(refused(json!({"range": {}})), "/range");
    assert_eq!(refused(json!({"write_score": null, "write_verdict": null})), "");
}
