//! `tidegate plugin test`: what a component makes of its golden cases.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow};
use clap::Args;
use serde_json::{Value, json};
use tidegate_engine::{Component, ConfigureOptions, Runtime, RuntimeOptions};

use super::{PolicyArgs, environment, plugin_target};
use crate::{
    config::{self, ComponentReference},
    files::Files,
    golden::{self, Cases, Report},
    output::{Exit, Failed, Outcome},
    supply::Supply,
};

/// What `plugin test` takes.
#[derive(Debug, Args)]
pub(super) struct TestArgs {
    /// The component, or a project's folder that was built.
    #[arg(default_value = ".")]
    file: PathBuf,
    /// The golden cases; `<component>.golden.yaml` beside the component where none are named.
    #[arg(long, value_name = "FILE")]
    golden: Option<PathBuf>,
    /// The config of cases that have none of their own, YAML or JSON.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Write what comes out into the file, as what is expected from now on.
    #[arg(long)]
    accept: bool,
    #[command(flatten)]
    policy: PolicyArgs,
}

pub(super) fn test(args: &TestArgs) -> Result<Outcome, Failed> {
    let (file, beside) = plugin_target::place(&args.file)?;
    let path = args.golden.clone().unwrap_or(beside);
    let cases = golden::load(&path)?.ok_or_else(|| {
        let path = path.display();
        Failed::environment(anyhow!(
            "there are no golden cases: write `{path}`, or name a file by `--golden`"
        ))
    })?;
    let config = match &args.config {
        None => json!({}),
        Some(path) => config::load_plugin_config(path, &environment)?,
    };
    let supply = args.policy.supply()?;
    let component = load(&file, &supply)?;
    let report = golden::run(&component, options(&config, &supply), &cases);
    match args.accept {
        false => Ok(outcome(&cases, &report, Vec::new(), &path)),
        true => accept(&component, &options(&config, &supply), &cases, &report, &path),
    }
}

/// A component, ready to be configured.
pub(super) fn load(path: &Path, supply: &Supply) -> Result<Component, Failed> {
    let reference = ComponentReference::File { path: path.to_owned(), digest: None };
    let admitted = supply.resolve(&reference, &Files::on_disk())?;
    let runtime = Runtime::new(RuntimeOptions::default()).map_err(Failed::environment)?;
    let loaded = runtime.load_within(&admitted.bytes, &supply.policy().limits());
    loaded.with_context(|| format!("failed to load `{}`", path.display())).map_err(Failed::runtime)
}

/// The limits of production. It is granted what it asks for, within the policy: whether it should
/// get that is for who runs it to say.
pub(super) fn options(config: &Value, supply: &Supply) -> ConfigureOptions {
    let policy = supply.policy();
    ConfigureOptions {
        config_json: config.to_string(),
        limits: policy.limits(),
        grants: policy.ceiling().clone(),
        ..ConfigureOptions::default()
    }
}

/// Rewrites the file, unless something came out that nobody should accept: a case that could not
/// be run, a record that the plugin fails on, a plugin that is not pure.
fn accept(
    component: &Component,
    options: &ConfigureOptions,
    cases: &Cases,
    report: &Report,
    path: &Path,
) -> Result<Outcome, Failed> {
    if let Some(why) = report.unacceptable() {
        let error = anyhow!("nothing is accepted: {why}");
        return Err(Failed { exit: Exit::Gate, ..Failed::runtime(error) });
    }
    let old_text = fs::read_to_string(path).map_err(Failed::environment)?;
    let text = golden::accepted(&old_text, cases, report);
    let changed = if text == old_text { Vec::new() } else { changes(report) };
    if text != old_text {
        fs::write(path, text)
            .with_context(|| format!("failed to write `{}`", path.display()))
            .map_err(Failed::environment)?;
    }
    let cases = golden::load(path)?.context("the file is gone").map_err(Failed::environment)?;
    let report = golden::run(component, options.clone(), &cases);
    Ok(outcome(&cases, &report, changed, path))
}

/// What was expected otherwise before.
fn changes(report: &Report) -> Vec<String> {
    report.failures.iter().map(ToString::to_string).collect()
}

fn outcome(cases: &Cases, report: &Report, accepted: Vec<String>, path: &Path) -> Outcome {
    let mut text = String::new();
    for change in &accepted {
        let _ = writeln!(text, "accepted  {change}");
    }
    for case in &cases.cases {
        let failures: Vec<_> = report.failures.iter().filter(|it| it.case == case.name).collect();
        let word = if failures.is_empty() { "ok    " } else { "FAILED" };
        let _ = writeln!(text, "{word}  {}", case.name);
        for failure in failures {
            let _ = writeln!(text, "        {}", failure.place_and_message());
        }
    }
    let failed = report.cases.len() - report.passed;
    let _ = writeln!(text, "{} passed, {failed} failed", report.passed);
    let mut data = report.json();
    data["golden"] = json!(path);
    data["accepted"] = json!(accepted);
    let exit = if failed == 0 { Exit::Ok } else { Exit::Gate };
    Outcome { exit, data, text, findings: Vec::new() }
}
