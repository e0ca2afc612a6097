//! A configured plugin: what it reads and writes is known, and instances of it can be had.

use std::{collections::BTreeSet, fmt, sync::Arc};

use tidegate_core::{
    About, Binary, Description, Digest, Origin, Transform, TransformFactory,
    description::Capability,
    transform::{Breach, MigrateError, Plugin, TransformError, check_migrated},
};

use wasmtime::Store;

use crate::{
    component::{Loaded, new_store, random_seed},
    contract::{Refusal, v0_1::Exports},
    description,
    error::ConfigureError,
    guest::{Guest, LogBudget, LogSink},
    instance::Instance,
    limits::Limits,
    runtime::epoch_ticks,
    trap::{classify, not_instantiated},
    usage::UsageSink,
    wasi::Wasi,
};

/// How a stage uses a component.
#[derive(Clone, Debug)]
pub struct ConfigureOptions {
    /// The stage's config, as JSON text.
    pub config_json: String,
    /// What it may use up.
    pub limits: Limits,
    /// What the operator grants it, of what it asks for.
    pub grants: BTreeSet<Capability>,
    /// Where its log lines go.
    pub log: LogSink,
    /// Who is told what each call uses up, where somebody wants to know.
    pub usage: Option<UsageSink>,
}

impl Default for ConfigureOptions {
    /// An empty config, default limits, no grants, the host's own log, and nobody who measures.
    fn default() -> Self {
        ConfigureOptions {
            config_json: "{}".into(),
            limits: Limits::default(),
            grants: BTreeSet::new(),
            log: LogSink::default(),
            usage: None,
        }
    }
}

/// Makes instances of one configured plugin. Cheap to clone.
#[derive(Clone)]
pub struct Factory(Arc<Configured>);

pub(crate) struct Configured {
    component: Arc<Loaded>,
    config_json: String,
    pub(crate) limits: Limits,
    log: LogSink,
    pub(crate) usage: Option<UsageSink>,
    name: Arc<str>,
    pub(crate) plugin: Plugin,
}

impl Factory {
    pub(crate) fn configure(
        component: Arc<Loaded>,
        options: ConfigureOptions,
    ) -> Result<Self, ConfigureError> {
        let ConfigureOptions { config_json, limits, grants, log, usage } = options;
        let about = component.about.clone();
        check_grants(&about, &grants)?;
        let max = component.runtime.memory_bytes_max();
        if limits.memory_bytes > max {
            return Err(ConfigureError::Memory { asked: limits.memory_bytes, max });
        }
        if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(&config_json) {
            return Err(ConfigureError::NotJson(error.to_string()));
        }
        let plugin = Plugin {
            component: component.digest,
            config: Digest::of(config_json.as_bytes()),
            description: Description::default(),
            about,
        };
        let name = plugin.about.name.as_str().into();
        let mut configured =
            Configured { component, config_json, limits, log, usage, name, plugin };
        let (_, answer) = configured.instantiate(1).map_err(ConfigureError::Failed)?;
        let name = configured.plugin.about.name.clone();
        let description = answer.map_err(|Refusal { pointer, message }| {
            ConfigureError::Refused { plugin: name, pointer, message }
        })?;
        description::check(&configured.plugin.about, &description)?;
        check_lookups(&configured.plugin.about.name, &description, &grants)?;
        configured.plugin.description = description;
        Ok(Factory(Arc::new(configured)))
    }

    fn instantiate_for(&self, factor: u32) -> Result<Box<dyn Transform>, TransformError> {
        let configure = |message: String| TransformError::new(Breach::Configure, message);
        let (parts, answer) = self.0.instantiate(factor)?;
        let description = answer.map_err(|Refusal { pointer, message }| {
            configure(format!("refuses the config that it took before, at `{pointer}`: {message}"))
        })?;
        if description != self.0.plugin.description {
            return Err(configure("describes itself in another way than before".into()));
        }
        let (store, exports) = parts;
        Ok(Box::new(Instance::new(Arc::clone(&self.0), store, exports, factor)))
    }
}

/// An instance in its store.
type Parts = (Store<Guest>, Exports);

