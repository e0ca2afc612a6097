//! States: loaded once a range, threaded through its batches, left at its cut.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use tidegate_core::{
    Failure, Kind, Reply, Timestamp,
    checkpoint::{StateChange, StateRow, StoreError},
    transform::{Breach, TransformError},
};
use tidegate_pipeline::{
    PlanSpec, RangeContext, StateLoader,
    plan::{StateScope, StateSpec},
    states::NoStates,
};

use crate::{
    plugins::{Scripted, description, integers, keyed, text},
    support::{OPENED_AT, batches, context, letters, plan, reasons, run_in, spec, try_run, values},
};

/// States as a store has them, and how often it was asked.
#[derive(Default)]
struct Stored {
    rows: Mutex<HashMap<u128, StateRow>>,
    asked: AtomicU64,
}

impl Stored {
    fn apply(&self, changes: &[StateChange]) {
        let mut rows = self.rows.lock().expect("no test panics with it");
        for change in changes {
            match &change.state {
                Some(state) => rows.insert(change.key, state.clone()),
                None => rows.remove(&change.key),
            };
        }
    }
}

#[async_trait]
impl StateLoader for Stored {
    async fn load(&self, _: &str, keys: &[u128]) -> Result<Vec<Option<StateRow>>, StoreError> {
        self.asked.fetch_add(keys.len() as u64, Ordering::Relaxed);
        let rows = self.rows.lock().expect("no test panics with it");
        Ok(keys.iter().map(|key| rows.get(key).cloned()).collect())
    }
}

/// Counts the rows of each `user` into `seen`; traps on `user: "poison"`.
fn counting() -> Scripted {
    let description = keyed(description(&[("user", Kind::Utf8)], &[("seen", Kind::Int64)]));
    Scripted::new("counting", description, |batch, _| {
        let mut states: Vec<i64> = (0..batch.states.values.len())
            .map(|key| match batch.states.values.get(key) {
                [] => 0,
                state => String::from_utf8_lossy(state).parse().expect("a number"),
            })
            .collect();
        let mut seen = Vec::new();
        for (row, key) in batch.states.rows.iter().enumerate() {
            if text(batch, 0, row) == "poison" {
                return Err(TransformError::new(Breach::Trap, "poison"));
            }
            states[*key as usize] += 1;
            seen.push(states[*key as usize]);
        }
        let mut reply = Reply { columns: vec![integers(seen)], ..Reply::default() };
        for (key, state) in states.iter().enumerate() {
            reply.states.keys.push(key as u32);
            reply.states.values.push(state.to_string().as_bytes());
        }
        Ok(reply)
    })
}

fn counting_spec() -> PlanSpec {
    let mut spec = spec(&[Arc::new(counting())]);
    spec.stages[0].state.scope = StateScope::Partition;
    spec
}

fn users(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| format!("{{\"user\":\"{name}\"}}")).collect()
}

#[test]
fn states_go_through_batches_ranges_and_past_poison() {
    let names = ["a", "b", "a", "poison", "a", "b", "c", "a"];
    let want = [1, 1, 2, 3, 2, 1, 4];
    for size in [1, 3, 8] {
        let store = Stored::default();
        let plan = plan(counting_spec());
        let input = batches(&users(&names), size);
        let first = try_run(&plan, &input, &store, vec![]).expect("it runs");
        let seen: Vec<_> = values(&first, 0).iter().map(|v| v["seen"].as_i64()).collect();
        assert_eq!(seen, want.map(Some), "batches of {size}");
        assert_eq!(store.asked.load(Ordering::Relaxed), 4, "each key is loaded once");
        assert_eq!(first.states.len(), 3, "poison leaves no state");
        assert!(first.states.is_sorted_by_key(|change| change.key));

        store.apply(&first.states);
        let second = try_run(&plan, &input, &store, vec![]).expect("it runs");
        let seen: Vec<_> = values(&second, 0).iter().map(|v| v["seen"].as_i64()).collect();
        assert_eq!(seen, [5, 3, 6, 7, 4, 2, 8].map(Some));
    }
}

