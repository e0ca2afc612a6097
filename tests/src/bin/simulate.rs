//! Lives seeds of the simulated fleet, for `cargo xtask simulate`.

use std::{collections::BTreeMap, process::ExitCode, time::Instant};

use clap::Parser;
use serde_json::json;
use tidegate_tests::simulation::{Bug, Verdict, live};

/// Fleets of hosts over a stream, a table and a bucket in memory, with everything that goes wrong
/// between them. The same seed gives the same trace.
#[derive(Parser)]
struct Args {
    /// How many seeds.
    #[arg(long, default_value_t = 200)]
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
    /// Shows all that happens. For one seed.
    #[arg(long)]
    trace: bool,
    /// Ends with one JSON object on the last line.
    #[arg(long)]
    json: bool,
}

/// What all seeds came to.
#[derive(Default)]
struct Sum {
    faults: BTreeMap<&'static str, u64>,
    produced: u64,
    lost: u64,
    duplicated: u64,
    ranges: u64,
    violations: u64,
    /// The first seed in which a promise was broken.
    failed: Option<u64>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let started = Instant::now();
    let mut sum = Sum::default();
    let seeds = args.from..args.from.saturating_add(args.seeds);
    for seed in seeds.clone() {
        let verdict = live(seed, args.bug);
        if args.trace {
            verdict.trace.iter().for_each(|line| println!("{line}"));
        }
        if !verdict.violations.is_empty() {
            tell(seed, args.bug, &verdict);
        }
        sum.add(seed, verdict);
    }
    let per_seed = started.elapsed().as_secs_f64() / args.seeds.max(1) as f64;
    let faults: u64 = sum.faults.values().sum();
    println!(
        "{} seeds from {} on, {:.0} ms each: {} records in {} ranges, {faults} faults",
        args.seeds,
        args.from,
        per_seed * 1e3,
        sum.produced,
        sum.ranges,
    );
    for (fault, count) in &sum.faults {
        println!("  {fault:<20}{count:>10}");
    }
    println!("  lost {}, duplicated {}, violations {}", sum.lost, sum.duplicated, sum.violations);
    let mut mutations = BTreeMap::new();
    if args.mutations {
        for bug in Bug::ALL {
            let found = seeds.clone().find(|seed| !live(*seed, Some(bug)).violations.is_empty());
            match found {
                Some(seed) => println!("  {bug:<28}is found by seed {seed}"),
                None => println!("  {bug:<28}IS NOT FOUND"),
            }
            mutations.insert(bug.name(), found);
        }
    }
    let failed = sum.failed.is_some() || mutations.values().any(Option::is_none);
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
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Says what a seed broke, and how to live it again.
fn tell(seed: u64, bug: Option<Bug>, verdict: &Verdict) {
    println!("seed {seed} broke {} promises:", verdict.violations.len());
    verdict.violations.iter().take(5).for_each(|it| println!("  {it}"));
    println!("  again: {}", command(seed, bug));
}

fn command(seed: u64, bug: Option<Bug>) -> String {
    let bug = bug.map(|it| format!(" --bug {it}")).unwrap_or_default();
    format!("cargo xtask simulate --seeds 1 --from {seed}{bug} --trace")
}

impl Sum {
    fn add(&mut self, seed: u64, verdict: Verdict) {
        for (fault, count) in verdict.faults {
            *self.faults.entry(fault).or_default() += count;
        }
        self.produced += verdict.produced;
        self.lost += verdict.lost;
        self.duplicated += verdict.duplicated;
        self.ranges += verdict.ranges;
        self.violations += verdict.violations.len() as u64;
        if !verdict.violations.is_empty() {
            self.failed.get_or_insert(seed);
        }
    }
}
