//! A simulated fleet: seeds, and bugs that they have to find.

use std::process::Command;

use crate::shell;

/// What the simulation takes: all of it is the program's.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// How many seeds (`--seeds N`), from which on (`--from S`), whether each planted bug has to be
    /// found (`--mutations`), and the rest of what `--help` says.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    shell::say("build the simulation");
    let mut build = shell::cargo();
    // As the tests are built, so that what both need is built once.
    build.args(["build", "--release", "--workspace", "--all-features"]);
    shell::run(build.args(["--bin", "simulate", "--test", "simulation"]))?;
    shell::run(Command::new(shell::target_dir().join("release/simulate")).args(&args.arguments))
}
