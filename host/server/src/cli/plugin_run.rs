//! `tidegate plugin run`: a plugin over a file of records, under the limits of production.

use std::{
    fmt::Write as _,
    fs::File,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow};
use clap::Args;
use indicatif::{BinaryBytes, HumanCount};
use serde_json::json;
use tidegate_connectors::sources::{
    Compression, FileSource, FileSourceConfig, LineLimits, StandardInput, StandardInputConfig,
};
use tidegate_core::{Source, Timestamp};

use super::{block_on, plugin_target::TargetArgs};
use crate::{
    output::{Exit, Failed, Outcome},
    trial::{Cause, LIMITS, Trial, Tried, Unit, share},
};

/// What `plugin run` takes.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// The records: NDJSON, `.gz` and `.zst` too; `-` is standard input.
    #[arg(long = "in", value_name = "FILE")]
    input: PathBuf,
    /// Where the records that go on are written; `-` is standard output. Nowhere, where this is
    /// left out.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Where those that are rejected are written, as dead letters.
    #[arg(long, value_name = "FILE")]
    dead_letters: Option<PathBuf>,
    /// The batch time, such as 2026-03-01T12:00:00Z; now, where this is left out.
    #[arg(long, value_name = "TIME", value_parser = time)]
    at: Option<Timestamp>,
}

fn time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).ok_or_else(|| "a time is written as 2026-03-01T12:00:00Z".to_owned())
}

pub(super) fn run(args: &RunArgs, json: bool) -> Result<Outcome, Failed> {
    for output in [&args.out, &args.dead_letters].into_iter().flatten() {
        // It would be empty before it is read.
        if args
            .input
            .canonicalize()
            .is_ok_and(|input| output.canonicalize().is_ok_and(|it| it == input))
        {
            let error = anyhow!("`{}` is both read and written", output.display());
            return Err(Failed { exit: Exit::Invalid, ..Failed::runtime(error) });
        }
    }
    let source = source(&args.input)?;
    let target = args.target.load()?;
    let context = || format!("failed to run `{}`", target.component_path.display());
    let trial = Trial::new(&target.component, target.options());
    let trial = trial.with_context(context).map_err(Failed::runtime)?;
    let mut out = sink(args.out.as_deref())?;
    let mut letters = sink(args.dead_letters.as_deref())?;
    let at = args.at.unwrap_or_else(now);
    let tried = block_on(trial.run(&*source, at, &mut *out, &mut *letters))?;
    let tried = match tried {
        Ok(tried) => tried,
        // Whoever reads the records has seen enough.
        Err(error) if is_closed_pipe(&error) => return Ok(Outcome::ok(json!({}), String::new())),
        Err(error) => return Err(Failed::runtime(error.context(context()))),
    };
    drop((out, letters));
    let mut outcome = report(&tried);
    if args.out.as_deref() == Some(Path::new("-")) && !json {
        // Standard output has the records.
        eprint!("{}", std::mem::take(&mut outcome.text));
    }
    Ok(outcome)
}

