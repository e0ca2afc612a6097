//! Sources, sinks and stores in memory, with verbs for what goes wrong in the real ones.
//!
//! They pass the same suites as the real ones. Their data outlives the pipeline: dropping a run in
//! the middle is a crash, and a new run over the same members is the restart.

mod sink;
mod source;
mod store;
mod trouble;

pub use sink::MemorySink;
pub use source::{MemoryRecord, MemorySource};
pub use store::{MemoryStore, StoreWrite};
pub use trouble::{Storm, Trouble};
