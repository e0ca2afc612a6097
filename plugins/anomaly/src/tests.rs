use serde_json::{Value, json};
use tidegate_plugin::{
    State,
    testing::{Harness, Outcome},
};

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
    assert_eq!(longest, 34, "a mean and variance, a cool-down and what they are");
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

/// A config with detectors, and nothing of the one that stands without them.
fn family(detectors: Value, change: Value) -> Harness<Anomaly> {
    let mut with = json!({"detectors": detectors, "time": "at"});
    with.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    harness(with)
}

fn verdicts(outcomes: &[Outcome]) -> Vec<&str> {
    outcomes.iter().map(verdict).collect()
}

fn score(outcome: &Outcome) -> f64 {
    outcome.record()["anomaly"]["score"].as_f64().unwrap()
}

fn records(values: impl IntoIterator<Item = f64>) -> Value {
    values.into_iter().map(record).collect()
}

/// A record of an hour since a Monday's midnight.
fn at(hour: u32, value: f64) -> Value {
    let mut record = record(value);
    record["at"] = format!("2026-03-{:02}T{:02}:30:00Z", 2 + hour / 24, hour % 24).into();
    record
}

#[test]
fn a_median_is_not_moved_by_a_third_of_outliers_where_a_mean_is() {
    let mixed = |i: usize| if i.is_multiple_of(3) { 1000.0 } else { 48.0 + (i * 3 % 5) as f64 };
    for (detector, expected) in
        [(json!({"median": {}}), "anomalous"), (json!({"mean": {}}), "normal")]
    {
        let mut harness = family(json!([detector]), json!({}));
        harness.run(records((0..300).map(mixed)));
        assert_eq!(verdicts(&harness.run(json!([record(1000.0)]))), [expected], "{detector}");
    }
}

#[test]
fn an_adaptive_range_finds_what_the_key_has_never_shown() {
    let mut harness = family(json!([{"adaptive_range": {"threshold": 0.5}}]), json!({}));
    harness.run(records((0..40).map(|i| f64::from(i % 11))));
    let outcomes = harness.run(records([10.0, 14.9, 20.0, 27.0, 27.0, -20.0]));
    // The limits are 0 and 10, then 14.9, 20, 27.
    let expected = ["normal", "normal", "normal", "normal", "normal", "anomalous"];
    assert_eq!(verdicts(&outcomes), expected);
    assert_eq!(outcomes[5].rules(), ["adaptive-range"]);
    assert!((score(&outcomes[1]) - 0.49).abs() < 1e-12, "in spans, as it is the only one");
}

#[test]
fn a_rate_finds_a_steep_slope_inside_the_range() {
    let slow = (0..200).map(|i| f64::from(if i < 100 { i } else { 200 - i }));
    for half_life in [0, 4] {
        let rate = json!([{"rate": {"half_life": half_life}}]);
        let mut harness = family(rate, json!({}));
        harness.run(records(slow.clone()));
        let outcomes = harness.run(records([1.0, 90.0, 90.0, 90.0, 90.0, 90.0, 90.0]));
        assert_eq!(verdict(&outcomes[0]), "normal");
        let steep = outcomes.iter().find(|outcome| verdict(outcome) == "anomalous");
        assert_eq!(steep.expect("it is found").rules(), ["rate"], "{half_life}");
    }
}

#[test]
fn a_season_finds_the_value_of_the_day_at_night() {
    let ordinary = |hour: u32| {
        let day = if (8..20).contains(&(hour % 24)) { 100.0 } else { 10.0 };
        at(hour, day + f64::from(hour / 24 % 3))
    };
    let night = 10 * 24 + 3;
    for by in ["hour", "hour_of_week"] {
        let seasonal = json!([{"seasonal": {"by": by, "deviation_min": 5}}]);
        let mut harness = family(seasonal, json!({"warm_up": if by == "hour" { 5 } else { 1 }}));
        let warm = harness.run((0..night).map(ordinary).collect());
        assert_eq!(verdict(&warm[0]), "warming-up");
        assert_eq!(verdict(warm.last().unwrap()), "normal");
        let mut timeless = record(100.0);
        timeless["at"] = "yesterday".into();
        let outcomes = harness.run(json!([at(night, 100.0), at(night + 7, 100.0), timeless]));
        assert_eq!(verdicts(&outcomes), ["anomalous", "normal", "warming-up"], "{by}");
        assert_eq!(outcomes[0].rules(), ["seasonal"]);
    }
}

