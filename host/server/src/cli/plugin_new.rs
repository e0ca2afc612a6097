//! `tidegate plugin new` and `plugin build`: from nothing to a project, and from it to a component.

use std::{fs, path::PathBuf};

use anyhow::{Context, anyhow};
use clap::Args;
use serde_json::json;
use tidegate_build::{BuildError, CreateError, Language};
use tidegate_core::Digest;

use crate::{
    output::{Exit, Failed, Outcome},
    project,
};

/// What `plugin new` takes.
#[derive(Debug, Args)]
pub(super) struct NewArgs {
    /// The project's folder, whose last part is the plugin's name: lower-case letters, digits, `-`.
    folder: PathBuf,
    /// The language to write it in.
    #[arg(long, value_parser = ["rust", "go", "js", "python", "c"])]
    lang: String,
}

/// What `plugin build` takes.
#[derive(Debug, Args)]
pub(super) struct BuildArgs {
    /// The project's folder.
    #[arg(default_value = ".")]
    folder: PathBuf,
}

pub(super) fn new(args: &NewArgs) -> Result<Outcome, Failed> {
    let language = Language::named(&args.lang).expect("the command line admits no other names");
    let name = args.folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    tidegate_build::create(name, language, &args.folder).map_err(|error| match error {
        CreateError::Write { .. } => Failed::environment(error),
        CreateError::Name(_) | CreateError::Occupied(_) => usage(error.into()),
    })?;
    let project = project::load(&args.folder)?;
    let folder = args.folder.display();
    let next = [
        format!("cd {folder}"),
        "tidegate plugin build".to_owned(),
        "tidegate plugin test .".to_owned(),
    ];
    let text = format!("made {folder}, a plugin in {language}; next:\n\n  {}\n", next.join("\n  "));
    let data = json!({
        "folder": args.folder,
        "language": language.name(),
        "component": project.component,
        "golden": project.golden,
        "next": next,
    });
    Ok(Outcome::ok(data, text))
}

pub(super) fn build(args: &BuildArgs) -> Result<Outcome, Failed> {
    let absolute = args.folder.canonicalize();
    let absolute = absolute
        .with_context(|| format!("there is no folder `{}`", args.folder.display()))
        .map_err(Failed::environment)?;
    let project = project::load(&absolute)?;
    let tools = tools().map_err(Failed::environment)?;
    let built = tidegate_build::build(&tidegate_build::Project {
        language: project.language,
        directory: &project.directory,
        sdk: &project.sdk,
        cache: &absolute.join("build/cache"),
        tools: &tools,
        say: |line| eprintln!("$ {line}"),
    });
    let bytes = built.map_err(|error| match error {
        BuildError::Missing { .. } | BuildError::TooOld { .. } | BuildError::Io { .. } => {
            Failed::environment(error)
        }
        BuildError::Failed { .. } | BuildError::Component(_) => Failed::runtime(error),
    })?;
    let component = &project.component;
    let written = fs::create_dir_all(component.parent().unwrap_or(&absolute))
        .and_then(|()| fs::write(component, &bytes));
    written
        .with_context(|| format!("failed to write `{}`", component.display()))
        .map_err(Failed::environment)?;
    let digest = Digest::of(&bytes);
    let text = format!("{} ({} KiB, {digest})\n", component.display(), bytes.len().div_ceil(1024));
    let data = json!({ "component": component, "size_bytes": bytes.len(), "digest": digest });
    Ok(Outcome::ok(data, text))
}

/// Where fetched tools are kept for all projects.
fn tools() -> anyhow::Result<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")));
    let cache = cache.ok_or_else(|| anyhow!("neither `XDG_CACHE_HOME` nor `HOME` is set"))?;
    Ok(cache.join("tidegate/tools"))
}

fn usage(error: anyhow::Error) -> Failed {
    Failed { exit: Exit::Invalid, ..Failed::runtime(error) }
}
