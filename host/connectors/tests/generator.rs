//! What the generator promises: the same events for a seed, each type in its share, each kind of
//! trouble in its share, an account on one partition.

#![allow(clippy::unwrap_used, reason = "a test that unwraps says where it failed")]

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use serde_json::Value;
use tidegate_connectors::generator::{
    EventGenerator, GeneratorConfig, GeneratorError, GeneratorSource, PARTITION_KEY, Weights,
    write_lines,
};
use tidegate_core::{
    Position, Source,
    conformance::{self, ExpectedPartition},
    source::{PartitionId, ReadLimit, ReadOutcome, Resume, SourceErrorKind},
};

fn clean(records: u64) -> GeneratorConfig {
    GeneratorConfig {
        records: Some(records),
        invalid: 0.0,
        duplicate: 0.0,
        late: 0.0,
        anomalous: 0.0,
        ..GeneratorConfig::default()
    }
}

fn lines(config: &GeneratorConfig, partition: u32) -> Vec<String> {
    let mut text = Vec::new();
    let records = write_lines(config, partition, &mut text).unwrap();
    let lines: Vec<String> = String::from_utf8(text).unwrap().lines().map(str::to_owned).collect();
    assert_eq!(lines.len() as u64, records);
    lines
}

fn all_lines(config: &GeneratorConfig) -> Vec<String> {
    (0..config.partitions).flat_map(|partition| lines(config, partition)).collect()
}

#[tokio::test]
async fn it_passes_the_suite_of_sources() {
    let config = GeneratorConfig { records: Some(1_001), ..GeneratorConfig::default() };
    let expected: Vec<ExpectedPartition> = (0..4)
        .map(|partition| ExpectedPartition {
            id: PartitionId::from(&*format!("p{partition:04}")),
            records: lines(&config, partition).into_iter().map(String::into_bytes).collect(),
        })
        .collect();
    assert_eq!(expected[0].records.len(), 251);
    assert_eq!(expected[3].records.len(), 250);
    let source = GeneratorSource::new("generator", config).unwrap();
    conformance::source(&source, &expected).await;
}

#[test]
fn a_seed_decides_and_an_event_does_not_depend_on_its_predecessors() {
    let config = GeneratorConfig { records: Some(4_000), ..GeneratorConfig::default() };
    let expected = lines(&config, 2);
    assert_eq!(lines(&config, 2), expected);
    assert_ne!(lines(&config, 1), expected);
    assert_ne!(lines(&GeneratorConfig { seed: 2, ..config.clone() }, 2), expected);
    let mut generator = EventGenerator::new(&config, 2).unwrap();
    for index in [999, 0, 500, 501, 17] {
        let mut event = Vec::new();
        generator.write(index, &mut event);
        assert_eq!(event, expected[index as usize].as_bytes());
    }
}

#[test]
fn types_come_by_their_weights_and_accounts_stay_on_their_partition() {
    let config = clean(20_000);
    let mut types: HashMap<String, u32> = HashMap::new();
    let mut homes: HashMap<String, u32> = HashMap::new();
    let mut ids = HashSet::new();
    for partition in 0..4 {
        for line in lines(&config, partition) {
            let event: Value = serde_json::from_str(&line).unwrap();
            *types.entry(event["event_type"].as_str().unwrap().to_owned()).or_default() += 1;
            let account = event[PARTITION_KEY].as_str().unwrap().to_owned();
            assert_eq!(*homes.entry(account).or_insert(partition), partition);
            assert!(ids.insert(event["event_id"].as_str().unwrap().to_owned()));
        }
    }
    for (kind, expected) in
        [("user_action", 8_000), ("transaction", 6_000), ("metric", 4_000), ("system_event", 2_000)]
    {
        assert!(types[kind].abs_diff(expected) < 300, "{kind}: {}", types[kind]);
    }
}

#[test]
fn transactions_have_about_460_bytes() {
    let config = GeneratorConfig { weights: Weights::TRANSACTIONS, ..clean(10_000) };
    let lines = all_lines(&config);
    let mean = lines.iter().map(String::len).sum::<usize>() / lines.len();
    assert!((445..475).contains(&mean), "{mean}");
}

/// Whether an event is one that nothing is wrong with.
fn is_valid(line: &str) -> bool {
    let Ok(event) = serde_json::from_str::<Value>(line) else { return false };
    let is = |field: &str, known: &[&str]| {
        event[field].as_str().is_some_and(|value| known.contains(&value))
    };
    let at_least_zero = |field: &str| event[field].as_f64().is_some_and(|value| value >= 0.0);
    let time = event["timestamp"].as_str().and_then(|time| time.parse::<jiff::Timestamp>().ok());
    time.is_some()
        && match event["event_type"].as_str() {
            Some("transaction") => {
                at_least_zero("amount")
                    && is("currency", &["EUR", "USD", "GBP", "JPY", "CHF", "SEK"])
            }
            Some("user_action") => {
                at_least_zero("session_duration") && !is("action", &["unheard_of"])
            }
            Some("metric") => event["value"].is_f64() && !is("unit", &["cubits"]),
            Some("system_event") => {
                is("severity", &["debug", "info", "warning", "error", "critical"])
                    && !is("component", &["unheard_of"])
            }
            _ => false,
        }
}

