//! The `tidegate` program.
//!
//! This crate owns what is between a person and a pipeline: the config and everything that can be
//! wrong with it, the command line, what is printed, the health endpoints and metrics. It puts the
//! parts together: Config → Plan → Pipeline.
//!
//! Architecture invariant: no record flows through this crate. It builds sources, sinks, plugins
//! and the store, hands them to the pipeline, and waits. Only `verify`, `dlq` and `test` look at
//! records, at rest, and the authors' commands at those of golden cases and samples; a redrive's
//! source reads them out of the dead letters.

mod bench;
mod capsule;
pub mod chain;
pub mod cli;
pub mod config;
mod diff;
mod edges;
pub mod files;
pub mod finding;
pub mod golden;
pub mod health;
mod iam;
#[cfg(feature = "lambda")]
mod lambda;
mod letters;
pub mod lineage;
pub mod metrics;
mod objects;
pub mod output;
pub mod plan;
mod project;
mod records;
mod redrive;
mod reload;
mod replay;
mod sample;
mod states;
pub mod supply;
pub mod tables;
mod testing;
mod trial;
mod verify;
mod watch;

/// The sink name of the dead letters.
pub const DEAD_LETTERS: &str = "dead-letters";

/// The name of the sink that gets copies of them.
pub(crate) const DEAD_LETTER_COPIES: &str = "dead-letters-copy";