#[test]
fn local_time_is_ahead_by_the_offset() {
    let seasonal = json!([{"seasonal": {"utc_offset_minutes": 120}}]);
    let mut harness = family(seasonal, json!({"warm_up": 5}));
    // Always at 23:30 UTC, which is 01:30.
    harness.run((0..10).map(|day| at(24 * day + 23, f64::from(day % 2))).collect());
    let mut local = record(50.0);
    local["at"] = "2026-03-20T01:30:00+02:00".into();
    assert_eq!(verdicts(&harness.run(json!([local]))), ["anomalous"]);
}

#[test]
fn scores_of_several_are_in_thresholds_and_combined() {
    let detectors = json!([{"mean": {}}, {"mean": {"threshold": 16}}, {"mean": {"threshold": 64}}]);
    let scores: Vec<(f64, &str)> = ["any", "majority", "all", "mean"]
        .into_iter()
        .map(|combine| {
            let mut harness = family(detectors.clone(), json!({"combine": combine}));
            harness.run(ordinary(30));
            let outcome = harness.run(json!([record(80.0)])).remove(0);
            let expected: &[_] = match combine {
                "all" => &[],
                _ => &["mean", "mean-2"],
            };
            assert_eq!(outcome.rules(), expected, "{combine}");
            let word = if verdict(&outcome) == "anomalous" { "anomalous" } else { "normal" };
            (score(&outcome), word)
        })
        .collect();
    let deviations = 4.0 * scores[0].0;
    assert!((20.0..22.0).contains(&deviations), "30 away, at a deviation of about 1.41");
    let expected = [
        (deviations / 4.0, "anomalous"),
        (deviations / 16.0, "anomalous"),
        (deviations / 64.0, "normal"),
        (deviations * (1.0 / 4.0 + 1.0 / 16.0 + 1.0 / 64.0) / 3.0, "anomalous"),
    ];
    for ((score, verdict), (expected, word)) in scores.iter().zip(expected) {
        assert!((score - expected).abs() < 1e-9, "{score}, {expected}");
        assert_eq!(*verdict, word);
    }
}

#[test]
fn after_an_alert_only_what_is_more_unusual_is_another() {
    let mut harness = harness(json!({"cool_down": 3}));
    harness.run(ordinary(40));
    let outcomes = harness.run(records([80.0, 75.0, 50.0, 500.0, 80.0, 50.0, 50.0, 80.0]));
    let expected = [
        ("anomalous", true),
        ("cooling-down", true),
        ("normal", false),
        ("anomalous", true),
        ("cooling-down", true),
        ("normal", false),
        ("normal", false),
        ("anomalous", true),
    ];
    for (outcome, (word, deviates)) in outcomes.iter().zip(expected) {
        assert_eq!(verdict(outcome), word);
        assert_eq!(score(outcome) > 4.0, deviates, "the score is as it is");
        assert_eq!(outcome.rules().len(), usize::from(word == "anomalous"));
    }
}

#[test]
fn a_fixed_range_knows_no_cool_down() {
    let mut harness = harness(json!({"cool_down": 10, "range": {"at_most": 100}}));
    harness.run(ordinary(30));
    let outcomes = harness.run(records([90.0, 89.0, 101.0, 101.0]));
    assert_eq!(verdicts(&outcomes), ["anomalous", "cooling-down", "anomalous", "anomalous"]);
    assert_eq!(outcomes[3].rules(), ["range"]);
}

/// Configs of every detector, alone and with others, small and large.
fn ensembles() -> Vec<Value> {
    let detectors = [
        json!({"mean": {}}),
        json!({"median": {"centroids": 8}}),
        json!({"median": {"centroids": 256}}),
        json!({"adaptive_range": {}}),
        json!({"rate": {}}),
        json!({"seasonal": {"by": "hour"}}),
        json!({"seasonal": {"by": "weekday"}}),
        json!({"seasonal": {"by": "hour_of_week"}}),
    ];
    let of = |set: usize| -> Value {
        let chosen = |(i, _): &(usize, &Value)| set >> i & 1 == 1;
        detectors.iter().enumerate().filter(chosen).map(|(_, it)| it.clone()).collect()
    };
    (1..1 << detectors.len()).map(of).collect()
}

