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
    for language in Language::ALL {
        let conformance = shell::root().join("sdk/conformance").join(language.name());
        let template = out_dir.join("templates").join(language.name());
        instantiate(&sdk(language).join("template"), &template, language)?;
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
                Err(error @ BuildError::Missing { .. }) => {
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

/// Copies a template and fills its placeholders, as `tidegate plugin new` does.
fn instantiate(template: &Path, project: &Path, language: Language) -> anyhow::Result<()> {
    let sdk = sdk(language).display().to_string();
    fs::create_dir_all(project).with_context(|| format!("create {}", project.display()))?;
    for entry in fs::read_dir(template).with_context(|| format!("read {}", template.display()))? {
        let from = entry.context("read a template")?.path();
        let to = project.join(from.file_name().context("a file has a name")?);
        if from.is_dir() {
            instantiate(&from, &to, language)?;
            continue;
        }
        let text = fs::read_to_string(&from).with_context(|| format!("read {}", from.display()))?;
        let text = text.replace("{{name}}", "size").replace("{{sdk}}", &sdk);
        fs::write(&to, text).with_context(|| format!("write {}", to.display()))?;
    }
    Ok(())
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
