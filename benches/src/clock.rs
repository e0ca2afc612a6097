//! Time that was worked, not time that passed: other programs on the machine do not count.

use rustix::{
    thread::{CpuSet, sched_setaffinity},
    time::{ClockId, clock_gettime},
};

/// What this thread has used, in nanoseconds.
pub fn thread_nanoseconds() -> u64 {
    nanoseconds(ClockId::ThreadCPUTime)
}

/// What this process has used, all its threads and the kernel's work for them included.
pub fn process_nanoseconds() -> u64 {
    nanoseconds(ClockId::ProcessCPUTime)
}

fn nanoseconds(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

/// Keeps this thread, and all threads and processes that it starts, on the first processor. Every
/// row is then measured on the same core, and no cache is filled by moving.
pub fn stay_on_one_core() -> std::io::Result<()> {
    let mut first = CpuSet::new();
    first.set(0);
    Ok(sched_setaffinity(None, &first)?)
}

/// Lets this thread, and all threads and processes that it starts from here on, run anywhere.
pub fn use_all_cores() -> std::io::Result<()> {
    let mut all = CpuSet::new();
    (0..CpuSet::MAX_CPU).for_each(|processor| all.set(processor));
    Ok(sched_setaffinity(None, &all)?)
}
