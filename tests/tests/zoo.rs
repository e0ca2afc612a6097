//! The guest zoo at the engine: each misbehaviour has exactly its reason, and costs nobody else
//! anything.

use std::{
    collections::BTreeSet,
    fmt::Display,
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use tidegate_core::{
    Batch, Binary, Column, Reply, Timestamp, Transform, TransformFactory, Values,
    description::Capability,
    failure::Failure,
    transform::{Breach, States, TransformError},
};
use tidegate_engine::{
    Component, ConfigureError, ConfigureOptions, Factory, Limit, Limits, LoadError, LogSink,
    Runtime, RuntimeOptions,
};
use tidegate_tests::guests;

/// One runtime for all tests: what one guest does must not touch another.
static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Runtime::new(RuntimeOptions::default()).expect("the engine starts"));

/// The amount at which a guest misbehaves.
const POISON: f64 = 13.0;

fn load(name: &str) -> Component {
    RUNTIME.load(&guests::component(name)).expect("the guest loads")
}

fn configure(name: &str) -> Factory {
    load(name).configure(granting(&[])).expect("the guest takes its config")
}

fn granting(grants: &[Capability]) -> ConfigureOptions {
    ConfigureOptions { grants: grants.iter().copied().collect(), ..ConfigureOptions::default() }
}

/// Calls an instance with a column of amounts.
fn call(instance: &mut dyn Transform, amounts: &[f64]) -> Result<Reply, TransformError> {
    let column = Column { values: Values::Float64(amounts.to_vec()), presence: vec![] };
    call_with(instance, amounts.len() as u32, &[&column])
}

fn call_with(
    instance: &mut dyn Transform,
    rows: u32,
    columns: &[&Column],
) -> Result<Reply, TransformError> {
    let states = States::default();
    instance.transform(&Batch {
        rows,
        columns,
        states: &states,
        batch_time: Timestamp(1_772_366_400_250_000),
    })
}

/// A guest that is well until its poison: the breach and a word of the message, and that a fresh
/// instance goes on as if nothing had been.
#[track_caller]
fn check(name: &str, breach: Breach, words: &str) -> TransformError {
    check_factory(&configure(name), breach, words)
}

#[track_caller]
fn check_factory(factory: &Factory, breach: Breach, words: &str) -> TransformError {
    let neighbour = configure("hidden-state");
    let mut beside = neighbour.instantiate().expect("room for a neighbour");
    let mut instance = factory.instantiate().expect("a fresh instance");
    let error = call(&mut *instance, &[1.0, POISON]).expect_err("the guest misbehaves");
    assert_eq!(error.breach, breach, "{error}");
    assert!(error.message.contains(words), "{words:?} is not in {:?}", error.message);
    // The failed one stays out of use, the next one is as good as new.
    call(&mut *instance, &[1.0]).expect_err("an instance that failed is not called again");
    let mut next = factory.instantiate().expect("a fresh instance");
    call(&mut *next, &[1.0, 2.0]).expect("a batch without poison passes");
    // And the other plugin, which was running all the while, has noticed nothing.
    let sums = call(&mut *beside, &[1.0, 2.0]).expect("the neighbour goes on");
    assert_eq!(sums.columns[0].values, Values::Float64(vec![1.0, 3.0]));
    error
}

/// Why a component is not loaded, as people read it.
#[track_caller]
fn refused(name: &str) -> LoadError {
    RUNTIME.load(&guests::component(name)).expect_err("the guest is refused")
}

#[track_caller]
fn says(error: impl Display, words: &[&str]) {
    let text = error.to_string();
    words.iter().for_each(|word| assert!(text.contains(word), "{word:?} is not in {text:?}"));
}

#[test]
fn a_guest_that_behaves_is_answered() {
    let factory = configure("annotate");
    let mut instance = factory.instantiate().expect("a fresh instance");
    let column = |values| Column { values, presence: vec![] };
    let amounts = column(Values::Float64(vec![5.0, 50.0, 5000.0]));
    let currencies = column(Values::Utf8(["EUR", "XXX", "USD"].iter().collect()));
    let times = column(Values::Timestamp(vec![0, 86_400_000_000, -1]));
    let reply = call_with(&mut *instance, 3, &[&amounts, &currencies, &times]).expect("a reply");
    assert_eq!(reply.columns[0].values, Values::Enumeration(vec![0, 1, 3]));
    assert_eq!(reply.columns[1].values, Values::Boolean(vec![0, 0, 1]));
    assert_eq!(reply.columns[2].values, Values::Date(vec![0, 1, -1]));
    assert_eq!((reply.findings.rows, reply.findings.rules), (vec![1], vec![0]));
    assert!(instance.memory_bytes() > 0);
}