#[test]
fn a_state_takes_no_more_than_4096_bytes_under_any_config_that_is_accepted() {
    let mut refused = 0;
    let mut longest = 0;
    for detectors in ensembles() {
        let mut with = config();
        with["detectors"] = detectors.clone();
        with["time"] = "at".into();
        let config: Config = serde_json::from_value(with).unwrap();
        let listed = config.detectors.clone().unwrap();
        let methods: Vec<Method> = listed.iter().map(Method::of).collect();
        let bound = Memory::bytes_max(&methods);
        if let Err(error) = config.check() {
            assert_eq!(error.pointer, "/detectors");
            assert!(bound > config::STATE_BYTES_MAX, "{detectors}: {bound}");
            refused += 1;
            continue;
        }
        assert!(bound <= config::STATE_BYTES_MAX, "{detectors}: {bound}");
        // More numbers than there are centroids, at all hours of the week.
        let mut memory = Memory::default();
        memory.fit(methods.iter().copied());
        for i in 0..400_u32 {
            let time = Timestamp(i64::from(i) * 3600 * Timestamp::SECOND);
            for (method, trace) in methods.iter().zip(memory.traces()) {
                method.meet(trace, f64::from(i * 7919 % 1000), Some(time), 30);
            }
        }
        let mut bytes = Vec::new();
        memory.encode(&mut bytes);
        assert_eq!(bytes.len(), bound, "{detectors}");
        longest = longest.max(bytes.len());
    }
    assert!(refused > 0 && longest > 3_000, "{refused} refused, {longest} bytes at most");
}

#[test]
fn every_detector_is_pure_and_takes_any_number() {
    let all = json!([
        {"mean": {}}, {"median": {"centroids": 8}}, {"adaptive_range": {"half_life": 10}},
        {"rate": {}}, {"rate": {"half_life": 0}}, {"seasonal": {}},
        {"seasonal": {"by": "weekday"}},
    ]);
    for combine in ["any", "majority", "all", "mean"] {
        let change = json!({"combine": combine, "cool_down": 2, "warm_up": 3});
        let mut harness = family(all.clone(), change);
        let ends = [0.0, f64::MAX, -f64::MAX, 1e-300, -1.5, 1e154, -1e154, 7.0];
        // The harness runs each batch whole, by threes and row by row, and compares.
        for part in 0..4 {
            let values = (0..25).map(|i| at(part * 25 + i, ends[(i * i + part) as usize % 8]));
            for outcome in harness.run(values.collect()) {
                let score = score(&outcome);
                assert!((0.0..=SCORE_MAX).contains(&score), "{score}");
                assert!(outcome.findings.len() <= 16);
            }
        }
        assert!(harness.states().1 <= 4096);
    }
}

#[test]
fn detectors_that_make_no_sense_are_refused_with_their_place() {
    let refused = |detectors: Value, change: Value| {
        let mut config = config();
        config["detectors"] = detectors;
        config.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        Harness::<Anomaly>::new(config).expect_err("the config is refused")
    };
    let pointer = |detector: Value| refused(json!([detector]), json!({"time": "at"})).pointer;
    assert_eq!(pointer(json!({"mean": {"half_life": 0.5}})), "/detectors/0/mean/half_life");
    assert_eq!(pointer(json!({"mean": {"threshold": 0}})), "/detectors/0/mean/threshold");
    assert_eq!(pointer(json!({"median": {"threshold": 0}})), "/detectors/0/median/threshold");
    assert_eq!(pointer(json!({"median": {"centroids": 7}})), "/detectors/0/median/centroids");
    assert_eq!(pointer(json!({"median": {"centroids": 257}})), "/detectors/0/median/centroids");
    let range = json!({"adaptive_range": {"span_min": -1}});
    assert_eq!(pointer(range), "/detectors/0/adaptive_range/span_min");
    let range = json!({"adaptive_range": {"half_life": 0}});
    assert_eq!(pointer(range), "/detectors/0/adaptive_range/half_life");
    assert_eq!(pointer(json!({"rate": {"half_life": 0.5}})), "/detectors/0/rate/half_life");
    let offset = json!({"seasonal": {"utc_offset_minutes": 1441}});
    assert_eq!(pointer(offset), "/detectors/0/seasonal/utc_offset_minutes");
    assert_eq!(refused(json!([]), json!({})).pointer, "/detectors");
    assert_eq!(refused(vec![json!({"mean": {}}); 9].into(), json!({})).pointer, "/detectors");
    assert_eq!(refused(json!([{"mean": {}}]), json!({"threshold": 3})).pointer, "/threshold");
    assert_eq!(refused(json!([{"seasonal": {}}]), json!({})).pointer, "/detectors/0/seasonal");
    let keyless = json!({"key": null, "write_score": null, "range": {"at_most": 1}});
    assert_eq!(refused(json!([{"mean": {}}]), keyless).pointer, "/detectors");
    let unknown = refused(json!([{"meen": {}}]), json!({}));
    assert!(unknown.message.contains("did you mean `mean`?"), "{unknown}");
    let large = json!([{"seasonal": {"by": "hour_of_week"}}, {"median": {"centroids": 256}}]);
    let large = refused(large, json!({"time": "at"}));
    assert!(large.message.contains("more than 4096"), "{large}");
}
