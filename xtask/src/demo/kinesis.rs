//! The demo of the whole road: `examples/kinesis-to-s3` between servers on this machine.

use std::{path::Path, process::Command};

use super::{Args, fresh};
use crate::shell;

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    shell::say("build the program and the servers");
    let mut build = shell::cargo();
    // As the tests are built, so that what both need is built once.
    build.args(["build", "--release", "--workspace", "--all-features", "--bins"]);
    shell::run(&mut build)?;
    shell::plugins()?;
    road(args, &shell::root().join("demo/kinesis"))
}

/// Runs it with what is built, in a folder of its own.
pub(super) fn road(args: &Args, demo: &Path) -> anyhow::Result<()> {
    fresh(demo)?;
    let mut command = Command::new(shell::target_dir().join("release/road"));
    command.arg(demo).args(["--seed", &args.seed.to_string()]);
    if let Some(records) = args.records {
        command.args(["--records", &records.to_string()]);
    }
    command.args(args.json.then_some("--json"));
    command.env("TIDEGATE_BIN", shell::target_dir().join("release/tidegate"));
    command.env("TIDEGATE_PLUGINS", shell::plugins_dir());
    shell::run(&mut command)
}
