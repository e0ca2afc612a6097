//! Builds workspaces of plugins into components.
//!
//! A plugin is a `cdylib`, of a package or of an example. Most are built for
//! wasm32-unknown-unknown and made components here; a package that says so in
//! `[package.metadata.tidegate]` is built for wasm32-wasip2 and is one as it comes.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, bail};
use serde_json::Value;

const BARE: &str = "wasm32-unknown-unknown";
const WASI: &str = "wasm32-wasip2";

/// Builds all plugins of a workspace and puts each as `<name>.wasm` into `out_dir`. Returns what
/// it made. A target that is not to be had here is left out, aloud, unless it is the first one.
pub(crate) fn build(
    workspace_dir: &Path,
    target_dir: &Path,
    out_dir: &Path,
) -> anyhow::Result<Vec<PathBuf>> {
    fs::create_dir_all(out_dir).with_context(|| format!("create {}", out_dir.display()))?;
    let mut components = Vec::new();
    for (target, packages) in packages_by_target(workspace_dir)? {
        let toolchain = match Toolchain::find(&target) {
            Ok(toolchain) => toolchain,
            Err(error) if target == WASI => {
                say(&format!("SKIPPED {}: {error:#}", packages.join(", ")));
                continue;
            }
            Err(error) => return Err(error),
        };
        say(&format!("building {} for {target}", packages.join(", ")));
        for module in compile(workspace_dir, target_dir, &target, &packages, &toolchain)? {
            let component = out_dir.join(component_name(&module)?);
            componentize(&module, &component)?;
            components.push(component);
        }
    }
    say(&format!("{} components in {}", components.len(), out_dir.display()));
    Ok(components)
}

/// Which packages are built for which target.
fn packages_by_target(workspace_dir: &Path) -> anyhow::Result<BTreeMap<String, Vec<String>>> {
    let output = cargo(workspace_dir)
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .stderr(Stdio::inherit())
        .output()
        .context("start cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata failed in {}", workspace_dir.display());
    }
    let metadata: Value = serde_json::from_slice(&output.stdout).context("read cargo metadata")?;
    let mut packages = BTreeMap::<String, Vec<String>>::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let target = package["metadata"]["tidegate"]["target"].as_str().unwrap_or(BARE);
        let name = package["name"].as_str().context("a package has a name")?;
        packages.entry(target.to_owned()).or_default().push(name.to_owned());
    }
    Ok(packages)
}

/// Compiles and returns the modules, as cargo tells of them.
fn compile(
    workspace_dir: &Path,
    target_dir: &Path,
    target: &str,
    packages: &[String],
    toolchain: &Toolchain,
) -> anyhow::Result<Vec<PathBuf>> {
    let mut command = cargo(workspace_dir);
    command.args(["build", "--release", "--lib", "--examples", "--target", target]);
    command.arg("--message-format=json-render-diagnostics");
    command.arg("--target-dir").arg(target_dir);
    packages.iter().for_each(|package| {
        command.args(["--package", package]);
    });
    toolchain.apply(&mut command);
    let output = command.stderr(Stdio::inherit()).output().context("start cargo build")?;
    if !output.status.success() {
        bail!("cargo build failed in {}", workspace_dir.display());
    }
    Ok(tidegate_build::modules(&output.stdout))
}

/// Wraps a core module into the component that its custom section describes.
fn componentize(module: &Path, component: &Path) -> anyhow::Result<()> {
    let bytes = fs::read(module).with_context(|| format!("read {}", module.display()))?;
    let encoded = tidegate_build::encode_embedded(&bytes)
        .with_context(|| format!("make a component of {}", module.display()))?;
    fs::write(component, encoded).with_context(|| format!("write {}", component.display()))
}

/// `trap_on_one.wasm` → `trap-on-one.wasm`: cargo writes one, people the other.
fn component_name(module: &Path) -> anyhow::Result<String> {
    let name = module.file_name().and_then(|name| name.to_str()).context("a module has a name")?;
    Ok(name.replace('_', "-"))
}

/// How a target is compiled for.
enum Toolchain {
    /// By rustup's toolchain, as always.
    Rustup,
    /// By Debian's compiler, which ships its standard library as source: rustup's server is out
    /// of reach.
    Debian { linker: PathBuf },
}

impl Toolchain {
    /// Makes sure that there is one for a target, and installs what is missing.
    fn find(target: &str) -> anyhow::Result<Self> {
        if has_target(target)? {
            return Ok(Toolchain::Rustup);
        }
        say(&format!("rustup target add {target}"));
        let added = Command::new("rustup").args(["target", "add", target]).status();
        if added.is_ok_and(|status| status.success()) {
            return Ok(Toolchain::Rustup);
        }
        if target != BARE || !Path::new("/etc/debian_version").exists() {
            bail!("the target {target} is not installed, and rustup can't add it");
        }
        install_debian()
    }

    fn apply(&self, command: &mut Command) {
        if let Toolchain::Debian { linker } = self {
            command
                .env("RUSTC", "/usr/bin/rustc")
                // Building the standard library is an unstable feature of cargo's.
                .env("RUSTC_BOOTSTRAP", "1")
                .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker)
                .arg("-Zbuild-std=std,panic_abort");
        }
    }
}

/// What `tidegate plugin build` has to be told where the target's library is compiled anew: nothing
/// on most machines.
pub(crate) fn variables() -> anyhow::Result<Vec<(String, String)>> {
    let Toolchain::Debian { linker } = Toolchain::find(BARE)? else { return Ok(Vec::new()) };
    let linker = linker.display().to_string();
    let variables = [
        ("RUSTC", "/usr/bin/rustc"),
        ("RUSTC_BOOTSTRAP", "1"),
        ("CARGO_UNSTABLE_BUILD_STD", "std,panic_abort"),
        ("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", &linker),
    ];
    Ok(variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into())
}

fn install_debian() -> anyhow::Result<Toolchain> {
    let packages = ["rustc-web", "rust-web-src", "rust-web-llvm"];
    say(&format!("installing {} from Debian instead", packages.join(", ")));
    let update = ["apt-get", "update"];
    let install = ["apt-get", "install", "-y", "--no-install-recommends"];
    for command in [&update[..], &[&install[..], &packages[..]].concat()] {
        let status = Command::new(command[0]).args(&command[1..]).status();
        if !status.is_ok_and(|status| status.success()) {
            bail!("`{}` failed", command.join(" "));
        }
    }
    let linker = sysroot()?.join("lib/rustlib").join(host()?).join("bin/rust-lld");
    if !linker.exists() {
        bail!("the toolchain has no {}", linker.display());
    }
    Ok(Toolchain::Debian { linker })
}

fn has_target(target: &str) -> anyhow::Result<bool> {
    Ok(sysroot()?.join("lib/rustlib").join(target).join("lib").exists())
}

fn sysroot() -> anyhow::Result<PathBuf> {
    rustc(&["--print", "sysroot"]).map(|text| PathBuf::from(text.trim()))
}

/// The triple that the toolchain runs on.
fn host() -> anyhow::Result<String> {
    let version = rustc(&["-vV"])?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc names its host")
}

fn rustc(arguments: &[&str]) -> anyhow::Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).args(arguments).output().context("start rustc")?;
    String::from_utf8(output.stdout).context("rustc writes UTF-8")
}

fn cargo(directory: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(directory);
    // What cargo set for xtask is not meant for another workspace.
    command.env_remove("CARGO_TARGET_DIR").env_remove("RUSTFLAGS");
    command
}

fn say(what: &str) {
    eprintln!("guests: {what}");
}
