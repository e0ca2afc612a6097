//! The whole road on one machine: a producer, Kinesis, the program, S3. `cargo xtask demo --kinesis`
//! tells a story on it, `cargo xtask bench --kinesis` measures it.
//!
//! Kinesis and S3 are servers in this process, behind proxies that put writes in order. Leases and the
//! ledger are on a DynamoDB of this machine, where Java is to be had; else progress is in the embedded
//! store.

mod bench;
mod bucket;
mod demo;
mod producer;
mod tables;

use clap::Parser;

#[derive(Parser)]
enum Command {
    /// A reshard, a swap and a crash on the way, and nothing is lost.
    Demo(demo::Args),
    /// What a byte costs.
    Bench(bench::Args),
    /// The same calls of the services and nothing else: for `bench`.
    #[command(hide = true)]
    Calls(bench::Calls),
}

fn main() -> anyhow::Result<()> {
    match Command::parse() {
        Command::Demo(args) => demo::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Calls(calls) => calls.run(),
    }
}

fn say(what: &str) {
    println!("road: {what}");
}
