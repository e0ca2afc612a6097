//! A generation that may come to serve: made of files, held against what runs.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use tidegate_connectors::store::SqliteStore;
use tidegate_core::{Binary, Digest, Origin, TransformFactory, description::Capability};
use tidegate_engine::Runtime;
use tidegate_pipeline::Plan;

use crate::{
    chain::{self, LoadedStage},
    config::{self, Config, ConfigError, Loaded},
    files::{Contents, Files},
    finding::{Finding, both},
    golden, plan, tables,
};

/// States that are tried in one call: what a plugin is given in one batch.
const STATES_PER_CALL: u32 = 500;

/// A generation, compiled, configured and checked by itself.
pub(crate) struct Candidate {
    pub(crate) loaded: Loaded,
    pub(crate) stages: Vec<LoadedStage>,
    pub(crate) plan: Arc<Plan>,
    pub(crate) files: Files,
    /// What works and may not be what was meant.
    pub(crate) warnings: Vec<Finding>,
}

/// Why a generation does not come to serve.
#[derive(Debug, thiserror::Error)]
#[error("{code}: {message}")]
pub(crate) struct Refusal {
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) findings: Vec<Finding>,
}

impl Refusal {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Refusal { code, message: message.into(), findings: Vec::new() }
    }

    fn of(findings: Vec<Finding>) -> Self {
        let code = findings.first().map_or("invalid", |finding| finding.code);
        let texts: Vec<_> = findings.iter().map(ToString::to_string).collect();
        Refusal { code, message: texts.join("; "), findings }
    }
}

/// One digest over files and their names: whether something changed at all.
pub(crate) fn digest(files: &Contents) -> Digest {
    let mut text = String::new();
    for (path, content) in files {
        text.push_str(&format!("{}\0{}\n", path.display(), content.digest()));
    }
    Digest::of(text.as_bytes())
}

impl Candidate {
    /// Files → config → plugins → plan. Blocks for as long as the compiler takes.
    pub(crate) fn make(
        pipeline: &Path,
        data_dir: &Path,
        runtime: &Runtime,
        files: Files,
    ) -> Result<Self, Refusal> {
        let variables = |name: &str| std::env::var(name).ok();
        let loaded = config::load_from(pipeline, &variables, &files);
        let mut loaded = loaded.map_err(|error| match error {
            ConfigError::Invalid(findings) => Refusal::of(findings),
            ConfigError::Read { .. } => {
                Refusal::new("unreadable-file", tidegate_pipeline::causes(&error))
            }
        })?;
        loaded.config.data_dir = data_dir.to_owned();
        let parts =
            both(chain::load_from(&loaded, runtime, &files), tables::load_from(&loaded, &files));
        let (stages, tables) = parts.map_err(Refusal::of)?;
        let (plan, warnings) = plan::build(&loaded, &stages, tables).map_err(Refusal::of)?;
        Ok(Candidate { loaded, stages, plan, files, warnings })
    }

    pub(crate) fn generation(&self) -> Digest {
        self.plan.generation()
    }

    /// Whether an operator may mean this one: by the digest or its beginning.
    pub(crate) fn is_named(&self, name: &str) -> bool {
        names(&self.generation(), name)
    }

    /// Runs the golden cases that lie beside components which did not serve before. Blocks.
    ///
    /// The reason names cases and fields, and no values: they may be real ones.
    pub(crate) fn passes_golden_cases(&self, serving: &Candidate) -> Result<(), Refusal> {
        let pairs = self.stages.iter().zip(&serving.stages).zip(&self.loaded.config.stages);
        for ((new, old), stage) in pairs {
            if new.component.digest() == old.component.digest() {
                continue;
            }
            let path = golden::path_beside(&stage.plugin);
            let unreadable = |error| {
                let message =
                    format!("`{}`: {}", path.display(), tidegate_pipeline::causes(&error));
                Refusal::new("golden-cases", message)
            };
            let Some(cases) = golden::load(&path).map_err(unreadable)? else { continue };
            let report = golden::run(&new.component, chain::options(stage), &cases);
            if let Some(failure) = report.failures.first() {
                let place = failure.pointer.as_deref().unwrap_or_default();
                let message = format!(
                    "{} golden cases of stage `{}` come out otherwise, the first `{}` {place}; \
                     `tidegate plugin test {}` shows how",
                    report.failures.len(),
                    stage.name,
                    failure.case,
                    stage.plugin.display()
                );
                return Err(Refusal::new("golden-cases", message));
            }
        }
        Ok(())
    }

    /// Whether it may take over from what serves: only plugins, their configs and tables differ,
    /// no later stage loses a field, and nothing is asked for that was not granted before.
    pub(crate) fn follows(&self, serving: &Candidate, approved: bool) -> Result<(), Refusal> {
        if let Some(what) = differing_topology(&serving.loaded.config, &self.loaded.config) {
            let message = format!(
                "{what} changed: only plugins, their configs and tables are swapped while records \
                 flow; stop the pipeline and start it again for the rest"
            );
            return Err(Refusal::new("topology", message));
        }
        self.keeps_fields(serving)?;
        if !approved {
            self.asks_for_no_more(serving)?;
        }
        Ok(())
    }

