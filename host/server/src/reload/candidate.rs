//! A generation that may come to serve: made of files, held against what runs.

use std::{path::PathBuf, sync::Arc};

use tidegate_connectors::store::SqliteStore;
use tidegate_core::{Binary, Digest, TransformFactory};
use tidegate_engine::Runtime;
use tidegate_pipeline::Plan;

use crate::{
    chain::{self, LoadedStage},
    config::{self, Config, ConfigError, Loaded},
    files::{Contents, Files},
    finding::{Finding, both},
    golden,
    lineage::Lineage,
    plan,
    supply::{REFUSED_BY_POLICY, StageRights, Supply, listed, names as capability_names},
    tables,
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

/// What it takes to make generations of a pipeline. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Maker {
    pub(crate) pipeline: PathBuf,
    pub(crate) data_dir: PathBuf,
    pub(crate) runtime: Runtime,
    pub(crate) supply: Supply,
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

    /// Whether the policy refuses it: under another one it may serve after all.
    pub(crate) fn is_by_policy(&self) -> bool {
        let by_policy = |code: &str| REFUSED_BY_POLICY.contains(&code);
        match self.findings.as_slice() {
            [] => by_policy(self.code),
            findings => findings.iter().all(|finding| by_policy(finding.code)),
        }
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

impl Maker {
    /// Files → config → plugins → plan. Blocks for as long as the compiler takes.
    pub(crate) fn make(&self, files: Files) -> Result<Candidate, Refusal> {
        let variables = |name: &str| std::env::var(name).ok();
        let Maker { pipeline, data_dir, runtime, supply } = self;
        let loaded = config::load_from(pipeline, &variables, &files);
        let mut loaded = loaded.map_err(|error| match error {
            ConfigError::Invalid(findings) => Refusal::of(findings),
            ConfigError::Read { .. } => {
                Refusal::new("unreadable-file", tidegate_pipeline::causes(&error))
            }
        })?;
        loaded.config.data_dir.clone_from(data_dir);
        supply.lower(&mut loaded).map_err(Refusal::of)?;
        let stages = chain::load_from(&loaded, runtime, supply, &files);
        let parts = both(stages, tables::load_from(&loaded, &files));
        let (stages, tables) = parts.map_err(Refusal::of)?;
        let (plan, warnings) = plan::build(&loaded, &stages, tables).map_err(Refusal::of)?;
        Ok(Candidate { loaded, stages, plan, files, warnings })
    }
}

impl Candidate {
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
            let Some(file) = stage.plugin.file() else { continue };
            let path = golden::path_beside(file);
            let unreadable = |error| {
                let message =
                    format!("`{}`: {}", path.display(), tidegate_pipeline::causes(&error));
                Refusal::new("golden-cases", message)
            };
            let Some(cases) = golden::load(&path).map_err(unreadable)? else { continue };
            let report = golden::run(&new.component, chain::options(stage, &new.rights), &cases);
            if let Some(failure) = report.failures.first() {
                let place = failure.pointer.as_deref().unwrap_or_default();
                let message = format!(
                    "{} golden cases of stage `{}` come out otherwise, the first `{}` {place}; \
                     `tidegate plugin test {}` shows how",
                    report.failures.len(),
                    stage.name,
                    failure.case,
                    file.display()
                );
                return Err(Refusal::new("golden-cases", message));
            }
        }
        Ok(())
    }

    /// Whether it may take over from what serves: only plugins, their configs and tables differ,
    /// no stage and no sink loses a field that it reads, and nothing is asked for that was not granted before.
    pub(crate) fn follows(&self, serving: &Candidate, approved: bool) -> Result<(), Refusal> {
        if let Some(what) = differing_topology(&serving.loaded.config, &self.loaded.config) {
            let message = format!(
                "{what} changed: only plugins, their configs, tables, and the consumer of a stream \
                 change while records flow; stop the pipeline and start it again for the rest"
            );
            return Err(Refusal::new("topology", message));
        }
        self.keeps_fields(serving)?;
        if !approved {
            self.has_no_more(serving)?;
        }
        Ok(())
    }

    /// Whether nothing differs but what may while records flow.
    pub(crate) fn may_follow(&self, serving: &Candidate) -> bool {
        differing_topology(&serving.loaded.config, &self.loaded.config).is_none()
    }

    /// A field that somebody reads, and that an earlier stage wrote, is still written: for a later
    /// stage, a route, or what a sink names its files by.
    fn keeps_fields(&self, serving: &Candidate) -> Result<(), Refusal> {
        match self.lineage().lost_since(&serving.lineage()) {
            None => Ok(()),
            Some((reader, writer)) => {
                let message =
                    format!("{reader}, which stage `{writer}` writes now and would not any more");
                Err(Refusal::new("lost-field", message))
            }
        }
    }

    fn lineage(&self) -> Lineage {
        let plugins = self.stages.iter().map(|stage| stage.factory.plugin());
        Lineage::of(&self.loaded.config, plugins)
    }

    /// What each stage's plugin may ask of the host.
    pub(crate) fn rights(&self) -> Vec<StageRights> {
        let stages = self.stages.iter().zip(&self.loaded.config.stages);
        stages.map(|(loaded, stage)| loaded.stage_rights(stage)).collect()
    }

    /// Whether the policy of now lets it serve. One that was made under an earlier policy, or that
    /// served before, has no right of its own.
    pub(crate) fn is_within(&self, supply: &Supply) -> Result<(), Refusal> {
        let policy = supply.policy();
        for (loaded, stage) in self.stages.iter().zip(&self.loaded.config.stages) {
            supply
                .resolve(&stage.plugin, &self.files)
                .map_err(|error| Refusal::new(error.code(), tidegate_pipeline::causes(&error)))?;
            let effective = loaded.rights.effective();
            let above: Vec<String> =
                capability_names(&effective.difference(policy.ceiling()).copied().collect());
            if !above.is_empty() {
                let message = format!(
                    "the plugin of stage `{}` has {}, which {policy} allows to no plugin",
                    stage.name,
                    listed(&above)
                );
                return Err(Refusal::new("above-ceiling", message));
            }
            if !policy.allows(&stage.limits) {
                let message = format!(
                    "stage `{}` may use up more than {policy} allows by now: `tidegate reload` \
                     makes a generation within it",
                    stage.name
                );
                return Err(Refusal::new("above-ceiling", message));
            }
        }
        Ok(())
    }

    /// A plugin that has more than its predecessor needs an operator's word: because it asks for
    /// more, because its stage grants it more, or because the policy allows it more.
    fn has_no_more(&self, serving: &Candidate) -> Result<(), Refusal> {
        for ((new, old), stage) in
            self.stages.iter().zip(&serving.stages).zip(&self.loaded.config.stages)
        {
            let (new, old) = (new.rights.effective(), old.rights.effective());
            let more = capability_names(&new.difference(&old).copied().collect());
            if !more.is_empty() {
                let message = format!(
                    "the plugin of stage `{}` would have more than the one that serves: {}; \
                     approve it with `tidegate reload --approve`",
                    stage.name,
                    listed(&more)
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
                return Err(of_other_version(&stage.name, before.about.state_version, version));
            }
            self.try_migrating(&stage.name, &new.factory, version, store).await?;
        }
        Ok(())
    }

    /// The stages that can't go on with the states that lie in the store, and why. Those of other
    /// versions are migrated once, on trial.
    pub(crate) async fn unreadable_states(&self, store: &SqliteStore) -> Vec<(String, Refusal)> {
        let mut unreadable = Vec::new();
        for (loaded, stage) in self.stages.iter().zip(&self.loaded.config.stages) {
            let plugin = loaded.factory.plugin();
            if plugin.description.state.is_none() {
                continue;
            }
            let version = plugin.about.state_version;
            let tried = self.try_migrating(&stage.name, &loaded.factory, version, store).await;
            unreadable.extend(tried.err().map(|refusal| (stage.name.clone(), refusal)));
        }
        unreadable
    }

    /// Whether there are states that no key could be taken over of: of another version than a
    /// plugin's that migrates none. Where one does, it is tried when the key is met.
    pub(crate) async fn has_states_for(&self, store: &SqliteStore) -> Result<(), Refusal> {
        for (loaded, stage) in self.stages.iter().zip(&self.loaded.config.stages) {
            let plugin = loaded.factory.plugin();
            if plugin.description.state.is_none() || loaded.factory.migrates() {
                continue;
            }
            let version = plugin.about.state_version;
            let states = store.foreign_states(&stage.name, version, None, 1).await;
            let states =
                states.map_err(|error| Refusal::new("unreadable-states", error.to_string()))?;
            if let Some(state) = states.first() {
                return Err(of_other_version(&stage.name, state.row.version, version));
            }
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

fn of_other_version(stage: &str, kept: u32, version: u32) -> Refusal {
    let message = format!(
        "stage `{stage}` keeps states of version {kept}, and this plugin, whose states have version \
         {version}, can't migrate them: it exports no `migration`"
    );
    Refusal::new("state-version", message)
}

/// Whether a name means a generation: its digest, or the beginning of its hex digits.
pub(crate) fn names(generation: &Digest, name: &str) -> bool {
    let hex = generation.hex();
    let name = name.trim_start_matches("sha256:");
    name.len() >= 4 && hex.starts_with(name)
}

/// What may not change while records flow; none where nothing of it did.
fn differing_topology(serving: &Config, new: &Config) -> Option<String> {
    let json = |config: &Config| {
        let mut config = config.clone();
        if let Some(kinesis) = &mut config.source.kinesis {
            // Shards go from one to another where they are.
            kinesis.consumer = None;
        }
        serde_json::to_value(config).unwrap_or_default()
    };
    let (serving_json, new_json) = (json(serving), json(new));
    let fixed = [
        "pipeline",
        "leases",
        "ledger",
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
