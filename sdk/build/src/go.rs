//! Go: the stock compiler makes a module for WASI preview 1, whose WASI is answered inside.

use std::process::Command;

use crate::{
    BuildError, Project, componentize,
    tools::{Tool, read, run},
};

const GO: Tool = Tool {
    name: "go",
    version_argument: "version",
    why: "plugins in Go are compiled by the stock compiler, 1.24 or newer",
    install: "apt-get install golang-go, or the archive from https://go.dev/dl",
    minimum: (1, 24),
};

pub(crate) fn check() -> Result<(), BuildError> {
    GO.check()
}

pub(crate) fn build(project: &Project<'_>) -> Result<Vec<u8>, BuildError> {
    check()?;
    let module = project.cache.join("go.wasm");
    let mut command = Command::new("go");
    command.current_dir(project.directory).env("GOOS", "wasip1").env("GOARCH", "wasm");
    // A library that is called, not a program that ends; without debug sections, with names.
    command.args(["build", "-buildmode=c-shared", "-trimpath", "-ldflags=-w", "-o"]);
    command.arg(&module).arg(".");
    run(project, &mut command)?;
    componentize(&read(&module)?)
}
