//! What can go wrong before a batch is seen: starting the runtime, loading, configuring.

use tidegate_core::{description::Capability, failure::Failure, transform::TransformError};

use crate::cache::CacheError;

/// The runtime can't start.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The process may not reserve the address space, or the machine lacks something.
    #[error("failed to start the wasm engine: {0}")]
    Engine(String),
    /// No thread for the compiler or the epochs.
    #[error("failed to start a thread of the wasm engine")]
    Thread(#[source] std::io::Error),
    /// The directory of the compile cache can't be trusted or used.
    #[error("failed to open the compile cache")]
    Cache(#[from] CacheError),
}

impl RuntimeError {
    /// What it asks for.
    pub fn failure(&self) -> Failure {
        Failure::Fatal
    }
}

/// Some bytes are no plugin that this host can run.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Not WebAssembly at all, or damaged.
    #[error("not a WebAssembly component: {0}")]
    NotWasm(String),
    /// A module without the component model around it.
    #[error(
        "this is a core WebAssembly module, not a component; make it one with \
         `wasm-tools component new`, or build for wasm32-wasip2"
    )]
    CoreModule,
    /// It exports no plugin.
    #[error("it exports no `tidegate:plugin/plugin`; it exports {exports}")]
    NoPlugin {
        /// What it does export, for people.
        exports: String,
    },
    /// It was built for a contract that this host does not speak.
    #[error(
        "it was built for version {built_for} of the plugin contract, and this host speaks \
         {supported}; rebuild it with a matching SDK, or use a host that speaks {built_for}"
    )]
    Contract {
        /// The version in the name of its export.
        built_for: String,
        /// What this host speaks.
        supported: String,
    },
    /// It wants something of the host that nobody gives.
    #[error("it imports `{import}`, which this host does not offer; a plugin may import {offered}")]
    Import {
        /// What it wants.
        import: String,
        /// What there is.
        offered: &'static str,
    },
    /// It has the right names and the wrong types, or uses a feature that is off.
    #[error("failed to compile: {0}")]
    Compile(String),
    /// It was compiled, and can't be put into the package.
    #[error("failed to put the compiled component into the package")]
    Pack(#[source] std::io::Error),
    /// The compiler's queue is full.
    #[error("too many components wait to be compiled")]
    Busy,
    /// `describe` failed.
    #[error("failed to describe itself")]
    Describe(#[source] TransformError),
    /// What it says of itself can't be used.
    #[error("its description of itself is invalid: {0}")]
    About(String),
}

impl LoadError {
    /// What it asks for.
    pub fn failure(&self) -> Failure {
        match self {
            LoadError::Busy => Failure::RETRY,
            LoadError::Describe(error) => match error.failure() {
                retry @ Failure::Retry { .. } => retry,
                _ => Failure::Fatal,
            },
            _ => Failure::Fatal,
        }
    }
}

/// A component can't be used with this config.
#[derive(Debug, thiserror::Error)]
pub enum ConfigureError {
    /// It asks for a capability that it was not granted.
    #[error(
        "plugin `{plugin}` asks for the capability `{}`, which is not granted; to grant it, add \
         `{}` to the stage's `grants`", .capability.name(), .capability.name()
    )]
    NotGranted {
        /// The plugin's name.
        plugin: String,
        /// What it asks for.
        capability: Capability,
    },
    /// It uses a capability that it does not ask for.
    #[error(
        "plugin `{plugin}` {uses} without asking for the capability `{}`", .capability.name()
    )]
    NotAskedFor {
        /// The plugin's name.
        plugin: String,
        /// What it would have to ask for.
        capability: Capability,
        /// How it uses it.
        uses: &'static str,
    },
    /// The plugin refuses its config.
    #[error("plugin `{plugin}` refuses its config at `{pointer}`: {message}")]
    Refused {
        /// The plugin's name.
        plugin: String,
        /// A JSON Pointer into the config.
        pointer: String,
        /// Why.
        message: String,
    },
    /// The config is not JSON.
    #[error("the config is not JSON: {0}")]
    NotJson(String),
    /// What it says that it reads and writes can't be.
    #[error("the description of plugin `{plugin}` is invalid: {what}")]
    Description {
        /// The plugin's name.
        plugin: String,
        /// What is wrong with it.
        what: String,
    },
    /// A limit is larger than the runtime can give.
    #[error(
        "a memory limit of {asked} bytes is more than the {max} that the runtime is set up for"
    )]
    Memory {
        /// The limit.
        asked: u64,
        /// The runtime's.
        max: u64,
    },
    /// `configure` failed.
    #[error("failed to configure")]
    Failed(#[source] TransformError),
}

impl ConfigureError {
    /// What it asks for.
    pub fn failure(&self) -> Failure {
        match self {
            ConfigureError::Failed(error) => match error.failure() {
                retry @ Failure::Retry { .. } => retry,
                _ => Failure::Fatal,
            },
            _ => Failure::Fatal,
        }
    }
}