#[test]
fn an_empty_batch_is_a_batch() {
    let mut instance = configure("hidden-state").instantiate().expect("a fresh instance");
    let reply = call(&mut *instance, &[]).expect("a reply");
    assert_eq!(reply.columns[0].values, Values::Float64(vec![]));
}

#[test]
fn a_panic_carries_its_text_its_row_and_its_backtrace() {
    let error = check("trap-on-one", Breach::Trap, "there is no such amount");
    assert_eq!(error.row, Some(1));
    let judge = error.backtrace.iter().position(|frame| frame.contains("judge"));
    let transform = error.backtrace.iter().position(|frame| frame.contains("transform"));
    assert!(judge.is_some() && judge < transform, "innermost first: {:?}", error.backtrace);
    assert_eq!(error.failure(), Failure::Reject);
}

#[test]
fn a_trap_without_words_is_named_and_its_hint_is_kept_as_a_hint() {
    let error = check("trap-silently", Breach::Trap, "unreachable");
    assert_eq!(error.row, Some(2), "there is no row 2: the pipeline must not trust it");
}

#[test]
fn a_guest_that_always_traps_gets_a_fresh_instance_every_time() {
    let factory = configure("trap-on-every");
    for _ in 0..3 {
        let mut instance = factory.instantiate().expect("a fresh instance");
        let error = call(&mut *instance, &[1.0]).expect_err("it traps");
        assert_eq!((error.breach, error.row), (Breach::Trap, Some(0)));
        assert!(error.message.contains("never any good"));
    }
}

#[test]
fn a_trap_in_configure_is_a_config_error() {
    let error = load("trap-in-configure").configure(granting(&[])).expect_err("it traps");
    assert!(matches!(&error, ConfigureError::Failed(error)
        if error.breach == Breach::Trap && error.message.contains("no config suits me")));
    assert_eq!(error.failure(), Failure::Fatal);
}

#[test]
fn a_refused_config_says_where_and_why() {
    let error = load("refuse-config").configure(granting(&[])).expect_err("it refuses");
    says(&error, &["guest", "/bands/0", "a band has no end"]);
    let mut options = granting(&[]);
    options.config_json = "{".into();
    let error = load("refuse-config").configure(options).expect_err("that is no JSON");
    assert!(matches!(error, ConfigureError::NotJson(_)));
}

#[test]
fn spinning_ends_with_the_fuel() {
    let error = check("spin", Breach::Fuel, "fuel");
    assert_eq!(error.failure(), Failure::Reject);
    assert!(!error.backtrace.is_empty());
}

#[test]
fn spinning_ends_with_the_time_where_there_is_fuel() {
    let limits = Limits {
        fuel: Limit { base: u64::MAX / 4, per_row: 0 },
        time: Duration::from_millis(50),
        time_per_row: Duration::ZERO,
        ..Limits::default()
    };
    let factory = load("spin")
        .configure(ConfigureOptions { limits, ..granting(&[]) })
        .expect("the guest takes its config");
    let error = check_factory(&factory, Breach::Time, "deadline");
    // Time depends on the weather: nobody is poison by it.
    assert_eq!(error.failure(), Failure::RETRY);
    let mut patient = factory.instantiate_patient(4).expect("a fresh instance");
    let started = std::time::Instant::now();
    call(&mut *patient, &[POISON]).expect_err("it still spins");
    assert!(started.elapsed() >= Duration::from_millis(190), "four times the time");
}

#[test]
fn allocating_ends_with_the_memory_limit_and_not_as_a_panic() {
    check("allocate", Breach::Memory, "bytes of memory of 67108864 allowed");
    let error = check("panic-when-refused", Breach::Memory, "room for a gigabyte");
    assert!(error.message.contains("allowed"));
}

#[test]
fn a_guest_that_does_not_fit_at_all_is_told_so_at_configure() {
    let limits = Limits { memory_bytes: 64 << 10, ..Limits::default() };
    let error = load("annotate")
        .configure(ConfigureOptions { limits, ..granting(&[]) })
        .expect_err("it starts with more");
    assert!(matches!(error, ConfigureError::Failed(error) if error.breach == Breach::Memory));
}

