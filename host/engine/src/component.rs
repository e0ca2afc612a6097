//! A component: bytes that were checked, compiled and linked, and that have said who they are.

use std::{fmt, sync::Arc};

use tidegate_core::{About, Digest};
use wasmtime::{Store, component::Linker};

use crate::{
    contract::v0_1,
    error::{ConfigureError, LoadError},
    factory::{ConfigureOptions, Factory},
    guest::{Guest, LogBudget, LogSink},
    inspect::Interface,
    limits::Limits,
    runtime::{Runtime, epoch_ticks},
    trap::{classify, not_instantiated},
    wasi::{self, Wasi},
};

/// A name is a label of metrics and part of paths.
const NAME_BYTES_MAX: usize = 64;

/// A plugin that can be configured. Cheap to clone.
#[derive(Clone)]
pub struct Component(Arc<Loaded>);

pub(crate) struct Loaded {
    pub(crate) runtime: Runtime,
    pub(crate) linked: v0_1::Linked,
    pub(crate) about: About,
    pub(crate) digest: Digest,
    pub(crate) interface: Interface,
    size_bytes: u64,
}

impl Component {
    pub(crate) fn load(
        runtime: &Runtime,
        bytes: &[u8],
        limits: &Limits,
    ) -> Result<Self, LoadError> {
        let interface = Interface::read(bytes)?;
        let digest = Digest::of(bytes);
        let compiled = runtime.compiler().compile(bytes, digest)?;
        let linked = link(runtime, &compiled, &interface)
            .map_err(|error| LoadError::Compile(format!("{error:#}")))?;
        let about = describe(runtime, &linked, digest, limits)?;
        let size_bytes = bytes.len() as u64;
        let loaded =
            Loaded { runtime: runtime.clone(), linked, about, digest, interface, size_bytes };
        Ok(Component(Arc::new(loaded)))
    }

    /// Who it says it is. Known without a config.
    pub fn about(&self) -> &About {
        &self.0.about
    }

    /// The digest of its bytes.
    pub fn digest(&self) -> Digest {
        self.0.digest
    }

    /// The size of its bytes.
    pub fn size_bytes(&self) -> u64 {
        self.0.size_bytes
    }

    /// What it imports and exports, and the contract that it was built for.
    pub fn interface(&self) -> &Interface {
        &self.0.interface
    }

    /// Checks what it asks for against what is granted, tries its config on a fresh instance, and
    /// checks what it then says that it reads and writes.
    pub fn configure(&self, options: ConfigureOptions) -> Result<Factory, ConfigureError> {
        Factory::configure(Arc::clone(&self.0), options)
    }
}

impl fmt::Debug for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let About { name, version, .. } = self.about();
        write!(f, "Component({name} {version}, {})", self.digest().short())
    }
}

fn link(
    runtime: &Runtime,
    compiled: &wasmtime::component::Component,
    interface: &Interface,
) -> wasmtime::Result<v0_1::Linked> {
    let mut linker = Linker::new(runtime.engine());
    v0_1::add_to_linker(&mut linker)?;
    wasi::add_to_linker(&mut linker, compiled, &interface.imports)?;
    v0_1::Linked::new(linker.instantiate_pre(compiled)?, interface.migrates)
}

/// Asks for `about`, on an instance that is thrown away. No stage's config has said anything about
/// it yet: the limits are those that hold for all plugins.
fn describe(
    runtime: &Runtime,
    linked: &v0_1::Linked,
    digest: Digest,
    limits: &Limits,
) -> Result<About, LoadError> {
    let logs = LogBudget::new(digest.short().into(), LogSink::default(), limits.log_lines);
    let guest = Guest::new(limits, logs, Wasi::new(random_seed(digest)));
    let mut store = new_store(runtime, guest, limits);
    let said = linked
        .instantiate(&mut store)
        .map_err(|error| not_instantiated(&error, store.data_mut()))
        .and_then(|exports| {
            let said = exports.describe(&mut store);
            said.map_err(|error| classify(&error, store.data_mut()))
        });
    store.data_mut().logs.end();
    let about = said.map_err(LoadError::Describe)?.map_err(LoadError::About)?;
    check_about(&about).map_err(LoadError::About)?;
    Ok(about)
}

fn check_about(about: &About) -> Result<(), String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let About { name, version, .. } = about;
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(is_plain) {
        return Err(format!(
            "a name has up to {NAME_BYTES_MAX} letters, digits, `-`, `_` and `.`, not {name:?}"
        ));
    }
    let is_version = |c: char| is_plain(c) || c == '+';
    if version.is_empty() || version.len() > NAME_BYTES_MAX || !version.chars().all(is_version) {
        return Err(format!("{version:?} is no version"));
    }
    if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(&about.config_schema) {
        return Err(format!("its config schema is not JSON: {error}"));
    }
    Ok(())
}

/// A store for one instance, with what it may use up before its first batch.
pub(crate) fn new_store(runtime: &Runtime, guest: Guest, limits: &Limits) -> Store<Guest> {
    let mut store = Store::new(runtime.engine(), guest);
    store.limiter(|guest| &mut guest.memory);
    store.set_fuel(limits.configure_fuel).expect("fuel is on in the engine's configuration");
    store.set_epoch_deadline(epoch_ticks(limits.time));
    store.set_hostcall_fuel(usize::try_from(limits.reply_bytes.base).unwrap_or(usize::MAX));
    store
}

/// Random numbers that differ between components and nowhere else.
pub(crate) fn random_seed(digest: Digest) -> u64 {
    let mut seed = [0; 8];
    seed.copy_from_slice(&digest.0[..8]);
    u64::from_le_bytes(seed)
}
