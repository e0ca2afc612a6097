//! A machine that gives a process little: no address space for a pool of instances, and then no
//! memory for one more. This test has a process of its own, for it limits what that may have.
#![cfg(target_os = "linux")]

use std::fs;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tidegate_core::{
    Batch, Column, Reply, Timestamp, Transform, TransformFactory, Values,
    failure::Failure,
    transform::{Breach, States, TransformError},
};
use tidegate_engine::{ConfigureOptions, Runtime, RuntimeOptions};
use tidegate_tests::guests;

/// Enough for the compiler, and a three-hundredth of what a pool reserves.
const ADDRESS_SPACE_BYTES: u64 = 3 << 30;

/// Limits the process's address space to what it holds now, and so many bytes.
fn leave(bytes: u64) {
    let status = fs::read_to_string("/proc/self/status").expect("Linux tells of a process");
    let held = status.lines().find_map(|line| line.strip_prefix("VmSize:")).expect("its size");
    let held: u64 = held.trim().trim_end_matches(" kB").parse().expect("a number of KiB");
    let maximum = getrlimit(Resource::As).maximum;
    let limit = Rlimit { current: Some((held << 10) + bytes), maximum };
    setrlimit(Resource::As, limit).expect("a process may lower its limit");
}

fn call(instance: &mut dyn Transform, amounts: &[f64]) -> Result<Reply, TransformError> {
    let column = Column { values: Values::Float64(amounts.to_vec()), presence: vec![] };
    let states = States::default();
    let rows = amounts.len() as u32;
    instance.transform(&Batch {
        rows,
        columns: &[&column],
        states: &states,
        batch_time: Timestamp(0),
    })
}

#[test]
fn a_machine_with_little_memory_blames_no_record() {
    leave(ADDRESS_SPACE_BYTES);
    let runtime =
        Runtime::new(RuntimeOptions::default()).expect("the engine starts without a pool");
    let load = |name: &str| runtime.load(&guests::component(name)).expect("the guest loads");
    let grants = || ConfigureOptions::default();
    let well = load("hidden-state").configure(grants()).expect("the guest takes its config");
    let greedy = load("allocate").configure(grants()).expect("the guest takes its config");

    // The limits hold as they do in a pool.
    let mut instance = greedy.instantiate().expect("a fresh instance");
    let error = call(&mut *instance, &[1.0, 13.0]).expect_err("it wants more than it may have");
    assert_eq!(error.breach, Breach::Memory, "{error}");
    drop(instance);

    let mut instance = well.instantiate().expect("a fresh instance");
    let usual = call(&mut *instance, &[1.0, 2.0]).expect("a reply");

    leave(0);
    let Err(error) = well.instantiate() else { panic!("there is no room for an instance") };
    assert_eq!(error.breach, Breach::Exhausted, "{error}");
    assert!(matches!(error.failure(), Failure::Retry { after: Some(_) }), "{error}");
    assert!(error.message.contains("no room for the instance"), "{error}");

    leave(ADDRESS_SPACE_BYTES);
    let mut instance = well.instantiate().expect("there is room again");
    assert_eq!(call(&mut *instance, &[1.0, 2.0]).expect("a reply"), usual);
}
