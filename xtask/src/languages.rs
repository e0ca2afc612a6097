//! Plugins in each language, built into components: the conformance plugin, and the template.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context;
use tidegate_build::{BuildError, Language, Project};

use crate::{guests, shell};

/// Builds each language's conformance plugin, and its template as an author would, into
/// `<target>/languages`, and a guest that asks much of Go's runtime. What can't be built here leaves a file that says why, which its tests say in
/// turn.
pub(crate) fn build() -> anyhow::Result<PathBuf> {
    let out_dir = dir();
    fs::create_dir_all(&out_dir).with_context(|| format!("create {}", out_dir.display()))?;
    rust(&out_dir)?;
    // Rust's are built by `rust` above, for Debian's compiler too.
    for language in Language::ALL.into_iter().filter(|it| *it != Language::Rust) {
        let conformance = shell::root().join("sdk/conformance").join(language.name());
        let template = out_dir.join("templates").join(language.name());
        let _ = fs::remove_dir_all(&template);
        tidegate_build::create("size", language, &template, None).context("make a project")?;
        shell::say(format!("languages: building plugins in {language}"));
        let mut projects = vec![("", conformance), ("-size", template)];
        if language == Language::Go {
            projects.push(("-wasi", shell::root().join("tests/guests/go")));
        }
        for (name, project) in projects {
            let component = out_dir.join(format!("{}{name}.wasm", language.name()));
            let skipped = component.with_extension("skipped");
            match one(language, &project) {
                Ok(bytes) => {
                    fs::write(&component, bytes).context("write a component")?;
                    // Absent where it was built before.
                    let _ = fs::remove_file(skipped);
                }
                Err(error @ (BuildError::Missing { .. } | BuildError::TooOld { .. })) => {
                    shell::say(format!("SKIPPED {language}: {error}"));
                    fs::write(skipped, error.to_string()).context("write why it was skipped")?;
                }
                Err(error) => {
                    return Err(error).with_context(|| format!("build {}", project.display()));
                }
            }
        }
    }
    Ok(out_dir)
}

/// Where the components of languages are.
pub(crate) fn dir() -> PathBuf {
    shell::target_dir().join("languages")
}

fn sdk(language: Language) -> PathBuf {
    shell::root().join("sdk").join(language.name())
}

fn rust(out_dir: &Path) -> anyhow::Result<()> {
    let workspace = shell::root().join("sdk/conformance/rust");
    guests::build(&workspace, &shell::target_dir().join("wasm"), out_dir).map(|_| ())
}

fn one(language: Language, project: &Path) -> Result<Vec<u8>, BuildError> {
    if let Err(missing) = tidegate_build::check(language)
        && (language != Language::C || !install_clang())
    {
        return Err(missing);
    }
    tidegate_build::build(&Project {
        language,
        directory: project,
        sdk: &sdk(language),
        cache: &dir().join("cache").join(language.name()),
        tools: &dir().join("cache").join(language.name()),
        say: &|line| shell::say(line),
    })
}

/// A machine for tests that is Debian, and ours, gets its compiler.
pub(crate) fn install_clang() -> bool {
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|it| it.stdout == b"0\n");
    if !is_root || !Path::new("/etc/debian_version").exists() {
        return false;
    }
    let install = ["install", "-y", "--no-install-recommends", "clang", "lld"];
    shell::run(Command::new("apt-get").arg("update"))
        .and_then(|()| shell::run(Command::new("apt-get").args(install)))
        .is_ok()
}
