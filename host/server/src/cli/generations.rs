//! `tidegate generations`, `rollback` and `reload`: what served, what serves, and what is to serve.

use std::{collections::BTreeSet, fmt::Write as _};

use clap::Args;
use serde_json::{Value, json};
use tidegate_connectors::store::{Pin, SqliteStore, StoreInspector, Swap};
use tidegate_core::{Digest, Timestamp};

use super::{PipelineArgs, run};
use crate::{
    edges,
    files::Files,
    output::{Exit, Failed, Outcome},
    reload::{self, Candidate, Catalogue, Receipt, Reprocessed, Request, ask_to_swap},
    supply::{StageRights, listed},
};

/// What `generations` takes.
#[derive(Debug, Args)]
pub(super) struct GenerationsArgs {
    #[command(flatten)]
    pipeline: PipelineArgs,
}

/// What `rollback` takes.
#[derive(Debug, Args)]
pub(super) struct RollbackArgs {
    #[command(flatten)]
    pipeline: PipelineArgs,
    /// The generation's digest, or its first digits; the last other one, where this is left out.
    generation: Option<String>,
    /// Build the states that it can't read anew: take the committed records through it once more,
    /// and deliver nothing. Only while the pipeline does not run.
    #[arg(long)]
    reprocess: bool,
    /// Begin with the first range that was opened at this time or later, an RFC 3339 time; with the
    /// first of all, where this is left out.
    #[arg(long, value_name = "TIME", requires = "reprocess")]
    since: Option<jiff::Timestamp>,
}

/// What `reload` takes.
#[derive(Debug, Args)]
pub(super) struct ReloadArgs {
    #[command(flatten)]
    pipeline: PipelineArgs,
    /// Let plugins ask for more than the ones that serve now.
    #[arg(long)]
    approve: bool,
}

pub(super) fn generations(args: &GenerationsArgs) -> Result<Outcome, Failed> {
    let data_dir = args.pipeline.data_dir()?;
    let inspector = StoreInspector::open(&data_dir).map_err(Failed::environment)?;
    let catalogue = Catalogue::inspect(&data_dir, &args.pipeline.pipeline);
    let swaps = inspector.swaps().map_err(Failed::runtime)?;
    let pin = inspector.pin().map_err(Failed::runtime)?;
    let mut text = String::new();
    let mut shown = Vec::new();
    let mut listed = Vec::new();
    for swap in &swaps {
        let stages = swap.generation.map(|it| catalogue.rights(&it)).unwrap_or_default();
        listed.push(swap_json(swap, &stages));
        let generation = swap.generation.map_or("-".to_owned(), |it| it.short());
        let word = |value: Value| value.as_str().unwrap_or_default().to_owned();
        let _ = writeln!(
            text,
            "{:>4}  {generation:<9} {:<9} {:<9} {}",
            swap.number,
            word(json!(swap.cause)),
            word(json!(swap.state)),
            time(swap.received_at),
        );
        if let Some(reason) = &swap.reason {
            let _ = writeln!(text, "      {reason}");
        }
        // Most generations have what the one before them had.
        for stage in stages.iter().filter(|it| !shown.contains(*it)) {
            let _ = writeln!(text, "      {stage}");
        }
        if !stages.is_empty() {
            shown = stages;
        }
        for effect in &swap.effects {
            let after = effect.after.map_or("its start".to_owned(), |it| it.to_string());
            let _ = writeln!(
                text,
                "      {} behind {after}, pause {} µs",
                effect.partition, effect.pause_micros
            );
        }
    }
    if let Some(Pin { serving, instead_of }) = pin {
        let _ = writeln!(
            text,
            "rolled back to {} instead of {}, which the files make",
            serving.short(),
            instead_of.short()
        );
    }
    let pin = pin.map(|it| json!({ "serving": it.serving, "instead_of": it.instead_of }));
    let data = json!({ "swaps": listed, "pin": pin });
    Ok(Outcome::ok(data, text))
}

fn swap_json(swap: &Swap, stages: &[StageRights]) -> Value {
    let effects = swap.effects.iter().map(|effect| {
        json!({ "partition": effect.partition, "after": effect.after.map(|it| it.to_string()),
                "pause_micros": effect.pause_micros })
    });
    json!({
        "swap": swap.number,
        "generation": swap.generation,
        "cause": swap.cause,
        "state": swap.state,
        "received_at": time(swap.received_at),
        "decided_at": swap.decided_at.map(time),
        "reason": swap.reason,
        "stages": stages,
        "effects": effects.collect::<Vec<_>>(),
    })
}

fn time(at: Timestamp) -> String {
    jiff::Timestamp::from_microsecond(at.0).map_or_else(|_| at.0.to_string(), |it| it.to_string())
}

