//! The conformance plugin in each language, built into components.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context;
use tidegate_build::{BuildError, Language, Project};

use crate::{guests, shell};

/// Builds the conformance plugin in each language into `<target>/languages`. What can't be built
/// here leaves a file that says why, which its tests say in turn.
pub(crate) fn build() -> anyhow::Result<PathBuf> {
    let out_dir = shell::target_dir().join("languages");
    fs::create_dir_all(&out_dir).with_context(|| format!("create {}", out_dir.display()))?;
    rust(&out_dir)?;
    for language in Language::ALL {
        let component = out_dir.join(language.name()).with_extension("wasm");
        let skipped = component.with_extension("skipped");
        shell::say(format!("languages: building the conformance plugin in {language}"));
        match one(language) {
            Ok(bytes) => {
                fs::write(&component, bytes).context("write a component")?;
                // Absent where it was built before.
                let _ = fs::remove_file(skipped);
            }
            Err(error @ BuildError::Missing { .. }) => {
                shell::say(format!("SKIPPED {language}: {error}"));
                fs::write(skipped, error.to_string()).context("write why it was skipped")?;
            }
            Err(error) => return Err(error).with_context(|| format!("build in {language}")),
        }
    }
    Ok(out_dir)
}

fn rust(out_dir: &Path) -> anyhow::Result<()> {
    let workspace = shell::root().join("sdk/conformance/rust");
    guests::build(&workspace, &shell::target_dir().join("wasm"), out_dir).map(|_| ())
}

fn one(language: Language) -> Result<Vec<u8>, BuildError> {
    if let Err(missing) = tidegate_build::check(language) {
        if language != Language::C || !install_clang() {
            return Err(missing);
        }
    }
    tidegate_build::build(&Project {
        language,
        directory: &shell::root().join("sdk/conformance").join(language.name()),
        sdk: &shell::root().join("sdk").join(language.name()),
        cache: &shell::target_dir().join("languages/cache").join(language.name()),
    })
}

/// A machine for tests that is Debian, and ours, gets its compiler.
fn install_clang() -> bool {
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|it| it.stdout == b"0\n");
    if !is_root || !Path::new("/etc/debian_version").exists() {
        return false;
    }
    let install = ["install", "-y", "--no-install-recommends", "clang", "lld"];
    shell::run(Command::new("apt-get").arg("update"))
        .and_then(|()| shell::run(Command::new("apt-get").args(install)))
        .is_ok()
}
