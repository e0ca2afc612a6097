//! `tidegate verify`: proves from what lies on the disk that nothing was lost and nothing doubled.

use std::fmt::Write as _;

use anyhow::Context;
use clap::Args;
use tidegate_connectors::store::StoreInspector;
use tidegate_engine::Runtime;

use super::{PipelineArgs, block_on, runtime_options};
use crate::{
    chain, edges,
    finding::both,
    output::{Exit, Failed, Outcome},
    plan, tables,
    verify::{self, Verdict},
};

/// What `verify` takes.
#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    pipeline: PipelineArgs,
    /// Also take every range through the plugins again, and compare the bytes.
    #[arg(long)]
    replay: bool,
}

pub(super) fn verify(args: &VerifyArgs) -> Result<Outcome, Failed> {
    let (loaded, supply) = args.pipeline.open()?;
    let config = &loaded.config;
    // A host of a fleet may never have run here.
    let store = match config.leases.is_some() && !config.data_dir.is_dir() {
        true => None,
        false => Some(
            StoreInspector::open(&config.data_dir)
                .with_context(|| {
                    format!("failed to read the data directory `{}`", config.data_dir.display())
                })
                .map_err(Failed::environment)?,
        ),
    };
    let plan = match args.replay {
        false => None,
        true => {
            let runtime = Runtime::new(runtime_options(config)).map_err(Failed::environment)?;
            let plan = both(chain::load(&loaded, &runtime, &supply), tables::load(&loaded))
                .and_then(|(stages, tables)| plan::build(&loaded, &stages, tables))
                .map_err(Failed::invalid)?;
            Some(plan.0)
        }
    };
    let states_follow = plan.as_ref().is_some_and(|plan| plan.states_follow());
    let verdict = block_on(async {
        #[cfg(feature = "dynamodb")]
        let leases = match &config.leases {
            Some(leases) => {
                let store = edges::lease_store(config, leases, false).await;
                Some(store.map_err(Failed::environment)?)
            }
            None => None,
        };
        let reading = edges::Reading {
            run: "verify",
            states_follow,
            looks_only: true,
            #[cfg(feature = "dynamodb")]
            leases: leases.clone(),
            ..edges::Reading::default()
        };
        let source = edges::source(&loaded, &reading).map_err(Failed::environment)?.source;
        let progress = verify::Progress {
            store,
            #[cfg(feature = "dynamodb")]
            leases,
        };
        let verified = verify::verify(config, &progress, &source, plan.as_ref()).await;
        verified.map_err(Failed::runtime)
    })??;
    let exit = if verdict.conserved { Exit::Ok } else { Exit::Gate };
    let data = serde_json::to_value(&verdict).map_err(Failed::runtime)?;
    Ok(Outcome { exit, data, text: text(&verdict), findings: Vec::new() })
}

fn text(verdict: &Verdict) -> String {
    let mut text = String::new();
    let rows = [
        ("read", verdict.read),
        ("= filtered", verdict.filtered),
        ("+ dropped", verdict.dropped),
        ("+ delivered", verdict.delivered),
        ("+ dead-lettered", verdict.dead_lettered),
    ];
    for (name, records) in rows {
        let _ = writeln!(text, "  {name:<16} {records:>12}");
    }
    if verdict.redriven > 0 {
        let _ = writeln!(text, "  {:<16} {:>12}", "redriven", verdict.redriven);
    }
    let Verdict { partitions, ranges, objects, dead_letters, .. } = verdict;
    let _ = writeln!(
        text,
        "  {partitions} partitions, {ranges} ranges, {objects} objects, {dead_letters} dead letters"
    );
    if !verdict.source_read_again {
        text.push_str("  the source can't be read again: the manifests stand for it\n");
    }
    if verdict.forgotten > 0 {
        let _ = writeln!(
            text,
            "  {} partitions were finished long ago and are forgotten: what lies there of them is not \
             looked at",
            verdict.forgotten
        );
    }
    for sink in &verdict.sinks_not_looked_into {
        let _ = writeln!(
            text,
            "  what sink `{sink}` was given can't be looked at: the manifests stand for it"
        );
    }
    if let Some(replayed) = verdict.replayed {
        let _ = writeln!(text, "  {replayed} ranges made the same bytes again");
    }
    for problem in &verdict.problems {
        let partition = problem.partition.as_ref().map(|it| format!("{it}: ")).unwrap_or_default();
        let range = problem.range.map(|it| format!("range {it}: ")).unwrap_or_default();
        let _ = writeln!(text, "  {}: {partition}{range}{}", problem.code, problem.message);
    }
    let conserved = if verdict.conserved { "conserved" } else { "NOT conserved" };
    let complete = if verdict.complete { "complete" } else { "not yet complete" };
    let _ = writeln!(text, "{conserved}, {complete}");
    text
}
