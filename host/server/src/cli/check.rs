//! `tidegate check`: everything that is wrong with a pipeline, found before it runs; and what it
//! would do: who reads and writes what, and what has to be read twice. On demand its connectors are
//! asked what of them works from here.

use std::fmt::Write as _;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use tidegate_connectors::probe::{ProbeLevel, Probing};
use tidegate_engine::Runtime;
use tidegate_pipeline::plan::{PlanDescription, StageDescription, TableDescription};

use super::{PipelineArgs, probes, runtime_options};
use crate::{
    chain,
    config::{self, TimeSpan},
    finding::{Finding, both},
    output::{Exit, Failed, Outcome},
    plan, tables,
};

/// What `check` takes.
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    pipeline: PipelineArgs,
    /// How far the check goes. Each level includes those before it, and says of each action whether
    /// it was verified, was not and why, or has failed. No lease is taken, nothing received, no
    /// record sent; a pipeline that runs beside it is not disturbed.
    #[arg(long, value_enum, default_value_t)]
    level: Level,
    /// How long one action may take before it has failed, with a unit: `500ms`, `10s`.
    #[arg(long, value_name = "TIME", default_value = "10s")]
    timeout: TimeSpan,
}

/// How far a check goes.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Level {
    /// The files: the config, plugins and tables. No network.
    #[default]
    Static,
    /// Whether there are credentials, endpoints answer, and what the config names is there.
    Connect,
    /// Whether what the pipeline will read can be read.
    Read,
    /// Whether what it will write can be written. An empty object `_tidegate-probe` is created below
    /// the prefix of each place in S3, and deleted again.
    Write,
}

impl Level {
    /// What connectors are asked for; nothing, where only files are looked at.
    fn of_probes(self) -> Option<ProbeLevel> {
        match self {
            Level::Static => None,
            Level::Connect => Some(ProbeLevel::Connect),
            Level::Read => Some(ProbeLevel::Read),
            Level::Write => Some(ProbeLevel::Write),
        }
    }
}

pub(super) fn check(args: &CheckArgs) -> Result<Outcome, Failed> {
    let (loaded, supply) = args.pipeline.open()?;
    let runtime = Runtime::new(runtime_options(&loaded.config)).map_err(Failed::environment)?;
    let planned = both(chain::load(&loaded, &runtime, &supply), tables::load(&loaded))
        .and_then(|(stages, tables)| Ok((plan::build(&loaded, &stages, tables.clone())?, tables)));
    let ((plan, warnings), tables) = match planned {
        Err(findings) => return Ok(failed(findings)),
        Ok(planned) => planned,
    };
    let description = plan.describe();
    let mut data = json!({ "pipeline": loaded.config.pipeline, "plan": description,
                           "generation": plan.generation() });
    let mut text = text(&loaded.config, &description, warnings.len());
    let mut exit = Exit::Ok;
    if let Some(level) = args.level.of_probes() {
        let probing = Probing { level, timeout: args.timeout.0 };
        let probes = probes::probe(&loaded, &tables, probing)?;
        if probes.iter().any(probes::Probe::has_failed) {
            exit = Exit::Gate;
        }
        text.push_str(&probes::text(&probes, level));
        data["probes"] = json!(probes);
    }
    Ok(Outcome { exit, data, text, findings: warnings })
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
