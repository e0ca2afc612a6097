//! What a call of a plugin costs: the bare call of one instance at several batch sizes, and a
//! fresh instance.
//!
//! `cargo bench -p tidegate-benches --bench call`, after `cargo xtask guests`. One thread; medians of
//! CPU time. The plugin is the guest `annotate`: it reads a float, a text and a time, and writes a
//! code, a flag and a day, with a finding in one row of a hundred. Components of other languages that
//! read the same are measured when their paths are given: `-- go.wasm python.wasm`.

use std::time::{Duration, Instant};

use tidegate_core::{Batch, Column, Timestamp, TransformFactory, Values, transform::States};
use tidegate_engine::{ConfigureOptions, Runtime, RuntimeOptions};

/// How long each row is measured.
const BUDGET: Duration = Duration::from_millis(500);

fn main() {
    let given = std::env::args().skip(1).filter(|argument| argument.ends_with(".wasm"));
    let mut paths: Vec<String> = given.collect();
    if paths.is_empty() {
        let guests = std::env::var("TIDEGATE_GUESTS").unwrap_or_else(|_| {
            let target = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "../target".into());
            format!("{target}/guests")
        });
        paths.push(format!("{guests}/annotate.wasm"));
    }
    let runtime = Runtime::new(RuntimeOptions::default()).expect("the engine starts");
    for path in paths {
        match std::fs::read(&path) {
            Ok(bytes) => measure(&runtime, &path, &bytes),
            Err(error) => eprintln!("SKIPPED: {path}: {error}; `cargo xtask guests` builds guests"),
        }
    }
}

fn measure(runtime: &Runtime, path: &str, bytes: &[u8]) {
    println!("\n{path}, {} KiB", bytes.len() >> 10);
    let started = Instant::now();
    let component = runtime.load(bytes).expect("the guest loads");
    println!("load (compile, describe)     {:>9.1} ms", started.elapsed().as_secs_f64() * 1e3);
    let factory = component.configure(ConfigureOptions::default()).expect("it takes its config");

    let fresh = median(|| drop(factory.instantiate().expect("a fresh instance")));
    println!("instantiate and configure    {:>9.1} µs", fresh * 1e6);

    println!("rows a batch   ns/row   ns/call   memory KiB");
    for rows in [1, 10, 100, 500, 2_000, 10_000] {
        let mut instance = factory.instantiate().expect("a fresh instance");
        let columns = columns(rows);
        let borrowed: Vec<_> = columns.iter().collect();
        let states = States::default();
        let batch = Batch {
            rows: rows as u32,
            columns: &borrowed,
            states: &states,
            batch_time: Timestamp::default(),
        };
        let call = median(|| {
            std::hint::black_box(instance.transform(&batch).expect("a reply"));
        });
        let memory = instance.memory_bytes() >> 10;
        println!("{rows:>12} {:>8.1} {:>9.0} {memory:>12}", call * 1e9 / rows as f64, call * 1e9);
    }
}

/// The median of seconds a run, over some rounds of many runs.
fn median(mut run: impl FnMut()) -> f64 {
    let once = Instant::now();
    run();
    let runs = (BUDGET.as_nanos() / 20 / once.elapsed().as_nanos().max(1)).clamp(1, 100_000) as u32;
    let mut rounds: Vec<f64> = (0..21)
        .map(|_| {
            let started = cpu_seconds();
            (0..runs).for_each(|_| run());
            (cpu_seconds() - started) / f64::from(runs)
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[rounds.len() / 2]
}

/// What this thread has used: other programs on the machine do not count.
fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn columns(rows: usize) -> [Column; 3] {
    let column = |values| Column { values, presence: vec![] };
    let currency = |row: usize| if row % 100 == 50 { "XXX" } else { ["EUR", "USD"][row % 2] };
    [
        column(Values::Float64(
            (0..rows).map(|row| (row * 7919 % 200_000) as f64 / 100.0).collect(),
        )),
        column(Values::Utf8((0..rows).map(currency).collect())),
        column(Values::Timestamp((0..rows as i64).map(|row| row * 10_000_000).collect())),
    ]
}
