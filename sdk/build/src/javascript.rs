//! JavaScript and TypeScript: rolldown bundles the sources, and jco puts them on QuickJS.

use std::{path::PathBuf, process::Command};

use serde_json::Value;

use crate::{
    BuildError, Project, WIT,
    tools::{Tool, read, run, write},
};

const NPM: Tool = Tool {
    name: "npm",
    version_argument: "--version",
    why: "npm fetches jco, which puts plugins in JavaScript on QuickJS",
    install: "apt-get install nodejs npm",
    minimum: (0, 0),
};

const NODE: Tool = Tool {
    name: "node",
    version_argument: "--version",
    why: "jco, which puts plugins in JavaScript on QuickJS, is run by Node 20 or newer",
    install: "apt-get install nodejs npm, or the archive from https://nodejs.org",
    minimum: (20, 0),
};

/// The version that the SDK was tried with. Another one may hand values over in another shape.
const JCO: &str = "@bytecodealliance/jco@1.35.0";

/// Where a project's plugin is, the first that exists.
const ENTRIES: [&str; 4] = ["src/plugin.ts", "src/plugin.js", "plugin.ts", "plugin.js"];

/// What a component exports, after the import of the author's module.
const MAIN: &str = "import * as host from \"tidegate:plugin/host@0.1.0\";
const component = plugin.component(host);
export { component as plugin };
";

pub(crate) fn check() -> Result<(), BuildError> {
    NODE.check()?;
    NPM.check()
}

pub(crate) fn build(project: &Project<'_>) -> Result<Vec<u8>, BuildError> {
    check()?;
    let programs = programs(project)?;
    let wit = project.cache.join("wit");
    write(&wit.join("plugin.wit"), WIT.as_bytes())?;
    let entry = ENTRIES.iter().map(|entry| project.directory.join(entry)).find(|it| it.exists());
    let entry = entry.ok_or_else(|| {
        BuildError::Component(format!(
            "{} has none of {}",
            project.directory.display(),
            ENTRIES.join(", ")
        ))
    })?;
    // The author's module names no host, so that it runs under Node too: here the two meet.
    let main = project.cache.join("main.js");
    let source = entry.canonicalize().map_err(|error| BuildError::io(&entry, error))?;
    write(&main, format!("import plugin from {source:?};\n{MAIN}").as_bytes())?;
    install_dependencies(project)?;
    let bundle = project.cache.join("bundle.js");
    let config = project.cache.join("rolldown.config.mjs");
    write(&config, format!(
        "const fail = (level, {{ message }}) => {{ if (level === \"warn\") throw new Error(message); }};\n\
         export default {{ input: {main:?}, external: [/^tidegate:/], onLog: fail, output: {{ file: \
         {bundle:?}, format: \"esm\" }} }};\n"
    ).as_bytes())?;
    run(
        project,
        Command::new(programs.join("rolldown")).current_dir(project.cache).arg("-c").arg(&config),
    )?;
    let component = project.cache.join("js.wasm");
    let mut command = Command::new(programs.join("jco"));
    command.current_dir(project.cache).arg("componentize").arg(&bundle);
    command.arg("--wit").arg(&wit).args(["--world-name", "transform", "--backend", "qjs"]);
    command.args(["--backend-qjs-stub-wasi", "--backend-qjs-disable-async", "--out"]);
    command.arg(&component);
    run(project, &mut command)?;
    read(&component)
}

/// What the project itself depends on, where it is not installed: the SDK at least. A link into a
/// folder that has gone since is as good as none.
fn install_dependencies(project: &Project<'_>) -> Result<(), BuildError> {
    let path = project.directory.join("package.json");
    let package: Value = serde_json::from_slice(&read(&path)?)
        .map_err(|error| BuildError::io(&path, error.into()))?;
    let modules = project.directory.join("node_modules");
    let declared = package["dependencies"].as_object().into_iter().flatten();
    if declared.into_iter().all(|(name, _)| modules.join(name).exists()) {
        return Ok(());
    }
    let mut npm = Command::new("npm");
    npm.current_dir(project.directory).args(["install", "--no-audit", "--no-fund"]);
    run(project, npm.arg("--loglevel=error")).map(|_| ())
}

/// The folder of jco, and of the bundler that it brings, fetched by npm into the cache where they
/// are not there yet. Its own `--bundle` needs more of the file system than it gets everywhere.
fn programs(project: &Project<'_>) -> Result<PathBuf, BuildError> {
    let home = project.tools.join(JCO.replace(['/', '@'], "-"));
    let programs = home.join("node_modules/.bin");
    if !programs.join("jco").exists() {
        write(&home.join("package.json"), b"{\"private\": true}\n")?;
        let mut npm = Command::new("npm");
        npm.current_dir(&home).args([
            "install",
            "--no-audit",
            "--no-fund",
            "--loglevel=error",
            JCO,
        ]);
        run(project, &mut npm)?;
    }
    Ok(programs)
}
