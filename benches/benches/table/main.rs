//! The table of `docs/performance.md`: what each part of the data path costs a record, beside the
//! same plugins linked natively and beside programs that do the same work without Tidegate.
//!
//! `cargo xtask bench` builds what it needs and runs it. Every row is CPU time on one core over the
//! same file of transactions. Rows are measured in turns, round by round, and each shows its best
//! round: what else the machine does can only make a round worse, and hits all rows alike. What
//! the ways to do the work come to is compared, record by record, before anything is timed.

mod calls;
mod checks;
mod formats;
mod lookups;
mod parse;
mod peers;
mod sweep;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;
use clap::Parser;
use serde_json::{Map, Value, json};
use tidegate_benches::{
    agree, clock, run, transactions,
    work::{self, Extras, Plugins},
};
use tidegate_core::RecordBatch;
use tidegate_engine::{Runtime, RuntimeOptions};
use tidegate_pipeline::{Plan, Report, Settings, plan::Purity};

use self::{checks::Checks, peers::Peers};

#[derive(Parser)]
struct Args {
    /// Ends with one JSON object of all rows and ratios.
    #[arg(long)]
    json: bool,
    /// Also batch sizes, record sizes, chain lengths, cores, and a table of ten million rows.
    #[arg(long)]
    sweep: bool,
    /// How many transactions.
    #[arg(long, default_value_t = 100_000)]
    records: u64,
    /// How often each row is measured.
    #[arg(long, default_value_t = 9)]
    rounds: u32,
    /// Leaves out rows whose names have none of these words.
    words: Vec<String>,
    /// What cargo passes to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

/// One row of the table: what it is called, and how long one round takes a record.
struct Row<'a> {
    name: String,
    round: Box<dyn FnMut() -> anyhow::Result<f64> + 'a>,
    best: f64,
}

/// The rows, in the order in which they are printed.
#[derive(Default)]
struct Table<'a>(Vec<Row<'a>>);

impl<'a> Table<'a> {
    /// Adds a row whose round gives nanoseconds a record.
    fn add(&mut self, name: impl Into<String>, round: impl FnMut() -> anyhow::Result<f64> + 'a) {
        let round = Box::new(round);
        self.0.push(Row { name: name.into(), round, best: f64::INFINITY });
    }

    /// Adds a row of work on this thread.
    fn add_work(
        &mut self,
        name: impl Into<String>,
        records: u64,
        mut work: impl FnMut() -> anyhow::Result<()> + 'a,
    ) {
        self.add(name, move || {
            let begin = clock::thread_nanoseconds();
            work()?;
            Ok((clock::thread_nanoseconds() - begin) as f64 / records as f64)
        });
    }

    /// Measures all rows that are asked for, in turns.
    fn measure(&mut self, rounds: u32, words: &[String]) -> anyhow::Result<()> {
        if !words.is_empty() {
            self.0.retain(|row| words.iter().any(|word| row.name.contains(word.as_str())));
        }
        for _ in 0..rounds {
            for row in &mut self.0 {
                let taken = (row.round)().with_context(|| format!("measure {}", row.name))?;
                row.best = row.best.min(taken);
            }
        }
        Ok(())
    }

    /// The best of a row, if it was measured.
    fn best(&self, name: &str) -> Option<f64> {
        self.0.iter().find(|row| row.name == name).map(|row| row.best)
    }
}

/// Where the parts lie that `cargo xtask bench` has built.
struct Built {
    plugins: PathBuf,
    peers: Peers,
}

impl Built {
    fn find() -> anyhow::Result<Self> {
        let path = |name: &str| {
            let path = std::env::var_os(name).map(PathBuf::from);
            path.with_context(|| format!("{name} is not set: run `cargo xtask bench`"))
        };
        Ok(Built { plugins: path("TIDEGATE_PLUGINS")?, peers: Peers(path("TIDEGATE_PEERS")?) })
    }
}

