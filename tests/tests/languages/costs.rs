//! What each language costs: the table of `docs/languages.md`, by `cargo xtask bench --languages`.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use tidegate_core::{
    Batch, Binary, Column, Timestamp, Transform, TransformFactory, Values, transform::States,
};
use tidegate_engine::{Component, ConfigureOptions, Factory, Limit, Limits};
use tidegate_tests::guests;

use super::RUNTIME;

/// Rounds of which the least counts: the machine has other things to do.
const ROUNDS: u32 = 9;

/// How long a round lasts at least.
const ROUND: Duration = Duration::from_millis(100);

#[test]
#[ignore = "it measures, and checks nothing"]
fn what_each_language_costs() {
    println!("| | component | compile | instantiate | 1 row | 10 | 500 | 2,000 | fuel a row |");
    println!("|---|---|---|---|---|---|---|---|---|");
    for language in ["rust", "go", "js", "python", "c"] {
        let bytes = match guests::language(&format!("{language}-size")) {
            Ok(bytes) => bytes,
            Err(reason) => {
                println!("SKIPPED: what {language} costs: {reason}");
                continue;
            }
        };
        let started = Instant::now();
        let component = RUNTIME.load(&bytes).expect("it loads");
        let compiled = started.elapsed();
        let factory = configure(&component, Limits::default());
        let instantiate = least(|| drop(factory.instantiate().expect("an instance")));
        let rows: Vec<String> = [1, 10, 500, 2000]
            .map(|rows| {
                let mut instance = factory.instantiate().expect("an instance");
                let columns = columns(rows);
                let call = least(|| call(&mut *instance, rows, &columns).expect("it answers"));
                format!("{:.0}", call.as_nanos() as f64 / f64::from(rows))
            })
            .to_vec();
        println!(
            "| {language} | {} KB | {} ms | {:.0} µs | {} | {} |",
            bytes.len() / 1000,
            compiled.as_millis(),
            instantiate.as_nanos() as f64 / 1000.0,
            rows.join(" | "),
            fuel(&component, 500) / 500,
        );
    }
}

fn configure(component: &Component, limits: Limits) -> Factory {
    let options = ConfigureOptions {
        config_json: r#"{"large": 100}"#.into(),
        limits,
        ..ConfigureOptions::default()
    };
    component.configure(options).expect("it takes its config")
}

/// Three columns that are read; one row in a hundred is rejected.
fn columns(rows: u32) -> [Column; 3] {
    let column = |values| Column { values, presence: Vec::new() };
    let amount = |row: u32| if row % 100 == 99 { -1.0 } else { f64::from(row % 200) };
    let currency = |row: u32| ["EUR", "USD", "SEK"][row as usize % 3];
    let at = |row: u32| 1_772_366_400_000_000 + i64::from(row) * 60_000_000;
    [
        column(Values::Float64((0..rows).map(amount).collect())),
        column(Values::Utf8((0..rows).map(currency).collect::<Binary>())),
        column(Values::Timestamp((0..rows).map(at).collect())),
    ]
}

fn call(instance: &mut dyn Transform, rows: u32, columns: &[Column; 3]) -> Result<(), String> {
    let columns: Vec<&Column> = columns.iter().collect();
    let states = States::default();
    let batch = Batch { rows, columns: &columns, states: &states, batch_time: Timestamp(0) };
    instance.transform(&batch).map(drop).map_err(|error| error.to_string())
}

/// The processor's time that something takes, the least of some rounds.
fn least(mut what: impl FnMut()) -> Duration {
    what();
    let rounds = (0..ROUNDS).map(|_| {
        let (started, mut times) = (thread_time(), 0);
        loop {
            what();
            times += 1;
            let spent = thread_time() - started;
            if spent > ROUND {
                return spent / times;
            }
        }
    });
    rounds.min().expect("there are some rounds")
}

fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

/// The least fuel with which the second call of an instance passes: the first one warms up.
fn fuel(component: &Component, rows: u32) -> u64 {
    let (mut fails, mut passes) = (0_u64, 1 << 32);
    let (one, many) = (columns(rows), columns(rows));
    while passes - fails > passes / 100 {
        let base = fails.midpoint(passes);
        let limits = Limits { fuel: Limit { base, per_row: 0 }, ..Limits::default() };
        let mut instance = configure(component, limits).instantiate().expect("an instance");
        let answers =
            call(&mut *instance, rows, &one).and_then(|()| call(&mut *instance, rows, &many));
        if answers.is_ok() { passes = base } else { fails = base }
    }
    passes
}
