//! Measuring: the rows of `docs/performance.md`.

use crate::{demo::kinesis, languages, shell};

/// What the benchmark takes.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Ends with one JSON object of all rows and ratios.
    #[arg(long)]
    json: bool,
    /// Also batch sizes, record sizes, chain lengths and cores.
    #[arg(long)]
    sweep: bool,
    /// Only the same small plugin in each language: the table of `docs/languages.md`.
    #[arg(long)]
    languages: bool,
    /// Only the road from Kinesis to S3, between servers on this machine.
    #[arg(long)]
    kinesis: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    if args.languages {
        return each_language();
    }
    if args.kinesis {
        return kinesis::bench(args.json);
    }
    shell::plugins()?;
    let mut peers = shell::cargo();
    peers.args(["build", "--release", "--manifest-path", "benches/peers/Cargo.toml"]);
    peers.arg("--target-dir").arg(shell::target_dir().join("peers"));
    shell::run(&mut peers)?;

    let mut table = shell::cargo();
    // Built as the tests are, so that what both need is built once.
    table.args(["bench", "--workspace", "--all-features", "--bench", "table", "--"]);
    table.args(args.json.then_some("--json"));
    table.args(args.sweep.then_some("--sweep"));
    table.env("TIDEGATE_PLUGINS", shell::plugins_dir());
    table.env("TIDEGATE_PEERS", shell::target_dir().join("peers/release/peers"));
    shell::run(&mut table)
}

fn each_language() -> anyhow::Result<()> {
    let languages = languages::build()?;
    let mut costs = shell::cargo();
    costs.args(["test", "--release", "--workspace", "--all-features", "--test", "languages", "--"]);
    costs.args(["--ignored", "--nocapture", "what_each_language_costs"]);
    shell::run(costs.env("TIDEGATE_LANGUAGES", languages))
}