/// One set of rows: everybody does the same work, with or without the record's id.
struct Contest {
    suffix: &'static str,
    extras: Extras,
    native: Arc<Plan>,
    components: Arc<Plan>,
    /// The components as `tidegate run` has them, which reruns a batch in a thousand.
    sampled: Arc<Plan>,
}

impl Contest {
    fn new(suffix: &'static str, extras: Extras, plugins: &Plugins) -> anyhow::Result<Self> {
        let stages = work::chain(extras);
        Ok(Contest {
            suffix,
            extras,
            native: Plugins::Native.plan(&stages, Purity::Off)?,
            components: plugins.plan(&stages, Purity::Off)?,
            sampled: plugins.plan(&stages, Purity::Sample { one_in: 1_000 })?,
        })
    }

    /// Compares what all of them make of the transactions.
    fn agree(&self, scene: &Scene<'_>) -> anyhow::Result<u64> {
        let native = scene.io.block_on(run::output(&self.native, &scene.batches))?;
        let components = scene.io.block_on(run::output(&self.components, &scene.batches))?;
        let native = ("the native chain", &native);
        agree::check(native, ("the chain of components", &components))?;
        let directory = tempfile::tempdir_in(scene.directory)?;
        let report = scene.pipeline(&self.sampled, directory.path())?;
        let written = run::written(&self.sampled, &report, directory.path())?;
        agree::check(native, ("the pipeline", &written))?;
        for peer in ["straightforward", "remap"] {
            let output = scene.peers.output(peer, scene.input, self.extras, scene.directory)?;
            agree::check(native, (peer, &output))?;
        }
        Ok(native.1.refused)
    }

    fn add_rows<'a>(&'a self, table: &mut Table<'a>, scene: &'a Scene<'a>) {
        let name = |name: &str| format!("{name}{}", self.suffix);
        let chains = [("native_chain", &self.native), ("component_chain", &self.components)];
        for (row, plan) in chains {
            table.add_work(name(row), scene.records, move || {
                scene.io.block_on(run::splice(plan, &scene.batches))
            });
        }
        table.add(name("pipeline"), move || {
            let directory = tempfile::tempdir_in(scene.directory)?;
            let begin = clock::process_nanoseconds();
            scene.pipeline(&self.sampled, directory.path())?;
            Ok((clock::process_nanoseconds() - begin) as f64 / scene.records as f64)
        });
        for (row, peer) in [("straightforward", "straightforward"), ("vrl", "remap")] {
            table.add(name(row), move || scene.peers.measure(peer, scene.input, self.extras));
        }
    }
}

/// What all rows work on and with.
struct Scene<'a> {
    io: &'a tokio::runtime::Runtime,
    directory: &'a Path,
    input: &'a Path,
    records: u64,
    batches: Vec<RecordBatch>,
    peers: &'a Peers,
}

