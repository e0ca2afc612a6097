//! Running other programs, aloud: every command is printed before it starts.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail};

use crate::guests;

/// The root of the checkout.
pub(crate) fn root() -> PathBuf {
    // Asked for when it runs: a target directory that clones share may hold another one's xtask.
    let built_in = || env!("CARGO_MANIFEST_DIR").into();
    let xtask = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(built_in));
    xtask.parent().expect("xtask lies in the root").to_owned()
}

/// Where cargo puts what it builds for the host's workspace.
pub(crate) fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Says what is being done, on stderr.
pub(crate) fn say(text: impl std::fmt::Display) {
    eprintln!("\x1b[1m==>\x1b[0m {text}");
}

/// Cargo, in the root of the checkout.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Runs a command to its end; a failure names it.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let line = describe(command);
    say(&line);
    let status = command.status().with_context(|| format!("start `{line}`"))?;
    if !status.success() {
        bail!("`{line}` failed: {status}");
    }
    Ok(())
}

/// Runs a command to its end and returns what it wrote to stdout.
pub(crate) fn output(command: &mut Command) -> anyhow::Result<String> {
    let line = describe(command);
    say(&line);
    command.stderr(std::process::Stdio::inherit());
    let output = command.output().with_context(|| format!("start `{line}`"))?;
    if !output.status.success() {
        bail!(
            "`{line}` failed: {}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stdout).trim_end()
        );
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{line}` wrote no UTF-8"))
}

/// The command as a person would type it.
fn describe(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(command.get_program()).to_string_lossy().into_owned();
    command.get_args().fold(name, |line, arg| format!("{line} {}", arg.to_string_lossy()))
}

/// Where the first-party plugins' components are.
pub(crate) fn plugins_dir() -> PathBuf {
    target_dir().join("plugins")
}

/// Where the test guests' components are.
pub(crate) fn guests_dir() -> PathBuf {
    target_dir().join("guests")
}

/// Builds the first-party plugins and the test guests into components.
pub(crate) fn components() -> anyhow::Result<Vec<PathBuf>> {
    let mut built = plugins()?;
    built.extend(guests::build(
        &root().join("tests/guests"),
        &target_dir().join("wasm"),
        &guests_dir(),
    )?);
    Ok(built)
}

/// The workspaces of first-party plugins: those that can be built together, and the one that can't.
pub(crate) const PLUGIN_WORKSPACES: [&str; 2] = ["plugins", "plugins/schema"];

/// Builds the first-party plugins into components.
pub(crate) fn plugins() -> anyhow::Result<Vec<PathBuf>> {
    let mut built = Vec::new();
    for workspace in PLUGIN_WORKSPACES {
        let target_dir = target_dir().join("wasm");
        built.extend(guests::build(&root().join(workspace), &target_dir, &plugins_dir())?);
    }
    copy_golden_cases()?;
    Ok(built)
}

/// Puts each plugin's golden cases beside its component, where the host looks for them.
fn copy_golden_cases() -> anyhow::Result<()> {
    let sources = root().join("plugins");
    for entry in std::fs::read_dir(&sources).context("list the plugins")? {
        let entry = entry.context("list the plugins")?;
        let cases = entry.path().join("golden.yaml");
        if cases.is_file() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let beside = plugins_dir().join(format!("{name}.golden.yaml"));
            std::fs::copy(&cases, &beside)
                .with_context(|| format!("copy {} to {}", cases.display(), beside.display()))?;
        }
    }
    Ok(())
}

/// Builds the `tidegate` binary and returns its path.
pub(crate) fn tidegate() -> anyhow::Result<PathBuf> {
    run(cargo().args(["build", "--release", "--package", "tidegate-server", "--bin", "tidegate"]))?;
    Ok(target_dir().join("release/tidegate"))
}
