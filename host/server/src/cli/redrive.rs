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
use serde_json::json;
use tidegate_connectors::store::{SqliteStore, StoreInspector};
use tidegate_pipeline::{Plan, SwapHandle, shutdown};

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
    output::{Exit, Failed, Outcome},
    plan,
    redrive::{self, Account, History, LeftAlone, Order, Redriver, Selection, Stopped, Terms},
    reload::ask_to_redrive,
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
    let interrupted =
        history.interrupted().map(|(redrive, letters)| (redrive, redrive::open(&letters)));
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

fn execute(args: &RedriveArgs, loaded: &Loaded, supply: Supply) -> Result<Outcome, Failed> {
    let config = &loaded.config;
    // Without a store there is nothing that could be redriven, and none should be made.
    drop(inspect(config)?);
    let order = Order { terms: args.terms(), rate: args.rate };
    // The pipeline that runs has the data directory, and does it.
    if args.clock.is_none()
        && let Some(account) =
            ask_to_redrive(&config.data_dir, order.clone()).map_err(Failed::runtime)?
    {
        return Ok(outcome(&account, false));
    }
    let io = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("io")
        .enable_all()
        .build()
        .context("failed to start the threads for I/O")
        .map_err(Failed::environment)?;
    let (plan, store) = run::plan_and_store(loaded, supply.clone())?;
    run::say_which_sinks_may_repeat(config);
    let (account, forced) = io.block_on(drive(args, loaded, supply, plan, store, &order))?;
    let outcome = outcome(&account, forced);
    Ok(Outcome { text: run::beside_records(config, outcome.text), ..outcome })
}

/// Carries a redrive out, to its end or to the signal that stops it. Says whether it was forced.
async fn drive(
    args: &RedriveArgs,
    loaded: &Loaded,
    supply: Supply,
    plan: Arc<Plan>,
    store: SqliteStore,
    order: &Order,
) -> Result<(Account, bool), Failed> {
    let config = &loaded.config;
    let sinks = edges::sinks(config).await.map_err(Failed::environment)?;
    let environment = run::environment(args.clock, config.workers)?;
    run::record_generation(loaded, &plan, &store, &*environment.clock).await?;
    let redriver = Redriver {
        config: config.clone(),
        store,
        sinks,
        serving: SwapHandle::new(plan),
        settings: plan::settings(config),
        environment,
    };
    let _following = supply::follow(supply, redriver.serving.clone());
    let (stop, shutdown) = shutdown();
    let signals = Signals::new().context("failed to listen to signals");
    let forced = Arc::new(AtomicBool::new(false));
    let signals = signals.map_err(Failed::environment)?;
    let signals = tokio::spawn(signals.obey(stop, Health::default(), Arc::clone(&forced)));
    let mut shown = None;
    let watch = |counters, records| {
        shown = Some(tokio::spawn(progress::show(counters, Some(records))));
    };
    let account = redriver.execute(order, shutdown, watch).await;
    signals.abort();
    if let Some(shown) = shown {
        shown.abort();
    }
    progress::clear();
    Ok((account.map_err(Failed::runtime)?, forced.load(Ordering::Relaxed)))
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

fn outcome(account: &Account, forced: bool) -> Outcome {
    let mut data = serde_json::to_value(account).unwrap_or_default();
    data["executed"] = true.into();
    let mut text = String::new();
    let again = if account.resumed { ", which was interrupted" } else { "" };
    let _ = match account.redrive {
        None => writeln!(text, "no letter is redriven"),
        Some(number) => writeln!(text, "redrive {number}{again}: {} letters", account.letters),
    };
    let outcomes = [
        ("delivered", account.delivered),
        ("dropped", account.dropped),
        ("filtered", account.filtered),
        ("dead-lettered again", account.dead_lettered),
    ];
    for (name, records) in outcomes.into_iter().filter(|_| account.redrive.is_some()) {
        let _ = writeln!(text, "  {name:<20} {records:>10}");
    }
    if account.open > 0 {
        let _ = writeln!(
            text,
            "  {} letters are left: `dlq redrive --execute` goes on from here",
            account.open
        );
    }
    for Stopped { partition, error } in &account.stopped {
        let error = error.as_ref().map(|error| format!(": {error}"));
        let _ = writeln!(text, "  stopped: {partition}{}", error.unwrap_or_default());
    }
    if let Some(left) = &account.left {
        text.push_str(&left_text(left));
    }
    let exit = if account.stopped.is_empty() && !forced { Exit::Ok } else { Exit::Failure };
    Outcome { exit, data, text, findings: Vec::new() }
}
