//! Python: componentize-py runs the module once and keeps what it left in CPython's memory.

use std::{path::PathBuf, process::Command};

use crate::{
    BuildError, Project, WIT,
    tools::{Tool, read, run, write},
};

const PYTHON: Tool = Tool {
    name: "python3",
    version_argument: "--version",
    why: "Python 3.11 or newer, with venv and pip, fetches componentize-py, which puts plugins on \
          CPython",
    install: "apt-get install python3 python3-venv python3-pip",
    minimum: (3, 11),
};

/// The version that the SDK was tried with. Another one may hand values over in another shape.
const COMPONENTIZE_PY: &str = "componentize-py==0.25.1";

/// The module in which a project's plugin is.
const MODULE: &str = "plugin";

pub(crate) fn check() -> Result<(), BuildError> {
    PYTHON.check()
}

pub(crate) fn build(project: &Project<'_>) -> Result<Vec<u8>, BuildError> {
    check()?;
    let componentize_py = componentize_py(project)?;
    let wit = project.cache.join("wit");
    write(&wit.join("plugin.wit"), WIT.as_bytes())?;
    // The SDK's module that knows WIT is the application: it imports the author's and exports what
    // the contract asks for.
    let component = project.cache.join("python.wasm");
    let mut command = Command::new(componentize_py);
    command.current_dir(project.directory);
    command.arg("-d").arg(&wit).args(["-w", "transform", "componentize", "tidegate.guest"]);
    let source = project.directory.join("src");
    command.arg("-p").arg(if source.join(MODULE).with_extension("py").exists() {
        source
    } else {
        project.directory.to_owned()
    });
    command.arg("-p").arg(project.sdk.join("src")).args(["--stub-wasi", "-o"]).arg(&component);
    run(project, &mut command)?;
    read(&component)
}

/// The pinned componentize-py, fetched by pip into an environment of its own in the cache.
fn componentize_py(project: &Project<'_>) -> Result<PathBuf, BuildError> {
    let home = project.tools.join(COMPONENTIZE_PY.replace("==", "-"));
    let program = home.join("bin/componentize-py");
    if !program.exists() {
        run(project, Command::new("python3").args(["-m", "venv"]).arg(&home))?;
        let mut pip = Command::new(home.join("bin/pip"));
        run(
            project,
            pip.args(["install", "--quiet", "--disable-pip-version-check", COMPONENTIZE_PY]),
        )?;
    }
    Ok(program)
}
