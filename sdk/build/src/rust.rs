//! Rust: cargo makes a bare module, which says itself which contract it follows.

use std::{path::PathBuf, process::Command};

use serde_json::Value;

use crate::{
    BuildError, Project, encode_embedded,
    tools::{Tool, read, run},
};

const TARGET: &str = "wasm32-unknown-unknown";

const CARGO: Tool = Tool {
    name: "cargo",
    version_argument: "--version",
    why: "plugins in Rust are built by cargo, 1.95 or newer",
    install: "curl https://sh.rustup.rs -sSf | sh, or rustup update",
    minimum: (1, 95),
};

/// Whether the target's standard library is there, or is built: where a distribution has it as
/// source alone, `CARGO_UNSTABLE_BUILD_STD` has cargo compile it.
pub(crate) fn check() -> Result<(), BuildError> {
    CARGO.check()?;
    let missing = BuildError::Missing {
        tool: "the target wasm32-unknown-unknown",
        why: "plugins in Rust are compiled for it",
        install: "rustup target add wasm32-unknown-unknown",
    };
    if std::env::var_os("CARGO_UNSTABLE_BUILD_STD").is_some() {
        return Ok(());
    }
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let Ok(printed) = Command::new(rustc).args(["--print", "sysroot"]).output() else {
        return Err(missing);
    };
    let sysroot = PathBuf::from(String::from_utf8_lossy(&printed.stdout).trim());
    let library = sysroot.join("lib/rustlib").join(TARGET).join("lib");
    if library.exists() { Ok(()) } else { Err(missing) }
}

pub(crate) fn build(project: &Project<'_>) -> Result<Vec<u8>, BuildError> {
    check()?;
    let mut command = Command::new("cargo");
    command.current_dir(project.directory);
    command.args(["build", "--release", "--lib", "--target", TARGET]);
    command.arg("--message-format=json-render-diagnostics");
    command.arg("--target-dir").arg(project.cache.join("rust"));
    let printed = run(project, &mut command)?;
    let module = modules(printed.as_bytes()).pop().ok_or_else(|| {
        BuildError::Component("the package has no library of the crate type `cdylib`".to_owned())
    })?;
    encode_embedded(&read(&module)?)
}

/// The modules that a build of cargo's has made, out of its messages for programs.
pub fn modules(messages: &[u8]) -> Vec<PathBuf> {
    let mut modules = Vec::new();
    for line in messages.split(|byte| *byte == b'\n') {
        let Ok(message) = serde_json::from_slice::<Value>(line) else { continue };
        let kinds = message["target"]["crate_types"].as_array();
        if kinds.is_some_and(|kinds| kinds.iter().any(|kind| kind == "cdylib")) {
            let files = message["filenames"].as_array().into_iter().flatten();
            let files = files.filter_map(Value::as_str).filter(|file| file.ends_with(".wasm"));
            modules.extend(files.map(PathBuf::from));
        }
    }
    modules
}