#[test]
fn recursing_ends_with_the_stack() {
    check("recurse", Breach::Stack, "too deeply");
}

#[test]
fn lies_about_counts_are_found() {
    check("lie-about-counts", Breach::Reply, "1001 values for 2 rows");
    check("undeclared-column", Breach::Reply, "2 columns for 1 declared writes");
}

#[test]
fn lies_about_offsets_are_found() {
    check("lie-about-offsets", Breach::Reply, "offsets decrease");
    check("lie-about-ends", Breach::Reply, "offsets end at 400 of 4 bytes");
}

#[test]
fn lies_about_pointers_are_found() {
    check("lie-about-pointers", Breach::Reply, "out of bounds");
}

#[test]
fn lies_about_text_are_found() {
    check("lie-about-utf8", Breach::Reply, "not UTF-8");
    check("split-characters", Breach::Reply, "inside a character");
    check("not-json", Breach::Reply, "not JSON");
}

#[test]
fn lies_about_rows_and_rules_are_found() {
    check("lie-about-rows", Breach::Reply, "a finding's row");
    check("lie-about-rules", Breach::Reply, "a finding's rule");
    check("lie-about-verdicts", Breach::Reply, "verdict has the code 7");
    check("reject-without-rule", Breach::Reply, "row 1 is gone without a finding");
}

#[test]
fn lies_about_codes_and_values_are_found() {
    check("lie-about-codes", Breach::Reply, "outside the dictionary");
    check("not-finite", Breach::Reply, "row 0 has a float that is not finite");
    check("far-future", Breach::Reply, "outside the years");
    check("undeclared-kind", Breach::Reply, "not of the declared kind float64");
}

#[test]
fn what_was_not_granted_can_not_be_answered() {
    check("fan-out-ungranted", Breach::Reply, "without the capability `fan-out`");
    check("undeclared-state", Breach::Reply, "declares none");
}

#[test]
fn floods_of_findings_and_bytes_are_stopped() {
    check("flood-findings", Breach::Findings, "100000 findings of 48 allowed");
    let error = check("flood-reply", Breach::ReplyBytes, "more");
    assert_eq!(error.breach.code(), "plugin-reply-bytes");
    // Fuel does not pay for what the host copies, and time must not be what ends it.
    check("shout", Breach::ReplyBytes, "more to and from the host");
}

#[test]
fn a_flood_of_log_lines_is_counted_and_suppressed() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let written = Arc::clone(&lines);
    let log = LogSink::new(move |line| {
        written.lock().expect("no test panics here").push(line.message.to_owned());
    });
    let factory = load("flood-logs")
        .configure(ConfigureOptions { log, ..granting(&[]) })
        .expect("the guest takes its config");
    let mut instance = factory.instantiate().expect("a fresh instance");
    for _ in 0..2 {
        call(&mut *instance, &[1.0]).expect("logging is no crime");
        let lines = std::mem::take(&mut *lines.lock().expect("no test panics here"));
        assert_eq!(lines.len(), 17);
        assert_eq!((&*lines[0], &*lines[15]), ("line 0", "line 15"));
        assert_eq!(lines[16], "suppressed 984 lines");
    }
}

#[test]
fn a_state_that_grows_past_its_bound_is_stopped() {
    let factory = load("flood-state").configure(granting(&[Capability::State])).expect("granted");
    let column = Column { values: Values::Float64(vec![1.0, POISON]), presence: vec![] };
    let states = States { rows: vec![0, 0], values: Binary::from_iter([""]) };
    let mut instance = factory.instantiate().expect("a fresh instance");
    let error = instance
        .transform(&Batch {
            rows: 2,
            columns: &[&column],
            states: &states,
            batch_time: Timestamp::default(),
        })
        .expect_err("the state is too large");
    assert_eq!(error.breach, Breach::StateBytes);
    says(&error, &["1048576 bytes of 65536"]);
}