    /// A field that a later stage reads, and that an earlier one wrote, is still written.
    fn keeps_fields(&self, serving: &Candidate) -> Result<(), Refusal> {
        for (index, stage) in self.stages.iter().enumerate() {
            let reads = &stage.factory.plugin().description.reads;
            for path in reads.iter().filter_map(|read| match &read.from {
                Origin::Field(path) => Some(path),
                _ => None,
            }) {
                let writer = |stages: &[LoadedStage]| {
                    let writes = |stage: &LoadedStage| {
                        let writes = &stage.factory.plugin().description.writes;
                        writes.iter().any(|it| it.path.contains(path) || path.contains(&it.path))
                    };
                    stages[..index].iter().position(writes)
                };
                if let (Some(before), None) = (writer(&serving.stages), writer(&self.stages)) {
                    let names = &self.loaded.config.stages;
                    let message = format!(
                        "stage `{}` reads `{path}`, which stage `{}` writes now and would not any \
                         more",
                        names[index].name, names[before].name
                    );
                    return Err(Refusal::new("lost-field", message));
                }
            }
        }
        Ok(())
    }

    /// A plugin that asks for more than its predecessor needs an operator's word.
    fn asks_for_no_more(&self, serving: &Candidate) -> Result<(), Refusal> {
        for ((new, old), stage) in
            self.stages.iter().zip(&serving.stages).zip(&self.loaded.config.stages)
        {
            let old: BTreeSet<_> = old.component.about().capabilities.iter().copied().collect();
            let asked = new.component.about().capabilities.iter().copied();
            let more: Vec<&str> =
                asked.filter(|it| !old.contains(it)).map(Capability::name).collect();
            if !more.is_empty() {
                let message = format!(
                    "the plugin of stage `{}` asks for more than the one that serves: {}; approve \
                     it with `tidegate reload --approve`",
                    stage.name,
                    more.join(", ")
                );
                return Err(Refusal::new("widens-capabilities", message));
            }
        }
        Ok(())
    }

    /// Whether each stateful stage can go on with the states that lie in the store: those of other
    /// versions are migrated once, on trial, off the data path.
    pub(crate) async fn reads_states(
        &self,
        serving: &Candidate,
        store: &SqliteStore,
    ) -> Result<(), Refusal> {
        let pairs = self.stages.iter().zip(&serving.stages).zip(&self.loaded.config.stages);
        for ((new, old), stage) in pairs {
            let (plugin, before) = (new.factory.plugin(), old.factory.plugin());
            if plugin.description.state.is_none() {
                continue;
            }
            let version = plugin.about.state_version;
            // Even where the store has none: the range that is open will leave some.
            if version != before.about.state_version
                && before.description.state.is_some()
                && !new.factory.migrates()
            {
                let message = format!(
                    "stage `{}` keeps states of version {}, and version {version} of its plugin \
                     can't migrate them: it exports no `migration`",
                    stage.name, before.about.state_version
                );
                return Err(Refusal::new("state-version", message));
            }
            self.try_migrating(&stage.name, &new.factory, version, store).await?;
        }
        Ok(())
    }

    async fn try_migrating(
        &self,
        stage: &str,
        factory: &tidegate_engine::Factory,
        version: u32,
        store: &SqliteStore,
    ) -> Result<(), Refusal> {
        let mut after = None;
        loop {
            let states = store.foreign_states(stage, version, after, STATES_PER_CALL).await;
            let states =
                states.map_err(|error| Refusal::new("unreadable-states", error.to_string()))?;
            let Some(last) = states.last() else { return Ok(()) };
            after = Some(last.place.clone());
            for states in states.chunk_by(|a, b| a.row.version == b.row.version) {
                let from = states[0].row.version;
                let states: Binary = states.iter().map(|it| it.row.bytes.as_slice()).collect();
                let factory = factory.clone();
                let tried = tokio::task::spawn_blocking(move || factory.migrate(from, &states));
                let refused = match tried.await {
                    Ok(Ok(_)) => continue,
                    Ok(Err(error)) => error.to_string(),
                    Err(error) => error.to_string(),
                };
                let message = format!(
                    "states of stage `{stage}` can't be taken over, and stay as they are: {refused}"
                );
                return Err(Refusal::new("state-migration", message));
            }
        }
    }
}

/// Whether a name means a generation: its digest, or the beginning of its hex digits.
pub(crate) fn names(generation: &Digest, name: &str) -> bool {
    let hex = generation.hex();
    let name = name.trim_start_matches("sha256:");
    name.len() >= 4 && hex.starts_with(name)
}

/// What may not change while records flow; none where nothing of it did.
fn differing_topology(serving: &Config, new: &Config) -> Option<String> {
    let json = |config: &Config| serde_json::to_value(config).unwrap_or_default();
    let (serving_json, new_json) = (json(serving), json(new));
    let fixed = [
        "pipeline",
        "source",
        "sinks",
        "dead_letters",
        "unrouted",
        "range",
        "batch",
        "workers",
        "memory",
        "retry",
        "observability",
        "reload",
    ];
    if let Some(key) = fixed.into_iter().find(|key| serving_json.get(key) != new_json.get(key)) {
        return Some(format!("`{key}`"));
    }
    let names = |config: &Config| -> Vec<String> {
        config.stages.iter().map(|stage| stage.name.clone()).collect()
    };
    (names(serving) != names(new)).then(|| "the names or the order of the stages".to_owned())
}
