//! Fleets that are simulated: no seed breaks a promise, every planted bug is found, and the same seed
//! gives the same trace.

use std::process::{Command, Output};

use serde_json::Value;
use tidegate_connectors::{
    leases::{LeaseConfig, LeaseStore, MemoryTable},
    objects::SharedObjects,
};
use tidegate_core::{checkpoint::StoreErrorKind, conformance};
use tidegate_tests::simulation::{Bug, Objects};

fn simulate(args: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_simulate")).args(args).output();
    output.expect("the simulation starts")
}

/// The JSON of the last line.
fn summary(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().unwrap_or_default();
    serde_json::from_str(last).unwrap_or_else(|_| panic!("no summary: {text}"))
}

#[test]
fn no_seed_breaks_a_promise_and_every_planted_bug_is_found() {
    // More with `TIDEGATE_FLEETS`.
    let seeds = std::env::var("TIDEGATE_FLEETS").unwrap_or_else(|_| "200".to_owned());
    let output = simulate(&["--seeds", &seeds, "--mutations", "--json"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    let summary = summary(&output);
    assert_eq!(summary["seeds"].as_u64(), seeds.parse().ok());
    for none in ["lost", "duplicated", "violations"] {
        assert_eq!(summary[none].as_u64(), Some(0), "{none}: {text}");
    }
    assert!(summary["produced"].as_u64() > Some(100), "{text}");
    for fault in [
        "bucket_away",
        "clock_jump",
        "crash",
        "disk_full",
        "expired_iterator",
        "failed_upload",
        "lost_request",
        "lost_response",
        "plugin_timeout",
        "reshard",
        "stop",
        "swap",
        "throttled_table",
        "zombie",
    ] {
        assert!(summary["faults"][fault].as_u64() > Some(0), "no seed had {fault}: {text}");
    }
    for bug in Bug::ALL {
        let found = &summary["mutations"][bug.name()];
        assert!(found.as_u64().is_some_and(|seed| seed < 1_000), "{bug}: {found}");
    }
}

#[test]
fn a_seed_that_breaks_a_promise_says_which_and_how_it_is_lived_again() {
    let output = simulate(&["--seeds", "1", "--bug", "no_fence", "--json"]);
    assert!(!output.status.success());
    let summary = summary(&output);
    assert!(summary["violations"].as_u64() > Some(0), "{summary}");
    let again = "cargo xtask simulate --seeds 1 --from 0 --bug no_fence --trace";
    assert_eq!(summary["rerun"], again);
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let trace = |seed: &str| simulate(&["--from", seed, "--trace"]).stdout;
    let traces = ["0", "1", "2", "3", "4"].map(|seed| (trace(seed), trace(seed)));
    for (one, other) in &traces {
        assert!(one.len() > 10_000, "something happens in it");
        assert!(one == other, "the same seed gave two traces");
    }
    assert!(traces[0].0 != traces[1].0);
}

#[tokio::test(start_paused = true)]
async fn leases_over_the_simulated_parts_pass_the_suite_of_checkpoint_stores() {
    let (table, objects) = (MemoryTable::default(), Objects::default());
    conformance::checkpoint_store(async || {
        let objects = std::sync::Arc::new(objects.clone());
        LeaseStore::in_memory(LeaseConfig::new("leases"), table.clone(), objects)
    })
    .await;
}

#[tokio::test]
async fn simulated_objects_are_created_once_and_gone_when_they_are_removed() {
    let objects = Objects::default();
    for _ in 0..2 {
        objects.put("p/1", "content".into()).await.expect("there is room");
    }
    let other = objects.put("p/1", "other".into()).await.expect_err("a name has one content");
    assert_eq!(other.kind, StoreErrorKind::Conflict);
    assert_eq!(objects.get("p/1").await.expect("readable").as_deref(), Some(&b"content"[..]));
    for _ in 0..2 {
        objects.remove("p/1").await.expect("removed, or gone");
    }
    assert_eq!(objects.get("p/1").await.expect("readable"), None);
}
