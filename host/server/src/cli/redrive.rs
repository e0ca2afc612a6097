//! `tidegate dlq redrive`: takes dead letters through the pipeline again, as it is now.

use std::{
    fmt::Write as _,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::Context;
use clap::Args;
use serde_json::{Value, json};
use tidegate_connectors::store::{Redriven, SqliteStore, StoreInspector};
use tidegate_core::checkpoint;
use tidegate_pipeline::{Pipeline, Plan, Report, Settings, shutdown};

use super::{
    PipelineArgs, block_on,
    dlq::{WantedArgs, reasons_json, reasons_text},
    progress,
    run::{self, Signals},
};
use crate::{
    config::{Config, Loaded},
    edges,
    health::Health,
    objects::Objects,
    output::{Exit, Failed, Outcome},
    plan,
    redrive::{self, History, LeftAlone, RedriveSource, Selection, Terms},
    supply::{self, Supply},
};

/// What `dlq redrive` takes.
#[derive(Debug, Args)]
pub(super) struct RedriveArgs {
    #[command(flatten)]
    pipeline: PipelineArgs,
    #[command(flatten)]
    wanted: WantedArgs,
    /// Take at most so many.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Leave records alone that were redriven so often and failed again each time.
    #[arg(long, value_name = "N", default_value_t = 3)]
    max_redrives: u32,
    /// Take at most so many records a second, such as `50/s`; as fast as it goes, where this is
    /// left out.
    #[arg(long, value_name = "N/s", value_parser = per_second)]
    rate: Option<NonZeroU32>,
    /// Do it. Without this it is only said what would be done.
    #[arg(long)]
    execute: bool,
    /// A clock that stands still, as an RFC 3339 time: the batch time of all records.
    #[arg(long, value_name = "TIME")]
    clock: Option<jiff::Timestamp>,
}

fn per_second(text: &str) -> Result<NonZeroU32, String> {
    let number = text.strip_suffix("/s").unwrap_or(text);
    number.parse().map_err(|_| format!("`{text}` is not a rate: write `50/s`"))
}

pub(super) fn redrive(args: &RedriveArgs) -> Result<Outcome, Failed> {
    let (loaded, supply) = args.pipeline.open()?;
    if args.execute {
        return execute(args, &loaded, supply);
    }
    let store = inspect(&loaded.config)?;
    let history = History::read(&store).map_err(Failed::environment)?;
    let interrupted = history.interrupted().map(|(redrive, letters)| (redrive, open(&letters)));
    let selection = block_on(redrive::select(&loaded.config, &store, &history, &args.terms()))?
        .map_err(Failed::runtime)?;
    let data = json!({
        "executed": false,
        "letters": selection.letters.len(),
        "partitions": selection.partitions().len(),
        "reasons": reasons_json(&selection.reasons),
        "left": selection.left,
        "interrupted": interrupted.map(|(redrive, letters)| {
            json!({ "redrive": redrive, "letters": letters })
        }),
    });
    let text = dry_text(&selection, interrupted);
    Ok(Outcome::ok(data, text))
}

impl RedriveArgs {
    fn terms(&self) -> Terms {
        Terms { wanted: self.wanted.wanted(), limit: self.limit, redrives_max: self.max_redrives }
    }
}

fn inspect(config: &Config) -> Result<StoreInspector, Failed> {
    StoreInspector::open(&config.data_dir)
        .with_context(|| {
            format!("failed to read the data directory `{}`", config.data_dir.display())
        })
        .map_err(Failed::environment)
}

/// How many letters have no outcome yet.
fn open(letters: &[Redriven]) -> usize {
    letters.iter().filter(|it| it.outcome.is_none()).count()
}

/// A redrive that is under way.
struct Redrive {
    number: u64,
    /// An earlier command began it.
    resumed: bool,
    letters: Vec<Redriven>,
    left: Option<LeftAlone>,
}

fn execute(args: &RedriveArgs, loaded: &Loaded, supply: Supply) -> Result<Outcome, Failed> {
    let config = &loaded.config;
    let io = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("io")
        .enable_all()
        .build()
        .context("failed to start the threads for I/O")
        .map_err(Failed::environment)?;
    // Without a store there is nothing that could be redriven, and none should be made.
    drop(inspect(config)?);
    let (plan, store) = run::plan_and_store(loaded, supply.clone())?;
    let inspector = inspect(config)?;
    let history = History::read(&inspector).map_err(Failed::environment)?;
    let redrive = match history.interrupted() {
        // It is finished first, and nothing else is done: its own failures would otherwise be
        // taken for letters that were asked for again.
        Some((number, letters)) => Redrive { number, resumed: true, letters, left: None },
        None => {
            let terms = args.terms();
            let selecting = redrive::select(config, &inspector, &history, &terms);
            let selection = io.block_on(selecting).map_err(Failed::runtime)?;
            let Some(number) = selection.letters.first().map(|it| it.redrive) else {
                return Ok(nothing(&selection));
            };
            let Selection { letters, left, .. } = selection;
            io.block_on(store.begin_redrive(letters.clone())).map_err(Failed::runtime)?;
            Redrive { number, resumed: false, letters, left: Some(left) }
        }
    };
    run::say_which_sinks_may_repeat(config);
    let letters = redrive.letters.clone();
    let (report, forced) = io.block_on(drive(args, loaded, supply, plan, store, letters))?;
    let after = History::read(&inspector).map_err(Failed::environment)?;
    let outcome = outcome(&redrive, &after.redrive(redrive.number), &report, forced);
    Ok(Outcome { text: run::beside_records(config, outcome.text), ..outcome })
}

/// Runs a redrive to its end, or to the signal that stops it. Says whether it was forced.
async fn drive(
    args: &RedriveArgs,
    loaded: &Loaded,
    supply: Supply,
    plan: Arc<Plan>,
    store: SqliteStore,
    letters: Vec<Redriven>,
) -> Result<(Report, bool), Failed> {
    let config = &loaded.config;
    let dead = Objects::of_dead_letters(config);
    let records = letters.iter().filter(|it| it.outcome.is_none()).count() as u64;
    let source = RedriveSource::new(&config.source.name, dead, letters, args.rate);
    let sinks = edges::sinks(config).await.map_err(Failed::environment)?;
    let environment = run::environment(args.clock, config.workers)?;
    run::record_generation(loaded, &plan, &store, &*environment.clock).await?;
    let mut settings: Settings = plan::settings(config);
    if args.rate.is_some() && config.range.age.is_none() {
        // What comes slowly should be seen as it comes.
        settings.range.age_max = plan::AGE_OF_STREAMS.0;
    }
    let progress = Arc::new(store);
    let pipeline = Pipeline::new(plan, Arc::new(source), sinks, progress, settings, environment)
        .map_err(Failed::runtime)?;
    let _following = supply::follow(supply, pipeline.swap_handle());
    let (stop, shutdown) = shutdown();
    let signals = Signals::new().context("failed to listen to signals");
    let forced = Arc::new(AtomicBool::new(false));
    let signals = signals.map_err(Failed::environment)?;
    let signals = tokio::spawn(signals.obey(stop, Health::default(), Arc::clone(&forced)));
    let shown = tokio::spawn(progress::show(pipeline.progress(), Some(records)));
    let report = pipeline.run(shutdown).await;
    signals.abort();
    shown.abort();
    progress::clear();
    Ok((report.map_err(Failed::runtime)?, forced.load(Ordering::Relaxed)))
}

fn nothing(selection: &Selection) -> Outcome {
    let data = json!({ "executed": true, "letters": 0, "left": selection.left });
    let text = format!("no letter is redriven\n{}", left_text(&selection.left));
    Outcome::ok(data, text)
}

fn dry_text(selection: &Selection, interrupted: Option<(u64, usize)>) -> String {
    let mut text = reasons_text(&selection.reasons);
    if let Some((redrive, letters)) = interrupted {
        let _ = writeln!(
            text,
            "redrive {redrive} was interrupted with {letters} letters left: `--execute` finishes \
             it, and does nothing else"
        );
    }
    let letters = selection.letters.len();
    let _ = match (letters, interrupted) {
        (0, _) => writeln!(text, "no letter would be redriven"),
        (_, None) => writeln!(text, "{letters} letters would be redriven: `--execute` does it"),
        (_, Some(_)) => writeln!(text, "{letters} letters would be redriven after that"),
    };
    text.push_str(&left_text(&selection.left));
    text
}

fn left_text(left: &LeftAlone) -> String {
    let rows = [
        (left.redriven, "were redriven before"),
        (left.exhausted, "failed as often as `--max-redrives` allows"),
        (left.raw, "hold what is no record: the source could not take one out of its framing"),
        (left.other_source, "are of a source with another name"),
        (left.beyond_limit, "are beyond `--limit`"),
    ];
    let mut text = String::new();
    for (letters, why) in rows.into_iter().filter(|(letters, _)| *letters > 0) {
        let _ = writeln!(text, "  left alone: {letters} {why}");
    }
    text
}

/// The outcomes, as they are told.
const OUTCOMES: [checkpoint::Outcome; 4] = [
    checkpoint::Outcome::Delivered,
    checkpoint::Outcome::Dropped,
    checkpoint::Outcome::Filtered,
    checkpoint::Outcome::DeadLettered,
];

fn outcome(redrive: &Redrive, letters: &[Redriven], report: &Report, forced: bool) -> Outcome {
    let count = |outcome: checkpoint::Outcome| {
        let of = |it: &&Redriven| it.outcome.is_some_and(|it| it.outcome == outcome);
        (outcome.name(), letters.iter().filter(of).count())
    };
    let outcomes = OUTCOMES.map(count);
    let stopped: Vec<Value> = report
        .stopped()
        .map(|it| {
            let error = it.error.as_ref().map(|error| tidegate_pipeline::causes(error));
            json!({ "partition": it.partition, "error": error })
        })
        .collect();
    let open = open(letters);
    let Redrive { number, resumed, left, .. } = redrive;
    let mut data = json!({
        "executed": true,
        "redrive": number,
        "resumed": resumed,
        "letters": letters.len(),
        "open": open,
        "stopped": stopped,
    });
    for (name, records) in outcomes {
        data[name] = records.into();
    }
    if let Some(left) = left {
        data["left"] = json!(left);
    }
    let mut text = String::new();
    let again = if *resumed { ", which was interrupted" } else { "" };
    let _ = writeln!(text, "redrive {number}{again}: {} letters", letters.len());
    for (name, records) in outcomes {
        let name = if name == "dead_lettered" { "dead-lettered again" } else { name };
        let _ = writeln!(text, "  {name:<20} {records:>10}");
    }
    if open > 0 {
        let _ =
            writeln!(text, "  {open} letters are left: `dlq redrive --execute` goes on from here");
    }
    for it in report.stopped() {
        let error =
            it.error.as_ref().map(|error| format!(": {}", tidegate_pipeline::causes(error)));
        let _ = writeln!(text, "  stopped: {}{}", it.partition, error.unwrap_or_default());
    }
    if let Some(left) = left {
        text.push_str(&left_text(left));
    }
    let exit = if stopped.is_empty() && !forced { Exit::Ok } else { Exit::Failure };
    Outcome { exit, data, text, findings: Vec::new() }
}