fn now() -> Timestamp {
    Timestamp(jiff::Timestamp::now().as_microsecond())
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    causes.any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

fn source(path: &Path) -> Result<Box<dyn Source>, Failed> {
    if path == Path::new("-") {
        return Ok(Box::new(StandardInput::new(StandardInputConfig {
            name: "given".to_owned(),
            run: "trial".to_owned(),
            compression: Compression::default(),
            limits: LineLimits::default(),
        })));
    }
    if !path.is_file() {
        let path = path.display();
        return Err(Failed::environment(anyhow!("there is no file of records `{path}`")));
    }
    let path = path.to_string_lossy();
    Ok(Box::new(FileSource::new(FileSourceConfig::new("given", [path]))))
}

fn sink(path: Option<&Path>) -> Result<Box<dyn Write>, Failed> {
    match path {
        None => Ok(Box::new(io::sink())),
        Some(path) if path == Path::new("-") => Ok(Box::new(BufWriter::new(io::stdout()))),
        Some(path) => {
            let file = File::create(path)
                .with_context(|| format!("failed to write `{}`", path.display()))
                .map_err(Failed::environment)?;
            Ok(Box::new(BufWriter::new(file)))
        }
    }
}

/// The answer is no where the plugin failed on a record or is not pure. What it rejects is its
/// business.
fn report(tried: &Tried) -> Outcome {
    let is_well = tried.poison == 0 && tried.impurity.is_none();
    let causes = tried.causes.iter().map(|(cause, records)| {
        let mut json = json!(cause);
        json["records"] = (*records).into();
        json
    });
    let usage = &tried.usage;
    let limits = LIMITS.iter().zip(usage.peaks).map(|(limit, peak)| {
        let it = json!({ "used": peak.used, "max": peak.max, "share": share(peak) });
        (limit.name.to_owned(), it)
    });
    let data = json!({
        "records": tried.records,
        "emitted": tried.emitted,
        "rows_out": tried.rows_out,
        "dropped": tried.dropped,
        "rejected": tried.rejected,
        "causes": causes.collect::<Vec<_>>(),
        "poison": tried.poison,
        "findings": tried.findings,
        "impurity": tried.impurity,
        "instances": tried.instances,
        "seconds": tried.time.as_secs_f64(),
        "plugin_seconds": usage.time.as_secs_f64(),
        "calls": usage.calls,
        "ns_per_row": per_row(tried),
        "memory_bytes": usage.peaks[0].used,
        "limits": limits.collect::<serde_json::Map<_, _>>(),
    });
    let exit = if is_well { Exit::Ok } else { Exit::Gate };
    Outcome { exit, data, text: text(tried), findings: Vec::new() }
}

/// How long the plugin takes for a row.
fn per_row(tried: &Tried) -> f64 {
    tried.usage.time.as_nanos() as f64 / tried.usage.rows.max(1) as f64
}

fn text(tried: &Tried) -> String {
    let mut text = String::new();
    let mut line = |name: &str, count: u64, more: String| {
        let _ = writeln!(text, "{name:<9} {:>12}{more}", HumanCount(count).to_string());
    };
    line("in", tried.records, String::new());
    let rows = match tried.rows_out == tried.emitted {
        true => String::new(),
        false => format!(" of which {} rows were made", HumanCount(tried.rows_out)),
    };
    line("out", tried.emitted, rows);
    line("dropped", tried.dropped, String::new());
    line("rejected", tried.rejected, String::new());
    for (Cause { code, rule, message }, records) in &tried.causes {
        let by = rule.as_ref().unwrap_or(code);
        let message = message.iter().map(|message| format!(": {message}")).collect::<String>();
        line("", *records, format!(" by {by}{message}"));
    }
    if tried.poison > 0 {
        line("poison", tried.poison, " of these: the plugin failed on them".to_owned());
    }
    for (rule, findings) in &tried.findings {
        line("found", *findings, format!(" {rule}"));
    }
    if let Some(impurity) = &tried.impurity {
        let _ = writeln!(text, "the plugin is not pure: {impurity}");
    }
    let seconds = tried.time.as_secs_f64();
    let a_second = (tried.records as f64 / seconds.max(1e-9)) as u64;
    let _ = writeln!(
        text,
        "\ntime      {seconds:.3} s, {} records/s; the plugin {:.3} s of it, {:.0} ns a row\n\
         calls     {}, on {} instances\n",
        HumanCount(a_second),
        tried.usage.time.as_secs_f64(),
        per_row(tried),
        HumanCount(tried.usage.calls),
        HumanCount(tried.instances),
    );
    let _ = writeln!(text, "{:<9} {:>14} {:>14} {:>8}", "limit", "most", "of", "share");
    for (limit, peak) in LIMITS.iter().zip(tried.usage.peaks) {
        let shown = |amount: u64| match limit.unit {
            Unit::Bytes => BinaryBytes(amount).to_string(),
            Unit::Count => HumanCount(amount).to_string(),
            Unit::Microseconds => format!("{:.3} ms", amount as f64 / 1e3),
        };
        let share = 100.0 * share(peak);
        let (most, of) = (shown(peak.used), shown(peak.max));
        let _ = writeln!(text, "{:<9} {most:>14} {of:>14} {share:>6.2} %", limit.name);
    }
    text
}
