//! What the commands for authors work on: the plugin of a project, or any component.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::Args;
use serde_json::{Value, json};
use tidegate_engine::{Component, ConfigureOptions};

use super::{PolicyArgs, environment, plugin_test};
use crate::{
    config,
    golden::{self, Cases},
    output::Failed,
    project::{self, Project},
    supply::Supply,
};

/// Which plugin, and under which config.
#[derive(Debug, Args)]
pub(super) struct TargetArgs {
    /// A project's folder that was built, or a component.
    #[arg(default_value = ".")]
    file: PathBuf,
    /// Its config, YAML or JSON; that of the golden cases where none is named.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    policy: PolicyArgs,
}

/// A plugin that is there.
pub(super) struct Target {
    /// As people name it.
    pub(super) component_path: PathBuf,
    pub(super) component: Component,
    pub(super) config: Value,
    /// Its golden cases, where there are any.
    pub(super) cases: Option<Cases>,
    supply: Supply,
}

impl TargetArgs {
    /// Loads it. Blocks for as long as the compiler takes.
    pub(super) fn load(&self) -> Result<Target, Failed> {
        let (component_path, golden) = place(&self.file)?;
        let cases = golden::load(&golden)?;
        let config = match &self.config {
            Some(path) => config::load_plugin_config(path, &environment)?,
            None => default_config(cases.as_ref()),
        };
        let supply = self.policy.supply()?;
        let component = plugin_test::load(&component_path, &supply)?;
        Ok(Target { component_path, component, config, cases, supply })
    }
}

impl Target {
    /// Under the limits of production, and granted what it asks for, within the policy.
    pub(super) fn options(&self) -> ConfigureOptions {
        plugin_test::options(&self.config, &self.supply)
    }
}

/// The config of the golden cases, or else an empty one.
pub(super) fn default_config(cases: Option<&Cases>) -> Value {
    let of_a_case = |cases: &Cases| cases.cases.iter().find_map(|case| case.config.clone());
    let written = cases.and_then(|cases| cases.config.clone().or_else(|| of_a_case(cases)));
    written.unwrap_or_else(|| json!({}))
}

/// Where the component of a file or a project lies, and where its golden cases do.
pub(super) fn place(file: &Path) -> Result<(PathBuf, PathBuf), Failed> {
    if !file.is_dir() {
        return Ok((file.to_owned(), golden::path_beside(file)));
    }
    let project = project::load(file)?;
    built(&project)?;
    Ok((project.component, project.golden))
}

/// A project that nobody has built has no component.
fn built(project: &Project) -> Result<(), Failed> {
    if project.component.is_file() {
        return Ok(());
    }
    let folder = project.directory.display();
    Err(Failed::environment(anyhow!(
        "the project `{folder}` is not built yet, there is no `{}`: run `tidegate plugin build \
         {folder}`",
        project.component.display()
    )))
}
