//! The demo's second act: a rule and a plugin are changed while records flow, and a change that
//! would break the chain is refused.

use std::{
    fs::{self, File},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use serde_json::Value;

use crate::shell;

/// How long a change may take to be decided on, the compiler included, on a slow machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A custom section by the name of `build`: the same plugin under another digest, as a build of
/// another day is.
const ANOTHER_BUILD: &[u8] = b"\x00\x06\x05build";

/// What the operator's changes came to.
pub(super) struct Swaps {
    pub(super) accepted: u64,
    pub(super) refused: u64,
    /// From the last batch of the old generation to the first of the new one, on each partition.
    pub(super) pause_p99_microseconds: u64,
    /// What `verify` says of what lies on the disk.
    pub(super) conserved: bool,
}

/// A change of a file, and what is to become of it.
struct Change {
    what: &'static str,
    file: &'static str,
    bytes: Vec<u8>,
    expected: &'static str,
}

/// Runs `examples/hot-swap` in `folder`, changes it three times, and stops it.
pub(super) fn run(tidegate: &Path, folder: &Path, seed: u64) -> anyhow::Result<Swaps> {
    let rule = "categorize.yaml";
    let plugin = "categorize.wasm";
    let example = shell::root().join("examples/hot-swap");
    fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    let component = fs::read(shell::plugins_dir().join(plugin)).context("read a plugin")?;
    let rules = fs::read_to_string(example.join(rule)).context("read the rules")?;
    fs::copy(example.join("pipeline.yaml"), folder.join("pipeline.yaml")).context("copy")?;
    fs::write(folder.join(rule), &rules).context("copy the rules")?;
    fs::write(folder.join(plugin), &component).context("copy a plugin")?;
    let program = Program { tidegate, folder, seed };

    let (printed, log) = (folder.join("run.json"), folder.join("run.log"));
    let create = |path| File::create(path).context("create a log");
    let run = program.command("run").stdout(create(&printed)?).stderr(create(&log)?).spawn();
    let mut run = Run(run.context("start tidegate run")?);
    wait_for("the start", || {
        let ended = run.0.try_wait().context("look after tidegate run")?;
        anyhow::ensure!(
            ended.is_none(),
            "tidegate run ended at once: {}",
            fs::read_to_string(&printed).unwrap_or_default()
        );
        // There is no store to ask before it has started.
        Ok(!program.swaps().unwrap_or_default().is_empty())
    })?;
    let changes = [
        Change {
            what: "a rule: what counts as small",
            file: rule,
            bytes: rules.replace("below: 100", "below: 500").into_bytes(),
            expected: "serving",
        },
        Change {
            what: "a plugin: another build of `categorize`",
            file: plugin,
            bytes: [&component, ANOTHER_BUILD].concat(),
            expected: "serving",
        },
        Change {
            what: "a rule: `size` is written no more, and a later stage reads it",
            file: rule,
            bytes: b"flags: [{ write: is_large, field: amount, above: 500 }]\n".to_vec(),
            expected: "refused",
        },
    ];
    for change in changes {
        program.change(&change)?;
    }
    run.stop()?;

    let swaps = program.swaps()?;
    let in_state = |state: &str| {
        let changes = swaps.iter().filter(|swap| swap["cause"] == "change");
        changes.filter(|swap| swap["state"] == state).count() as u64
    };
    let effects = swaps.iter().filter(|swap| swap["cause"] == "change");
    let effects = effects.flat_map(|swap| swap["effects"].as_array().into_iter().flatten());
    let mut pauses: Vec<u64> =
        effects.filter_map(|effect| effect["pause_micros"].as_u64()).collect();
    pauses.sort_unstable();
    anyhow::ensure!(!pauses.is_empty(), "no partition has taken a swap");
    let place = (pauses.len() * 99).div_ceil(100) - 1;
    let verified = program.data("verify")?;
    Ok(Swaps {
        accepted: in_state("serving"),
        refused: in_state("refused"),
        pause_p99_microseconds: pauses[place],
        conserved: verified["conserved"].as_bool().context("`conserved`")?,
    })
}

/// The program over the demo's pipeline.
struct Program<'a> {
    tidegate: &'a Path,
    folder: &'a Path,
    seed: u64,
}

impl Program<'_> {
    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.tidegate);
        command.current_dir(self.folder).args([name, "pipeline.yaml", "--json"]);
        command.env("TIDEGATE_PLUGINS", shell::plugins_dir());
        command.env("DEMO_SEED", self.seed.to_string());
        command
    }

    fn data(&self, name: &str) -> anyhow::Result<Value> {
        let output = self.command(name).stderr(Stdio::null()).output();
        let output = output.with_context(|| format!("start tidegate {name}"))?;
        let mut printed: Value = serde_json::from_slice(&output.stdout)
            .with_context(|| format!("read what tidegate {name} printed"))?;
        anyhow::ensure!(output.status.success(), "tidegate {name}: {}", printed["error"]);
        Ok(printed["data"].take())
    }

    /// What became of each change up to now, the start included.
    fn swaps(&self) -> anyhow::Result<Vec<Value>> {
        Ok(self.data("generations")?["swaps"].as_array().cloned().unwrap_or_default())
    }

    /// Replaces a file as careful tools do, waits until it is decided on and, where it serves, has
    /// taken effect, and shows the receipt.
    fn change(&self, change: &Change) -> anyhow::Result<()> {
        let before = self.swaps()?.len();
        let beside = self.folder.join("beside");
        fs::write(&beside, &change.bytes).context("write a change")?;
        fs::rename(&beside, self.folder.join(change.file)).context("make a change")?;
        let mut receipt = Value::Null;
        wait_for(change.what, || {
            let swaps = self.swaps()?;
            let Some(swap) = swaps.get(before) else { return Ok(false) };
            receipt = swap.clone();
            let effects = swap["effects"].as_array().map_or(0, Vec::len);
            Ok(swap["state"] == "refused" || effects > 1)
        })?;
        let generation = receipt["generation"].as_str().unwrap_or_default();
        let state = receipt["state"].as_str().unwrap_or_default();
        println!("\n  changed {}", change.what);
        println!("    {state}  {}", generation.get(..15).unwrap_or(generation));
        if let Some(reason) = receipt["reason"].as_str() {
            println!("    {reason}");
        }
        for effect in receipt["effects"].as_array().into_iter().flatten() {
            let text = |name: &str| effect[name].as_str().unwrap_or_default().to_owned();
            println!(
                "    {} after record {}, {} µs between two batches",
                text("partition"),
                text("after"),
                effect["pause_micros"]
            );
        }
        anyhow::ensure!(state == change.expected, "{} was to be {}", change.what, change.expected);
        Ok(())
    }
}

/// A run that is stopped, whatever happens.
struct Run(Child);

impl Run {
    /// By the signal that an operator's tools send.
    fn stop(mut self) -> anyhow::Result<()> {
        shell::run(Command::new("kill").arg("-TERM").arg(self.0.id().to_string()))?;
        let ended = self.0.wait().context("wait for tidegate run")?;
        anyhow::ensure!(ended.success(), "tidegate run: {ended}");
        Ok(())
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // Fails where it has ended, as it should have.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait_for(what: &str, mut happened: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let since = Instant::now();
    while !happened()? {
        anyhow::ensure!(since.elapsed() < PATIENCE, "{what}: nothing came of it in time");
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