#[test]
fn a_row_without_a_key_is_rejected() {
    let records = ["{\"user\":null}", "{}", "{\"user\":7}", "{\"user\":\"a\"}"];
    let output =
        try_run(&plan(counting_spec()), &batches(&records, 4), &NoStates, vec![]).expect("it runs");
    let codes: Vec<_> = reasons(&output).into_iter().map(|(_, code, _)| code).collect();
    assert_eq!(codes, ["state-key-missing"; 3]);
    assert_eq!(
        letters(&output)[0]["etl"]["errorMessage"],
        "`user` is null, and must be of kind utf8"
    );
    assert_eq!(output.counts.delivered.records, 1);
}

#[test]
fn a_state_expires_on_batch_time() {
    let mut spec = counting_spec();
    spec.stages[0].state =
        StateSpec { time_to_live: Some(Duration::from_secs(60)), ..spec.stages[0].state };
    let plan = plan(spec);
    let store = Stored::default();
    let input = batches(&users(&["a"]), 1);
    let output = try_run(&plan, &input, &store, vec![]).expect("it runs");
    let StateChange { key, state: Some(state), .. } = &output.states[0] else { panic!("none") };
    assert_eq!(state.expires_at, Some(OPENED_AT.plus_seconds(60)));

    let seen_with = |expires_at: Timestamp| {
        let row = StateRow { expires_at: Some(expires_at), ..state.clone() };
        store.rows.lock().expect("no test panics with it").insert(*key, row);
        let output = try_run(&plan, &input, &store, vec![]).expect("it runs");
        values(&output, 0)[0]["seen"].as_i64()
    };
    assert_eq!(seen_with(OPENED_AT.plus_seconds(1)), Some(2));
    assert_eq!(seen_with(OPENED_AT), Some(1), "it expires at that very time");
}

#[test]
fn a_state_of_another_version_stops_the_pipeline() {
    let plan = plan(counting_spec());
    let store = Stored::default();
    let input = batches(&users(&["a"]), 1);
    let mut changes = try_run(&plan, &input, &store, vec![]).expect("it runs").states;
    if let Some(state) = &mut changes[0].state {
        state.version = 9;
    }
    store.apply(&changes);
    let error = try_run(&plan, &input, &store, vec![]).expect_err("it can't be read");
    assert_eq!(error.failure(), Failure::Fatal);
    assert!(error.to_string().contains("have version 9"), "{error}");
}

#[test]
fn states_of_another_version_are_migrated_when_their_keys_are_met() {
    let store = Stored::default();
    let input = batches(&users(&["a", "b", "c", "b"]), 2);
    let first = try_run(&plan(counting_spec()), &input, &store, vec![]).expect("it runs");
    store.apply(&first.states);
    // Version 2 counts in tens, and knows nothing of odd counts.
    let mut spec = counting_spec();
    let migrate = |from: u32, state: &[u8]| {
        assert_eq!(from, 1);
        let count: i64 = String::from_utf8_lossy(state).parse().ok()?;
        (count % 2 == 0).then(|| (count * 10).to_string().into_bytes())
    };
    spec.stages[0].factory = Arc::new(counting().migrating(2, migrate));
    let output = try_run(&plan(spec), &input, &store, vec![]).expect("it runs");
    let seen: Vec<_> = values(&output, 0).iter().map(|v| v["seen"].as_i64()).collect();
    assert_eq!(seen, [Some(21), Some(22)], "`b` goes on with what it had");
    let reasons = reasons(&output);
    assert_eq!(reasons.len(), 2, "`a` and `c` can't go on: {reasons:?}");
    assert!(reasons.iter().all(|(_, code, _)| code == "state-migration"), "{reasons:?}");
    let versions: Vec<_> =
        output.states.iter().map(|it| it.state.as_ref().map(|state| state.version)).collect();
    assert_eq!(versions, [Some(2)], "the states of `a` and `c` stay as they are");
}

#[test]
fn a_state_that_is_too_large_costs_its_record() {
    let description = keyed(description(&[("user", Kind::Utf8)], &[]));
    let hoarding = Scripted::new("hoarding", description, |batch, _| {
        let mut reply = Reply::default();
        for key in 0..batch.states.values.len() {
            let row = batch.states.rows.iter().position(|k| *k as usize == key);
            let name = text(batch, 0, row.expect("each key has a row"));
            reply.states.keys.push(key as u32);
            reply.states.values.push(name.repeat(100).as_bytes());
        }
        Ok(reply)
    });
    let mut spec = spec(&[Arc::new(hoarding)]);
    let state =
        StateSpec { key_bytes_max: 500, scope: StateScope::Partition, ..StateSpec::default() };
    spec.stages[0].state = state;
    let input = batches(&users(&["a", "longer", "b"]), 3);
    let output = try_run(&plan(spec), &input, &NoStates, vec![]).expect("it runs");
    let reasons = reasons(&output);
    assert_eq!(reasons.len(), 1);
    assert_eq!(reasons[0].1, "plugin-state-bytes");
    assert_eq!(output.states.len(), 2);
}