#[test]
fn each_trouble_comes_in_its_share() {
    const RECORDS: u64 = 20_000;
    let share_of = |count: usize| count as f64 / RECORDS as f64;
    let near = |found: f64, expected: f64| (found - expected).abs() < 0.01;

    assert!(all_lines(&clean(RECORDS)).iter().all(|line| is_valid(line)));

    let invalid = all_lines(&GeneratorConfig { invalid: 0.1, ..clean(RECORDS) });
    let share = share_of(invalid.iter().filter(|line| !is_valid(line)).count());
    assert!(near(share, 0.1), "invalid: {share}");
    assert!(invalid.iter().any(|line| serde_json::from_str::<Value>(line).is_err()));

    let duplicate = all_lines(&GeneratorConfig { duplicate: 0.1, ..clean(RECORDS) });
    let distinct: HashSet<_> = duplicate.iter().collect();
    let share = share_of(duplicate.len() - distinct.len());
    assert!(near(share, 0.1), "duplicate: {share}");

    let late = lines(&GeneratorConfig { late: 0.1, partitions: 1, ..clean(RECORDS) }, 0);
    let times: Vec<jiff::Timestamp> = late
        .iter()
        .map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["timestamp"]
                .as_str()
                .unwrap()
                .parse()
                .unwrap()
        })
        .collect();
    let mut newest = times[0];
    let mut behind = 0;
    for time in times {
        behind += usize::from(time < newest);
        newest = newest.max(time);
    }
    assert!(near(share_of(behind), 0.1), "late: {behind}");

    let transactions = GeneratorConfig { weights: Weights::TRANSACTIONS, ..clean(RECORDS) };
    let anomalous = all_lines(&GeneratorConfig { anomalous: 0.1, ..transactions });
    let mut of_account: HashMap<String, Vec<f64>> = HashMap::new();
    for line in anomalous {
        let event: Value = serde_json::from_str(&line).unwrap();
        let account = event["account_id"].as_str().unwrap().to_owned();
        of_account.entry(account).or_default().push(event["amount"].as_f64().unwrap());
    }
    let far = of_account.values_mut().map(|amounts| {
        amounts.sort_by(f64::total_cmp);
        let median = amounts[amounts.len() / 2];
        amounts.iter().filter(|amount| **amount > 10.0 * median).count()
    });
    let share = share_of(far.sum());
    assert!(near(share, 0.1), "anomalous: {share}");
}

#[test]
fn settings_that_nothing_can_be_made_of_are_refused() {
    let default = GeneratorConfig::default;
    let none = Weights { user_action: 0, transaction: 0, metric: 0, system_event: 0 };
    for (config, error) in [
        (GeneratorConfig { partitions: 0, ..default() }, GeneratorError::NoPartitions),
        (GeneratorConfig { weights: none, ..default() }, GeneratorError::NoWeights),
        (GeneratorConfig { invalid: -0.1, ..default() }, GeneratorError::Shares),
        (GeneratorConfig { late: f64::NAN, ..default() }, GeneratorError::Shares),
        (GeneratorConfig { invalid: 0.6, late: 0.6, ..default() }, GeneratorError::Shares),
    ] {
        assert_eq!(config.check(), Err(error));
    }
}

#[tokio::test]
async fn a_checkpoint_of_other_settings_is_not_resumed_into() {
    let config = GeneratorConfig { records: Some(100), ..GeneratorConfig::default() };
    let source = GeneratorSource::new("generator", config.clone()).unwrap();
    let partition = PartitionId::from("p0000");
    let position = Position::from_offset(10);
    let token = source.open(&partition, None).await.unwrap().token(position);
    let resume = Resume { position, token };

    let more = GeneratorConfig { records: Some(200), rate: Some(5), ..config.clone() };
    let source = GeneratorSource::new("generator", more).unwrap();
    assert!(source.open(&partition, Some(&resume)).await.is_ok(), "more of the same are the same");

    let source = GeneratorSource::new("generator", GeneratorConfig { seed: 9, ..config }).unwrap();
    let error = source.open(&partition, Some(&resume)).await.err().unwrap();
    assert_eq!(error.kind, SourceErrorKind::Replaced);
}

#[tokio::test(start_paused = true)]
async fn events_come_at_their_rate() {
    let config = GeneratorConfig { rate: Some(1_000), partitions: 2, ..GeneratorConfig::default() };
    let source = GeneratorSource::new("generator", config).unwrap();
    let mut reader = source.open(&PartitionId::from("p0001"), None).await.unwrap();
    let limit = ReadLimit { records_max: 1_000, bytes_max: 1 << 20, until: None };
    let start = tokio::time::Instant::now();
    let mut records = 0;
    while start.elapsed() < Duration::from_secs(10) {
        match reader.read(limit).await.unwrap() {
            ReadOutcome::Records(batch) => records += batch.len(),
            ReadOutcome::Idle => {}
            ReadOutcome::Ended => panic!("it has no end"),
        }
    }
    assert!((4_990..=5_010).contains(&records), "{records} in ten seconds");
}
