//! Tidegate's data path: what happens to records between a source and the sinks.
//!
//! This crate owns the plan (stages, what each reads and writes, routes), the execution of a
//! micro-batch through the chain of plugins, the isolation of poison records, the encoding of
//! sink objects and dead letters, and the range protocol that makes them durable.
//!
//! Architecture invariant: it knows no file, no network and no WebAssembly. Sources, sinks,
//! plugins and the checkpoint store are seams of `tidegate-core`; this crate is the only one that
//! drives them, and the only one that spawns tasks of the data path.

pub mod call;
mod chain;
mod closer;
mod dead_letter;
pub mod emit;
pub mod encode;
pub mod error;
pub mod failpoint;
mod isolate;
pub mod memory;
mod memory_budget;
mod owner;
pub mod partition;
pub mod plan;
pub mod process;
pub mod progress;
mod purity;
mod range;
mod read_ahead;
mod recover;
pub mod retry;
pub mod run;
pub mod shutdown;
pub mod states;
pub mod swap;
pub mod worker;

pub use error::{Error, causes};
pub use plan::{Plan, PlanSpec};
pub use process::{ProcessError, RangeContext, RangeOutput, RangeProcessor};
pub use progress::{Event, Observer, Progress};
pub use run::{Environment, Pipeline, Report, Settings};
pub use shutdown::{Shutdown, StopHandle, shutdown};
pub use states::StateLoader;
pub use swap::{Generations, SwapError, SwapHandle};
pub use worker::Workers;
