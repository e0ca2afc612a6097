//! Lives seeds of the simulated fleet, for `cargo xtask simulate`.
//!
//! Each seed is lived in a process of its own, so that nothing of one is left in the next: the same
//! seed gives the same trace, alone or among others.

use std::{
    collections::BTreeMap,
    io,
    process::{Command, ExitCode, Stdio},
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Instant,
};

use anyhow::{Context, bail};
use clap::Parser;
use serde_json::{Value, json};
use tidegate_tests::simulation::{Bug, live};

/// Fleets of hosts over a stream, a table and a bucket in memory, with everything that goes wrong
/// between them. The same seed gives the same trace.
#[derive(Parser)]
struct Args {
    /// How many seeds.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Plants each bug in turn, and looks for the first seed that finds it.
    #[arg(long)]
    mutations: bool,
    /// Plants one bug.
    #[arg(long)]
    bug: Option<Bug>,
    /// Shows all that happens in the first seed, and lives no other.
    #[arg(long)]
    trace: bool,
    /// Ends with one JSON object on the last line.
    #[arg(long)]
    json: bool,
    /// How many seeds at a time; one for each processor where this is left out.
    #[arg(long)]
    jobs: Option<usize>,
    /// Lives the first seed in this process.
    #[arg(long, hide = true)]
    here: bool,
}

/// The machine's randomness, as the standard library and tokio ask for it: hash maps have the same
/// order in every process, and tasks that wait for one thing are woken in the same order. Nothing in
/// this program needs numbers that nobody can guess.
///
/// # Safety
/// `buffer` has room for `length` bytes, as its callers promise the C library's function of this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut u8, length: usize, _flags: u32) -> isize {
    // SAFETY: see above.
    unsafe { buffer.write_bytes(0x5a, length) };
    isize::try_from(length).unwrap_or(isize::MAX)
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    if args.here {
        let verdict = live(args.from, args.bug);
        if args.trace {
            verdict.trace.iter().for_each(|line| println!("{line}"));
        }
        println!(
            "{}",
            json!({
                "faults": verdict.faults,
                "produced": verdict.produced,
                "lost": verdict.lost,
                "duplicated": verdict.duplicated,
                "ranges": verdict.ranges,
                "violations": verdict.violations,
            })
        );
        return Ok(ExitCode::SUCCESS);
    }
    if args.trace {
        let mut shown = process(args.from, args.bug)?;
        let status = shown.arg("--trace").status().context("the simulation can't be started")?;
        return Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let jobs = args.jobs.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from));
    let end = args.from.saturating_add(args.seeds);

    let started = Instant::now();
    let mut sum = Sum::default();
    each(args.from..end, args.bug, jobs, false, &mut |seed, verdict| sum.add(seed, &verdict))?;
    let each_ms = started.elapsed().as_secs_f64() * 1e3 / args.seeds as f64;
    sum.show(&args, each_ms);

    let mut mutations = BTreeMap::new();
    for bug in Bug::ALL.into_iter().filter(|_| args.mutations) {
        let mut found: Option<u64> = None;
        each(args.from..end, Some(bug), jobs, true, &mut |seed, verdict| {
            if verdict.is_broken() {
                found = Some(found.map_or(seed, |it| it.min(seed)));
            }
        })?;
        match found {
            Some(seed) => println!("  {:<28}is found by seed {seed}", bug.name()),
            None => println!("  {:<28}IS NOT FOUND", bug.name()),
        }
        mutations.insert(bug.name(), found);
    }
    if args.json {
        let rerun = sum.failed.map(|seed| command(seed, args.bug));
        let summary = json!({
            "seeds": args.seeds,
            "first_seed": args.from,
            "produced": sum.produced,
            "ranges": sum.ranges,
            "faults": sum.faults,
            "lost": sum.lost,
            "duplicated": sum.duplicated,
            "violations": sum.violations,
            "mutations": mutations,
            "rerun": rerun,
        });
        println!("{summary}");
    }
    let failed = sum.failed.is_some() || mutations.values().any(Option::is_none);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// A process that lives one seed.
fn process(seed: u64, bug: Option<Bug>) -> io::Result<Command> {
    let mut process = Command::new(std::env::current_exe()?);
    process.arg("--here").arg("--from").arg(seed.to_string());
    if let Some(bug) = bug {
        process.args(["--bug", bug.name()]);
    }
    Ok(process)
}

