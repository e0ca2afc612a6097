//! The whole road, between servers on this machine: the demo over `examples/kinesis-to-s3`, and what
//! a byte costs.

use std::{fs, path::Path, process::Command};

use anyhow::Context;

use super::{Args, fresh};
use crate::{dynamodb_local, shell};

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    build()?;
    road(args, &shell::root().join("demo/kinesis"))
}

/// Measures the road.
pub(crate) fn bench(json: bool) -> anyhow::Result<()> {
    build()?;
    let folder = shell::target_dir().join("bench-kinesis");
    fresh(&folder)?;
    let mut command = program();
    command.arg("bench").arg(&folder).args(json.then_some("--json"));
    shell::run(&mut command)?;
    fs::remove_dir_all(&folder).context("remove what the benchmark wrote")
}

fn build() -> anyhow::Result<()> {
    shell::say("build the program and the servers");
    let mut build = shell::cargo();
    // As the tests are built, so that what both need is built once.
    build.args(["build", "--release", "--workspace", "--all-features", "--bins"]);
    shell::run(&mut build)?;
    shell::plugins().map(drop)
}

fn program() -> Command {
    let mut command = Command::new(shell::target_dir().join("release/road"));
    command.env("TIDEGATE_BIN", shell::target_dir().join("release/tidegate"));
    command.env("TIDEGATE_PLUGINS", shell::plugins_dir());
    if let Some(folder) = dynamodb_local::folder() {
        command.env("TIDEGATE_DYNAMODB_LOCAL", folder);
    }
    command
}

/// Runs the demo with what is built, in a folder of its own.
pub(super) fn road(args: &Args, demo: &Path) -> anyhow::Result<()> {
    fresh(demo)?;
    let mut command = program();
    command.arg("demo").arg(demo).args(["--seed", &args.seed.to_string()]);
    if let Some(records) = args.records {
        command.args(["--records", &records.to_string()]);
    }
    command.args(args.json.then_some("--json"));
    shell::run(&mut command)
}
