//! All of the project's automation: `cargo xtask <command>`.
//!
//! Each command installs or builds what it needs and says what it is doing. Nothing here is part
//! of the product.

mod authors;
mod bench;
mod demo;
mod dynamodb_local;
mod guests;
mod kcl;
mod kinesis_local;
mod lambda_emulator;
mod languages;
mod maven;
mod nab;
mod python;
mod registry;
mod shell;
mod simulate;
mod test;

use clap::{Parser, Subcommand};

/// Builds, tests, measures and shows Tidegate.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Generates events, runs the four first-party plugins over them into ./demo, verifies what
    /// lies on the disk and prints a summary that adds up.
    Demo(demo::Args),
    /// Runs every kind of test, the long ones at reduced counts.
    Test(test::Args),
    /// Measures the data path against native code and against peers that do the same work.
    Bench(bench::Args),
    /// Streams the Numenta Anomaly Benchmark through the host and scores the anomaly plugin.
    Nab(nab::Args),
    /// Walks the path of a new author in each language, from an empty folder to a plugin that runs.
    Authors(authors::Args),
    /// Lives seeds of a simulated fleet: hosts die and stand still, answers are lost, shards are split.
    Simulate(simulate::Args),
    /// Builds the first-party plugins and the misbehaving test guests into components.
    Guests,
    /// Builds the conformance plugin of each language's SDK into a component.
    Languages,
}

fn main() -> anyhow::Result<()> {
    match Args::parse().command {
        Command::Demo(args) => demo::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Nab(args) => nab::run(&args),
        Command::Authors(args) => authors::run(&args),
        Command::Simulate(args) => simulate::run(&args),
        Command::Guests => shell::components().map(|_| ()),
        Command::Languages => languages::build().map(|_| ()),
    }
}
