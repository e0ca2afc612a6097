//! `tidegate check`: everything that is wrong with a pipeline, found before it runs; and what it
//! would do: who reads and writes what, and what has to be read twice.

use std::fmt::Write as _;

use clap::Args;
use serde_json::{Value, json};
use tidegate_engine::Runtime;
use tidegate_pipeline::plan::{PlanDescription, StageDescription, TableDescription};

use super::{PipelineArgs, runtime_options};
use crate::{
    chain, config,
    finding::{Finding, both},
    output::{Exit, Failed, Outcome},
    plan, tables,
};

/// What `check` takes.
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    pipeline: PipelineArgs,
}

pub(super) fn check(args: &CheckArgs) -> Result<Outcome, Failed> {
    let (loaded, supply) = args.pipeline.open()?;
    let runtime = Runtime::new(runtime_options(&loaded.config)).map_err(Failed::environment)?;
    let planned = both(chain::load(&loaded, &runtime, &supply), tables::load(&loaded))
        .and_then(|(stages, tables)| plan::build(&loaded, &stages, tables));
    Ok(match planned {
        Err(findings) => failed(findings),
        Ok((plan, warnings)) => {
            let description = plan.describe();
            let data = json!({ "pipeline": loaded.config.pipeline, "plan": description,
                               "generation": plan.generation() });
            let text = text(&loaded.config, &description, warnings.len());
            Outcome { findings: warnings, ..Outcome::ok(data, text) }
        }
    })
}

/// The config is right and what it names is not.
pub(super) fn failed(findings: Vec<Finding>) -> Outcome {
    let text = format!("{}\n", count(findings.len(), "problem"));
    Outcome { exit: Exit::Gate, data: Value::Null, text, findings }
}

fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

fn text(config: &config::Config, plan: &PlanDescription, warnings: usize) -> String {
    let mut text = format!("pipeline {}\n", config.pipeline);
    let _ = writeln!(text, "read of each record, once for all stages:");
    for read in &plan.projected {
        let _ = writeln!(text, "  {read}");
    }
    for table in &plan.tables {
        table_text(&mut text, table);
    }
    for stage in &plan.stages {
        stage_text(&mut text, stage);
    }
    for sink in &config.sinks {
        let _ = writeln!(text, "sink {}", sink.name);
    }
    if !plan.materialized_before.is_empty() {
        let before = listed(&plan.materialized_before);
        let _ = writeln!(
            text,
            "each record is rendered and read again before: {before}\n  (an earlier stage writes \
             above or below a field that is read there; it costs about as much as the first \
             projection)"
        );
    }
    match warnings {
        0 => text.push_str("no problems\n"),
        warnings => {
            let _ = writeln!(text, "no errors, {}", count(warnings, "warning"));
        }
    }
    text
}

fn table_text(text: &mut String, table: &TableDescription) {
    let TableDescription { name, key, columns, rows, keys, bytes, digest } = table;
    let _ = writeln!(text, "table {name} ({digest})");
    let _ = writeln!(text, "  key     {}", listed(key));
    let _ = writeln!(text, "  columns {}", listed(columns));
    let of_keys = if keys == rows { String::new() } else { format!(" of {keys} keys") };
    let _ = writeln!(text, "  holds   {}{of_keys} in {}", count(*rows, "row"), in_bytes(*bytes));
}

fn in_bytes(bytes: usize) -> String {
    match bytes {
        0..1024 => count(bytes, "byte"),
        1024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

fn stage_text(text: &mut String, stage: &StageDescription) {
    let _ = writeln!(text, "stage {} ({}, {})", stage.name, stage.plugin, stage.component);
    for read in &stage.reads {
        let required = if read.required { ", required" } else { "" };
        let _ = writeln!(
            text,
            "  reads  {} ({}{required}) from {}",
            read.field,
            read.kind,
            listed(&read.from)
        );
    }
    for write in &stage.writes {
        let read_by = match write.read_by.is_empty() {
            true => String::new(),
            false => format!(", read by {}", listed(&write.read_by)),
        };
        let _ = writeln!(text, "  writes {} ({}){read_by}", write.field, write.kind);
    }
}

fn listed(names: &[String]) -> String {
    match names {
        [] => "nothing".to_owned(),
        names => names.join(", "),
    }
}
