//! The main job on embedded defaults: no account, no server to install.

pub(crate) mod kinesis;
mod swaps;

use std::{fs, path::Path, process::Command};

use anyhow::Context;
use serde_json::{Value, json};

use crate::shell;

/// How many events there are, where nobody says so.
const RECORDS: u64 = 200_000;

/// What the demo takes.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The whole road instead: Kinesis, four plugins, S3, with reshards, a swap and a crash on the
    /// way. Both services are servers on this machine.
    #[arg(long)]
    kinesis: bool,
    /// How many events to generate; 200,000, or 40,000 with `--kinesis`, where this is left out.
    #[arg(long)]
    records: Option<u64>,
    /// The seed of the generator: the same seed gives the same events.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Ends with one JSON object on a line of its own.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    if args.kinesis {
        return kinesis::run(args);
    }
    let program = shell::tidegate()?;
    shell::plugins()?;
    show_all(args, &program, &shell::root().join("demo"))
}

/// The demo in a folder of a test's, at a reduced count, and the commands that it ends with.
pub(crate) fn prove(program: &Path, demo: &Path) -> anyhow::Result<()> {
    let args = Args { kinesis: false, records: Some(20_000), seed: 1, json: true };
    show_all(&args, program, demo)?;
    for command in next(&shell::root(), program, demo) {
        let mut shell_command = Command::new("sh");
        shell_command.current_dir(shell::root()).arg("-ec").arg(command);
        shell_command.env("DEMO_DIR", demo).env("TIDEGATE_PLUGINS", shell::plugins_dir());
        let printed = shell::output(&mut shell_command)?;
        anyhow::ensure!(!printed.trim().is_empty(), "it prints nothing");
    }
    Ok(())
}

/// A folder in which nothing of the last demo is left.
fn fresh(demo: &Path) -> anyhow::Result<()> {
    if demo.exists() {
        shell::say("remove the last demo");
        fs::remove_dir_all(demo).context("remove the last demo")?;
    }
    fs::create_dir_all(demo).context("create the demo's folder")
}

/// The demo of the whole road in a folder of a test's, at a reduced count.
pub(crate) fn prove_kinesis(demo: &Path) -> anyhow::Result<()> {
    let args = Args { kinesis: true, records: Some(8_000), seed: 1, json: true };
    kinesis::road(&args, demo)
}

fn show_all(args: &Args, program: &Path, demo: &Path) -> anyhow::Result<()> {
    let root = shell::root();
    fresh(demo)?;
    let pipeline = root.join("examples/events/pipeline.yaml");
    let tidegate = |command: &str| {
        shell::output(
            Command::new(program)
                .current_dir(&root)
                .arg(command)
                .arg(&pipeline)
                .arg("--json")
                .env("TIDEGATE_PLUGINS", shell::plugins_dir())
                .env("DEMO_DIR", demo)
                .env("DEMO_RECORDS", args.records.unwrap_or(RECORDS).to_string())
                .env("DEMO_SEED", args.seed.to_string()),
        )
        .and_then(|output| {
            serde_json::from_str::<Value>(output.trim_end()).context("read what tidegate printed")
        })
    };
    let run = tidegate("run")?;
    let verify = tidegate("verify")?;

    let count = |name: &str| -> anyhow::Result<u64> {
        run["data"][name].as_u64().with_context(|| format!("`{name}` in the summary of the run"))
    };
    let [read, filtered, dropped, delivered, dead_lettered] = [
        count("read")?,
        count("filtered")?,
        count("dropped")?,
        count("delivered")?,
        count("dead_lettered")?,
    ];
    let rate = run["data"]["records_per_second"].as_f64().context("`records_per_second`")?;
    let conserved = verify["data"]["conserved"].as_bool().context("`conserved`")?;

    println!("\n  read            {read:>10}");
    println!("  = filtered      {filtered:>10}");
    println!("  + dropped       {dropped:>10}");
    println!("  + delivered     {delivered:>10}");
    println!("  + dead-lettered {dead_lettered:>10}");
    println!("  {rate:.0} records/s, {}", if conserved { "conserved" } else { "NOT conserved" });

    shell::say("change a rule and a plugin while records flow");
    let swaps = swaps::run(program, &demo.join("hot-swap"), args.seed)?;
    println!(
        "\n  {} changes took over and {} was refused, {}",
        swaps.accepted,
        swaps.refused,
        if swaps.conserved { "conserved" } else { "NOT conserved" }
    );
    let conserved = conserved && swaps.conserved;
    println!("\n  processed events  {}", show(&root, &demo.join("processed")));
    println!("  dead letters      {}", show(&root, &demo.join("dead-letters")));
    println!("\nTry next:");
    for command in next(&root, program, demo) {
        println!("  {command}");
    }
    if args.json {
        println!(
            "{}",
            json!({
                "read": read, "filtered": filtered, "delivered": delivered, "dropped": dropped,
                "dead_lettered": dead_lettered, "records_per_second": rate, "conserved": conserved,
                "swaps": {
                    "accepted": swaps.accepted, "refused": swaps.refused,
                    "pause_p99_microseconds": swaps.pause_p99_microseconds,
                },
            })
        );
    }
    anyhow::ensure!(conserved, "what lies on the disk does not add up to what was read");
    Ok(())
}

/// Commands to try next, for the root of the checkout.
fn next(root: &Path, program: &Path, demo: &Path) -> [String; 3] {
    let plugins = shell::plugins_dir();
    // The examples look for plugins in the checkout's own target folder.
    let elsewhere = !plugins.starts_with(root);
    let variables =
        if elsewhere { format!("TIDEGATE_PLUGINS={} ", plugins.display()) } else { String::new() };
    let program = format!("{variables}{}", show(root, program));
    [
        format!("{program} dlq ls examples/events/pipeline.yaml"),
        format!("{program} graph examples/events/pipeline.yaml"),
        format!("{program} generations {}", show(root, &demo.join("hot-swap/pipeline.yaml"))),
    ]
}

/// A path as a person in the checkout would type it.
fn show(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).display().to_string()
}
