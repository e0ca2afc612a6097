//! What Go's runtime asks of an operating system is answered inside the component, and why an
//! instance ended reaches the host.

use std::sync::{Arc, Mutex};

use tidegate_core::{
    Batch, Column, Reply, TransformFactory, Values,
    transform::{Breach, States, TransformError},
};
use tidegate_engine::{ConfigureOptions, Factory, LogSink};
use tidegate_tests::guests;

use super::{RUNTIME, cases::BATCH_TIME};

/// The guest and what it logs; None where it could not be built.
fn guest() -> Option<(Factory, Arc<Mutex<Vec<String>>>)> {
    let bytes = match guests::language("go-wasi") {
        Ok(bytes) => bytes,
        Err(reason) => {
            println!("SKIPPED: what Go asks of WASI: {reason}");
            return None;
        }
    };
    let lines = Arc::new(Mutex::new(Vec::new()));
    let written = Arc::clone(&lines);
    let log = LogSink::new(move |line| {
        let line = format!("{:?} {}", line.level, line.message);
        written.lock().expect("no test panics here").push(line);
    });
    let options = ConfigureOptions { log, ..ConfigureOptions::default() };
    let component = RUNTIME.load(&bytes).expect("it loads");
    Some((component.configure(options).expect("it takes its config"), lines))
}

/// Answers a batch whose second row is an action.
fn act(factory: &Factory, action: &str) -> Result<Reply, TransformError> {
    let column = |values| Column { values, presence: Vec::new() };
    let actions = column(Values::Utf8(["", action].iter().collect()));
    let now = column(Values::Timestamp(vec![BATCH_TIME.0; 2]));
    let states = States::default();
    factory.instantiate().expect("an instance").transform(&Batch {
        rows: 2,
        columns: &[&actions, &now],
        states: &states,
        batch_time: BATCH_TIME,
    })
}

fn answer(factory: &Factory, action: &str) -> String {
    let reply = act(factory, action).unwrap_or_else(|error| panic!("{action}: {error}"));
    let Values::Utf8(texts) = &reply.columns[0].values else { panic!("it is a text") };
    String::from_utf8_lossy(texts.get(1)).into_owned()
}

#[test]
fn go_gets_a_clock_that_stands_random_numbers_that_repeat_and_no_files() {
    let Some((factory, _)) = guest() else { return };
    assert_eq!(answer(&factory, "clock"), "2026-03-01T12:00:00.25Z");
    assert_eq!(answer(&factory, "sleep"), "1h0m0s");
    assert_eq!(answer(&factory, "random"), answer(&factory, "random"));
    assert_eq!(answer(&factory, "environment"), "0 0 true");
}

#[test]
fn what_go_prints_is_logged_line_by_line() {
    let Some((factory, lines)) = guest() else { return };
    answer(&factory, "print");
    let lines = lines.lock().expect("no test panics here").clone();
    assert_eq!(lines, ["Info one gr????e line", "Warn builtin 3", "Warn to stderr"]);
}

#[test]
fn a_panic_of_go_tells_its_text_its_place_and_its_row() {
    let Some((factory, lines)) = guest() else { return };
    for (action, words) in [
        ("nil-map", "assignment to entry in nil map"),
        ("index", "index out of range [5] with length 0"),
        ("nil-pointer", "nil pointer dereference"),
    ] {
        let error = act(&factory, action).expect_err(action);
        assert_eq!((error.breach, error.row), (Breach::Trap, Some(1)), "{action}: {error}");
        assert!(error.message.contains(words), "{action}: {error}");
        assert!(error.message.contains("main.go:"), "{action}: {error}");
    }
    assert!(lines.lock().expect("no test panics here").is_empty(), "a trace is not a log");
}

#[test]
fn what_go_cannot_recover_from_is_a_trap_or_a_refused_allocation() {
    let Some((factory, _)) = guest() else { return };
    // What is fatal to Go's runtime traps; its text does not get out.
    for action in ["goroutine", "deadlock"] {
        let error = act(&factory, action).expect_err(action);
        assert_eq!(error.breach, Breach::Trap, "{action}: {error}");
    }
    // Go's stacks grow, up to what an instance may have.
    for action in ["hoard", "recurse"] {
        let error = act(&factory, action).expect_err(action);
        assert_eq!(error.breach, Breach::Memory, "{action}: {error}");
    }
    act(&factory, "exit").expect_err("it leaves");
}