/// Lives seeds, some at a time; where `until_broken`, none beyond the first that breaks a promise.
fn each(
    seeds: std::ops::Range<u64>,
    bug: Option<Bug>,
    jobs: usize,
    until_broken: bool,
    tell: &mut dyn FnMut(u64, Verdict),
) -> anyhow::Result<()> {
    let (next, end) = (AtomicU64::new(seeds.start), AtomicU64::new(seeds.end));
    let (done, verdicts) = std::sync::mpsc::sync_channel(jobs.max(1));
    thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            let (next, end, done) = (&next, &end, done.clone());
            scope.spawn(move || {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end.load(Ordering::Relaxed) {
                        return;
                    }
                    let verdict = Verdict::of(seed, bug);
                    let ends = verdict.as_ref().is_ok_and(Verdict::is_broken) && until_broken;
                    if ends || verdict.is_err() {
                        end.fetch_min(seed, Ordering::Relaxed);
                    }
                    if done.send((seed, verdict)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(done);
        verdicts.into_iter().try_for_each(|(seed, verdict)| {
            tell(seed, verdict?);
            Ok(())
        })
    })
}

/// What a seed came to, as its process has told it.
struct Verdict(Value);

impl Verdict {
    fn of(seed: u64, bug: Option<Bug>) -> anyhow::Result<Verdict> {
        let again = || format!("seed {seed} did not end; again: {}", command(seed, bug));
        let output = process(seed, bug)?.stderr(Stdio::inherit()).output().with_context(again)?;
        let text = String::from_utf8_lossy(&output.stdout);
        let told = text.lines().last().and_then(|line| serde_json::from_str(line).ok());
        match told.filter(|_| output.status.success()) {
            Some(told) => Ok(Verdict(told)),
            None => bail!("{}: {}", again(), output.status),
        }
    }

    fn number(&self, name: &str) -> u64 {
        self.0[name].as_u64().unwrap_or_default()
    }

    fn violations(&self) -> impl Iterator<Item = &str> {
        self.0["violations"].as_array().into_iter().flatten().filter_map(Value::as_str)
    }

    fn is_broken(&self) -> bool {
        self.violations().next().is_some()
    }
}

/// What all seeds came to.
#[derive(Default)]
struct Sum {
    faults: BTreeMap<String, u64>,
    produced: u64,
    lost: u64,
    duplicated: u64,
    ranges: u64,
    violations: u64,
    /// Seeds in which a promise was broken, with the first of each.
    broken: BTreeMap<u64, Vec<String>>,
    failed: Option<u64>,
}

impl Sum {
    fn add(&mut self, seed: u64, verdict: &Verdict) {
        for (fault, count) in verdict.0["faults"].as_object().into_iter().flatten() {
            *self.faults.entry(fault.clone()).or_default() += count.as_u64().unwrap_or_default();
        }
        self.produced += verdict.number("produced");
        self.lost += verdict.number("lost");
        self.duplicated += verdict.number("duplicated");
        self.ranges += verdict.number("ranges");
        self.violations += verdict.violations().count() as u64;
        if verdict.is_broken() {
            let first = verdict.violations().take(5).map(str::to_owned);
            self.broken.insert(seed, first.collect());
            self.failed = Some(self.failed.map_or(seed, |it| it.min(seed)));
        }
    }

    fn show(&self, args: &Args, each_ms: f64) {
        for (seed, violations) in &self.broken {
            println!("seed {seed} broke a promise:");
            violations.iter().for_each(|it| println!("  {it}"));
            println!("  again: {}", command(*seed, args.bug));
        }
        let faults: u64 = self.faults.values().sum();
        println!(
            "{} seeds from {} on, {each_ms:.0} ms each: {} records in {} ranges, {faults} faults",
            args.seeds, args.from, self.produced, self.ranges,
        );
        for (fault, count) in &self.faults {
            println!("  {fault:<20}{count:>12}");
        }
        let Sum { lost, duplicated, violations, .. } = self;
        println!("  lost {lost}, duplicated {duplicated}, violations {violations}");
    }
}

/// How a seed is lived again, for people.
fn command(seed: u64, bug: Option<Bug>) -> String {
    let bug = bug.map(|it| format!(" --bug {}", it.name())).unwrap_or_default();
    format!("cargo xtask simulate --seeds 1 --from {seed}{bug} --trace")
}