#[test]
fn a_capability_must_be_asked_for_and_granted() {
    let error = load("ask-too-much").configure(granting(&[])).expect_err("not granted");
    says(&error, &["ask-too-much", "`document`", "grants"]);
    let all: BTreeSet<_> = Capability::ALL.into();
    load("ask-too-much")
        .configure(ConfigureOptions { grants: all.clone(), ..ConfigureOptions::default() })
        .expect("granted");
    // Grants alone open nothing: what isn't asked for isn't shown to the operator either.
    let error = load("use-unasked")
        .configure(ConfigureOptions { grants: all, ..ConfigureOptions::default() })
        .expect_err("it did not ask");
    says(&error, &["replaces the whole record", "`document`"]);
    says(refused("ask-unknown"), &["`network`", "state, fan-out, document, lookups"]);
}

#[test]
fn another_contract_is_named_with_ours() {
    says(refused("other-contract"), &["0.2.0", "0.1.0"]);
}

#[test]
fn an_import_that_nobody_offers_is_named() {
    says(refused("import-unknown"), &["somebody:other/clock@1.0.0", "tidegate:plugin/host"]);
}

#[test]
fn what_is_no_component_is_refused() {
    let refuse = |bytes: &[u8]| RUNTIME.load(bytes).expect_err("that is no component");
    assert!(matches!(refuse(b""), LoadError::NotWasm(_)));
    assert!(matches!(refuse(b"#!/bin/sh"), LoadError::NotWasm(_)));
    assert!(matches!(refuse(b"\0asm\x01\0\0\0"), LoadError::CoreModule));
    assert!(matches!(refuse(b"\0asm\x0d\0\x01\0"), LoadError::NoPlugin { .. }));
    let mut cut = guests::component("annotate");
    cut.truncate(cut.len() / 2);
    assert!(matches!(refuse(&cut), LoadError::NotWasm(_)));
}

/// Runs amounts cut into batches of some size on a fresh instance, and returns what was written.
fn run(factory: &Factory, batch_rows: usize) -> Vec<f64> {
    let mut instance = factory.instantiate().expect("a fresh instance");
    let amounts: Vec<f64> = (0..12).map(f64::from).map(|n| n + 100.0).collect();
    let replies =
        amounts.chunks(batch_rows).map(|rows| call(&mut *instance, rows).expect("a reply"));
    let written = |reply: Reply| match reply.columns.into_iter().next().map(|column| column.values)
    {
        Some(Values::Float64(values)) => values,
        other => panic!("not floats: {other:?}"),
    };
    replies.flat_map(written).collect()
}

#[test]
fn impure_guests_show_when_batches_are_cut_otherwise() {
    for name in ["batch-boundaries", "random-order-map"] {
        let factory = configure(name);
        assert_eq!(run(&factory, 12), run(&factory, 12), "{name}: fresh instances are alike");
        assert_ne!(run(&factory, 12), run(&factory, 5), "{name}: other batches show it");
    }
    // A state that leaks from batch to batch shows when a batch is run on its own.
    let factory = configure("hidden-state");
    let mut instance = factory.instantiate().expect("a fresh instance");
    call(&mut *instance, &[1.0]).expect("a reply");
    let second = call(&mut *instance, &[2.0]).expect("a reply");
    let mut fresh = factory.instantiate().expect("a fresh instance");
    assert_ne!(second, call(&mut *fresh, &[2.0]).expect("a reply"));
}

#[test]
fn wasi_is_empty_and_deterministic() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let written = Arc::clone(&lines);
    let log = LogSink::new(move |line| {
        written.lock().expect("no test panics here").push(line.message.to_owned());
    });
    let component = load("wasi");
    assert!(component.interface().imports.iter().any(|import| import.starts_with("wasi:sockets/")));
    let factory = component
        .configure(ConfigureOptions { log, ..granting(&[]) })
        .expect("the guest takes its config");
    let answer = || {
        let mut instance = factory.instantiate().expect("a fresh instance");
        let started = std::time::Instant::now();
        let reply = call(&mut *instance, &[1.0]).expect("a reply");
        assert!(started.elapsed() < Duration::from_secs(1), "nobody sleeps");
        reply.columns.into_iter().map(|column| column.values).collect::<Vec<_>>()
    };
    let first = answer();
    // The batch's time, moved on by what the guest thinks it slept.
    assert_eq!(first[0], Values::Int64(vec![1_772_366_401_750_000]));
    assert_eq!(first[2], Values::Int64(vec![0]), "no environment, no arguments");
    assert_eq!(first[3], Values::Int64(vec![1500]));
    assert_eq!(first[4], Values::Boolean(vec![0]), "no files");
    assert_eq!(first, answer(), "random numbers repeat in every instance");
    assert_eq!(lines.lock().expect("no test panics here")[0], "hello from WASI");
    let fails = |amount: f64, words: &str| {
        let mut instance = factory.instantiate().expect("a fresh instance");
        let error = call(&mut *instance, &[amount]).expect_err("it fails");
        assert_eq!(error.breach, Breach::Trap);
        assert!(error.message.contains(words), "{words:?} is not in {:?}", error.message);
    };
    fails(80.0, "called `wasi:sockets/");
    // A panic that went to standard error is told all the same.
    fails(POISON, "nobody told the host of this");
}

