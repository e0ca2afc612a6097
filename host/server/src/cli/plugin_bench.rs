//! `tidegate plugin bench`: what a plugin costs, and whether it costs more than before.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow};
use clap::Args;
use indicatif::HumanCount;
use serde_json::{Value, json};

use super::{
    block_on,
    plugin_target::{Target, TargetArgs},
};
use crate::{
    bench::{self, Measured},
    objects,
    output::{Failed, Outcome},
};

/// One row is a slow stream, ten a busy one, 500 the default batch, 2,000 a large one.
const SIZES: [u32; 4] = [1, 10, 500, 2_000];

/// More records than these say nothing new.
const RECORDS_MAX: usize = 2_000;

/// What `plugin bench` takes.
#[derive(Debug, Args)]
pub(super) struct BenchArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// The records to measure it on, NDJSON; those of the golden cases where none are named.
    #[arg(long = "in", value_name = "FILE")]
    input: Option<PathBuf>,
    /// How many rows a batch has.
    #[arg(long, value_name = "ROWS", value_delimiter = ',', default_values_t = SIZES,
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rows: Vec<u32>,
    /// What was measured before, to compare with.
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Write what is measured to the baseline.
    #[arg(long, requires = "baseline")]
    save: bool,
}

pub(super) fn bench(args: &BenchArgs) -> Result<Outcome, Failed> {
    let before = baseline(args)?;
    let target = args.target.load()?;
    let records = records(args, &target)?;
    let batch = crate::records::batch(&records).map_err(Failed::runtime)?;
    let measured =
        block_on(bench::measure(&target.component, target.options(), &batch, &args.rows))?;
    let measured = measured
        .with_context(|| format!("failed to measure `{}`", target.component_path.display()))
        .map_err(Failed::runtime)?;
    if let (true, Some(path)) = (args.save, &args.baseline) {
        let mut text = serde_json::to_vec_pretty(&measured).map_err(Failed::runtime)?;
        text.push(b'\n');
        fs::write(path, text)
            .with_context(|| format!("failed to write `{}`", path.display()))
            .map_err(Failed::environment)?;
    }
    let mut data = serde_json::to_value(&measured).map_err(Failed::runtime)?;
    data["records"] = records.len().into();
    if let Some(before) = &before {
        data["baseline"] = compared(&measured, before);
    }
    data["saved"] = args.save.into();
    Ok(Outcome::ok(data, text(&measured, before.as_ref())))
}

/// What was measured before, where there is such a file. It may be missing where it is to be written.
fn baseline(args: &BenchArgs) -> Result<Option<Measured>, Failed> {
    let Some(path) = args.baseline.as_deref() else { return Ok(None) };
    if !path.exists() {
        return match args.save {
            true => Ok(None),
            false => Err(Failed::environment(anyhow!(
                "there is no baseline `{}`: `--save` writes one",
                path.display()
            ))),
        };
    }
    read(path)
        .with_context(|| format!("`{}` is no baseline", path.display()))
        .map(Some)
        .map_err(Failed::runtime)
}

fn read(path: &Path) -> anyhow::Result<Measured> {
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

fn records(args: &BenchArgs, target: &Target) -> Result<Vec<Vec<u8>>, Failed> {
    let mut records: Vec<Vec<u8>> = Vec::new();
    if let Some(path) = &args.input {
        let read = objects::each_record(path, |batch| {
            let room = RECORDS_MAX.saturating_sub(records.len());
            records.extend((0..batch.len().min(room)).map(|row| batch.record(row).to_vec()));
            Ok(())
        });
        block_on(read)?.map_err(Failed::environment)?;
    } else {
        // A text may be no JSON at all: then it reaches no plugin.
        let given = target.cases.iter().flat_map(|cases| &cases.cases).flat_map(|it| &it.records);
        records.extend(given.map(|record| match &record.given {
            Value::String(text) => text.clone().into_bytes(),
            json => json.to_string().into_bytes(),
        }));
    }
    match records.is_empty() {
        false => Ok(records),
        true => Err(Failed::environment(anyhow!(
            "there is nothing to measure it on: it has no golden cases, so name records by `--in`"
        ))),
    }
}

/// Ratios of now to before: below one is faster.
fn compared(now: &Measured, before: &Measured) -> Value {
    let batches = now.batches.iter().filter_map(|(rows, now)| {
        let before = before.batches.get(rows)?;
        let ratios = json!({
            "ns_per_row": now.ns_per_row / before.ns_per_row,
            "fuel_per_row": now.fuel_per_row / before.fuel_per_row,
        });
        Some((rows.to_string(), ratios))
    });
    json!({
        "plugin": before.plugin,
        "instantiate": now.instantiate_microseconds / before.instantiate_microseconds,
        "component_bytes": now.component_bytes as f64 / before.component_bytes as f64,
        "batches": batches.collect::<serde_json::Map<_, _>>(),
    })
}

fn text(now: &Measured, before: Option<&Measured>) -> String {
    let mut text = format!("{}\n\n", now.plugin);
    let versus = |ratio: Option<f64>| match ratio {
        Some(ratio) => format!("{ratio:>9.2} x"),
        None => String::new(),
    };
    let than = if before.is_some() { "  to before" } else { "" };
    let _ = writeln!(text, "{:<24} {:>8}{than} {:>8}{than}", "", "ns", "fuel");
    for (rows, it) in &now.batches {
        let was = before.and_then(|before| before.batches.get(rows));
        let of = HumanCount(u64::from(*rows));
        let _ = writeln!(
            text,
            "{:<24} {:>8.0}{} {:>8.0}{}",
            format!("a row, in calls of {of}"),
            it.ns_per_row,
            versus(was.map(|was| it.ns_per_row / was.ns_per_row)),
            it.fuel_per_row,
            versus(was.map(|was| it.fuel_per_row / was.fuel_per_row)),
        );
    }
    let _ = writeln!(
        text,
        "{:<24} {:>8.1}{}",
        "µs to instantiate",
        now.instantiate_microseconds,
        versus(before.map(|was| now.instantiate_microseconds / was.instantiate_microseconds)),
    );
    let _ = writeln!(
        text,
        "{:<24} {:>8}{}",
        "KiB of component",
        now.component_bytes.div_ceil(1024),
        versus(before.map(|was| now.component_bytes as f64 / was.component_bytes as f64)),
    );
    text
}
