//! The programs of `peers/`, as processes of their own.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, ensure};
use serde::Deserialize;
use tidegate_benches::{run::Output, work::Extras};

/// The program that has them all.
pub(crate) struct Peers(pub(crate) PathBuf);

/// What it says of a run.
#[derive(Deserialize)]
struct Report {
    ns_per_record: f64,
    refused: u64,
}

impl Peers {
    /// One pass: nanoseconds a record, in CPU time.
    pub(crate) fn measure(
        &self,
        program: &str,
        input: &Path,
        extras: Extras,
    ) -> anyhow::Result<f64> {
        Ok(self.run(program, input, extras, &[])?.ns_per_record)
    }

    /// What it makes of the transactions.
    pub(crate) fn output(
        &self,
        program: &str,
        input: &Path,
        extras: Extras,
        directory: &Path,
    ) -> anyhow::Result<Output> {
        let path = directory.join(format!("{program}.jsonl"));
        let Report { refused, .. } =
            self.run(program, input, extras, &["--write".as_ref(), path.as_ref()])?;
        let lines = std::fs::read(&path)?;
        std::fs::remove_file(&path)?;
        Ok(Output { lines, refused })
    }

    fn run(
        &self,
        program: &str,
        input: &Path,
        extras: Extras,
        more: &[&std::ffi::OsStr],
    ) -> anyhow::Result<Report> {
        let mut command = Command::new(&self.0);
        command.arg(program).arg(input).args(more).stderr(Stdio::inherit());
        command.args(["--passes", "1"]);
        command.args(extras.record_id.then_some("--record-id"));
        let output = command.output().with_context(|| format!("run {}", self.0.display()))?;
        ensure!(output.status.success(), "{program} failed: {}", output.status);
        serde_json::from_slice(&output.stdout).context("read what it says")
    }
}