#[test]
fn a_key_too_many_costs_its_records_however_rows_are_cut_into_batches() {
    let names = ["a", "b", "c", "a", "d", "b", "c", "a"];
    for size in [1, 3, 8] {
        let mut spec = counting_spec();
        spec.stages[0].state.keys_max = 3;
        let stage = spec.stages[0].name.clone();
        let plan = plan(spec);
        let store = Stored::default();
        let input = batches(&users(&names), size);
        let run = |state_keys: u64| {
            let context = context(Vec::new());
            let state_keys = [(stage.clone(), state_keys)].into();
            run_in(&plan, RangeContext { state_keys, ..context }, &input, &store).expect("it runs")
        };
        let first = run(1);
        let seen: Vec<_> = values(&first, 0).iter().map(|v| v["seen"].as_i64()).collect();
        assert_eq!(seen, [1, 1, 2, 2, 3].map(Some), "batches of {size}");
        let refused = reasons(&first);
        assert_eq!(refused.len(), 3, "`c`, `d` and `c`: {refused:?}");
        assert!(refused.iter().all(|(_, code, _)| code == "state-keys"), "{refused:?}");
        assert!(first.exclusions.is_empty(), "a replay refuses them by itself");
        assert_eq!((first.stages[0].keys_added, first.stages[0].rejected), (2, 3));
        assert!(!first.stages[0].breaker_open, "it is not the plugin's fault");

        // Keys that have a state are not new, however many there are.
        store.apply(&first.states);
        let second = run(3);
        let seen: Vec<_> = values(&second, 0).iter().map(|v| v["seen"].as_i64()).collect();
        assert_eq!(seen, [4, 3, 5, 4, 6].map(Some));
        assert_eq!(second.stages[0].keys_added, 0);
    }
}

#[test]
fn the_letter_of_a_trap_carries_the_call_as_it_was_made() {
    // The state of a key as the rows before have left it, within the batch, too.
    let description = keyed(description(&[("user", Kind::Utf8), ("n", Kind::Float64)], &[]));
    let plugin = Scripted::new("folding", description, |batch, _| {
        let mut reply = Reply::default();
        for (row, key) in batch.states.rows.iter().enumerate() {
            let state = batch.states.values.get(*key as usize);
            if batch.rows == 1 && state == b"aa" {
                return Err(TransformError::new(Breach::Trap, "three of one user"));
            }
            if batch.rows > 1 && row == 0 {
                return Err(TransformError::new(Breach::Trap, "only one at a time"));
            }
            reply.states.keys.push(*key);
            reply.states.values.push(&[state, b"a"].concat());
        }
        Ok(reply)
    });
    let mut spec = spec(&[Arc::new(plugin)]);
    spec.stages[0].state.scope = StateScope::Partition;
    let records = [
        r#"{"user":"x","n":1}"#,
        r#"{"user":"y","n":2}"#,
        r#"{"user":"x","n":0.1}"#,
        r#"{"user":"x"}"#,
    ];
    let whole = try_run(&plan(spec.clone()), &batches(&records, 4), &Stored::default(), Vec::new());
    let whole = letters(&whole.expect("the others pass"));
    let call = &whole[0]["etl"]["call"];
    assert_eq!(call["batchTime"], OPENED_AT.0);
    assert_eq!(call["state"], "YWE=", "aa");
    let columns = serde_json::json!([
        { "read": "user", "kind": "utf8", "presence": "value", "value": "x" },
        { "read": "n", "kind": "float64", "presence": "missing" },
    ]);
    assert_eq!(call["columns"], columns);
    // However the rows were cut into batches.
    let cut = try_run(&plan(spec), &batches(&records, 1), &Stored::default(), Vec::new());
    assert_eq!(letters(&cut.expect("the others pass")), whole);
}