#[test]
fn the_pool_says_when_it_is_used_up() {
    let options = RuntimeOptions { instances_max: 2, ..RuntimeOptions::default() };
    let runtime = Runtime::new(options).expect("the engine starts");
    let component = runtime.load(&guests::component("annotate")).expect("the guest loads");
    let factory = component.configure(granting(&[])).expect("the guest takes its config");
    let _held: Vec<_> = (0..2).map(|_| factory.instantiate().expect("room for two")).collect();
    let Err(error) = factory.instantiate() else { panic!("there is no room for three") };
    assert_eq!(error.breach, Breach::Exhausted);
    assert!(matches!(error.failure(), Failure::Retry { after: Some(_) }));
}

#[test]
fn a_compiled_component_is_kept_and_a_damaged_one_is_not_run() {
    use std::os::unix::fs::PermissionsExt as _;

    let directory = tempfile::tempdir().expect("a directory");
    let cache = directory.path().join("cache");
    let open =
        || Runtime::new(RuntimeOptions { cache: Some(cache.clone()), ..RuntimeOptions::default() });
    let bytes = guests::component("annotate");
    open().expect("the engine starts").load(&bytes).expect("it is compiled");
    let files = || -> Vec<_> {
        let entries = std::fs::read_dir(&cache).expect("the cache is there");
        entries.map(|entry| entry.expect("an entry").path()).collect()
    };
    let [file] = &files()[..] else { panic!("one component is kept: {:?}", files()) };
    let kept = std::fs::read(file).expect("it can be read");
    open().expect("the engine starts").load(&bytes).expect("it is found");
    // A bit that turned is noticed, and the component compiled again over it.
    let mut damaged = kept.clone();
    damaged[kept.len() / 2] ^= 1;
    std::fs::write(file, &damaged).expect("it can be written");
    open().expect("the engine starts").load(&bytes).expect("it is compiled again");
    assert_eq!(std::fs::read(file).expect("it can be read"), kept);
    // A directory that others may enter is not used.
    std::fs::set_permissions(&cache, std::fs::Permissions::from_mode(0o755)).expect("it is ours");
    let error = open().expect_err("the cache is not private");
    let source = std::error::Error::source(&error).expect("it says why");
    says(source, &["0755", "0700"]);
}

#[test]
fn a_memory_limit_past_the_pool_is_refused_at_configure() {
    let limits = Limits { memory_bytes: 1 << 40, ..Limits::default() };
    let error = load("annotate")
        .configure(ConfigureOptions { limits, ..granting(&[]) })
        .expect_err("the pool is smaller");
    assert!(matches!(error, ConfigureError::Memory { .. }));
}

#[test]
fn instances_run_on_many_threads_at_once() {
    let factory = configure("hidden-state");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let mut instance = factory.instantiate().expect("a fresh instance");
                    let reply = call(&mut *instance, &[1.0, 1.0]).expect("a reply");
                    assert_eq!(reply.columns[0].values, Values::Float64(vec![1.0, 2.0]));
                }
            });
        }
    });
}

#[cfg(target_os = "linux")]
#[test]
fn what_is_compiled_gives_way_to_what_flows() {
    load("annotate");
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux tells of a process's threads");
    let of_task = |task: std::path::PathBuf, file| std::fs::read_to_string(task.join(file)).ok();
    let compiler = tasks
        .filter_map(|task| Some(task.ok()?.path()))
        .find(|task| {
            of_task(task.clone(), "comm").is_some_and(|name| name.trim() == "wasm-compiler")
        })
        .expect("a thread compiles");
    let status = of_task(compiler, "stat").expect("a thread has a status");
    // Behind the name, which may hold anything, in brackets: the 17th field is the niceness.
    let (_, fields) = status.rsplit_once(") ").expect("a name in brackets");
    assert_eq!(fields.split(' ').nth(16), Some("19"), "{fields}");
}
