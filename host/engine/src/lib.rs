//! Runs plugins: WebAssembly components that implement the contract in `wit/`, each behind limits
//! of its own, over typed columns.
//!
//! Three nouns, in the order in which they are made: a [`Runtime`] compiles bytes to a
//! [`Component`]; a component with a config is a [`Factory`]; a factory makes instances, which
//! answer batches behind [`tidegate_core::Transform`].
//!
//! Architecture invariant: this is the only crate that knows wasmtime and WIT, and neither shows
//! in its public API. It never touches a record's bytes, and it takes no decision after a
//! failure: fresh instances, isolation and the breaker are the pipeline's.

mod cache;
mod compiler;
mod component;
mod contract;
mod description;
mod error;
mod factory;
mod guest;
mod inspect;
mod instance;
mod limits;
mod runtime;
mod trap;
mod usage;
mod wasi;

pub use crate::{
    cache::CacheError,
    component::Component,
    contract::SUPPORTED_CONTRACTS,
    error::{ConfigureError, LoadError, RuntimeError},
    factory::{ConfigureOptions, Factory},
    guest::{LogLevel, LogLine, LogSink},
    inspect::Interface,
    limits::{Limit, Limits},
    runtime::{Runtime, RuntimeOptions},
    usage::{CallUsage, UsageSink, Used},
};
