//! `tidegate plugin new` and `plugin build`: from nothing to a project, and from it to a component.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow};
use clap::Args;
use serde_json::json;
use tidegate_build::{BuildError, CreateError, Language, SampleField};
use tidegate_core::Digest;

use crate::{
    output::{Exit, Failed, Outcome},
    project,
    sample::{self, Inferred, SampleError},
};

/// What `plugin new` takes.
#[derive(Debug, Args)]
pub(super) struct NewArgs {
    /// The project's folder, whose last part is the plugin's name: lower-case letters, digits, `-`.
    folder: PathBuf,
    /// The language to write it in.
    #[arg(long, value_parser = ["rust", "go", "js", "python", "c"])]
    lang: String,
    /// Have it read what the records of this NDJSON file have, and put the first of them into its
    /// tests.
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
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
    let inferred = args.from.as_deref().map(sample::read).transpose();
    let inferred = inferred.map_err(|error| match error {
        SampleError::Read { .. } => Failed::environment(error),
        _ => usage(error.into()),
    })?;
    let sample = inferred.as_ref().map(|it| &it.sample);
    tidegate_build::create(name, language, &args.folder, sample).map_err(|error| match error {
        CreateError::Write { .. } => Failed::environment(error),
        CreateError::Name(_) | CreateError::Occupied(_) => usage(error.into()),
    })?;
    let project = project::load(&args.folder)?;
    let folder = args.folder.display();
    let next = [
        format!("cd {folder}"),
        "tidegate plugin build".to_owned(),
        "tidegate plugin test".to_owned(),
    ];
    let from = inferred.as_ref().map(said).unwrap_or_default();
    let next_lines = next.join("\n  ");
    let text = format!("made {folder}, a plugin in {language}{from}; next:\n\n  {next_lines}\n");
    let reads = |it: &SampleField| json!({ "path": it.path, "kind": it.kind.name(), "required": !it.optional });
    let data = json!({
        "folder": args.folder,
        "language": language.name(),
        "component": project.component,
        "golden": project.golden,
        "next": next,
        "sample": inferred.as_ref().map(|it| json!({
            "records": it.records,
            "reads": it.sample.fields.iter().map(reads).collect::<Vec<_>>(),
            "writes": it.sample.write.name,
            "left_out": it.left_out,
        })),
    });
    Ok(Outcome::ok(data, text))
}

/// What was inferred, in a sentence.
fn said(inferred: &Inferred) -> String {
    let Inferred { sample, records, left_out } = inferred;
    let left_out = match left_out {
        0 => String::new(),
        more => format!(" ({more} more were left out)"),
    };
    let fields = sample.fields.len();
    format!(
        ".\nIt reads {fields} fields of the {records} records of the sample{left_out} and writes `{}`; \
         its tests hold the\nfirst records as they are",
        sample.write.name
    )
}

pub(super) fn build(args: &BuildArgs) -> Result<Outcome, Failed> {
    let Built { component, size_bytes, digest } = build_project(&args.folder)?;
    let text = format!("{} ({} KiB, {digest})\n", component.display(), size_bytes.div_ceil(1024));
    let data = json!({ "component": component, "size_bytes": size_bytes, "digest": digest });
    Ok(Outcome::ok(data, text))
}

/// A component that was built.
pub(super) struct Built {
    /// Where it lies, from where the process was started.
    pub(super) component: PathBuf,
    pub(super) size_bytes: usize,
    pub(super) digest: Digest,
}

/// Builds a project, and prints each command that it runs.
pub(super) fn build_project(folder: &Path) -> Result<Built, Failed> {
    let absolute = folder.canonicalize();
    let absolute = absolute
        .with_context(|| format!("there is no folder `{}`", folder.display()))
        .map_err(Failed::environment)?;
    let component = project::load(folder)?.component;
    // Commands run in folders of their own, so that what they are told holds from anywhere.
    let project = project::load(&absolute)?;
    let tools = tools().map_err(Failed::environment)?;
    let built = tidegate_build::build(&tidegate_build::Project {
        language: project.language,
        directory: &project.directory,
        sdk: &project.sdk,
        cache: &absolute.join("build/cache"),
        tools: &tools,
        say: &|line| eprintln!("$ {}", shortened(line, &absolute)),
    });
    let bytes = built.map_err(|error| match error {
        BuildError::Missing { .. } | BuildError::TooOld { .. } | BuildError::Io { .. } => {
            Failed::environment(error)
        }
        BuildError::Failed { command, output } => Failed::runtime(BuildError::Failed {
            command: shortened(&command, &absolute),
            output: shortened(&output, &absolute),
        }),
        BuildError::Component(_) => Failed::runtime(error),
    })?;
    let written = fs::create_dir_all(component.parent().unwrap_or(folder))
        .and_then(|()| fs::write(&component, &bytes));
    written
        .with_context(|| format!("failed to write `{}`", component.display()))
        .map_err(Failed::environment)?;
    Ok(Built { component, size_bytes: bytes.len(), digest: Digest::of(&bytes) })
}

/// A command, or what it printed, as somebody sees it who stands in the project.
fn shortened(text: &str, project: &Path) -> String {
    let text = text.replace(&format!("{}/", project.display()), "");
    let text = text.replace(&project.display().to_string(), ".");
    match std::env::var("HOME") {
        Ok(home) if home.len() > 1 => text.replace(&format!("{home}/"), "~/"),
        _ => text,
    }
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
