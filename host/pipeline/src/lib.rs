//! Tidegate's data path: what happens to records between a source and the sinks.
//!
//! This crate owns the plan (stages, what each reads and writes, routes), the execution of a
//! micro-batch through the chain of plugins, the isolation of poison records, the encoding of
//! sink objects and dead letters, and the range protocol that makes them durable.
//!
//! Architecture invariant: it knows no file, no network and no WebAssembly. Sources, sinks,
//! plugins and the checkpoint store are seams of `tidegate-core`; this crate is the only one that
//! drives them, and the only one that spawns tasks of the data path.

pub mod memory;
pub mod plan;
pub mod process;
pub mod states;

pub use plan::{Plan, PlanSpec};
pub use process::{ProcessError, RangeContext, RangeOutput, RangeProcessor};
pub use states::StateLoader;