impl Configured {
    /// A fresh instance, and what it says to its config.
    fn instantiate(
        &self,
        factor: u32,
    ) -> Result<(Parts, Result<Description, Refusal>), TransformError> {
        let logs = LogBudget::new(Arc::clone(&self.name), self.log.clone(), self.limits.log_lines);
        let wasi = Wasi::new(random_seed(self.plugin.component));
        let guest = Guest::new(&self.limits, logs, wasi);
        let limits = Limits { time: self.limits.time.saturating_mul(factor), ..self.limits };
        let mut store = new_store(&self.component.runtime, guest, &limits);
        let called = self
            .component
            .linked
            .instantiate(&mut store)
            .map_err(|error| not_instantiated(&error, store.data_mut()))
            .and_then(|exports| {
                let answer = exports.configure(&mut store, &self.config_json);
                answer.map_err(|error| classify(&error, store.data_mut())).map(|it| (exports, it))
            });
        store.data_mut().logs.end();
        called.map(|(exports, answer)| ((store, exports), answer))
    }
}

impl Configured {
    /// Migrates states on an instance that is thrown away, under the limits of a batch with a row
    /// for each state.
    fn migrate(&self, from: u32, states: &Binary) -> Result<Binary, MigrateError> {
        let to = self.plugin.about.state_version;
        let ((mut store, exports), answer) = self.instantiate(1)?;
        if let Err(Refusal { message, .. }) = answer {
            return Err(TransformError::new(Breach::Configure, message).into());
        }
        let rows = u32::try_from(states.len()).unwrap_or(u32::MAX);
        let limits = &self.limits;
        let state_bytes_max = limits.reply_bytes.of(rows);
        store.data_mut().begin(state_bytes_max);
        store.set_fuel(limits.fuel.of(rows)).expect("fuel is on in the engine's configuration");
        store.set_epoch_deadline(epoch_ticks(limits.time_of(rows)));
        store.set_hostcall_fuel(usize::try_from(state_bytes_max).unwrap_or(usize::MAX));
        let answer = exports.migrate(&mut store, from, states);
        store.data_mut().logs.end();
        let migrated = answer
            .map_err(|error| classify(&error, store.data_mut()))?
            .ok_or(MigrateError::Unsupported { from, to })?
            .map_err(|message| MigrateError::Refused { from, message })?;
        check_migrated(&migrated, states.len(), limits.state_bytes)?;
        Ok(migrated)
    }
}

impl TransformFactory for Factory {
    fn plugin(&self) -> &Plugin {
        &self.0.plugin
    }

    fn instantiate(&self) -> Result<Box<dyn Transform>, TransformError> {
        self.instantiate_for(1)
    }

    fn instantiate_patient(&self, factor: u32) -> Result<Box<dyn Transform>, TransformError> {
        self.instantiate_for(factor)
    }

    fn migrates(&self) -> bool {
        self.0.component.interface.migrates
    }

    fn migrate(&self, from: u32, states: &Binary) -> Result<Binary, MigrateError> {
        self.0.migrate(from, states)
    }
}

impl fmt::Debug for Factory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let About { name, version, .. } = &self.0.plugin.about;
        write!(f, "Factory({name} {version}, config {})", self.0.plugin.config.short())
    }
}

/// Everything that it asks for must be granted: a plugin with half of it would fail later, on
/// some record. Look-ups are another matter: a configuration says which it makes, before any
/// record, and can make none behind that. So they need a grant where they are made, and a plugin
/// that can do so among other things is not asked about it for nothing.
fn check_grants(about: &About, grants: &BTreeSet<Capability>) -> Result<(), ConfigureError> {
    let needed = |capability: &&Capability| {
        **capability != Capability::Lookups && !grants.contains(capability)
    };
    match about.capabilities.iter().find(needed) {
        None => Ok(()),
        Some(&capability) => {
            Err(ConfigureError::NotGranted { plugin: about.name.clone(), capability })
        }
    }
}

/// What a configuration looks up must be granted.
fn check_lookups(
    plugin: &str,
    description: &Description,
    grants: &BTreeSet<Capability>,
) -> Result<(), ConfigureError> {
    let looks_up = description.reads.iter().any(|read| matches!(read.from, Origin::Lookup(_)));
    if looks_up && !grants.contains(&Capability::Lookups) {
        let (plugin, capability) = (plugin.to_owned(), Capability::Lookups);
        return Err(ConfigureError::NotGranted { plugin, capability });
    }
    Ok(())
}
