//! The main job on embedded defaults: no account, no server to install.

use std::{fs, path::Path, process::Command};

use anyhow::Context;
use serde_json::{Value, json};

use crate::shell;

/// What the demo takes.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many events to generate.
    #[arg(long, default_value_t = 200_000)]
    records: u64,
    /// The seed of the generator: the same seed gives the same events.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Ends with one JSON object on a line of its own.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let root = shell::root();
    let tidegate = shell::tidegate()?;
    shell::plugins()?;

    let demo = root.join("demo");
    if demo.exists() {
        shell::say("remove the last demo");
        fs::remove_dir_all(&demo).context("remove ./demo")?;
    }
    fs::create_dir_all(&demo).context("create ./demo")?;
    let pipeline = root.join("examples/events/pipeline.yaml");
    let tidegate = |command: &str| {
        shell::output(
            Command::new(&tidegate)
                .current_dir(&root)
                .arg(command)
                .arg(&pipeline)
                .arg("--json")
                .env("TIDEGATE_PLUGINS", shell::plugins_dir())
                .env("DEMO_DIR", &demo)
                .env("DEMO_RECORDS", args.records.to_string())
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
    println!("\n  processed events  {}", show(&root, &demo.join("processed")));
    println!("  dead letters      {}", show(&root, &demo.join("dead-letters")));
    println!("\nTry next:");
    let program = show(&root, &shell::target_dir().join("release/tidegate"));
    println!("  {program} dlq ls examples/events/pipeline.yaml");
    println!("  {program} check examples/events/pipeline.yaml");
    println!(
        "  {program} plugin inspect {}",
        show(&root, &shell::plugins_dir().join("categorize.wasm"))
    );
    if args.json {
        println!(
            "{}",
            json!({
                "read": read, "filtered": filtered, "delivered": delivered, "dropped": dropped,
                "dead_lettered": dead_lettered, "records_per_second": rate, "conserved": conserved,
            })
        );
    }
    anyhow::ensure!(conserved, "what lies on the disk does not add up to what was read");
    Ok(())
}

/// A path as a person in the checkout would type it.
fn show(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).display().to_string()
}
