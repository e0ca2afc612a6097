//! C: freestanding, so that nothing but the compiler and its linker is needed.

use std::{path::PathBuf, process::Command};

use crate::{
    BuildError, Project, componentize,
    tools::{Tool, read, run},
};

const CLANG: Tool = Tool {
    name: "clang",
    version_argument: "--version",
    why: "plugins in C are compiled by clang, 14 or newer",
    install: "apt-get install --no-install-recommends clang lld",
    minimum: (14, 0),
};

const LINKER: Tool = Tool {
    name: "wasm-ld",
    version_argument: "--version",
    why: "clang links WebAssembly with it",
    install: "apt-get install --no-install-recommends lld",
    minimum: (0, 0),
};

pub(crate) fn check() -> Result<(), BuildError> {
    CLANG.check()?;
    LINKER.check()
}

pub(crate) fn build(project: &Project<'_>) -> Result<Vec<u8>, BuildError> {
    check()?;
    let module = project.cache.join("c.wasm");
    let mut command = Command::new("clang");
    command.args(["--target=wasm32-unknown-unknown", "-std=c11", "-O2", "-mbulk-memory"]);
    command.args(["-ffreestanding", "-nostdlib", "-Wall", "-Wextra"]);
    command.args(["-Wl,--no-entry", "-Wl,-z,stack-size=65536"]);
    command.arg("-I").arg(project.sdk.join("include"));
    command.args(sources(&project.sdk.join("src"))?);
    command.args(sources(&project.directory.join("src"))?);
    command.arg("-o").arg(&module);
    run(project, &mut command)?;
    componentize(&read(&module)?)
}

/// The C files of a folder, in the order of their names.
fn sources(folder: &std::path::Path) -> Result<Vec<PathBuf>, BuildError> {
    let entries = std::fs::read_dir(folder).map_err(|error| BuildError::io(folder, error))?;
    let files = entries.flatten().map(|entry| entry.path());
    let mut files: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|it| it == "c")).collect();
    files.sort();
    Ok(files)
}
