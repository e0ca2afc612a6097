//! `tidegate generations`, `rollback` and `reload`: what served, what serves, and what is to serve.

use std::fmt::Write as _;

use clap::Args;
use serde_json::{Value, json};
use tidegate_connectors::store::{Pin, SqliteStore, StoreInspector, Swap};
use tidegate_core::Timestamp;

use super::{PipelineArgs, block_on};
use crate::{
    output::{Exit, Failed, Outcome},
    reload::{Catalogue, Receipt, Request, ask},
    supply::StageRights,
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
    let request = Request::Rollback { generation: args.generation.clone() };
    if let Some(receipt) = ask(data_dir, &request).map_err(Failed::environment)? {
        return Ok(told(&receipt));
    }
    // Nobody runs: the next start serves it.
    let store = SqliteStore::open(data_dir).map_err(Failed::environment)?;
    let catalogue =
        Catalogue::open(data_dir, &args.pipeline.pipeline).map_err(Failed::environment)?;
    let (loaded, supply) = args.pipeline.open()?;
    let on_disk = super::run::generation_of(&loaded, supply)?;
    let serving =
        catalogue.generation(args.generation.as_deref(), on_disk).map_err(Failed::runtime)?;
    let pin = Pin { serving, instead_of: on_disk };
    let pin = (serving != on_disk).then_some(pin);
    block_on(store.set_pin(pin))?.map_err(Failed::environment)?;
    let text = format!("generation {} serves from the next start on\n", serving.short());
    Ok(Outcome::ok(json!({ "generation": serving, "state": "pinned" }), text))
}

pub(super) fn reload(args: &ReloadArgs) -> Result<Outcome, Failed> {
    let data_dir = args.pipeline.data_dir()?;
    let request = Request::Reload { approve: args.approve };
    match ask(&data_dir, &request).map_err(Failed::environment)? {
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
    if let Some(reason) = &receipt.reason {
        let _ = writeln!(text, "  {reason}");
    }
    for stage in &receipt.stages {
        let _ = writeln!(text, "  {stage}");
    }
    let data = serde_json::to_value(receipt).unwrap_or_default();
    let exit = if receipt.state == "refused" { Exit::Gate } else { Exit::Ok };
    Outcome { exit, data, text, findings: Vec::new() }
}