impl Scene<'_> {
    /// The whole pipeline over the transactions, as it comes.
    fn pipeline(&self, plan: &Arc<Plan>, directory: &Path) -> anyhow::Result<Report> {
        let settings = Settings::default();
        self.io.block_on(run::pipeline(plan, self.input, directory, 1, settings))
    }
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let built = Built::find()?;
    clock::stay_on_one_core().context("stay on one core")?;
    let io = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let directory = tempfile::tempdir().context("make a directory")?;
    // A component is in many chains, and is compiled once.
    let cache = Some(directory.path().join("compiled"));
    let runtime = Runtime::new(RuntimeOptions { cache, ..RuntimeOptions::default() })?;
    let plugins = Plugins::Components(&runtime, &built.plugins);
    let input = directory.path().join("transactions.jsonl");
    transactions::write(&input, args.records, transactions::INVALID)?;
    let scene = Scene {
        io: &io,
        directory: directory.path(),
        input: &input,
        records: args.records,
        batches: io.block_on(run::batches(&input, run::batch_limit()))?,
        peers: &built.peers,
    };
    let bytes = std::fs::metadata(&input)?.len() as f64 / args.records as f64;

    let contests = [
        Contest::new("", Extras::default(), &plugins)?,
        Contest::new("_record_id", Extras { record_id: true, ..Extras::default() }, &plugins)?,
    ];
    let mut refused = 0;
    for contest in &contests {
        refused = contest.agree(&scene).context("before anything is timed")?;
    }
    let checks = Checks::new(&plugins)?;
    checks.agree(&scene).context("before anything is timed")?;
    println!(
        "{} transactions of {bytes:.0} bytes, {refused} of which are refused; all outputs agree",
        args.records
    );

    let history = Extras { history: true, ..Extras::default() };
    let history = plugins.plan(&work::chain(history), Purity::Off)?;
    let formats = formats::plans(&plugins)?;
    let mut table = Table::default();
    table.add("read_and_split", || {
        let begin = clock::process_nanoseconds();
        io.block_on(run::read(&input, run::batch_limit(), drop))?;
        Ok((clock::process_nanoseconds() - begin) as f64 / args.records as f64)
    });
    parse::add_rows(&mut table, &scene)?;
    calls::add_rows(&mut table, &plugins, &scene)?;
    calls::add_instances(&mut table, &plugins)?;
    lookups::add_rows(&mut table, args.sweep)?;
    for contest in &contests {
        contest.add_rows(&mut table, &scene);
    }
    formats::add_rows(&mut table, &formats, &scene);
    checks.add_rows(&mut table, &plugins, &scene)?;
    table.add_work("keyed_anomaly_chain", args.records, || {
        io.block_on(run::splice(&history, &scene.batches))
    });
    table.measure(args.rounds, &args.words)?;
    for row in &table.0 {
        println!("{:<34} {:>9.1} ns", row.name, row.best);
    }

    let ratios = ratios(&table);
    for (name, ratio) in &ratios {
        println!("{name:<42} {ratio:>5.2}");
    }
    if args.sweep {
        sweep::print(&io, &plugins, directory.path(), (&input, args.records), args.rounds)?;
    }
    if args.json {
        let rows = table.0.iter().map(|row| (row.name.clone(), json!(rounded(row.best, 10.0))));
        let mut rows: Map<String, Value> = rows.collect();
        if let Some(best) = parse::best(&table) {
            rows.insert("strict_parse".to_owned(), json!(rounded(best, 10.0)));
        }
        let ratios = ratios.into_iter().map(|(name, ratio)| (name, json!(rounded(ratio, 1000.0))));
        let ratios: Map<String, Value> = ratios.collect();
        let all = json!({
            "records": args.records,
            "bytes_per_record": rounded(bytes, 10.0),
            "refused": refused,
            "unit": "nanoseconds of CPU time a record",
            "rows": rows,
            "ratios": ratios,
        });
        println!("{all}");
    }
    Ok(())
}

/// What is held against what.
fn ratios(table: &Table<'_>) -> Vec<(String, f64)> {
    let mut ratios = Vec::new();
    let mut ratio = |name: &str, over: Option<f64>, under: Option<f64>| {
        if let (Some(over), Some(under)) = (over, under) {
            ratios.push((name.to_owned(), over / under));
        }
    };
    for suffix in ["", "_record_id"] {
        let best = |name: &str| table.best(&format!("{name}{suffix}"));
        let name = |name: &str| format!("{name}{suffix}");
        let pipeline = best("pipeline");
        ratio(&name("components_over_native_chain"), best("component_chain"), best("native_chain"));
        ratio(&name("vrl_over_pipeline"), best("vrl"), pipeline);
        ratio(&name("straightforward_over_pipeline"), best("straightforward"), pipeline);
    }
    for (name, over, under) in [
        ("rules_over_handwritten_chain", "rules_chain", "handwritten_chain"),
        ("rules_over_handwritten_call", "rules_call", "handwritten_call"),
        ("schema_over_native_crate", "schema_chain", "schema_native"),
    ] {
        ratio(name, table.best(over), table.best(under));
    }
    ratio("pipeline_over_strict_parse", table.best("pipeline"), parse::best(table));
    ratio("pipeline_over_component_chain", table.best("pipeline"), table.best("component_chain"));
    ratios
}

fn rounded(value: f64, steps: f64) -> f64 {
    (value * steps).round() / steps
}
