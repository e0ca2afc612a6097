//! Every kind of test.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use anyhow::{Context, bail};

use crate::{
    demo, dynamodb_local, kcl, kinesis_local, lambda_emulator, languages, python, registry, shell,
};

/// What the tests take.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The long tests at the counts that they are meant for.
    #[arg(long)]
    full: bool,
    /// Fails where something was skipped, unless it needs data that is not part of the project.
    #[arg(long)]
    no_skips: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    shell::components()?;
    languages::build()?;
    // Everything is built by one command, so that it is built once: which features a dependency
    // gets follows from what is built together. The program comes with its crate's tests.
    let workspace = ["--release", "--workspace", "--all-features"];
    shell::run(shell::cargo().arg("test").args(workspace).arg("--no-run"))?;
    let tidegate = shell::target_dir().join("release/tidegate");

    let mut summary = Summary::default();
    let counts: [(&str, &str); 5] = if args.full {
        [
            ("TIDEGATE_KILLS", "50"),
            ("TIDEGATE_CASES", "20000"),
            ("TIDEGATE_SEEDS", "2000"),
            ("TIDEGATE_FLEETS", "10000"),
            ("TIDEGATE_SWAPS", "200"),
        ]
    } else {
        [
            ("TIDEGATE_KILLS", "10"),
            ("TIDEGATE_CASES", "256"),
            ("TIDEGATE_SEEDS", "200"),
            ("TIDEGATE_FLEETS", "200"),
            ("TIDEGATE_SWAPS", "20"),
        ]
    };
    let mut host = shell::cargo();
    for environment in python::ENVIRONMENTS {
        if let Some(python) = environment.python() {
            host.env(environment.variable, python);
        }
    }
    if let Some(folder) = kinesis_local::folder() {
        host.env("TIDEGATE_KINESIS_LOCAL", folder);
    }
    if let Some(folder) = dynamodb_local::folder() {
        host.env("TIDEGATE_DYNAMODB_LOCAL", folder);
    }
    if let Some(folder) = kcl::folder() {
        host.env("TIDEGATE_KCL", folder);
    }
    if let Some(program) = registry::program() {
        host.env("TIDEGATE_REGISTRY", program);
    }
    if let Some(program) = lambda_emulator::program() {
        host.env("TIDEGATE_LAMBDA_EMULATOR", program);
    }
    host.arg("test").args(workspace).arg("--no-fail-fast");
    summary.run("host, SDK and integration", &mut host, &counts, &tidegate)?;

    for workspace in shell::PLUGIN_WORKSPACES {
        let mut plugins = shell::cargo();
        plugins.args(["test", "--release", "--workspace", "--no-fail-fast"]);
        plugins.arg("--manifest-path").arg(format!("{workspace}/Cargo.toml"));
        plugins.arg("--target-dir").arg(shell::target_dir().join("wasm"));
        // What makes components small makes a dozen test programs slow to build.
        plugins.env("CARGO_PROFILE_RELEASE_LTO", "off");
        plugins.env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
        summary.run(
            &format!("first-party plugins in {workspace}"),
            &mut plugins,
            &counts,
            &tidegate,
        )?;
    }

    summary.check("demo", || demo::prove(&tidegate, &shell::target_dir().join("demo")));
    let road = shell::target_dir().join("demo-kinesis");
    summary.check("demo of the whole road", || demo::prove_kinesis(&road));
    summary.finish(args.no_skips)
}

/// What came of all test runs together.
#[derive(Default)]
struct Summary {
    passed: u64,
    failed: u64,
    skipped: Vec<String>,
    broken: Vec<String>,
}

impl Summary {
    /// Runs one test command, passing its output on and counting results.
    fn run(
        &mut self,
        name: &str,
        command: &mut Command,
        counts: &[(&str, &str)],
        tidegate: &std::path::Path,
    ) -> anyhow::Result<()> {
        shell::say(format!("test: {name}"));
        // Both streams of a test go through libtest's capture; `--show-output` lets the lines of
        // tests that left something out come through.
        let mut child = command
            .args(["--", "--show-output"])
            .envs(counts.iter().copied())
            .env("TIDEGATE_BIN", tidegate)
            .env("TIDEGATE_PLUGINS", shell::plugins_dir())
            .env("TIDEGATE_GUESTS", shell::guests_dir())
            .env("TIDEGATE_LANGUAGES", languages::dir())
            .stdout(Stdio::piped())
            .spawn()
            .context("start cargo test")?;
        let stdout = child.stdout.take().expect("stdout was asked for");
        for line in BufReader::new(stdout).lines() {
            let line = line.context("read what cargo test prints")?;
            self.read(&line);
        }
        if !child.wait().context("wait for cargo test")?.success() {
            self.broken.push(name.to_owned());
        }
        Ok(())
    }

    /// One test that is no test program's.
    fn check(&mut self, name: &str, work: impl FnOnce() -> anyhow::Result<()>) {
        shell::say(format!("test: {name}"));
        match work() {
            Ok(()) => self.passed += 1,
            Err(error) => {
                println!("{name} failed: {error:?}");
                self.failed += 1;
                self.broken.push(name.to_owned());
            }
        }
    }

    fn read(&mut self, line: &str) {
        if let Some(skipped) = line.trim_start().strip_prefix("SKIPPED: ") {
            self.skipped.push(skipped.to_owned());
        }
        if let Some(result) = line.strip_prefix("test result: ") {
            let count = |word: &str| {
                result
                    .split(['.', ';'])
                    .find_map(|part| part.trim().strip_suffix(word)?.trim().parse::<u64>().ok())
                    .unwrap_or(0)
            };
            self.passed += count("passed");
            self.failed += count("failed");
        }
        println!("{line}");
    }

    fn finish(mut self, no_skips: bool) -> anyhow::Result<()> {
        self.skipped.sort();
        self.skipped.dedup();
        for skipped in &self.skipped {
            println!("skipped: {skipped}");
        }
        println!(
            "\n{} passed, {} failed, {} skipped",
            self.passed,
            self.failed,
            self.skipped.len()
        );
        if !self.broken.is_empty() {
            bail!("failed: {}", self.broken.join(", "));
        }
        let is_ours = |skipped: &&String| !skipped.ends_with("shared/data is absent");
        if no_skips && let Some(skipped) = self.skipped.iter().find(is_ours) {
            bail!("nothing may be skipped here, and this was: {skipped}");
        }
        if self.passed == 0 {
            bail!("no test ran");
        }
        Ok(())
    }
}
