//! `tidegate test`: what a pipeline makes of given records, held against what is expected.

use std::{
    ffi::OsStr,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::anyhow;
use clap::Args;
use serde_json::json;
use tidegate_engine::Runtime;

use super::{PipelineArgs, block_on, environment, runtime_options};
use crate::{
    config::{self, LoadedTests},
    finding::Finding,
    output::{Exit, Failed, Outcome},
    testing::{self, Pipeline},
};

/// What `test` takes.
#[derive(Debug, Args)]
pub(super) struct TestArgs {
    #[command(flatten)]
    pipeline: PipelineArgs,
    /// Files of tests. Where none is named: `<pipeline>.test.yaml` beside the pipeline's file, and
    /// all `tests/*.yaml` there.
    tests: Vec<PathBuf>,
}

/// How a case came out.
struct Ran<'a> {
    file: &'a Path,
    name: &'a str,
    findings: Vec<Finding>,
}

pub(super) fn test(args: &TestArgs) -> Result<Outcome, Failed> {
    let (loaded, supply) = args.pipeline.open()?;
    let paths = match args.tests.is_empty() {
        false => args.tests.clone(),
        true => beside(&args.pipeline.pipeline)?,
    };
    let files = load(&paths)?;
    let runtime = Runtime::new(runtime_options(&loaded.config)).map_err(Failed::environment)?;
    let pipeline = Pipeline::build(&loaded, &runtime, &supply).map_err(Failed::invalid)?;
    let unknown: Vec<Finding> =
        files.iter().flat_map(|tests| testing::check_names(tests, &pipeline)).collect();
    if !unknown.is_empty() {
        return Err(Failed::invalid(unknown));
    }
    let mut ran = Vec::new();
    for tests in &files {
        for (i, case) in tests.tests.cases.iter().enumerate() {
            let produced = block_on(pipeline.run(tests, case))?.map_err(|error| {
                let file = tests.file.path.display();
                Failed::runtime(error.context(format!("failed to run `{}` of `{file}`", case.name)))
            })?;
            let findings = testing::compare(tests, i, &produced);
            ran.push(Ran { file: &tests.file.path, name: &case.name, findings });
        }
    }
    Ok(outcome(ran))
}

/// All files at once: what is wrong with one must not hide what is wrong with another.
fn load(paths: &[PathBuf]) -> Result<Vec<LoadedTests>, Failed> {
    let mut files = Vec::new();
    let mut findings = Vec::new();
    for path in paths {
        match config::load_tests(path, &environment) {
            Ok(tests) => files.push(tests),
            Err(config::ConfigError::Invalid(found)) => findings.extend(found),
            Err(error) => return Err(error.into()),
        }
    }
    match findings.is_empty() {
        true => Ok(files),
        false => {
            let error = anyhow!("the tests are invalid");
            Err(Failed { error, ..Failed::invalid(findings) })
        }
    }
}

/// The tests that lie beside a pipeline's file, by name.
fn beside(pipeline: &Path) -> Result<Vec<PathBuf>, Failed> {
    let folder = pipeline.parent().unwrap_or(Path::new(""));
    let stem = pipeline.file_stem().unwrap_or_default().to_string_lossy();
    let own = folder.join(format!("{stem}.test.yaml"));
    let tests = folder.join("tests");
    let mut found: Vec<PathBuf> = fs::read_dir(&tests)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension() == Some(OsStr::new("yaml")))
        .collect();
    found.sort();
    if own.is_file() {
        found.insert(0, own.clone());
    }
    match found.is_empty() {
        false => Ok(found),
        true => Err(Failed::environment(anyhow!(
            "there are no tests: neither `{}` nor any `{}`",
            own.display(),
            tests.join("*.yaml").display()
        ))),
    }
}

fn outcome(ran: Vec<Ran<'_>>) -> Outcome {
    let failed = ran.iter().filter(|case| !case.findings.is_empty()).count();
    let passed = ran.len() - failed;
    let mut text = String::new();
    let mut cases = Vec::new();
    let mut findings = Vec::new();
    for Ran { file, name, findings: found } in ran {
        let passed = found.is_empty();
        let _ = writeln!(text, "{}  {name}", if passed { "ok    " } else { "FAILED" });
        cases.push(json!({ "file": file, "name": name, "passed": passed,
                           "differences": found.len() }));
        findings.extend(found);
    }
    let _ = writeln!(text, "{passed} passed, {failed} failed");
    let exit = if failed == 0 { Exit::Ok } else { Exit::Gate };
    let data = json!({ "passed": passed, "failed": failed, "cases": cases });
    Outcome { exit, data, text, findings }
}