pub(super) fn rollback(args: &RollbackArgs) -> Result<Outcome, Failed> {
    let data_dir = &args.pipeline.data_dir()?;
    if !args.reprocess {
        let request = Request::Rollback { generation: args.generation.clone() };
        if let Some(receipt) = ask_to_swap(data_dir, &request).map_err(Failed::environment)? {
            let mut outcome = told(&receipt);
            if receipt.reason.as_deref().is_some_and(is_about_states) {
                outcome.text.push_str(REPROCESS);
            }
            return Ok(outcome);
        }
    }
    // Nobody runs: the next start serves it. One that does has the data directory.
    let store = SqliteStore::open(data_dir).map_err(Failed::environment)?;
    let catalogue =
        Catalogue::open(data_dir, &args.pipeline.pipeline).map_err(Failed::environment)?;
    let (loaded, supply) = args.pipeline.open()?;
    if args.reprocess && loaded.config.leases.is_some() {
        return Err(Failed::environment(anyhow::anyhow!(
            "the states of hosts that share a stream by `leases` can't be built anew: they lie with \
             the leases, and not in `{}`",
            data_dir.display()
        )));
    }
    let maker = run::maker(&loaded, supply)?;
    let on_disk = maker.make(Files::on_disk()).map_err(run::refused)?.generation();
    let files = catalogue.find(args.generation.as_deref(), on_disk).map_err(Failed::runtime)?;
    let candidate = maker.make(files).map_err(run::refused)?;
    let serving = candidate.generation();
    let pin = Pin { serving, instead_of: on_disk };
    let pin = (serving != on_disk).then_some(pin);
    let io = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let io = io.map_err(Failed::environment)?;
    let unreadable = io.block_on(candidate.unreadable_states(&store));
    let mut text = String::new();
    let mut data = json!({ "generation": serving, "state": "pinned" });
    match unreadable.first() {
        None => io.block_on(store.set_pin(pin)).map_err(Failed::environment)?,
        Some((_, refusal)) if !args.reprocess => {
            return Ok(refused(&serving, &refusal.to_string()));
        }
        Some(_) => {
            let stages: BTreeSet<String> = unreadable.into_iter().map(|it| it.0).collect();
            let done = io.block_on(reprocess(args, &candidate, &store, pin, &stages))?;
            let _ = writeln!(
                text,
                "{} states of {} are built anew, out of {} records of {} ranges",
                done.keys,
                listed(&stages.iter().cloned().collect::<Vec<_>>()),
                done.records,
                done.ranges
            );
            data["reprocessed"] = json!({ "stages": stages, "states": done.keys,
                                          "records": done.records, "ranges": done.ranges });
        }
    }
    let _ = writeln!(text, "generation {} serves from the next start on", serving.short());
    Ok(Outcome::ok(data, text))
}

/// What is to be done about states that a generation can't read.
const REPROCESS: &str = "  stop the pipeline, and `tidegate rollback --reprocess` builds these \
                         states anew out of the records\n";

/// Whether a generation is refused because of the states that are kept.
fn is_about_states(reason: &str) -> bool {
    ["state-version", "state-migration"].iter().any(|code| reason.starts_with(code))
}

fn refused(generation: &Digest, reason: &str) -> Outcome {
    let data = json!({ "generation": generation, "state": "refused", "reason": reason });
    let mut text = format!("refused: {generation}\n  {reason}\n");
    if is_about_states(reason) {
        text.push_str(REPROCESS);
    }
    Outcome { exit: Exit::Gate, data, text, findings: Vec::new() }
}

/// Builds the states of some stages anew, and has a generation serve that reads them.
async fn reprocess(
    args: &RollbackArgs,
    candidate: &Candidate,
    store: &SqliteStore,
    pin: Option<Pin>,
    stages: &BTreeSet<String>,
) -> Result<Reprocessed, Failed> {
    let states_follow = candidate.plan.states_follow();
    let reading = edges::Reading {
        run: "reprocess",
        states_follow,
        looks_only: true,
        ..edges::Reading::default()
    };
    let source = edges::source(&candidate.loaded, &reading).map_err(Failed::environment)?.source;
    let inspector =
        StoreInspector::open(&candidate.loaded.config.data_dir).map_err(Failed::environment)?;
    let since = args.since.map(|it| Timestamp(it.as_microsecond()));
    let mut done = reload::reprocess(candidate, &source, &inspector, stages, since)
        .await
        .map_err(Failed::runtime)?;
    let states = std::mem::take(&mut done.states);
    let names = stages.iter().cloned().collect();
    store.replace_states(names, states, pin).await.map_err(Failed::runtime)?;
    Ok(done)
}

pub(super) fn reload(args: &ReloadArgs) -> Result<Outcome, Failed> {
    let data_dir = args.pipeline.data_dir()?;
    let request = Request::Reload { approve: args.approve };
    match ask_to_swap(&data_dir, &request).map_err(Failed::environment)? {
        Some(receipt) => Ok(told(&receipt)),
        None => Err(Failed::environment(anyhow::anyhow!(
            "no pipeline runs over `{}`: start it with `tidegate run`",
            data_dir.display()
        ))),
    }
}

fn told(receipt: &Receipt) -> Outcome {
    let generation = receipt.generation.as_deref().unwrap_or("-");
    let mut text = format!("{}: {generation}\n", receipt.state);
    for line in receipt.reason.iter().chain(&receipt.source) {
        let _ = writeln!(text, "  {line}");
    }
    for stage in &receipt.stages {
        let _ = writeln!(text, "  {stage}");
    }
    let data = serde_json::to_value(receipt).unwrap_or_default();
    let exit = if receipt.state == "refused" { Exit::Gate } else { Exit::Ok };
    Outcome { exit, data, text, findings: Vec::new() }
}
